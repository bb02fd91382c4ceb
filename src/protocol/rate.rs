//! Rate limits as token buckets, used by the server to limit clients and by clients to throttle
//! themselves.
//!
//! Pure: the current time is an argument, and the caller decides what happens above the rate.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// A rate limit: `burst` at once, then `per_second`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Number of items allowed at once when the bucket is full.
    pub burst: u32,
    /// Number of items per second after that. 0 counts as 1.
    pub per_second: u32,
}

impl Rate {
    /// The time in which a bucket refills by `count` items.
    pub fn time_for(self, count: u32) -> Duration {
        Duration::from_secs(1).saturating_mul(count) / self.per_second.max(1)
    }
}

/// The state of one rate limit. A new bucket is full.
///
/// It stores the time at which the bucket will be full again, from which the current number of tokens
/// follows. It does not store the rate, which every call passes in.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenBucket {
    /// When the bucket will be full again if nothing more is taken.
    full_at: Option<Instant>,
}

impl TokenBucket {
    /// When `count` items may be taken, at the earliest `now`. A full bucket allows any count.
    pub fn ready_at(&self, rate: Rate, now: Instant, count: u32) -> Instant {
        let capacity = rate.time_for(rate.burst.max(count));
        let full_at = self.full_at_or(now) + rate.time_for(count);
        full_at.checked_sub(capacity).map_or(now, |ready| ready.max(now))
    }

    /// Takes `count` items even if the bucket has too few, and returns [`ready_at`](Self::ready_at): the
    /// time until which the caller should wait.
    pub fn take(&mut self, rate: Rate, now: Instant, count: u32) -> Instant {
        let ready = self.ready_at(rate, now, count);
        self.full_at = Some(self.full_at_or(now) + rate.time_for(count));
        ready
    }

    /// Takes one item if the bucket has one; returns whether it did.
    pub fn try_take(&mut self, rate: Rate, now: Instant) -> bool {
        let granted = self.ready_at(rate, now, 1) == now;
        if granted {
            self.take(rate, now, 1);
        }
        granted
    }

    /// Whether the bucket is full.
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at_or(now) == now
    }

    fn full_at_or(&self, now: Instant) -> Instant {
        self.full_at.map_or(now, |full_at| full_at.max(now))
    }
}
