//! The `To:` line of the draft: who gets it, and what a click on it changes.

use std::collections::BTreeSet;

use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Span;
use unicode_width::UnicodeWidthStr;

use super::bubble::{availability_note, display_name};
use super::conversation::duration;
use super::model::Model;
use super::text::shorten;
use crate::client::state::Conversation;
use crate::protocol::id::UserId;
use crate::protocol::message::Audience;
use crate::protocol::request::PostKind;

/// A clickable part of the `To:` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chip {
    /// A recipient. A click removes it.
    Person(UserId),
    /// The expiry of the message. A click removes it.
    Expiry,
}

/// The line above the input that names the recipients.
#[derive(Debug, Clone, Default)]
pub struct ToLine {
    /// The parts from left to right; a click on one with a chip acts on it.
    pub parts: Vec<(Span<'static>, Option<Chip>)>,
    /// The expiry, at the right end.
    pub expiry: Option<Span<'static>>,
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
