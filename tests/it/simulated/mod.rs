//! The real server and clients in worlds that are made up: whatever the network and the machines do,
//! what was promised holds.
//!
//! A seed decides all that happens, but only in a fresh process: so each has one of its own, which is
//! this test again. The suite plays a hundred; `CHAT_SEEDS=10000` plays more, and `CHAT_SEED=7`
//! that one alone, with everything that was noted.

mod fate;
mod world;

use std::fmt::Write as _;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::checker::check;
use crate::support::{tell, times};

/// The one seed that this process is for.
const SEED: &str = "CHAT_SEED";

/// The test's own name.
const NAME: &str = "simulated::whatever_the_network_does_nothing_is_lost_or_doubled";

/// Before each line of what a world tells.
const MARK: &str = "| ";

#[test]
fn whatever_the_network_does_nothing_is_lost_or_doubled() {
    if let Ok(seed) = std::env::var(SEED) {
        return one(seed.parse().unwrap());
    }
    let seeds = times("CHAT_SEEDS", 100);
    let next = AtomicUsize::new(1);
    let processors = std::thread::available_parallelism().unwrap().get();
    std::thread::scope(|scope| {
        for _ in 0..processors {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > seeds {
                        break;
                    }
                    let output = in_a_process(seed);
                    if !output.status.success() {
                        next.store(seeds + 1, Ordering::Relaxed);
                        fail(seed, &output);
                    }
                }
            });
        }
    });
    tell(&format!("{seeds} worlds, and nothing was lost, doubled, out of order or back"));
}

#[test]
fn a_seed_decides_everything() {
    for seed in [1, 2, 3] {
        let (one, again) = (told(&in_a_process(seed)), told(&in_a_process(seed)));
        assert!(one.lines().count() > 100, "{one}");
        assert!(one == again, "seed {seed} is played in more than one way");
    }
    assert_ne!(told(&in_a_process(1)), told(&in_a_process(2)));
}

/// Plays one world in this process, tells what was noted in it, and judges it.
fn one(seed: u64) {
    let (history, time) = world::play(seed);
    let report = check(&history);
    let mut text = String::new();
    for (number, notes) in history.iter().enumerate() {
        for note in notes {
            writeln!(text, "{MARK}{number} {note:?}").unwrap();
        }
    }
    tell(&format!("\n{text}{MARK}{time:?}: {report}"));
    assert!(report.is_clean() && report.acknowledged > 0, "{report}");
}

fn in_a_process(seed: usize) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([NAME, "--exact", "--nocapture"]).env(SEED, seed.to_string());
    command.output().unwrap()
}

/// What a world has told.
fn told(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter(|line| line.starts_with(MARK)).flat_map(|line| [line, "\n"]).collect()
}

fn fail(seed: usize, output: &Output) -> ! {
    panic!(
        "seed {seed} went wrong; it is repeated by\n\
         {SEED}={seed} cargo test --test it {NAME} -- --exact --nocapture\n{}",
        String::from_utf8_lossy(&output.stderr)
    )
}
