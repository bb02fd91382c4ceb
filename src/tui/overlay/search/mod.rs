//! The search overlay: its input, its requests, and which hit is selected.
//!
//! The search itself runs in `client::state::search` and on the server.

mod context;
mod draw;
mod hit_list;

use chrono::{DateTime, FixedOffset, TimeDelta};

use self::context::LookedUp;
pub use self::hit_list::SearchHitList;
use crate::client::state::search::SearchState;
use crate::client::state::search_input::SearchInput;
use crate::client::state::{MessageChange, Session};
use crate::protocol::event::{self, HistoryPage};
use crate::protocol::id::{Cid, MessageId};
use crate::protocol::message::{Audience, Millis};
use crate::protocol::query::SearchQuery;
use crate::protocol::request::Request;
use crate::protocol::text::SafeText;
use crate::tui::completion::{Completion, propose_filter};
use crate::tui::editor::Editor;
use crate::tui::list::Selection;

/// Entries that one step searches: well under 2 ms for any expression.
const ENTRIES_PER_STEP: i64 = 4_000;

/// How long the user has to pause before a request is sent to the server.
const TYPING_PAUSE: TimeDelta = TimeDelta::milliseconds(150);

/// The state of the open search overlay.
#[derive(Debug, Clone)]
pub struct SearchOverlay {
    input: Editor,
    /// The proposals that Tab inserted one of.
    completion: Option<Completion>,
    /// The conversation that was open.
    opened: Audience,
    /// Whether all conversations are searched, or only that one. A filter `in:` overrides both.
    is_wide: bool,
    match_case: bool,
    search: SearchState,
    /// The selected hit.
    pub list: Selection,
    /// When to send the request to the server; `None` if it is sent or not needed.
    request_due: Option<DateTime<FixedOffset>>,
    /// When the last request was due.
    requested_at: Option<DateTime<FixedOffset>>,
    /// The ID of the last request.
    cid: Option<Cid>,
    looked_up: LookedUp,
}

impl SearchOverlay {
    /// Opens the search with `typed` in its input, and starts it: in the open conversation, or in all.
    pub fn new(typed: &str, is_wide: bool, chat: &Session, now: DateTime<FixedOffset>) -> Self {
        let input = Editor::with_text(&typed.replace('\n', " "));
        let mut search = Self {
            search: SearchState::new(Ok(SearchInput::default())),
            input,
            completion: None,
            opened: chat.open_audience().clone(),
            is_wide,
            match_case: false,
            list: Selection::default(),
            request_due: None,
            requested_at: None,
            cid: None,
            looked_up: LookedUp::default(),
        };
        search.restart(chat, now);
        search
    }

    /// Edits the input with `edit`, which returns whether the text changed.
    pub fn edit(
        &mut self,
        chat: &Session,
        now: DateTime<FixedOffset>,
        edit: impl FnOnce(&mut Editor) -> bool,
    ) {
        self.completion = None;
        if edit(&mut self.input) {
            self.restart(chat, now);
        }
    }

    /// Completes the filter or its value before the cursor, or inserts the next proposal.
    pub fn complete(&mut self, chat: &Session, now: DateTime<FixedOffset>) {
        let propose = |before: &str| propose_filter(before, chat);
        if Completion::advance(&mut self.completion, &mut self.input, propose) {
            self.restart(chat, now);
        }
    }

    /// Searches all conversations, or only the one that was open.
    pub fn toggle_scope(&mut self, chat: &Session, now: DateTime<FixedOffset>) {
        self.is_wide = !self.is_wide;
        self.restart(chat, now);
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
    fn restart(&mut self, chat: &Session, now: DateTime<FixedOffset>) {
        let mut input = SearchInput::parse(&self.text(), self.match_case, now, chat);
        if let Ok(input) = &mut input
            && !self.is_wide
        {
            input.query.conversation.get_or_insert_with(|| self.opened.clone());
        }
        self.search = SearchState::new(input);
        self.list = Selection::default();
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

    /// When [`Self::take_query`] or [`Self::take_context_request`] is due.
    pub fn next_request(&self) -> Option<DateTime<FixedOffset>> {
        self.request_due.into_iter().chain(self.looked_up.due()).min()
    }

    /// Schedules the request again, after the connection was lost.
    pub fn mark_lost(&mut self) {
        self.request_due = self.requested_at;
        self.cid = None;
    }

    /// Takes the query to send now: a new one, or the next page if the last hit is selected.
    pub fn take_query(&mut self, now: DateTime<FixedOffset>) -> Option<SearchQuery> {
        if !self.is_due(now) {
            let is_at_end = self.list.index() + 1 == self.search.hits().len();
            return is_at_end.then(|| self.search.take_next_page()).flatten();
        }
        self.requested_at = self.request_due.take();
        self.search.regex()?;
        match self.search.input().query.clone().validated() {
            Ok(query) => {
                self.search.mark_asked();
                Some(query)
            }
            Err(refusal) => {
                self.search.set_error(SafeText::clean(&refusal.to_string()));
                None
            }
        }
    }

    /// Whether the input was changed, and the request for it is due.
    pub fn is_due(&self, now: DateTime<FixedOffset>) -> bool {
        self.request_due.is_some_and(|due| due <= now)
    }

    /// Takes the request for the context of the selected hit, if it is due.
    pub fn take_context_request(
        &mut self,
        chat: &mut Session,
        now: DateTime<FixedOffset>,
    ) -> Option<(Cid, Request)> {
        self.looked_up.take_request(self.search.hits().get(self.list.index()), chat, now)
    }

    /// Handles messages around a hit. Returns whether they were requested for this search.
    pub fn on_context(&mut self, page: &HistoryPage) -> bool {
        self.looked_up.on_page(page)
    }

    /// Drops everything of a conversation that the user has left.
    pub fn forget_conversation(&mut self, conversation: &Audience) {
        self.keep_selection(|search| search.forget_conversation(conversation));
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
        if !matches!(change, MessageChange::Reacted | MessageChange::Pinned) {
            self.looked_up.forget(id);
        }
        self.keep_selection(|search| search.on_message_changed(id, change, chat));
    }

    /// Removes hits that have expired at `now`, by the server's clock.
    pub fn expire(&mut self, now: Millis) {
        if self.next_expiry().is_some_and(|next| next <= now) {
            self.looked_up.expire(now);
            self.keep_selection(|search| search.expire(now));
        }
    }

    /// When the next message expires that is not in a loaded timeline, by the server's clock.
    pub fn next_expiry(&self) -> Option<Millis> {
        self.search.next_expiry().into_iter().chain(self.looked_up.next_expiry()).min()
    }

    /// Applies a change to the hits. The selected hit stays selected, except that the top row stays the top
    /// row.
    fn keep_selection(&mut self, change: impl FnOnce(&mut SearchState)) {
        let selected = self.list.index();
        let before = self.search.hits().get(selected).cloned().filter(|_| selected > 0);
        change(&mut self.search);
        let hits = self.search.hits();
        let now = before.and_then(|before| hits.iter().position(|hit| *hit == before));
        self.list.set_count(hits.len());
        self.list.select(now.unwrap_or(selected));
    }

    /// Whether the loaded timeline is searched completely.
    pub fn is_done(&self, chat: &Session) -> bool {
        self.search.is_done(chat)
    }

    /// The hits, positioned at the selected one. `None` if there are none.
    pub fn hit_list(&self) -> Option<SearchHitList> {
        let (hits, current_index) = (self.search.hits().to_vec(), self.list.index());
        let (has_more, regex) = (self.search.has_more(), self.search.regex().cloned());
        let hits = SearchHitList { hits, current_index, has_more, regex };
        hits.current().is_some().then_some(hits)
    }
}
