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

use super::found::Found;
use crate::client::state::Room;
use crate::client::state::query::Query;
use crate::client::state::search::{Answer, Search};
use crate::client::state::timeline::Timeline;
use crate::protocol::event::{self, SearchEnd};
use crate::protocol::id::{ClientId, MessageId};
use crate::protocol::message::{Audience, Message, Millis};
use crate::protocol::query::Find;
use crate::protocol::text::SafeText;
use crate::tui::bubble::marked;
use crate::tui::compose::text_area;
use crate::tui::theme::Theme;
use crate::tui::wrap::{drawable, shorten};

/// How many entries one step looks at: well under two milliseconds for any expression.
const STEP: i64 = 4_000;

/// How long nothing is typed before the server is asked: shorter than anybody waits on purpose.
const PAUSE: TimeDelta = TimeDelta::milliseconds(150);

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
    /// When the server is to be asked, if it is.
    due: Option<DateTime<FixedOffset>>,
    /// What it was asked by.
    cid: Option<ClientId>,
}

impl SearchBox {
    /// A search for `typed`, under way.
    pub fn new(typed: &str, room: &Room, now: DateTime<FixedOffset>) -> Self {
        let mut input = text_area();
        input.insert_str(typed.replace('\n', " "));
        let mut search = Self {
            search: Search::new(Ok(Query::default()), room.timeline()),
            input,
            match_case: false,
            chosen: 0,
            top: 0,
            due: None,
            cid: None,
        };
        search.restart(room, now);
        search
    }

    /// The box to type into.
    pub fn input(&mut self) -> &mut TextArea<'static> {
        &mut self.input
    }

    /// The box as it is drawn.
    pub fn text(&self) -> &TextArea<'static> {
        &self.input
    }

    /// What is typed.
    pub fn typed(&self) -> String {
        self.input.lines().concat()
    }

    /// Begins anew, after something else was typed.
    pub fn restart(&mut self, room: &Room, now: DateTime<FixedOffset>) {
        let query = Query::parse(&self.typed(), self.match_case, now, room);
        self.search = Search::new(query, room.timeline());
        (self.chosen, self.top) = (0, 0);
        self.cid = None;
        self.due = (!room.is_whole()).then(|| now + PAUSE);
        self.step(room.timeline());
    }

    /// Tells capitals from small letters, or no longer.
    pub fn toggle_case(&mut self, room: &Room, now: DateTime<FixedOffset>) {
        self.match_case = !self.match_case;
        self.restart(room, now);
    }

    /// Searches a little further here.
    pub fn step(&mut self, timeline: &Timeline) {
        self.keeping_the_choice(|search| search.step(timeline, STEP));
    }

    /// When the server is to be asked.
    pub fn due(&self) -> Option<DateTime<FixedOffset>> {
        self.due
    }

    /// Asks again: the connection on which the server was asked is lost.
    pub fn ask_again(&mut self, now: DateTime<FixedOffset>) {
        self.due = Some(now);
        self.cid = None;
    }

    /// What the server is to be asked now, if there is something to search for. Once.
    pub fn ask(&mut self, cid: ClientId) -> Option<Find> {
        self.due = None;
        self.search.regex()?;
        match self.search.query().find.clone().checked() {
            Ok(find) => {
                self.search.asked();
                self.cid = Some(cid);
                Some(find)
            }
            Err(refusal) => {
                self.search.refused(SafeText::clean(&refusal.to_string()));
                None
            }
        }
    }

    /// Whether this is the answer to what was asked last.
    pub fn asked(&self, cid: Option<&ClientId>) -> bool {
        cid.is_some() && self.cid.as_ref() == cid
    }

    /// Takes in what the server found.
    pub fn found_there(&mut self, found: event::Found, timeline: &Timeline) {
        self.keeping_the_choice(|search| search.found(found, timeline));
    }

    /// The server will not search for this.
    pub fn refused(&mut self, text: SafeText) {
        self.search.refused(text);
    }

    /// Takes out a message that can no longer be read.
    pub fn forget(&mut self, id: MessageId) {
        self.keeping_the_choice(|search| search.forget(id));
    }

    /// Takes out what has expired at `now`, by the server's clock.
    pub fn expire(&mut self, now: Millis) {
        if self.search.next_expiry().is_some_and(|next| next <= now) {
            self.keeping_the_choice(|search| search.expire(now));
        }
    }

    /// When the next hit expires that is not in the conversation, by the server's clock.
    pub fn next_expiry(&self) -> Option<Millis> {
        self.search.next_expiry()
    }

    /// What is chosen stays chosen when hits come in above it; but the newest stays the newest.
    fn keeping_the_choice(&mut self, change: impl FnOnce(&mut Search)) {
        let before = self.search.hits().get(self.chosen).copied().filter(|_| self.chosen > 0);
        change(&mut self.search);
        let hits = self.search.hits();
        let now = before.and_then(|before| hits.iter().position(|hit| *hit == before));
        self.chosen = now.unwrap_or(self.chosen).min(hits.len().saturating_sub(1));
    }

    /// Whether there is nothing left to search here.
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
        let hits: Vec<MessageId> = self.search.hits().iter().map(|hit| hit.id).collect();
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
            let hit = self.search.hits().get(*index);
            if let Some(message) = hit.and_then(|hit| self.search.message(hit.id, room.timeline()))
            {
                let line = self.hit_line(message, room, now, theme, row.width);
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
            let before: String = self.typed().chars().take(mistake.column).collect();
            let pad = " ".repeat(before.width());
            return Line::styled(format!("{pad}^ {}", mistake.text.one_line()), theme.error());
        }
        let words = if self.typed().is_empty() {
            "a regular expression, such as  deploy(ed|ing)?  (F1: how to narrow it)"
        } else {
            ""
        };
        Line::styled(words, theme.quiet())
    }

    fn count(&self, room: &Room) -> String {
        if self.search.regex().is_none() {
            return String::new();
        }
        let (searched, more) = self.progress(room);
        let place = match self.search.hits().len() {
            0 => "nothing found".to_owned(),
            hits => format!("{} of {hits}", self.chosen + 1),
        };
        format!(" {place} in {searched} messages{more} ")
    }

    /// How many messages have been searched, and whether that was all.
    fn progress(&self, room: &Room) -> (u64, &'static str) {
        let here = self.search.searched() as u64;
        match self.search.answer() {
            Some(Answer { searched, end }) if self.cid.is_some() => {
                let more = match end {
                    SearchEnd::Searching => "…",
                    SearchEnd::Complete => "",
                    SearchEnd::TooMany => ": only the newest hits",
                    SearchEnd::TooLong => ": the older ones took too long",
                    SearchEnd::Replaced => ": you search elsewhere now",
                };
                (searched.max(here), more)
            }
            Some(_) | None if !room.is_whole() && !room.is_online() => {
                (here, " here: not connected")
            }
            Some(_) | None if self.due.is_some() || !self.is_done(room.timeline()) => (here, "…"),
            Some(_) | None => (here, ""),
        }
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
            let name = marked(&message.sender, message.guest);
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
