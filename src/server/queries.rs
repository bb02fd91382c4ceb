//! History and search queries against the log. Searches run on threads of their own and send results as
//! they go.
//!
//! The reader restricts everything to the viewer's audience: no page, result or count includes a message
//! that the viewer may not see.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::{ControlFlow, Range};

use regex::RegexBuilder;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::hub::SessionId;
use super::limits::{
    HISTORY_PAGE_BYTES, REGEX_CACHE_BYTES, REGEX_SIZE_BYTES, SEARCH_HITS, SEARCH_SLICE_BYTES,
    SEARCH_SLICE_ROWS, SEARCH_SLICE_TIME, SEARCH_TIMEOUT,
};
use crate::protocol::error::Refusal;
use crate::protocol::event::{ErrorReply, Event, HistoryPage, SearchEnd, SearchResults};
use crate::protocol::id::{Cid, Seq, UserId};
use crate::protocol::limits::PAGE_MESSAGES;
use crate::protocol::message::{Message, Millis};
use crate::protocol::query::{HistoryQuery, HistoryRange, SearchQuery};
use crate::store::{Reader, ScanRow, StoreError, View};

/// Reads a page of history, and returns it as the reply to its request.
pub(super) fn history_page(
    reader: &mut dyn Reader,
    view: View<'_>,
    cid: Option<Cid>,
    query: &HistoryQuery,
) -> Result<Event, StoreError> {
    let before = match query.range {
        HistoryRange::Before(before) => Some(before),
        _ => None,
    };
    let (mut page, target) = match query.range {
        HistoryRange::Latest | HistoryRange::Before(_) => {
            let page = reader.history(view, before, PAGE_MESSAGES)?;
            let page = HistoryPage {
                messages: page.messages,
                has_earlier: page.has_earlier,
                has_later: before.is_some(),
                cid,
            };
            (page, None)
        }
        HistoryRange::After(_)
        | HistoryRange::Near(_)
        | HistoryRange::Thread(_)
        | HistoryRange::Pinned => {
            return Ok(error_reply(&Refusal::BadRequest("not supported".to_owned()), cid));
        }
        HistoryRange::Around(id) => match reader.around(view, id, PAGE_MESSAGES / 2)? {
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

/// The part of the log that a search reads at a time.
#[derive(Default)]
struct Slice {
    /// The texts of all candidates.
    texts: String,
    /// The messages that pass the filters, newest first.
    candidates: Vec<Candidate>,
    /// The number of messages read.
    examined: u64,
    /// Where the next slice begins; `None` if there is none.
    next: Option<Seq>,
}

struct Candidate {
    seq: Seq,
    /// Its part of [`Slice::texts`].
    text: Range<usize>,
    /// The number of messages read before it.
    examined_before: u64,
}

impl Slice {
    fn push(&mut self, row: &ScanRow<'_>) {
        let start = self.texts.len();
        self.texts.push_str(row.content);
        let text = start..self.texts.len();
        self.candidates.push(Candidate { seq: row.seq, text, examined_before: self.examined });
    }
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
            let slice = self.read_slice(reader, view, before)?;
            let mut examined = slice.examined;
            let mut end =
                if slice.next.is_some() { SearchEnd::Searching } else { SearchEnd::Complete };
            let mut hits = Vec::new();
            for candidate in &slice.candidates {
                if self.cancelled.is_cancelled() {
                    send(self.results(Vec::new(), searched, SearchEnd::Replaced));
                    return Ok(());
                }
                let is_late = now() > self.deadline;
                if is_late || n_hits == SEARCH_HITS {
                    end = if is_late { SearchEnd::TooLong } else { SearchEnd::TooMany };
                    examined = candidate.examined_before;
                    break;
                }
                if slice.texts.get(candidate.text.clone()).is_some_and(|text| regex.is_match(text))
                {
                    n_hits += 1;
                    hits.push(candidate.seq);
                }
            }
            // A slice may have no candidates.
            if end == SearchEnd::Searching && now() > self.deadline {
                end = SearchEnd::TooLong;
            }
            let mut messages = reader.messages(view, &hits)?;
            messages.sort_by_key(|message| std::cmp::Reverse(message.seq));
            searched += examined;
            before = slice.next;
            send(self.results(messages, searched, end));
            if end != SearchEnd::Searching {
                return Ok(());
            }
        }
    }

    /// Reads the next messages before `before` that pass the filters. This is all that happens in a
    /// transaction: the expression is matched after it, because it may take longer than removed text may
    /// wait to be scrubbed.
    fn read_slice(
        &self,
        reader: &mut dyn Reader,
        view: View<'_>,
        before: Option<Seq>,
    ) -> Result<Slice, StoreError> {
        let mut slice = Slice::default();
        let (end, mut is_past_bound) = (now() + SEARCH_SLICE_TIME, false);
        let scanned = reader.scan(view, before, SEARCH_SLICE_ROWS, &mut |row| {
            // Earlier messages are older, apart from those of a time when the server's clock was ahead.
            is_past_bound = self.query.after.is_some_and(|after| row.at < after);
            if is_past_bound {
                return ControlFlow::Break(());
            }
            if self.matches_filters(row) {
                slice.push(row);
            }
            slice.examined += 1;
            if slice.texts.len() >= SEARCH_SLICE_BYTES || now() >= end {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        slice.next = scanned.next.filter(|_| !is_past_bound);
        Ok(slice)
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
