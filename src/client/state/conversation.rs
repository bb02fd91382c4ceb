//! One conversation as this user sees it: loaded messages, pending messages, read marker, members, settings.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, FixedOffset, TimeDelta};

use super::history::{HistoryBoundary, HistoryRequest, LoadedHistory};
use super::pending::PendingMessage;
use super::read_state::ReadState;
use super::timeline::{EntryIndex, MessageState, Timeline, TimelineMessage};
use crate::protocol::id::{Cid, MessageId, Seq, UserId};
use crate::protocol::limits::TYPING_MEMBERS;
use crate::protocol::message::{Audience, Message, Millis};
use crate::protocol::room::{NotifyLevel, RoomChange, RoomState, UserList};
use crate::protocol::text::SafeText;

/// How long a TYPING event counts (PROTOCOL.md).
const TYPING_LASTS: TimeDelta = TimeDelta::seconds(6);

/// A conversation as this user sees it.
#[derive(Debug, Clone)]
pub struct Conversation {
    /// The messages up to the latest one.
    pub(super) live: LoadedHistory,
    /// An excerpt of the past around a message, which is shown instead.
    pub(super) excerpt: Option<LoadedHistory>,
    /// Whether there are messages on the server and none was loaded yet.
    pub(super) needs_recent: bool,
    /// The unanswered request for a page of history.
    pub(super) loading: Option<(Cid, HistoryRequest)>,
    /// Whether the server refused a page. The next one is requested when the conversation is opened again or
    /// after a new connection.
    pub(super) was_refused: bool,
    pub(super) pending: Vec<PendingMessage>,
    pub(super) read: ReadState,
    /// The first message of another user after the marker at the time of opening.
    pub(super) first_unread: Option<(Seq, MessageId)>,
    /// The marker when the conversation was opened.
    pub(super) unread_after: Option<Seq>,
    /// The number of unread messages when the conversation was opened; 0 if unknown.
    pub(super) unread_at_opening: u32,
    pub(super) room: Option<RoomState>,
    pub(super) members: Option<Members>,
    pub(super) notify: NotifyLevel,
    pub(super) muted_until: Option<Millis>,
    pub(super) last: Seq,
    /// Counts openings: the conversation with the highest number was opened last. 0: never opened.
    pub(super) opened: u64,
    typing: BTreeMap<UserId, DateTime<FixedOffset>>,
}

/// The loaded members of a room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    /// In the order in which they joined: the first one is the owner.
    pub users: Vec<UserId>,
    /// Whether all are loaded.
    pub is_complete: bool,
}

impl Conversation {
    /// Creates a conversation. `needs_recent`: whether the server may have messages of it.
    pub(super) fn new(audience: &Audience, needs_recent: bool) -> Self {
        let notify = if audience.is_direct() { NotifyLevel::All } else { NotifyLevel::Mentions };
        Self {
            live: LoadedHistory::default(),
            excerpt: None,
            needs_recent,
            loading: None,
            was_refused: false,
            pending: Vec::new(),
            read: ReadState::default(),
            first_unread: None,
            unread_after: None,
            unread_at_opening: 0,
            room: audience.room().map(|_| RoomState::default()),
            members: None,
            notify,
            muted_until: None,
            last: Seq(0),
            opened: 0,
            typing: BTreeMap::new(),
        }
    }

    /// Returns the shown timeline: that up to the latest message, or an excerpt of the past.
    pub fn timeline(&self) -> &Timeline {
        &self.shown().timeline
    }

    /// Returns the timeline up to the latest message, even while an excerpt is shown.
    pub fn live_timeline(&self) -> &Timeline {
        &self.live.timeline
    }

    /// Returns the unacknowledged messages, oldest first.
    pub fn pending(&self) -> &[PendingMessage] {
        &self.pending
    }

    /// Returns a loaded message, whether it is shown or not.
    pub fn message(&self, id: MessageId) -> Option<&TimelineMessage> {
        let excerpt = self.excerpt.as_ref().and_then(|excerpt| excerpt.timeline.message(id));
        self.live.timeline.message(id).or(excerpt)
    }

    /// Returns the read marker: the last message read.
    pub fn marker(&self) -> Seq {
        self.read.marker()
    }

    /// Returns the number of messages of others after the marker, up to
    /// [`UNREAD_COUNTED`](crate::protocol::limits::UNREAD_COUNTED).
    pub fn unread(&self) -> u32 {
        self.read.unread
    }

    /// Returns how many of the unread messages mention this user.
    pub fn mentions(&self) -> u32 {
        self.read.mentions
    }

    /// Returns the first loaded message of another user after the marker at the time of opening.
    pub fn first_unread(&self) -> Option<MessageId> {
        self.first_unread.map(|(_, id)| id)
    }

    /// Returns how many messages were unread when the conversation was opened, up to
    /// [`UNREAD_COUNTED`](crate::protocol::limits::UNREAD_COUNTED); 0 if unknown.
    pub fn unread_at_opening(&self) -> u32 {
        self.unread_at_opening
    }

    /// Returns the state of the room; `None` for Everyone and direct conversations.
    pub fn room(&self) -> Option<&RoomState> {
        self.room.as_ref()
    }

    /// Returns the members of the room, as far as they were loaded.
    pub fn members(&self) -> Option<&Members> {
        self.members.as_ref()
    }

    /// Returns which messages ring.
    pub fn notify_level(&self) -> NotifyLevel {
        self.notify
    }

    /// Returns until when nothing rings, by the server's clock.
    pub fn muted_until(&self) -> Option<Millis> {
        self.muted_until
    }

    /// Returns the latest message.
    pub fn last(&self) -> Seq {
        self.last
    }

    /// Returns the users who are writing.
    pub fn typing(&self) -> impl Iterator<Item = &UserId> {
        self.typing.keys()
    }

    fn timelines_mut(&mut self) -> impl Iterator<Item = &mut Timeline> {
        let excerpt = self.excerpt.as_mut().map(|excerpt| &mut excerpt.timeline);
        std::iter::once(&mut self.live.timeline).chain(excerpt)
    }

    /// Adds a new message. Returns `None` if it is there already.
    pub(super) fn add(&mut self, message: Message, own: &BTreeSet<UserId>) -> Option<EntryIndex> {
        let counts = is_unread(&message, own).then(|| (message.seq, is_mention(&message, own)));
        self.typing.remove(&message.sender);
        let seq = message.seq;
        let index = self.live.timeline.add(message)?;
        self.last = self.last.max(seq);
        if let Some((seq, is_mention)) = counts {
            self.read.count(seq, is_mention);
        }
        Some(index)
    }

    /// Removes the text of a message. Returns whether it was readable.
    pub(super) fn remove_text(
        &mut self,
        id: MessageId,
        state: MessageState,
        own: &BTreeSet<UserId>,
    ) -> bool {
        let readable = self.message(id).filter(|entry| entry.state == MessageState::Readable);
        let Some(message) = readable.map(|entry| &entry.message) else { return false };
        if is_unread(message, own) {
            self.read.uncount(message.seq, is_mention(message, own));
        }
        for timeline in self.timelines_mut() {
            timeline.remove_text(id, state);
        }
        true
    }

    /// Changes a readable message. Returns whether it is loaded.
    pub(super) fn update(&mut self, id: MessageId, change: impl Fn(&mut Message)) -> bool {
        self.timelines_mut()
            .filter_map(|timeline| timeline.update(id, &change).then_some(()))
            .count()
            > 0
    }

    /// Removes the text of messages that have expired at `now`, by the server's clock. Returns them.
    pub(super) fn expire(&mut self, now: Millis, own: &BTreeSet<UserId>) -> Vec<MessageId> {
        let mut expired = Vec::new();
        for timeline in self.timelines_mut() {
            expired.extend(timeline.take_expired(now));
        }
        expired.retain(|id| self.remove_text(*id, MessageState::Expired, own));
        expired
    }

    /// Returns when the next message expires, by the server's clock.
    pub(super) fn next_expiry(&self) -> Option<Millis> {
        let excerpt = self.excerpt.as_ref().and_then(|excerpt| excerpt.timeline.next_expiry());
        self.live.timeline.next_expiry().into_iter().chain(excerpt).min()
    }

    /// Sets what is known about the unread messages from the server's counts. `counted_to` is the last
    /// message that the server counted, if known.
    pub(super) fn set_counts(
        &mut self,
        (unread, mentions): (u32, u32),
        counted_to: Seq,
        own: &BTreeSet<UserId>,
    ) {
        let marker = self.read.marker();
        let (from, base) = if self.has_all_after(marker) {
            (marker, (0, 0))
        } else {
            (marker.max(counted_to), (unread, mentions))
        };
        let (more, more_mentions) = self.count_after(from, own);
        self.read.set_counts(base.0 + more, base.1 + more_mentions);
    }

    /// Counts again after the marker was moved here.
    pub(super) fn recount(&mut self, own: &BTreeSet<UserId>) {
        let marker = self.read.marker();
        let (unread, mentions) = self.count_after(marker, own);
        if self.has_all_after(marker) {
            self.read.set_counts(unread, mentions);
        } else {
            self.read.set_counts(self.read.unread.max(unread), self.read.mentions.max(mentions));
        }
    }

    fn count_after(&self, seq: Seq, own: &BTreeSet<UserId>) -> (u32, u32) {
        let newer = self.live.timeline.newest_first().take_while(|message| message.seq > seq);
        newer.filter(|message| is_unread(message, own)).fold((0, 0), |(unread, mentions), one| {
            (unread + 1, mentions + u32::from(is_mention(one, own)))
        })
    }

    /// Whether all messages after a position are loaded.
    fn has_all_after(&self, seq: Seq) -> bool {
        let is_full = matches!(self.live.above, None | Some(HistoryBoundary::Beginning));
        let reaches = self.live.timeline.oldest().is_some_and(|oldest| oldest.seq <= seq);
        !self.needs_recent && (is_full || reaches)
    }

    /// Puts the unread line after a position.
    pub(super) fn set_unread_line(&mut self, after: Seq, own: &BTreeSet<UserId>) {
        self.unread_after = Some(after);
        let newer = self.live.timeline.newest_first().take_while(|message| message.seq > after);
        let first = newer.filter(|message| is_unread(message, own)).last();
        self.first_unread = first.map(|message| (message.seq, message.id));
    }

    /// Drops what was loaded, but neither pending messages nor settings.
    pub(super) fn discard_history(&mut self) {
        self.live.clear();
        (self.excerpt, self.loading, self.first_unread) = (None, None, None);
        self.needs_recent = true;
    }

    /// Whether a new message is to ring at `now`, by the server's clock.
    pub(super) fn rings(&self, message: &Message, own: &BTreeSet<UserId>, now: Millis) -> bool {
        let is_wanted = match self.notify {
            NotifyLevel::All => true,
            NotifyLevel::Mentions => is_mention(message, own),
            NotifyLevel::None => false,
        };
        is_wanted && is_unread(message, own) && self.muted_until.is_none_or(|until| until <= now)
    }

    /// Applies a change of the room's members.
    pub(super) fn on_members_changed(&mut self, change: &RoomChange, by: Option<&UserId>) {
        let Some(members) = &mut self.members else { return };
        match change {
            RoomChange::Joined => members.add(by),
            RoomChange::Added(users) => members.add(users),
            RoomChange::Left => members.users.retain(|user| Some(user) != by),
            RoomChange::Removed(users) => members.users.retain(|user| !users.contains(user)),
            RoomChange::Created | RoomChange::Topic | RoomChange::Archived => {}
        }
    }

    /// Adds a page of members. Returns the last one if another page follows.
    pub(super) fn on_member_page(&mut self, page: UserList, is_first: bool) -> Option<UserId> {
        let members = self.members.get_or_insert_default();
        if is_first {
            members.users.clear();
        }
        let last = page.users.last().cloned();
        members.is_complete = !page.has_more;
        members.users.extend(page.users);
        last.filter(|_| page.has_more)
    }

    /// Handles a TYPING event.
    pub(super) fn on_typing(&mut self, now: DateTime<FixedOffset>, user: UserId) {
        if self.typing.len() < TYPING_MEMBERS || self.typing.contains_key(&user) {
            self.typing.insert(user, now + TYPING_LASTS);
        }
    }

    /// Forgets users who have stopped writing. Returns whether there were some.
    pub(super) fn expire_typing(&mut self, now: DateTime<FixedOffset>) -> bool {
        let before = self.typing.len();
        self.typing.retain(|_, until| *until > now);
        self.typing.len() < before
    }

    pub(super) fn typing_expiry(&self) -> Option<DateTime<FixedOffset>> {
        self.typing.values().min().copied()
    }

    /// Adds a notice, unless an excerpt is shown.
    pub(super) fn add_notice(&mut self, at: DateTime<FixedOffset>, text: SafeText) {
        if self.excerpt.is_none() {
            self.live.timeline.add_notice(at, text);
        }
    }
}

impl Members {
    fn add<'a>(&mut self, users: impl IntoIterator<Item = &'a UserId>) {
        // Those beyond what is loaded come with their page.
        if self.is_complete {
            let new: Vec<UserId> =
                users.into_iter().filter(|user| !self.users.contains(user)).cloned().collect();
            self.users.extend(new);
        }
    }
}

fn is_unread(message: &Message, own: &BTreeSet<UserId>) -> bool {
    !own.contains(&message.sender)
}

pub(super) fn is_mention(message: &Message, own: &BTreeSet<UserId>) -> bool {
    own.iter().any(|id| message.mentions.includes(id))
}
