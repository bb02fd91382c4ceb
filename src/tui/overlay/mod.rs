//! Overlays: help, search, public rooms, and the question whether to delete a message. They form a stack.

pub mod confirm_delete;
pub mod help;
pub mod rooms;
pub mod search;

use ratatui::layout::Rect;

use self::rooms::RoomsOverlay;
use self::search::SearchOverlay;
use super::command::Scope;
use crate::protocol::id::MessageId;

/// An overlay. It covers part of the screen and receives all keys that it binds.
#[derive(Debug, Clone)]
pub enum Overlay {
    /// The keys and commands.
    Help {
        /// The first visible line.
        top: usize,
    },
    /// The search.
    Search(Box<SearchOverlay>),
    /// The question whether to delete a message.
    ConfirmDelete(MessageId),
    /// The public rooms.
    Rooms(RoomsOverlay),
}

impl Overlay {
    /// The scope of its key bindings.
    pub fn scope(&self) -> Scope {
        match self {
            Self::Help { .. } => Scope::Help,
            Self::Search(_) => Scope::Search,
            Self::ConfirmDelete(_) => Scope::Question,
            Self::Rooms(_) => Scope::Rooms,
        }
    }
}

/// The area of an overlay on a screen of this size.
pub fn area(overlay: &Overlay, whole: Rect) -> Rect {
    let (width, height) = match overlay {
        Overlay::Help { .. } => (84, whole.height.saturating_sub(2)),
        Overlay::Search(_) => (100, whole.height.saturating_sub(4).min(28)),
        Overlay::ConfirmDelete(_) => (48, 4),
        Overlay::Rooms(_) => (72, whole.height.saturating_sub(4).min(20)),
    };
    // On a small screen an overlay covers everything.
    let width =
        if whole.width < 64 { whole.width } else { whole.width.saturating_sub(4).min(width) };
    let height = if whole.height < 12 { whole.height.min(height.max(4)) } else { height };
    Rect {
        x: whole.x + (whole.width - width) / 2,
        y: whole.y + (whole.height - height) / 2,
        width,
        height,
    }
}
