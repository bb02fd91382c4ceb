//! The gate that readers pass for each of their transactions.

use std::time::Duration;

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::time::timeout;

/// How long a pause waits for the transactions that are under way, while no other may begin: longer than
/// any read of a session takes, and too short to be noticed.
const PAUSE_TIMEOUT: Duration = Duration::from_millis(100);

/// Lets readers be paused between their transactions. The write-ahead log can be truncated only while no
/// reader uses it, and busy readers leave no such moment by themselves.
///
/// A lock, because a fair one does just this: while a pause waits, no other reader enters.
#[derive(Debug, Default)]
pub struct ReadGate(RwLock<()>);

impl ReadGate {
    /// Waits until readers are not paused. The caller may read until it drops the result, which should
    /// be soon. Blocks only threads: a task that reads never overlaps a pause.
    pub(super) fn enter(&self) -> RwLockReadGuard<'_, ()> {
        self.0.try_read().unwrap_or_else(|_| self.0.blocking_read())
    }

    /// Keeps readers out until the result is dropped. Returns `None` if one that is inside does not leave
    /// within [`PAUSE_TIMEOUT`].
    pub(super) async fn pause(&self) -> Option<RwLockWriteGuard<'_, ()>> {
        timeout(PAUSE_TIMEOUT, self.0.write()).await.ok()
    }
}
