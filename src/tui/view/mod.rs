//! Drawing: renders the model into the terminal's buffer, as laid out by `layout`. Never changes the model.

mod composer;
mod empty;
mod sidebar;
mod status;

use chrono::{DateTime, FixedOffset};
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::style::Modifier;
use ratatui::text::Span;
use ratatui::widgets::Widget;

use super::conversation::Items;
use super::item::ItemId;
use super::layout::{BACK_PILL, ScreenLayout, pill_text};
use super::model::{Focus, Model};

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
    draw_conversation(model, layout, *now.offset(), buffer);
    empty::draw(model, layout, buffer);
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
        let context = model.overlay_context(now);
        let input = overlay.draw(area, context, buffer);
        cursor = overlay.input().zip(input).and_then(|(text, at)| text.cursor_position(at));
    }
    model.theme.paint(frame.buffer_mut());
    if let Some(cursor) = cursor.filter(|cursor| frame.area().contains(*cursor)) {
        frame.set_cursor_position(cursor);
    }
}

/// Highlights what the search found in the message that was jumped to, while it is picked.
fn highlight_match(model: &Model, layout: &ScreenLayout, buffer: &mut Buffer) {
    let Some(hits) = &model.search_hits else { return };
    let Some(hit) = hits.current().map(|hit| ItemId::Message(hit.id)) else { return };
    let mut visible = layout.visible.items.iter();
    let Some(item) = visible.find(|item| item.id == hit && model.picked() == Some(&hit)) else {
        return;
    };
    let text = hits.current().and_then(|hit| model.chat.message(hit.id));
    for part in text.iter().flat_map(|entry| hits.matches(entry.message.content.as_str())) {
        for area in item.areas_of(&part) {
            // The message is drawn reversed.
            let style = model.theme.search_match().add_modifier(Modifier::UNDERLINED);
            buffer.set_style(area, style);
        }
    }
}

/// Draws the visible items, and the pill with the number of newer messages.
fn draw_conversation(model: &Model, layout: &ScreenLayout, zone: FixedOffset, buffer: &mut Buffer) {
    for item in &layout.visible.items {
        let rows = item.block.rows.iter().skip(usize::from(item.rows_cut_above));
        for (row, y) in rows.zip(item.area.y..item.area.bottom()) {
            let width = item.area.width.saturating_sub(row.x);
            // Unlike rendering the line, this gives each grapheme its cells.
            buffer.set_line(item.area.x + row.x, y, &row.line, width);
        }
    }
    highlight_match(model, layout, buffer);
    if let Some(selection) = &model.selection {
        let items = Items { chat: &model.chat, zone };
        for item in &layout.visible.items {
            let part = items.selected_part(selection, &item.id);
            for area in part.iter().flat_map(|part| item.areas_of(part)) {
                buffer.set_style(area, model.theme.selection());
            }
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
