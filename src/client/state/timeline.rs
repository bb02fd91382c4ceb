//! The timeline: messages in the server's order, with presence changes and notices between them.
//!
//! Pure, and independent of the presentation except for `run`: consecutive messages of one author form a run
//! that shares a bubble.

use std::collections::{BTreeSet, HashMap, VecDeque};

use chrono::{DateTime, FixedOffset, TimeDelta};

use crate::protocol::id::{MessageId, Seq, UserId};
use crate::protocol::message::{Audience, Message, Millis};
use crate::protocol::text::SafeText;

/// The highest number of entries of all conversations together, at some 300 bytes each. Older ones of a single
/// conversation are dropped.
pub(super) const MAX_ENTRIES: usize = 200_000;

/// The highest number of messages in a run. It bounds the work for a change of one message.
pub const MAX_RUN: u8 = 8;

/// A pause of this many minutes ends a run.
const RUN_GAP_MINUTES: i64 = 5;

/// The highest number of names in a [`NameList`]; beyond it only the number is shown.
pub const MAX_NAMES: usize = 4;

/// Presence changes within this time share one entry, so that many users who connect at the same time do
/// not drown the messages.
pub const PRESENCE_WINDOW: TimeDelta = TimeDelta::seconds(2);

/// The position of an entry, counted from the first one received; older history gets negative positions. It
/// stays valid while the entry is kept, unless a message is inserted before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryIndex(pub i64);

/// An entry of the timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimelineEntry {
    /// A message.
    Message(TimelineMessage),
    /// Users connected and disconnected.
    Presence {
        /// The time of the first change.
        at: DateTime<FixedOffset>,
        /// The users who connected.
        joined: NameList,
        /// The users who disconnected.
        left: NameList,
    },
    /// A notice, such as one about the connection.
    Notice {
        /// Its time.
        at: DateTime<FixedOffset>,
        /// Its text.
        text: SafeText,
    },
}

/// A number of users, of whom the first [`MAX_NAMES`] are kept by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameList {
    names: Vec<UserId>,
    count: usize,
}

impl NameList {
    /// Returns the number of users.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns the names, or the number of users if there are more than [`MAX_NAMES`].
    pub fn summary(&self) -> String {
        if self.count > self.names.len() {
            return format!("{} people", self.count);
        }
        self.names.iter().map(UserId::as_str).collect::<Vec<_>>().join(", ")
    }

    /// Adds users.
    pub fn add(&mut self, users: &[UserId]) {
        let free = MAX_NAMES.saturating_sub(self.names.len());
        self.names.extend(users.iter().take(free).cloned());
        self.count += users.len();
    }
}

/// A message in the timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineMessage {
    /// The message. Its text is empty unless it is readable.
    pub message: Message,
    /// Whether it was removed or has expired.
    pub state: MessageState,
    /// The position in its run; 0 starts a run.
    pub run: u8,
    /// Grows with each change of the message, so that a cached drawing of it can be recognized as outdated.
    pub revision: u32,
}

/// Whether the text of a message is still available.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageState {
    /// The text is available.
    Readable,
    /// The message was deleted.
    Removed,
    /// The message was temporary and has expired.
    Expired,
}

/// The loaded messages of the chat, with presence changes and notices.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    entries: VecDeque<TimelineEntry>,
    first: i64,
    indexes: HashMap<MessageId, EntryIndex>,
    expiries: BTreeSet<(Millis, MessageId)>,
    newest: Seq,
    /// The last presence entry.
    presence: Option<EntryIndex>,
}

impl Timeline {
    /// Returns the index of the first entry that is kept.
    pub fn first(&self) -> EntryIndex {
        EntryIndex(self.first)
    }

    /// Returns the index after the last entry.
    pub fn end(&self) -> EntryIndex {
        EntryIndex(self.first.saturating_add_unsigned(self.entries.len() as u64))
    }

    /// Returns an entry, if it is still kept.
    pub fn get(&self, index: EntryIndex) -> Option<&TimelineEntry> {
        self.entries.get(self.offset(index)?)
    }

    /// Returns a message, if it is loaded.
    pub fn message(&self, id: MessageId) -> Option<&TimelineMessage> {
        match self.get(self.index_of(id)?)? {
            TimelineEntry::Message(posted) => Some(posted),
            TimelineEntry::Presence { .. } | TimelineEntry::Notice { .. } => None,
        }
    }

    /// Returns the index of a message, if it is loaded.
    pub fn index_of(&self, id: MessageId) -> Option<EntryIndex> {
        self.indexes.get(&id).copied()
    }

    /// Returns the oldest loaded message.
    pub fn oldest(&self) -> Option<&Message> {
        self.entries.iter().find_map(message_of)
    }

    /// Returns the `seq` of the newest message ever added.
    pub fn newest(&self) -> Seq {
        self.newest
    }

    /// Returns the number of entries.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether more history fits.
    pub fn can_load_more(&self) -> bool {
        self.entries.len() < MAX_ENTRIES
    }

    /// Iterates over the readable messages, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Message> {
        self.entries.iter().rev().filter_map(|entry| match entry {
            TimelineEntry::Message(posted) if posted.state == MessageState::Readable => {
                Some(&posted.message)
            }
            TimelineEntry::Message(_)
            | TimelineEntry::Presence { .. }
            | TimelineEntry::Notice { .. } => None,
        })
    }

    /// Adds a message in the server's order, usually at the end. Returns `None` if it is there already.
    pub fn add(&mut self, message: Message) -> Option<EntryIndex> {
        if self.indexes.contains_key(&message.id) {
            return None;
        }
        if message.seq < self.newest {
            return Some(self.insert(message));
        }
        self.newest = message.seq;
        let run = match self.entries.back() {
            Some(TimelineEntry::Message(before)) => next_run(before, &message),
            Some(TimelineEntry::Presence { .. } | TimelineEntry::Notice { .. }) | None => 0,
        };
        let index = self.end();
        self.register(&message, index);
        Some(self.push(TimelineEntry::Message(TimelineMessage {
            message,
            state: MessageState::Readable,
            run,
            revision: 0,
        })))
    }

    /// Adds a page of history. Messages older than all loaded ones are put before all entries, the others
    /// in the server's order.
    pub fn add_history(&mut self, mut messages: Vec<Message>) {
        messages.sort_by_key(|message| message.seq);
        let oldest = self.oldest().map(|message| message.seq);
        let earlier =
            messages.partition_point(|message| oldest.is_none_or(|oldest| message.seq < oldest));
        let later = messages.split_off(earlier);
        if let Some(last) = messages.last() {
            self.newest = self.newest.max(last.seq);
        }
        for message in messages.into_iter().rev() {
            self.first -= 1;
            self.register(&message, EntryIndex(self.first));
            self.entries.push_front(TimelineEntry::Message(TimelineMessage {
                message,
                state: MessageState::Readable,
                run: 0,
                revision: 0,
            }));
        }
        // A run may span both the added and the existing messages.
        self.compute_runs(earlier + usize::from(MAX_RUN));
        for message in later {
            self.add(message);
        }
    }

    /// Adds presence changes: to the last presence entry if it is younger than [`PRESENCE_WINDOW`], or if
    /// it is the last entry and still short; otherwise as a new entry.
    pub fn add_presence(&mut self, at: DateTime<FixedOffset>, joined: &[UserId], left: &[UserId]) {
        let index = self.presence.filter(|index| index.0 >= self.first);
        let is_last = index.is_some_and(|index| index.0 + 1 == self.end().0);
        let entry = index.and_then(|index| self.offset(index));
        let entry = entry.and_then(|offset| self.entries.get_mut(offset));
        if let Some(TimelineEntry::Presence { at: since, joined: came, left: went }) = entry {
            let count = came.count() + went.count() + joined.len() + left.len();
            let is_young = (TimeDelta::zero()..PRESENCE_WINDOW).contains(&(at - *since));
            if is_young || (is_last && count <= MAX_NAMES) {
                came.add(joined);
                went.add(left);
                return;
            }
        }
        let (mut came, mut went) = (NameList::default(), NameList::default());
        came.add(joined);
        went.add(left);
        self.presence = Some(self.push(TimelineEntry::Presence { at, joined: came, left: went }));
    }

    /// Adds a notice.
    pub fn add_notice(&mut self, at: DateTime<FixedOffset>, text: SafeText) {
        self.push(TimelineEntry::Notice { at, text });
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        *self = Self { first: self.end().0, ..Self::default() };
    }

    /// Removes the text of a message permanently. Returns whether the message was readable.
    pub fn remove_text(&mut self, id: MessageId, state: MessageState) -> bool {
        let offset = self.index_of(id).and_then(|index| self.offset(index));
        let entry = offset.and_then(|offset| self.entries.get_mut(offset));
        let Some(TimelineEntry::Message(posted)) = entry else { return false };
        if posted.state != MessageState::Readable {
            return false;
        }
        if let Some(expires) = posted.message.expires() {
            self.expiries.remove(&(expires, id));
        }
        posted.state = state;
        posted.revision += 1;
        posted.message.content = SafeText::default();
        posted.message.reactions.clear();
        true
    }

    /// Changes a readable message. Returns whether it is there.
    pub(super) fn update(&mut self, id: MessageId, change: impl FnOnce(&mut Message)) -> bool {
        let offset = self.index_of(id).and_then(|index| self.offset(index));
        match offset.and_then(|offset| self.entries.get_mut(offset)) {
            Some(TimelineEntry::Message(posted)) if posted.state == MessageState::Readable => {
                posted.revision += 1;
                change(&mut posted.message);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Returns the messages that have expired at `now`, by the server's clock, once.
    pub(super) fn take_expired(&mut self, now: Millis) -> Vec<MessageId> {
        let mut expired = Vec::new();
        while let Some((_, id)) = self.expiries.first().copied().filter(|(at, _)| *at <= now) {
            self.expiries.pop_first();
            expired.push(id);
        }
        expired
    }

    /// Returns when the next message expires, by the server's clock.
    pub fn next_expiry(&self) -> Option<Millis> {
        self.expiries.first().map(|(at, _)| *at)
    }

    fn offset(&self, index: EntryIndex) -> Option<usize> {
        usize::try_from(index.0.checked_sub(self.first)?).ok()
    }

    fn register(&mut self, message: &Message, index: EntryIndex) {
        self.indexes.insert(message.id, index);
        if let Some(expires) = message.expires() {
            self.expiries.insert((expires, message.id));
        }
    }

    /// Inserts a message between others, and shifts the indexes after it. This is rare.
    fn insert(&mut self, message: Message) -> EntryIndex {
        let before =
            |entry: &TimelineEntry| message_of(entry).is_some_and(|one| one.seq < message.seq);
        let offset = self.entries.iter().rposition(before).map_or(0, |offset| offset + 1);
        let index = EntryIndex(self.first.saturating_add_unsigned(offset as u64));
        let indexes = self.indexes.values_mut().chain(&mut self.presence);
        for moved in indexes.filter(|moved| **moved >= index) {
            moved.0 += 1;
        }
        self.register(&message, index);
        self.entries.insert(
            offset,
            TimelineEntry::Message(TimelineMessage {
                message,
                state: MessageState::Readable,
                run: 0,
                revision: 0,
            }),
        );
        self.compute_runs(offset + 1 + usize::from(MAX_RUN));
        index
    }

    /// Computes the runs of the first `entries` entries, and on to the end of the last one's run.
    fn compute_runs(&mut self, entries: usize) {
        for offset in 0..self.entries.len() {
            let before = offset.checked_sub(1).and_then(|before| self.entries.get(before));
            let run = match (before, self.entries.get(offset)) {
                (Some(TimelineEntry::Message(before)), Some(TimelineEntry::Message(posted))) => {
                    next_run(before, &posted.message)
                }
                (_, _) => 0,
            };
            match self.entries.get_mut(offset) {
                Some(TimelineEntry::Message(posted)) if offset >= entries && posted.run == run => {
                    return;
                }
                Some(TimelineEntry::Message(posted)) => posted.run = run,
                Some(TimelineEntry::Presence { .. } | TimelineEntry::Notice { .. }) | None => {}
            }
        }
    }

    fn push(&mut self, entry: TimelineEntry) -> EntryIndex {
        let index = self.end();
        self.entries.push_back(entry);
        if self.entries.len() > MAX_ENTRIES {
            self.first += 1;
            if let Some(TimelineEntry::Message(posted)) = self.entries.pop_front() {
                self.indexes.remove(&posted.message.id);
            }
        }
        index
    }
}

fn message_of(entry: &TimelineEntry) -> Option<&Message> {
    match entry {
        TimelineEntry::Message(posted) => Some(&posted.message),
        TimelineEntry::Presence { .. } | TimelineEntry::Notice { .. } => None,
    }
}

fn next_run(before: &TimelineMessage, message: &Message) -> u8 {
    let together = before.run + 1 < MAX_RUN
        && before.message.sender == message.sender
        && continues_run(
            &before.message.audience,
            before.message.at,
            &message.audience,
            message.at,
        )
        && before.message.expires().is_none()
        && message.expires().is_none();
    if together { before.run + 1 } else { 0 }
}

/// Whether a message to `audience` at `at` continues the run of an earlier message by the same author: same
/// audience, same day, and no long pause.
pub fn continues_run(
    audience_before: &Audience,
    before: DateTime<FixedOffset>,
    audience: &Audience,
    at: DateTime<FixedOffset>,
) -> bool {
    audience_before == audience
        && (at - before).num_minutes() < RUN_GAP_MINUTES
        && at.naive_local().date() == before.with_timezone(at.offset()).naive_local().date()
}
