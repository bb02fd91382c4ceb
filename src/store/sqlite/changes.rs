//! Changes in SQLite: one path for all events but new messages.

use rusqlite::{Connection, OptionalExtension, Row as SqliteRow};

use super::super::change::{ChangeKind, ChangeRow};
use super::super::row::{
    corrupt, join_users, parse_cid, parse_message_id, parse_user_id, parse_users,
};
use super::super::sight::Viewers;
use super::super::{Change, MemberChange, Outcome, StoreError, advance_clock};
use super::feed::FeedKind;
use super::write::WriteTxn;
use super::{optional_text_column, seq_column, seq_to_sql, text_column};
use crate::protocol::id::{Cid, MessageId, Seq, UserId};
use crate::protocol::message::Message;

/// A change that is about to be stored.
pub(super) struct NewChange<'a> {
    /// The message that it is about.
    pub(super) message: Option<(MessageId, Seq)>,
    pub(super) by: Option<&'a UserId>,
    pub(super) cid: Option<&'a Cid>,
    pub(super) conversation: String,
    pub(super) kind: ChangeKind,
    pub(super) members: Vec<MemberChange>,
}

impl WriteTxn<'_> {
    /// Stores a change in the feeds of those who may see it. `edited` is the message that was edited.
    pub(super) fn add_change(
        &mut self,
        new: NewChange<'_>,
        edited: Option<Message>,
    ) -> Result<Outcome, StoreError> {
        let NewChange { message, by, cid, conversation, kind, members } = new;
        self.header.head = Seq(self.header.head.0 + 1);
        self.header.clock = advance_clock(self.header.clock, self.now);
        let seq = self.header.head;
        let left = members.iter().filter(|change| change.since.is_none());
        let row = ChangeRow {
            seq,
            id: message.map(|(id, _)| id),
            about: message.map_or(seq, |(_, about)| about),
            by: by.cloned(),
            cid: cid.cloned(),
            conversation,
            also: left.map(|change| change.user.clone()).collect(),
            at: self.header.clock,
            kind,
        };
        self.insert_change(&row)?;
        let viewers = Viewers::of_change(&row)?;
        let event = row.into_event(edited).ok_or_else(|| corrupt("change", seq.0))?;
        Ok(Outcome::Changed(Change { event, viewers, members }))
    }

    fn insert_change(&self, row: &ChangeRow) -> Result<(), StoreError> {
        let sql = "INSERT INTO change (seq, id, about, user, cid, conversation, also, at, data)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let also = Some(join_users(&row.also)).filter(|also| !also.is_empty());
        self.execute(
            sql,
            (
                seq_to_sql(row.seq),
                row.id.map(MessageId::number),
                seq_to_sql(row.about),
                row.by.as_ref().map(UserId::as_str),
                row.cid.as_ref().map(Cid::as_str),
                &row.conversation,
                also,
                row.at,
                serde_json::to_string(&row.kind).map_err(|error| corrupt("change", error))?,
            ),
        )?;
        for conversation in feeds(row) {
            self.add_to_feed(conversation, FeedKind::Change, row.seq, None)?;
        }
        Ok(())
    }

    pub(super) fn delete_change(&self, row: &ChangeRow) -> Result<(), StoreError> {
        self.execute("DELETE FROM change WHERE seq = ?1", [seq_to_sql(row.seq)])?;
        for conversation in feeds(row) {
            self.remove_from_feed(conversation, FeedKind::Change, row.seq)?;
        }
        Ok(())
    }
}

/// The feeds that a change is in.
fn feeds(row: &ChangeRow) -> impl Iterator<Item = &str> {
    [row.conversation.as_str()].into_iter().chain(row.also.iter().map(UserId::as_str))
}

pub(super) fn find_change(db: &Connection, seq: Seq) -> Result<Option<ChangeRow>, StoreError> {
    let sql =
        "SELECT seq, id, about, user, cid, conversation, also, at, data FROM change WHERE seq = ?1";
    let found = db.prepare_cached(sql)?.query_row([seq_to_sql(seq)], |row| Ok(change_row(row)));
    found.optional()?.transpose()
}

/// The columns `seq, id, about, user, cid, conversation, also, at, data`.
pub(super) fn change_row(row: &SqliteRow<'_>) -> Result<ChangeRow, StoreError> {
    let id: Option<u32> = row.get(1)?;
    Ok(ChangeRow {
        seq: seq_column(row, 0)?,
        id: id.map(parse_message_id).transpose()?,
        about: seq_column(row, 2)?,
        by: optional_text_column(row, 3)?.map(parse_user_id).transpose()?,
        cid: parse_cid(optional_text_column(row, 4)?)?,
        conversation: row.get(5)?,
        also: parse_users(optional_text_column(row, 6)?.unwrap_or_default())?,
        at: row.get(7)?,
        kind: serde_json::from_str(text_column(row, 8)?)
            .map_err(|error| corrupt("change", error))?,
    })
}
