//! What was said before: on joining, while scrolling up, around a message, after being away.

use std::time::Duration;

use super::harness::UiHarness;
use crate::client;
use crate::protocol::error::{ErrorCode, Refusal};
use crate::protocol::event::{ErrorReply, Event, HistoryPage};
use crate::protocol::id::Seq;
use crate::protocol::message::{Audience, MessageKind};
use crate::protocol::query::HistoryQuery;
use crate::protocol::text::SafeText;
use crate::tui::model::UiEffect;

/// The rows of the conversation.
fn conversation_rows(stage: &UiHarness) -> Vec<String> {
    stage.screen().lines().skip(1).take(15).map(str::to_owned).collect()
}

fn loaded_seqs(stage: &UiHarness) -> Vec<u64> {
    let mut seqs: Vec<u64> =
        stage.model.chat.timeline().newest_first().map(|message| message.seq.0).collect();
    seqs.reverse();
    seqs
}

#[test]
fn join_loads_recent_history_without_gap_or_duplicate() {
    let mut stage = UiHarness::with_log(250, None);
    // Said between the login and the answer: it comes live, and in the page, too.
    stage.post_to_all("Ann_1180", "live");
    assert_eq!(stage.answer_history(), [HistoryQuery::Before(None)]);
    stage.shows("live").shows("message number 250");
    assert_eq!(loaded_seqs(&stage), (152..=251).collect::<Vec<_>>());
    assert!(stage.effects().is_empty(), "asked once");
}

#[test]
fn empty_log_requests_no_history() {
    let mut stage = UiHarness::with_log(0, None);
    assert!(stage.effects().is_empty());
    stage.hides("history").hides("loading");
}

#[test]
fn scrolling_up_loads_pages_without_jumping() {
    let mut stage = UiHarness::with_log(250, None);
    stage.answer_history();
    stage.keys("<home>").wait(0).shows("loading…").shows("message number 151 ");
    let before = conversation_rows(&stage);
    stage.keys("<pageup><pageup>");
    assert_eq!(conversation_rows(&stage), before);
    assert_eq!(
        stage.answer_history(),
        [HistoryQuery::Before(Some(Seq(151)))],
        "one question, no storm"
    );
    let after = conversation_rows(&stage);
    // The line of the edge and that of the day have made room for messages; all else stands.
    assert_eq!(after[4..], before[4..]);
    assert!(stage.effects().is_empty());
    stage.keys("<home>").wait(0).answer_history();
    stage.keys("<home>").shows("beginning of the history").shows("message number 1 ");
    assert_eq!(stage.answer_history(), []);
    assert_eq!(loaded_seqs(&stage), (1..=250).collect::<Vec<_>>());
    stage.keys("<end>").shows("message number 250");
}

#[test]
fn live_and_paged_messages_form_the_same_bubbles() {
    let runs = |stage: &UiHarness| {
        let timeline = stage.model.chat.timeline();
        let said = timeline.newest_first().map(|message| timeline.message(message.id).unwrap());
        said.map(|said| said.run).collect::<Vec<_>>()
    };
    let mut live = UiHarness::new(80, 24);
    let mut paged = UiHarness::with_log(40, None);
    let Some(UiEffect::Send(cid, _)) = paged.effects().pop() else { panic!() };
    let mut messages: Vec<_> = (1..=40).map(|number| paged.logged_message(number)).collect();
    for message in &mut messages {
        message.sender = "Ann_1180".parse().unwrap();
        live.server_event(Event::Posted(message.clone()));
    }
    let recent = messages.split_off(21);
    paged.server_event(Event::History(HistoryPage {
        messages: recent,
        has_earlier: true,
        has_later: false,
        cid,
    }));
    let Some(UiEffect::Send(cid, _)) = paged.keys("<home>").wait(0).effects().pop() else {
        panic!()
    };
    paged.server_event(Event::History(HistoryPage {
        messages,
        has_earlier: false,
        has_later: true,
        cid,
    }));
    assert_eq!(runs(&live), runs(&paged));
}

#[test]
fn unread_line_marks_read_position() {
    let mut stage = UiHarness::with_log(20, Some(17));
    stage.answer_history();
    stage.shows("new since you left");
    let screen = stage.screen();
    let line = screen.find("new since you left").unwrap();
    assert!(screen.find("number 17").unwrap() < line && line < screen.find("number 18").unwrap());
    assert_eq!(stage.model.read_position.as_ref().unwrap().seq, Seq(20));
    let mut nothing_new = UiHarness::with_log(20, Some(20));
    nothing_new.answer_history();
    nothing_new.post_to_all("Ann_1180", "live");
    nothing_new.hides("new since you left");
}

#[test]
fn jump_to_unloaded_message_loads_its_context() {
    let mut stage = UiHarness::with_log(500, None);
    stage.answer_history();
    let to = stage.logged_message(120).id;
    stage.post("Ann_1180", Audience::Everyone, MessageKind::Reply { to }, "as I said");
    stage.click("message 100120");
    assert_eq!(stage.answer_history(), [HistoryQuery::Around(to)]);
    stage.shows("message number 120 ").shows("message 100120").hides("as I said");
    stage.post_to_all("Ann_1180", "meanwhile");
    stage.hides("meanwhile");
    stage
        .shows("↓ 1 new")
        .keys("<esc><pagedown><pagedown><pagedown><pagedown><pagedown><pagedown>");
    for _ in 0..40 {
        stage.keys("<pagedown>");
    }
    stage.shows("the past (End: the newest)").keys("<end>");
    assert_eq!(stage.answer_history(), [HistoryQuery::Before(None)]);
    stage.shows("message number 502").hides("the past (End").hides("1 new");
    assert_eq!(loaded_seqs(&stage), (403..=502).collect::<Vec<_>>());
}

#[test]
fn sending_from_history_returns_to_latest() {
    let mut stage = UiHarness::with_log(500, None);
    stage.answer_history();
    stage.model.pending_jump = Some(stage.logged_message(120).id);
    stage.wait(1).answer_history();
    stage.keys("<esc>hello<enter>").shows("waiting…");
    stage.answer_history();
    stage.shows("waiting…").shows("message number 500");
}

#[test]
fn message_deleted_during_page_request_stays_removed() {
    let mut stage = UiHarness::with_log(20, None);
    let gone = stage.logged_message(19).id;
    stage.deleted(gone, "Ann_1180");
    stage.answer_history();
    stage.shows("message number 20").hides("message number 19");
}

#[test]
fn history_request_is_repeated_after_reconnect() {
    let mut stage = UiHarness::with_log(20, None);
    assert_eq!(stage.effects().len(), 1);
    let reason = SafeText::clean("gone");
    stage.client_event(client::ClientEvent::Disconnected {
        reason,
        retry_in: Duration::from_secs(1),
    });
    stage.log_in(true);
    stage.post_to_all("Ann_1180", "live again");
    stage.answer_history();
    stage.shows("live again").shows("message number 20");
}

#[test]
fn reset_history_is_reloaded_and_announced() {
    let mut stage = UiHarness::with_log(20, None);
    stage.answer_history();
    stage.keys("mine<enter>").effects();
    let reason = SafeText::clean("gone");
    stage.client_event(client::ClientEvent::Disconnected {
        reason,
        retry_in: Duration::from_secs(1),
    });
    stage.log_in(false).hides("message number 20").shows("all begins anew").shows("mine");
    stage.answer_history();
    stage.shows("message number 20");
}

#[test]
fn refused_history_request_is_not_repeated() {
    let mut stage = UiHarness::with_log(250, None);
    let Some(UiEffect::Send(cid, _)) = stage.effects().pop() else { panic!() };
    let refused = ErrorReply::new(&Refusal::LoginTimeout, cid);
    assert_eq!(refused.code, ErrorCode::LoginTimeout);
    stage.server_event(Event::Error(refused)).keys("<home>").wait(2);
    assert!(stage.effects().is_empty());
}
