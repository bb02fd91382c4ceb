//! The people pane: online users, with the recipients of the draft ticked.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Clear, Widget};

use crate::client::state::Availability;
use crate::protocol::message::Audience;
use crate::tui::bubble::{availability_note, display_name};
use crate::tui::layout::PersonRow;
use crate::tui::model::{Focus, Model};
use crate::tui::wrap::shorten;

pub(super) fn draw(model: &Model, pane: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    Clear.render(pane, buffer);
    let focused = match model.focus {
        Focus::People(row) => Some(row),
        Focus::Typing | Focus::Picked(_) => None,
    };
    Block::new().borders(Borders::RIGHT).border_style(theme.dim()).render(pane, buffer);
    let top = Rect { width: pane.width.saturating_sub(1), height: 1, ..pane };
    let title = format!(" People {}", model.chat.directory().online_count());
    let style = if focused.is_some() { theme.selection() } else { theme.title() };
    Span::styled(title, style).render(top, buffer);
    if !model.layout.people_rows.is_empty() {
        draw_hidden_counts(model, top, buffer);
    }
    for (index, (person, area)) in model.layout.people_rows.iter().enumerate() {
        let (text, style) = row(model, person);
        let is_focused = focused == Some(index + model.people_top);
        let style = if is_focused { style.patch(theme.selection()) } else { style };
        let width = usize::from(area.width.saturating_sub(1));
        let line = format!("{:<width$}", shorten(&text, width));
        Span::styled(line, style).render(*area, buffer);
    }
}

/// Draws how many rows are hidden above and below.
fn draw_hidden_counts(model: &Model, top: Rect, buffer: &mut Buffer) {
    let all = crate::tui::layout::person_rows(model).len();
    let above = model.people_top;
    let below = all.saturating_sub(above + model.layout.people_rows.len());
    let text = match (above, below) {
        (0, 0) => return,
        (0, below) => format!("↓{below} "),
        (above, 0) => format!("↑{above} "),
        (above, below) => format!("↑{above} ↓{below} "),
    };
    if top.width > 20 {
        Line::styled(text, model.theme.dim()).right_aligned().render(top, buffer);
    }
}

fn row(model: &Model, row: &PersonRow) -> (String, Style) {
    let theme = model.theme;
    let audience = model.composer.destination(&model.chat).audience;
    let tick = |chosen: bool| if chosen { "[x]" } else { "[ ]" };
    match row {
        PersonRow::Everyone => {
            let chosen = matches!(audience, Ok(Audience::Everyone));
            (format!(" {} everyone", tick(chosen)), theme.text().add_modifier(Modifier::BOLD))
        }
        PersonRow::User { id, availability } => {
            let chosen = matches!(&audience, Ok(Audience::Only(users)) if users.contains(id));
            let style = match availability {
                Availability::Online => theme.name(id),
                Availability::Away => theme.dim(),
                Availability::Gone => theme.removed(),
            };
            let left = availability_note(*availability);
            let id = display_name(id, model.chat.directory().is_guest(id));
            (format!(" {} {id}{left}", tick(chosen)), style)
        }
    }
}
