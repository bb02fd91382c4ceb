//! Search: the loaded messages in slices, and the server's results for the rest.
//!
//! Pure. Each call searches a bounded slice, so that the user interface can draw in between while the user
//! types. Results of the server are merged with the local ones.

use std::collections::HashMap;

use regex::{Regex, RegexBuilder};

use super::search_input::{SearchError, SearchInput};
use super::timeline::{EntryIndex, MessageState, Timeline, TimelineEntry};
use crate::protocol::event::{SearchEnd, SearchResults};
use crate::protocol::id::{MessageId, Seq};
use crate::protocol::message::{Message, Millis};
use crate::protocol::text::SafeText;

/// The largest compiled expression, in bytes. It bounds compilation to about a millisecond.
const MAX_COMPILED_BYTES: usize = 256 * 1024;

/// A message that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchHit {
    /// Its position in the server's order.
    pub seq: Seq,
    /// Its ID.
    pub id: MessageId,
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
    /// The entries from `searched_from` (inclusive) to `searched_to` (exclusive) have been searched.
    searched_from: EntryIndex,
    searched_to: EntryIndex,
    searched: usize,
}

impl SearchState {
    /// Starts a search, or none if the input is empty or invalid. Case is ignored unless the query or
    /// `(?-i)` says otherwise.
    pub fn new(input: Result<SearchInput, SearchError>, timeline: &Timeline) -> Self {
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
        let end = timeline.end();
        Self {
            input,
            regex,
            error,
            hits: Vec::new(),
            not_loaded: HashMap::new(),
            answer: None,
            searched_from: end,
            searched_to: end,
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
    pub fn message<'a>(&'a self, id: MessageId, timeline: &'a Timeline) -> Option<&'a Message> {
        match timeline.message(id) {
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
    pub fn is_done(&self, timeline: &Timeline) -> bool {
        self.regex.is_none()
            || (self.searched_to >= timeline.end() && self.searched_from <= timeline.first())
    }

    /// Searches the entries added since the last call, and at most `entries` older ones.
    pub fn search_slice(&mut self, timeline: &Timeline, entries: i64) {
        let Some(regex) = self.regex.clone() else { return };
        let oldest = self.searched_from.0.saturating_sub(entries).max(timeline.first().0);
        let fresh = self.searched_to.0.max(timeline.first().0)..timeline.end().0;
        for index in fresh.rev().chain((oldest..self.searched_from.0).rev()) {
            let Some(TimelineEntry::Message(posted)) = timeline.get(EntryIndex(index)) else {
                continue;
            };
            if posted.state != MessageState::Readable {
                continue;
            }
            self.searched += 1;
            let message = &posted.message;
            if self.input.matches_filters(message) && regex.is_match(message.content.as_str()) {
                self.add(SearchHit { seq: message.seq, id: message.id });
            }
        }
        self.searched_to = timeline.end();
        self.searched_from = EntryIndex(oldest);
    }

    /// Records that the server's search was requested.
    pub fn mark_asked(&mut self) {
        self.answer = Some(SearchAnswer { searched: 0, end: SearchEnd::Searching });
    }

    /// Adds results of the server.
    pub fn add_results(&mut self, results: SearchResults, timeline: &Timeline) {
        self.answer = Some(SearchAnswer { searched: results.searched, end: results.end });
        for message in results.messages {
            // Results sent before a removal must not bring the message back.
            if timeline
                .message(message.id)
                .is_some_and(|posted| posted.state != MessageState::Readable)
            {
                continue;
            }
            self.add(SearchHit { seq: message.seq, id: message.id });
            self.not_loaded.insert(message.id, message);
        }
    }

    /// Records that the server refused to search.
    pub fn set_error(&mut self, text: SafeText) {
        self.answer = None;
        self.error = Some(SearchError { column: self.input.column(0), text });
    }

    /// Removes a message that can no longer be read.
    pub fn remove(&mut self, id: MessageId) {
        self.hits.retain(|hit| hit.id != id);
        self.not_loaded.remove(&id);
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
