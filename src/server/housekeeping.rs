//! Log maintenance: proposes to remove messages past their retention (sweep), and overwrites the text of
//! removed messages in the files (scrub).
//!
//! The hub task signals what changed. Except for the hourly sweep, no timer runs while nothing is
//! posted and nothing was removed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::hub::trusted_clock::{Reading, TrustedClock};
use super::hub_task::{Clock, HubCommand, HubSender, LogChanges, sleep_until_deadline};
use super::limits::{
    RESUME_WINDOW, SCRUB_DELAY, SCRUB_RETRY, SWEEP_INTERVAL, SWEEP_SHORT_INTERVAL,
};
use crate::protocol::id::Seq;
use crate::protocol::message::Millis;
use crate::store::worker::WriterHandle;
use crate::store::{Entry, Outcome, Retain, Retention, ScrubOutcome, StoreError};

/// The maintenance task.
pub(super) struct Housekeeping {
    pub(super) writer: WriterHandle,
    pub(super) hub: HubSender,
    pub(super) changes: Arc<LogChanges>,
    pub(super) retention: Retention,
    pub(super) clock: Clock,
    /// Decides what is past its retention.
    pub(super) trusted_clock: TrustedClock,
}

struct Schedule {
    next_sweep: Instant,
    /// `None` while there is nothing to scrub.
    next_scrub: Option<Instant>,
    last_write: Instant,
}

impl Housekeeping {
    /// Runs until it is dropped.
    pub(super) async fn run(mut self) {
        let start = self.now();
        // Messages removed right before the last stop may not have been scrubbed.
        let next_scrub = Some(start + SCRUB_DELAY);
        let mut schedule = Schedule { next_sweep: start, next_scrub, last_write: start };
        let mut is_failing = false;
        loop {
            let result = tokio::select! {
                biased;
                () = sleep_until(schedule.next_sweep) => self.sweep(&mut schedule).await,
                () = sleep_until_deadline(schedule.next_scrub) => self.scrub(&mut schedule).await,
                () = self.changes.removed.notified() => {
                    schedule.schedule_scrub(self.now());
                    continue;
                }
                () = self.writer.scrub_due() => {
                    // A scrub that readers prevent is retried by the schedule.
                    schedule.next_scrub = Some(self.now());
                    continue;
                }
                () = self.changes.written.notified(), if self.has_zero_retention() => {
                    schedule.last_write = self.now();
                    let expired = schedule.last_write + RESUME_WINDOW + SWEEP_SHORT_INTERVAL;
                    schedule.next_sweep = schedule.next_sweep.min(expired);
                    continue;
                }
            };
            let was_failing = std::mem::replace(&mut is_failing, result.is_err());
            if let Err(error) = result
                && !was_failing
            {
                tracing::error!(%error, "log maintenance failed; retrying");
            }
        }
    }

    fn now(&self) -> Instant {
        (self.clock)().monotonic
    }

    /// The time by which messages are removed. Logs a jump of the clock.
    fn trusted_time(&mut self) -> Millis {
        let now = (self.clock)();
        let Reading { time, jump } = self.trusted_clock.read(now);
        if let Some(jump) = jump {
            let days = Duration::from_millis(jump.unsigned_abs()).as_secs() / 86_400;
            tracing::warn!(
                clock = %now.wall.format("%Y-%m-%d"),
                days,
                "the clock is days ahead of the log's last entry: retention starts in an hour; if the date is \
                 wrong, stop the server and set the clock"
            );
        }
        time
    }

    /// Whether messages are removed as soon as clients can no longer need them to resume.
    fn has_zero_retention(&self) -> bool {
        self.retention == Retention::Days(0)
    }

    /// Removes everything past its retention, step by step.
    async fn sweep(&mut self, schedule: &mut Schedule) -> Result<(), StoreError> {
        // When to retry if this fails.
        schedule.next_sweep = self.now() + SWEEP_SHORT_INTERVAL;
        let mut next = Some(Seq(0));
        while let Some(after) = next {
            let now = self.trusted_time();
            let before = self.retention.cutoff(now);
            let entry = Entry::Retain(Retain { before, now, after });
            let outcomes = self.writer.propose(now, vec![entry]).await?.wait().await?;
            let [Outcome::Retained(retained)] = outcomes[..] else { return Ok(()) };
            if retained.has_removed {
                schedule.schedule_scrub(self.now());
            }
            // Sending fails only while the server stops.
            drop(self.hub.send(HubCommand::Retained(retained)).await);
            next = retained.next;
        }
        let now = self.now();
        if !self.has_zero_retention() || now > schedule.last_write + RESUME_WINDOW {
            schedule.next_sweep = now + SWEEP_INTERVAL;
        }
        Ok(())
    }

    /// Overwrites removed text in the files, unless a reader still holds on to it.
    async fn scrub(&self, schedule: &mut Schedule) -> Result<(), StoreError> {
        // When to retry if this fails.
        schedule.next_scrub = Some(self.now() + SCRUB_DELAY);
        schedule.next_scrub = match self.writer.scrub().await? {
            ScrubOutcome::Done => None,
            ScrubOutcome::Partial => Some(self.now()),
            ScrubOutcome::Busy => Some(self.now() + SCRUB_RETRY),
        };
        Ok(())
    }
}

impl Schedule {
    /// Schedules a scrub [`SCRUB_DELAY`] from now, unless one is scheduled already.
    fn schedule_scrub(&mut self, now: Instant) {
        self.next_scrub = self.next_scrub.or(Some(now + SCRUB_DELAY));
    }
}
