//! The log in SQLite: one file, written ahead (WAL) and synced at every commit.
//!
//! Every commit waits for the disk (`synchronous=FULL`): with less, a power cut takes back what was
//! acknowledged. There is no index of the text: reading it all takes less than a second for a million
//! messages, and an index would cost each message more than it does now.

mod admit;
mod open;
mod read;
mod sweep;
mod write;

use std::path::Path;

use rusqlite::{
    Connection, OptionalExtension, Params, Row as SqliteRow, Transaction, TransactionBehavior,
};

pub use self::read::SqliteReader;
use self::write::Turn;
use super::row::{message_id, user_id};
use super::{Append, Opened, Outcome, Overwritten, Retention, Size, Store, StoreError, Swept};
use crate::protocol::id::{MessageId, Seq, UserId};
use crate::protocol::message::Millis;

/// How much may lie in the write-ahead log before it is brought into the file, in pages of 4 KiB.
const CHECKPOINT_PAGES: i64 = 1_000;

/// The log in a folder, which no other process can open meanwhile.
#[derive(Debug)]
pub struct SqliteStore {
    // Before the folder: the lock goes last.
    db: Connection,
    log: Log,
    /// Where the next sweep begins.
    swept: Seq,
    /// Whether the disk has failed, so that nothing is certain any more.
    failed: bool,
    folder: open::Folder,
}

/// The row of the table of that name, but for what never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Log {
    head: Seq,
    clock: Millis,
    horizon: Seq,
}

impl SqliteStore {
    /// Opens the log in `folder`, or makes it.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let folder = open::folder(folder)?;
        let db = open::writer(&folder.file)?;
        let log = log(&db)?;
        Ok(Self { db, log, swept: Seq(0), failed: false, folder })
    }

    /// One transaction: all that `work` does, or nothing.
    fn write<T>(
        &mut self,
        now: Millis,
        work: impl FnOnce(&mut Turn<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.failed {
            return Err(StoreError::Failed);
        }
        let written = self.transact(now, work);
        match &written {
            // What was written is safe, whatever comes of the checkpoint.
            Ok(_) => match self.checkpoint_if_due() {
                Ok(()) => {}
                Err(error) => self.failed = !error.may_pass(),
            },
            Err(error) => self.failed = !error.may_pass(),
        }
        written
    }

    fn transact<T>(
        &mut self,
        now: Millis,
        work: impl FnOnce(&mut Turn<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut turn = Turn { db: &transaction, now, log: self.log };
        let done = work(&mut turn)?;
        let log = turn.log;
        if log != self.log {
            save(&transaction, log)?;
        }
        transaction.commit()?;
        self.log = log;
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

    fn opened(&mut self) -> Result<Opened, StoreError> {
        let db = self.db.transaction()?;
        let mut ids = each(&db, "SELECT id FROM message", (), id)?;
        ids.extend(each(&db, "SELECT id FROM mark", (), id)?);
        Ok(Opened {
            epoch: db.query_row("SELECT epoch FROM log", (), |row| row.get(0))?,
            head: self.log.head,
            horizon: self.log.horizon,
            size: size(&db)?,
            ids,
            temporary: each(
                &db,
                "SELECT id, expires FROM message WHERE expires IS NOT NULL",
                (),
                |row| Ok((id(row)?, row.get(1)?)),
            )?,
            registered: admit::registered(&db)?,
            invites: admit::invites(&db)?,
            banned: admit::banned(&db)?,
            private: each(&db, PRIVATE, (), user)?,
        })
    }

    fn reader(&self) -> Result<SqliteReader, StoreError> {
        SqliteReader::open(&self.folder.file)
    }

    fn append(&mut self, now: Millis, batch: &[Append]) -> Result<Vec<Outcome>, StoreError> {
        self.write(now, |turn| batch.iter().map(|append| turn.append(append)).collect())
    }

    fn sweep(&mut self, now: Millis, retention: Retention) -> Result<Swept, StoreError> {
        let from = self.swept;
        let (swept, next) = self.write(now, |turn| turn.sweep(retention, from))?;
        self.swept = next;
        Ok(swept)
    }

    fn overwrite(&mut self) -> Result<Overwritten, StoreError> {
        if self.failed {
            return Err(StoreError::Failed);
        }
        match checkpoint(&self.db, "PRAGMA wal_checkpoint(TRUNCATE)") {
            Ok((0, ..)) => Ok(Overwritten::Done),
            Ok(_) | Err(StoreError::Busy) => Ok(Overwritten::Busy),
            Err(error) => {
                self.failed = !error.may_pass();
                Err(error)
            }
        }
    }
}

/// Each reader but '' once, without looking at every row.
const PRIVATE: &str = "
    WITH RECURSIVE each (reader) AS (
        SELECT min(reader) FROM feed WHERE reader > ''
        UNION ALL
        SELECT (SELECT min(feed.reader) FROM feed WHERE feed.reader > each.reader)
        FROM each WHERE each.reader IS NOT NULL
    )
    SELECT reader FROM each WHERE reader IS NOT NULL";

fn log(db: &Connection) -> Result<Log, StoreError> {
    let log = db.query_row("SELECT head, clock, horizon FROM log", (), |row| {
        Ok(Log { head: seq(row, 0)?, clock: row.get(1)?, horizon: seq(row, 2)? })
    });
    log.optional()?.ok_or_else(|| StoreError::Damaged("it has no head".to_owned()))
}

fn size(db: &Connection) -> Result<Size, StoreError> {
    let number = |sql| db.query_row(sql, (), |row| row.get::<_, i64>(0));
    let bytes = number("PRAGMA page_count")? * number("PRAGMA page_size")?;
    let messages = number("SELECT count(*) FROM message")?;
    Ok(Size { messages: messages.cast_unsigned(), bytes: bytes.cast_unsigned() })
}

fn save(db: &Transaction<'_>, log: Log) -> Result<(), StoreError> {
    db.prepare_cached("UPDATE log SET head = ?1, clock = ?2, horizon = ?3")?.execute((
        number(log.head),
        log.clock,
        number(log.horizon),
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
fn each<T>(
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

fn id(row: &SqliteRow<'_>) -> Result<MessageId, StoreError> {
    message_id(row.get(0)?)
}

fn user(row: &SqliteRow<'_>) -> Result<UserId, StoreError> {
    user_id(&row.get::<_, String>(0)?)
}

fn seq(row: &SqliteRow<'_>, column: usize) -> rusqlite::Result<Seq> {
    row.get(column).map(|number: i64| Seq(number.cast_unsigned()))
}

/// A place as SQLite has it. What is out of its range is after everything.
fn number(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

#[cfg(test)]
impl SqliteStore {
    /// What a setting of the writer's connection is.
    pub(super) fn setting(&self, name: &str) -> String {
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
    pub(super) fn be_impatient(&self) {
        self.db.pragma_update(None, "busy_timeout", 0).unwrap();
    }
}
