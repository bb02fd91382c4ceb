//! The search: in the loaded timeline immediately, on the server for the rest.

use super::harness::{UiHarness, only, room};
use crate::protocol::error::Refusal;
use crate::protocol::event::{ErrorReply, Event, SearchEnd, SearchResults};
use crate::protocol::id::{Cid, Seq};
use crate::protocol::message::{Audience, MessageKind};
use crate::protocol::query::{HistoryRange, SearchQuery};
use crate::protocol::request::Request;
use crate::protocol::text::SafeText;
use crate::tui::event::UiEffect;

/// A screen with the newest 100 of 500 messages loaded.
fn ui_with_recent_page() -> UiHarness {
    let mut ui = UiHarness::with_log(500, None);
    ui.answer_history();
    ui
}

/// The search requests since the last check.
fn take_search_requests(ui: &mut UiHarness) -> Vec<(Option<Cid>, SearchQuery)> {
    let asked = ui.effects().into_iter().filter_map(|effect| match effect {
        UiEffect::Send(cid, Request::SearchHistory(find)) => Some((cid, find)),
        _ => None,
    });
    asked.collect()
}

fn search_results(ui: &UiHarness, cid: Option<&Cid>, numbers: &[u32], end: SearchEnd) -> Event {
    let messages = numbers.iter().map(|number| ui.logged_message(*number)).collect();
    Event::SearchResults(SearchResults { messages, searched: 321, end, cid: cid.cloned() })
}

#[test]
fn server_is_asked_after_typing_pause() {
    let mut ui = ui_with_recent_page();
    ui.keys("<ctrl-f>number 12").shows("nothing found").keys("0");
    assert_eq!(take_search_requests(&mut ui), []);
    ui.wait(1);
    let asked = take_search_requests(&mut ui);
    assert_eq!(asked.len(), 1);
    let conversation = Some(Audience::Everyone);
    let query =
        SearchQuery { pattern: "number 120".into(), conversation, ..SearchQuery::default() };
    assert_eq!(asked[0].1, query);
    assert_eq!(ui.screen.next_wake(ui.now), None);
}

#[test]
fn local_and_server_hits_merge_in_order() {
    let mut ui = ui_with_recent_page();
    ui.keys("<ctrl-f>number 4.2").shows("message number 492").wait(1);
    let cid = take_search_requests(&mut ui).pop().unwrap().0;
    let first = search_results(&ui, cid.as_ref(), &[492, 482, 412, 402], SearchEnd::Searching);
    ui.server_event(first).shows("1 of 10 in 321 messages…");
    let last = search_results(&ui, cid.as_ref(), &[402, 42], SearchEnd::TooMany);
    ui.server_event(last).shows("1 of 11+ in 321 messages ");
    let found = search_results(&ui, Some(&"another".parse().unwrap()), &[1], SearchEnd::Complete);
    ui.server_event(found).hides("message number 1 ");
    let screen = ui.text();
    let at = |text: &str| screen.find(text).unwrap();
    assert!(at("number 412") < at("number 402") && at("number 402") < at("number 42 "));
}

#[test]
fn jump_to_unloaded_hit_loads_its_context() {
    let mut ui = ui_with_recent_page();
    ui.keys("<ctrl-f>number 1.0 ").wait(1);
    let cid = take_search_requests(&mut ui).pop().unwrap().0;
    let found = search_results(&ui, cid.as_ref(), &[190, 120], SearchEnd::Complete);
    ui.server_event(found).keys("<down><enter>");
    assert_eq!(ui.answer_history(), [HistoryRange::Around(ui.logged_message(120).id)]);
    ui.shows("message number 120 ").shows("hit 2 of 2").keys("<alt-g>");
    assert_eq!(ui.answer_history(), [HistoryRange::Around(ui.logged_message(190).id)]);
    ui.shows("message number 190 ").keys("<esc><end>");
    ui.answer_history();
    ui.shows("message number 500");
}

#[test]
fn filters_narrow_query_and_errors_point_at_column() {
    let mut ui = ui_with_recent_page();
    ui.keys("<ctrl-f>from:ann x after:soon").shows("                  ^ write a date").wait(1);
    assert_eq!(take_search_requests(&mut ui), []);
    ui.keys("<backspace><backspace><backspace><backspace>7d").wait(1);
    let (_, find) = take_search_requests(&mut ui).pop().unwrap();
    assert_eq!((find.pattern.as_str(), find.from.as_deref()), ("x", Some("ann")));
    assert!(find.after.is_some());
}

#[test]
fn server_error_points_at_pattern() {
    let mut ui = ui_with_recent_page();
    ui.keys("<ctrl-f>from:ann (a+)+").wait(1);
    let cid = take_search_requests(&mut ui).pop().unwrap().0;
    let refused = ErrorReply::new(&Refusal::BadPattern("too slow".into()), cid);
    ui.server_event(Event::Error(refused)).shows("         ^ invalid search expression");
}

#[test]
fn closed_search_is_cancelled_on_server() {
    let mut ui = ui_with_recent_page();
    ui.keys("<ctrl-f>x").wait(1);
    assert_eq!(take_search_requests(&mut ui).len(), 1);
    ui.keys("<esc>");
    assert_eq!(take_search_requests(&mut ui), [(None, SearchQuery::default())]);
    ui.keys("<ctrl-f>x").wait(1);
    let cid = take_search_requests(&mut ui).pop().unwrap().0;
    let found = search_results(&ui, cid.as_ref(), &[], SearchEnd::Complete);
    ui.server_event(found).keys("<esc>");
    assert_eq!(take_search_requests(&mut ui), [], "a completed search is not cancelled");
}

#[test]
fn deleted_hit_is_removed() {
    let mut ui = ui_with_recent_page();
    ui.keys("<ctrl-f>number 120").wait(1);
    let cid = take_search_requests(&mut ui).pop().unwrap().0;
    let found = search_results(&ui, cid.as_ref(), &[120], SearchEnd::Searching);
    ui.server_event(found).shows("message number 120");
    let deleted = ui.logged_message(120);
    ui.deleted(deleted.id, deleted.sender.as_str())
        .hides("message number 120")
        .shows("nothing found");
}

#[test]
fn failed_search_is_shown_and_can_be_repeated() {
    let mut ui = ui_with_recent_page();
    ui.keys("<ctrl-f>number 1.0 ").wait(1);
    let (cid, _) = take_search_requests(&mut ui).pop().unwrap();
    let failed = ErrorReply::new(&Refusal::NotRead("its disk fails"), cid);
    ui.server_event(Event::Error(failed)).shows("its disk fails").wait(2);
    assert!(take_search_requests(&mut ui).is_empty(), "not by itself");
    ui.keys("<esc><ctrl-f>number 1.0 ").wait(1).hides("its disk fails");
    assert_eq!(take_search_requests(&mut ui).len(), 1);
}

#[test]
fn search_is_about_the_open_conversation_until_ctrl_f_widens_it() {
    let mut ui = UiHarness::in_room(80, 24);
    ui.post_to_all("Ann_1180", "deploy to all");
    ui.post("Kim_9021", room("#ops"), MessageKind::Plain, "deploy in ops");
    ui.post("Kim_9021", only(&["Kim_9021", "Bob_4572"]), MessageKind::Plain, "deploy, secretly");
    ui.keys("<alt-2><ctrl-f>deploy").shows("Search #ops").shows("1 of 1 in 1 message");
    ui.keys("<ctrl-f>").shows("Search all conversations").shows("1 of 3 in 3 messages");
    ui.shows("Kim_9021 #ops  deploy in ops").shows("Ann_1180 everyone  deploy to all");
    ui.keys("<ctrl-f>x").shows("nothing found").shows("Ctrl-F searches all conversations");
    ui.keys("<backspace> in:everyone").shows("Search everyone").shows("deploy to all");
}

#[test]
fn older_hits_load_when_the_last_one_is_selected() {
    let mut ui = ui_with_recent_page();
    ui.keys("<ctrl-f>number 1.0 ").wait(1);
    let cid = take_search_requests(&mut ui).pop().unwrap().0;
    let newest = search_results(&ui, cid.as_ref(), &[190, 180, 170], SearchEnd::TooMany);
    ui.server_event(newest).shows("1 of 3+ in 321 messages").keys("<down>");
    assert_eq!(take_search_requests(&mut ui), []);
    ui.keys("<down>").shows("3 of 3 in 321 messages…");
    let (cid, query) = take_search_requests(&mut ui).pop().unwrap();
    assert_eq!((query.before_seq, query.pattern.as_str()), (Some(Seq(170)), "number 1.0"));
    let older = search_results(&ui, cid.as_ref(), &[160, 150], SearchEnd::Complete);
    ui.server_event(older).shows("3 of 5 in 642 messages").keys("<down><down>").shows("5 of 5");
    assert_eq!(take_search_requests(&mut ui), [], "there are no more");
}

#[test]
fn selected_hit_is_shown_between_its_neighbours() {
    let mut ui = ui_with_recent_page();
    ui.keys("<ctrl-f>number 450 ").wait(1).shows("message number 449").shows("message number 451");
    assert_eq!(ui.answer_history(), [], "they are loaded");
    ui.keys("<esc><ctrl-f>number 120 ").wait(1);
    let cid = take_search_requests(&mut ui).pop().unwrap().0;
    let found = search_results(&ui, cid.as_ref(), &[120], SearchEnd::Complete);
    ui.server_event(found).hides("message number 119").wait(1);
    let id = ui.logged_message(120).id;
    assert_eq!(ui.answer_history(), [HistoryRange::Around(id)]);
    ui.shows("message number 119").shows("message number 121").wait(5);
    assert_eq!(ui.answer_history(), [], "once");
    let deleted = ui.logged_message(119);
    ui.deleted(deleted.id, deleted.sender.as_str()).hides("message number 119");
    ui.keys("<esc>").shows("message number 500");
}

#[test]
fn tab_completes_filters_and_their_values() {
    let mut ui = UiHarness::in_room(80, 24);
    ui.post_to_all("Ann_1180", "see https://example.org");
    ui.keys("<ctrl-f>fr<tab>").shows("/ from:").keys("a<tab>").shows("/ from:Ann_1180");
    ui.shows("1 of 1").keys("has:<tab>").shows("link  has:code").shows("/ from:Ann_1180 has:link");
    ui.keys("<tab>").shows("nothing found").keys("<tab>").shows("1 of 1");
    ui.keys("in:op<tab>").shows("in:#ops").shows("Search #ops");
    // A stale proposal is not replaced after an edit.
    ui.keys("<esc><ctrl-f>has:<tab>").keys("<left><right><tab>").shows("has:link");
}

#[test]
fn esc_returns_from_a_hit_to_where_the_search_started() {
    let mut ui = ui_with_recent_page();
    ui.keys("<ctrl-f>number 45[01] <enter>").shows("hit 1 of 2").hides("message number 500");
    ui.keys("<ctrl-g>").shows("hit 2 of 2").keys("<esc>").shows("message number 500");
    ui.keys("x").shows("x").hides("← back");
}

#[test]
fn search_that_was_not_sent_can_be_repeated() {
    let mut ui = ui_with_recent_page();
    ui.keys("<ctrl-f>number 1.0 ").wait(1);
    let (cid, _) = take_search_requests(&mut ui).pop().unwrap();
    ui.send_failed(cid, SafeText::clean("too many requests are waiting"));
    ui.shows("too many requests are waiting").hides("messages…").keys("x<backspace>").wait(2);
    assert_eq!(take_search_requests(&mut ui).len(), 1);
}

#[test]
fn search_is_opened_once() {
    let mut ui = UiHarness::new(80, 24);
    ui.keys("<ctrl-f>one<f1><ctrl-f><esc>").shows("/ one").keys("<esc>").hides("Search");
    ui.wait(2);
    assert_eq!(ui.screen.next_wake(ui.now), None);
}

#[test]
fn search_fits_every_screen() {
    for (width, height) in [(120, 36), (80, 24), (60, 20), (40, 12)] {
        let mut ui = UiHarness::in_room(width, height);
        for n in 0..40 {
            ui.post_to_all("Ann_1180", &format!("message number {n} about the deployment"));
        }
        ui.keys("<ctrl-f>number 2<down>").shows("2 of 11").shows("number 28");
        ui.shows("message number 27").shows("message number 29").shows("everyone · Sun 22 Nov");
        ui.keys("(").shows("unclosed group");
    }
}
