//! Where everything is. One pass serves drawing and mouse, so that a click hits what one sees.

use ratatui::layout::{Position, Rect};
use unicode_width::UnicodeWidthStr;

use super::conversation::{Conversation, Layouter, Slots};
use super::model::{Focus, Key, Model, Scroll};
use super::overlay::{self, Overlay};
use super::view::compose::to_line;
use crate::protocol::id::{MessageId, UserId};

/// From this width on the people have a pane of their own.
pub const PEOPLE_FROM: u16 = 76;

/// How wide that pane is.
const PEOPLE_WIDTH: u16 = 24;

/// From this height on there are a header and a status line.
const FULL_FROM: u16 = 10;

/// Where everything is.
#[derive(Debug, Clone, Default)]
pub struct Areas {
    /// The line above everything.
    pub header: Rect,
    /// The people, if they are seen.
    pub people: Option<Rect>,
    /// The rows of the people pane.
    pub people_rows: Vec<(Person, Rect)>,
    /// The conversation.
    pub talk: Rect,
    /// What is seen of it.
    pub conversation: Conversation,
    /// The mark that says how many are new below.
    pub pill: Option<Rect>,
    /// The frame around the input.
    pub compose: Rect,
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
pub enum Person {
    /// All who are here.
    Everyone,
    /// Somebody; `here` is false for a recipient who has left.
    One {
        /// The ID.
        id: UserId,
        /// Whether they are in the room.
        here: bool,
    },
}

/// A part of the To: line that can be clicked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chip {
    /// A recipient.
    Person(UserId),
    /// The time the message has.
    Life,
}

/// What is under the mouse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A row of the people pane.
    Person(Person),
    /// The people pane elsewhere.
    People,
    /// An entry of the conversation.
    Entry(Key),
    /// The quoted line of a reply.
    Quote(MessageId),
    /// The conversation elsewhere.
    Talk,
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
    let mut areas = frame(model);
    areas.people_rows = people_rows(model, areas.people);
    lay_out_conversation(model, &mut areas, now);
    if model.newer > 0 {
        areas.pill = pill(areas.talk, model.newer);
    }
    areas.chips = to_line(model, areas.compose.width).chips(areas.compose);
    let whole = Rect::from((Position::ORIGIN, model.size));
    if let Some(top) = model.overlays.last_mut() {
        let area = overlay::area(top, whole);
        areas.overlay = Some(area);
        if let Overlay::Search(search) = top {
            areas.overlay_rows = search.rows(area);
        }
    }
    model.areas = areas;
}

/// The big parts, from the outside inwards.
fn frame(model: &Model) -> Areas {
    let whole = Rect::from((Position::ORIGIN, model.size));
    let full = whole.height >= FULL_FROM;
    let line = u16::from(full);
    let header = Rect { height: line, ..whole };
    let status = Rect { y: whole.bottom() - line, height: line, ..whole };
    let middle = Rect { y: line, height: whole.height - 2 * line, ..whole };
    let compose_height = compose_height(model, middle);
    let compose = Rect { y: middle.bottom() - compose_height, height: compose_height, ..middle };
    let above = Rect { height: middle.height - compose_height, ..middle };
    let wide = whole.width >= PEOPLE_FROM && full;
    let pane = Rect { width: PEOPLE_WIDTH.min(above.width), ..above };
    let choosing = matches!(model.focus, Focus::People(_));
    let people = (wide || choosing).then_some(pane).filter(|pane| !pane.is_empty());
    let taken = if wide { pane.width } else { 0 };
    let talk = Rect { x: above.x + taken, width: above.width - taken, ..above };
    let (reply, input) = inside_compose(model, compose);
    Areas { header, people, talk, compose, reply, input, status, ..Areas::default() }
}

/// Rows for the input and its frame: the To: line is the last thing to go.
fn compose_height(model: &Model, middle: Rect) -> u16 {
    let most = (middle.height / 3).max(1);
    let text = model.compose.rows(middle.width.saturating_sub(4)).clamp(1, most);
    let reply = u16::from(model.compose.reply.is_some() && middle.height >= FULL_FROM - 2);
    let frame = match middle.height {
        0..=1 => 0,
        2..8 => 1,
        8.. => 2,
    };
    (text + reply + frame).min(middle.height)
}

fn inside_compose(model: &Model, compose: Rect) -> (Option<Rect>, Rect) {
    let to_line = u16::from(compose.height > 1);
    let bottom = u16::from(compose.height > 2);
    let side = if compose.width > 8 { 2 } else { 0 };
    let inner = Rect {
        x: compose.x + side,
        y: compose.y + to_line,
        width: compose.width - 2 * side,
        height: compose.height - to_line - bottom,
    };
    if model.compose.reply.is_none() || inner.height < 2 {
        return (None, inner);
    }
    let reply = Rect { height: 1, ..inner };
    (Some(reply), Rect { y: inner.y + 1, height: inner.height - 1, ..inner })
}

fn people_rows(model: &mut Model, pane: Option<Rect>) -> Vec<(Person, Rect)> {
    let Some(pane) = pane else { return Vec::new() };
    let people = people(model);
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
    let seen = people.into_iter().skip(model.people_top).take(rows);
    let area = |index: u16| Rect {
        y: pane.y + 1 + index,
        height: 1,
        width: pane.width.saturating_sub(1),
        ..pane
    };
    seen.zip(0..).map(|(person, index)| (person, area(index))).collect()
}

/// The rows of the people pane: everyone, then who is here, then recipients who have left.
pub fn people(model: &Model) -> Vec<Person> {
    let here = model.room.people().iter();
    let gone = model.compose.to.iter().filter(|id| !model.room.people().contains(*id));
    let row = |here| move |id: &UserId| Person::One { id: id.clone(), here };
    std::iter::once(Person::Everyone)
        .chain(here.map(row(true)))
        .chain(gone.map(row(false)))
        .collect()
}

fn lay_out_conversation(
    model: &mut Model,
    areas: &mut Areas,
    now: chrono::DateTime<chrono::FixedOffset>,
) {
    let picked = model.picked().cloned();
    let mut layouter = Layouter {
        slots: Slots { room: &model.room, zone: *now.offset() },
        cache: &mut model.cache,
        area: areas.talk,
        picked: picked.as_ref(),
        now,
        theme: model.theme,
    };
    let rows = std::mem::take(&mut model.scroll_by);
    let reveal = model.reveal.take();
    areas.conversation = layouter.lay_out(&mut model.scroll, rows, reveal.as_ref());
    if model.scroll == Scroll::Bottom && model.room.is_present() {
        model.newer = 0;
        model.seen = model.room.reached().or_else(|| model.seen.take());
    }
}

/// What the mark for new messages says.
pub fn pill_words(newer: usize) -> String {
    format!(" ↓ {newer} new ")
}

fn pill(talk: Rect, newer: usize) -> Option<Rect> {
    let width = u16::try_from(pill_words(newer).width()).ok()?;
    (talk.height > 1 && talk.width > width + 2).then(|| Rect {
        x: talk.right() - width - 2,
        y: talk.bottom() - 1,
        width,
        height: 1,
    })
}

impl Areas {
    /// What is at this cell.
    pub fn at(&self, x: u16, y: u16) -> Target {
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
        if self.people.is_some_and(|pane| pane.contains(point)) {
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
        if self.talk.contains(point) { self.in_talk(point) } else { Target::Nothing }
    }

    fn in_talk(&self, point: Position) -> Target {
        let placed = self.conversation.placed.iter().find(|placed| placed.area.contains(point));
        let Some(placed) = placed else { return Target::Talk };
        let row = usize::from(point.y - placed.area.y + placed.cut);
        let Some(row) = placed.block.rows.get(row) else { return Target::Talk };
        let from = placed.area.x + row.x;
        let to = from + u16::try_from(row.line.width()).unwrap_or(u16::MAX - from);
        if (from..to).contains(&point.x) {
            match row.quotes {
                Some(id) => Target::Quote(id),
                None => Target::Entry(placed.key.clone()),
            }
        } else {
            Target::Talk
        }
    }
}
