//! The queues: what waits is committed together and answered one by one, and nothing queued is lost.

use std::sync::{Arc, Mutex};

use super::super::handle::{self, read_queue, serve_as_task, serve_reads_as_task, write_queue};
use super::super::memory::{MemoryReader, MemoryStore};
use super::super::{Opened, Overwritten, Retention, StoreError, Swept};
use super::*;

/// A log that counts what comes in each transaction, and refuses when it is told to.
struct Counted {
    store: MemoryStore,
    batches: Arc<Mutex<Vec<usize>>>,
    full: bool,
}

impl Store for Counted {
    type Reader = MemoryReader;

    fn opened(&mut self) -> Result<Opened, StoreError> {
        self.store.opened()
    }

    fn reader(&self) -> Result<MemoryReader, StoreError> {
        self.store.reader()
    }

    fn append(&mut self, now: Millis, batch: &[Append]) -> Result<Vec<Outcome>, StoreError> {
        self.batches.lock().unwrap().push(batch.len());
        if self.full { Err(StoreError::Full) } else { self.store.append(now, batch) }
    }

    fn sweep(&mut self, now: Millis, retention: Retention) -> Result<Swept, StoreError> {
        self.store.sweep(now, retention)
    }

    fn overwrite(&mut self) -> Result<Overwritten, StoreError> {
        self.store.overwrite()
    }
}

fn say(number: u32) -> Vec<Append> {
    vec![Append::Say(message(number, "Ann", "text"))]
}

#[tokio::test]
async fn what_waits_is_committed_together_and_answered_in_order() {
    let batches = Arc::default();
    let store =
        Counted { store: MemoryStore::default(), batches: Arc::clone(&batches), full: false };
    let (handle, queue) = write_queue();
    let mut pending = Vec::new();
    for number in 1..=600 {
        pending.push(handle.append(NOW, say(number)).await.unwrap());
    }
    let work = async move {
        for (number, pending) in (1..).zip(pending) {
            let outcomes = pending.done().await.unwrap();
            assert!(matches!(&outcomes[..], [Outcome::Said(said)] if said.seq == Seq(number)));
        }
        assert_eq!(handle.sweep(NOW, Retention::Forever).await.unwrap(), Swept::default());
    };
    tokio::join!(serve_as_task(store, queue, async || {}), work);
    assert_eq!(*batches.lock().unwrap(), [512, 88]);
}

#[tokio::test]
async fn a_full_disk_is_told_to_all_who_wait() {
    let store = Counted { store: MemoryStore::default(), batches: Arc::default(), full: true };
    let (handle, queue) = write_queue();
    let first = handle.append(NOW, say(1)).await.unwrap();
    let second = handle.append(NOW, say(2)).await.unwrap();
    drop(handle);
    serve_as_task(store, queue, async || {}).await;
    for pending in [first, second] {
        assert!(matches!(pending.done().await, Err(StoreError::Full)));
    }
}

#[tokio::test]
async fn a_closed_log_says_so() {
    let (handle, queue) = write_queue();
    let pending = handle.append(NOW, say(1)).await.unwrap();
    drop(queue);
    assert!(matches!(pending.done().await, Err(StoreError::Closed)));
    assert!(matches!(handle.overwrite().await, Err(StoreError::Closed)));
}

#[tokio::test]
async fn a_reader_does_what_it_is_asked() {
    let mut store = MemoryStore::default();
    append(&mut store, Append::Say(message(1, "Ann", "text")));
    let (handle, queue) = read_queue();
    let reader = store.reader().unwrap();
    let work = async move {
        let viewer = user("Bob");
        let view = move |reader: &mut dyn Reader| {
            reader.history(View { viewer: &viewer, now: NOW }, None, 9)
        };
        assert_eq!(handle.read(view).await.unwrap().messages.len(), 1);
    };
    tokio::join!(serve_reads_as_task(reader, queue), work);
}

#[test]
fn threads_write_all_that_is_queued_before_they_end() {
    let store = MemoryStore::default();
    let (handles, threads) = handle::start(store.clone()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for number in 1..=100 {
            // Nobody waits for the answer.
            drop(handles.store.append(NOW, say(number)).await.unwrap());
        }
        let failed = handles.reads.read(|_| -> Result<(), _> { panic!("in a reader") }).await;
        assert!(matches!(failed, Err(StoreError::Closed)));
        let horizon = handles.reads.read(|reader| reader.horizon()).await;
        assert_eq!(horizon.unwrap(), Seq(0), "one panic does not end a reader");
    });
    drop(handles);
    threads.join();
    assert_eq!(store.clone().opened().unwrap().head, Seq(100));
}
