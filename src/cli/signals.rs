//! SIGINT and SIGTERM: the first asks to stop in good order, the second ends the program at once. SIGHUP
//! means the same, but where the command has another use for it.

use std::convert::Infallible;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exit::Exit;

/// Does `work`, of which the first signal cancels `stop`.
///
/// # Errors
/// Those of `work`; or signals can't be listened to.
pub(super) async fn heeded<T>(
    stop: &CancellationToken,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    heeded_with(stop, || asked(stop), work).await
}

/// The same, with something else to do at SIGHUP.
pub(super) async fn heeded_with<T>(
    stop: &CancellationToken,
    hung_up: impl Fn(),
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::select! {
        // The system ends a program that does not listen yet: before anything is begun, this one does.
        biased;
        broken = watch(stop, hung_up) => match broken.context("cannot listen to signals")? {},
        outcome = work => outcome,
    }
}

async fn watch(stop: &CancellationToken, hung_up: impl Fn()) -> std::io::Result<Infallible> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    let mut hangups = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = interrupts.recv() => asked(stop),
            _ = terminations.recv() => asked(stop),
            _ = hangups.recv() => hung_up(),
        }
    }
}

fn asked(stop: &CancellationToken) {
    if stop.is_cancelled() {
        exit_now();
    }
    stop.cancel();
}

#[expect(clippy::exit, reason = "asked for by a second signal")]
fn exit_now() {
    std::process::exit(Exit::Failed as i32);
}
