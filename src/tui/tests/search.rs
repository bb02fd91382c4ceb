//! The search over everything: here at once, on the server for the rest.

use super::stage::Stage;
use crate::protocol::error::Refusal;
use crate::protocol::event::{Event, Found, Refused, SearchEnd};
use crate::protocol::id::ClientId;
use crate::protocol::query::{Find, History};
use crate::protocol::request::Request;
use crate::tui::model::Effect;

/// A screen with the newest hundred of 500 messages.
fn stage() -> Stage {
    let mut stage = Stage::with_log(500, None);
    stage.answer_history();
    stage
}

/// What the server was asked to search for since the last look.
fn asked(stage: &mut Stage) -> Vec<(Option<ClientId>, Find)> {
    let asked = stage.effects().into_iter().filter_map(|effect| match effect {
        Effect::Send(cid, Request::Find(find)) => Some((cid, find)),
        _ => None,
    });
    asked.collect()
}

fn find(stage: &Stage, cid: Option<&ClientId>, numbers: &[u32], end: SearchEnd) -> Event {
    let messages = numbers.iter().map(|number| stage.logged(*number)).collect();
    Event::Found(Found { messages, searched: 321, end, cid: cid.cloned() })
}

#[test]
fn the_server_is_asked_once_one_has_stopped_typing() {
    let mut stage = stage();
    stage.keys("<ctrl-f>number 12").shows("nothing found").keys("0");
    assert_eq!(asked(&mut stage), []);
    stage.wait(1);
    let asked = asked(&mut stage);
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].1, Find { pattern: "number 120".into(), ..Find::default() });
    assert_eq!(stage.model.next_wake(stage.now), None);
}

#[test]
fn hits_of_both_stand_in_order_without_doubles() {
    let mut stage = stage();
    stage.keys("<ctrl-f>number 4.2").shows("message number 492").wait(1);
    let cid = asked(&mut stage).pop().unwrap().0;
    let first = find(&stage, cid.as_ref(), &[492, 482, 412, 402], SearchEnd::Searching);
    stage.server(first).shows("1 of 10 in 321 messages…");
    let last = find(&stage, cid.as_ref(), &[402, 42], SearchEnd::TooMany);
    stage.server(last).shows("1 of 11 in 321 messages: only the newest hits");
    let found = find(&stage, Some(&"another".parse().unwrap()), &[1], SearchEnd::Complete);
    stage.server(found).hides("message number 1 ");
    let screen = stage.screen();
    let at = |text: &str| screen.find(text).unwrap();
    assert!(at("number 412") < at("number 402") && at("number 402") < at("number 42 "));
}

#[test]
fn a_hit_that_is_not_loaded_is_shown_where_it_was_said() {
    let mut stage = stage();
    stage.keys("<ctrl-f>number 1.0 ").wait(1);
    let cid = asked(&mut stage).pop().unwrap().0;
    let found = find(&stage, cid.as_ref(), &[190, 120], SearchEnd::Complete);
    stage.server(found).keys("<down><enter>");
    assert_eq!(stage.answer_history(), [History::Around(stage.logged(120).id)]);
    stage.shows("message number 120 ").shows("hit 2 of 2").keys("N");
    assert_eq!(stage.answer_history(), [History::Around(stage.logged(190).id)]);
    stage.shows("message number 190 ").keys("<esc><end>");
    stage.answer_history();
    stage.shows("message number 500");
}

#[test]
fn words_narrow_what_is_asked_and_mistakes_are_shown_where_they_are() {
    let mut stage = stage();
    stage.keys("<ctrl-f>from:ann x after:soon").shows("                  ^ a day").wait(1);
    assert_eq!(asked(&mut stage), []);
    stage.keys("<backspace><backspace><backspace><backspace>7d").wait(1);
    let (_, find) = asked(&mut stage).pop().unwrap();
    assert_eq!((find.pattern.as_str(), find.from.as_deref()), ("x", Some("ann")));
    assert!(find.after.is_some());
}

#[test]
fn what_the_server_refuses_is_shown_where_it_was_typed() {
    let mut stage = stage();
    stage.keys("<ctrl-f>from:ann (a+)+").wait(1);
    let cid = asked(&mut stage).pop().unwrap().0;
    let refused = Refused::new(&Refusal::BadPattern("too slow".into()), cid);
    stage.server(Event::Refused(refused)).shows("         ^ the search expression is broken");
}

#[test]
fn a_search_that_nobody_looks_at_ends_on_the_server() {
    let mut stage = stage();
    stage.keys("<ctrl-f>x").wait(1);
    assert_eq!(asked(&mut stage).len(), 1);
    stage.keys("<esc>");
    assert_eq!(asked(&mut stage), [(None, Find::default())]);
    stage.keys("<ctrl-f>x").wait(1);
    let cid = asked(&mut stage).pop().unwrap().0;
    let found = find(&stage, cid.as_ref(), &[], SearchEnd::Complete);
    stage.server(found).keys("<esc>");
    assert_eq!(asked(&mut stage), [], "it has ended by itself");
}

#[test]
fn a_hit_that_is_deleted_is_no_hit_any_more() {
    let mut stage = stage();
    stage.keys("<ctrl-f>number 120").wait(1);
    let cid = asked(&mut stage).pop().unwrap().0;
    let found = find(&stage, cid.as_ref(), &[120], SearchEnd::Searching);
    stage.server(found).shows("message number 120");
    let gone = stage.logged(120);
    stage.deleted(gone.id, gone.sender.as_str()).hides("message number 120").shows("nothing found");
}
