//! The conversation as it came: messages in the server's order, with what happened around them.
//!
//! Pure. It knows nothing of widths and colours; `run` alone is there for the eye, so that messages
//! of one author that belong together can share a bubble.

use std::collections::{BTreeSet, HashMap, VecDeque};

use chrono::{DateTime, FixedOffset, TimeDelta};

use crate::protocol::id::{MessageId, Seq, UserId};
use crate::protocol::message::{Audience, Message, Millis};
use crate::protocol::text::SafeText;

/// How many entries are kept: days of a busy room, at some 300 bytes each. Older ones are dropped.
const MAX_ENTRIES: usize = 200_000;

/// How many messages may share a bubble, so that no look at a neighbourhood is ever long.
pub const MAX_RUN: u8 = 8;

/// How long a pause ends a bubble, in minutes.
const RUN_GAP_MINUTES: i64 = 5;

/// How many names one notice of comings and goings gathers; of more it says how many.
pub const MAX_NAMES: usize = 4;

/// How long comings and goings are gathered in one notice, however many they are and whatever is said
/// meanwhile: people who come in crowds must not drown those who talk.
pub const PRESENCE_WINDOW: TimeDelta = TimeDelta::seconds(2);

/// The position of an entry, counted from the first that ever came; what was said before that and is
/// shown later comes before it. It never changes while the entry is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryIndex(pub i64);

/// Something in the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimelineEntry {
    /// Somebody said something.
    Message(TimelineMessage),
    /// People came and went.
    Presence {
        /// When the first of them did.
        at: DateTime<FixedOffset>,
        /// Who came.
        joined: NameList,
        /// Who went.
        left: NameList,
    },
    /// Something about the connection.
    Notice {
        /// When.
        at: DateTime<FixedOffset>,
        /// What.
        text: SafeText,
    },
}

/// Some people, of whom no more than [`NAMES`] are kept by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameList {
    names: Vec<UserId>,
    count: usize,
}

impl NameList {
    /// How many they are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Their names, or how many they are.
    pub fn summary(&self) -> String {
        if self.count > self.names.len() {
            return format!("{} people", self.count);
        }
        self.names.iter().map(UserId::as_str).collect::<Vec<_>>().join(", ")
    }

    /// Adds somebody.
    pub fn add(&mut self, people: &[UserId]) {
        let room = MAX_NAMES.saturating_sub(self.names.len());
        self.names.extend(people.iter().take(room).cloned());
        self.count += people.len();
    }
}

/// A message, and what has become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineMessage {
    /// The message; without its text once it is gone.
    pub message: Message,
    /// Whether it can still be read.
    pub state: MessageState,
    /// How many messages before it belong to the same bubble; 0 begins one.
    pub run: u8,
}

/// What has become of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageState {
    /// It can be read.
    Readable,
    /// Its author has removed it.
    Removed,
    /// Its time was up.
    Expired,
}

/// The conversation.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    entries: VecDeque<TimelineEntry>,
    first: i64,
    indexes: HashMap<MessageId, EntryIndex>,
    expiries: BTreeSet<(Millis, MessageId)>,
    newest: Seq,
    /// The last notice of comings and goings.
    presence: Option<EntryIndex>,
}

impl Timeline {
    /// The first place that is still kept.
    pub fn first(&self) -> EntryIndex {
        EntryIndex(self.first)
    }

    /// The place that the next entry will have.
    pub fn end(&self) -> EntryIndex {
        EntryIndex(self.first.saturating_add_unsigned(self.entries.len() as u64))
    }

    /// The entry at a place, if it is still kept.
    pub fn get(&self, place: EntryIndex) -> Option<&TimelineEntry> {
        self.entries.get(self.offset(place)?)
    }

    /// The message with this id, if it was received and is still kept.
    pub fn message(&self, id: MessageId) -> Option<&TimelineMessage> {
        match self.get(self.index_of(id)?)? {
            TimelineEntry::Message(said) => Some(said),
            TimelineEntry::Presence { .. } | TimelineEntry::Notice { .. } => None,
        }
    }

    /// Where the message with this id stands.
    pub fn index_of(&self, id: MessageId) -> Option<EntryIndex> {
        self.indexes.get(&id).copied()
    }

    /// The oldest message.
    pub fn oldest(&self) -> Option<&Message> {
        self.entries.iter().find_map(message_of)
    }

    /// The place in the server's order of the newest message there ever was.
    pub fn newest(&self) -> Seq {
        self.newest
    }

    /// Whether it takes more at its beginning.
    pub fn can_load_more(&self) -> bool {
        self.entries.len() < MAX_ENTRIES
    }

    /// Messages that can be read, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Message> {
        self.entries.iter().rev().filter_map(|entry| match entry {
            TimelineEntry::Message(said) if said.state == MessageState::Readable => {
                Some(&said.message)
            }
            TimelineEntry::Message(_)
            | TimelineEntry::Presence { .. }
            | TimelineEntry::Notice { .. } => None,
        })
    }

    /// Adds a message, at the end unless the order says otherwise. Nothing if it is there already.
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
        let place = self.end();
        self.register(&message, place);
        Some(self.push(TimelineEntry::Message(TimelineMessage {
            message,
            state: MessageState::Readable,
            run,
        })))
    }

    /// Adds a part of the history, oldest first: what is older than all messages here comes before
    /// all entries, and the rest where it belongs.
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
            }));
        }
        // One bubble may reach from what is new here into what was here.
        self.compute_runs(earlier + usize::from(MAX_RUN));
        for message in later {
            self.add(message);
        }
    }

    /// Adds comings and goings: to the notice before, if that is the last entry and still short, or if
    /// it is younger than [`GATHERED`].
    pub fn add_presence(&mut self, at: DateTime<FixedOffset>, joined: &[UserId], left: &[UserId]) {
        let place = self.presence.filter(|place| place.0 >= self.first);
        let is_last = place.is_some_and(|place| place.0 + 1 == self.end().0);
        let entry = place.and_then(|place| self.offset(place));
        let entry = entry.and_then(|index| self.entries.get_mut(index));
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

    /// Takes everything out.
    pub fn clear(&mut self) {
        *self = Self { first: self.end().0, ..Self::default() };
    }

    /// Takes the text of a message away, for ever; whether there was one to take.
    pub fn remove_text(&mut self, id: MessageId, state: MessageState) -> bool {
        let index = self.index_of(id).and_then(|place| self.offset(place));
        let entry = index.and_then(|index| self.entries.get_mut(index));
        let Some(TimelineEntry::Message(said)) = entry else { return false };
        if said.state != MessageState::Readable {
            return false;
        }
        if let Some(expires) = said.message.expires() {
            self.expiries.remove(&(expires, id));
        }
        said.state = state;
        said.message.content = SafeText::default();
        true
    }

    /// Takes the text of all messages away whose time is up at `now`, by the server's clock.
    pub fn expire(&mut self, now: Millis) -> Vec<MessageId> {
        let mut expired = Vec::new();
        while let Some((at, id)) = self.expiries.first().copied().filter(|(at, _)| *at <= now) {
            if !self.remove_text(id, MessageState::Expired) {
                self.expiries.remove(&(at, id));
            }
            expired.push(id);
        }
        expired
    }

    /// When the next message expires, by the server's clock.
    pub fn next_expiry(&self) -> Option<Millis> {
        self.expiries.first().map(|(at, _)| *at)
    }

    fn offset(&self, place: EntryIndex) -> Option<usize> {
        usize::try_from(place.0.checked_sub(self.first)?).ok()
    }

    fn register(&mut self, message: &Message, place: EntryIndex) {
        self.indexes.insert(message.id, place);
        if let Some(expires) = message.expires() {
            self.expiries.insert((expires, message.id));
        }
    }

    /// Puts a message between others: rare, and then everything after it is counted anew.
    fn insert(&mut self, message: Message) -> EntryIndex {
        let before =
            |entry: &TimelineEntry| message_of(entry).is_some_and(|one| one.seq < message.seq);
        let index = self.entries.iter().rposition(before).map_or(0, |index| index + 1);
        let place = EntryIndex(self.first.saturating_add_unsigned(index as u64));
        let places = self.indexes.values_mut().chain(&mut self.presence);
        for moved in places.filter(|moved| **moved >= place) {
            moved.0 += 1;
        }
        self.register(&message, place);
        self.entries.insert(
            index,
            TimelineEntry::Message(TimelineMessage {
                message,
                state: MessageState::Readable,
                run: 0,
            }),
        );
        self.compute_runs(index + 1 + usize::from(MAX_RUN));
        place
    }

    /// Computes the runs of the first entries, and goes on to the end of the last one's bubble.
    fn compute_runs(&mut self, entries: usize) {
        for index in 0..self.entries.len() {
            let before = index.checked_sub(1).and_then(|before| self.entries.get(before));
            let run = match (before, self.entries.get(index)) {
                (Some(TimelineEntry::Message(before)), Some(TimelineEntry::Message(said))) => {
                    next_run(before, &said.message)
                }
                (_, _) => 0,
            };
            match self.entries.get_mut(index) {
                Some(TimelineEntry::Message(said)) if index >= entries && said.run == run => return,
                Some(TimelineEntry::Message(said)) => said.run = run,
                Some(TimelineEntry::Presence { .. } | TimelineEntry::Notice { .. }) | None => {}
            }
        }
    }

    fn push(&mut self, entry: TimelineEntry) -> EntryIndex {
        let place = self.end();
        self.entries.push_back(entry);
        if self.entries.len() > MAX_ENTRIES {
            self.first += 1;
            if let Some(TimelineEntry::Message(said)) = self.entries.pop_front() {
                self.indexes.remove(&said.message.id);
            }
        }
        place
    }
}

fn message_of(entry: &TimelineEntry) -> Option<&Message> {
    match entry {
        TimelineEntry::Message(said) => Some(&said.message),
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

/// Whether what was said to `audience` at `at` belongs into the bubble of what the same author said
/// before.
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
