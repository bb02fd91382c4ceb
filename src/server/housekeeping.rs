//! What the log needs beside messages: what is kept no longer goes, and what was removed is overwritten.
//!
//! It learns from the heart what there will be to do. But for the hourly look through the log, no timer
//! runs while nothing is said and nothing was removed.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::limits::{
    RESUME_WINDOW, SCRUB_DELAY, SCRUB_RETRY, SWEEP_INTERVAL, SWEEP_SHORT_INTERVAL,
};
use super::shell::{Clock, HubCommand, HubSender};
use crate::protocol::id::Seq;
use crate::store::worker::LogHandles;
use crate::store::{Retention, ScrubOutcome, StoreError};

/// Keeps the log in order.
pub(super) struct Housekeeping {
    pub(super) log: LogHandles,
    pub(super) hub: HubSender,
    pub(super) changes: Arc<LogChanges>,
    pub(super) retention: Retention,
    pub(super) clock: Clock,
}

/// Where the heart leaves word.
#[derive(Debug, Default)]
pub(super) struct LogChanges {
    /// Something was removed.
    pub(super) removed: Notify,
    /// Something was written to the log.
    pub(super) written: Notify,
}

/// When there is something to do.
struct Schedule {
    next_sweep: Instant,
    next_scrub: Option<Instant>,
    /// When something was written last.
    last_write: Instant,
}

impl Housekeeping {
    /// Runs until it is dropped.
    pub(super) async fn run(self) {
        let start = self.now();
        // What was removed right before the last stop is overwritten, too.
        let overwrite = Some(start + SCRUB_DELAY);
        let mut due = Schedule { next_sweep: start, next_scrub: overwrite, last_write: start };
        let mut is_failing = false;
        loop {
            let done = tokio::select! {
                biased;
                () = sleep_until(due.next_sweep) => self.sweep(&mut due).await,
                () = sleep_until_due(due.next_scrub) => self.scrub(&mut due).await,
                () = self.changes.removed.notified() => {
                    due.schedule_scrub(self.now());
                    continue;
                }
                () = self.changes.written.notified(), if self.has_zero_retention() => {
                    due.last_write = self.now();
                    due.next_sweep = due.next_sweep.min(due.last_write + RESUME_WINDOW + SWEEP_SHORT_INTERVAL);
                    continue;
                }
            };
            let has_failed = std::mem::replace(&mut is_failing, done.is_err());
            if let Err(error) = done
                && !has_failed
            {
                tracing::error!(%error, "the log cannot be kept in order; it is tried again");
            }
        }
    }

    fn now(&self) -> Instant {
        (self.clock)().monotonic
    }

    /// Whether messages go as soon as they may.
    fn has_zero_retention(&self) -> bool {
        self.retention == Retention::Days(0)
    }

    async fn sweep(&self, due: &mut Schedule) -> Result<(), StoreError> {
        // Should it fail.
        due.next_sweep = self.now() + SWEEP_SHORT_INTERVAL;
        loop {
            let swept = self.log.writer.sweep((self.clock)().millis(), self.retention).await?;
            if !swept.freed_ids.is_empty() {
                due.schedule_scrub(self.now());
            }
            let horizon: Seq = self.log.readers.read(|reader| reader.horizon()).await?;
            // Without a hub the server is stopping.
            drop(self.hub.send(HubCommand::Horizon(horizon)).await);
            drop(self.hub.send(HubCommand::IdsFreed(swept.freed_ids)).await);
            if !swept.has_more {
                break;
            }
        }
        let now = self.now();
        if !self.has_zero_retention() || now > due.last_write + RESUME_WINDOW {
            due.next_sweep = now + SWEEP_INTERVAL;
        }
        Ok(())
    }

    async fn scrub(&self, due: &mut Schedule) -> Result<(), StoreError> {
        // Should it fail.
        due.next_scrub = Some(self.now() + SCRUB_DELAY);
        due.next_scrub = match self.log.writer.scrub().await? {
            ScrubOutcome::Done => None,
            ScrubOutcome::Busy => Some(self.now() + SCRUB_RETRY),
        };
        Ok(())
    }
}

impl Schedule {
    /// Something was removed whose text is still in the files.
    fn schedule_scrub(&mut self, now: Instant) {
        self.next_scrub = self.next_scrub.or(Some(now + SCRUB_DELAY));
    }
}

async fn sleep_until_due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
