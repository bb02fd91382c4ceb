//! Signal handling. The first SIGINT or SIGTERM starts a graceful shutdown, the second one ends the
//! process immediately. SIGHUP does the same unless the command handles it.

use std::convert::Infallible;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exit::ExitStatus;

/// Runs `work` and cancels `stop` at the first signal.
///
/// # Errors
/// `work` failed, or the signal handlers cannot be installed.
pub(super) async fn with_shutdown_signals<T>(
    stop: &CancellationToken,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    with_shutdown_and_hangup(stop, || request_stop(stop), work).await
}

/// Like [`with_shutdown_signals`], but calls `on_hangup` at each SIGHUP.
pub(super) async fn with_shutdown_and_hangup<T>(
    stop: &CancellationToken,
    on_hangup: impl Fn(),
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::select! {
        // The handlers are installed before `work` starts: until then a signal kills the process.
        biased;
        failed = handle_signals(stop, on_hangup) => match failed.context("cannot handle signals")? {},
        outcome = work => outcome,
    }
}

async fn handle_signals(
    stop: &CancellationToken,
    on_hangup: impl Fn(),
) -> std::io::Result<Infallible> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    let mut hangups = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = interrupts.recv() => request_stop(stop),
            _ = terminations.recv() => request_stop(stop),
            _ = hangups.recv() => on_hangup(),
        }
    }
}

fn request_stop(stop: &CancellationToken) {
    if stop.is_cancelled() {
        exit_now();
    }
    stop.cancel();
}

#[expect(clippy::exit, reason = "requested by a second signal")]
fn exit_now() {
    std::process::exit(ExitStatus::Failed as i32);
}
