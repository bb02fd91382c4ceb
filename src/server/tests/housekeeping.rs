//! Sweeps and scrubs of a running server, also when the disk fails.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;

use tempfile::TempDir;
use tokio::time::sleep;

use super::*;
use crate::protocol::message::{Audience, MessageKind, Millis};
use crate::protocol::query::SearchQuery;
use crate::protocol::text::SafeText;
use crate::server::queries::SearchJob;
use crate::store::sqlite::SqliteStore;
use crate::store::tests::memory::MemoryReader;
use crate::store::{Entry, LogSnapshot, NewMessage, Outcome, ScrubOutcome, StoreError};

const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);
/// How long SQLite waits for readers, where the log lets it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The calls to a store, and the results of its first scrubs.
#[derive(Default)]
struct StoreCalls {
    sweeps: usize,
    scrubs: usize,
    scrub_results: VecDeque<Result<ScrubOutcome, StoreError>>,
}

/// A store that records calls.
#[derive(Default)]
struct RecordingStore {
    store: MemoryStore,
    calls: Arc<Mutex<StoreCalls>>,
}

impl Store for RecordingStore {
    type Reader = MemoryReader;

    fn snapshot(&mut self) -> Result<LogSnapshot, StoreError> {
        self.store.snapshot()
    }

    fn open_reader(&self) -> Result<MemoryReader, StoreError> {
        self.store.open_reader()
    }

    fn apply(&mut self, now: Millis, batch: &[Entry]) -> Result<Vec<Outcome>, StoreError> {
        let sweeps = batch.iter().filter(|entry| matches!(entry, Entry::Retain(_))).count();
        self.calls.lock().unwrap().sweeps += sweeps;
        self.store.apply(now, batch)
    }

    fn scrub(&mut self) -> Result<ScrubOutcome, StoreError> {
        let mut calls = self.calls.lock().unwrap();
        calls.scrubs += 1;
        calls.scrub_results.pop_front().unwrap_or(Ok(ScrubOutcome::Done))
    }
}

/// A server with a log on disk that keeps messages for `days`.
fn on_disk(days: u32) -> (ServerHarness, TempDir) {
    let folder = TempDir::new().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    (ServerHarness::with_retention(store, None, Retention::Days(days)), folder)
}

/// Whether any file contains the text.
fn is_on_disk(folder: &Path, text: &str) -> bool {
    let has = |bytes: Vec<u8>| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    std::fs::read_dir(folder).unwrap().any(|file| {
        let path = file.unwrap().path();
        path.is_file() && has(std::fs::read(path).unwrap())
    })
}

/// The texts in the history that a new user gets.
async fn history_texts(harness: &mut ServerHarness) -> Vec<String> {
    let mut new = harness.join("New").await;
    new.send(&json!({"action": "HISTORY"})).await;
    let page = new.expect("action", "HISTORY").await;
    let messages = page["messages"].as_array().unwrap().iter();
    messages.map(|message| message["content"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn deleted_text_is_scrubbed_within_a_minute() {
    let (mut harness, folder) = on_disk(9);
    // After the scrub at the start of the server.
    sleep(10 * MINUTE).await;
    let mut ann = harness.join("Ann").await;
    ann.post("secret-text").await;
    let posted = ann.expect("content", "secret-text").await;
    ann.send(&json!({"action": "DELETE", "content": posted["id"]})).await;
    ann.expect("action", "DELETE").await;
    assert!(is_on_disk(folder.path(), "secret-text"));
    sleep(MINUTE).await;
    assert!(!is_on_disk(folder.path(), "secret-text"), "a minute later");
}

#[tokio::test(start_paused = true)]
async fn zero_retention_expires_and_scrubs_messages() {
    let (mut harness, folder) = on_disk(0);
    // Long after the start, without any activity.
    sleep(DAY).await;
    for text in ["one-text", "two-text"] {
        let mut ann = harness.join("Ann").await;
        ann.post(text).await;
        ann.expect("content", text).await;
        drop(ann);
        sleep(9 * MINUTE).await;
        assert!(
            history_texts(&mut harness).await.contains(&text.to_owned()),
            "kept so that clients can resume"
        );
    }
    assert!(is_on_disk(folder.path(), "two-text"));
    sleep(2 * MINUTE).await;
    assert_eq!(history_texts(&mut harness).await, [""; 0], "eleven minutes later");
    sleep(MINUTE).await;
    assert!(!is_on_disk(folder.path(), "two-text"), "scrubbed");
}

#[tokio::test(start_paused = true)]
async fn failed_scrub_is_retried_and_idle_server_has_no_timer() {
    let store = RecordingStore::default();
    let calls = Arc::clone(&store.calls);
    calls.lock().unwrap().scrub_results =
        [Err(StoreError::DiskFull), Ok(ScrubOutcome::Busy), Err(StoreError::Busy)].into();
    let mut harness = ServerHarness::with_retention(store, None, Retention::Days(0));
    sleep(3 * limits::SCRUB_DELAY).await;
    assert_eq!(calls.lock().unwrap().scrubs, 3, "30, 60 and 61 s after the start");
    sleep(limits::SCRUB_DELAY).await;
    assert_eq!(calls.lock().unwrap().scrubs, 4, "retried until it succeeded");
    sleep(DAY).await;
    let sweeps = calls.lock().unwrap().sweeps;
    drop(harness.join("Ann").await);
    sleep(DAY).await;
    let calls = calls.lock().unwrap();
    assert_eq!((calls.scrubs, calls.sweeps - sweeps), (4, 24), "one sweep an hour");
}

#[tokio::test(start_paused = true)]
async fn old_messages_expire_but_unread_direct_messages_stay() {
    let (mut harness, _folder) = on_disk(2);
    let bob = harness.connect_with_key(65_536, Some([7; 32]));
    let mut bob = ServerHarness::log_in(bob, "Bob").await;
    bob.post("of Bob").await;
    let bob_id = bob.expect("content", "of Bob").await["sender"].clone();
    drop(bob);
    let mut ann = harness.join("Ann").await;
    ann.send(&json!({"action": "MESSAGE", "receiver": [bob_id], "content": "for Bob"})).await;
    ann.expect("content", "for Bob").await;
    sleep(DAY + DAY / 2).await;
    let mut kim = harness.join("Kim").await;
    kim.post("later").await;
    kim.expect("content", "later").await;
    assert_eq!(history_texts(&mut harness).await, ["of Bob", "later"], "not two days yet");
    sleep(DAY).await;
    assert_eq!(history_texts(&mut harness).await, ["later"]);
    let bob = harness.connect_with_key(65_536, Some([7; 32]));
    let mut bob = ServerHarness::log_in(bob, "Bob").await;
    bob.send(&json!({"action": "HISTORY"})).await;
    let page = bob.expect("action", "HISTORY").await;
    assert_eq!(page["messages"][0]["content"], "for Bob");
}

/// A month before the clock of the harness.
#[tokio::test(start_paused = true)]
async fn jump_of_the_clock_removes_nothing() {
    let folder = TempDir::new().unwrap();
    let mut store = SqliteStore::open(folder.path()).unwrap();
    let old = clock().wall - chrono::Duration::days(31);
    let message = |kind, text| {
        Entry::Post(NewMessage {
            sender: "Ann_0001".parse().unwrap(),
            guest: false,
            audience: Audience::Everyone,
            guests: Arc::default(),
            kind,
            content: SafeText::clean(text),
            at: old,
            cid: None,
        })
    };
    let expires = old.timestamp_millis() + 60_000_000;
    let posts = [
        message(MessageKind::Plain, "old"),
        message(MessageKind::Temporary { expires }, "short-lived"),
    ];
    store.apply(old.timestamp_millis(), &posts).unwrap();
    let mut harness = ServerHarness::with_retention(store, None, Retention::Days(30));
    sleep(MINUTE).await;
    assert_eq!(history_texts(&mut harness).await, ["old"], "the other is hidden by its time");
    sleep(50 * MINUTE).await;
    assert!(is_on_disk(folder.path(), "short-lived"));
    assert_eq!(history_texts(&mut harness).await, ["old"]);
    sleep(15 * MINUTE).await;
    assert_eq!(history_texts(&mut harness).await, [""; 0], "the clock has held");
    sleep(MINUTE).await;
    assert!(!is_on_disk(folder.path(), "short-lived"), "scrubbed");
}

#[tokio::test]
async fn slow_searches_delay_neither_scrubs_nor_writes() {
    let folder = TempDir::new().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let (log, _threads) = worker::spawn_threads(store).unwrap();
    let message = |text: &str| {
        Entry::Post(NewMessage {
            sender: "Ann_0001".parse().unwrap(),
            guest: false,
            audience: Audience::Everyone,
            guests: Arc::default(),
            kind: MessageKind::Plain,
            content: SafeText::clean(text),
            at: clock().wall,
            cid: None,
        })
    };
    let write =
        async |append| log.writer.propose(0, vec![append]).await.unwrap().wait().await.unwrap();
    for _ in 0..300 {
        write(message(&"10".repeat(2_000))).await;
    }
    let tasks = TaskTracker::new();
    let searches: Vec<_> = (0..3)
        .map(|_| {
            let searchers = log.searchers.clone();
            tasks.spawn(async move {
                loop {
                    let pattern = "1[01]{390}[^01]".to_owned();
                    let query = SearchQuery { pattern, ..SearchQuery::default() };
                    let (viewer, now) = ("Bob_0001".parse().unwrap(), clock().millis());
                    let mut next =
                        Some(SearchJob::new(viewer, now, None, query, CancellationToken::new()));
                    while let Some(job) = next {
                        let turn = searchers.read(move |reader| job.run_turn(reader, |_| {}));
                        next = turn.await.unwrap();
                    }
                }
            })
        })
        .collect();
    for n in 0..20 {
        let outcomes = write(message(&format!("secret-{n}-text"))).await;
        let [Outcome::Posted(secret)] = &outcomes[..] else { panic!("{outcomes:?}") };
        write(Entry::Delete { id: secret.id, by: secret.sender.clone(), cid: None }).await;
        // A search that matches is in no transaction. One that reads may be interrupted by a busy machine.
        for attempts in 0.. {
            assert!(attempts < 20, "the searches leave no moment for a scrub");
            let start = monotonic_now();
            let (scrubbed, _) = tokio::join!(log.writer.scrub(), write(message("and on")));
            assert!(start.elapsed() < BUSY_TIMEOUT, "a write waited for a reader");
            if scrubbed.unwrap() == ScrubOutcome::Done {
                break;
            }
        }
        assert!(!is_on_disk(folder.path(), &format!("secret-{n}-text")));
    }
    for search in searches {
        search.abort();
        assert!(search.await.unwrap_err().is_cancelled());
    }
}
