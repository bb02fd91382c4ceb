//! Round trips of every event and request, and hostile objects.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::DateTime;
use proptest::prelude::*;

use super::error::{ErrorCode, Refusal};
use super::event::{Deleted, Event, Refused, Welcome};
use super::id::{ClientId, MessageId, Name, Seq, UserId};
use super::invite::Invite;
use super::limits::{self, Limits, Rates};
use super::message::{Audience, Kind, Message};
use super::rate::{Bucket, Rate};
use super::request::{Dialect, Login, Request, Resume, Say, SayKind};
use super::text::SafeText;

fn user() -> impl Strategy<Value = UserId> {
    ("[A-Za-z][A-Za-z0-9.-]{0,10}", 0..10_000_u32)
        .prop_map(|(name, number)| UserId::new(&name.parse().unwrap(), number))
}

fn message_id() -> impl Strategy<Value = MessageId> {
    (100_000..10_000_000_u32).prop_map(|number| MessageId::from_number(number).unwrap())
}

fn cid() -> impl Strategy<Value = Option<ClientId>> {
    proptest::option::of("[!-~]{1,64}".prop_map(|text| text.parse().unwrap()))
}

fn text() -> impl Strategy<Value = SafeText> {
    "(?s).{0,3000}".prop_map(|text| SafeText::clean(&text))
}

fn audience() -> impl Strategy<Value = Audience> {
    prop_oneof![
        Just(Audience::Everyone),
        proptest::collection::btree_set(user(), 1..200).prop_map(Audience::Only),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let kind = prop_oneof![
        Just(Kind::Plain),
        (0..4_000_000_000_000_i64).prop_map(|expires| Kind::Temporary { expires }),
        message_id().prop_map(|to| Kind::Reply { to }),
    ];
    (
        any::<u64>(),
        message_id(),
        user(),
        audience(),
        kind,
        text(),
        0..4_000_000_000_000_i64,
        cid(),
        any::<bool>(),
    )
        .prop_map(|(seq, id, sender, audience, kind, content, at, cid, guest)| Message {
            seq: Seq(seq),
            id,
            sender,
            guest,
            audience,
            kind,
            content,
            at: DateTime::from_timestamp_millis(at).unwrap().fixed_offset(),
            cid,
        })
}

fn event() -> impl Strategy<Value = Event> {
    let people = || proptest::collection::vec(user(), 0..300);
    let refused =
        || (text(), cid()).prop_map(|(text, cid)| Refused { code: ErrorCode::NotYours, text, cid });
    prop_oneof![
        Just(Event::LoginPrompt),
        (user(), "[a-z0-9]{1,20}", any::<u64>(), any::<i64>(), any::<u32>()).prop_map(
            |(user, epoch, head, now, burst)| {
                let rate = Rate { burst, per_second: 7 };
                let rates = Rates { messages: rate, questions: rate, bytes: rate };
                let rates = Some(rates).filter(|_| burst % 2 == 0);
                Event::Welcome(Welcome {
                    user,
                    epoch,
                    head: Seq(head),
                    now,
                    resumed: head % 2 == 0,
                    limits: Limits { rates, ..Limits::default() },
                })
            }
        ),
        refused().prop_map(Event::LoginRefused),
        people().prop_map(|people| Event::People(people.into())),
        people().prop_map(Event::Guests),
        (people(), people()).prop_map(|(joined, left)| Event::Presence { joined, left }),
        message().prop_map(Event::Said),
        (any::<u64>(), message_id(), user(), cid())
            .prop_map(|(seq, id, by, cid)| Event::Deleted(Deleted { seq: Seq(seq), id, by, cid })),
        (any::<u64>(), message_id()).prop_map(|(seq, id)| Event::Expired { seq: Seq(seq), id }),
        refused().prop_map(Event::Refused),
        refused().prop_map(Event::Closing),
    ]
}

proptest! {
    #[test]
    fn every_event_comes_back_as_it_went(event in event()) {
        let bytes = event.encode();
        prop_assert_eq!(bytes.iter().position(|b| *b == b'\n'), Some(bytes.len() - 1), "one line");
        prop_assert_eq!(Event::decode(&bytes).unwrap(), Some(event));
    }

    #[test]
    fn an_original_client_can_read_every_event_at_once(event in event()) {
        if let Some(bytes) = event.encode_for_original() {
            prop_assert!(bytes.len() <= limits::ORIGINAL_FRAME_BYTES, "{} bytes", bytes.len());
            let object: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            for ours in ["seq", "at", "expires", "cid", "epoch", "protocol"] {
                prop_assert!(object.get(ours).is_none(), "{} in {}", ours, object);
            }
        }
    }

    #[test]
    fn every_request_comes_back_as_it_went(
        audience in audience(), content in "[^\\s].{0,80}", kind in 0..3, to in message_id(), cid in cid(),
    ) {
        let content = SafeText::clean(&content);
        prop_assume!(!content.is_blank());
        let kind = match kind {
            0 => SayKind::Plain,
            1 => SayKind::Temporary { seconds: 60 },
            _ => SayKind::Reply { to },
        };
        let request = Request::Say(Say { audience, kind, content });
        prop_assert_eq!(Request::decode(&request.encode(cid.as_ref())), (cid.clone(), Ok(request)));
        let delete = Request::Delete(to);
        prop_assert_eq!(Request::decode(&delete.encode(cid.as_ref())), (cid, Ok(delete)));
    }

    #[test]
    fn hostile_objects_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop((Request::decode(&bytes), Login::decode(&bytes), Event::decode(&bytes)));
    }
}

#[test]
fn an_original_clients_objects_are_understood() {
    let id = |text: &str| text.parse::<UserId>().unwrap();
    let decode = |object: &str| Request::decode(object.as_bytes()).1;
    let say =
        |audience, kind| Ok(Request::Say(Say { audience, kind, content: SafeText::clean("hi") }));
    let only = |ids: &[&str]| Audience::Only(ids.iter().map(|i| id(i)).collect::<BTreeSet<_>>());
    let envelope = |action: &str, receiver: &str, private: bool, optional: &str| {
        format!(
            r#"{{"id": null, "action": "{action}", "sender": "Mallory_0000", "receiver": {receiver},
                "content": "hi", "time": "2025-04-20 10:54:03", "private": {private}, "optional": {optional}}}"#
        )
    };
    assert_eq!(
        decode(&envelope("MESSAGE", r#"["all"]"#, false, "null")),
        say(Audience::Everyone, SayKind::Plain)
    );
    assert_eq!(
        decode(&envelope("MESSAGE", r#"["Ann_1234", "Kim_9021"]"#, true, "null")),
        say(only(&["Ann_1234", "Kim_9021"]), SayKind::Plain)
    );
    assert_eq!(
        decode(&envelope("TEMPORARY", r#"["all"]"#, false, "null")),
        say(Audience::Everyone, SayKind::Temporary { seconds: limits::TEMPORARY_SECONDS })
    );
    let to = "235467".parse().unwrap();
    for optional in ["235467", "\"235467\""] {
        assert_eq!(
            decode(&envelope("REPLY", r#"["Ann_1234"]"#, true, optional)),
            say(only(&["Ann_1234"]), SayKind::Reply { to })
        );
        assert_eq!(
            decode(&envelope("REPLY", r#"["all", "Ann_1234"]"#, false, optional)),
            say(Audience::Everyone, SayKind::Reply { to })
        );
        let delete = format!(r#"{{"action": "DELETE", "optional": {optional}, "content": null}}"#);
        assert_eq!(decode(&delete), Ok(Request::Delete(to)));
        let delete = format!(r#"{{"action": "DELETE", "content": {optional}}}"#);
        assert_eq!(decode(&delete), Ok(Request::Delete(to)));
    }
    assert_eq!(decode(r#"{"action": "SEARCH", "content": null}"#), Ok(Request::Search));
    assert_eq!(decode(r#"{"action": "EXIT"}"#), Ok(Request::Exit));
}

#[test]
fn each_wrong_object_has_its_own_code() {
    let long = "x".repeat(limits::CONTENT_CHARACTERS + 1);
    let people = (0..=limits::RECIPIENTS).map(|n| format!("\"Bob_{n:04}\"")).collect::<Vec<_>>();
    let cases = [
        (r#"{"action": "MESSAGE""#.to_owned(), ErrorCode::BadJson),
        (r#"{"action": 5}"#.to_owned(), ErrorCode::BadRequest),
        (r#"{"action": "DANCE"}"#.to_owned(), ErrorCode::UnknownAction),
        (r#"{"username": "Tom"}"#.to_owned(), ErrorCode::AlreadyLoggedIn),
        (
            r#"{"action": "MESSAGE", "receiver": ["all"], "content": " \n "}"#.to_owned(),
            ErrorCode::EmptyContent,
        ),
        (
            format!(r#"{{"action": "MESSAGE", "receiver": ["all"], "content": "{long}"}}"#),
            ErrorCode::ContentTooLong,
        ),
        (
            r#"{"action": "MESSAGE", "receiver": [], "content": "hi"}"#.to_owned(),
            ErrorCode::NoRecipient,
        ),
        (
            r#"{"action": "MESSAGE", "receiver": ["Tom"], "content": "hi"}"#.to_owned(),
            ErrorCode::BadRequest,
        ),
        (
            format!(
                r#"{{"action": "MESSAGE", "receiver": [{}], "content": "hi"}}"#,
                people.join(",")
            ),
            ErrorCode::TooManyRecipients,
        ),
        (
            r#"{"action": "TEMPORARY", "receiver": ["all"], "content": "hi", "seconds": 0}"#
                .to_owned(),
            ErrorCode::BadSeconds,
        ),
        (r#"{"action": "DELETE", "content": "12"}"#.to_owned(), ErrorCode::BadRequest),
        (r#"{"action": "EXIT", "cid": "two words"}"#.to_owned(), ErrorCode::BadRequest),
        (format!("{}1", r#"{"a":"#.repeat(5_000)), ErrorCode::BadJson),
    ];
    for (object, code) in cases {
        let refusal = Request::decode(object.as_bytes()).1.unwrap_err();
        assert_eq!(refusal.code(), code, "{refusal}");
    }
    assert_eq!(Login::decode(b"{\"action\":\"EXIT\"}"), Err(Refusal::LoginFirst));
}

#[test]
fn logins_of_both_dialects() {
    let login = |object: &str| Login::decode(object.as_bytes()).unwrap();
    assert_eq!(login(r#"{"username": "Tom", "user_id": "Tom_8386"}"#).dialect, Dialect::Original);
    let ours = Login {
        dialect: Dialect::Extended,
        id: Some("Tom_8386".parse().unwrap()),
        invite: Some(Invite::new([7; 16])),
        resume: Some(Resume { after: Seq(498), epoch: "b7k2m9x4".to_owned() }),
        ..Login::original("Tom".to_owned())
    };
    assert_eq!(Login::decode(&ours.encode()), Ok(ours.clone()));
    let without = Login { id: None, invite: None, resume: None, ..ours };
    assert_eq!(Login::decode(&without.encode()), Ok(without));
    for invite in ["", "short", "mN0aW5kZXJzLWtlZXBlcg==", "mN0aW5kZXJzLWtlZXBlc+"] {
        let login = format!(r#"{{"username": "Tom", "protocol": 1, "invite": "{invite}"}}"#);
        assert_eq!(Login::decode(login.as_bytes()), Err(Refusal::BadInvite), "{invite:?}");
    }
}

#[test]
fn names_and_ids_parse_or_say_why() {
    for good in ["Bob", "Ann-Lee", "a", "Zoë", "王芳", "Анна", "user.7"] {
        let name: Name = good.parse().unwrap();
        assert_eq!(UserId::new(&name, 7).to_string(), format!("{good}_0007"));
        assert_eq!(UserId::new(&name, 7).to_string().parse(), Ok(UserId::new(&name, 7)));
    }
    for bad in [
        "",
        "  ",
        "a b",
        "a_b",
        "-a",
        "Bоb",
        "a\u{202e}b",
        "\u{3164}",
        "x\x1b[31m",
        "Ｂｏｂ",
        "Bob٤",
        "paypаl",
        "ChɑnServ",
        "กุุุุุ",
        "a\u{200d}b",
        "../../x",
        "C:\\x",
        "-rf",
        &"x".repeat(25),
        &"e\u{301}".repeat(25),
    ] {
        assert!(bad.parse::<Name>().is_err(), "{bad:?}");
    }
    assert_eq!("Zoe\u{308}".parse::<Name>().unwrap().as_str(), "Zoë", "names are composed");
    for bad in
        ["Bob", "Bob_", "Zoe\u{308}_1234", "Bob_12", "_1234", "Bob_12x4", "Bob _1234", " Bob_1234"]
    {
        assert!(bad.parse::<UserId>().is_err(), "{bad:?}");
    }
    for bad in ["", "12345", "-123456", "1234567890", "12345a"] {
        assert!(bad.parse::<MessageId>().is_err(), "{bad:?}");
    }
}

/// The rate of the tests.
const RATE: Rate = Rate { burst: 3, per_second: 2 };

#[test]
#[expect(clippy::disallowed_methods, reason = "a moment to count from")]
fn a_burst_is_free_and_then_each_waits_for_its_turn() {
    let start = Instant::now();
    let mut bucket = Bucket::default();
    // When something comes, how much of it, and how long it waits, in milliseconds.
    for (at, count, wait) in [
        (0, 1, 0),
        (0, 1, 0),
        (0, 1, 0),
        (0, 1, 500),
        (100, 1, 900),
        (1_000, 1, 500),
        (1_500, 1, 500),
        (3_000, 1, 0),
        (5_000, 3, 0),
        (5_000, 1, 500),
        (60_000, 3, 0),
        (60_000, 8, 1_500),
    ] {
        let now = start + Duration::from_millis(at);
        let ready = bucket.ready(RATE, now, count);
        assert_eq!(bucket.take(RATE, now, count), ready);
        assert_eq!((ready - now).as_millis(), wait, "at {at}");
    }
    assert!(!bucket.is_full(start + Duration::from_secs(65)));
    assert!(bucket.is_full(start + Duration::from_millis(65_500)));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a moment to count from")]
fn what_is_more_than_a_burst_comes_when_nothing_is_missing() {
    let start = Instant::now();
    let mut bucket = Bucket::default();
    assert_eq!(bucket.take(RATE, start, 100), start, "or it could never come");
    assert!(!bucket.try_take(RATE, start));
    assert!(bucket.try_take(RATE, start + Duration::from_secs(49)));
    let hostile = Rate { burst: 0, per_second: 0 };
    let ready = Bucket::default().take(hostile, start, u32::MAX);
    assert_eq!(ready, start);
}
