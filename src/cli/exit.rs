//! The exit statuses by name, and errors that bring one of their own.

use std::process::ExitCode;

use thiserror::Error;

/// How the program ends. The numbers are promised to scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything was done.
    Done = 0,
    /// Something failed.
    Failed = 1,
    /// The command line makes no sense; clap says so by the same number.
    Usage = 2,
    /// The server's key is not the one that was pinned.
    KeyMismatch = 3,
    /// The server refused.
    Refused = 4,
}

/// An error with an exit status other than [`Exit::Failed`].
#[derive(Debug, Error)]
#[error("{message}")]
pub struct Failure {
    /// How the program ends.
    pub exit: Exit,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Exit {
    /// The status that an error brings, wherever in its chain.
    pub fn of(error: &anyhow::Error) -> Self {
        error.downcast_ref::<Failure>().map_or(Self::Failed, |failure| failure.exit)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
