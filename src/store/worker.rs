//! The log for a server of many tasks: one thread writes, some read, and each has a bounded queue.
//!
//! What waits for the writer is committed together: the busier the server, the more messages share one
//! wait for the disk. There is no timer; a message that comes alone is committed alone.
//!
//! Tests drive the same loops as tasks: with a thread of its own behind it, a runtime whose clock is
//! paused would see nothing going on, and let the time run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use super::{Append, Outcome, Reader, Retention, ScrubOutcome, Store, StoreError, SweepReport};
use crate::protocol::message::Millis;

/// How many requests may wait for the writer. When full, those who ask wait.
const WRITE_QUEUE_LEN: usize = 1_024;

/// How many requests may wait for the readers. When full, those who ask wait.
const READ_QUEUE_LEN: usize = 256;

/// How much is committed at once: some 15 ms of work, which is what the first of it waits.
const MAX_BATCH: usize = 512;

/// Threads that read for sessions: pages of history, and what somebody missed.
const READER_THREADS: usize = 2;

/// Threads that search, at most: half of the cores are left to everybody else. They may be busy for
/// seconds, and nobody else waits for them.
const MAX_SEARCH_THREADS: usize = 2;

/// How far they step back, of 19: a tenth of what a thread gets that has other things to do.
#[cfg(target_os = "linux")]
const SEARCH_NICENESS: i32 = 10;

type ReplySender<T> = oneshot::Sender<Result<T, StoreError>>;

type ReadJob = Box<dyn FnOnce(&mut dyn Reader) + Send>;

#[derive(Debug)]
enum WriteRequest {
    Append { now: Millis, appends: Vec<Append>, reply: ReplySender<Vec<Outcome>> },
    Sweep { now: Millis, retention: Retention, reply: ReplySender<SweepReport> },
    Scrub { reply: ReplySender<ScrubOutcome> },
}

/// The way to the writer.
#[derive(Debug, Clone)]
pub struct WriterHandle(mpsc::Sender<WriteRequest>);

/// The writer's end of that way.
#[derive(Debug)]
pub struct WriteQueue(mpsc::Receiver<WriteRequest>);

/// The way to some readers.
#[derive(Debug, Clone)]
pub struct ReaderHandle(mpsc::Sender<ReadJob>);

/// The readers' end of that way.
#[derive(Debug)]
pub struct ReadQueue(mpsc::Receiver<ReadJob>);

/// What is being written: what came of it, once it is on disk.
#[derive(Debug)]
pub struct PendingWrite<T>(oneshot::Receiver<Result<T, StoreError>>);

/// A way to the writer, both ends.
pub fn write_queue() -> (WriterHandle, WriteQueue) {
    let (sender, receiver) = mpsc::channel(WRITE_QUEUE_LEN);
    (WriterHandle(sender), WriteQueue(receiver))
}

/// A way to readers, both ends.
pub fn read_queue() -> (ReaderHandle, ReadQueue) {
    let (sender, receiver) = mpsc::channel(READ_QUEUE_LEN);
    (ReaderHandle(sender), ReadQueue(receiver))
}

impl WriterHandle {
    /// Queues `appends`, which are committed in the order in which this is called, all of one call
    /// together. Waits only for room in the queue.
    pub async fn append(
        &self,
        now: Millis,
        appends: Vec<Append>,
    ) -> Result<PendingWrite<Vec<Outcome>>, StoreError> {
        self.send(|answer| WriteRequest::Append { now, appends, reply: answer }).await
    }

    /// See [`Store::sweep`].
    pub async fn sweep(
        &self,
        now: Millis,
        retention: Retention,
    ) -> Result<SweepReport, StoreError> {
        self.send(|answer| WriteRequest::Sweep { now, retention, reply: answer })
            .await?
            .wait()
            .await
    }

    /// See [`Store::overwrite`].
    pub async fn scrub(&self) -> Result<ScrubOutcome, StoreError> {
        self.send(|answer| WriteRequest::Scrub { reply: answer }).await?.wait().await
    }

    async fn send<T>(
        &self,
        write: impl FnOnce(ReplySender<T>) -> WriteRequest,
    ) -> Result<PendingWrite<T>, StoreError> {
        let (answer, pending) = oneshot::channel();
        self.0.send(write(answer)).await.map_err(closed)?;
        Ok(PendingWrite(pending))
    }
}

impl<T> PendingWrite<T> {
    /// Waits for the disk.
    pub async fn wait(self) -> Result<T, StoreError> {
        self.0.await.map_err(closed)?
    }
}

impl ReaderHandle {
    /// Has a reader do `work`. Whoever does not wait for it any more has it done in vain: long work
    /// asks now and then.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, pending) = oneshot::channel();
        let job = move |reader: &mut dyn Reader| {
            if !answer.is_closed() {
                // Whoever asked may have left meanwhile.
                drop(answer.send(work(reader)));
            }
        };
        self.0.send(Box::new(job)).await.map_err(closed)?;
        PendingWrite(pending).wait().await
    }
}

fn closed<E>(_: E) -> StoreError {
    StoreError::Closed
}

/// The writer's loop, for a thread of its own: until all handles are gone and all is written.
pub fn run_writer(mut store: impl Store, mut queue: WriteQueue) {
    let mut waiting = Vec::new();
    while queue.0.blocking_recv_many(&mut waiting, MAX_BATCH) > 0 {
        process(&mut store, &mut waiting);
    }
}

/// The same as a task, for tests: `disk` is how long the disk takes.
pub async fn run_writer_task(
    mut store: impl Store,
    mut queue: WriteQueue,
    mut disk: impl AsyncFnMut(),
) {
    let mut waiting = Vec::new();
    while queue.0.recv_many(&mut waiting, MAX_BATCH).await > 0 {
        disk().await;
        process(&mut store, &mut waiting);
    }
}

/// The loop of one reader of several, for a thread of its own.
fn run_reader(mut reader: impl Reader, queue: &Mutex<ReadQueue>) {
    // One waits for the queue while the others wait for the lock, or read.
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).0.blocking_recv();
    while let Some(job) = next() {
        // Its answer is dropped then, and whoever waits is told.
        drop(catch_unwind(AssertUnwindSafe(|| job(&mut reader))));
    }
}

/// The loop of a single reader as a task, for tests.
pub async fn run_reader_task(mut reader: impl Reader, mut queue: ReadQueue) {
    while let Some(job) = queue.0.recv().await {
        job(&mut reader);
    }
}

fn process(store: &mut impl Store, waiting: &mut Vec<WriteRequest>) {
    let mut batch = AppendBatch::default();
    for write in waiting.drain(..) {
        match write {
            WriteRequest::Append { now, appends, reply: answer } => {
                if batch.appends.len() + appends.len() > MAX_BATCH {
                    batch.commit(store);
                }
                batch.now = batch.now.max(now);
                batch.replies.push((appends.len(), answer));
                batch.appends.extend(appends);
            }
            WriteRequest::Sweep { now, retention, reply: answer } => {
                batch.commit(store);
                drop(answer.send(store.sweep(now, retention)));
            }
            WriteRequest::Scrub { reply: answer } => {
                batch.commit(store);
                drop(answer.send(store.scrub()));
            }
        }
    }
    batch.commit(store);
}

/// What goes into one transaction, and who is told how much of what comes of it.
#[derive(Default)]
struct AppendBatch {
    now: Millis,
    appends: Vec<Append>,
    replies: Vec<(usize, ReplySender<Vec<Outcome>>)>,
}

impl AppendBatch {
    fn commit(&mut self, store: &mut impl Store) {
        let Self { now, appends, replies: answers } = std::mem::take(self);
        if answers.is_empty() {
            return;
        }
        match store.append(now, &appends) {
            Ok(outcomes) => {
                let mut outcomes = outcomes.into_iter();
                for (count, answer) in answers {
                    drop(answer.send(Ok(outcomes.by_ref().take(count).collect())));
                }
            }
            Err(error) => {
                for (_, answer) in answers {
                    drop(answer.send(Err(error.clone())));
                }
            }
        }
    }
}

/// The ways to a log that has threads of its own.
#[derive(Debug, Clone)]
pub struct LogHandles {
    /// To the writer.
    pub writer: WriterHandle,
    /// To the readers.
    pub readers: ReaderHandle,
    /// To the readers that search.
    pub searchers: ReaderHandle,
}

/// The threads of a log, or none where tasks do their work. They end when the last handle is gone.
#[derive(Debug, Default)]
pub struct LogThreads(Vec<JoinHandle<()>>);

/// Gives a log its threads. A panic of the writer ends the process at once: nothing that is not in
/// the log may go out.
pub fn spawn_threads<S: Store>(store: S) -> Result<(LogHandles, LogThreads), StoreError> {
    let mut threads = Vec::new();
    let mut readers = |name, count, prepare: fn()| -> Result<ReaderHandle, StoreError> {
        let (handle, queue) = read_queue();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..count {
            let (reader, queue) = (store.open_reader()?, Arc::clone(&queue));
            threads.push(spawn(name, move || {
                prepare();
                run_reader(reader, &queue);
            })?);
        }
        Ok(handle)
    };
    let reads = readers("store-read", READER_THREADS, || {})?;
    let searches = readers("store-search", search_threads(), lower_priority)?;
    let (handle, queue) = write_queue();
    threads.push(spawn("store", move || {
        let _abort = AbortOnPanic;
        run_writer(store, queue);
    })?);
    Ok((LogHandles { writer: handle, readers: reads, searchers: searches }, LogThreads(threads)))
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(run).map_err(|error| StoreError::SpawnThread(Arc::new(error)))
}

fn search_threads() -> usize {
    thread::available_parallelism()
        .map_or(1, |cores| (cores.get() / 2).clamp(1, MAX_SEARCH_THREADS))
}

/// Whatever else there is to do on this machine goes before what this thread does.
#[cfg(target_os = "linux")]
fn lower_priority() {
    let this = rustix::thread::gettid();
    // Where the system does not allow it, searches are merely felt more.
    rustix::process::setpriority_process(Some(this), SEARCH_NICENESS).unwrap_or_default();
}

/// Only on Linux does a thread have a priority of its own.
#[cfg(not(target_os = "linux"))]
fn give_way() {}

impl LogThreads {
    /// Waits until all that was queued is written. To be called when the last handle is gone, and
    /// not from a task.
    pub fn join(self) {
        for thread in self.0 {
            // A panic was reported when it happened.
            drop(thread.join());
        }
    }
}

struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::abort();
        }
    }
}
