//! Drawing: the model and its areas to cells. Reads only, and decides nothing.

pub mod composer;
mod people;
mod status;
mod talk;

use chrono::{DateTime, FixedOffset};
use ratatui::Frame;
use ratatui::layout::{Position, Rect};

use super::model::{Focus, Model};
use super::overlay::{Overlay, help};

/// Draws the whole screen, as it was last arranged.
pub fn view(model: &Model, now: DateTime<FixedOffset>, frame: &mut Frame<'_>) {
    let areas = &model.layout;
    let buffer = frame.buffer_mut();
    status::draw_header(model, areas.header, buffer);
    talk::draw(model, buffer);
    if let Some(pane) = areas.people_pane {
        people::draw(model, pane, buffer);
    }
    composer::draw(model, buffer);
    status::draw_status(model, now, areas.status, buffer);
    let mut cursor = match model.focus {
        Focus::Typing => composer::cursor(model),
        Focus::Picked(_) | Focus::People(_) => None,
    };
    if let (Some(overlay), Some(area)) = (model.overlays.last(), areas.overlay) {
        cursor = draw_overlay(model, overlay, area, now, frame);
    }
    if let Some(cursor) = cursor.filter(|cursor| frame.area().contains(*cursor)) {
        frame.set_cursor_position(cursor);
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
            composer::cursor_in(search.input(), input)
        }
        Overlay::ConfirmDelete(id) => {
            status::draw_question(model, *id, area, buffer);
            None
        }
    }
}
