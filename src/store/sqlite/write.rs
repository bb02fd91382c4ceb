//! What the one writer of the log in SQLite does inside a transaction.

use rusqlite::{OptionalExtension, Transaction};

use super::super::row::{audience, message_id, moment, names, recipients, user_id};
use super::super::{Append, CID_KEPT, First, NewMessage, Outcome, StoreError, tick};
use super::read::message_row;
use super::{Log, number, seq};
use crate::protocol::event::Deleted;
use crate::protocol::id::{ClientId, MessageId, Seq, UserId};
use crate::protocol::message::{self, Message, Millis};

/// What a row of the feed is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    Message = 0,
    Mark = 1,
}

/// A transaction, and the log as it will be after it.
pub(super) struct Turn<'a> {
    pub(super) db: &'a Transaction<'a>,
    pub(super) now: Millis,
    pub(super) log: Log,
}

impl Turn<'_> {
    pub(super) fn append(&mut self, append: &Append) -> Result<Outcome, StoreError> {
        match append {
            Append::Say(message) => self.say(message),
            Append::Delete { id, by, cid } => self.delete(*id, by, cid.as_ref()),
            Append::Expire { id } => self.expire(*id),
            Append::Remove { id } => self.remove(*id),
            Append::Register { user, key, invite } => self.register(user, key, invite.as_ref()),
            Append::Rebind { user, key } => self.rebind(user, key),
            Append::Invite(invite) => self.invite(invite),
            Append::Ban(banned) => self.ban(banned),
            Append::Unban(banned) => self.unban(banned),
            Append::Seen { user, up_to } => {
                self.db
                    .prepare_cached("UPDATE person SET seen = max(seen, ?2) WHERE user = ?1")?
                    .execute((user.as_str(), number(*up_to)))?;
                Ok(Outcome::Noted)
            }
        }
    }

    fn say(&mut self, new: &NewMessage) -> Result<Outcome, StoreError> {
        if let Some(first) = self.first(&new.sender, new.cid.as_ref())? {
            return Ok(Outcome::Repeated(first));
        }
        let at = tick(self.log.clock, new.at.timestamp_millis());
        let zone = new.at.offset().local_minus_utc();
        let message = Message {
            seq: Seq(self.log.head.0 + 1),
            id: new.id,
            sender: new.sender.clone(),
            guest: new.guest,
            audience: new.audience.clone(),
            kind: new.kind,
            content: new.content.clone(),
            at: moment(at, zone)?,
            cid: new.cid.clone(),
        };
        let people = recipients(&message.audience);
        if !self.insert(&message, people.as_deref(), at, zone)? {
            return Ok(Outcome::IdTaken);
        }
        self.log.head = message.seq;
        self.log.clock = at;
        self.remember(&new.sender, new.cid.as_ref(), new.id, false)?;
        Ok(Outcome::Said(message))
    }

    /// Whether the id was free.
    fn insert(
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
                number(message.seq),
                message.id.number(),
                sender,
                people,
                at,
                zone,
                message.expires(),
                message.reply_to().map(MessageId::number),
                message.cid.as_ref().map(ClientId::as_str),
                message.content.as_str(),
                message.guest,
            ))?;
        if inserted == 1 {
            self.feed(What::Message, message.seq, &readers(people, sender))?;
        }
        Ok(inserted == 1)
    }

    fn delete(
        &mut self,
        id: MessageId,
        by: &UserId,
        cid: Option<&ClientId>,
    ) -> Result<Outcome, StoreError> {
        if let Some(first) = self.first(by, cid)? {
            return Ok(Outcome::Repeated(first));
        }
        let found = self.find(id)?.filter(|found| found.expires.is_none_or(|at| at > self.now));
        let Some(found) = found else { return Ok(Outcome::Gone) };
        let seq = self.replace_by_mark(id, &found, Some(by), cid)?;
        self.remember(by, cid, id, true)?;
        Ok(Outcome::Deleted(Deleted { seq, id, by: by.clone(), cid: cid.cloned() }))
    }

    fn remove(&mut self, id: MessageId) -> Result<Outcome, StoreError> {
        let Some(found) = self.find(id)? else { return Ok(Outcome::Gone) };
        let (by, audience) = (user_id(&found.sender)?, audience(found.recipients.as_deref())?);
        let seq = self.replace_by_mark(id, &found, Some(&by), None)?;
        Ok(Outcome::Removed { deleted: Deleted { seq, id, by, cid: None }, audience })
    }

    fn expire(&mut self, id: MessageId) -> Result<Outcome, StoreError> {
        let Some(found) = self.find(id)? else { return Ok(Outcome::Gone) };
        let seq = self.replace_by_mark(id, &found, None, None)?;
        Ok(Outcome::Expired { seq, id })
    }

    /// What came of this request when it was made before.
    fn first(&self, sender: &UserId, cid: Option<&ClientId>) -> Result<Option<First>, StoreError> {
        let Some(cid) = cid else { return Ok(None) };
        let oldest = tick(self.log.clock, self.now) - CID_KEPT;
        let found = self
            .db
            .prepare_cached(
                "SELECT seq, id, deletes FROM sent WHERE sender = ?1 AND cid = ?2 AND at > ?3",
            )?
            .query_row((sender.as_str(), cid.as_str(), oldest), |row| {
                Ok((seq(row, 0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        let Some((seq, id, deletes)) = found else { return Ok(None) };
        let id = message_id(id)?;
        Ok(Some(if deletes {
            First::Deleted(Deleted { seq, id, by: sender.clone(), cid: Some(cid.clone()) })
        } else {
            match self.read(seq)? {
                Some(message) => First::Said(message),
                None => First::SaidAndGone { seq, id },
            }
        }))
    }

    fn read(&self, place: Seq) -> Result<Option<Message>, StoreError> {
        let mut statement = self.db.prepare_cached(
            "SELECT * FROM message WHERE seq = ?1 AND (expires IS NULL OR expires > ?2)",
        )?;
        let mut rows = statement.query((number(place), self.now))?;
        rows.next()?.map(|row| message_row(row, 0)?.message()).transpose()
    }

    fn remember(
        &self,
        sender: &UserId,
        cid: Option<&ClientId>,
        id: MessageId,
        deletes: bool,
    ) -> Result<(), StoreError> {
        if let Some(cid) = cid {
            self.db
                .prepare_cached("INSERT OR REPLACE INTO sent VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
                .execute((
                    number(self.log.head),
                    sender.as_str(),
                    cid.as_str(),
                    id.number(),
                    deletes,
                    self.log.clock,
                ))?;
        }
        Ok(())
    }

    fn find(&self, id: MessageId) -> Result<Option<Found>, StoreError> {
        let found = self
            .db
            .prepare_cached("SELECT seq, sender, recipients, expires FROM message WHERE id = ?1")?
            .query_row([id.number()], |row| {
                Ok(Found {
                    seq: seq(row, 0)?,
                    sender: row.get(1)?,
                    recipients: row.get(2)?,
                    expires: row.get(3)?,
                })
            });
        Ok(found.optional()?)
    }

    /// Removes a message, and lets those who had it know.
    fn replace_by_mark(
        &mut self,
        id: MessageId,
        found: &Found,
        by: Option<&UserId>,
        cid: Option<&ClientId>,
    ) -> Result<Seq, StoreError> {
        self.erase(found)?;
        self.log.head = Seq(self.log.head.0 + 1);
        self.log.clock = tick(self.log.clock, self.now);
        let seq = self.log.head;
        let readers = found.readers();
        let people = found.recipients.is_some().then(|| readers.join(" "));
        self.db.prepare_cached("INSERT INTO mark VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute((
            number(seq),
            id.number(),
            by.map(UserId::as_str),
            cid.map(ClientId::as_str),
            people,
            self.log.clock,
        ))?;
        self.feed(What::Mark, seq, &readers)?;
        Ok(seq)
    }

    pub(super) fn erase(&self, found: &Found) -> Result<(), StoreError> {
        self.db
            .prepare_cached("DELETE FROM message WHERE seq = ?1")?
            .execute([number(found.seq)])?;
        self.unfeed(What::Message, found.seq, &found.readers())
    }

    fn feed(&self, what: What, seq: Seq, readers: &[&str]) -> Result<(), StoreError> {
        let mut insert = self
            .db
            .prepare_cached("INSERT INTO feed VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?;
        for reader in readers {
            insert.execute((reader, what as i64, number(seq)))?;
        }
        Ok(())
    }

    pub(super) fn unfeed(&self, what: What, seq: Seq, readers: &[&str]) -> Result<(), StoreError> {
        let mut delete = self
            .db
            .prepare_cached("DELETE FROM feed WHERE reader = ?1 AND what = ?2 AND seq = ?3")?;
        for reader in readers {
            delete.execute((reader, what as i64, number(seq)))?;
        }
        Ok(())
    }
}

/// A message to be removed.
pub(super) struct Found {
    pub(super) seq: Seq,
    pub(super) sender: String,
    pub(super) recipients: Option<String>,
    pub(super) expires: Option<Millis>,
}

impl Found {
    fn readers(&self) -> Vec<&str> {
        readers(self.recipients.as_deref(), &self.sender)
    }
}

/// The readers in whose feeds a message is.
pub(super) fn readers<'a>(recipients: Option<&'a str>, sender: &'a str) -> Vec<&'a str> {
    message::readers(sender, recipients.map(names)).map_or_else(|| vec![""], Iterator::collect)
}
