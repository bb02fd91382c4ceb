//! Draws the composer: the `To:` line, the reply, the input and the proposals of the completion.

use std::collections::BTreeSet;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Borders, Clear, Widget};
use unicode_width::UnicodeWidthStr;

use crate::client::state::Conversation;
use crate::protocol::id::UserId;
use crate::protocol::limits;
use crate::protocol::message::Audience;
use crate::protocol::request::PostKind;
use crate::tui::bubble::{availability_note, display_name};
use crate::tui::conversation::{duration, quote_text};
use crate::tui::layout::Chip;
use crate::tui::model::Model;
use crate::tui::wrap::shorten;

/// From this length on, in characters, the length of the draft is shown.
const SHOW_LENGTH_FROM: usize = limits::CONTENT_CHARACTERS / 2;

/// Says how to drop a reply or an edit.
const DROPS_HINT: &str = " Esc drops it";

/// The width of [`DROPS_HINT`] in cells.
const DROPS_HINT_WIDTH: u16 = 13;

/// The line above the input that names the recipients.
#[derive(Debug, Clone, Default)]
pub struct ToLine {
    parts: Vec<(Span<'static>, Option<Chip>)>,
    expiry: Option<Span<'static>>,
}

/// Builds the `To:` line of the draft, for a frame of `width` cells.
pub fn to_line(model: &Model, width: u16) -> ToLine {
    let theme = model.theme;
    let destination = model.composer.destination(&model.chat);
    let mut line = ToLine::default();
    if let PostKind::Temporary { seconds } = destination.kind {
        let text = format!(" expires after {} × ", duration(i64::from(seconds)));
        line.expiry = Some(Span::styled(text, theme.warning()));
    }
    let used = line.expiry.as_ref().map_or(0, |expiry| expiry.content.width());
    let available = usize::from(width).saturating_sub(used + 3);
    if model.composer.editing.is_some() {
        line.push(" editing ".to_owned(), theme.warning(), None);
    }
    line.push(" To: ".to_owned(), theme.title(), None);
    let notes = match destination.audience {
        Err(error) => {
            line.push(format!("{error} "), theme.error(), None);
            Vec::new()
        }
        Ok(Audience::Room(room)) => {
            let state = model.chat.conversation(&Audience::Room(room.clone()));
            let people = state.and_then(Conversation::room).map_or(0, |room| room.people);
            let noun = if people == 1 { "person" } else { "people" };
            line.push(format!("{room} · {people} {noun} "), theme.accent(), None);
            Vec::new()
        }
        Ok(Audience::Everyone) => {
            line.push("everyone ".to_owned(), theme.success(), None);
            vec![format!("· {} online ", model.chat.directory().online_count() + 1)]
        }
        Ok(Audience::Only(users)) => {
            push_recipients(model, &mut line, &users, destination.is_typed, available);
            private_notes(&users)
        }
    };
    let fits = |note: &String| line.width() + note.width() <= available;
    if let Some(note) = notes.into_iter().find(fits) {
        let style = line.parts.last().map_or_else(|| theme.dim(), |(span, _)| span.style);
        line.push(note, style, None);
    }
    line
}

/// Adds the recipients of a direct message. A click removes one, unless the text names them.
fn push_recipients(
    model: &Model,
    line: &mut ToLine,
    users: &BTreeSet<UserId>,
    is_typed: bool,
    available: usize,
) {
    let theme = model.theme;
    for (index, id) in users.iter().enumerate() {
        let left = availability_note(model.chat.directory().availability(id));
        let cross = if is_typed { "" } else { " ×" };
        let name = display_name(id, model.chat.directory().is_guest(id));
        let text = format!("[{name}{left}{cross}] ");
        let rest = format!("and {} more ", users.len() - index);
        if line.width() + text.width() + rest.width() > available && index > 0 {
            line.push(rest, theme.private(), None);
            return;
        }
        let chip = (!is_typed).then(|| Chip::Person(id.clone()));
        let text = shorten(&text, available.saturating_sub(line.width()));
        line.push(text, theme.private(), chip);
    }
}

/// What to say about a direct message, longest first.
fn private_notes(users: &BTreeSet<UserId>) -> Vec<String> {
    let note = match users.iter().next() {
        Some(user) if users.len() == 1 => format!("private: only {} sees this ", user.name()),
        Some(_) => format!("private: only these {} see this ", users.len()),
        None => "private: only you see this ".to_owned(),
    };
    vec![note, "private ".to_owned()]
}

impl ToLine {
    fn push(&mut self, text: String, style: Style, chip: Option<Chip>) {
        self.parts.push((Span::styled(text, style), chip));
    }

    fn width(&self) -> usize {
        self.parts.iter().map(|(span, _)| span.content.width()).sum()
    }

    /// The areas of the clickable parts, for a composer with this frame.
    pub fn chips(&self, frame: Rect) -> Vec<(Chip, Rect)> {
        if frame.height < 2 {
            return Vec::new();
        }
        let cell = |x: u16, span: &Span<'_>| {
            let width = u16::try_from(span.content.width()).unwrap_or(u16::MAX);
            Rect { x, y: frame.y, width, height: 1 }.intersection(frame)
        };
        let mut x = frame.x + 1;
        let mut chips = Vec::new();
        for (span, chip) in &self.parts {
            let area = cell(x, span);
            x = x.saturating_add(area.width);
            chips.extend(chip.clone().map(|chip| (chip, area)));
        }
        if let Some(expiry) = &self.expiry {
            let width = u16::try_from(expiry.content.width()).unwrap_or(u16::MAX);
            let x = frame.right().saturating_sub(width + 1).max(x);
            chips.push((Chip::Expiry, cell(x, expiry)));
        }
        chips
    }
}

/// Draws the composer.
pub(super) fn draw(model: &Model, buffer: &mut Buffer) {
    let layout = &model.layout;
    let theme = model.theme;
    let frame = layout.composer;
    if frame.height > 1 {
        let line = to_line(model, frame.width);
        let borders = if frame.height > 2 { Borders::ALL } else { Borders::TOP };
        let border = match model.composer.destination(&model.chat).audience {
            Ok(Audience::Everyone) => theme.dim(),
            Ok(Audience::Room(_)) => theme.accent(),
            Ok(Audience::Only(_)) => theme.private(),
            Err(_) => theme.error(),
        };
        Clear.render(frame, buffer);
        Block::new()
            .borders(borders)
            .border_type(BorderType::Rounded)
            .border_style(border)
            .title_bottom(Line::from(length_counter(model)).right_aligned())
            .render(frame, buffer);
        let to = Line::from(line.parts.into_iter().map(|(span, _)| span).collect::<Vec<_>>());
        let top = Rect { x: frame.x + 1, width: frame.width.saturating_sub(2), height: 1, ..frame };
        to.render(top, buffer);
        if let Some(expiry) = line.expiry {
            Line::from(expiry).right_aligned().render(top, buffer);
        }
    }
    if let (Some(area), Some(id)) = (layout.reply, model.composer.quoted()) {
        let verb = if model.composer.editing.is_some() { "edit" } else { "reply to" };
        let text = format!("┃ {verb} {}", quote_text(&model.chat, id));
        let text = shorten(&text, usize::from(area.width.saturating_sub(DROPS_HINT_WIDTH)));
        Span::styled(text, theme.own()).render(area, buffer);
        Line::styled(DROPS_HINT, theme.dim()).right_aligned().render(area, buffer);
    }
    if !layout.input.is_empty() {
        (&model.composer.input).render(layout.input, buffer);
    }
    draw_proposals(model, buffer);
}

/// The length of the draft and the limit, once the draft is long.
fn length_counter(model: &Model) -> Span<'static> {
    let count = model.composer.input.characters();
    let text = format!(" {count}/{} ", limits::CONTENT_CHARACTERS);
    match count {
        ..SHOW_LENGTH_FROM => Span::raw(""),
        SHOW_LENGTH_FROM..=limits::CONTENT_CHARACTERS => Span::styled(text, model.theme.dim()),
        _ => Span::styled(text, model.theme.error()),
    }
}

/// Draws the proposals of the completion, right above the frame.
fn draw_proposals(model: &Model, buffer: &mut Buffer) {
    let Some(open) = &model.composer.completion else { return };
    let frame = model.layout.composer;
    let longest = open.proposals.iter().map(|p| p.text.width() + p.description.width() + 3).max();
    let width = longest.unwrap_or(0).min(usize::from(frame.width.saturating_sub(2)));
    let height = u16::try_from(open.proposals.len()).unwrap_or(0).min(frame.y);
    let area = Rect {
        x: frame.x + 1,
        y: frame.y - height,
        width: u16::try_from(width).unwrap_or(frame.width),
        height,
    };
    Clear.render(area, buffer);
    for ((index, proposal), y) in open.proposals.iter().enumerate().zip(area.top()..area.bottom()) {
        let style =
            if index == open.selected { model.theme.selection() } else { model.theme.text() };
        let text = format!(" {} {}", proposal.text, proposal.description);
        let line = format!("{:<width$}", shorten(&text, width));
        Span::styled(line, style).render(Rect { y, height: 1, ..area }, buffer);
    }
}

/// The position of the cursor in the input.
pub(super) fn cursor(model: &Model) -> Option<Position> {
    model.composer.input.cursor_position(model.layout.input)
}
