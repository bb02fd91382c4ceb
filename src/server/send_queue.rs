//! What waits to be sent to one session: encoded bytes, with a bound.
//!
//! The hub's shell puts in and never waits; the session's writer takes out all there is at once.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::limits::{FRAME_OVERHEAD, SEND_QUEUE_BYTES};
use crate::protocol::id::{Seq, UserId};

/// One session's queue of outgoing bytes.
#[derive(Debug, Default)]
pub(super) struct SendQueue {
    state: Mutex<QueueState>,
    filled: Notify,
    logged_in: Notify,
    closing: CancellationToken,
}

#[derive(Debug, Default)]
struct QueueState {
    frames: Vec<Frame>,
    weight: usize,
    catch_up: Option<CatchUpFrom>,
    closed: bool,
}

/// Something to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// These bytes, with so many events of the log in them.
    Bytes(Bytes, u64),
    /// The answer to a ping: it says how many events went before it.
    Pong,
}

/// What follows has to be read from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CatchUpFrom {
    /// As this person.
    pub(super) viewer: UserId,
    /// After this place.
    pub(super) after: Seq,
}

/// What there is to be sent next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SendQueueItem {
    /// What was put in.
    Frames,
    /// What the log has.
    CatchUp(CatchUpFrom),
    /// Nothing, ever.
    Closed,
}

/// Why an outbox took nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PushError {
    /// More waits already than a session may leave waiting.
    Full,
    /// The session has ended.
    Closed,
}

impl Frame {
    fn weight(&self) -> usize {
        match self {
            Self::Bytes(bytes, _) => bytes.len() + FRAME_OVERHEAD,
            Self::Pong => FRAME_OVERHEAD,
        }
    }
}

impl SendQueue {
    /// Adds `frame` and says how much waits now, in bytes.
    pub(super) fn push(&self, frame: Frame) -> Result<usize, PushError> {
        let mut queue = self.state();
        if queue.closed {
            return Err(PushError::Closed);
        }
        let weight = queue.weight + frame.weight();
        // What is long enough for all of the room is taken when nothing else waits.
        if weight > SEND_QUEUE_BYTES && !queue.frames.is_empty() {
            return Err(PushError::Full);
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

    /// The hub has let the session in.
    pub(super) fn mark_logged_in(&self) {
        self.logged_in.notify_one();
    }

    /// Returns once the hub has let the session in; to be asked once.
    pub(super) async fn logged_in(&self) {
        self.logged_in.notified().await;
    }

    /// After what waits, the log has to be read.
    pub(super) fn start_catch_up(&self, behind: CatchUpFrom) {
        self.state().catch_up = Some(behind);
        self.filled.notify_one();
    }

    /// How much waits, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.state().weight
    }

    /// Takes nothing more; what waits is still sent.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.filled.notify_one();
        self.closing.cancel();
    }

    /// Takes nothing more and forgets what waits, but for a last word.
    pub(super) fn discard_and_close(&self, last: Option<Bytes>) {
        let mut queue = self.state();
        queue.frames.clear();
        queue.frames.extend(last.map(|bytes| Frame::Bytes(bytes, 0)));
        queue.catch_up = None;
        drop(queue);
        self.close();
    }

    /// Moves all that waits into `frames`, which must be empty; waits until there is something.
    pub(super) async fn take(&self, frames: &mut Vec<Frame>) -> SendQueueItem {
        loop {
            {
                let mut queue = self.state();
                if !queue.frames.is_empty() {
                    std::mem::swap(&mut queue.frames, frames);
                    queue.weight = 0;
                    return SendQueueItem::Frames;
                }
                if queue.closed {
                    return SendQueueItem::Closed;
                }
                if let Some(behind) = queue.catch_up.take() {
                    return SendQueueItem::CatchUp(behind);
                }
            }
            self.filled.notified().await;
        }
    }

    /// What waits now.
    pub(super) fn drain(&self) -> Vec<Frame> {
        let mut queue = self.state();
        queue.weight = 0;
        std::mem::take(&mut queue.frames)
    }

    /// Returns once the outbox is closed.
    pub(super) async fn closed(&self) {
        self.closing.cancelled().await;
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        // Nothing in here can panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &'static str) -> Frame {
        Frame::Bytes(Bytes::from_static(text.as_bytes()), 1)
    }

    #[tokio::test]
    async fn frames_come_out_once_and_in_order() {
        let outbox = SendQueue::default();
        let mut frames = Vec::new();
        outbox.push(frame("one")).unwrap();
        let behind = CatchUpFrom { viewer: "Bob_1234".parse().unwrap(), after: Seq(7) };
        outbox.start_catch_up(behind.clone());
        outbox.push(frame("two")).unwrap();
        assert_eq!(outbox.take(&mut frames).await, SendQueueItem::Frames);
        assert_eq!(frames, [frame("one"), frame("two")]);
        frames.clear();
        assert_eq!(outbox.take(&mut frames).await, SendQueueItem::CatchUp(behind));
        outbox.push(frame("three")).unwrap();
        outbox.close();
        assert_eq!(outbox.push(frame("four")), Err(PushError::Closed));
        assert_eq!(outbox.take(&mut frames).await, SendQueueItem::Frames);
        assert_eq!(frames, [frame("three")]);
        frames.clear();
        assert_eq!(outbox.take(&mut frames).await, SendQueueItem::Closed);
    }

    #[tokio::test]
    async fn small_and_large_frames_are_bounded_alike() {
        for size in [1, 1_000, 100_000] {
            let outbox = SendQueue::default();
            let frame = Frame::Bytes(Bytes::from(vec![b'x'; size]), 1);
            let most = SEND_QUEUE_BYTES / (size + FRAME_OVERHEAD);
            for _ in 0..most {
                outbox.push(frame.clone()).unwrap();
            }
            assert_eq!(outbox.push(frame), Err(PushError::Full));
            outbox.discard_and_close(Some(Bytes::from_static(b"why")));
            let mut frames = Vec::new();
            assert_eq!(outbox.take(&mut frames).await, SendQueueItem::Frames);
            assert_eq!(frames, [Frame::Bytes(Bytes::from_static(b"why"), 0)]);
        }
    }
}
