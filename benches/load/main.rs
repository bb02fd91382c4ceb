//! Compares `chat serve` with a bare server and with other chat servers:
//! `cargo bench --bench load -- [SCENARIO…] [--server NAME]… [--peers] [--repeats N] [--chart FILE]`.
//!
//! One program plays all members, on one thread, in the same way for every server. Each server runs on
//! loopback in a temporary folder, with TLS 1.3 and the same certificate, on a core of its own if `taskset`
//! is installed, and is fresh for each run. The servers take turns, so that noise of the machine falls on all
//! alike. The bare server gets messages that are as long as the events of `chat`; each of the others wraps
//! the same text in its own way. `chat` stores every message on disk first; the others do not.
//!
//! Every delivery is counted by its sender and number, so `lost` is exact. CPU time is that of the server's
//! process, from `/proc`; on loopback it includes the receiving half of TCP, for every server alike.
//!
//! Prints a line of JSON for each run, and tables of medians at the end.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark may panic, print and round"
)]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod bare;
mod chart;
mod contention;
mod crowd;
mod dialect;
#[path = "../fixtures/mod.rs"]
mod fixtures;
mod flow;
mod mark;
mod member;
mod process;
mod report;
mod run;
mod scenario;
mod server;
mod tls;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use self::flow::TEXT_BYTES;
use self::report::Results;
use self::run::{Figures, run};
use self::scenario::{Load, Recipients, SCENARIOS, Scenario, Schedule, Work};
use self::server::{Running, Server, pin_load_generator};

/// Compares `chat serve` with a bare server and with other chat servers
#[derive(Parser)]
struct Arguments {
    /// Scenarios to run (default: all)
    scenarios: Vec<String>,
    /// Servers to run (default: chat and bare)
    #[arg(long = "server", value_enum)]
    servers: Vec<Server>,
    /// Run all servers that are installed
    #[arg(long)]
    peers: bool,
    /// Runs of each scenario on each server
    #[arg(long, env = "REPEATS", default_value_t = 1)]
    repeats: usize,
    /// Draw the medians to this SVG file
    #[arg(long)]
    chart: Option<PathBuf>,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if let [_, command, port, folder] = &*words
        && command == "bare"
    {
        return bare::serve(port.parse().unwrap(), Path::new(folder));
    }
    let arguments = Arguments::parse();
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    if !pin_load_generator() {
        eprintln!(
            "WARNING: no `taskset` or one core only: server and load generator share their cores"
        );
    }
    let results = compare(&scenarios(&arguments), &servers(&arguments), arguments.repeats);
    println!("{}", results.tables());
    if let Some(file) = arguments.chart {
        std::fs::write(file, chart::draw(&results)).unwrap();
    }
}

fn scenarios(arguments: &Arguments) -> Vec<&'static Scenario> {
    let chosen = |name: &str| {
        arguments.scenarios.is_empty() || arguments.scenarios.iter().any(|chosen| chosen == name)
    };
    SCENARIOS.iter().filter(|scenario| chosen(scenario.name)).collect()
}

/// The servers to run. Says which are missing.
fn servers(arguments: &Arguments) -> Vec<Server> {
    let is_chosen = |server: &Server| match *server {
        _ if arguments.peers => true,
        Server::Chat | Server::Bare if arguments.servers.is_empty() => true,
        server => arguments.servers.contains(&server),
    };
    let mut servers: Vec<_> = Server::ALL.into_iter().filter(is_chosen).collect();
    servers.retain(|server| {
        if let Some(advice) = server.missing() {
            eprintln!("WARNING: {} is NOT compared: not installed ({advice})", server.name());
        }
        server.missing().is_none()
    });
    servers
}

fn compare(scenarios: &[&'static Scenario], servers: &[Server], repeats: usize) -> Results {
    let event_bytes = event_bytes();
    let mut results = Results::default();
    for scenario in scenarios {
        for round in 0..repeats {
            for place in 0..servers.len() {
                let server = servers[(place + round) % servers.len()];
                if !scenario.applies_to(server) {
                    continue;
                }
                // A line has a newline at its end.
                let text_bytes = if server == Server::Bare { event_bytes - 1 } else { TEXT_BYTES };
                match run_once(scenario.work, server, text_bytes) {
                    Ok(figures) => {
                        println!(
                            "{}",
                            json!({"scenario": scenario.name, "server": server.name(), "figures": figures})
                        );
                        results.add(scenario.name, server, figures);
                    }
                    Err(error) => {
                        eprintln!("WARNING: {}: {}: {error}", scenario.name, server.name());
                    }
                }
            }
        }
    }
    results
}

fn run_once(work: Work, server: Server, text_bytes: usize) -> Result<Figures, String> {
    match work {
        Work::Load(load) => run(load, &mut Running::start(server)?, text_bytes),
        Work::Contention(contention) => contention::run(contention),
    }
}

/// Bytes of the event with which `chat` delivers one message.
fn event_bytes() -> usize {
    let load = Load {
        members: 2,
        senders: 1,
        schedule: Schedule::InFlight(1),
        recipients: Recipients::Everyone,
        duration: Duration::from_millis(200),
        pause: None,
    };
    let figures = run_once(Work::Load(load), Server::Chat, TEXT_BYTES).unwrap();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few hundred")]
    let bytes = figures["bytes_per_delivery"].round() as usize;
    bytes
}
