//! SIGINT, SIGTERM and SIGHUP: the first asks to stop in good order, the second ends the program at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exit::Exit;

/// Cancels `stop` at the first signal and exits at the second. Never returns by itself.
pub(super) async fn watch(stop: CancellationToken) -> std::io::Result<()> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    let mut hangups = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = interrupts.recv() => {}
            _ = terminations.recv() => {}
            _ = hangups.recv() => {}
        }
        if stop.is_cancelled() {
            exit_now();
        }
        stop.cancel();
    }
}

#[expect(clippy::exit, reason = "asked for by a second signal")]
fn exit_now() {
    std::process::exit(Exit::Failed as i32);
}
