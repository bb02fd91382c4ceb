//! SIGINT and SIGTERM: the first asks to stop in good order, the second ends the program at once. SIGHUP
//! means the same, but where the command has another use for it.

use std::convert::Infallible;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exit::ExitStatus;

/// Does `work`, of which the first signal cancels `stop`.
///
/// # Errors
/// Those of `work`; or signals can't be listened to.
pub(super) async fn with_shutdown_signals<T>(
    stop: &CancellationToken,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    with_shutdown_and_hangup(stop, || request_stop(stop), work).await
}

/// The same, with something else to do at SIGHUP.
pub(super) async fn with_shutdown_and_hangup<T>(
    stop: &CancellationToken,
    on_hangup: impl Fn(),
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::select! {
        // The system ends a program that does not listen yet: before anything is begun, this one does.
        biased;
        broken = handle_signals(stop, on_hangup) => match broken.context("cannot listen to signals")? {},
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

#[expect(clippy::exit, reason = "asked for by a second signal")]
fn exit_now() {
    std::process::exit(ExitStatus::Failed as i32);
}
