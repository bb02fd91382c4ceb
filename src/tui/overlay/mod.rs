//! Overlays: help, search, questions, and lists to choose from. They form a
//! stack, and the top one is modal.

pub mod emoji;
pub mod help;
pub mod menu;
pub mod palette;
pub mod question;
pub mod rooms;
pub mod search;
pub mod thread;

use chrono::{DateTime, FixedOffset};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use self::emoji::EmojiPicker;
use self::help::HelpOverlay;
use self::menu::MessageMenu;
use self::palette::Palette;
use self::question::Question;
use self::rooms::RoomsOverlay;
use self::search::SearchOverlay;
use self::thread::ThreadOverlay;
use super::command::Scope;
use super::editor::Editor;
use super::item::ItemId;
use super::keymap::Keymap;
use super::list::{ListLayout, Selection};
use super::theme::Theme;
use crate::client::state::Session;
use crate::protocol::id::MessageId;

/// An overlay. It covers part of the screen and receives all keys that it binds.
#[derive(Debug, Clone)]
pub enum Overlay {
    /// The keys and commands.
    Help(Box<HelpOverlay>),
    /// The palette.
    Palette(Box<Palette>),
    /// The search.
    Search(Box<SearchOverlay>),
    /// A question.
    Question(Question),
    /// The menu of the picked message.
    Menu(MessageMenu),
    /// The reactions to choose from.
    Emoji(Box<EmojiPicker>),
    /// A message and the replies to it.
    Thread(Box<ThreadOverlay>),
    /// The public rooms.
    Rooms(Box<RoomsOverlay>),
}

/// The open overlays; the last one is on top, and takes the keys and clicks.
#[derive(Debug, Clone, Default)]
pub struct Overlays(Vec<Overlay>);

impl Overlays {
    /// Opens an overlay. One of the same kind that is open already comes to the top instead.
    pub fn open(&mut self, overlay: Overlay) {
        let is_same = |open: &Overlay| open.scope() == overlay.scope();
        let raised = self.0.iter().position(is_same).map(|index| self.0.remove(index));
        self.0.push(raised.unwrap_or(overlay));
    }

    /// Closes the top overlay. Returns it, if there was one.
    pub fn close_top(&mut self) -> Option<Overlay> {
        self.0.pop()
    }

    /// Returns the top overlay.
    pub fn top(&self) -> Option<&Overlay> {
        self.0.last()
    }

    /// Returns the top overlay, to change it.
    pub fn top_mut(&mut self) -> Option<&mut Overlay> {
        self.0.last_mut()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns all of them, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Overlay> {
        self.0.iter_mut()
    }

    /// Closes those that `keep` does not accept.
    pub fn retain(&mut self, keep: impl FnMut(&Overlay) -> bool) {
        self.0.retain(keep);
    }
}

/// Where an overlay is drawn.
#[derive(Debug, Clone, Default)]
pub struct OverlayLayout {
    /// The whole overlay.
    pub area: Rect,
    /// Its clickable rows; for the help, which of its lines is the first visible one.
    pub list: ListLayout,
}

/// What the content of an overlay depends on beside the overlay.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the field names say it")]
pub struct OverlayContext<'a> {
    pub chat: &'a Session,
    pub now: DateTime<FixedOffset>,
    pub keymap: &'a Keymap,
    pub server: &'a str,
    pub theme: Theme,
}

impl Overlay {
    /// The scope of its key bindings.
    pub fn scope(&self) -> Scope {
        match self {
            Self::Help(_) => Scope::Help,
            Self::Palette(_) => Scope::Palette,
            Self::Search(_) => Scope::Search,
            Self::Question(_) => Scope::Question,
            Self::Menu(_) => Scope::Menu,
            Self::Emoji(_) => Scope::Emoji,
            Self::Thread(_) => Scope::Thread,
            Self::Rooms(_) => Scope::Rooms,
        }
    }

    /// The rows to choose from, if it is a list.
    pub fn list_mut(&mut self) -> Option<&mut Selection> {
        match self {
            Self::Palette(palette) => Some(&mut palette.list),
            Self::Search(search) => Some(&mut search.list),
            Self::Menu(menu) => Some(&mut menu.list),
            Self::Emoji(picker) => Some(&mut picker.list),
            Self::Thread(thread) => Some(&mut thread.list),
            Self::Rooms(rooms) => Some(&mut rooms.list),
            Self::Help(_) | Self::Question(_) => None,
        }
    }

    /// The input, if it has one.
    pub fn input(&self) -> Option<&Editor> {
        match self {
            Self::Help(help) => Some(help.input()),
            Self::Palette(palette) => Some(palette.input()),
            Self::Search(search) => Some(search.input()),
            Self::Emoji(picker) => Some(picker.input()),
            Self::Rooms(rooms) => Some(rooms.input()),
            Self::Question(_) | Self::Menu(_) | Self::Thread(_) => None,
        }
    }

    /// Lets `edit` change the input, if there is one. `edit` returns whether it did.
    pub fn edit(
        &mut self,
        chat: &Session,
        now: DateTime<FixedOffset>,
        edit: impl FnOnce(&mut Editor) -> bool,
    ) {
        match self {
            Self::Help(help) => help.edit(edit),
            Self::Palette(palette) => palette.edit(edit),
            Self::Search(search) => search.edit(chat, now, edit),
            Self::Emoji(picker) => picker.edit(edit),
            Self::Rooms(rooms) => rooms.edit(edit),
            Self::Question(_) | Self::Menu(_) | Self::Thread(_) => {}
        }
    }

    /// Scrolls by this many rows; positive is down. A list moves its selection.
    pub fn scroll_by(&mut self, rows: isize) {
        if let Self::Help(help) = self {
            help.scroll_by(rows);
        } else if let Some(list) = self.list_mut() {
            list.move_by(rows);
        }
    }

    /// Lays it out on a screen of this size. A menu is put next to its message, at `anchor`.
    pub fn lay_out(
        &self,
        whole: Rect,
        anchor: Option<Rect>,
        context: OverlayContext<'_>,
    ) -> OverlayLayout {
        let area = area(self, whole, anchor);
        let list = match self {
            Self::Help(help) => help.lay_out(area, context),
            Self::Palette(palette) => palette.lay_out(area),
            Self::Search(search) => search.lay_out(area),
            Self::Menu(menu) => menu.lay_out(area),
            Self::Emoji(picker) => picker.lay_out(area),
            Self::Thread(thread) => thread.lay_out(area),
            Self::Rooms(rooms) => rooms.lay_out(area),
            Self::Question(_) => ListLayout::default(),
        };
        OverlayLayout { area, list }
    }

    /// Takes over where it was drawn.
    pub fn settle(&mut self, layout: &OverlayLayout) {
        if let Self::Help(help) = self {
            help.settle(layout.list.top);
        } else if let Some(list) = self.list_mut() {
            list.settle(layout.list.top);
        }
    }

    /// Draws it. Returns the area of its input.
    pub fn draw(
        &self,
        layout: &OverlayLayout,
        context: OverlayContext<'_>,
        buffer: &mut Buffer,
    ) -> Option<Rect> {
        let OverlayContext { chat, now, keymap, theme, .. } = context;
        let (area, rows) = (layout.area, layout.list.rows.as_slice());
        match self {
            Self::Help(help) => return help.draw(area, layout.list.top, context, buffer),
            Self::Palette(palette) => return palette.draw(area, rows, theme, buffer),
            Self::Question(question) => question.draw(chat, keymap, area, theme, buffer),
            Self::Menu(menu) => menu.draw(area, rows, theme, buffer),
            Self::Thread(thread) => thread.draw(chat, area, rows, *now.offset(), theme, buffer),
            Self::Search(search) => {
                return Some(search.draw(area, rows, chat, now, theme, buffer));
            }
            Self::Emoji(picker) => return picker.draw(chat, area, rows, theme, buffer),
            Self::Rooms(rooms_list) => return rooms_list.draw(area, rows, chat, theme, buffer),
        }
        None
    }

    /// Whether it shows a message or acts on it, and on no other.
    pub fn is_about(&self, id: MessageId) -> bool {
        match self {
            Self::Question(question) => *question == Question::Delete(id),
            Self::Menu(menu) => menu.item == ItemId::Message(id),
            Self::Emoji(picker) => picker.message == id,
            Self::Help(_)
            | Self::Palette(_)
            | Self::Search(_)
            | Self::Thread(_)
            | Self::Rooms(_) => false,
        }
    }
}

/// The area of an overlay on a screen of this size. A menu is put next to its message, at `anchor`.
fn area(overlay: &Overlay, whole: Rect, anchor: Option<Rect>) -> Rect {
    let (width, height) = match overlay {
        Overlay::Help(_) => (84, whole.height.saturating_sub(2)),
        // On a low screen, only the status line stays visible.
        Overlay::Search(_) if whole.height < 18 => (100, whole.height.saturating_sub(1)),
        Overlay::Search(_) => (100, whole.height.saturating_sub(4).min(28)),
        Overlay::Question(Question::Delete(_)) => (48, 4),
        Overlay::Question(_) => (64, 4),
        Overlay::Menu(menu) => match anchor {
            Some(anchor) => return menu_area(menu, whole, anchor),
            None => (menu::WIDTH, menu.height()),
        },
        Overlay::Emoji(_) => (40, 12),
        Overlay::Thread(thread) => {
            (84, thread.height(whole.width.min(80)).clamp(6, whole.height.saturating_sub(4).max(6)))
        }
        Overlay::Palette(_) | Overlay::Rooms(_) => (72, whole.height.saturating_sub(4).min(20)),
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
