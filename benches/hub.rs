//! What one message costs the server's heart, whatever the number of its recipients: decode, decide,
//! encode. What each delivery costs beside that is measured with the real server, over TLS.

#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use chat::protocol::event::Event;
use chat::protocol::request::{Dialect, Login, Request};
use chat::server::hub::{Effect, Hub, Input, Now, SessionId};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

fn now() -> Now {
    Now { mono: tokio::time::Instant::now(), wall: chrono::Local::now().fixed_offset() }
}

/// A room of so many people, and the ID of one of them.
fn room(people: u64) -> (Hub, String) {
    let mut hub = Hub::new(1);
    let mut last = String::new();
    for session in (0..people).map(SessionId) {
        let login = Login { username: "Bob".to_owned(), dialect: Dialect::Extended };
        for effect in hub.handle(now(), Input::Login { session, login }) {
            if let Effect::Send { event: Event::Welcome(welcome), .. } = effect {
                last = welcome.user.to_string();
            }
        }
    }
    (hub, last)
}

fn one_message(hub: &mut Hub, object: &[u8]) {
    let request = Request::decode(object);
    for effect in hub.handle(now(), Input::Request { session: SessionId(0), request }) {
        if let Effect::Send { event, .. } = effect {
            black_box(event.encode());
        }
    }
}

#[divan::bench(args = [2, 100, 1_000, 10_000])]
fn to_everybody(bencher: Bencher<'_, '_>, people: u64) {
    let (mut hub, _) = room(people);
    let text = "x".repeat(120);
    let object =
        format!(r#"{{"action":"MESSAGE","receiver":["all"],"content":"{text}","cid":"1"}}"#);
    bencher.bench_local(|| one_message(&mut hub, object.as_bytes()));
}

#[divan::bench(args = [2, 100, 1_000, 10_000])]
fn to_one_person(bencher: Bencher<'_, '_>, people: u64) {
    let (mut hub, id) = room(people);
    let text = "x".repeat(120);
    let object =
        format!(r#"{{"action":"MESSAGE","receiver":["{id}"],"content":"{text}","cid":"1"}}"#);
    bencher.bench_local(|| one_message(&mut hub, object.as_bytes()));
}

#[divan::bench(args = [100, 1_000])]
fn everybody_logs_in(bencher: Bencher<'_, '_>, people: u64) {
    bencher.bench_local(|| room(people));
}
