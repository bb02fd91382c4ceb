//! Questions to the log: pages of history, and the search, which runs on threads of its own and sends
//! what it finds as it goes.
//!
//! What the asker may see is the reader's business; no page and no count has anything else in it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::ControlFlow;

use regex::RegexBuilder;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::hub::SessionId;
use super::limits::{
    PAGE_BYTES, PATTERN_CACHE, PATTERN_COMPILED, SEARCH_HITS, SEARCH_SLICE, SEARCH_TIME,
};
use crate::protocol::error::Refusal;
use crate::protocol::event::{Event, Found, Page, Refused, SearchEnd};
use crate::protocol::id::{ClientId, UserId};
use crate::protocol::limits::PAGE_MESSAGES;
use crate::protocol::message::{Message, Millis};
use crate::protocol::query::{Find, History};
use crate::store::{Candidate, Reader, StoreError, View};

/// A page of history as the answer to its question.
pub(super) fn history(
    reader: &mut dyn Reader,
    view: View<'_>,
    cid: Option<ClientId>,
    query: History,
) -> Result<Event, StoreError> {
    let page = match query {
        History::Before(before) => {
            let page = reader.history(view, before, PAGE_MESSAGES)?;
            Page { messages: page.messages, earlier: page.more, later: before.is_some(), cid }
        }
        History::Around(id) => match reader.around(view, id, PAGE_MESSAGES / 2)? {
            None => return Ok(refused(&Refusal::UnknownMessage(id), cid)),
            Some(around) => Page {
                messages: around.messages,
                earlier: around.earlier,
                later: around.later,
                cid,
            },
        },
    };
    Ok(Event::History(fitting(page, query)))
}

/// A page that is too long loses its far end.
fn fitting(mut page: Page, query: History) -> Page {
    let mut bytes: usize = page.messages.iter().map(|m| m.content.as_str().len()).sum();
    while bytes > PAGE_BYTES && page.messages.len() > 1 {
        let is_target_first = match query {
            History::Before(_) => false,
            History::Around(id) => page.messages.first().is_some_and(|first| first.id == id),
        };
        let gone = if is_target_first {
            page.later = true;
            page.messages.pop()
        } else {
            page.earlier = true;
            Some(page.messages.remove(0))
        };
        bytes -= gone.map_or(0, |message| message.content.as_str().len());
    }
    page
}

/// A search that is under way.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) viewer: UserId,
    pub(super) now: Millis,
    pub(super) cid: Option<ClientId>,
    pub(super) find: Find,
    pub(super) cancelled: CancellationToken,
    /// When it ends, found or not: also for whoever has waited for others' searches until then.
    pub(super) deadline: Instant,
}

/// The searches that were asked for last: one a person, on whichever connection.
#[derive(Debug, Default)]
pub(super) struct Searches {
    last: HashMap<UserId, (SessionId, CancellationToken)>,
    askers: HashMap<SessionId, UserId>,
}

impl Searches {
    /// Somebody begins a search, which ends their last one.
    pub(super) fn begin(&mut self, session: SessionId, user: &UserId) -> CancellationToken {
        let cancelled = CancellationToken::new();
        self.askers.insert(session, user.clone());
        let earlier = self.last.insert(user.clone(), (session, cancelled.clone()));
        if let Some((_, earlier)) = earlier {
            earlier.cancel();
        }
        cancelled
    }

    /// A session ends, and the search with it that was begun there.
    pub(super) fn leave(&mut self, session: SessionId) {
        let Some(user) = self.askers.remove(&session) else { return };
        if let Entry::Occupied(last) = self.last.entry(user)
            && last.get().0 == session
        {
            last.remove().1.cancel();
        }
    }
}

/// When a search that is asked for now has to be over.
pub(super) fn deadline() -> Instant {
    instant() + SEARCH_TIME
}

impl Search {
    /// Searches from the newest message to the oldest, and hands what it finds to `tell`, until that
    /// is no longer wanted.
    pub(super) fn run(
        &self,
        reader: &mut dyn Reader,
        mut tell: impl FnMut(Event),
    ) -> Result<(), StoreError> {
        if self.cancelled.is_cancelled() {
            tell(self.found(Vec::new(), 0, SearchEnd::Replaced));
            return Ok(());
        }
        if instant() > self.deadline {
            // It has waited for the others all the time.
            tell(self.found(Vec::new(), 0, SearchEnd::TooLong));
            return Ok(());
        }
        let regex = RegexBuilder::new(&self.find.pattern)
            .case_insensitive(!self.find.match_case)
            .size_limit(PATTERN_COMPILED)
            .dfa_size_limit(PATTERN_CACHE)
            .nest_limit(100)
            .build();
        let regex = match regex {
            Ok(regex) => regex,
            Err(error) => {
                tell(refused(&Refusal::BadPattern(error.to_string()), self.cid.clone()));
                return Ok(());
            }
        };
        let view = View { viewer: &self.viewer, now: self.now };
        let (mut before, mut searched, mut n_hits) = (None, 0, 0);
        loop {
            let mut hits = Vec::new();
            let mut is_late = false;
            let scanned = reader.scan(view, before, SEARCH_SLICE, &mut |row| {
                is_late = self.cancelled.is_cancelled() || instant() > self.deadline;
                if is_late || n_hits == SEARCH_HITS {
                    return ControlFlow::Break(());
                }
                if self.fits(row) && regex.is_match(row.content) {
                    n_hits += 1;
                    hits.push(row.seq);
                }
                ControlFlow::Continue(())
            })?;
            if self.cancelled.is_cancelled() {
                tell(self.found(Vec::new(), searched, SearchEnd::Replaced));
                return Ok(());
            }
            // It may have looked at nothing but what the viewer can't see.
            is_late |= scanned.next.is_some() && instant() > self.deadline;
            let mut messages = reader.messages(view, &hits)?;
            messages.sort_by_key(|message| std::cmp::Reverse(message.seq));
            searched += scanned.shown;
            before = scanned.next;
            let end = match scanned.next {
                _ if n_hits == SEARCH_HITS => SearchEnd::TooMany,
                _ if is_late => SearchEnd::TooLong,
                None => SearchEnd::Complete,
                Some(_) => SearchEnd::Searching,
            };
            tell(self.found(messages, searched, end));
            if end != SearchEnd::Searching {
                return Ok(());
            }
        }
    }

    fn found(&self, messages: Vec<Message>, searched: u64, end: SearchEnd) -> Event {
        Event::Found(Found { messages, searched, end, cid: self.cid.clone() })
    }

    fn fits(&self, row: &Candidate<'_>) -> bool {
        let starts_with = |name: &String| {
            let beginning = row.sender.get(..name.len());
            beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(name))
        };
        let find = &self.find;
        find.from.as_ref().is_none_or(starts_with)
            && find.to.as_ref().is_none_or(|to| row.names(to))
            && find.after.is_none_or(|after| row.at >= after)
            && find.before.is_none_or(|before| row.at < before)
    }
}

/// The answer to a question that the log can't answer.
pub(super) fn refused(refusal: &Refusal, cid: Option<ClientId>) -> Event {
    Event::Refused(Refused::new(refusal, cid))
}

#[expect(clippy::disallowed_methods, reason = "a search is bounded by the time it takes")]
fn instant() -> Instant {
    Instant::now()
}
