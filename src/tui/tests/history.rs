//! What was said before: on joining, while scrolling up, around a message, after being away.

use std::time::Duration;

use super::stage::Stage;
use crate::client;
use crate::protocol::error::{ErrorCode, Refusal};
use crate::protocol::event::{Event, Page, Refused};
use crate::protocol::id::Seq;
use crate::protocol::message::{Audience, Kind};
use crate::protocol::query::History;
use crate::protocol::text::SafeText;
use crate::tui::model::Effect;

/// The rows of the conversation.
fn talk(stage: &Stage) -> Vec<String> {
    stage.screen().lines().skip(1).take(15).map(str::to_owned).collect()
}

fn order(stage: &Stage) -> Vec<u64> {
    let mut seqs: Vec<u64> =
        stage.model.room.timeline().newest_first().map(|message| message.seq.0).collect();
    seqs.reverse();
    seqs
}

#[test]
fn on_joining_the_recent_conversation_is_there_without_a_gap_or_a_double() {
    let mut stage = Stage::with_log(250, None);
    // Said between the login and the answer: it comes live, and in the page, too.
    stage.says("Ann_1180", "live");
    assert_eq!(stage.answer_history(), [History::Before(None)]);
    stage.shows("live").shows("message number 250");
    assert_eq!(order(&stage), (152..=251).collect::<Vec<_>>());
    assert!(stage.effects().is_empty(), "asked once");
}

#[test]
fn an_empty_log_is_asked_for_nothing() {
    let mut stage = Stage::with_log(0, None);
    assert!(stage.effects().is_empty());
    stage.hides("history").hides("loading");
}

#[test]
fn scrolling_up_brings_page_after_page_without_a_jump() {
    let mut stage = Stage::with_log(250, None);
    stage.answer_history();
    stage.keys("<home>").wait(0).shows("loading…").shows("message number 151 ");
    let before = talk(&stage);
    stage.keys("<pageup><pageup>");
    assert_eq!(talk(&stage), before);
    assert_eq!(stage.answer_history(), [History::Before(Some(Seq(151)))], "one question, no storm");
    let after = talk(&stage);
    // The line of the edge and that of the day have made room for messages; all else stands.
    assert_eq!(after[4..], before[4..]);
    assert!(stage.effects().is_empty());
    stage.keys("<home>").wait(0).answer_history();
    stage.keys("<home>").shows("beginning of the history").shows("message number 1 ");
    assert_eq!(stage.answer_history(), []);
    assert_eq!(order(&stage), (1..=250).collect::<Vec<_>>());
    stage.keys("<end>").shows("message number 250");
}

#[test]
fn bubbles_are_the_same_whether_live_or_from_pages() {
    let runs = |stage: &Stage| {
        let timeline = stage.model.room.timeline();
        let said = timeline.newest_first().map(|message| timeline.said(message.id).unwrap());
        said.map(|said| said.run).collect::<Vec<_>>()
    };
    let mut live = Stage::new(80, 24);
    let mut paged = Stage::with_log(40, None);
    let Some(Effect::Send(cid, _)) = paged.effects().pop() else { panic!() };
    let mut messages: Vec<_> = (1..=40).map(|number| paged.logged(number)).collect();
    for message in &mut messages {
        message.sender = "Ann_1180".parse().unwrap();
        live.server(Event::Said(message.clone()));
    }
    let recent = messages.split_off(21);
    paged.server(Event::History(Page { messages: recent, earlier: true, later: false, cid }));
    let Some(Effect::Send(cid, _)) = paged.keys("<home>").wait(0).effects().pop() else { panic!() };
    paged.server(Event::History(Page { messages, earlier: false, later: true, cid }));
    assert_eq!(runs(&live), runs(&paged));
}

#[test]
fn a_line_stands_where_one_left_off() {
    let mut stage = Stage::with_log(20, Some(17));
    stage.answer_history();
    stage.shows("new since you left");
    let screen = stage.screen();
    let line = screen.find("new since you left").unwrap();
    assert!(screen.find("number 17").unwrap() < line && line < screen.find("number 18").unwrap());
    assert_eq!(stage.model.seen.as_ref().unwrap().seq, Seq(20));
    let mut nothing_new = Stage::with_log(20, Some(20));
    nothing_new.answer_history();
    nothing_new.says("Ann_1180", "live");
    nothing_new.hides("new since you left");
}

#[test]
fn a_message_that_is_not_loaded_is_shown_with_what_was_said_around_it() {
    let mut stage = Stage::with_log(500, None);
    stage.answer_history();
    let to = stage.logged(120).id;
    stage.said("Ann_1180", Audience::Everyone, Kind::Reply { to }, "as I said");
    stage.click("message 100120");
    assert_eq!(stage.answer_history(), [History::Around(to)]);
    stage.shows("message number 120 ").shows("message 100120").hides("as I said");
    stage.says("Ann_1180", "meanwhile");
    stage.hides("meanwhile");
    stage
        .shows("↓ 1 new")
        .keys("<esc><pagedown><pagedown><pagedown><pagedown><pagedown><pagedown>");
    for _ in 0..40 {
        stage.keys("<pagedown>");
    }
    stage.shows("the past (End: the newest)").keys("<end>");
    assert_eq!(stage.answer_history(), [History::Before(None)]);
    stage.shows("message number 502").hides("the past (End").hides("1 new");
    assert_eq!(order(&stage), (403..=502).collect::<Vec<_>>());
}

#[test]
fn what_is_said_in_the_past_is_sent_and_leads_back() {
    let mut stage = Stage::with_log(500, None);
    stage.answer_history();
    stage.model.looking = Some(stage.logged(120).id);
    stage.wait(1).answer_history();
    stage.keys("<esc>hello<enter>").shows("waiting…");
    stage.answer_history();
    stage.shows("waiting…").shows("message number 500");
}

#[test]
fn what_is_deleted_while_its_page_is_under_way_does_not_come_back() {
    let mut stage = Stage::with_log(20, None);
    let gone = stage.logged(19).id;
    stage.deleted(gone, "Ann_1180");
    stage.answer_history();
    stage.shows("message number 20").hides("message number 19");
}

#[test]
fn what_was_asked_before_a_loss_is_asked_again() {
    let mut stage = Stage::with_log(20, None);
    assert_eq!(stage.effects().len(), 1);
    let reason = SafeText::clean("gone");
    stage.client(client::Event::Disconnected { reason, retry_in: Duration::from_secs(1) });
    stage.log_in(true);
    stage.says("Ann_1180", "live again");
    stage.answer_history();
    stage.shows("live again").shows("message number 20");
}

#[test]
fn a_log_that_cannot_go_on_begins_anew_and_says_so() {
    let mut stage = Stage::with_log(20, None);
    stage.answer_history();
    stage.keys("mine<enter>").effects();
    let reason = SafeText::clean("gone");
    stage.client(client::Event::Disconnected { reason, retry_in: Duration::from_secs(1) });
    stage.log_in(false).hides("message number 20").shows("all begins anew").shows("mine");
    stage.answer_history();
    stage.shows("message number 20");
}

#[test]
fn a_refused_question_is_not_asked_again() {
    let mut stage = Stage::with_log(250, None);
    let Some(Effect::Send(cid, _)) = stage.effects().pop() else { panic!() };
    let refused = Refused::new(&Refusal::LoginTimeout, cid);
    assert_eq!(refused.code, ErrorCode::LoginTimeout);
    stage.server(Event::Refused(refused)).keys("<home>").wait(2);
    assert!(stage.effects().is_empty());
}
