//! What a server with a million messages in its log is like: its start, joining it, its history and its
//! search, and what it holds in memory.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use chat::store::sqlite::SqliteStore;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::screen::Screen;
use super::support::{Ours, Server, serve};
use super::talk::append_batch;
use super::{memory, print_latencies, print_row};

const MESSAGES: u32 = 1_000_000;

pub(super) fn run() {
    let folder = tempfile::tempdir().unwrap();
    fill_log(folder.path());
    let (server, start) = start_server(folder);
    print_row("a log of 1,000,000: from its start until it listens", &format!("{start:.1?}"), "1s");
    let mut ann = Ours::join(&server, "Ann");
    measure_join(&server, &mut ann);
    measure_history(&mut ann);
    for pattern in ["999983", "lunch", "zebra", r"(please|deploy) .*\d5$"] {
        measure_search(&mut ann, pattern);
    }
    measure_single_message(&mut ann);
    let (now, most) = memory(&server);
    print_row(
        "its memory after all that, and at most",
        &format!("{now:.0}, {most:.0} MiB"),
        "100 MiB",
    );
}

/// Fills the log by its own means.
fn fill_log(folder: &Path) {
    let mut store = SqliteStore::open(folder).unwrap();
    let mut next = 0;
    while next < MESSAGES {
        append_batch(&mut store, &mut next, 500);
    }
}

fn start_server(folder: TempDir) -> (Server, Duration) {
    let mut command = serve(&folder, &["--listen", "127.0.0.1:0", "--no-rate-limits"]);
    command.stdout(Stdio::piped());
    let begun = Instant::now();
    let server = Server::spawn(folder, command);
    (server, begun.elapsed())
}

/// From the start of `chat join` in a terminal until the newest messages are on its screen: a first time,
/// which makes the key, and then with that key.
fn measure_join(server: &Server, ann: &mut Ours) {
    let newest = "this is the newest";
    ann.say(newest);
    ann.wait_for("content", newest);
    let join = |home: Option<TempDir>| {
        let begun = Instant::now();
        let joined = match home {
            None => Screen::join(server, "Bob"),
            Some(home) => Screen::join_again(server, "Bob", home),
        };
        joined.wait_for(newest);
        // Far enough up that the screen is full.
        joined.wait_for(&(MESSAGES - 4).to_string());
        (begun.elapsed(), joined.leave())
    };
    let (first, mut home) = join(None);
    let mut later = Vec::new();
    for _ in 0..10 {
        let (took, kept) = join(Some(home));
        later.push(took);
        home = kept;
    }
    print_row(
        "    `chat join`: from its start to the first full screen",
        &format!("{first:.1?}"),
        "100ms",
    );
    print_latencies("    the same with the key of before", later, "100ms");
}

fn request(ann: &mut Ours, question: &Value, answer: &str) -> (Value, Duration) {
    let begun = Instant::now();
    ann.send(question);
    (ann.wait_for("action", answer), begun.elapsed())
}

fn measure_history(ann: &mut Ours) {
    let mut times = Vec::new();
    for n in 0..500_u32 {
        let before = n.wrapping_mul(2_654_435_761) % MESSAGES + 200;
        let question = json!({"action": "HISTORY", "cid": "h", "before": before});
        let (page, took) = request(ann, &question, "HISTORY");
        assert_eq!(page["messages"].as_array().unwrap().len(), 100);
        times.push(took);
    }
    print_latencies("    a page of 100 messages somewhere in it", times, "5ms");
}

fn measure_search(ann: &mut Ours, pattern: &str) {
    let question = json!({"action": "SEARCH", "cid": "s", "content": pattern});
    let begun = Instant::now();
    ann.send(&question);
    let (mut first, mut hits) = (None, 0);
    loop {
        let found = ann.wait_for("action", "FOUND");
        hits += found["messages"].as_array().unwrap().len();
        if hits > 0 {
            first.get_or_insert_with(|| begun.elapsed());
        }
        if found["end"] != "searching" {
            let all = begun.elapsed();
            let first = first.map_or_else(|| "none".to_owned(), |first| format!("{first:.1?}"));
            let measured = format!("{first}, {all:.1?}");
            let end = found["end"].as_str().unwrap();
            print_row(
                &format!("    search for {pattern}: first hit, end ({end}, {hits})"),
                &measured,
                "50ms, 1s",
            );
            return;
        }
    }
}

fn measure_single_message(ann: &mut Ours) {
    let times = (0..500)
        .map(|n| {
            let begun = Instant::now();
            let cid = n.to_string();
            ann.send(
                &json!({"action": "MESSAGE", "receiver": ["all"], "content": "hi", "cid": cid}),
            );
            ann.wait_for("cid", &cid);
            begun.elapsed()
        })
        .collect();
    print_latencies("    a message, alone, until it is acknowledged", times, "");
}
