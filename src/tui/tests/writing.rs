//! Writing: the input, drafts, undo, questions before something is sent or lost, and completion.

use super::harness::UiHarness;
use crate::protocol::request::Request;
use crate::tui::event::UiEffect;
use crate::tui::model::TypingIndicator;

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

#[test]
fn drafts_are_saved_a_second_after_a_key_and_restored() {
    let saved = |ui: &mut UiHarness| {
        let effects = ui.all_effects().into_iter().rev();
        effects.into_iter().find_map(|effect| match effect {
            UiEffect::SaveDrafts(drafts) => Some(drafts),
            _ => None,
        })
    };
    let mut ui = UiHarness::in_room(80, 24);
    ui.keys("half a th");
    assert_eq!(saved(&mut ui), None);
    ui.wait(1);
    assert_eq!(saved(&mut ui).unwrap().first().unwrap().text.as_str(), "half a th");
    ui.wait(60);
    assert_eq!(saved(&mut ui), None, "nothing to do without a key");
    ui.keys("!<alt-2>").wait(0);
    let drafts = saved(&mut ui).unwrap();
    assert_eq!(drafts.first().unwrap().text.as_str(), "half a th!", "at once");
    ui.keys("for ops").wait(1);
    let drafts = saved(&mut ui).unwrap();
    assert_eq!(drafts.len(), 2);

    let mut next = UiHarness::in_room(80, 24);
    next.screen.model.restore_drafts(&drafts);
    next.keys("<end>").shows("half a th").shows("#ops      draft").keys("<alt-2>").shows("for ops");
    next.keys("<enter>").wait(0);
    assert_eq!(saved(&mut next).unwrap().len(), 1, "a message that is sent is no draft any more");
}

#[test]
fn edit_and_the_draft_behind_it_are_restored() {
    let mut ui = UiHarness::new(80, 24);
    ui.keys("teh word<enter>").confirm_sent().keys("a draft");
    ui.click("teh word").keys("<enter>e!");
    let drafts = ui.screen.model.all_drafts();
    let mut next = UiHarness::new(80, 24);
    next.screen.model.restore_drafts(&drafts);
    next.keys("<end>").shows("editing").shows("teh word!").keys("<esc>").shows("a draft");
}

#[test]
fn temporary_text_is_not_written_to_disk() {
    let mut ui = UiHarness::new(80, 24);
    ui.keys("<ctrl-t>burn after reading");
    assert_eq!(ui.screen.model.all_drafts(), []);
}

#[test]
fn writing_is_told_in_small_conversations_unless_it_is_switched_off() {
    fn told(ui: &mut UiHarness) -> usize {
        let is_typing =
            |effect: &UiEffect| matches!(effect, UiEffect::Send(None, Request::Typing(_)));
        ui.all_effects().iter().filter(|effect| is_typing(effect)).count()
    }
    let mut ui = UiHarness::new(80, 24);
    assert_eq!(told(ui.keys("to everyone<ctrl-c>")), 0);
    ui.click("Kim_9021");
    assert_eq!(told(ui.keys("hello")), 1, "once in a few seconds");
    assert_eq!(told(ui.wait(3).keys("!")), 1);
    assert_eq!(told(ui.keys("<ctrl-c>").wait(3).keys(".search x<ctrl-c>@Ann_1180 hi<ctrl-c>")), 0);
    ui.screen.model.typing = TypingIndicator::Off;
    assert_eq!(told(ui.wait(3).keys("hello")), 0);
}
