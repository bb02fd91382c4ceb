//! A server with a million messages in its log: start, join, history, search and memory.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use chat::store::sqlite::SqliteStore;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::fixtures::append_batch;
use super::support::pty::PtyProgram;
use super::support::{TestClient, TestServer, serve_command};
use super::{memory, print_latencies, print_row};

const MESSAGES: u32 = 1_000_000;

pub(super) fn run() {
    let folder = tempfile::tempdir().unwrap();
    fill_log(folder.path());
    let (server, start) = start_server(folder);
    print_row("log of 1,000,000 messages: start until listening", &format!("{start:.1?}"), "1s");
    let mut ann = TestClient::join(&server, "Ann");
    measure_join(&server, &mut ann);
    measure_history(&mut ann);
    for pattern in ["999983", "lunch", "zebra", r"(please|deploy) .*\d5$"] {
        measure_search(&mut ann, pattern);
    }
    measure_single_message(&mut ann);
    let (current, peak) = memory(&server);
    print_row(
        "memory after all of this, current and peak",
        &format!("{current:.0}, {peak:.0} MiB"),
        "100 MiB",
    );
}

/// Fills the log directly, without a server.
fn fill_log(folder: &Path) {
    let mut store = SqliteStore::open(folder).unwrap();
    let mut next = 0;
    while next < MESSAGES {
        append_batch(&mut store, &mut next, 500);
    }
}

fn start_server(folder: TempDir) -> (TestServer, Duration) {
    let mut command = serve_command(&folder, &["--listen", "127.0.0.1:0", "--no-rate-limits"]);
    command.stdout(Stdio::piped());
    let start = Instant::now();
    let server = TestServer::spawn(folder, command);
    (server, start.elapsed())
}

/// From the start of `chat join` in a terminal until the screen is full of the latest messages: once with a
/// new key, then with the existing one.
fn measure_join(server: &TestServer, ann: &mut TestClient) {
    let newest = "this is the latest";
    ann.post(newest);
    ann.wait_for("content", newest);
    let join = |home: Option<TempDir>| {
        let start = Instant::now();
        let client = match home {
            None => PtyProgram::join(server, "Bob"),
            Some(home) => PtyProgram::rejoin(server, "Bob", home),
        };
        client.wait_for(newest);
        // A message far enough up that the screen is full.
        client.wait_for(&(MESSAGES - 4).to_string());
        (start.elapsed(), client.quit())
    };
    let (first, mut home) = join(None);
    let mut later = Vec::new();
    for _ in 0..10 {
        let (time, kept) = join(Some(home));
        later.push(time);
        home = kept;
    }
    print_row("    `chat join`: start until the screen is full", &format!("{first:.1?}"), "100ms");
    print_latencies("    the same with an existing key", later, "100ms");
}

fn request(ann: &mut TestClient, object: &Value, reply_action: &str) -> (Value, Duration) {
    let start = Instant::now();
    ann.send(object);
    (ann.wait_for("action", reply_action), start.elapsed())
}

fn measure_history(ann: &mut TestClient) {
    let mut times = Vec::new();
    for n in 0..500_u32 {
        let before = n.wrapping_mul(2_654_435_761) % MESSAGES + 200;
        let query = json!({"action": "HISTORY", "cid": "h", "before": before});
        let (page, time) = request(ann, &query, "HISTORY");
        assert_eq!(page["messages"].as_array().unwrap().len(), 100);
        times.push(time);
    }
    print_latencies("    history page of 100 messages, anywhere", times, "5ms");
}

fn measure_search(ann: &mut TestClient, pattern: &str) {
    let query = json!({"action": "SEARCH", "cid": "s", "content": pattern});
    let start = Instant::now();
    ann.send(&query);
    let (mut first, mut hits) = (None, 0);
    loop {
        let results = ann.wait_for("action", "FOUND");
        hits += results["messages"].as_array().unwrap().len();
        if hits > 0 {
            first.get_or_insert_with(|| start.elapsed());
        }
        if results["end"] != "searching" {
            let total = start.elapsed();
            let first = first.map_or_else(|| "none".to_owned(), |first| format!("{first:.1?}"));
            let measured = format!("{first}, {total:.1?}");
            let end = results["end"].as_str().unwrap();
            print_row(
                &format!("    search for {pattern}: first hit, end ({end}, {hits})"),
                &measured,
                "50ms, 1s",
            );
            return;
        }
    }
}

fn measure_single_message(ann: &mut TestClient) {
    let times = (0..500)
        .map(|n| {
            let start = Instant::now();
            let cid = n.to_string();
            ann.send(
                &json!({"action": "MESSAGE", "receiver": ["all"], "content": "hi", "cid": cid}),
            );
            ann.wait_for("cid", &cid);
            start.elapsed()
        })
        .collect();
    print_latencies("    single message until acknowledged", times, "");
}
