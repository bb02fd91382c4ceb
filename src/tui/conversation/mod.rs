//! Which entries of the conversation are on the screen, and in which rows.
//!
//! The work is O(screen): blocks are laid from the bottom edge upwards until the area is full, and what
//! a block looks like is kept until something about it changes. Both drawing and mouse use the result.

mod block_cache;
mod items;

use std::rc::Rc;

use chrono::{DateTime, FixedOffset};
use ratatui::layout::Rect;

pub use self::block_cache::{BlockCache, duration, quote_text};
pub use self::items::Items;
use self::items::{Item, ItemIndex};
use super::bubble::Block;
use super::model::{ItemId, Viewport};
use super::theme::Theme;
use crate::client::state::timeline::{EntryIndex, MessageState};

/// How many entries from the first one on are near it: the next page is there before it is needed.
const NEAR_TOP_ITEMS: ItemIndex = 10;

/// A block on the screen.
#[derive(Debug, Clone)]
pub struct PlacedItem {
    /// What it shows.
    pub id: ItemId,
    /// The rows of the screen that it has.
    pub area: Rect,
    /// How many of its own rows are cut off above.
    pub rows_cut_above: u16,
    /// Its rows.
    pub block: Rc<Block>,
}

/// The conversation on the screen.
#[derive(Debug, Clone, Default)]
pub struct VisibleItems {
    /// From top to bottom.
    pub items: Vec<PlacedItem>,
    /// Whether something on it counts down.
    pub counts_down: bool,
    /// Whether its beginning is seen, or nearly.
    pub near_top: bool,
}

impl VisibleItems {
    /// The newest message that is seen.
    pub fn newest_message(&self) -> Option<ItemId> {
        let mut keys = self.items.iter().rev().map(|placed| &placed.id);
        keys.find(|key| matches!(key, ItemId::Message(_) | ItemId::Pending(_))).cloned()
    }
}

/// Lays the conversation out.
#[derive(Debug)]
pub struct LayoutPass<'a> {
    /// What there is.
    pub items: Items<'a>,
    /// Kept from frame to frame.
    pub cache: &'a mut BlockCache,
    /// Where it is drawn.
    pub area: Rect,
    /// The message that is picked.
    pub picked: Option<&'a ItemId>,
    /// The moment.
    pub now: DateTime<FixedOffset>,
    /// The styles.
    pub theme: Theme,
}

impl LayoutPass<'_> {
    /// Lays it out; `scroll` is moved by `rows` (up is positive) and set to what there really is.
    pub fn lay_out(
        &mut self,
        viewport: &mut Viewport,
        rows: i64,
        scroll_into_view: Option<&ItemId>,
    ) -> VisibleItems {
        self.cache.evict_if_full();
        if self.items.first() == self.items.end() || self.area.is_empty() {
            *viewport = Viewport::Live;
            return VisibleItems::default();
        }
        let (mut slot, mut hidden_rows) = self.anchor(viewport);
        self.move_by(&mut slot, &mut hidden_rows, rows);
        if let Some(target) = scroll_into_view.and_then(|key| self.items.index_of(key)) {
            self.scroll_into_view(target, &mut slot, &mut hidden_rows);
        }
        let missing = self.empty_rows_above(slot, hidden_rows);
        if missing > 0 {
            self.move_by(&mut slot, &mut hidden_rows, -missing);
        }
        *viewport = if slot + 1 == self.items.end() && hidden_rows == 0 {
            Viewport::Live
        } else {
            Viewport::Anchored { entry: EntryIndex(slot), hidden_rows }
        };
        self.place_items(slot, hidden_rows)
    }

    fn anchor(&mut self, scroll: &Viewport) -> (ItemIndex, i64) {
        match scroll {
            Viewport::Live => (self.items.end() - 1, 0),
            Viewport::Anchored { entry: place, hidden_rows: below } => {
                let slot = place.0.clamp(self.items.first(), self.items.end() - 1);
                (slot, (*below).min(self.height(slot) - 1))
            }
        }
    }

    /// Moves the bottom edge: `below` rows of `slot` are hidden under it.
    fn move_by(&mut self, slot: &mut ItemIndex, below: &mut i64, rows: i64) {
        *below += rows;
        while *below >= self.height(*slot) {
            if *slot == self.items.first() {
                *below = self.height(*slot) - 1;
                return;
            }
            *below -= self.height(*slot);
            *slot -= 1;
        }
        while *below < 0 {
            if *slot + 1 == self.items.end() {
                *below = 0;
                return;
            }
            *slot += 1;
            *below += self.height(*slot);
        }
    }

    /// Moves the edge so that `target` can be seen, with some of what was said before it.
    fn scroll_into_view(&mut self, target: ItemIndex, slot: &mut ItemIndex, below: &mut i64) {
        let available = i64::from(self.area.height);
        let mut rows = self.height(*slot) - *below;
        let mut top = *slot;
        while top > target && rows < available {
            top -= 1;
            rows += self.height(top);
        }
        let visible = top == target && (target < *slot || *below == 0) && rows <= available;
        if visible {
            return;
        }
        (*slot, *below) = (target, 0);
        let height = self.height(target).min(available);
        self.move_by(slot, below, -((available - height) * 2 / 3));
        if self.height(target) > available {
            *below = self.height(target) - available;
        }
    }

    /// How many rows stay empty above when the bottom edge is here.
    fn empty_rows_above(&mut self, slot: ItemIndex, below: i64) -> i64 {
        let available = i64::from(self.area.height);
        let mut rows = -below;
        for older in (self.items.first()..=slot).rev() {
            rows += self.height(older);
            if rows >= available {
                return 0;
            }
        }
        available - rows
    }

    fn place_items(&mut self, slot: ItemIndex, below: i64) -> VisibleItems {
        let mut placed = Vec::new();
        let mut counting = false;
        let mut near_top = false;
        let top = i64::from(self.area.y);
        let mut bottom = i64::from(self.area.bottom()) + below;
        for older in (self.items.first()..=slot).rev() {
            if bottom <= top {
                break;
            }
            let block = self.block(older);
            let start = bottom - rows(&block);
            let visible_start = start.max(top);
            let visible_end = bottom.min(i64::from(self.area.bottom()));
            counting |= self.counts_down(older);
            near_top |= older < self.items.first() + NEAR_TOP_ITEMS;
            placed.push(PlacedItem {
                id: self.items.id(older),
                area: Rect {
                    x: self.area.x,
                    y: clamp(visible_start),
                    width: self.area.width,
                    height: clamp(visible_end - visible_start),
                },
                rows_cut_above: clamp(visible_start - start),
                block,
            });
            bottom = start;
        }
        placed.reverse();
        VisibleItems { items: placed, counts_down: counting, near_top }
    }

    fn counts_down(&self, slot: ItemIndex) -> bool {
        match self.items.item(slot) {
            Some(Item::Message(said)) => {
                said.state == MessageState::Readable && said.message.expires().is_some()
            }
            Some(Item::Pending(_) | Item::Boundary(_) | Item::Other(_)) | None => false,
        }
    }

    fn height(&mut self, slot: ItemIndex) -> i64 {
        rows(&self.block(slot))
    }
}

fn rows(block: &Block) -> i64 {
    i64::try_from(block.rows.len()).unwrap_or(i64::MAX)
}

fn clamp(cells: i64) -> u16 {
    u16::try_from(cells.max(0)).unwrap_or(u16::MAX)
}
