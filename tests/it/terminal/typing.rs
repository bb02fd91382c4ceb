//! The input: lines of it, and pastes.

use super::talk::ann_and_bob;
use crate::support::Server;
use crate::support::screen::key;

#[test]
fn a_message_has_as_many_lines_as_one_likes() {
    let server = Server::start();
    let (mut ann, bob) = ann_and_bob(&server);
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
fn a_paste_is_never_sent_by_itself() {
    let server = Server::start();
    let (mut ann, bob) = ann_and_bob(&server);
    ann.keys("\x1b[200~pasted\ras it\r\nis\r\x1b[201~");
    ann.wait_for("│ is");
    assert_eq!(ann.count("pasted"), 1, "in the input alone:\n{}", ann.contents());
    assert!(ann.row_of("To: everyone") < ann.row_of("pasted"));
    ann.say(", and no more");
    bob.wait_for("│ is, and no more");
    assert_eq!(bob.row_of("│ pasted") + 2, bob.row_of("│ is, and no more"));
}

#[test]
fn whatever_comes_at_once_is_taken() {
    let server = Server::start();
    let (mut ann, bob) = ann_and_bob(&server);
    ann.say(&format!("{}and the end", "word ".repeat(500)));
    bob.wait_for("word and the end");
}
