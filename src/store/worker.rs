//! Worker threads of the log: one writer and several readers, each group behind a bounded queue.
//!
//! Group commit: all queued writes are committed in one transaction, so the busier the server, the more
//! messages share one sync of the disk. There is no timer; a single message is committed immediately.
//!
//! Simulated tests run the same loops as tasks: with worker threads, a runtime with a paused clock
//! would see only idle tasks and advance the time.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{CheckpointOutcome, Entry, Outcome, ReadGate, Reader, ScrubOutcome, Store, StoreError};
use crate::protocol::id::UserId;
use crate::protocol::message::Millis;

/// Capacity of the writer's queue. When it is full, senders wait.
const WRITE_QUEUE_LEN: usize = 1_024;

/// Capacity of each queue of the readers. When it is full, senders wait.
const READ_QUEUE_LEN: usize = 256;

/// The most entries in one transaction: some 15 ms of work, by which it delays the first of them.
const MAX_BATCH: usize = 512;

/// Threads that read history pages, and as many that read missed events.
const READER_THREADS: usize = 2;

/// Users in [`Turns`] before those that read nothing are removed from it.
const TURNS_BEFORE_PRUNE: usize = 256;

/// The most threads that run searches; there are fewer on small machines, so that half of the cores
/// stay free.
const MAX_SEARCH_THREADS: usize = 2;

/// Niceness of the search threads (0 to 19): under load, each gets a tenth of the processor time of a
/// normal thread.
#[cfg(target_os = "linux")]
const SEARCH_NICENESS: i32 = 10;

type ReplySender<T> = oneshot::Sender<Result<T, StoreError>>;

type ReadJob = Box<dyn FnOnce(&mut dyn Reader) + Send>;

#[derive(Debug)]
enum WriteRequest {
    Propose { now: Millis, entries: Vec<Entry>, reply: ReplySender<Vec<Outcome>> },
    Scrub { reply: ReplySender<ScrubOutcome> },
}

/// Sends requests to the writer.
#[derive(Debug, Clone)]
pub struct WriterHandle {
    requests: mpsc::Sender<WriteRequest>,
    gate: Arc<ReadGate>,
    scrub_due: Arc<Notify>,
}

/// Receiving end of [`WriterHandle`].
#[derive(Debug)]
pub struct WriteQueue {
    requests: mpsc::Receiver<WriteRequest>,
    scrub_due: Arc<Notify>,
}

/// Sends jobs to a group of readers.
#[derive(Debug, Clone)]
pub struct ReaderHandle {
    jobs: mpsc::Sender<ReadJob>,
    turns: Arc<Turns>,
}

/// Gives each user one place in a queue of readers, so that a user waits for one job of each other user,
/// however many they have.
#[derive(Debug, Default)]
struct Turns(Mutex<HashMap<UserId, Arc<Semaphore>>>);

/// Receiving end of [`ReaderHandle`].
#[derive(Debug)]
pub struct ReadQueue(mpsc::Receiver<ReadJob>);

/// A queued request; its result arrives once it is on disk.
#[derive(Debug)]
pub struct PendingWrite<T>(oneshot::Receiver<Result<T, StoreError>>);

/// Creates the writer's queue, for a writer and readers that are tasks of one thread.
pub fn write_queue() -> (WriterHandle, WriteQueue) {
    write_queue_with(Arc::default())
}

/// Creates the writer's queue. `gate` is [`Store::read_gate`].
fn write_queue_with(gate: Arc<ReadGate>) -> (WriterHandle, WriteQueue) {
    let (sender, receiver) = mpsc::channel(WRITE_QUEUE_LEN);
    let scrub_due = Arc::<Notify>::default();
    let handle = WriterHandle { requests: sender, gate, scrub_due: Arc::clone(&scrub_due) };
    (handle, WriteQueue { requests: receiver, scrub_due })
}

/// Creates a queue for readers.
pub fn read_queue() -> (ReaderHandle, ReadQueue) {
    let (sender, receiver) = mpsc::channel(READ_QUEUE_LEN);
    (ReaderHandle { jobs: sender, turns: Arc::default() }, ReadQueue(receiver))
}

impl WriterHandle {
    /// Proposes `entries`. Calls are applied in order, the entries of one call in one transaction.
    /// Waits only while the queue is full.
    pub async fn propose(
        &self,
        now: Millis,
        entries: Vec<Entry>,
    ) -> Result<PendingWrite<Vec<Outcome>>, StoreError> {
        self.send(|reply| WriteRequest::Propose { now, entries, reply }).await
    }

    /// See [`Store::scrub`]. Pauses the readers meanwhile.
    pub async fn scrub(&self) -> Result<ScrubOutcome, StoreError> {
        let Some(_paused) = self.gate.pause().await else { return Ok(ScrubOutcome::Busy) };
        self.send(|reply| WriteRequest::Scrub { reply }).await?.wait().await
    }

    /// Waits for [`CheckpointOutcome::ScrubDue`].
    pub async fn scrub_due(&self) {
        self.scrub_due.notified().await;
    }

    async fn send<T>(
        &self,
        request: impl FnOnce(ReplySender<T>) -> WriteRequest,
    ) -> Result<PendingWrite<T>, StoreError> {
        let (reply, pending) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(closed)?;
        Ok(PendingWrite(pending))
    }
}

impl<T> PendingWrite<T> {
    /// Waits until the request is done and on disk.
    pub async fn wait(self) -> Result<T, StoreError> {
        self.0.await.map_err(closed)?
    }
}

impl ReaderHandle {
    /// Runs `work` on a reader. If this future is dropped, work that has not started is skipped; work
    /// that has started runs to its end, so long work should check for cancellation itself.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, pending) = oneshot::channel();
        let job = move |reader: &mut dyn Reader| {
            if !reply.is_closed() {
                // The receiver may have been dropped meanwhile.
                drop(reply.send(work(reader)));
            }
        };
        self.jobs.send(Box::new(job)).await.map_err(closed)?;
        PendingWrite(pending).wait().await
    }

    /// The same as [`Self::read`] for a user, whose jobs run one after the other, in turn with those of
    /// other users.
    pub async fn read_for<T: Send + 'static>(
        &self,
        user: &UserId,
        work: impl FnOnce(&mut dyn Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _turn = self.turns.take(user).await?;
        self.read(work).await
    }
}

impl Turns {
    async fn take(&self, user: &UserId) -> Result<OwnedSemaphorePermit, StoreError> {
        self.of(user).acquire_owned().await.map_err(closed)
    }

    fn of(&self, user: &UserId) -> Arc<Semaphore> {
        // The map is consistent even if a holder of the lock panicked.
        let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = users.get(user) {
            return Arc::clone(turn);
        }
        if users.len() >= TURNS_BEFORE_PRUNE && users.len() == users.capacity() {
            users.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        Arc::clone(users.entry(user.clone()).or_insert_with(|| Arc::new(Semaphore::new(1))))
    }
}

fn closed<E>(_: E) -> StoreError {
    StoreError::Closed
}

/// Runs the writer until all handles are dropped and everything queued is written. For a thread of its
/// own.
pub fn run_writer(mut store: impl Store, mut queue: WriteQueue) {
    let mut queued = Vec::new();
    while queue.requests.blocking_recv_many(&mut queued, MAX_BATCH) > 0 {
        // Requests that are about to be queued share the commit. Where cores are free, this is no wait.
        thread::yield_now();
        while queued.len() < MAX_BATCH
            && let Ok(request) = queue.requests.try_recv()
        {
            queued.push(request);
        }
        process(&mut store, &mut queued, &queue.scrub_due);
    }
}

/// [`run_writer`] as a task, for simulated tests; `disk_delay` is awaited before each batch.
pub async fn run_writer_task(
    mut store: impl Store,
    mut queue: WriteQueue,
    mut disk_delay: impl AsyncFnMut(),
) {
    let mut queued = Vec::new();
    while queue.requests.recv_many(&mut queued, MAX_BATCH).await > 0 {
        disk_delay().await;
        process(&mut store, &mut queued, &queue.scrub_due);
    }
}

/// Runs one of the readers that share a queue, for a thread of its own.
fn run_reader(mut reader: impl Reader, queue: &Mutex<ReadQueue>) {
    // One thread waits for the queue; the others wait for the lock, or read.
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).0.blocking_recv();
    while let Some(job) = next() {
        // A panic drops the job's reply sender, so the caller gets `StoreError::Closed`.
        drop(catch_unwind(AssertUnwindSafe(|| job(&mut reader))));
    }
}

/// Runs a single reader as a task, for simulated tests.
pub async fn run_reader_task(mut reader: impl Reader, mut queue: ReadQueue) {
    while let Some(job) = queue.0.recv().await {
        job(&mut reader);
    }
}

/// Serves requests, and reports their outcomes before it does anything else to the files.
fn process(store: &mut impl Store, queued: &mut Vec<WriteRequest>, scrub_due: &Notify) {
    let mut batch = EntryBatch::default();
    for request in queued.drain(..) {
        match request {
            WriteRequest::Propose { now, entries, reply } => {
                if batch.entries.len() + entries.len() > MAX_BATCH {
                    batch.commit(store);
                }
                batch.now = batch.now.max(now);
                batch.replies.push((entries.len(), reply));
                batch.entries.extend(entries);
            }
            WriteRequest::Scrub { reply } => {
                batch.commit(store);
                drop(reply.send(store.scrub()));
            }
        }
    }
    batch.commit(store);
    match store.checkpoint() {
        Ok(CheckpointOutcome::Done) => {}
        Ok(CheckpointOutcome::ScrubDue) => scrub_due.notify_one(),
        // Tried again after the next write, which fails by itself once the log has no room left.
        Err(error) if error.is_transient() => {}
        Err(error) => tracing::error!(%error, "cannot checkpoint the log: it is read-only now"),
    }
}

/// The entries of one transaction, and for each request how many of the outcomes are its own.
#[derive(Default)]
struct EntryBatch {
    now: Millis,
    entries: Vec<Entry>,
    replies: Vec<(usize, ReplySender<Vec<Outcome>>)>,
}

impl EntryBatch {
    fn commit(&mut self, store: &mut impl Store) {
        let Self { now, entries, replies } = std::mem::take(self);
        if replies.is_empty() {
            return;
        }
        match store.apply(now, &entries) {
            Ok(outcomes) => {
                let mut outcomes = outcomes.into_iter();
                for (count, reply) in replies {
                    drop(reply.send(Ok(outcomes.by_ref().take(count).collect())));
                }
            }
            Err(error) => {
                for (_, reply) in replies {
                    drop(reply.send(Err(error.clone())));
                }
            }
        }
    }
}

/// Handles to the threads of a log.
#[derive(Debug, Clone)]
pub struct LogHandles {
    /// The writer.
    pub writer: WriterHandle,
    /// Readers for history pages.
    pub readers: ReaderHandle,
    /// Readers for missed events.
    pub catch_up: ReaderHandle,
    /// Readers for searches.
    pub searchers: ReaderHandle,
}

/// The threads of a log (none in simulated tests). They end when the last handle is dropped.
#[derive(Debug, Default)]
pub struct LogThreads(Vec<JoinHandle<()>>);

/// Starts the threads of a log. A panic of the writer aborts the process, because nothing may be sent
/// to clients that is not in the log.
pub fn spawn_threads<S: Store>(mut store: S) -> Result<(LogHandles, LogThreads), StoreError> {
    let mut threads = Vec::new();
    let mut spawn_readers = |name, count, prepare: fn()| -> Result<ReaderHandle, StoreError> {
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
    let readers = spawn_readers("store-read", READER_THREADS, || {})?;
    let catch_up = spawn_readers("store-catch-up", READER_THREADS, || {})?;
    let searchers = spawn_readers("store-search", search_threads(), lower_priority)?;
    if let Some(run) = store.run_checkpoints_in_background()? {
        threads.push(spawn("store-checkpoint", move || {
            let _abort = AbortOnPanic;
            run();
        })?);
    }
    let (writer, queue) = write_queue_with(store.read_gate());
    threads.push(spawn("store", move || {
        let _abort = AbortOnPanic;
        run_writer(store, queue);
    })?);
    Ok((LogHandles { writer, readers, catch_up, searchers }, LogThreads(threads)))
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(run).map_err(|error| StoreError::SpawnThread(Arc::new(error)))
}

fn search_threads() -> usize {
    thread::available_parallelism()
        .map_or(1, |cores| (cores.get() / 2).clamp(1, MAX_SEARCH_THREADS))
}

/// Lets all other work on the machine go before this thread's.
#[cfg(target_os = "linux")]
fn lower_priority() {
    let this = rustix::thread::gettid();
    // If this is not permitted, searches slow the server down a little more.
    rustix::process::setpriority_process(Some(this), SEARCH_NICENESS).unwrap_or_default();
}

/// Only Linux has priorities of single threads.
#[cfg(not(target_os = "linux"))]
fn lower_priority() {}

impl LogThreads {
    /// Waits until everything queued is written. Call it after the last handle is dropped, and not from
    /// an async task: it blocks.
    pub fn join(self) {
        for thread in self.0 {
            // The panic hook has reported any panic.
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
