//! Where the log goes: to standard error, so that standard output is for programs.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Logs to standard error what `CHAT_LOG` asks for (`debug`, `chat::server=debug`, …), or else what an
/// operator should know.
pub(super) fn to_stderr() {
    let filter = EnvFilter::try_from_env("CHAT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
