//! What one message costs the server's heart, whatever the number of its recipients: decode, decide,
//! encode. What the log takes is measured in `store.rs`, and what each delivery costs beside that with
//! the real server, over TLS.

#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
#![expect(clippy::expect_used, reason = "without a log there is nothing to measure")]

use chat::protocol::event::Event;
use chat::protocol::id::Seq;
use chat::protocol::message::Message;
use chat::protocol::request::{Dialect, Login, Request};
use chat::server::hub::{Access, Effect, Hub, Input, Now, Peer, SessionId};
use chat::store::memory::MemoryStore;
use chat::store::{Append, Outcome, Store as _};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

fn now() -> Now {
    Now { mono: tokio::time::Instant::now(), wall: chrono::Local::now().fixed_offset() }
}

/// A room of so many people, and the ID of one of them.
fn room(people: u64) -> (Hub, String) {
    let mut hub = Hub::new(1, Access::Open, &MemoryStore::default().opened().expect("memory"));
    let mut last = String::new();
    for session in (0..people).map(SessionId) {
        let login = Login { dialect: Dialect::Extended, ..Login::original("Bob".to_owned()) };
        let peer = Peer { key: None, address: std::net::Ipv4Addr::LOCALHOST.into() };
        for effect in hub.handle(now(), Input::Login { session, login, peer }) {
            if let Effect::Send { event: Event::Welcome(welcome), .. } = effect {
                last = welcome.user.to_string();
            }
        }
    }
    (hub, last)
}

fn one_message(hub: &mut Hub, object: &[u8], seq: &mut u64) {
    let request = Request::decode(object);
    for effect in hub.handle(now(), Input::Request { session: SessionId(0), request }) {
        if let Effect::Append { ticket, append: Append::Say(new) } = effect {
            *seq += 1;
            let outcome = Outcome::Said(Message {
                seq: Seq(*seq),
                id: new.id,
                sender: new.sender,
                guest: new.guest,
                audience: new.audience,
                kind: new.kind,
                content: new.content,
                at: new.at,
                cid: new.cid,
            });
            for effect in hub.handle(now(), Input::Stored { ticket, outcome }) {
                if let Effect::Send { event, .. } = effect {
                    black_box(event.encode());
                }
            }
        }
    }
}

#[divan::bench(args = [2, 100, 1_000, 10_000])]
fn to_everybody(bencher: Bencher<'_, '_>, people: u64) {
    let (mut hub, _) = room(people);
    let text = "x".repeat(120);
    let object =
        format!(r#"{{"action":"MESSAGE","receiver":["all"],"content":"{text}","cid":"1"}}"#);
    let mut seq = 0;
    bencher.bench_local(|| one_message(&mut hub, object.as_bytes(), &mut seq));
}

#[divan::bench(args = [2, 100, 1_000, 10_000])]
fn to_one_person(bencher: Bencher<'_, '_>, people: u64) {
    let (mut hub, id) = room(people);
    let text = "x".repeat(120);
    let object =
        format!(r#"{{"action":"MESSAGE","receiver":["{id}"],"content":"{text}","cid":"1"}}"#);
    let mut seq = 0;
    bencher.bench_local(|| one_message(&mut hub, object.as_bytes(), &mut seq));
}

#[divan::bench(args = [100, 1_000, 10_000])]
fn everybody_logs_in(bencher: Bencher<'_, '_>, people: u64) {
    bencher.bench_local(|| room(people));
}
