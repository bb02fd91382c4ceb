//! Where everything is. One pass serves drawing and mouse, so that a click hits what one sees.

use ratatui::layout::{Position, Rect};
use unicode_width::UnicodeWidthStr;

use super::conversation::{Items, LayoutPass, VisibleItems};
use super::model::{Focus, ItemId, Model, Viewport};
use super::overlay::{self, Overlay};
use super::view::composer::to_line;
use crate::protocol::id::{MessageId, UserId};

/// From this width on the people have a pane of their own.
pub const MIN_WIDTH_FOR_PEOPLE_PANE: u16 = 76;

/// How wide that pane is.
const PEOPLE_PANE_WIDTH: u16 = 24;

/// From this height on there are a header and a status line.
const MIN_HEIGHT_FOR_BARS: u16 = 10;

/// Where everything is.
#[derive(Debug, Clone, Default)]
pub struct ScreenLayout {
    /// The line above everything.
    pub header: Rect,
    /// The people, if they are seen.
    pub people_pane: Option<Rect>,
    /// The rows of the people pane.
    pub people_rows: Vec<(PersonRow, Rect)>,
    /// The conversation.
    pub conversation: Rect,
    /// What is seen of it.
    pub visible: VisibleItems,
    /// The mark that says how many are new below.
    pub pill: Option<Rect>,
    /// The frame around the input.
    pub composer: Rect,
    /// The parts of the To: line that can be clicked.
    pub chips: Vec<(Chip, Rect)>,
    /// The line of the reply.
    pub reply: Option<Rect>,
    /// The text.
    pub input: Rect,
    /// The line below everything.
    pub status: Rect,
    /// The overlay on top.
    pub overlay: Option<Rect>,
    /// The rows in it that can be clicked.
    pub overlay_rows: Vec<(usize, Rect)>,
}

/// A row of the people pane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PersonRow {
    /// All who are here.
    Everyone,
    /// Somebody; `here` is false for a recipient who has left.
    User {
        /// The ID.
        id: UserId,
        /// Whether they are in the room.
        is_online: bool,
    },
}

/// A part of the To: line that can be clicked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chip {
    /// A recipient.
    Person(UserId),
    /// The time the message has.
    Expiry,
}

/// What is under the mouse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A row of the people pane.
    Person(PersonRow),
    /// The people pane elsewhere.
    People,
    /// An entry of the conversation.
    Item(ItemId),
    /// The quoted line of a reply.
    Quote(MessageId),
    /// The conversation elsewhere.
    Conversation,
    /// The mark for new messages.
    Pill,
    /// A part of the To: line.
    Chip(Chip),
    /// The line of the reply.
    Reply,
    /// The text, at this row and column.
    Input(u16, u16),
    /// A row of the overlay.
    OverlayRow(usize),
    /// The overlay elsewhere.
    Overlay,
    /// Nothing that does anything.
    Nothing,
}

/// Lays the screen out, and settles where the conversation is scrolled to.
pub fn arrange(model: &mut Model, now: chrono::DateTime<chrono::FixedOffset>) {
    let mut layout = split_screen(model);
    layout.people_rows = visible_person_rows(model, layout.people_pane);
    lay_out_conversation(model, &mut layout, now);
    if model.unread_below > 0 {
        layout.pill = pill_area(layout.conversation, model.unread_below);
    }
    layout.chips = to_line(model, layout.composer.width).chips(layout.composer);
    let whole = Rect::from((Position::ORIGIN, model.size));
    if let Some(top) = model.overlays.last_mut() {
        let area = overlay::area(top, whole);
        layout.overlay = Some(area);
        if let Overlay::Search(search) = top {
            layout.overlay_rows = search.hit_rows(area);
        }
    }
    model.layout = layout;
}

/// The big parts, from the outside inwards.
fn split_screen(model: &Model) -> ScreenLayout {
    let whole = Rect::from((Position::ORIGIN, model.size));
    let full = whole.height >= MIN_HEIGHT_FOR_BARS;
    let line = u16::from(full);
    let header = Rect { height: line, ..whole };
    let status = Rect { y: whole.bottom() - line, height: line, ..whole };
    let middle = Rect { y: line, height: whole.height - 2 * line, ..whole };
    let compose_height = composer_height(model, middle);
    let composer = Rect { y: middle.bottom() - compose_height, height: compose_height, ..middle };
    let above = Rect { height: middle.height - compose_height, ..middle };
    let wide = whole.width >= MIN_WIDTH_FOR_PEOPLE_PANE && full;
    let pane = Rect { width: PEOPLE_PANE_WIDTH.min(above.width), ..above };
    let choosing = matches!(model.focus, Focus::People(_));
    let people = (wide || choosing).then_some(pane).filter(|pane| !pane.is_empty());
    let pane_width = if wide { pane.width } else { 0 };
    let conversation = Rect { x: above.x + pane_width, width: above.width - pane_width, ..above };
    let (reply, input) = split_composer(model, composer);
    ScreenLayout {
        header,
        people_pane: people,
        conversation,
        composer,
        reply,
        input,
        status,
        ..ScreenLayout::default()
    }
}

/// Rows for the input and its frame: the To: line is the last thing to go.
fn composer_height(model: &Model, middle: Rect) -> u16 {
    let most = (middle.height / 3).max(1);
    let text = model.composer.height(middle.width.saturating_sub(4)).clamp(1, most);
    let reply =
        u16::from(model.composer.reply_to.is_some() && middle.height >= MIN_HEIGHT_FOR_BARS - 2);
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
    if model.composer.reply_to.is_none() || inner.height < 2 {
        return (None, inner);
    }
    let reply = Rect { height: 1, ..inner };
    (Some(reply), Rect { y: inner.y + 1, height: inner.height - 1, ..inner })
}

fn visible_person_rows(model: &mut Model, pane: Option<Rect>) -> Vec<(PersonRow, Rect)> {
    let Some(pane) = pane else { return Vec::new() };
    let people = person_rows(model);
    // The title and the column of the frame are not rows of people.
    let rows = usize::from(pane.height.saturating_sub(1));
    if rows == 0 {
        return Vec::new();
    }
    if let Focus::People(row) = &mut model.focus {
        *row = (*row).min(people.len() - 1);
        model.people_top = model.people_top.clamp((*row + 1).saturating_sub(rows), *row);
    }
    model.people_top = model.people_top.min(people.len().saturating_sub(rows));
    let visible = people.into_iter().skip(model.people_top).take(rows);
    let area = |index: u16| Rect {
        y: pane.y + 1 + index,
        height: 1,
        width: pane.width.saturating_sub(1),
        ..pane
    };
    visible.zip(0..).map(|(person, index)| (person, area(index))).collect()
}

/// The rows of the people pane: everyone, then who is here, then recipients who have left.
pub fn person_rows(model: &Model) -> Vec<PersonRow> {
    let here = model.chat.online_users().iter();
    let left =
        model.composer.recipients.iter().filter(|id| !model.chat.online_users().contains(*id));
    let row = |here| move |id: &UserId| PersonRow::User { id: id.clone(), is_online: here };
    std::iter::once(PersonRow::Everyone)
        .chain(here.map(row(true)))
        .chain(left.map(row(false)))
        .collect()
}

fn lay_out_conversation(
    model: &mut Model,
    layout: &mut ScreenLayout,
    now: chrono::DateTime<chrono::FixedOffset>,
) {
    let picked = model.picked().cloned();
    let mut layouter = LayoutPass {
        items: Items { chat: &model.chat, zone: *now.offset() },
        cache: &mut model.block_cache,
        area: layout.conversation,
        picked: picked.as_ref(),
        now,
        theme: model.theme,
    };
    let rows = std::mem::take(&mut model.scroll_by);
    let reveal = model.scroll_into_view.take();
    layout.visible = layouter.lay_out(&mut model.viewport, rows, reveal.as_ref());
    if model.viewport == Viewport::Live && model.chat.shows_latest() {
        model.unread_below = 0;
        model.read_position = model.chat.read_position().or_else(|| model.read_position.take());
    }
}

/// What the mark for new messages says.
pub fn pill_text(unread_below: usize) -> String {
    format!(" ↓ {unread_below} new ")
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

impl ScreenLayout {
    /// What is at this cell.
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
        let placed = self.visible.items.iter().find(|placed| placed.area.contains(point));
        let Some(placed) = placed else { return Target::Conversation };
        let row = usize::from(point.y - placed.area.y + placed.rows_cut_above);
        let Some(row) = placed.block.rows.get(row) else { return Target::Conversation };
        let from = placed.area.x + row.x;
        let to = from + u16::try_from(row.line.width()).unwrap_or(u16::MAX - from);
        if (from..to).contains(&point.x) {
            match row.quoted_message {
                Some(id) => Target::Quote(id),
                None => Target::Item(placed.id.clone()),
            }
        } else {
            Target::Conversation
        }
    }
}
