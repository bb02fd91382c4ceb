//! When temporary messages go: a set of deadlines, not a sweep.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::ledger::Entry;
use super::{Effect, Hub, Now};
use crate::protocol::event::Event;
use crate::protocol::id::MessageId;
use crate::protocol::message::Millis;

/// The deadlines of all temporary messages, by the wall clock, since their readers count down by it.
#[derive(Debug, Default)]
pub(super) struct Expiry(BTreeSet<(Millis, MessageId)>);

impl Expiry {
    pub(super) fn insert(&mut self, at: Millis, id: MessageId) {
        self.0.insert((at, id));
    }

    pub(super) fn remove(&mut self, at: Millis, id: MessageId) {
        self.0.remove(&(at, id));
    }

    pub(super) fn first_due(&self, now: Millis) -> Option<MessageId> {
        self.0.first().filter(|(at, _)| *at <= now).map(|(_, id)| *id)
    }

    pub(super) fn deadline(&self, now: Now) -> Option<Instant> {
        let (at, _) = self.0.first()?;
        let wait = u64::try_from(at - now.millis()).unwrap_or(0);
        Some(now.mono + Duration::from_millis(wait))
    }
}

impl Hub {
    /// Messages whose time is up are gone, and those who have them are told, once.
    pub(super) fn expire(&mut self, now: Now, effects: &mut Vec<Effect>) {
        while let Some((id, entry)) = self.ledger.take_expired(now.millis()) {
            self.tell_expired(id, &entry, effects);
        }
    }

    /// The oldest messages are forgotten when there are too many. A temporary one goes before its
    /// time then: nobody could be told later.
    pub(super) fn forget_surplus(&mut self, effects: &mut Vec<Effect>) {
        while let Some((id, entry)) = self.ledger.take_surplus() {
            if entry.expires.is_some() {
                self.tell_expired(id, &entry, effects);
            }
        }
    }

    fn tell_expired(&mut self, id: MessageId, entry: &Entry, effects: &mut Vec<Effect>) {
        let to = self.holders(&entry.author, &entry.audience);
        let seq = self.next_seq();
        effects.push(Effect::Send { to, event: Event::Expired { seq, id } });
    }
}
