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

use super::hub::{ReadRequest, SessionId};
use super::limits::{
    HISTORY_PAGE_BYTES, REGEX_CACHE_BYTES, REGEX_SIZE_BYTES, SEARCH_HITS, SEARCH_SLICE_BYTES,
    SEARCH_SLICE_ROWS, SEARCH_SLICE_TIME, SEARCH_TIMEOUT,
};
use crate::protocol::error::Refusal;
use crate::protocol::event::{ErrorReply, Event, HistoryPage, SearchEnd, SearchResults};
use crate::protocol::id::{Cid, Seq, UserId};
use crate::protocol::limits::{PAGE_MESSAGES, PAGE_ROOMS, PAGE_USERS};
use crate::protocol::message::{Message, Millis};
use crate::protocol::query::{HistoryQuery, HistoryRange, SearchQuery};
use crate::protocol::room::{ConversationList, RoomList, UserList};
use crate::store::{MessagePage, Page, Reader, ScanRow, StoreError, View};

/// Reads what a request other than a search asks for, and returns its answer.
pub(super) fn read_answer(
    reader: &mut dyn Reader,
    view: View<'_>,
    cid: Option<Cid>,
    request: &ReadRequest,
) -> Result<Event, StoreError> {
    let answer = match request {
        ReadRequest::History(query) => reader
            .history(view, query, PAGE_MESSAGES)?
            .map(|page| to_history(page, query, cid.clone())),
        ReadRequest::Conversations => Ok(Event::Conversations(ConversationList {
            conversations: reader.conversations(view)?,
            has_more: false,
            cid: cid.clone(),
        })),
        ReadRequest::Rooms(after) => {
            let Page { items, has_more } = reader.public_rooms(after.as_ref(), PAGE_ROOMS)?;
            Ok(Event::Rooms(RoomList { rooms: items, has_more, cid: cid.clone() }))
        }
        ReadRequest::Users { room, after } => {
            let page = reader.users(view, room.as_ref(), after.as_ref(), PAGE_USERS)?;
            page.map(|Page { items, has_more }| {
                let (room, cid) = (room.clone(), cid.clone());
                Event::UserPage(UserList { room, users: items, has_more, cid })
            })
        }
        ReadRequest::Search(_) => Err(Refusal::UnknownAction),
    };
    Ok(answer.unwrap_or_else(|refusal| error_reply(&refusal, cid)))
}

fn to_history(page: MessagePage, query: &HistoryQuery, cid: Option<Cid>) -> Event {
    let MessagePage { messages, has_earlier, has_later } = page;
    let target = match query.range {
        HistoryRange::Around(id) | HistoryRange::Thread(id) => Some(id),
        HistoryRange::After(_) => messages.first().map(|message| message.id),
        HistoryRange::Near(seq) => {
            let nearest = messages.iter().rev().find(|message| message.seq <= seq);
            nearest.or(messages.first()).map(|message| message.id)
        }
        HistoryRange::Latest | HistoryRange::Before(_) | HistoryRange::Pinned => None,
    };
    let mut page = HistoryPage { messages, has_earlier, has_later, cid };
    page.trim(target, HISTORY_PAGE_BYTES);
    Event::History(page)
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
            let slice = match self.read_slice(reader, view, before)? {
                Ok(slice) => slice,
                Err(refusal) => {
                    send(error_reply(&refusal, self.cid.clone()));
                    return Ok(());
                }
            };
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
    ) -> Result<Result<Slice, Refusal>, StoreError> {
        let mut slice = Slice::default();
        let (end, mut is_past_bound) = (now() + SEARCH_SLICE_TIME, false);
        let conversation = self.query.conversation.as_ref();
        let scanned = reader.scan(view, conversation, before, SEARCH_SLICE_ROWS, &mut |row| {
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
        Ok(scanned.map(|scanned| {
            slice.next = scanned.next.filter(|_| !is_past_bound);
            slice
        }))
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
