//! The hits of a search after it was closed, for going from one to the next.

use crate::protocol::id::MessageId;

/// The hits of a search that was left by going to one of them.
#[derive(Debug, Clone)]
pub struct Found {
    pub(super) hits: Vec<MessageId>,
    pub(super) at: usize,
}

impl Found {
    /// The hit one has gone to.
    pub fn current(&self) -> Option<MessageId> {
        self.hits.get(self.at).copied()
    }

    /// The next older hit, or the next newer one.
    pub fn go(&mut self, older: bool) -> Option<MessageId> {
        let next = if older { self.at.checked_add(1) } else { self.at.checked_sub(1) };
        self.at = next.filter(|next| *next < self.hits.len())?;
        self.current()
    }

    /// Takes out a message that can no longer be read.
    pub fn forget(&mut self, id: MessageId) {
        if let Some(gone) = self.hits.iter().position(|hit| *hit == id) {
            self.hits.remove(gone);
            self.at -= usize::from(gone < self.at || self.at == self.hits.len()).min(self.at);
        }
    }

    /// Which of how many hits it is.
    pub fn words(&self) -> String {
        format!("hit {} of {}", self.at + 1, self.hits.len())
    }
}
