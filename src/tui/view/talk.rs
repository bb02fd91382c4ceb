//! The conversation, and the mark that says how many messages are new below.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Span;
use ratatui::widgets::Widget;

use crate::tui::layout::pill_words;
use crate::tui::model::Model;

pub(super) fn draw(model: &Model, buffer: &mut Buffer) {
    for placed in &model.areas.conversation.placed {
        let rows = placed.block.rows.iter().skip(usize::from(placed.cut));
        for (row, y) in rows.zip(placed.area.y..placed.area.bottom()) {
            let width = placed.area.width.saturating_sub(row.x);
            let area = Rect { x: placed.area.x + row.x, y, width, height: 1 };
            (&row.line).render(area, buffer);
        }
    }
    if let Some(pill) = model.areas.pill {
        Span::styled(pill_words(model.newer), model.theme.picked()).render(pill, buffer);
    }
}
