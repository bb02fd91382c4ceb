//! Sizes, wide characters, colors, scrolling and hostile text, as a terminal shows them.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use vt100::Color;

use super::join_ann_and_bob;
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
    ann.wait_for("F3  Ann_");
    ann.wait_for("│ can you see this?");
    ann.resize((6, 20));
    ann.wait_until_gone("F3  Ann_");
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
    assert_eq!(walls.len(), 3, "borders of the user list and the bubble:\n{}", ann.contents());
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
    ann.wait_for("↓ 1 newer");
    bob.post("fresher");
    ann.wait_for("↓ 2 newer");
    assert_eq!(ann.find("line 40 end"), read);
    assert_eq!(ann.count("fresh"), 0);
    ann.keys(key::END);
    ann.wait_for("│ fresher");
    ann.wait_until_gone("↓");
}

#[test]
fn background_of_the_terminal_is_not_typed_and_chooses_the_colours() {
    let server = TestServer::start();
    let mut ann = PtyProgram::join(&server, "Ann");
    let colours = |ann: &PtyProgram| {
        let header = ann.cells().into_iter().filter(|(row, _, _)| *row == 0);
        header.map(|(_, _, cell)| cell.fgcolor()).collect::<Vec<_>>()
    };
    let mut seen = vec![colours(&ann)];
    for (typed, background) in [("a", "ffff/ffff/ffff"), ("b", "1e1e/1e1e/2e2e")] {
        ann.keys(&format!("{typed}\x1b]11;rgb:{background}\x1b\\{typed}"));
        ann.wait_for(&format!("{typed}{typed} "));
        seen.push(colours(&ann));
    }
    ann.wait_for("│ aabb ");
    assert!(seen[0] != seen[1] && seen[1] != seen[2] && seen[0] != seen[2]);
}

#[test]
fn no_color_disables_colors() {
    let server = TestServer::start();
    let (colored, plain) = (fill_screen(&server, ""), fill_screen(&server, "1"));
    assert!(has_colors(&colored));
    assert!(!has_colors(&plain), "{}", plain.contents());
    assert!(plain.cells().iter().any(|(_, _, cell)| cell.bold() || cell.dim()));
}

/// A screen with every kind of item on it.
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
    ann.wait_for("new direct message from");
    ann.submit(".temp 600 for a while");
    ann.wait_for("expires in 10 min");
    ann.submit(&format!(".to @{}", bob.id()));
    ann.wait_for("│ in private");
    ann.wait_for("private: only Bob sees this");
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

#[test]
fn messages_cannot_send_control_sequences() {
    let server = TestServer::start();
    let ann = PtyProgram::join(&server, "Ann");
    let mut eve = server.join_original("Eve");
    for hostile in [
        "\x1b]0;title\x07",
        "\x1b]52;c;cm0gLXJm\x1b\\",
        "\x1b[2J\x1b[31m\x1b[?1049l",
        "\u{9b}2J\u{9d}0;title\u{9c}",
        "\x1bP+q544e\x1b\\ \x1b_payload\x1b\\ \x1bc",
        "\u{202e}txet\u{2066}\u{200f}",
        "bell\x07 back\x08\x08 return\rover \x0b\x0c \x7f \0",
    ] {
        eve.send("MESSAGE", &["all"], hostile, &Value::Null);
    }
    eve.send("MESSAGE", &["all"], "the end", &Value::Null);
    ann.wait_for("│ the end");
    ann.wait_for("]0;title");
    // The program itself asks for the background, and sets the title of the window.
    let raw = ann.raw().replace("\x1b]0;chat\x07", "").replace("\x1b]11;?\x07", "");
    let mut controls: Vec<char> = raw.chars().filter(|c| c.is_control()).collect();
    controls.sort_unstable();
    controls.dedup();
    assert_eq!(controls, ['\x1b'], "control characters");
    for bidi in ('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}').chain(['\u{200f}']) {
        assert!(!raw.contains(bidi), "{bidi:?}");
    }
    let after = |mark: &str| {
        raw.split(mark).skip(1).filter_map(|rest| rest.chars().next()).collect::<String>()
    };
    assert!(after("\x1b").chars().all(|c| c == '['), "only CSI sequences");
    assert!(!raw.contains("\x1b[?1049l"), "alternate screen left");
}

#[test]
fn idle_client_draws_nothing_and_uses_no_cpu() {
    let server = TestServer::start();
    let (ann, bob) = join_ann_and_bob(&server);
    for screen in [&ann, &bob] {
        screen.wait_for_quiet(Duration::from_millis(300));
    }
    let before = [&ann, &bob].map(|screen| (screen.raw().len(), cpu_ticks(screen)));
    ann.has_output_within(Duration::from_millis(1_500));
    let after = [&ann, &bob].map(|screen| (screen.raw().len(), cpu_ticks(screen)));
    for (before, after) in before.into_iter().zip(after) {
        assert_eq!(before.0, after.0, "output while idle");
        assert!(after.1 - before.1 <= 2, "{} ticks of 10 ms", after.1 - before.1);
    }
}

/// The CPU time of the program in clock ticks; 0 without `/proc`.
fn cpu_ticks(screen: &PtyProgram) -> u64 {
    let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", screen.process_id())) else {
        return 0;
    };
    // proc_pid_stat(5): fields 14 and 15. Field 2 may contain spaces and ends with a parenthesis.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}
