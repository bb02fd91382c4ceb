//! Speed of the log when it is empty and when it is full: `cargo bench --bench store [MESSAGES]`; with many
//! rooms: `cargo bench --bench store rooms [MESSAGES]`.
//!
//! A plain program without a benchmark framework, so that one log of a million messages serves all
//! measurements. Prints the median and the 99th percentile of each.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark may panic and print"
)]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod fixtures;
#[path = "store/rooms.rs"]
mod rooms;

use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use chat::protocol::id::{MessageId, Seq, UserId};
use chat::protocol::query::{HistoryQuery, HistoryRange};
use chat::store::sqlite::{SqliteReader, SqliteStore};
use chat::store::{Entry, MessagePage, Outcome, Reader, Retain, Retention, Store, View};
use regex::Regex;

use self::fixtures::{NOW, append_batch, user_id};

fn main() {
    let argument = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let messages: u32 = argument.unwrap_or(1_000_000);
    let folder = tempfile::tempdir().unwrap();
    if std::env::args().any(|argument| argument == "rooms") {
        println!("{:44} {:>11} {:>11}", "", "p50", "p99");
        return rooms::bench(folder.path(), messages);
    }
    let mut store = SqliteStore::open(folder.path()).unwrap();
    println!("{:44} {:>11} {:>11}", "", "p50", "p99");
    let mut next = 0;
    bench_bare_disk(folder.path());
    bench_appends(&mut store, &mut next, "empty log");
    let start = Instant::now();
    while next < messages {
        append_batch(&mut store, &mut next, 500);
    }
    println!("wrote {messages} messages in {:.1?}; {}", start.elapsed(), memory_usage());
    bench_bare_disk(folder.path());
    bench_appends(&mut store, &mut next, "full log");
    let own = latest_messages(&mut store.open_reader().unwrap());
    print_times(
        "scrub after a delete",
        measure(20, |n| {
            let (id, by) = own.get(n as usize * 2).cloned().unwrap();
            let delete = Entry::Delete { id, by, cid: None };
            assert!(matches!(store.apply(NOW, &[delete]).unwrap()[..], [Outcome::Changed(_)]));
            store.scrub().unwrap();
        }),
    );
    print_times(
        "sweep, nothing to do",
        measure(50, |_| {
            let before = Retention::Days(30).cutoff(NOW);
            let retain = Retain { before, now: NOW, after: Seq(0) };
            store.apply(NOW, &[Entry::Retain(retain)]).unwrap();
        }),
    );
    drop(store);
    println!("files: {} MB", folder_bytes(folder.path()) / 1_000_000);

    let start = Instant::now();
    let mut store = SqliteStore::open(folder.path()).unwrap();
    let snapshot = store.snapshot().unwrap();
    println!(
        "opened {} messages in {:.1?}; {}",
        snapshot.size.messages,
        start.elapsed(),
        memory_usage()
    );
    drop(snapshot);
    bench_reads(&mut store.open_reader().unwrap(), next);
    println!("{}", memory_usage());
    bench_appends(&mut store, &mut next, "opened log");
    println!("{}", memory_usage());
}

/// The time of the disk alone: writing and syncing as many bytes as one message takes.
fn bench_bare_disk(folder: &Path) {
    let mut file = fs::File::create(folder.join("bare")).unwrap();
    print_times(
        "disk alone, write and sync",
        measure(500, |_| {
            file.write_all(&vec![1; 32 * 1_024]).unwrap();
            file.sync_data().unwrap();
        }),
    );
    fs::remove_file(folder.join("bare")).unwrap();
}

fn bench_appends(store: &mut SqliteStore, next: &mut u32, label: &str) {
    for (size, rounds) in [(1, 2_000), (10, 500), (100, 200)] {
        let times = measure(rounds, |_| append_batch(store, next, size));
        let all: Duration = times.iter().sum();
        let rate = f64::from(rounds * size) / all.as_secs_f64();
        print_times(&format!("append {size}, {label} ({rate:.0}/s)"), times);
    }
}

fn page(
    reader: &mut SqliteReader,
    view: View<'_>,
    range: HistoryRange,
    limit: usize,
) -> MessagePage {
    reader.history(view, &HistoryQuery { conversation: None, range }, limit).unwrap().unwrap()
}

/// The ids of the latest messages, with their authors.
fn latest_messages(reader: &mut SqliteReader) -> Vec<(MessageId, UserId)> {
    let view = View { viewer: &user_id(7), now: NOW };
    let page = page(reader, view, HistoryRange::Latest, 500);
    page.messages.into_iter().map(|message| (message.id, message.sender)).collect()
}

fn bench_reads(reader: &mut SqliteReader, messages: u32) {
    let viewer = user_id(7);
    let view = View { viewer: &viewer, now: NOW };
    let seq = |n: u32| Seq(u64::from(n * 4_999 % messages));
    print_times(
        "latest 50 messages",
        measure(500, |_| {
            assert_eq!(page(reader, view, HistoryRange::Latest, 50).messages.len(), 50);
        }),
    );
    print_times(
        "50 messages, anywhere",
        measure(500, |n| {
            page(reader, view, HistoryRange::Before(seq(n)), 50);
        }),
    );
    let messages_to_find = latest_messages(reader);
    print_times(
        "25 messages before and after one",
        measure(500, |n| {
            let (id, _) = messages_to_find.get(n as usize % messages_to_find.len()).unwrap();
            page(reader, view, HistoryRange::Around(*id), 50);
        }),
    );
    print_times(
        "500 events, from anywhere",
        measure(100, |n| {
            reader.events_after(view, seq(n), 500).unwrap();
        }),
    );
    for pattern in ["999999", "lunch (please|deploy) after", r"(?i)\bLOOK\b.*\d5$", "."] {
        let regex = Regex::new(pattern).unwrap();
        let (start, busy, mut first, mut hits) = (Instant::now(), cpu_time(), None, 0);
        let (mut before, mut visited) = (None, 0);
        loop {
            let step = reader.scan(view, None, before, 5_000, &mut |row| {
                if regex.is_match(row.content) {
                    first.get_or_insert_with(|| start.elapsed());
                    hits += 1;
                }
                ControlFlow::Continue(())
            });
            let step = step.unwrap().unwrap();
            visited += step.visited;
            before = step.next;
            if before.is_none() {
                break;
            }
        }
        let (all, busy) = (start.elapsed(), cpu_time().saturating_sub(busy));
        println!(
            "search for {pattern}: {visited} messages in {all:.1?} ({busy:.1?} CPU), {hits} hits, \
             first after {first:.1?}"
        );
    }
}

/// The CPU time of this thread, which does not depend on other programs; zero if the system does not
/// report it.
fn cpu_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

fn measure(rounds: u32, mut work: impl FnMut(u32)) -> Vec<Duration> {
    (1..=rounds)
        .map(|n| {
            let start = Instant::now();
            work(n);
            start.elapsed()
        })
        .collect()
}

fn print_times(label: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent| times[(times.len() - 1) * percent / 100];
    println!("{label:44} {:>11.1?} {:>11.1?}", at(50), at(99));
}

fn folder_bytes(folder: &Path) -> u64 {
    fs::read_dir(folder).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

/// The current and the peak resident memory of this process, if the system reports it.
fn memory_usage() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let lines =
        status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM"));
    lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join(", ")
}
