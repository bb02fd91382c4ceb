//! What the limits of a server mean for this client: when it pings, and how fast it sends by itself.
//!
//! Pure. A server may say what it wants; what makes no sense is not obeyed.

use std::time::{Duration, Instant};

use crate::protocol::limits::Limits;
use crate::protocol::rate::{Rate, TokenBucket};

/// The shortest and the longest silence before a ping: a server can make a client neither busy nor
/// blind.
const PING_INTERVALS: [Duration; 2] = [Duration::from_secs(5), Duration::from_mins(1)];

/// The longest time for which a silent server is believed in.
const MAX_READ_TIMEOUT: Duration = Duration::from_mins(5);

/// The beat of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keepalive {
    /// How long nothing was sent when the server is asked whether it is there.
    pub(super) ping_interval: Duration,
    /// How long the server may say nothing at all.
    pub(super) read_timeout: Duration,
}

impl Keepalive {
    /// As this server has it.
    pub(super) fn from_limits(limits: &Limits) -> Self {
        let [shortest, longest] = PING_INTERVALS;
        let ping_interval = Duration::from_secs(limits.ping_seconds).clamp(shortest, longest);
        let read_timeout =
            Duration::from_secs(limits.dead_seconds).clamp(2 * ping_interval, MAX_READ_TIMEOUT);
        Self { ping_interval, read_timeout }
    }
}

/// How fast messages are sent that wait: a server that is asked for more than it grants reads nothing
/// for a while, and then questions would wait behind messages.
#[derive(Debug, Default)]
pub(super) struct SendThrottle {
    rate: Option<Rate>,
    bucket: TokenBucket,
}

impl SendThrottle {
    /// As this server has it. Half of what may come at once is left for others of the same person, and
    /// for what the network varies.
    pub(super) fn from_limits(limits: &Limits) -> Self {
        let rate = limits.rates.map(|rates| Rate {
            burst: (rates.messages.burst / 2).max(1),
            per_second: rates.messages.per_second.max(1),
        });
        Self { rate, bucket: TokenBucket::default() }
    }

    /// When the next message may be sent.
    pub(super) fn ready_at(&self, now: Instant) -> Instant {
        self.rate.map_or(now, |rate| self.bucket.ready_at(rate, now, 1))
    }

    /// A message was sent.
    pub(super) fn record_send(&mut self, now: Instant) {
        if let Some(rate) = self.rate {
            self.bucket.take(rate, now, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::limits::{KEEPALIVE_TIMEOUT_SECONDS, PING_SECONDS, Rates};

    #[test]
    fn server_keepalive_limits_are_clamped() {
        for (ping, dead, obeyed) in [
            (PING_SECONDS, KEEPALIVE_TIMEOUT_SECONDS, (PING_SECONDS, KEEPALIVE_TIMEOUT_SECONDS)),
            (30, 90, (30, 90)),
            (0, 0, (5, 10)),
            (u64::MAX, u64::MAX, (60, 300)),
            (60, 1, (60, 120)),
        ] {
            let limits = Limits { ping_seconds: ping, dead_seconds: dead, ..Limits::default() };
            let Keepalive { ping_interval: ping, read_timeout: dead } =
                Keepalive::from_limits(&limits);
            assert_eq!((ping.as_secs(), dead.as_secs()), obeyed);
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a moment to count from")]
    fn messages_are_delayed_by_one_second_at_most() {
        let now = Instant::now();
        for (burst, per_second, at_once, wait) in
            [(10, 2, 5, 500), (0, 0, 1, 1_000), (u32::MAX, u32::MAX, 1_000, 0)]
        {
            let rate = Rate { burst, per_second };
            let rates = Some(Rates { messages: rate, questions: rate, bytes: rate });
            let mut throttle = SendThrottle::from_limits(&Limits { rates, ..Limits::default() });
            for _ in 0..at_once {
                assert_eq!(throttle.ready_at(now), now);
                throttle.record_send(now);
            }
            assert_eq!((throttle.ready_at(now) - now).as_millis(), wait);
        }
        let mut unthrottled = SendThrottle::from_limits(&Limits::default());
        unthrottled.record_send(now);
        assert_eq!(unthrottled.ready_at(now), now);
    }
}
