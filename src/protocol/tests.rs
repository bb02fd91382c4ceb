//! Tests of the wire format: round trips, both dialects, invalid and arbitrary input, and rates.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::DateTime;
use proptest::prelude::*;

use super::error::{ErrorCode, Refusal};
use super::event::{Deleted, ErrorReply, Event, Welcome};
use super::id::{Cid, MessageId, Name, Seq, UserId};
use super::invite::Invite;
use super::limits::{self, Limits, Rates};
use super::message::{Audience, Message, MessageKind};
use super::rate::{Rate, TokenBucket};
use super::request::{Dialect, Login, Post, PostKind, Request, Resume};
use super::text::SafeText;

fn user() -> impl Strategy<Value = UserId> {
    ("[A-Za-z][A-Za-z0-9.-]{0,10}", 0..10_000_u32)
        .prop_map(|(name, number)| UserId::new(&name.parse().unwrap(), number))
}

fn message_id() -> impl Strategy<Value = MessageId> {
    (100_000..10_000_000_u32).prop_map(|number| MessageId::from_number(number).unwrap())
}

fn cid() -> impl Strategy<Value = Option<Cid>> {
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
        Just(MessageKind::Plain),
        (0..4_000_000_000_000_i64).prop_map(|expires| MessageKind::Temporary { expires }),
        message_id().prop_map(|to| MessageKind::Reply { to }),
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
    let users = || proptest::collection::vec(user(), 0..300);
    let error_reply = || {
        (text(), cid()).prop_map(|(text, cid)| ErrorReply { code: ErrorCode::NotYours, text, cid })
    };
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
        error_reply().prop_map(Event::LoginRefused),
        users().prop_map(|users| Event::Users(users.into())),
        users().prop_map(Event::Guests),
        (users(), users()).prop_map(|(joined, left)| Event::Presence { joined, left }),
        message().prop_map(Event::Posted),
        (any::<u64>(), message_id(), user(), cid()).prop_map(|(seq, id, author, cid)| {
            Event::Deleted(Deleted { seq: Seq(seq), id, author, cid })
        }),
        (any::<u64>(), message_id()).prop_map(|(seq, id)| Event::Expired { seq: Seq(seq), id }),
        error_reply().prop_map(Event::Error),
        error_reply().prop_map(Event::Closing),
    ]
}

proptest! {
    #[test]
    fn events_round_trip(event in event()) {
        let bytes = event.encode();
        prop_assert_eq!(bytes.iter().position(|b| *b == b'\n'), Some(bytes.len() - 1), "one line");
        prop_assert_eq!(Event::decode(&bytes).unwrap(), Some(event));
        let object: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let action = object.get("action").and_then(serde_json::Value::as_str);
        prop_assert!(action.is_none_or(|action| Event::ACTIONS.contains(&action)), "{:?}", action);
    }

    #[test]
    fn events_for_original_clients_fit_one_read(event in event()) {
        if let Some(bytes) = event.encode_for_original() {
            prop_assert!(bytes.len() <= limits::ORIGINAL_FRAME_BYTES, "{} bytes", bytes.len());
            let object: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            for field in ["seq", "at", "expires", "cid", "epoch", "protocol"] {
                prop_assert!(object.get(field).is_none(), "{} in {}", field, object);
            }
        }
    }

    #[test]
    fn requests_round_trip(
        audience in audience(), content in "[^\\s].{0,80}", kind in 0..3, to in message_id(), cid in cid(),
    ) {
        let content = SafeText::clean(&content);
        prop_assume!(!content.is_blank());
        let kind = match kind {
            0 => PostKind::Plain,
            1 => PostKind::Temporary { seconds: 60 },
            _ => PostKind::Reply { to },
        };
        let request = Request::Post(Post { audience, kind, content });
        prop_assert_eq!(Request::decode(&request.encode(cid.as_ref())), (cid.clone(), Ok(request)));
        let delete = Request::Delete(to);
        prop_assert_eq!(Request::decode(&delete.encode(cid.as_ref())), (cid, Ok(delete)));
    }

    #[test]
    fn decoding_arbitrary_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop((Request::decode(&bytes), Login::decode(&bytes), Event::decode(&bytes)));
    }
}

#[test]
fn requests_of_original_clients_are_decoded() {
    let id = |text: &str| text.parse::<UserId>().unwrap();
    let decode = |object: &str| Request::decode(object.as_bytes()).1;
    let post =
        |audience, kind| Ok(Request::Post(Post { audience, kind, content: SafeText::clean("hi") }));
    let only = |ids: &[&str]| Audience::Only(ids.iter().map(|i| id(i)).collect::<BTreeSet<_>>());
    let envelope = |action: &str, receiver: &str, private: bool, optional: &str| {
        format!(
            r#"{{"id": null, "action": "{action}", "sender": "Mallory_0000", "receiver": {receiver},
                "content": "hi", "time": "2025-04-20 10:54:03", "private": {private}, "optional": {optional}}}"#
        )
    };
    assert_eq!(
        decode(&envelope("MESSAGE", r#"["all"]"#, false, "null")),
        post(Audience::Everyone, PostKind::Plain)
    );
    assert_eq!(
        decode(&envelope("MESSAGE", r#"["Ann_1234", "Kim_9021"]"#, true, "null")),
        post(only(&["Ann_1234", "Kim_9021"]), PostKind::Plain)
    );
    assert_eq!(
        decode(&envelope("TEMPORARY", r#"["all"]"#, false, "null")),
        post(
            Audience::Everyone,
            PostKind::Temporary { seconds: limits::DEFAULT_TEMPORARY_SECONDS }
        )
    );
    let to = "235467".parse().unwrap();
    for optional in ["235467", "\"235467\""] {
        assert_eq!(
            decode(&envelope("REPLY", r#"["Ann_1234"]"#, true, optional)),
            post(only(&["Ann_1234"]), PostKind::Reply { to })
        );
        assert_eq!(
            decode(&envelope("REPLY", r#"["all", "Ann_1234"]"#, false, optional)),
            post(Audience::Everyone, PostKind::Reply { to })
        );
        let delete = format!(r#"{{"action": "DELETE", "optional": {optional}, "content": null}}"#);
        assert_eq!(decode(&delete), Ok(Request::Delete(to)));
        let delete = format!(r#"{{"action": "DELETE", "content": {optional}}}"#);
        assert_eq!(decode(&delete), Ok(Request::Delete(to)));
    }
    assert_eq!(decode(r#"{"action": "SEARCH", "content": null}"#), Ok(Request::LocalSearch));
    assert_eq!(decode(r#"{"action": "EXIT"}"#), Ok(Request::Exit));
}

#[test]
fn invalid_request_gets_the_right_error_code() {
    let long = "x".repeat(limits::CONTENT_CHARACTERS + 1);
    let users = (0..=limits::RECIPIENTS).map(|n| format!("\"Bob_{n:04}\"")).collect::<Vec<_>>();
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
                users.join(",")
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
fn logins_of_both_dialects_are_decoded() {
    let login = |object: &str| Login::decode(object.as_bytes()).unwrap();
    assert_eq!(login(r#"{"username": "Tom", "user_id": "Tom_8386"}"#).dialect, Dialect::Original);
    let extended = Login {
        dialect: Dialect::Extended,
        user_id: Some("Tom_8386".parse().unwrap()),
        invite: Some(Invite::new([7; 16])),
        resume: Some(Resume { after: Seq(498), epoch: "b7k2m9x4".to_owned() }),
        ..Login::original("Tom".to_owned())
    };
    assert_eq!(Login::decode(&extended.encode()), Ok(extended.clone()));
    let without = Login { user_id: None, invite: None, resume: None, ..extended };
    assert_eq!(Login::decode(&without.encode()), Ok(without));
    for invite in ["", "short", "mN0aW5kZXJzLWtlZXBlcg==", "mN0aW5kZXJzLWtlZXBlc+"] {
        let login = format!(r#"{{"username": "Tom", "protocol": 1, "invite": "{invite}"}}"#);
        assert_eq!(Login::decode(login.as_bytes()), Err(Refusal::BadInvite), "{invite:?}");
    }
}

#[test]
fn names_and_ids_are_validated() {
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
    assert_eq!("Zoe\u{308}".parse::<Name>().unwrap().as_str(), "Zoë", "names are composed (NFC)");
    for bad in
        ["Bob", "Bob_", "Zoe\u{308}_1234", "Bob_12", "_1234", "Bob_12x4", "Bob _1234", " Bob_1234"]
    {
        assert!(bad.parse::<UserId>().is_err(), "{bad:?}");
    }
    for bad in ["", "12345", "-123456", "1234567890", "12345a"] {
        assert!(bad.parse::<MessageId>().is_err(), "{bad:?}");
    }
}

const RATE: Rate = Rate { burst: 3, per_second: 2 };

#[test]
#[expect(clippy::disallowed_methods, reason = "any start time works")]
fn bucket_allows_a_burst_then_the_rate() {
    let start = Instant::now();
    let mut bucket = TokenBucket::default();
    // Time of the request, number of items, and how long they wait; times in milliseconds.
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
        let ready = bucket.ready_at(RATE, now, count);
        assert_eq!(bucket.take(RATE, now, count), ready);
        assert_eq!((ready - now).as_millis(), wait, "at {at}");
    }
    assert!(!bucket.is_full(start + Duration::from_secs(65)));
    assert!(bucket.is_full(start + Duration::from_millis(65_500)));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "any start time works")]
fn full_bucket_allows_more_than_a_burst() {
    let start = Instant::now();
    let mut bucket = TokenBucket::default();
    assert_eq!(bucket.take(RATE, start, 100), start, "a full bucket allows any count");
    assert!(!bucket.try_take(RATE, start));
    assert!(bucket.try_take(RATE, start + Duration::from_secs(49)));
    let hostile = Rate { burst: 0, per_second: 0 };
    let ready = TokenBucket::default().take(hostile, start, u32::MAX);
    assert_eq!(ready, start);
}
