//! The emoji picker: a few emoji, then those whose name contains what is typed.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::client::state::Session;
use crate::protocol::id::MessageId;
use crate::protocol::reaction::Emoji;
use crate::protocol::request::Request;
use crate::tui::editor::Editor;
use crate::tui::list::{self, ListFrame, ListLayout, Selection};
use crate::tui::text::drawable;
use crate::tui::theme::Theme;

/// The emoji that are offered before anything is typed.
const FREQUENT: [&str; 8] = ["👍", "❤️", "😂", "🎉", "😮", "😢", "👀", "✅"];

/// The highest number of emoji that a name finds.
const MAX_FOUND: usize = 40;

/// The emoji picker for a message.
#[derive(Debug, Clone)]
pub struct EmojiPicker {
    /// The message to react to.
    pub message: MessageId,
    /// The input for a name.
    input: Editor,
    found: Vec<Emoji>,
    /// The selected row.
    pub list: Selection,
}

impl EmojiPicker {
    /// Opens the picker.
    pub fn new(message: MessageId) -> Self {
        let mut picker = Self {
            message,
            input: Editor::default(),
            found: Vec::new(),
            list: Selection::default(),
        };
        picker.search();
        picker
    }

    /// The input for a name.
    pub fn input(&self) -> &Editor {
        &self.input
    }

    /// Lets `edit` change the name, and finds the emoji again.
    pub fn edit(&mut self, edit: impl FnOnce(&mut Editor) -> bool) {
        if edit(&mut self.input) {
            self.search();
        }
    }

    fn search(&mut self) {
        let text = self.input.text();
        self.found = if text.trim().trim_matches(':').is_empty() {
            FREQUENT.iter().filter_map(|emoji| emoji.parse().ok()).collect()
        } else {
            Emoji::search(&text, MAX_FOUND)
        };
        self.list = Selection::new(self.found.len());
    }

    /// The selected emoji.
    pub fn selected(&self) -> Option<&Emoji> {
        self.found.get(self.list.index())
    }

    /// Lays out the visible rows.
    pub fn lay_out(&self, area: Rect) -> ListLayout {
        self.list.lay_out(|_| 1, list::rows_area(area, true))
    }

    /// Draws the picker. Returns the area of the input.
    pub fn draw(
        &self,
        chat: &Session,
        area: Rect,
        rows: &[(usize, Rect)],
        theme: Theme,
        buffer: &mut Buffer,
    ) -> Option<Rect> {
        let note = if self.found.is_empty() { " no such emoji " } else { "" };
        let input = Some((":", &self.input));
        let frame = ListFrame { title: " React ".to_owned(), input, note };
        let rows = rows.iter().filter_map(|(index, row)| {
            let emoji = self.found.get(*index)?;
            let taken = if has_reacted(chat, self.message, emoji) { "  remove" } else { "" };
            let line = Line::from(vec![
                Span::raw(format!("{}  {}", drawable(emoji.as_str()), emoji.shortcode())),
                Span::styled(taken, theme.dim()),
            ]);
            Some((vec![line], *row, *index == self.list.index()))
        });
        list::draw(&frame, area, rows, theme, buffer)
    }
}

/// Whether the user has this reaction on a message, with what was requested and is not answered yet.
pub fn has_reacted(chat: &Session, message: MessageId, emoji: &Emoji) -> bool {
    let mut requested =
        chat.pending_changes().iter().rev().filter_map(|change| match &change.request {
            Request::React { id, emoji: with, on } if *id == message && with == emoji => Some(*on),
            _ => None,
        });
    requested.next().unwrap_or_else(|| {
        let reactions = chat.message(message).map(|entry| &entry.message.reactions);
        let mut reactions = reactions.into_iter().flatten();
        reactions.any(|reaction| {
            reaction.emoji == *emoji && reaction.users.iter().any(|user| chat.is_own_id(user))
        })
    })
}
