//! How often something may happen, and the bucket that counts it: for servers, which hold clients to a
//! rate, and for clients, which keep to it.
//!
//! Pure: time is an input. What is done with whoever comes too early is not decided here.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// So many at once, and then so many a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// How many may come at once after a rest.
    pub burst: u32,
    /// How many a second from then on.
    pub per_second: u32,
}

impl Rate {
    /// What `count` of them take of the time of a bucket.
    pub fn time_for(self, count: u32) -> Duration {
        Duration::from_secs(1).saturating_mul(count) / self.per_second.max(1)
    }
}

/// What one person has left of a rate. A new one is full.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenBucket {
    /// When it will be full again, if nothing more is taken.
    full_at: Option<Instant>,
}

impl TokenBucket {
    /// When `count` may be taken: now at the earliest.
    pub fn ready_at(&self, rate: Rate, now: Instant, count: u32) -> Instant {
        let capacity = rate.time_for(rate.burst.max(count));
        let full_at = self.full_at_or(now) + rate.time_for(count);
        full_at.checked_sub(capacity).map_or(now, |ready| ready.max(now))
    }

    /// Takes `count`, however much there is, and says when they were due: whoever takes waits until
    /// then.
    pub fn take(&mut self, rate: Rate, now: Instant, count: u32) -> Instant {
        let ready = self.ready_at(rate, now, count);
        self.full_at = Some(self.full_at_or(now) + rate.time_for(count));
        ready
    }

    /// Takes one if there is one; whether there was.
    pub fn try_take(&mut self, rate: Rate, now: Instant) -> bool {
        let granted = self.ready_at(rate, now, 1) == now;
        if granted {
            self.take(rate, now, 1);
        }
        granted
    }

    /// Whether nothing is missing in it.
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at_or(now) == now
    }

    fn full_at_or(&self, now: Instant) -> Instant {
        self.full_at.map_or(now, |full_at| full_at.max(now))
    }
}
