//! Questions about what was said before: pages of history, and the search over everything.
//!
//! Only clients of ours ask them. What an asker may see of the answer is the store's business.

use super::error::Refusal;
use super::id::{MessageId, Seq, UserId};
use super::limits;
use super::message::Millis;

/// Which part of the history is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryQuery {
    /// The last messages before a place in the order, or the last of all.
    Before(Option<Seq>),
    /// A message, with what was said before and after it.
    Around(MessageId),
}

/// What is searched for: all of it has to fit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SearchQuery {
    /// A regular expression; an empty one ends the search that is under way.
    pub pattern: String,
    /// Whether capitals differ from small letters.
    pub match_case: bool,
    /// Written by somebody whose ID begins like this.
    pub from: Option<String>,
    /// Sent to this person, or by this person to somebody.
    pub to: Option<UserId>,
    /// Said at this moment or later.
    pub after: Option<Millis>,
    /// Said before this moment.
    pub before: Option<Millis>,
}

impl SearchQuery {
    /// Checks what can be checked without compiling the expression.
    ///
    /// # Errors
    /// The expression is longer than [`limits::PATTERN_BYTES`].
    pub fn validated(self) -> Result<Self, Refusal> {
        if self.pattern.len() > limits::PATTERN_BYTES {
            return Err(Refusal::BadPattern(format!(
                "an expression may have {} bytes at most",
                limits::PATTERN_BYTES
            )));
        }
        Ok(self)
    }
}
