//! Text selected with the mouse: a part of the conversation, over one message or several.

use std::ops::Range;

use ratatui::layout::{Position, Rect};
use unicode_segmentation::UnicodeSegmentation;

use super::items::{Item, ItemIndex, Items};
use super::{PlacedItem, VisibleItems};
use crate::client::state::timeline::MessageState;
use crate::tui::bubble::PlacedText;
use crate::tui::item::ItemId;
use crate::tui::text::Link;

/// A place in the text of a message: before this byte.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the field names say it")]
pub struct TextPoint {
    pub item: ItemId,
    pub offset: usize,
}

/// A selection: from where the button was pressed to where the pointer is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the field names say it")]
pub struct TextSelection {
    pub anchor: TextPoint,
    pub head: TextPoint,
}

impl Items<'_> {
    /// The ends of a selection in order, as items and bytes of their texts.
    fn ends(&self, selection: &TextSelection) -> Option<[(ItemIndex, usize); 2]> {
        let place = |point: &TextPoint| Some((self.index_of(&point.item)?, point.offset));
        let mut ends = [place(&selection.anchor)?, place(&selection.head)?];
        ends.sort_unstable();
        Some(ends)
    }

    /// The part of an item's text that is selected.
    pub fn selected_part(&self, selection: &TextSelection, id: &ItemId) -> Option<Range<usize>> {
        let [from, to] = self.ends(selection)?;
        part(self.index_of(id)?, from, to).filter(|part| !part.is_empty())
    }

    /// The selected text. A line with name and time stands above each message if there are several.
    pub fn selected_text(&self, selection: &TextSelection) -> String {
        let Some([from, to]) = self.ends(selection) else { return String::new() };
        let selected = (from.0..=to.0).filter_map(|index| {
            let text = self.text(index)?;
            let part = part(index, from, to)?;
            Some((index, text.get(part.start..part.end.min(text.len()))?))
        });
        let selected: Vec<_> = selected.collect();
        if let [(_, text)] = selected.as_slice() {
            return (*text).to_owned();
        }
        let lines = selected.iter().map(|(index, text)| match self.title(*index) {
            Some(title) => format!("{title}\n{text}"),
            None => (*text).to_owned(),
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The word at a place in a text.
    pub fn word_at(&self, point: &TextPoint) -> Option<TextSelection> {
        let text = self.text(self.index_of(&point.item)?)?;
        let contains = |(at, word): &(usize, &str)| (*at..at + word.len()).contains(&point.offset);
        let (start, word) = text.split_word_bound_indices().find(contains)?;
        let place = |offset| TextPoint { item: point.item.clone(), offset };
        Some(TextSelection { anchor: place(start), head: place(start + word.len()) })
    }

    /// The text of a readable message.
    fn text(&self, index: ItemIndex) -> Option<&str> {
        match self.item(index)? {
            Item::Message(entry) if entry.state == MessageState::Readable => {
                Some(entry.message.content.as_str())
            }
            Item::Pending(pending) => Some(pending.post.content.as_str()),
            Item::Message(_) | Item::Boundary(_) | Item::Other(_) => None,
        }
    }

    fn title(&self, index: ItemIndex) -> Option<String> {
        let sender = match self.item(index)? {
            Item::Message(entry) => Some(&entry.message.sender),
            Item::Pending(_) => self.chat.own_id(),
            Item::Boundary(_) | Item::Other(_) => None,
        };
        Some(format!("{} {}", sender?, self.at(index)?.format("%H:%M")))
    }
}

/// The selected part of the text of an item.
fn part(
    index: ItemIndex,
    from: (ItemIndex, usize),
    to: (ItemIndex, usize),
) -> Option<Range<usize>> {
    let start = if index == from.0 { from.1 } else { 0 };
    let end = if index == to.0 { to.1 } else { usize::MAX };
    (from.0..=to.0).contains(&index).then_some(start..end)
}

impl PlacedItem {
    /// The visible rows with a part of the text, each with its line on the screen and its first cell.
    fn text_rows(&self) -> impl Iterator<Item = (Position, &PlacedText)> {
        let rows = self.block.rows.iter().skip(usize::from(self.rows_cut_above));
        rows.zip(self.area.top()..self.area.bottom()).filter_map(|(row, y)| {
            let text = row.text.as_ref()?;
            let x = self.area.x.saturating_add(row.x).saturating_add(text.x);
            Some((Position { x, y }, text))
        })
    }

    /// Where a part of the text is drawn.
    pub fn areas_of(&self, part: &Range<usize>) -> impl Iterator<Item = Rect> {
        self.text_rows()
            .filter_map(move |(at, text)| Some(self.cells(at, &text.row.cells_of(part)?)))
    }

    fn links(&self) -> impl Iterator<Item = (Rect, Link)> {
        self.text_rows().flat_map(move |(at, text)| {
            text.row.links().map(move |(cells, link)| (self.cells(at, &cells), link.clone()))
        })
    }

    fn cells(&self, at: Position, cells: &Range<usize>) -> Rect {
        let cell = |cell: usize| u16::try_from(cell).unwrap_or(u16::MAX);
        let row = Rect { x: self.area.x, y: at.y, width: self.area.width, height: 1 };
        let x = at.x.saturating_add(cell(cells.start));
        Rect { x, y: at.y, width: cell(cells.len()), height: 1 }.intersection(row)
    }
}

impl VisibleItems {
    /// The place in a text that is nearest to a cell: in its row, else in the text above it, else below.
    pub fn text_at(&self, point: Position) -> Option<TextPoint> {
        let rows =
            || self.items.iter().flat_map(|item| item.text_rows().map(move |row| (item, row)));
        let above = rows().filter(|(_, (at, _))| at.y <= point.y).last();
        let (item, (at, text)) = above.or_else(|| rows().next())?;
        let offset = match at.y.cmp(&point.y) {
            std::cmp::Ordering::Equal => {
                text.row.offset_at(usize::from(point.x.saturating_sub(at.x)))
            }
            std::cmp::Ordering::Less => text.row.source().end,
            std::cmp::Ordering::Greater => text.row.source().start,
        };
        Some(TextPoint { item: item.id.clone(), offset })
    }

    /// The links in the visible texts.
    pub fn links(&self) -> impl Iterator<Item = (Rect, Link)> {
        self.items.iter().flat_map(PlacedItem::links)
    }
}
