//! History: on joining, when scrolling up, around a message, after a reconnect.

use std::time::Duration;

use super::harness::UiHarness;
use crate::client;
use crate::protocol::error::{ErrorCode, Refusal};
use crate::protocol::event::{ErrorReply, Event, HistoryPage};
use crate::protocol::id::Seq;
use crate::protocol::message::{Audience, MessageKind};
use crate::protocol::query::HistoryRange;
use crate::protocol::text::SafeText;
use crate::tui::event::UiEffect;

/// The rows of the conversation on the screen.
fn conversation_rows(ui: &UiHarness) -> Vec<String> {
    ui.text().lines().skip(1).take(15).map(str::to_owned).collect()
}

fn loaded_seqs(ui: &UiHarness) -> Vec<u64> {
    let mut seqs: Vec<u64> = ui
        .screen
        .model
        .chat
        .opened()
        .timeline()
        .newest_first()
        .map(|message| message.seq.0)
        .collect();
    seqs.reverse();
    seqs
}

#[test]
fn join_loads_recent_history_without_gap_or_duplicate() {
    let mut ui = UiHarness::with_log(250, None);
    // A message posted between login and answer arrives live and in the page.
    ui.post_to_all("Ann_1180", "live");
    assert_eq!(ui.answer_history(), [HistoryRange::Latest]);
    ui.shows("live").shows("message number 250");
    assert_eq!(loaded_seqs(&ui), (152..=251).collect::<Vec<_>>());
    assert!(ui.effects().is_empty(), "requested once");
}

#[test]
fn empty_log_requests_no_history() {
    let mut ui = UiHarness::with_log(0, None);
    assert!(ui.effects().is_empty());
    ui.hides("history").hides("loading");
}

#[test]
fn scrolling_up_loads_pages_without_jumping() {
    let mut ui = UiHarness::with_log(250, None);
    ui.answer_history();
    ui.keys("<home>").wait(0).shows("loading…").shows("message number 151 ");
    let before = conversation_rows(&ui);
    ui.keys("<pageup><pageup>");
    assert_eq!(conversation_rows(&ui), before);
    assert_eq!(ui.answer_history(), [HistoryRange::Before(Seq(151))], "one request");
    let after = conversation_rows(&ui);
    // The boundary row and the day separator are replaced by messages; the other rows do not move.
    assert_eq!(after[4..], before[4..]);
    assert!(ui.effects().is_empty());
    ui.keys("<home>").wait(0).answer_history();
    ui.keys("<home>").shows("beginning of the history").shows("message number 1 ");
    assert_eq!(ui.answer_history(), []);
    assert_eq!(loaded_seqs(&ui), (1..=250).collect::<Vec<_>>());
    ui.keys("<end>").shows("message number 250");
}

#[test]
fn live_and_paged_messages_form_the_same_bubbles() {
    let runs = |ui: &UiHarness| {
        let timeline = ui.screen.model.chat.opened().timeline();
        let entries = timeline.newest_first().map(|message| timeline.message(message.id).unwrap());
        entries.map(|entry| entry.run).collect::<Vec<_>>()
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
    let mut ui = UiHarness::with_log(20, Some(17));
    ui.answer_history();
    ui.shows("─── new since 09:11 ───");
    let screen = ui.text();
    let line = screen.find("new since 09:11").unwrap();
    assert!(screen.find("number 17").unwrap() < line && line < screen.find("number 18").unwrap());
    assert_eq!(ui.screen.model.read_position.as_ref().unwrap().seq, Seq(20));
    let mut nothing_new = UiHarness::with_log(20, Some(20));
    nothing_new.answer_history();
    nothing_new.post_to_all("Ann_1180", "live");
    nothing_new.hides("new since");
}

#[test]
fn jump_to_unloaded_message_loads_its_context() {
    let mut ui = UiHarness::with_log(500, None);
    ui.answer_history();
    let to = ui.logged_message(120).id;
    ui.post("Ann_1180", Audience::Everyone, MessageKind::Reply { to }, "as I said");
    ui.click("message 100120");
    assert_eq!(ui.answer_history(), [HistoryRange::Around(to)]);
    ui.shows("message number 120 ").shows("message 100120").hides("as I said");
    ui.post_to_all("Ann_1180", "meanwhile");
    ui.hides("meanwhile");
    ui.shows("↓ 1 newer").keys("<esc><pagedown><pagedown><pagedown><pagedown><pagedown><pagedown>");
    for _ in 0..20 {
        ui.keys("<pagedown>");
    }
    assert_eq!(ui.answer_history(), [HistoryRange::After(Seq(169))], "the page after the excerpt");
    ui.keys("<end>");
    ui.shows("meanwhile").hides("older messages").hides("1 newer");
    assert_eq!(ui.answer_history(), [], "the latest messages stayed loaded");
    assert_eq!(loaded_seqs(&ui), (401..=502).collect::<Vec<_>>());
}

#[test]
fn paging_down_from_an_excerpt_reaches_the_latest_message() {
    let mut ui = UiHarness::with_log(500, None);
    ui.answer_history();
    let to = ui.logged_message(120).id;
    ui.post("Ann_1180", Audience::Everyone, MessageKind::Reply { to }, "as I said");
    ui.click("message 100120").answer_history();
    ui.keys("<esc>");
    let mut ranges = Vec::new();
    for _ in 0..120 {
        ui.keys("<pagedown>");
        ranges.extend(ui.answer_history());
    }
    ui.shows("message number 501 ").hides("older messages");
    assert_eq!(ranges.len(), 4, "{ranges:?}");
    assert_eq!(loaded_seqs(&ui), (70..=501).collect::<Vec<_>>());
}

#[test]
fn sending_from_history_returns_to_latest() {
    let mut ui = UiHarness::with_log(500, None);
    ui.answer_history();
    let to = ui.logged_message(120).id;
    ui.post("Ann_1180", Audience::Everyone, MessageKind::Reply { to }, "as I said");
    ui.click("message 100120").answer_history();
    ui.keys("<esc>hello<enter>").shows("waiting…");
    ui.shows("waiting…").shows("message number 500");
}

#[test]
fn message_deleted_during_page_request_stays_removed() {
    let mut ui = UiHarness::with_log(20, None);
    let deleted = ui.logged_message(19).id;
    ui.deleted(deleted, "Ann_1180");
    ui.answer_history();
    ui.shows("message number 20").hides("message number 19");
}

#[test]
fn history_request_is_repeated_after_reconnect() {
    let mut ui = UiHarness::with_log(20, None);
    assert_eq!(ui.effects().len(), 1);
    let reason = SafeText::clean("connection lost");
    ui.client_event(client::ClientEvent::Disconnected { reason, retry_in: Duration::from_secs(1) });
    ui.log_in(true);
    ui.post_to_all("Ann_1180", "live again");
    ui.answer_history();
    ui.shows("live again").shows("message number 20");
}

#[test]
fn reset_history_is_reloaded_and_announced() {
    let mut ui = UiHarness::with_log(20, None);
    ui.answer_history();
    ui.keys("mine<enter>").effects();
    let reason = SafeText::clean("connection lost");
    ui.client_event(client::ClientEvent::Disconnected { reason, retry_in: Duration::from_secs(1) });
    ui.log_in(false).hides("message number 20").shows("this server's history was").shows("mine");
    ui.answer_history();
    ui.shows("message number 20");
}

#[test]
fn refused_history_request_is_repeated_only_when_the_user_scrolls() {
    let mut ui = UiHarness::with_log(250, None);
    let Some(UiEffect::Send(cid, _)) = ui.effects().pop() else { panic!() };
    let refused = ErrorReply::new(&Refusal::LoginTimeout, cid);
    assert_eq!(refused.code, ErrorCode::LoginTimeout);
    ui.server_event(Event::Error(refused)).wait(2);
    assert!(ui.effects().is_empty());
    ui.keys("<home>").wait(2);
    assert_eq!(ui.answer_history(), [HistoryRange::Latest], "once");
}

#[test]
fn jump_to_a_deleted_message_is_requested_once_and_breaks_nothing() {
    let mut ui = UiHarness::with_log(500, None);
    ui.answer_history();
    let to = ui.logged_message(120).id;
    ui.post("Ann_1180", Audience::Everyone, MessageKind::Reply { to }, "as I said");
    ui.click("message 100120");
    let Some(UiEffect::Send(cid, _)) = ui.effects().pop() else { panic!() };
    let refused = ErrorReply::new(&Refusal::UnknownMessage(to), cid);
    ui.server_event(Event::Error(refused)).shows("message 100120 not found").wait(2);
    assert_eq!(ui.effects(), [], "it is not asked again");
    ui.keys("<home>").wait(0);
    assert_eq!(ui.answer_history(), [HistoryRange::Before(Seq(401))], "paging still works");
}

#[test]
fn click_on_a_quote_while_offline_does_not_jump_later() {
    let mut ui = UiHarness::with_log(500, None);
    ui.answer_history();
    let to = ui.logged_message(120).id;
    ui.post("Ann_1180", Audience::Everyone, MessageKind::Reply { to }, "as I said");
    let reason = SafeText::clean("connection lost");
    ui.client_event(client::ClientEvent::Disconnected { reason, retry_in: Duration::from_secs(1) });
    ui.click("message 100120").shows("not connected: message 100120 cannot be loaded now");
    ui.log_in(true).wait(2);
    assert_eq!(ui.effects(), []);
}

#[test]
fn request_that_was_not_sent_is_sent_again_later() {
    let mut ui = UiHarness::with_log(500, None);
    let Some(UiEffect::Send(cid, _)) = ui.effects().pop() else { panic!() };
    let reason = SafeText::clean("too many requests are waiting");
    ui.send_failed(cid, reason).shows("too many requests");
    assert_eq!(ui.effects(), [], "not at once");
    ui.wait(1);
    assert_eq!(ui.answer_history(), [HistoryRange::Latest]);
}
