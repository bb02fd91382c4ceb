//! The conversation, and the mark that says how many messages are new below.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Span;
use ratatui::widgets::Widget;

use crate::tui::layout::pill_text;
use crate::tui::model::Model;

pub(super) fn draw(model: &Model, buffer: &mut Buffer) {
    for placed in &model.layout.visible.items {
        let rows = placed.block.rows.iter().skip(usize::from(placed.rows_cut_above));
        for (row, y) in rows.zip(placed.area.y..placed.area.bottom()) {
            let width = placed.area.width.saturating_sub(row.x);
            let area = Rect { x: placed.area.x + row.x, y, width, height: 1 };
            (&row.line).render(area, buffer);
        }
    }
    if let Some(pill) = model.layout.pill {
        Span::styled(pill_text(model.unread_below), model.theme.selection()).render(pill, buffer);
    }
}
