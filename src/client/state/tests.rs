//! What a client makes of what happens, as tables and stories.

use std::time::Duration;

use chrono::{DateTime, FixedOffset, TimeDelta};

use super::search::{SearchHit, SearchState};
use super::search_input::SearchInput;
use super::timeline::{EntryIndex, MessageState, TimelineEntry};
use super::*;
use crate::client::Connected;
use crate::protocol::error::ErrorCode;
use crate::protocol::event::{Deleted, SearchEnd, Welcome};
use crate::protocol::id::Seq;
use crate::protocol::limits::Limits;
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

fn online() -> ChatState {
    let mut room = ChatState::new("test");
    let welcome = Welcome {
        user: id("Bob_4572"),
        epoch: "e".into(),
        head: Seq(0),
        now: at(0).timestamp_millis(),
        resumed: false,
        limits: Limits::default(),
    };
    room.apply(
        at(0),
        ClientEvent::Connected(Connected { welcome, fingerprint: "SHA256:x".into() }),
    );
    receive(
        &mut room,
        protocol::event::Event::Users([id("Ann_1180"), id("Bob_4572"), id("Kim_9021")].into()),
    );
    room
}

fn receive(room: &mut ChatState, event: protocol::event::Event) -> Vec<Change> {
    room.apply(at(0), ClientEvent::Received(event))
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
    }
}

fn post(room: &mut ChatState, message: Message) {
    receive(room, protocol::event::Event::Posted(message));
}

fn plain(text: &str) -> Post {
    Post { audience: Audience::Everyone, kind: PostKind::Plain, content: SafeText::clean(text) }
}

#[test]
fn own_message_is_pending_until_confirmed() {
    let mut room = online();
    let (cid, _) = room.post(at(1), plain("hello")).unwrap();
    assert_eq!(room.pending().len(), 1);
    let echo = Message { cid: Some(cid), ..message(1, "Bob_4572", "hello") };
    post(
        &mut room,
        Message { cid: echo.cid.clone(), ..message(2, "Ann_1180", "same name for it") },
    );
    assert_eq!(room.pending().len(), 1, "another's `cid` is not ours");
    post(&mut room, echo);
    assert!(room.pending().is_empty());
    assert!(room.timeline().message(number(1)).is_some());
}

#[test]
fn refused_message_keeps_its_reason_and_unanswered_one_waits() {
    let mut room = online();
    let (first, _) = room.post(at(1), plain("one")).unwrap();
    let (second, _) = room.post(at(1), plain("two")).unwrap();
    room.apply(at(1), ClientEvent::Sending(second.clone()));
    assert_eq!(room.pending()[1].delivery, Delivery::Sending);
    let refused = ErrorReply {
        code: ErrorCode::NoRecipient,
        text: SafeText::clean("the server is full"),
        cid: Some(first.clone()),
    };
    receive(&mut room, protocol::event::Event::Error(refused));
    room.apply(
        at(2),
        ClientEvent::Disconnected {
            reason: SafeText::clean("gone"),
            retry_in: Duration::from_secs(4),
        },
    );
    let full = Delivery::Failed(SafeText::clean("the server is full"));
    let states: Vec<_> = room.pending().iter().map(|p| p.delivery.clone()).collect();
    assert_eq!(states, [full, Delivery::Waiting]);
    assert_eq!(room.take_failed(&second), None, "it is sent by itself");
    assert_eq!(room.take_failed(&first).unwrap().content.as_str(), "one");
    assert_eq!(room.pending().len(), 1);
    assert!(room.online_users().is_empty());
    let ConnectionState::Offline { retry_at, .. } = room.connection() else {
        panic!("{:?}", room.connection())
    };
    assert_eq!(*retry_at, at(6));
}

#[test]
fn removed_and_expired_text_is_dropped() {
    let mut room = online();
    post(&mut room, message(1, "Ann_1180", "secret one"));
    let expires = at(10).timestamp_millis();
    post(
        &mut room,
        Message {
            kind: MessageKind::Temporary { expires },
            ..message(2, "Ann_1180", "secret two")
        },
    );
    let deleted = Deleted { seq: Seq(3), id: number(1), author: id("Ann_1180"), cid: None };
    assert_eq!(
        receive(&mut room, protocol::event::Event::Deleted(deleted.clone())),
        [Change::Removed(number(1))]
    );
    assert!(receive(&mut room, protocol::event::Event::Deleted(deleted)).is_empty(), "only once");
    assert_eq!(room.next_expiry(), Some(expires));
    assert!(room.expire(at(9)).is_empty());
    assert_eq!(room.expire(at(10)), [Change::Removed(number(2))]);
    assert_eq!(room.next_expiry(), None);
    for (n, fate) in [(1, MessageState::Removed), (2, MessageState::Expired)] {
        let said = room.timeline().message(number(n)).unwrap();
        assert_eq!((said.state, said.message.content.as_str()), (fate, ""));
    }
}

#[test]
fn expiry_follows_the_servers_clock() {
    let mut room = ChatState::new("test");
    let welcome = Welcome {
        user: id("Bob_4572"),
        epoch: "e".into(),
        head: Seq(0),
        now: at(3_600).timestamp_millis(),
        resumed: false,
        limits: Limits::default(),
    };
    room.apply(at(0), ClientEvent::Connected(Connected { welcome, fingerprint: String::new() }));
    let expires = at(3_610).timestamp_millis();
    post(
        &mut room,
        Message { kind: MessageKind::Temporary { expires }, ..message(2, "Ann_1180", "x") },
    );
    assert_eq!(room.next_expiry(), Some(at(10).timestamp_millis()));
    assert_eq!(room.expire(at(10)).len(), 1);
}

#[test]
fn presence_updates_online_users() {
    let mut room = online();
    receive(
        &mut room,
        protocol::event::Event::Presence {
            joined: vec![id("Lou_0334"), id("Bob_4572")],
            left: vec![id("Ann_1180")],
        },
    );
    let here: Vec<_> = room.online_users().iter().map(UserId::as_str).collect();
    assert_eq!(here, ["Kim_9021", "Lou_0334"]);
    let again = protocol::event::Event::Presence {
        joined: vec![id("Lou_0334")],
        left: vec![id("Ann_1180")],
    };
    assert!(receive(&mut room, again).is_empty(), "what is known is no news");
    assert_eq!(room.resolve("kim"), Ok(id("Kim_9021")));
    assert_eq!(room.resolve("Lou_0334"), Ok(id("Lou_0334")));
    assert!(matches!(room.resolve("Ann"), Err(ResolveError::Unknown(_))));
    receive(
        &mut room,
        protocol::event::Event::Presence { joined: vec![id("Kim_0001")], left: vec![] },
    );
    let error = room.resolve("Kim").unwrap_err().to_string();
    assert_eq!(error, "Kim may be Kim_0001 or Kim_9021: write the whole ID");
}

#[test]
fn reply_goes_to_the_audience_of_its_message() {
    let mut room = online();
    post(&mut room, message(1, "Ann_1180", "public"));
    let people = [id("Bob_4572"), id("Kim_9021")].into();
    post(
        &mut room,
        Message { audience: Audience::Only(people), ..message(2, "Ann_1180", "private") },
    );
    assert_eq!(room.reply_audience(number(1)), Audience::Everyone);
    assert_eq!(
        room.reply_audience(number(2)),
        Audience::Only([id("Ann_1180"), id("Kim_9021")].into())
    );
}

#[test]
fn consecutive_messages_form_runs() {
    let mut room = online();
    for n in 0..10 {
        post(&mut room, message(n, "Ann_1180", "again"));
    }
    post(&mut room, message(11, "Kim_9021", "me"));
    post(
        &mut room,
        Message { at: at(0) + TimeDelta::minutes(10), ..message(12, "Kim_9021", "later") },
    );
    let runs: Vec<u8> = (room.timeline().first().0..room.timeline().end().0)
        .filter_map(|n| match room.timeline().get(EntryIndex(n)) {
            Some(TimelineEntry::Message(said)) => Some(said.run),
            _ => None,
        })
        .collect();
    assert_eq!(runs, [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 0, 0]);
}

fn query(room: &ChatState, typed: &str, match_case: bool) -> SearchInput {
    SearchInput::parse(typed, match_case, at(0), room).unwrap()
}

#[test]
fn server_results_are_merged_in_order_without_duplicates_or_removed_text() {
    let mut room = online();
    post(&mut room, message(10, "Ann_1180", "deploy here"));
    let typed = "from:ann deploy";
    let mut search = SearchState::new(Ok(query(&room, typed, false)), room.timeline());
    search.search_slice(room.timeline(), 100);
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
        &receive(&mut room, protocol::event::Event::SearchResults(found))[..]
    else {
        panic!()
    };
    search.add_results(found.clone(), room.timeline());
    let seqs = |search: &SearchState| search.hits().iter().map(|hit| hit.seq.0).collect::<Vec<_>>();
    assert_eq!(seqs(&search), [10, 5, 4]);
    assert_eq!(search.answer().unwrap().searched, 500);
    assert_eq!(search.next_expiry(), Some(expires));
    search.expire(expires);
    assert_eq!(seqs(&search), [10, 5]);
    let gone = Deleted { seq: Seq(11), id: number(5), author: id("Ann_1180"), cid: None };
    assert_eq!(
        receive(&mut room, protocol::event::Event::Deleted(gone)),
        [Change::Removed(number(5))],
        "also where it was found only by the server"
    );
    search.remove(number(5));
    assert_eq!(search.message(number(5), room.timeline()), None);
    let late = SearchResults {
        messages: vec![message(5, "Ann_1180", "deploy")],
        searched: 501,
        end: SearchEnd::Complete,
        cid: None,
    };
    let changes = receive(&mut room, protocol::event::Event::SearchResults(late));
    assert!(matches!(&changes[..], [Change::SearchResults(found)] if found.messages.is_empty()));
}

#[test]
fn search_finds_all_in_slices_newest_first() {
    let mut room = online();
    for n in 0..100 {
        post(&mut room, message(n, "Ann_1180", if n % 10 == 0 { "Deploy done" } else { "noise" }));
    }
    let mut search = SearchState::new(Ok(query(&room, "deploy(ed)?", false)), room.timeline());
    let mut steps = 0;
    while !search.is_done(room.timeline()) {
        search.search_slice(room.timeline(), 16);
        steps += 1;
    }
    assert!(steps >= 6);
    assert_eq!(search.hits().len(), 10);
    assert_eq!((search.hits()[0].id, search.hits()[9].id), (number(90), number(0)));
    assert_eq!(search.searched(), 100);
    post(&mut room, message(200, "Kim_9021", "deployed again"));
    assert!(!search.is_done(room.timeline()));
    search.search_slice(room.timeline(), 16);
    assert_eq!(search.hits()[0].id, number(200));
    search.remove(number(200));
    assert_eq!(search.hits()[0].id, number(90));
    let mut exact = SearchState::new(Ok(query(&room, "deploy", true)), room.timeline());
    exact.search_slice(room.timeline(), 1_000);
    assert_eq!(exact.hits(), [SearchHit { seq: Seq(200), id: number(200) }]);
}

#[test]
fn invalid_expression_has_an_error_and_a_column() {
    let room = online();
    for (expression, column, words) in
        [("ab(c", 2, "unclosed group"), ("é[z-a]", 2, "range"), ("a{2000}{2000}", 0, "too large")]
    {
        let search = SearchState::new(Ok(query(&room, expression, false)), room.timeline());
        let mistake = search.error().unwrap();
        assert_eq!(mistake.column, column, "{expression}");
        assert!(mistake.text.as_str().contains(words), "{expression}: {}", mistake.text);
        assert!(search.is_done(room.timeline()));
    }
}

#[test]
fn presence_changes_within_two_seconds_share_one_entry() {
    use protocol::event::Event as Said;
    let mut room = online();
    let (line, here) = (room.timeline().end(), room.online_users().len());
    let crowd = |from: u32, to: u32| (from..to).map(|n| id(&format!("Guest_{n}"))).collect();
    for turn in 0..8 {
        let now = at(0) + TimeDelta::milliseconds(240 * i64::from(turn));
        let joined = crowd(1_000 + 100 * turn, 1_100 + 100 * turn);
        room.apply(now, ClientEvent::Received(Said::Presence { joined, left: vec![] }));
        // Others talk meanwhile.
        room.apply(now, ClientEvent::Received(Said::Posted(message(turn, "Ann_1180", "hello"))));
    }
    let left = crowd(1_000, 1_003);
    let now = at(2) - TimeDelta::milliseconds(1);
    room.apply(now, ClientEvent::Received(Said::Presence { joined: vec![], left }));
    assert_eq!(room.online_users().len(), here + 800 - 3);
    assert_eq!(room.timeline().end().0 - line.0, 1 + 8, "one line, and what was said");
    let Some(TimelineEntry::Presence { joined, left, .. }) = room.timeline().get(line) else {
        panic!()
    };
    assert_eq!(joined.summary(), "800 people");
    assert_eq!(left.summary(), "Guest_1000, Guest_1001, Guest_1002");
    room.apply(
        at(2),
        ClientEvent::Received(Said::Presence { joined: vec![], left: crowd(1_100, 1_200) }),
    );
    assert_eq!(room.timeline().end().0 - line.0, 2 + 8);
}
