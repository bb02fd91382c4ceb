//! Tests of scrubs: which text is in the files, and whether readers and writers go on meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{RngExt, SeedableRng};

use super::super::worker::{self, LogHandles};
use super::super::{ScanRow, ScrubOutcome};
use super::disk::temp_folder;
use super::*;

#[expect(clippy::disallowed_methods, reason = "measures real time")]
fn monotonic_now() -> Instant {
    Instant::now()
}

#[test]
fn scrub_erases_removed_text_from_all_files() {
    let folder = temp_folder();
    let mut store = open_sqlite(folder.path());
    let text = |number: u32| format!("<{number}>").repeat(1 + number as usize * 7 % 400);
    for tens in 0..200 {
        let post = |n| Entry::Post(message(n, "Ann", &text(n)));
        store.apply(NOW, &(tens * 10 + 1..=tens * 10 + 10).map(post).collect::<Vec<_>>()).unwrap();
    }
    // Single messages and long ranges, so that pages are both partly emptied and freed.
    let is_removed = |number: u32| number.is_multiple_of(3) || (500..900).contains(&number);
    let deletes: Vec<_> =
        (1..=2_000).filter(|n| is_removed(*n)).map(|n| delete(n, "Ann")).collect();
    for some in deletes.chunks(7) {
        store.apply(NOW, some).unwrap();
    }
    assert!(numbers_in(folder.path()).into_iter().any(is_removed));
    assert_eq!(store.scrub().unwrap(), ScrubOutcome::Done);
    let kept: BTreeSet<_> = (1..=2_000).filter(|number| !is_removed(*number)).collect();
    assert_eq!(numbers_in(folder.path()), kept);
}

/// All numbers that occur as `<number>` in a file of the folder.
fn numbers_in(folder: &Path) -> BTreeSet<u32> {
    let mut numbers = BTreeSet::new();
    for file in fs::read_dir(folder).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        for piece in bytes.split(|byte| *byte == b'<') {
            let text = piece.split(|byte| *byte == b'>').next().unwrap_or_default();
            numbers.extend(str::from_utf8(text).ok().and_then(|text| text.parse::<u32>().ok()));
        }
    }
    numbers
}

#[test]
fn active_reader_makes_scrub_busy() {
    let folder = temp_folder();
    let mut store = open_sqlite(folder.path());
    apply(&mut store, Entry::Post(message(1, "Ann", "text")));
    let mut reader = store.open_reader().unwrap();
    let viewer = user("Bob");
    let view = View { viewer: &viewer, now: NOW };
    let mut busy = None;
    reader
        .scan(view, None, None, 9, &mut |_| {
            apply(&mut store, delete(1, "Ann"));
            let start = monotonic_now();
            busy = Some(store.scrub().unwrap());
            assert!(start.elapsed() < Duration::from_secs(1), "the writer waits for no reader");
            ControlFlow::Continue(())
        })
        .unwrap()
        .unwrap();
    assert_eq!(busy, Some(ScrubOutcome::Busy));
    assert_eq!(store.scrub().unwrap(), ScrubOutcome::Done);
}

/// Posts, edits and deletes at random, a few entries at a time.
struct RandomWriter {
    store: SqliteStore,
    rng: StdRng,
    /// The last text of each message, by its sequence number.
    live: BTreeMap<u32, u32>,
    head: u32,
    n_texts: u32,
}

impl RandomWriter {
    fn new(folder: &Path, seed: u64) -> Self {
        let (store, rng) = (open_sqlite(folder).without_sync(), StdRng::seed_from_u64(seed));
        Self { store, rng, live: BTreeMap::new(), head: 0, n_texts: 0 }
    }

    /// Forgets what has to be scrubbed.
    fn reopen(self, folder: &Path) -> Self {
        let Self { store, .. } = self;
        drop(store);
        Self { store: open_sqlite(folder).without_sync(), ..self }
    }

    fn write(&mut self, n_batches: u32) {
        for _ in 0..n_batches {
            let n = self.rng.random_range(1..4);
            let batch: Vec<_> = (0..n).map(|_| self.next_entry()).collect();
            let outcomes = self.store.apply(NOW, &batch).unwrap();
            assert!(outcomes.iter().all(Outcome::is_event), "{outcomes:?}");
            self.store.checkpoint().unwrap();
        }
    }

    fn next_entry(&mut self) -> Entry {
        self.head += 1;
        let target = self.live.keys().copied().choose(&mut self.rng);
        match (self.rng.random_range(0..20), target) {
            (0..3, Some(seq)) => {
                self.live.remove(&seq);
                delete(seq, "Ann")
            }
            (3..6, Some(seq)) => {
                let content = SafeText::clean(&self.new_text(seq));
                let (by, guests) = (user("Ann"), Arc::default());
                Entry::Edit { id: id(seq), by, content, guests, cid: None }
            }
            _ => {
                let text = self.new_text(self.head);
                Entry::Post(message(self.head, "Ann", &text))
            }
        }
    }

    /// Mostly short, sometimes longer than a page of the file.
    fn new_text(&mut self, seq: u32) -> String {
        self.n_texts += 1;
        self.live.insert(seq, self.n_texts);
        let longest = if self.rng.random_range(0..50) == 0 { 1_000 } else { 10 };
        format!("<{}>", self.n_texts).repeat(self.rng.random_range(1..=longest))
    }
}

/// When SQLite balances pages of a table, it moves rows and leaves copies of them.
#[test]
fn no_copy_of_a_removed_row_is_left() {
    for seed in 0..8 {
        let folder = temp_folder();
        let mut writer = RandomWriter::new(folder.path(), seed);
        for round in 0..3 {
            writer.write(500);
            if round == 1 {
                writer = writer.reopen(folder.path());
            }
            assert_eq!(writer.store.scrub().unwrap(), ScrubOutcome::Done);
            let live = writer.live.values().copied().collect();
            assert_eq!(numbers_in(folder.path()), live, "seed {seed}, round {round}");
        }
    }
}

#[test]
fn large_file_is_scrubbed_in_parts_after_a_start() {
    let folder = temp_folder();
    let mut store = open_sqlite(folder.path()).without_sync();
    let long = "long ".repeat(800);
    let posts: Vec<_> = (0..1_200).map(|n| Entry::Post(message(n, "Ann", &long))).collect();
    store.apply(NOW, &posts).unwrap();
    assert_eq!(store.scrub().unwrap(), ScrubOutcome::Done, "new pages have no copies of rows");
    drop(store);
    let mut store = open_sqlite(folder.path()).without_sync();
    assert_eq!(store.scrub().unwrap(), ScrubOutcome::Partial);
    apply(&mut store, Entry::Post(message(1_200, "Ann", "text")));
    assert_eq!(store.scrub().unwrap(), ScrubOutcome::Done);
}

/// Reads the same rows over and over, in threads, until the result is dropped.
struct BusyReaders(Arc<AtomicBool>, Vec<thread::JoinHandle<()>>);

impl BusyReaders {
    fn start(store: &SqliteStore, count: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |_| {
            let (mut reader, stop) = (store.open_reader().unwrap(), Arc::clone(&stop));
            thread::spawn(move || {
                let viewer = user("Bob");
                let view = View { viewer: &viewer, now: NOW };
                while !stop.load(Ordering::Relaxed) {
                    // Longer than the pause between two transactions, so that some reader always reads.
                    let wait = &mut |_: &ScanRow<'_>| {
                        thread::sleep(Duration::from_millis(2));
                        ControlFlow::Continue(())
                    };
                    reader.scan(view, None, None, 5, wait).unwrap().unwrap();
                }
            })
        };
        let threads = (0..count).map(start).collect();
        Self(stop, threads)
    }
}

impl Drop for BusyReaders {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        for thread in self.1.drain(..) {
            thread.join().unwrap();
        }
    }
}

#[tokio::test]
async fn write_ahead_log_is_bounded_under_continuous_readers() {
    let folder = temp_folder();
    let store = SqliteStore::open(folder.path()).unwrap().without_sync();
    let _readers = BusyReaders::start(&store, 4);
    let (LogHandles { writer, .. }, _threads) = worker::spawn_threads(store).unwrap();
    let wal = folder.path().join("log.db-wal");
    let mut longest = 0;
    for batch in 0..180 {
        let text = "long ".repeat(800);
        let posts = (0..100).map(|n| Entry::Post(message(batch * 100 + n, "Ann", &text)));
        writer.propose(NOW, posts.collect()).await.unwrap().wait().await.unwrap();
        longest = longest.max(fs::metadata(&wal).unwrap().len());
        // Writing waits for each attempt, so that the machine's speed does not matter. One that finds a
        // reader is repeated after the next batch.
        if writer.scrub_due().now_or_never().is_some() {
            writer.scrub().await.unwrap();
        }
    }
    let written = fs::metadata(folder.path().join("log.db")).unwrap().len();
    assert!(written > 70_000_000, "{written}");
    assert!(longest < 50_000_000, "{longest}");
}

#[tokio::test]
async fn removed_text_is_scrubbed_under_continuous_readers() {
    let folder = temp_folder();
    let store = open_sqlite(folder.path());
    let _readers = BusyReaders::start(&store, 4);
    let (LogHandles { writer, .. }, _threads) = worker::spawn_threads(store).unwrap();
    for batch in 0..20 {
        let posts = (0..10).map(|n| Entry::Post(message(batch * 10 + n, "Ann", &format!("<{n}>"))));
        writer.propose(NOW, posts.collect()).await.unwrap().wait().await.unwrap();
        let deletes = (1..=10).map(|n| delete(batch * 20 + n, "Ann"));
        writer.propose(NOW, deletes.collect()).await.unwrap().wait().await.unwrap();
        let start = monotonic_now();
        assert_eq!(writer.scrub().await.unwrap(), ScrubOutcome::Done);
        assert!(start.elapsed() < Duration::from_secs(1));
        assert_eq!(numbers_in(folder.path()), BTreeSet::new());
    }
}
