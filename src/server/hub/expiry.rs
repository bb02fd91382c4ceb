//! Expiry of temporary messages, by a queue of deadlines.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::message_cache::CachedMessage;
use super::{Hub, HubEffect, Now, WriteContext};
use crate::protocol::id::MessageId;
use crate::protocol::message::Millis;
use crate::store::Append;

/// How long to wait, in milliseconds, before a failed write of an expiry is retried.
const RETRY_DELAY: Millis = 10_000;

/// The temporary messages, by the wall-clock time of their expiry.
///
/// The value is `None` for messages from before this start of the server: no connected session was sent
/// one live, and a session that reads it from the log gets its expiry from the log, too.
#[derive(Debug, Default)]
pub(super) struct ExpiryQueue(BTreeMap<(Millis, MessageId), Option<CachedMessage>>);

impl ExpiryQueue {
    pub(super) fn insert(&mut self, at: Millis, id: MessageId, message: Option<CachedMessage>) {
        self.0.insert((at, id), message);
    }

    /// When the first message expires. `time` is the trusted one.
    pub(super) fn deadline(&self, now: Now, time: Millis) -> Option<Instant> {
        let ((at, _), _) = self.0.first_key_value()?;
        let wait = u64::try_from(at - time).unwrap_or(0);
        Some(now.monotonic + Duration::from_millis(wait))
    }
}

impl Hub {
    /// Expires the messages that are due. The audience is notified after the log has recorded it.
    pub(super) fn expire_due(&mut self, now: Now, effects: &mut Vec<HubEffect>) {
        let time = self.clock.read(now).time;
        while let Some(first) = self.expiry.0.first_entry() {
            if first.key().0 > time {
                return;
            }
            let ((_, id), message) = first.remove_entry();
            self.message_cache.remove(id);
            let context = WriteContext::Expire { id, message };
            effects.push(HubEffect::Append { context, append: Append::Expire { id } });
        }
    }

    /// Schedules another try after the log failed to record an expiry. The message stays hidden meanwhile.
    pub(super) fn retry_expiry(&mut self, now: Now, id: MessageId, message: Option<CachedMessage>) {
        self.expiry.insert(now.millis() + RETRY_DELAY, id, message);
    }
}
