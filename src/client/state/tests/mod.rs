//! Tests of the session.

mod conversations;
mod random;

use std::time::Duration;

use chrono::{DateTime, FixedOffset, TimeDelta};

use super::search::{SearchHit, SearchState};
use super::search_input::SearchInput;
use super::timeline::{EntryIndex, MessageState, TimelineEntry};
use super::*;
use crate::client::Connected;
use crate::protocol;
use crate::protocol::error::ErrorCode;
use crate::protocol::event::{Deleted, SearchEnd, Welcome};
use crate::protocol::id::Seq;
use crate::protocol::limits::Limits;
use crate::protocol::mention::Mentions;
use crate::protocol::message::{Message, MessageKind};

fn at(seconds: i64) -> DateTime<FixedOffset> {
    DateTime::from_timestamp(1_795_000_000 + seconds, 0).unwrap().fixed_offset()
}

fn id(text: &str) -> UserId {
    text.parse().unwrap()
}

fn number(n: u32) -> MessageId {
    MessageId::from_number(100_000 + n).unwrap()
}

fn online() -> Session {
    let mut state = Session::new("test");
    let welcome = Welcome {
        user: id("Bob_4572"),
        epoch: "e".into(),
        head: Seq(0),
        now: at(0).timestamp_millis(),
        resumed: false,
        limits: Limits::default(),
    };
    state.apply(
        at(0),
        ClientEvent::Connected(Connected { welcome, fingerprint: "SHA256:x".into() }),
    );
    receive(
        &mut state,
        protocol::event::Event::Users([id("Ann_1180"), id("Bob_4572"), id("Kim_9021")].into()),
    );
    state
}

fn receive(state: &mut Session, event: protocol::event::Event) -> Vec<Change> {
    state.apply(at(0), ClientEvent::Received(event))
}

fn message(n: u32, sender: &str, text: &str) -> Message {
    Message {
        seq: Seq(u64::from(n)),
        id: number(n),
        sender: id(sender),
        guest: false,
        audience: Audience::Everyone,
        kind: MessageKind::Plain,
        content: SafeText::clean(text),
        at: at(i64::from(n)),
        cid: None,
        mentions: Mentions::None,
        edited: None,
        reactions: Vec::new(),
        pinned: false,
    }
}

fn changed(n: u32, change: MessageChange) -> Change {
    Change::Message { conversation: Some(Audience::Everyone), id: number(n), change }
}

fn post(state: &mut Session, message: Message) {
    receive(state, protocol::event::Event::Posted(message));
}

fn plain(text: &str) -> Post {
    Post { audience: Audience::Everyone, kind: PostKind::Plain, content: SafeText::clean(text) }
}

#[test]
fn own_message_is_pending_until_confirmed() {
    let mut state = online();
    let (cid, _) = state.post(at(1), plain("hello")).unwrap();
    assert_eq!(state.opened().pending().len(), 1);
    let echo = Message { cid: Some(cid), ..message(1, "Bob_4572", "hello") };
    post(&mut state, Message { cid: echo.cid.clone(), ..message(2, "Ann_1180", "same cid") });
    assert_eq!(state.opened().pending().len(), 1, "another user's `cid` does not confirm it");
    post(&mut state, echo);
    assert!(state.opened().pending().is_empty());
    assert!(state.opened().timeline().message(number(1)).is_some());
}

#[test]
fn refused_message_keeps_its_reason_and_unanswered_one_waits() {
    let mut state = online();
    let (first, _) = state.post(at(1), plain("one")).unwrap();
    let (second, _) = state.post(at(1), plain("two")).unwrap();
    state.apply(at(1), ClientEvent::Sending(second.clone()));
    assert_eq!(state.opened().pending()[1].delivery, Delivery::Sending);
    let refused = ErrorReply {
        code: ErrorCode::NoRecipient,
        text: SafeText::clean("the server is full"),
        cid: Some(first.clone()),
    };
    receive(&mut state, protocol::event::Event::Error(refused));
    state.apply(
        at(2),
        ClientEvent::Disconnected {
            reason: SafeText::clean("connection lost"),
            retry_in: Duration::from_secs(4),
        },
    );
    let full = Delivery::Failed(SafeText::clean("the server is full"));
    let states: Vec<_> = state.opened().pending().iter().map(|p| p.delivery.clone()).collect();
    assert_eq!(states, [full, Delivery::Waiting]);
    assert_eq!(state.take_failed(&second), None, "it is still sent automatically");
    assert_eq!(state.take_failed(&first).unwrap().content.as_str(), "one");
    assert_eq!(state.opened().pending().len(), 1);
    assert_eq!(state.directory().online_count(), 0);
    let ConnectionState::Offline { retry_at, .. } = state.connection() else {
        panic!("{:?}", state.connection())
    };
    assert_eq!(*retry_at, at(6));
}

#[test]
fn removed_and_expired_text_is_dropped() {
    let mut state = online();
    post(&mut state, message(1, "Ann_1180", "secret one"));
    let expires = at(10).timestamp_millis();
    post(
        &mut state,
        Message {
            kind: MessageKind::Temporary { expires },
            ..message(2, "Ann_1180", "secret two")
        },
    );
    let deleted = Deleted { seq: Seq(3), id: number(1), author: id("Ann_1180"), cid: None };
    assert_eq!(
        receive(&mut state, protocol::event::Event::Deleted(deleted.clone())),
        [changed(1, MessageChange::Removed)]
    );
    assert!(receive(&mut state, protocol::event::Event::Deleted(deleted)).is_empty(), "only once");
    assert_eq!(state.next_expiry(), Some(expires));
    assert!(state.expire(at(9)).is_empty());
    assert_eq!(state.expire(at(10)), [changed(2, MessageChange::Expired)]);
    assert_eq!(state.next_expiry(), None);
    for (n, message_state) in [(1, MessageState::Removed), (2, MessageState::Expired)] {
        let entry = state.opened().timeline().message(number(n)).unwrap();
        assert_eq!((entry.state, entry.message.content.as_str()), (message_state, ""));
    }
}

#[test]
fn expiry_follows_the_servers_clock() {
    let mut state = Session::new("test");
    let welcome = Welcome {
        user: id("Bob_4572"),
        epoch: "e".into(),
        head: Seq(0),
        now: at(3_600).timestamp_millis(),
        resumed: false,
        limits: Limits::default(),
    };
    state.apply(at(0), ClientEvent::Connected(Connected { welcome, fingerprint: String::new() }));
    let expires = at(3_610).timestamp_millis();
    post(
        &mut state,
        Message { kind: MessageKind::Temporary { expires }, ..message(2, "Ann_1180", "x") },
    );
    assert_eq!(state.next_expiry(), Some(at(10).timestamp_millis()));
    assert_eq!(state.expire(at(10)).len(), 1);
}

#[test]
fn presence_updates_online_users() {
    let mut state = online();
    receive(
        &mut state,
        protocol::event::Event::Presence {
            joined: vec![id("Lou_0334"), id("Bob_4572")],
            left: vec![id("Ann_1180")],
        },
    );
    let online: Vec<_> = state.directory().online().map(UserId::as_str).collect();
    assert_eq!(online, ["Kim_9021", "Lou_0334"]);
    let again = protocol::event::Event::Presence {
        joined: vec![id("Lou_0334")],
        left: vec![id("Ann_1180")],
    };
    assert_eq!(receive(&mut state, again), [Change::Directory], "known changes are not reported");
    assert_eq!(state.resolve("kim"), Ok(id("Kim_9021")));
    assert_eq!(state.resolve("Lou_0334"), Ok(id("Lou_0334")));
    assert_eq!(state.resolve("Ann"), Ok(id("Ann_1180")), "away users get messages");
    assert!(matches!(state.resolve("Zed"), Err(ResolveError::Unknown(_))));
    receive(
        &mut state,
        protocol::event::Event::Presence { joined: vec![id("Kim_0001")], left: vec![] },
    );
    let error = state.resolve("Kim").unwrap_err().to_string();
    assert_eq!(error, "Kim may be Kim_0001 or Kim_9021: write the whole ID");
}

#[test]
fn reply_goes_to_the_audience_of_its_message() {
    let mut state = online();
    post(&mut state, message(1, "Ann_1180", "public"));
    let recipients = [id("Bob_4572"), id("Kim_9021")].into();
    post(
        &mut state,
        Message { audience: Audience::Only(recipients), ..message(2, "Ann_1180", "private") },
    );
    assert_eq!(state.reply_audience(number(1)), Some(Audience::Everyone));
    assert_eq!(
        state.reply_audience(number(2)),
        Some(Audience::Only([id("Ann_1180"), id("Kim_9021")].into()))
    );
    assert_eq!(state.reply_audience(number(3)), None);
}

#[test]
fn consecutive_messages_form_runs() {
    let mut state = online();
    for n in 0..10 {
        post(&mut state, message(n, "Ann_1180", "again"));
    }
    post(&mut state, message(11, "Kim_9021", "me"));
    post(
        &mut state,
        Message { at: at(0) + TimeDelta::minutes(10), ..message(12, "Kim_9021", "later") },
    );
    let runs: Vec<u8> = (state.opened().timeline().first().0..state.opened().timeline().end().0)
        .filter_map(|n| match state.opened().timeline().get(EntryIndex(n)) {
            Some(TimelineEntry::Message(entry)) => Some(entry.run),
            _ => None,
        })
        .collect();
    assert_eq!(runs, [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 0, 0]);
}

fn query(state: &Session, typed: &str, match_case: bool) -> SearchInput {
    SearchInput::parse(typed, match_case, at(0), state).unwrap()
}

#[test]
fn server_results_are_merged_in_order_without_duplicates_or_removed_text() {
    let mut state = online();
    post(&mut state, message(10, "Ann_1180", "deploy here"));
    let typed = "from:ann deploy";
    let mut search = SearchState::new(Ok(query(&state, typed, false)));
    search.search_slice(&state, 100);
    let expires = at(60).timestamp_millis();
    let temporary = Message {
        kind: MessageKind::Temporary { expires },
        ..message(4, "Ann_1180", "deploy for a minute")
    };
    let messages =
        vec![message(10, "Ann_1180", "deploy here"), message(5, "Ann_1180", "deploy"), temporary];
    let found = SearchResults { messages, searched: 500, end: SearchEnd::Searching, cid: None };
    search.mark_asked();
    let [Change::SearchResults(found)] =
        &receive(&mut state, protocol::event::Event::SearchResults(found))[..]
    else {
        panic!()
    };
    search.add_results(found.clone(), &state);
    let seqs = |search: &SearchState| search.hits().iter().map(|hit| hit.seq.0).collect::<Vec<_>>();
    assert_eq!(seqs(&search), [10, 5, 4]);
    assert_eq!(search.answer().unwrap().searched, 500);
    assert_eq!(search.next_expiry(), Some(expires));
    search.expire(expires);
    assert_eq!(seqs(&search), [10, 5]);
    let deleted = Deleted { seq: Seq(11), id: number(5), author: id("Ann_1180"), cid: None };
    assert_eq!(
        receive(&mut state, protocol::event::Event::Deleted(deleted)),
        [Change::Message { conversation: None, id: number(5), change: MessageChange::Removed }],
        "a message known only to the search is reported too"
    );
    search.on_message_changed(number(5), MessageChange::Removed, &state);
    assert_eq!(seqs(&search), [10]);
    let late = SearchResults {
        messages: vec![message(5, "Ann_1180", "deploy")],
        searched: 501,
        end: SearchEnd::Complete,
        cid: None,
    };
    let changes = receive(&mut state, protocol::event::Event::SearchResults(late));
    assert!(matches!(&changes[..], [Change::SearchResults(found)] if found.messages.is_empty()));
}

#[test]
fn search_finds_all_in_slices_newest_first() {
    let mut state = online();
    for n in 0..100 {
        post(&mut state, message(n, "Ann_1180", if n % 10 == 0 { "Deploy done" } else { "noise" }));
    }
    let mut search = SearchState::new(Ok(query(&state, "deploy(ed)?", false)));
    let mut steps = 0;
    while !search.is_done(&state) {
        search.search_slice(&state, 16);
        steps += 1;
    }
    assert!(steps >= 6);
    assert_eq!(search.hits().len(), 10);
    assert_eq!((search.hits()[0].id, search.hits()[9].id), (number(90), number(0)));
    assert_eq!(search.searched(), 100);
    post(&mut state, message(200, "Kim_9021", "deployed again"));
    assert!(!search.is_done(&state));
    search.search_slice(&state, 16);
    assert_eq!(search.hits()[0].id, number(200));
    search.on_message_changed(number(200), MessageChange::Removed, &state);
    assert_eq!(search.hits()[0].id, number(90));
    let mut exact = SearchState::new(Ok(query(&state, "deploy", true)));
    exact.search_slice(&state, 1_000);
    assert_eq!(
        exact.hits(),
        [SearchHit { seq: Seq(200), id: number(200), conversation: Audience::Everyone }]
    );
}

#[test]
fn invalid_expression_has_an_error_and_a_column() {
    let state = online();
    for (expression, column, text) in
        [("ab(c", 2, "unclosed group"), ("é[z-a]", 2, "range"), ("a{2000}{2000}", 0, "too large")]
    {
        let search = SearchState::new(Ok(query(&state, expression, false)));
        let error = search.error().unwrap();
        assert_eq!(error.column, column, "{expression}");
        assert!(error.text.as_str().contains(text), "{expression}: {}", error.text);
        assert!(search.is_done(&state));
    }
}

#[test]
fn presence_changes_within_two_seconds_share_one_entry() {
    use protocol::event::Event as ServerEvent;
    let mut state = online();
    let (first, online_before) =
        (state.opened().timeline().end(), state.directory().online_count());
    let guests = |from: u32, to: u32| (from..to).map(|n| id(&format!("Guest_{n}"))).collect();
    for step in 0..8 {
        let now = at(0) + TimeDelta::milliseconds(240 * i64::from(step));
        let joined = guests(1_000 + 100 * step, 1_100 + 100 * step);
        state.apply(now, ClientEvent::Received(ServerEvent::Presence { joined, left: vec![] }));
        // Other users post in between.
        state.apply(
            now,
            ClientEvent::Received(ServerEvent::Posted(message(step, "Ann_1180", "hello"))),
        );
    }
    let left = guests(1_000, 1_003);
    let now = at(2) - TimeDelta::milliseconds(1);
    state.apply(now, ClientEvent::Received(ServerEvent::Presence { joined: vec![], left }));
    assert_eq!(state.directory().online_count(), online_before + 800 - 3);
    assert_eq!(
        state.opened().timeline().end().0 - first.0,
        1 + 8,
        "one presence entry and the messages"
    );
    let Some(TimelineEntry::Presence { joined, left, .. }) = state.opened().timeline().get(first)
    else {
        panic!()
    };
    assert_eq!(joined.summary(), "800 people");
    assert_eq!(left.summary(), "Guest_1000, Guest_1001, Guest_1002");
    state.apply(
        at(2),
        ClientEvent::Received(ServerEvent::Presence { joined: vec![], left: guests(1_100, 1_200) }),
    );
    assert_eq!(state.opened().timeline().end().0 - first.0, 2 + 8);
}
