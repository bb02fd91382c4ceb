//! Checkpoints on a thread of their own, while the writer goes on.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use rusqlite::Connection;

use super::super::{BackgroundWork, StoreError};
use super::open;

/// Copies the write-ahead log to the file, as far as readers allow.
pub(super) const PASSIVE: &str = "PRAGMA wal_checkpoint(PASSIVE)";

/// Copies nothing.
pub(super) const NOOP: &str = "PRAGMA wal_checkpoint(NOOP)";

/// Runs a checkpoint. Returns whether it was blocked (1 if so), how many pages the write-ahead log has,
/// and how many of them were copied to the file.
pub(super) fn checkpoint(db: &Connection, sql: &str) -> Result<(i64, i64, i64), StoreError> {
    let row =
        db.prepare_cached(sql)?.query_row((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(row)
}

/// The writer's end of the thread that runs checkpoints. The thread ends when this is dropped.
#[derive(Debug)]
pub(super) struct BackgroundCheckpoints {
    start: SyncSender<()>,
    ended: Receiver<Result<(), StoreError>>,
    is_running: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Idle,
    Running,
    /// A checkpoint has ended since the last call.
    Ended,
}

impl BackgroundCheckpoints {
    /// Also returns what the thread runs.
    pub(super) fn open(file: &Path) -> Result<(Self, BackgroundWork), StoreError> {
        let db = open::open_checkpointer(file)?;
        // Opens the write-ahead log, so that it is the same file as the writer's.
        checkpoint(&db, NOOP)?;
        Ok(Self::new(move || checkpoint(&db, PASSIVE).map(|_| ())))
    }

    pub(super) fn new(
        mut run: impl FnMut() -> Result<(), StoreError> + Send + 'static,
    ) -> (Self, BackgroundWork) {
        let (start, started) = sync_channel(1);
        let (end, ended) = sync_channel(1);
        let work = move || {
            for () in started {
                // The writer may have ended meanwhile.
                drop(end.send(run()));
            }
        };
        (Self { start, ended, is_running: false }, Box::new(work))
    }

    pub(super) fn start(&mut self) -> Result<(), StoreError> {
        self.is_running = true;
        self.start.send(()).map_err(closed)
    }

    /// Waits until no checkpoint runs if it `must_end`.
    pub(super) fn poll(&mut self, must_end: bool) -> Result<Progress, StoreError> {
        if !self.is_running {
            return Ok(Progress::Idle);
        }
        let ended = match self.ended.try_recv() {
            Err(TryRecvError::Empty) if must_end => self.ended.recv().map_err(closed)?,
            Err(TryRecvError::Empty) => return Ok(Progress::Running),
            Err(TryRecvError::Disconnected) => Err(StoreError::Closed),
            Ok(ended) => ended,
        };
        self.is_running = false;
        ended.map(|()| Progress::Ended)
    }
}

/// The thread ends before the writer only if it panics, and then the process ends, too.
fn closed<E>(_: E) -> StoreError {
    StoreError::Closed
}
