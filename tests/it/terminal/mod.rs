//! The full-screen client: the real program on pseudo-terminals, with one or several users.
//!
//! What each command does is tested in `src/tui/tests`. These tests cover what needs a terminal or several
//! processes.

mod demo;
mod ghosts;
mod lifecycle;
mod messages;
mod rendering;

use crate::support::TestServer;
use crate::support::pty::PtyProgram;

/// Starts two clients and waits until each shows the other.
fn join_ann_and_bob(server: &TestServer) -> (PtyProgram, PtyProgram) {
    let ann = PtyProgram::join(server, "Ann");
    let bob = PtyProgram::join(server, "Bob");
    ann.wait_for(&format!("→ {} joined", bob.id()));
    bob.wait_for(&format!("[ ] {}", ann.id()));
    (ann, bob)
}
