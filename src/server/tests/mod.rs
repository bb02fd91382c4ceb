//! Tests of whole sessions over in-memory streams, in virtual time, and their harness.

mod delivery;
mod housekeeping;
mod login;
mod order;
mod privacy;
mod queries;
mod rate_limit;
mod rooms;

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use futures_util::FutureExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::fanout::Fanout;
use super::housekeeping::Housekeeping;
use super::hub::trusted_clock::TrustedClock;
use super::hub::{self, AccessMode, Hub, KeyHash, Now, SessionId, SessionSet};
use super::hub_task::{HubTask, LogChanges, hub_channel};
use super::limits;
use super::rate_limit::RateLimiter;
use super::send_queue::SendQueue;
use super::session::SessionContext;
use super::tail::Tail;
use crate::protocol::decoder::Decoder;
use crate::protocol::event::Event;
use crate::protocol::id::{Seq, UserId};
use crate::protocol::limits::{
    CONTENT_CHARACTERS, FRAME_BYTES, LOGIN_FRAME_BYTES, Rates, SERVER_FRAME_BYTES,
};
use crate::protocol::request::Dialect;
use crate::store::tests::memory::MemoryStore;
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

/// A server clock in virtual time. Its wall clock starts at 2027-01-15T08:00:00Z.
fn clock() -> Now {
    thread_local! {
        static START: Instant = monotonic_now();
    }
    let start = DateTime::from_timestamp_millis(1_800_000_000_000).unwrap().fixed_offset();
    let now = monotonic_now();
    Now { monotonic: now, wall: start + START.with(|start| now.saturating_duration_since(*start)) }
}

impl ServerHarness {
    pub(super) fn start() -> Self {
        Self::with_store(MemoryStore::default(), None)
    }

    fn with_rates(rates: Rates) -> Self {
        Self::with_store(MemoryStore::default(), Some(rates))
    }

    fn with_store(store: impl Store, rates: Option<Rates>) -> Self {
        Self::with_retention(store, rates, Retention::Forever)
    }

    fn with_retention(store: impl Store, rates: Option<Rates>, retention: Retention) -> Self {
        Self::with_disk_delay(store, rates, retention, Duration::ZERO)
    }

    /// A server whose disk takes `disk_delay` for each batch.
    fn with_disk_delay(
        mut store: impl Store,
        rates: Option<Rates>,
        retention: Retention,
        disk_delay: Duration,
    ) -> Self {
        let (hub, commands) = hub_channel();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let snapshot = store.snapshot().unwrap();
        let (readers, read_queue) = worker::read_queue();
        let (catch_up, catch_up_queue) = worker::read_queue();
        let (searchers, search_queue) = worker::read_queue();
        let threads = TaskTracker::new();
        threads.spawn(worker::run_reader_task(store.open_reader().unwrap(), read_queue));
        threads.spawn(worker::run_reader_task(store.open_reader().unwrap(), catch_up_queue));
        threads.spawn(worker::run_reader_task(store.open_reader().unwrap(), search_queue));
        let (writer, write_queue) = worker::write_queue();
        threads.spawn(worker::run_writer_task(store, write_queue, async move || {
            if !disk_delay.is_zero() {
                tokio::time::sleep(disk_delay).await;
            }
        }));
        let log = LogHandles { writer, readers, catch_up: catch_up.clone(), searchers };
        let changes = Arc::<LogChanges>::default();
        let housekeeping = Housekeeping {
            writer: log.writer.clone(),
            hub: hub.clone(),
            changes: Arc::clone(&changes),
            retention,
            clock,
            trusted_clock: TrustedClock::new(snapshot.clock),
        };
        tasks.spawn(stop.clone().run_until_cancelled_owned(housekeeping.run()));
        let tail = Arc::new(Tail::new(snapshot.head));
        let hub_task = HubTask::new(
            Hub::new(1, AccessMode::Open, &snapshot),
            Fanout::new(snapshot.head, Arc::clone(&tail)),
            log,
            tasks.clone(),
        );
        tasks.spawn(hub_task.run(commands, clock, changes, stop.clone()));
        let context = SessionContext {
            hub,
            catch_up,
            tail,
            clock,
            rate_limiter: rates.map(|rates| Arc::new(RateLimiter::new(rates))),
            stop: stop.clone(),
        };
        Self { context, epoch: snapshot.epoch, tasks, stop, n_sessions: 0 }
    }

    /// A guest's connection. `buffer` bounds the bytes in flight in each direction.
    fn connect(&mut self, buffer: usize) -> TestClient {
        self.connect_with_key(buffer, None)
    }

    fn connect_with_key(&mut self, buffer: usize, key: Option<KeyHash>) -> TestClient {
        let (near, far) = tokio::io::duplex(buffer);
        let session = SessionId(self.n_sessions);
        self.n_sessions += 1;
        let peer = hub::PeerInfo { key, address: std::net::Ipv4Addr::LOCALHOST.into() };
        self.tasks.spawn(super::session::run(far, session, peer, self.context.clone()));
        TestClient { io: near, decoder: Decoder::new(SERVER_FRAME_BYTES) }
    }

    /// A logged-in guest with an extended client.
    async fn join(&mut self, name: &str) -> TestClient {
        let client = self.connect(65_536);
        Self::log_in(client, name).await
    }

    async fn log_in(mut client: TestClient, name: &str) -> TestClient {
        client.send(&json!({"action": "LOGIN", "protocol": 1, "username": name})).await;
        client.expect("action", "LOGIN").await;
        client.expect("status", "SUCCESS").await;
        client.expect("action", "ACTIVE_CLIENT").await;
        client
    }
}

/// The client's end of a connection.
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

    /// The next object. `None` when the server closed the connection.
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

    /// The next object other than a presence announcement. `field` must have this value.
    async fn expect(&mut self, field: &str, value: &str) -> Value {
        loop {
            let object = self.next().await.expect("connection closed");
            if object["action"] != "PRESENCE" && object["action"] != "GUESTS" {
                assert_eq!(object[field], value, "{object}");
                return object;
            }
        }
    }

    /// The next object in which `field` has this value.
    async fn wait_for(&mut self, field: &str, value: &str) -> Value {
        loop {
            let object = self.next().await.expect("connection closed");
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
    let mut harness = ServerHarness::start();
    let start = monotonic_now();
    let mut client = harness.connect(1_024);
    client.expect("action", "LOGIN").await;
    client.expect("code", "login_timeout").await;
    assert_eq!(monotonic_now() - start, limits::LOGIN_TIMEOUT);
    client.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn objects_may_be_split_or_concatenated() {
    let mut harness = ServerHarness::start();
    let mut client = harness.connect(1_024);
    for byte in br#"{"username": "Bob", "protocol": 1}"# {
        client.io.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    client.expect("action", "LOGIN").await;
    client.expect("status", "SUCCESS").await;
    client.expect("action", "ACTIVE_CLIENT").await;
    let mut concatenated = String::new();
    for n in 1..=3 {
        let message = json!({"action": "MESSAGE", "receiver": ["all"], "content": "hi", "cid": n.to_string()});
        concatenated.push_str(&message.to_string());
    }
    client.io.write_all(concatenated.as_bytes()).await.unwrap();
    for n in 1..=3 {
        client.expect("cid", &n.to_string()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn invalid_login_is_refused() {
    for (input, code) in [
        ("GET / HTTP/1.1\r\n\r\n", "bad_json"),
        (r#"{"action": "EXIT"}"#, "login_first"),
        (r#"{"username": "a b"}"#, "bad_name"),
        (&format!("{{{}", "x".repeat(LOGIN_FRAME_BYTES)), "frame_too_long"),
    ] {
        let mut harness = ServerHarness::start();
        let mut client = harness.connect(65_536);
        client.io.write_all(input.as_bytes()).await.unwrap();
        client.expect("action", "LOGIN").await;
        let refused = client.expect("status", "ERROR").await;
        assert_eq!(refused["code"], code);
        client.expect_end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn garbage_is_answered_and_session_continues() {
    let mut harness = ServerHarness::start();
    let mut client = harness.join("Bob").await;
    client.io.write_all(b"]]]").await.unwrap();
    client.expect("code", "bad_json").await;
    client.io.write_all(br#"{"action": MESSAGE}"#).await.unwrap();
    client.expect("code", "bad_json").await;
    client.post("still here").await;
    client.expect("content", "still here").await;
}

#[tokio::test(start_paused = true)]
async fn oversized_object_closes_only_its_session() {
    let mut harness = ServerHarness::start();
    let mut ann = harness.join("Ann").await;
    let mut bob = harness.join("Bob").await;
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
    let mut harness = ServerHarness::start();
    let mut slow = harness.join("Slow").await;
    let (mut ann, mut bob) = (harness.join("Ann").await, harness.join("Bob").await);
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
    assert!(seqs.is_sorted_by(|one, next| one < next), "in order, without duplicates");
    ann.post("and on").await;
    slow.expect("content", "and on").await;
    slow.send(&json!({"action": "PING"})).await;
    assert_eq!(slow.expect("action", "PONG").await["count"], n_messages + 1);
}

#[tokio::test(start_paused = true)]
async fn session_without_progress_for_30_s_is_closed() {
    let mut harness = ServerHarness::start();
    let _stuck = harness.join("Stuck").await;
    let mut ann = harness.join("Ann").await;
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
    let mut harness = ServerHarness::start();
    let mut original = harness.connect(65_536);
    original.send(&json!({"username": "Tom"})).await;
    original.wait_for("action", "ACTIVE_CLIENT").await;
    let mut silent = harness.join("Silent").await;
    tokio::time::sleep(limits::KEEPALIVE_TIMEOUT / 2).await;
    silent.send(&json!({"action": "PING"})).await;
    silent.expect("action", "PONG").await;
    let since = monotonic_now();
    let end = async { while silent.next().await.is_some() {} };
    tokio::time::timeout(2 * limits::KEEPALIVE_TIMEOUT, end).await.expect("still connected");
    assert_eq!((monotonic_now() - since).as_secs(), 45);
    tokio::time::sleep(limits::KEEPALIVE_TIMEOUT).await;
    original.send(&json!({"action": "MESSAGE", "receiver": ["all"], "content": "here"})).await;
    original.wait_for("content", "here").await;
}

#[tokio::test(start_paused = true)]
async fn reconnecting_client_gets_missed_then_live_events() {
    let mut harness = ServerHarness::start();
    let mut ann = harness.join("Ann").await;
    ann.post("before").await;
    let before = ann.expect("content", "before").await;
    for text in ["one", "two", "three"] {
        ann.post(text).await;
        ann.expect("content", text).await;
    }
    let mut bob = harness.connect(65_536);
    bob.expect("action", "LOGIN").await;
    let epoch = &harness.epoch;
    bob.send(&json!({"action": "LOGIN", "protocol": 1, "username": "Bob",
        "after": before["seq"], "epoch": epoch}))
        .await;
    assert_eq!(bob.expect("status", "SUCCESS").await["resumed"], true);
    bob.expect("action", "ACTIVE_CLIENT").await;
    for text in ["one", "two", "three"] {
        bob.expect("content", text).await;
    }
    assert_eq!(bob.expect("action", "LIVE").await["seq"], 4);
    ann.post("four").await;
    bob.expect("content", "four").await;

    let mut kim = harness.connect(65_536);
    kim.expect("action", "LOGIN").await;
    kim.send(
        &json!({"action": "LOGIN", "protocol": 1, "username": "Kim", "after": 1, "epoch": "other"}),
    )
    .await;
    assert_eq!(kim.expect("status", "SUCCESS").await["resumed"], false);
}

/// A client has received events that the log lost when it was restored from a backup.
#[tokio::test(start_paused = true)]
async fn client_ahead_of_the_log_is_not_resumed() {
    let mut harness = ServerHarness::start();
    let mut ann = harness.join("Ann").await;
    ann.post("restored").await;
    let mut head = ann.expect("content", "restored").await["seq"].as_u64().unwrap();
    for (ahead, resumed) in [(0, true), (1, false)] {
        let mut bob = harness.connect(65_536);
        bob.expect("action", "LOGIN").await;
        let epoch = &harness.epoch;
        bob.send(&json!({"action": "LOGIN", "protocol": 1, "username": "Bob", "after": head + ahead, "epoch": epoch}))
            .await;
        let welcome = bob.expect("status", "SUCCESS").await;
        assert_eq!((&welcome["resumed"], &welcome["head"]), (&json!(resumed), &json!(head)));
        bob.send(&json!({"action": "HISTORY"})).await;
        let page = bob.wait_for("action", "HISTORY").await;
        assert_eq!(page["messages"][0]["content"], "restored");
        ann.post("new").await;
        bob.wait_for("content", "new").await;
        head = ann.wait_for("content", "new").await["seq"].as_u64().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn requests_before_disconnect_are_answered() {
    let mut harness = ServerHarness::start();
    let mut client = harness.join("Bob").await;
    client.post("one").await;
    client.send(&json!({"action": "EXIT"})).await;
    client.expect("content", "one").await;
    client.expect_end().await;

    let mut client = harness.join("Bob").await;
    client.post("two").await;
    client.io.shutdown().await.unwrap();
    client.expect("content", "two").await;
    client.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn temporary_message_expires() {
    let mut harness = ServerHarness::start();
    let mut client = harness.join("Bob").await;
    let start = monotonic_now();
    client
        .send(&json!({"action": "TEMPORARY", "receiver": ["all"], "content": "short-lived"}))
        .await;
    let posted = client.expect("action", "TEMPORARY").await;
    assert_eq!(posted["expires"].as_i64().unwrap() - posted["at"].as_i64().unwrap(), 10_000);
    let expired = client.expect("action", "OUTDATED").await;
    assert_eq!(expired["content"], posted["id"]);
    let late = (monotonic_now() - start).saturating_sub(Duration::from_secs(10));
    assert!(late < Duration::from_millis(10), "{late:?} late");
}

#[tokio::test(start_paused = true)]
async fn shutdown_is_announced_to_all_sessions() {
    let mut harness = ServerHarness::start();
    let mut extended = harness.join("Ann").await;
    let mut original = harness.connect(65_536);
    original.send(&json!({"username": "Tom"})).await;
    original.expect("action", "LOGIN").await;
    original.expect("status", "SUCCESS").await;
    original.expect("action", "ACTIVE_CLIENT").await;
    let mut pending = harness.connect(65_536);
    pending.expect("action", "LOGIN").await;

    let start = monotonic_now();
    harness.stop.cancel();
    extended.expect("code", "shutting_down").await;
    extended.expect_end().await;
    original.expect_end().await;
    pending.expect("code", "shutting_down").await;
    pending.expect_end().await;
    drop((extended, original, pending));
    harness.tasks.close();
    harness.tasks.wait().await;
    assert!(monotonic_now() - start < limits::SHUTDOWN_GRACE);
}

#[tokio::test(start_paused = true)]
async fn stuck_client_does_not_delay_shutdown() {
    let mut harness = ServerHarness::start();
    let mut stuck = harness.connect(64);
    stuck.send(&json!({"username": "Tom"})).await;
    tokio::task::yield_now().await;
    let start = monotonic_now();
    harness.stop.cancel();
    harness.tasks.close();
    harness.tasks.wait().await;
    assert!(monotonic_now() - start < limits::SHUTDOWN_GRACE);
}

#[test]
fn pending_login_receives_no_presence() {
    let queue = Arc::new(SendQueue::default());
    let mut fanout = Fanout::new(Seq(0), Arc::new(Tail::new(Seq(0))));
    fanout.add(SessionId(1), Dialect::Extended, Arc::clone(&queue));
    let user: UserId = "Bob_1234".parse().unwrap();
    let presence = Event::Presence { joined: vec![user.clone()], left: vec![] };
    fanout.deliver(SessionSet::All, &presence);
    fanout.flush();
    assert!(queue.take(&mut Vec::new()).now_or_never().is_none());
    fanout.subscribe(SessionId(1), user, None);
    fanout.deliver(SessionSet::All, &presence);
    assert!(queue.take(&mut Vec::new()).now_or_never().is_some());
}
