//! What the log needs beside messages: what is kept no longer goes, and what was removed is overwritten.
//!
//! No timer runs for the latter while nothing was removed.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::limits::{OVERWRITE_AFTER, SWEEP_EVERY};
use super::shell::{Clock, Command, HubSender};
use crate::protocol::id::Seq;
use crate::store::handle::Handles;
use crate::store::{Overwritten, Retention, StoreError};

/// Keeps the log in order.
pub(super) struct Housekeeping {
    pub(super) log: Handles,
    pub(super) hub: HubSender,
    /// Told when something was removed.
    pub(super) removed: Arc<Notify>,
    pub(super) retention: Retention,
    pub(super) clock: Clock,
}

impl Housekeeping {
    /// Runs until it is dropped.
    pub(super) async fn run(self) {
        let clock = self.clock;
        let mut next_sweep = clock().mono;
        // What was removed right before the last stop.
        let mut overwrite_at = Some(clock().mono + OVERWRITE_AFTER);
        loop {
            let done = tokio::select! {
                biased;
                () = sleep_until(next_sweep) => {
                    next_sweep = clock().mono + SWEEP_EVERY;
                    self.sweep().await
                }
                () = reached(overwrite_at) => {
                    overwrite_at = None;
                    self.overwrite().await
                }
                () = self.removed.notified() => {
                    overwrite_at = overwrite_at.or_else(|| Some(clock().mono + OVERWRITE_AFTER));
                    Ok(())
                }
            };
            if let Err(error) = done {
                tracing::error!(%error, "the log cannot be kept in order; it is tried again");
            }
        }
    }

    async fn sweep(&self) -> Result<(), StoreError> {
        loop {
            let swept = self.log.store.sweep((self.clock)().millis(), self.retention).await?;
            let horizon: Seq = self.log.reads.read(|reader| reader.horizon()).await?;
            // Without a hub the server is stopping.
            drop(self.hub.send(Command::Horizon(horizon)).await);
            drop(self.hub.send(Command::Freed(swept.freed)).await);
            if !swept.more {
                return Ok(());
            }
        }
    }

    async fn overwrite(&self) -> Result<(), StoreError> {
        while self.log.store.overwrite().await? == Overwritten::Busy {
            sleep(std::time::Duration::from_secs(1)).await;
        }
        Ok(())
    }
}

async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
