//! When to ping a server, and when to give up on a silent one.
//!
//! Pure. The server's limits are clamped to reasonable values.

use std::time::Duration;

use crate::protocol::limits::Limits;

/// The shortest and the longest accepted ping interval, so that a server can make a client neither busy
/// nor blind to a dead connection.
const PING_INTERVALS: [Duration; 2] = [Duration::from_secs(5), Duration::from_mins(1)];

/// The longest accepted read timeout.
const MAX_READ_TIMEOUT: Duration = Duration::from_mins(5);

/// The keepalive times of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keepalive {
    /// The client pings after it has sent nothing for this long.
    pub(super) ping_interval: Duration,
    /// The client closes the connection after it has received nothing for this long.
    pub(super) read_timeout: Duration,
}

impl Keepalive {
    /// Takes the times from the server's limits, clamped.
    pub(super) fn from_limits(limits: &Limits) -> Self {
        let [shortest, longest] = PING_INTERVALS;
        let ping_interval = Duration::from_secs(limits.ping_seconds).clamp(shortest, longest);
        let read_timeout =
            Duration::from_secs(limits.dead_seconds).clamp(2 * ping_interval, MAX_READ_TIMEOUT);
        Self { ping_interval, read_timeout }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::limits::{KEEPALIVE_TIMEOUT_SECONDS, PING_SECONDS};

    #[test]
    fn server_keepalive_limits_are_clamped() {
        for (ping_seconds, dead_seconds, clamped) in [
            (PING_SECONDS, KEEPALIVE_TIMEOUT_SECONDS, (PING_SECONDS, KEEPALIVE_TIMEOUT_SECONDS)),
            (30, 90, (30, 90)),
            (0, 0, (5, 10)),
            (u64::MAX, u64::MAX, (60, 300)),
            (60, 1, (60, 120)),
        ] {
            let limits = Limits { ping_seconds, dead_seconds, ..Limits::default() };
            let Keepalive { ping_interval, read_timeout } = Keepalive::from_limits(&limits);
            assert_eq!((ping_interval.as_secs(), read_timeout.as_secs()), clamped);
        }
    }
}
