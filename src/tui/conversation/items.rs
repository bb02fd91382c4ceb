//! The entries of the conversation and the messages that are on their way, counted through: what is
//! known of each without drawing it.

use chrono::{DateTime, FixedOffset};

use crate::client::state::history::HistoryBoundary;
use crate::client::state::timeline::{
    EntryIndex, MAX_RUN, MessageState, TimelineEntry, TimelineMessage, continues_run,
};
use crate::client::state::{ChatState, PendingMessage};
use crate::protocol::id::MessageId;
use crate::protocol::message::{Audience, MessageKind};
use crate::protocol::request::PostKind;
use crate::tui::model::ItemId;

/// The number of an entry, or of a message on its way after the last entry.
pub(super) type ItemIndex = i64;

/// What is in a slot.
pub(super) enum Item<'a> {
    /// A message of the server's.
    Message(&'a TimelineMessage),
    /// A message on its way.
    Pending(&'a PendingMessage),
    /// What there is beyond the entries.
    Boundary(HistoryBoundary),
    /// Anything else.
    Other(&'a TimelineEntry),
}

/// All slots.
#[derive(Debug, Clone, Copy)]
pub struct Items<'a> {
    /// The room.
    pub chat: &'a ChatState,
    /// The time zone to show times in.
    pub zone: FixedOffset,
}

impl<'a> Items<'a> {
    pub(super) fn first(&self) -> ItemIndex {
        self.chat.timeline().first().0 - ItemIndex::from(self.chat.boundary_above().is_some())
    }

    pub(super) fn end(&self) -> ItemIndex {
        if self.chat.shows_latest() {
            self.pending_index(self.chat.pending().len())
        } else {
            self.pending_index(1)
        }
    }

    fn pending_index(&self, count: usize) -> ItemIndex {
        self.chat.timeline().end().0.saturating_add_unsigned(count as u64)
    }

    pub(super) fn item(&self, slot: ItemIndex) -> Option<Item<'a>> {
        match self.chat.timeline().get(EntryIndex(slot)) {
            Some(TimelineEntry::Message(said)) => Some(Item::Message(said)),
            Some(entry) => Some(Item::Other(entry)),
            None if slot < self.chat.timeline().first().0 => {
                self.chat.boundary_above().filter(|_| slot == self.first()).map(Item::Boundary)
            }
            None if !self.chat.shows_latest() => {
                (slot + 1 == self.end()).then_some(Item::Boundary(HistoryBoundary::Later))
            }
            None => {
                let index = slot - self.chat.timeline().end().0;
                self.chat.pending().get(usize::try_from(index).ok()?).map(Item::Pending)
            }
        }
    }

    /// Whether the first message of others that one has not seen is here.
    pub(super) fn is_first_unread(&self, slot: ItemIndex) -> bool {
        match self.item(slot) {
            Some(Item::Message(said)) => self.chat.first_unread() == Some(said.message.id),
            Some(Item::Pending(_) | Item::Boundary(_) | Item::Other(_)) | None => false,
        }
    }

    pub(super) fn id(&self, slot: ItemIndex) -> ItemId {
        match self.item(slot) {
            Some(Item::Message(said)) => ItemId::Message(said.message.id),
            Some(Item::Pending(pending)) => ItemId::Pending(pending.cid.clone()),
            Some(Item::Boundary(edge)) => ItemId::Boundary(edge),
            Some(Item::Other(_)) | None => ItemId::Other(EntryIndex(slot)),
        }
    }

    pub(super) fn index_of(&self, key: &ItemId) -> Option<ItemIndex> {
        match key {
            ItemId::Message(id) => self.chat.timeline().index_of(*id).map(|place| place.0),
            ItemId::Other(place) => Some(place.0),
            ItemId::Boundary(_) => None,
            ItemId::Pending(cid) => {
                let index = self.chat.pending().iter().position(|pending| pending.cid == *cid)?;
                Some(self.pending_index(index))
            }
        }
    }

    /// The message before or after `key` that can be picked.
    pub fn neighbour(&self, key: &ItemId, older: bool) -> Option<ItemId> {
        let slot = self.index_of(key)?;
        let mut slots: Box<dyn Iterator<Item = ItemIndex>> = if older {
            Box::new((self.first()..slot).rev())
        } else {
            Box::new(slot + 1..self.end())
        };
        let found = slots
            .find(|slot| matches!(self.item(*slot), Some(Item::Message(_) | Item::Pending(_))))?;
        Some(self.id(found))
    }

    /// The newest message that can be picked.
    pub fn newest(&self) -> Option<ItemId> {
        let mut slots = (self.first()..self.end()).rev();
        let found = slots
            .find(|slot| matches!(self.item(*slot), Some(Item::Message(_) | Item::Pending(_))))?;
        Some(self.id(found))
    }

    pub(super) fn run_position(&self, slot: ItemIndex) -> u8 {
        match self.item(slot) {
            Some(Item::Message(said)) => {
                // What was dropped begins no bubble, and a line across it begins a new one.
                let unread =
                    self.chat.first_unread().and_then(|id| self.chat.timeline().index_of(id));
                let line = unread.map(|place| place.0).filter(|line| *line <= slot);
                let kept = slot - line.unwrap_or(i64::MIN).max(self.chat.timeline().first().0);
                said.run.min(u8::try_from(kept).unwrap_or(u8::MAX))
            }
            Some(Item::Pending(_)) if slot > self.first() => {
                let before = self.run_position(slot - 1);
                if before + 1 < MAX_RUN && self.continues_previous(slot) { before + 1 } else { 0 }
            }
            Some(Item::Pending(_) | Item::Boundary(_) | Item::Other(_)) | None => 0,
        }
    }

    /// Whether a pending message continues the bubble before it.
    pub(super) fn continues_previous(&self, slot: ItemIndex) -> bool {
        let temporary = |slot| match self.item(slot) {
            Some(Item::Message(said)) => said.message.expires().is_some(),
            Some(Item::Pending(pending)) => matches!(pending.post.kind, PostKind::Temporary { .. }),
            Some(Item::Boundary(_) | Item::Other(_)) | None => true,
        };
        let before = slot - 1;
        match (self.audience(before), self.at(before), self.audience(slot), self.at(slot)) {
            (Some(earlier), Some(then), Some(audience), Some(at)) => {
                self.is_own(before)
                    && !temporary(before)
                    && !temporary(slot)
                    && continues_run(earlier, then, audience, at)
            }
            _ => false,
        }
    }

    pub(super) fn is_continued(&self, slot: ItemIndex) -> bool {
        self.run_position(slot + 1) > 0
    }

    pub(super) fn is_own(&self, slot: ItemIndex) -> bool {
        match self.item(slot) {
            Some(Item::Message(said)) => self.chat.is_own_id(&said.message.sender),
            Some(Item::Pending(_)) => true,
            Some(Item::Boundary(_) | Item::Other(_)) | None => false,
        }
    }

    pub(super) fn audience(&self, slot: ItemIndex) -> Option<&'a Audience> {
        match self.item(slot)? {
            Item::Message(said) => Some(&said.message.audience),
            Item::Pending(pending) => Some(&pending.post.audience),
            Item::Boundary(_) | Item::Other(_) => None,
        }
    }

    pub(super) fn at(&self, slot: ItemIndex) -> Option<DateTime<FixedOffset>> {
        let at = match self.item(slot)? {
            Item::Message(said) | Item::Other(TimelineEntry::Message(said)) => said.message.at,
            Item::Pending(pending) => pending.at,
            Item::Other(TimelineEntry::Presence { at, .. } | TimelineEntry::Notice { at, .. }) => {
                *at
            }
            Item::Boundary(_) => return None,
        };
        Some(at.with_timezone(&self.zone))
    }

    pub(super) fn is_new_day(&self, slot: ItemIndex) -> bool {
        let Some(at) = self.at(slot) else { return false };
        let before = (slot > self.first()).then(|| slot - 1);
        match before.and_then(|slot| self.at(slot)) {
            Some(before) => before.date_naive() != at.date_naive(),
            None => true,
        }
    }

    pub(super) fn state(&self, slot: ItemIndex) -> MessageState {
        match self.item(slot) {
            Some(Item::Message(said)) => said.state,
            Some(Item::Pending(_) | Item::Boundary(_) | Item::Other(_)) | None => {
                MessageState::Readable
            }
        }
    }

    pub(super) fn quoted(&self, slot: ItemIndex) -> Option<MessageId> {
        match self.item(slot)? {
            Item::Message(said) if said.state == MessageState::Readable => {
                match said.message.kind {
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
