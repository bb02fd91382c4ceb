//! What the server still knows of messages: not their text, but all that decides who may do what.

use std::collections::{BTreeMap, HashMap};

use rand::RngExt;
use rand::rngs::StdRng;

use super::expiry::Expiry;
use crate::protocol::error::Refusal;
use crate::protocol::id::{MessageId, Seq, UserId};
use crate::protocol::message::{Audience, Millis};
use crate::server::limits;

/// One message that can be replied to and removed.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) seq: Seq,
    pub(super) author: UserId,
    pub(super) audience: Audience,
    pub(super) expires: Option<Millis>,
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
    entries: HashMap<MessageId, Entry>,
    order: BTreeMap<Seq, MessageId>,
    expiry: Expiry,
    people: usize,
}

impl Ledger {
    pub(super) fn expiry(&self) -> &Expiry {
        &self.expiry
    }

    /// The message, as far as `user` may know of it.
    pub(super) fn visible(&self, id: MessageId, user: &UserId) -> Result<&Entry, Refusal> {
        self.entries
            .get(&id)
            .filter(|entry| entry.author == *user || entry.audience.includes(user))
            .ok_or(Refusal::UnknownMessage(id))
    }

    pub(super) fn insert(&mut self, id: MessageId, entry: Entry) {
        self.people += entry.people();
        self.order.insert(entry.seq, id);
        if let Some(at) = entry.expires {
            self.expiry.insert(at, id);
        }
        self.entries.insert(id, entry);
    }

    pub(super) fn remove(&mut self, id: MessageId) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.people -= entry.people();
        self.order.remove(&entry.seq);
        if let Some(at) = entry.expires {
            self.expiry.remove(at, id);
        }
        Some(entry)
    }

    /// Takes out a message that has expired by `now`.
    pub(super) fn take_expired(&mut self, now: Millis) -> Option<(MessageId, Entry)> {
        let id = self.expiry.first_due(now)?;
        self.remove(id).map(|entry| (id, entry))
    }

    /// Takes out the oldest message, when there are too many.
    pub(super) fn take_surplus(&mut self) -> Option<(MessageId, Entry)> {
        let over =
            self.entries.len() > limits::LEDGER_MESSAGES || self.people > limits::LEDGER_PEOPLE;
        let id = self.order.values().next().copied().filter(|_| over)?;
        self.remove(id).map(|entry| (id, entry))
    }

    /// An id that no known message has.
    pub(super) fn draw_id(&self, dice: &mut StdRng) -> MessageId {
        let numbers = numbers(self.entries.len());
        loop {
            let drawn = MessageId::from_number(dice.random_range(numbers.clone()));
            if let Some(id) = drawn.filter(|id| !self.entries.contains_key(id)) {
                return id;
            }
        }
    }
}

/// Where to draw from when `used` ids are in use: six digits, and one more each time a third of the
/// numbers is used up.
fn numbers(used: usize) -> std::ops::Range<u32> {
    let mut first = MessageId::FIRST;
    while used >= first as usize * 3 && first < 100_000_000 {
        first *= 10;
    }
    first..first * 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_a_digit_when_a_third_is_used_up() {
        assert_eq!(numbers(0), 100_000..1_000_000);
        assert_eq!(numbers(299_999), 100_000..1_000_000);
        assert_eq!(numbers(300_000), 1_000_000..10_000_000);
        assert_eq!(numbers(3_000_000), 10_000_000..100_000_000);
        assert_eq!(numbers(usize::MAX), 100_000_000..1_000_000_000);
    }
}
