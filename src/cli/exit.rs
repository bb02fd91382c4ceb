//! The exit statuses by name, and errors that bring one of their own.

use std::process::ExitCode;

use thiserror::Error;

use crate::protocol::text::SafeText;

/// How the program ends. The numbers are promised to scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// Everything was done.
    Success = 0,
    /// Something failed.
    Failed = 1,
    /// The command line makes no sense; clap says so by the same number.
    Usage = 2,
    /// It is not the right server: its key is not the one that was pinned, or in the link, or its
    /// certificate not one that `--ca` trusts.
    UntrustedServer = 3,
    /// The server refused.
    Refused = 4,
}

/// An error with an exit status other than [`Exit::EarlierFailure`].
#[derive(Debug, Error)]
#[error("{message}")]
pub struct CliError {
    /// How the program ends.
    pub status: ExitStatus,
    /// What is wrong, and what to do.
    pub message: String,
}

impl CliError {
    /// What the server does not want.
    pub fn refused(reason: &SafeText) -> Self {
        Self { status: ExitStatus::Refused, message: reason.one_line() }
    }

    /// It is not the right server.
    pub fn untrusted(reason: &SafeText) -> Self {
        Self { status: ExitStatus::UntrustedServer, message: reason.to_string() }
    }
}

impl ExitStatus {
    /// The status that an error brings, wherever in its chain.
    pub fn from_error(error: &anyhow::Error) -> Self {
        error.downcast_ref::<CliError>().map_or(Self::Failed, |failure| failure.status)
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(exit: ExitStatus) -> Self {
        Self::from(exit as u8)
    }
}
