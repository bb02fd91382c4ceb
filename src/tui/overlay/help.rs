//! The help overlay: the table of commands, as it is.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Padding, Paragraph, Widget};
use unicode_width::UnicodeWidthStr;

use crate::client::input::DOT_COMMANDS;
use crate::client::state::search_input::SEARCH_FILTERS;
use crate::tui::command::{COMMANDS, Scope};
use crate::tui::theme::Theme;
use crate::tui::wrap::wrap;

/// What the mouse does, which the table of keys cannot say.
const MOUSE: [(&str, &str); 6] = [
    ("click a person", "add them to the recipients, or remove them"),
    ("click a name in To:", "remove that recipient"),
    ("click a message", "pick it"),
    ("click a quote", "go to the message that is replied to"),
    ("wheel", "scroll what is under the mouse"),
    ("Shift and drag", "select text as the terminal does (or give it the mouse with Alt-M)"),
];

/// What is not explained where it stands.
const MARKS: [(&str, &str); 1] =
    [("Name_1234 (?)", "not verified: they have an original client without a key")];

/// How wide the column of keys is, where there is room.
const KEY_COLUMN_WIDTH: usize = 26;

/// All lines of the help, in `width` cells.
pub fn lines(width: u16, theme: Theme) -> Vec<Line<'static>> {
    let width = usize::from(width);
    let mut lines = Vec::new();
    let mut section = |title: &'static str, rows: Vec<(String, String)>| {
        lines.push(Line::styled(title, theme.title()));
        for (keys, what) in rows {
            row(&keys, &what, width, theme, &mut lines);
        }
        lines.push(Line::default());
    };
    let dots = DOT_COMMANDS.iter().map(|command| {
        (format!("{} {}", command.name, command.arguments), command.about.to_owned())
    });
    let at = ("@ID [@ID…] text".to_owned(), "send a direct message".to_owned());
    section("Commands, typed into the input", std::iter::once(at).chain(dots).collect());
    for (scope, title) in Scope::ALL {
        let bound = COMMANDS.iter().filter(|binding| binding.scope == scope);
        section(title, bound.map(|b| (b.keys_label(), b.description.to_owned())).collect());
    }
    let owned = |(what, does): (&str, &str)| (what.to_owned(), does.to_owned());
    section("Words that narrow a search", SEARCH_FILTERS.into_iter().map(owned).collect());
    section("Signs", MARKS.into_iter().map(owned).collect());
    section("The mouse", MOUSE.into_iter().map(owned).collect());
    lines
}

/// Keys on the left and what they do on the right; below each other where one is too long.
fn row(keys: &str, what: &str, width: usize, theme: Theme, lines: &mut Vec<Line<'static>>) {
    let column =
        if width < 2 * KEY_COLUMN_WIDTH + 8 { KEY_COLUMN_WIDTH * 3 / 5 } else { KEY_COLUMN_WIDTH }
            + 3;
    let text = wrap(what, width.saturating_sub(column).max(8));
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

/// How much of the area is inside of the frame.
fn inner_width(area: Rect) -> u16 {
    area.width.saturating_sub(4)
}

/// The furthest one can scroll down.
pub fn max_top(area: Rect, theme: Theme) -> usize {
    lines(inner_width(area), theme).len().saturating_sub(usize::from(area.height.saturating_sub(2)))
}

/// Draws it.
pub fn draw(top: usize, area: Rect, theme: Theme, buffer: &mut Buffer) {
    Clear.render(area, buffer);
    let mut block = Block::bordered()
        .border_type(BorderType::Rounded)
        .padding(Padding::horizontal(1))
        .title(Span::styled(" Help ", theme.title()));
    if top < max_top(area, theme) {
        block = block.title_bottom(Span::styled(" ↓ more ", theme.dim()));
    }
    let seen = lines(inner_width(area), theme).into_iter().skip(top).take(usize::from(area.height));
    Paragraph::new(seen.collect::<Vec<_>>()).block(block).render(area, buffer);
}
