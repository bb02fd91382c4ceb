//! The items of the conversation: entries of the timeline, then pending messages, as one indexed sequence.

use chrono::{DateTime, FixedOffset};

use crate::client::state::history::HistoryBoundary;
use crate::client::state::timeline::{
    EntryIndex, MAX_RUN, MessageState, TimelineEntry, TimelineMessage, continues_run,
};
use crate::client::state::{PendingMessage, Session};
use crate::protocol::id::MessageId;
use crate::protocol::message::{Audience, MessageKind};
use crate::protocol::request::PostKind;
use crate::tui::item::ItemId;

/// The index of an item: that of its timeline entry; pending messages follow after the last entry.
pub(super) type ItemIndex = i64;

/// An item of the conversation.
pub(super) enum Item<'a> {
    /// A stored message.
    Message(&'a TimelineMessage),
    /// A pending message.
    Pending(&'a PendingMessage),
    /// The row that stands for the history beyond what is loaded.
    Boundary(HistoryBoundary),
    /// A notice, or users who joined and left.
    Other(&'a TimelineEntry),
}

/// The sequence of items.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the field names say it")]
pub struct Items<'a> {
    pub chat: &'a Session,
    /// The time zone of the screen.
    pub zone: FixedOffset,
}

impl<'a> Items<'a> {
    pub(super) fn first(&self) -> ItemIndex {
        self.chat.opened().timeline().first().0
            - ItemIndex::from(self.chat.opened().boundary_above().is_some())
    }

    pub(super) fn end(&self) -> ItemIndex {
        if self.chat.opened().shows_latest() {
            self.pending_index(self.chat.opened().pending().len())
        } else {
            self.pending_index(1)
        }
    }

    fn pending_index(&self, count: usize) -> ItemIndex {
        self.chat.opened().timeline().end().0.saturating_add_unsigned(count as u64)
    }

    pub(super) fn item(&self, index: ItemIndex) -> Option<Item<'a>> {
        match self.chat.opened().timeline().get(EntryIndex(index)) {
            Some(TimelineEntry::Message(entry)) => Some(Item::Message(entry)),
            Some(entry) => Some(Item::Other(entry)),
            None if index < self.chat.opened().timeline().first().0 => self
                .chat
                .opened()
                .boundary_above()
                .filter(|_| index == self.first())
                .map(Item::Boundary),
            None if !self.chat.opened().shows_latest() => {
                (index + 1 == self.end()).then_some(Item::Boundary(HistoryBoundary::Later))
            }
            None => {
                let index = index - self.chat.opened().timeline().end().0;
                self.chat.opened().pending().get(usize::try_from(index).ok()?).map(Item::Pending)
            }
        }
    }

    /// Whether the item is the first unread message.
    pub(super) fn is_first_unread(&self, index: ItemIndex) -> bool {
        match self.item(index) {
            Some(Item::Message(entry)) => {
                self.chat.opened().first_unread() == Some(entry.message.id)
            }
            Some(Item::Pending(_) | Item::Boundary(_) | Item::Other(_)) | None => false,
        }
    }

    pub(super) fn id(&self, index: ItemIndex) -> ItemId {
        match self.item(index) {
            Some(Item::Message(entry)) => ItemId::Message(entry.message.id),
            Some(Item::Pending(pending)) => ItemId::Pending(pending.cid.clone()),
            Some(Item::Boundary(boundary)) => ItemId::Boundary(boundary),
            Some(Item::Other(_)) | None => ItemId::Other(EntryIndex(index)),
        }
    }

    pub(super) fn index_of(&self, id: &ItemId) -> Option<ItemIndex> {
        match id {
            ItemId::Message(id) => self.chat.opened().timeline().index_of(*id).map(|index| index.0),
            ItemId::Other(index) => Some(index.0),
            ItemId::Boundary(_) => None,
            ItemId::Pending(cid) => {
                let index =
                    self.chat.opened().pending().iter().position(|pending| pending.cid == *cid)?;
                Some(self.pending_index(index))
            }
        }
    }

    /// The previous or next message.
    pub fn neighbour(&self, id: &ItemId, older: bool) -> Option<ItemId> {
        let index = self.index_of(id)?;
        let mut items: Box<dyn Iterator<Item = ItemIndex>> = if older {
            Box::new((self.first()..index).rev())
        } else {
            Box::new(index + 1..self.end())
        };
        let next = items
            .find(|index| matches!(self.item(*index), Some(Item::Message(_) | Item::Pending(_))))?;
        Some(self.id(next))
    }

    /// The newest message.
    pub fn newest(&self) -> Option<ItemId> {
        let mut items = (self.first()..self.end()).rev();
        let next = items
            .find(|index| matches!(self.item(*index), Some(Item::Message(_) | Item::Pending(_))))?;
        Some(self.id(next))
    }

    /// The position of a message in its bubble: 0 starts a bubble.
    pub(super) fn run_position(&self, index: ItemIndex) -> u8 {
        match self.item(index) {
            Some(Item::Message(entry)) => {
                // The first loaded message and the first unread one start a bubble.
                let unread = self
                    .chat
                    .opened()
                    .first_unread()
                    .and_then(|id| self.chat.opened().timeline().index_of(id));
                let line = unread.map(|index| index.0).filter(|line| *line <= index);
                let kept =
                    index - line.unwrap_or(i64::MIN).max(self.chat.opened().timeline().first().0);
                let run = entry.run.min(u8::try_from(kept).unwrap_or(u8::MAX));
                self.run_without_mentions(index, run)
            }
            Some(Item::Pending(_)) if index > self.first() => {
                let before = self.run_position(index - 1);
                if before + 1 < MAX_RUN && self.continues_previous(index) { before + 1 } else { 0 }
            }
            Some(Item::Pending(_) | Item::Boundary(_) | Item::Other(_)) | None => 0,
        }
    }

    /// Messages that mention the user share no bubble with others.
    fn run_without_mentions(&self, index: ItemIndex, run: u8) -> u8 {
        let starts = |index: ItemIndex| self.is_mention(index) != self.is_mention(index - 1);
        let since = (0..run).find(|since| starts(index - ItemIndex::from(*since)));
        since.unwrap_or(run)
    }

    /// Whether a pending message continues the bubble of the item before it.
    pub(super) fn continues_previous(&self, index: ItemIndex) -> bool {
        let temporary = |index| match self.item(index) {
            Some(Item::Message(entry)) => entry.message.expires().is_some(),
            Some(Item::Pending(pending)) => matches!(pending.post.kind, PostKind::Temporary { .. }),
            Some(Item::Boundary(_) | Item::Other(_)) | None => true,
        };
        let before = index - 1;
        match (self.audience(before), self.at(before), self.audience(index), self.at(index)) {
            (Some(earlier), Some(then), Some(audience), Some(at)) => {
                self.is_own(before)
                    && !temporary(before)
                    && !temporary(index)
                    && continues_run(earlier, then, audience, at)
            }
            _ => false,
        }
    }

    /// Whether the next item continues the bubble of this one.
    pub(super) fn is_continued(&self, index: ItemIndex) -> bool {
        self.run_position(index + 1) > 0
    }

    pub(super) fn is_own(&self, index: ItemIndex) -> bool {
        match self.item(index) {
            Some(Item::Message(entry)) => self.chat.is_own_id(&entry.message.sender),
            Some(Item::Pending(_)) => true,
            Some(Item::Boundary(_) | Item::Other(_)) | None => false,
        }
    }

    /// Whether the item is a readable message that mentions the user.
    pub(super) fn is_mention(&self, index: ItemIndex) -> bool {
        match self.item(index) {
            Some(Item::Message(entry)) => {
                entry.state == MessageState::Readable && self.chat.is_mentioned(&entry.message)
            }
            Some(Item::Pending(_) | Item::Boundary(_) | Item::Other(_)) | None => false,
        }
    }

    pub(super) fn audience(&self, index: ItemIndex) -> Option<&'a Audience> {
        match self.item(index)? {
            Item::Message(entry) => Some(&entry.message.audience),
            Item::Pending(pending) => Some(&pending.post.audience),
            Item::Boundary(_) | Item::Other(_) => None,
        }
    }

    /// The time of an item, in the time zone of the screen.
    pub(super) fn at(&self, index: ItemIndex) -> Option<DateTime<FixedOffset>> {
        let at = match self.item(index)? {
            Item::Message(entry) | Item::Other(TimelineEntry::Message(entry)) => entry.message.at,
            Item::Pending(pending) => pending.at,
            Item::Other(TimelineEntry::Presence { at, .. } | TimelineEntry::Notice { at, .. }) => {
                *at
            }
            Item::Boundary(_) => return None,
        };
        Some(at.with_timezone(&self.zone))
    }

    /// Whether the item is the first of its day.
    pub(super) fn is_new_day(&self, index: ItemIndex) -> bool {
        let Some(at) = self.at(index) else { return false };
        let before = (index > self.first()).then(|| index - 1);
        match before.and_then(|index| self.at(index)) {
            Some(before) => before.date_naive() != at.date_naive(),
            None => true,
        }
    }

    /// Whether the item is of another minute than the one before it.
    pub(super) fn is_new_minute(&self, index: ItemIndex) -> bool {
        let minute = |index| self.at(index).map(|at| at.timestamp().div_euclid(60));
        minute(index) != minute(index - 1)
    }

    pub(super) fn state(&self, index: ItemIndex) -> MessageState {
        match self.item(index) {
            Some(Item::Message(entry)) => entry.state,
            Some(Item::Pending(_) | Item::Boundary(_) | Item::Other(_)) | None => {
                MessageState::Readable
            }
        }
    }

    /// How often the item was changed.
    pub(super) fn revision(&self, index: ItemIndex) -> u32 {
        match self.item(index) {
            Some(Item::Message(entry)) => entry.revision,
            Some(Item::Pending(_) | Item::Boundary(_) | Item::Other(_)) | None => 0,
        }
    }

    /// The message that a readable item replies to.
    pub(super) fn quoted(&self, index: ItemIndex) -> Option<MessageId> {
        match self.item(index)? {
            Item::Message(entry) if entry.state == MessageState::Readable => {
                match entry.message.kind {
                    MessageKind::Reply { to } => Some(to),
                    MessageKind::Plain | MessageKind::Temporary { .. } => None,
                }
            }
            Item::Pending(pending) => match pending.post.kind {
                PostKind::Reply { to } => Some(to),
                PostKind::Plain | PostKind::Temporary { .. } => None,
            },
            Item::Message(_) | Item::Boundary(_) | Item::Other(_) => None,
        }
    }
}
