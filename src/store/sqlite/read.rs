//! Reading the log in SQLite, beside the writer.
//!
//! What a page costs is the number of its rows: for everybody's messages and for one's own there are
//! two sorted lists in `feed`, and SQLite merges them as it goes.

use std::ops::ControlFlow;
use std::path::Path;

use rusqlite::{Connection, Params, Row as SqliteRow};

use super::super::row::{MessageRow, ScanRow, parse_cid, parse_message_id, parse_user_id};
use super::super::{
    EventPage, LogSize, MessageMetadata, MessagePage, MessagesAround, Reader, ScanResult,
    StoreError, View,
};
use super::{open, read_header, read_size, seq_column, seq_to_sql};
use crate::protocol::event::{Deleted, Event};
use crate::protocol::id::{MessageId, Seq};
use crate::protocol::message::{Message, Millis};

/// The columns of a [`Row`], in its order; `$table` is where its place comes from.
macro_rules! message_columns {
    ($table:literal) => {
        concat!(
            $table,
            ".seq AS seq, message.id, sender, recipients, at, zone, expires, reply_to, cid, content, guest"
        )
    };
}

/// The messages in one list of the feed on one side of a place; `$reader` is an SQL expression.
macro_rules! messages_in_feed {
    ($first:literal, $reader:literal, $side:literal) => {
        concat!(
            "SELECT ",
            $first,
            // By this SQLite sees that the list is in order already.
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

/// The marks in one list of the feed after a place, in the columns of messages.
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

const BY_ID: &str = concat!("SELECT ", message_columns!("message"), " FROM message WHERE id = ?1");

const BY_SEQ: &str =
    concat!("SELECT ", message_columns!("message"), " FROM message WHERE seq = ?1");

const SCAN: &str = "SELECT seq, sender, recipients, at, expires, content FROM message
                    WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2";

/// A reader of the log in SQLite.
#[derive(Debug)]
pub struct SqliteReader {
    db: Connection,
}

impl SqliteReader {
    pub(super) fn open(file: &Path) -> Result<Self, StoreError> {
        Ok(Self { db: open::open_reader(file)? })
    }
}

impl Reader for SqliteReader {
    fn events_after(
        &mut self,
        view: View<'_>,
        after: Seq,
        limit: usize,
    ) -> Result<Option<EventPage>, StoreError> {
        let limit = limit.max(1);
        let db = self.db.transaction()?;
        let log = read_header(&db)?;
        if after < log.horizon {
            return Ok(None);
        }
        let mut events = Vec::new();
        let mut looked = log.head;
        for_each_row(&db, EVENTS_AFTER, page_params(view, after, limit), |row| {
            events.push(read_event(row)?);
            if events.len() == limit {
                looked = seq_column(row, 1)?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(Some(EventPage { events, complete_to: looked }))
    }

    fn history(
        &mut self,
        view: View<'_>,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<MessagePage, StoreError> {
        let place = before.unwrap_or(Seq(u64::MAX));
        let (mut messages, more) = read_messages(&self.db, MESSAGES_BEFORE, view, place, limit)?;
        messages.reverse();
        Ok(MessagePage { messages, has_earlier: more })
    }

    fn around(
        &mut self,
        view: View<'_>,
        id: MessageId,
        limit: usize,
    ) -> Result<Option<MessagesAround>, StoreError> {
        let db = self.db.transaction()?;
        let Some(found) = read_metadata(&db, view, id)? else { return Ok(None) };
        let from = Seq(found.seq.0 + 1);
        let (mut all, earlier) = read_messages(&db, MESSAGES_BEFORE, view, from, limit + 1)?;
        all.reverse();
        let (after, later) = read_messages(&db, MESSAGES_AFTER, view, found.seq, limit)?;
        all.extend(after);
        Ok(Some(MessagesAround { messages: all, has_earlier: earlier, has_later: later }))
    }

    fn metadata(
        &mut self,
        view: View<'_>,
        id: MessageId,
    ) -> Result<Option<MessageMetadata>, StoreError> {
        read_metadata(&self.db, view, id)
    }

    fn messages(&mut self, view: View<'_>, places: &[Seq]) -> Result<Vec<Message>, StoreError> {
        let db = self.db.transaction()?;
        let mut all = Vec::new();
        for place in places {
            for_each_row(&db, BY_SEQ, [seq_to_sql(*place)], |row| {
                let row = read_message_row(row, 0)?;
                if row.is_visible(view) {
                    all.push(row.to_message()?);
                }
                Ok(ControlFlow::Break(()))
            })?;
        }
        Ok(all)
    }

    fn scan(
        &mut self,
        view: View<'_>,
        before: Option<Seq>,
        rows: usize,
        show: &mut dyn FnMut(&ScanRow<'_>) -> ControlFlow<()>,
    ) -> Result<ScanResult, StoreError> {
        let (rows, mut looked, mut shown, mut next) = (rows.max(1), 0, 0, None);
        let place = before.unwrap_or(Seq(u64::MAX));
        for_each_row(&self.db, SCAN, (seq_to_sql(place), limit_to_sql(rows)), |row| {
            looked += 1;
            let mut flow = ControlFlow::Continue(());
            let candidate = read_scan_row(row)?;
            if candidate.is_visible(view) {
                shown += 1;
                flow = show(&candidate);
            }
            if looked == rows || flow.is_break() {
                next = Some(candidate.seq);
            }
            Ok(flow)
        })?;
        Ok(ScanResult { visited: shown, next })
    }

    fn horizon(&mut self) -> Result<Seq, StoreError> {
        Ok(read_header(&self.db)?.horizon)
    }

    fn size(&mut self) -> Result<LogSize, StoreError> {
        read_size(&self.db)
    }
}

/// The parameters of a page: ?1 is who reads, ?2 when, ?3 from where, ?4 how many rows.
fn page_params(view: View<'_>, place: Seq, limit: usize) -> (&str, Millis, i64, i64) {
    (view.viewer.as_str(), view.now, seq_to_sql(place), limit_to_sql(limit))
}

fn limit_to_sql(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// At most `limit` messages on one side of a place, and whether there are more.
fn read_messages(
    db: &Connection,
    sql: &str,
    view: View<'_>,
    place: Seq,
    limit: usize,
) -> Result<(Vec<Message>, bool), StoreError> {
    let (mut all, mut more) = (Vec::new(), false);
    for_each_row(db, sql, page_params(view, place, limit.saturating_add(1)), |row| {
        if all.len() == limit {
            more = true;
        } else {
            all.push(read_message_row(row, 0)?.to_message()?);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((all, more))
}

fn read_metadata(
    db: &Connection,
    view: View<'_>,
    id: MessageId,
) -> Result<Option<MessageMetadata>, StoreError> {
    let mut found = None;
    for_each_row(db, BY_ID, [id.number()], |row| {
        let row = read_message_row(row, 0)?;
        if row.is_visible(view) {
            found = Some(row.to_metadata()?);
        }
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

/// Calls `read` with the rows of a statement until it breaks off.
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

fn read_event(row: &SqliteRow<'_>) -> Result<Event, StoreError> {
    if row.get::<_, i64>(0)? == 0 {
        return Ok(Event::Posted(read_message_row(row, 1)?.to_message()?));
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

/// The row whose columns begin at `first`.
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
    /// How SQLite goes about each page.
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
