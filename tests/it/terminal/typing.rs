//! The input: lines of it, and pastes.

use super::talk::join_ann_and_bob;
use crate::support::TestServer;
use crate::support::pty::key;

#[test]
fn message_can_have_several_lines() {
    let server = TestServer::start();
    let (mut ann, bob) = join_ann_and_bob(&server);
    let lines =
        ["first", key::ALT_ENTER, "second", key::CTRL_J, "third", key::SHIFT_ENTER, "fourth"];
    ann.keys(&lines.concat());
    ann.wait_for("│ fourth");
    ann.keys(key::ENTER);
    bob.wait_for("│ fourth");
    let rows = ["first", "second", "third", "fourth"].map(|line| bob.row_of(&format!("│ {line}")));
    assert_eq!(rows, [0, 1, 2, 3].map(|n| rows[0] + n));
}

#[test]
fn paste_is_not_sent_automatically() {
    let server = TestServer::start();
    let (mut ann, bob) = join_ann_and_bob(&server);
    ann.keys("\x1b[200~pasted\ras it\r\nis\r\x1b[201~");
    ann.wait_for("│ is");
    assert_eq!(ann.count("pasted"), 1, "in the input alone:\n{}", ann.contents());
    assert!(ann.row_of("To: everyone") < ann.row_of("pasted"));
    ann.submit(", and no more");
    bob.wait_for("│ is, and no more");
    assert_eq!(bob.row_of("│ pasted") + 2, bob.row_of("│ is, and no more"));
}

#[test]
fn burst_of_input_is_not_lost() {
    let server = TestServer::start();
    let (mut ann, bob) = join_ann_and_bob(&server);
    ann.submit(&format!("{}and the end", "word ".repeat(500)));
    bob.wait_for("word and the end");
}
