//! Searching the conversation: here a slice at a time, and on the server for what is not here.
//!
//! Pure, and never long at once: the screen asks for a slice, draws, and asks again, so that a long
//! conversation is searched while one types. What the server finds is put between what was found here.

use std::collections::HashMap;

use regex::{Regex, RegexBuilder};

use super::query::Query;
use super::timeline::{Entry, Fate, Place, Timeline};
use crate::protocol::event::{Found, SearchEnd};
use crate::protocol::id::{MessageId, Seq};
use crate::protocol::message::{Message, Millis};
use crate::protocol::text::SafeText;

/// The largest compiled expression, in bytes: enough for what people type, and compiled within a
/// millisecond whatever they type.
const COMPILED_BYTES: usize = 256 * 1024;

/// What is wrong with an expression, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// How many characters stand before the fault.
    pub column: usize,
    /// What is wrong.
    pub text: SafeText,
}

/// A message that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// Its place in the order.
    pub seq: Seq,
    /// The message.
    pub id: MessageId,
}

/// How far the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// How many messages it has searched.
    pub searched: u64,
    /// Whether that was all.
    pub end: SearchEnd,
}

/// A search under way.
#[derive(Debug, Clone)]
pub struct Search {
    query: Query,
    regex: Option<Regex>,
    mistake: Option<Mistake>,
    /// Newest first.
    hits: Vec<Hit>,
    /// Those of them that are not in the conversation as it is loaded.
    elsewhere: HashMap<MessageId, Message>,
    answer: Option<Answer>,
    /// Everything from `older` (inclusive) to `newer` (exclusive) has been searched.
    older: Place,
    newer: Place,
    searched: usize,
}

impl Search {
    /// A search for what was meant, or for nothing where that makes no sense. Case is ignored unless
    /// the query or `(?-i)` says otherwise.
    pub fn new(query: Result<Query, Mistake>, timeline: &Timeline) -> Self {
        let (query, compiled) = match query {
            Ok(query) if query.is_empty() => (query, Ok(None)),
            Ok(query) => {
                let compiled = compile(&query).map(Some);
                (query, compiled)
            }
            Err(mistake) => (Query::default(), Err(mistake)),
        };
        let (regex, mistake) = match compiled {
            Ok(regex) => (regex, None),
            Err(mistake) => (None, Some(mistake)),
        };
        let end = timeline.end();
        Self {
            query,
            regex,
            mistake,
            hits: Vec::new(),
            elsewhere: HashMap::new(),
            answer: None,
            older: end,
            newer: end,
            searched: 0,
        }
    }

    /// What is searched for.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// The compiled expression, if there is a sound one.
    pub fn regex(&self) -> Option<&Regex> {
        self.regex.as_ref()
    }

    /// What is wrong with the expression.
    pub fn mistake(&self) -> Option<&Mistake> {
        self.mistake.as_ref()
    }

    /// The messages found so far, newest first.
    pub fn hits(&self) -> &[Hit] {
        &self.hits
    }

    /// A message that was found, if it can still be read.
    pub fn message<'a>(&'a self, id: MessageId, timeline: &'a Timeline) -> Option<&'a Message> {
        match timeline.said(id) {
            Some(said) => (said.fate == Fate::Readable).then_some(&said.message),
            None => self.elsewhere.get(&id),
        }
    }

    /// How many messages have been searched here.
    pub fn searched(&self) -> usize {
        self.searched
    }

    /// How far the server is, once it was asked.
    pub fn answer(&self) -> Option<Answer> {
        self.answer
    }

    /// Whether there is nothing left to search here.
    pub fn is_done(&self, timeline: &Timeline) -> bool {
        self.regex.is_none() || (self.newer >= timeline.end() && self.older <= timeline.first())
    }

    /// Searches what came since the last step, and then at most `entries` older ones.
    pub fn step(&mut self, timeline: &Timeline, entries: i64) {
        let Some(regex) = self.regex.clone() else { return };
        let oldest = self.older.0.saturating_sub(entries).max(timeline.first().0);
        let fresh = self.newer.0.max(timeline.first().0)..timeline.end().0;
        for place in fresh.rev().chain((oldest..self.older.0).rev()) {
            let Some(Entry::Said(said)) = timeline.get(Place(place)) else { continue };
            if said.fate != Fate::Readable {
                continue;
            }
            self.searched += 1;
            let message = &said.message;
            if self.query.leaves(message) && regex.is_match(message.content.as_str()) {
                self.add(Hit { seq: message.seq, id: message.id });
            }
        }
        self.newer = timeline.end();
        self.older = Place(oldest);
    }

    /// The server was asked.
    pub fn asked(&mut self) {
        self.answer = Some(Answer { searched: 0, end: SearchEnd::Searching });
    }

    /// Takes in what the server found.
    pub fn found(&mut self, found: Found, timeline: &Timeline) {
        self.answer = Some(Answer { searched: found.searched, end: found.end });
        for message in found.messages {
            // What is gone here is gone, whatever is still on its way.
            if timeline.said(message.id).is_some_and(|said| said.fate != Fate::Readable) {
                continue;
            }
            self.add(Hit { seq: message.seq, id: message.id });
            self.elsewhere.insert(message.id, message);
        }
    }

    /// The server will not search for this.
    pub fn refused(&mut self, text: SafeText) {
        self.answer = None;
        self.mistake = Some(Mistake { column: self.query.column(0), text });
    }

    /// Takes out what can no longer be read.
    pub fn forget(&mut self, id: MessageId) {
        self.hits.retain(|hit| hit.id != id);
        self.elsewhere.remove(&id);
    }

    /// Takes out what has expired at `now`, by the server's clock, and is not in the conversation.
    pub fn expire(&mut self, now: Millis) {
        let is_over = |message: &Message| message.expires().is_some_and(|expires| expires <= now);
        self.hits.retain(|hit| !self.elsewhere.get(&hit.id).is_some_and(is_over));
        self.elsewhere.retain(|_, message| !is_over(message));
    }

    /// When the next hit expires that is not in the conversation, by the server's clock.
    pub fn next_expiry(&self) -> Option<Millis> {
        self.elsewhere.values().filter_map(Message::expires).min()
    }

    fn add(&mut self, hit: Hit) {
        let place = self.hits.binary_search_by(|other| hit.seq.cmp(&other.seq));
        if let Err(place) = place {
            self.hits.insert(place, hit);
        }
    }
}

fn compile(query: &Query) -> Result<Regex, Mistake> {
    let expression = &query.find.pattern;
    let mut builder = RegexBuilder::new(expression);
    builder.case_insensitive(!query.find.match_case).size_limit(COMPILED_BYTES);
    builder.build().map_err(|error| {
        let Mistake { column, text } = mistake(expression, &error);
        Mistake { column: query.column(column), text }
    })
}

fn mistake(expression: &str, error: &regex::Error) -> Mistake {
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
    Mistake { column: before.chars().count(), text: SafeText::clean(&text) }
}
