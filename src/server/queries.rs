//! History and search queries against the log. Searches run on threads of their own, take turns, and send
//! results as they go.
//!
//! The reader restricts everything to the viewer's audience: no page, result or count includes a message
//! that the viewer may not see.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::hub::{ReadRequest, SessionId};
use super::limits::{
    CONVERSATIONS_READS, HISTORY_PAGE_BYTES, REGEX_CACHE_BYTES, REGEX_SIZE_BYTES, SEARCH_HITS,
    SEARCH_SLICE_BYTES, SEARCH_SLICE_ROWS, SEARCH_SLICE_TIME, SEARCH_TIMEOUT,
};
use super::tail::PendingRead;
use crate::protocol::error::Refusal;
use crate::protocol::event::{ErrorReply, Event, HistoryPage, SearchEnd, SearchResults};
use crate::protocol::id::{Cid, Seq, UserId};
use crate::protocol::limits::{PAGE_MESSAGES, PAGE_ROOMS, PAGE_USERS};
use crate::protocol::message::{Message, Millis};
use crate::protocol::query::{HistoryRange, SearchQuery};
use crate::protocol::room::{ConversationList, RoomList, UserList};
use crate::store::worker::ReaderHandle;
use crate::store::{Answer, MessagePage, Page, Reader, ScanRow, StoreError, View};

/// Answers a request other than a search, unless its session ends before. The reader's thread also encodes
/// the answer: while it does, the user's other requests wait.
pub(super) async fn answer_read(
    readers: ReaderHandle,
    viewer: UserId,
    now: Millis,
    cid: Option<Cid>,
    request: ReadRequest,
    pending: Arc<PendingRead>,
) {
    let (user, sink, reply_cid) = (viewer.clone(), Arc::clone(&pending), cid.clone());
    let read = move |reader: &mut dyn Reader| {
        let view = View { viewer: &viewer, now };
        let mut read = || read_answer(reader, view, reply_cid.clone(), &request);
        if request == ReadRequest::Conversations {
            for _ in 1..CONVERSATIONS_READS {
                let since = sink.head();
                if sink.answer_list(&read()?, since) {
                    return Ok(());
                }
            }
        }
        sink.answer(read()?);
        Ok(())
    };
    tokio::select! {
        result = readers.read_for(&user, read) => {
            result.unwrap_or_else(|error| pending.answer(read_failed(&error, cid)));
        }
        () = pending.abandoned() => {}
    }
}

/// Runs a search in turns, unless its session ends before.
pub(super) async fn search(
    searchers: ReaderHandle,
    job: SearchJob,
    cid: Option<Cid>,
    pending: Arc<PendingRead>,
) {
    let mut next = Some(job);
    while let Some(job) = next {
        let sink = Arc::clone(&pending);
        let turn = searchers.read(move |reader| job.run_turn(reader, |event| sink.answer(event)));
        let result = tokio::select! {
            result = turn => result,
            () = pending.abandoned() => return,
        };
        next = result.unwrap_or_else(|error| {
            pending.answer(read_failed(&error, cid.clone()));
            None
        });
    }
}

/// Reads what a request other than a search asks for, and returns its answer.
fn read_answer(
    reader: &mut dyn Reader,
    view: View<'_>,
    cid: Option<Cid>,
    request: &ReadRequest,
) -> Result<Event, StoreError> {
    let reply_cid = cid.clone();
    let answer = match request {
        ReadRequest::History(query) => reader.history(view, query, PAGE_MESSAGES)?.map(|page| {
            let MessagePage { messages, has_earlier, has_later } = page;
            let page = HistoryPage { messages, has_earlier, has_later, cid };
            Event::History(trimmed(page, query.range))
        }),
        ReadRequest::Conversations => Ok(Event::Conversations(ConversationList {
            conversations: reader.conversations(view)?,
            has_more: false,
            cid,
        })),
        ReadRequest::Rooms(after) => {
            let Page { items, has_more } = reader.public_rooms(after.as_ref(), PAGE_ROOMS)?;
            Ok(Event::Rooms(RoomList { rooms: items, has_more, cid }))
        }
        ReadRequest::Users { room, after } => {
            let page = reader.users(view, room.as_ref(), after.as_ref(), PAGE_USERS)?;
            page.map(|Page { items, has_more }| {
                Event::UserPage(UserList { room: room.clone(), users: items, has_more, cid })
            })
        }
        ReadRequest::Search(_) => Err(Refusal::UnknownAction),
    };
    Ok(answer.unwrap_or_else(|refusal| error_reply(&refusal, reply_cid)))
}

/// Cuts a page at the end that is farther from what was requested.
fn trimmed(mut page: HistoryPage, range: HistoryRange) -> HistoryPage {
    let id_at = |seq| page.messages.iter().find(|message| message.seq >= seq).map(|found| found.id);
    let target = match range {
        HistoryRange::Latest | HistoryRange::Before(_) | HistoryRange::Pinned => None,
        HistoryRange::After(_) => page.messages.first().map(|message| message.id),
        HistoryRange::Near(seq) => id_at(seq),
        HistoryRange::Around(id) | HistoryRange::Thread(id) => Some(id),
    };
    page.trim(target, HISTORY_PAGE_BYTES);
    page
}

/// One search.
#[derive(Debug)]
pub(super) struct SearchJob {
    viewer: UserId,
    now: Millis,
    cid: Option<Cid>,
    query: SearchQuery,
    cancelled: CancellationToken,
    /// When it ends with what it has found so far. The time spent waiting for a thread counts.
    deadline: Instant,
    /// `None` before the first turn.
    regex: Option<Regex>,
    /// Where the next slice begins.
    before: Option<Seq>,
    /// The number of messages searched.
    searched: u64,
    n_hits: usize,
}

/// What a search found in a slice.
struct Matched {
    hits: Vec<Seq>,
    end: SearchEnd,
    /// The number of messages searched.
    examined: u64,
    /// Where the next slice begins.
    next: Option<Seq>,
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

impl SearchJob {
    pub(super) fn new(
        viewer: UserId,
        now: Millis,
        cid: Option<Cid>,
        query: SearchQuery,
        cancelled: CancellationToken,
    ) -> Self {
        let deadline = self::now() + SEARCH_TIMEOUT;
        let (regex, before) = (None, query.before_seq);
        Self { viewer, now, cid, query, cancelled, deadline, regex, before, searched: 0, n_hits: 0 }
    }

    /// Searches a slice of the log, from the newest message to the oldest, and passes what it found to
    /// `send`. Returns the rest of the search, for which other users' searches do not have to wait.
    pub(super) fn run_turn(
        mut self,
        reader: &mut dyn Reader,
        send: impl FnOnce(Event),
    ) -> Result<Option<Self>, StoreError> {
        // All threads may have been busy until now.
        if let Some(end) = self.stop(0, self.deadline) {
            send(self.results(Vec::new(), end));
            return Ok(None);
        }
        let regex = match self.regex.take().map_or_else(|| compile(&self.query), Ok) {
            Ok(regex) => regex,
            Err(error) => {
                send(error_reply(&Refusal::BadPattern(error.to_string()), self.cid));
                return Ok(None);
            }
        };
        let view = View { viewer: &self.viewer, now: self.now };
        let slice = match self.read_slice(reader, view)? {
            Ok(slice) => slice,
            Err(refusal) => {
                send(error_reply(&refusal, self.cid));
                return Ok(None);
            }
        };
        let matched = self.match_slice(&slice, &regex);
        let mut messages = reader.messages(view, &matched.hits)?;
        messages.sort_by_key(|message| std::cmp::Reverse(message.seq));
        self.n_hits += matched.hits.len();
        self.searched += matched.examined;
        (self.before, self.regex) = (matched.next, Some(regex));
        send(self.results(messages, matched.end));
        Ok((matched.end == SearchEnd::Searching).then_some(self))
    }

    /// Matches the candidates, until the turn ends.
    fn match_slice(&self, slice: &Slice, regex: &Regex) -> Matched {
        let turn_end = now() + SEARCH_SLICE_TIME;
        let mut hits = Vec::new();
        for candidate in &slice.candidates {
            if let Some(end) = self.stop(self.n_hits + hits.len(), turn_end) {
                let next = Some(Seq(candidate.seq.0 + 1));
                return Matched { hits, end, examined: candidate.examined_before, next };
            }
            if slice.texts.get(candidate.text.clone()).is_some_and(|text| regex.is_match(text)) {
                hits.push(candidate.seq);
            }
        }
        let end = if slice.next.is_none() { SearchEnd::Complete } else { SearchEnd::Searching };
        Matched { hits, end, examined: slice.examined, next: slice.next }
    }

    /// Why the search or its turn ends now, if it does.
    fn stop(&self, n_hits: usize, turn_end: Instant) -> Option<SearchEnd> {
        let now = now();
        match () {
            () if self.cancelled.is_cancelled() => Some(SearchEnd::Replaced),
            () if now > self.deadline => Some(SearchEnd::TooLong),
            () if n_hits == SEARCH_HITS => Some(SearchEnd::TooMany),
            () if now > turn_end => Some(SearchEnd::Searching),
            () => None,
        }
    }

    /// Reads the next messages before `before` that pass the filters. This is all that happens in a
    /// transaction: the expression is matched after it, because it may take longer than removed text may
    /// wait to be scrubbed.
    fn read_slice(
        &self,
        reader: &mut dyn Reader,
        view: View<'_>,
    ) -> Result<Answer<Slice>, StoreError> {
        let mut slice = Slice::default();
        let (end, mut is_past_bound) = (now() + SEARCH_SLICE_TIME, false);
        let conversation = self.query.conversation.as_ref();
        let scanned =
            reader.scan(view, conversation, self.before, SEARCH_SLICE_ROWS, &mut |row| {
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

    fn results(&self, messages: Vec<Message>, end: SearchEnd) -> Event {
        let (searched, cid) = (self.searched, self.cid.clone());
        Event::SearchResults(SearchResults { messages, searched, end, cid })
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
            && query.has.is_none_or(|kind| kind.is_in(row.content))
    }
}

fn compile(query: &SearchQuery) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&query.pattern)
        .case_insensitive(!query.match_case)
        .size_limit(REGEX_SIZE_BYTES)
        .dfa_size_limit(REGEX_CACHE_BYTES)
        .nest_limit(100)
        .build()
}

fn read_failed(error: &StoreError, cid: Option<Cid>) -> Event {
    tracing::error!(%error, "cannot read the log");
    error_reply(&Refusal::NotRead(error.public_reason()), cid)
}

/// The reply to a request that fails.
pub(super) fn error_reply(refusal: &Refusal, cid: Option<Cid>) -> Event {
    Event::Error(ErrorReply::new(refusal, cid))
}

#[expect(clippy::disallowed_methods, reason = "a search is bounded by the time it takes")]
fn now() -> Instant {
    Instant::now()
}
