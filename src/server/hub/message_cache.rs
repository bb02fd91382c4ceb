//! A cache of the authors and audiences of recent messages; those of others are looked up in the log.

use std::collections::{BTreeMap, HashMap};

use crate::protocol::error::Refusal;
use crate::protocol::id::{MessageId, UserId};
use crate::protocol::message::{Audience, can_see};
use crate::server::limits;

/// What decides who may see, reply to and delete a message.
#[derive(Debug, Clone)]
pub struct CachedMessage {
    pub(super) author: UserId,
    pub(super) audience: Audience,
}

impl CachedMessage {
    fn n_recipients(&self) -> usize {
        match &self.audience {
            Audience::Everyone => 0,
            Audience::Only(recipients) => recipients.len(),
        }
    }
}

/// Messages whose author and audience are cached: the most recently inserted ones that are neither
/// removed nor expired.
#[derive(Debug, Default)]
pub(super) struct MessageCache {
    messages: HashMap<MessageId, (u64, CachedMessage)>,
    /// By order of insertion, so that a message that was just looked up is not evicted next.
    order: BTreeMap<u64, MessageId>,
    last_inserted: u64,
    n_recipients: usize,
}

impl MessageCache {
    pub(super) fn contains(&self, id: MessageId) -> bool {
        self.messages.contains_key(&id)
    }

    /// The message, if `viewer` can see it.
    pub(super) fn get_visible(
        &self,
        id: MessageId,
        viewer: &UserId,
    ) -> Result<&CachedMessage, Refusal> {
        self.messages
            .get(&id)
            .map(|(_, message)| message)
            .filter(|message| can_see(viewer, &message.author, message.audience.recipients()))
            .ok_or(Refusal::UnknownMessage(id))
    }

    /// Adds a message, and evicts the oldest ones if the cache is full.
    pub(super) fn insert(&mut self, id: MessageId, message: CachedMessage) {
        self.remove(id);
        self.n_recipients += message.n_recipients();
        self.last_inserted += 1;
        self.order.insert(self.last_inserted, id);
        self.messages.insert(id, (self.last_inserted, message));
        while self.messages.len() > limits::CACHED_MESSAGES
            || self.n_recipients > limits::CACHED_RECIPIENTS
        {
            let Some(oldest) = self.order.values().next().copied() else { return };
            self.remove(oldest);
        }
    }

    pub(super) fn remove(&mut self, id: MessageId) -> Option<CachedMessage> {
        let (inserted, message) = self.messages.remove(&id)?;
        self.n_recipients -= message.n_recipients();
        self.order.remove(&inserted);
        Some(message)
    }
}
