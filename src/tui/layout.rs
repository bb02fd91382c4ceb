//! The layout of the screen, computed once a frame.
//!
//! The result is used both for drawing and as the hit map of the mouse, so a click acts on what is visible.

use ratatui::layout::{Position, Rect};
use unicode_width::UnicodeWidthStr;

use chrono::{DateTime, FixedOffset, TimeDelta};

use super::conversation::{BlockCache, Items, LayoutPass, VisibleItems};
use super::item::ItemId;
use super::list;
use super::model::{Focus, ListScroll, Model, PeopleFocus};
use super::overlay::{Overlay, OverlayLayout};
use super::sidebar::{SidebarItem, conversations, people};
use super::text::Link;
use super::to_line::{Chip, to_line};
use super::viewport::BottomEdge;
use crate::protocol::id::{MessageId, UserId};
use crate::protocol::message::Audience;

/// From this width on the sidebar is always visible. On a narrower screen it covers the conversation while it
/// has the focus.
pub const MIN_WIDTH_FOR_SIDEBAR: u16 = 72;

/// From this width on the sidebar is wide.
const MIN_WIDTH_FOR_WIDE_SIDEBAR: u16 = 100;

/// Width of the wide sidebar, and of one that covers the conversation.
const WIDE_SIDEBAR: u16 = 24;

/// Width of the sidebar on a screen that leaves no more for it.
const NARROW_SIDEBAR: u16 = 18;

/// Width of the part of a row that ticks a person: ` [x] `.
const TICK_BOX_WIDTH: u16 = 5;

/// A click on a row is ignored for this long after something else moved there: it was meant for that.
const MOVED_ROW_GUARD: TimeDelta = TimeDelta::milliseconds(400);

/// From this height on the screen has a header and a status line.
const MIN_HEIGHT_FOR_BARS: u16 = 10;

/// The areas of one frame.
#[derive(Debug, Clone, Default)]
pub struct ScreenLayout {
    /// The header: the top line.
    pub header: Rect,
    /// The sidebar, if it is visible.
    pub sidebar: Option<SidebarLayout>,
    /// The conversation.
    pub conversation: Rect,
    /// The visible items of the conversation.
    pub visible: VisibleItems,
    /// Where the links in the conversation are drawn.
    pub links: Vec<(Rect, Link)>,
    /// The pill with the number of newer messages below.
    pub pill: Option<Rect>,
    /// The pill that leads back to where a jump started.
    pub back_pill: Option<Rect>,
    /// The composer with its frame.
    pub composer: Rect,
    /// The chips in the `To:` line.
    pub chips: Vec<(Chip, Rect)>,
    /// The line that shows the message replied to.
    pub reply: Option<Rect>,
    /// The input inside the composer.
    pub input: Rect,
    /// The status line: the bottom line.
    pub status: Rect,
    /// The top overlay.
    pub overlay: Option<OverlayLayout>,
}

/// The sidebar.
#[derive(Debug, Clone, Default)]
pub struct SidebarLayout {
    /// The whole sidebar.
    pub area: Rect,
    /// The part with the conversations.
    pub conversations: SidebarSection,
    /// The part with the people.
    pub people: SidebarSection,
    /// The visible rows of both parts.
    pub rows: Vec<SidebarRow>,
}

/// A part of the sidebar: a title and rows.
#[derive(Debug, Clone, Copy, Default)]
pub struct SidebarSection {
    /// Its area, with the title.
    pub area: Rect,
    /// The number of rows hidden above.
    pub above: usize,
    /// The number of rows hidden below.
    pub below: usize,
}

/// A row of the sidebar.
#[derive(Debug, Clone)]
pub struct SidebarRow {
    /// What is in it.
    pub item: SidebarItem,
    /// Where it is.
    pub area: Rect,
    /// When something else was in this place.
    pub moved_at: Option<DateTime<FixedOffset>>,
}

/// What is under the pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A conversation in the sidebar.
    OpenConversation(Audience),
    /// The row that opens the list of public rooms.
    BrowseRooms,
    /// The tick box of a person.
    PersonBox(UserId),
    /// The name of a person.
    PersonName(UserId),
    /// A row of the sidebar in which something else was a moment ago.
    MovedRow,
    /// The sidebar outside its rows.
    Sidebar,
    /// An item of the conversation.
    Item(ItemId),
    /// The quote in a reply, with the message that it quotes.
    Quote(MessageId),
    /// A link in a message, with the message.
    Link(Link, ItemId),
    /// The conversation outside its items.
    Conversation,
    /// The pill with the number of newer messages.
    Pill,
    /// The pill that leads back to where a jump started.
    Back,
    /// A chip in the `To:` line.
    Chip(Chip),
    /// The line that shows the message replied to.
    Reply,
    /// The input, at this row and column of it.
    Input(u16, u16),
    /// A clickable row of the overlay.
    OverlayRow(usize),
    /// The overlay outside its rows.
    Overlay,
    /// Nothing clickable.
    Nothing,
}

impl Target {
    /// Whether it is a part of the conversation, where text can be selected.
    pub fn is_in_conversation(&self) -> bool {
        matches!(self, Self::Item(_) | Self::Link(..) | Self::Quote(_) | Self::Conversation)
    }

    /// The message that it belongs to.
    pub fn item(&self) -> Option<&ItemId> {
        match self {
            Self::Item(item) | Self::Link(_, item) => Some(item),
            _ => None,
        }
    }
}

/// Computes the layout of a frame. `last` is that of the frame before it: a row of the sidebar in which
/// something else was cannot be clicked for a moment.
pub fn lay_out(
    model: &Model,
    last: &ScreenLayout,
    cache: &mut BlockCache,
    now: DateTime<FixedOffset>,
) -> ScreenLayout {
    let mut layout = split_screen(model);
    let sidebar = sidebar_area(model, &layout);
    layout.sidebar = sidebar.map(|area| lay_out_sidebar(model, area, last.sidebar.as_ref(), now));
    layout.visible = lay_out_conversation(model, layout.conversation, cache, now);
    if layout.visible.edge != BottomEdge::Latest || !model.chat.opened().shows_latest() {
        layout.pill = pill_area(layout.conversation, model.viewport.newer());
    }
    if !model.jump_origins.is_empty() {
        layout.back_pill = back_pill_area(layout.conversation);
    }
    layout.chips = to_line(model, layout.composer.width).chips(layout.composer);
    layout.overlay = model.overlays.top().map(|top| {
        let anchor = match top {
            Overlay::Menu(menu) => layout.visible.bubble_area(&menu.item),
            _ => None,
        };
        top.lay_out(Rect::from((Position::ORIGIN, model.size)), anchor, model.overlay_context(now))
    });
    layout.links = visible_links(&layout);
    layout
}

/// The links of the conversation that nothing covers.
fn visible_links(layout: &ScreenLayout) -> Vec<(Rect, Link)> {
    let sidebar = layout.sidebar.as_ref().map(|sidebar| sidebar.area);
    let overlay = layout.overlay.as_ref().map(|overlay| overlay.area);
    let covers = [overlay, sidebar, layout.pill, layout.back_pill];
    let is_visible = |(area, _): &(Rect, Link)| {
        !area.is_empty() && !covers.iter().flatten().any(|cover| cover.intersects(*area))
    };
    layout.visible.links().filter(is_visible).collect()
}

/// Splits the screen into header, panes, composer and status line.
fn split_screen(model: &Model) -> ScreenLayout {
    let whole = Rect::from((Position::ORIGIN, model.size));
    let full = whole.height >= MIN_HEIGHT_FOR_BARS;
    let line = u16::from(full);
    let header = Rect { height: line, ..whole };
    let status = Rect { y: whole.bottom() - line, height: line, ..whole };
    let middle = Rect { y: line, height: whole.height - 2 * line, ..whole };
    let height = composer_height(model, middle);
    let composer = Rect { y: middle.bottom() - height, height, ..middle };
    let above = Rect { height: middle.height - height, ..middle };
    let sidebar = sidebar_width(whole).filter(|_| full).unwrap_or(0);
    let conversation = Rect { x: above.x + sidebar, width: above.width - sidebar, ..above };
    let (reply, input) = split_composer(model, composer);
    ScreenLayout { header, conversation, composer, reply, input, status, ..ScreenLayout::default() }
}

/// The height of the input with its frame. On a small screen the `To:` line is the last part to be dropped.
fn composer_height(model: &Model, middle: Rect) -> u16 {
    let most = (middle.height / 3).max(1);
    let text = model.composer.input.height(middle.width.saturating_sub(4), most);
    let reply =
        u16::from(model.composer.quoted().is_some() && middle.height >= MIN_HEIGHT_FOR_BARS - 2);
    let frame = match middle.height {
        0..=1 => 0,
        2..8 => 1,
        8.. => 2,
    };
    (text + reply + frame).min(middle.height)
}

fn split_composer(model: &Model, composer: Rect) -> (Option<Rect>, Rect) {
    let to_line = u16::from(composer.height > 1);
    let bottom = u16::from(composer.height > 2);
    let side = if composer.width > 8 { 2 } else { 0 };
    let inner = Rect {
        x: composer.x + side,
        y: composer.y + to_line,
        width: composer.width - 2 * side,
        height: composer.height - to_line - bottom,
    };
    if model.composer.quoted().is_none() || inner.height < 2 {
        return (None, inner);
    }
    let reply = Rect { height: 1, ..inner };
    (Some(reply), Rect { y: inner.y + 1, height: inner.height - 1, ..inner })
}

/// The width of the sidebar beside the conversation; `None` if there is no place for it.
fn sidebar_width(whole: Rect) -> Option<u16> {
    match whole.width {
        ..MIN_WIDTH_FOR_SIDEBAR => None,
        MIN_WIDTH_FOR_SIDEBAR..MIN_WIDTH_FOR_WIDE_SIDEBAR => Some(NARROW_SIDEBAR),
        MIN_WIDTH_FOR_WIDE_SIDEBAR.. => Some(WIDE_SIDEBAR),
    }
}

/// The area of the sidebar: beside the conversation, or over it while it has the focus.
fn sidebar_area(model: &Model, layout: &ScreenLayout) -> Option<Rect> {
    let beside = layout.conversation.x;
    let has_focus = matches!(model.focus, Focus::Conversations(_) | Focus::People(_));
    let width = match beside {
        0 if has_focus => WIDE_SIDEBAR.min(layout.conversation.width),
        beside => beside,
    };
    let area = Rect { x: 0, width, ..layout.conversation };
    (!area.is_empty()).then_some(area)
}

/// Lays the sidebar out: the conversations take the upper half, so that a new one does not move the people.
fn lay_out_sidebar(
    model: &Model,
    area: Rect,
    last: Option<&SidebarLayout>,
    now: DateTime<FixedOffset>,
) -> SidebarLayout {
    let inner = Rect { width: area.width.saturating_sub(1), ..area };
    let upper = match model.focus {
        // There is no place for both.
        Focus::People(_) if area.height < 8 => 0,
        Focus::Conversations(_) if area.height < 8 => area.height,
        _ => area.height / 2,
    };
    let above = Rect { height: upper, ..inner };
    let below = Rect { y: inner.y + upper, height: inner.height - upper, ..inner };
    let mut rows = Vec::new();
    let listed = conversations(model);
    let at = match &model.focus {
        Focus::Conversations(at) => at,
        _ => model.chat.open_audience(),
    };
    let at = listed.iter().position(|audience| *audience == at);
    let items = listed.iter().map(|audience| SidebarItem::Conversation((*audience).clone()));
    let items = items.chain([SidebarItem::BrowseRooms]);
    let scroll = model.sidebar_scroll.conversations;
    let conversations = section(items, listed.len() + 1, above, scroll, at, &mut rows);
    let at = match &model.focus {
        Focus::People(PeopleFocus { at: Some(at), .. }) => {
            people(model).position(|user| user == at)
        }
        _ => None,
    };
    let items = people(model).map(|user| SidebarItem::Person(user.clone()));
    let count = people(model).count();
    let people = section(items, count, below, model.sidebar_scroll.people, at, &mut rows);
    let moved = |row: SidebarRow| mark_moved(row, last, now);
    let rows = rows.into_iter().map(moved).collect();
    SidebarLayout { area, conversations, people, rows }
}

/// Adds the visible rows of a part of the sidebar, scrolled so that the row `at` is visible.
fn section(
    items: impl Iterator<Item = SidebarItem>,
    count: usize,
    area: Rect,
    scroll: ListScroll,
    at: Option<usize>,
    rows: &mut Vec<SidebarRow>,
) -> SidebarSection {
    let below_title = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    let at = at.filter(|_| !scroll.is_free);
    let list = list::lay_out(scroll.top, at, count, |_| 1, below_title);
    let visible = items.skip(list.top).zip(&list.rows);
    rows.extend(visible.map(|(item, (_, area))| SidebarRow { item, area: *area, moved_at: None }));
    SidebarSection { area, above: list.top, below: list.below }
}

/// Marks a row in which something else was in the last layout.
fn mark_moved(
    row: SidebarRow,
    last: Option<&SidebarLayout>,
    now: DateTime<FixedOffset>,
) -> SidebarRow {
    let before = last.and_then(|last| last.rows.iter().find(|before| before.area == row.area));
    let moved_at = match before {
        Some(before) if before.item == row.item => before.moved_at,
        Some(_) => Some(now),
        None => None,
    };
    SidebarRow { moved_at, ..row }
}

fn lay_out_conversation(
    model: &Model,
    area: Rect,
    cache: &mut BlockCache,
    now: DateTime<FixedOffset>,
) -> VisibleItems {
    cache.keep_generation(model.drawing_generation);
    let mut pass = LayoutPass {
        items: Items { chat: &model.chat, zone: *now.offset() },
        cache,
        area,
        picked: model.picked(),
        now,
        theme: model.theme,
        emoji: model.emoji,
        layout: model.layout,
    };
    pass.lay_out(&model.viewport)
}

/// The text of the pill.
pub fn pill_text(newer: usize) -> String {
    format!(" ↓ {newer} newer ")
}

fn pill_area(conversation: Rect, newer: usize) -> Option<Rect> {
    let width = u16::try_from(pill_text(newer).width()).ok()?;
    (newer > 0 && conversation.height > 1 && conversation.width > width + 2).then(|| Rect {
        x: conversation.right() - width - 2,
        y: conversation.bottom() - 1,
        width,
        height: 1,
    })
}

/// The text of the pill that leads back to where a jump started.
pub const BACK_PILL: &str = " ← back  Alt-Left ";

fn back_pill_area(conversation: Rect) -> Option<Rect> {
    let width = u16::try_from(BACK_PILL.width()).ok()?;
    (conversation.height > 1 && conversation.width > 2 * width).then(|| Rect {
        x: conversation.right() - width - 2,
        y: conversation.y,
        width,
        height: 1,
    })
}

impl ScreenLayout {
    /// What is at this cell of the screen.
    pub fn target_at(&self, now: DateTime<FixedOffset>, x: u16, y: u16) -> Target {
        let point = Position { x, y };
        if let Some(overlay) = &self.overlay {
            let row = overlay.list.rows.iter().find(|(_, area)| area.contains(point));
            return match row {
                Some((index, _)) => Target::OverlayRow(*index),
                None if overlay.area.contains(point) => Target::Overlay,
                None => Target::Nothing,
            };
        }
        if let Some(sidebar) = self.sidebar.as_ref().filter(|bar| bar.area.contains(point)) {
            return sidebar.target_at(now, point);
        }
        if let Some((chip, _)) = self.chips.iter().find(|(_, area)| area.contains(point)) {
            return Target::Chip(chip.clone());
        }
        if self.pill.is_some_and(|pill| pill.contains(point)) {
            return Target::Pill;
        }
        if self.back_pill.is_some_and(|pill| pill.contains(point)) {
            return Target::Back;
        }
        if self.reply.is_some_and(|reply| reply.contains(point)) {
            return Target::Reply;
        }
        if self.input.contains(point) {
            return Target::Input(y - self.input.y, x - self.input.x);
        }
        if self.conversation.contains(point) {
            self.conversation_target(point)
        } else {
            Target::Nothing
        }
    }

    fn conversation_target(&self, point: Position) -> Target {
        let item = self.visible.items.iter().find(|item| item.area.contains(point));
        let Some(item) = item else { return Target::Conversation };
        let row = usize::from(point.y - item.area.y + item.rows_cut_above);
        let Some(row) = item.block.rows.get(row) else { return Target::Conversation };
        let from = item.area.x + row.x;
        let to = from.saturating_add(row.width());
        if (from..to).contains(&point.x) {
            match row.quoted_message {
                Some(id) => Target::Quote(id),
                None => match self.links.iter().find(|(area, _)| area.contains(point)) {
                    Some((_, link)) => Target::Link(link.clone(), item.id.clone()),
                    None => Target::Item(item.id.clone()),
                },
            }
        } else {
            Target::Conversation
        }
    }
}

impl SidebarLayout {
    fn target_at(&self, now: DateTime<FixedOffset>, point: Position) -> Target {
        let Some(row) = self.rows.iter().find(|row| row.area.contains(point)) else {
            return Target::Sidebar;
        };
        if row.moved_at.is_some_and(|at| now - at < MOVED_ROW_GUARD) {
            return Target::MovedRow;
        }
        match &row.item {
            SidebarItem::Conversation(audience) => Target::OpenConversation(audience.clone()),
            SidebarItem::BrowseRooms => Target::BrowseRooms,
            SidebarItem::Person(user) if point.x < row.area.x + TICK_BOX_WIDTH => {
                Target::PersonBox(user.clone())
            }
            SidebarItem::Person(user) => Target::PersonName(user.clone()),
        }
    }
}
