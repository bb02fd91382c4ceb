//! What decides who may do what with a message: kept of the latest, looked up in the log for others.

use std::collections::{BTreeMap, HashMap};

use crate::protocol::error::Refusal;
use crate::protocol::id::{MessageId, UserId};
use crate::protocol::message::{Audience, can_see};
use crate::server::limits;

/// One message that can be replied to and removed.
#[derive(Debug, Clone)]
pub struct CachedMessage {
    pub(super) author: UserId,
    pub(super) audience: Audience,
}

impl CachedMessage {
    fn n_recipients(&self) -> usize {
        match &self.audience {
            Audience::Everyone => 0,
            Audience::Only(people) => people.len(),
        }
    }
}

/// The latest messages that are neither removed nor expired.
#[derive(Debug, Default)]
pub(super) struct MessageCache {
    messages: HashMap<MessageId, (u64, CachedMessage)>,
    /// In the order in which they were learnt: one that was just looked up is not the next to go.
    order: BTreeMap<u64, MessageId>,
    last_inserted: u64,
    n_recipients: usize,
}

impl MessageCache {
    /// Whether the message need not be looked up.
    pub(super) fn contains(&self, id: MessageId) -> bool {
        self.messages.contains_key(&id)
    }

    /// The message, as far as `user` may know of it.
    pub(super) fn get_visible(
        &self,
        id: MessageId,
        viewer: &UserId,
    ) -> Result<&CachedMessage, Refusal> {
        self.messages
            .get(&id)
            .map(|(_, entry)| entry)
            .filter(|entry| can_see(viewer, &entry.author, entry.audience.recipients()))
            .ok_or(Refusal::UnknownMessage(id))
    }

    /// Keeps a message, and forgets the oldest when there are too many.
    pub(super) fn insert(&mut self, id: MessageId, entry: CachedMessage) {
        self.remove(id);
        self.n_recipients += entry.n_recipients();
        self.last_inserted += 1;
        self.order.insert(self.last_inserted, id);
        self.messages.insert(id, (self.last_inserted, entry));
        while self.messages.len() > limits::CACHED_MESSAGES
            || self.n_recipients > limits::CACHED_RECIPIENTS
        {
            let Some(oldest) = self.order.values().next().copied() else { return };
            self.remove(oldest);
        }
    }

    pub(super) fn remove(&mut self, id: MessageId) -> Option<CachedMessage> {
        let (learnt, entry) = self.messages.remove(&id)?;
        self.n_recipients -= entry.n_recipients();
        self.order.remove(&learnt);
        Some(entry)
    }
}
