//! Searching the conversation with a regular expression, a slice at a time.
//!
//! Pure, and never long at once: the screen asks for a slice, draws, and asks again, so that a long
//! conversation is searched while one types. Ranges of dates and senders are for the server's search.

use regex::{Regex, RegexBuilder};

use super::timeline::{Entry, Fate, Place, Timeline};
use crate::protocol::id::MessageId;
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

/// A search under way.
#[derive(Debug, Clone)]
pub struct Search {
    regex: Option<Regex>,
    mistake: Option<Mistake>,
    /// Newest first.
    hits: Vec<MessageId>,
    /// Everything from `older` (inclusive) to `newer` (exclusive) has been searched.
    older: Place,
    newer: Place,
    searched: usize,
}

impl Search {
    /// A search for `expression`, ignoring case unless `(?-i)` says otherwise or `match_case` is set.
    pub fn new(expression: &str, match_case: bool, timeline: &Timeline) -> Self {
        let compiled = match expression {
            "" => Ok(None),
            _ => RegexBuilder::new(expression)
                .case_insensitive(!match_case)
                .size_limit(COMPILED_BYTES)
                .build()
                .map(Some)
                .map_err(|error| mistake(expression, &error)),
        };
        let (regex, mistake) = match compiled {
            Ok(regex) => (regex, None),
            Err(mistake) => (None, Some(mistake)),
        };
        let end = timeline.end();
        Self { regex, mistake, hits: Vec::new(), older: end, newer: end, searched: 0 }
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
    pub fn hits(&self) -> &[MessageId] {
        &self.hits
    }

    /// How many messages have been searched.
    pub fn searched(&self) -> usize {
        self.searched
    }

    /// Whether there is nothing left to search.
    pub fn is_done(&self, timeline: &Timeline) -> bool {
        self.regex.is_none() || (self.newer >= timeline.end() && self.older <= timeline.first())
    }

    /// Searches what came since the last step, and then at most `entries` older ones.
    pub fn step(&mut self, timeline: &Timeline, entries: i64) {
        let Some(regex) = self.regex.clone() else { return };
        let mut look = |place: Place| match timeline.get(place) {
            Some(Entry::Said(said)) if said.fate == Fate::Readable => {
                self.searched += 1;
                regex.is_match(said.message.content.as_str()).then_some(said.message.id)
            }
            Some(Entry::Said(_) | Entry::Presence { .. } | Entry::Notice { .. }) | None => None,
        };
        let fresh: Vec<MessageId> =
            (self.newer.0..timeline.end().0).rev().filter_map(|n| look(Place(n))).collect();
        let oldest = self.older.0.saturating_sub(entries).max(timeline.first().0);
        let found = (oldest..self.older.0).rev().filter_map(|n| look(Place(n))).collect::<Vec<_>>();
        self.hits.splice(0..0, fresh);
        self.hits.extend(found);
        self.newer = timeline.end();
        self.older = Place(oldest);
    }

    /// Takes out what can no longer be read.
    pub fn forget(&mut self, id: MessageId) {
        self.hits.retain(|hit| *hit != id);
    }
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
