//! What is kept no longer goes in time, and what was removed is overwritten, however the disk does.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;

use tempfile::TempDir;
use tokio::time::sleep;

use super::*;
use crate::protocol::message::Millis;
use crate::store::memory::MemoryReader;
use crate::store::sqlite::SqliteStore;
use crate::store::{Append, LogSnapshot, Outcome, ScrubOutcome, StoreError, SweepReport};

const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

/// What a log was asked for, and what it answers first.
#[derive(Default)]
struct StoreCalls {
    sweeps: usize,
    scrubs: usize,
    scrub_results: VecDeque<Result<ScrubOutcome, StoreError>>,
}

/// A log that notes what it is asked for.
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

    fn append(&mut self, now: Millis, batch: &[Append]) -> Result<Vec<Outcome>, StoreError> {
        self.store.append(now, batch)
    }

    fn sweep(&mut self, now: Millis, retention: Retention) -> Result<SweepReport, StoreError> {
        self.calls.lock().unwrap().sweeps += 1;
        self.store.sweep(now, retention)
    }

    fn scrub(&mut self) -> Result<ScrubOutcome, StoreError> {
        let mut asked = self.calls.lock().unwrap();
        asked.scrubs += 1;
        asked.scrub_results.pop_front().unwrap_or(Ok(ScrubOutcome::Done))
    }
}

/// A server that keeps messages for so many days, on a disk.
fn on_disk(days: u32) -> (ServerHarness, TempDir) {
    let folder = TempDir::new().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    (ServerHarness::with_retention(store, None, Retention::Days(days)), folder)
}

/// Whether the text is in any file.
fn is_on_disk(folder: &Path, text: &str) -> bool {
    let has = |bytes: Vec<u8>| bytes.windows(text.len()).any(|some| some == text.as_bytes());
    std::fs::read_dir(folder).unwrap().any(|file| {
        let path = file.unwrap().path();
        path.is_file() && has(std::fs::read(path).unwrap())
    })
}

/// The texts that somebody new is shown.
async fn history_texts(rig: &mut ServerHarness) -> Vec<String> {
    let mut new = rig.join("New").await;
    new.send(&json!({"action": "HISTORY"})).await;
    let page = new.expect("action", "HISTORY").await;
    let messages = page["messages"].as_array().unwrap().iter();
    messages.map(|message| message["content"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn deleted_text_is_scrubbed_within_a_minute() {
    let (mut rig, folder) = on_disk(9);
    // What was to be overwritten at the start is not what this is about.
    sleep(10 * MINUTE).await;
    let mut ann = rig.join("Ann").await;
    ann.post("never-said").await;
    let said = ann.expect("content", "never-said").await;
    ann.send(&json!({"action": "DELETE", "content": said["id"]})).await;
    ann.expect("action", "DELETE").await;
    assert!(is_on_disk(folder.path(), "never-said"));
    sleep(MINUTE).await;
    assert!(!is_on_disk(folder.path(), "never-said"), "a minute later");
}

#[tokio::test(start_paused = true)]
async fn zero_retention_expires_and_scrubs_messages() {
    let (mut rig, folder) = on_disk(0);
    // Long after the start, when nothing has been going on.
    sleep(DAY).await;
    for text in ["one-text", "two-text"] {
        let mut ann = rig.join("Ann").await;
        ann.post(text).await;
        ann.expect("content", text).await;
        drop(ann);
        sleep(9 * MINUTE).await;
        assert!(history_texts(&mut rig).await.contains(&text.to_owned()), "for who comes back");
    }
    assert!(is_on_disk(folder.path(), "two-text"));
    sleep(2 * MINUTE).await;
    assert_eq!(history_texts(&mut rig).await, [""; 0], "eleven minutes later");
    sleep(MINUTE).await;
    assert!(!is_on_disk(folder.path(), "two-text"), "and overwritten");
}

#[tokio::test(start_paused = true)]
async fn failed_scrub_is_retried_and_idle_server_has_no_timer() {
    let store = RecordingStore::default();
    let asked = Arc::clone(&store.calls);
    asked.lock().unwrap().scrub_results =
        [Err(StoreError::DiskFull), Ok(ScrubOutcome::Busy), Err(StoreError::Busy)].into();
    let mut rig = ServerHarness::with_retention(store, None, Retention::Days(0));
    sleep(3 * limits::SCRUB_DELAY).await;
    assert_eq!(asked.lock().unwrap().scrubs, 3, "30, 60 and 61 s after the start");
    sleep(limits::SCRUB_DELAY).await;
    assert_eq!(asked.lock().unwrap().scrubs, 4, "and it came through");
    sleep(DAY).await;
    let quiet = asked.lock().unwrap().sweeps;
    drop(rig.join("Ann").await);
    sleep(DAY).await;
    let asked = asked.lock().unwrap();
    assert_eq!((asked.scrubs, asked.sweeps - quiet), (4, 24), "one an hour");
}

#[tokio::test(start_paused = true)]
async fn old_messages_expire_but_unread_direct_messages_stay() {
    let (mut rig, _folder) = on_disk(2);
    let bob = rig.connect_with_key(65_536, Some([7; 32]));
    let mut bob = ServerHarness::log_in(bob, "Bob").await;
    bob.post("of Bob").await;
    let bob_id = bob.expect("content", "of Bob").await["sender"].clone();
    drop(bob);
    let mut ann = rig.join("Ann").await;
    ann.send(&json!({"action": "MESSAGE", "receiver": [bob_id], "content": "for Bob"})).await;
    ann.expect("content", "for Bob").await;
    sleep(DAY + DAY / 2).await;
    let mut kim = rig.join("Kim").await;
    kim.post("later").await;
    kim.expect("content", "later").await;
    assert_eq!(history_texts(&mut rig).await, ["of Bob", "later"], "not two days yet");
    sleep(DAY).await;
    assert_eq!(history_texts(&mut rig).await, ["later"]);
    let bob = rig.connect_with_key(65_536, Some([7; 32]));
    let mut bob = ServerHarness::log_in(bob, "Bob").await;
    bob.send(&json!({"action": "HISTORY"})).await;
    let page = bob.expect("action", "HISTORY").await;
    assert_eq!(page["messages"][0]["content"], "for Bob");
}
