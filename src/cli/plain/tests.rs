//! Line mode, tested through the lines that the user types and reads.

use std::time::Duration;

use chrono::TimeDelta;

use super::session::{LineEffect, LineSession};
use super::*;
use crate::client::{Connected, SendError};
use crate::protocol::error::Refusal;
use crate::protocol::event::{
    Deleted, ErrorReply, Event, HistoryPage, SearchEnd, SearchResults, Welcome,
};
use crate::protocol::id::{Cid, MessageId, Seq, UserId};
use crate::protocol::limits::Limits;
use crate::protocol::mention::Mentions;
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

fn only(recipients: &[&str]) -> Audience {
    Audience::Only(recipients.iter().map(|recipient| id(recipient)).collect())
}

fn message(number: u32, sender: &str, text: &str) -> Message {
    Message {
        seq: Seq(u64::from(number)),
        id: message_id(number),
        sender: id(sender),
        guest: false,
        audience: Audience::Everyone,
        kind: MessageKind::Plain,
        content: SafeText::clean(text),
        at: at(0).to_utc().fixed_offset(),
        cid: None,
        mentions: Mentions::None,
        edited: None,
        reactions: Vec::new(),
        pinned: false,
    }
}

/// The effects of one event or line, as text.
fn render(effects: Vec<LineEffect>) -> String {
    let lines = without_background(effects).into_iter().map(|effect| match effect {
        LineEffect::Print(line) => line,
        LineEffect::PrintError(line) => format!("! {line}"),
        LineEffect::Send(cid, _) => format!("sent {cid}"),
        LineEffect::Quit => "quit".to_owned(),
        LineEffect::Refused(reason) => format!("refused: {reason}"),
        LineEffect::Untrusted(reason) => format!("untrusted: {reason}"),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Leaves out the requests that every session makes by itself.
fn without_background(mut effects: Vec<LineEffect>) -> Vec<LineEffect> {
    effects.retain(|effect| {
        let LineEffect::Send(_, request) = effect else { return true };
        !matches!(request, Request::Conversations | Request::Users { .. } | Request::Read { .. })
    });
    effects
}

fn receive(session: &mut LineSession, event: Event) -> String {
    render(session.on_event(at(0), ClientEvent::Received(event)))
}

fn type_line(session: &mut LineSession, line: &str) -> String {
    render(session.on_line(at(0), line))
}

/// Types a line that sends exactly one request.
fn send_line(session: &mut LineSession, line: &str) -> (Cid, Request) {
    let mut effects = session.on_line(at(0), line);
    match effects.pop() {
        Some(LineEffect::Send(cid, request)) if effects.is_empty() => (cid, request),
        other => panic!("{line:?}: {effects:?} {other:?}"),
    }
}

fn connect(session: &mut LineSession) -> String {
    connect_at(session, Seq(0))
}

/// Connects to a log that ends at `head`.
fn connect_at(session: &mut LineSession, head: Seq) -> String {
    let welcome = Welcome {
        user: id("Bob_1234"),
        epoch: "e".to_owned(),
        head,
        now: at(0).timestamp_millis(),
        resumed: false,
        limits: Limits::default(),
    };
    let connected = Connected { welcome, fingerprint: "SHA256:x".to_owned() };
    render(session.on_event(at(0), ClientEvent::Connected(connected)))
}

/// The session of Bob, with an Ann and two Kims online.
fn online() -> LineSession {
    let mut session = LineSession::new("test", true);
    connect(&mut session);
    let users = ["Ann_1180", "Kim_9021", "Kim_9022"].map(id);
    receive(&mut session, Event::Users(users.into()));
    session
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
        let mut session = online();
        assert_eq!(receive(&mut session, Event::Posted(message)), line);
    }
}

#[test]
fn presence_and_connection_changes_are_notices() {
    let mut session = LineSession::new("test", true);
    assert!(!session.accepts_input(), "no input before the login");
    assert_eq!(connect(&mut session), "12:03 -- you are Bob_1234");
    assert!(!session.accepts_input(), "no input before the user list");
    assert_eq!(receive(&mut session, Event::Users([].into())), "12:03 -- nobody else is online");
    assert!(session.accepts_input());
    let mut presence = |seconds, joined: &[&str], left: &[&str]| {
        let ids = |ids: &[&str]| ids.iter().copied().map(id).collect();
        let event = Event::Presence { joined: ids(joined), left: ids(left) };
        render(session.on_event(at(seconds), ClientEvent::Received(event)))
    };
    assert_eq!(presence(0, &["Bob_1234", "Kim_9022"], &[]), "12:03 -- Kim_9022 joined");
    assert_eq!(
        presence(2, &["Ann_1180", "Kim_9021"], &["Kim_9022"]),
        "12:03 -- Ann_1180, Kim_9021 joined\n12:03 -- Kim_9022 left"
    );
    receive(&mut session, Event::Guests(vec![id("Kim_9021")]));
    assert_eq!(
        receive(&mut session, Event::Users([id("Ann_1180"), id("Kim_9021")].into())),
        "12:03 -- online: Ann_1180, Kim_9021 (not verified)"
    );
    let reason = SafeText::clean("the server is shutting down");
    let lost = ClientEvent::Disconnected { reason, retry_in: Duration::from_millis(2_400) };
    assert_eq!(
        render(session.on_event(at(0), lost)),
        "12:03 -- disconnected: the server is shutting down; reconnecting in 3 s"
    );
    assert!(!session.accepts_input());
    assert!(connect(&mut session).contains("reconnected as Bob_1234"));
    let reason = SafeText::clean("no");
    assert!(
        render(session.on_event(at(0), ClientEvent::Ended { reason })).ends_with("refused: no")
    );
}

#[test]
fn typed_line_becomes_request() {
    let mut session = online();
    receive(&mut session, Event::Posted(message(100_001, "Ann_1180", "public")));
    let private = Message {
        audience: only(&["Bob_1234", "Kim_9021"]),
        ..message(100_002, "Ann_1180", "private")
    };
    receive(&mut session, Event::Posted(private));
    let post = |audience, kind, text| {
        Request::Post(Post { audience, kind, content: SafeText::clean(text) })
    };
    let reply = |to| PostKind::Reply { to: message_id(to) };
    for (line, request) in [
        ("hello", post(Audience::Everyone, PostKind::Plain, "hello")),
        ("@Ann_1180 @kim_9021 hi", post(only(&["Ann_1180", "Kim_9021"]), PostKind::Plain, "hi")),
        ("@ann hi", post(only(&["Ann_1180"]), PostKind::Plain, "hi")),
        (".temp 60 gone", post(Audience::Everyone, PostKind::Temporary { seconds: 60 }, "gone")),
        (".reply 100001 yes", post(Audience::Everyone, reply(100_001), "yes")),
        (".reply 100002 yes", post(only(&["Ann_1180", "Kim_9021"]), reply(100_002), "yes")),
        (".delete 100001", Request::Delete(message_id(100_001))),
    ] {
        assert_eq!(send_line(&mut session, line).1, request, "{line:?}");
    }
    assert_eq!(type_line(&mut session, ".exit"), "quit");
    assert_eq!(type_line(&mut session, "  "), "", "an empty line is nothing");
}

#[test]
fn invalid_line_is_reported_and_not_sent() {
    let mut session = online();
    for (line, expected) in [
        ("@Kim hi", "Kim may be Kim_9021 or Kim_9022"),
        ("@Tom hi", "no user is named Tom"),
        (".reply 123456 hi", "message 123456 not found"),
        (".reply 123456", "nothing to send"),
        (".dance", "unknown command .dance"),
        (".search", "regular expression"),
        (".search a(", "(at character 2)"),
    ] {
        let output = type_line(&mut session, line);
        assert!(output.starts_with("! ") && output.contains(expected), "{line:?}: {output}");
    }
    assert_eq!(session.unanswered_count(), 0);
}

#[test]
fn answers_are_matched_by_cid() {
    let mut session = online();
    let (posted, _) = send_line(&mut session, "hello");
    let (deleted, _) = send_line(&mut session, ".delete 100001");
    let (wrong, _) = send_line(&mut session, ".delete 100002");
    let (lost, _) = send_line(&mut session, "into the void");
    let (unsent, _) = send_line(&mut session, "too much");
    receive(
        &mut session,
        Event::Posted(Message { cid: Some(posted.clone()), ..message(100_009, "Ann_1180", "x") }),
    );
    receive(
        &mut session,
        Event::Posted(Message { cid: Some(posted), ..message(100_001, "Bob_1234", "hello") }),
    );
    let by = id("Bob_1234");
    let removal = Deleted { seq: Seq(2), id: message_id(100_001), author: by, cid: Some(deleted) };
    assert_eq!(
        receive(&mut session, Event::Deleted(removal)),
        "12:03 -- message 100001 of Bob_1234 was removed by its author"
    );
    let error = ErrorReply::new(&Refusal::NotYours(message_id(100_002)), Some(wrong));
    assert!(
        receive(&mut session, Event::Error(error)).starts_with("! message 100002 is not yours")
    );
    let effects = session.not_sent(at(0), &unsent, SendError::Busy).into_iter().collect();
    assert!(render(effects).ends_with(": too much"));
    assert!(session.unanswered_count() > 0, "{lost} is unanswered");
    let reason = SafeText::clean("connection lost");
    let effects =
        session.on_event(at(0), ClientEvent::Disconnected { reason, retry_in: Duration::ZERO });
    assert!(!render(effects).contains("not acknowledged"), "{lost} is resent by the outbox");
    assert!(session.unanswered_count() > 0);
    let effects = session
        .on_event(at(0), ClientEvent::NotSent { cid: lost, reason: SafeText::clean("too old") });
    assert_eq!(render(effects), "! too old: into the void");
    assert_eq!(session.unanswered_count(), 0);
    assert_eq!(session.unacknowledged(), 2);
}

#[test]
fn input_waits_while_too_many_requests_are_unanswered() {
    let mut session = online();
    let mut cids = Vec::new();
    while session.accepts_input() {
        cids.push(send_line(&mut session, "line").0);
    }
    assert!(cids.len() < 64, "{}", cids.len());
    receive(
        &mut session,
        Event::Posted(Message { cid: cids.pop(), ..message(100_001, "Bob_1234", "line") }),
    );
    assert!(session.accepts_input());
}

#[test]
fn recent_messages_are_shown_on_a_terminal_only() {
    let mut session = LineSession::new("test", true);
    connect_at(&mut session, Seq(200_000));
    let effects =
        without_background(session.on_event(at(0), ClientEvent::Received(Event::Users([].into()))));
    let [LineEffect::Print(_), LineEffect::Send(cid, Request::History(_))] = effects.as_slice()
    else {
        panic!("{effects:?}");
    };
    let yesterday = |text| Message { at: at(-24 * 60 * 60), ..message(100_001, "Ann_1180", text) };
    let mut messages = vec![yesterday("too long ago"); 20];
    for (number, message) in (100_010..).zip(&mut messages) {
        (message.id, message.seq) = (MessageId::from_number(number).unwrap(), Seq(number.into()));
    }
    messages.push(message(100_030, "Kim_9021", "before you came"));
    assert!(
        receive(&mut session, Event::Posted(message(100_031, "Ann_1180", "already here"))).len()
            > 1
    );
    let page =
        HistoryPage { messages, has_earlier: true, has_later: false, cid: Some(cid.clone()) };
    let lines = receive(&mut session, Event::History(page));
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines.len(), 15);
    assert_eq!(lines[0], "2025-04-19 12:03 [100016] Ann_1180: too long ago");
    assert_eq!(lines[14], "12:03 [100030] Kim_9021: before you came");

    let mut pipe = LineSession::new("test", false);
    connect_at(&mut pipe, Seq(200_000));
    assert_eq!(receive(&mut pipe, Event::Users([].into())), "12:03 -- nobody else is online");
}

#[test]
fn search_asks_the_server_for_older_messages() {
    let mut session = LineSession::new("test", false);
    connect_at(&mut session, Seq(200_000));
    receive(&mut session, Event::Users([].into()));
    receive(&mut session, Event::Posted(message(200_001, "Ann_1180", "lunch now")));
    let (cid, request) = send_line(&mut session, ".search lunch from:ann");
    let Request::SearchHistory(query) = request else { panic!("{request:?}") };
    assert_eq!((query.pattern.as_str(), query.from.as_deref()), ("lunch", Some("ann")));
    let results = |messages, end| {
        Event::SearchResults(SearchResults { messages, searched: 7, end, cid: Some(cid.clone()) })
    };
    let first =
        vec![message(200_001, "Ann_1180", "lunch now"), message(150_000, "Ann_1180", "lunch then")];
    assert_eq!(receive(&mut session, results(first, SearchEnd::Searching)), "");
    assert!(session.unanswered_count() > 0);
    let last = vec![message(100_000, "Ann_1180", "first lunch")];
    assert_eq!(
        receive(&mut session, results(last, SearchEnd::TooMany)),
        "12:03 [100000] Ann_1180: first lunch\n\
         12:03 [150000] Ann_1180: lunch then\n\
         12:03 [200001] Ann_1180: lunch now\n\
         12:03 -- 3 found, older matches are not shown"
    );
    assert_eq!(session.unanswered_count(), 0);
}

#[test]
fn search_skips_expired_messages() {
    let mut session = online();
    let expires = (at(0) + TimeDelta::seconds(10)).timestamp_millis();
    receive(&mut session, Event::Posted(message(100_001, "Ann_1180", "Lunch at one?")));
    receive(&mut session, Event::Posted(message(100_002, "Ann_1180", "something else")));
    let temporary = message(100_003, "Ann_1180", "lunch is secret");
    receive(
        &mut session,
        Event::Posted(Message { kind: MessageKind::Temporary { expires }, ..temporary }),
    );
    receive(&mut session, Event::Posted(message(100_004, "Kim_9021", "no lunch")));
    assert_eq!(
        type_line(&mut session, ".search lunch"),
        "12:03 [100001] Ann_1180: Lunch at one?\n\
         12:03 [100003] Ann_1180 (for 10 s): lunch is secret\n\
         12:03 [100004] Kim_9021: no lunch\n\
         12:03 -- 3 found"
    );
    assert_eq!(
        render(session.on_line(at(11), ".search secret")),
        "12:03 -- message 100003 of Ann_1180 has expired\n12:03 -- 0 found"
    );
}

#[test]
fn presence_is_shown_immediately_then_batched() {
    let mut session = online();
    let user_ids = |from: u32, to: u32| (from..to).map(|n| id(&format!("Guest_{n}"))).collect();
    let joined = |from, to| Event::Presence { joined: user_ids(from, to), left: vec![] };
    let left = |from, to| Event::Presence { joined: vec![], left: user_ids(from, to) };
    let presence_at = |session: &mut LineSession, millis, event| {
        let now = at(0) + TimeDelta::milliseconds(millis);
        render(session.on_event(now, ClientEvent::Received(event)))
    };
    assert_eq!(presence_at(&mut session, 0, joined(1000, 1001)), "12:03 -- Guest_1000 joined");
    assert_eq!(session.deadline(at(0)), None);
    for turn in 1..8 {
        assert_eq!(
            presence_at(
                &mut session,
                250 * i64::from(turn),
                joined(1000 + 10 * turn, 1010 + 10 * turn)
            ),
            ""
        );
    }
    assert_eq!(presence_at(&mut session, 1_900, left(1010, 1013)), "");
    let due = session.deadline(at(0)).unwrap();
    assert_eq!(due, at(0) + TimeDelta::seconds(2));
    assert!(session.tick(due - TimeDelta::milliseconds(1)).is_empty());
    assert_eq!(
        render(session.tick(due)),
        "12:03 -- 70 people joined\n12:03 -- Guest_1010, Guest_1011, Guest_1012 left"
    );
    assert_eq!(session.deadline(at(0)), None, "nothing is held back");
    assert_eq!(presence_at(&mut session, 2_100, joined(3000, 3001)), "");
    assert_eq!(session.deadline(at(0)), Some(at(0) + TimeDelta::seconds(4)));
}
