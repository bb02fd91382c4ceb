//! Deterministic simulation: the real server and clients on a simulated network and clock, with faults.
//!
//! A seed determines everything, but only in a new process, so each seed runs in a subprocess: this test
//! binary with `CHAT_SEED` set. The suite runs a hundred seeds; `CHAT_SEEDS=10000` runs more. `CHAT_SEED=7`
//! runs one seed in this process and prints all observations.

mod faults;
mod run;

use std::fmt::Write as _;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use self::run::SimulationResult;
use crate::support::checker::{check, check_files};

use crate::support::{count_from_env, print_result};

/// The variable with the seed of a subprocess.
const SEED_VARIABLE: &str = "CHAT_SEED";

/// The test that a subprocess runs.
const TEST_NAME: &str = "simulation::delivery_is_exactly_once_in_simulation";

/// The start of each output line that belongs to the simulation.
const OUTPUT_PREFIX: &str = "| ";

#[test]
fn delivery_is_exactly_once_in_simulation() {
    if let Ok(seed) = std::env::var(SEED_VARIABLE) {
        return run_seed(seed.parse().unwrap());
    }
    let seeds = count_from_env("CHAT_SEEDS", 100);
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
                    let output = run_in_subprocess(seed);
                    if !output.status.success() || recorded_output(&output).is_empty() {
                        next.store(seeds + 1, Ordering::Relaxed);
                        fail_with_seed(seed, &output);
                    }
                }
            });
        }
    });
    print_result(&format!("{seeds} simulations: delivery exactly once and in order"));
}

#[test]
fn simulation_is_deterministic() {
    for seed in [1, 2, 3] {
        let (one, again) =
            (recorded_output(&run_in_subprocess(seed)), recorded_output(&run_in_subprocess(seed)));
        assert!(one.lines().count() > 100, "{one}");
        assert!(one == again, "seed {seed} is not deterministic");
    }
    assert_ne!(recorded_output(&run_in_subprocess(1)), recorded_output(&run_in_subprocess(2)));
}

/// Runs one seed in this process, prints all observations, and checks them.
fn run_seed(seed: u64) {
    let SimulationResult { history, elapsed, tokens_in_files } = run::run(seed);
    let mut report = check(&history);
    check_files(&history, &tokens_in_files, &mut report);
    let mut text = String::new();
    for (number, observations) in history.iter().enumerate() {
        for observation in observations {
            writeln!(text, "{OUTPUT_PREFIX}{number} {observation:?}").unwrap();
        }
    }
    print_result(&format!("\n{text}{OUTPUT_PREFIX}{elapsed:?}: {report}"));
    assert!(report.is_clean() && report.acknowledged > 0, "{report}");
}

fn run_in_subprocess(seed: usize) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([TEST_NAME, "--exact", "--nocapture"]).env(SEED_VARIABLE, seed.to_string());
    command.output().unwrap()
}

/// The output of a simulation.
fn recorded_output(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .filter(|line| line.starts_with(OUTPUT_PREFIX))
        .flat_map(|line| [line, "\n"])
        .collect()
}

fn fail_with_seed(seed: usize, output: &Output) -> ! {
    panic!(
        "seed {seed} failed; to repeat it, run\n\
         {SEED_VARIABLE}={seed} cargo test --test it {TEST_NAME} -- --exact --nocapture\n{}",
        String::from_utf8_lossy(&output.stderr)
    )
}
