//! The log in memory: plain maps that say what a log means. For tests, and lost with the process.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::row::{self, recipients};
use super::{
    Append, Around, Banned, CID_KEPT, Candidate, Events, First, MARK_KEPT, Metadata, NewMessage,
    OpenInvite, Opened, Outcome, Overwritten, Page, Reader, Retention, Scanned, Size, Store,
    StoreError, Swept, View, tick,
};
use crate::protocol::event::{Deleted, Event};
use crate::protocol::id::{ClientId, MessageId, Seq, UserId};
use crate::protocol::message::{Audience, Message, Millis, can_see};

/// The log in memory. A clone is the same log, opened again.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore(Arc<RwLock<State>>);

/// A reader of the log in memory.
#[derive(Debug)]
pub struct MemoryReader(Arc<RwLock<State>>);

#[derive(Debug, Default)]
struct State {
    head: Seq,
    clock: Millis,
    horizon: Seq,
    messages: BTreeMap<Seq, Stored>,
    marks: BTreeMap<Seq, Mark>,
    sent: BTreeMap<Seq, Sent>,
    registered: BTreeMap<UserId, Registered>,
    invites: BTreeMap<[u8; 32], OpenInvite>,
    banned: BTreeSet<Banned>,
}

#[derive(Debug)]
struct Stored {
    message: Message,
    /// As in [`Candidate`].
    recipients: Option<String>,
}

#[derive(Debug)]
struct Registered {
    key: [u8; 32],
    at: Millis,
    seen: Seq,
}

#[derive(Debug)]
struct Mark {
    event: Event,
    id: MessageId,
    sender: UserId,
    audience: Audience,
    at: Millis,
}

#[derive(Debug)]
struct Sent {
    sender: UserId,
    cid: ClientId,
    id: MessageId,
    deletes: bool,
    at: Millis,
}

impl Store for MemoryStore {
    type Reader = MemoryReader;

    fn opened(&mut self) -> Result<Opened, StoreError> {
        Ok(read(&self.0).opened())
    }

    fn reader(&self) -> Result<MemoryReader, StoreError> {
        Ok(MemoryReader(Arc::clone(&self.0)))
    }

    fn append(&mut self, now: Millis, batch: &[Append]) -> Result<Vec<Outcome>, StoreError> {
        let mut state = write(&self.0);
        batch.iter().map(|append| state.append(now, append)).collect()
    }

    fn sweep(&mut self, now: Millis, retention: Retention) -> Result<Swept, StoreError> {
        Ok(Swept { freed: write(&self.0).sweep(now, retention), more: false })
    }

    fn overwrite(&mut self) -> Result<Overwritten, StoreError> {
        Ok(Overwritten::Done)
    }
}

fn read(state: &RwLock<State>) -> RwLockReadGuard<'_, State> {
    state.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(state: &RwLock<State>) -> RwLockWriteGuard<'_, State> {
    state.write().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn opened(&self) -> Opened {
        let all = self.messages.values().map(|stored| &stored.message);
        let marks = self.marks.values();
        let said = all.clone().map(|message| (&message.sender, &message.audience));
        let mut private = BTreeSet::new();
        for (sender, audience) in
            said.chain(marks.clone().map(|mark| (&mark.sender, &mark.audience)))
        {
            if let Audience::Only(people) = audience {
                private.extend(people.iter().chain([sender]).cloned());
            }
        }
        Opened {
            epoch: "memory".to_owned(),
            head: self.head,
            horizon: self.horizon,
            size: self.size(),
            ids: all.clone().map(|message| message.id).chain(marks.map(|mark| mark.id)).collect(),
            temporary: all.filter_map(|message| Some((message.id, message.expires()?))).collect(),
            registered: self.registered(),
            invites: self.invites.values().copied().collect(),
            banned: self.banned.iter().copied().collect(),
            private: private.into_iter().collect(),
        }
    }

    fn append(&mut self, now: Millis, append: &Append) -> Result<Outcome, StoreError> {
        Ok(match append {
            Append::Say(new) => match self.first(now, &new.sender, new.cid.as_ref()) {
                Some(first) => Outcome::Repeated(first),
                None => self.say(new)?,
            },
            Append::Delete { id, by, cid } => match self.first(now, by, cid.as_ref()) {
                Some(first) => Outcome::Repeated(first),
                None => self.delete(now, *id, by, cid.as_ref()),
            },
            Append::Expire { id } => match self.take(*id) {
                Some(message) => {
                    let seq = self.mark(now, message, |seq| Event::Expired { seq, id: *id });
                    Outcome::Expired { seq, id: *id }
                }
                None => Outcome::Gone,
            },
            Append::Remove { id } => match self.take(*id) {
                Some(message) => {
                    let (by, audience) = (message.sender.clone(), message.audience.clone());
                    let event = |seq| Deleted { seq, id: *id, by: by.clone(), cid: None };
                    let seq = self.mark(now, message, |seq| Event::Deleted(event(seq)));
                    Outcome::Removed { deleted: event(seq), audience }
                }
                None => Outcome::Gone,
            },
            Append::Register { user, key, invite } => {
                self.register(now, user, *key, invite.as_ref())
            }
            Append::Rebind { user, key } => {
                if let Some(registered) = self.registered.get_mut(user) {
                    (registered.key, registered.at) = (*key, now);
                }
                Outcome::Noted
            }
            Append::Invite(invite) => {
                self.invites.insert(invite.hash, *invite);
                Outcome::Noted
            }
            Append::Ban(banned) => {
                self.banned.insert(*banned);
                Outcome::Noted
            }
            Append::Unban(banned) => {
                self.banned.remove(banned);
                Outcome::Noted
            }
            Append::Seen { user, up_to } => {
                if let Some(Registered { seen, .. }) = self.registered.get_mut(user) {
                    *seen = (*seen).max(*up_to);
                }
                Outcome::Noted
            }
        })
    }

    fn size(&self) -> Size {
        Size { messages: self.messages.len() as u64, bytes: 0 }
    }

    fn registered(&self) -> Vec<(UserId, [u8; 32])> {
        let mut all: Vec<_> = self.registered.iter().collect();
        all.sort_by_key(|(_, registered)| registered.at);
        all.into_iter().map(|(user, registered)| (user.clone(), registered.key)).collect()
    }

    fn register(
        &mut self,
        now: Millis,
        user: &UserId,
        key: [u8; 32],
        invite: Option<&[u8; 32]>,
    ) -> Outcome {
        match self.registered.get(user) {
            Some(held) if held.key == key => return Outcome::Registered,
            Some(_) => return Outcome::NotYourKey,
            None => {}
        }
        if let Some(hash) = invite {
            let Some(open) = self.invites.get_mut(hash).filter(|open| open.is_good(now)) else {
                return Outcome::BadInvite;
            };
            open.uses -= 1;
            self.invites.retain(|_, open| open.uses > 0);
        }
        self.registered.insert(user.clone(), Registered { key, at: now, seen: Seq(0) });
        Outcome::Registered
    }

    fn say(&mut self, new: &NewMessage) -> Result<Outcome, StoreError> {
        if self.find(new.id).is_some() {
            return Ok(Outcome::IdTaken);
        }
        self.clock = tick(self.clock, new.at.timestamp_millis());
        let message = Message {
            seq: self.next(),
            id: new.id,
            sender: new.sender.clone(),
            guest: new.guest,
            audience: new.audience.clone(),
            kind: new.kind,
            content: new.content.clone(),
            at: row::moment(self.clock, new.at.offset().local_minus_utc())?,
            cid: new.cid.clone(),
        };
        let recipients = recipients(&message.audience);
        self.messages.insert(message.seq, Stored { message: message.clone(), recipients });
        self.remember(&new.sender, new.cid.as_ref(), new.id, false);
        Ok(Outcome::Said(message))
    }

    fn delete(
        &mut self,
        now: Millis,
        id: MessageId,
        by: &UserId,
        cid: Option<&ClientId>,
    ) -> Outcome {
        if self.find(id).is_none_or(|message| !is_alive(message, now)) {
            return Outcome::Gone;
        }
        let Some(message) = self.take(id) else { return Outcome::Gone };
        let event = |seq| Deleted { seq, id, by: by.clone(), cid: cid.cloned() };
        let seq = self.mark(now, message, |seq| Event::Deleted(event(seq)));
        self.remember(by, cid, id, true);
        Outcome::Deleted(event(seq))
    }

    fn next(&mut self) -> Seq {
        self.head = Seq(self.head.0 + 1);
        self.head
    }

    fn find(&self, id: MessageId) -> Option<&Message> {
        let mut all = self.messages.values().map(|stored| &stored.message);
        all.find(|message| message.id == id)
    }

    fn take(&mut self, id: MessageId) -> Option<Message> {
        let seq = self.find(id)?.seq;
        self.messages.remove(&seq).map(|stored| stored.message)
    }

    fn mark(&mut self, now: Millis, message: Message, event: impl Fn(Seq) -> Event) -> Seq {
        self.clock = tick(self.clock, now);
        let seq = self.next();
        let Message { id, sender, audience, .. } = message;
        self.marks.insert(seq, Mark { event: event(seq), id, sender, audience, at: self.clock });
        seq
    }

    fn first(&self, now: Millis, sender: &UserId, cid: Option<&ClientId>) -> Option<First> {
        let oldest = tick(self.clock, now) - CID_KEPT;
        let is_it =
            |sent: &Sent| sent.sender == *sender && Some(&sent.cid) == cid && sent.at > oldest;
        let (&seq, sent) = self.sent.iter().find(|(_, sent)| is_it(sent))?;
        let id = sent.id;
        Some(if sent.deletes {
            First::Deleted(Deleted { seq, id, by: sender.clone(), cid: cid.cloned() })
        } else {
            match self.messages.get(&seq) {
                Some(Stored { message, .. }) if is_alive(message, now) => {
                    First::Said(message.clone())
                }
                Some(_) | None => First::SaidAndGone { seq, id },
            }
        })
    }

    fn remember(&mut self, sender: &UserId, cid: Option<&ClientId>, id: MessageId, deletes: bool) {
        if let Some(cid) = cid.cloned() {
            self.sent.retain(|_, sent| sent.sender != *sender || sent.cid != cid);
            let sent = Sent { sender: sender.clone(), cid, id, deletes, at: self.clock };
            self.sent.insert(self.head, sent);
        }
    }

    fn sweep(&mut self, now: Millis, retention: Retention) -> Vec<MessageId> {
        let mut freed = Vec::new();
        if let Some(cutoff) = retention.cutoff(now) {
            let old = self.messages.values().map(|stored| &stored.message);
            let old = old.take_while(|message| message.at.timestamp_millis() < cutoff);
            let goes = |message: &&Message| {
                message.expires().is_none() && !self.is_waited_for(now, message)
            };
            let gone: Vec<_> = old.filter(goes).map(|message| (message.seq, message.id)).collect();
            for (seq, id) in gone {
                self.messages.remove(&seq);
                self.horizon = self.horizon.max(seq);
                freed.push(id);
            }
        }
        let old = now - MARK_KEPT;
        while let Some(first) = self.marks.first_entry().filter(|mark| mark.get().at < old) {
            self.horizon = self.horizon.max(*first.key());
            freed.push(first.remove().id);
        }
        let old = now - CID_KEPT;
        while let Some(first) = self.sent.first_entry().filter(|sent| sent.get().at < old) {
            first.remove();
        }
        self.invites.retain(|_, open| open.expires > now);
        freed
    }

    fn is_waited_for(&self, now: Millis, message: &Message) -> bool {
        let Audience::Only(people) = &message.audience else { return false };
        let waits = |user| self.registered.get(user).is_some_and(|who| who.seen < message.seq);
        message.at.timestamp_millis() >= now - MARK_KEPT && people.iter().any(waits)
    }

    fn seen<'a>(&'a self, view: View<'a>) -> impl DoubleEndedIterator<Item = &'a Message> {
        let all = self.messages.values().map(|stored| &stored.message);
        all.filter(move |message| is_seen(message, view))
    }
}

fn is_alive(message: &Message, now: Millis) -> bool {
    message.expires().is_none_or(|expires| expires > now)
}

fn is_seen(message: &Message, view: View<'_>) -> bool {
    let Message { sender, audience, .. } = message;
    can_see(view.viewer, sender, audience.named()) && is_alive(message, view.now)
}

impl Reader for MemoryReader {
    fn events_after(
        &mut self,
        view: View<'_>,
        after: Seq,
        limit: usize,
    ) -> Result<Option<Events>, StoreError> {
        let state = read(&self.0);
        if after < state.horizon {
            return Ok(None);
        }
        let viewer = view.viewer;
        let of_viewer = |mark: &Mark| can_see(viewer, &mark.sender, mark.audience.named());
        let said = state.seen(view).map(|message| (message.seq, Event::Said(message.clone())));
        let marks = state.marks.iter().filter(|(_, mark)| of_viewer(mark));
        let marks = marks.map(|(seq, mark)| (*seq, mark.event.clone()));
        let all: BTreeMap<Seq, Event> = said.chain(marks).collect();
        let later = all.range((Bound::Excluded(after), Bound::Unbounded));
        let page: Vec<_> = later.take(limit.max(1)).collect();
        let full = page.last().filter(|_| page.len() == limit.max(1));
        let looked = full.map_or(state.head, |(seq, _)| **seq);
        let events = page.into_iter().map(|(_, event)| event.clone()).collect();
        Ok(Some(Events { events, looked }))
    }

    fn history(
        &mut self,
        view: View<'_>,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let state = read(&self.0);
        let is_before = |message: &&Message| before.is_none_or(|before| message.seq < before);
        let mut all = state.seen(view).filter(is_before).rev();
        let mut messages: Vec<_> = all.by_ref().take(limit).cloned().collect();
        messages.reverse();
        Ok(Page { messages, more: all.next().is_some() })
    }

    fn around(
        &mut self,
        view: View<'_>,
        id: MessageId,
        limit: usize,
    ) -> Result<Option<Around>, StoreError> {
        let state = read(&self.0);
        let all: Vec<_> = state.seen(view).collect();
        let Some(at) = all.iter().position(|message| message.id == id) else { return Ok(None) };
        let (from, to) = (at.saturating_sub(limit), all.len().min(at + limit + 1));
        let (earlier, later) = (from > 0, to < all.len());
        let messages = all.into_iter().take(to).skip(from).cloned().collect();
        Ok(Some(Around { messages, earlier, later }))
    }

    fn message(&mut self, view: View<'_>, id: MessageId) -> Result<Option<Metadata>, StoreError> {
        let state = read(&self.0);
        Ok(state.seen(view).find(|message| message.id == id).map(|message| Metadata {
            seq: message.seq,
            sender: message.sender.clone(),
            audience: message.audience.clone(),
            kind: message.kind,
        }))
    }

    fn messages(&mut self, view: View<'_>, places: &[Seq]) -> Result<Vec<Message>, StoreError> {
        let state = read(&self.0);
        let at = |place| state.messages.get(place).map(|stored| &stored.message);
        Ok(places.iter().filter_map(at).filter(|message| is_seen(message, view)).cloned().collect())
    }

    fn scan(
        &mut self,
        view: View<'_>,
        before: Option<Seq>,
        rows: usize,
        each: &mut dyn FnMut(&Candidate<'_>) -> ControlFlow<()>,
    ) -> Result<Scanned, StoreError> {
        let state = read(&self.0);
        let (mut shown, mut next) = (0, None);
        let before = before.unwrap_or(Seq(u64::MAX));
        for (looked, (seq, stored)) in (1..).zip(state.messages.range(..before).rev()) {
            let mut flow = ControlFlow::Continue(());
            if is_seen(&stored.message, view) {
                shown += 1;
                flow = each(&stored.candidate());
            }
            if looked == rows.max(1) || flow.is_break() {
                next = Some(*seq);
                break;
            }
        }
        Ok(Scanned { shown, next })
    }

    fn horizon(&mut self) -> Result<Seq, StoreError> {
        Ok(read(&self.0).horizon)
    }

    fn size(&mut self) -> Result<Size, StoreError> {
        Ok(read(&self.0).size())
    }
}

impl Stored {
    fn candidate(&self) -> Candidate<'_> {
        let message = &self.message;
        Candidate {
            seq: message.seq,
            sender: message.sender.as_str(),
            at: message.at.timestamp_millis(),
            content: message.content.as_str(),
            recipients: self.recipients.as_deref(),
            expires: message.expires(),
        }
    }
}
