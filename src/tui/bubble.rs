//! Renders one item of the conversation as rows of cells: a speech bubble or a centred line.

use std::rc::Rc;

use chrono::{DateTime, FixedOffset};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::text::{TextRow, shorten, width};
use super::theme::Theme;
use crate::client::state::Availability;
use crate::protocol::id::{MessageId, UserId};
use crate::protocol::message::Audience;

/// Below this width of the conversation bubbles have no borders, which leaves more cells for the text.
const MIN_WIDTH_FOR_WALLS: u16 = 50;

/// Maximum width of a bubble: longer lines are hard to read.
const MAX_BUBBLE_WIDTH: u16 = 76;

/// Up to this width a bubble may be wider than its usual share of the conversation.
const NARROW_BUBBLE_WIDTH: u16 = 60;

/// Cells that stay free on the opposite side, so that the side of a bubble is visible.
const OPPOSITE_MARGIN: u16 = 8;

/// Where the text begins in the compact layout: right of the time and the name.
const COMPACT_INDENT: u16 = 20;

/// Below this width the text of the compact layout begins further left.
const MIN_WIDTH_FOR_COMPACT_INDENT: u16 = 60;

/// Where the text begins in the compact layout on a narrow screen, in rows of its own.
const NARROW_COMPACT_INDENT: u16 = 2;

/// How messages are arranged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MessageLayout {
    /// In speech bubbles: own ones on the right.
    #[default]
    Bubbles,
    /// As in IRC: time and name, with the text beside them.
    Compact,
    /// Without frames, from the first column on, so that the terminal can copy whole rows.
    Plain,
}

impl MessageLayout {
    /// The next layout; after the last one, the first.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::Bubbles => Self::Compact,
            Self::Compact => Self::Plain,
            Self::Plain => Self::Bubbles,
        }
    }

    /// Its name.
    pub fn label(self) -> &'static str {
        match self {
            Self::Bubbles => "bubbles",
            Self::Compact => "compact",
            Self::Plain => "plain",
        }
    }

    /// Whether messages have a frame in a conversation of `width` cells.
    pub fn has_frames(self, width: u16) -> bool {
        self == Self::Bubbles && width >= MIN_WIDTH_FOR_WALLS
    }

    /// The maximum width of the text of a message, in a conversation of `width` cells.
    pub fn max_text_width(self, width: u16) -> u16 {
        match self {
            Self::Bubbles if width >= MIN_WIDTH_FOR_WALLS => {
                let share = width / 100 * 72 + width % 100 * 72 / 100;
                let narrow = (width - OPPOSITE_MARGIN).min(NARROW_BUBBLE_WIDTH);
                share.max(narrow).min(MAX_BUBBLE_WIDTH) - 4
            }
            Self::Bubbles | Self::Plain => width.saturating_sub(2).max(1),
            Self::Compact => width.saturating_sub(compact_indent(width) + 1).max(1),
        }
    }
}

fn compact_indent(width: u16) -> u16 {
    if width < MIN_WIDTH_FOR_COMPACT_INDENT { NARROW_COMPACT_INDENT } else { COMPACT_INDENT }
}

/// Follows the ID of a guest, who is unverified.
pub const GUEST_MARK: &str = " (?)";

/// The rendered rows of one item.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the field names say it")]
pub struct Block {
    pub rows: Vec<BlockRow>,
}

/// One row of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the field names say it")]
pub struct BlockRow {
    /// The first cell of the row; those before it are empty.
    pub x: u16,
    pub line: Line<'static>,
    /// The message that the row quotes. A click jumps to it.
    pub quoted_message: Option<MessageId>,
    /// The part of the message's text that is in the row.
    pub text: Option<PlacedText>,
}

/// A part of a message's text in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the field names say it")]
pub struct PlacedText {
    /// Its first cell, from the first cell of the row on.
    pub x: u16,
    pub row: Rc<TextRow>,
}

impl BlockRow {
    fn new(x: u16, line: Line<'static>) -> Self {
        Self { x, line, quoted_message: None, text: None }
    }

    /// The number of cells that the row takes from `x` on.
    pub fn width(&self) -> u16 {
        let cells = self.line.spans.iter().map(|span| width(&span.content)).sum::<usize>();
        u16::try_from(cells).unwrap_or(u16::MAX)
    }
}

/// The side of a bubble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Messages of others.
    Left,
    /// The user's own messages.
    Right,
}

/// A message to draw. In bubbles, consecutive messages of one author share a bubble, of which each draws its part.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the field names say it")]
pub struct Bubble<'a> {
    pub layout: MessageLayout,
    pub side: Side,
    /// Sender, recipients and time, in the upper border. `None` if the message continues a bubble.
    pub header: Option<Vec<Span<'static>>>,
    /// The time of a message that continues a bubble in another minute, right of its first row with a place for it.
    pub time: Option<Span<'static>>,
    /// The quote of the message that is replied to, and its ID.
    pub quote: Option<(String, MessageId)>,
    /// The rows of the text, wrapped.
    pub text: &'a [Rc<TextRow>],
    pub text_style: Style,
    pub border_style: Style,
    /// What is said about the message in the lower border, such as its reactions. If the message is not the last
    /// one in its bubble, in a line below it.
    pub footer: Vec<Span<'static>>,
    /// Whether a message in the bubble mentions the user: the frame is heavy.
    pub is_mention: bool,
    /// Whether the message is the last one in its bubble.
    pub last: bool,
    pub picked: bool,
    /// Cells between the borders and their padding.
    pub inner_width: u16,
}

impl Bubble<'_> {
    /// The inner width that this message needs.
    pub fn natural_width(&self) -> u16 {
        let text = self.text.iter().map(|row| row.width()).max().unwrap_or(0);
        let first = self.text.first().map_or(0, |row| row.width());
        let beside = self.time.as_ref().map_or(0, |time| first + 2 + width(&time.content));
        let quote = self.quote.as_ref().map_or(0, |(line, _)| width(line) + 2);
        let spans = |spans: &[Span<'_>]| spans_width(spans);
        let header = self.header.as_deref().map_or(0, |header| spans(header) + 1);
        let footer = if self.footer.is_empty() { 0 } else { spans(&self.footer) + 2 };
        u16::try_from(text.max(beside).max(quote).max(header).max(footer)).unwrap_or(u16::MAX)
    }

    /// Renders the message, in a conversation of `width` cells.
    pub fn rows(self, width: u16, theme: Theme) -> Vec<BlockRow> {
        match self.layout {
            MessageLayout::Compact => self.compact_rows(width, theme),
            layout if layout.has_frames(width) => self.bordered_rows(width, theme),
            MessageLayout::Bubbles | MessageLayout::Plain => self.borderless_rows(width, theme),
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
        let chars = if self.is_mention { HEAVY } else { LIGHT };
        let wall = chars.wall;
        let bordered = |spans: Vec<Span<'static>>| {
            let used = spans_width(&spans);
            let padding = " ".repeat(usize::from(inner_width).saturating_sub(used));
            let mut line = vec![Span::styled(format!("{wall} "), frame)];
            line.extend(spans);
            line.push(Span::raw(padding));
            line.push(Span::styled(format!(" {wall}"), frame));
            Line::from(line)
        };
        let mut rows = Vec::with_capacity(self.text.len() + 3);
        if let Some(header) = self.header {
            let line = border_line(chars.top, chars.line, header, self.side, inner_width, frame);
            rows.push(BlockRow::new(x, line));
        }
        if let Some((quote, id)) = self.quote {
            let line = bordered(quote_spans(&quote, inner_width, theme));
            rows.push(BlockRow { quoted_message: Some(id), ..BlockRow::new(x, line) });
        }
        let style = text_style(self.text_style, self.picked, theme);
        let mut time = self.time;
        for row in self.text {
            let text = Some(PlacedText { x: 2, row: Rc::clone(row) });
            let mut spans = text_spans(row, style, theme);
            let free = usize::from(inner_width).saturating_sub(row.width());
            if let Some(time) = time.take_if(|time| time.width() + 2 <= free) {
                spans.extend([Span::raw(" ".repeat(free - time.width())), time]);
            }
            rows.push(BlockRow { text, ..BlockRow::new(x, bordered(spans)) });
        }
        if self.last || !self.footer.is_empty() {
            let corners = if self.last { chars.bottom } else { chars.middle };
            let line =
                border_line(corners, chars.line, self.footer, Side::Right, inner_width, frame);
            rows.push(BlockRow::new(x, line));
        }
        rows
    }

    /// Renders the message with its text beside time and name, or below them if they are long.
    fn compact_rows(self, width: u16, theme: Theme) -> Vec<BlockRow> {
        let indent = compact_indent(width);
        let cells = width.saturating_sub(indent);
        let row = |spans: Vec<Span<'static>>| BlockRow::new(indent, Line::from(spans));
        let quote = self.quote.map(|(quote, id)| BlockRow {
            quoted_message: Some(id),
            ..row(quote_spans(&quote, cells, theme))
        });
        let style = text_style(self.text_style, self.picked, theme);
        let text = self.text.iter().map(|text| BlockRow {
            text: Some(PlacedText { x: 0, row: Rc::clone(text) }),
            ..row(text_spans(text, style, theme))
        });
        let footer = Some(self.footer).filter(|footer| !footer.is_empty());
        let footer = footer.map(|footer| row(shorten_spans(footer, cells)));
        let mut rows: Vec<BlockRow> = quote.into_iter().chain(text).chain(footer).collect();
        let mut header = shorten_spans(self.header.unwrap_or_default(), width);
        let free = usize::from(indent).saturating_sub(spans_width(&header));
        match rows.first_mut().filter(|_| free > 0) {
            Some(first) => {
                header.push(Span::raw(" ".repeat(free)));
                first.line.spans.splice(0..0, header);
                first.x = 0;
                if let Some(text) = &mut first.text {
                    text.x = indent;
                }
            }
            None => rows.insert(0, BlockRow::new(0, Line::from(header))),
        }
        rows
    }

    /// Renders the message without borders: on a narrow screen, or in the plain layout.
    fn borderless_rows(self, width: u16, theme: Theme) -> Vec<BlockRow> {
        let mut rows = Vec::with_capacity(self.text.len() + 3);
        let side = if self.layout == MessageLayout::Plain { Side::Left } else { self.side };
        let place = |spans: Vec<Span<'static>>| {
            let row = BlockRow::new(0, Line::from(spans));
            let x = match side {
                Side::Left => 0,
                Side::Right => width.saturating_sub(row.width()),
            };
            BlockRow { x, ..row }
        };
        if let Some(header) = self.header {
            rows.push(place(shorten_spans(header, width)));
        }
        if let Some((quote, id)) = self.quote {
            let row = place(quote_spans(&quote, width, theme));
            rows.push(BlockRow { quoted_message: Some(id), ..row });
        }
        let style = text_style(self.text_style, self.picked, theme);
        for row in self.text {
            let text = Some(PlacedText { x: 0, row: Rc::clone(row) });
            rows.push(BlockRow { text, ..place(text_spans(row, style, theme)) });
        }
        if !self.footer.is_empty() {
            rows.push(place(shorten_spans(self.footer, width.saturating_sub(2))));
        }
        rows
    }
}

fn text_style(style: Style, picked: bool, theme: Theme) -> Style {
    if picked { style.patch(theme.selection()) } else { style }
}

fn text_spans(row: &TextRow, style: Style, theme: Theme) -> Vec<Span<'static>> {
    let segments = row.segments.iter();
    segments.map(|one| Span::styled(one.drawn.clone(), one.format.style(style, theme))).collect()
}

fn spans_width(spans: &[Span<'_>]) -> usize {
    spans.iter().map(|span| width(&span.content)).sum()
}

fn quote_spans(quote: &str, width: u16, theme: Theme) -> Vec<Span<'static>> {
    let quote = shorten(quote, usize::from(width).saturating_sub(2));
    vec![Span::styled("┃ ", theme.own()), Span::styled(quote, theme.dim())]
}

/// The characters of a frame.
#[derive(Debug, Clone, Copy)]
struct FrameChars {
    /// The corners of the upper border.
    top: (char, char),
    /// The ends of a line between two messages.
    middle: (char, char),
    /// The corners of the lower border.
    bottom: (char, char),
    line: char,
    wall: char,
}

const LIGHT: FrameChars =
    FrameChars {
        top: ('╭', '╮'), middle: ('├', '┤'), bottom: ('╰', '╯'), line: '─', wall: '│'
    };

const HEAVY: FrameChars =
    FrameChars {
        top: ('┏', '┓'), middle: ('┣', '┫'), bottom: ('┗', '┛'), line: '━', wall: '┃'
    };

/// An upper or lower border with a text in it, near the given side.
fn border_line(
    (left, right): (char, char),
    horizontal: char,
    text: Vec<Span<'static>>,
    side: Side,
    inner_width: u16,
    frame: Style,
) -> Line<'static> {
    let available = inner_width + 2;
    let text = shorten_spans(text, inner_width);
    let used = spans_width(&text);
    let (used, gaps) = if used == 0 { (0, 0) } else { (used, 2) };
    let rest = usize::from(available).saturating_sub(used + gaps);
    let line_of = |cells: usize| horizontal.to_string().repeat(cells);
    let gap = || Span::raw(if gaps == 0 { "" } else { " " });
    let (before, after) = match side {
        Side::Left => (rest.min(1), rest.saturating_sub(1)),
        Side::Right => (rest.saturating_sub(1), rest.min(1)),
    };
    let mut line = vec![Span::styled(format!("{left}{}", line_of(before)), frame), gap()];
    line.extend(text);
    line.push(gap());
    line.push(Span::styled(format!("{}{right}", line_of(after)), frame));
    Line::from(line)
}

/// Shortens spans to at most `cells` in total.
fn shorten_spans(spans: Vec<Span<'static>>, cells: u16) -> Vec<Span<'static>> {
    let mut available = usize::from(cells);
    let mut shortened = Vec::with_capacity(spans.len());
    for span in spans {
        let text = shorten(&span.content, available);
        available = available.saturating_sub(width(&text));
        shortened.push(Span::styled(text, span.style));
    }
    shortened
}

/// A centred, dim line: a day, users who joined or left, a notice.
pub fn centered_row(text: &str, width: u16, theme: Theme) -> BlockRow {
    let text = shorten(text, usize::from(width).saturating_sub(2));
    let row = BlockRow::new(0, Line::from(Span::styled(text, theme.dim())));
    BlockRow { x: width.saturating_sub(row.width()) / 2, ..row }
}

/// The separator above the first item of a day.
pub fn day_separator(at: DateTime<FixedOffset>, width: u16, theme: Theme) -> BlockRow {
    centered_row(&at.format("─── %a %-d %b %Y ───").to_string(), width, theme)
}

/// A separator with a text, such as the one above unread messages.
pub fn separator(text: &str, width: u16, theme: Theme) -> BlockRow {
    centered_row(&format!("─── {text} ───"), width, theme)
}

/// What is added to the name of a user who is not online.
pub fn availability_note(availability: Availability) -> &'static str {
    match availability {
        Availability::Online => "",
        Availability::Away => " (away)",
        Availability::Gone => " (left)",
    }
}

/// A user ID, followed by [`GUEST_MARK`] for a guest.
pub fn display_name(id: &UserId, guest: bool) -> String {
    format!("{id}{}", if guest { GUEST_MARK } else { "" })
}

/// The time of a message.
pub fn time(at: DateTime<FixedOffset>, theme: Theme) -> Span<'static> {
    Span::styled(at.format("%H:%M").to_string(), theme.dim())
}

/// The header of a message: sender, recipients, time; in the compact layout, the time first. Without a sender, the
/// message is the user's own.
pub fn header(
    layout: MessageLayout,
    sender: Option<(&UserId, bool)>,
    to: Option<String>,
    at: DateTime<FixedOffset>,
    theme: Theme,
) -> Vec<Span<'static>> {
    let mut spans = Vec::with_capacity(5);
    let sender = sender.map(|(id, guest)| Span::styled(display_name(id, guest), theme.name(id)));
    match (sender, to) {
        (Some(sender), None) => spans.extend([sender, Span::raw(" ")]),
        (Some(sender), Some(to)) => spans.extend([
            sender,
            Span::styled(format!(" → {to} "), theme.private()),
            Span::styled("private ", theme.private()),
        ]),
        (None, Some(to)) => spans.push(Span::styled(format!("→ {to} private "), theme.private())),
        (None, None) => {}
    }
    let time = time(at, theme);
    if layout == MessageLayout::Compact {
        spans.splice(0..0, [time, Span::raw(" ")]);
    } else {
        spans.push(time);
    }
    spans
}

/// The name of a conversation.
pub fn conversation_name(conversation: &Audience) -> String {
    match conversation {
        Audience::Everyone => "everyone".to_owned(),
        Audience::Room(room) => room.to_string(),
        Audience::Only(users) => {
            let names: Vec<&str> = users.iter().map(UserId::as_str).collect();
            names.join(", ")
        }
    }
}
