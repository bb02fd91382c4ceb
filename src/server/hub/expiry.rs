//! When temporary messages go: a set of deadlines, not a sweep.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::message_cache::CachedMessage;
use super::{Hub, HubEffect, Now, WriteContext};
use crate::protocol::id::MessageId;
use crate::protocol::message::Millis;
use crate::store::Append;

/// How long to wait before the log is asked again to note that something has expired.
const RETRY_DELAY: Millis = 10_000;

/// The deadlines of all temporary messages, by the wall clock, since their readers count down by it;
/// with who has the message, unless it is from before this start: then nobody here was sent it, but
/// by the log, which tells its readers.
#[derive(Debug, Default)]
pub(super) struct ExpiryQueue(BTreeMap<(Millis, MessageId), Option<CachedMessage>>);

impl ExpiryQueue {
    pub(super) fn insert(&mut self, at: Millis, id: MessageId, entry: Option<CachedMessage>) {
        self.0.insert((at, id), entry);
    }

    pub(super) fn deadline(&self, now: Now) -> Option<Instant> {
        let ((at, _), _) = self.0.first_key_value()?;
        let wait = u64::try_from(at - now.millis()).unwrap_or(0);
        Some(now.monotonic + Duration::from_millis(wait))
    }
}

impl Hub {
    /// Messages whose time is up are gone; it is noted in the log, and then told.
    pub(super) fn expire_due(&mut self, now: Now, effects: &mut Vec<HubEffect>) {
        while let Some(first) = self.expiry.0.first_entry() {
            if first.key().0 > now.millis() {
                return;
            }
            let ((_, id), entry) = first.remove_entry();
            self.message_cache.remove(id);
            let ticket = WriteContext::Expire { id, message: entry };
            effects.push(HubEffect::Append { context: ticket, append: Append::Expire { id } });
        }
    }

    /// It could not be noted: later, then. Nobody is served the message meanwhile.
    pub(super) fn retry_expiry(&mut self, now: Now, id: MessageId, entry: Option<CachedMessage>) {
        self.expiry.insert(now.millis() + RETRY_DELAY, id, entry);
    }
}
