//! The entries of the conversation and the messages that are on their way, counted through: what is
//! known of each without drawing it.

use chrono::{DateTime, FixedOffset};

use crate::client::state::history::Edge;
use crate::client::state::timeline::{Entry, Fate, Place, RUN, Said, continues};
use crate::client::state::{Pending, Room};
use crate::protocol::id::MessageId;
use crate::protocol::message::{Audience, Kind};
use crate::protocol::request::SayKind;
use crate::tui::model::Key;

/// The number of an entry, or of a message on its way after the last entry.
pub(super) type Slot = i64;

/// What is in a slot.
pub(super) enum Item<'a> {
    /// A message of the server's.
    Said(&'a Said),
    /// A message on its way.
    Pending(&'a Pending),
    /// What there is beyond the entries.
    Edge(Edge),
    /// Anything else.
    Other(&'a Entry),
}

/// All slots.
#[derive(Debug, Clone, Copy)]
pub struct Slots<'a> {
    /// The room.
    pub room: &'a Room,
    /// The time zone to show times in.
    pub zone: FixedOffset,
}

impl<'a> Slots<'a> {
    pub(super) fn first(&self) -> Slot {
        self.room.timeline().first().0 - Slot::from(self.room.edge_above().is_some())
    }

    pub(super) fn end(&self) -> Slot {
        if self.room.is_present() {
            self.after_pending(self.room.pending().len())
        } else {
            self.after_pending(1)
        }
    }

    fn after_pending(&self, count: usize) -> Slot {
        self.room.timeline().end().0.saturating_add_unsigned(count as u64)
    }

    pub(super) fn item(&self, slot: Slot) -> Option<Item<'a>> {
        match self.room.timeline().get(Place(slot)) {
            Some(Entry::Said(said)) => Some(Item::Said(said)),
            Some(entry) => Some(Item::Other(entry)),
            None if slot < self.room.timeline().first().0 => {
                self.room.edge_above().filter(|_| slot == self.first()).map(Item::Edge)
            }
            None if !self.room.is_present() => {
                (slot + 1 == self.end()).then_some(Item::Edge(Edge::Later))
            }
            None => {
                let index = slot - self.room.timeline().end().0;
                self.room.pending().get(usize::try_from(index).ok()?).map(Item::Pending)
            }
        }
    }

    /// Whether the first message of others that one has not seen is here.
    pub(super) fn is_first_unread(&self, slot: Slot) -> bool {
        match self.item(slot) {
            Some(Item::Said(said)) => self.room.first_unread() == Some(said.message.id),
            Some(Item::Pending(_) | Item::Edge(_) | Item::Other(_)) | None => false,
        }
    }

    pub(super) fn key(&self, slot: Slot) -> Key {
        match self.item(slot) {
            Some(Item::Said(said)) => Key::Message(said.message.id),
            Some(Item::Pending(pending)) => Key::Pending(pending.cid.clone()),
            Some(Item::Edge(edge)) => Key::Edge(edge),
            Some(Item::Other(_)) | None => Key::Other(Place(slot)),
        }
    }

    pub(super) fn slot(&self, key: &Key) -> Option<Slot> {
        match key {
            Key::Message(id) => self.room.timeline().place(*id).map(|place| place.0),
            Key::Other(place) => Some(place.0),
            Key::Edge(_) => None,
            Key::Pending(cid) => {
                let index = self.room.pending().iter().position(|pending| pending.cid == *cid)?;
                Some(self.after_pending(index))
            }
        }
    }

    /// The message before or after `key` that can be picked.
    pub fn neighbour(&self, key: &Key, older: bool) -> Option<Key> {
        let slot = self.slot(key)?;
        let mut slots: Box<dyn Iterator<Item = Slot>> = if older {
            Box::new((self.first()..slot).rev())
        } else {
            Box::new(slot + 1..self.end())
        };
        let found = slots
            .find(|slot| matches!(self.item(*slot), Some(Item::Said(_) | Item::Pending(_))))?;
        Some(self.key(found))
    }

    /// The newest message that can be picked.
    pub fn newest(&self) -> Option<Key> {
        let mut slots = (self.first()..self.end()).rev();
        let found = slots
            .find(|slot| matches!(self.item(*slot), Some(Item::Said(_) | Item::Pending(_))))?;
        Some(self.key(found))
    }

    pub(super) fn run(&self, slot: Slot) -> u8 {
        match self.item(slot) {
            Some(Item::Said(said)) => {
                // What was dropped begins no bubble, and a line across it begins a new one.
                let unread = self.room.first_unread().and_then(|id| self.room.timeline().place(id));
                let line = unread.map(|place| place.0).filter(|line| *line <= slot);
                let kept = slot - line.unwrap_or(i64::MIN).max(self.room.timeline().first().0);
                said.run.min(u8::try_from(kept).unwrap_or(u8::MAX))
            }
            Some(Item::Pending(_)) if slot > self.first() => {
                let before = self.run(slot - 1);
                if before + 1 < RUN && self.belongs_together(slot) { before + 1 } else { 0 }
            }
            Some(Item::Pending(_) | Item::Edge(_) | Item::Other(_)) | None => 0,
        }
    }

    /// Whether a pending message continues the bubble before it.
    pub(super) fn belongs_together(&self, slot: Slot) -> bool {
        let temporary = |slot| match self.item(slot) {
            Some(Item::Said(said)) => said.message.expires().is_some(),
            Some(Item::Pending(pending)) => matches!(pending.say.kind, SayKind::Temporary { .. }),
            Some(Item::Edge(_) | Item::Other(_)) | None => true,
        };
        let before = slot - 1;
        match (self.audience(before), self.at(before), self.audience(slot), self.at(slot)) {
            (Some(earlier), Some(then), Some(audience), Some(at)) => {
                self.is_own(before)
                    && !temporary(before)
                    && !temporary(slot)
                    && continues(earlier, then, audience, at)
            }
            _ => false,
        }
    }

    pub(super) fn continues_after(&self, slot: Slot) -> bool {
        self.run(slot + 1) > 0
    }

    pub(super) fn is_own(&self, slot: Slot) -> bool {
        match self.item(slot) {
            Some(Item::Said(said)) => self.room.is_you(&said.message.sender),
            Some(Item::Pending(_)) => true,
            Some(Item::Edge(_) | Item::Other(_)) | None => false,
        }
    }

    pub(super) fn audience(&self, slot: Slot) -> Option<&'a Audience> {
        match self.item(slot)? {
            Item::Said(said) => Some(&said.message.audience),
            Item::Pending(pending) => Some(&pending.say.audience),
            Item::Edge(_) | Item::Other(_) => None,
        }
    }

    pub(super) fn at(&self, slot: Slot) -> Option<DateTime<FixedOffset>> {
        let at = match self.item(slot)? {
            Item::Said(said) | Item::Other(Entry::Said(said)) => said.message.at,
            Item::Pending(pending) => pending.at,
            Item::Other(Entry::Presence { at, .. } | Entry::Notice { at, .. }) => *at,
            Item::Edge(_) => return None,
        };
        Some(at.with_timezone(&self.zone))
    }

    pub(super) fn is_new_day(&self, slot: Slot) -> bool {
        let Some(at) = self.at(slot) else { return false };
        let before = (slot > self.first()).then(|| slot - 1);
        match before.and_then(|slot| self.at(slot)) {
            Some(before) => before.date_naive() != at.date_naive(),
            None => true,
        }
    }

    pub(super) fn fate(&self, slot: Slot) -> Fate {
        match self.item(slot) {
            Some(Item::Said(said)) => said.fate,
            Some(Item::Pending(_) | Item::Edge(_) | Item::Other(_)) | None => Fate::Readable,
        }
    }

    pub(super) fn quoted(&self, slot: Slot) -> Option<MessageId> {
        match self.item(slot)? {
            Item::Said(said) if said.fate == Fate::Readable => match said.message.kind {
                Kind::Reply { to } => Some(to),
                Kind::Plain | Kind::Temporary { .. } => None,
            },
            Item::Pending(pending) => match pending.say.kind {
                SayKind::Reply { to } => Some(to),
                SayKind::Plain | SayKind::Temporary { .. } => None,
            },
            Item::Said(_) | Item::Edge(_) | Item::Other(_) => None,
        }
    }
}
