//! Searching the conversation: here a slice at a time, and on the server for what is not here.
//!
//! Pure, and never long at once: the screen asks for a slice, draws, and asks again, so that a long
//! conversation is searched while one types. What the server finds is put between what was found here.

use std::collections::HashMap;

use regex::{Regex, RegexBuilder};

use super::search_input::SearchInput;
use super::timeline::{EntryIndex, MessageState, Timeline, TimelineEntry};
use crate::protocol::event::{SearchEnd, SearchResults};
use crate::protocol::id::{MessageId, Seq};
use crate::protocol::message::{Message, Millis};
use crate::protocol::text::SafeText;

/// The largest compiled expression, in bytes: enough for what people type, and compiled within a
/// millisecond whatever they type.
const MAX_COMPILED_BYTES: usize = 256 * 1024;

/// What is wrong with an expression, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchError {
    /// How many characters stand before the fault.
    pub column: usize,
    /// What is wrong.
    pub text: SafeText,
}

/// A message that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchHit {
    /// Its place in the order.
    pub seq: Seq,
    /// The message.
    pub id: MessageId,
}

/// How far the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchAnswer {
    /// How many messages it has searched.
    pub searched: u64,
    /// Whether that was all.
    pub end: SearchEnd,
}

/// A search under way.
#[derive(Debug, Clone)]
pub struct SearchState {
    input: SearchInput,
    regex: Option<Regex>,
    error: Option<SearchError>,
    /// Newest first.
    hits: Vec<SearchHit>,
    /// Those of them that are not in the conversation as it is loaded.
    not_loaded: HashMap<MessageId, Message>,
    answer: Option<SearchAnswer>,
    /// Everything from `older` (inclusive) to `newer` (exclusive) has been searched.
    searched_from: EntryIndex,
    searched_to: EntryIndex,
    searched: usize,
}

impl SearchState {
    /// A search for what was meant, or for nothing where that makes no sense. Case is ignored unless
    /// the query or `(?-i)` says otherwise.
    pub fn new(input: Result<SearchInput, SearchError>, timeline: &Timeline) -> Self {
        let (input, compiled) = match input {
            Ok(query) if query.is_empty() => (query, Ok(None)),
            Ok(query) => {
                let compiled = compile(&query).map(Some);
                (query, compiled)
            }
            Err(mistake) => (SearchInput::default(), Err(mistake)),
        };
        let (regex, error) = match compiled {
            Ok(regex) => (regex, None),
            Err(mistake) => (None, Some(mistake)),
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

    /// What is searched for.
    pub fn input(&self) -> &SearchInput {
        &self.input
    }

    /// The compiled expression, if there is a sound one.
    pub fn regex(&self) -> Option<&Regex> {
        self.regex.as_ref()
    }

    /// What is wrong with the expression.
    pub fn error(&self) -> Option<&SearchError> {
        self.error.as_ref()
    }

    /// The messages found so far, newest first.
    pub fn hits(&self) -> &[SearchHit] {
        &self.hits
    }

    /// A message that was found, if it can still be read.
    pub fn message<'a>(&'a self, id: MessageId, timeline: &'a Timeline) -> Option<&'a Message> {
        match timeline.message(id) {
            Some(said) => (said.state == MessageState::Readable).then_some(&said.message),
            None => self.not_loaded.get(&id),
        }
    }

    /// How many messages have been searched here.
    pub fn searched(&self) -> usize {
        self.searched
    }

    /// How far the server is, once it was asked.
    pub fn answer(&self) -> Option<SearchAnswer> {
        self.answer
    }

    /// Whether there is nothing left to search here.
    pub fn is_done(&self, timeline: &Timeline) -> bool {
        self.regex.is_none()
            || (self.searched_to >= timeline.end() && self.searched_from <= timeline.first())
    }

    /// Searches what came since the last step, and then at most `entries` older ones.
    pub fn search_slice(&mut self, timeline: &Timeline, entries: i64) {
        let Some(regex) = self.regex.clone() else { return };
        let oldest = self.searched_from.0.saturating_sub(entries).max(timeline.first().0);
        let fresh = self.searched_to.0.max(timeline.first().0)..timeline.end().0;
        for place in fresh.rev().chain((oldest..self.searched_from.0).rev()) {
            let Some(TimelineEntry::Message(said)) = timeline.get(EntryIndex(place)) else {
                continue;
            };
            if said.state != MessageState::Readable {
                continue;
            }
            self.searched += 1;
            let message = &said.message;
            if self.input.matches_filters(message) && regex.is_match(message.content.as_str()) {
                self.add(SearchHit { seq: message.seq, id: message.id });
            }
        }
        self.searched_to = timeline.end();
        self.searched_from = EntryIndex(oldest);
    }

    /// The server was asked.
    pub fn mark_asked(&mut self) {
        self.answer = Some(SearchAnswer { searched: 0, end: SearchEnd::Searching });
    }

    /// Takes in what the server found.
    pub fn add_results(&mut self, results: SearchResults, timeline: &Timeline) {
        self.answer = Some(SearchAnswer { searched: results.searched, end: results.end });
        for message in results.messages {
            // What is gone here is gone, whatever is still on its way.
            if timeline.message(message.id).is_some_and(|said| said.state != MessageState::Readable)
            {
                continue;
            }
            self.add(SearchHit { seq: message.seq, id: message.id });
            self.not_loaded.insert(message.id, message);
        }
    }

    /// The server will not search for this.
    pub fn set_error(&mut self, text: SafeText) {
        self.answer = None;
        self.error = Some(SearchError { column: self.input.column(0), text });
    }

    /// Takes out what can no longer be read.
    pub fn remove(&mut self, id: MessageId) {
        self.hits.retain(|hit| hit.id != id);
        self.not_loaded.remove(&id);
    }

    /// Takes out what has expired at `now`, by the server's clock, and is not in the conversation.
    pub fn expire(&mut self, now: Millis) {
        let is_expired =
            |message: &Message| message.expires().is_some_and(|expires| expires <= now);
        self.hits.retain(|hit| !self.not_loaded.get(&hit.id).is_some_and(is_expired));
        self.not_loaded.retain(|_, message| !is_expired(message));
    }

    /// When the next hit expires that is not in the conversation, by the server's clock.
    pub fn next_expiry(&self) -> Option<Millis> {
        self.not_loaded.values().filter_map(Message::expires).min()
    }

    fn add(&mut self, hit: SearchHit) {
        let place = self.hits.binary_search_by(|other| hit.seq.cmp(&other.seq));
        if let Err(place) = place {
            self.hits.insert(place, hit);
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
            regex::Error::CompiledTooBig(_) => (0, "too large an expression".to_owned()),
            _ => (0, error.to_string()),
        },
    };
    let before = expression.get(..column).unwrap_or_default();
    SearchError { column: before.chars().count(), text: SafeText::clean(&text) }
}
