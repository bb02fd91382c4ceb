//! One entry of the conversation as rows of cells: a speech bubble, or a quiet line.
//!
//! Pure. Which entries are seen, and where, is `conversation`'s matter.

use chrono::{DateTime, FixedOffset};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use super::theme::Theme;
use super::wrap::shorten;
use crate::protocol::id::{MessageId, UserId};

/// Below this width bubbles lose their walls: the cells are needed for text.
pub const MIN_WIDTH_FOR_WALLS: u16 = 50;

/// A bubble is at most this wide: longer lines are hard to read.
const MAX_BUBBLE_WIDTH: u16 = 76;

/// Up to this width a bubble may take more than its share of a small screen...
const NARROW_BUBBLE_WIDTH: u16 = 60;

/// ...as long as it stays this far from the other side, so that one sees whose it is.
const OPPOSITE_MARGIN: u16 = 8;

/// What follows the ID of somebody who has shown no key.
pub const GUEST_MARK: &str = " (?)";

/// Rows of cells, each with its place from the left.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Block {
    /// From top to bottom.
    pub rows: Vec<BlockRow>,
}

/// One row of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockRow {
    /// How many cells are free on its left.
    pub x: u16,
    /// What stands there.
    pub line: Line<'static>,
    /// The message that a click leads to, if the row quotes one.
    pub quoted_message: Option<MessageId>,
}

/// On which side a bubble stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// What others said.
    Left,
    /// What one said oneself.
    Right,
}

/// What a bubble shows; everything is decided already.
#[derive(Debug, Clone)]
pub struct Bubble<'a> {
    /// Its side.
    pub side: Side,
    /// Who speaks, to whom and when; `None` inside a bubble that has begun before.
    pub header: Option<Vec<Span<'static>>>,
    /// The line that is quoted, and where it leads to.
    pub quote: Option<(String, MessageId)>,
    /// The wrapped text.
    pub text: &'a [String],
    /// The style of the text.
    pub text_style: Style,
    /// The style of the frame.
    pub border_style: Style,
    /// What stands in the lower frame.
    pub footer: Option<Span<'static>>,
    /// Whether the bubble ends here.
    pub last: bool,
    /// Whether the message is picked.
    pub picked: bool,
    /// How many cells its inside has.
    pub inner_width: u16,
}

/// How many cells the text of a bubble may have, where the conversation has `width`.
pub fn max_inner_width(width: u16) -> u16 {
    if width < MIN_WIDTH_FOR_WALLS {
        return width.saturating_sub(2).max(1);
    }
    let share = width / 100 * 72 + width % 100 * 72 / 100;
    share.max((width - OPPOSITE_MARGIN).min(NARROW_BUBBLE_WIDTH)).min(MAX_BUBBLE_WIDTH) - 4
}

impl Bubble<'_> {
    /// How many cells its inside needs.
    pub fn natural_width(&self) -> u16 {
        let text = self.text.iter().map(|line| line.width()).max().unwrap_or(0);
        let quote = self.quote.as_ref().map_or(0, |(line, _)| line.width() + 2);
        let spans =
            |spans: &[Span<'_>]| spans.iter().map(|span| span.content.width()).sum::<usize>();
        let header = self.header.as_deref().map_or(0, |header| spans(header) + 1);
        let tag = self.footer.as_ref().map_or(0, |tag| tag.content.width() + 2);
        u16::try_from(text.max(quote).max(header).max(tag)).unwrap_or(u16::MAX)
    }

    /// Its rows, in a conversation of `width` cells.
    pub fn rows(self, width: u16, theme: Theme) -> Vec<BlockRow> {
        if width < MIN_WIDTH_FOR_WALLS {
            self.borderless_rows(width, theme)
        } else {
            self.bordered_rows(width, theme)
        }
    }

    fn bordered_rows(self, width: u16, theme: Theme) -> Vec<BlockRow> {
        let inner_width = self.inner_width;
        let x = match self.side {
            Side::Left => 1,
            Side::Right => width.saturating_sub(inner_width + 5),
        };
        let frame = if self.picked {
            self.border_style.remove_modifier(Modifier::DIM)
        } else {
            self.border_style
        };
        let bordered = |spans: Vec<Span<'static>>| {
            let used: usize = spans.iter().map(|span| span.content.width()).sum();
            let padding = " ".repeat(usize::from(inner_width).saturating_sub(used));
            let mut line = vec![Span::styled("│ ", frame)];
            line.extend(spans);
            line.push(Span::raw(padding));
            line.push(Span::styled(" │", frame));
            Line::from(line)
        };
        let row = |line, quotes| BlockRow { x, line, quoted_message: quotes };
        let mut rows = Vec::with_capacity(self.text.len() + 3);
        if let Some(header) = self.header {
            rows.push(row(border_line('╭', '╮', header, self.side, inner_width, frame), None));
        }
        if let Some((quote, id)) = self.quote {
            rows.push(row(bordered(quote_spans(&quote, inner_width, theme)), Some(id)));
        }
        let style = text_style(self.text_style, self.picked, theme);
        for line in self.text {
            rows.push(row(bordered(vec![Span::styled(line.clone(), style)]), None));
        }
        if self.last {
            let tag =
                self.footer.map(|tag| vec![shorten_span(&tag, inner_width)]).unwrap_or_default();
            rows.push(row(border_line('╰', '╯', tag, Side::Right, inner_width, frame), None));
        }
        rows
    }

    /// On a narrow screen: the same without walls.
    fn borderless_rows(self, width: u16, theme: Theme) -> Vec<BlockRow> {
        let mut rows = Vec::with_capacity(self.text.len() + 3);
        let side = self.side;
        let mut push = |spans: Vec<Span<'static>>, quotes| {
            let line = Line::from(spans);
            let used = u16::try_from(line.width()).unwrap_or(width);
            let x = match side {
                Side::Left => 0,
                Side::Right => width.saturating_sub(used),
            };
            rows.push(BlockRow { x, line, quoted_message: quotes });
        };
        if let Some(header) = self.header {
            push(shorten_spans(header, width), None);
        }
        if let Some((quote, id)) = self.quote {
            push(quote_spans(&quote, width, theme), Some(id));
        }
        let style = text_style(self.text_style, self.picked, theme);
        for line in self.text {
            push(vec![Span::styled(line.clone(), style)], None);
        }
        if let Some(tag) = self.footer {
            push(vec![shorten_span(&tag, width)], None);
        }
        rows
    }
}

fn text_style(style: Style, picked: bool, theme: Theme) -> Style {
    if picked { style.patch(theme.selection()) } else { style }
}

fn quote_spans(quote: &str, width: u16, theme: Theme) -> Vec<Span<'static>> {
    let quote = shorten(quote, usize::from(width).saturating_sub(2));
    vec![Span::styled("┃ ", theme.own()), Span::styled(quote, theme.dim())]
}

fn shorten_span(span: &Span<'static>, width: u16) -> Span<'static> {
    let text = shorten(&span.content, usize::from(width).saturating_sub(2));
    Span::styled(text, span.style)
}

/// An upper or lower edge with words in it, on the side given.
fn border_line(
    left: char,
    right: char,
    words: Vec<Span<'static>>,
    side: Side,
    inner_width: u16,
    frame: Style,
) -> Line<'static> {
    let available = inner_width + 2;
    let words = shorten_spans(words, inner_width);
    let used: usize = words.iter().map(|span| span.content.width()).sum();
    let (used, gaps) = if used == 0 { (0, 0) } else { (used, 2) };
    let rest = usize::from(available).saturating_sub(used + gaps);
    let gap = || Span::raw(if gaps == 0 { "" } else { " " });
    let (before, after) = match side {
        Side::Left => (rest.min(1), rest.saturating_sub(1)),
        Side::Right => (rest.saturating_sub(1), rest.min(1)),
    };
    let mut line = vec![Span::styled(format!("{left}{}", "─".repeat(before)), frame), gap()];
    line.extend(words);
    line.push(gap());
    line.push(Span::styled(format!("{}{right}", "─".repeat(after)), frame));
    Line::from(line)
}

/// The beginning of some words in at most `width` cells.
fn shorten_spans(words: Vec<Span<'static>>, width: u16) -> Vec<Span<'static>> {
    let mut available = usize::from(width);
    let mut shortened = Vec::with_capacity(words.len());
    for span in words {
        let text = shorten(&span.content, available);
        available = available.saturating_sub(text.width());
        shortened.push(Span::styled(text, span.style));
    }
    shortened
}

/// A quiet line in the middle: a day, who came and went, the connection.
pub fn centered_row(text: &str, width: u16, theme: Theme) -> BlockRow {
    let text = shorten(text, usize::from(width).saturating_sub(2));
    let used = u16::try_from(text.width()).unwrap_or(width);
    let x = width.saturating_sub(used) / 2;
    BlockRow { x, line: Line::styled(text, theme.dim()), quoted_message: None }
}

/// The separator above the first entry of a day.
pub fn day_separator(at: DateTime<FixedOffset>, width: u16, theme: Theme) -> BlockRow {
    centered_row(&at.format("─── %a %-d %b %Y ───").to_string(), width, theme)
}

/// The separator above what is new.
pub fn separator(text: &str, width: u16, theme: Theme) -> BlockRow {
    centered_row(&format!("─── {text} ───"), width, theme)
}

/// An ID, marked if there was no key behind it (the help explains the mark).
pub fn display_name(id: &UserId, guest: bool) -> String {
    format!("{id}{}", if guest { GUEST_MARK } else { "" })
}

/// The header of a message: who, to whom, when.
pub fn header(
    sender: Option<(&UserId, bool)>,
    to: Option<String>,
    at: DateTime<FixedOffset>,
    theme: Theme,
) -> Vec<Span<'static>> {
    let mut spans = Vec::with_capacity(5);
    let who = sender.map(|(id, guest)| Span::styled(display_name(id, guest), theme.name(id)));
    match (who, to) {
        (Some(who), None) => spans.extend([who, Span::raw(" ")]),
        (Some(who), Some(to)) => spans.extend([
            who,
            Span::styled(format!(" → {to} "), theme.private()),
            Span::styled("private ", theme.private()),
        ]),
        (None, Some(to)) => spans.push(Span::styled(format!("→ {to} private "), theme.private())),
        (None, None) => {}
    }
    spans.push(Span::styled(at.format("%H:%M").to_string(), theme.dim()));
    spans
}
