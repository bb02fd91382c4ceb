//! The hits of a search after it was closed, for going from one to the next.

use crate::protocol::id::MessageId;

/// The hits of a search that was left by going to one of them.
#[derive(Debug, Clone)]
pub struct SearchHitList {
    pub(super) hits: Vec<MessageId>,
    pub(super) current_index: usize,
}

impl SearchHitList {
    /// The hit one has gone to.
    pub fn current(&self) -> Option<MessageId> {
        self.hits.get(self.current_index).copied()
    }

    /// The next older hit, or the next newer one.
    pub fn advance(&mut self, older: bool) -> Option<MessageId> {
        let next = if older {
            self.current_index.checked_add(1)
        } else {
            self.current_index.checked_sub(1)
        };
        self.current_index = next.filter(|next| *next < self.hits.len())?;
        self.current()
    }

    /// Takes out a message that can no longer be read.
    pub fn remove(&mut self, id: MessageId) {
        if let Some(gone) = self.hits.iter().position(|hit| *hit == id) {
            self.hits.remove(gone);
            self.current_index -=
                usize::from(gone < self.current_index || self.current_index == self.hits.len())
                    .min(self.current_index);
        }
    }

    /// Which of how many hits it is.
    pub fn position_text(&self) -> String {
        format!("hit {} of {}", self.current_index + 1, self.hits.len())
    }
}
