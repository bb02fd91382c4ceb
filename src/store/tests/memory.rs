//! In-memory log for tests: plain maps that define what the log means. Nothing is written to disk.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::super::account_rules::{self, AccountRows, NoChange, outcome};
use super::super::change::{ChangeKind, ChangeRow};
use super::super::mention_rules::{MemberRows, mentions};
use super::super::message_ids::MessageIds;
use super::super::room_rules::{self, RoomPlan, RoomRows};
use super::super::row::{self, join_recipients, key_of_named};
use super::super::rules::{self, Original, Rows};
use super::super::sight::Viewers;
use super::super::{
    Answer, BanSubject, BanTarget, CID_RETENTION, Change, Entry, EventPage, InviteRule, LogSize,
    LogSnapshot, MemberChange, MessagePage, NO_IDS_LEFT, NewMessage, NewUser, OpenInvite, Outcome,
    Page, RETAIN_ROWS, Reader, Retain, Retained, Room, RoomEntry, ScanResult, ScanRow,
    ScrubOutcome, Store, StoreError, TOMBSTONE_RETENTION, View, advance_clock,
};
use crate::protocol::error::Refusal;
use crate::protocol::event::Event;
use crate::protocol::id::{Cid, MessageId, Name, RoomName, Seq, UserId};
use crate::protocol::limits::{LISTED_CONVERSATIONS, REACTION_USERS, UNREAD_COUNTED};
use crate::protocol::mention::Mentions;
use crate::protocol::message::{Audience, Message, Millis};
use crate::protocol::query::{HistoryQuery, HistoryRange};
use crate::protocol::reaction::{Emoji, Reaction};
use crate::protocol::room::{ConversationInfo, NotifyLevel, NotifySetting, ReadMarker, RoomState};
use crate::protocol::text::SafeText;

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
    changes: BTreeMap<Seq, ChangeRow>,
    rooms: BTreeMap<RoomName, (RoomState, BTreeMap<UserId, Membership>)>,
    /// Message, emoji and user; the event.
    reactions: BTreeMap<(Seq, Emoji, UserId), Seq>,
    pins: BTreeSet<Seq>,
    /// Whom the messages mention, without those whom an edit has added.
    mentions: BTreeMap<Seq, Mentions>,
    /// By user and key of the conversation.
    markers: BTreeMap<(UserId, String), Marker>,
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

#[derive(Debug, Clone, Copy)]
struct Membership {
    since: Seq,
    joined: Seq,
}

#[derive(Debug, Clone, Copy, Default)]
struct Marker {
    read: Seq,
    notify: Option<NotifyLevel>,
    muted_until: Option<Millis>,
}

#[derive(Debug)]
struct SentRequest {
    sender: UserId,
    cid: Cid,
    id: Option<MessageId>,
    at: Millis,
}

impl MemoryStore {
    /// The texts of all messages.
    pub(super) fn texts(&self) -> BTreeSet<String> {
        let state = read_lock(&self.0);
        let texts =
            state.messages.values().map(|stored| stored.message.content.as_str().to_owned());
        texts.collect()
    }
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
            rooms: self.rooms().collect(),
            direct_message_users: self.direct_message_users().into_iter().collect(),
        }
    }

    fn rooms(&self) -> impl Iterator<Item = (RoomName, Room)> {
        self.rooms.iter().map(|(name, (state, members))| {
            let members = members.iter().map(|(user, member)| (user.clone(), member.since));
            let (private, archived) = (state.private, state.archived);
            (name.clone(), Room { private, archived, members: members.collect() })
        })
    }

    /// The direct conversations that have events, by their participants.
    fn direct_conversations(&self) -> BTreeSet<BTreeSet<UserId>> {
        let posted = self.messages.values().map(|stored| conversation_of(&stored.message));
        let changed = self.changes.values().map(|change| change.conversation.clone());
        let direct = posted.chain(changed).filter(|key| key.contains(' '));
        direct.map(|key| row::parse_users(&key).unwrap()).collect()
    }

    fn direct_message_users(&self) -> BTreeSet<UserId> {
        self.direct_conversations().into_iter().flatten().collect()
    }

    fn apply(&mut self, now: Millis, entry: &Entry) -> Result<Outcome, StoreError> {
        if let Some((by, cid)) = entry.request()
            && let Some(prior) = self.prior_outcome(now, by, cid)
        {
            return Ok(prior);
        }
        let applied = self.apply_new(now, entry);
        let outcome = outcome(applied, self.head)?;
        if let Some((by, cid)) = entry.request()
            && outcome.is_event()
        {
            self.remember_cid(by, cid, outcome.message_id());
        }
        Ok(outcome)
    }

    fn apply_new(&mut self, now: Millis, entry: &Entry) -> Result<Outcome, NoChange> {
        match entry {
            Entry::Post(new) => self.post(now, new),
            Entry::Delete { id, by, cid } => {
                rules::may_delete(&At { state: self, now }, *id, by)?;
                self.remove_message(now, *id, ChangeKind::Deleted, cid.as_ref())
            }
            Entry::Expire { id } => self.remove_message(now, *id, ChangeKind::Expired, None),
            Entry::Remove { id } => self.remove_message(now, *id, ChangeKind::Deleted, None),
            Entry::Edit { id, by, content, guests, cid } => {
                self.edit(now, *id, (by, cid.as_ref()), content, guests)
            }
            Entry::React { id, by, emoji, on, cid } => {
                self.react(now, *id, (by, cid.as_ref()), emoji, *on)
            }
            Entry::Pin { id, by, on, cid } => self.pin(now, *id, (by, cid.as_ref()), *on),
            Entry::Room(entry) => self.change_room(now, entry),
            Entry::Read { by, conversation, up_to, unread, cid } => {
                let conversation = rules::may_mark(&At { state: self, now }, by, conversation)?;
                let (up_to, key) = ((*up_to).min(self.head), key_of_named(by, &conversation));
                let marker = self.markers.entry((by.clone(), key.clone())).or_default();
                marker.read = if *unread { up_to } else { up_to.max(marker.read) };
                let seq = marker.read;
                let (unread, mentions) = self.count_after(by, &key, seq);
                let cid = cid.clone();
                let marker = ReadMarker { conversation, seq, unread, mentions, cid };
                Ok(Outcome::Personal { user: by.clone(), event: Event::Read(marker) })
            }
            Entry::Notify { by, conversation, level, muted_until, cid } => {
                let conversation = rules::may_mark(&At { state: self, now }, by, conversation)?;
                let key = (by.clone(), key_of_named(by, &conversation));
                let marker = self.markers.entry(key).or_default();
                (marker.notify, marker.muted_until) = (Some(*level), *muted_until);
                let (level, muted_until, cid) = (*level, *muted_until, cid.clone());
                let setting = NotifySetting { conversation, level, muted_until, cid };
                Ok(Outcome::Personal { user: by.clone(), event: Event::NotifySet(setting) })
            }
            Entry::Register(new) => self.register(now, new),
            Entry::Rebind { user, key } => self.rebind(now, user, *key),
            Entry::Invite(invite) => self.invite(now, invite.clone()),
            Entry::Ban(subject) => self.ban(now, subject),
            Entry::Unban(subject) => self.unban(now, subject),
            Entry::Retain(retain) => Ok(Outcome::Retained(self.retain(retain))),
            Entry::Delivered { user, up_to } => {
                if let Some(Account { delivered, .. }) = self.accounts.get_mut(user) {
                    *delivered = (*delivered).max(*up_to);
                }
                Ok(Outcome::Done)
            }
        }
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
        let mut rooms = Vec::new();
        if let InviteRule::Required(Some(hash)) = new.invite {
            rooms = self.invites[&hash].rooms.clone();
            self.invites.entry(hash).and_modify(|open| open.uses -= 1);
            self.invites.retain(|_, open| open.uses > 0);
        }
        self.accounts.insert(user.clone(), Account { key: new.key, at: now, delivered: Seq(0) });
        self.markers.entry((user.clone(), String::new())).or_default().read = self.head;
        let joined = room_rules::join_invited(&user, rooms, |entry| self.change_room(now, entry))?;
        Ok(Outcome::Registered { user, key: new.key, joined })
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

    fn post(&mut self, now: Millis, new: &NewMessage) -> Result<Outcome, NoChange> {
        let rows = At { state: self, now };
        let audience = rules::resolve_audience(&rows, new)?;
        let ids = MessageIds::new(EPOCH, MessageId::FIRST, Seq(0));
        let id = ids.assign(Seq(self.head.0 + 1)).ok_or(NO_IDS_LEFT)?;
        let mentions = mentions(&rows, &new.sender, &audience, new.content.as_str(), &new.guests)?;
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
            mentions,
            edited: None,
            reactions: Vec::new(),
            pinned: false,
        };
        let recipients = join_recipients(&message.audience);
        self.mentions.insert(message.seq, message.mentions.clone());
        self.messages.insert(message.seq, MessageEntry { message: message.clone(), recipients });
        Ok(Outcome::Posted(message))
    }

    fn edit(
        &mut self,
        now: Millis,
        id: MessageId,
        (by, cid): (&UserId, Option<&Cid>),
        content: &SafeText,
        guests: &BTreeSet<UserId>,
    ) -> Result<Outcome, NoChange> {
        let rows = At { state: self, now };
        let original = rules::may_edit(&rows, id, by)?;
        if rows.state.messages[&original.seq].message.content == *content {
            return Err(NoChange::Unchanged(Some(id)));
        }
        let mentioned = mentions(&rows, by, &original.audience, content.as_str(), guests)?;
        let at = advance_clock(self.clock, now);
        let counted = self.mentions.get_mut(&original.seq).unwrap();
        *counted = match (&*counted, &mentioned) {
            (Mentions::Users(old), Mentions::Users(new)) => {
                old.iter().filter(|user| new.contains(user)).cloned().collect::<Vec<_>>().into()
            }
            (Mentions::All, Mentions::All) => Mentions::All,
            _ => Mentions::None,
        };
        let message = &mut self.messages.get_mut(&original.seq).unwrap().message;
        (message.content, message.mentions) = (content.clone(), mentioned);
        message.edited = Some(at);
        let edited = message.clone();
        Ok(self.change(now, &original, (Some((id, by)), cid), ChangeKind::Edited, Some(edited)))
    }

    fn react(
        &mut self,
        now: Millis,
        id: MessageId,
        (by, cid): (&UserId, Option<&Cid>),
        emoji: &Emoji,
        on: bool,
    ) -> Result<Outcome, NoChange> {
        let rows = At { state: self, now };
        let kinds = |seq| {
            let all = self.reactions.keys().filter(|(message, ..)| *message == seq);
            let mut kinds = BTreeMap::new();
            for (_, emoji, user) in all {
                *kinds.entry(emoji.clone()).or_default() |= user == by;
            }
            Ok(kinds.into_iter().collect())
        };
        let original = rules::may_react(&rows, (id, by), (emoji, on), kinds)?;
        let key = (original.seq, emoji.clone(), by.clone());
        if on {
            self.reactions.insert(key, Seq(self.head.0 + 1));
        } else {
            self.reactions.remove(&key);
        }
        let kind = ChangeKind::Reacted { emoji: emoji.clone(), on };
        Ok(self.change(now, &original, (Some((id, by)), cid), kind, None))
    }

    fn pin(
        &mut self,
        now: Millis,
        id: MessageId,
        (by, cid): (&UserId, Option<&Cid>),
        on: bool,
    ) -> Result<Outcome, NoChange> {
        let pins = |original: &Original| {
            let is_near = |seq: &&Seq| {
                conversation_of(&self.messages[*seq].message) == original.conversation()
            };
            Ok((self.pins.contains(&original.seq), self.pins.iter().filter(is_near).count()))
        };
        let original = rules::may_pin(&At { state: self, now }, (id, by), on, pins)?;
        if on {
            self.pins.insert(original.seq);
        } else {
            self.pins.remove(&original.seq);
        }
        Ok(self.change(now, &original, (Some((id, by)), cid), ChangeKind::Pinned { on }, None))
    }

    fn change_room(&mut self, now: Millis, entry: &RoomEntry) -> Result<Outcome, NoChange> {
        let seq = Seq(self.head.0 + 1);
        let RoomPlan { change, state, members } =
            room_rules::plan(&At { state: self, now }, entry, seq)?;
        let room = self.rooms.entry(entry.room.clone()).or_default();
        room.0 = state.clone();
        for MemberChange { user, since } in &members {
            if let Some(since) = *since {
                room.1.insert(user.clone(), Membership { since, joined: seq });
                let key = (user.clone(), entry.room.as_str().to_owned());
                self.markers.entry(key).or_default().read = seq;
            } else {
                room.1.remove(user);
            }
        }
        let left = members.iter().filter(|change| change.since.is_none());
        let row = ChangeRow {
            seq,
            id: None,
            about: seq,
            by: entry.by.clone(),
            cid: entry.cid.clone(),
            conversation: entry.room.as_str().to_owned(),
            also: left.map(|change| change.user.clone()).collect(),
            at: advance_clock(self.clock, now),
            kind: ChangeKind::Room { room: entry.room.clone(), change, state },
        };
        Ok(self.add_change(row, members, None))
    }

    /// A change of a message.
    fn change(
        &mut self,
        now: Millis,
        original: &Original,
        (about, cid): (Option<(MessageId, &UserId)>, Option<&Cid>),
        kind: ChangeKind,
        edited: Option<Message>,
    ) -> Outcome {
        let row = ChangeRow {
            seq: Seq(self.head.0 + 1),
            id: about.map(|(id, _)| id),
            about: original.seq,
            by: about.map(|(_, by)| by.clone()),
            cid: cid.cloned(),
            conversation: original.conversation(),
            also: Vec::new(),
            at: advance_clock(self.clock, now),
            kind,
        };
        self.add_change(row, Vec::new(), edited)
    }

    fn add_change(
        &mut self,
        row: ChangeRow,
        members: Vec<MemberChange>,
        edited: Option<Message>,
    ) -> Outcome {
        self.clock = row.at;
        assert_eq!(self.next_seq(), row.seq);
        self.changes.insert(row.seq, row.clone());
        let viewers = Viewers::of_change(&row).unwrap();
        Outcome::Changed(Change { event: row.into_event(edited).unwrap(), viewers, members })
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
        kind: ChangeKind,
        cid: Option<&Cid>,
    ) -> Result<Outcome, NoChange> {
        let message = self.find_message(id).ok_or(Refusal::UnknownMessage(id))?.clone();
        self.drop_message(message.seq);
        let row = ChangeRow {
            seq: Seq(self.head.0 + 1),
            id: Some(id),
            about: message.seq,
            by: (kind == ChangeKind::Deleted).then(|| message.sender.clone()),
            cid: cid.cloned(),
            conversation: conversation_of(&message),
            also: Vec::new(),
            at: advance_clock(self.clock, now),
            kind,
        };
        Ok(self.add_change(row, Vec::new(), None))
    }

    /// Removes a message and all that is attached to it.
    fn drop_message(&mut self, seq: Seq) {
        self.messages.remove(&seq);
        self.mentions.remove(&seq);
        self.pins.remove(&seq);
        self.reactions.retain(|(message, ..), _| *message != seq);
    }

    fn count_after(&self, user: &UserId, key: &str, read: Seq) -> (u32, u32) {
        let since = self.since(key, user).unwrap_or_default();
        let is_new = |message: &&Message| {
            message.seq > read
                && message.seq >= since
                && message.sender != *user
                && conversation_of(message) == key
        };
        let new = self.messages.values().map(|stored| &stored.message).filter(is_new);
        let count = |count: usize| u32::try_from(count).unwrap().min(UNREAD_COUNTED);
        let mentions = new.clone().filter(|message| self.mentions[&message.seq].includes(user));
        (count(new.clone().count()), count(mentions.count()))
    }

    /// The first event of a room that a member may see.
    fn since(&self, room: &str, user: &UserId) -> Option<Seq> {
        Some(self.rooms.get(room)?.1.get(user)?.since)
    }

    fn sees(&self, viewer: &UserId, key: &str, about: Seq) -> bool {
        match key {
            "" => true,
            room if room.starts_with('#') => {
                self.since(room, viewer).is_some_and(|since| about >= since)
            }
            users => users.split(' ').any(|user| user == viewer.as_str()),
        }
    }

    fn is_visible(&self, message: &Message, view: View<'_>) -> bool {
        is_unexpired(message, view.now)
            && self.sees(view.viewer, &conversation_of(message), message.seq)
    }

    fn annotated(&self, message: &Message, viewer: &UserId) -> Message {
        let mut all: Vec<_> =
            self.reactions.iter().filter(|((seq, ..), _)| *seq == message.seq).collect();
        all.sort_by_key(|(_, event)| **event);
        let mut reactions: Vec<Reaction> = Vec::new();
        for ((_, emoji, _), _) in &all {
            if reactions.iter().any(|reaction| reaction.emoji == *emoji) {
                continue;
            }
            let users = all.iter().filter(|((_, other, _), _)| other == emoji);
            let mut users: Vec<_> = users.map(|((.., user), _)| user.clone()).collect();
            users.sort_by_key(|user| user != viewer);
            let count = u32::try_from(users.len()).unwrap();
            users.truncate(REACTION_USERS);
            reactions.push(Reaction { emoji: emoji.clone(), count, users });
        }
        Message { reactions, pinned: self.pins.contains(&message.seq), ..message.clone() }
    }

    fn prior_outcome(&self, now: Millis, sender: &UserId, cid: &Cid) -> Option<Outcome> {
        let oldest = advance_clock(self.clock, now) - CID_RETENTION;
        let is_same =
            |sent: &SentRequest| sent.sender == *sender && sent.cid == *cid && sent.at > oldest;
        let (seq, sent) = self.sent_requests.iter().find(|(_, sent)| is_same(sent))?;
        Some(Outcome::Repeated { seq: *seq, id: sent.id })
    }

    fn remember_cid(&mut self, sender: &UserId, cid: &Cid, id: Option<MessageId>) {
        self.sent_requests.retain(|_, sent| sent.sender != *sender || sent.cid != *cid);
        let sent = SentRequest { sender: sender.clone(), cid: cid.clone(), id, at: self.clock };
        self.sent_requests.insert(self.head, sent);
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
            self.drop_message(*seq);
        }
        let old = self.changes.iter().take(rows);
        let old = old.take_while(|(_, change)| change.at < now - TOMBSTONE_RETENTION);
        let old: Vec<_> = old.map(|(seq, _)| *seq).collect();
        self.changes.retain(|seq, _| !old.contains(seq));
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
        all.filter(move |message| self.is_visible(message, view))
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
        Ok(self.state.invites.get(hash).cloned())
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
            seq: message.seq,
            author: message.sender.clone(),
            audience: message.audience.clone(),
            is_temporary: message.expires().is_some(),
        }))
    }

    fn is_registered(&self, user: &UserId) -> Result<bool, StoreError> {
        Ok(self.state.accounts.contains_key(user))
    }

    fn room(&self, room: &RoomName) -> Result<Option<RoomState>, StoreError> {
        Ok(self.state.rooms.get(room).map(|(state, _)| state.clone()))
    }

    fn member_since(&self, room: &RoomName, user: &UserId) -> Result<Option<Seq>, StoreError> {
        Ok(self.state.since(room.as_str(), user))
    }

    fn is_in_conversation(&self, user: &UserId, key: &str) -> Result<bool, StoreError> {
        let users: BTreeSet<_> = row::parse_users(key)?;
        Ok(users.contains(user) && self.state.direct_conversations().contains(&users))
    }

    fn owner(&self, room: &RoomName) -> Result<Option<UserId>, StoreError> {
        Ok(self.state.members(room).into_iter().next())
    }
}

impl RoomRows for At<'_> {
    fn similar_room(&self, name: &RoomName) -> Result<Option<RoomName>, StoreError> {
        let skeletons = name.skeletons();
        let is_similar =
            |room: &&RoomName| room.skeletons().iter().any(|other| skeletons.contains(other));
        Ok(self.state.rooms.keys().find(is_similar).cloned())
    }

    fn count_rooms(&self) -> Result<u32, StoreError> {
        let open = self.state.rooms.values().filter(|(state, _)| !state.archived);
        Ok(u32::try_from(open.count()).unwrap())
    }

    fn count_memberships(&self, user: &UserId) -> Result<u32, StoreError> {
        let own = self.state.rooms.values().filter(|(_, members)| members.contains_key(user));
        Ok(u32::try_from(own.count()).unwrap())
    }
}

impl MemberRows for At<'_> {
    fn users_between(
        &self,
        room: Option<&RoomName>,
        from: &str,
        to: &str,
    ) -> Result<Vec<UserId>, StoreError> {
        let users: Vec<_> = match room {
            None => self.state.accounts.keys().cloned().collect(),
            Some(room) => self.state.members(room),
        };
        let range = from..=to;
        Ok(users.into_iter().filter(|user| range.contains(&user.as_str())).take(2).collect())
    }

    fn count_registered(&self, limit: u32) -> Result<u32, StoreError> {
        Ok(u32::try_from(self.state.accounts.len()).unwrap().min(limit))
    }
}

fn is_unexpired(message: &Message, now: Millis) -> bool {
    message.expires().is_none_or(|expires| expires > now)
}

fn conversation_of(message: &Message) -> String {
    key_of_named(&message.sender, &message.audience)
}

impl LogState {
    /// The members of a room, longest first.
    fn members(&self, room: &RoomName) -> Vec<UserId> {
        let members = self.rooms.get(room).map(|(_, members)| members).into_iter().flatten();
        let mut members: Vec<_> = members.collect();
        members.sort_by_key(|(user, member)| (member.joined, *user));
        members.into_iter().map(|(user, _)| user.clone()).collect()
    }

    /// The key of the conversation that the viewer names, or why it may not be read.
    fn readable(&self, viewer: &UserId, conversation: Option<&Audience>) -> Answer<Option<String>> {
        let Some(conversation) = conversation else { return Ok(None) };
        if let Audience::Room(room) = conversation
            && self.since(room.as_str(), viewer).is_none()
        {
            let is_public = self.rooms.get(room).is_some_and(|(state, _)| !state.private);
            let room = room.clone();
            return Err(if is_public {
                Refusal::NotAMember(room)
            } else {
                Refusal::NoSuchRoom(room)
            });
        }
        Ok(Some(key_of_named(viewer, conversation)))
    }

    fn info(&self, viewer: &UserId, conversation: Audience) -> ConversationInfo {
        let key = key_of_named(viewer, &conversation);
        let view = View { viewer, now: Millis::MIN };
        let mut own = self.visible_messages(view).filter(|message| conversation_of(message) == key);
        let last = own.next_back().map(|message| message.seq).unwrap_or_default();
        let is_registered = self.accounts.contains_key(viewer);
        let read = if is_registered { Seq(0) } else { self.head };
        let default = Marker { read, ..Marker::default() };
        let marker = self.markers.get(&(viewer.clone(), key.clone())).copied().unwrap_or(default);
        let (unread, mentions) = self.count_after(viewer, &key, marker.read);
        ConversationInfo {
            room: self.rooms.get(key.as_str()).map(|(state, _)| state.clone()),
            last,
            read: marker.read,
            unread,
            mentions,
            notify: marker.notify.unwrap_or_else(|| rules::default_notify(&conversation)),
            muted_until: marker.muted_until,
            conversation,
        }
    }
}

/// `limit` messages before or after a position, the nearest ones, and whether there are more.
fn nearest<'a>(
    mut messages: impl Iterator<Item = &'a Message>,
    limit: usize,
) -> (Vec<&'a Message>, bool) {
    let page = messages.by_ref().take(limit).collect();
    (page, messages.next().is_some())
}

impl MemoryReader {
    fn events(
        &self,
        view: View<'_>,
        after: Seq,
        limit: usize,
        in_rooms: bool,
    ) -> Option<EventPage> {
        let state = read_lock(&self.0);
        if after < state.horizon {
            return None;
        }
        let posted = state
            .visible_messages(view)
            .filter(|message| in_rooms || message.audience.room().is_none())
            .map(|message| (message.seq, Event::Posted(message.clone())));
        let is_for_viewer = |change: &&ChangeRow| {
            change.also.contains(view.viewer)
                || (in_rooms || !change.conversation.starts_with('#'))
                    && state.sees(view.viewer, &change.conversation, change.about)
        };
        let changes = state.changes.values().filter(is_for_viewer).filter_map(|change| {
            let edited = state.messages.get(&change.about).map(|stored| stored.message.clone());
            let edited = edited.filter(|message| state.is_visible(message, view));
            Some((change.seq, change.clone().into_event(edited)?))
        });
        let all: BTreeMap<Seq, Event> = posted.chain(changes).collect();
        let later = all.range((Bound::Excluded(after), Bound::Unbounded));
        let page: Vec<_> = later.take(limit.max(1)).collect();
        let full = page.last().filter(|_| page.len() == limit.max(1));
        let complete_to = full.map_or(state.head, |(seq, _)| **seq);
        let events = page.into_iter().map(|(_, event)| event.clone()).collect();
        Some(EventPage { events, complete_to })
    }
}

impl Reader for MemoryReader {
    fn events_after(
        &mut self,
        view: View<'_>,
        after: Seq,
        limit: usize,
    ) -> Result<Option<EventPage>, StoreError> {
        Ok(self.events(view, after, limit, true))
    }

    fn events_outside_rooms_after(
        &mut self,
        view: View<'_>,
        after: Seq,
        limit: usize,
    ) -> Result<Option<EventPage>, StoreError> {
        Ok(self.events(view, after, limit, false))
    }

    fn history(
        &mut self,
        view: View<'_>,
        query: &HistoryQuery,
        limit: usize,
    ) -> Result<Answer<MessagePage>, StoreError> {
        let state = read_lock(&self.0);
        let key = match state.readable(view.viewer, query.conversation.as_ref()) {
            Ok(key) => key,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let is_in =
            |message: &&Message| key.as_ref().is_none_or(|key| conversation_of(message) == *key);
        let all: Vec<_> = state.visible_messages(view).filter(is_in).collect();
        let find = |id: MessageId| all.iter().position(|message| message.id == id);
        let before = |at: usize, limit| nearest(all[..at].iter().rev().copied(), limit);
        let after = |at: usize, limit| nearest(all[at..].iter().copied(), limit);
        let at = |seq: Seq| all.iter().take_while(|message| message.seq < seq).count();
        let past = |seq: Seq| all.iter().take_while(|message| message.seq <= seq).count();
        let nothing = |has_more| (Vec::new(), has_more);
        let half = limit / 2;
        let ((earlier, has_earlier), (later, has_later)) = match query.range {
            HistoryRange::Latest => (before(all.len(), limit), nothing(false)),
            HistoryRange::Before(seq) => (before(at(seq), limit), nothing(at(seq) < all.len())),
            HistoryRange::After(seq) => (nothing(past(seq) > 0), after(past(seq), limit)),
            HistoryRange::Near(seq) => (before(past(seq), half), after(past(seq), half)),
            HistoryRange::Around(id) => match find(id) {
                None => return Ok(Err(Refusal::UnknownMessage(id))),
                Some(found) => (before(found + 1, half + 1), after(found + 1, half)),
            },
            HistoryRange::Thread(id) => match find(id) {
                None => return Ok(Err(Refusal::UnknownMessage(id))),
                Some(found) => {
                    let replies = all.iter().rev().copied();
                    let replies = replies.filter(|message| message.reply_to() == Some(id));
                    let (mut page, has_earlier) = nearest(replies, limit.saturating_sub(1));
                    page.push(all[found]);
                    ((page, has_earlier), nothing(false))
                }
            },
            HistoryRange::Pinned => {
                let pinned = all.iter().rev().copied();
                let pinned = pinned.filter(|message| state.pins.contains(&message.seq));
                (nearest(pinned, limit), nothing(false))
            }
        };
        let messages = earlier.into_iter().rev().chain(later);
        let messages = messages.map(|message| state.annotated(message, view.viewer)).collect();
        Ok(Ok(MessagePage { messages, has_earlier, has_later }))
    }

    fn messages(&mut self, view: View<'_>, seqs: &[Seq]) -> Result<Vec<Message>, StoreError> {
        let state = read_lock(&self.0);
        let find = |seq| state.messages.get(seq).map(|stored| &stored.message);
        Ok(seqs
            .iter()
            .filter_map(find)
            .filter(|message| state.is_visible(message, view))
            .map(|message| state.annotated(message, view.viewer))
            .collect())
    }

    fn scan(
        &mut self,
        view: View<'_>,
        conversation: Option<&Audience>,
        before: Option<Seq>,
        max_rows: usize,
        visit: &mut dyn FnMut(&ScanRow<'_>) -> ControlFlow<()>,
    ) -> Result<Answer<ScanResult>, StoreError> {
        let state = read_lock(&self.0);
        let key = match state.readable(view.viewer, conversation) {
            Ok(key) => key,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let is_in = |stored: &MessageEntry| {
            key.as_ref().is_none_or(|key| conversation_of(&stored.message) == *key)
        };
        let (mut visited, mut next) = (0, None);
        let before = before.unwrap_or(Seq(u64::MAX));
        let rows = state.messages.range(..before).rev().filter(|(_, stored)| is_in(stored));
        for (examined, (seq, stored)) in (1..).zip(rows) {
            let mut flow = ControlFlow::Continue(());
            if state.is_visible(&stored.message, view) {
                visited += 1;
                flow = visit(&stored.scan_row());
            }
            if examined == max_rows.max(1) || flow.is_break() {
                next = Some(*seq);
                break;
            }
        }
        Ok(Ok(ScanResult { visited, next }))
    }

    fn conversations(&mut self, view: View<'_>) -> Result<Vec<ConversationInfo>, StoreError> {
        let (state, viewer) = (read_lock(&self.0), view.viewer);
        let rooms = state.rooms.iter().filter(|(_, (_, members))| members.contains_key(viewer));
        let rooms = rooms.map(|(room, _)| Audience::Room(room.clone()));
        let shared = [Audience::Everyone].into_iter().chain(rooms);
        let mut all: Vec<_> = shared.map(|shared| state.info(viewer, shared)).collect();
        let direct = state.direct_conversations().into_iter();
        let direct = direct.filter(|users| users.contains(viewer)).map(|mut users| {
            users.remove(viewer);
            state.info(viewer, Audience::Only(users))
        });
        let order = |info: &ConversationInfo| {
            (Reverse(info.last), key_of_named(viewer, &info.conversation))
        };
        let mut direct: Vec<_> = direct.collect();
        direct.sort_by_key(order);
        direct.truncate(LISTED_CONVERSATIONS.saturating_sub(all.len()));
        all.extend(direct);
        all.sort_by_key(order);
        Ok(all)
    }

    fn public_rooms(
        &mut self,
        after: Option<&RoomName>,
        limit: usize,
    ) -> Result<Page<(RoomName, RoomState)>, StoreError> {
        let state = read_lock(&self.0);
        let is_listed = |(name, (state, _)): &(&RoomName, &(RoomState, _))| {
            after.is_none_or(|after| *name > after) && !state.private && !state.archived
        };
        let rooms = state.rooms.iter().filter(is_listed);
        Ok(Page::new(
            rooms.map(|(name, (state, _))| (name.clone(), state.clone())).collect(),
            limit,
        ))
    }

    fn users(
        &mut self,
        view: View<'_>,
        room: Option<&RoomName>,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Answer<Page<UserId>>, StoreError> {
        let state = read_lock(&self.0);
        let Some(room) = room else {
            let users = state.accounts.keys().filter(|user| Some(*user) > after).cloned();
            return Ok(Ok(Page::new(users.collect(), limit)));
        };
        let conversation = Audience::Room(room.clone());
        if let Err(refusal) = state.readable(view.viewer, Some(&conversation)) {
            return Ok(Err(refusal));
        }
        let members = state.members(room);
        let start = match after {
            None => 0,
            Some(after) => {
                members.iter().position(|user| user == after).map_or(members.len(), |at| at + 1)
            }
        };
        Ok(Ok(Page::new(members[start..].to_vec(), limit)))
    }

    fn open_invites(&mut self, now: Millis) -> Result<Vec<OpenInvite>, StoreError> {
        let state = read_lock(&self.0);
        let open = state.invites.values().filter(|open| open.is_usable(now));
        let mut open: Vec<_> = open.cloned().collect();
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
