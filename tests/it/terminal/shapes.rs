//! Sizes, wide characters, colours, scrolling: what a terminal makes of what is drawn.

use vt100::Color;

use crate::support::TestServer;
use crate::support::pty::{DEFAULT_SIZE, PtyProgram, key};

#[test]
fn resizing_keeps_draft_and_layout() {
    let server = TestServer::start();
    let mut ann = PtyProgram::join_sized(&server, "Ann", (36, 120));
    let mut bob = server.join("Bob");
    ann.wait_for("→ Bob_");
    bob.post("can you see this?");
    ann.wait_for("│ can you see this?");
    ann.keys("a draft");
    ann.wait_for("│ a draft");
    let before = ann.contents();
    ann.resize((20, 60));
    ann.wait_for("1 here (F2)");
    ann.wait_for("│ can you see this?");
    ann.resize((6, 20));
    ann.wait_until_gone("here (F2)");
    ann.wait_for("can you see this?");
    ann.wait_for("a draft");
    let written = ann.raw().len();
    ann.resize((1, 1));
    ann.wait_for_output_beyond(written);
    ann.keys("!");
    ann.resize((36, 120));
    ann.wait_for(&before.replace("a draft ", "a draft!"));
}

#[test]
fn wide_characters_keep_columns_aligned() {
    let server = TestServer::start();
    let ann = PtyProgram::join(&server, "Ann");
    let mut bob = server.join("Bob");
    let lines = [
        "plain",
        "你好，世界",
        "thumbs 👍 up 🎉",
        "e\u{301}e\u{301} and ﾊﾟ",
        "🇩🇪 👩\u{200d}👩\u{200d}👧 ❤\u{fe0f} 👍🏽 end",
    ];
    bob.post(&lines.join("\n"));
    server.join("Kim").post("after that");
    ann.wait_for("│ after that");
    let first = ann.row_of("│ plain");
    let walls = ann.columns_of(first, "│");
    assert_eq!(walls.len(), 3, "of the people, and of the bubble:\n{}", ann.contents());
    for row in (first..).take(lines.len()) {
        assert_eq!(ann.columns_of(row, "│"), walls, "row {row}:\n{}", ann.contents());
    }
    for line in ["│ 你好，世界 ", "│ thumbs 👍 up 🎉 ", "│ e\u{301}e\u{301} and ﾊﾟ "]
    {
        ann.wait_for(line);
    }
    assert!(ann.cell_of("世").is_wide() && !ann.cell_of("plain").is_wide());
}

#[test]
fn new_messages_do_not_move_a_scrolled_view() {
    let server = TestServer::start();
    let mut ann = PtyProgram::join(&server, "Ann");
    let mut bob = server.join("Bob");
    ann.wait_for("→ Bob_");
    for n in 0..60 {
        bob.post(&format!("line {n} end"));
    }
    ann.wait_for("│ line 59 end");
    ann.keys(key::PAGE_UP);
    ann.wait_until_gone("line 59 end");
    let read = ann.find("line 40 end");
    bob.post("fresh");
    ann.wait_for("↓ 1 new");
    bob.post("fresher");
    ann.wait_for("↓ 2 new");
    assert_eq!(ann.find("line 40 end"), read);
    assert_eq!(ann.count("fresh"), 0);
    ann.keys(key::END);
    ann.wait_for("│ fresher");
    ann.wait_until_gone("↓");
}

#[test]
fn no_color_disables_colors() {
    let server = TestServer::start();
    let (colourful, plain) = (fill_screen(&server, ""), fill_screen(&server, "1"));
    assert!(has_colors(&colourful));
    assert!(!has_colors(&plain), "{}", plain.contents());
    assert!(plain.cells().iter().any(|(_, _, cell)| cell.bold() || cell.dim()));
}

/// A screen with something of every sort on it.
fn fill_screen(server: &TestServer, no_color: &str) -> PtyProgram {
    let mut command = portable_pty::CommandBuilder::new(env!("CARGO_BIN_EXE_chat"));
    command.args(["join", &server.address.to_string(), "--name", "Ann"]);
    command.env("NO_COLOR", no_color);
    let mut ann = PtyProgram::run(command, DEFAULT_SIZE);
    ann.wait_for("you are Ann_");
    let mut bob = PtyProgram::join(server, "Bob");
    ann.wait_for(&bob.id());
    bob.submit("said aloud");
    ann.wait_for("│ said aloud");
    bob.submit(&format!("@{} in private", ann.id()));
    ann.wait_for("│ in private");
    ann.submit(".temp 600 for a while");
    ann.wait_for("gone in 10 min");
    ann.click(&format!("[ ] {}", bob.id()));
    ann.wait_for("private: nobody else sees it");
    ann.submit(".delete 1");
    ann.wait_for(".delete 1");
    ann
}

fn has_colors(screen: &PtyProgram) -> bool {
    screen
        .cells()
        .iter()
        .any(|(_, _, cell)| cell.fgcolor() != Color::Default || cell.bgcolor() != Color::Default)
}
