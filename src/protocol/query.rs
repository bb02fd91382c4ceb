//! Queries of extended clients: pages of history, and search.
//!
//! The store restricts the results to what the user may see.

use serde::{Deserialize, Serialize};

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
    /// What the text must contain.
    pub has: Option<ContentKind>,
    /// Only messages before this position: the next page after [`SearchEnd::TooMany`].
    ///
    /// [`SearchEnd::TooMany`]: super::event::SearchEnd::TooMany
    pub before_seq: Option<Seq>,
}

/// What a text can contain besides words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContentKind {
    /// The address of a web page: `http://` or `https://`.
    Link,
    /// Inline code or a code block in Markdown: two backticks.
    Code,
}

impl ContentKind {
    /// Each kind with its name in a filter and on the wire.
    pub const ALL: [(Self, &'static str); 2] = [(Self::Link, "link"), (Self::Code, "code")];

    /// Whether a text contains this.
    pub fn is_in(self, text: &str) -> bool {
        match self {
            Self::Link => text.match_indices("://").any(|(at, separator)| {
                let (before, after) = (text.get(..at), text.get(at + separator.len()..));
                before.is_some_and(|it| it.ends_with("http") || it.ends_with("https"))
                    && after.is_some_and(|it| it.starts_with(|c: char| !c.is_whitespace()))
            }),
            Self::Code => text.matches('`').nth(1).is_some(),
        }
    }
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
