//! How fast one person is heard: not by refusing what is too much, but by not reading it yet.
//!
//! It says when something is due; the session waits. A person is a key, however many IDs and
//! connections it has, and whoever has none is one for each connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::hub::Key;
use super::limits::{FLOODING, PAUSE, RATES_KEPT};
use crate::protocol::error::Refusal;
use crate::protocol::limits::Rates;
use crate::protocol::rate::Bucket;
use crate::protocol::request::{Decoded, Request};

/// What everybody may do, and what they have done.
#[derive(Debug)]
pub(super) struct People {
    rates: Rates,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    buckets: HashMap<Key, Arc<Mutex<Buckets>>>,
    /// How many there may be before those who left are forgotten.
    enough: usize,
}

/// What one person has left.
#[derive(Debug, Default)]
struct Buckets {
    messages: Bucket,
    questions: Bucket,
    bytes: Bucket,
}

/// What somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Something to be written, or refused.
    Message,
    /// Something to be read.
    Question,
    /// To be read from, so many bytes.
    Bytes(u32),
}

/// What one session may ask for.
#[derive(Debug)]
pub(super) struct Allowance {
    people: Arc<People>,
    buckets: Arc<Mutex<Buckets>>,
    pressing: Option<Pressing>,
}

/// Somebody asks for more than there is, again and again.
#[derive(Debug, Clone, Copy)]
struct Pressing {
    since: Instant,
    /// When the last was due that came much too early.
    until: Instant,
}

impl Asked {
    /// What a request is; nothing for what costs nothing.
    pub(super) fn by((_, request): &Decoded) -> Option<Self> {
        match request {
            Ok(Request::Say(_) | Request::Delete(_)) | Err(_) => Some(Self::Message),
            Ok(Request::History(_) | Request::Find(_) | Request::Search | Request::Ping(_)) => {
                Some(Self::Question)
            }
            Ok(Request::Exit) => None,
        }
    }
}

impl People {
    /// Nobody yet.
    pub(super) fn new(rates: Rates) -> Self {
        Self { rates, known: Mutex::default() }
    }

    /// A session of somebody with this key: what other sessions have used is missing.
    pub(super) fn allow(self: &Arc<Self>, now: Instant, key: Option<Key>) -> Allowance {
        let buckets = key.map(|key| locked(&self.known).of(now, key)).unwrap_or_default();
        Allowance { people: Arc::clone(self), buckets, pressing: None }
    }
}

impl Known {
    fn of(&mut self, now: Instant, key: Key) -> Arc<Mutex<Buckets>> {
        if self.buckets.len() >= self.enough.max(RATES_KEPT) {
            // Who has no session and misses nothing is the same as new.
            self.buckets.retain(|_, one| Arc::strong_count(one) > 1 || !locked(one).are_full(now));
            self.enough = 2 * self.buckets.len();
        }
        Arc::clone(self.buckets.entry(key).or_default())
    }
}

impl Buckets {
    fn are_full(&self, now: Instant) -> bool {
        let all = [self.messages, self.questions, self.bytes];
        all.iter().all(|bucket| bucket.is_full(now.into_std()))
    }
}

impl Allowance {
    /// Takes what is asked for, and says when it is due.
    ///
    /// # Errors
    /// [`Refusal::Flooding`]: it has been too much for too long.
    pub(super) fn ask(&mut self, now: Instant, asked: Asked) -> Result<Instant, Refusal> {
        let rates = self.people.rates;
        let mut buckets = locked(&self.buckets);
        let (bucket, rate, count) = match asked {
            Asked::Message => (&mut buckets.messages, rates.messages, 1),
            Asked::Question => (&mut buckets.questions, rates.questions, 1),
            Asked::Bytes(count) => (&mut buckets.bytes, rates.bytes, count),
        };
        let due = Instant::from_std(bucket.take(rate, now.into_std(), count));
        drop(buckets);
        // Whoever keeps to the rate is early by what the network varies; whoever does not, by a whole
        // turn each time.
        if due - now > rate.time_of(count) / 2 {
            let since = self.pressing.filter(|pressing| now < pressing.until + PAUSE);
            let since = since.map_or(now, |pressing| pressing.since);
            self.pressing = Some(Pressing { since, until: due });
            if due - since > FLOODING {
                return Err(Refusal::Flooding);
            }
        }
        Ok(due)
    }
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here can panic half way.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::server::limits::{RATES, rates};

    #[test]
    fn what_may_be_sent_grows_with_what_whoever_runs_the_server_says() {
        assert_eq!(rates(2), RATES, "as it is by itself");
        let ten = rates(10);
        assert_eq!((ten.messages.burst, ten.messages.per_second), (50, 10));
        assert_eq!(ten.bytes.per_second, 5 * RATES.bytes.per_second);
        assert_eq!(ten.questions, RATES.questions);
        // The longest message is taken whole at any rate.
        assert!(
            rates(1).bytes.burst >= RATES.bytes.burst && rates(1_000).bytes.burst > ten.bytes.burst
        );
    }
    use crate::server::tests::mono;

    fn people() -> Arc<People> {
        Arc::new(People::new(RATES))
    }

    fn wait(allowance: &mut Allowance, now: Instant, asked: Asked) -> u128 {
        (allowance.ask(now, asked).unwrap() - now).as_millis()
    }

    #[test]
    fn each_kind_has_its_own_bucket() {
        let (start, people) = (mono(), people());
        let mut bob = people.allow(start, None);
        for (asked, free, each) in [
            (Asked::Message, RATES.messages.burst, 500),
            (Asked::Question, RATES.questions.burst, 20),
            (Asked::Bytes(1_000), RATES.bytes.burst / 1_000, 50),
        ] {
            for _ in 0..free {
                assert_eq!(wait(&mut bob, start, asked), 0, "{asked:?}");
            }
            assert_eq!(wait(&mut bob, start, asked), each, "{asked:?}");
        }
    }

    #[test]
    fn one_key_is_one_person_however_many_sessions_and_logins_it_has() {
        let (start, people) = (mono(), people());
        let mut bob = people.allow(start, Some([1; 32]));
        for _ in 0..RATES.messages.burst {
            assert_eq!(wait(&mut bob, start, Asked::Message), 0);
        }
        let mut beside = people.allow(start, Some([1; 32]));
        assert_eq!(wait(&mut beside, start, Asked::Message), 500);
        drop((bob, beside));
        let mut again = people.allow(start, Some([1; 32]));
        assert_eq!(wait(&mut again, start, Asked::Message), 1_000, "a new login is no new person");
        let mut kim = people.allow(start, Some([2; 32]));
        assert_eq!(wait(&mut kim, start, Asked::Message), 0);
    }

    #[test]
    fn those_who_left_are_forgotten_once_they_are_as_new() {
        let (start, people) = (mono(), people());
        let key = |number: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            key
        };
        let mut stays = people.allow(start, Some(key(0)));
        stays.ask(start, Asked::Message).unwrap();
        for number in 1..20 * RATES_KEPT {
            let now = start + Duration::from_millis(10) * u32::try_from(number).unwrap();
            people.allow(now, Some(key(number))).ask(now, Asked::Message).unwrap();
        }
        let known = locked(&people.known);
        assert!(known.buckets.len() <= 2 * RATES_KEPT, "{}", known.buckets.len());
        assert!(known.buckets.contains_key(&key(0)), "who is connected is known");
    }

    #[test]
    fn pressing_for_a_minute_is_flooding_and_keeping_to_the_rate_never_is() {
        let (start, people) = (mono(), people());
        let mut flooder = people.allow(start, None);
        let mut now = start;
        let flooding = loop {
            match flooder.ask(now, Asked::Message) {
                Ok(due) => now = due,
                Err(refusal) => break refusal,
            }
        };
        assert_eq!((flooding, (now - start).as_secs()), (Refusal::Flooding, 60));

        // The network is late by a little, and never by as much again.
        let mut steady = people.allow(start, None);
        steady.ask(start, Asked::Message).unwrap();
        for turn in 1..1_000 {
            let early = Duration::from_millis(200);
            let now = start + Duration::from_millis(500) * turn - early;
            for _ in 0..if turn == 1 { RATES.messages.burst } else { 1 } {
                steady.ask(now, Asked::Message).unwrap();
            }
        }

        // Whoever pauses may press again.
        let mut bursts = people.allow(start, None);
        let mut now = start;
        for _ in 0..20 {
            for _ in 0..50 {
                now = bursts.ask(now, Asked::Message).unwrap();
            }
            now += 2 * PAUSE;
        }
    }
}
