//! What the one writer of the log in SQLite does inside a transaction.

use rusqlite::{OptionalExtension, Transaction};

use super::super::row::{
    join_recipients, parse_audience, parse_message_id, parse_user_id, split_recipients, to_datetime,
};
use super::super::{
    Append, CID_RETENTION, NewMessage, Outcome, PriorOutcome, StoreError, advance_clock,
};
use super::read::read_message_row;
use super::{LogHeader, seq_column, seq_to_sql};
use crate::protocol::event::Deleted;
use crate::protocol::id::{Cid, MessageId, Seq, UserId};
use crate::protocol::message::{self, Message, Millis};

/// What a row of the feed is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum FeedKind {
    Message = 0,
    Tombstone = 1,
}

/// A transaction, and the log as it will be after it.
pub(super) struct WriteTxn<'a> {
    pub(super) db: &'a Transaction<'a>,
    pub(super) now: Millis,
    pub(super) header: LogHeader,
}

impl WriteTxn<'_> {
    pub(super) fn append(&mut self, append: &Append) -> Result<Outcome, StoreError> {
        match append {
            Append::Post(message) => self.post(message),
            Append::Delete { id, author: by, cid } => self.delete(*id, by, cid.as_ref()),
            Append::Expire { id } => self.expire(*id),
            Append::Remove { id } => self.remove(*id),
            Append::Register { user, key, invite } => self.register(user, key, invite.as_ref()),
            Append::Rebind { user, key } => self.rebind(user, key),
            Append::Invite(invite) => self.invite(invite),
            Append::Ban(banned) => self.ban(banned),
            Append::Unban(banned) => self.unban(banned),
            Append::Delivered { user, up_to } => {
                self.db
                    .prepare_cached("UPDATE person SET seen = max(seen, ?2) WHERE user = ?1")?
                    .execute((user.as_str(), seq_to_sql(*up_to)))?;
                Ok(Outcome::Done)
            }
        }
    }

    fn post(&mut self, new: &NewMessage) -> Result<Outcome, StoreError> {
        if let Some(first) = self.prior_outcome(&new.sender, new.cid.as_ref())? {
            return Ok(Outcome::Repeated(first));
        }
        let at = advance_clock(self.header.clock, new.at.timestamp_millis());
        let zone = new.at.offset().local_minus_utc();
        let message = Message {
            seq: Seq(self.header.head.0 + 1),
            id: new.id,
            sender: new.sender.clone(),
            guest: new.guest,
            audience: new.audience.clone(),
            kind: new.kind,
            content: new.content.clone(),
            at: to_datetime(at, zone)?,
            cid: new.cid.clone(),
        };
        let people = join_recipients(&message.audience);
        if !self.insert_message(&message, people.as_deref(), at, zone)? {
            return Ok(Outcome::IdTaken);
        }
        self.header.head = message.seq;
        self.header.clock = at;
        self.remember_cid(&new.sender, new.cid.as_ref(), new.id, false)?;
        Ok(Outcome::Posted(message))
    }

    /// Whether the id was free.
    fn insert_message(
        &self,
        message: &Message,
        people: Option<&str>,
        at: Millis,
        zone: i32,
    ) -> Result<bool, StoreError> {
        let sender = message.sender.as_str();
        let inserted = self
            .db
            .prepare_cached(
                "INSERT INTO message VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
                 ON CONFLICT (id) DO NOTHING",
            )?
            .execute((
                seq_to_sql(message.seq),
                message.id.number(),
                sender,
                people,
                at,
                zone,
                message.expires(),
                message.reply_to().map(MessageId::number),
                message.cid.as_ref().map(Cid::as_str),
                message.content.as_str(),
                message.guest,
            ))?;
        if inserted == 1 {
            self.add_to_feeds(FeedKind::Message, message.seq, &feeds_for(people, sender))?;
        }
        Ok(inserted == 1)
    }

    fn delete(
        &mut self,
        id: MessageId,
        by: &UserId,
        cid: Option<&Cid>,
    ) -> Result<Outcome, StoreError> {
        if let Some(first) = self.prior_outcome(by, cid)? {
            return Ok(Outcome::Repeated(first));
        }
        let found =
            self.find_message(id)?.filter(|found| found.expires.is_none_or(|at| at > self.now));
        let Some(found) = found else { return Ok(Outcome::NotFound) };
        let seq = self.replace_by_tombstone(id, &found, Some(by), cid)?;
        self.remember_cid(by, cid, id, true)?;
        Ok(Outcome::Deleted(Deleted { seq, id, author: by.clone(), cid: cid.cloned() }))
    }

    fn remove(&mut self, id: MessageId) -> Result<Outcome, StoreError> {
        let Some(found) = self.find_message(id)? else { return Ok(Outcome::NotFound) };
        let (by, audience) =
            (parse_user_id(&found.sender)?, parse_audience(found.recipients.as_deref())?);
        let seq = self.replace_by_tombstone(id, &found, Some(&by), None)?;
        Ok(Outcome::Removed { deleted: Deleted { seq, id, author: by, cid: None }, audience })
    }

    fn expire(&mut self, id: MessageId) -> Result<Outcome, StoreError> {
        let Some(found) = self.find_message(id)? else { return Ok(Outcome::NotFound) };
        let seq = self.replace_by_tombstone(id, &found, None, None)?;
        Ok(Outcome::Expired { seq, id })
    }

    /// What came of this request when it was made before.
    fn prior_outcome(
        &self,
        sender: &UserId,
        cid: Option<&Cid>,
    ) -> Result<Option<PriorOutcome>, StoreError> {
        let Some(cid) = cid else { return Ok(None) };
        let oldest = advance_clock(self.header.clock, self.now) - CID_RETENTION;
        let found = self
            .db
            .prepare_cached(
                "SELECT seq, id, deletes FROM sent WHERE sender = ?1 AND cid = ?2 AND at > ?3",
            )?
            .query_row((sender.as_str(), cid.as_str(), oldest), |row| {
                Ok((seq_column(row, 0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        let Some((seq, id, deletes)) = found else { return Ok(None) };
        let id = parse_message_id(id)?;
        Ok(Some(if deletes {
            PriorOutcome::Deleted(Deleted {
                seq,
                id,
                author: sender.clone(),
                cid: Some(cid.clone()),
            })
        } else {
            match self.read_message(seq)? {
                Some(message) => PriorOutcome::Posted(message),
                None => PriorOutcome::PostedThenRemoved { seq, id },
            }
        }))
    }

    fn read_message(&self, place: Seq) -> Result<Option<Message>, StoreError> {
        let mut statement = self.db.prepare_cached(
            "SELECT * FROM message WHERE seq = ?1 AND (expires IS NULL OR expires > ?2)",
        )?;
        let mut rows = statement.query((seq_to_sql(place), self.now))?;
        rows.next()?.map(|row| read_message_row(row, 0)?.to_message()).transpose()
    }

    fn remember_cid(
        &self,
        sender: &UserId,
        cid: Option<&Cid>,
        id: MessageId,
        deletes: bool,
    ) -> Result<(), StoreError> {
        if let Some(cid) = cid {
            self.db
                .prepare_cached("INSERT OR REPLACE INTO sent VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
                .execute((
                    seq_to_sql(self.header.head),
                    sender.as_str(),
                    cid.as_str(),
                    id.number(),
                    deletes,
                    self.header.clock,
                ))?;
        }
        Ok(())
    }

    fn find_message(&self, id: MessageId) -> Result<Option<StoredMessage>, StoreError> {
        let found = self
            .db
            .prepare_cached("SELECT seq, sender, recipients, expires FROM message WHERE id = ?1")?
            .query_row([id.number()], |row| {
                Ok(StoredMessage {
                    seq: seq_column(row, 0)?,
                    sender: row.get(1)?,
                    recipients: row.get(2)?,
                    expires: row.get(3)?,
                })
            });
        Ok(found.optional()?)
    }

    /// Removes a message, and lets those who had it know.
    fn replace_by_tombstone(
        &mut self,
        id: MessageId,
        found: &StoredMessage,
        by: Option<&UserId>,
        cid: Option<&Cid>,
    ) -> Result<Seq, StoreError> {
        self.delete_message(found)?;
        self.header.head = Seq(self.header.head.0 + 1);
        self.header.clock = advance_clock(self.header.clock, self.now);
        let seq = self.header.head;
        let readers = found.feeds();
        let people = found.recipients.is_some().then(|| readers.join(" "));
        self.db.prepare_cached("INSERT INTO mark VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute((
            seq_to_sql(seq),
            id.number(),
            by.map(UserId::as_str),
            cid.map(Cid::as_str),
            people,
            self.header.clock,
        ))?;
        self.add_to_feeds(FeedKind::Tombstone, seq, &readers)?;
        Ok(seq)
    }

    pub(super) fn delete_message(&self, found: &StoredMessage) -> Result<(), StoreError> {
        self.db
            .prepare_cached("DELETE FROM message WHERE seq = ?1")?
            .execute([seq_to_sql(found.seq)])?;
        self.remove_from_feeds(FeedKind::Message, found.seq, &found.feeds())
    }

    fn add_to_feeds(&self, what: FeedKind, seq: Seq, readers: &[&str]) -> Result<(), StoreError> {
        let mut insert = self
            .db
            .prepare_cached("INSERT INTO feed VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?;
        for reader in readers {
            insert.execute((reader, what as i64, seq_to_sql(seq)))?;
        }
        Ok(())
    }

    pub(super) fn remove_from_feeds(
        &self,
        what: FeedKind,
        seq: Seq,
        readers: &[&str],
    ) -> Result<(), StoreError> {
        let mut delete = self
            .db
            .prepare_cached("DELETE FROM feed WHERE reader = ?1 AND what = ?2 AND seq = ?3")?;
        for reader in readers {
            delete.execute((reader, what as i64, seq_to_sql(seq)))?;
        }
        Ok(())
    }
}

/// A message to be removed.
pub(super) struct StoredMessage {
    pub(super) seq: Seq,
    pub(super) sender: String,
    pub(super) recipients: Option<String>,
    pub(super) expires: Option<Millis>,
}

impl StoredMessage {
    fn feeds(&self) -> Vec<&str> {
        feeds_for(self.recipients.as_deref(), &self.sender)
    }
}

/// The readers in whose feeds a message is.
pub(super) fn feeds_for<'a>(recipients: Option<&'a str>, sender: &'a str) -> Vec<&'a str> {
    message::viewers(sender, recipients.map(split_recipients))
        .map_or_else(|| vec![""], Iterator::collect)
}
