//! Queries of extended clients: pages of history, and search.
//!
//! The store restricts the results to what the user may see.

use super::error::Refusal;
use super::id::{MessageId, Seq, UserId};
use super::limits;
use super::message::{Audience, Millis};

/// A request for a page of history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Only messages of this conversation; `None` for all that the user may see.
    pub conversation: Option<Audience>,
    /// Which of the messages.
    pub range: HistoryRange,
}

/// The messages of a page of history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryRange {
    /// The latest messages.
    Latest,
    /// The last messages before a position.
    Before(Seq),
    /// The first messages after a position.
    After(Seq),
    /// The messages around a position: half of them up to it, and half after it.
    Near(Seq),
    /// The messages around this one, including it.
    Around(MessageId),
    /// A message and the latest replies to it.
    Thread(MessageId),
    /// The latest pinned messages.
    Pinned,
}

/// A search. A message must match all conditions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SearchQuery {
    /// A regular expression. An empty one only cancels the user's current search.
    pub pattern: String,
    /// Whether the expression is case-sensitive.
    pub match_case: bool,
    /// The conversation that is searched; `None` for all messages that the user may see.
    pub conversation: Option<Audience>,
    /// Prefix of the author's ID, ignoring ASCII case.
    pub from: Option<String>,
    /// A user who must be among the recipients.
    pub to: Option<UserId>,
    /// The earliest time, inclusive.
    pub after: Option<Millis>,
    /// The latest time, exclusive.
    pub before: Option<Millis>,
}

impl SearchQuery {
    /// Returns the query if its expression is not too long. It does not compile the expression.
    ///
    /// # Errors
    /// [`Refusal::BadPattern`] if the expression is longer than [`limits::PATTERN_BYTES`].
    pub fn validated(self) -> Result<Self, Refusal> {
        if self.pattern.len() > limits::PATTERN_BYTES {
            return Err(Refusal::BadPattern(format!(
                "it is longer than {} bytes",
                limits::PATTERN_BYTES
            )));
        }
        Ok(self)
    }
}
