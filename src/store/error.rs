//! Errors of the log.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::ErrorCode;
use thiserror::Error;

/// An error of the log. Cheap to clone, because a failed commit is the answer to every request in it.
#[derive(Debug, Clone, Error)]
pub enum StoreError {
    /// The data directory, or a file in it, cannot be created, opened or locked.
    #[error(
        "cannot open {path}: {source} (check its permissions, or choose another directory with --data)"
    )]
    FileAccess {
        /// The file or directory.
        path: PathBuf,
        /// The error of the operating system.
        source: Arc<io::Error>,
    },
    /// Another process holds the lock of the data directory.
    #[error(
        "{folder} is in use by {holder}: stop that server, or choose another directory with --data"
    )]
    Locked {
        /// The data directory.
        folder: PathBuf,
        /// The other process, with its id if it is known.
        holder: String,
    },
    /// The log was written by a newer version of this program. The file was not changed.
    #[error(
        "{path} was written by a newer version of this program (log format {format}; this version \
         supports up to {supported}): install that version, or choose another directory with --data"
    )]
    NewerFormat {
        /// The log file.
        path: PathBuf,
        /// The format of the file.
        format: i64,
        /// The newest format that this version supports.
        supported: i64,
    },
    /// The file is not a log of this program. It was not changed.
    #[error("{0} is not a chat log: choose another directory with --data")]
    NotALog(PathBuf),
    /// The linked SQLite has a bug that can corrupt the log.
    #[error(
        "this program was built with SQLite {0}, which can corrupt data: rebuild it with SQLite \
         3.51.3 or later"
    )]
    SqliteTooOld(&'static str),
    /// The disk is full. The request can be retried.
    #[error("the disk is full: free some space to store messages again")]
    DiskFull,
    /// Another process is writing to the log file. The request can be retried.
    #[error("the log is locked by another process: close other programs that use its files")]
    Busy,
    /// The disk failed.
    #[error("disk error: {0}")]
    Io(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The log holds data that this program cannot have written.
    #[error("the log is corrupt: {0} (stop the server and restore a backup)")]
    Corrupt(String),
    /// Another program changed a file of the log while it was open. What was written last is lost.
    #[error(
        "{0} was removed, replaced or truncated while the server was running: nothing is stored any \
         more (stop the server, then restore the file from a backup)"
    )]
    FileReplaced(PathBuf),
    /// An earlier write failed, and the state of the disk is unknown: nothing more is written.
    #[error("the log is read-only after an earlier failure: restart the server")]
    EarlierFailure,
    /// SQLite reported another error.
    #[error("SQLite error: {0}")]
    Sqlite(#[source] Arc<rusqlite::Error>),
    /// The operating system refused to start a thread.
    #[error("cannot start a thread for the log: {0}")]
    SpawnThread(#[source] Arc<io::Error>),
    /// The log's threads have ended.
    #[error("the log is closed")]
    Closed,
}

impl StoreError {
    pub(super) fn file_access(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::FileAccess { path: path.into(), source: Arc::new(source) }
    }

    /// The part of the error that clients may get.
    pub fn public_reason(&self) -> &'static str {
        match self {
            Self::DiskFull => "its disk is full",
            Self::Busy => "another program holds its files",
            _ => "its disk fails",
        }
    }

    /// Whether the request can be retried: nothing of it was done, and the cause may pass.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::DiskFull | Self::Busy)
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::SystemIoFailure) => Self::Io(Arc::new(error)),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Corrupt(error.to_string())
            }
            Some(_) | None => Self::Sqlite(Arc::new(error)),
        }
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull => Self::DiskFull,
            _ => Self::Io(Arc::new(error)),
        }
    }
}
