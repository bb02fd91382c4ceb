//! Exit statuses, and errors that carry one.

use std::process::ExitCode;

use thiserror::Error;

use crate::protocol::text::SafeText;

/// The exit status of the program. Scripts rely on the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// The command succeeded.
    Success = 0,
    /// The command failed.
    Failed = 1,
    /// The command line or the settings file is invalid. clap uses the same number.
    Usage = 2,
    /// The server's key is not the pinned one or the one in the link, or `--ca` does not trust its
    /// certificate.
    UntrustedServer = 3,
    /// The server rejected the login or the request, or disconnected the user.
    Refused = 4,
}

/// An error with an exit status other than [`ExitStatus::Failed`].
#[derive(Debug, Error)]
#[error("{message}")]
pub struct CliError {
    /// The exit status.
    pub status: ExitStatus,
    /// The error and its remedy, as text for the user.
    pub message: String,
}

impl CliError {
    /// The command line is invalid.
    pub fn usage(message: String) -> Self {
        Self { status: ExitStatus::Usage, message }
    }

    /// The server rejected the login or the request.
    pub fn refused(reason: &SafeText) -> Self {
        Self { status: ExitStatus::Refused, message: reason.one_line() }
    }

    /// The server is not the expected one.
    pub fn untrusted(reason: &SafeText) -> Self {
        Self { status: ExitStatus::UntrustedServer, message: reason.to_string() }
    }
}

impl ExitStatus {
    /// The status of the first [`CliError`] in the chain of `error`, or [`ExitStatus::Failed`].
    pub fn from_error(error: &anyhow::Error) -> Self {
        error.downcast_ref::<CliError>().map_or(Self::Failed, |error| error.status)
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status as u8)
    }
}
