//! Drawing: renders the model into the terminal's buffer, as laid out by `layout`. Never changes the model.

mod composer;
mod sidebar;
mod status;

use chrono::{DateTime, FixedOffset};
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::text::Span;
use ratatui::widgets::Widget;

use super::layout::{BACK_PILL, ScreenLayout, pill_text};
use super::model::{Focus, Model};
use super::overlay::OverlayContext;

/// Draws the whole screen in this layout.
pub fn view(
    model: &Model,
    layout: &ScreenLayout,
    now: DateTime<FixedOffset>,
    frame: &mut Frame<'_>,
) {
    let buffer = frame.buffer_mut();
    let server_time = model.chat.server_time(now);
    status::draw_header(model, layout, server_time, buffer);
    draw_conversation(model, layout, buffer);
    if let Some(bar) = &layout.sidebar {
        sidebar::draw(model, bar, server_time, buffer);
    }
    composer::draw(model, layout, buffer);
    status::draw_status(model, now, layout.status, buffer);
    let mut cursor = match model.focus {
        Focus::Typing => model.composer.input.cursor_position(layout.input),
        Focus::Picked(_) | Focus::Conversations(_) | Focus::People(_) => None,
    };
    if let (Some(overlay), Some(area)) = (model.overlays.top(), &layout.overlay) {
        let context = OverlayContext { chat: &model.chat, now, theme: model.theme };
        let input = overlay.draw(area, context, buffer);
        cursor = overlay.input().zip(input).and_then(|(text, at)| text.cursor_position(at));
    }
    model.theme.paint(frame.buffer_mut());
    if let Some(cursor) = cursor.filter(|cursor| frame.area().contains(*cursor)) {
        frame.set_cursor_position(cursor);
    }
}

/// Draws the visible items, and the pill with the number of newer messages.
fn draw_conversation(model: &Model, layout: &ScreenLayout, buffer: &mut Buffer) {
    for item in &layout.visible.items {
        let rows = item.block.rows.iter().skip(usize::from(item.rows_cut_above));
        for (row, y) in rows.zip(item.area.y..item.area.bottom()) {
            let width = item.area.width.saturating_sub(row.x);
            // Unlike rendering the line, this gives each grapheme its cells.
            buffer.set_line(item.area.x + row.x, y, &row.line, width);
        }
    }
    if let Some(pill) = layout.pill {
        Span::styled(pill_text(model.viewport.newer()), model.theme.selection())
            .render(pill, buffer);
    }
    if let Some(pill) = layout.back_pill {
        Span::styled(BACK_PILL, model.theme.selection()).render(pill, buffer);
    }
}
