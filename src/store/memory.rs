//! In-memory log for tests: plain maps that define what the log means. Nothing is written to disk.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::row::{self, join_recipients};
use super::{
    Append, BanTarget, CID_RETENTION, EventPage, LogSize, LogSnapshot, MessageMetadata,
    MessagePage, MessagesAround, NewMessage, OpenInvite, Outcome, PriorOutcome, Reader, Retention,
    ScanResult, ScanRow, ScrubOutcome, Store, StoreError, SweepReport, TOMBSTONE_RETENTION, View,
    advance_clock,
};
use crate::protocol::event::{Deleted, Event};
use crate::protocol::id::{Cid, MessageId, Seq, UserId};
use crate::protocol::message::{Audience, Message, Millis, can_see};

/// An in-memory log. A clone shares the same log.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore(Arc<RwLock<LogState>>);

/// A reader of a [`MemoryStore`].
#[derive(Debug)]
pub struct MemoryReader(Arc<RwLock<LogState>>);

#[derive(Debug, Default)]
struct LogState {
    head: Seq,
    clock: Millis,
    horizon: Seq,
    messages: BTreeMap<Seq, MessageEntry>,
    tombstones: BTreeMap<Seq, Tombstone>,
    sent_requests: BTreeMap<Seq, SentRequest>,
    accounts: BTreeMap<UserId, Account>,
    invites: BTreeMap<[u8; 32], OpenInvite>,
    bans: BTreeSet<BanTarget>,
}

#[derive(Debug)]
struct MessageEntry {
    message: Message,
    /// As in [`ScanRow`].
    recipients: Option<String>,
}

#[derive(Debug)]
struct Account {
    key: [u8; 32],
    at: Millis,
    delivered: Seq,
}

#[derive(Debug)]
struct Tombstone {
    event: Event,
    id: MessageId,
    sender: UserId,
    audience: Audience,
    at: Millis,
}

#[derive(Debug)]
struct SentRequest {
    sender: UserId,
    cid: Cid,
    id: MessageId,
    is_delete: bool,
    at: Millis,
}

impl Store for MemoryStore {
    type Reader = MemoryReader;

    fn snapshot(&mut self) -> Result<LogSnapshot, StoreError> {
        Ok(read_lock(&self.0).snapshot())
    }

    fn open_reader(&self) -> Result<MemoryReader, StoreError> {
        Ok(MemoryReader(Arc::clone(&self.0)))
    }

    fn append(&mut self, now: Millis, batch: &[Append]) -> Result<Vec<Outcome>, StoreError> {
        let mut state = write_lock(&self.0);
        batch.iter().map(|append| state.append(now, append)).collect()
    }

    fn sweep(&mut self, now: Millis, retention: Retention) -> Result<SweepReport, StoreError> {
        Ok(SweepReport { freed_ids: write_lock(&self.0).sweep(now, retention), has_more: false })
    }

    fn scrub(&mut self) -> Result<ScrubOutcome, StoreError> {
        Ok(ScrubOutcome::Done)
    }
}

fn read_lock(state: &RwLock<LogState>) -> RwLockReadGuard<'_, LogState> {
    state.read().unwrap_or_else(PoisonError::into_inner)
}

fn write_lock(state: &RwLock<LogState>) -> RwLockWriteGuard<'_, LogState> {
    state.write().unwrap_or_else(PoisonError::into_inner)
}

impl LogState {
    fn snapshot(&self) -> LogSnapshot {
        let all = self.messages.values().map(|stored| &stored.message);
        let tombstones = self.tombstones.values();
        let posted = all.clone().map(|message| (&message.sender, &message.audience));
        let removed = tombstones.clone().map(|removed| (&removed.sender, &removed.audience));
        let mut direct_message_users = BTreeSet::new();
        for (sender, audience) in posted.chain(removed) {
            if let Audience::Only(recipients) = audience {
                direct_message_users.extend(recipients.iter().chain([sender]).cloned());
            }
        }
        LogSnapshot {
            epoch: "memory".to_owned(),
            head: self.head,
            horizon: self.horizon,
            clock: self.clock,
            size: self.size(),
            used_ids: all
                .clone()
                .map(|message| message.id)
                .chain(tombstones.map(|removed| removed.id))
                .collect(),
            expirations: all.filter_map(|message| Some((message.id, message.expires()?))).collect(),
            registered: self.registered(),
            invites: self.invites.values().copied().collect(),
            bans: self.bans.iter().copied().collect(),
            direct_message_users: direct_message_users.into_iter().collect(),
        }
    }

    fn append(&mut self, now: Millis, append: &Append) -> Result<Outcome, StoreError> {
        Ok(match append {
            Append::Post(new) => match self.prior_outcome(now, &new.sender, new.cid.as_ref()) {
                Some(first) => Outcome::Repeated(first),
                None => self.post(new)?,
            },
            Append::Delete { id, author, cid } => {
                match self.prior_outcome(now, author, cid.as_ref()) {
                    Some(first) => Outcome::Repeated(first),
                    None => self.delete(now, *id, author, cid.as_ref()),
                }
            }
            Append::Expire { id } => match self.remove_message(*id) {
                Some(message) => {
                    let seq =
                        self.add_tombstone(now, message, |seq| Event::Expired { seq, id: *id });
                    Outcome::Expired { seq, id: *id }
                }
                None => Outcome::NotFound,
            },
            Append::Remove { id } => match self.remove_message(*id) {
                Some(message) => {
                    let (author, audience) = (message.sender.clone(), message.audience.clone());
                    let event = |seq| Deleted { seq, id: *id, author: author.clone(), cid: None };
                    let seq = self.add_tombstone(now, message, |seq| Event::Deleted(event(seq)));
                    Outcome::Removed { deleted: event(seq), audience }
                }
                None => Outcome::NotFound,
            },
            Append::Register { user, key, invite } => {
                self.register(now, user, *key, invite.as_ref())
            }
            Append::Rebind { user, key } => {
                if let Some(account) = self.accounts.get_mut(user) {
                    (account.key, account.at) = (*key, now);
                }
                Outcome::Done
            }
            Append::Invite(invite) => {
                self.invites.insert(invite.hash, *invite);
                Outcome::Done
            }
            Append::Ban(target) => {
                self.bans.insert(*target);
                Outcome::Done
            }
            Append::Unban(target) => {
                self.bans.remove(target);
                Outcome::Done
            }
            Append::Delivered { user, up_to } => {
                if let Some(Account { delivered, .. }) = self.accounts.get_mut(user) {
                    *delivered = (*delivered).max(*up_to);
                }
                Outcome::Done
            }
        })
    }

    fn size(&self) -> LogSize {
        LogSize { messages: self.messages.len() as u64, bytes: 0 }
    }

    fn registered(&self) -> Vec<(UserId, [u8; 32])> {
        let mut all: Vec<_> = self.accounts.iter().collect();
        all.sort_by_key(|(_, account)| account.at);
        all.into_iter().map(|(user, account)| (user.clone(), account.key)).collect()
    }

    fn register(
        &mut self,
        now: Millis,
        user: &UserId,
        key: [u8; 32],
        invite: Option<&[u8; 32]>,
    ) -> Outcome {
        match self.accounts.get(user) {
            Some(account) if account.key == key => return Outcome::Registered,
            Some(_) => return Outcome::KeyMismatch,
            None => {}
        }
        if let Some(hash) = invite {
            let Some(open) = self.invites.get_mut(hash).filter(|open| open.is_usable(now)) else {
                return Outcome::InvalidInvite;
            };
            open.uses -= 1;
            self.invites.retain(|_, open| open.uses > 0);
        }
        self.accounts.insert(user.clone(), Account { key, at: now, delivered: Seq(0) });
        Outcome::Registered
    }

    fn post(&mut self, new: &NewMessage) -> Result<Outcome, StoreError> {
        if self.find_message(new.id).is_some() {
            return Ok(Outcome::IdTaken);
        }
        self.clock = advance_clock(self.clock, new.at.timestamp_millis());
        let message = Message {
            seq: self.next_seq(),
            id: new.id,
            sender: new.sender.clone(),
            guest: new.guest,
            audience: new.audience.clone(),
            kind: new.kind,
            content: new.content.clone(),
            at: row::to_datetime(self.clock, new.at.offset().local_minus_utc())?,
            cid: new.cid.clone(),
        };
        let recipients = join_recipients(&message.audience);
        self.messages.insert(message.seq, MessageEntry { message: message.clone(), recipients });
        self.remember_cid(&new.sender, new.cid.as_ref(), new.id, false);
        Ok(Outcome::Posted(message))
    }

    fn delete(
        &mut self,
        now: Millis,
        id: MessageId,
        author: &UserId,
        cid: Option<&Cid>,
    ) -> Outcome {
        if self.find_message(id).is_none_or(|message| !is_unexpired(message, now)) {
            return Outcome::NotFound;
        }
        let Some(message) = self.remove_message(id) else { return Outcome::NotFound };
        let event = |seq| Deleted { seq, id, author: author.clone(), cid: cid.cloned() };
        let seq = self.add_tombstone(now, message, |seq| Event::Deleted(event(seq)));
        self.remember_cid(author, cid, id, true);
        Outcome::Deleted(event(seq))
    }

    fn next_seq(&mut self) -> Seq {
        self.head = Seq(self.head.0 + 1);
        self.head
    }

    fn find_message(&self, id: MessageId) -> Option<&Message> {
        let mut all = self.messages.values().map(|stored| &stored.message);
        all.find(|message| message.id == id)
    }

    fn remove_message(&mut self, id: MessageId) -> Option<Message> {
        let seq = self.find_message(id)?.seq;
        self.messages.remove(&seq).map(|stored| stored.message)
    }

    fn add_tombstone(
        &mut self,
        now: Millis,
        message: Message,
        event: impl Fn(Seq) -> Event,
    ) -> Seq {
        self.clock = advance_clock(self.clock, now);
        let seq = self.next_seq();
        let Message { id, sender, audience, .. } = message;
        self.tombstones
            .insert(seq, Tombstone { event: event(seq), id, sender, audience, at: self.clock });
        seq
    }

    fn prior_outcome(
        &self,
        now: Millis,
        sender: &UserId,
        cid: Option<&Cid>,
    ) -> Option<PriorOutcome> {
        let oldest = advance_clock(self.clock, now) - CID_RETENTION;
        let is_same = |sent: &SentRequest| {
            sent.sender == *sender && Some(&sent.cid) == cid && sent.at > oldest
        };
        let (&seq, sent) = self.sent_requests.iter().find(|(_, sent)| is_same(sent))?;
        let id = sent.id;
        Some(if sent.is_delete {
            PriorOutcome::Deleted(Deleted { seq, id, author: sender.clone(), cid: cid.cloned() })
        } else {
            match self.messages.get(&seq) {
                Some(MessageEntry { message, .. }) if is_unexpired(message, now) => {
                    PriorOutcome::Posted(message.clone())
                }
                Some(_) | None => PriorOutcome::PostedThenRemoved { seq, id },
            }
        })
    }

    fn remember_cid(&mut self, sender: &UserId, cid: Option<&Cid>, id: MessageId, is_delete: bool) {
        if let Some(cid) = cid.cloned() {
            self.sent_requests.retain(|_, sent| sent.sender != *sender || sent.cid != cid);
            let sent = SentRequest { sender: sender.clone(), cid, id, is_delete, at: self.clock };
            self.sent_requests.insert(self.head, sent);
        }
    }

    fn sweep(&mut self, now: Millis, retention: Retention) -> Vec<MessageId> {
        let mut freed_ids = Vec::new();
        if let Some(cutoff) = retention.cutoff(now) {
            let old = self.messages.values().map(|stored| &stored.message);
            let old = old.take_while(|message| message.at.timestamp_millis() < cutoff);
            let is_removable = |message: &&Message| {
                message.expires().is_none() && !self.is_undelivered(now, message)
            };
            let removed: Vec<_> =
                old.filter(is_removable).map(|message| (message.seq, message.id)).collect();
            for (seq, id) in removed {
                self.messages.remove(&seq);
                self.horizon = self.horizon.max(seq);
                freed_ids.push(id);
            }
        }
        let old = now - TOMBSTONE_RETENTION;
        while let Some(first) = self.tombstones.first_entry().filter(|first| first.get().at < old) {
            self.horizon = self.horizon.max(*first.key());
            freed_ids.push(first.remove().id);
        }
        let old = now - CID_RETENTION;
        while let Some(first) =
            self.sent_requests.first_entry().filter(|first| first.get().at < old)
        {
            first.remove();
        }
        self.invites.retain(|_, open| open.expires > now);
        freed_ids
    }

    fn is_undelivered(&self, now: Millis, message: &Message) -> bool {
        let Audience::Only(recipients) = &message.audience else { return false };
        let is_waiting =
            |user| self.accounts.get(user).is_some_and(|account| account.delivered < message.seq);
        message.at.timestamp_millis() >= now - TOMBSTONE_RETENTION
            && recipients.iter().any(is_waiting)
    }

    fn visible_messages<'a>(
        &'a self,
        view: View<'a>,
    ) -> impl DoubleEndedIterator<Item = &'a Message> {
        let all = self.messages.values().map(|stored| &stored.message);
        all.filter(move |message| is_visible(message, view))
    }
}

fn is_unexpired(message: &Message, now: Millis) -> bool {
    message.expires().is_none_or(|expires| expires > now)
}

fn is_visible(message: &Message, view: View<'_>) -> bool {
    let Message { sender, audience, .. } = message;
    can_see(view.viewer, sender, audience.recipients()) && is_unexpired(message, view.now)
}

impl Reader for MemoryReader {
    fn events_after(
        &mut self,
        view: View<'_>,
        after: Seq,
        limit: usize,
    ) -> Result<Option<EventPage>, StoreError> {
        let state = read_lock(&self.0);
        if after < state.horizon {
            return Ok(None);
        }
        let viewer = view.viewer;
        let is_for_viewer =
            |removed: &Tombstone| can_see(viewer, &removed.sender, removed.audience.recipients());
        let posted = state
            .visible_messages(view)
            .map(|message| (message.seq, Event::Posted(message.clone())));
        let tombstones = state.tombstones.iter().filter(|(_, removed)| is_for_viewer(removed));
        let tombstones = tombstones.map(|(seq, removed)| (*seq, removed.event.clone()));
        let all: BTreeMap<Seq, Event> = posted.chain(tombstones).collect();
        let later = all.range((Bound::Excluded(after), Bound::Unbounded));
        let page: Vec<_> = later.take(limit.max(1)).collect();
        let full = page.last().filter(|_| page.len() == limit.max(1));
        let complete_to = full.map_or(state.head, |(seq, _)| **seq);
        let events = page.into_iter().map(|(_, event)| event.clone()).collect();
        Ok(Some(EventPage { events, complete_to }))
    }

    fn history(
        &mut self,
        view: View<'_>,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<MessagePage, StoreError> {
        let state = read_lock(&self.0);
        let is_before = |message: &&Message| before.is_none_or(|before| message.seq < before);
        let mut all = state.visible_messages(view).filter(is_before).rev();
        let mut messages: Vec<_> = all.by_ref().take(limit).cloned().collect();
        messages.reverse();
        Ok(MessagePage { messages, has_earlier: all.next().is_some() })
    }

    fn around(
        &mut self,
        view: View<'_>,
        id: MessageId,
        limit: usize,
    ) -> Result<Option<MessagesAround>, StoreError> {
        let state = read_lock(&self.0);
        let all: Vec<_> = state.visible_messages(view).collect();
        let Some(at) = all.iter().position(|message| message.id == id) else { return Ok(None) };
        let (from, to) = (at.saturating_sub(limit), all.len().min(at + limit + 1));
        let (has_earlier, has_later) = (from > 0, to < all.len());
        let messages = all.into_iter().take(to).skip(from).cloned().collect();
        Ok(Some(MessagesAround { messages, has_earlier, has_later }))
    }

    fn metadata(
        &mut self,
        view: View<'_>,
        id: MessageId,
    ) -> Result<Option<MessageMetadata>, StoreError> {
        let state = read_lock(&self.0);
        Ok(state.visible_messages(view).find(|message| message.id == id).map(|message| {
            MessageMetadata {
                seq: message.seq,
                sender: message.sender.clone(),
                audience: message.audience.clone(),
                kind: message.kind,
            }
        }))
    }

    fn messages(&mut self, view: View<'_>, seqs: &[Seq]) -> Result<Vec<Message>, StoreError> {
        let state = read_lock(&self.0);
        let find = |seq| state.messages.get(seq).map(|stored| &stored.message);
        Ok(seqs
            .iter()
            .filter_map(find)
            .filter(|message| is_visible(message, view))
            .cloned()
            .collect())
    }

    fn scan(
        &mut self,
        view: View<'_>,
        before: Option<Seq>,
        max_rows: usize,
        visit: &mut dyn FnMut(&ScanRow<'_>) -> ControlFlow<()>,
    ) -> Result<ScanResult, StoreError> {
        let state = read_lock(&self.0);
        let (mut visited, mut next) = (0, None);
        let before = before.unwrap_or(Seq(u64::MAX));
        for (examined, (seq, stored)) in (1..).zip(state.messages.range(..before).rev()) {
            let mut flow = ControlFlow::Continue(());
            if is_visible(&stored.message, view) {
                visited += 1;
                flow = visit(&stored.scan_row());
            }
            if examined == max_rows.max(1) || flow.is_break() {
                next = Some(*seq);
                break;
            }
        }
        Ok(ScanResult { visited, next })
    }

    fn horizon(&mut self) -> Result<Seq, StoreError> {
        Ok(read_lock(&self.0).horizon)
    }

    fn size(&mut self) -> Result<LogSize, StoreError> {
        Ok(read_lock(&self.0).size())
    }
}

impl MessageEntry {
    fn scan_row(&self) -> ScanRow<'_> {
        let message = &self.message;
        ScanRow {
            seq: message.seq,
            sender: message.sender.as_str(),
            at: message.at.timestamp_millis(),
            content: message.content.as_str(),
            recipients: self.recipients.as_deref(),
            expires: message.expires(),
        }
    }
}
