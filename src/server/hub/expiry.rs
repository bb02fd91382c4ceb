//! Expiry of temporary messages, by a queue of deadlines.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::{Hub, HubEffect, Now, Origin};
use crate::protocol::id::MessageId;
use crate::protocol::message::Millis;
use crate::store::Entry;

/// How long to wait, in milliseconds, before an expiry that could not be stored is proposed again.
const RETRY_DELAY: Millis = 10_000;

/// The temporary messages, by the time of the [`TrustedClock`](super::trusted_clock::TrustedClock) at which
/// they expire.
#[derive(Debug, Default)]
pub(super) struct ExpiryQueue(BTreeSet<(Millis, MessageId)>);

impl ExpiryQueue {
    pub(super) fn insert(&mut self, at: Millis, id: MessageId) {
        self.0.insert((at, id));
    }

    /// When the first message expires. `time` is the trusted one.
    pub(super) fn deadline(&self, now: Now, time: Millis) -> Option<Instant> {
        let (at, _) = self.0.first()?;
        let wait = u64::try_from(at - time).unwrap_or(0);
        Some(now.monotonic + Duration::from_millis(wait))
    }
}

impl Hub {
    /// Proposes the expiry of the messages that are due. Readers do not return them meanwhile.
    pub(super) fn expire_due(&mut self, now: Now, effects: &mut Vec<HubEffect>) {
        let time = self.clock.read(now).time;
        while let Some((due, id)) = self.expiry.0.first().copied() {
            if due > time {
                return;
            }
            self.expiry.0.pop_first();
            let origin = Origin::Expiry(id);
            effects.push(HubEffect::Propose { origin, entry: Entry::Expire { id } });
        }
    }

    /// Schedules another try after an expiry could not be stored.
    pub(super) fn retry_expiry(&mut self, now: Now, id: MessageId) {
        self.schedule_expiry(now, RETRY_DELAY, id);
    }

    /// Schedules an expiry after so many milliseconds, also while the wall clock is not trusted.
    pub(super) fn schedule_expiry(&mut self, now: Now, delay: Millis, id: MessageId) {
        self.expiry.insert(self.clock.time(now).saturating_add(delay), id);
    }
}
