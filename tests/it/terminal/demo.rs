//! `chat demo`: a team that talks, in one process.

use crate::support::pty::{DEFAULT_SIZE, PtyProgram, key};

#[test]
fn demo_team_talks_and_answers() {
    let mut demo = PtyProgram::spawn(&["demo", "--quiet", "--name", "Bob"], DEFAULT_SIZE);
    demo.wait_for("lunch at 12:30");
    demo.submit("hello everybody");
    demo.wait_for("👍 1");
    demo.keys("\x0b");
    demo.wait_for("Go to");
    demo.submit("ops");
    demo.wait_for("can you look at shard 7?");
    demo.wait_for("release 2.4 and on-call");
    demo.submit("well, @Lou: on it");
    demo.wait_for("good point, I will have a look");
    demo.keys(key::CTRL_Q);
    assert_eq!(demo.finish(), 0);
}
