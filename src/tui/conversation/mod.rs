//! The layout of the conversation: which items are visible, and in which rows.
//!
//! A layout costs O(screen), whatever the length of the history: blocks are placed from the bottom edge
//! upwards until the area is full, and each block is cached until something about it changes.

mod block_cache;
mod items;
mod selection;

use std::rc::Rc;

use chrono::{DateTime, FixedOffset};
use ratatui::layout::Rect;

pub use self::block_cache::{BlockCache, duration, quote_text};
pub use self::items::Items;
use self::items::{Item, ItemIndex};
pub use self::selection::{TextPoint, TextSelection};
use super::bubble::{Block, MessageLayout};
use super::item::ItemId;
use super::text::EmojiStyle;
use super::theme::Theme;
use super::viewport::{BottomEdge, Movement, Viewport};
use crate::client::state::timeline::{EntryIndex, MessageState};
use crate::protocol::id::MessageId;

/// The next page of the history is loaded when one of the items at its end, this many, is visible.
const NEAR_END_ITEMS: ItemIndex = 10;

/// A visible item with its block.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the field names say it")]
pub struct PlacedItem {
    pub id: ItemId,
    /// Its visible part on the screen.
    pub area: Rect,
    /// How many of its rows are cut off above.
    pub rows_cut_above: u16,
    /// All its rows, visible or not.
    pub block: Rc<Block>,
}

/// The visible items of the conversation.
#[derive(Debug, Clone, Default)]
pub struct VisibleItems {
    /// From top to bottom.
    pub items: Vec<PlacedItem>,
    /// Whether a visible message shows a countdown.
    pub counts_down: bool,
    /// Whether the oldest loaded items are visible or nearly so.
    pub near_top: bool,
    /// Whether the newest loaded items are visible or nearly so.
    pub near_bottom: bool,
    /// Where the bottom edge is.
    pub edge: BottomEdge,
}

impl VisibleItems {
    /// The newest visible message that is stored.
    pub fn newest_stored(&self) -> Option<MessageId> {
        self.items.iter().rev().find_map(|item| match item.id {
            ItemId::Message(id) => Some(id),
            ItemId::Pending(_) | ItemId::Boundary(_) | ItemId::Other(_) => None,
        })
    }

    /// Where the bubble of an item is drawn, if it is visible.
    pub fn bubble_area(&self, id: &ItemId) -> Option<Rect> {
        let item = self.items.iter().find(|item| item.id == *id)?;
        let x = item.block.rows.last().map_or(0, |row| row.x);
        Some(Rect { x: item.area.x + x, ..item.area })
    }

    /// The newest visible message.
    pub fn newest_message(&self) -> Option<ItemId> {
        let mut ids = self.items.iter().rev().map(|item| &item.id);
        ids.find(|id| matches!(id, ItemId::Message(_) | ItemId::Pending(_))).cloned()
    }
}

/// The input of one layout of the conversation.
#[derive(Debug)]
#[expect(missing_docs, reason = "the field names say it")]
pub struct LayoutPass<'a> {
    pub items: Items<'a>,
    /// The blocks of earlier frames.
    pub cache: &'a mut BlockCache,
    /// The area of the conversation.
    pub area: Rect,
    /// The picked message.
    pub picked: Option<&'a ItemId>,
    /// The current time, in the time zone of the screen.
    pub now: DateTime<FixedOffset>,
    /// The styles.
    pub theme: Theme,
    /// How emoji are drawn.
    pub emoji: EmojiStyle,
    /// How messages are arranged.
    pub layout: MessageLayout,
}

impl LayoutPass<'_> {
    /// Lays the conversation out: moves the bottom edge as the viewport says, and limits it to what exists.
    pub fn lay_out(&mut self, viewport: &Viewport) -> VisibleItems {
        self.cache.evict_if_full();
        if self.items.first() == self.items.end() || self.area.is_empty() {
            return VisibleItems::default();
        }
        let (mut index, mut hidden_rows) = self.anchor(viewport.edge());
        match viewport.movement() {
            Some(Movement::Rows(rows)) => self.move_by(&mut index, &mut hidden_rows, *rows),
            Some(Movement::Oldest) => (index, hidden_rows) = self.below_oldest(),
            Some(Movement::Reveal(item)) => {
                if let Some(target) = self.items.index_of(item) {
                    self.scroll_into_view(target, &mut index, &mut hidden_rows);
                }
            }
            Some(Movement::FirstUnread) | None => {}
        }
        let missing = self.empty_rows_above(index, hidden_rows);
        if missing > 0 {
            self.move_by(&mut index, &mut hidden_rows, -missing);
        }
        self.place_items(index, hidden_rows)
    }

    /// The item at the bottom edge, and how many of its rows are hidden below the edge.
    fn anchor(&mut self, edge: BottomEdge) -> (ItemIndex, i64) {
        match edge {
            BottomEdge::Latest => (self.items.end() - 1, 0),
            BottomEdge::At { entry, hidden_rows } => {
                let index = entry.0.clamp(self.items.first(), self.items.end() - 1);
                (index, hidden_rows.min(self.height(index) - 1))
            }
        }
    }

    /// The bottom edge with the oldest item at the top.
    fn below_oldest(&mut self) -> (ItemIndex, i64) {
        let available = i64::from(self.area.height);
        let mut rows = 0;
        for index in self.items.first()..self.items.end() {
            rows += self.height(index);
            if rows >= available {
                return (index, rows - available);
            }
        }
        (self.items.end() - 1, 0)
    }

    /// Moves the bottom edge up by `rows`. `hidden_rows` rows of the item at `index` are hidden below it.
    fn move_by(&mut self, index: &mut ItemIndex, hidden_rows: &mut i64, rows: i64) {
        *hidden_rows += rows;
        while *hidden_rows >= self.height(*index) {
            if *index == self.items.first() {
                *hidden_rows = self.height(*index) - 1;
                return;
            }
            *hidden_rows -= self.height(*index);
            *index -= 1;
        }
        while *hidden_rows < 0 {
            if *index + 1 == self.items.end() {
                *hidden_rows = 0;
                return;
            }
            *index += 1;
            *hidden_rows += self.height(*index);
        }
    }

    /// Moves the bottom edge so that `target` is visible, with some items before it. Does nothing if it is
    /// visible already.
    fn scroll_into_view(
        &mut self,
        target: ItemIndex,
        index: &mut ItemIndex,
        hidden_rows: &mut i64,
    ) {
        let available = i64::from(self.area.height);
        let mut rows = self.height(*index) - *hidden_rows;
        let mut top = *index;
        while top > target && rows < available {
            top -= 1;
            rows += self.height(top);
        }
        let visible = top == target && (target < *index || *hidden_rows == 0) && rows <= available;
        if visible {
            return;
        }
        (*index, *hidden_rows) = (target, 0);
        let height = self.height(target).min(available);
        self.move_by(index, hidden_rows, -((available - height) * 2 / 3));
        if self.height(target) > available {
            *hidden_rows = self.height(target) - available;
        }
    }

    /// How many rows would stay empty at the top with the bottom edge here.
    fn empty_rows_above(&mut self, index: ItemIndex, hidden_rows: i64) -> i64 {
        let available = i64::from(self.area.height);
        let mut rows = -hidden_rows;
        for older in (self.items.first()..=index).rev() {
            rows += self.height(older);
            if rows >= available {
                return 0;
            }
        }
        available - rows
    }

    fn place_items(&mut self, index: ItemIndex, hidden_rows: i64) -> VisibleItems {
        let mut items = Vec::new();
        let mut counts_down = false;
        let mut near_top = false;
        let top = i64::from(self.area.y);
        let mut bottom = i64::from(self.area.bottom()) + hidden_rows;
        for older in (self.items.first()..=index).rev() {
            if bottom <= top {
                break;
            }
            let block = self.block(older);
            let start = bottom - rows(&block);
            let visible_start = start.max(top);
            let visible_end = bottom.min(i64::from(self.area.bottom()));
            counts_down |= self.counts_down(older);
            near_top |= older < self.items.first() + NEAR_END_ITEMS;
            items.push(PlacedItem {
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
        items.reverse();
        // The end of an excerpt stays where it is while later pages arrive.
        let is_end = index + 1 == self.items.end() && hidden_rows == 0;
        let edge = if is_end && self.items.chat.opened().shows_latest() {
            BottomEdge::Latest
        } else {
            BottomEdge::At { entry: EntryIndex(index), hidden_rows }
        };
        let near_bottom = index + NEAR_END_ITEMS >= self.items.end();
        VisibleItems { items, counts_down, near_top, near_bottom, edge }
    }

    fn counts_down(&self, index: ItemIndex) -> bool {
        match self.items.item(index) {
            Some(Item::Message(entry)) => {
                entry.state == MessageState::Readable && entry.message.expires().is_some()
            }
            Some(Item::Pending(_) | Item::Boundary(_) | Item::Other(_)) | None => false,
        }
    }

    fn height(&mut self, index: ItemIndex) -> i64 {
        rows(&self.block(index))
    }
}

fn rows(block: &Block) -> i64 {
    i64::try_from(block.rows.len()).unwrap_or(i64::MAX)
}

fn clamp(cells: i64) -> u16 {
    u16::try_from(cells.max(0)).unwrap_or(u16::MAX)
}
