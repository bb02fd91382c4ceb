//! A list in a frame, of which one row is selected: the menu of a message, the emoji picker, a thread.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Padding, Paragraph, Widget};

use crate::tui::editor::Editor;
use crate::tui::theme::Theme;

/// Which row of a list is selected, and which is the first visible one.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    selected: usize,
    top: usize,
    count: usize,
}

impl Selection {
    /// Selects the first of `count` rows.
    pub fn new(count: usize) -> Self {
        Self { selected: 0, top: 0, count }
    }

    /// The selected row.
    pub fn index(&self) -> usize {
        self.selected
    }

    /// Selects the row at `index`.
    pub fn select(&mut self, index: usize) {
        self.selected = index.min(self.count.saturating_sub(1));
    }

    /// Moves the selection by this many rows.
    pub fn move_by(&mut self, rows: isize) {
        self.select(self.selected.saturating_add_signed(rows));
    }

    /// Sets the number of rows.
    pub fn set_count(&mut self, count: usize) {
        self.count = count;
        self.select(self.selected);
    }

    /// Lays out the visible rows, scrolled so that the selected one is visible. The last one may be cut off.
    pub fn lay_out(&mut self, heights: &[u16], area: Rect) -> Vec<(usize, Rect)> {
        self.set_count(heights.len());
        self.top = self.top.min(self.selected);
        let rows = |from: usize, to: usize| -> usize {
            heights.iter().take(to + 1).skip(from).map(|height| usize::from(*height)).sum()
        };
        while self.top < self.selected && rows(self.top, self.selected) > usize::from(area.height) {
            self.top += 1;
        }
        let mut visible = Vec::new();
        let mut y = area.y;
        for (index, height) in heights.iter().enumerate().skip(self.top) {
            let height = (*height).min(area.bottom().saturating_sub(y));
            if height == 0 {
                break;
            }
            visible.push((index, Rect { y, height, ..area }));
            y += height;
        }
        visible
    }
}

/// What surrounds the rows of a list.
#[derive(Debug)]
#[expect(missing_docs, reason = "the field names say it")]
pub struct ListFrame<'a> {
    pub title: String,
    /// The input above the rows, with the text in front of it.
    pub input: Option<(&'static str, &'a Editor)>,
    /// The text in the lower border.
    pub note: &'a str,
}

/// The area of the rows of a list in `area`.
pub fn rows_area(area: Rect, has_input: bool) -> Rect {
    let above = 1 + u16::from(has_input);
    Rect {
        x: area.x + area.width.min(2),
        y: (area.y + above).min(area.bottom()),
        width: area.width.saturating_sub(4),
        height: area.height.saturating_sub(above + 1),
    }
}

/// Draws a list. Returns the area of the input.
pub fn draw(
    frame: &ListFrame<'_>,
    area: Rect,
    rows: impl IntoIterator<Item = (Vec<Line<'static>>, Rect, bool)>,
    theme: Theme,
    buffer: &mut Buffer,
) -> Option<Rect> {
    Clear.render(area, buffer);
    Block::bordered()
        .border_type(BorderType::Rounded)
        .padding(Padding::horizontal(1))
        .title(Span::styled(frame.title.clone(), theme.title()))
        .title_bottom(Line::styled(frame.note.to_owned(), theme.dim()).right_aligned())
        .render(area, buffer);
    for (lines, row, is_selected) in rows {
        let style = if is_selected { theme.selection() } else { theme.text() };
        buffer.set_style(row, style);
        Paragraph::new(lines).style(style).render(row, buffer);
    }
    let (label, input) = frame.input?;
    let inner = rows_area(area, false);
    let top = Rect { height: inner.height.min(1), ..inner };
    let prefix = u16::try_from(label.chars().count()).unwrap_or(u16::MAX).min(top.width);
    Span::styled(label, theme.title()).render(top, buffer);
    let field = Rect { x: top.x + prefix, width: top.width - prefix, ..top };
    if !field.is_empty() {
        input.render(field, buffer);
    }
    Some(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selected_row_is_visible() {
        let area = Rect::new(0, 0, 10, 4);
        let heights = [1, 2, 1, 3, 1];
        let mut list = Selection::new(heights.len());
        let rows = |list: &mut Selection| -> Vec<usize> {
            list.lay_out(&heights, area).iter().map(|(index, _)| *index).collect()
        };
        assert_eq!(rows(&mut list), [0, 1, 2]);
        list.move_by(3);
        assert_eq!(rows(&mut list), [2, 3]);
        list.move_by(9);
        assert_eq!((list.index(), rows(&mut list)), (4, vec![3, 4]));
        list.select(0);
        assert_eq!(rows(&mut list), [0, 1, 2]);
        assert!(list.lay_out(&[], area).is_empty());
        assert_eq!(list.index(), 0);
    }
}
