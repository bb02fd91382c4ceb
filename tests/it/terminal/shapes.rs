//! Sizes, wide characters, colours, scrolling: what a terminal makes of what is drawn.

use vt100::Color;

use crate::support::Server;
use crate::support::screen::{ROOMY, Screen, key};

#[test]
fn any_size_works_and_the_way_back_too() {
    let server = Server::start();
    let mut ann = Screen::join_sized(&server, "Ann", (36, 120));
    let mut bob = server.ours("Bob");
    ann.wait_for("→ Bob_");
    bob.say("can you see this?");
    ann.wait_for("│ can you see this?");
    ann.keys("a draft");
    ann.wait_for("│ a draft");
    let before = ann.contents();
    ann.resize((20, 60));
    ann.wait_for("1 here (F2)");
    ann.wait_for("│ can you see this?");
    ann.resize((6, 20));
    ann.wait_gone("here (F2)");
    ann.wait_for("can you see this?");
    ann.wait_for("a draft");
    let written = ann.raw().len();
    ann.resize((1, 1));
    ann.wait_for_more_than(written);
    ann.keys("!");
    ann.resize((36, 120));
    ann.wait_for(&before.replace("a draft ", "a draft!"));
}

#[test]
fn wide_characters_take_the_cells_they_take() {
    let server = Server::start();
    let ann = Screen::join(&server, "Ann");
    let mut bob = server.ours("Bob");
    let lines = [
        "plain",
        "你好，世界",
        "thumbs 👍 up 🎉",
        "e\u{301}e\u{301} and ﾊﾟ",
        "🇩🇪 👩\u{200d}👩\u{200d}👧 ❤\u{fe0f} 👍🏽 end",
    ];
    bob.say(&lines.join("\n"));
    server.ours("Kim").say("after that");
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
fn who_reads_further_up_is_left_there() {
    let server = Server::start();
    let mut ann = Screen::join(&server, "Ann");
    let mut bob = server.ours("Bob");
    ann.wait_for("→ Bob_");
    for n in 0..60 {
        bob.say(&format!("line {n} end"));
    }
    ann.wait_for("│ line 59 end");
    ann.keys(key::PAGE_UP);
    ann.wait_gone("line 59 end");
    let read = ann.find("line 40 end");
    bob.say("fresh");
    ann.wait_for("↓ 1 new");
    bob.say("fresher");
    ann.wait_for("↓ 2 new");
    assert_eq!(ann.find("line 40 end"), read);
    assert_eq!(ann.count("fresh"), 0);
    ann.keys(key::END);
    ann.wait_for("│ fresher");
    ann.wait_gone("↓");
}

#[test]
fn without_colours_none_is_used() {
    let server = Server::start();
    let (colourful, plain) = (screenful(&server, ""), screenful(&server, "1"));
    assert!(has_colours(&colourful));
    assert!(!has_colours(&plain), "{}", plain.contents());
    assert!(plain.cells().iter().any(|(_, _, cell)| cell.bold() || cell.dim()));
}

/// A screen with something of every sort on it.
fn screenful(server: &Server, no_color: &str) -> Screen {
    let mut command = portable_pty::CommandBuilder::new(env!("CARGO_BIN_EXE_chat"));
    command.args(["join", &server.address.to_string(), "--name", "Ann"]);
    command.env("NO_COLOR", no_color);
    let mut ann = Screen::run(command, ROOMY);
    ann.wait_for("you are Ann_");
    let mut bob = Screen::join(server, "Bob");
    ann.wait_for(&bob.id());
    bob.say("said aloud");
    ann.wait_for("│ said aloud");
    bob.say(&format!("@{} in private", ann.id()));
    ann.wait_for("│ in private");
    ann.say(".temp 600 for a while");
    ann.wait_for("gone in 10 min");
    ann.click(&format!("[ ] {}", bob.id()));
    ann.wait_for("private: nobody else sees it");
    ann.say(".delete 1");
    ann.wait_for(".delete 1");
    ann
}

fn has_colours(screen: &Screen) -> bool {
    screen
        .cells()
        .iter()
        .any(|(_, _, cell)| cell.fgcolor() != Color::Default || cell.bgcolor() != Color::Default)
}
