//! What the log needs beside messages: what is kept no longer goes, and what was removed is overwritten.
//!
//! It learns from the heart what there will be to do. But for the hourly look through the log, no timer
//! runs while nothing is said and nothing was removed.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::limits::{OVERWRITE_AFTER, OVERWRITE_AGAIN, RESUME_TIME, SWEEP_EVERY, SWEEP_SOON};
use super::shell::{Clock, Command, HubSender};
use crate::protocol::id::Seq;
use crate::store::handle::Handles;
use crate::store::{Overwritten, Retention, StoreError};

/// Keeps the log in order.
pub(super) struct Housekeeping {
    pub(super) log: Handles,
    pub(super) hub: HubSender,
    pub(super) changes: Arc<Changes>,
    pub(super) retention: Retention,
    pub(super) clock: Clock,
}

/// Where the heart leaves word.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Something was removed.
    pub(super) removed: Notify,
    /// Something was written to the log.
    pub(super) written: Notify,
}

/// When there is something to do.
struct Due {
    sweep: Instant,
    overwrite: Option<Instant>,
    /// When something was written last.
    written: Instant,
}

impl Housekeeping {
    /// Runs until it is dropped.
    pub(super) async fn run(self) {
        let start = self.now();
        // What was removed right before the last stop is overwritten, too.
        let overwrite = Some(start + OVERWRITE_AFTER);
        let mut due = Due { sweep: start, overwrite, written: start };
        let mut is_failing = false;
        loop {
            let done = tokio::select! {
                biased;
                () = sleep_until(due.sweep) => self.sweep(&mut due).await,
                () = reached(due.overwrite) => self.overwrite(&mut due).await,
                () = self.changes.removed.notified() => {
                    due.overwrite_after(self.now());
                    continue;
                }
                () = self.changes.written.notified(), if self.keeps_nothing() => {
                    due.written = self.now();
                    due.sweep = due.sweep.min(due.written + RESUME_TIME + SWEEP_SOON);
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
        (self.clock)().mono
    }

    /// Whether messages go as soon as they may.
    fn keeps_nothing(&self) -> bool {
        self.retention == Retention::Days(0)
    }

    async fn sweep(&self, due: &mut Due) -> Result<(), StoreError> {
        // Should it fail.
        due.sweep = self.now() + SWEEP_SOON;
        loop {
            let swept = self.log.store.sweep((self.clock)().millis(), self.retention).await?;
            if !swept.freed.is_empty() {
                due.overwrite_after(self.now());
            }
            let horizon: Seq = self.log.reads.read(|reader| reader.horizon()).await?;
            // Without a hub the server is stopping.
            drop(self.hub.send(Command::Horizon(horizon)).await);
            drop(self.hub.send(Command::Freed(swept.freed)).await);
            if !swept.more {
                break;
            }
        }
        let now = self.now();
        if !self.keeps_nothing() || now > due.written + RESUME_TIME {
            due.sweep = now + SWEEP_EVERY;
        }
        Ok(())
    }

    async fn overwrite(&self, due: &mut Due) -> Result<(), StoreError> {
        // Should it fail.
        due.overwrite = Some(self.now() + OVERWRITE_AFTER);
        due.overwrite = match self.log.store.overwrite().await? {
            Overwritten::Done => None,
            Overwritten::Busy => Some(self.now() + OVERWRITE_AGAIN),
        };
        Ok(())
    }
}

impl Due {
    /// Something was removed whose text is still in the files.
    fn overwrite_after(&mut self, now: Instant) {
        self.overwrite = self.overwrite.or(Some(now + OVERWRITE_AFTER));
    }
}

async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
