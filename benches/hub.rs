//! The cost of one message in the hub, for different numbers of users: decode, handle, encode.
//!
//! The log is measured in `store.rs`, deliveries over TLS by the real server in `server/`.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::expect_used, reason = "a benchmark may panic")]

use chat::protocol::event::Event;
use chat::protocol::id::{MessageId, Seq};
use chat::protocol::mention::Mentions;
use chat::protocol::message::{Audience, Message, MessageKind};
use chat::protocol::request::{Dialect, Login, Request};
use chat::protocol::text::SafeText;
use chat::server::hub::{AccessMode, Hub, HubEffect, HubInput, Now, PeerInfo, SessionId};
use chat::store::sqlite::SqliteStore;
use chat::store::{Entry, Outcome, Store as _};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

fn now() -> Now {
    Now { monotonic: tokio::time::Instant::now(), wall: chrono::Local::now().fixed_offset() }
}

/// A hub with `users` online users, and the ID of the last one.
fn hub_with_users(users: u64) -> (Hub, String) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut store = SqliteStore::open(folder.path()).expect("a new log");
    let mut hub = Hub::new(1, AccessMode::Open, &store.snapshot().expect("an empty log"));
    let mut last = String::new();
    for session in (0..users).map(SessionId) {
        let login = Login { dialect: Dialect::Extended, ..Login::original("Bob".to_owned()) };
        let peer = PeerInfo { key: None, address: std::net::Ipv4Addr::LOCALHOST.into() };
        for effect in hub.handle(now(), HubInput::Login { session, login, peer }) {
            if let HubEffect::Send { event: Event::Welcome(welcome), .. } = effect {
                last = welcome.user.to_string();
            }
        }
    }
    (hub, last)
}

fn post_message(hub: &mut Hub, object: &[u8], seq: &mut u64) {
    let request = Request::decode(object);
    for effect in hub.handle(now(), HubInput::Request { session: SessionId(0), request }) {
        if let HubEffect::Propose { origin, entry: Entry::Post(new) } = effect {
            *seq += 1;
            let outcome = Outcome::Posted(Message {
                seq: Seq(*seq),
                id: MessageId::from_number(100_000).expect("six digits"),
                sender: new.sender,
                guest: new.guest,
                audience: new.audience,
                kind: new.kind,
                content: new.content,
                at: new.at,
                cid: new.cid,
                mentions: Mentions::None,
                edited: None,
                reactions: Vec::new(),
                pinned: false,
            });
            for effect in hub.handle(now(), HubInput::Applied { origin, outcome }) {
                if let HubEffect::Send { event, .. } = effect {
                    black_box(event.encode());
                }
            }
        }
    }
}

#[divan::bench(args = [2, 100, 1_000, 10_000])]
fn post_to_everyone(bencher: Bencher<'_, '_>, users: u64) {
    let (mut hub, _) = hub_with_users(users);
    let text = "x".repeat(120);
    let object =
        format!(r#"{{"action":"MESSAGE","receiver":["all"],"content":"{text}","cid":"1"}}"#);
    let mut seq = 0;
    bencher.bench_local(|| post_message(&mut hub, object.as_bytes(), &mut seq));
}

#[divan::bench(args = [2, 100, 1_000, 10_000])]
fn post_to_one_user(bencher: Bencher<'_, '_>, users: u64) {
    let (mut hub, id) = hub_with_users(users);
    let text = "x".repeat(120);
    let object =
        format!(r#"{{"action":"MESSAGE","receiver":["{id}"],"content":"{text}","cid":"1"}}"#);
    let mut seq = 0;
    bencher.bench_local(|| post_message(&mut hub, object.as_bytes(), &mut seq));
}

/// A message of 120 bytes to everyone.
fn short_message() -> Event {
    Event::Posted(Message {
        seq: Seq(123_456),
        id: "235467".parse().expect("an id"),
        sender: "Tom_8386".parse().expect("a user ID"),
        guest: false,
        audience: Audience::Everyone,
        kind: MessageKind::Plain,
        content: SafeText::clean(&"lorem ipsum ".repeat(11).chars().take(120).collect::<String>()),
        at: chrono::DateTime::from_timestamp_millis(1_745_146_443_000)
            .expect("a time")
            .fixed_offset(),
        cid: "c-17".parse().ok(),
        mentions: Mentions::None,
        edited: None,
        reactions: Vec::new(),
        pinned: false,
    })
}

#[divan::bench]
fn encode_message(bencher: Bencher<'_, '_>) {
    let event = short_message();
    bencher.bench_local(|| black_box(&event).encode());
}

#[divan::bench]
fn encode_message_for_original(bencher: Bencher<'_, '_>) {
    let event = short_message();
    bencher.bench_local(|| black_box(&event).encode_for_original());
}

#[divan::bench(args = [100, 1_000, 10_000])]
fn log_in_all_users(bencher: Bencher<'_, '_>, users: u64) {
    bencher.bench_local(|| hub_with_users(users));
}
