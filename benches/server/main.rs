//! Speed of the real program, over TLS: `cargo bench --bench server [acknowledge | million]`.
//!
//! `acknowledge`: the latency of acknowledgements at a fixed rate, and the maximum throughput. `million`:
//! start, join, history, search and memory of a server with a million messages in its log. Both print the
//! target beside each measurement. The server and the load generator share the machine.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark may panic and print"
)]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod acknowledge;
#[path = "../fixtures/mod.rs"]
mod fixtures;
mod load;
mod million;
#[path = "../../tests/it/support/mod.rs"]
#[expect(dead_code, reason = "the integration tests use the rest")]
mod support;

use std::fs;
use std::time::Duration;

use self::support::TestServer;

fn main() {
    let selected: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_selected = |name: &str| selected.is_empty() || selected.iter().any(|word| word == name);
    println!("{:58} {:>22} {:>11}", "", "measured", "target");
    if is_selected("acknowledge") {
        acknowledge::run();
    }
    if is_selected("million") {
        million::run();
    }
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

/// The CPU time that the server has used.
fn cpu_time(server: &TestServer) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.process_id())).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2);
    Duration::from_millis(ticks.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum())
}
