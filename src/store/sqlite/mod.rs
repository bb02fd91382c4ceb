//! The log in SQLite: one file, written ahead (WAL) and synced at every commit.
//!
//! Every commit waits for the disk (`synchronous=FULL`): with less, a power cut takes back what was
//! acknowledged. There is no index of the text: reading it all takes less than a second for a million
//! messages, and an index would cost each message more than it does now.

mod accounts;
mod open;
mod read;
mod sweep;
mod write;

use std::path::Path;

use rusqlite::{
    Connection, OptionalExtension, Params, Row as SqliteRow, Transaction, TransactionBehavior,
};

pub use self::read::SqliteReader;
use self::write::WriteTxn;
use super::row::{parse_message_id, parse_user_id};
use super::{
    Append, LogSize, LogSnapshot, Outcome, Retention, ScrubOutcome, Store, StoreError, SweepReport,
};
use crate::protocol::id::{MessageId, Seq, UserId};
use crate::protocol::message::Millis;

/// How much may lie in the write-ahead log before it is brought into the file, in pages of 4 KiB.
const CHECKPOINT_PAGES: i64 = 1_000;

/// The log in a folder, which no other process can open meanwhile.
#[derive(Debug)]
pub struct SqliteStore {
    // Before the folder: the lock goes last.
    db: Connection,
    header: LogHeader,
    /// Where the next sweep begins.
    next_sweep: Seq,
    /// Whether the disk has failed, so that nothing is certain any more.
    failed: bool,
    folder: open::LockedFolder,
}

/// The row of the table of that name, but for what never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LogHeader {
    head: Seq,
    clock: Millis,
    horizon: Seq,
}

impl SqliteStore {
    /// Opens the log in `folder`, or makes it.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let folder = open::lock_folder(folder)?;
        let db = open::open_writer(&folder.file)?;
        let log = read_header(&db)?;
        Ok(Self { db, header: log, next_sweep: Seq(0), failed: false, folder })
    }

    /// One transaction: all that `work` does, or nothing.
    fn write<T>(
        &mut self,
        now: Millis,
        work: impl FnOnce(&mut WriteTxn<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.failed {
            return Err(StoreError::EarlierFailure);
        }
        let written = self.transact(now, work);
        match &written {
            // What was written is safe, whatever comes of the checkpoint.
            Ok(_) => match self.checkpoint_if_due() {
                Ok(()) => {}
                Err(error) => self.failed = !error.is_transient(),
            },
            Err(error) => self.failed = !error.is_transient(),
        }
        written
    }

    fn transact<T>(
        &mut self,
        now: Millis,
        work: impl FnOnce(&mut WriteTxn<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut turn = WriteTxn { db: &transaction, now, header: self.header };
        let done = work(&mut turn)?;
        let log = turn.header;
        if log != self.header {
            write_header(&transaction, log)?;
        }
        transaction.commit()?;
        self.header = log;
        Ok(done)
    }

    fn checkpoint_if_due(&self) -> Result<(), StoreError> {
        let (_, pages, done) = checkpoint(&self.db, "PRAGMA wal_checkpoint(NOOP)")?;
        if pages - done >= CHECKPOINT_PAGES {
            checkpoint(&self.db, "PRAGMA wal_checkpoint(PASSIVE)")?;
        }
        Ok(())
    }
}

impl Store for SqliteStore {
    type Reader = SqliteReader;

    fn snapshot(&mut self) -> Result<LogSnapshot, StoreError> {
        let db = self.db.transaction()?;
        let mut ids = query_all(&db, "SELECT id FROM message", (), message_id_column)?;
        ids.extend(query_all(&db, "SELECT id FROM mark", (), message_id_column)?);
        Ok(LogSnapshot {
            epoch: db.query_row("SELECT epoch FROM log", (), |row| row.get(0))?,
            head: self.header.head,
            horizon: self.header.horizon,
            size: read_size(&db)?,
            used_ids: ids,
            expirations: query_all(
                &db,
                "SELECT id, expires FROM message WHERE expires IS NOT NULL",
                (),
                |row| Ok((message_id_column(row)?, row.get(1)?)),
            )?,
            registered: accounts::read_registered(&db)?,
            invites: accounts::read_invites(&db)?,
            bans: accounts::read_bans(&db)?,
            direct_message_users: query_all(&db, DIRECT_MESSAGE_USERS, (), user_id_column)?,
        })
    }

    fn open_reader(&self) -> Result<SqliteReader, StoreError> {
        SqliteReader::open(&self.folder.file)
    }

    fn append(&mut self, now: Millis, batch: &[Append]) -> Result<Vec<Outcome>, StoreError> {
        self.write(now, |turn| batch.iter().map(|append| turn.append(append)).collect())
    }

    fn sweep(&mut self, now: Millis, retention: Retention) -> Result<SweepReport, StoreError> {
        let from = self.next_sweep;
        let (swept, next) = self.write(now, |turn| turn.sweep(retention, from))?;
        self.next_sweep = next;
        Ok(swept)
    }

    fn scrub(&mut self) -> Result<ScrubOutcome, StoreError> {
        if self.failed {
            return Err(StoreError::EarlierFailure);
        }
        match checkpoint(&self.db, "PRAGMA wal_checkpoint(TRUNCATE)") {
            Ok((0, ..)) => Ok(ScrubOutcome::Done),
            Ok(_) | Err(StoreError::Busy) => Ok(ScrubOutcome::Busy),
            Err(error) => {
                self.failed = !error.is_transient();
                Err(error)
            }
        }
    }
}

/// Each reader but '' once, without looking at every row.
const DIRECT_MESSAGE_USERS: &str = "
    WITH RECURSIVE each (reader) AS (
        SELECT min(reader) FROM feed WHERE reader > ''
        UNION ALL
        SELECT (SELECT min(feed.reader) FROM feed WHERE feed.reader > each.reader)
        FROM each WHERE each.reader IS NOT NULL
    )
    SELECT reader FROM each WHERE reader IS NOT NULL";

fn read_header(db: &Connection) -> Result<LogHeader, StoreError> {
    let log = db.query_row("SELECT head, clock, horizon FROM log", (), |row| {
        Ok(LogHeader {
            head: seq_column(row, 0)?,
            clock: row.get(1)?,
            horizon: seq_column(row, 2)?,
        })
    });
    log.optional()?.ok_or_else(|| StoreError::Corrupt("it has no head".to_owned()))
}

fn read_size(db: &Connection) -> Result<LogSize, StoreError> {
    let number = |sql| db.query_row(sql, (), |row| row.get::<_, i64>(0));
    let bytes = number("PRAGMA page_count")? * number("PRAGMA page_size")?;
    let messages = number("SELECT count(*) FROM message")?;
    Ok(LogSize { messages: messages.cast_unsigned(), bytes: bytes.cast_unsigned() })
}

fn write_header(db: &Transaction<'_>, log: LogHeader) -> Result<(), StoreError> {
    db.prepare_cached("UPDATE log SET head = ?1, clock = ?2, horizon = ?3")?.execute((
        seq_to_sql(log.head),
        log.clock,
        seq_to_sql(log.horizon),
    ))?;
    Ok(())
}

/// Runs a checkpoint: whether it was blocked, how many pages there are, and how many are done.
fn checkpoint(db: &Connection, sql: &str) -> Result<(i64, i64, i64), StoreError> {
    let row =
        db.prepare_cached(sql)?.query_row((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(row)
}

/// All rows of a statement.
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

fn user_id_column(row: &SqliteRow<'_>) -> Result<UserId, StoreError> {
    parse_user_id(&row.get::<_, String>(0)?)
}

fn seq_column(row: &SqliteRow<'_>, column: usize) -> rusqlite::Result<Seq> {
    row.get(column).map(|number: i64| Seq(number.cast_unsigned()))
}

/// A place as SQLite has it. What is out of its range is after everything.
fn seq_to_sql(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

#[cfg(test)]
impl SqliteStore {
    /// What a setting of the writer's connection is.
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

    /// Does not wait for the disk, in tests that are about something else.
    pub(crate) fn without_sync(self) -> Self {
        self.db.pragma_update(None, "synchronous", "OFF").unwrap();
        self
    }

    /// Makes the disk full at so many pages.
    pub(super) fn limit_pages(&self, pages: u32) {
        self.db.pragma_update(None, "max_page_count", pages).unwrap();
    }

    /// Waits for nobody.
    pub(super) fn disable_busy_timeout(&self) {
        self.db.pragma_update(None, "busy_timeout", 0).unwrap();
    }
}
