//! Drawing: renders the model into the terminal's buffer, as laid out by `layout`. Never changes the model.

mod composer;
mod sidebar;
mod status;

use chrono::{DateTime, FixedOffset};
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::Span;
use ratatui::widgets::Widget;

use super::layout::{BACK_PILL, pill_text};
use super::model::{Focus, Model};
use super::overlay::{Overlay, confirm_delete, help};

/// Draws the whole screen in its last layout.
pub fn view(model: &Model, now: DateTime<FixedOffset>, frame: &mut Frame<'_>) {
    let layout = &model.layout;
    let buffer = frame.buffer_mut();
    let server_time = model.chat.server_time(now);
    status::draw_header(model, server_time, layout.header, buffer);
    draw_conversation(model, buffer);
    if let Some(bar) = &layout.sidebar {
        sidebar::draw(model, bar, server_time, buffer);
    }
    composer::draw(model, buffer);
    status::draw_status(model, now, layout.status, buffer);
    let mut cursor = match model.focus {
        Focus::Typing => composer::cursor(model),
        Focus::Picked(_) | Focus::Conversations(_) | Focus::People(_) => None,
    };
    if let (Some(overlay), Some(area)) = (model.overlays.last(), layout.overlay) {
        cursor = draw_overlay(model, overlay, area, now, frame);
    }
    model.theme.paint(frame.buffer_mut());
    if let Some(cursor) = cursor.filter(|cursor| frame.area().contains(*cursor)) {
        frame.set_cursor_position(cursor);
    }
}

/// Draws the visible items, and the pill with the number of newer messages.
fn draw_conversation(model: &Model, buffer: &mut Buffer) {
    for item in &model.layout.visible.items {
        let rows = item.block.rows.iter().skip(usize::from(item.rows_cut_above));
        for (row, y) in rows.zip(item.area.y..item.area.bottom()) {
            let width = item.area.width.saturating_sub(row.x);
            let area = Rect { x: item.area.x + row.x, y, width, height: 1 };
            (&row.line).render(area, buffer);
        }
    }
    if let Some(pill) = model.layout.pill {
        Span::styled(pill_text(model.unread_below), model.theme.selection()).render(pill, buffer);
    }
    if let Some(pill) = model.layout.back_pill {
        Span::styled(BACK_PILL, model.theme.selection()).render(pill, buffer);
    }
}

fn draw_overlay(
    model: &Model,
    overlay: &Overlay,
    area: Rect,
    now: DateTime<FixedOffset>,
    frame: &mut Frame<'_>,
) -> Option<Position> {
    let buffer = frame.buffer_mut();
    match overlay {
        Overlay::Help { top } => {
            help::draw(*top, area, model.theme, buffer);
            None
        }
        Overlay::Search(search) => {
            let rows = &model.layout.overlay_rows;
            let input = search.draw(area, rows, &model.chat, now, model.theme, buffer);
            search.input().cursor_position(input)
        }
        Overlay::Rooms(list) => {
            let rows = &model.layout.overlay_rows;
            let input = list.draw(area, rows, &model.chat, model.theme, buffer);
            input.and_then(|input| list.input().cursor_position(input))
        }
        Overlay::ConfirmDelete(id) => {
            confirm_delete::draw(&model.chat, *id, area, model.theme, buffer);
            None
        }
        Overlay::Menu(menu) => {
            menu.draw(area, &model.layout.overlay_rows, model.theme, buffer);
            None
        }
        Overlay::Emoji(picker) => {
            let rows = &model.layout.overlay_rows;
            let input = picker.draw(&model.chat, area, rows, model.theme, buffer);
            picker.input.cursor_position(input?)
        }
        Overlay::Thread(thread) => {
            let rows = &model.layout.overlay_rows;
            thread.draw(&model.chat, area, rows, *now.offset(), model.theme, buffer);
            None
        }
    }
}
