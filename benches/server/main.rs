//! A server with a million messages in its log: `cargo bench --bench server`. Start, join, history, search
//! and memory of the real program, over TLS, with the target beside each measurement. The server and the
//! clients share the machine. The speed of delivery is measured by `cargo bench --bench load`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark may panic and print"
)]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

#[path = "../fixtures/mod.rs"]
mod fixtures;
mod million;
#[path = "../../tests/it/support/mod.rs"]
#[expect(dead_code, reason = "the integration tests use the rest")]
mod support;

use std::fs;
use std::time::Duration;

use self::support::TestServer;

fn main() {
    println!("{:58} {:>22} {:>11}", "", "measured", "target");
    million::run();
}

/// Prints one row of the table.
fn print_row(label: &str, measured: &str, target: &str) {
    println!("{label:58} {measured:>22} {target:>11}");
}

/// The median and the 99th percentile.
fn quantiles(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort();
    let at = |percent| times[(times.len() - 1) * percent / 100];
    (at(50), at(99))
}

/// Prints a row with the median and the 99th percentile.
fn print_latencies(label: &str, times: Vec<Duration>, target: &str) {
    let (p50, p99) = quantiles(times);
    print_row(label, &format!("{p50:.1?}, p99 {p99:.1?}"), target);
}

/// The current and the peak resident memory of the server, in MiB.
fn memory(server: &TestServer) -> (f64, f64) {
    let status = fs::read_to_string(format!("/proc/{}/status", server.process_id())).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1_024.0
    };
    (field("VmRSS"), field("VmHWM"))
}
