//! The people pane: who is here, and who of them gets the next message.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::widgets::{Clear, Widget};

use crate::protocol::message::Audience;
use crate::tui::layout::Person;
use crate::tui::model::{Focus, Model};
use crate::tui::wrap::shorten;

pub(super) fn draw(model: &Model, pane: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    Clear.render(pane, buffer);
    let focused = match model.focus {
        Focus::People(row) => Some(row),
        Focus::Typing | Focus::Picked(_) => None,
    };
    for y in pane.top()..pane.bottom() {
        buffer.set_stringn(pane.right() - 1, y, "│", 1, theme.quiet());
    }
    let inside = usize::from(pane.width.saturating_sub(2));
    let title = format!(" People {}", model.room.people().len());
    let style = if focused.is_some() { theme.picked() } else { theme.title() };
    buffer.set_stringn(pane.x, pane.y, title, inside, style);
    if !model.areas.people_rows.is_empty() {
        draw_hidden_counts(model, pane, buffer);
    }
    for (index, (person, area)) in model.areas.people_rows.iter().enumerate() {
        let (words, style) = row(model, person);
        let is_focused = focused == Some(index + model.people_top);
        let style = if is_focused { style.patch(theme.picked()) } else { style };
        let width = usize::from(area.width.saturating_sub(1));
        let line = format!("{:<width$}", shorten(&words, width));
        buffer.set_stringn(area.x, area.y, line, width, style);
    }
}

/// How many rows are above and below what is seen.
fn draw_hidden_counts(model: &Model, pane: Rect, buffer: &mut Buffer) {
    let all = crate::tui::layout::people(model).len();
    let above = model.people_top;
    let below = all.saturating_sub(above + model.areas.people_rows.len());
    let words = match (above, below) {
        (0, 0) => return,
        (0, below) => format!("↓{below} "),
        (above, 0) => format!("↑{above} "),
        (above, below) => format!("↑{above} ↓{below} "),
    };
    let width = u16::try_from(words.chars().count()).unwrap_or_default();
    if let Some(x) = pane.right().checked_sub(width + 1).filter(|x| *x > pane.x + 10) {
        buffer.set_stringn(x, pane.y, words, usize::from(width), model.theme.quiet());
    }
}

fn row(model: &Model, person: &Person) -> (String, Style) {
    let theme = model.theme;
    let audience = model.compose.address(&model.room).audience;
    let tick = |chosen: bool| if chosen { "[x]" } else { "[ ]" };
    match person {
        Person::Everyone => {
            let chosen = matches!(audience, Ok(Audience::Everyone));
            (format!(" {} everyone", tick(chosen)), theme.text().add_modifier(Modifier::BOLD))
        }
        Person::One { id, here } => {
            let chosen = matches!(&audience, Ok(Audience::Only(people)) if people.contains(id));
            let style = if *here { theme.name(id) } else { theme.gone() };
            let left = if *here { "" } else { " (left)" };
            (format!(" {} {id}{left}", tick(chosen)), style)
        }
    }
}
