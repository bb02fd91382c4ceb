//! Rooms, direct conversations and read markers: 500 users, 200 rooms, 100 memberships each.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use chat::protocol::id::{RoomName, Seq, UserId};
use chat::protocol::limits::{PAGE_MESSAGES, UNREAD_COUNTED};
use chat::protocol::message::{Audience, MessageKind};
use chat::protocol::query::{HistoryQuery, HistoryRange};
use chat::protocol::room::RoomAction;
use chat::protocol::text::SafeText;
use chat::store::sqlite::SqliteStore;
use chat::store::{
    Entry, InviteRule, NewMessage, NewUser, Outcome, Reader, RoomEntry, RoomLimits, Store, View,
};
use chrono::DateTime;

use super::fixtures::NOW;
use super::{measure, memory_usage, print_times};

const USERS: u32 = 500;
const ROOMS: u32 = 200;

/// Messages in one transaction.
const BATCH: u32 = 500;

static NO_GUESTS: LazyLock<Arc<BTreeSet<UserId>>> = LazyLock::new(Arc::default);

pub(crate) fn bench(folder: &Path, messages: u32) {
    let mut store = SqliteStore::open(folder).unwrap();
    let users = register_users(&mut store);
    create_rooms(&mut store, &users);
    let start = Instant::now();
    for first in (0..messages).step_by(BATCH as usize) {
        let batch: Vec<_> = (first..first + BATCH).map(|n| post(&users, n)).collect();
        let outcomes = store.apply(NOW, &batch).unwrap();
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Posted(_))));
    }
    println!("wrote {messages} messages in {:.1?}; {}", start.elapsed(), memory_usage());
    store.scrub().unwrap();
    bench_reads(&mut store.open_reader().unwrap(), &users, messages);
    bench_writes(&mut store, &users, messages);
}

fn register_users(store: &mut SqliteStore) -> Vec<UserId> {
    let user = |number: u32| {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&number.to_le_bytes());
        let (invite, similar_guest) = (InviteRule::NotRequired, None);
        let name = format!("Member-{number}").parse().unwrap();
        Entry::Register(NewUser { name, key, invite, similar_guest, draw: 1 })
    };
    let outcomes = store.apply(NOW, &(0..USERS).map(user).collect::<Vec<_>>()).unwrap();
    let users = outcomes.into_iter().filter_map(|outcome| match outcome {
        Outcome::Registered { user, .. } => Some(user),
        _ => None,
    });
    let users: Vec<_> = users.collect();
    assert_eq!(users.len(), USERS as usize);
    users
}

fn room_name(number: u32) -> RoomName {
    format!("#room-{number}").parse().unwrap()
}

/// Every other user is a member of a room.
fn create_rooms(store: &mut SqliteStore, users: &[UserId]) {
    for number in 0..ROOMS {
        let entry = |user: &UserId, action| {
            let limits = RoomLimits { rooms: ROOMS, memberships: 100 };
            let (room, by) = (room_name(number), Some(user.clone()));
            Entry::Room(RoomEntry { room, by, action, limits, cid: None })
        };
        let (private, topic) = (false, SafeText::clean("what this room is for"));
        let mut members = users.iter().skip(number as usize % 2).step_by(2);
        let first = members.next().unwrap();
        let create = entry(first, RoomAction::Create { private, topic });
        let joins = members.map(|user| entry(user, RoomAction::Join));
        let batch: Vec<_> = [create].into_iter().chain(joins).collect();
        let outcomes = store.apply(NOW, &batch).unwrap();
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Changed(_))));
    }
}

/// One message in ten is to everyone, and one is direct.
fn post(users: &[UserId], number: u32) -> Entry {
    let random = number.wrapping_mul(2_654_435_761) >> 8;
    let room = random / 10 % ROOMS;
    let member = |n: u32| users[(n % (USERS / 2) * 2 + room % 2) as usize].clone();
    let (sender, audience) = match random % 10 {
        0 => (member(random / 2_000), Audience::Everyone),
        1 => (
            member(random / 2_000),
            Audience::Only([member(random / 2_000 + 1 + number % 200)].into()),
        ),
        _ => (member(random / 2_000), Audience::Room(room_name(room))),
    };
    message(sender, audience, number)
}

fn message(sender: UserId, audience: Audience, number: u32) -> Entry {
    Entry::Post(NewMessage {
        sender,
        guest: false,
        audience,
        guests: Arc::clone(&NO_GUESTS),
        kind: MessageKind::Plain,
        content: SafeText::clean(&format!(
            "a message of about fifteen words, as people write them in rooms all day, {number}"
        )),
        at: DateTime::from_timestamp_millis(NOW).unwrap().fixed_offset(),
        cid: Some(format!("{number:032x}").parse().unwrap()),
    })
}

fn bench_reads(reader: &mut impl Reader, users: &[UserId], messages: u32) {
    let view = |n: u32| View { viewer: &users[(n % USERS) as usize], now: NOW };
    let all = reader.conversations(view(0)).unwrap();
    let full = all.iter().filter(|info| info.unread == UNREAD_COUNTED).count();
    println!("{} conversations of a user, {full} of them with {UNREAD_COUNTED} unread", all.len());
    print_times(
        "conversations of a user",
        measure(200, |n| {
            assert!(reader.conversations(view(n)).unwrap().len() > 100);
        }),
    );
    let mut page = |conversation: Option<Audience>, n: u32, range| {
        let query = HistoryQuery { conversation, range };
        let page = reader.history(view(n), &query, PAGE_MESSAGES).unwrap().unwrap();
        assert!(!page.messages.is_empty());
    };
    let room = |n: u32| Some(Audience::Room(room_name(n % 100 * 2 + n % 2)));
    let near =
        |n: u32| HistoryRange::Near(Seq(u64::from(n.wrapping_mul(4_999) % messages) + 60_000));
    print_times(
        "latest 100 messages of a room",
        measure(500, |n| page(room(n), n, HistoryRange::Latest)),
    );
    print_times("100 messages of a room, anywhere", measure(500, |n| page(room(n), n, near(n))));
    print_times(
        "latest 100 messages of all",
        measure(200, |n| page(None, n, HistoryRange::Latest)),
    );
    print_times(
        "64 events of all, from anywhere",
        measure(200, |n| {
            let after = Seq(u64::from(n.wrapping_mul(4_999) % messages));
            reader.events_after(view(n), after, 64).unwrap().unwrap();
        }),
    );
}

fn bench_writes(store: &mut SqliteStore, users: &[UserId], messages: u32) {
    let read = |n: u32, up_to: u32| Entry::Read {
        by: users[(n % USERS) as usize].clone(),
        conversation: Audience::Room(room_name(n / USERS % 100 * 2 + n % 2)),
        up_to: Seq(u64::from(up_to)),
        unread: false,
        cid: None,
    };
    print_times(
        "READ, one in a transaction",
        measure(500, |n| {
            let outcomes = store.apply(NOW, &[read(n, messages)]).unwrap();
            assert!(matches!(outcomes[..], [Outcome::Personal { .. }]));
        }),
    );
    print_times(
        "100 READ in a transaction",
        measure(100, |n| {
            let batch: Vec<_> = (0..100).map(|i| read(n * 100 + i, messages + n)).collect();
            store.apply(NOW, &batch).unwrap();
        }),
    );
    let mut next = 2_000_000_000;
    for (label, audience) in [
        ("100 messages to everyone", Audience::Everyone),
        ("100 messages to a room", Audience::Room(room_name(0))),
        ("100 direct messages", Audience::Only([users[2].clone()].into())),
    ] {
        print_times(
            label,
            measure(100, |_| {
                next += 100;
                let batch =
                    (next..next + 100).map(|n| message(users[0].clone(), audience.clone(), n));
                let batch: Vec<_> = batch.collect();
                let outcomes = store.apply(NOW, &batch).unwrap();
                assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Posted(_))));
            }),
        );
    }
}
