//! Rate limits: how many requests and bytes one user may send.
//!
//! A request over the limit is not refused: the session waits until it is due, and reads nothing from
//! its socket meanwhile. The limits of a key are shared by all its IDs and sessions; a guest has no key,
//! so each of their sessions has its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::hub::KeyHash;
use super::limits::{ANSWER_RATE, FLOOD_RESET_PAUSE, FLOOD_TIMEOUT, RATE_ENTRIES_BEFORE_PRUNE};
use crate::protocol::error::Refusal;
use crate::protocol::limits::Rates;
use crate::protocol::rate::TokenBucket;
use crate::protocol::request::{DecodedRequest, Request};

/// The rate limits of all users, and what each has used.
#[derive(Debug)]
pub(super) struct RateLimiter {
    rates: Rates,
    users: Mutex<BucketTable>,
}

#[derive(Debug, Default)]
struct BucketTable {
    buckets: HashMap<KeyHash, Arc<Mutex<UserBuckets>>>,
    /// The number of entries at which unused ones are removed.
    prune_at: usize,
}

#[derive(Debug, Default)]
struct UserBuckets {
    messages: TokenBucket,
    queries: TokenBucket,
    bytes: TokenBucket,
    answers: TokenBucket,
}

/// What a session is charged for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cost {
    /// A request that writes to the log, or that is invalid.
    Message,
    /// A request that reads.
    Query,
    /// Bytes read from the socket.
    Bytes(u32),
}

/// The rate limit of one session.
#[derive(Debug)]
pub(super) struct SessionRateLimit {
    limiter: Arc<RateLimiter>,
    buckets: Arc<Mutex<UserBuckets>>,
    flood: Option<FloodTimer>,
}

/// Measures for how long a session has been over its limits.
#[derive(Debug, Clone, Copy)]
struct FloodTimer {
    since: Instant,
    /// When the last request that was over the limit was due.
    last_due: Instant,
}

impl Cost {
    /// The cost of a request. `None` if it is free.
    pub(super) fn of((_, request): &DecodedRequest) -> Option<Self> {
        match request {
            Ok(
                Request::Post(_)
                | Request::Delete(_)
                | Request::Edit { .. }
                | Request::React { .. }
                | Request::Pin { .. }
                | Request::Room { .. },
            )
            | Err(_) => Some(Self::Message),
            Ok(
                Request::History(_)
                | Request::SearchHistory(_)
                | Request::LocalSearch
                | Request::Rooms(_)
                | Request::Users { .. }
                | Request::Conversations
                | Request::Read { .. }
                | Request::Notify { .. }
                | Request::Typing(_)
                | Request::Ping(_),
            ) => Some(Self::Query),
            Ok(Request::Exit) => None,
        }
    }
}

impl RateLimiter {
    pub(super) fn new(rates: Rates) -> Self {
        Self { rates, users: Mutex::default() }
    }

    /// The limit of a new session. It shares the buckets of other sessions with the same key.
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
            // Full buckets without a session are the same as new ones.
            self.buckets.retain(|_, user| Arc::strong_count(user) > 1 || !lock(user).are_full(now));
            self.prune_at = 2 * self.buckets.len();
        }
        Arc::clone(self.buckets.entry(key).or_default())
    }
}

impl UserBuckets {
    fn are_full(&self, now: Instant) -> bool {
        let all = [self.messages, self.queries, self.bytes, self.answers];
        all.iter().all(|bucket| bucket.is_full(now.into_std()))
    }
}

impl SessionRateLimit {
    /// Charges `cost`, and returns when it is due: `now`, or later if the limit is exceeded.
    ///
    /// # Errors
    /// [`Refusal::Flooding`] if the limit has been exceeded for [`FLOOD_TIMEOUT`] without a pause.
    pub(super) fn charge(&mut self, now: Instant, cost: Cost) -> Result<Instant, Refusal> {
        let rates = self.limiter.rates;
        let mut buckets = lock(&self.buckets);
        let (bucket, rate, count) = match cost {
            Cost::Message => (&mut buckets.messages, rates.messages, 1),
            Cost::Query => (&mut buckets.queries, rates.questions, 1),
            Cost::Bytes(count) => (&mut buckets.bytes, rates.bytes, count),
        };
        let due = Instant::from_std(bucket.take(rate, now.into_std(), count));
        drop(buckets);
        // A client that keeps to the rate is early only by the network's jitter. One that does not is
        // early by a whole interval each time.
        if due - now > rate.time_for(count) / 2 {
            let running = self.flood.filter(|flood| now < flood.last_due + FLOOD_RESET_PAUSE);
            let since = running.map_or(now, |flood| flood.since);
            self.flood = Some(FloodTimer { since, last_due: due });
            if due - since > FLOOD_TIMEOUT {
                return Err(Refusal::Flooding);
            }
        }
        Ok(due)
    }

    /// Charges answers of so many bytes, and returns when the next query is due. This is never flooding,
    /// because a client cannot know what its answers will cost.
    pub(super) fn charge_answers(&self, now: Instant, bytes: usize) -> Instant {
        let bytes = bytes.try_into().unwrap_or(u32::MAX);
        Instant::from_std(lock(&self.buckets).answers.take(ANSWER_RATE, now.into_std(), bytes))
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // The state is consistent even if a holder of the lock panicked.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::server::limits::{DEFAULT_RATES, rates_for};
    use crate::server::tests::monotonic_now;

    #[test]
    fn rates_scale_with_messages_per_second() {
        assert_eq!(rates_for(2), DEFAULT_RATES, "the default");
        let ten = rates_for(10);
        assert_eq!((ten.messages.burst, ten.messages.per_second), (50, 10));
        assert_eq!(ten.bytes.per_second, 5 * DEFAULT_RATES.bytes.per_second);
        assert_eq!(ten.questions, DEFAULT_RATES.questions);
        // At any rate, the burst holds the longest message.
        assert!(
            rates_for(1).bytes.burst >= DEFAULT_RATES.bytes.burst
                && rates_for(1_000).bytes.burst > ten.bytes.burst
        );
    }

    fn limiter() -> Arc<RateLimiter> {
        Arc::new(RateLimiter::new(DEFAULT_RATES))
    }

    fn delay_millis(session: &mut SessionRateLimit, now: Instant, cost: Cost) -> u128 {
        (session.charge(now, cost).unwrap() - now).as_millis()
    }

    #[test]
    fn each_cost_has_its_own_bucket() {
        let (start, limiter) = (monotonic_now(), limiter());
        let mut bob = limiter.session(start, None);
        for (cost, burst, delay) in [
            (Cost::Message, DEFAULT_RATES.messages.burst, 500),
            (Cost::Query, DEFAULT_RATES.questions.burst, 20),
            (Cost::Bytes(1_000), DEFAULT_RATES.bytes.burst / 1_000, 50),
        ] {
            for _ in 0..burst {
                assert_eq!(delay_millis(&mut bob, start, cost), 0, "{cost:?}");
            }
            assert_eq!(delay_millis(&mut bob, start, cost), delay, "{cost:?}");
        }
    }

    #[test]
    fn sessions_of_one_key_share_a_rate_limit() {
        let (start, limiter) = (monotonic_now(), limiter());
        let mut bob = limiter.session(start, Some([1; 32]));
        for _ in 0..DEFAULT_RATES.messages.burst {
            assert_eq!(delay_millis(&mut bob, start, Cost::Message), 0);
        }
        let mut second = limiter.session(start, Some([1; 32]));
        assert_eq!(delay_millis(&mut second, start, Cost::Message), 500);
        drop((bob, second));
        let mut again = limiter.session(start, Some([1; 32]));
        assert_eq!(
            delay_millis(&mut again, start, Cost::Message),
            1_000,
            "a new login does not reset the limit"
        );
        let mut kim = limiter.session(start, Some([2; 32]));
        assert_eq!(delay_millis(&mut kim, start, Cost::Message), 0);
    }

    #[test]
    fn refilled_users_are_pruned() {
        let (start, limiter) = (monotonic_now(), limiter());
        let key = |number: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            key
        };
        let mut connected = limiter.session(start, Some(key(0)));
        connected.charge(start, Cost::Message).unwrap();
        for number in 1..20 * RATE_ENTRIES_BEFORE_PRUNE {
            let now = start + Duration::from_millis(10) * u32::try_from(number).unwrap();
            limiter.session(now, Some(key(number))).charge(now, Cost::Message).unwrap();
        }
        let table = lock(&limiter.users);
        assert!(table.buckets.len() <= 2 * RATE_ENTRIES_BEFORE_PRUNE, "{}", table.buckets.len());
        assert!(table.buckets.contains_key(&key(0)), "a connected user is kept");
    }

    #[test]
    fn flooding_is_detected_after_a_minute_without_pause() {
        let (start, limiter) = (monotonic_now(), limiter());
        let mut flooder = limiter.session(start, None);
        let mut now = start;
        let flooding = loop {
            match flooder.charge(now, Cost::Message) {
                Ok(due) => now = due,
                Err(refusal) => break refusal,
            }
        };
        assert_eq!((flooding, (now - start).as_secs()), (Refusal::Flooding, 60));

        // A client that keeps to the rate is early only by the network's jitter.
        let mut steady = limiter.session(start, None);
        steady.charge(start, Cost::Message).unwrap();
        for turn in 1..1_000 {
            let early = Duration::from_millis(200);
            let now = start + Duration::from_millis(500) * turn - early;
            for _ in 0..if turn == 1 { DEFAULT_RATES.messages.burst } else { 1 } {
                steady.charge(now, Cost::Message).unwrap();
            }
        }

        // A pause resets the timer.
        let mut bursts = limiter.session(start, None);
        let mut now = start;
        for _ in 0..20 {
            for _ in 0..50 {
                now = bursts.charge(now, Cost::Message).unwrap();
            }
            now += 2 * FLOOD_RESET_PAUSE;
        }
    }
}
