//! Which part of a conversation is visible.
//!
//! A [`Viewport`] is where the last frame was, and what is to be shown next. Only the layout knows the heights of
//! items: it computes the new place without changing the viewport, and [`Viewport::settle`] takes it over.

use super::item::ItemId;
use crate::client::state::timeline::EntryIndex;

/// The bottom edge of the visible part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BottomEdge {
    /// Below the newest row: new messages scroll into view.
    #[default]
    Latest,
    /// At an entry, whatever arrives.
    At {
        /// The last visible entry.
        entry: EntryIndex,
        /// How many of its rows are hidden below the edge.
        hidden_rows: i64,
    },
}

/// What the next frame shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Movement {
    /// The first unread message, once the messages and the marker are known.
    FirstUnread,
    /// This many rows further up.
    Rows(i64),
    /// This item, with some items before it.
    Reveal(ItemId),
    /// The oldest loaded item at the top.
    Oldest,
}

/// Which part of a conversation is visible.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Viewport {
    edge: BottomEdge,
    movement: Option<Movement>,
    newer: usize,
}

impl Viewport {
    /// The viewport of a conversation that is opened.
    pub fn opening() -> Self {
        Self { movement: Some(Movement::FirstUnread), ..Self::default() }
    }

    /// The viewport at a place that was left.
    pub fn at(edge: BottomEdge) -> Self {
        Self { edge, ..Self::default() }
    }

    /// Where the last frame was.
    pub fn edge(&self) -> BottomEdge {
        self.edge
    }

    /// What the next frame shows; `None`: the same place.
    pub fn movement(&self) -> Option<&Movement> {
        self.movement.as_ref()
    }

    /// Whether new messages scroll into view.
    pub fn is_live(&self) -> bool {
        self.edge == BottomEdge::Latest && self.movement.is_none()
    }

    /// Whether the first unread message is still to be shown. What is displayed meanwhile is not read.
    pub fn is_opening(&self) -> bool {
        self.movement == Some(Movement::FirstUnread)
    }

    /// The number of messages of others that arrived below the visible rows.
    pub fn newer(&self) -> usize {
        self.newer
    }

    /// Scrolls by this many rows; positive is up.
    pub fn scroll_by(&mut self, rows: i64) {
        let before = match self.movement {
            Some(Movement::Rows(before)) => before,
            _ => 0,
        };
        self.movement = Some(Movement::Rows(before.saturating_add(rows)));
    }

    /// Makes an item visible.
    pub fn reveal(&mut self, item: ItemId) {
        self.movement = Some(Movement::Reveal(item));
    }

    /// Shows the oldest loaded item.
    pub fn go_to_oldest(&mut self) {
        self.movement = Some(Movement::Oldest);
    }

    /// Shows the newest item.
    pub fn go_to_latest(&mut self) {
        *self = Self::default();
    }

    /// Records that the messages and the marker of an opened conversation are known.
    pub fn on_first_unread_known(&mut self, first: Option<ItemId>) {
        if self.is_opening() {
            self.movement = first.map(Movement::Reveal);
        }
    }

    /// Counts a message of another user that the last frame had no place for.
    pub fn on_newer(&mut self) {
        self.newer += 1;
    }

    /// Takes over where a frame was. `is_latest`: nothing is below it.
    pub fn settle(&mut self, edge: BottomEdge, is_latest: bool) {
        if !self.is_opening() {
            self.movement = None;
        }
        self.edge = edge;
        if is_latest {
            self.newer = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn movements_add_up_and_end_with_the_frame() {
        let mut viewport = Viewport::opening();
        viewport.settle(BottomEdge::Latest, true);
        assert!(
            viewport.is_opening() && !viewport.is_live(),
            "the first unread message is unknown"
        );
        viewport.on_newer();
        viewport.scroll_by(3);
        viewport.scroll_by(3);
        assert_eq!(viewport.movement(), Some(&Movement::Rows(6)));
        viewport.on_first_unread_known(Some(ItemId::Other(EntryIndex(0))));
        assert_eq!(viewport.movement(), Some(&Movement::Rows(6)), "the user scrolls");
        let edge = BottomEdge::At { entry: EntryIndex(4), hidden_rows: 1 };
        viewport.settle(edge, false);
        assert_eq!((viewport.edge(), viewport.movement(), viewport.newer()), (edge, None, 1));
        viewport.go_to_latest();
        assert!(viewport.is_live() && viewport.newer() == 0);
    }
}
