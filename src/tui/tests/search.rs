//! The search: in the loaded timeline immediately, on the server for the rest.

use super::harness::UiHarness;
use crate::protocol::error::Refusal;
use crate::protocol::event::{ErrorReply, Event, SearchEnd, SearchResults};
use crate::protocol::id::Cid;
use crate::protocol::query::{HistoryRange, SearchQuery};
use crate::protocol::request::Request;
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
    assert_eq!(asked[0].1, SearchQuery { pattern: "number 120".into(), ..SearchQuery::default() });
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
    ui.server_event(last).shows("1 of 11 in 321 messages (newest hits only)");
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
