//! SIGINT and SIGTERM: the first asks to stop in good order, the second ends the program at once. SIGHUP
//! means the same, but where the command has another use for it.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exit::Exit;

/// Cancels `stop` at the first signal and exits at the second. Never returns by itself.
pub(super) async fn watch(stop: CancellationToken) -> std::io::Result<()> {
    watch_hangups(stop.clone(), || asked(&stop)).await
}

/// The same, with something else to do at SIGHUP.
pub(super) async fn watch_hangups(
    stop: CancellationToken,
    hung_up: impl Fn(),
) -> std::io::Result<()> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    let mut hangups = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = interrupts.recv() => asked(&stop),
            _ = terminations.recv() => asked(&stop),
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
