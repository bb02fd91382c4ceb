//! How fast one person is heard: not by refusing what is too much, but by not reading it yet.
//!
//! It says when something is due; the session waits. A person is a key, however many IDs and
//! connections it has, and whoever has none is one for each connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::hub::KeyHash;
use super::limits::{FLOOD_RESET_PAUSE, FLOOD_TIMEOUT, RATE_ENTRIES_BEFORE_PRUNE};
use crate::protocol::error::Refusal;
use crate::protocol::limits::Rates;
use crate::protocol::rate::TokenBucket;
use crate::protocol::request::{DecodedRequest, Request};

/// What everybody may do, and what they have done.
#[derive(Debug)]
pub(super) struct RateLimiter {
    rates: Rates,
    users: Mutex<BucketTable>,
}

#[derive(Debug, Default)]
struct BucketTable {
    buckets: HashMap<KeyHash, Arc<Mutex<UserBuckets>>>,
    /// How many there may be before those who left are forgotten.
    prune_at: usize,
}

/// What one person has left.
#[derive(Debug, Default)]
struct UserBuckets {
    messages: TokenBucket,
    queries: TokenBucket,
    bytes: TokenBucket,
}

/// What somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cost {
    /// Something to be written, or refused.
    Message,
    /// Something to be read.
    Query,
    /// To be read from, so many bytes.
    Bytes(u32),
}

/// What one session may ask for.
#[derive(Debug)]
pub(super) struct SessionRateLimit {
    limiter: Arc<RateLimiter>,
    buckets: Arc<Mutex<UserBuckets>>,
    flood: Option<FloodTimer>,
}

/// Somebody asks for more than there is, again and again.
#[derive(Debug, Clone, Copy)]
struct FloodTimer {
    since: Instant,
    /// When the last was due that came much too early.
    last_due: Instant,
}

impl Cost {
    /// What a request is; nothing for what costs nothing.
    pub(super) fn of((_, request): &DecodedRequest) -> Option<Self> {
        match request {
            Ok(Request::Post(_) | Request::Delete(_)) | Err(_) => Some(Self::Message),
            Ok(
                Request::History(_)
                | Request::SearchHistory(_)
                | Request::LocalSearch
                | Request::Ping(_),
            ) => Some(Self::Query),
            Ok(Request::Exit) => None,
        }
    }
}

impl RateLimiter {
    /// Nobody yet.
    pub(super) fn new(rates: Rates) -> Self {
        Self { rates, users: Mutex::default() }
    }

    /// A session of somebody with this key: what other sessions have used is missing.
    pub(super) fn session(
        self: &Arc<Self>,
        now: Instant,
        key: Option<KeyHash>,
    ) -> SessionRateLimit {
        let buckets = key.map(|key| lock(&self.users).get_or_insert(now, key)).unwrap_or_default();
        SessionRateLimit { limiter: Arc::clone(self), buckets, flood: None }
    }
}

impl BucketTable {
    fn get_or_insert(&mut self, now: Instant, key: KeyHash) -> Arc<Mutex<UserBuckets>> {
        if self.buckets.len() >= self.prune_at.max(RATE_ENTRIES_BEFORE_PRUNE) {
            // Who has no session and misses nothing is the same as new.
            self.buckets.retain(|_, one| Arc::strong_count(one) > 1 || !lock(one).are_full(now));
            self.prune_at = 2 * self.buckets.len();
        }
        Arc::clone(self.buckets.entry(key).or_default())
    }
}

impl UserBuckets {
    fn are_full(&self, now: Instant) -> bool {
        let all = [self.messages, self.queries, self.bytes];
        all.iter().all(|bucket| bucket.is_full(now.into_std()))
    }
}

impl SessionRateLimit {
    /// Takes what is asked for, and says when it is due.
    ///
    /// # Errors
    /// [`Refusal::Flooding`]: it has been too much for too long.
    pub(super) fn charge(&mut self, now: Instant, asked: Cost) -> Result<Instant, Refusal> {
        let rates = self.limiter.rates;
        let mut buckets = lock(&self.buckets);
        let (bucket, rate, count) = match asked {
            Cost::Message => (&mut buckets.messages, rates.messages, 1),
            Cost::Query => (&mut buckets.queries, rates.questions, 1),
            Cost::Bytes(count) => (&mut buckets.bytes, rates.bytes, count),
        };
        let due = Instant::from_std(bucket.take(rate, now.into_std(), count));
        drop(buckets);
        // Whoever keeps to the rate is early by what the network varies; whoever does not, by a whole
        // turn each time.
        if due - now > rate.time_for(count) / 2 {
            let since = self.flood.filter(|pressing| now < pressing.last_due + FLOOD_RESET_PAUSE);
            let since = since.map_or(now, |pressing| pressing.since);
            self.flood = Some(FloodTimer { since, last_due: due });
            if due - since > FLOOD_TIMEOUT {
                return Err(Refusal::Flooding);
            }
        }
        Ok(due)
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here can panic half way.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::server::limits::{DEFAULT_RATES, rates_for};

    #[test]
    fn rates_scale_with_messages_per_second() {
        assert_eq!(rates_for(2), DEFAULT_RATES, "as it is by itself");
        let ten = rates_for(10);
        assert_eq!((ten.messages.burst, ten.messages.per_second), (50, 10));
        assert_eq!(ten.bytes.per_second, 5 * DEFAULT_RATES.bytes.per_second);
        assert_eq!(ten.questions, DEFAULT_RATES.questions);
        // The longest message is taken whole at any rate.
        assert!(
            rates_for(1).bytes.burst >= DEFAULT_RATES.bytes.burst
                && rates_for(1_000).bytes.burst > ten.bytes.burst
        );
    }
    use crate::server::tests::monotonic_now;

    fn limiter() -> Arc<RateLimiter> {
        Arc::new(RateLimiter::new(DEFAULT_RATES))
    }

    fn delay_millis(allowance: &mut SessionRateLimit, now: Instant, asked: Cost) -> u128 {
        (allowance.charge(now, asked).unwrap() - now).as_millis()
    }

    #[test]
    fn each_cost_has_its_own_bucket() {
        let (start, people) = (monotonic_now(), limiter());
        let mut bob = people.session(start, None);
        for (asked, free, each) in [
            (Cost::Message, DEFAULT_RATES.messages.burst, 500),
            (Cost::Query, DEFAULT_RATES.questions.burst, 20),
            (Cost::Bytes(1_000), DEFAULT_RATES.bytes.burst / 1_000, 50),
        ] {
            for _ in 0..free {
                assert_eq!(delay_millis(&mut bob, start, asked), 0, "{asked:?}");
            }
            assert_eq!(delay_millis(&mut bob, start, asked), each, "{asked:?}");
        }
    }

    #[test]
    fn sessions_of_one_key_share_a_rate_limit() {
        let (start, people) = (monotonic_now(), limiter());
        let mut bob = people.session(start, Some([1; 32]));
        for _ in 0..DEFAULT_RATES.messages.burst {
            assert_eq!(delay_millis(&mut bob, start, Cost::Message), 0);
        }
        let mut beside = people.session(start, Some([1; 32]));
        assert_eq!(delay_millis(&mut beside, start, Cost::Message), 500);
        drop((bob, beside));
        let mut again = people.session(start, Some([1; 32]));
        assert_eq!(
            delay_millis(&mut again, start, Cost::Message),
            1_000,
            "a new login is no new person"
        );
        let mut kim = people.session(start, Some([2; 32]));
        assert_eq!(delay_millis(&mut kim, start, Cost::Message), 0);
    }

    #[test]
    fn refilled_users_are_pruned() {
        let (start, people) = (monotonic_now(), limiter());
        let key = |number: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            key
        };
        let mut stays = people.session(start, Some(key(0)));
        stays.charge(start, Cost::Message).unwrap();
        for number in 1..20 * RATE_ENTRIES_BEFORE_PRUNE {
            let now = start + Duration::from_millis(10) * u32::try_from(number).unwrap();
            people.session(now, Some(key(number))).charge(now, Cost::Message).unwrap();
        }
        let known = lock(&people.users);
        assert!(known.buckets.len() <= 2 * RATE_ENTRIES_BEFORE_PRUNE, "{}", known.buckets.len());
        assert!(known.buckets.contains_key(&key(0)), "who is connected is known");
    }

    #[test]
    fn flooding_is_detected_after_a_minute_without_pause() {
        let (start, people) = (monotonic_now(), limiter());
        let mut flooder = people.session(start, None);
        let mut now = start;
        let flooding = loop {
            match flooder.charge(now, Cost::Message) {
                Ok(due) => now = due,
                Err(refusal) => break refusal,
            }
        };
        assert_eq!((flooding, (now - start).as_secs()), (Refusal::Flooding, 60));

        // The network is late by a little, and never by as much again.
        let mut steady = people.session(start, None);
        steady.charge(start, Cost::Message).unwrap();
        for turn in 1..1_000 {
            let early = Duration::from_millis(200);
            let now = start + Duration::from_millis(500) * turn - early;
            for _ in 0..if turn == 1 { DEFAULT_RATES.messages.burst } else { 1 } {
                steady.charge(now, Cost::Message).unwrap();
            }
        }

        // Whoever pauses may press again.
        let mut bursts = people.session(start, None);
        let mut now = start;
        for _ in 0..20 {
            for _ in 0..50 {
                now = bursts.charge(now, Cost::Message).unwrap();
            }
            now += 2 * FLOOD_RESET_PAUSE;
        }
    }
}
