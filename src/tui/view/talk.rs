//! The conversation, and the mark that says how many messages are new below.

use ratatui::buffer::Buffer;

use crate::tui::layout::pill_words;
use crate::tui::model::Model;

pub(super) fn draw(model: &Model, buffer: &mut Buffer) {
    for placed in &model.areas.conversation.placed {
        let rows = placed.block.rows.iter().skip(usize::from(placed.cut));
        for (row, y) in rows.zip(placed.area.y..placed.area.bottom()) {
            let width = placed.area.width.saturating_sub(row.x);
            buffer.set_line(placed.area.x + row.x, y, &row.line, width);
        }
    }
    if let Some(pill) = model.areas.pill {
        let words = pill_words(model.newer);
        buffer.set_stringn(pill.x, pill.y, words, usize::from(pill.width), model.theme.picked());
    }
}
