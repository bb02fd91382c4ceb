//! Overlays: help, search, the question whether to delete a message, and lists to choose from. They form a
//! stack.

pub mod confirm_delete;
pub mod emoji;
pub mod help;
pub mod list;
pub mod menu;
pub mod rooms;
pub mod search;
pub mod thread;

use ratatui::layout::Rect;

use self::emoji::EmojiPicker;
use self::list::Selection;
use self::menu::MessageMenu;
use self::rooms::RoomsOverlay;
use self::search::SearchOverlay;
use self::thread::ThreadOverlay;
use super::command::Scope;
use super::item::ItemId;
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
    /// The menu of the picked message.
    Menu(MessageMenu),
    /// The reactions to choose from.
    Emoji(Box<EmojiPicker>),
    /// A message and the replies to it.
    Thread(Box<ThreadOverlay>),
    /// The public rooms.
    Rooms(Box<RoomsOverlay>),
}

impl Overlay {
    /// The scope of its key bindings.
    pub fn scope(&self) -> Scope {
        match self {
            Self::Help { .. } => Scope::Help,
            Self::Search(_) => Scope::Search,
            Self::ConfirmDelete(_) => Scope::Question,
            Self::Menu(_) => Scope::Menu,
            Self::Emoji(_) => Scope::Emoji,
            Self::Thread(_) => Scope::Thread,
            Self::Rooms(_) => Scope::Rooms,
        }
    }

    /// The rows to choose from, if it is a list.
    pub fn list_mut(&mut self) -> Option<&mut Selection> {
        match self {
            Self::Menu(menu) => Some(&mut menu.list),
            Self::Emoji(picker) => Some(&mut picker.list),
            Self::Thread(thread) => Some(&mut thread.list),
            Self::Rooms(rooms) => Some(&mut rooms.list),
            Self::Help { .. } | Self::Search(_) | Self::ConfirmDelete(_) => None,
        }
    }

    /// Lays out the rows that can be clicked, in `area`.
    pub fn rows(&mut self, area: Rect) -> Vec<(usize, Rect)> {
        match self {
            Self::Search(search) => search.hit_rows(area),
            Self::Menu(menu) => menu.lay_out(area),
            Self::Emoji(picker) => picker.lay_out(area),
            Self::Thread(thread) => thread.lay_out(area),
            Self::Rooms(rooms) => rooms.lay_out(area),
            Self::Help { .. } | Self::ConfirmDelete(_) => Vec::new(),
        }
    }

    /// Whether it shows a message or acts on it, and on no other.
    pub fn is_about(&self, id: MessageId) -> bool {
        match self {
            Self::ConfirmDelete(target) => *target == id,
            Self::Menu(menu) => menu.item == ItemId::Message(id),
            Self::Emoji(picker) => picker.message == id,
            Self::Help { .. } | Self::Search(_) | Self::Thread(_) | Self::Rooms(_) => false,
        }
    }
}

/// The area of an overlay on a screen of this size. A menu is put next to its message, at `anchor`.
pub fn area(overlay: &Overlay, whole: Rect, anchor: Option<Rect>) -> Rect {
    let (width, height) = match overlay {
        Overlay::Help { .. } => (84, whole.height.saturating_sub(2)),
        // On a low screen, only the status line stays visible.
        Overlay::Search(_) if whole.height < 18 => (100, whole.height.saturating_sub(1)),
        Overlay::Search(_) => (100, whole.height.saturating_sub(4).min(28)),
        Overlay::ConfirmDelete(_) => (48, 4),
        Overlay::Menu(menu) => match anchor {
            Some(anchor) => return menu_area(menu, whole, anchor),
            None => (menu::WIDTH, menu.height()),
        },
        Overlay::Emoji(_) => (40, 12),
        Overlay::Thread(thread) => {
            (84, thread.height(whole.width.min(80)).clamp(6, whole.height.saturating_sub(4).max(6)))
        }
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

/// Below the message if there is room, else above it.
fn menu_area(menu: &MessageMenu, whole: Rect, anchor: Rect) -> Rect {
    let (width, height) = (menu::WIDTH.min(whole.width), menu.height().min(whole.height));
    let below = anchor.bottom();
    let y = if below + height <= whole.bottom() { below } else { anchor.y.saturating_sub(height) };
    let x = anchor.x.min(whole.right() - width);
    Rect { x, y: y.max(whole.y), width, height }
}
