//! Search: the loaded messages in slices, and the server's results for the rest.
//!
//! Pure. Each call searches a bounded slice, so that the user interface can draw in between while the user
//! types. Results of the server are merged with the local ones.

use std::collections::{BTreeMap, HashMap};

use regex::{Regex, RegexBuilder};

use super::search_input::{SearchError, SearchInput};
use super::timeline::{EntryIndex, MessageState, Timeline, TimelineEntry};
use super::{Conversation, MessageChange, Session};
use crate::protocol::event::{SearchEnd, SearchResults};
use crate::protocol::id::{MessageId, Seq};
use crate::protocol::message::{Audience, Message, Millis};
use crate::protocol::query::SearchQuery;
use crate::protocol::text::SafeText;

/// The largest compiled expression, in bytes. It bounds compilation to about a millisecond.
const MAX_COMPILED_BYTES: usize = 256 * 1024;

/// Hits that are kept: more are of no use to a reader.
pub const MAX_HITS: usize = 2_000;

/// A message that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchHit {
    /// Its position in the server's order.
    pub seq: Seq,
    /// Its ID.
    pub id: MessageId,
    /// The conversation that it belongs to.
    pub conversation: Audience,
}

/// The progress of the server's search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchAnswer {
    /// The number of messages it has searched.
    pub searched: u64,
    /// Whether it has finished, and why.
    pub end: SearchEnd,
}

/// A search in progress.
#[derive(Debug, Clone)]
pub struct SearchState {
    input: SearchInput,
    regex: Option<Regex>,
    error: Option<SearchError>,
    /// Newest first.
    hits: Vec<SearchHit>,
    /// The hits that are not in the timeline.
    not_loaded: HashMap<MessageId, Message>,
    answer: Option<SearchAnswer>,
    /// The oldest hit that the server sent.
    oldest_sent: Option<Seq>,
    /// The number of messages that the server searched for earlier pages.
    searched_before: u64,
    /// The searched part of each conversation.
    ranges: BTreeMap<Audience, SearchedRange>,
    searched: usize,
}

/// The entries from `from` (inclusive) to `to` (exclusive) have been searched.
#[derive(Debug, Clone, Copy)]
struct SearchedRange {
    from: EntryIndex,
    to: EntryIndex,
}

impl SearchState {
    /// Starts a search, or none if the input is empty or invalid. Case is ignored unless the query or
    /// `(?-i)` says otherwise.
    pub fn new(input: Result<SearchInput, SearchError>) -> Self {
        let (input, compiled) = match input {
            Ok(query) if query.is_empty() => (query, Ok(None)),
            Ok(query) => {
                let compiled = compile(&query).map(Some);
                (query, compiled)
            }
            Err(error) => (SearchInput::default(), Err(error)),
        };
        let (regex, error) = match compiled {
            Ok(regex) => (regex, None),
            Err(error) => (None, Some(error)),
        };
        Self {
            input,
            regex,
            error,
            hits: Vec::new(),
            not_loaded: HashMap::new(),
            answer: None,
            oldest_sent: None,
            searched_before: 0,
            ranges: BTreeMap::new(),
            searched: 0,
        }
    }

    /// Returns the parsed input.
    pub fn input(&self) -> &SearchInput {
        &self.input
    }

    /// Returns the compiled expression, if it is valid and not empty.
    pub fn regex(&self) -> Option<&Regex> {
        self.regex.as_ref()
    }

    /// Returns the problem with the input.
    pub fn error(&self) -> Option<&SearchError> {
        self.error.as_ref()
    }

    /// Returns the messages found so far, newest first.
    pub fn hits(&self) -> &[SearchHit] {
        &self.hits
    }

    /// Returns a message that was found, if it is still readable.
    pub fn message<'a>(&'a self, hit: &SearchHit, session: &'a Session) -> Option<&'a Message> {
        let id = hit.id;
        match session.conversation(&hit.conversation).and_then(|one| one.message(id)) {
            Some(posted) => (posted.state == MessageState::Readable).then_some(&posted.message),
            None => self.not_loaded.get(&id),
        }
    }

    /// Returns the number of messages searched locally.
    pub fn searched(&self) -> usize {
        self.searched
    }

    /// Returns the progress of the server's search, if it was requested.
    pub fn answer(&self) -> Option<SearchAnswer> {
        self.answer
    }

    /// Whether all loaded messages have been searched.
    pub fn is_done(&self, session: &Session) -> bool {
        let is_searched = |(audience, conversation): (&Audience, &Conversation)| {
            let timeline = conversation.live_timeline();
            match self.ranges.get(audience) {
                Some(range) => range.to >= timeline.end() && range.from <= timeline.first(),
                None => timeline.first() == timeline.end(),
            }
        };
        self.regex.is_none() || scope(&self.input, session).all(is_searched)
    }

    /// Whether everything that is searched is loaded, so that the server need not search.
    pub fn is_local(&self, session: &Session) -> bool {
        session.has_full_history(self.input.query.conversation.as_ref())
    }

    /// Searches the entries added since the last call, and at most `entries` older ones.
    pub fn search_slice(&mut self, session: &Session, mut entries: i64) {
        let Some(regex) = self.regex.clone() else { return };
        let input = self.input.clone();
        for (audience, conversation) in scope(&input, session) {
            let timeline = conversation.live_timeline();
            entries -= self.search_timeline(&regex, audience, timeline, entries);
        }
    }

    /// Searches a timeline. Returns how many older entries were searched.
    fn search_timeline(
        &mut self,
        regex: &Regex,
        audience: &Audience,
        timeline: &Timeline,
        entries: i64,
    ) -> i64 {
        let (first, end) = (timeline.first(), timeline.end());
        let before =
            self.ranges.get(audience).copied().unwrap_or(SearchedRange { from: end, to: end });
        let oldest = before.from.0.saturating_sub(entries.max(0)).max(first.0);
        let fresh = before.to.0.max(first.0)..end.0;
        for index in fresh.rev().chain((oldest..before.from.0).rev()) {
            let Some(TimelineEntry::Message(posted)) = timeline.get(EntryIndex(index)) else {
                continue;
            };
            if posted.state != MessageState::Readable {
                continue;
            }
            self.searched += 1;
            let message = &posted.message;
            if self.input.matches_filters(message) && regex.is_match(message.content.as_str()) {
                let conversation = audience.clone();
                self.add(SearchHit { seq: message.seq, id: message.id, conversation });
            }
        }
        self.ranges.insert(audience.clone(), SearchedRange { from: EntryIndex(oldest), to: end });
        before.from.0 - oldest
    }

    /// Records that the server's search was requested.
    pub fn mark_asked(&mut self) {
        self.answer = Some(SearchAnswer { searched: 0, end: SearchEnd::Searching });
        (self.oldest_sent, self.searched_before) = (None, 0);
    }

    /// Whether the server has older hits.
    pub fn has_more(&self) -> bool {
        self.answer.is_some_and(|answer| answer.end == SearchEnd::TooMany)
    }

    /// Returns the query for the next older hits, if the server has more, once.
    pub fn take_next_page(&mut self) -> Option<SearchQuery> {
        let answer = self.answer.as_mut().filter(|answer| answer.end == SearchEnd::TooMany)?;
        let before_seq = Some(self.oldest_sent.filter(|_| self.hits.len() < MAX_HITS)?);
        answer.end = SearchEnd::Searching;
        self.searched_before = answer.searched;
        Some(SearchQuery { before_seq, ..self.input.query.clone() })
    }

    /// Adds results of the server.
    pub fn add_results(&mut self, results: SearchResults, session: &Session) {
        let searched = self.searched_before + results.searched;
        self.answer = Some(SearchAnswer { searched, end: results.end });
        for message in results.messages {
            let seq = message.seq;
            self.oldest_sent = Some(self.oldest_sent.map_or(seq, |oldest| oldest.min(seq)));
            // Results sent before a removal must not bring the message back.
            let loaded = session.message(message.id);
            if loaded.is_some_and(|posted| posted.state != MessageState::Readable) {
                continue;
            }
            let conversation = session.conversation_of(&message);
            self.add(SearchHit { seq: message.seq, id: message.id, conversation });
            self.not_loaded.insert(message.id, message);
        }
    }

    /// Records that the server refused to search.
    pub fn set_error(&mut self, text: SafeText) {
        self.answer = None;
        self.error = Some(SearchError { column: self.input.column(0), text });
    }

    /// Handles the change of a message. One that can no longer be read is removed, and so is one that was
    /// edited, unless its new text is loaded and matches.
    pub fn on_message_changed(&mut self, id: MessageId, change: MessageChange, session: &Session) {
        let matches = |message: &Message| {
            self.regex.as_ref().is_some_and(|regex| regex.is_match(message.content.as_str()))
        };
        let is_hit = match change {
            MessageChange::Reacted | MessageChange::Pinned => return,
            MessageChange::Removed | MessageChange::Expired => false,
            MessageChange::Edited => session.message(id).is_some_and(|one| matches(&one.message)),
        };
        self.not_loaded.remove(&id);
        if !is_hit {
            self.hits.retain(|hit| hit.id != id);
        }
    }

    /// Removes the hits in a conversation that the user has left.
    pub fn forget_conversation(&mut self, conversation: &Audience) {
        self.hits.retain(|hit| hit.conversation != *conversation);
        self.not_loaded.retain(|id, _| self.hits.iter().any(|hit| hit.id == *id));
    }

    /// Removes the hits outside the timeline that have expired at `now`, by the server's clock.
    pub fn expire(&mut self, now: Millis) {
        let is_expired =
            |message: &Message| message.expires().is_some_and(|expires| expires <= now);
        self.hits.retain(|hit| !self.not_loaded.get(&hit.id).is_some_and(is_expired));
        self.not_loaded.retain(|_, message| !is_expired(message));
    }

    /// Returns when the next hit outside the timeline expires, by the server's clock.
    pub fn next_expiry(&self) -> Option<Millis> {
        self.not_loaded.values().filter_map(Message::expires).min()
    }

    fn add(&mut self, hit: SearchHit) {
        let found = self.hits.binary_search_by(|other| hit.seq.cmp(&other.seq));
        if let Err(index) = found {
            self.hits.insert(index, hit);
        }
    }
}

/// The conversations that are searched.
fn scope<'a>(
    input: &'a SearchInput,
    session: &'a Session,
) -> impl Iterator<Item = (&'a Audience, &'a Conversation)> {
    let only = input.query.conversation.as_ref();
    session.conversations().filter(move |(audience, _)| only.is_none_or(|only| only == *audience))
}

fn compile(input: &SearchInput) -> Result<Regex, SearchError> {
    let expression = &input.query.pattern;
    let mut builder = RegexBuilder::new(expression);
    builder.case_insensitive(!input.query.match_case).size_limit(MAX_COMPILED_BYTES);
    builder.build().map_err(|error| {
        let SearchError { column, text } = locate_error(expression, &error);
        SearchError { column: input.column(column), text }
    })
}

fn locate_error(expression: &str, error: &regex::Error) -> SearchError {
    let (column, text) = match regex_syntax::parse(expression) {
        Err(regex_syntax::Error::Parse(error)) => {
            (error.span().start.offset, error.kind().to_string())
        }
        Err(regex_syntax::Error::Translate(error)) => {
            (error.span().start.offset, error.kind().to_string())
        }
        Err(_) | Ok(_) => match error {
            regex::Error::CompiledTooBig(_) => (0, "the expression is too large".to_owned()),
            _ => (0, error.to_string()),
        },
    };
    let before = expression.get(..column).unwrap_or_default();
    SearchError { column: before.chars().count(), text: SafeText::clean(&text) }
}
