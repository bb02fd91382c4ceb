//! The search overlay: the input, its error, and the hits with the match highlighted.
//!
//! The search itself runs in `client::state::search` and on the server.

use chrono::{DateTime, FixedOffset, TimeDelta};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Widget};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::client::state::search::{SearchAnswer, SearchHit, SearchState};
use crate::client::state::search_input::SearchInput;
use crate::client::state::{MessageChange, Session};
use crate::protocol::event::{self, SearchEnd};
use crate::protocol::id::{Cid, MessageId};
use crate::protocol::message::{Audience, Message, Millis};
use crate::protocol::query::SearchQuery;
use crate::protocol::text::SafeText;
use crate::tui::bubble::display_name;
use crate::tui::editor::Editor;
use crate::tui::theme::Theme;
use crate::tui::wrap::{drawable, shorten};

/// Entries that one step searches: well under 2 ms for any expression.
const ENTRIES_PER_STEP: i64 = 4_000;

/// How long the user has to pause typing before the request is sent to the server.
const TYPING_PAUSE: TimeDelta = TimeDelta::milliseconds(150);

/// Cells shown before a match that is far into a message.
const CONTEXT_WIDTH: usize = 24;

/// The hits of a search that was closed by jumping to one of them.
#[derive(Debug, Clone)]
pub struct SearchHitList {
    hits: Vec<SearchHit>,
    current_index: usize,
}

impl SearchHitList {
    /// The hit that was jumped to last.
    pub fn current(&self) -> Option<&SearchHit> {
        self.hits.get(self.current_index)
    }

    /// Moves to the next older or newer hit. Returns `None`, without moving, if there is none.
    pub fn advance(&mut self, older: bool) -> Option<&SearchHit> {
        let next = if older {
            self.current_index.checked_add(1)
        } else {
            self.current_index.checked_sub(1)
        };
        self.current_index = next.filter(|next| *next < self.hits.len())?;
        self.current()
    }

    /// Removes a message that can no longer be read.
    pub fn remove(&mut self, id: MessageId) {
        if let Some(removed) = self.hits.iter().position(|hit| hit.id == id) {
            self.hits.remove(removed);
            self.current_index -=
                usize::from(removed < self.current_index || self.current_index == self.hits.len())
                    .min(self.current_index);
        }
    }

    /// The position for the status line, such as `hit 2 of 3`.
    pub fn position_text(&self) -> String {
        format!("hit {} of {}", self.current_index + 1, self.hits.len())
    }
}

/// The state of the open search overlay.
#[derive(Debug, Clone)]
pub struct SearchOverlay {
    input: Editor,
    match_case: bool,
    search: SearchState,
    selected: usize,
    top: usize,
    /// When to send the request to the server; `None` if it is sent or not needed.
    request_due: Option<DateTime<FixedOffset>>,
    /// When the last request was due.
    requested_at: Option<DateTime<FixedOffset>>,
    /// The ID of the last request.
    cid: Option<Cid>,
}

impl SearchOverlay {
    /// Opens the search with `typed` in its input, and starts it.
    pub fn new(typed: &str, chat: &Session, now: DateTime<FixedOffset>) -> Self {
        let input = Editor::with_text(&typed.replace('\n', " "));
        let mut search = Self {
            search: SearchState::new(Ok(SearchInput::default())),
            input,
            match_case: false,
            selected: 0,
            top: 0,
            request_due: None,
            requested_at: None,
            cid: None,
        };
        search.restart(chat, now);
        search
    }

    /// The input, to edit it.
    pub fn input_mut(&mut self) -> &mut Editor {
        &mut self.input
    }

    /// The input.
    pub fn input(&self) -> &Editor {
        &self.input
    }

    /// The typed text.
    pub fn text(&self) -> String {
        self.input.lines().concat()
    }

    /// Restarts the search after the input changed.
    pub fn restart(&mut self, chat: &Session, now: DateTime<FixedOffset>) {
        let query = SearchInput::parse(&self.text(), self.match_case, now, chat);
        self.search = SearchState::new(query);
        (self.selected, self.top) = (0, 0);
        self.cid = None;
        self.request_due = (!self.search.is_local(chat)).then(|| now + TYPING_PAUSE);
        self.step(chat);
    }

    /// Toggles case-sensitive matching.
    pub fn toggle_case(&mut self, chat: &Session, now: DateTime<FixedOffset>) {
        self.match_case = !self.match_case;
        self.restart(chat, now);
    }

    /// Searches the next entries of the loaded timeline.
    pub fn step(&mut self, chat: &Session) {
        self.keep_selection(|search| search.search_slice(chat, ENTRIES_PER_STEP));
    }

    /// When to send the request to the server.
    pub fn request_due(&self) -> Option<DateTime<FixedOffset>> {
        self.request_due
    }

    /// Schedules the request again, after the connection was lost.
    pub fn mark_lost(&mut self) {
        self.request_due = self.requested_at;
        self.cid = None;
    }

    /// Takes the query to send now. `None` if there is nothing to search for.
    pub fn take_query(&mut self) -> Option<SearchQuery> {
        self.requested_at = self.request_due.take();
        self.search.regex()?;
        match self.search.input().query.clone().validated() {
            Ok(find) => {
                self.search.mark_asked();
                Some(find)
            }
            Err(refusal) => {
                self.search.set_error(SafeText::clean(&refusal.to_string()));
                None
            }
        }
    }

    /// Records the ID of the request that the query was sent with.
    pub fn set_request(&mut self, cid: Cid) {
        self.cid = Some(cid);
    }

    /// Whether `cid` is the ID of the last request.
    pub fn is_current_request(&self, cid: Option<&Cid>) -> bool {
        cid.is_some() && self.cid.as_ref() == cid
    }

    /// Merges results of the server into the hits.
    pub fn on_results(&mut self, results: event::SearchResults, chat: &Session) {
        self.keep_selection(|search| search.add_results(results, chat));
    }

    /// Shows why the server rejected the search.
    pub fn on_error(&mut self, text: SafeText) {
        self.search.set_error(text);
    }

    /// Handles the change of a message, which may be a hit.
    pub fn on_message_changed(&mut self, id: MessageId, change: MessageChange, chat: &Session) {
        self.keep_selection(|search| search.on_message_changed(id, change, chat));
    }

    /// Removes hits that have expired at `now`, by the server's clock.
    pub fn expire(&mut self, now: Millis) {
        if self.search.next_expiry().is_some_and(|next| next <= now) {
            self.keep_selection(|search| search.expire(now));
        }
    }

    /// When the next hit expires that is not in the loaded timeline, by the server's clock.
    pub fn next_expiry(&self) -> Option<Millis> {
        self.search.next_expiry()
    }

    /// Applies a change to the hits. The selected hit stays selected, except that the top row stays the top
    /// row.
    fn keep_selection(&mut self, change: impl FnOnce(&mut SearchState)) {
        let before = self.search.hits().get(self.selected).cloned().filter(|_| self.selected > 0);
        change(&mut self.search);
        let hits = self.search.hits();
        let now = before.and_then(|before| hits.iter().position(|hit| *hit == before));
        self.selected = now.unwrap_or(self.selected).min(hits.len().saturating_sub(1));
    }

    /// Whether the loaded timeline is searched completely.
    pub fn is_done(&self, chat: &Session) -> bool {
        self.search.is_done(chat)
    }

    /// Moves the selection by this many rows.
    pub fn move_selection(&mut self, rows: isize) {
        let last = self.search.hits().len().saturating_sub(1);
        self.selected = self.selected.saturating_add_signed(rows).min(last);
    }

    /// Selects the hit at `index`.
    pub fn select(&mut self, index: usize) {
        self.selected = index.min(self.search.hits().len().saturating_sub(1));
    }

    /// The hits, positioned at the selected one. `None` if there are none.
    pub fn hit_list(&self) -> Option<SearchHitList> {
        let hits = self.search.hits().to_vec();
        (self.selected < hits.len()).then_some(SearchHitList { hits, current_index: self.selected })
    }

    /// Lays out the visible hits, scrolled so that the selected one is visible. `area` is that of the overlay.
    pub fn hit_rows(&mut self, area: Rect) -> Vec<(usize, Rect)> {
        let list = list_area(area);
        let height = usize::from(list.height);
        let lowest = (self.selected + 1).saturating_sub(height);
        self.top = self.top.clamp(lowest, self.selected.max(lowest));
        let count = self.search.hits().len().saturating_sub(self.top).min(height);
        let row = |index: u16| Rect { y: list.y + index, height: 1, ..list };
        (self.top..self.top + count).zip(0..).map(|(hit, index)| (hit, row(index))).collect()
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
        let case = if self.match_case { " match case " } else { "" };
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
            if let Some(message) = hit.and_then(|hit| self.search.message(hit, chat)) {
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

    /// The line below the input: the error at its column, or a hint in an empty input.
    fn error_or_hint(&self, theme: Theme) -> Line<'static> {
        if let Some(mistake) = self.search.error() {
            let before: String = self.text().chars().take(mistake.column).collect();
            let pad = " ".repeat(before.width());
            return Line::styled(format!("{pad}^ {}", mistake.text.one_line()), theme.error());
        }
        let text = if self.text().is_empty() {
            "regex, such as deploy(ed|ing)?  (F1 lists the filters)"
        } else {
            ""
        };
        Line::styled(text, theme.dim())
    }

    fn count_text(&self, chat: &Session) -> String {
        if self.search.regex().is_none() {
            return String::new();
        }
        let (searched, more) = self.progress(chat);
        let position = match self.search.hits().len() {
            0 => "nothing found".to_owned(),
            hits => format!("{} of {hits}", self.selected + 1),
        };
        format!(" {position} in {searched} messages{more} ")
    }

    /// How many messages have been searched, and a suffix that says why not all were.
    fn progress(&self, chat: &Session) -> (u64, &'static str) {
        let local = self.search.searched() as u64;
        match self.search.answer() {
            Some(SearchAnswer { searched, end }) if self.cid.is_some() => {
                let more = match end {
                    SearchEnd::Searching => "…",
                    SearchEnd::Complete => "",
                    SearchEnd::TooMany => " (newest hits only)",
                    SearchEnd::TooLong => " (stopped: time limit reached)",
                    SearchEnd::Replaced => " (stopped: replaced by another search)",
                };
                (searched.max(local), more)
            }
            Some(_) | None if !self.search.is_local(chat) && !chat.is_online() => {
                (local, " (not connected: loaded messages only)")
            }
            Some(_) | None if self.request_due.is_some() || !self.is_done(chat) => (local, "…"),
            Some(_) | None => (local, ""),
        }
    }

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
        let mut spans = vec![Span::styled(at.format(form).to_string(), theme.dim())];
        let who = if chat.is_own_id(&message.sender) {
            Span::styled("you", theme.own())
        } else {
            let name = display_name(&message.sender, message.guest);
            Span::styled(name, theme.name(&message.sender))
        };
        spans.push(who);
        match &message.audience {
            Audience::Everyone => {}
            Audience::Room(room) => spans.push(Span::styled(format!(" {room}"), theme.dim())),
            Audience::Only(_) => spans.push(Span::styled(" (private)", theme.private())),
        }
        spans.push(Span::raw("  "));
        let used: usize = spans.iter().map(|span| span.content.width()).sum();
        let text = drawable(&message.content.one_line());
        spans.extend(self.highlighted(&text, usize::from(width).saturating_sub(used), theme));
        Line::from(spans)
    }

    /// The part of a text around its first match, with all matches highlighted.
    fn highlighted(&self, text: &str, width: usize, theme: Theme) -> Vec<Span<'static>> {
        let Some(regex) = self.search.regex() else { return Vec::new() };
        let first = regex.find(text).map_or(0, |hit| hit.start());
        let start = excerpt_start(text, first, width);
        let mut spans = Vec::new();
        if start > 0 {
            spans.push(Span::styled("…", theme.dim()));
        }
        let shown =
            shorten(text.get(start..).unwrap_or_default(), width.saturating_sub(spans.len()));
        let mut plain_from = 0;
        for hit in regex.find_iter(&shown).filter(|hit| !hit.is_empty()) {
            let before = shown.get(plain_from..hit.start()).unwrap_or_default();
            spans.push(Span::raw(before.to_owned()));
            spans.push(Span::styled(hit.as_str().to_owned(), theme.search_match()));
            plain_from = hit.end();
        }
        spans.push(Span::raw(shown.get(plain_from..).unwrap_or_default().to_owned()));
        spans
    }
}

/// Where an excerpt of `text` has to start so that a match at byte `first` is visible in `width` cells.
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
