//! The search overlay: an expression, what is wrong with it, the hits with the match highlighted.
//!
//! The searching itself is in `client::state::search`; this is its box.

use chrono::{DateTime, FixedOffset};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Widget};
use tui_textarea::TextArea;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::client::state::Room;
use crate::client::state::search::Search;
use crate::client::state::timeline::{Fate, Timeline};
use crate::protocol::id::MessageId;
use crate::protocol::message::{Audience, Message};
use crate::tui::compose::text_area;
use crate::tui::theme::Theme;
use crate::tui::wrap::{drawable, shorten};

/// How many entries one step looks at: well under two milliseconds for any expression.
const STEP: i64 = 4_000;

/// How many cells before a match are shown, where it is far into a message.
const BEFORE: usize = 24;

/// The open search.
#[derive(Debug, Clone)]
pub struct SearchBox {
    input: TextArea<'static>,
    match_case: bool,
    search: Search,
    chosen: usize,
    top: usize,
}

/// The hits of a search that was left by going to one of them.
#[derive(Debug, Clone)]
pub struct Found {
    hits: Vec<MessageId>,
    at: usize,
}

impl SearchBox {
    /// A search for `expression`, under way.
    pub fn new(expression: &str, timeline: &Timeline) -> Self {
        let mut input = text_area();
        input.insert_str(expression.replace('\n', " "));
        Self {
            search: Search::new(expression, false, timeline),
            input,
            match_case: false,
            chosen: 0,
            top: 0,
        }
    }

    /// The box to type into.
    pub fn input(&mut self) -> &mut TextArea<'static> {
        &mut self.input
    }

    /// The box as it is drawn.
    pub fn text(&self) -> &TextArea<'static> {
        &self.input
    }

    /// The expression as it is typed.
    pub fn expression(&self) -> String {
        self.input.lines().concat()
    }

    /// Begins anew, after the expression was changed.
    pub fn restart(&mut self, timeline: &Timeline) {
        self.search = Search::new(&self.expression(), self.match_case, timeline);
        (self.chosen, self.top) = (0, 0);
        self.step(timeline);
    }

    /// Tells capitals from small letters, or no longer.
    pub fn toggle_case(&mut self, timeline: &Timeline) {
        self.match_case = !self.match_case;
        self.restart(timeline);
    }

    /// Searches a little further.
    pub fn step(&mut self, timeline: &Timeline) {
        let before = self.search.hits().first().copied();
        self.search.step(timeline, STEP);
        // What is chosen stays chosen when newer hits come in above it.
        if let Some(before) = before.filter(|_| self.chosen > 0)
            && let Some(fresh) = self.search.hits().iter().position(|hit| *hit == before)
        {
            self.chosen += fresh;
        }
    }

    /// Takes out a message that can no longer be read.
    pub fn forget(&mut self, id: MessageId) {
        self.search.forget(id);
        self.chosen = self.chosen.min(self.search.hits().len().saturating_sub(1));
    }

    /// Whether there is nothing left to search.
    pub fn is_done(&self, timeline: &Timeline) -> bool {
        self.search.is_done(timeline)
    }

    /// Chooses another hit.
    pub fn move_by(&mut self, rows: isize) {
        let last = self.search.hits().len().saturating_sub(1);
        self.chosen = self.chosen.saturating_add_signed(rows).min(last);
    }

    /// Chooses this hit.
    pub fn choose(&mut self, index: usize) {
        self.chosen = index.min(self.search.hits().len().saturating_sub(1));
    }

    /// The chosen hit, with all others to go on to.
    pub fn found(&self) -> Option<Found> {
        let hits = self.search.hits().to_vec();
        (self.chosen < hits.len()).then_some(Found { hits, at: self.chosen })
    }

    /// The rows that show hits, in an overlay of this area; keeps the chosen one among them.
    pub fn rows(&mut self, area: Rect) -> Vec<(usize, Rect)> {
        let list = list_area(area);
        let height = usize::from(list.height);
        let lowest = (self.chosen + 1).saturating_sub(height);
        self.top = self.top.clamp(lowest, self.chosen.max(lowest));
        let count = self.search.hits().len().saturating_sub(self.top).min(height);
        let row = |index: u16| Rect { y: list.y + index, height: 1, ..list };
        (self.top..self.top + count).zip(0..).map(|(hit, index)| (hit, row(index))).collect()
    }

    /// Draws it; gives where the cursor is.
    pub fn draw(
        &self,
        area: Rect,
        rows: &[(usize, Rect)],
        room: &Room,
        now: DateTime<FixedOffset>,
        theme: Theme,
        buffer: &mut Buffer,
    ) -> Rect {
        Clear.render(area, buffer);
        let case = if self.match_case { " Aa " } else { "" };
        Block::bordered()
            .border_type(BorderType::Rounded)
            .title(Span::styled(" Search ", theme.title()))
            .title(Line::styled(case, theme.temporary()).right_aligned())
            .title_bottom(Line::styled(self.count(room), theme.quiet()).right_aligned())
            .render(area, buffer);
        let inside = inside(area);
        let input = Rect {
            x: inside.x + 2,
            width: inside.width.saturating_sub(2),
            height: inside.height.min(1),
            ..inside
        };
        Span::styled("/ ", theme.title()).render(inside, buffer);
        (&self.input).render(input, buffer);
        if inside.height > 1 {
            let under = Rect { y: inside.y + 1, height: 1, ..input };
            self.under_input(theme).render(under, buffer);
        }
        for (index, row) in rows {
            let said = self.search.hits().get(*index).and_then(|id| room.timeline().said(*id));
            if let Some(said) = said.filter(|said| said.fate == Fate::Readable) {
                let line = self.hit_line(&said.message, room, now, theme, row.width);
                let line =
                    if *index == self.chosen { line.patch_style(theme.picked()) } else { line };
                line.render(*row, buffer);
            }
        }
        input
    }

    /// What is wrong, where it is typed; or how to write it.
    fn under_input(&self, theme: Theme) -> Line<'static> {
        if let Some(mistake) = self.search.mistake() {
            let before: String = self.expression().chars().take(mistake.column).collect();
            let pad = " ".repeat(before.width());
            return Line::styled(format!("{pad}^ {}", mistake.text.one_line()), theme.error());
        }
        let words = if self.expression().is_empty() {
            "a regular expression, such as  deploy(ed|ing)?  or  ^ok\\b"
        } else {
            ""
        };
        Line::styled(words, theme.quiet())
    }

    fn count(&self, room: &Room) -> String {
        if self.search.regex().is_none() {
            return String::new();
        }
        let more = if self.is_done(room.timeline()) { "" } else { "…" };
        let place = match self.search.hits().len() {
            0 => "nothing found".to_owned(),
            hits => format!("{} of {hits}", self.chosen + 1),
        };
        format!(" {place} in {} messages{more} ", self.search.searched())
    }

    fn hit_line(
        &self,
        message: &Message,
        room: &Room,
        now: DateTime<FixedOffset>,
        theme: Theme,
        width: u16,
    ) -> Line<'static> {
        let at = message.at.with_timezone(now.offset());
        let form = if at.date_naive() == now.date_naive() { "%H:%M " } else { "%-d %b %H:%M " };
        let mut spans = vec![Span::styled(at.format(form).to_string(), theme.quiet())];
        let who = if room.is_you(&message.sender) {
            Span::styled("you", theme.own())
        } else {
            Span::styled(message.sender.to_string(), theme.name(&message.sender))
        };
        spans.push(who);
        match message.audience {
            Audience::Everyone => {}
            Audience::Only(_) => spans.push(Span::styled(" (private)", theme.private())),
        }
        spans.push(Span::raw("  "));
        let used: usize = spans.iter().map(|span| span.content.width()).sum();
        let text = drawable(&message.content.one_line());
        spans.extend(self.highlighted(&text, usize::from(width).saturating_sub(used), theme));
        Line::from(spans)
    }

    /// The part of a text around its first match, with every match in it highlighted.
    fn highlighted(&self, text: &str, width: usize, theme: Theme) -> Vec<Span<'static>> {
        let Some(regex) = self.search.regex() else { return Vec::new() };
        let first = regex.find(text).map_or(0, |found| found.start());
        let start = cut_before(text, first, width);
        let mut spans = Vec::new();
        if start > 0 {
            spans.push(Span::styled("…", theme.quiet()));
        }
        let shown =
            shorten(text.get(start..).unwrap_or_default(), width.saturating_sub(spans.len()));
        let mut plain_from = 0;
        for found in regex.find_iter(&shown).filter(|found| !found.is_empty()) {
            let before = shown.get(plain_from..found.start()).unwrap_or_default();
            spans.push(Span::raw(before.to_owned()));
            spans.push(Span::styled(found.as_str().to_owned(), theme.hit()));
            plain_from = found.end();
        }
        spans.push(Span::raw(shown.get(plain_from..).unwrap_or_default().to_owned()));
        spans
    }
}

/// Where to begin so that a match at `first` can be seen in `width` cells.
fn cut_before(text: &str, first: usize, width: usize) -> usize {
    let before = text.get(..first).unwrap_or_default();
    if before.width() + BEFORE / 2 <= width {
        return 0;
    }
    let mut cells = 0;
    let kept = before.grapheme_indices(true).rev().take_while(|(_, grapheme)| {
        cells += grapheme.width();
        cells <= BEFORE.min(width / 3)
    });
    kept.last().map_or(first, |(at, _)| at)
}

fn inside(area: Rect) -> Rect {
    Rect {
        x: area.x + area.width.min(2),
        y: area.y + area.height.min(1),
        width: area.width.saturating_sub(4),
        height: area.height.saturating_sub(2),
    }
}

fn list_area(area: Rect) -> Rect {
    let inside = inside(area);
    Rect { y: inside.y + 2, height: inside.height.saturating_sub(2), ..inside }
}

impl Found {
    /// The hit one has gone to.
    pub fn current(&self) -> Option<MessageId> {
        self.hits.get(self.at).copied()
    }

    /// The next older hit that can still be read, or the next newer one.
    pub fn go(&mut self, older: bool, timeline: &Timeline) -> Option<MessageId> {
        let readable =
            |hit: &MessageId| timeline.said(*hit).is_some_and(|said| said.fate == Fate::Readable);
        let next = if older {
            (self.at + 1..self.hits.len()).find(|index| self.hits.get(*index).is_some_and(readable))
        } else {
            (0..self.at).rev().find(|index| self.hits.get(*index).is_some_and(readable))
        };
        self.at = next?;
        self.current()
    }

    /// Which of how many hits it is.
    pub fn words(&self) -> String {
        format!("hit {} of {}", self.at + 1, self.hits.len())
    }
}
