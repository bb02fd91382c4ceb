//! How long to wait before the next attempt to connect.
//!
//! Pure: neither a clock nor dice of its own. The pauses have "full jitter": a random part of a limit
//! that doubles, so that the clients of a restarted server do not come back all at once
//! (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::SmallRng;

/// The limit of the first pause.
const FIRST: Duration = Duration::from_millis(500);

/// The limit of every later pause: what a person waits without looking whether it still works.
const LONGEST: Duration = Duration::from_secs(30);

/// A connection that held this long was a good one, and the pauses begin anew.
const LASTED: Duration = LONGEST;

/// The pauses of one client.
#[derive(Debug)]
pub(super) struct Backoff {
    rng: SmallRng,
    limit: Duration,
}

impl Backoff {
    pub(super) fn new(rng: SmallRng) -> Self {
        Self { rng, limit: FIRST }
    }

    /// The pause after an attempt that failed, or a connection that held for `lasted`.
    pub(super) fn pause(&mut self, lasted: Duration) -> Duration {
        if lasted >= LASTED {
            self.limit = FIRST;
        }
        let limit = self.limit;
        self.limit = (limit * 2).min(LONGEST);
        self.rng.random_range(Duration::ZERO..=limit)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn longest_of_many(failures: usize, lasted: Duration) -> Duration {
        let pause = |seed| {
            let mut backoff = Backoff::new(SmallRng::seed_from_u64(seed));
            for _ in 0..failures {
                backoff.pause(Duration::ZERO);
            }
            backoff.pause(lasted)
        };
        (0..1_000).map(pause).max().unwrap()
    }

    #[test]
    fn the_limit_doubles_up_to_half_a_minute() {
        for (failures, limit) in [(0, 0.5), (1, 1.0), (2, 2.0), (5, 16.0), (6, 30.0), (1_000, 30.0)]
        {
            let longest = longest_of_many(failures, Duration::ZERO).as_secs_f64();
            assert!((limit * 0.95..=limit).contains(&longest), "{failures} failures: {longest}");
        }
    }

    #[test]
    fn a_connection_that_lasted_makes_the_pauses_short_again() {
        assert!(longest_of_many(10, LASTED) <= FIRST);
        assert!(longest_of_many(10, LASTED / 2) > FIRST);
    }

    #[test]
    fn two_clients_do_not_come_back_together() {
        let pause = |seed| Backoff::new(SmallRng::seed_from_u64(seed)).pause(Duration::ZERO);
        assert_ne!(pause(1), pause(2));
        assert_eq!(pause(1), pause(1), "the seed decides");
    }
}
