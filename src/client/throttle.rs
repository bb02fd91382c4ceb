//! How fast the outbox sends, given the server's rate limits.
//!
//! Pure.

use std::time::Instant;

use crate::protocol::limits::Limits;
use crate::protocol::rate::{Rate, TokenBucket};

/// Keeps messages below the server's rate limit. A server stops reading a client that exceeds the limit,
/// which would delay all other requests behind messages.
#[derive(Debug, Default)]
pub(super) struct SendThrottle {
    /// `None`: the server has no rate limit.
    rate: Option<Rate>,
    bucket: TokenBucket,
}

impl SendThrottle {
    /// Takes the rate from the server's limits. Half of the burst is left for other sessions of the same
    /// user and for jitter of the network.
    pub(super) fn from_limits(limits: &Limits) -> Self {
        let rate = limits.rates.map(|rates| Rate {
            burst: (rates.messages.burst / 2).max(1),
            per_second: rates.messages.per_second.max(1),
        });
        Self { rate, bucket: TokenBucket::default() }
    }

    /// Returns the time at which the next message may be sent.
    pub(super) fn ready_at(&self, now: Instant) -> Instant {
        self.rate.map_or(now, |rate| self.bucket.ready_at(rate, now, 1))
    }

    /// Accounts for a message sent at `now`.
    pub(super) fn record_send(&mut self, now: Instant) {
        if let Some(rate) = self.rate {
            self.bucket.take(rate, now, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::limits::Rates;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "only a clock makes an `Instant`")]
    fn messages_are_delayed_by_one_second_at_most() {
        let now = Instant::now();
        for (burst, per_second, immediate, delay_millis) in
            [(10, 2, 5, 500), (0, 0, 1, 1_000), (u32::MAX, u32::MAX, 1_000, 0)]
        {
            let rate = Rate { burst, per_second };
            let rates = Some(Rates { messages: rate, questions: rate, bytes: rate });
            let mut throttle = SendThrottle::from_limits(&Limits { rates, ..Limits::default() });
            for _ in 0..immediate {
                assert_eq!(throttle.ready_at(now), now);
                throttle.record_send(now);
            }
            assert_eq!((throttle.ready_at(now) - now).as_millis(), delay_millis);
        }
        let mut unthrottled = SendThrottle::from_limits(&Limits::default());
        unthrottled.record_send(now);
        assert_eq!(unthrottled.ready_at(now), now);
    }
}
