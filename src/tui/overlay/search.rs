//! The search overlay: what is typed, what is wrong with it, the hits with the match highlighted.
//!
//! The searching itself is in `client::state::search` and on the server; this is its box.

use chrono::{DateTime, FixedOffset, TimeDelta};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Widget};
use tui_textarea::TextArea;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use super::found::SearchHitList;
use crate::client::state::ChatState;
use crate::client::state::search::{SearchAnswer, SearchState};
use crate::client::state::search_input::SearchInput;
use crate::client::state::timeline::Timeline;
use crate::protocol::event::{self, SearchEnd};
use crate::protocol::id::{Cid, MessageId};
use crate::protocol::message::{Audience, Message, Millis};
use crate::protocol::query::SearchQuery;
use crate::protocol::text::SafeText;
use crate::tui::bubble::display_name;
use crate::tui::composer::text_area;
use crate::tui::theme::Theme;
use crate::tui::wrap::{drawable, shorten};

/// How many entries one step looks at: well under two milliseconds for any expression.
const ENTRIES_PER_STEP: i64 = 4_000;

/// How long nothing is typed before the server is asked: shorter than anybody waits on purpose.
const TYPING_PAUSE: TimeDelta = TimeDelta::milliseconds(150);

/// How many cells before a match are shown, where it is far into a message.
const CONTEXT_WIDTH: usize = 24;

/// The open search.
#[derive(Debug, Clone)]
pub struct SearchOverlay {
    input: TextArea<'static>,
    match_case: bool,
    search: SearchState,
    selected: usize,
    top: usize,
    /// When the server is to be asked, if it is.
    request_due: Option<DateTime<FixedOffset>>,
    /// What it was asked by.
    cid: Option<Cid>,
}

impl SearchOverlay {
    /// A search for `typed`, under way.
    pub fn new(typed: &str, chat: &ChatState, now: DateTime<FixedOffset>) -> Self {
        let mut input = text_area();
        input.insert_str(typed.replace('\n', " "));
        let mut search = Self {
            search: SearchState::new(Ok(SearchInput::default()), chat.timeline()),
            input,
            match_case: false,
            selected: 0,
            top: 0,
            request_due: None,
            cid: None,
        };
        search.restart(chat, now);
        search
    }

    /// The box to type into.
    pub fn input_mut(&mut self) -> &mut TextArea<'static> {
        &mut self.input
    }

    /// The box as it is drawn.
    pub fn input(&self) -> &TextArea<'static> {
        &self.input
    }

    /// What is typed.
    pub fn text(&self) -> String {
        self.input.lines().concat()
    }

    /// Begins anew, after something else was typed.
    pub fn restart(&mut self, chat: &ChatState, now: DateTime<FixedOffset>) {
        let query = SearchInput::parse(&self.text(), self.match_case, now, chat);
        self.search = SearchState::new(query, chat.timeline());
        (self.selected, self.top) = (0, 0);
        self.cid = None;
        self.request_due = (!chat.has_full_history()).then(|| now + TYPING_PAUSE);
        self.step(chat.timeline());
    }

    /// Tells capitals from small letters, or no longer.
    pub fn toggle_case(&mut self, chat: &ChatState, now: DateTime<FixedOffset>) {
        self.match_case = !self.match_case;
        self.restart(chat, now);
    }

    /// Searches a little further here.
    pub fn step(&mut self, timeline: &Timeline) {
        self.keep_selection(|search| search.search_slice(timeline, ENTRIES_PER_STEP));
    }

    /// When the server is to be asked.
    pub fn request_due(&self) -> Option<DateTime<FixedOffset>> {
        self.request_due
    }

    /// Asks again: the connection on which the server was asked is lost.
    pub fn retry_request(&mut self, now: DateTime<FixedOffset>) {
        self.request_due = Some(now);
        self.cid = None;
    }

    /// What the server is to be asked now, if there is something to search for. Once.
    pub fn take_request(&mut self, cid: Cid) -> Option<SearchQuery> {
        self.request_due = None;
        self.search.regex()?;
        match self.search.input().query.clone().validated() {
            Ok(find) => {
                self.search.mark_asked();
                self.cid = Some(cid);
                Some(find)
            }
            Err(refusal) => {
                self.search.set_error(SafeText::clean(&refusal.to_string()));
                None
            }
        }
    }

    /// Whether this is the answer to what was asked last.
    pub fn is_current_request(&self, cid: Option<&Cid>) -> bool {
        cid.is_some() && self.cid.as_ref() == cid
    }

    /// Takes in what the server found.
    pub fn on_results(&mut self, results: event::SearchResults, timeline: &Timeline) {
        self.keep_selection(|search| search.add_results(results, timeline));
    }

    /// The server will not search for this.
    pub fn on_error(&mut self, text: SafeText) {
        self.search.set_error(text);
    }

    /// Takes out a message that can no longer be read.
    pub fn remove(&mut self, id: MessageId) {
        self.keep_selection(|search| search.remove(id));
    }

    /// Takes out what has expired at `now`, by the server's clock.
    pub fn expire(&mut self, now: Millis) {
        if self.search.next_expiry().is_some_and(|next| next <= now) {
            self.keep_selection(|search| search.expire(now));
        }
    }

    /// When the next hit expires that is not in the conversation, by the server's clock.
    pub fn next_expiry(&self) -> Option<Millis> {
        self.search.next_expiry()
    }

    /// What is chosen stays chosen when hits come in above it; but the newest stays the newest.
    fn keep_selection(&mut self, change: impl FnOnce(&mut SearchState)) {
        let before = self.search.hits().get(self.selected).copied().filter(|_| self.selected > 0);
        change(&mut self.search);
        let hits = self.search.hits();
        let now = before.and_then(|before| hits.iter().position(|hit| *hit == before));
        self.selected = now.unwrap_or(self.selected).min(hits.len().saturating_sub(1));
    }

    /// Whether there is nothing left to search here.
    pub fn is_done(&self, timeline: &Timeline) -> bool {
        self.search.is_done(timeline)
    }

    /// Chooses another hit.
    pub fn move_selection(&mut self, rows: isize) {
        let last = self.search.hits().len().saturating_sub(1);
        self.selected = self.selected.saturating_add_signed(rows).min(last);
    }

    /// Chooses this hit.
    pub fn select(&mut self, index: usize) {
        self.selected = index.min(self.search.hits().len().saturating_sub(1));
    }

    /// The chosen hit, with all others to go on to.
    pub fn hit_list(&self) -> Option<SearchHitList> {
        let hits: Vec<MessageId> = self.search.hits().iter().map(|hit| hit.id).collect();
        (self.selected < hits.len()).then_some(SearchHitList { hits, current_index: self.selected })
    }

    /// The rows that show hits, in an overlay of this area; keeps the chosen one among them.
    pub fn hit_rows(&mut self, area: Rect) -> Vec<(usize, Rect)> {
        let list = list_area(area);
        let height = usize::from(list.height);
        let lowest = (self.selected + 1).saturating_sub(height);
        self.top = self.top.clamp(lowest, self.selected.max(lowest));
        let count = self.search.hits().len().saturating_sub(self.top).min(height);
        let row = |index: u16| Rect { y: list.y + index, height: 1, ..list };
        (self.top..self.top + count).zip(0..).map(|(hit, index)| (hit, row(index))).collect()
    }

    /// Draws it; gives where the cursor is.
    pub fn draw(
        &self,
        area: Rect,
        rows: &[(usize, Rect)],
        chat: &ChatState,
        now: DateTime<FixedOffset>,
        theme: Theme,
        buffer: &mut Buffer,
    ) -> Rect {
        Clear.render(area, buffer);
        let case = if self.match_case { " Aa " } else { "" };
        Block::bordered()
            .border_type(BorderType::Rounded)
            .title(Span::styled(" Search ", theme.title()))
            .title(Line::styled(case, theme.warning()).right_aligned())
            .title_bottom(Line::styled(self.count_text(chat), theme.dim()).right_aligned())
            .render(area, buffer);
        let inner = inner_area(area);
        let input = Rect {
            x: inner.x + 2,
            width: inner.width.saturating_sub(2),
            height: inner.height.min(1),
            ..inner
        };
        Span::styled("/ ", theme.title()).render(inner, buffer);
        (&self.input).render(input, buffer);
        if inner.height > 1 {
            let under = Rect { y: inner.y + 1, height: 1, ..input };
            self.error_or_hint(theme).render(under, buffer);
        }
        for (index, row) in rows {
            let hit = self.search.hits().get(*index);
            if let Some(message) = hit.and_then(|hit| self.search.message(hit.id, chat.timeline()))
            {
                let line = self.hit_line(message, chat, now, theme, row.width);
                let line = if *index == self.selected {
                    line.patch_style(theme.selection())
                } else {
                    line
                };
                line.render(*row, buffer);
            }
        }
        input
    }

    /// What is wrong, where it is typed; or how to write it.
    fn error_or_hint(&self, theme: Theme) -> Line<'static> {
        if let Some(mistake) = self.search.error() {
            let before: String = self.text().chars().take(mistake.column).collect();
            let pad = " ".repeat(before.width());
            return Line::styled(format!("{pad}^ {}", mistake.text.one_line()), theme.error());
        }
        let words = if self.text().is_empty() {
            "a regular expression, such as  deploy(ed|ing)?  (F1: how to narrow it)"
        } else {
            ""
        };
        Line::styled(words, theme.dim())
    }

    fn count_text(&self, chat: &ChatState) -> String {
        if self.search.regex().is_none() {
            return String::new();
        }
        let (searched, more) = self.progress(chat);
        let place = match self.search.hits().len() {
            0 => "nothing found".to_owned(),
            hits => format!("{} of {hits}", self.selected + 1),
        };
        format!(" {place} in {searched} messages{more} ")
    }

    /// How many messages have been searched, and whether that was all.
    fn progress(&self, chat: &ChatState) -> (u64, &'static str) {
        let here = self.search.searched() as u64;
        match self.search.answer() {
            Some(SearchAnswer { searched, end }) if self.cid.is_some() => {
                let more = match end {
                    SearchEnd::Searching => "…",
                    SearchEnd::Complete => "",
                    SearchEnd::TooMany => ": only the newest hits",
                    SearchEnd::TooLong => ": the older ones took too long",
                    SearchEnd::Replaced => ": you search elsewhere now",
                };
                (searched.max(here), more)
            }
            Some(_) | None if !chat.has_full_history() && !chat.is_online() => {
                (here, " here: not connected")
            }
            Some(_) | None if self.request_due.is_some() || !self.is_done(chat.timeline()) => {
                (here, "…")
            }
            Some(_) | None => (here, ""),
        }
    }

    fn hit_line(
        &self,
        message: &Message,
        chat: &ChatState,
        now: DateTime<FixedOffset>,
        theme: Theme,
        width: u16,
    ) -> Line<'static> {
        let at = message.at.with_timezone(now.offset());
        let form = if at.date_naive() == now.date_naive() { "%H:%M " } else { "%-d %b %H:%M " };
        let mut spans = vec![Span::styled(at.format(form).to_string(), theme.dim())];
        let who = if chat.is_own_id(&message.sender) {
            Span::styled("you", theme.own())
        } else {
            let name = display_name(&message.sender, message.guest);
            Span::styled(name, theme.name(&message.sender))
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
        let start = excerpt_start(text, first, width);
        let mut spans = Vec::new();
        if start > 0 {
            spans.push(Span::styled("…", theme.dim()));
        }
        let shown =
            shorten(text.get(start..).unwrap_or_default(), width.saturating_sub(spans.len()));
        let mut plain_from = 0;
        for found in regex.find_iter(&shown).filter(|found| !found.is_empty()) {
            let before = shown.get(plain_from..found.start()).unwrap_or_default();
            spans.push(Span::raw(before.to_owned()));
            spans.push(Span::styled(found.as_str().to_owned(), theme.search_match()));
            plain_from = found.end();
        }
        spans.push(Span::raw(shown.get(plain_from..).unwrap_or_default().to_owned()));
        spans
    }
}

/// Where to begin so that a match at `first` can be seen in `width` cells.
fn excerpt_start(text: &str, first: usize, width: usize) -> usize {
    let before = text.get(..first).unwrap_or_default();
    if before.width() + CONTEXT_WIDTH / 2 <= width {
        return 0;
    }
    let mut cells = 0;
    let kept = before.grapheme_indices(true).rev().take_while(|(_, grapheme)| {
        cells += grapheme.width();
        cells <= CONTEXT_WIDTH.min(width / 3)
    });
    kept.last().map_or(first, |(at, _)| at)
}

fn inner_area(area: Rect) -> Rect {
    Rect {
        x: area.x + area.width.min(2),
        y: area.y + area.height.min(1),
        width: area.width.saturating_sub(4),
        height: area.height.saturating_sub(2),
    }
}

fn list_area(area: Rect) -> Rect {
    let inner = inner_area(area);
    Rect { y: inner.y + 2, height: inner.height.saturating_sub(2), ..inner }
}
