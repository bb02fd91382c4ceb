//! Characters whose width terminals disagree about leave nothing behind in a real terminal.

use crate::support::tmux::Tmux;
use crate::support::{TestServer, print_result};

/// Emoji sequences, flags, variation selectors, right-to-left text, combining marks.
const UNCERTAIN: [&str; 9] = [
    "family 👩\u{200d}👩\u{200d}👧\u{200d}👦 and 👨\u{200d}💻 end",
    "flags 🇩🇪🇨🇭 🇫🇷 🏴\u{200d}☠\u{fe0f} end",
    "heart ❤\u{fe0f} 1\u{fe0f}\u{20e3} ⚠\u{fe0f} ✈ end",
    "tone 👍🏽 👋🏿 end",
    "arabic سلام دنیا لا الله end",
    "hebrew שָׁלוֹם עולם end",
    "marks e\u{301}e\u{301} a\u{308}\u{323} क्षि ก็ end",
    "kana ﾊﾟ ｶﾞ 한국어 你好 end",
    "new 🫩🪾 ⌚ ⏳ ☕ ⛔ end",
];

#[test]
fn screen_after_scrolling_equals_a_fresh_redraw() {
    if !Tmux::is_installed() {
        print_result("SKIPPED: tmux is not installed, so no real terminal was tested");
        return;
    }
    let server = TestServer::start();
    let ann = Tmux::join(&server, "Ann", (24, 80));
    let mut bob = server.join("Bob");
    for round in 0..4 {
        for text in UNCERTAIN {
            bob.post(&format!("{round} {text}"));
        }
        bob.post(&format!("plain {round} of a row of ordinary words, to be drawn over"));
    }
    ann.wait_for("plain 3 of a row");
    assert_equals_fresh_redraw(&ann);
    for keys in [&["PageUp"][..], &["PageUp"], &["PageDown"], &["End"], &["Up", "Up", "Up"]] {
        ann.press(keys);
        assert_equals_fresh_redraw(&ann);
    }
    // An overlay over the conversation, and its end.
    ann.press(&["F1"]);
    ann.wait_for("╭ Help");
    ann.press(&["Escape"]);
    ann.wait_until_gone("╭ Help");
    assert_equals_fresh_redraw(&ann);
}

/// Compares the conversation, after a frame that has handled all keys, with a frame after Ctrl-L.
#[track_caller]
fn assert_equals_fresh_redraw(ann: &Tmux) {
    let conversation = |screen: String| screen.split("To: everyone").next().unwrap().to_owned();
    ann.press(&["drawn"]);
    let drawn = conversation(ann.wait_for("│ drawn"));
    ann.press(&["C-l", "again"]);
    let fresh = conversation(ann.wait_for("│ drawnagain"));
    let differing = drawn.lines().zip(fresh.lines()).filter(|(drawn, fresh)| drawn != fresh);
    assert_eq!(differing.collect::<Vec<_>>(), [], "drawn, and what Ctrl-L shows");
    ann.press(&["C-c"]);
    ann.wait_until_gone("│ drawnagain");
}
