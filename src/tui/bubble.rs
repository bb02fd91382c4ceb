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
pub const WALLS_FROM: u16 = 50;

/// A bubble is at most this wide: longer lines are hard to read.
const WIDEST: u16 = 76;

/// Up to this width a bubble may take more than its share of a small screen...
const NARROW: u16 = 60;

/// ...as long as it stays this far from the other side, so that one sees whose it is.
const SHIFT: u16 = 8;

/// What follows the ID of somebody who has shown no key.
pub const GUEST: &str = " (?)";

/// Rows of cells, each with its place from the left.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Block {
    /// From top to bottom.
    pub rows: Vec<Row>,
}

/// One row of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// How many cells are free on its left.
    pub x: u16,
    /// What stands there.
    pub line: Line<'static>,
    /// The message that a click leads to, if the row quotes one.
    pub quotes: Option<MessageId>,
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
    pub style: Style,
    /// The style of the frame.
    pub frame: Style,
    /// What stands in the lower frame.
    pub tag: Option<Span<'static>>,
    /// Whether the bubble ends here.
    pub last: bool,
    /// Whether the message is picked.
    pub picked: bool,
    /// How many cells its inside has.
    pub inside: u16,
}

/// How many cells the text of a bubble may have, where the conversation has `width`.
pub fn inside_width(width: u16) -> u16 {
    if width < WALLS_FROM {
        return width.saturating_sub(2).max(1);
    }
    let share = width / 100 * 72 + width % 100 * 72 / 100;
    share.max((width - SHIFT).min(NARROW)).min(WIDEST) - 4
}

impl Bubble<'_> {
    /// How many cells its inside needs.
    pub fn natural_width(&self) -> u16 {
        let text = self.text.iter().map(|line| line.width()).max().unwrap_or(0);
        let quote = self.quote.as_ref().map_or(0, |(line, _)| line.width() + 2);
        let spans =
            |spans: &[Span<'_>]| spans.iter().map(|span| span.content.width()).sum::<usize>();
        let header = self.header.as_deref().map_or(0, |header| spans(header) + 1);
        let tag = self.tag.as_ref().map_or(0, |tag| tag.content.width() + 2);
        u16::try_from(text.max(quote).max(header).max(tag)).unwrap_or(u16::MAX)
    }

    /// Its rows, in a conversation of `width` cells.
    pub fn rows(self, width: u16, theme: Theme) -> Vec<Row> {
        if width < WALLS_FROM {
            self.open_rows(width, theme)
        } else {
            self.walled_rows(width, theme)
        }
    }

    fn walled_rows(self, width: u16, theme: Theme) -> Vec<Row> {
        let inside = self.inside;
        let x = match self.side {
            Side::Left => 1,
            Side::Right => width.saturating_sub(inside + 5),
        };
        let frame =
            if self.picked { self.frame.remove_modifier(Modifier::DIM) } else { self.frame };
        let walled = |spans: Vec<Span<'static>>| {
            let used: usize = spans.iter().map(|span| span.content.width()).sum();
            let padding = " ".repeat(usize::from(inside).saturating_sub(used));
            let mut line = vec![Span::styled("│ ", frame)];
            line.extend(spans);
            line.push(Span::raw(padding));
            line.push(Span::styled(" │", frame));
            Line::from(line)
        };
        let row = |line, quotes| Row { x, line, quotes };
        let mut rows = Vec::with_capacity(self.text.len() + 3);
        if let Some(header) = self.header {
            rows.push(row(edge('╭', '╮', header, self.side, inside, frame), None));
        }
        if let Some((quote, id)) = self.quote {
            rows.push(row(walled(quote_spans(&quote, inside, theme)), Some(id)));
        }
        let style = text_style(self.style, self.picked, theme);
        for line in self.text {
            rows.push(row(walled(vec![Span::styled(line.clone(), style)]), None));
        }
        if self.last {
            let tag = self.tag.map(|tag| vec![shorten_span(&tag, inside)]).unwrap_or_default();
            rows.push(row(edge('╰', '╯', tag, Side::Right, inside, frame), None));
        }
        rows
    }

    /// On a narrow screen: the same without walls.
    fn open_rows(self, width: u16, theme: Theme) -> Vec<Row> {
        let mut rows = Vec::with_capacity(self.text.len() + 3);
        let side = self.side;
        let mut push = |spans: Vec<Span<'static>>, quotes| {
            let line = Line::from(spans);
            let used = u16::try_from(line.width()).unwrap_or(width);
            let x = match side {
                Side::Left => 0,
                Side::Right => width.saturating_sub(used),
            };
            rows.push(Row { x, line, quotes });
        };
        if let Some(header) = self.header {
            push(fit(header, width), None);
        }
        if let Some((quote, id)) = self.quote {
            push(quote_spans(&quote, width, theme), Some(id));
        }
        let style = text_style(self.style, self.picked, theme);
        for line in self.text {
            push(vec![Span::styled(line.clone(), style)], None);
        }
        if let Some(tag) = self.tag {
            push(vec![shorten_span(&tag, width)], None);
        }
        rows
    }
}

fn text_style(style: Style, picked: bool, theme: Theme) -> Style {
    if picked { style.patch(theme.picked()) } else { style }
}

fn quote_spans(quote: &str, width: u16, theme: Theme) -> Vec<Span<'static>> {
    let quote = shorten(quote, usize::from(width).saturating_sub(2));
    vec![Span::styled("┃ ", theme.own()), Span::styled(quote, theme.quiet())]
}

fn shorten_span(span: &Span<'static>, width: u16) -> Span<'static> {
    let text = shorten(&span.content, usize::from(width).saturating_sub(2));
    Span::styled(text, span.style)
}

/// An upper or lower edge with words in it, on the side given.
fn edge(
    left: char,
    right: char,
    words: Vec<Span<'static>>,
    side: Side,
    inside: u16,
    frame: Style,
) -> Line<'static> {
    let room = inside + 2;
    let words = fit(words, inside);
    let used: usize = words.iter().map(|span| span.content.width()).sum();
    let (used, gaps) = if used == 0 { (0, 0) } else { (used, 2) };
    let rest = usize::from(room).saturating_sub(used + gaps);
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
fn fit(words: Vec<Span<'static>>, width: u16) -> Vec<Span<'static>> {
    let mut room = usize::from(width);
    let mut fitting = Vec::with_capacity(words.len());
    for span in words {
        let text = shorten(&span.content, room);
        room = room.saturating_sub(text.width());
        fitting.push(Span::styled(text, span.style));
    }
    fitting
}

/// A quiet line in the middle: a day, who came and went, the connection.
pub fn quiet_row(text: &str, width: u16, theme: Theme) -> Row {
    let text = shorten(text, usize::from(width).saturating_sub(2));
    let used = u16::try_from(text.width()).unwrap_or(width);
    let x = width.saturating_sub(used) / 2;
    Row { x, line: Line::styled(text, theme.quiet()), quotes: None }
}

/// The separator above the first entry of a day.
pub fn day_row(at: DateTime<FixedOffset>, width: u16, theme: Theme) -> Row {
    quiet_row(&at.format("─── %a %-d %b %Y ───").to_string(), width, theme)
}

/// The separator above what is new.
pub fn rule_row(text: &str, width: u16, theme: Theme) -> Row {
    quiet_row(&format!("─── {text} ───"), width, theme)
}

/// An ID, marked if there was no key behind it (the help explains the mark).
pub fn marked(id: &UserId, guest: bool) -> String {
    format!("{id}{}", if guest { GUEST } else { "" })
}

/// The header of a message: who, to whom, when.
pub fn header(
    who: Option<(&UserId, bool)>,
    to: Option<String>,
    at: DateTime<FixedOffset>,
    theme: Theme,
) -> Vec<Span<'static>> {
    let mut spans = Vec::with_capacity(5);
    let who = who.map(|(id, guest)| Span::styled(marked(id, guest), theme.name(id)));
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
    spans.push(Span::styled(at.format("%H:%M").to_string(), theme.quiet()));
    spans
}
