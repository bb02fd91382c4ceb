//! Whole sessions over in-memory streams, in virtual time.

mod gate;
mod housekeeping;
mod rates;
mod search;
mod secrets;

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::desk::Desk;
use super::fanout::Fanout;
use super::housekeeping::{Changes, Housekeeping};
use super::hub::{self, Access, Hub, Key, Now, Recipients, SessionId};
use super::limits;
use super::outbox::Outbox;
use super::rates::People;
use super::session::Room;
use super::shell;
use crate::protocol::decoder::Decoder;
use crate::protocol::event::Event;
use crate::protocol::id::{Seq, UserId};
use crate::protocol::limits::{CONTENT_CHARACTERS, FRAME_BYTES, LOGIN_FRAME_BYTES, Rates};
use crate::protocol::request::Dialect;
use crate::store::handle::{self, Handles};
use crate::store::memory::MemoryStore;
use crate::store::{Retention, Store};

/// A server without sockets.
pub(super) struct Rig {
    pub(super) room: Room,
    epoch: String,
    pub(super) tasks: TaskTracker,
    stop: CancellationToken,
    n_sessions: u64,
}

#[expect(clippy::disallowed_methods, reason = "virtual time")]
pub(super) fn mono() -> Instant {
    Instant::now()
}

/// The time of a server in virtual time.
fn clock() -> Now {
    thread_local! {
        static START: Instant = mono();
    }
    let began = DateTime::from_timestamp_millis(1_800_000_000_000).unwrap().fixed_offset();
    let now = mono();
    Now { mono: now, wall: began + START.with(|start| now.saturating_duration_since(*start)) }
}

impl Rig {
    pub(super) fn start() -> Self {
        Self::on(MemoryStore::default(), None)
    }

    /// A server that hears people at these rates.
    fn with(rates: Rates) -> Self {
        Self::on(MemoryStore::default(), Some(rates))
    }

    /// A server on this log.
    fn on(store: impl Store, rates: Option<Rates>) -> Self {
        Self::keeping(store, rates, Retention::Forever)
    }

    /// The same for one that keeps messages for so long.
    fn keeping(mut store: impl Store, rates: Option<Rates>, retention: Retention) -> Self {
        let (hub, commands) = shell::channel();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let opened = store.opened().unwrap();
        let (reads, read_queue) = handle::read_queue();
        let (searches, search_queue) = handle::read_queue();
        let threads = TaskTracker::new();
        threads.spawn(handle::serve_reads_as_task(store.reader().unwrap(), read_queue));
        threads.spawn(handle::serve_reads_as_task(store.reader().unwrap(), search_queue));
        let (writes, write_queue) = handle::write_queue();
        threads.spawn(handle::serve_as_task(store, write_queue, async || {}));
        let log = Handles { store: writes, reads: reads.clone(), searches };
        let removed = Arc::default();
        let heart = Hub::new(1, Access::Open, &opened);
        let changes = Arc::<Changes>::default();
        let keeping = Housekeeping {
            log: log.clone(),
            hub: hub.clone(),
            changes: Arc::clone(&changes),
            retention,
            clock,
        };
        tasks.spawn(stop.clone().run_until_cancelled_owned(keeping.run()));
        let desk =
            Desk::new(heart, Fanout::new(opened.head), log, Arc::clone(&removed), tasks.clone());
        tasks.spawn(shell::run(desk, commands, clock, changes, stop.clone()));
        let people = rates.map(|rates| Arc::new(People::new(rates)));
        let stopped = stop.clone();
        let room = Room { hub, reads, removed, clock, people, stop: stopped };
        Self { room, epoch: opened.epoch, tasks, stop, n_sessions: 0 }
    }

    /// A connection on which so many bytes are under way at most.
    fn connect(&mut self, buffer: usize) -> Peer {
        self.connect_with(buffer, None)
    }

    /// The same for somebody who shows this key.
    fn connect_with(&mut self, buffer: usize, key: Option<Key>) -> Peer {
        let (near, far) = tokio::io::duplex(buffer);
        let session = SessionId(self.n_sessions);
        self.n_sessions += 1;
        let peer = hub::Peer { key, address: std::net::Ipv4Addr::LOCALHOST.into() };
        self.tasks.spawn(super::session::run(far, session, peer, self.room.clone()));
        Peer { io: near, decoder: Decoder::new(usize::MAX) }
    }

    async fn ours(&mut self, name: &str) -> Peer {
        let peer = self.connect(65_536);
        Self::log_in(peer, name).await
    }

    async fn log_in(mut peer: Peer, name: &str) -> Peer {
        peer.send(&json!({"action": "LOGIN", "protocol": 1, "username": name})).await;
        peer.expect("action", "LOGIN").await;
        peer.expect("status", "SUCCESS").await;
        peer.expect("action", "ACTIVE_CLIENT").await;
        peer
    }
}

/// The client's end.
struct Peer {
    io: DuplexStream,
    decoder: Decoder,
}

impl Peer {
    async fn send(&mut self, object: &Value) {
        self.io.write_all(object.to_string().as_bytes()).await.unwrap();
    }

    async fn say(&mut self, text: &str) {
        let receiver = ["all"];
        self.send(&json!({"action": "MESSAGE", "receiver": receiver, "content": text})).await;
    }

    /// The next object, or nothing when the connection is ended.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(object) = self.decoder.next_object() {
                return Some(serde_json::from_slice(&object.unwrap()).unwrap());
            }
            if self.io.read_buf(self.decoder.buffer()).await.unwrap() == 0 {
                return None;
            }
        }
    }

    /// The next object that isn't about who is there, which must have this field.
    async fn expect(&mut self, field: &str, value: &str) -> Value {
        loop {
            let object = self.next().await.expect("the connection is ended");
            if object["action"] != "PRESENCE" && object["action"] != "GUESTS" {
                assert_eq!(object[field], value, "{object}");
                return object;
            }
        }
    }

    /// The next object in which `field` has this value.
    async fn wait_for(&mut self, field: &str, value: &str) -> Value {
        loop {
            let object = self.next().await.expect("the connection is ended");
            if object[field] == value {
                return object;
            }
        }
    }

    async fn expect_end(&mut self) {
        let next = self.next().await;
        assert_eq!(next, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_has_five_seconds() {
    let mut rig = Rig::start();
    let start = mono();
    let mut peer = rig.connect(1_024);
    peer.expect("action", "LOGIN").await;
    peer.expect("code", "login_timeout").await;
    assert_eq!(mono() - start, limits::LOGIN_TIMEOUT);
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn objects_may_be_split_and_run_together() {
    let mut rig = Rig::start();
    let mut peer = rig.connect(1_024);
    for byte in br#"{"username": "Bob", "protocol": 1}"# {
        peer.io.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    peer.expect("action", "LOGIN").await;
    peer.expect("status", "SUCCESS").await;
    peer.expect("action", "ACTIVE_CLIENT").await;
    let mut three = String::new();
    for n in 1..=3 {
        let message = json!({"action": "MESSAGE", "receiver": ["all"], "content": "hi", "cid": n.to_string()});
        three.push_str(&message.to_string());
    }
    peer.io.write_all(three.as_bytes()).await.unwrap();
    for n in 1..=3 {
        peer.expect("cid", &n.to_string()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_login_is_refused() {
    for (words, code) in [
        ("GET / HTTP/1.1\r\n\r\n", "bad_json"),
        (r#"{"action": "EXIT"}"#, "login_first"),
        (r#"{"username": "a b"}"#, "bad_name"),
        (&format!("{{{}", "x".repeat(LOGIN_FRAME_BYTES)), "frame_too_long"),
    ] {
        let mut rig = Rig::start();
        let mut peer = rig.connect(65_536);
        peer.io.write_all(words.as_bytes()).await.unwrap();
        peer.expect("action", "LOGIN").await;
        let refused = peer.expect("status", "ERROR").await;
        assert_eq!(refused["code"], code);
        peer.expect_end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn garbage_is_answered_and_forgotten() {
    let mut rig = Rig::start();
    let mut peer = rig.ours("Bob").await;
    peer.io.write_all(b"]]]").await.unwrap();
    peer.expect("code", "bad_json").await;
    peer.io.write_all(br#"{"action": MESSAGE}"#).await.unwrap();
    peer.expect("code", "bad_json").await;
    peer.say("still here").await;
    peer.expect("content", "still here").await;
}

#[tokio::test(start_paused = true)]
async fn an_endless_object_ends_its_session_alone() {
    let mut rig = Rig::start();
    let mut ann = rig.ours("Ann").await;
    let mut bob = rig.ours("Bob").await;
    bob.io.write_all(br#"{"action": ""#).await.unwrap();
    bob.io.write_all(&vec![b'x'; FRAME_BYTES]).await.unwrap();
    bob.expect("action", "ERROR").await;
    let closing = bob.expect("action", "CLOSING").await;
    assert_eq!(closing["code"], "frame_too_long");
    bob.expect_end().await;
    ann.say("still here").await;
    ann.expect("content", "still here").await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_costs_the_others_nothing_and_gets_everything_from_the_log() {
    let mut rig = Rig::start();
    let mut slow = rig.ours("Slow").await;
    let (mut ann, mut bob) = (rig.ours("Ann").await, rig.ours("Bob").await);
    let text = "x".repeat(CONTENT_CHARACTERS);
    let n_messages = 8 * limits::OUTBOX_BYTES / CONTENT_CHARACTERS;
    for _ in 0..n_messages {
        ann.say(&text).await;
        ann.expect("content", &text).await;
        bob.expect("content", &text).await;
    }
    let mut seqs = Vec::new();
    while seqs.len() < n_messages {
        let object = slow.next().await.unwrap();
        seqs.extend(object["content"].is_string().then(|| object["seq"].as_u64().unwrap()));
    }
    slow.expect("action", "LIVE").await;
    assert!(seqs.is_sorted_by(|one, next| one < next), "in order, and nothing twice");
    ann.say("and on").await;
    slow.expect("content", "and on").await;
    slow.send(&json!({"action": "PING"})).await;
    assert_eq!(slow.expect("action", "PONG").await["count"], n_messages + 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_takes_nothing_for_half_a_minute_is_closed() {
    let mut rig = Rig::start();
    let _stuck = rig.ours("Stuck").await;
    let mut ann = rig.ours("Ann").await;
    let text = "x".repeat(CONTENT_CHARACTERS);
    for _ in 0..40 {
        ann.say(&text).await;
        ann.expect("content", &text).await;
    }
    let since = mono();
    loop {
        ann.send(&json!({"action": "PING"})).await;
        let object = ann.next().await.unwrap();
        if object["left"].as_array().is_some_and(|left| !left.is_empty()) {
            break;
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let late = (mono() - since).saturating_sub(limits::STALLED);
    assert!(late < Duration::from_secs(20), "{late:?} late");
}

#[tokio::test(start_paused = true)]
async fn a_client_of_ours_that_falls_silent_is_gone_after_45_seconds() {
    let mut rig = Rig::start();
    let mut original = rig.connect(65_536);
    original.send(&json!({"username": "Tom"})).await;
    original.wait_for("action", "ACTIVE_CLIENT").await;
    let mut silent = rig.ours("Silent").await;
    tokio::time::sleep(limits::DEAD / 2).await;
    silent.send(&json!({"action": "PING"})).await;
    silent.expect("action", "PONG").await;
    let since = mono();
    let end = async { while silent.next().await.is_some() {} };
    tokio::time::timeout(2 * limits::DEAD, end).await.expect("it is still here");
    assert_eq!((mono() - since).as_secs(), 45);
    tokio::time::sleep(limits::DEAD).await;
    original.send(&json!({"action": "MESSAGE", "receiver": ["all"], "content": "here"})).await;
    original.wait_for("content", "here").await;
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_back_gets_what_was_missed_and_then_what_comes() {
    let mut rig = Rig::start();
    let mut ann = rig.ours("Ann").await;
    ann.say("before").await;
    let before = ann.expect("content", "before").await;
    for text in ["one", "two", "three"] {
        ann.say(text).await;
        ann.expect("content", text).await;
    }
    let mut back = rig.connect(65_536);
    back.expect("action", "LOGIN").await;
    let epoch = &rig.epoch;
    back.send(&json!({"action": "LOGIN", "protocol": 1, "username": "Bob",
        "after": before["seq"], "epoch": epoch}))
        .await;
    assert_eq!(back.expect("status", "SUCCESS").await["resumed"], true);
    back.expect("action", "ACTIVE_CLIENT").await;
    for text in ["one", "two", "three"] {
        back.expect("content", text).await;
    }
    assert_eq!(back.expect("action", "LIVE").await["seq"], 4);
    ann.say("four").await;
    back.expect("content", "four").await;

    let mut lost = rig.connect(65_536);
    lost.expect("action", "LOGIN").await;
    lost.send(
        &json!({"action": "LOGIN", "protocol": 1, "username": "Kim", "after": 1, "epoch": "other"}),
    )
    .await;
    assert_eq!(lost.expect("status", "SUCCESS").await["resumed"], false);
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_before_leaving_is_still_answered() {
    let mut rig = Rig::start();
    let mut peer = rig.ours("Bob").await;
    peer.say("one").await;
    peer.send(&json!({"action": "EXIT"})).await;
    peer.expect("content", "one").await;
    peer.expect_end().await;

    let mut peer = rig.ours("Bob").await;
    peer.say("two").await;
    peer.io.shutdown().await.unwrap();
    peer.expect("content", "two").await;
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_temporary_message_goes_when_its_time_is_up() {
    let mut rig = Rig::start();
    let mut peer = rig.ours("Bob").await;
    let start = mono();
    peer.send(&json!({"action": "TEMPORARY", "receiver": ["all"], "content": "soon gone"})).await;
    let said = peer.expect("action", "TEMPORARY").await;
    assert_eq!(said["expires"].as_i64().unwrap() - said["at"].as_i64().unwrap(), 10_000);
    let gone = peer.expect("action", "OUTDATED").await;
    assert_eq!(gone["content"], said["id"]);
    let late = (mono() - start).saturating_sub(Duration::from_secs(10));
    assert!(late < Duration::from_millis(10), "{late:?} late");
}

#[tokio::test(start_paused = true)]
async fn a_stopping_server_says_goodbye() {
    let mut rig = Rig::start();
    let mut ours = rig.ours("Ann").await;
    let mut original = rig.connect(65_536);
    original.send(&json!({"username": "Tom"})).await;
    original.expect("action", "LOGIN").await;
    original.expect("status", "SUCCESS").await;
    original.expect("action", "ACTIVE_CLIENT").await;
    let mut newcomer = rig.connect(65_536);
    newcomer.expect("action", "LOGIN").await;

    let start = mono();
    rig.stop.cancel();
    ours.expect("code", "shutting_down").await;
    ours.expect_end().await;
    original.expect_end().await;
    newcomer.expect("code", "shutting_down").await;
    newcomer.expect_end().await;
    drop((ours, original, newcomer));
    rig.tasks.close();
    rig.tasks.wait().await;
    assert!(mono() - start < limits::SHUTDOWN_GRACE);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_does_not_hold_up_the_end() {
    let mut rig = Rig::start();
    let mut stuck = rig.connect(64);
    stuck.send(&json!({"username": "Tom"})).await;
    tokio::task::yield_now().await;
    let start = mono();
    rig.stop.cancel();
    rig.tasks.close();
    rig.tasks.wait().await;
    assert!(mono() - start < limits::SHUTDOWN_GRACE);
}

#[test]
fn who_waits_to_be_let_in_is_told_nothing_of_the_others() {
    let outbox = Arc::new(Outbox::default());
    let mut fanout = Fanout::new(Seq(0));
    fanout.add(SessionId(1), Dialect::Extended, Arc::clone(&outbox));
    let user: UserId = "Bob_1234".parse().unwrap();
    let news = Event::Presence { joined: vec![user.clone()], left: vec![] };
    fanout.tell(Recipients::Everyone, &news);
    fanout.flush();
    assert_eq!(outbox.weight(), 0);
    fanout.feed(SessionId(1), user, None);
    fanout.tell(Recipients::Everyone, &news);
    assert!(outbox.weight() > 0);
}
