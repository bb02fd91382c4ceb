//! The layout of the screen, computed once a frame.
//!
//! The result is used both for drawing and as the hit map of the mouse, so a click acts on what is visible.

use ratatui::layout::{Position, Rect};
use unicode_width::UnicodeWidthStr;

use super::conversation::{Items, LayoutPass, VisibleItems};
use super::model::{Focus, ItemId, Model, Viewport};
use super::overlay::{self, Overlay};
use super::view::composer::to_line;
use crate::client::state::Availability;
use crate::protocol::id::{MessageId, UserId};

/// From this width on the people pane is always visible.
pub const MIN_WIDTH_FOR_PEOPLE_PANE: u16 = 76;

/// Width of the people pane.
const PEOPLE_PANE_WIDTH: u16 = 24;

/// From this height on the screen has a header and a status line.
const MIN_HEIGHT_FOR_BARS: u16 = 10;

/// The areas of one frame.
#[derive(Debug, Clone, Default)]
pub struct ScreenLayout {
    /// The header: the top line.
    pub header: Rect,
    /// The people pane, if it is visible.
    pub people_pane: Option<Rect>,
    /// The visible rows of the people pane.
    pub people_rows: Vec<(PersonRow, Rect)>,
    /// The conversation.
    pub conversation: Rect,
    /// The visible items of the conversation.
    pub visible: VisibleItems,
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
    pub overlay: Option<Rect>,
    /// The clickable rows of the overlay, with their indices.
    pub overlay_rows: Vec<(usize, Rect)>,
}

/// A row of the people pane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PersonRow {
    /// The row that addresses everyone.
    Everyone,
    /// A user.
    #[expect(missing_docs, reason = "the field names say it")]
    User { id: UserId, availability: Availability },
}

/// A clickable part of the `To:` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chip {
    /// A recipient. A click removes it.
    Person(UserId),
    /// The expiry of the message. A click removes it.
    Expiry,
}

/// What is under the pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A row of the people pane.
    Person(PersonRow),
    /// The people pane outside its rows.
    People,
    /// An item of the conversation.
    Item(ItemId),
    /// The quote in a reply, with the message that it quotes.
    Quote(MessageId),
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

/// Computes the layout and stores it in the model. Applies pending scrolling to the viewport.
pub fn arrange(model: &mut Model, now: chrono::DateTime<chrono::FixedOffset>) {
    let mut layout = split_screen(model);
    layout.people_rows = visible_person_rows(model, layout.people_pane);
    lay_out_conversation(model, &mut layout, now);
    if model.unread_below > 0 {
        layout.pill = pill_area(layout.conversation, model.unread_below);
    }
    if !model.jump_origins.is_empty() {
        layout.back_pill = back_pill_area(layout.conversation);
    }
    layout.chips = to_line(model, layout.composer.width).chips(layout.composer);
    let whole = Rect::from((Position::ORIGIN, model.size));
    if let Some(top) = model.overlays.last_mut() {
        let anchor = match top {
            Overlay::Menu(menu) => layout.visible.bubble_area(&menu.item),
            _ => None,
        };
        let area = overlay::area(top, whole, anchor);
        layout.overlay = Some(area);
        layout.overlay_rows = top.rows(area);
    }
    model.layout = layout;
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
    let wide = whole.width >= MIN_WIDTH_FOR_PEOPLE_PANE && full;
    let pane = Rect { width: PEOPLE_PANE_WIDTH.min(above.width), ..above };
    let choosing = matches!(model.focus, Focus::People(_));
    let people_pane = (wide || choosing).then_some(pane).filter(|pane| !pane.is_empty());
    let pane_width = if wide { pane.width } else { 0 };
    let conversation = Rect { x: above.x + pane_width, width: above.width - pane_width, ..above };
    let (reply, input) = split_composer(model, composer);
    ScreenLayout {
        header,
        people_pane,
        conversation,
        composer,
        reply,
        input,
        status,
        ..ScreenLayout::default()
    }
}

/// The height of the input with its frame. On a small screen the `To:` line is the last part to be dropped.
fn composer_height(model: &Model, middle: Rect) -> u16 {
    let most = (middle.height / 3).max(1);
    let text = model.composer.height(middle.width.saturating_sub(4)).clamp(1, most);
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

fn visible_person_rows(model: &mut Model, pane: Option<Rect>) -> Vec<(PersonRow, Rect)> {
    let Some(pane) = pane else { return Vec::new() };
    let all = person_rows(model);
    // The first line of the pane is its title.
    let rows = usize::from(pane.height.saturating_sub(1));
    if rows == 0 {
        return Vec::new();
    }
    if let Focus::People(row) = &mut model.focus {
        *row = (*row).min(all.len() - 1);
        model.people_top = model.people_top.clamp((*row + 1).saturating_sub(rows), *row);
    }
    model.people_top = model.people_top.min(all.len().saturating_sub(rows));
    let visible = all.into_iter().skip(model.people_top).take(rows);
    let area = |index: u16| Rect {
        y: pane.y + 1 + index,
        height: 1,
        width: pane.width.saturating_sub(1),
        ..pane
    };
    visible.zip(0..).map(|(person, index)| (person, area(index))).collect()
}

/// All rows of the people pane: everyone, online users, recipients who are not online.
pub fn person_rows(model: &Model) -> Vec<PersonRow> {
    let directory = model.chat.directory();
    let recipients = model.chat.open_audience().direct().into_iter().flatten();
    let absent = recipients.filter(|id| directory.availability(id) != Availability::Online);
    let row = |id: &UserId| {
        let availability = directory.availability(id);
        PersonRow::User { id: id.clone(), availability }
    };
    std::iter::once(PersonRow::Everyone).chain(directory.online().chain(absent).map(row)).collect()
}

fn lay_out_conversation(
    model: &mut Model,
    layout: &mut ScreenLayout,
    now: chrono::DateTime<chrono::FixedOffset>,
) {
    let picked = model.picked().cloned();
    let mut pass = LayoutPass {
        items: Items { chat: &model.chat, zone: *now.offset() },
        cache: &mut model.block_cache,
        area: layout.conversation,
        picked: picked.as_ref(),
        now,
        theme: model.theme,
    };
    let rows = std::mem::take(&mut model.scroll_by);
    let target = model.scroll_into_view.take();
    layout.visible = pass.lay_out(&mut model.viewport, rows, target.as_ref());
    if model.viewport == Viewport::Live && model.chat.opened().shows_latest() {
        model.unread_below = 0;
        model.read_position = model.chat.read_position().or_else(|| model.read_position.take());
    }
    let displayed = match model.viewport {
        Viewport::Live => Some(model.chat.opened().timeline().newest()),
        Viewport::Anchored { .. } => layout.visible.newest_stored().and_then(|id| {
            model.chat.opened().timeline().message(id).map(|entry| entry.message.seq)
        }),
    };
    if let Some(seq) = displayed {
        let open = model.chat.open_audience().clone();
        model.chat.mark_displayed(&open, seq);
    }
}

/// The text of the pill.
pub fn pill_text(unread_below: usize) -> String {
    format!(" ↓ {unread_below} newer ")
}

fn pill_area(conversation: Rect, unread_below: usize) -> Option<Rect> {
    let width = u16::try_from(pill_text(unread_below).width()).ok()?;
    (conversation.height > 1 && conversation.width > width + 2).then(|| Rect {
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
    pub fn target_at(&self, x: u16, y: u16) -> Target {
        let point = Position { x, y };
        if let Some(overlay) = self.overlay {
            let row = self.overlay_rows.iter().find(|(_, area)| area.contains(point));
            return match row {
                Some((index, _)) => Target::OverlayRow(*index),
                None if overlay.contains(point) => Target::Overlay,
                None => Target::Nothing,
            };
        }
        if let Some((person, _)) = self.people_rows.iter().find(|(_, area)| area.contains(point)) {
            return Target::Person(person.clone());
        }
        if self.people_pane.is_some_and(|pane| pane.contains(point)) {
            return Target::People;
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
        let to = from + u16::try_from(row.line.width()).unwrap_or(u16::MAX - from);
        if (from..to).contains(&point.x) {
            match row.quoted_message {
                Some(id) => Target::Quote(id),
                None => Target::Item(item.id.clone()),
            }
        } else {
            Target::Conversation
        }
    }
}
