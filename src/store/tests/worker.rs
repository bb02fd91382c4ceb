//! Tests of the worker threads: group commit, replies, errors, and draining the queue.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::worker::{self, read_queue, run_reader_task, run_writer_task, write_queue};
use super::super::{CheckpointOutcome, LogSnapshot, ScrubOutcome, StoreError};
use super::memory::{MemoryReader, MemoryStore};
use super::*;

/// A log that records the size of each batch; with `full`, it fails every append.
struct CountingStore {
    store: MemoryStore,
    batches: Arc<Mutex<Vec<usize>>>,
    full: bool,
}

impl Store for CountingStore {
    type Reader = MemoryReader;

    fn snapshot(&mut self) -> Result<LogSnapshot, StoreError> {
        self.store.snapshot()
    }

    fn open_reader(&self) -> Result<MemoryReader, StoreError> {
        self.store.open_reader()
    }

    fn apply(&mut self, now: Millis, batch: &[Entry]) -> Result<Vec<Outcome>, StoreError> {
        self.batches.lock().unwrap().push(batch.len());
        if self.full { Err(StoreError::DiskFull) } else { self.store.apply(now, batch) }
    }

    fn scrub(&mut self) -> Result<ScrubOutcome, StoreError> {
        self.store.scrub()
    }
}

fn post(number: u32) -> Vec<Entry> {
    vec![Entry::Post(message(number, "Ann", "text"))]
}

#[tokio::test]
async fn queued_writes_are_batched_and_answered_in_order() {
    let batches = Arc::default();
    let store =
        CountingStore { store: MemoryStore::default(), batches: Arc::clone(&batches), full: false };
    let (handle, queue) = write_queue();
    let mut pending = Vec::new();
    for number in 1..=600 {
        pending.push(handle.propose(NOW, post(number)).await.unwrap());
    }
    let work = async move {
        for (number, pending) in (1..).zip(pending) {
            let outcomes = pending.wait().await.unwrap();
            assert!(
                matches!(&outcomes[..], [Outcome::Posted(message)] if message.seq == Seq(number))
            );
        }
        assert_eq!(handle.scrub().await.unwrap(), ScrubOutcome::Done);
    };
    tokio::join!(run_writer_task(store, queue, async || {}), work);
    assert_eq!(*batches.lock().unwrap(), [512, 88]);
}

#[tokio::test]
async fn full_disk_is_reported_to_all_waiters() {
    let store =
        CountingStore { store: MemoryStore::default(), batches: Arc::default(), full: true };
    let (handle, queue) = write_queue();
    let first = handle.propose(NOW, post(1)).await.unwrap();
    let second = handle.propose(NOW, post(2)).await.unwrap();
    drop(handle);
    run_writer_task(store, queue, async || {}).await;
    for pending in [first, second] {
        assert!(matches!(pending.wait().await, Err(StoreError::DiskFull)));
    }
}

#[tokio::test]
async fn closed_log_is_reported() {
    let (handle, queue) = write_queue();
    let pending = handle.propose(NOW, post(1)).await.unwrap();
    drop(queue);
    assert!(matches!(pending.wait().await, Err(StoreError::Closed)));
    assert!(matches!(handle.scrub().await, Err(StoreError::Closed)));
}

#[tokio::test]
async fn reader_runs_the_closure() {
    let mut store = MemoryStore::default();
    apply(&mut store, Entry::Post(message(1, "Ann", "text")));
    let (handle, queue) = read_queue();
    let reader = store.open_reader().unwrap();
    let work = async move {
        let viewer = user("Bob");
        let view = move |reader: &mut dyn Reader| {
            let query = HistoryQuery { conversation: None, range: HistoryRange::Latest };
            reader.history(View { viewer: &viewer, now: NOW }, &query, 9)
        };
        assert_eq!(handle.read(view).await.unwrap().unwrap().messages.len(), 1);
    };
    tokio::join!(run_reader_task(reader, queue), work);
}

#[tokio::test]
async fn users_take_turns_at_the_readers() {
    let (handle, queue) = read_queue();
    let finished = Arc::<Mutex<Vec<&str>>>::default();
    let read = async |name: &'static str| {
        let (handle, finished) = (handle.clone(), Arc::clone(&finished));
        let work = move |_: &mut dyn Reader| {
            finished.lock().unwrap().push(name);
            Ok(())
        };
        handle.read_for(&user(name), work).await.unwrap();
    };
    let all_of_ann = futures_util::future::join_all((0..100).map(|_| read("Ann")));
    let readers = run_reader_task(MemoryStore::default().open_reader().unwrap(), queue);
    // Polled in this order: all of Ann's are requested before Bob's, and his before the reader starts.
    let all = async { tokio::join!(biased; all_of_ann, read("Bob"), read("Bob"), read("Cid")) };
    tokio::select! { biased; _ = all => {}, () = readers => {} }
    assert_eq!(finished.lock().unwrap()[..5], ["Ann", "Bob", "Cid", "Ann", "Bob"]);
    assert_eq!(finished.lock().unwrap().len(), 103);
}

#[test]
fn threads_drain_the_queue_before_exit() {
    let store = MemoryStore::default();
    let (handles, threads) = worker::spawn_threads(store.clone()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for number in 1..=100 {
            // The result is dropped without waiting for it.
            drop(handles.writer.propose(NOW, post(number)).await.unwrap());
        }
        let failed = handles.readers.read(|_| -> Result<(), _> { panic!("in a reader") }).await;
        assert!(matches!(failed, Err(StoreError::Closed)));
        let open = handles.readers.read(|reader| reader.open_invites(NOW)).await;
        assert_eq!(open.unwrap(), [], "a panic does not end the reader");
    });
    drop(handles);
    threads.join();
    assert_eq!(store.clone().snapshot().unwrap().head, Seq(100));
}

/// A log whose checkpoints wait until the test has received the outcome of its write.
struct SlowCheckpoint {
    store: MemoryStore,
    is_answered: std::sync::mpsc::Receiver<()>,
}

impl Store for SlowCheckpoint {
    type Reader = MemoryReader;

    fn snapshot(&mut self) -> Result<LogSnapshot, StoreError> {
        self.store.snapshot()
    }

    fn open_reader(&self) -> Result<MemoryReader, StoreError> {
        self.store.open_reader()
    }

    fn apply(&mut self, now: Millis, batch: &[Entry]) -> Result<Vec<Outcome>, StoreError> {
        self.store.apply(now, batch)
    }

    fn scrub(&mut self) -> Result<ScrubOutcome, StoreError> {
        self.store.scrub()
    }

    fn checkpoint(&mut self) -> Result<CheckpointOutcome, StoreError> {
        self.is_answered.recv_timeout(Duration::from_secs(30)).unwrap();
        Ok(CheckpointOutcome::ScrubDue)
    }
}

#[tokio::test]
async fn outcomes_are_reported_before_the_checkpoint() {
    let (answered, is_answered) = std::sync::mpsc::channel();
    let store = SlowCheckpoint { store: MemoryStore::default(), is_answered };
    let (handles, _threads) = worker::spawn_threads(store).unwrap();
    let outcomes = handles.writer.propose(NOW, post(1)).await.unwrap().wait().await.unwrap();
    assert!(matches!(&outcomes[..], [Outcome::Posted(_)]));
    answered.send(()).unwrap();
    handles.writer.scrub_due().await;
    drop(answered);
}
