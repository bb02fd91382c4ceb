//! The help overlay: the table of commands, as it is.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Padding, Paragraph, Widget};

use crate::client::line::DOT_COMMANDS;
use crate::tui::command::{COMMANDS, Scope};
use crate::tui::theme::Theme;

/// What the mouse does, which the table of keys cannot say.
const MOUSE: [(&str, &str); 6] = [
    ("click a person", "add them to the recipients, or remove them"),
    ("click a name in To:", "remove that recipient"),
    ("click a message", "pick it"),
    ("click a quote", "go to the message that is replied to"),
    ("wheel", "scroll what is under the mouse"),
    ("Shift and drag", "select text as the terminal does (or give it the mouse with Alt-M)"),
];

/// How wide the column of keys is.
const KEYS: usize = 26;

/// All lines of the help.
pub fn lines(theme: Theme) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let mut section = |title: &'static str, rows: Vec<(String, String)>| {
        lines.push(Line::styled(title, theme.title()));
        for (keys, what) in rows {
            let keys = Span::styled(format!("  {keys:<KEYS$} "), theme.key());
            lines.push(Line::from(vec![keys, Span::raw(what)]));
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
        section(title, bound.map(|b| (b.keys_shown(), b.title.to_owned())).collect());
    }
    let owned = |(what, does): (&str, &str)| (what.to_owned(), does.to_owned());
    section("The mouse", MOUSE.into_iter().map(owned).collect());
    lines
}

/// The furthest one can scroll down.
pub fn last_top(area: Rect, theme: Theme) -> usize {
    lines(theme).len().saturating_sub(usize::from(area.height.saturating_sub(2)))
}

/// Draws it.
pub fn draw(top: usize, area: Rect, theme: Theme, buffer: &mut Buffer) {
    Clear.render(area, buffer);
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .padding(Padding::horizontal(1))
        .title(Span::styled(" Help ", theme.title()));
    let seen = lines(theme).into_iter().skip(top).take(usize::from(area.height));
    Paragraph::new(seen.collect::<Vec<_>>()).block(block).render(area, buffer);
}
