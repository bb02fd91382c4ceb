//! Readers of the log in SQLite.
//!
//! The cost of a page depends only on its number of rows: table `feed` has one sorted list of the
//! messages to everyone and one for each user, and SQLite merges the two lists of a viewer.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, Params, Row as SqliteRow};

use super::super::message_ids::MessageIds;
use super::super::row::{MessageRow, ScanRow, parse_cid, parse_message_id, parse_user_id};
use super::super::{
    EventPage, LogSize, MessagePage, MessagesAround, PAGE_BYTES, ReadGate, Reader, ScanResult,
    StoreError, View,
};
use super::{open, read_header, read_size, seq_column, seq_of, seq_to_sql};
use crate::protocol::event::{Deleted, Event};
use crate::protocol::id::{MessageId, Seq};
use crate::protocol::message::{Message, Millis};

/// The columns of a [`MessageRow`], in the order of its fields; `seq` is taken from `$table`.
macro_rules! message_columns {
    ($table:literal) => {
        concat!(
            $table,
            ".seq AS seq, message.id, sender, recipients, at, zone, expires, reply_to, cid, content, guest"
        )
    };
}

/// The messages in the feed of `$reader` (an SQL expression) before or after a sequence number. `$first`
/// goes before the columns; `$side` is `<` or `>`.
macro_rules! messages_in_feed {
    ($first:literal, $reader:literal, $side:literal) => {
        concat!(
            "SELECT ",
            $first,
            // With `feed.seq` as the sequence number, SQLite knows that the list is already sorted.
            message_columns!("feed"),
            " FROM feed CROSS JOIN message ON message.seq = feed.seq
              WHERE reader = ",
            $reader,
            " AND what = 0 AND feed.seq ",
            $side,
            " ?3 AND (expires IS NULL OR expires > ?2)"
        )
    };
}

/// The tombstones in the feed of `$reader` after a sequence number, in the columns of messages.
macro_rules! tombstones_in_feed {
    ($reader:literal) => {
        concat!(
            "SELECT 1 AS kind, feed.seq AS seq, id, remover, NULL, 0, 0, NULL, NULL, cid, '', 0
             FROM feed CROSS JOIN mark ON mark.seq = feed.seq
             WHERE reader = ",
            $reader,
            " AND what = 1 AND feed.seq > ?3"
        )
    };
}

const EVENTS_AFTER: &str = concat!(
    messages_in_feed!("0 AS kind, ", "''", ">"),
    " UNION ALL ",
    messages_in_feed!("0, ", "?1", ">"),
    " UNION ALL ",
    tombstones_in_feed!("''"),
    " UNION ALL ",
    tombstones_in_feed!("?1"),
    " ORDER BY seq LIMIT ?4"
);

const MESSAGES_BEFORE: &str = concat!(
    messages_in_feed!("", "''", "<"),
    " UNION ALL ",
    messages_in_feed!("", "?1", "<"),
    " ORDER BY seq DESC LIMIT ?4"
);

const MESSAGES_AFTER: &str = concat!(
    messages_in_feed!("", "''", ">"),
    " UNION ALL ",
    messages_in_feed!("", "?1", ">"),
    " ORDER BY seq LIMIT ?4"
);

const BY_SEQ: &str =
    concat!("SELECT ", message_columns!("message"), " FROM message WHERE seq = ?1");

const SCAN: &str = "SELECT seq, sender, recipients, at, expires, content FROM message
                    WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2";

/// A reader of a [`SqliteStore`](super::SqliteStore).
#[derive(Debug)]
pub struct SqliteReader {
    db: Connection,
    ids: MessageIds,
    gate: Arc<ReadGate>,
}

impl SqliteReader {
    pub(super) fn open(
        file: &Path,
        ids: MessageIds,
        gate: Arc<ReadGate>,
    ) -> Result<Self, StoreError> {
        Ok(Self { db: open::open_reader(file)?, ids, gate })
    }
}

impl Reader for SqliteReader {
    fn events_after(
        &mut self,
        view: View<'_>,
        after: Seq,
        limit: usize,
    ) -> Result<Option<EventPage>, StoreError> {
        let _reading = self.gate.enter();
        let limit = limit.max(1);
        let db = self.db.transaction()?;
        let header = read_header(&db)?;
        if after < header.horizon {
            return Ok(None);
        }
        let mut events = Vec::new();
        let (mut complete_to, mut bytes) = (header.head, 0);
        for_each_row(&db, EVENTS_AFTER, page_params(view, after, limit), |row| {
            events.push(read_event(row, &mut bytes)?);
            if events.len() == limit || bytes > PAGE_BYTES {
                complete_to = seq_column(row, 1)?;
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(Some(EventPage { events, complete_to }))
    }

    fn history(
        &mut self,
        view: View<'_>,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<MessagePage, StoreError> {
        let _reading = self.gate.enter();
        let before = before.unwrap_or(Seq(u64::MAX));
        let (mut messages, has_earlier) =
            read_messages(&self.db, MESSAGES_BEFORE, view, before, limit)?;
        messages.reverse();
        Ok(MessagePage { messages, has_earlier })
    }

    fn around(
        &mut self,
        view: View<'_>,
        id: MessageId,
        limit: usize,
    ) -> Result<Option<MessagesAround>, StoreError> {
        let _reading = self.gate.enter();
        let db = self.db.transaction()?;
        let Some(seq) = find_visible(&db, self.ids, view, id)? else { return Ok(None) };
        let from = Seq(seq.0 + 1);
        let (mut messages, has_earlier) =
            read_messages(&db, MESSAGES_BEFORE, view, from, limit + 1)?;
        messages.reverse();
        let (after, has_later) = read_messages(&db, MESSAGES_AFTER, view, seq, limit)?;
        messages.extend(after);
        Ok(Some(MessagesAround { messages, has_earlier, has_later }))
    }

    fn messages(&mut self, view: View<'_>, seqs: &[Seq]) -> Result<Vec<Message>, StoreError> {
        let _reading = self.gate.enter();
        let db = self.db.transaction()?;
        let mut messages = Vec::new();
        for seq in seqs {
            for_each_row(&db, BY_SEQ, [seq_to_sql(*seq)], |row| {
                let row = read_message_row(row, 0)?;
                if row.is_visible(view) {
                    messages.push(row.to_message()?);
                }
                Ok(ControlFlow::Break(()))
            })?;
        }
        Ok(messages)
    }

    fn scan(
        &mut self,
        view: View<'_>,
        before: Option<Seq>,
        max_rows: usize,
        visit: &mut dyn FnMut(&ScanRow<'_>) -> ControlFlow<()>,
    ) -> Result<ScanResult, StoreError> {
        let _reading = self.gate.enter();
        let max_rows = max_rows.max(1);
        let (mut examined, mut visited, mut next) = (0, 0, None);
        let before = before.unwrap_or(Seq(u64::MAX));
        for_each_row(&self.db, SCAN, (seq_to_sql(before), limit_to_sql(max_rows)), |row| {
            examined += 1;
            let mut flow = ControlFlow::Continue(());
            let row = read_scan_row(row)?;
            if row.is_visible(view) {
                visited += 1;
                flow = visit(&row);
            }
            if examined == max_rows || flow.is_break() {
                next = Some(row.seq);
            }
            Ok(flow)
        })?;
        Ok(ScanResult { visited, next })
    }

    fn horizon(&mut self) -> Result<Seq, StoreError> {
        let _reading = self.gate.enter();
        Ok(read_header(&self.db)?.horizon)
    }

    fn size(&mut self) -> Result<LogSize, StoreError> {
        let _reading = self.gate.enter();
        read_size(&self.db)
    }
}

/// The parameters of a page: ?1 is the viewer, ?2 the time, ?3 the sequence number, ?4 the row limit.
fn page_params(view: View<'_>, seq: Seq, limit: usize) -> (&str, Millis, i64, i64) {
    (view.viewer.as_str(), view.now, seq_to_sql(seq), limit_to_sql(limit))
}

fn limit_to_sql(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// At most `limit` messages before or after `seq`, up to [`PAGE_BYTES`], and whether there are more.
fn read_messages(
    db: &Connection,
    sql: &str,
    view: View<'_>,
    seq: Seq,
    limit: usize,
) -> Result<(Vec<Message>, bool), StoreError> {
    let (mut messages, mut bytes, mut has_more) = (Vec::new(), 0, false);
    for_each_row(db, sql, page_params(view, seq, limit.saturating_add(1)), |row| {
        has_more = messages.len() == limit || bytes > PAGE_BYTES;
        if has_more {
            return Ok(ControlFlow::Break(()));
        }
        let row = read_message_row(row, 0)?;
        bytes += row.bytes();
        messages.push(row.to_message()?);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((messages, has_more))
}

/// The sequence number of the message with this id, if the viewer may see it.
fn find_visible(
    db: &Connection,
    ids: MessageIds,
    view: View<'_>,
    id: MessageId,
) -> Result<Option<Seq>, StoreError> {
    let Some(seq) = seq_of(db, ids, id)? else { return Ok(None) };
    let mut found = None;
    for_each_row(db, BY_SEQ, [seq_to_sql(seq)], |row| {
        let row = read_message_row(row, 0)?;
        found = row.is_visible(view).then_some(row.seq);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

/// Calls `read` with each row of a statement until it breaks.
fn for_each_row(
    db: &Connection,
    sql: &str,
    parameters: impl Params,
    mut read: impl FnMut(&SqliteRow<'_>) -> Result<ControlFlow<()>, StoreError>,
) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    while let Some(row) = rows.next()? {
        if read(row)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// Adds the event's size to `bytes`.
fn read_event(row: &SqliteRow<'_>, bytes: &mut usize) -> Result<Event, StoreError> {
    if row.get::<_, i64>(0)? == 0 {
        let row = read_message_row(row, 1)?;
        *bytes += row.bytes();
        return Ok(Event::Posted(row.to_message()?));
    }
    let (seq, id) = (seq_column(row, 1)?, parse_message_id(row.get(2)?)?);
    let Some(by) = optional_text_column(row, 3)? else { return Ok(Event::Expired { seq, id }) };
    let cid = parse_cid(optional_text_column(row, 9)?)?;
    Ok(Event::Deleted(Deleted { seq, id, author: parse_user_id(by)?, cid }))
}

fn read_scan_row<'a>(row: &'a SqliteRow<'_>) -> Result<ScanRow<'a>, StoreError> {
    Ok(ScanRow {
        seq: seq_column(row, 0)?,
        sender: text_column(row, 1)?,
        recipients: optional_text_column(row, 2)?,
        at: row.get(3)?,
        expires: row.get(4)?,
        content: text_column(row, 5)?,
    })
}

/// A message row whose columns start at column `first`.
pub(super) fn read_message_row<'a>(
    row: &'a SqliteRow<'_>,
    first: usize,
) -> Result<MessageRow<'a>, StoreError> {
    Ok(MessageRow {
        seq: seq_column(row, first)?,
        id: row.get(first + 1)?,
        sender: text_column(row, first + 2)?,
        recipients: optional_text_column(row, first + 3)?,
        at: row.get(first + 4)?,
        zone: row.get(first + 5)?,
        expires: row.get(first + 6)?,
        reply_to: row.get(first + 7)?,
        cid: optional_text_column(row, first + 8)?,
        content: text_column(row, first + 9)?,
        guest: row.get(first + 10)?,
    })
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

#[cfg(test)]
impl SqliteReader {
    /// The query plans of all paged queries.
    pub(crate) fn query_plans(&self) -> Vec<String> {
        let plan = |sql: &&str| {
            let sql = format!("EXPLAIN QUERY PLAN {sql}");
            let mut statement = self.db.prepare(&sql).unwrap();
            let rows = statement.query_map(("", 0, 0, 0), |row| row.get::<_, String>(3)).unwrap();
            rows.collect::<Result<Vec<_>, _>>().unwrap().join("\n")
        };
        [EVENTS_AFTER, MESSAGES_BEFORE, MESSAGES_AFTER].iter().map(plan).collect()
    }
}
