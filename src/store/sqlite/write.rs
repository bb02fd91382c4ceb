//! The writer's operations on messages, inside a transaction.

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

/// What a row of table `feed` refers to.
#[derive(Debug, Clone, Copy)]
pub(super) enum FeedKind {
    Message = 0,
    Tombstone = 1,
}

/// A write transaction, and the log header as it will be after the commit.
pub(super) struct WriteTxn<'a> {
    pub(super) db: &'a Transaction<'a>,
    pub(super) now: Millis,
    pub(super) header: LogHeader,
}

impl WriteTxn<'_> {
    pub(super) fn append(&mut self, append: &Append) -> Result<Outcome, StoreError> {
        match append {
            Append::Post(message) => self.post(message),
            Append::Delete { id, author, cid } => self.delete(*id, author, cid.as_ref()),
            Append::Expire { id } => self.expire(*id),
            Append::Remove { id } => self.remove(*id),
            Append::Register { user, key, invite } => self.register(user, key, invite.as_ref()),
            Append::Rebind { user, key } => self.rebind(user, key),
            Append::Invite(invite) => self.invite(invite),
            Append::Ban(target) => self.ban(target),
            Append::Unban(target) => self.unban(target),
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
        let recipients = join_recipients(&message.audience);
        if !self.insert_message(&message, recipients.as_deref(), at, zone)? {
            return Ok(Outcome::IdTaken);
        }
        self.header.head = message.seq;
        self.header.clock = at;
        self.remember_cid(&new.sender, new.cid.as_ref(), new.id, false)?;
        Ok(Outcome::Posted(message))
    }

    /// Returns whether the id was free.
    fn insert_message(
        &self,
        message: &Message,
        recipients: Option<&str>,
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
                recipients,
                at,
                zone,
                message.expires(),
                message.reply_to().map(MessageId::number),
                message.cid.as_ref().map(Cid::as_str),
                message.content.as_str(),
                message.guest,
            ))?;
        if inserted == 1 {
            self.add_to_feeds(FeedKind::Message, message.seq, &feeds_for(recipients, sender))?;
        }
        Ok(inserted == 1)
    }

    fn delete(
        &mut self,
        id: MessageId,
        author: &UserId,
        cid: Option<&Cid>,
    ) -> Result<Outcome, StoreError> {
        if let Some(first) = self.prior_outcome(author, cid)? {
            return Ok(Outcome::Repeated(first));
        }
        let message =
            self.find_message(id)?.filter(|found| found.expires.is_none_or(|at| at > self.now));
        let Some(message) = message else { return Ok(Outcome::NotFound) };
        let seq = self.replace_by_tombstone(id, &message, Some(author), cid)?;
        self.remember_cid(author, cid, id, true)?;
        Ok(Outcome::Deleted(Deleted { seq, id, author: author.clone(), cid: cid.cloned() }))
    }

    fn remove(&mut self, id: MessageId) -> Result<Outcome, StoreError> {
        let Some(message) = self.find_message(id)? else { return Ok(Outcome::NotFound) };
        let author = parse_user_id(&message.sender)?;
        let audience = parse_audience(message.recipients.as_deref())?;
        let seq = self.replace_by_tombstone(id, &message, Some(&author), None)?;
        Ok(Outcome::Removed { deleted: Deleted { seq, id, author, cid: None }, audience })
    }

    fn expire(&mut self, id: MessageId) -> Result<Outcome, StoreError> {
        let Some(message) = self.find_message(id)? else { return Ok(Outcome::NotFound) };
        let seq = self.replace_by_tombstone(id, &message, None, None)?;
        Ok(Outcome::Expired { seq, id })
    }

    /// The outcome of an earlier request with the same `cid`, if there was one.
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
        let Some((seq, id, is_delete)) = found else { return Ok(None) };
        let id = parse_message_id(id)?;
        Ok(Some(if is_delete {
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

    fn read_message(&self, seq: Seq) -> Result<Option<Message>, StoreError> {
        let mut statement = self.db.prepare_cached(
            "SELECT * FROM message WHERE seq = ?1 AND (expires IS NULL OR expires > ?2)",
        )?;
        let mut rows = statement.query((seq_to_sql(seq), self.now))?;
        rows.next()?.map(|row| read_message_row(row, 0)?.to_message()).transpose()
    }

    fn remember_cid(
        &self,
        sender: &UserId,
        cid: Option<&Cid>,
        id: MessageId,
        is_delete: bool,
    ) -> Result<(), StoreError> {
        if let Some(cid) = cid {
            self.db
                .prepare_cached("INSERT OR REPLACE INTO sent VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
                .execute((
                    seq_to_sql(self.header.head),
                    sender.as_str(),
                    cid.as_str(),
                    id.number(),
                    is_delete,
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

    /// Deletes a message and adds a tombstone to the feeds that contained it. Returns the sequence number
    /// of the tombstone.
    fn replace_by_tombstone(
        &mut self,
        id: MessageId,
        message: &StoredMessage,
        remover: Option<&UserId>,
        cid: Option<&Cid>,
    ) -> Result<Seq, StoreError> {
        self.delete_message(message)?;
        self.header.head = Seq(self.header.head.0 + 1);
        self.header.clock = advance_clock(self.header.clock, self.now);
        let seq = self.header.head;
        let feeds = message.feeds();
        let viewers = message.recipients.is_some().then(|| feeds.join(" "));
        self.db.prepare_cached("INSERT INTO mark VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute((
            seq_to_sql(seq),
            id.number(),
            remover.map(UserId::as_str),
            cid.map(Cid::as_str),
            viewers,
            self.header.clock,
        ))?;
        self.add_to_feeds(FeedKind::Tombstone, seq, &feeds)?;
        Ok(seq)
    }

    pub(super) fn delete_message(&self, message: &StoredMessage) -> Result<(), StoreError> {
        self.db
            .prepare_cached("DELETE FROM message WHERE seq = ?1")?
            .execute([seq_to_sql(message.seq)])?;
        self.remove_from_feeds(FeedKind::Message, message.seq, &message.feeds())
    }

    fn add_to_feeds(&self, kind: FeedKind, seq: Seq, feeds: &[&str]) -> Result<(), StoreError> {
        let mut insert = self
            .db
            .prepare_cached("INSERT INTO feed VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?;
        for feed in feeds {
            insert.execute((feed, kind as i64, seq_to_sql(seq)))?;
        }
        Ok(())
    }

    pub(super) fn remove_from_feeds(
        &self,
        kind: FeedKind,
        seq: Seq,
        feeds: &[&str],
    ) -> Result<(), StoreError> {
        let mut delete = self
            .db
            .prepare_cached("DELETE FROM feed WHERE reader = ?1 AND what = ?2 AND seq = ?3")?;
        for feed in feeds {
            delete.execute((feed, kind as i64, seq_to_sql(seq)))?;
        }
        Ok(())
    }
}

/// The columns of a message that are needed to delete it.
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

/// The values of `feed.reader` for a message: '' for a message to everyone, otherwise its recipients and
/// its sender.
pub(super) fn feeds_for<'a>(recipients: Option<&'a str>, sender: &'a str) -> Vec<&'a str> {
    message::viewers(sender, recipients.map(split_recipients))
        .map_or_else(|| vec![""], Iterator::collect)
}
