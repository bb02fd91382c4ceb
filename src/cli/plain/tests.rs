//! The plain mode as its user reads and types it.

use std::time::Duration;

use chrono::TimeDelta;

use super::session::{LineEffect, LineSession};
use super::*;
use crate::client::{Connected, SendError};
use crate::protocol::error::Refusal;
use crate::protocol::event::{
    Deleted, ErrorReply, Event as Said, HistoryPage, SearchEnd, SearchResults, Welcome,
};
use crate::protocol::id::{Cid, MessageId, Seq, UserId};
use crate::protocol::limits::Limits;
use crate::protocol::message::{Audience, Message, MessageKind};
use crate::protocol::request::{Post, PostKind, Request};
use crate::protocol::text::SafeText;

/// 12:03 in a zone two hours east of Greenwich.
fn at(seconds: i64) -> DateTime<FixedOffset> {
    let noon = DateTime::parse_from_rfc3339("2025-04-20T12:03:00+02:00").unwrap();
    noon + TimeDelta::seconds(seconds)
}

fn id(text: &str) -> UserId {
    text.parse().unwrap()
}

fn message_id(number: u32) -> MessageId {
    MessageId::from_number(number).unwrap()
}

fn only(people: &[&str]) -> Audience {
    Audience::Only(people.iter().map(|person| id(person)).collect())
}

fn message(number_: u32, sender: &str, text: &str) -> Message {
    Message {
        seq: Seq(u64::from(number_)),
        id: message_id(number_),
        sender: id(sender),
        guest: false,
        audience: Audience::Everyone,
        kind: MessageKind::Plain,
        content: SafeText::clean(text),
        at: at(0).to_utc().fixed_offset(),
        cid: None,
    }
}

/// What a heart says to one event or line, as one would read it.
fn render(effects: Vec<LineEffect>) -> String {
    let lines = effects.into_iter().map(|effect| match effect {
        LineEffect::Print(line) => line,
        LineEffect::PrintError(line) => format!("! {line}"),
        LineEffect::Send(cid, _) => format!("sent {cid}"),
        LineEffect::Quit => "leave".to_owned(),
        LineEffect::Refused(reason) => format!("refused: {reason}"),
        LineEffect::Untrusted(reason) => format!("untrusted: {reason}"),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn receive(talk: &mut LineSession, event: Said) -> String {
    render(talk.on_event(at(0), ClientEvent::Received(event)))
}

fn type_line(talk: &mut LineSession, line: &str) -> String {
    render(talk.on_line(at(0), line))
}

/// The one request that a line makes.
fn send_line(talk: &mut LineSession, line: &str) -> (Cid, Request) {
    let mut effects = talk.on_line(at(0), line);
    match effects.pop() {
        Some(LineEffect::Send(cid, request)) if effects.is_empty() => (cid, request),
        other => panic!("{line:?}: {effects:?} {other:?}"),
    }
}

fn connect(talk: &mut LineSession) -> String {
    connect_at(talk, Seq(0))
}

/// Connects to a log that ends at `head`.
fn connect_at(talk: &mut LineSession, head: Seq) -> String {
    let welcome = Welcome {
        user: id("Bob_1234"),
        epoch: "e".to_owned(),
        head,
        now: at(0).timestamp_millis(),
        resumed: false,
        limits: Limits::default(),
    };
    let connected = Connected { welcome, fingerprint: "SHA256:x".to_owned() };
    render(talk.on_event(at(0), ClientEvent::Connected(connected)))
}

/// Bob, in a room with two Kims and an Ann.
fn online() -> LineSession {
    let mut talk = LineSession::new("test", true);
    connect(&mut talk);
    let people = ["Ann_1180", "Kim_9021", "Kim_9022"].map(id);
    receive(&mut talk, Said::Users(people.into()));
    talk
}

#[test]
fn message_format() {
    let expires = (at(0) + TimeDelta::seconds(10)).timestamp_millis();
    let plain = message(100_001, "Ann_1180", "hello");
    let cases = [
        (plain.clone(), "12:03 [100001] Ann_1180: hello"),
        (
            Message { audience: only(&["Bob_1234", "Kim_9021"]), ..plain.clone() },
            "12:03 [100001] Ann_1180 -> you, Kim_9021 (private): hello",
        ),
        (
            Message { sender: id("Bob_1234"), audience: only(&["Ann_1180"]), ..plain.clone() },
            "12:03 [100001] you -> Ann_1180 (private): hello",
        ),
        (
            Message { kind: MessageKind::Reply { to: message_id(235_467) }, ..plain.clone() },
            "12:03 [100001] Ann_1180 (reply to 235467): hello",
        ),
        (
            Message {
                kind: MessageKind::Temporary { expires },
                audience: only(&["Bob_1234"]),
                ..plain.clone()
            },
            "12:03 [100001] Ann_1180 -> you (private, for 10 s): hello",
        ),
        (
            Message {
                content: SafeText::clean("one\n12:04 [100002] Kim_9021: two\x1b[31m"),
                ..plain
            },
            "12:03 [100001] Ann_1180: one\n    12:04 [100002] Kim_9021: two[31m",
        ),
    ];
    for (message, line) in cases {
        let mut talk = online();
        assert_eq!(receive(&mut talk, Said::Posted(message)), line);
    }
}

#[test]
fn presence_and_connection_changes_are_notices() {
    let mut talk = LineSession::new("test", true);
    assert!(!talk.accepts_input(), "what is typed before the login waits");
    assert_eq!(connect(&mut talk), "12:03 -- you are Bob_1234");
    assert!(!talk.accepts_input(), "nor before it is known who is here");
    assert_eq!(receive(&mut talk, Said::Users([].into())), "12:03 -- nobody else is here");
    assert!(talk.accepts_input());
    let mut presence = |seconds, joined: &[&str], left: &[&str]| {
        let ids = |ids: &[&str]| ids.iter().copied().map(id).collect();
        let said = Said::Presence { joined: ids(joined), left: ids(left) };
        render(talk.on_event(at(seconds), ClientEvent::Received(said)))
    };
    assert_eq!(presence(0, &["Bob_1234", "Kim_9022"], &[]), "12:03 -- Kim_9022 joined");
    assert_eq!(
        presence(2, &["Ann_1180", "Kim_9021"], &["Kim_9022"]),
        "12:03 -- Ann_1180, Kim_9021 joined\n12:03 -- Kim_9022 left"
    );
    receive(&mut talk, Said::Guests(vec![id("Kim_9021")]));
    assert_eq!(
        receive(&mut talk, Said::Users([id("Ann_1180"), id("Kim_9021")].into())),
        "12:03 -- here: Ann_1180, Kim_9021 (not verified)"
    );
    let reason = SafeText::clean("the server is shutting down");
    let lost = ClientEvent::Disconnected { reason, retry_in: Duration::from_millis(2_400) };
    assert_eq!(
        render(talk.on_event(at(0), lost)),
        "12:03 -- disconnected: the server is shutting down; trying again in 3 s"
    );
    assert!(!talk.accepts_input());
    assert!(connect(&mut talk).contains("connected again, as Bob_1234"));
    let reason = SafeText::clean("no");
    assert!(render(talk.on_event(at(0), ClientEvent::Ended { reason })).ends_with("refused: no"));
}

#[test]
fn typed_line_becomes_request() {
    let mut talk = online();
    receive(&mut talk, Said::Posted(message(100_001, "Ann_1180", "public")));
    let private = Message {
        audience: only(&["Bob_1234", "Kim_9021"]),
        ..message(100_002, "Ann_1180", "private")
    };
    receive(&mut talk, Said::Posted(private));
    let say = |audience, kind, text| {
        Request::Post(Post { audience, kind, content: SafeText::clean(text) })
    };
    let reply = |to| PostKind::Reply { to: message_id(to) };
    for (line, request) in [
        ("hello", say(Audience::Everyone, PostKind::Plain, "hello")),
        ("@Ann_1180 @kim_9021 hi", say(only(&["Ann_1180"]), PostKind::Plain, "hi")),
        ("@ann hi", say(only(&["Ann_1180"]), PostKind::Plain, "hi")),
        (".temp 60 gone", say(Audience::Everyone, PostKind::Temporary { seconds: 60 }, "gone")),
        (".reply 100001 yes", say(Audience::Everyone, reply(100_001), "yes")),
        (".reply 100002 yes", say(only(&["Ann_1180", "Kim_9021"]), reply(100_002), "yes")),
        (".delete 100001", Request::Delete(message_id(100_001))),
    ] {
        if line.contains("kim_9021") {
            assert!(type_line(&mut talk, line).starts_with("! nobody here is called kim_9021"));
        } else {
            assert_eq!(send_line(&mut talk, line).1, request, "{line:?}");
        }
    }
    assert_eq!(type_line(&mut talk, ".exit"), "leave");
    assert_eq!(type_line(&mut talk, "  "), "", "an empty line is nothing");
}

#[test]
fn invalid_line_is_reported_and_not_sent() {
    let mut talk = online();
    for (line, words) in [
        ("@Kim hi", "Kim may be Kim_9021 or Kim_9022"),
        ("@Tom hi", "nobody here is called Tom"),
        (".reply 123456 hi", "there is no message 123456"),
        (".reply 123456", "nothing to send"),
        (".dance", "no command"),
        (".search", "regular expression"),
        (".search a(", "(at character 2)"),
    ] {
        let said = type_line(&mut talk, line);
        assert!(said.starts_with("! ") && said.contains(words), "{line:?}: {said}");
    }
    assert!(talk.unanswered_count() == 0);
}

#[test]
fn answers_are_matched_by_cid() {
    let mut talk = online();
    let (said, _) = send_line(&mut talk, "hello");
    let (deleted, _) = send_line(&mut talk, ".delete 100001");
    let (wrong, _) = send_line(&mut talk, ".delete 100002");
    let (lost, _) = send_line(&mut talk, "into the void");
    let (unsent, _) = send_line(&mut talk, "too much");
    receive(
        &mut talk,
        Said::Posted(Message { cid: Some(said.clone()), ..message(100_009, "Ann_1180", "x") }),
    );
    receive(
        &mut talk,
        Said::Posted(Message { cid: Some(said), ..message(100_001, "Bob_1234", "hello") }),
    );
    let by = id("Bob_1234");
    let gone = Deleted { seq: Seq(2), id: message_id(100_001), author: by, cid: Some(deleted) };
    assert_eq!(
        receive(&mut talk, Said::Deleted(gone)),
        "12:03 -- message 100001 of Bob_1234 was removed by its author"
    );
    let refused = ErrorReply::new(&Refusal::NotYours(message_id(100_002)), Some(wrong));
    assert!(receive(&mut talk, Said::Error(refused)).starts_with("! message 100002 is not yours"));
    let complaint = talk.not_sent(&unsent, SendError::Busy).into_iter().collect();
    assert!(render(complaint).ends_with(": too much"));
    assert!(talk.unanswered_count() > 0, "{lost} has no answer");
    let reason = SafeText::clean("gone");
    let effects =
        talk.on_event(at(0), ClientEvent::Disconnected { reason, retry_in: Duration::ZERO });
    assert!(!render(effects).contains("not confirmed"), "{lost} is sent again by itself");
    assert!(talk.unanswered_count() > 0);
    let kept = talk
        .on_event(at(0), ClientEvent::NotSent { cid: lost, reason: SafeText::clean("too old") });
    assert_eq!(render(kept), "! too old: into the void");
    assert!(talk.unanswered_count() == 0);
    assert_eq!(talk.unconfirmed(), 2);
}

#[test]
fn input_waits_while_too_many_requests_are_unanswered() {
    let mut talk = online();
    let mut cids = Vec::new();
    while talk.accepts_input() {
        cids.push(send_line(&mut talk, "line").0);
    }
    assert!(cids.len() < 64, "{}", cids.len());
    receive(
        &mut talk,
        Said::Posted(Message { cid: cids.pop(), ..message(100_001, "Bob_1234", "line") }),
    );
    assert!(talk.accepts_input());
}

#[test]
fn recent_messages_are_shown_on_a_terminal_only() {
    let mut talk = LineSession::new("test", true);
    connect_at(&mut talk, Seq(200_000));
    let asked = talk.on_event(at(0), ClientEvent::Received(Said::Users([].into())));
    let [LineEffect::Print(_), LineEffect::Send(cid, Request::History(_))] = asked.as_slice()
    else {
        panic!("{asked:?}");
    };
    let yesterday = |text| Message { at: at(-24 * 60 * 60), ..message(100_001, "Ann_1180", text) };
    let mut messages = vec![yesterday("too long ago"); 20];
    for (number, message) in (100_010..).zip(&mut messages) {
        (message.id, message.seq) = (MessageId::from_number(number).unwrap(), Seq(number.into()));
    }
    messages.push(message(100_030, "Kim_9021", "before you came"));
    assert!(
        receive(&mut talk, Said::Posted(message(100_031, "Ann_1180", "already here"))).len() > 1
    );
    let page =
        HistoryPage { messages, has_earlier: true, has_later: false, cid: Some(cid.clone()) };
    let lines = receive(&mut talk, Said::History(page));
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines.len(), 15);
    assert_eq!(lines[0], "2025-04-19 12:03 [100016] Ann_1180: too long ago");
    assert_eq!(lines[14], "12:03 [100030] Kim_9021: before you came");

    let mut pipe = LineSession::new("test", false);
    connect_at(&mut pipe, Seq(200_000));
    assert_eq!(receive(&mut pipe, Said::Users([].into())), "12:03 -- nobody else is here");
}

#[test]
fn search_asks_the_server_for_older_messages() {
    let mut talk = LineSession::new("test", false);
    connect_at(&mut talk, Seq(200_000));
    receive(&mut talk, Said::Users([].into()));
    receive(&mut talk, Said::Posted(message(200_001, "Ann_1180", "lunch now")));
    let (cid, request) = send_line(&mut talk, ".search lunch from:ann");
    let Request::SearchHistory(find) = request else { panic!("{request:?}") };
    assert_eq!((find.pattern.as_str(), find.from.as_deref()), ("lunch", Some("ann")));
    let found = |messages, end| {
        Said::SearchResults(SearchResults { messages, searched: 7, end, cid: Some(cid.clone()) })
    };
    let first =
        vec![message(200_001, "Ann_1180", "lunch now"), message(150_000, "Ann_1180", "lunch then")];
    assert_eq!(receive(&mut talk, found(first, SearchEnd::Searching)), "");
    assert!(talk.unanswered_count() > 0);
    let last = vec![message(100_000, "Ann_1180", "first lunch")];
    assert_eq!(
        receive(&mut talk, found(last, SearchEnd::TooMany)),
        "12:03 [100000] Ann_1180: first lunch\n\
         12:03 [150000] Ann_1180: lunch then\n\
         12:03 [200001] Ann_1180: lunch now\n\
         12:03 -- 3 found, the newest of more"
    );
    assert!(talk.unanswered_count() == 0);
}

#[test]
fn search_skips_expired_messages() {
    let mut talk = online();
    let expires = (at(0) + TimeDelta::seconds(10)).timestamp_millis();
    receive(&mut talk, Said::Posted(message(100_001, "Ann_1180", "Lunch at one?")));
    receive(&mut talk, Said::Posted(message(100_002, "Ann_1180", "something else")));
    let temporary = message(100_003, "Ann_1180", "lunch is secret");
    receive(
        &mut talk,
        Said::Posted(Message { kind: MessageKind::Temporary { expires }, ..temporary }),
    );
    receive(&mut talk, Said::Posted(message(100_004, "Kim_9021", "no lunch")));
    assert_eq!(
        type_line(&mut talk, ".search lunch"),
        "12:03 [100001] Ann_1180: Lunch at one?\n\
         12:03 [100003] Ann_1180 (for 10 s): lunch is secret\n\
         12:03 [100004] Kim_9021: no lunch\n\
         12:03 -- 3 found"
    );
    assert_eq!(
        render(talk.on_line(at(11), ".search secret")),
        "12:03 -- message 100003 of Ann_1180 has expired\n12:03 -- 0 found"
    );
}

#[test]
fn presence_is_shown_immediately_then_batched() {
    let mut talk = online();
    let user_ids = |from: u32, to: u32| (from..to).map(|n| id(&format!("Guest_{n}"))).collect();
    let joined = |from, to| Said::Presence { joined: user_ids(from, to), left: vec![] };
    let left = |from, to| Said::Presence { joined: vec![], left: user_ids(from, to) };
    let presence_at = |talk: &mut LineSession, millis, said| {
        let now = at(0) + TimeDelta::milliseconds(millis);
        render(talk.on_event(now, ClientEvent::Received(said)))
    };
    assert_eq!(presence_at(&mut talk, 0, joined(1000, 1001)), "12:03 -- Guest_1000 joined");
    assert_eq!(talk.deadline(), None);
    for turn in 1..8 {
        assert_eq!(
            presence_at(
                &mut talk,
                250 * i64::from(turn),
                joined(1000 + 10 * turn, 1010 + 10 * turn)
            ),
            ""
        );
    }
    assert_eq!(presence_at(&mut talk, 1_900, left(1010, 1013)), "");
    let due = talk.deadline().unwrap();
    assert_eq!(due, at(0) + TimeDelta::seconds(2));
    assert!(talk.tick(due - TimeDelta::milliseconds(1)).is_empty());
    assert_eq!(
        render(talk.tick(due)),
        "12:03 -- 70 people joined\n12:03 -- Guest_1010, Guest_1011, Guest_1012 left"
    );
    assert_eq!(talk.deadline(), None, "nothing more to tell");
    assert_eq!(presence_at(&mut talk, 2_100, joined(3000, 3001)), "");
    assert_eq!(talk.deadline(), Some(at(0) + TimeDelta::seconds(4)));
}
