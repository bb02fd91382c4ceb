//! Why the log can't be opened, written or read, in words that say what to do.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::ErrorCode;
use thiserror::Error;

/// What went wrong. Cheap to clone: one failed commit is the answer to many.
#[derive(Debug, Clone, Error)]
pub enum StoreError {
    /// The folder or a file in it can't be made, opened or locked.
    #[error("cannot use {path}: {source}")]
    FileAccess {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// Another process has the folder.
    #[error("{folder} is in use by {holder}: stop it, or choose another folder for this server")]
    Locked {
        /// The folder.
        folder: PathBuf,
        /// Who, as far as it is known.
        holder: String,
    },
    /// The log was written by a later version of this program. It is left as it was.
    #[error(
        "{path} was written by a newer version of this program (format {format}, and this one knows \
         up to {supported}): use that version, or another folder"
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: i64,
        /// The latest that is known here.
        supported: i64,
    },
    /// The file is something else. It is left as it was.
    #[error("{0} is not a log of this program: choose another folder")]
    NotALog(PathBuf),
    /// The program was linked with a library that can damage the log.
    #[error(
        "this program was built with SQLite {0}, which can damage data: 3.51.3 or later is needed"
    )]
    SqliteTooOld(&'static str),
    /// No room. It can be tried again.
    #[error("the disk is full: nothing can be stored until there is room")]
    DiskFull,
    /// Another process is writing to the file. It can be tried again.
    #[error("another process is writing to the log")]
    Busy,
    /// The disk failed.
    #[error("the disk has failed: {0}")]
    Io(#[source] Arc<rusqlite::Error>),
    /// What is in the log can't be.
    #[error("the log is damaged: {0}")]
    Corrupt(String),
    /// After an earlier failure nothing is certain any more, so nothing more is written.
    #[error("nothing can be stored since an earlier failure: start the server anew")]
    EarlierFailure,
    /// SQLite does not do what it is asked.
    #[error("the log cannot be used: {0}")]
    Sqlite(#[source] Arc<rusqlite::Error>),
    /// The system gives no thread.
    #[error("cannot start a thread for the log: {0}")]
    SpawnThread(#[source] Arc<io::Error>),
    /// The log's thread has ended.
    #[error("the log is closed")]
    Closed,
}

impl StoreError {
    pub(super) fn file_access(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::FileAccess { path: path.into(), source: Arc::new(source) }
    }

    /// Whether the same may be tried again, with nothing done so far.
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
