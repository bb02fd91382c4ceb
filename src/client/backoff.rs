//! Pauses between connection attempts: exponential backoff with full jitter.
//!
//! Pure: the caller passes the random number generator and the times. A pause is a random part of a limit
//! that doubles, so that the clients of a restarted server do not reconnect simultaneously
//! (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::SmallRng;

/// The limit of the first pause.
const INITIAL_LIMIT: Duration = Duration::from_millis(500);

/// The highest limit.
const MAX_LIMIT: Duration = Duration::from_secs(30);

/// A connection that lasted this long resets the limit.
const RESET_AFTER: Duration = MAX_LIMIT;

/// The backoff of one client.
#[derive(Debug)]
pub(super) struct Backoff {
    rng: SmallRng,
    limit: Duration,
}

impl Backoff {
    pub(super) fn new(rng: SmallRng) -> Self {
        Self { rng, limit: INITIAL_LIMIT }
    }

    /// Draws the pause after an attempt. `connected_for` is zero if the attempt failed.
    pub(super) fn next_pause(&mut self, connected_for: Duration) -> Duration {
        if connected_for >= RESET_AFTER {
            self.limit = INITIAL_LIMIT;
        }
        let limit = self.limit;
        self.limit = (limit * 2).min(MAX_LIMIT);
        self.rng.random_range(Duration::ZERO..=limit)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn longest_pause(failures: usize, connected_for: Duration) -> Duration {
        let pause = |seed| {
            let mut backoff = Backoff::new(SmallRng::seed_from_u64(seed));
            for _ in 0..failures {
                backoff.next_pause(Duration::ZERO);
            }
            backoff.next_pause(connected_for)
        };
        (0..1_000).map(pause).max().unwrap()
    }

    #[test]
    fn limit_doubles_up_to_30_seconds() {
        for (failures, limit) in [(0, 0.5), (1, 1.0), (2, 2.0), (5, 16.0), (6, 30.0), (1_000, 30.0)]
        {
            let longest = longest_pause(failures, Duration::ZERO).as_secs_f64();
            assert!((limit * 0.95..=limit).contains(&longest), "{failures} failures: {longest}");
        }
    }

    #[test]
    fn lasting_connection_resets_the_limit() {
        assert!(longest_pause(10, RESET_AFTER) <= INITIAL_LIMIT);
        assert!(longest_pause(10, RESET_AFTER / 2) > INITIAL_LIMIT);
    }

    #[test]
    fn clients_draw_different_pauses() {
        let pause = |seed| Backoff::new(SmallRng::seed_from_u64(seed)).next_pause(Duration::ZERO);
        assert_ne!(pause(1), pause(2));
        assert_eq!(pause(1), pause(1), "the seed decides");
    }
}
