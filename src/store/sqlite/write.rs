//! The writer's operations on messages, inside a transaction.

use rusqlite::{OptionalExtension, Params, Transaction};

use super::super::account_rules::{NoChange, outcome};
use super::super::change::ChangeKind;
use super::super::mention_rules::mentions;
use super::super::message_ids::MessageIds;
use super::super::row::{
    conversation_key, join_mentions, join_recipients, parse_audience, parse_mentions,
    parse_user_id, to_datetime,
};
use super::super::rules::{self, Original, Rows};
use super::super::{Entry, NO_IDS_LEFT, NewMessage, Outcome, StoreError, advance_clock};
use super::annotations::Request;
use super::changes::NewChange;
use super::feed::FeedKind;
use super::requests::RecentRequests;
use super::{LogHeader, rooms, seq_of, seq_to_sql};
use crate::protocol::error::Refusal;
use crate::protocol::id::{Cid, MessageId, RoomName, Seq, UserId};
use crate::protocol::mention::Mentions;
use crate::protocol::message::{Message, Millis};
use crate::protocol::room::RoomState;

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
        if let Some((by, cid)) = entry.request()
            && let Some(prior) = self.prior_outcome(by, cid)?
        {
            return Ok(prior);
        }
        let applied = self.apply_new(entry);
        let outcome = outcome(applied, self.header.head)?;
        if let Some((by, cid)) = entry.request()
            && outcome.is_event()
        {
            self.remember_cid(by, cid, outcome.message_id());
        }
        Ok(outcome)
    }

    /// Applies an entry whose request was not seen before.
    fn apply_new(&mut self, entry: &Entry) -> Result<Outcome, NoChange> {
        let request = |id: &MessageId, by, cid| Request { id: *id, by, cid };
        match entry {
            Entry::Post(message) => self.post(message),
            Entry::Delete { id, by, cid } => self.delete(*id, by, cid.as_ref()),
            Entry::Edit { id, by, content, guests, cid } => {
                self.edit(request(id, by, cid.as_ref()), content, guests)
            }
            Entry::React { id, by, emoji, on, cid } => {
                self.react(request(id, by, cid.as_ref()), emoji, *on)
            }
            Entry::Pin { id, by, on, cid } => self.pin(request(id, by, cid.as_ref()), *on),
            Entry::Room(entry) => self.change_room(entry),
            Entry::Read { by, conversation, up_to, unread, cid } => {
                self.mark_read(by, conversation, (*up_to, *unread), cid.as_ref())
            }
            Entry::Notify { by, conversation, level, muted_until, cid } => {
                self.set_notify(by, conversation, (*level, *muted_until), cid.as_ref())
            }
            Entry::Expire { id } => self.remove(*id, ChangeKind::Expired, None),
            Entry::Remove { id } => self.remove(*id, ChangeKind::Deleted, None),
            Entry::Register(new) => self.register(new),
            Entry::Rebind { user, key } => self.rebind(user, key),
            Entry::Invite(invite) => self.invite(invite),
            Entry::Ban(subject) => self.ban(subject),
            Entry::Unban(subject) => self.unban(subject),
            Entry::Retain(retain) => Ok(self.retain(retain)?),
            Entry::Delivered { user, up_to } => {
                let sql = "UPDATE person SET seen = max(seen, ?2) WHERE user = ?1";
                self.execute(sql, (user.as_str(), seq_to_sql(*up_to)))?;
                Ok(Outcome::Done)
            }
        }
    }

    /// The position that the next event gets.
    pub(super) fn next_seq(&self) -> Seq {
        Seq(self.header.head.0 + 1)
    }

    /// Completes what `old`, the log header before the transaction, and the current one differ in.
    pub(super) fn finish(&self, old: LogHeader) -> Result<LogHeader, StoreError> {
        let LogHeader { head, clock, horizon } = self.header;
        if self.header != old {
            self.index_cids(old.head)?;
            self.execute(
                "UPDATE log SET head = ?1, clock = ?2, horizon = ?3",
                (seq_to_sql(head), clock, seq_to_sql(horizon)),
            )?;
        }
        Ok(self.header)
    }

    /// Runs a statement that changes rows.
    pub(super) fn execute(&self, sql: &str, parameters: impl Params) -> Result<(), StoreError> {
        self.db.prepare_cached(sql)?.execute(parameters)?;
        Ok(())
    }

    fn post(&mut self, new: &NewMessage) -> Result<Outcome, NoChange> {
        let audience = rules::resolve_audience(self, new)?;
        let seq = self.next_seq();
        let id = self.ids.assign(seq).ok_or(NO_IDS_LEFT)?;
        let at = advance_clock(self.header.clock, new.at.timestamp_millis());
        let zone = new.at.offset().local_minus_utc();
        let mentions = mentions(self, &new.sender, &audience, new.content.as_str(), &new.guests)?;
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
            mentions,
            edited: None,
            reactions: Vec::new(),
            pinned: false,
        };
        self.insert_message(&message, at, zone)?;
        self.header.head = seq;
        self.header.clock = at;
        Ok(Outcome::Posted(message))
    }

    fn insert_message(&self, message: &Message, at: Millis, zone: i32) -> Result<(), StoreError> {
        let sender = message.sender.as_str();
        let recipients = join_recipients(&message.audience);
        self.execute(
            "INSERT INTO message (seq, id, sender, recipients, at, zone, expires, reply_to, cid, \
                 content, guest, mentions) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            (
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
                join_mentions(&message.mentions),
            ),
        )?;
        let conversation = conversation_key(sender, recipients.as_deref());
        self.add_to_feed(&conversation, FeedKind::Message, message.seq, Some(sender))?;
        self.add_mentions(&conversation, message.seq, &message.mentions)
    }

    fn delete(
        &mut self,
        id: MessageId,
        by: &UserId,
        cid: Option<&Cid>,
    ) -> Result<Outcome, NoChange> {
        rules::may_delete(self, id, by)?;
        self.remove(id, ChangeKind::Deleted, cid)
    }

    /// Replaces a message by a tombstone. A deletion is reported as by its author.
    fn remove(
        &mut self,
        id: MessageId,
        kind: ChangeKind,
        cid: Option<&Cid>,
    ) -> Result<Outcome, NoChange> {
        let message = self.find_message(id)?.ok_or(Refusal::UnknownMessage(id))?;
        self.delete_message(&message)?;
        let author = parse_user_id(&message.sender)?;
        let new = NewChange {
            message: Some((id, message.seq)),
            by: Some(&author).filter(|_| kind == ChangeKind::Deleted),
            cid,
            conversation: message.conversation(),
            kind,
            members: Vec::new(),
        };
        Ok(self.add_change(new, None)?)
    }

    fn find_message(&self, id: MessageId) -> Result<Option<StoredMessage>, StoreError> {
        let Some(seq) = seq_of(self.db, self.ids, id)? else { return Ok(None) };
        let sql = "SELECT sender, recipients, expires, mentions FROM message WHERE seq = ?1";
        let found = self.db.prepare_cached(sql)?.query_row([seq_to_sql(seq)], |row| {
            Ok(StoredMessage {
                seq,
                sender: row.get(0)?,
                recipients: row.get(1)?,
                expires: row.get(2)?,
                mentions: row.get(3)?,
            })
        });
        Ok(found.optional()?)
    }

    /// Deletes a message and all that is attached to it.
    pub(super) fn delete_message(&self, message: &StoredMessage) -> Result<(), StoreError> {
        self.keep_cid(message.seq)?;
        let seq = seq_to_sql(message.seq);
        self.execute("DELETE FROM message WHERE seq = ?1", [seq])?;
        self.execute("DELETE FROM reaction WHERE message = ?1", [seq])?;
        let conversation = message.conversation();
        let mentions = parse_mentions(message.mentions.as_deref())?;
        self.remove_mentions(&conversation, message.seq, &mentions, &Mentions::None)?;
        self.remove_from_feed(&conversation, FeedKind::Pin, message.seq)?;
        self.remove_from_feed(&conversation, FeedKind::Message, message.seq)
    }
}

impl Rows for WriteTxn<'_> {
    fn original(&self, id: MessageId) -> Result<Option<Original>, StoreError> {
        let Some(message) = self.find_message(id)? else { return Ok(None) };
        if message.expires.is_some_and(|at| at <= self.now) {
            return Ok(None);
        }
        Ok(Some(Original {
            seq: message.seq,
            author: parse_user_id(&message.sender)?,
            audience: parse_audience(message.recipients.as_deref())?,
            is_temporary: message.expires.is_some(),
        }))
    }

    fn is_registered(&self, user: &UserId) -> Result<bool, StoreError> {
        let mut statement = self.db.prepare_cached("SELECT 1 FROM person WHERE user = ?1")?;
        Ok(statement.exists([user.as_str()])?)
    }

    fn room(&self, room: &RoomName) -> Result<Option<RoomState>, StoreError> {
        rooms::find_room(self.db, room)
    }

    fn member_since(&self, room: &RoomName, user: &UserId) -> Result<Option<Seq>, StoreError> {
        rooms::member_since(self.db, room, user)
    }

    fn is_in_conversation(&self, user: &UserId, key: &str) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM direct WHERE user = ?1 AND conversation = ?2";
        Ok(self.db.prepare_cached(sql)?.exists((user.as_str(), key))?)
    }

    fn owner(&self, room: &RoomName) -> Result<Option<UserId>, StoreError> {
        rooms::owner(self.db, room)
    }
}

/// The columns of a message that are needed to delete it.
pub(super) struct StoredMessage {
    pub(super) seq: Seq,
    pub(super) sender: String,
    pub(super) recipients: Option<String>,
    pub(super) expires: Option<Millis>,
    pub(super) mentions: Option<String>,
}

impl StoredMessage {
    /// The key of its conversation.
    pub(super) fn conversation(&self) -> String {
        conversation_key(&self.sender, self.recipients.as_deref()).into_owned()
    }
}
