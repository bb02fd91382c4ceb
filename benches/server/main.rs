//! How fast the real program is, over TLS: `cargo bench --bench server [acknowledge | million]`.
//!
//! `acknowledge`: how long a message takes to be on disk and back, at a steady pace, and how many a second
//! are at most. `million`: what is promised of a server whose log has a million messages. Both say what
//! was promised beside what was measured. The server and those who measure it share the machine.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench may"
)]
#![expect(clippy::disallowed_methods, reason = "a bench is about time")]

mod acknowledge;
mod load;
mod million;
#[path = "../../tests/it/support/mod.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod support;
#[path = "../talk/mod.rs"]
mod talk;

use std::fs;
use std::time::Duration;

use self::support::Server;

fn main() {
    let wanted: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| word == name);
    println!("{:58} {:>22} {:>11}", "", "measured", "promised");
    if is_wanted("acknowledge") {
        acknowledge::run();
    }
    if is_wanted("million") {
        million::run();
    }
}

/// One line of the table.
fn print_row(label: &str, measured: &str, target: &str) {
    println!("{label:58} {measured:>22} {target:>11}");
}

/// The middle of these times and the slowest hundredth of them.
fn quantiles(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort();
    let at = |percent| times[(times.len() - 1) * percent / 100];
    (at(50), at(99))
}

/// A line of both.
fn print_latencies(label: &str, times: Vec<Duration>, target: &str) {
    let (middle, slow) = quantiles(times);
    print_row(label, &format!("{middle:.1?}, p99 {slow:.1?}"), target);
}

/// What the server's process holds in memory now and has held at most, in MiB.
fn memory(server: &Server) -> (f64, f64) {
    let status = fs::read_to_string(format!("/proc/{}/status", pid(server))).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1_024.0
    };
    (field("VmRSS"), field("VmHWM"))
}

/// How long the server has been on a processor.
fn cpu_time(server: &Server) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid(server))).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2);
    Duration::from_millis(ticks.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum())
}

/// The server's process: it writes its number into the lock of its folder.
fn pid(server: &Server) -> String {
    fs::read_to_string(server.folder().path().join("lock")).unwrap().trim().to_owned()
}
