//! What waits to be sent to one session: encoded bytes, with a bound.
//!
//! The hub's shell puts in and never waits; the session's writer takes out all there is at once.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::limits::{FRAME_OVERHEAD, OUTBOX_BYTES};

/// One session's queue of outgoing bytes.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    filled: Notify,
    closing: CancellationToken,
}

#[derive(Debug, Default)]
struct Queue {
    frames: Vec<Bytes>,
    weight: usize,
    closed: bool,
}

/// Why an outbox took nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// More waits already than a session may leave waiting.
    Full,
    /// The session has ended.
    Closed,
}

impl Outbox {
    /// Adds `frame` and says how much waits now, in bytes.
    pub(super) fn push(&self, frame: Bytes) -> Result<usize, NotTaken> {
        let mut queue = self.queue();
        if queue.closed {
            return Err(NotTaken::Closed);
        }
        let weight = queue.weight + frame.len() + FRAME_OVERHEAD;
        if weight > OUTBOX_BYTES {
            return Err(NotTaken::Full);
        }
        queue.weight = weight;
        queue.frames.push(frame);
        let was_empty = queue.frames.len() == 1;
        drop(queue);
        if was_empty {
            self.filled.notify_one();
        }
        Ok(weight)
    }

    /// How much waits, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.queue().weight
    }

    /// Takes nothing more; what waits is still sent.
    pub(super) fn close(&self) {
        self.queue().closed = true;
        self.filled.notify_one();
        self.closing.cancel();
    }

    /// Takes nothing more and forgets what waits, but for a last word.
    pub(super) fn abandon(&self, last: Option<Bytes>) {
        let mut queue = self.queue();
        queue.frames.clear();
        queue.frames.extend(last);
        drop(queue);
        self.close();
    }

    /// Moves all that waits into `frames`, which must be empty, and waits until there is something;
    /// `false` when nothing will come any more.
    pub(super) async fn take(&self, frames: &mut Vec<Bytes>) -> bool {
        loop {
            {
                let mut queue = self.queue();
                if !queue.frames.is_empty() {
                    std::mem::swap(&mut queue.frames, frames);
                    queue.weight = 0;
                    return true;
                }
                if queue.closed {
                    return false;
                }
            }
            self.filled.notified().await;
        }
    }

    /// Returns once the outbox is closed.
    pub(super) async fn closing(&self) {
        self.closing.cancelled().await;
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing in here can panic half way.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_put_in_comes_out_once_and_in_order() {
        let outbox = Outbox::default();
        let mut frames = Vec::new();
        for text in ["one", "two"] {
            outbox.push(Bytes::from_static(text.as_bytes())).unwrap();
        }
        assert!(outbox.take(&mut frames).await);
        assert_eq!(frames, ["one", "two"]);
        frames.clear();
        outbox.push(Bytes::from_static(b"three")).unwrap();
        outbox.close();
        assert_eq!(outbox.push(Bytes::from_static(b"four")), Err(NotTaken::Closed));
        assert!(outbox.take(&mut frames).await);
        assert_eq!(frames, ["three"]);
        frames.clear();
        assert!(!outbox.take(&mut frames).await);
    }

    #[tokio::test]
    async fn many_small_pieces_are_bounded_like_few_large_ones() {
        for size in [1, 1_000, 100_000] {
            let outbox = Outbox::default();
            let frame = Bytes::from(vec![b'x'; size]);
            let most = OUTBOX_BYTES / (size + FRAME_OVERHEAD);
            for _ in 0..most {
                outbox.push(frame.clone()).unwrap();
            }
            assert_eq!(outbox.push(frame), Err(NotTaken::Full));
            outbox.abandon(Some(Bytes::from_static(b"why")));
            let mut frames = Vec::new();
            assert!(outbox.take(&mut frames).await);
            assert_eq!(frames, ["why"]);
        }
    }
}
