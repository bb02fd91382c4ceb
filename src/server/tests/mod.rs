//! Whole sessions over in-memory streams, in virtual time.

mod housekeeping;
mod login;
mod privacy;
mod queries;
mod rate_limit;

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::fanout::Fanout;
use super::housekeeping::{Housekeeping, LogChanges};
use super::hub::{self, AccessMode, Hub, KeyHash, Now, SessionId, SessionSet};
use super::hub_task::HubTask;
use super::limits;
use super::rate_limit::RateLimiter;
use super::send_queue::SendQueue;
use super::session::SessionContext;
use super::shell;
use crate::protocol::decoder::Decoder;
use crate::protocol::event::Event;
use crate::protocol::id::{Seq, UserId};
use crate::protocol::limits::{CONTENT_CHARACTERS, FRAME_BYTES, LOGIN_FRAME_BYTES, Rates};
use crate::protocol::request::Dialect;
use crate::store::memory::MemoryStore;
use crate::store::worker::{self, LogHandles};
use crate::store::{Retention, Store};

/// A server without sockets.
pub(super) struct ServerHarness {
    pub(super) context: SessionContext,
    epoch: String,
    pub(super) tasks: TaskTracker,
    stop: CancellationToken,
    n_sessions: u64,
}

#[expect(clippy::disallowed_methods, reason = "virtual time")]
pub(super) fn monotonic_now() -> Instant {
    Instant::now()
}

/// The time of a server in virtual time.
fn clock() -> Now {
    thread_local! {
        static START: Instant = monotonic_now();
    }
    let began = DateTime::from_timestamp_millis(1_800_000_000_000).unwrap().fixed_offset();
    let now = monotonic_now();
    Now { monotonic: now, wall: began + START.with(|start| now.saturating_duration_since(*start)) }
}

impl ServerHarness {
    pub(super) fn start() -> Self {
        Self::with_store(MemoryStore::default(), None)
    }

    /// A server that hears people at these rates.
    fn with_rates(rates: Rates) -> Self {
        Self::with_store(MemoryStore::default(), Some(rates))
    }

    /// A server on this log.
    fn with_store(store: impl Store, rates: Option<Rates>) -> Self {
        Self::with_retention(store, rates, Retention::Forever)
    }

    /// The same for one that keeps messages for so long.
    fn with_retention(mut store: impl Store, rates: Option<Rates>, retention: Retention) -> Self {
        let (hub, commands) = shell::hub_channel();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let opened = store.snapshot().unwrap();
        let (reads, read_queue) = worker::read_queue();
        let (searches, search_queue) = worker::read_queue();
        let threads = TaskTracker::new();
        threads.spawn(worker::run_reader_task(store.open_reader().unwrap(), read_queue));
        threads.spawn(worker::run_reader_task(store.open_reader().unwrap(), search_queue));
        let (writes, write_queue) = worker::write_queue();
        threads.spawn(worker::run_writer_task(store, write_queue, async || {}));
        let log = LogHandles { writer: writes, readers: reads.clone(), searchers: searches };
        let removed = Arc::default();
        let heart = Hub::new(1, AccessMode::Open, &opened);
        let changes = Arc::<LogChanges>::default();
        let keeping = Housekeeping {
            log: log.clone(),
            hub: hub.clone(),
            changes: Arc::clone(&changes),
            retention,
            clock,
        };
        tasks.spawn(stop.clone().run_until_cancelled_owned(keeping.run()));
        let desk =
            HubTask::new(heart, Fanout::new(opened.head), log, Arc::clone(&removed), tasks.clone());
        tasks.spawn(shell::run(desk, commands, clock, changes, stop.clone()));
        let people = rates.map(|rates| Arc::new(RateLimiter::new(rates)));
        let stopped = stop.clone();
        let context = SessionContext {
            hub,
            reads,
            recent_removals: removed,
            clock,
            rate_limiter: people,
            stop: stopped,
        };
        Self { context, epoch: opened.epoch, tasks, stop, n_sessions: 0 }
    }

    /// A connection on which so many bytes are under way at most.
    fn connect(&mut self, buffer: usize) -> TestClient {
        self.connect_with_key(buffer, None)
    }

    /// The same for somebody who shows this key.
    fn connect_with_key(&mut self, buffer: usize, key: Option<KeyHash>) -> TestClient {
        let (near, far) = tokio::io::duplex(buffer);
        let session = SessionId(self.n_sessions);
        self.n_sessions += 1;
        let peer = hub::PeerInfo { key, address: std::net::Ipv4Addr::LOCALHOST.into() };
        self.tasks.spawn(super::session::run(far, session, peer, self.context.clone()));
        TestClient { io: near, decoder: Decoder::new(usize::MAX) }
    }

    async fn join(&mut self, name: &str) -> TestClient {
        let peer = self.connect(65_536);
        Self::log_in(peer, name).await
    }

    async fn log_in(mut peer: TestClient, name: &str) -> TestClient {
        peer.send(&json!({"action": "LOGIN", "protocol": 1, "username": name})).await;
        peer.expect("action", "LOGIN").await;
        peer.expect("status", "SUCCESS").await;
        peer.expect("action", "ACTIVE_CLIENT").await;
        peer
    }
}

/// The client's end.
struct TestClient {
    io: DuplexStream,
    decoder: Decoder,
}

impl TestClient {
    async fn send(&mut self, object: &Value) {
        self.io.write_all(object.to_string().as_bytes()).await.unwrap();
    }

    async fn post(&mut self, text: &str) {
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
async fn login_times_out_after_five_seconds() {
    let mut rig = ServerHarness::start();
    let start = monotonic_now();
    let mut peer = rig.connect(1_024);
    peer.expect("action", "LOGIN").await;
    peer.expect("code", "login_timeout").await;
    assert_eq!(monotonic_now() - start, limits::LOGIN_TIMEOUT);
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn objects_may_be_split_or_concatenated() {
    let mut rig = ServerHarness::start();
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
async fn invalid_login_is_refused() {
    for (words, code) in [
        ("GET / HTTP/1.1\r\n\r\n", "bad_json"),
        (r#"{"action": "EXIT"}"#, "login_first"),
        (r#"{"username": "a b"}"#, "bad_name"),
        (&format!("{{{}", "x".repeat(LOGIN_FRAME_BYTES)), "frame_too_long"),
    ] {
        let mut rig = ServerHarness::start();
        let mut peer = rig.connect(65_536);
        peer.io.write_all(words.as_bytes()).await.unwrap();
        peer.expect("action", "LOGIN").await;
        let refused = peer.expect("status", "ERROR").await;
        assert_eq!(refused["code"], code);
        peer.expect_end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn garbage_is_answered_and_session_continues() {
    let mut rig = ServerHarness::start();
    let mut peer = rig.join("Bob").await;
    peer.io.write_all(b"]]]").await.unwrap();
    peer.expect("code", "bad_json").await;
    peer.io.write_all(br#"{"action": MESSAGE}"#).await.unwrap();
    peer.expect("code", "bad_json").await;
    peer.post("still here").await;
    peer.expect("content", "still here").await;
}

#[tokio::test(start_paused = true)]
async fn oversized_object_closes_only_its_session() {
    let mut rig = ServerHarness::start();
    let mut ann = rig.join("Ann").await;
    let mut bob = rig.join("Bob").await;
    bob.io.write_all(br#"{"action": ""#).await.unwrap();
    bob.io.write_all(&vec![b'x'; FRAME_BYTES]).await.unwrap();
    bob.expect("action", "ERROR").await;
    let closing = bob.expect("action", "CLOSING").await;
    assert_eq!(closing["code"], "frame_too_long");
    bob.expect_end().await;
    ann.post("still here").await;
    ann.expect("content", "still here").await;
}

#[tokio::test(start_paused = true)]
async fn slow_reader_gets_everything_and_delays_nobody() {
    let mut rig = ServerHarness::start();
    let mut slow = rig.join("Slow").await;
    let (mut ann, mut bob) = (rig.join("Ann").await, rig.join("Bob").await);
    let text = "x".repeat(CONTENT_CHARACTERS);
    let n_messages = 8 * limits::SEND_QUEUE_BYTES / CONTENT_CHARACTERS;
    for _ in 0..n_messages {
        ann.post(&text).await;
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
    ann.post("and on").await;
    slow.expect("content", "and on").await;
    slow.send(&json!({"action": "PING"})).await;
    assert_eq!(slow.expect("action", "PONG").await["count"], n_messages + 1);
}

#[tokio::test(start_paused = true)]
async fn session_without_progress_for_30_s_is_closed() {
    let mut rig = ServerHarness::start();
    let _stuck = rig.join("Stuck").await;
    let mut ann = rig.join("Ann").await;
    let text = "x".repeat(CONTENT_CHARACTERS);
    for _ in 0..40 {
        ann.post(&text).await;
        ann.expect("content", &text).await;
    }
    let since = monotonic_now();
    loop {
        ann.send(&json!({"action": "PING"})).await;
        let object = ann.next().await.unwrap();
        if object["left"].as_array().is_some_and(|left| !left.is_empty()) {
            break;
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let late = (monotonic_now() - since).saturating_sub(limits::WRITE_TIMEOUT);
    assert!(late < Duration::from_secs(20), "{late:?} late");
}

#[tokio::test(start_paused = true)]
async fn silent_client_is_disconnected_after_45_s() {
    let mut rig = ServerHarness::start();
    let mut original = rig.connect(65_536);
    original.send(&json!({"username": "Tom"})).await;
    original.wait_for("action", "ACTIVE_CLIENT").await;
    let mut silent = rig.join("Silent").await;
    tokio::time::sleep(limits::KEEPALIVE_TIMEOUT / 2).await;
    silent.send(&json!({"action": "PING"})).await;
    silent.expect("action", "PONG").await;
    let since = monotonic_now();
    let end = async { while silent.next().await.is_some() {} };
    tokio::time::timeout(2 * limits::KEEPALIVE_TIMEOUT, end).await.expect("it is still here");
    assert_eq!((monotonic_now() - since).as_secs(), 45);
    tokio::time::sleep(limits::KEEPALIVE_TIMEOUT).await;
    original.send(&json!({"action": "MESSAGE", "receiver": ["all"], "content": "here"})).await;
    original.wait_for("content", "here").await;
}

#[tokio::test(start_paused = true)]
async fn reconnecting_client_gets_missed_then_live_events() {
    let mut rig = ServerHarness::start();
    let mut ann = rig.join("Ann").await;
    ann.post("before").await;
    let before = ann.expect("content", "before").await;
    for text in ["one", "two", "three"] {
        ann.post(text).await;
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
    ann.post("four").await;
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
async fn requests_before_disconnect_are_answered() {
    let mut rig = ServerHarness::start();
    let mut peer = rig.join("Bob").await;
    peer.post("one").await;
    peer.send(&json!({"action": "EXIT"})).await;
    peer.expect("content", "one").await;
    peer.expect_end().await;

    let mut peer = rig.join("Bob").await;
    peer.post("two").await;
    peer.io.shutdown().await.unwrap();
    peer.expect("content", "two").await;
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn temporary_message_expires() {
    let mut rig = ServerHarness::start();
    let mut peer = rig.join("Bob").await;
    let start = monotonic_now();
    peer.send(&json!({"action": "TEMPORARY", "receiver": ["all"], "content": "soon gone"})).await;
    let said = peer.expect("action", "TEMPORARY").await;
    assert_eq!(said["expires"].as_i64().unwrap() - said["at"].as_i64().unwrap(), 10_000);
    let gone = peer.expect("action", "OUTDATED").await;
    assert_eq!(gone["content"], said["id"]);
    let late = (monotonic_now() - start).saturating_sub(Duration::from_secs(10));
    assert!(late < Duration::from_millis(10), "{late:?} late");
}

#[tokio::test(start_paused = true)]
async fn shutdown_is_announced_to_all_sessions() {
    let mut rig = ServerHarness::start();
    let mut ours = rig.join("Ann").await;
    let mut original = rig.connect(65_536);
    original.send(&json!({"username": "Tom"})).await;
    original.expect("action", "LOGIN").await;
    original.expect("status", "SUCCESS").await;
    original.expect("action", "ACTIVE_CLIENT").await;
    let mut newcomer = rig.connect(65_536);
    newcomer.expect("action", "LOGIN").await;

    let start = monotonic_now();
    rig.stop.cancel();
    ours.expect("code", "shutting_down").await;
    ours.expect_end().await;
    original.expect_end().await;
    newcomer.expect("code", "shutting_down").await;
    newcomer.expect_end().await;
    drop((ours, original, newcomer));
    rig.tasks.close();
    rig.tasks.wait().await;
    assert!(monotonic_now() - start < limits::SHUTDOWN_GRACE);
}

#[tokio::test(start_paused = true)]
async fn stuck_client_does_not_delay_shutdown() {
    let mut rig = ServerHarness::start();
    let mut stuck = rig.connect(64);
    stuck.send(&json!({"username": "Tom"})).await;
    tokio::task::yield_now().await;
    let start = monotonic_now();
    rig.stop.cancel();
    rig.tasks.close();
    rig.tasks.wait().await;
    assert!(monotonic_now() - start < limits::SHUTDOWN_GRACE);
}

#[test]
fn pending_login_receives_no_presence() {
    let outbox = Arc::new(SendQueue::default());
    let mut fanout = Fanout::new(Seq(0));
    fanout.add(SessionId(1), Dialect::Extended, Arc::clone(&outbox));
    let user: UserId = "Bob_1234".parse().unwrap();
    let news = Event::Presence { joined: vec![user.clone()], left: vec![] };
    fanout.deliver(SessionSet::All, &news);
    fanout.flush();
    assert_eq!(outbox.weight(), 0);
    fanout.subscribe(SessionId(1), user, None);
    fanout.deliver(SessionSet::All, &news);
    assert!(outbox.weight() > 0);
}
