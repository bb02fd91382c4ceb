//! What the limits of a server mean for this client: when it pings, and how fast it sends by itself.
//!
//! Pure. A server may say what it wants; what makes no sense is not obeyed.

use std::time::{Duration, Instant};

use crate::protocol::limits::Limits;
use crate::protocol::rate::{Bucket, Rate};

/// The shortest and the longest silence before a ping: a server can make a client neither busy nor
/// blind.
const PING: [Duration; 2] = [Duration::from_secs(5), Duration::from_mins(1)];

/// The longest time for which a silent server is believed in.
const DEAD: Duration = Duration::from_mins(5);

/// The beat of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pulse {
    /// How long nothing was sent when the server is asked whether it is there.
    pub(super) ping: Duration,
    /// How long the server may say nothing at all.
    pub(super) dead: Duration,
}

impl Pulse {
    /// As this server has it.
    pub(super) fn of(limits: &Limits) -> Self {
        let [shortest, longest] = PING;
        let ping = Duration::from_secs(limits.ping_seconds).clamp(shortest, longest);
        let dead = Duration::from_secs(limits.dead_seconds).clamp(2 * ping, DEAD);
        Self { ping, dead }
    }
}

/// How fast messages are sent that wait: a server that is asked for more than it grants reads nothing
/// for a while, and then questions would wait behind messages.
#[derive(Debug, Default)]
pub(super) struct Pace {
    rate: Option<Rate>,
    bucket: Bucket,
}

impl Pace {
    /// As this server has it. Half of what may come at once is left for others of the same person, and
    /// for what the network varies.
    pub(super) fn of(limits: &Limits) -> Self {
        let rate = limits.rates.map(|rates| Rate {
            burst: (rates.messages.burst / 2).max(1),
            per_second: rates.messages.per_second.max(1),
        });
        Self { rate, bucket: Bucket::default() }
    }

    /// When the next message may be sent.
    pub(super) fn due(&self, now: Instant) -> Instant {
        self.rate.map_or(now, |rate| self.bucket.ready(rate, now, 1))
    }

    /// A message was sent.
    pub(super) fn sent(&mut self, now: Instant) {
        if let Some(rate) = self.rate {
            self.bucket.take(rate, now, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::limits::{DEAD_SECONDS, PING_SECONDS, Rates};

    #[test]
    fn what_a_server_says_is_obeyed_within_reason() {
        for (ping, dead, obeyed) in [
            (PING_SECONDS, DEAD_SECONDS, (PING_SECONDS, DEAD_SECONDS)),
            (30, 90, (30, 90)),
            (0, 0, (5, 10)),
            (u64::MAX, u64::MAX, (60, 300)),
            (60, 1, (60, 120)),
        ] {
            let limits = Limits { ping_seconds: ping, dead_seconds: dead, ..Limits::default() };
            let Pulse { ping, dead } = Pulse::of(&limits);
            assert_eq!((ping.as_secs(), dead.as_secs()), obeyed);
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a moment to count from")]
    fn no_rate_keeps_a_message_back_for_more_than_a_second() {
        let now = Instant::now();
        for (burst, per_second, at_once, wait) in
            [(10, 2, 5, 500), (0, 0, 1, 1_000), (u32::MAX, u32::MAX, 1_000, 0)]
        {
            let rate = Rate { burst, per_second };
            let rates = Some(Rates { messages: rate, questions: rate, bytes: rate });
            let mut pace = Pace::of(&Limits { rates, ..Limits::default() });
            for _ in 0..at_once {
                assert_eq!(pace.due(now), now);
                pace.sent(now);
            }
            assert_eq!((pace.due(now) - now).as_millis(), wait);
        }
        let mut free = Pace::of(&Limits::default());
        free.sent(now);
        assert_eq!(free.due(now), now);
    }
}
