//! History and search queries against the log. Searches run on threads of their own and send results as
//! they go.
//!
//! The reader restricts everything to the viewer's audience: no page, result or count includes a message
//! that the viewer may not see.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::ControlFlow;

use regex::RegexBuilder;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::hub::SessionId;
use super::limits::{
    HISTORY_PAGE_BYTES, REGEX_CACHE_BYTES, REGEX_SIZE_BYTES, SEARCH_HITS, SEARCH_SLICE_ROWS,
    SEARCH_TIMEOUT,
};
use crate::protocol::error::Refusal;
use crate::protocol::event::{ErrorReply, Event, HistoryPage, SearchEnd, SearchResults};
use crate::protocol::id::{Cid, UserId};
use crate::protocol::limits::PAGE_MESSAGES;
use crate::protocol::message::{Message, Millis};
use crate::protocol::query::{HistoryQuery, SearchQuery};
use crate::store::{Reader, ScanRow, StoreError, View};

/// Reads a page of history, and returns it as the reply to its request.
pub(super) fn history_page(
    reader: &mut dyn Reader,
    view: View<'_>,
    cid: Option<Cid>,
    query: HistoryQuery,
) -> Result<Event, StoreError> {
    let (mut page, target) = match query {
        HistoryQuery::Before(before) => {
            let page = reader.history(view, before, PAGE_MESSAGES)?;
            let page = HistoryPage {
                messages: page.messages,
                has_earlier: page.has_earlier,
                has_later: before.is_some(),
                cid,
            };
            (page, None)
        }
        HistoryQuery::Around(id) => match reader.around(view, id, PAGE_MESSAGES / 2)? {
            None => return Ok(error_reply(&Refusal::UnknownMessage(id), cid)),
            Some(around) => {
                let page = HistoryPage {
                    messages: around.messages,
                    has_earlier: around.has_earlier,
                    has_later: around.has_later,
                    cid,
                };
                (page, Some(id))
            }
        },
    };
    page.trim(target, HISTORY_PAGE_BYTES);
    Ok(Event::History(page))
}

/// One search.
#[derive(Debug)]
pub(super) struct SearchJob {
    pub(super) viewer: UserId,
    pub(super) now: Millis,
    pub(super) cid: Option<Cid>,
    pub(super) query: SearchQuery,
    pub(super) cancelled: CancellationToken,
    /// When it ends with what it has found so far. The time spent waiting for a thread counts.
    pub(super) deadline: Instant,
}

/// The running search of each user. A user has one at a time, across all sessions.
#[derive(Debug, Default)]
pub(super) struct ActiveSearches {
    by_user: HashMap<UserId, (SessionId, CancellationToken)>,
    by_session: HashMap<SessionId, UserId>,
}

impl ActiveSearches {
    /// Registers a new search, and cancels the user's previous one.
    pub(super) fn start(&mut self, session: SessionId, user: &UserId) -> CancellationToken {
        let cancelled = CancellationToken::new();
        self.by_session.insert(session, user.clone());
        let previous = self.by_user.insert(user.clone(), (session, cancelled.clone()));
        if let Some((_, previous)) = previous {
            previous.cancel();
        }
        cancelled
    }

    /// Cancels the search that this session started.
    pub(super) fn end_session(&mut self, session: SessionId) {
        let Some(user) = self.by_session.remove(&session) else { return };
        if let Entry::Occupied(last) = self.by_user.entry(user)
            && last.get().0 == session
        {
            last.remove().1.cancel();
        }
    }
}

/// The deadline of a search that is requested now.
pub(super) fn search_deadline() -> Instant {
    now() + SEARCH_TIMEOUT
}

impl SearchJob {
    /// Searches from the newest message to the oldest, and passes results to `send`, until it is
    /// cancelled or reaches its deadline.
    pub(super) fn run(
        &self,
        reader: &mut dyn Reader,
        mut send: impl FnMut(Event),
    ) -> Result<(), StoreError> {
        if self.cancelled.is_cancelled() {
            send(self.results(Vec::new(), 0, SearchEnd::Replaced));
            return Ok(());
        }
        if now() > self.deadline {
            // All threads were busy until now.
            send(self.results(Vec::new(), 0, SearchEnd::TooLong));
            return Ok(());
        }
        let regex = RegexBuilder::new(&self.query.pattern)
            .case_insensitive(!self.query.match_case)
            .size_limit(REGEX_SIZE_BYTES)
            .dfa_size_limit(REGEX_CACHE_BYTES)
            .nest_limit(100)
            .build();
        let regex = match regex {
            Ok(regex) => regex,
            Err(error) => {
                send(error_reply(&Refusal::BadPattern(error.to_string()), self.cid.clone()));
                return Ok(());
            }
        };
        let view = View { viewer: &self.viewer, now: self.now };
        let (mut before, mut searched, mut n_hits) = (None, 0, 0);
        loop {
            let mut hits = Vec::new();
            let mut is_late = false;
            let scanned = reader.scan(view, before, SEARCH_SLICE_ROWS, &mut |row| {
                is_late = self.cancelled.is_cancelled() || now() > self.deadline;
                if is_late || n_hits == SEARCH_HITS {
                    return ControlFlow::Break(());
                }
                if self.matches_filters(row) && regex.is_match(row.content) {
                    n_hits += 1;
                    hits.push(row.seq);
                }
                ControlFlow::Continue(())
            })?;
            if self.cancelled.is_cancelled() {
                send(self.results(Vec::new(), searched, SearchEnd::Replaced));
                return Ok(());
            }
            // The closure is not called for rows that the viewer may not see.
            is_late |= scanned.next.is_some() && now() > self.deadline;
            let mut messages = reader.messages(view, &hits)?;
            messages.sort_by_key(|message| std::cmp::Reverse(message.seq));
            searched += scanned.visited;
            before = scanned.next;
            let end = match scanned.next {
                _ if n_hits == SEARCH_HITS => SearchEnd::TooMany,
                _ if is_late => SearchEnd::TooLong,
                None => SearchEnd::Complete,
                Some(_) => SearchEnd::Searching,
            };
            send(self.results(messages, searched, end));
            if end != SearchEnd::Searching {
                return Ok(());
            }
        }
    }

    fn results(&self, messages: Vec<Message>, searched: u64, end: SearchEnd) -> Event {
        Event::SearchResults(SearchResults { messages, searched, end, cid: self.cid.clone() })
    }

    fn matches_filters(&self, row: &ScanRow<'_>) -> bool {
        let starts_with = |name: &String| {
            let start = row.sender.get(..name.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(name))
        };
        let query = &self.query;
        query.from.as_ref().is_none_or(starts_with)
            && query.to.as_ref().is_none_or(|to| row.is_recipient(to))
            && query.after.is_none_or(|after| row.at >= after)
            && query.before.is_none_or(|before| row.at < before)
    }
}

/// The reply to a request that fails.
pub(super) fn error_reply(refusal: &Refusal, cid: Option<Cid>) -> Event {
    Event::Error(ErrorReply::new(refusal, cid))
}

#[expect(clippy::disallowed_methods, reason = "a search is bounded by the time it takes")]
fn now() -> Instant {
    Instant::now()
}
