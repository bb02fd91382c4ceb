//! Lays out and draws the search overlay.

use std::ops::Range;

use chrono::{DateTime, FixedOffset};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Widget};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use super::SearchOverlay;
use crate::client::state::Session;
use crate::client::state::search::{MAX_HITS, SearchAnswer, SearchHit};
use crate::client::state::search_input::{SEARCH_FILTERS, filter_key};
use crate::protocol::event::SearchEnd;
use crate::protocol::message::{Audience, Message};
use crate::tui::bubble::{conversation_name, display_name};
use crate::tui::list::ListLayout;
use crate::tui::text::{drawable, shorten};
use crate::tui::theme::Theme;

/// Cells shown before a match that is far into a message.
const CELLS_BEFORE_MATCH: usize = 24;

/// The rows of the selected hit with its context: a heading and three messages.
const CONTEXT_ROWS: u16 = 4;

/// The least number of rows for hits beside the context.
const MIN_HIT_ROWS: u16 = 3;

/// Below this width, texts are abbreviated.
const NARROW: u16 = 60;

/// The parts of the overlay.
struct Parts {
    input: Rect,
    /// The error, the proposals or a hint.
    hint: Rect,
    hits: Rect,
    /// The selected hit with its context, if there is room.
    context: Option<Rect>,
}

impl Parts {
    fn new(area: Rect) -> Self {
        let inner = Rect {
            x: area.x + area.width.min(2),
            y: area.y + area.height.min(1),
            width: area.width.saturating_sub(4),
            height: area.height.saturating_sub(2),
        };
        let row = |index: u16| Rect {
            y: inner.y + index.min(inner.height),
            height: u16::from(index < inner.height),
            ..inner
        };
        let rest = inner.height.saturating_sub(2);
        let context = if rest >= MIN_HIT_ROWS + CONTEXT_ROWS { CONTEXT_ROWS } else { 0 };
        let hits = Rect { y: row(2).y, height: rest - context, ..inner };
        let below = Rect { y: hits.bottom(), height: context, ..inner };
        let label = inner.width.min(2);
        let beside = |row: Rect| Rect { x: row.x + label, width: row.width - label, ..row };
        let context = (context > 0).then_some(below);
        Self { input: beside(row(0)), hint: beside(row(1)), hits, context }
    }
}

impl SearchOverlay {
    /// Lays out the visible hits. `area` is that of the overlay.
    pub fn lay_out(&self, area: Rect) -> ListLayout {
        self.list.lay_out(|_| 1, Parts::new(area).hits)
    }

    /// Draws the overlay. Returns the area of the input.
    pub fn draw(
        &self,
        area: Rect,
        rows: &[(usize, Rect)],
        chat: &Session,
        now: DateTime<FixedOffset>,
        theme: Theme,
        buffer: &mut Buffer,
    ) -> Rect {
        Clear.render(area, buffer);
        let parts = Parts::new(area);
        let case = if self.match_case { " match case " } else { "" };
        Block::bordered()
            .border_type(BorderType::Rounded)
            .border_style(theme.frame())
            .title(Span::styled(self.title(), theme.title()))
            .title(Line::styled(case, theme.warning()).right_aligned())
            .title_bottom(
                Line::styled(self.count_text(chat, area.width), theme.dim()).right_aligned(),
            )
            .render(area, buffer);
        self.draw_input(parts.input, theme, buffer);
        self.hint(parts.hint.width, theme).render(parts.hint, buffer);
        for (index, row) in rows {
            let hit = self.search.hits().get(*index);
            if let Some(message) = hit.and_then(|hit| self.search.message(hit, chat)) {
                let line = self.hit_line(message, chat, now, theme, row.width);
                let line = if *index == self.list.index() {
                    line.patch_style(theme.selection())
                } else {
                    line
                };
                line.render(*row, buffer);
            }
        }
        if let Some((context, hit)) = parts.context.zip(self.search.hits().get(self.list.index())) {
            self.draw_context(context, hit, chat, now, theme, buffer);
        }
        parts.input
    }

    fn title(&self) -> String {
        match &self.search.input().query.conversation {
            Some(conversation) => format!(" Search {} ", conversation_name(conversation)),
            None if self.is_wide => " Search all conversations ".to_owned(),
            // The input has an error.
            None => " Search ".to_owned(),
        }
    }

    /// Draws the input. Filters have the style of labels.
    fn draw_input(&self, area: Rect, theme: Theme, buffer: &mut Buffer) {
        let label = Rect { x: area.x.saturating_sub(2), width: 2, ..area };
        Span::styled("/ ", theme.title()).render(label, buffer);
        (&self.input).render(area, buffer);
        let text = self.text();
        if text.width() >= usize::from(area.width) {
            return;
        }
        let mut x = area.x;
        for word in text.split_inclusive(' ') {
            if let Some(key) = filter_key(word) {
                let width = u16::try_from(key.width()).unwrap_or_default();
                buffer.set_style(Rect { x, width, ..area }, theme.accent());
            }
            x += u16::try_from(word.width()).unwrap_or_default();
        }
    }

    /// The line below the input: the error at its column, the proposals, or what one can do.
    fn hint(&self, width: u16, theme: Theme) -> Line<'static> {
        if let Some(error) = self.search.error() {
            let before: String = self.text().chars().take(error.column).collect();
            let text = error.text.one_line();
            let most = usize::from(width).saturating_sub(text.width() + 2);
            let pad = " ".repeat(before.width().min(most));
            return Line::styled(format!("{pad}^ {text}"), theme.error());
        }
        if let Some(open) = &self.completion {
            let proposals = open.proposals.iter().enumerate().flat_map(|(index, proposal)| {
                let is_inserted = index == open.selected;
                let style = if is_inserted { theme.selection() } else { theme.dim() };
                [Span::styled(proposal.text.trim_end().to_owned(), style), Span::raw("  ")]
            });
            return Line::from(proposals.collect::<Vec<_>>());
        }
        let is_in_one = self.search.input().query.conversation.is_some();
        let text = if self.text().is_empty() {
            let filters: Vec<&str> = SEARCH_FILTERS.iter().map(|(filter, _)| *filter).collect();
            let filters = filters.join(" ");
            if width < NARROW {
                format!("{filters}  Tab")
            } else {
                format!("a regular expression, and {filters}  (Tab completes)")
            }
        } else if self.search.hits().is_empty() && is_in_one && !self.is_wide {
            "Ctrl-F searches all conversations".to_owned()
        } else {
            String::new()
        };
        Line::styled(text, theme.dim())
    }

    fn count_text(&self, chat: &Session, width: u16) -> String {
        if self.search.regex().is_none() {
            return String::new();
        }
        let (searched, state) = self.progress(chat);
        let more = if self.search.has_more() { "+" } else { "" };
        let position = match self.search.hits().len() {
            0 => "nothing found".to_owned(),
            hits => format!("{} of {hits}{more}", self.list.index() + 1),
        };
        if width < NARROW {
            return format!(" {position}{} ", state.trim_start_matches(" (not connected:"));
        }
        format!(" {position} in {searched} messages{state} ")
    }

    /// How many messages have been searched, and a suffix that says why not all were.
    fn progress(&self, chat: &Session) -> (u64, String) {
        let local = self.search.searched() as u64;
        match self.search.answer() {
            Some(SearchAnswer { searched, end }) if self.cid.is_some() => {
                let hits = self.search.hits().len();
                let state = match end {
                    SearchEnd::Searching => "…".to_owned(),
                    SearchEnd::TooMany if hits >= MAX_HITS => {
                        format!(" (the newest {hits}: narrow the search)")
                    }
                    SearchEnd::Complete | SearchEnd::TooMany => String::new(),
                    SearchEnd::TooLong => " (stopped: time limit reached)".to_owned(),
                    SearchEnd::Replaced => " (stopped: replaced by another search)".to_owned(),
                };
                (searched.max(local), state)
            }
            Some(_) | None if !self.search.is_local(chat) && !chat.is_online() => {
                (local, " (not connected: loaded messages only)".to_owned())
            }
            Some(_) | None if self.request_due.is_some() || !self.is_done(chat) => {
                (local, "…".to_owned())
            }
            Some(_) | None => (local, String::new()),
        }
    }

    /// A hit: time, author, the conversation if several are searched, and the text around the match.
    fn hit_line(
        &self,
        message: &Message,
        chat: &Session,
        now: DateTime<FixedOffset>,
        theme: Theme,
        width: u16,
    ) -> Line<'static> {
        let at = message.at.with_timezone(now.offset());
        let form = if at.date_naive() == now.date_naive() { "%H:%M " } else { "%-d %b %H:%M " };
        let mut spans = vec![
            Span::styled(at.format(form).to_string(), theme.dim()),
            author(message, chat, theme),
        ];
        if self.search.input().query.conversation.is_none() {
            let conversation = chat.conversation_of(message);
            let style = match &conversation {
                Audience::Only(_) => theme.private(),
                Audience::Everyone | Audience::Room(_) => theme.dim(),
            };
            let most = usize::from(width / 4).max(8);
            let name = shorten(&conversation_name(&conversation), most);
            spans.push(Span::styled(format!(" {name}"), style));
        }
        spans.push(Span::raw("  "));
        let used: usize = spans.iter().map(|span| span.content.width()).sum();
        let left = usize::from(width).saturating_sub(used);
        spans.extend(self.highlighted(message, left, Style::new(), theme));
        Line::from(spans)
    }

    /// Draws the selected hit between the messages before and after it.
    fn draw_context(
        &self,
        area: Rect,
        hit: &SearchHit,
        chat: &Session,
        now: DateTime<FixedOffset>,
        theme: Theme,
        buffer: &mut Buffer,
    ) {
        let Some(message) = self.search.message(hit, chat) else { return };
        let context = self.looked_up.context(hit, chat);
        let at = message.at.with_timezone(now.offset()).format("%a %-d %b %H:%M");
        let heading = format!("─── {} · {at} ", conversation_name(&hit.conversation));
        let width = usize::from(area.width);
        let heading = shorten(&heading, width);
        let line = "─".repeat(width.saturating_sub(heading.width()));
        Span::styled(format!("{heading}{line}"), theme.frame()).render(area, buffer);
        let rows = [
            context.before.map(|before| (before, theme.dim())),
            Some((message.clone(), theme.text())),
            context.after.map(|after| (after, theme.dim())),
        ];
        for (row, y) in rows.into_iter().zip(area.y + 1..area.bottom()) {
            let Some((message, style)) = row else { continue };
            let name = author(&message, chat, theme);
            let left = width.saturating_sub(name.content.width() + 2);
            let mut spans = vec![name, Span::raw("  ")];
            spans.extend(self.highlighted(&message, left, style, theme));
            Line::from(spans).render(Rect { y, height: 1, ..area }, buffer);
        }
    }

    /// The part of a text around its first match, with all matches highlighted.
    fn highlighted(
        &self,
        message: &Message,
        width: usize,
        style: Style,
        theme: Theme,
    ) -> Vec<Span<'static>> {
        let Some(regex) = self.search.regex() else { return Vec::new() };
        let text = drawable(&message.content.one_line());
        let matches: Vec<Range<usize>> =
            regex.find_iter(&text).map(|hit| hit.range()).filter(|hit| !hit.is_empty()).collect();
        let first = matches.first().map_or(0, |hit| hit.start);
        let start = excerpt_start(&text, first, width);
        let mut spans = Vec::new();
        if start > 0 {
            spans.push(Span::styled("…", theme.dim()));
        }
        let rest = text.get(start..).unwrap_or_default();
        let shown = shorten(rest, width.saturating_sub(spans.len()));
        for (run, is_match) in runs(&shown, start, &matches) {
            let style = if is_match { style.patch(theme.search_match()) } else { style };
            spans.push(Span::styled(run, style));
        }
        spans
    }
}

fn author(message: &Message, chat: &Session, theme: Theme) -> Span<'static> {
    if chat.is_own_id(&message.sender) {
        Span::styled("you", theme.own())
    } else {
        Span::styled(display_name(&message.sender, message.guest), theme.name(&message.sender))
    }
}

/// Splits the part of a text that begins at byte `start` where a match begins or ends. A grapheme of which a
/// part matches belongs to the match.
fn runs(part: &str, start: usize, matches: &[Range<usize>]) -> Vec<(String, bool)> {
    let mut runs: Vec<(String, bool)> = Vec::new();
    let mut matches = matches.iter().peekable();
    for (at, grapheme) in part.grapheme_indices(true) {
        let (from, to) = (start + at, start + at + grapheme.len());
        while matches.next_if(|hit| hit.end <= from).is_some() {}
        let is_match = matches.peek().is_some_and(|hit| hit.start < to);
        match runs.last_mut() {
            Some((run, before)) if *before == is_match => run.push_str(grapheme),
            Some(_) | None => runs.push((grapheme.to_owned(), is_match)),
        }
    }
    runs
}

/// Where an excerpt of `text` has to start so that a match at byte `first` is visible in `width` cells.
fn excerpt_start(text: &str, first: usize, width: usize) -> usize {
    let before = text.get(..first).unwrap_or_default();
    if before.width() + CELLS_BEFORE_MATCH / 2 <= width {
        return 0;
    }
    let mut cells = 0;
    let kept = before.grapheme_indices(true).rev().take_while(|(_, grapheme)| {
        cells += grapheme.width();
        cells <= CELLS_BEFORE_MATCH.min(width / 3)
    });
    kept.last().map_or(first, |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn match_covers_whole_graphemes() {
        let text = "cafe\u{301}s";
        let plain: Vec<_> = runs(text, 0, std::slice::from_ref(&(3..4)));
        assert_eq!(
            plain,
            [("caf".to_owned(), false), ("e\u{301}".to_owned(), true), ("s".to_owned(), false)]
        );
        assert_eq!(
            runs("fés", 2, &[0..1, 5..6]),
            [("fé".to_owned(), false), ("s".to_owned(), true)]
        );
    }
}
