//! The help overlay, generated from the keymap and the tables of dot-commands and search filters.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Widget};
use unicode_width::UnicodeWidthStr;

use super::OverlayContext;
use crate::client::input::DOT_COMMANDS;
use crate::client::state::ConnectionState;
use crate::client::state::search_input::SEARCH_FILTERS;
use crate::tui::command::Scope;
use crate::tui::editor::Editor;
use crate::tui::list::{self, ListFrame, ListLayout, rows_area};
use crate::tui::text::wrap;
use crate::tui::theme::Theme;

/// What the mouse does.
const MOUSE: [(&str, &str); 9] = [
    ("click a conversation", "open it"),
    ("click a name", "open the direct conversation with the person"),
    ("click a box", "tick the person: opens the direct conversation of the ticked people"),
    ("click a name in To:", "untick the person"),
    ("click a message", "pick it; again: its menu"),
    ("right click a message", "its menu"),
    ("click a quote", "jump to the original message"),
    ("wheel", "scroll the pane under the pointer"),
    ("Shift and drag", "select text with the terminal (Alt-M: without Shift)"),
];

/// Marks on the screen that need an explanation.
const MARKS: [(&str, &str); 1] =
    [("Name_1234 (?)", "unverified: a client without a key, so anyone can use the name")];

/// Width of the column of keys on a wide screen.
const KEY_COLUMN_WIDTH: usize = 26;

/// The help: opens at the context in which it was asked for, and shows what contains the typed words.
#[derive(Debug, Clone)]
pub struct HelpOverlay {
    filter: Editor,
    context: Scope,
    /// The first visible line.
    top: usize,
}

/// A title with rows of keys and descriptions.
type Section = (&'static str, Vec<(String, String)>);

impl HelpOverlay {
    /// Opens the help at a context.
    pub fn new(context: Scope) -> Self {
        Self { filter: Editor::default(), context, top: 0 }
    }

    /// The input of the filter.
    pub fn input(&self) -> &Editor {
        &self.filter
    }

    /// Lets `edit` change the filter.
    pub fn edit(&mut self, edit: impl FnOnce(&mut Editor) -> bool) {
        if edit(&mut self.filter) {
            self.top = 0;
        }
    }

    /// Scrolls by this many lines; positive is down.
    pub fn scroll_by(&mut self, lines: isize) {
        self.top = self.top.saturating_add_signed(lines);
    }

    /// Takes over where it was drawn.
    pub fn settle(&mut self, top: usize) {
        self.top = top;
    }

    /// Finds the first visible line.
    pub fn lay_out(&self, area: Rect, context: OverlayContext<'_>) -> ListLayout {
        let rows = rows_area(area, true);
        let last = self.lines(rows.width, context).len().saturating_sub(usize::from(rows.height));
        ListLayout { top: self.top.min(last), ..ListLayout::default() }
    }

    /// Draws the help, scrolled down by `top` lines. Returns the area of its input.
    pub fn draw(
        &self,
        area: Rect,
        top: usize,
        context: OverlayContext<'_>,
        buffer: &mut Buffer,
    ) -> Option<Rect> {
        let rows = rows_area(area, true);
        let lines = self.lines(rows.width, context);
        let below = lines.len().saturating_sub(top + usize::from(rows.height));
        let note = if below > 0 { format!(" ↓ {below} more ") } else { String::new() };
        let (title, input) = (" Help ".to_owned(), Some(("filter: ", &self.filter)));
        let frame = ListFrame { title, input, note: &note };
        let input = list::draw(&frame, area, [], context.theme, buffer);
        let visible: Vec<_> = lines.into_iter().skip(top).take(usize::from(rows.height)).collect();
        Paragraph::new(visible).render(rows, buffer);
        input
    }

    /// The lines that match the filter, wrapped to `width` cells.
    fn lines(&self, width: u16, context: OverlayContext<'_>) -> Vec<Line<'static>> {
        let width = usize::from(width);
        let typed = self.filter.text().to_lowercase();
        let mut lines = Vec::new();
        for (title, rows) in self.sections(context) {
            let matches = |(keys, description): &(String, String)| {
                let text = format!("{title} {keys} {description}").to_lowercase();
                typed.split_whitespace().all(|word| text.contains(word))
            };
            let mut rows = rows.into_iter().filter(matches).peekable();
            if rows.peek().is_none() {
                continue;
            }
            lines.push(Line::styled(title, context.theme.title()));
            for (keys, description) in rows {
                row(&keys, &description, width, context.theme, &mut lines);
            }
            lines.push(Line::default());
        }
        if lines.is_empty() {
            lines.push(Line::styled("nothing matches", context.theme.dim()));
        }
        lines
    }

    /// Everything that the help says: the context first.
    fn sections(&self, context: OverlayContext<'_>) -> Vec<Section> {
        let owned = |(left, right): (&str, &str)| (left.to_owned(), right.to_owned());
        let keys = |(scope, _, title): (Scope, &str, &'static str)| {
            let bound = context.keymap.in_scope(scope).filter(|bound| !bound.chords.is_empty());
            let rows = bound.map(|bound| (bound.label(), bound.binding.description.to_owned()));
            (title, rows.collect())
        };
        let dots = DOT_COMMANDS.iter().map(|command| {
            (format!("{} {}", command.name, command.arguments), command.about.to_owned())
        });
        let at = ("@ID [@ID…] text".to_owned(), "send a direct message".to_owned());
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            Scope::ALL.into_iter().partition(|(scope, ..)| *scope == self.context);
        let mut sections: Vec<Section> = here.into_iter().map(keys).collect();
        sections.push(("Typed commands", std::iter::once(at).chain(dots).collect()));
        sections.extend(elsewhere.into_iter().map(keys));
        sections.extend([
            ("Search filters", SEARCH_FILTERS.into_iter().map(owned).collect()),
            ("Marks", MARKS.into_iter().map(owned).collect()),
            ("Mouse", MOUSE.into_iter().map(owned).collect()),
            ("Server", server_rows(context)),
        ]);
        sections
    }
}

/// What is known about the server.
fn server_rows(context: OverlayContext<'_>) -> Vec<(String, String)> {
    let chat = context.chat;
    let state = match chat.connection() {
        ConnectionState::Online { fingerprint } => fingerprint.clone(),
        ConnectionState::Connecting
        | ConnectionState::Offline { .. }
        | ConnectionState::Ended { .. } => "not connected".to_owned(),
    };
    let own_id = chat.own_id().map(ToString::to_string).unwrap_or_default();
    let rows = [
        ("address", context.server.to_owned()),
        ("fingerprint of its key", state),
        ("your ID", own_id),
        ("people online", chat.directory().online_count().to_string()),
        ("conversations", chat.conversations().count().to_string()),
    ];
    rows.map(|(name, value)| (name.to_owned(), value)).into()
}

/// A row with the keys on the left and the description on the right, or below if the keys are too long.
fn row(keys: &str, description: &str, width: usize, theme: Theme, lines: &mut Vec<Line<'static>>) {
    let column =
        if width < 2 * KEY_COLUMN_WIDTH + 8 { KEY_COLUMN_WIDTH * 3 / 5 } else { KEY_COLUMN_WIDTH }
            + 3;
    let text = wrap(description, width.saturating_sub(column).max(8));
    let keys = format!("  {keys}");
    let mut text = text.into_iter();
    if keys.width() < column {
        let pad = " ".repeat(column - keys.width());
        let first = text.next().unwrap_or_default();
        lines.push(Line::from(vec![Span::styled(keys, theme.key()), Span::raw(pad + &first)]));
    } else {
        lines.push(Line::styled(keys, theme.key()));
    }
    lines.extend(text.map(|line| Line::raw(" ".repeat(column) + &line)));
}
