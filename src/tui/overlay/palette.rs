//! The palette: goes to a conversation or a person, or runs a command, by a few letters of the name.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::protocol::id::UserId;
use crate::protocol::message::Audience;
use crate::tui::command::UiCommand;
use crate::tui::editor::Editor;
use crate::tui::list::{self, ListFrame, ListLayout, Selection};
use crate::tui::text::shorten;
use crate::tui::theme::Theme;

/// What a row of the palette does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaletteTarget {
    /// Opens the conversation.
    Conversation(Audience),
    /// Opens the direct conversation with the person.
    Person(UserId),
    /// Runs the command.
    Command(UiCommand),
}

/// A row of the palette.
#[derive(Debug, Clone)]
pub struct PaletteEntry {
    /// What it does.
    pub target: PaletteTarget,
    /// Its name, which is searched.
    pub label: String,
    /// The key that does the same, or what the target is.
    pub note: String,
}

/// The palette.
#[derive(Debug, Clone)]
pub struct Palette {
    input: Editor,
    entries: Vec<PaletteEntry>,
    /// The indices of the entries that match, the best one first.
    found: Vec<usize>,
    /// The selected row.
    pub list: Selection,
}

impl Palette {
    /// Opens the palette with these rows.
    pub fn new(entries: Vec<PaletteEntry>) -> Self {
        let (input, found) = (Editor::default(), (0..entries.len()).collect());
        Self { input, list: Selection::new(entries.len()), entries, found }
    }

    /// The input.
    pub fn input(&self) -> &Editor {
        &self.input
    }

    /// Lets `edit` change the input, and finds the entries again.
    pub fn edit(&mut self, edit: impl FnOnce(&mut Editor) -> bool) {
        if edit(&mut self.input) {
            self.search();
        }
    }

    /// What the selected row does.
    pub fn selected(&self) -> Option<&PaletteTarget> {
        let index = self.found.get(self.list.index())?;
        self.entries.get(*index).map(|entry| &entry.target)
    }

    fn search(&mut self) {
        let typed = self.input.text().to_lowercase();
        let (only_commands, typed) = match typed.trim_start().strip_prefix('>') {
            Some(rest) => (true, rest.trim()),
            None => (false, typed.trim()),
        };
        let entries = self.entries.iter().enumerate().filter(|(_, entry)| {
            !only_commands || matches!(entry.target, PaletteTarget::Command(_))
        });
        let mut found: Vec<_> = entries
            .filter_map(|(index, entry)| Some((similarity(typed, &entry.label)?, index)))
            .collect();
        found.sort_by_key(|(similarity, index)| (std::cmp::Reverse(*similarity), *index));
        self.found = found.into_iter().map(|(_, index)| index).collect();
        self.list = Selection::new(self.found.len());
    }

    /// Lays out the visible rows.
    pub fn lay_out(&self, area: Rect) -> ListLayout {
        self.list.lay_out(|_| 1, list::rows_area(area, true))
    }

    /// Draws the palette. Returns the area of its input.
    pub fn draw(
        &self,
        area: Rect,
        rows: &[(usize, Rect)],
        theme: Theme,
        buffer: &mut Buffer,
    ) -> Option<Rect> {
        let note = match self.found.len() {
            0 => " nothing matches ".to_owned(),
            count => format!(" {count} of {} · > commands ", self.entries.len()),
        };
        let rows = rows.iter().filter_map(|(index, row)| {
            let entry = self.entries.get(*self.found.get(*index)?)?;
            let line = entry.line(usize::from(row.width), theme);
            Some((vec![line], *row, *index == self.list.index()))
        });
        let (title, input) = (" Go to ".to_owned(), Some(("› ", &self.input)));
        list::draw(&ListFrame { title, input, note: &note }, area, rows, theme, buffer)
    }
}

impl PaletteEntry {
    /// The name on the left, the note on the right.
    fn line(&self, width: usize, theme: Theme) -> Line<'static> {
        let style = match &self.target {
            PaletteTarget::Conversation(Audience::Room(_)) => theme.accent(),
            PaletteTarget::Conversation(Audience::Only(_)) => theme.private(),
            PaletteTarget::Person(user) => theme.name(user),
            PaletteTarget::Conversation(Audience::Everyone) | PaletteTarget::Command(_) => {
                Style::new()
            }
        };
        let label = shorten(&self.label, width.saturating_sub(self.note.width() + 1));
        let gap = width.saturating_sub(label.width() + self.note.width());
        Line::from(vec![
            Span::styled(label, style),
            Span::raw(" ".repeat(gap)),
            Span::styled(self.note.clone(), theme.dim()),
        ])
    }
}

/// How well a name matches what was typed, in lower case; `None` if its letters do not occur in this order. A
/// part of the name is better than single letters, and the start of a word better than its middle.
fn similarity(typed: &str, name: &str) -> Option<i32> {
    let name = name.to_lowercase();
    if let Some(at) = name.find(typed) {
        let before = name.get(..at).and_then(|before| before.chars().next_back());
        let starts_word = before.is_none_or(|before| !before.is_alphanumeric());
        return Some(if starts_word { 2_000 } else { 1_000 });
    }
    let mut score = 0;
    let mut last: Option<char> = None;
    let mut letters = name.chars();
    for wanted in typed.chars().filter(|letter| !letter.is_whitespace()) {
        let mut is_next = true;
        loop {
            let letter = letters.next()?;
            if letter == wanted {
                let starts_word = last.is_none_or(|before| !before.is_alphanumeric());
                score += if starts_word || is_next { 10 } else { 0 };
                last = Some(letter);
                break;
            }
            (is_next, last) = (false, Some(letter));
            score -= 1;
        }
    }
    Some(score.clamp(-1_000, 500))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_match_is_first() {
        let entries =
            ["Everyone", "#ops", "#backend-ops", "Alice_1180", "open the next conversation"];
        let entries = entries.map(|label| PaletteEntry {
            target: PaletteTarget::Command(UiCommand::Help),
            label: label.to_owned(),
            note: String::new(),
        });
        let mut palette = Palette::new(entries.to_vec());
        let mut found = |typed: &str| -> Vec<String> {
            palette.edit(|input| {
                input.clear();
                input.insert(typed);
                true
            });
            palette.found.iter().map(|index| palette.entries[*index].label.clone()).collect()
        };
        assert_eq!(found("op"), ["#ops", "#backend-ops", "open the next conversation"]);
        assert_eq!(found("al11"), ["Alice_1180"]);
        assert_eq!(found("onc"), ["open the next conversation"]);
        assert_eq!(found("").len(), 5);
        assert!(found("xyz").is_empty());
    }
}
