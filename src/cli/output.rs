//! Standard output and standard error.
//!
//! Errors and notes may quote a server, a certificate or a file name, so they pass through
//! [`SafeText`]. A closed standard error is ignored: the exit status still reports the failure.

use std::fmt;
use std::io::{self, Write as _};

use anyhow::Context as _;
use tokio::io::AsyncWriteExt as _;

use crate::protocol::text::SafeText;

/// Prints `error: MESSAGE` to standard error.
pub(super) fn print_error(message: impl fmt::Display) {
    print_note(format_args!("error: {message}"));
}

/// Prints a line to standard error.
pub(super) fn print_note(message: impl fmt::Display) {
    writeln!(io::stderr(), "{}", SafeText::clean(&message.to_string())).unwrap_or_default();
}

/// Writes to standard output and flushes it.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.context("cannot write to standard output")
}

/// Writes to standard output without blocking the runtime. Returns whether the reader is still there:
/// `false` after a broken pipe.
///
/// # Errors
/// Standard output cannot be written for another reason.
pub(super) async fn print_to_pipe(text: &str) -> anyhow::Result<bool> {
    let mut stdout = tokio::io::stdout();
    let written = async {
        stdout.write_all(text.as_bytes()).await?;
        stdout.flush().await
    };
    match written.await {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}

/// Formats a number of bytes with an SI unit: `41 kB`, `1.2 MB`.
pub(super) fn format_bytes(bytes: u64) -> String {
    match bytes {
        ..1_000_000 => format!("{} kB", bytes.div_ceil(1_000)),
        1_000_000..1_000_000_000 => format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10),
        _ => format!("{}.{} GB", bytes / 1_000_000_000, bytes / 100_000_000 % 10),
    }
}
