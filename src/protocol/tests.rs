//! Tests of the wire format: round trips, both dialects, invalid and arbitrary input, and rates.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::DateTime;
use proptest::prelude::*;

use super::error::{ErrorCode, Refusal};
use super::event::{
    Deleted, Edited, ErrorReply, Event, HistoryPage, Pinned, Reacted, SearchEnd, SearchResults,
    StoredReply, Welcome,
};
use super::id::{Cid, MessageId, Name, RoomName, Seq, UserId};
use super::invite::Invite;
use super::limits::{self, Limits, Rates};
use super::mention::Mentions;
use super::message::{Audience, Message, MessageKind};
use super::query::{ContentKind, HistoryQuery, HistoryRange, SearchQuery};
use super::rate::{Rate, TokenBucket};
use super::reaction::{Emoji, Reaction};
use super::request::{Dialect, Login, Post, PostKind, Request, Resume};
use super::room::{
    ConversationInfo, ConversationList, NotifyLevel, NotifySetting, ReadMarker, RoomAction,
    RoomChange, RoomChanged, RoomList, RoomState, SharedHistory, UserList,
};
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

/// A text of the maximum length, of one character.
fn longest_text() -> impl Strategy<Value = SafeText> {
    proptest::sample::select(vec!["x", "\"", "\\", "Я", "😀", "a\n"]).prop_map(|unit| {
        let repeated = unit.repeat(limits::CONTENT_CHARACTERS);
        SafeText::clean(&repeated.chars().take(limits::CONTENT_CHARACTERS).collect::<String>())
    })
}

/// Users with the longest IDs in bytes: 24 letters of four bytes and nine digits.
fn longest_ids(count: usize) -> impl Iterator<Item = UserId> {
    let name: Name = "𞟠".repeat(limits::NAME_CHARACTERS).parse().unwrap();
    (0..count).map(move |number| UserId::new(&name, 999_000_000 + u32::try_from(number).unwrap()))
}

/// A message as large as the limits allow.
fn largest_message() -> impl Strategy<Value = Message> {
    let recipients = Audience::Only(longest_ids(limits::RECIPIENTS).collect());
    let audience = prop_oneof![Just(Audience::Everyone), Just(recipients)];
    (message(), audience, longest_text()).prop_map(|(message, audience, content)| Message {
        audience,
        content,
        ..message
    })
}

fn room() -> impl Strategy<Value = RoomName> {
    "#[a-z0-9][a-z0-9.-]{0,23}".prop_map(|name| name.parse().unwrap())
}

fn emoji() -> impl Strategy<Value = Emoji> {
    let known: Vec<Emoji> = emojis::iter().map(|emoji| emoji.as_str().parse().unwrap()).collect();
    proptest::sample::select(known)
}

fn mentions() -> impl Strategy<Value = Mentions> {
    prop_oneof![
        Just(Mentions::None),
        Just(Mentions::All),
        proptest::collection::vec(user(), 1..4).prop_map(Mentions::Users),
    ]
}

fn reactions() -> impl Strategy<Value = Vec<Reaction>> {
    let reaction = (emoji(), 1..9_u32, proptest::collection::vec(user(), 1..4))
        .prop_map(|(emoji, count, users)| Reaction { emoji, count, users });
    proptest::collection::vec(reaction, 0..3)
}

fn room_state() -> impl Strategy<Value = RoomState> {
    (any::<bool>(), "[ -~]{0,40}", any::<u32>(), any::<bool>()).prop_map(
        |(private, topic, people, archived)| RoomState {
            private,
            topic: SafeText::clean(&topic),
            people,
            archived,
        },
    )
}

fn audience() -> impl Strategy<Value = Audience> {
    prop_oneof![
        Just(Audience::Everyone),
        room().prop_map(Audience::Room),
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
        (cid(), any::<bool>(), any::<bool>()),
        (mentions(), reactions(), proptest::option::of(any::<i64>())),
    )
        .prop_map(|(seq, id, sender, audience, kind, content, at, more, annotations)| {
            let (cid, guest, pinned) = more;
            let (mentions, reactions, edited) = annotations;
            Message {
                seq: Seq(seq),
                id,
                sender,
                guest,
                audience,
                kind,
                content,
                at: DateTime::from_timestamp_millis(at).unwrap().fixed_offset(),
                cid,
                mentions,
                edited,
                reactions,
                pinned,
            }
        })
}

/// Up to `max` messages, up to the largest.
fn messages(max: usize) -> impl Strategy<Value = Vec<Message>> {
    let distinct = |mut messages: Vec<Message>| {
        messages.sort_by_key(|message| message.seq);
        messages
    };
    prop_oneof![
        proptest::collection::vec(message(), 0..5),
        (largest_message(), 0..=max).prop_map(|(message, count)| vec![message; count]),
    ]
    .prop_map(distinct)
}

fn history_page() -> impl Strategy<Value = HistoryPage> {
    (messages(limits::PAGE_MESSAGES), any::<bool>(), any::<bool>(), cid()).prop_map(
        |(messages, has_earlier, has_later, cid)| HistoryPage {
            messages,
            has_earlier,
            has_later,
            cid,
        },
    )
}

fn search_results() -> impl Strategy<Value = SearchResults> {
    let end = proptest::sample::select(vec![SearchEnd::Searching, SearchEnd::TooMany]);
    (messages(200), any::<u64>(), end, cid())
        .prop_map(|(messages, searched, end, cid)| SearchResults { messages, searched, end, cid })
}

/// An event of any kind. Some are larger than one frame.
fn any_event() -> impl Strategy<Value = Event> {
    let many = || {
        let count = proptest::sample::select(vec![0, 100, 12_000]);
        count.prop_map(|count| longest_ids(count).collect::<Vec<_>>())
    };
    prop_oneof![
        4 => event(),
        1 => largest_message().prop_map(Event::Posted),
        1 => history_page().prop_map(Event::History),
        1 => search_results().prop_map(Event::SearchResults),
        1 => many().prop_map(|users| Event::Users(users.into())),
        1 => many().prop_map(Event::Guests),
        1 => (many(), many()).prop_map(|(joined, left)| Event::Presence { joined, left }),
    ]
}

/// An event about rooms, or about changes of messages.
fn conversation_event() -> impl Strategy<Value = Event> {
    let at =
        || (0..4_000_000_000_000_i64).prop_map(|at| DateTime::from_timestamp_millis(at).unwrap());
    let users = || proptest::collection::vec(user(), 1..300);
    let change = prop_oneof![
        Just(RoomChange::Created),
        Just(RoomChange::Joined),
        Just(RoomChange::Left),
        users().prop_map(RoomChange::Added),
        users().prop_map(RoomChange::Removed),
        Just(RoomChange::Topic),
        Just(RoomChange::Archived),
    ];
    prop_oneof![
        (
            (any::<u64>(), message_id(), user(), audience()),
            any::<bool>(),
            text(),
            mentions(),
            at(),
            cid()
        )
            .prop_map(
                |((seq, id, author, audience), is_reply, content, mentions, at, cid)| {
                    Event::Edited(Edited {
                        seq: Seq(seq),
                        id,
                        author,
                        audience,
                        reply_to: is_reply.then_some(id),
                        content,
                        mentions,
                        at: at.fixed_offset(),
                        cid,
                    })
                }
            ),
        (any::<u64>(), message_id(), user(), emoji(), any::<bool>(), cid()).prop_map(
            |(seq, id, user, emoji, on, cid)| {
                Event::Reacted(Reacted { seq: Seq(seq), id, user, emoji, on, cid })
            }
        ),
        (any::<u64>(), message_id(), user(), any::<bool>(), cid()).prop_map(
            |(seq, id, user, on, cid)| Event::Pinned(Pinned { seq: Seq(seq), id, user, on, cid })
        ),
        (
            any::<u64>(),
            room(),
            change,
            proptest::option::of(user()),
            any::<i64>(),
            room_state(),
            cid()
        )
            .prop_map(|(seq, room, change, by, at, state, cid)| {
                Event::RoomChanged(RoomChanged { seq: Seq(seq), room, change, by, at, state, cid })
            }),
        event_about_lists(),
    ]
}

/// An event about the user's conversations, or a page of a list.
fn event_about_lists() -> impl Strategy<Value = Event> {
    let level = || {
        proptest::sample::select(vec![NotifyLevel::All, NotifyLevel::Mentions, NotifyLevel::None])
    };
    let info = (audience(), any::<[u32; 4]>(), room_state(), level(), any::<Option<i64>>())
        .prop_map(|(conversation, [last, read, unread, mentions], state, notify, muted_until)| {
            ConversationInfo {
                room: conversation.room().is_some().then_some(state),
                conversation,
                last: Seq(last.into()),
                read: Seq(read.into()),
                unread,
                mentions,
                notify,
                muted_until,
            }
        });
    let users = proptest::collection::vec(user(), 1..300);
    prop_oneof![
        (audience(), any::<u64>(), 0..101_u32, 0..101_u32, cid()).prop_map(
            |(conversation, seq, unread, mentions, cid)| {
                Event::Read(ReadMarker { conversation, seq: Seq(seq), unread, mentions, cid })
            }
        ),
        (audience(), level(), any::<Option<i64>>(), cid()).prop_map(
            |(conversation, level, muted_until, cid)| {
                Event::NotifySet(NotifySetting { conversation, level, muted_until, cid })
            }
        ),
        (audience(), user()).prop_map(|(conversation, user)| Event::Typing { conversation, user }),
        (proptest::collection::vec(info, 1..9), any::<bool>(), cid()).prop_map(
            |(conversations, has_more, cid)| {
                Event::Conversations(ConversationList { conversations, has_more, cid })
            }
        ),
        (proptest::collection::vec((room(), room_state()), 0..9), any::<bool>(), cid())
            .prop_map(|(rooms, has_more, cid)| Event::Rooms(RoomList { rooms, has_more, cid })),
        (proptest::option::of(room()), users, any::<bool>(), cid()).prop_map(
            |(room, users, has_more, cid)| {
                Event::UserPage(UserList { room, users, has_more, cid })
            }
        ),
    ]
}

fn room_action() -> impl Strategy<Value = RoomAction> {
    prop_oneof![
        (any::<bool>(), "[a-z ]{0,20}").prop_map(|(private, topic)| RoomAction::Create {
            private,
            topic: SafeText::clean(&topic),
        }),
        Just(RoomAction::Join),
        Just(RoomAction::Leave),
        (proptest::collection::vec(user(), 1..9), any::<bool>()).prop_map(|(users, all)| {
            let history = if all { SharedHistory::All } else { SharedHistory::Now };
            RoomAction::Add { users, history }
        }),
        proptest::collection::vec(user(), 1..9).prop_map(RoomAction::Remove),
        "[a-z ]{0,20}".prop_map(|topic| RoomAction::Topic(SafeText::clean(&topic))),
        any::<bool>().prop_map(RoomAction::Archive),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    let seq = || (0..u64::from(u32::MAX)).prop_map(Seq);
    let range = prop_oneof![
        Just(HistoryRange::Latest),
        seq().prop_map(HistoryRange::Before),
        seq().prop_map(HistoryRange::After),
        seq().prop_map(HistoryRange::Near),
        message_id().prop_map(HistoryRange::Around),
        message_id().prop_map(HistoryRange::Thread),
        Just(HistoryRange::Pinned),
    ];
    let conversation = || proptest::option::of(audience());
    prop_oneof![
        (message_id(), "[^\\s].{0,80}").prop_map(|(id, text)| Request::Edit {
            id,
            content: SafeText::clean(&format!("x{text}")),
        }),
        (message_id(), emoji(), any::<bool>()).prop_map(|(id, emoji, on)| Request::React {
            id,
            emoji,
            on
        }),
        (message_id(), any::<bool>()).prop_map(|(id, on)| Request::Pin { id, on }),
        (room(), room_action()).prop_map(|(room, action)| Request::Room { room, action }),
        proptest::option::of(room()).prop_map(Request::Rooms),
        (proptest::option::of(room()), proptest::option::of(user()))
            .prop_map(|(room, after)| Request::Users { room, after }),
        Just(Request::Conversations),
        (audience(), seq(), any::<bool>()).prop_map(|(conversation, up_to, unread)| {
            Request::Read { conversation, up_to, unread }
        }),
        (audience(), any::<Option<i64>>()).prop_map(|(conversation, muted_until)| {
            Request::Notify { conversation, level: NotifyLevel::None, muted_until }
        }),
        audience().prop_map(Request::Typing),
        (conversation(), range).prop_map(|(conversation, range)| Request::History(HistoryQuery {
            conversation,
            range
        })),
        (conversation(), "[a-z]{1,9}", any::<Option<i64>>(), any::<Option<u32>>()).prop_map(
            |(conversation, pattern, after, before)| {
                Request::SearchHistory(SearchQuery {
                    pattern,
                    conversation,
                    after,
                    has: after.map(|_| ContentKind::Link),
                    before_seq: before.map(|before| Seq(before.into())),
                    ..SearchQuery::default()
                })
            }
        ),
    ]
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
        conversation_event(),
        (any::<u64>(), message_id(), user(), cid()).prop_map(|(seq, id, author, cid)| {
            Event::Deleted(Deleted { seq: Seq(seq), id, author, cid })
        }),
        (any::<u64>(), message_id()).prop_map(|(seq, id)| Event::Expired { seq: Seq(seq), id }),
        any::<u64>().prop_map(|seq| Event::Live(Seq(seq))),
        any::<u64>().prop_map(Event::Pong),
        (any::<u64>(), proptest::option::of(message_id()), cid())
            .prop_map(|(seq, id, cid)| { Event::Stored(StoredReply { seq: Seq(seq), id, cid }) }),
        error_reply().prop_map(Event::Error),
        error_reply().prop_map(Event::Closing),
    ]
}

/// The frames of an encoded event, decoded.
fn decode_frames(bytes: &[u8]) -> Vec<Event> {
    assert_eq!(bytes.last(), Some(&b'\n'));
    let frames: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b'\n').collect();
    for frame in &frames {
        assert!(frame.len() <= limits::SERVER_FRAME_BYTES, "{} bytes", frame.len());
    }
    frames.into_iter().map(|frame| Event::decode(frame).unwrap().unwrap()).collect()
}

/// Checks that the frames of `event` fit the limit and together say the same.
fn check_frames(event: &Event) {
    let frames = decode_frames(&event.encode());
    match event {
        Event::History(page) => {
            let [Event::History(sent)] = frames.as_slice() else {
                panic!("{} frames", frames.len())
            };
            assert!(page.messages.ends_with(&sent.messages), "not the latest messages");
            let is_short = sent.messages.len() < page.messages.len();
            assert_eq!(sent.has_earlier, page.has_earlier || is_short);
            assert_eq!((sent.has_later, &sent.cid), (page.has_later, &page.cid));
            assert!(!is_short || sent.messages.len() > 15, "{} messages", sent.messages.len());
        }
        Event::SearchResults(results) => {
            let mut messages = Vec::new();
            for (index, frame) in frames.iter().enumerate() {
                let Event::SearchResults(sent) = frame else { panic!("{frame:?}") };
                let is_last = index + 1 == frames.len();
                assert_eq!(sent.end, if is_last { results.end } else { SearchEnd::Searching });
                assert_eq!((sent.searched, &sent.cid), (results.searched, &results.cid));
                messages.extend(sent.messages.clone());
            }
            assert!(messages == results.messages, "messages are missing");
        }
        Event::Users(_) | Event::Guests(_) | Event::Presence { .. } => {
            assert_eq!(apply_presence(&frames), apply_presence(std::slice::from_ref(event)));
            let first_kind = std::mem::discriminant(event);
            assert_eq!(std::mem::discriminant(&frames[0]), first_kind);
        }
        _ => assert_eq!(frames.as_slice(), std::slice::from_ref(event)),
    }
}

/// The users that these events add and remove, and the guests.
fn apply_presence(events: &[Event]) -> [BTreeSet<UserId>; 3] {
    let [mut added, mut removed, mut guests] = [const { BTreeSet::new() }; 3];
    for event in events {
        match event {
            Event::Users(users) => {
                assert!(added.is_empty(), "a list replaces the users before it");
                added.extend(users.iter().cloned());
            }
            Event::Presence { joined, left } => {
                added.extend(joined.iter().cloned());
                removed.extend(left.iter().cloned());
            }
            Event::Guests(more) => guests.extend(more.iter().cloned()),
            _ => panic!("{event:?}"),
        }
    }
    [added, removed, guests]
}

/// A message with the longest value in every field except text and audience.
fn template() -> Message {
    Message {
        seq: Seq(u64::MAX),
        id: "999999999".parse().unwrap(),
        sender: longest_ids(1).next().unwrap(),
        guest: true,
        audience: Audience::Everyone,
        kind: MessageKind::Temporary { expires: i64::MAX },
        content: SafeText::clean("x"),
        at: DateTime::from_timestamp_millis(4_000_000_000_000).unwrap().fixed_offset(),
        cid: Some("\\".repeat(limits::CID_BYTES).parse().unwrap()),
        mentions: Mentions::Users(longest_ids(limits::MENTIONED_USERS).collect()),
        edited: Some(i64::MAX),
        reactions: emojis::iter()
            .take(limits::REACTION_KINDS)
            .map(|emoji| Reaction {
                emoji: emoji.as_str().parse().unwrap(),
                count: u32::MAX,
                users: longest_ids(limits::REACTION_USERS).collect(),
            })
            .collect(),
        pinned: true,
    }
}

#[test]
fn largest_events_fit_the_frame_limit() {
    let template = template();
    let content = |unit: &str| SafeText::clean(&unit.repeat(limits::CONTENT_CHARACTERS));
    let recipients = Audience::Only(longest_ids(limits::RECIPIENTS).collect());
    let largest = [
        (200, Message { content: content("😀"), ..template.clone() }),
        (200, Message { content: content("\""), ..template.clone() }),
        (100, Message { audience: recipients.clone(), ..template.clone() }),
        (30, Message { audience: recipients, content: content("😀"), ..template }),
    ];
    for (count, message) in largest {
        let messages = vec![message; count];
        let cid = messages[0].cid.clone();
        check_frames(&Event::Posted(messages[0].clone()));
        check_frames(&Event::SearchResults(SearchResults {
            messages: messages.clone(),
            searched: u64::MAX,
            end: SearchEnd::TooMany,
            cid: cid.clone(),
        }));
        let page = HistoryPage { messages, has_earlier: false, has_later: false, cid };
        check_frames(&Event::History(page));
    }
}

#[test]
fn page_loses_the_messages_farthest_from_its_target() {
    let messages: Vec<Message> = (0..9_u32)
        .map(|number| Message {
            id: MessageId::from_number(100_000 + number).unwrap(),
            ..template()
        })
        .collect();
    let whole = HistoryPage { messages, has_earlier: false, has_later: false, cid: template().cid };
    let frame_bytes = |page: &HistoryPage| Event::History(page.clone()).encode().len();
    let message_bytes = frame_bytes(&whole) / whole.messages.len();
    // The target, and what remains of nine messages when there is room for three.
    for (target, kept) in
        [(None, 6..9), (Some(0), 0..3), (Some(1), 0..3), (Some(4), 3..6), (Some(8), 6..9)]
    {
        let mut page = whole.clone();
        let target = target.map(|index: usize| whole.messages[index].id);
        page.trim(target, 3 * message_bytes + 10);
        assert_eq!(page.messages, whole.messages[kept.clone()], "{target:?}");
        assert_eq!((page.has_earlier, page.has_later), (kept.start > 0, kept.end < 9));
        assert!(frame_bytes(&page) < 3 * message_bytes + 512);
    }
    let mut page = whole;
    page.trim(None, 0);
    assert_eq!(page.messages.len(), 1, "one message always remains");
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
        let bytes = event.encode_for_original().unwrap_or_default();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            prop_assert!(line.len() <= limits::ORIGINAL_FRAME_BYTES, "{} bytes", line.len());
            let object: serde_json::Value = serde_json::from_slice(line).unwrap();
            for field in ["seq", "at", "expires", "cid", "epoch", "protocol", "mentions", "edited", "pinned"] {
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
    fn requests_about_conversations_round_trip(request in request(), cid in cid()) {
        prop_assert_eq!(Request::decode(&request.encode(cid.as_ref())), (cid, Ok(request)));
    }

    #[test]
    fn decoding_arbitrary_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop((Request::decode(&bytes), Login::decode(&bytes), Event::decode(&bytes)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_frame_fits_the_limit(event in any_event()) {
        check_frames(&event);
    }
}

/// A short message to everyone, and its fields in both dialects, but for the action and the receiver.
fn short_message() -> (Message, [&'static str; 2]) {
    let message = Message {
        seq: Seq(512),
        id: "235467".parse().unwrap(),
        sender: "Tom_8386".parse().unwrap(),
        guest: false,
        cid: Some("c-17".parse().unwrap()),
        content: SafeText::clean("say \"hello\"\n😀"),
        kind: MessageKind::Plain,
        at: DateTime::from_timestamp_millis(1_745_146_443_000).unwrap().fixed_offset(),
        mentions: Mentions::None,
        edited: None,
        reactions: Vec::new(),
        pinned: false,
        ..template()
    };
    let sender = r#""id":"235467","sender":"Tom_8386""#;
    (message, [sender, r#""content":"say \"hello\"\n😀""#])
}

/// Each event as extended clients and as original clients get it, and as `chat tail` prints it.
#[test]
fn extended_clients_get_no_derived_fields_and_original_clients_all() {
    let (message, [sender, text]) = short_message();
    let expires = 1_745_146_453_000;
    let temporary = Message { kind: MessageKind::Temporary { expires }, ..message.clone() };
    let (id, author, cid) = (message.id, message.sender.clone(), message.cid.clone());
    // The fields of both dialects, of the original one, and of the extended one.
    let time = r#""time":"2025-04-20 10:54:03""#;
    let cases = [
        (
            Event::Posted(message),
            format!(r#""action":"MESSAGE",{sender},"receiver":["all"],{text}"#),
            format!(r#",{time},"private":false,"optional":null"#),
            r#","seq":512,"at":1745146443000,"cid":"c-17""#,
        ),
        (
            Event::Posted(temporary),
            format!(r#""action":"TEMPORARY",{sender},"receiver":["all"],{text}"#),
            format!(r#",{time},"private":false,"optional":null"#),
            r#","seq":512,"at":1745146443000,"expires":1745146453000,"cid":"c-17""#,
        ),
        (
            Event::Deleted(Deleted { seq: Seq(516), id, author, cid }),
            r#""action":"DELETE","sender":"Tom_8386","content":"235467""#.to_owned(),
            r#","optional":"235467""#.to_owned(),
            r#","seq":516,"cid":"c-17""#,
        ),
        (
            Event::Expired { seq: Seq(517), id },
            r#""action":"OUTDATED","content":"235467""#.to_owned(),
            r#","optional":null"#.to_owned(),
            r#","seq":517"#,
        ),
    ];
    for (event, both, original, extended) in cases {
        assert_eq!(event.encode(), format!("{{{both}{extended}}}\n"));
        assert_eq!(event.encode_for_original().unwrap(), format!("{{{both}{original}}}\n"));
        let full = event.encode_full();
        assert_eq!(full, format!("{{{both}{original}{extended}}}\n"));
        assert_eq!(Event::decode(&full).unwrap(), Some(event));
    }
}

#[test]
fn optional_is_a_field_of_both_dialects_in_replies_only() {
    let (message, [sender, text]) = short_message();
    let reply = Event::Posted(Message {
        guest: true,
        audience: Audience::Only(["Ann_1234", "Kim_9021"].map(|id| id.parse().unwrap()).into()),
        kind: MessageKind::Reply { to: message.id },
        cid: None,
        ..message
    });
    let both = format!(r#"{{"action":"REPLY",{sender},"receiver":["Ann_1234","Kim_9021"],{text}"#);
    let at = r#""seq":512,"at":1745146443000,"guest":true"#;
    let original = r#""time":"2025-04-20 10:54:03","private":true,"optional":"235467""#;
    assert_eq!(reply.encode(), format!("{both},\"optional\":\"235467\",{at}}}\n"));
    assert_eq!(reply.encode_for_original().unwrap(), format!("{both},{original}}}\n"));
    assert_eq!(reply.encode_full(), format!("{both},{original},{at}}}\n"));
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
fn refusal_of_a_wrong_type_names_the_request() {
    let cid: Cid = "c-9".parse().unwrap();
    for (fields, code) in [
        (r#""action": "TEMPORARY", "receiver": ["all"], "seconds": -1"#, ErrorCode::BadSeconds),
        (r#""action": "TEMPORARY", "receiver": ["all"], "seconds": 1e9"#, ErrorCode::BadRequest),
        (r#""action": "MESSAGE", "receiver": "all""#, ErrorCode::BadRequest),
        (r#""action": "MESSAGE", "receiver": [1]"#, ErrorCode::BadRequest),
        (r#""action": 5"#, ErrorCode::BadRequest),
        (r#""action": "SEARCH", "case": 1"#, ErrorCode::BadRequest),
        (r#""action": "HISTORY", "around": {"id": 7}"#, ErrorCode::BadRequest),
    ] {
        for object in [
            format!(r#"{{{fields}, "content": "x", "cid": "c-9"}}"#),
            format!(r#"{{"cid": "c-9", "content": "x", {fields}}}"#),
        ] {
            let (answered, request) = Request::decode(object.as_bytes());
            assert_eq!(request.unwrap_err().code(), code, "{object}");
            assert_eq!(answered.as_ref(), Some(&cid), "{object}");
        }
    }
    let (unnamed, request) = Request::decode(br#"{"action": "EXIT", "cid": ["c-9"]}"#);
    assert_eq!((unnamed, request.unwrap_err().code()), (None, ErrorCode::BadRequest));
}

#[test]
fn null_is_absence() {
    let nulls = r#""receiver": null, "content": null, "private": null, "optional": null, "cid": null,
        "seconds": null, "username": null, "user_id": null, "invite": null, "protocol": null,
        "epoch": null, "after": null, "before": null, "around": null, "from": null, "to": null,
        "case": null"#;
    for (action, request) in [
        ("PING", Request::Ping(None)),
        ("EXIT", Request::Exit),
        ("SEARCH", Request::LocalSearch),
        (
            "HISTORY",
            Request::History(HistoryQuery { conversation: None, range: HistoryRange::Latest }),
        ),
    ] {
        let object = format!(r#"{{"action": "{action}", {nulls}}}"#);
        assert_eq!(Request::decode(object.as_bytes()), (None, Ok(request)));
    }
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
        quiet: true,
        ..Login::original("Tom".to_owned())
    };
    assert_eq!(Login::decode(&extended.encode()), Ok(extended.clone()));
    let without = Login { user_id: None, invite: None, resume: None, quiet: false, ..extended };
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
