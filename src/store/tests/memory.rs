//! In-memory log for tests: plain maps that define what the log means. Nothing is written to disk.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::super::account_rules::{self, AccountRows, NoChange, outcome};
use super::super::message_ids::MessageIds;
use super::super::row::{self, join_recipients};
use super::super::rules::{self, Original, Rows};
use super::super::{
    BanSubject, BanTarget, CID_RETENTION, Entry, EventPage, InviteRule, LogSize, LogSnapshot,
    MessagePage, MessagesAround, NO_IDS_LEFT, NewMessage, NewUser, OpenInvite, Outcome,
    RETAIN_ROWS, Reader, Removal, Retain, Retained, ScanResult, ScanRow, ScrubOutcome, Store,
    StoreError, TOMBSTONE_RETENTION, View, advance_clock,
};
use crate::protocol::error::Refusal;
use crate::protocol::event::{Deleted, Event};
use crate::protocol::id::{Cid, MessageId, Name, Seq, UserId};
use crate::protocol::mention::Mentions;
use crate::protocol::message::{Audience, Message, Millis, can_see};

/// The epoch of every [`MemoryStore`].
pub(crate) const EPOCH: &str = "memory";

/// An in-memory log. A clone shares the same log.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryStore(Arc<RwLock<LogState>>);

/// A reader of a [`MemoryStore`].
#[derive(Debug)]
pub(crate) struct MemoryReader(Arc<RwLock<LogState>>);

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
    removal: Removal,
    at: Millis,
}

#[derive(Debug)]
struct SentRequest {
    sender: UserId,
    cid: Cid,
    id: MessageId,
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

    fn apply(&mut self, now: Millis, batch: &[Entry]) -> Result<Vec<Outcome>, StoreError> {
        let mut state = write_lock(&self.0);
        batch.iter().map(|entry| state.apply(now, entry)).collect()
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
        LogSnapshot {
            epoch: EPOCH.to_owned(),
            head: self.head,
            horizon: self.horizon,
            clock: self.clock,
            size: self.size(),
            expirations: all.filter_map(|message| Some((message.id, message.expires()?))).collect(),
            registered: self.registered(),
            bans: self.bans.iter().copied().collect(),
            direct_message_users: self.direct_message_users().into_iter().collect(),
        }
    }

    fn direct_message_users(&self) -> BTreeSet<UserId> {
        let posted = self.messages.values().map(|stored| &stored.message);
        let posted = posted.map(|message| (&message.sender, &message.audience));
        let removed = self.tombstones.values().map(|tombstone| &tombstone.removal);
        let removed = removed.map(|removal| (&removal.author, &removal.audience));
        let viewers = posted.chain(removed).filter_map(|(sender, audience)| {
            Some(audience.recipients()?.iter().chain([sender]).cloned())
        });
        viewers.flatten().collect()
    }

    fn apply(&mut self, now: Millis, entry: &Entry) -> Result<Outcome, StoreError> {
        Ok(match entry {
            Entry::Post(new) => self.post(now, new)?,
            Entry::Delete { id, by, cid } => self.delete(now, *id, by, cid.as_ref())?,
            Entry::Expire { id } => {
                self.remove_message(now, *id, |seq, _| Event::Expired { seq, id: *id })
            }
            Entry::Remove { id } => self.remove_message(now, *id, |seq, author| {
                Event::Deleted(Deleted { seq, id: *id, author, cid: None })
            }),
            Entry::Register(new) => outcome(self.register(now, new))?,
            Entry::Rebind { user, key } => outcome(self.rebind(now, user, *key))?,
            Entry::Invite(invite) => outcome(self.invite(now, *invite))?,
            Entry::Ban(subject) => outcome(self.ban(now, subject))?,
            Entry::Unban(subject) => outcome(self.unban(now, subject))?,
            Entry::Retain(retain) => Outcome::Retained(self.retain(retain)),
            Entry::Delivered { user, up_to } => {
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

    fn register(&mut self, now: Millis, new: &NewUser) -> Result<Outcome, NoChange> {
        let user = account_rules::new_id(&At { state: self, now }, new, now)?;
        if let InviteRule::Required(Some(hash)) = new.invite {
            self.invites.entry(hash).and_modify(|open| open.uses -= 1);
            self.invites.retain(|_, open| open.uses > 0);
        }
        self.accounts.insert(user.clone(), Account { key: new.key, at: now, delivered: Seq(0) });
        Ok(Outcome::Registered { user, key: new.key })
    }

    fn rebind(&mut self, now: Millis, user: &UserId, to: [u8; 32]) -> Result<Outcome, NoChange> {
        let from = account_rules::key_to_replace(&At { state: self, now }, user)?;
        let rebound = |account: &mut Account| (account.key, account.at) = (to, now);
        self.accounts.entry(user.clone()).and_modify(rebound);
        Ok(Outcome::Rebound { user: user.clone(), from, to })
    }

    fn invite(&mut self, now: Millis, invite: OpenInvite) -> Result<Outcome, NoChange> {
        account_rules::may_invite(&At { state: self, now }, now)?;
        self.invites.insert(invite.hash, invite);
        Ok(Outcome::Done)
    }

    fn ban(&mut self, now: Millis, subject: &BanSubject) -> Result<Outcome, NoChange> {
        let target = account_rules::ban_target(&At { state: self, now }, subject)?;
        self.bans.insert(target);
        Ok(Outcome::Banned(target))
    }

    fn unban(&mut self, now: Millis, subject: &BanSubject) -> Result<Outcome, NoChange> {
        let target = account_rules::ban_to_lift(&At { state: self, now }, subject)?;
        self.bans.remove(&target);
        Ok(Outcome::Unbanned(target))
    }

    fn post(&mut self, now: Millis, new: &NewMessage) -> Result<Outcome, StoreError> {
        if let Some(prior) = self.prior_outcome(now, &new.sender, new.cid.as_ref()) {
            return Ok(prior);
        }
        let audience = match rules::resolve_audience(&At { state: self, now }, new)? {
            Ok(audience) => audience,
            Err(refusal) => return Ok(Outcome::Refused(refusal)),
        };
        let ids = MessageIds::new(EPOCH, MessageId::FIRST, Seq(0));
        let Some(id) = ids.assign(Seq(self.head.0 + 1)) else {
            return Ok(Outcome::Refused(NO_IDS_LEFT));
        };
        self.clock = advance_clock(self.clock, new.at.timestamp_millis());
        let message = Message {
            seq: self.next_seq(),
            id,
            sender: new.sender.clone(),
            guest: new.guest,
            audience,
            kind: new.kind,
            content: new.content.clone(),
            at: row::to_datetime(self.clock, new.at.offset().local_minus_utc())?,
            cid: new.cid.clone(),
            mentions: Mentions::None,
            edited: None,
            reactions: Vec::new(),
            pinned: false,
        };
        let recipients = join_recipients(&message.audience);
        self.messages.insert(message.seq, MessageEntry { message: message.clone(), recipients });
        self.remember_cid(&new.sender, new.cid.as_ref(), id);
        Ok(Outcome::Posted(message))
    }

    fn delete(
        &mut self,
        now: Millis,
        id: MessageId,
        by: &UserId,
        cid: Option<&Cid>,
    ) -> Result<Outcome, StoreError> {
        if let Some(prior) = self.prior_outcome(now, by, cid) {
            return Ok(prior);
        }
        let original = At { state: self, now }.original(id)?;
        if let Err(refusal) = rules::may_delete(by, id, original.as_ref()) {
            return Ok(Outcome::Refused(refusal));
        }
        let outcome = self.remove_message(now, id, |seq, author| {
            Event::Deleted(Deleted { seq, id, author, cid: cid.cloned() })
        });
        self.remember_cid(by, cid, id);
        Ok(outcome)
    }

    fn next_seq(&mut self) -> Seq {
        self.head = Seq(self.head.0 + 1);
        self.head
    }

    fn find_message(&self, id: MessageId) -> Option<&Message> {
        let mut all = self.messages.values().map(|stored| &stored.message);
        all.find(|message| message.id == id)
    }

    fn remove_message(
        &mut self,
        now: Millis,
        id: MessageId,
        event: impl Fn(Seq, UserId) -> Event,
    ) -> Outcome {
        let removed = self.find_message(id).map(|message| message.seq);
        let Some(MessageEntry { message, .. }) = removed.and_then(|seq| self.messages.remove(&seq))
        else {
            return Outcome::Refused(Refusal::UnknownMessage(id));
        };
        self.clock = advance_clock(self.clock, now);
        let seq = self.next_seq();
        let Message { sender: author, audience, .. } = message;
        let removal = Removal { event: event(seq, author.clone()), author, audience };
        self.tombstones.insert(seq, Tombstone { removal: removal.clone(), at: self.clock });
        Outcome::Removed(removal)
    }

    fn prior_outcome(&self, now: Millis, sender: &UserId, cid: Option<&Cid>) -> Option<Outcome> {
        let oldest = advance_clock(self.clock, now) - CID_RETENTION;
        let is_same = |sent: &SentRequest| {
            sent.sender == *sender && Some(&sent.cid) == cid && sent.at > oldest
        };
        let (seq, sent) = self.sent_requests.iter().find(|(_, sent)| is_same(sent))?;
        Some(Outcome::Repeated { seq: *seq, id: sent.id })
    }

    fn remember_cid(&mut self, sender: &UserId, cid: Option<&Cid>, id: MessageId) {
        if let Some(cid) = cid.cloned() {
            self.sent_requests.retain(|_, sent| sent.sender != *sender || sent.cid != cid);
            let sent = SentRequest { sender: sender.clone(), cid, id, at: self.clock };
            self.sent_requests.insert(self.head, sent);
        }
    }

    fn retain(&mut self, retain: &Retain) -> Retained {
        let Retain { before, now, mut after } = *retain;
        let rows = usize::from(RETAIN_ROWS);
        let mut n_examined = 0;
        let mut removed = Vec::new();
        if let Some(before) = before {
            let next = self.messages.range((Bound::Excluded(after), Bound::Unbounded));
            let next = next.map(|(_, stored)| &stored.message).take(rows);
            for message in next.take_while(|message| message.at.timestamp_millis() < before) {
                (after, n_examined) = (message.seq, n_examined + 1);
                if message.expires().is_none() && !self.is_undelivered(now, message) {
                    removed.push(message.seq);
                }
            }
        }
        for seq in &removed {
            self.messages.remove(seq);
        }
        let old = self.tombstones.iter().take(rows);
        let old = old.take_while(|(_, tombstone)| tombstone.at < now - TOMBSTONE_RETENTION);
        let old: Vec<_> = old.map(|(seq, _)| *seq).collect();
        self.tombstones.retain(|seq, _| !old.contains(seq));
        self.horizon = old.iter().chain(&removed).copied().fold(self.horizon, Seq::max);
        let sent = self.sent_requests.iter().take(rows);
        let sent = sent.take_while(|(_, sent)| sent.at < now - CID_RETENTION);
        let sent: Vec<_> = sent.map(|(seq, _)| *seq).collect();
        self.sent_requests.retain(|seq, _| !sent.contains(seq));
        self.invites.retain(|_, open| open.expires > now);
        let has_more = [n_examined, old.len(), sent.len()].contains(&rows);
        let next = has_more.then_some(after);
        Retained { has_removed: !removed.is_empty(), horizon: self.horizon, next }
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

/// The log at a time.
struct At<'a> {
    state: &'a LogState,
    now: Millis,
}

impl AccountRows for At<'_> {
    fn ids_of(&self, key: &[u8; 32]) -> Result<Vec<UserId>, StoreError> {
        let own = self.state.registered().into_iter().filter(|(_, held)| held == key);
        Ok(own.map(|(user, _)| user).collect())
    }

    fn key_of(&self, user: &UserId) -> Result<Option<[u8; 32]>, StoreError> {
        Ok(self.state.accounts.get(user).map(|account| account.key))
    }

    fn find_invite(&self, hash: &[u8; 32]) -> Result<Option<OpenInvite>, StoreError> {
        Ok(self.state.invites.get(hash).copied())
    }

    fn count_invites(&self, now: Millis) -> Result<u32, StoreError> {
        let open = self.state.invites.values().filter(|open| open.expires > now);
        Ok(u32::try_from(open.count()).unwrap())
    }

    fn is_banned(&self, target: &BanTarget) -> Result<bool, StoreError> {
        Ok(self.state.bans.contains(target))
    }

    fn similar_name(&self, name: &Name) -> Result<Option<Name>, StoreError> {
        let skeletons = name.skeletons();
        let names = self.state.accounts.keys().map(|user| user.name().parse::<Name>().unwrap());
        let is_similar = |other: &Name| {
            other != name && other.skeletons().iter().any(|skeleton| skeletons.contains(skeleton))
        };
        Ok(names.filter(is_similar).min())
    }

    fn has_direct_messages(&self, user: &UserId) -> Result<bool, StoreError> {
        Ok(self.state.direct_message_users().contains(user))
    }
}

impl Rows for At<'_> {
    fn original(&self, id: MessageId) -> Result<Option<Original>, StoreError> {
        let message = self.state.find_message(id).filter(|found| is_unexpired(found, self.now));
        Ok(message.map(|message| Original {
            author: message.sender.clone(),
            audience: message.audience.clone(),
        }))
    }

    fn is_registered(&self, user: &UserId) -> Result<bool, StoreError> {
        Ok(self.state.accounts.contains_key(user))
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
            |removed: &Removal| can_see(viewer, &removed.author, removed.audience.recipients());
        let posted = state
            .visible_messages(view)
            .map(|message| (message.seq, Event::Posted(message.clone())));
        let tombstones = state.tombstones.iter().map(|(seq, tombstone)| (seq, &tombstone.removal));
        let tombstones = tombstones.filter(|(_, removed)| is_for_viewer(removed));
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

    fn open_invites(&mut self, now: Millis) -> Result<Vec<OpenInvite>, StoreError> {
        let state = read_lock(&self.0);
        let open = state.invites.values().filter(|open| open.is_usable(now));
        let mut open: Vec<_> = open.copied().collect();
        open.sort_by_key(|open| (open.expires, open.hash));
        Ok(open)
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
