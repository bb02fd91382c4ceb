//! The help overlay, generated from the tables of key bindings, dot-commands and search filters.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Padding, Paragraph, Widget};
use unicode_width::UnicodeWidthStr;

use crate::client::input::DOT_COMMANDS;
use crate::client::state::search_input::SEARCH_FILTERS;
use crate::tui::command::{COMMANDS, Scope};
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

/// All lines of the help, wrapped to `width` cells.
pub fn lines(width: u16, theme: Theme) -> Vec<Line<'static>> {
    let width = usize::from(width);
    let mut lines = Vec::new();
    let mut section = |title: &'static str, rows: Vec<(String, String)>| {
        lines.push(Line::styled(title, theme.title()));
        for (keys, description) in rows {
            row(&keys, &description, width, theme, &mut lines);
        }
        lines.push(Line::default());
    };
    let dots = DOT_COMMANDS.iter().map(|command| {
        (format!("{} {}", command.name, command.arguments), command.about.to_owned())
    });
    let at = ("@ID [@ID…] text".to_owned(), "send a direct message".to_owned());
    section("Typed commands", std::iter::once(at).chain(dots).collect());
    for (scope, title) in Scope::ALL {
        let bound = COMMANDS.iter().filter(|binding| binding.scope == scope);
        section(title, bound.map(|b| (b.keys_label(), b.description.to_owned())).collect());
    }
    let owned = |(left, right): (&str, &str)| (left.to_owned(), right.to_owned());
    section("Search filters", SEARCH_FILTERS.into_iter().map(owned).collect());
    section("Marks", MARKS.into_iter().map(owned).collect());
    section("Mouse", MOUSE.into_iter().map(owned).collect());
    lines
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

/// The width inside the frame.
fn inner_width(area: Rect) -> u16 {
    area.width.saturating_sub(4)
}

/// The first visible line when scrolled to the end.
pub fn max_top(area: Rect, theme: Theme) -> usize {
    lines(inner_width(area), theme).len().saturating_sub(usize::from(area.height.saturating_sub(2)))
}

/// Draws the help, scrolled down by `top` lines.
pub fn draw(top: usize, area: Rect, theme: Theme, buffer: &mut Buffer) {
    Clear.render(area, buffer);
    let mut block = Block::bordered()
        .border_type(BorderType::Rounded)
        .padding(Padding::horizontal(1))
        .title(Span::styled(" Help ", theme.title()));
    if top < max_top(area, theme) {
        block = block.title_bottom(Span::styled(" ↓ more ", theme.dim()));
    }
    let visible =
        lines(inner_width(area), theme).into_iter().skip(top).take(usize::from(area.height));
    Paragraph::new(visible.collect::<Vec<_>>()).block(block).render(area, buffer);
}
