//! Writing: the input, drafts, undo, questions before something is sent or lost, and completion.

use super::harness::UiHarness;

#[test]
fn undo_restores_what_was_cleared_before_another_conversation_was_opened() {
    let mut ui = UiHarness::new(80, 24);
    ui.keys("a thought<ctrl-c>").hides("a thought");
    ui.click("Kim_9021").shows("only Kim sees this").keys("<alt-1>");
    ui.hides("draft").keys("<ctrl-z>").shows("a thought");
}

#[test]
fn cursor_is_behind_an_emoji_of_several_code_points() {
    let mut ui = UiHarness::new(80, 24);
    ui.paste("👩\u{200d}👩\u{200d}👧👍🏽e\u{301}").keys("<backspace><backspace>x");
    ui.shows("👩\u{200d}👩\u{200d}👧x");
}
