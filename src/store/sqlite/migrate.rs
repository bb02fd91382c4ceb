//! The part of the migration to format 7 that SQL cannot express. Reads and writes row by row, so that its
//! memory does not grow with the log.

use rusqlite::{Connection, Row as SqliteRow};

use super::super::StoreError;
use super::super::change::ChangeKind;
use super::super::row::{conversation_key, corrupt};
use super::feed::{FeedKind, add_to_feed};
use super::{optional_text_column, seq_column, seq_to_sql, text_column};

/// Fills the feeds of direct conversations and table `change`, and marks as read what was delivered.
pub(super) fn to_conversations(db: &Connection) -> Result<(), StoreError> {
    for_each(db, "SELECT seq, sender, recipients FROM message WHERE recipients NOT NULL", |row| {
        let sender = text_column(row, 1)?;
        let conversation = conversation_key(sender, optional_text_column(row, 2)?);
        add_to_feed(db, &conversation, FeedKind::Message, seq_column(row, 0)?, Some(sender))
    })?;
    for_each(db, "SELECT seq, id, remover, cid, people, at FROM mark", |row| {
        let (seq, remover) = (seq_column(row, 0)?, optional_text_column(row, 2)?);
        let conversation = match optional_text_column(row, 4)? {
            None => String::new(),
            // They include the sender.
            Some(people) => conversation_key("", Some(people)).trim_start().to_owned(),
        };
        let kind = if remover.is_some() { ChangeKind::Deleted } else { ChangeKind::Expired };
        let data = serde_json::to_string(&kind).map_err(|error| corrupt("change", error))?;
        let sql = "INSERT INTO change (seq, id, about, user, cid, conversation, at, data)
                   VALUES (?1, ?2, ?1, ?3, ?4, ?5, ?6, ?7)";
        db.prepare_cached(sql)?.execute((
            seq_to_sql(seq),
            row.get::<_, u32>(1)?,
            remover,
            optional_text_column(row, 3)?,
            &conversation,
            row.get::<_, i64>(5)?,
            data,
        ))?;
        add_to_feed(db, &conversation, FeedKind::Change, seq, None)
    })?;
    db.execute_batch(
        "DROP TABLE mark;
         INSERT INTO marker (user, conversation, read)
             SELECT user, conversation, seen FROM direct NATURAL JOIN person;",
    )?;
    Ok(())
}

fn for_each(
    db: &Connection,
    sql: &str,
    mut migrate: impl FnMut(&SqliteRow<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut statement = db.prepare(sql)?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        migrate(row)?;
    }
    Ok(())
}
