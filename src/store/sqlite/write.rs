//! The writer's operations on messages, inside a transaction.

use rusqlite::{OptionalExtension, Transaction};

use super::super::message_ids::MessageIds;
use super::super::row::{
    join_recipients, parse_audience, parse_user_id, split_recipients, to_datetime,
};
use super::super::rules::{self, Original, Rows};
use super::super::{Entry, NO_IDS_LEFT, NewMessage, Outcome, Removal, StoreError, advance_clock};
use super::requests::RecentRequests;
use super::{LogHeader, seq_of, seq_to_sql};
use crate::protocol::error::Refusal;
use crate::protocol::event::{Deleted, Event};
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
    pub(super) ids: MessageIds,
    pub(super) requests: &'a mut RecentRequests,
}

impl WriteTxn<'_> {
    /// Applies one entry. Deterministic: it depends on the entry, on the time that was given with it, and on
    /// what is stored.
    pub(super) fn apply(&mut self, entry: &Entry) -> Result<Outcome, StoreError> {
        match entry {
            Entry::Post(message) => self.post(message),
            Entry::Delete { id, by, cid } => self.delete(*id, by, cid.as_ref()),
            Entry::Expire { id } => self.expire(*id),
            Entry::Remove { id } => self.remove(*id),
            Entry::Register { user, key, invite } => self.register(user, key, invite.as_ref()),
            Entry::Rebind { user, key } => self.rebind(user, key),
            Entry::Invite(invite) => self.invite(invite),
            Entry::Ban(target) => self.ban(target),
            Entry::Unban(target) => self.unban(target),
            Entry::Delivered { user, up_to } => {
                self.db
                    .prepare_cached("UPDATE person SET seen = max(seen, ?2) WHERE user = ?1")?
                    .execute((user.as_str(), seq_to_sql(*up_to)))?;
                Ok(Outcome::Done)
            }
        }
    }

    /// Completes what `old`, the log header before the transaction, and the current one differ in.
    pub(super) fn finish(&self, old: LogHeader) -> Result<LogHeader, StoreError> {
        let LogHeader { head, clock, horizon } = self.header;
        if self.header != old {
            self.index_cids(old.head)?;
            self.db
                .prepare_cached("UPDATE log SET head = ?1, clock = ?2, horizon = ?3")?
                .execute((seq_to_sql(head), clock, seq_to_sql(horizon)))?;
        }
        Ok(self.header)
    }

    fn post(&mut self, new: &NewMessage) -> Result<Outcome, StoreError> {
        if let Some(prior) = self.prior_outcome(&new.sender, new.cid.as_ref())? {
            return Ok(prior);
        }
        let audience = match rules::resolve_audience(self, new)? {
            Ok(audience) => audience,
            Err(refusal) => return Ok(Outcome::Refused(refusal)),
        };
        let seq = Seq(self.header.head.0 + 1);
        let Some(id) = self.ids.assign(seq) else { return Ok(Outcome::Refused(NO_IDS_LEFT)) };
        let at = advance_clock(self.header.clock, new.at.timestamp_millis());
        let zone = new.at.offset().local_minus_utc();
        let message = Message {
            seq,
            id,
            sender: new.sender.clone(),
            guest: new.guest,
            audience,
            kind: new.kind,
            content: new.content.clone(),
            at: to_datetime(at, zone)?,
            cid: new.cid.clone(),
        };
        self.insert_message(&message, at, zone)?;
        self.header.head = seq;
        self.header.clock = at;
        self.remember_cid(&new.sender, new.cid.as_ref(), id);
        Ok(Outcome::Posted(message))
    }

    fn insert_message(&self, message: &Message, at: Millis, zone: i32) -> Result<(), StoreError> {
        let sender = message.sender.as_str();
        let recipients = join_recipients(&message.audience);
        self.db
            .prepare_cached(
                "INSERT INTO message (seq, id, sender, recipients, at, zone, expires, reply_to, cid, \
                 content, guest) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute((
                seq_to_sql(message.seq),
                message.id.number(),
                sender,
                recipients.as_deref(),
                at,
                zone,
                message.expires(),
                message.reply_to().map(MessageId::number),
                message.cid.as_ref().map(Cid::as_str),
                message.content.as_str(),
                message.guest,
            ))?;
        let feeds = feeds_for(recipients.as_deref(), sender);
        self.add_to_feeds(FeedKind::Message, message.seq, &feeds)
    }

    fn delete(
        &mut self,
        id: MessageId,
        by: &UserId,
        cid: Option<&Cid>,
    ) -> Result<Outcome, StoreError> {
        if let Some(prior) = self.prior_outcome(by, cid)? {
            return Ok(prior);
        }
        if let Err(refusal) = rules::may_delete(by, id, self.original(id)?.as_ref()) {
            return Ok(Outcome::Refused(refusal));
        }
        let outcome = self.replace_by_tombstone(id, |author| Some(author.clone()), cid)?;
        self.remember_cid(by, cid, id);
        Ok(outcome)
    }

    fn remove(&mut self, id: MessageId) -> Result<Outcome, StoreError> {
        self.replace_by_tombstone(id, |author| Some(author.clone()), None)
    }

    fn expire(&mut self, id: MessageId) -> Result<Outcome, StoreError> {
        self.replace_by_tombstone(id, |_| None, None)
    }

    fn find_message(&self, id: MessageId) -> Result<Option<StoredMessage>, StoreError> {
        let Some(seq) = seq_of(self.db, self.ids, id)? else { return Ok(None) };
        let found = self
            .db
            .prepare_cached("SELECT sender, recipients, expires FROM message WHERE seq = ?1")?
            .query_row([seq_to_sql(seq)], |row| {
                Ok(StoredMessage {
                    seq,
                    sender: row.get(0)?,
                    recipients: row.get(1)?,
                    expires: row.get(2)?,
                })
            });
        Ok(found.optional()?)
    }

    /// Deletes a message and adds a tombstone to the feeds that contained it. `remover` returns who
    /// deleted it, given its author; `None` if it expired.
    fn replace_by_tombstone(
        &mut self,
        id: MessageId,
        remover: impl Fn(&UserId) -> Option<UserId>,
        cid: Option<&Cid>,
    ) -> Result<Outcome, StoreError> {
        let Some(message) = self.find_message(id)? else {
            return Ok(Outcome::Refused(Refusal::UnknownMessage(id)));
        };
        let author = parse_user_id(&message.sender)?;
        let audience = parse_audience(message.recipients.as_deref())?;
        let remover = remover(&author);
        self.delete_message(&message)?;
        self.header.head = Seq(self.header.head.0 + 1);
        self.header.clock = advance_clock(self.header.clock, self.now);
        let seq = self.header.head;
        let feeds = message.feeds();
        let viewers = message.recipients.is_some().then(|| feeds.join(" "));
        self.db
            .prepare_cached(
                "INSERT INTO mark (seq, id, remover, cid, people, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute((
                seq_to_sql(seq),
                id.number(),
                remover.as_ref().map(UserId::as_str),
                cid.map(Cid::as_str),
                viewers,
                self.header.clock,
            ))?;
        self.add_to_feeds(FeedKind::Tombstone, seq, &feeds)?;
        let event = match remover {
            Some(author) => Event::Deleted(Deleted { seq, id, author, cid: cid.cloned() }),
            None => Event::Expired { seq, id },
        };
        Ok(Outcome::Removed(Removal { event, author, audience }))
    }

    pub(super) fn delete_message(&self, message: &StoredMessage) -> Result<(), StoreError> {
        self.keep_cid(message.seq)?;
        self.db
            .prepare_cached("DELETE FROM message WHERE seq = ?1")?
            .execute([seq_to_sql(message.seq)])?;
        self.remove_from_feeds(FeedKind::Message, message.seq, &message.feeds())
    }

    fn add_to_feeds(&self, kind: FeedKind, seq: Seq, feeds: &[&str]) -> Result<(), StoreError> {
        let mut insert =
            self.db.prepare_cached("INSERT INTO feed (reader, what, seq) VALUES (?1, ?2, ?3)")?;
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

impl Rows for WriteTxn<'_> {
    fn original(&self, id: MessageId) -> Result<Option<Original>, StoreError> {
        let Some(message) = self.find_message(id)? else { return Ok(None) };
        if message.expires.is_some_and(|at| at <= self.now) {
            return Ok(None);
        }
        let author = parse_user_id(&message.sender)?;
        Ok(Some(Original { author, audience: parse_audience(message.recipients.as_deref())? }))
    }

    fn is_registered(&self, user: &UserId) -> Result<bool, StoreError> {
        let mut statement = self.db.prepare_cached("SELECT 1 FROM person WHERE user = ?1")?;
        Ok(statement.exists([user.as_str()])?)
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
