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

#[test]
fn long_paste_asks_first() {
    let mut ui = UiHarness::new(80, 24);
    let lines = "a line of the log\n".repeat(30);
    ui.keys("see: ").paste(&lines).shows("Paste of 30 lines").shows("send now").keys("<esc>");
    assert_eq!(ui.screen.model.composer.text(), "see: ");
    ui.paste(&lines).keys("<enter>");
    assert_eq!(ui.screen.model.composer.text(), format!("see: {}", lines.trim_end()));
    assert_eq!(ui.sent(), [""; 0]);

    let long = "0123456789 word\n".repeat(600);
    ui.keys("<ctrl-c>mine").paste(&long).shows("send as 3 messages").keys("s");
    let sent = ui.sent();
    assert_eq!(sent.len(), 3);
    let text = sent.iter().map(|post| post.strip_prefix("Everyone Plain ").unwrap());
    assert_eq!(text.collect::<Vec<_>>().join("\n"), long.trim_end(), "nothing is lost or doubled");
    assert_eq!(ui.screen.model.composer.text(), "mine", "the draft stays");
}

#[test]
fn enormous_paste_is_refused_and_costs_no_more_keys() {
    let mut ui = UiHarness::new(80, 24);
    ui.keys("mine").paste(&"x".repeat(1_000_000)).shows("too long to send");
    assert_eq!(ui.screen.model.composer.text(), "mine");
}

#[test]
fn text_that_is_too_long_is_split_only_after_a_question() {
    let mut ui = UiHarness::new(80, 24);
    let long = "word ".repeat(1_000);
    ui.paste(&long).keys("<enter>").shows("4999/4000").keys("<enter>");
    assert_eq!(ui.sent(), [""; 0]);
    ui.shows("Too long for one message").keys("<esc><enter><enter>");
    assert_eq!(ui.sent().len(), 2);
    assert!(ui.screen.model.composer.is_empty());
}

#[test]
fn unknown_command_is_sent_as_text_only_after_a_question() {
    let mut ui = UiHarness::new(80, 24);
    ui.keys("/shrug hello<enter>").shows("Unknown command").keys("<esc>").shows("/shrug hello");
    assert_eq!(ui.sent(), [""; 0]);
    ui.keys("<enter><enter>");
    assert_eq!(ui.sent(), ["Everyone Plain /shrug hello"]);
}

#[test]
fn quitting_with_unsent_text_asks_once() {
    let mut ui = UiHarness::new(80, 24);
    ui.keys("unsent<ctrl-q>").shows("press Ctrl-Q again");
    assert_eq!(ui.effects(), []);
    ui.wait(3).keys("<ctrl-q>");
    assert_eq!(ui.effects(), [], "the first one was too long ago");
    ui.keys("<ctrl-q>");
    assert_eq!(ui.effects(), [UiEffect::Quit]);
    assert_eq!(UiHarness::new(80, 24).keys("<ctrl-q>").effects(), [UiEffect::Quit]);
}
