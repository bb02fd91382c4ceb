//! The time by which messages are deleted: the wall clock, unless it jumps ahead.
//!
//! Deleting by a wrong clock cannot be undone. So after a jump, the time goes on as if there had been none,
//! until the clock has shown the new time long enough for an administrator to correct it.

use std::time::Duration;

use tokio::time::Instant;

use super::Now;
use crate::protocol::message::Millis;

/// The longest jump that is trusted immediately: more than any change of time zone or correction by NTP.
const MAX_JUMP: Millis = 24 * 60 * 60 * 1_000;

/// How long the clock must go on from its new time before that is trusted.
const HOLD: Duration = Duration::from_hours(1);

/// See the module.
#[derive(Debug)]
pub(in crate::server) struct TrustedClock {
    /// The last time in the log; 0 if it is empty.
    log_time: Millis,
    /// The latest time that was trusted, and when. `None` before the first reading.
    latest: Option<(Millis, Instant)>,
    /// The time after a jump that is not trusted yet, and when it was first seen.
    jump: Option<(Millis, Instant)>,
}

/// A reading of a [`TrustedClock`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) struct Reading {
    /// The trusted time.
    pub(in crate::server) time: Millis,
    /// By how much the clock has jumped, if that is first seen now.
    pub(in crate::server) jump: Option<Millis>,
}

impl TrustedClock {
    /// `log_time` is [`LogSnapshot::clock`](crate::store::LogSnapshot::clock).
    pub(in crate::server) fn new(log_time: Millis) -> Self {
        Self { log_time, latest: None, jump: None }
    }

    /// Reads the clock.
    pub(in crate::server) fn read(&mut self, now: Now) -> Reading {
        let wall = now.millis();
        let start = if self.log_time == 0 { wall } else { self.log_time };
        let (latest, at) = *self.latest.get_or_insert((start, now.monotonic));
        let expected = later(latest, at, now);
        if wall.saturating_sub(expected) <= MAX_JUMP {
            self.trust(wall.max(expected), now);
            return Reading { time: wall, jump: None };
        }
        let seen = self.jump.filter(|(time, since)| {
            wall.abs_diff(later(*time, *since, now)) <= MAX_JUMP.unsigned_abs()
        });
        let Some((_, since)) = seen else {
            self.jump = Some((wall, now.monotonic));
            return Reading { time: expected, jump: Some(wall.saturating_sub(expected)) };
        };
        if now.monotonic.saturating_duration_since(since) < HOLD {
            return Reading { time: expected, jump: None };
        }
        self.trust(wall, now);
        Reading { time: wall, jump: None }
    }

    /// The trusted time, without looking for a jump.
    pub(in crate::server) fn time(&self, now: Now) -> Millis {
        let (wall, expected) = (now.millis(), self.latest.map(|(time, at)| later(time, at, now)));
        match expected {
            Some(expected) if wall.saturating_sub(expected) > MAX_JUMP => expected,
            Some(_) | None => wall,
        }
    }

    fn trust(&mut self, time: Millis, now: Now) {
        (self.latest, self.jump) = (Some((time, now.monotonic)), None);
    }
}

/// What a clock shows `now` that showed `time` at `at`.
fn later(time: Millis, at: Instant, now: Now) -> Millis {
    let elapsed = now.monotonic.saturating_duration_since(at).as_millis();
    time.saturating_add(Millis::try_from(elapsed).unwrap_or(Millis::MAX))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::server::tests::monotonic_now;

    const MINUTE: Millis = 60_000;
    const HOUR: Millis = 60 * MINUTE;
    const DAY: Millis = 24 * HOUR;
    const LOG_TIME: Millis = 1_800_000_000_000;

    /// When the clock is read, what it shows, and what is trusted, in milliseconds after `LOG_TIME`; and
    /// whether a jump is seen.
    type Case = (Millis, Millis, Millis, bool);

    fn check(log_time: Millis, cases: &[Case]) {
        let (mut clock, start) = (TrustedClock::new(log_time), monotonic_now());
        for &(at, wall, trusted, is_jump) in cases {
            let wall = DateTime::from_timestamp_millis(LOG_TIME + wall).unwrap().fixed_offset();
            let monotonic = start + Duration::from_millis(at.unsigned_abs());
            let now = Now { monotonic, wall };
            let Reading { time, jump } = clock.read(now);
            assert_eq!(time - LOG_TIME, trusted, "at {at}: {clock:?}");
            assert_eq!(jump.is_some(), is_jump, "at {at}: {clock:?}");
            assert_eq!(clock.time(now), time);
        }
    }

    #[test]
    fn steady_clock_is_trusted() {
        check(LOG_TIME, &[(0, HOUR, HOUR, false), (90 * DAY, 90 * DAY, 90 * DAY, false)]);
        check(
            0,
            &[(0, 40 * DAY, 40 * DAY, false), (HOUR, 40 * DAY + HOUR, 40 * DAY + HOUR, false)],
        );
    }

    #[test]
    fn jump_ahead_is_trusted_after_an_hour() {
        let jump = 31 * DAY;
        let at_start = [
            (0, jump, 0, true),
            (MINUTE, jump + MINUTE, MINUTE, false),
            (HOUR, jump + HOUR, jump + HOUR, false),
            (DAY, jump + DAY, jump + DAY, false),
        ];
        check(LOG_TIME, &at_start);
        let later = [
            (0, 0, 0, false),
            (MINUTE, jump, MINUTE, true),
            (HOUR, jump + HOUR, HOUR, false),
            (HOUR + MINUTE, jump + HOUR, jump + HOUR, false),
        ];
        check(LOG_TIME, &later);
    }

    #[test]
    fn jump_that_is_corrected_changes_nothing() {
        let jump = 31 * DAY;
        check(
            LOG_TIME,
            &[
                (0, 0, 0, false),
                (MINUTE, jump, MINUTE, true),
                (30 * MINUTE, 30 * MINUTE, 30 * MINUTE, false),
                (31 * MINUTE, 3 * jump, 31 * MINUTE, true),
                (50 * MINUTE, 9 * jump, 50 * MINUTE, true),
                (100 * MINUTE, 9 * jump + 50 * MINUTE, 100 * MINUTE, false),
                (110 * MINUTE, 9 * jump + HOUR, 9 * jump + HOUR, false),
            ],
        );
    }

    #[test]
    fn clock_before_1970_can_be_corrected() {
        let behind = -LOG_TIME - DAY;
        check(LOG_TIME, &[(0, behind, behind, false), (MINUTE, 2 * MINUTE, 2 * MINUTE, false)]);
    }
}
