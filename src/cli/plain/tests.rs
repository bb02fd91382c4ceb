//! Line mode, tested through the lines that the user types and reads.

use std::time::Duration;

use chrono::TimeDelta;

use super::session::{LineEffect, LineSession};
use super::*;
use crate::client::{Connected, SendError};
use crate::protocol::error::Refusal;
use crate::protocol::event::{
    Deleted, Edited, ErrorReply, Event, HistoryPage, Pinned, Reacted, SearchEnd, SearchResults,
    Welcome,
};
use crate::protocol::id::{Cid, MessageId, RoomName, Seq, UserId};
use crate::protocol::limits::Limits;
use crate::protocol::mention::Mentions;
use crate::protocol::message::{Audience, Message, MessageKind};
use crate::protocol::query::{HistoryQuery, HistoryRange};
use crate::protocol::reaction::{Emoji, Reaction};
use crate::protocol::request::{Post, PostKind, Request};
use crate::protocol::room::{
    ConversationInfo, ConversationList, NotifyLevel, RoomAction, RoomChange, RoomChanged, RoomList,
    RoomState, SharedHistory, UserList,
};
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

/// Connects to a log that ends at `head`, in which the user has no conversation but Everyone.
fn connect_at(session: &mut LineSession, head: Seq) -> String {
    connect_with(session, head, Vec::new())
}

/// Connects, and answers the request for the conversations.
fn connect_with(
    session: &mut LineSession,
    head: Seq,
    conversations: Vec<ConversationInfo>,
) -> String {
    let welcome = Welcome {
        user: id("Bob_1234"),
        epoch: "e".to_owned(),
        head,
        now: at(0).timestamp_millis(),
        resumed: false,
        limits: Limits::default(),
    };
    let connected = Connected { welcome, fingerprint: "SHA256:x".to_owned() };
    let mut effects = session.on_event(at(0), ClientEvent::Connected(connected));
    let is_list =
        |effect: &LineEffect| matches!(effect, LineEffect::Send(_, Request::Conversations));
    let asked = effects.extract_if(.., |effect| is_list(effect)).next();
    let Some(LineEffect::Send(cid, _)) = asked else { panic!("{effects:?}") };
    let list = ConversationList { conversations, has_more: false, cid: Some(cid) };
    effects.extend(session.on_event(at(0), ClientEvent::Received(Event::Conversations(list))));
    render(effects)
}

fn ops() -> Audience {
    Audience::Room(room("#ops"))
}

fn room(name: &str) -> RoomName {
    name.parse().unwrap()
}

fn emoji(text: &str) -> Emoji {
    Emoji::from_input(text).unwrap()
}

fn info(conversation: Audience, unread: u32, mentions: u32) -> ConversationInfo {
    let room = conversation.room().map(|_| RoomState { people: 12, ..RoomState::default() });
    ConversationInfo {
        conversation,
        room,
        last: Seq(200_000),
        read: Seq(100_000),
        unread,
        mentions,
        notify: NotifyLevel::Mentions,
        muted_until: None,
    }
}

/// The session of Bob, who is a member of #ops with unread messages, with an Ann and two Kims online.
fn in_ops() -> LineSession {
    let mut session = LineSession::new("test", true);
    let conversations = vec![info(ops(), 3, 1), info(only(&["Kim_9021"]), 1, 0)];
    assert_eq!(
        connect_with(&mut session, Seq(200_000), conversations),
        "12:03 -- you are Bob_1234\n12:03 -- unread: #ops 3 (1 mention), @Kim_9021 1"
    );
    let users = ["Ann_1180", "Kim_9021", "Kim_9022"].map(id);
    receive(&mut session, Event::Users(users.into()));
    session
}

/// A change of #ops by Ann, or the copy of one's own.
fn changed(change: RoomChange, by: &str, cid: Option<Cid>) -> Event {
    Event::RoomChanged(RoomChanged {
        seq: Seq(200_100),
        room: room("#ops"),
        change,
        by: Some(id(by)),
        at: at(0).timestamp_millis(),
        state: RoomState { people: 2, topic: SafeText::clean("deploys"), ..RoomState::default() },
        cid,
    })
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
        (plain.clone(), "12:03 everyone Ann_1180: hello [100001]"),
        (
            Message { audience: only(&["Bob_1234", "Kim_9021"]), ..plain.clone() },
            "12:03 @Ann_1180,Kim_9021 Ann_1180: hello [100001]",
        ),
        (
            Message { sender: id("Bob_1234"), audience: only(&["Ann_1180"]), ..plain.clone() },
            "12:03 @Ann_1180 you: hello [100001]",
        ),
        (
            Message { kind: MessageKind::Reply { to: message_id(235_467) }, ..plain.clone() },
            "12:03 everyone Ann_1180 (reply to 235467): hello [100001]",
        ),
        (
            Message {
                kind: MessageKind::Temporary { expires },
                audience: only(&["Bob_1234"]),
                ..plain.clone()
            },
            "12:03 @Ann_1180 Ann_1180 (for 10 s): hello [100001]",
        ),
        (
            Message {
                audience: ops(),
                mentions: Mentions::Users(vec![id("Bob_1234")]),
                edited: Some(1),
                pinned: true,
                reactions: vec![Reaction { emoji: emoji("👍"), count: 3, users: vec![] }],
                ..plain.clone()
            },
            "12:03 #ops Ann_1180 (mentions you, edited, pinned, 👍 3): hello [100001]",
        ),
        (
            Message {
                content: SafeText::clean("one\n12:04 everyone Kim_9021: two\x1b[31m [100002]"),
                ..plain
            },
            "12:03 everyone Ann_1180: one\n    12:04 everyone Kim_9021: two[31m [100002] [100001]",
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
fn input_does_not_wait_long_for_the_conversations() {
    let mut session = LineSession::new("test", false);
    let welcome = Welcome {
        user: id("Bob_1234"),
        epoch: "e".to_owned(),
        head: Seq(0),
        now: at(0).timestamp_millis(),
        resumed: false,
        limits: Limits::default(),
    };
    let connected = Connected { welcome, fingerprint: "SHA256:x".to_owned() };
    session.on_event(at(0), ClientEvent::Connected(connected));
    receive(&mut session, Event::Users([].into()));
    assert!(!session.accepts_input());
    let due = session.deadline(at(0)).unwrap();
    assert_eq!(due, at(2));
    session.tick(due);
    assert!(session.accepts_input());
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
        (
            "/edit 100001 better",
            Request::Edit { id: message_id(100_001), content: SafeText::clean("better") },
        ),
        (
            ".react 100001 -+1",
            Request::React { id: message_id(100_001), emoji: emoji("+1"), on: false },
        ),
        (".pin 100002", Request::Pin { id: message_id(100_002), on: true }),
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
        ("/msg Kim hello", "unknown command /msg"),
        (".to #ops", "you are not a member of #ops"),
        (".to @Tom", "no user is named Tom"),
        (".topic x", "this is not a room"),
        (".add @Ann", "this is not a room"),
        (".leave", "this is not a room"),
        (".search", "start one, as in .search deploy(ed)?"),
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
        "12:03 everyone -- your message 100001 was removed"
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
    assert_eq!(lines[0], "2025-04-19 12:03 everyone Ann_1180: too long ago [100016]");
    assert_eq!(lines[14], "12:03 everyone Kim_9021: before you came [100030]");

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
        "12:03 everyone Ann_1180: first lunch [100000]\n\
         12:03 everyone Ann_1180: lunch then [150000]\n\
         12:03 everyone Ann_1180: lunch now [200001]\n\
         12:03 -- 1 to 3 of 3+ found (.search shows older ones)"
    );
    assert_eq!(session.unanswered_count(), 0);
    let (_, request) = send_line(&mut session, ".reply 100000 seconded");
    let kind = PostKind::Reply { to: message_id(100_000) };
    let content = SafeText::clean("seconded");
    assert_eq!(request, Request::Post(Post { audience: Audience::Everyone, kind, content }));
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
        "12:03 everyone Ann_1180: Lunch at one? [100001]\n\
         12:03 everyone Ann_1180 (for 10 s): lunch is secret [100003]\n\
         12:03 everyone Kim_9021: no lunch [100004]\n\
         12:03 -- 3 found"
    );
    assert_eq!(
        render(session.on_line(at(11), ".search secret")),
        "12:03 everyone -- message 100003 of Ann_1180 has expired\n12:03 -- 0 found"
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

#[test]
fn open_conversation_decides_where_text_goes() {
    let mut session = in_ops();
    let to = |session: &mut LineSession, line: &str| {
        without_background(session.on_line(at(0), line)).into_iter().next().unwrap()
    };
    assert_eq!(
        to(&mut session, ".to #ops"),
        LineEffect::Print(
            "12:03 -- text goes to #ops (12 people), 3 unread (1 mention)".to_owned()
        )
    );
    let audience = |session: &mut LineSession, line: &str| {
        let (_, request) = send_line(session, line);
        let Request::Post(post) = request else { panic!("{request:?}") };
        post.audience
    };
    assert_eq!(audience(&mut session, "hello"), ops());
    assert_eq!(audience(&mut session, ".temp 60 hello"), ops());
    assert_eq!(audience(&mut session, "@Ann aside"), only(&["Ann_1180"]));
    to(&mut session, ".to @Ann @Kim_9022");
    assert_eq!(audience(&mut session, "hello"), only(&["Ann_1180", "Kim_9022"]));
    assert_eq!(
        to(&mut session, ".to everyone"),
        LineEffect::Print("12:03 -- text goes to everyone".to_owned())
    );
    assert_eq!(audience(&mut session, "hello"), Audience::Everyone);
}

#[test]
fn room_is_opened_once_it_is_created_and_input_waits_for_it() {
    let mut session = online();
    let (cid, request) = send_line(&mut session, ".room #ops private deploys");
    let create = RoomAction::Create { private: true, topic: SafeText::clean("deploys") };
    assert_eq!(request, Request::Room { room: room("#ops"), action: create });
    assert!(!session.accepts_input(), "the next line is meant for the room");
    assert_eq!(
        receive(&mut session, changed(RoomChange::Created, "Bob_1234", Some(cid))),
        "12:03 #ops -- Bob_1234 created #ops\n12:03 -- text goes to #ops (2 people: deploys)"
    );
    assert!(session.accepts_input());
    for (line, action) in [
        (
            ".add @Ann all",
            RoomAction::Add { users: vec![id("Ann_1180")], history: SharedHistory::All },
        ),
        (".remove @Ann", RoomAction::Remove(vec![id("Ann_1180")])),
        (".topic on-call", RoomAction::Topic(SafeText::clean("on-call"))),
        (".archive", RoomAction::Archive(true)),
        (".leave", RoomAction::Leave),
    ] {
        assert_eq!(
            send_line(&mut session, line).1,
            Request::Room { room: room("#ops"), action },
            "{line}"
        );
    }
    let (cid, _) = send_line(&mut session, ".leave");
    assert_eq!(
        receive(&mut session, changed(RoomChange::Left, "Bob_1234", Some(cid))),
        "12:03 #ops -- Bob_1234 left #ops\n12:03 -- text goes to everyone"
    );
}

#[test]
fn refused_room_lets_input_go_on() {
    let mut session = online();
    let (cid, _) = send_line(&mut session, ".join #ops");
    let refusal = Refusal::NoSuchRoom(room("#ops"));
    let refused = receive(&mut session, Event::Error(ErrorReply::new(&refusal, Some(cid))));
    assert!(refused.starts_with("! "), "{refused}");
    assert!(session.accepts_input());
    assert_eq!(session.unanswered_count(), 0);
}

#[test]
fn room_in_a_direct_conversation_gets_its_people() {
    let mut session = online();
    type_line(&mut session, ".to @Ann @Kim_9021");
    let sent = session.on_line(at(0), ".room #plan");
    let requests = sent.into_iter().map(|effect| match effect {
        LineEffect::Send(_, Request::Room { action, .. }) => action,
        other => panic!("{other:?}"),
    });
    let users = vec![id("Ann_1180"), id("Kim_9021")];
    assert_eq!(
        requests.collect::<Vec<_>>(),
        [
            RoomAction::Create { private: true, topic: SafeText::default() },
            RoomAction::Add { users, history: SharedHistory::Now },
        ]
    );
}

#[test]
fn changes_of_messages_and_rooms_are_lines() {
    let mut session = in_ops();
    let original = Message { audience: ops(), ..message(200_001, "Ann_1180", "tpyo") };
    receive(&mut session, Event::Posted(original));
    let edited = Edited {
        seq: Seq(200_002),
        id: message_id(200_001),
        author: id("Ann_1180"),
        audience: ops(),
        reply_to: None,
        content: SafeText::clean("typo\nfixed"),
        mentions: Mentions::None,
        at: at(0),
        cid: None,
    };
    let reacted = |on| {
        Event::Reacted(Reacted {
            seq: Seq(200_003),
            id: message_id(200_001),
            user: id("Bob_1234"),
            emoji: emoji("👍"),
            on,
            cid: None,
        })
    };
    let pinned = Pinned {
        seq: Seq(200_005),
        id: message_id(200_001),
        user: id("Ann_1180"),
        on: true,
        cid: None,
    };
    for (event, line) in [
        (Event::Edited(edited), "12:03 #ops -- Ann_1180 edited 200001: typo\n    fixed"),
        (reacted(true), "12:03 #ops -- you reacted 👍 to 200001"),
        (reacted(false), "12:03 #ops -- you removed 👍 from 200001"),
        (Event::Pinned(pinned), "12:03 #ops -- Ann_1180 pinned 200001"),
        (
            changed(RoomChange::Added(vec![id("Lou_0334")]), "Ann_1180", None),
            "12:03 #ops -- Ann_1180 added Lou_0334",
        ),
        (
            changed(RoomChange::Topic, "Ann_1180", None),
            "12:03 #ops -- Ann_1180 set the topic: deploys",
        ),
    ] {
        assert_eq!(receive(&mut session, event), line);
    }
}

/// The markers that the session tells the server after an event.
fn markers(effects: &[LineEffect]) -> Vec<(Audience, Seq)> {
    let marker = |effect: &LineEffect| match effect {
        LineEffect::Send(_, Request::Read { conversation, up_to, .. }) => {
            Some((conversation.clone(), *up_to))
        }
        _ => None,
    };
    effects.iter().filter_map(marker).collect()
}

#[test]
fn marker_moves_to_what_was_printed_and_not_over_unread_messages() {
    let mut session = in_ops();
    let post = |session: &mut LineSession, number, audience| {
        let posted = Message { audience, ..message(number, "Ann_1180", "news") };
        markers(&session.on_event(at(0), ClientEvent::Received(Event::Posted(posted))))
    };
    let everyone = post(&mut session, 200_001, Audience::Everyone);
    assert_eq!(everyone, [(Audience::Everyone, Seq(200_001))]);
    assert_eq!(post(&mut session, 200_002, ops()), [], "three messages were not printed");
    let effects = session.on_line(at(0), ".to #ops");
    let Some(LineEffect::Send(cid, Request::History(query))) = effects.last() else {
        panic!("{effects:?}")
    };
    assert_eq!(query, &HistoryQuery { conversation: Some(ops()), range: HistoryRange::Latest });
    let one = |number| Message { audience: ops(), ..message(number, "Ann_1180", "unread") };
    let page = HistoryPage {
        messages: vec![one(150_001), one(150_002), one(150_003), one(200_002)],
        has_earlier: true,
        has_later: false,
        cid: Some(cid.clone()),
    };
    let effects = session.on_event(at(0), ClientEvent::Received(Event::History(page)));
    let printed = effects.iter().filter(|one| matches!(one, LineEffect::Print(_)));
    assert_eq!(printed.count(), 3, "the fourth was printed before");
    assert_eq!(markers(&effects), [(ops(), Seq(200_002))]);
}

#[test]
fn settings_and_lists_are_requested_and_shown() {
    let mut session = in_ops();
    type_line(&mut session, ".to #ops");
    let (cid, request) = send_line(&mut session, ".mute 2h");
    let until = (at(0) + TimeDelta::hours(2)).timestamp_millis();
    let (level, muted_until) = (NotifyLevel::Mentions, Some(until));
    assert_eq!(request, Request::Notify { conversation: ops(), level, muted_until });
    let setting = crate::protocol::room::NotifySetting {
        conversation: ops(),
        level,
        muted_until,
        cid: Some(cid),
    };
    assert_eq!(receive(&mut session, Event::NotifySet(setting)), "12:03 #ops -- muted until 14:03");
    let effects = session.on_line(at(0), ".rooms");
    let Some(LineEffect::Send(cid, Request::Rooms(None))) = effects.last() else {
        panic!("{effects:?}")
    };
    let state = RoomState { people: 1, topic: SafeText::clean("anything"), ..RoomState::default() };
    let rooms = vec![(room("#ops"), RoomState::default()), (room("#random"), state)];
    let list = RoomList { rooms, has_more: false, cid: Some(cid.clone()) };
    assert!(render(effects).contains("-- #ops (12 people), 3 unread (1 mention), muted\n"));
    assert_eq!(
        receive(&mut session, Event::Rooms(list)),
        "12:03 -- #random (1 person: anything), not joined"
    );
    let effects = session.on_line(at(0), ".people");
    let [LineEffect::Send(cid, Request::Users { room: Some(_), after: None })] = effects.as_slice()
    else {
        panic!("{effects:?}")
    };
    let users = ["Ann_1180", "Bob_1234", "Zed_7710"].map(id).to_vec();
    let room = Some(room("#ops"));
    let page = UserList { room, users, has_more: false, cid: Some(cid.clone()) };
    assert_eq!(
        receive(&mut session, Event::UserPage(page)),
        "12:03 #ops -- people: Ann_1180 (owner), you, Zed_7710 (away)"
    );
    assert_eq!(session.unanswered_count(), 0);
}

#[test]
fn thread_is_printed_and_a_lost_query_is_reported() {
    let mut session = in_ops();
    let original = Message { audience: ops(), ..message(200_001, "Ann_1180", "question") };
    receive(&mut session, Event::Posted(original.clone()));
    let (cid, request) = send_line(&mut session, ".thread 200001");
    let range = HistoryRange::Thread(message_id(200_001));
    assert_eq!(request, Request::History(HistoryQuery { conversation: Some(ops()), range }));
    let kind = MessageKind::Reply { to: message_id(200_001) };
    let reply = Message { audience: ops(), kind, ..message(200_002, "Kim_9021", "answer") };
    let page = HistoryPage {
        messages: vec![original, reply],
        has_earlier: false,
        has_later: false,
        cid: Some(cid),
    };
    assert_eq!(
        receive(&mut session, Event::History(page)),
        "12:03 #ops Ann_1180: question [200001]\n\
         12:03 #ops Kim_9021 (reply to 200001): answer [200002]\n\
         12:03 -- 2 shown"
    );
    send_line(&mut session, ".pins");
    let reason = SafeText::clean("connection lost");
    let effects =
        session.on_event(at(0), ClientEvent::Disconnected { reason, retry_in: Duration::ZERO });
    assert!(render(effects).contains("! not acknowledged: .pins"));
    assert_eq!((session.unanswered_count(), session.unacknowledged()), (0, 1));
}

#[test]
fn help_lists_every_command() {
    let help = type_line(&mut online(), "/help");
    for command in &crate::client::input::DOT_COMMANDS {
        assert!(help.contains(&format!("-- {}", command.name)), "{help}");
    }
}

/// The lines in the table of LINES.md.
fn documented_lines() -> Vec<String> {
    let rows = include_str!("LINES.md").lines().filter_map(|line| line.strip_prefix("| "));
    let rows = rows.skip(2).filter_map(|row| row.split_once(" | "));
    rows.flat_map(|(_, cell)| cell.split('`').skip(1).step_by(2).map(str::to_owned)).collect()
}

/// A message of each kind in LINES.md.
fn documented_messages() -> Vec<Message> {
    let in_room = |message: Message| Message { audience: ops(), ..message };
    let kind = MessageKind::Reply { to: message_id(100_001) };
    let mentions = Mentions::Users(vec![id("Bob_1234")]);
    let expires = (at(0) + TimeDelta::seconds(60)).timestamp_millis();
    let direct = only(&["Bob_1234", "Kim_9021"]);
    vec![
        in_room(message(100_001, "Ann_1180", "hello")),
        message(100_002, "Ann_1180", "one\ntwo"),
        Message { kind, mentions, ..in_room(message(100_003, "Kim_9021", "@Bob look")) },
        Message { audience: direct, ..message(100_004, "Kim_9021", "lunch?") },
        Message {
            kind: MessageKind::Temporary { expires },
            ..message(100_005, "Kim_9021", "the code is 4711")
        },
        Message { guest: true, ..message(100_006, "Eve_1111", "hi") },
    ]
}

#[test]
fn documented_lines_are_printed() {
    let mut session = LineSession::new("test", true);
    let conversations = vec![info(ops(), 3, 1), info(only(&["Kim_9021"]), 1, 0)];
    let mut printed = connect_with(&mut session, Seq(200_000), conversations);
    let mut print = |lines: String| {
        printed.push('\n');
        printed.push_str(&lines);
    };
    print(receive(&mut session, Event::Users(["Ann_1180", "Kim_9021", "Kim_9022"].map(id).into())));
    print(type_line(&mut session, ".to #ops"));
    for posted in documented_messages() {
        print(receive(&mut session, Event::Posted(posted)));
    }
    let id_ = message_id(100_001);
    let (seq, cid) = (Seq(200_001), None);
    let reacted = |on| {
        let (user, emoji) = (id("Kim_9021"), emoji("+1"));
        Event::Reacted(Reacted { seq, id: id_, user, emoji, on, cid: None })
    };
    for event in [
        Event::Edited(Edited {
            seq,
            id: id_,
            author: id("Ann_1180"),
            content: SafeText::clean("hello all"),
            mentions: Mentions::None,
            at: at(0),
            audience: ops(),
            reply_to: None,
            cid: None,
        }),
        reacted(true),
        reacted(false),
        Event::Pinned(Pinned { seq, id: id_, user: id("Ann_1180"), on: true, cid: None }),
        changed(RoomChange::Topic, "Ann_1180", None),
        Event::Presence { joined: vec![id("Zed_7710")], left: Vec::new() },
    ] {
        print(receive(&mut session, event));
    }
    let mut local = online();
    receive(&mut local, Event::Posted(message(100_007, "Ann_1180", "found")));
    print(type_line(&mut local, ".search found"));
    print(type_line(&mut local, ".unread"));
    print(receive(
        &mut session,
        Event::Deleted(Deleted { seq, id: id_, author: id("Ann_1180"), cid }),
    ));
    for line in documented_lines() {
        assert!(printed.lines().any(|one| one == line), "{line:?} is not printed:\n{printed}");
    }
    assert_eq!(documented_lines().len(), 20);
}

#[test]
fn unread_messages_are_shown_and_count_as_read() {
    let mut session = in_ops();
    let effects = without_background(session.on_line(at(0), ".unread"));
    let asked: Vec<_> = effects
        .into_iter()
        .filter_map(|effect| match effect {
            LineEffect::Send(cid, Request::History(query)) => Some((cid, query)),
            _ => None,
        })
        .collect();
    let after = |conversation| HistoryQuery {
        conversation: Some(conversation),
        range: HistoryRange::After(Seq(100_000)),
    };
    let queries: Vec<_> = asked.iter().map(|(_, query)| query.clone()).collect();
    assert_eq!(queries.len(), 2);
    assert!(queries.contains(&after(ops())) && queries.contains(&after(only(&["Kim_9021"]))));
    for (cid, query) in asked {
        let audience = query.conversation.unwrap();
        let has_later = audience == ops();
        let number = if has_later { 150_000 } else { 200_000 };
        let message = Message { audience, ..message(number, "Kim_9021", "you missed this") };
        let page =
            HistoryPage { messages: vec![message], has_earlier: true, has_later, cid: Some(cid) };
        let lines = receive(&mut session, Event::History(page));
        assert!(lines.contains("Kim_9021: you missed this ["), "{lines}");
        assert_eq!(lines.contains("#ops -- more is unread: .unread shows it"), has_later);
    }
    let (_, request) = send_line(&mut session, ".reply 150000 I see");
    let Request::Post(post) = request else { panic!("{request:?}") };
    assert_eq!(post.audience, ops());
    assert_eq!(session.state.conversation(&ops()).unwrap().marker(), Seq(150_000));
}

#[test]
fn search_shows_pages_of_matches() {
    let mut session = online();
    for n in 0..45 {
        receive(&mut session, Event::Posted(message(100_001 + n, "Ann_1180", "lunch")));
    }
    let mut page = |typed: &str| {
        let lines = type_line(&mut session, typed);
        let (first, last) = (lines.lines().next().unwrap(), lines.lines().last().unwrap());
        (lines.lines().count() - 1, first.to_owned(), last.to_owned())
    };
    let newest = "12:03 everyone Ann_1180: lunch [100026]".to_owned();
    let more = "12:03 -- 1 to 20 of 45 found (.search shows older ones)".to_owned();
    assert_eq!(page(".search lunch"), (20, newest, more));
    assert_eq!(page(".search").0, 20);
    let oldest = "12:03 everyone Ann_1180: lunch [100001]".to_owned();
    assert_eq!(page(".search"), (5, oldest, "12:03 -- 41 to 45 of 45 found".to_owned()));
    assert_eq!(page("/search").2, "12:03 -- no older match: 45 found");
    let mut fresh = online();
    assert!(type_line(&mut fresh, ".search").contains("no search to continue: start one"));
}

#[test]
fn quiet_hides_who_joins_and_leaves() {
    let mut session = online();
    let joined = |user| Event::Presence { joined: vec![id(user)], left: Vec::new() };
    assert_eq!(type_line(&mut session, ".quiet"), "12:03 -- who joins and leaves is hidden");
    assert_eq!(receive(&mut session, joined("Zed_7710")), "");
    type_line(&mut session, ".quiet off");
    assert_eq!(receive(&mut session, joined("Pia_1000")), "12:03 -- Pia_1000 joined");
}
