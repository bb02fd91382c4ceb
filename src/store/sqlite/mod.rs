//! The log in SQLite: one file in WAL mode, synced at every commit.
//!
//! Every commit waits for the disk (`synchronous=FULL`); with a weaker setting, a power cut could lose
//! acknowledged messages. There is no full-text index: scanning a million messages takes less than a
//! second, and an index would more than double the cost of storing a message.

mod accounts;
mod annotations;
mod changes;
mod checkpoint;
mod feed;
mod files;
mod markers;
mod migrate;
mod open;
mod read;
mod requests;
mod retain;
mod rooms;
mod row_copies;
mod write;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Params, Row as SqliteRow, TransactionBehavior};

use self::checkpoint::{BackgroundCheckpoints, NOOP, PASSIVE, Progress, checkpoint};
use self::files::{OpenFile, WalFile};
pub use self::read::SqliteReader;
use self::requests::RecentRequests;
use self::row_copies::RowCopies;
use self::write::WriteTxn;
use super::message_ids::MessageIds;
use super::row::{parse_message_id, parse_room, parse_user_id};
use super::{
    BackgroundWork, CheckpointOutcome, Entry, LogSize, LogSnapshot, Outcome, ReadGate,
    ScrubOutcome, Store, StoreError,
};
use crate::protocol::id::{MessageId, RoomName, Seq, UserId};
use crate::protocol::message::Millis;

/// A checkpoint is due when this many pages of 4 KiB of the write-ahead log are not in the file.
const CHECKPOINT_PAGES: u64 = 1_000;

/// So many, and the disk is too slow for the load: the writer waits until the checkpoint in the background ends.
const MAX_PAGES_BEHIND: u64 = 3 * CHECKPOINT_PAGES;

/// A scrub is due each time the write-ahead log has grown by this many pages. It starts from the
/// beginning after a checkpoint, unless a reader always uses it.
const SCRUB_PAGES: u64 = 4_000;

/// The log in a data folder, which is locked against other processes.
#[derive(Debug)]
pub struct SqliteStore {
    // Declared before the files, so that they are closed after it, and the lock is released last.
    db: Connection,
    header: LogHeader,
    ids: MessageIds,
    requests: RecentRequests,
    log_file: OpenFile,
    wal_file: WalFile,
    /// The length of the log file, which never shrinks.
    log_len: u64,
    copies: RowCopies,
    wal: WalState,
    /// The length of the write-ahead log, in pages, at which a scrub is due.
    scrub_at: u64,
    /// `None` if the writer runs all checkpoints itself.
    background: Option<BackgroundCheckpoints>,
    gate: Arc<ReadGate>,
    /// Whether a write has failed and the state of the disk is unknown; see
    /// [`StoreError::EarlierFailure`].
    failed: bool,
    folder: open::LockedFolder,
}

/// The columns of the single row of table `log` that change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LogHeader {
    head: Seq,
    clock: Millis,
    horizon: Seq,
}

/// The state of the write-ahead log, in pages.
#[derive(Debug, Clone, Copy, Default)]
struct WalState {
    len: u64,
    /// How many of them a checkpoint has copied to the file.
    copied: u64,
}

impl SqliteStore {
    /// Opens the log in `folder`. Creates the folder and the log if they are missing.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let folder = open::lock_folder(folder)?;
        let db = open::open_writer(&folder.file)?;
        // Also creates the write-ahead log.
        let (header, ids) = (read_header(&db)?, read_message_ids(&db)?);
        let log_file = OpenFile::open(folder.file.clone())?;
        let page_size =
            db.pragma_query_value(None, "page_size", |row| row.get::<_, u32>(0))?.into();
        let n_pages = db.pragma_query_value(None, "page_count", |row| row.get(0))?;
        Ok(Self {
            log_len: log_file.check(0)?,
            log_file,
            wal_file: WalFile::open(&folder.file, page_size)?,
            copies: RowCopies::new(page_size, n_pages),
            wal: WalState::default(),
            requests: RecentRequests::load(&db, header.head)?,
            db,
            header,
            ids,
            scrub_at: SCRUB_PAGES,
            background: None,
            gate: Arc::default(),
            failed: false,
            folder,
        })
    }

    /// Runs `work` in a transaction: everything it writes is committed, or nothing. What was committed
    /// counts only if it is in files that the next start will open.
    fn write<T>(
        &mut self,
        now: Millis,
        work: impl FnOnce(&mut WriteTxn<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.failed {
            return Err(StoreError::EarlierFailure);
        }
        // A commit makes a shortened file long again.
        let written = self.wal_file.check(self.wal.len).and_then(|()| self.transact(now, work));
        let written = written.and_then(|done| self.check_files().map(|()| done));
        self.note_failure(written)
    }

    /// Stops writing if the result leaves the state of the disk unknown.
    fn note_failure<T>(&mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        self.failed |= result.as_ref().is_err_and(|error| !error.is_transient());
        result
    }

    fn transact<T>(
        &mut self,
        now: Millis,
        work: impl FnOnce(&mut WriteTxn<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let old = self.header;
        let mut txn = WriteTxn {
            db: &transaction,
            now,
            header: old,
            ids: self.ids,
            requests: &mut self.requests,
        };
        let done = work(&mut txn).and_then(|done| txn.finish(old).map(|header| (done, header)));
        let done = done.and_then(|done| Ok(transaction.commit().map(|()| done)?));
        match &done {
            Ok((_, header)) => {
                self.header = *header;
                self.requests.trim(header.head);
            }
            Err(_) => self.requests.roll_back(old.head),
        }
        done.map(|(done, _)| done)
    }

    fn check_files(&mut self) -> Result<(), StoreError> {
        self.wal = self.wal_state()?;
        self.wal_file.check(self.wal.len)?;
        self.log_len = self.log_file.check(self.log_len)?;
        Ok(())
    }

    fn wal_state(&self) -> Result<WalState, StoreError> {
        let (_, len, copied) = checkpoint(&self.db, NOOP)?;
        Ok(WalState { len: len.cast_unsigned(), copied: copied.cast_unsigned() })
    }

    /// Copies the write-ahead log to the file, if it is long enough and as far as readers allow. A checkpoint
    /// in the background leaves what was written meanwhile. Only if that is copied while nothing is written,
    /// the write-ahead log starts from its beginning.
    fn checkpoint_if_due(&mut self) -> Result<(), StoreError> {
        let must_end = self.wal.len - self.wal.copied >= MAX_PAGES_BEHIND;
        let progress = match &mut self.background {
            Some(background) => Some(background.poll(must_end)?),
            None => None,
        };
        if progress == Some(Progress::Ended) {
            self.wal = self.wal_state()?;
        }
        let is_due = self.wal.len - self.wal.copied >= CHECKPOINT_PAGES;
        match (progress, &mut self.background) {
            (Some(Progress::Idle | Progress::Ended), Some(background)) if is_due => {
                background.start()
            }
            (Some(Progress::Ended), _) => checkpoint(&self.db, PASSIVE).map(|_| ()),
            (None, _) if is_due => checkpoint(&self.db, PASSIVE).map(|_| ()),
            _ => Ok(()),
        }
    }

    /// Empties the write-ahead log, unless a reader uses it.
    fn truncate(&mut self) -> Result<ScrubOutcome, StoreError> {
        if let Some(background) = &mut self.background {
            background.poll(true)?;
        }
        // Other checkpoints do not wait for readers. This one would wait, and block all writing.
        self.db.busy_timeout(Duration::ZERO)?;
        let truncated = checkpoint(&self.db, "PRAGMA wal_checkpoint(TRUNCATE)");
        self.db.busy_timeout(open::BUSY_TIMEOUT)?;
        match truncated {
            Ok((0, ..)) => {
                self.wal = WalState::default();
                Ok(ScrubOutcome::Done)
            }
            Ok(_) | Err(StoreError::Busy) => Ok(ScrubOutcome::Busy),
            Err(error) => Err(error),
        }
    }

    /// Erases copies of rows after [`Self::truncate`].
    fn erase_copies(&mut self) -> Result<ScrubOutcome, StoreError> {
        if self.copies.is_empty() {
            return Ok(ScrubOutcome::Done);
        }
        // Until this ends, nothing is written, and with an empty write-ahead log, nothing is copied to the file.
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if !self.wal_file.is_empty()? {
            // Another process has written.
            return Ok(ScrubOutcome::Busy);
        }
        self.copies.erase_some(&self.log_file.file)?;
        // What the writer has cached still has the copies, and would be written with the next change.
        transaction.execute_batch("PRAGMA shrink_memory")?;
        Ok(if self.copies.is_empty() { ScrubOutcome::Done } else { ScrubOutcome::Partial })
    }
}

impl Store for SqliteStore {
    type Reader = SqliteReader;

    fn snapshot(&mut self) -> Result<LogSnapshot, StoreError> {
        let db = self.db.transaction()?;
        Ok(LogSnapshot {
            epoch: db.query_row("SELECT epoch FROM log", (), |row| row.get(0))?,
            head: self.header.head,
            horizon: self.header.horizon,
            clock: self.header.clock,
            size: read_size(&db)?,
            expirations: query_all(
                &db,
                "SELECT id, expires FROM message WHERE expires IS NOT NULL",
                (),
                |row| Ok((message_id_column(row)?, row.get(1)?)),
            )?,
            registered: accounts::read_registered(&db)?,
            bans: accounts::read_bans(&db)?,
            rooms: rooms::read_rooms(&db)?,
            direct_message_users: query_all(
                &db,
                "SELECT DISTINCT user FROM direct",
                (),
                user_id_column,
            )?,
        })
    }

    fn open_reader(&self) -> Result<SqliteReader, StoreError> {
        SqliteReader::open(&self.folder.file, self.ids, self.read_gate())
    }

    fn apply(&mut self, now: Millis, batch: &[Entry]) -> Result<Vec<Outcome>, StoreError> {
        let len = self.wal.len;
        let outcomes =
            self.write(now, |txn| batch.iter().map(|entry| txn.apply(entry)).collect())?;
        // A post is appended to its table, which moves no row.
        if !batch.iter().all(|entry| matches!(entry, Entry::Post(_))) {
            let pages = self.wal_file.page_numbers(len..self.wal.len).map_err(StoreError::from);
            let pages = self.note_failure(pages)?;
            self.copies.note_written(pages);
        }
        Ok(outcomes)
    }

    fn scrub(&mut self) -> Result<ScrubOutcome, StoreError> {
        if self.failed {
            return Err(StoreError::EarlierFailure);
        }
        let scrubbed = self.truncate().and_then(|truncated| match truncated {
            ScrubOutcome::Done => self.erase_copies(),
            busy => Ok(busy),
        });
        self.note_failure(scrubbed)
    }

    fn checkpoint(&mut self) -> Result<CheckpointOutcome, StoreError> {
        if self.failed {
            return Ok(CheckpointOutcome::Done);
        }
        let done = self.checkpoint_if_due();
        self.note_failure(done)?;
        let WalState { len, .. } = self.wal;
        if len < SCRUB_PAGES {
            self.scrub_at = SCRUB_PAGES;
        }
        if len < self.scrub_at {
            return Ok(CheckpointOutcome::Done);
        }
        self.scrub_at = len + SCRUB_PAGES;
        Ok(CheckpointOutcome::ScrubDue)
    }

    fn run_checkpoints_in_background(&mut self) -> Result<Option<BackgroundWork>, StoreError> {
        let (background, work) = BackgroundCheckpoints::open(&self.folder.file)?;
        self.background = Some(background);
        Ok(Some(work))
    }

    fn read_gate(&self) -> Arc<ReadGate> {
        Arc::clone(&self.gate)
    }
}

/// The sequence number that the message with this id has, or had.
fn seq_of(db: &Connection, ids: MessageIds, id: MessageId) -> Result<Option<Seq>, StoreError> {
    if let Some(seq) = ids.seq_of(id) {
        return Ok(Some(seq));
    }
    let mut old = db.prepare_cached("SELECT seq FROM old_id WHERE id = ?1")?;
    Ok(old.query_row([id.number()], |row| seq_column(row, 0)).optional()?)
}

fn read_message_ids(db: &Connection) -> Result<MessageIds, StoreError> {
    let ids = db.query_row("SELECT epoch, first_id, id_base FROM log", (), |row| {
        Ok(MessageIds::new(&row.get::<_, String>(0)?, row.get(1)?, seq_column(row, 2)?))
    });
    Ok(ids?)
}

fn read_header(db: &Connection) -> Result<LogHeader, StoreError> {
    let log = db.query_row("SELECT head, clock, horizon FROM log", (), |row| {
        Ok(LogHeader {
            head: seq_column(row, 0)?,
            clock: row.get(1)?,
            horizon: seq_column(row, 2)?,
        })
    });
    log.optional()?.ok_or_else(|| StoreError::Corrupt("table `log` is empty".to_owned()))
}

fn read_size(db: &Connection) -> Result<LogSize, StoreError> {
    let number = |sql| db.query_row(sql, (), |row| row.get::<_, i64>(0));
    let bytes = number("PRAGMA page_count")? * number("PRAGMA page_size")?;
    let messages = number("SELECT count(*) FROM message")?;
    Ok(LogSize { messages: messages.cast_unsigned(), bytes: bytes.cast_unsigned() })
}

/// Reads all rows of a statement.
fn query_all<T>(
    db: &Connection,
    sql: &str,
    parameters: impl Params,
    read: impl Fn(&SqliteRow<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(read(row)?);
    }
    Ok(all)
}

fn message_id_column(row: &SqliteRow<'_>) -> Result<MessageId, StoreError> {
    parse_message_id(row.get(0)?)
}

fn optional_id_column(row: &SqliteRow<'_>, column: usize) -> Result<Option<MessageId>, StoreError> {
    row.get::<_, Option<u32>>(column)?.map(parse_message_id).transpose()
}

fn room_column(row: &SqliteRow<'_>, column: usize) -> Result<RoomName, StoreError> {
    parse_room(text_column(row, column)?)
}

fn text_column<'a>(row: &'a SqliteRow<'_>, column: usize) -> Result<&'a str, StoreError> {
    Ok(row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?)
}

fn optional_text_column<'a>(
    row: &'a SqliteRow<'_>,
    column: usize,
) -> Result<Option<&'a str>, StoreError> {
    Ok(row.get_ref(column)?.as_str_or_null().map_err(rusqlite::Error::from)?)
}

fn user_id_column(row: &SqliteRow<'_>) -> Result<UserId, StoreError> {
    parse_user_id(&row.get::<_, String>(0)?)
}

fn seq_column(row: &SqliteRow<'_>, column: usize) -> rusqlite::Result<Seq> {
    row.get(column).map(|number: i64| Seq(number.cast_unsigned()))
}

/// A sequence number as an SQL integer. Values out of range become the largest, which is after every
/// event.
fn seq_to_sql(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

#[cfg(test)]
impl SqliteStore {
    /// The value of a pragma of the writer's connection.
    pub(super) fn pragma(&self, name: &str) -> String {
        self.db
            .pragma_query_value(None, name, |row| {
                Ok(match row.get_ref(0)? {
                    rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                    other => other.as_str()?.to_owned(),
                })
            })
            .unwrap()
    }

    /// Gives the log this epoch, and with it the same message ids in every run.
    pub(crate) fn with_epoch(mut self, epoch: &str) -> Self {
        self.db.execute("UPDATE log SET epoch = ?1", [epoch]).unwrap();
        self.ids = read_message_ids(&self.db).unwrap();
        self
    }

    /// Turns off waiting for the disk, for tests that do not need it.
    pub(crate) fn without_sync(self) -> Self {
        self.db.pragma_update(None, "synchronous", "OFF").unwrap();
        self
    }

    /// Keeps the cids of fewer entries in memory, see `requests.rs`.
    pub(super) fn with_recent_requests(mut self, entries: u64, step: u64) -> Self {
        self.requests.limit(entries, step, self.header.head);
        self
    }

    /// Runs `checkpoint` in the background.
    pub(super) fn with_background_checkpoint(
        mut self,
        checkpoint: impl FnMut() -> Result<(), StoreError> + Send + 'static,
    ) -> (Self, BackgroundWork) {
        let (background, work) = BackgroundCheckpoints::new(checkpoint);
        self.background = Some(background);
        (self, work)
    }

    /// Simulates a disk that is full at this many pages.
    pub(super) fn limit_pages(&self, pages: u32) {
        self.db.pragma_update(None, "max_page_count", pages).unwrap();
    }
}
