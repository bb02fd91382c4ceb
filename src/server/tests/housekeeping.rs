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
use crate::store::{Append, Opened, Outcome, Overwritten, StoreError, Swept};

const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

/// What a log was asked for, and what it answers first.
#[derive(Default)]
struct Asked {
    sweeps: usize,
    overwrites: usize,
    answers: VecDeque<Result<Overwritten, StoreError>>,
}

/// A log that notes what it is asked for.
#[derive(Default)]
struct Noting {
    store: MemoryStore,
    asked: Arc<Mutex<Asked>>,
}

impl Store for Noting {
    type Reader = MemoryReader;

    fn opened(&mut self) -> Result<Opened, StoreError> {
        self.store.opened()
    }

    fn reader(&self) -> Result<MemoryReader, StoreError> {
        self.store.reader()
    }

    fn append(&mut self, now: Millis, batch: &[Append]) -> Result<Vec<Outcome>, StoreError> {
        self.store.append(now, batch)
    }

    fn sweep(&mut self, now: Millis, retention: Retention) -> Result<Swept, StoreError> {
        self.asked.lock().unwrap().sweeps += 1;
        self.store.sweep(now, retention)
    }

    fn overwrite(&mut self) -> Result<Overwritten, StoreError> {
        let mut asked = self.asked.lock().unwrap();
        asked.overwrites += 1;
        asked.answers.pop_front().unwrap_or(Ok(Overwritten::Done))
    }
}

/// A server that keeps messages for so many days, on a disk.
fn on_disk(days: u32) -> (Rig, TempDir) {
    let folder = TempDir::new().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    (Rig::keeping(store, None, Retention::Days(days)), folder)
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
async fn history(rig: &mut Rig) -> Vec<String> {
    let mut new = rig.ours("New").await;
    new.send(&json!({"action": "HISTORY"})).await;
    let page = new.expect("action", "HISTORY").await;
    let messages = page["messages"].as_array().unwrap().iter();
    messages.map(|message| message["content"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_text_of_a_deleted_message_is_overwritten_within_a_minute() {
    let (mut rig, folder) = on_disk(9);
    // What was to be overwritten at the start is not what this is about.
    sleep(10 * MINUTE).await;
    let mut ann = rig.ours("Ann").await;
    ann.say("never-said").await;
    let said = ann.expect("content", "never-said").await;
    ann.send(&json!({"action": "DELETE", "content": said["id"]})).await;
    ann.expect("action", "DELETE").await;
    assert!(is_on_disk(folder.path(), "never-said"));
    sleep(MINUTE).await;
    assert!(!is_on_disk(folder.path(), "never-said"), "a minute later");
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_kept_a_message_goes_soon_and_is_overwritten() {
    let (mut rig, folder) = on_disk(0);
    // Long after the start, when nothing has been going on.
    sleep(DAY).await;
    for text in ["one-text", "two-text"] {
        let mut ann = rig.ours("Ann").await;
        ann.say(text).await;
        ann.expect("content", text).await;
        drop(ann);
        sleep(9 * MINUTE).await;
        assert!(history(&mut rig).await.contains(&text.to_owned()), "for who comes back");
    }
    assert!(is_on_disk(folder.path(), "two-text"));
    sleep(2 * MINUTE).await;
    assert_eq!(history(&mut rig).await, [""; 0], "eleven minutes later");
    sleep(MINUTE).await;
    assert!(!is_on_disk(folder.path(), "two-text"), "and overwritten");
}

#[tokio::test(start_paused = true)]
async fn a_failed_overwrite_is_done_again_and_no_timer_runs_while_nothing_happens() {
    let store = Noting::default();
    let asked = Arc::clone(&store.asked);
    asked.lock().unwrap().answers =
        [Err(StoreError::Full), Ok(Overwritten::Busy), Err(StoreError::Busy)].into();
    let mut rig = Rig::keeping(store, None, Retention::Days(0));
    sleep(3 * limits::OVERWRITE_AFTER).await;
    assert_eq!(asked.lock().unwrap().overwrites, 3, "30, 60 and 61 s after the start");
    sleep(limits::OVERWRITE_AFTER).await;
    assert_eq!(asked.lock().unwrap().overwrites, 4, "and it came through");
    sleep(DAY).await;
    let quiet = asked.lock().unwrap().sweeps;
    drop(rig.ours("Ann").await);
    sleep(DAY).await;
    let asked = asked.lock().unwrap();
    assert_eq!((asked.overwrites, asked.sweeps - quiet), (4, 24), "one an hour");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_goes_and_direct_messages_wait_for_their_people() {
    let (mut rig, _folder) = on_disk(2);
    let bob = rig.connect_with(65_536, Some([7; 32]));
    let mut bob = Rig::log_in(bob, "Bob").await;
    bob.say("of Bob").await;
    let bob_id = bob.expect("content", "of Bob").await["sender"].clone();
    drop(bob);
    let mut ann = rig.ours("Ann").await;
    ann.send(&json!({"action": "MESSAGE", "receiver": [bob_id], "content": "for Bob"})).await;
    ann.expect("content", "for Bob").await;
    sleep(DAY + DAY / 2).await;
    let mut kim = rig.ours("Kim").await;
    kim.say("later").await;
    kim.expect("content", "later").await;
    assert_eq!(history(&mut rig).await, ["of Bob", "later"], "not two days yet");
    sleep(DAY).await;
    assert_eq!(history(&mut rig).await, ["later"]);
    let bob = rig.connect_with(65_536, Some([7; 32]));
    let mut bob = Rig::log_in(bob, "Bob").await;
    bob.send(&json!({"action": "HISTORY"})).await;
    let page = bob.expect("action", "HISTORY").await;
    assert_eq!(page["messages"][0]["content"], "for Bob");
}
