//! The send queue of one session: encoded bytes with an upper bound.
//!
//! The hub task pushes and never waits; the session's writer takes everything queued in one go.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::limits::{FRAME_OVERHEAD, SEND_QUEUE_BYTES};
use crate::protocol::id::{Seq, UserId};

/// A bounded queue of outgoing bytes. See [`SEND_QUEUE_BYTES`].
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
    /// The sum of [`Frame::weight`].
    weight: usize,
    catch_up: Option<CatchUpFrom>,
    closed: bool,
}

/// One piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// Encoded events, and how many of them are log events (for [`Frame::Pong`]).
    Bytes(Bytes, u64),
    /// The reply to a ping. It is encoded when it is sent, with the number of log events sent so far.
    Pong,
}

/// From where a session has to read missed events from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CatchUpFrom {
    /// Whose view of the log it reads.
    pub(super) viewer: UserId,
    /// The last event that the session has.
    pub(super) after: Seq,
}

/// What the session sends next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SendQueueItem {
    /// The frames that [`SendQueue::take`] moved out.
    Frames,
    /// Events from the log.
    CatchUp(CatchUpFrom),
    /// Nothing: the queue is closed and empty.
    Closed,
}

/// Why a frame was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PushError {
    Full,
    Closed,
}

impl Frame {
    /// Its size in bytes, as counted against [`SEND_QUEUE_BYTES`].
    fn weight(&self) -> usize {
        match self {
            Self::Bytes(bytes, _) => bytes.len() + FRAME_OVERHEAD,
            Self::Pong => FRAME_OVERHEAD,
        }
    }
}

impl SendQueue {
    /// Queues `frame`, and returns the queue's weight in bytes.
    pub(super) fn push(&self, frame: Frame) -> Result<usize, PushError> {
        let mut state = self.state();
        if state.closed {
            return Err(PushError::Closed);
        }
        let weight = state.weight + frame.weight();
        // A frame larger than the whole queue is accepted when the queue is empty.
        if weight > SEND_QUEUE_BYTES && !state.frames.is_empty() {
            return Err(PushError::Full);
        }
        state.weight = weight;
        state.frames.push(frame);
        let was_empty = state.frames.len() == 1;
        drop(state);
        if was_empty {
            self.filled.notify_one();
        }
        Ok(weight)
    }

    /// Called when the hub has accepted the login.
    pub(super) fn mark_logged_in(&self) {
        self.logged_in.notify_one();
    }

    /// Waits until the hub has accepted the login. May be awaited only once.
    pub(super) async fn logged_in(&self) {
        self.logged_in.notified().await;
    }

    /// Makes the session read the log after what is queued now.
    pub(super) fn start_catch_up(&self, from: CatchUpFrom) {
        self.state().catch_up = Some(from);
        self.filled.notify_one();
    }

    /// The weight of what is queued, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.state().weight
    }

    /// Refuses further frames; those in the queue are still sent.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.filled.notify_one();
        self.closing.cancel();
    }

    /// Refuses further frames and discards those in the queue. `last` is still sent.
    pub(super) fn discard_and_close(&self, last: Option<Bytes>) {
        let mut state = self.state();
        state.frames.clear();
        state.frames.extend(last.map(|bytes| Frame::Bytes(bytes, 0)));
        state.catch_up = None;
        drop(state);
        self.close();
    }

    /// Waits for something to send. Moves all frames into `frames`, which must be empty.
    pub(super) async fn take(&self, frames: &mut Vec<Frame>) -> SendQueueItem {
        loop {
            {
                let mut state = self.state();
                if !state.frames.is_empty() {
                    std::mem::swap(&mut state.frames, frames);
                    state.weight = 0;
                    return SendQueueItem::Frames;
                }
                if state.closed {
                    return SendQueueItem::Closed;
                }
                if let Some(from) = state.catch_up.take() {
                    return SendQueueItem::CatchUp(from);
                }
            }
            self.filled.notified().await;
        }
    }

    /// Takes the frames that are queued now, without waiting.
    pub(super) fn drain(&self) -> Vec<Frame> {
        let mut state = self.state();
        state.weight = 0;
        std::mem::take(&mut state.frames)
    }

    /// Waits until the queue is closed.
    pub(super) async fn closed(&self) {
        self.closing.cancelled().await;
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        // The state is consistent even if a holder of the lock panicked.
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
        let queue = SendQueue::default();
        let mut frames = Vec::new();
        queue.push(frame("one")).unwrap();
        let from = CatchUpFrom { viewer: "Bob_1234".parse().unwrap(), after: Seq(7) };
        queue.start_catch_up(from.clone());
        queue.push(frame("two")).unwrap();
        assert_eq!(queue.take(&mut frames).await, SendQueueItem::Frames);
        assert_eq!(frames, [frame("one"), frame("two")]);
        frames.clear();
        assert_eq!(queue.take(&mut frames).await, SendQueueItem::CatchUp(from));
        queue.push(frame("three")).unwrap();
        queue.close();
        assert_eq!(queue.push(frame("four")), Err(PushError::Closed));
        assert_eq!(queue.take(&mut frames).await, SendQueueItem::Frames);
        assert_eq!(frames, [frame("three")]);
        frames.clear();
        assert_eq!(queue.take(&mut frames).await, SendQueueItem::Closed);
    }

    #[tokio::test]
    async fn small_and_large_frames_are_bounded_alike() {
        for size in [1, 1_000, 100_000] {
            let queue = SendQueue::default();
            let frame = Frame::Bytes(Bytes::from(vec![b'x'; size]), 1);
            let capacity = SEND_QUEUE_BYTES / (size + FRAME_OVERHEAD);
            for _ in 0..capacity {
                queue.push(frame.clone()).unwrap();
            }
            assert_eq!(queue.push(frame), Err(PushError::Full));
            queue.discard_and_close(Some(Bytes::from_static(b"reason")));
            let mut frames = Vec::new();
            assert_eq!(queue.take(&mut frames).await, SendQueueItem::Frames);
            assert_eq!(frames, [Frame::Bytes(Bytes::from_static(b"reason"), 0)]);
        }
    }
}
