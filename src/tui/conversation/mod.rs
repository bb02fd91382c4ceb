//! Which entries of the conversation are on the screen, and in which rows.
//!
//! The work is O(screen): blocks are laid from the bottom edge upwards until the area is full, and what
//! a block looks like is kept until something about it changes. Both drawing and mouse use the result.

mod look;
mod slots;

use std::rc::Rc;

use chrono::{DateTime, FixedOffset};
use ratatui::layout::Rect;

pub use self::look::{Cache, duration, quote_words};
pub use self::slots::Slots;
use self::slots::{Item, Slot};
use super::bubble::Block;
use super::model::{Key, Scroll};
use super::theme::Theme;
use crate::client::state::timeline::{Fate, Place};

/// How many entries from the first one on are near it: the next page is there before it is needed.
const NEAR: Slot = 10;

/// A block on the screen.
#[derive(Debug, Clone)]
pub struct Placed {
    /// What it shows.
    pub key: Key,
    /// The rows of the screen that it has.
    pub area: Rect,
    /// How many of its own rows are cut off above.
    pub cut: u16,
    /// Its rows.
    pub block: Rc<Block>,
}

/// The conversation on the screen.
#[derive(Debug, Clone, Default)]
pub struct Conversation {
    /// From top to bottom.
    pub placed: Vec<Placed>,
    /// Whether something on it counts down.
    pub counting: bool,
    /// Whether its beginning is seen, or nearly.
    pub near_top: bool,
}

impl Conversation {
    /// The newest message that is seen.
    pub fn newest(&self) -> Option<Key> {
        let mut keys = self.placed.iter().rev().map(|placed| &placed.key);
        keys.find(|key| matches!(key, Key::Message(_) | Key::Pending(_))).cloned()
    }
}

/// Lays the conversation out.
#[derive(Debug)]
pub struct Layouter<'a> {
    /// What there is.
    pub slots: Slots<'a>,
    /// Kept from frame to frame.
    pub cache: &'a mut Cache,
    /// Where it is drawn.
    pub area: Rect,
    /// The message that is picked.
    pub picked: Option<&'a Key>,
    /// The moment.
    pub now: DateTime<FixedOffset>,
    /// The styles.
    pub theme: Theme,
}

impl Layouter<'_> {
    /// Lays it out; `scroll` is moved by `rows` (up is positive) and set to what there really is.
    pub fn lay_out(
        &mut self,
        scroll: &mut Scroll,
        rows: i64,
        reveal: Option<&Key>,
    ) -> Conversation {
        self.cache.limit();
        if self.slots.first() == self.slots.end() || self.area.is_empty() {
            *scroll = Scroll::Bottom;
            return Conversation::default();
        }
        let (mut slot, mut below) = self.anchor(scroll);
        self.move_by(&mut slot, &mut below, rows);
        if let Some(target) = reveal.and_then(|key| self.slots.slot(key)) {
            self.reveal(target, &mut slot, &mut below);
        }
        let missing = self.missing_above(slot, below);
        if missing > 0 {
            self.move_by(&mut slot, &mut below, -missing);
        }
        *scroll = if slot + 1 == self.slots.end() && below == 0 {
            Scroll::Bottom
        } else {
            Scroll::At { place: Place(slot), below }
        };
        self.place(slot, below)
    }

    fn anchor(&mut self, scroll: &Scroll) -> (Slot, i64) {
        match scroll {
            Scroll::Bottom => (self.slots.end() - 1, 0),
            Scroll::At { place, below } => {
                let slot = place.0.clamp(self.slots.first(), self.slots.end() - 1);
                (slot, (*below).min(self.height(slot) - 1))
            }
        }
    }

    /// Moves the bottom edge: `below` rows of `slot` are hidden under it.
    fn move_by(&mut self, slot: &mut Slot, below: &mut i64, rows: i64) {
        *below += rows;
        while *below >= self.height(*slot) {
            if *slot == self.slots.first() {
                *below = self.height(*slot) - 1;
                return;
            }
            *below -= self.height(*slot);
            *slot -= 1;
        }
        while *below < 0 {
            if *slot + 1 == self.slots.end() {
                *below = 0;
                return;
            }
            *slot += 1;
            *below += self.height(*slot);
        }
    }

    /// Moves the edge so that `target` can be seen, with some of what was said before it.
    fn reveal(&mut self, target: Slot, slot: &mut Slot, below: &mut i64) {
        let room = i64::from(self.area.height);
        let mut rows = self.height(*slot) - *below;
        let mut top = *slot;
        while top > target && rows < room {
            top -= 1;
            rows += self.height(top);
        }
        let visible = top == target && (target < *slot || *below == 0) && rows <= room;
        if visible {
            return;
        }
        (*slot, *below) = (target, 0);
        let height = self.height(target).min(room);
        self.move_by(slot, below, -((room - height) * 2 / 3));
        if self.height(target) > room {
            *below = self.height(target) - room;
        }
    }

    /// How many rows stay empty above when the bottom edge is here.
    fn missing_above(&mut self, slot: Slot, below: i64) -> i64 {
        let room = i64::from(self.area.height);
        let mut rows = -below;
        for older in (self.slots.first()..=slot).rev() {
            rows += self.height(older);
            if rows >= room {
                return 0;
            }
        }
        room - rows
    }

    fn place(&mut self, slot: Slot, below: i64) -> Conversation {
        let mut placed = Vec::new();
        let mut counting = false;
        let mut near_top = false;
        let top = i64::from(self.area.y);
        let mut bottom = i64::from(self.area.bottom()) + below;
        for older in (self.slots.first()..=slot).rev() {
            if bottom <= top {
                break;
            }
            let block = self.block(older);
            let start = bottom - rows(&block);
            let visible_start = start.max(top);
            let visible_end = bottom.min(i64::from(self.area.bottom()));
            counting |= self.counts(older);
            near_top |= older < self.slots.first() + NEAR;
            placed.push(Placed {
                key: self.slots.key(older),
                area: Rect {
                    x: self.area.x,
                    y: clamp(visible_start),
                    width: self.area.width,
                    height: clamp(visible_end - visible_start),
                },
                cut: clamp(visible_start - start),
                block,
            });
            bottom = start;
        }
        placed.reverse();
        Conversation { placed, counting, near_top }
    }

    fn counts(&self, slot: Slot) -> bool {
        match self.slots.item(slot) {
            Some(Item::Said(said)) => {
                said.fate == Fate::Readable && said.message.expires().is_some()
            }
            Some(Item::Pending(_) | Item::Edge(_) | Item::Other(_)) | None => false,
        }
    }

    fn height(&mut self, slot: Slot) -> i64 {
        rows(&self.block(slot))
    }
}

fn rows(block: &Block) -> i64 {
    i64::try_from(block.rows.len()).unwrap_or(i64::MAX)
}

fn clamp(cells: i64) -> u16 {
    u16::try_from(cells.max(0)).unwrap_or(u16::MAX)
}
