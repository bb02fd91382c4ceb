//! What decides who may do what with a message: kept of the latest, looked up in the log for others.

use std::collections::{BTreeMap, HashMap};

use crate::protocol::error::Refusal;
use crate::protocol::id::{MessageId, UserId};
use crate::protocol::message::{Audience, can_see};
use crate::server::limits;

/// One message that can be replied to and removed.
#[derive(Debug, Clone)]
pub struct Entry {
    pub(super) author: UserId,
    pub(super) audience: Audience,
}

impl Entry {
    fn people(&self) -> usize {
        match &self.audience {
            Audience::Everyone => 0,
            Audience::Only(people) => people.len(),
        }
    }
}

/// The latest messages that are neither removed nor expired.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: HashMap<MessageId, (u64, Entry)>,
    /// In the order in which they were learnt: one that was just looked up is not the next to go.
    order: BTreeMap<u64, MessageId>,
    learnt: u64,
    people: usize,
}

impl Ledger {
    /// Whether the message need not be looked up.
    pub(super) fn knows(&self, id: MessageId) -> bool {
        self.entries.contains_key(&id)
    }

    /// The message, as far as `user` may know of it.
    pub(super) fn visible(&self, id: MessageId, user: &UserId) -> Result<&Entry, Refusal> {
        self.entries
            .get(&id)
            .map(|(_, entry)| entry)
            .filter(|entry| can_see(user, &entry.author, entry.audience.named()))
            .ok_or(Refusal::UnknownMessage(id))
    }

    /// Keeps a message, and forgets the oldest when there are too many.
    pub(super) fn insert(&mut self, id: MessageId, entry: Entry) {
        self.remove(id);
        self.people += entry.people();
        self.learnt += 1;
        self.order.insert(self.learnt, id);
        self.entries.insert(id, (self.learnt, entry));
        while self.entries.len() > limits::LEDGER_MESSAGES || self.people > limits::LEDGER_PEOPLE {
            let Some(oldest) = self.order.values().next().copied() else { return };
            self.remove(oldest);
        }
    }

    pub(super) fn remove(&mut self, id: MessageId) -> Option<Entry> {
        let (learnt, entry) = self.entries.remove(&id)?;
        self.people -= entry.people();
        self.order.remove(&learnt);
        Some(entry)
    }
}
