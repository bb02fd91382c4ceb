//! A list of rows, of which one is selected: the parts of the sidebar, and in a frame the menu of a message, the emoji
//! picker, the rooms, a thread, the hits of a search.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Padding, Paragraph, Widget};

use crate::tui::editor::Editor;
use crate::tui::theme::Theme;

/// The rows of a list that are visible.
#[derive(Debug, Clone, Default)]
pub struct ListLayout {
    /// The first visible row; rows before it are hidden above.
    pub top: usize,
    /// The visible rows with their indices. The last one may be cut off.
    pub rows: Vec<(usize, Rect)>,
    /// The number of rows hidden below.
    pub below: usize,
}

/// Lays out a list of `count` rows that is scrolled to `top`, further if that is necessary to show the row
/// `selected`. Costs O(visible rows), whatever the length of the list.
pub fn lay_out(
    top: usize,
    selected: Option<usize>,
    count: usize,
    height: impl Fn(usize) -> u16,
    area: Rect,
) -> ListLayout {
    let fits_above = |last: usize| {
        let mut rows = 0;
        let above = (0..=last).rev().take_while(|index| {
            rows += usize::from(height(*index));
            rows <= usize::from(area.height)
        });
        above.last().unwrap_or(last)
    };
    let top = match selected {
        Some(selected) => top.clamp(fits_above(selected), selected),
        None => top,
    };
    let top = count.checked_sub(1).map_or(0, |last| top.min(fits_above(last)));
    let mut rows = Vec::new();
    let mut y = area.y;
    for index in top..count {
        let height = height(index).min(area.bottom().saturating_sub(y));
        if height == 0 {
            break;
        }
        rows.push((index, Rect { y, height, ..area }));
        y += height;
    }
    let below = count - top - rows.len();
    ListLayout { top, rows, below }
}

/// Which row of a list is selected, and where the list is scrolled.
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

    /// Lays out the visible rows, scrolled so that the selected one is visible.
    pub fn lay_out(&self, height: impl Fn(usize) -> u16, area: Rect) -> ListLayout {
        let selected = (self.count > 0).then_some(self.selected);
        lay_out(self.top, selected, self.count, height, area)
    }

    /// Takes over where the list was drawn.
    pub fn settle(&mut self, top: usize) {
        self.top = top;
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
            let layout = list.lay_out(|index| heights[index], area);
            list.settle(layout.top);
            layout.rows.iter().map(|(index, _)| *index).collect()
        };
        assert_eq!(rows(&mut list), [0, 1, 2]);
        list.move_by(3);
        assert_eq!(rows(&mut list), [2, 3]);
        list.move_by(9);
        assert_eq!((list.index(), rows(&mut list)), (4, vec![3, 4]));
        list.select(0);
        assert_eq!(rows(&mut list), [0, 1, 2]);
        list.set_count(0);
        assert_eq!((list.index(), rows(&mut list)), (0, vec![]));
    }

    #[test]
    fn scrolled_list_shows_no_empty_rows() {
        let area = Rect::new(0, 0, 10, 4);
        let layout = lay_out(99, None, 10, |_| 1, area);
        assert_eq!((layout.top, layout.rows.len(), layout.below), (6, 4, 0));
        let nothing = lay_out(3, Some(2), 5, |_| 1, Rect::default());
        assert_eq!((nothing.rows.len(), nothing.top + nothing.below), (0, 5));
    }
}
