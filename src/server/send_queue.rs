//! The send queue of one session: encoded bytes with an upper bound.
//!
//! The hub task pushes and never waits; the session's writer takes everything queued in one go. What
//! happens when the queue is full depends on the class of a frame: log events make the session fall
//! behind, and it reads them from the [tail](super::tail) later; answers are always queued, and the
//! session reads no further requests meanwhile; presence is dropped, and replaced by a complete user list
//! later; TYPING is dropped; of the settings of a conversation, only the latest is kept.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::limits::{
    FRAME_OVERHEAD, READS_PER_SESSION, SEND_QUEUE_BYTES, SEND_QUEUE_LAG_BYTES, UNREAD_ANSWER_BYTES,
};
use crate::protocol::id::{Seq, UserId};
use crate::protocol::message::Audience;

/// A queue of outgoing bytes. See [`SEND_QUEUE_BYTES`].
#[derive(Debug, Default)]
pub(super) struct SendQueue {
    state: Mutex<QueueState>,
    filled: Notify,
    /// An answer was sent, or a read ended.
    answered: Notify,
    logged_in: Notify,
    closing: CancellationToken,
    /// The connection has ended.
    abandoned: CancellationToken,
}

#[derive(Debug, Default)]
struct QueueState {
    frames: Vec<Frame>,
    /// The sum of [`Frame::weight`].
    weight: usize,
    /// `None` before the login is accepted.
    feed: Option<Feed>,
    /// The weight of the answers that are queued or being sent.
    unread_answers: usize,
    /// The weight of the answers that the rate limit was not charged for yet.
    uncharged_answers: usize,
    /// History and search requests without their last answer.
    n_reads: usize,
    /// Those of them that the hub task has accepted.
    n_accepted_reads: usize,
    user_list: UserListState,
    /// How often the session's writer took something.
    n_takes: u64,
    closed: bool,
    /// Sent at the very end.
    last: Option<Bytes>,
}

/// How far the session is in the log.
#[derive(Debug)]
struct Feed {
    viewer: UserId,
    /// The last event that the session was sent, or that is in the queue.
    up_to: Seq,
    /// The session reads further events from the tail or the log. Otherwise they are pushed.
    is_behind: bool,
}

/// Whether the client's user list is up to date.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum UserListState {
    #[default]
    Current,
    /// A presence frame was dropped.
    Missed,
    /// The hub has been asked for a complete list.
    Requested,
}

/// One piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// Encoded log events, and how many (for [`Frame::Pong`]).
    Events(Bytes, u64),
    /// The answer to a request.
    Answer(Bytes),
    /// Presence, user lists and TYPING.
    Transient(Bytes),
    /// A setting of the user, which replaces a queued one with the same key.
    Setting(SettingKey, Bytes),
    /// The answer to a ping. It is encoded when it is sent, with the number of log events sent so far.
    Pong,
}

/// The kind of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SettingKind {
    Read,
    Notify,
}

/// Settings with the same key replace each other.
pub(super) type SettingKey = (SettingKind, Audience);

/// What the session does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SendQueueItem {
    /// Send the frames that [`SendQueue::take`] moved out.
    Frames,
    /// Send the next events from the tail or the log.
    CatchUp,
    /// Ask the hub for a complete user list.
    UserList,
    /// Nothing: the queue is closed and empty.
    Closed,
}

impl Frame {
    /// Its size in bytes, as counted against [`SEND_QUEUE_BYTES`].
    fn weight(&self) -> usize {
        match self {
            Self::Events(bytes, _)
            | Self::Answer(bytes)
            | Self::Transient(bytes)
            | Self::Setting(_, bytes) => bytes.len() + FRAME_OVERHEAD,
            Self::Pong => FRAME_OVERHEAD,
        }
    }

    /// Its weight if it is an answer, otherwise 0.
    pub(super) fn answer_weight(&self) -> usize {
        match self {
            Self::Answer(_) | Self::Pong => self.weight(),
            Self::Events(..) | Self::Transient(_) | Self::Setting(..) => 0,
        }
    }
}

impl SendQueue {
    /// Queues log events, of which `last` is the last one, unless the session has them already. If the
    /// queue is full, the session falls behind. Returns the same as [`Self::lag`].
    pub(super) fn push_events(&self, bytes: &Bytes, count: u64, last: Seq) -> Option<u64> {
        let mut state = self.state();
        let has_room = state.has_room_for(bytes);
        if let Some(feed) = &mut state.feed
            && !feed.is_behind
            && feed.up_to < last
        {
            if has_room {
                feed.up_to = last;
                self.push(&mut state, Frame::Events(bytes.clone(), count));
            } else {
                feed.is_behind = true;
            }
        }
        state.lag()
    }

    /// Queues an answer. Answers are bounded by the requests that the session reads: see
    /// [`Self::begin_request`].
    pub(super) fn push_answer(&self, frame: Frame) {
        let mut state = self.state();
        self.push(&mut state, frame);
    }

    /// Queues a setting in place of one with the same key, so that they are bounded by the user's
    /// conversations. They are never dropped.
    pub(super) fn push_setting(&self, key: SettingKey, bytes: Bytes) {
        let mut state = self.state();
        let is_older = |frame: &Frame| matches!(frame, Frame::Setting(queued, _) if *queued == key);
        if let Some(index) = state.frames.iter().position(is_older) {
            state.weight -= state.frames.remove(index).weight();
        }
        self.push(&mut state, Frame::Setting(key, bytes));
    }

    /// Queues a TYPING, unless the session has something better to do.
    pub(super) fn push_typing(&self, bytes: Bytes) {
        let mut state = self.state();
        if state.feed.is_some() && state.lag().is_none() {
            self.push(&mut state, Frame::Transient(bytes));
        }
    }

    /// Queues a presence frame. If the queue is full, the session asks for a complete user list when
    /// there is room again, and presence frames are dropped until then.
    pub(super) fn push_presence(&self, bytes: Bytes) {
        let mut state = self.state();
        if state.user_list != UserListState::Current {
            return;
        }
        if state.has_room_for(&bytes) {
            self.push(&mut state, Frame::Transient(bytes));
        } else {
            state.user_list = UserListState::Missed;
        }
    }

    /// Accepts presence frames again: the complete user list follows.
    pub(super) fn resume_presence(&self) {
        self.state().user_list = UserListState::Current;
    }

    /// Called when the hub has accepted the login. The session gets all events after `after`: if
    /// `is_behind`, first those that it missed.
    pub(super) fn subscribe(&self, viewer: UserId, after: Seq, is_behind: bool) {
        self.state().feed = Some(Feed { viewer, up_to: after, is_behind });
        self.logged_in.notify_one();
        self.filled.notify_one();
    }

    /// Waits until the hub has accepted the login. May be awaited only once.
    pub(super) async fn logged_in(&self) {
        self.logged_in.notified().await;
    }

    /// Who catches up, and after which event.
    pub(super) fn position(&self) -> Option<(UserId, Seq)> {
        self.state().feed.as_ref().map(|feed| (feed.viewer.clone(), feed.up_to))
    }

    /// The session has, or is about to send, all events up to `up_to`. If `is_behind` is false, further
    /// ones are pushed. Moves the queued frames, which have to be sent before these events, to `frames`.
    pub(super) fn advance(&self, up_to: Seq, is_behind: bool, frames: &mut Vec<Frame>) {
        let mut state = self.state();
        if let Some(feed) = &mut state.feed {
            (feed.up_to, feed.is_behind) = (up_to, is_behind);
        }
        state.weight = 0;
        frames.append(&mut state.frames);
    }

    /// If the session lags, how often its writer has taken something: as long as that stays the same,
    /// its client takes nothing.
    pub(super) fn lag(&self) -> Option<u64> {
        self.state().lag()
    }

    /// Waits until the session may forward a request, while its client does not read the answers to
    /// earlier ones. `is_read` is a history or search request, which [`Self::end_read`] ends.
    pub(super) async fn begin_request(&self, is_read: bool) {
        loop {
            {
                let mut state = self.state();
                if state.unread_answers <= UNREAD_ANSWER_BYTES
                    && !(is_read && state.n_reads >= READS_PER_SESSION)
                {
                    state.n_reads += usize::from(is_read);
                    return;
                }
            }
            self.answered.notified().await;
        }
    }

    /// The hub task has accepted a history or search request. The queue stays open for its answers.
    pub(super) fn accept_read(&self) {
        self.state().n_accepted_reads += 1;
    }

    /// The last answer to an accepted history or search request was queued.
    pub(super) fn end_read(&self) {
        let mut state = self.state();
        state.n_reads -= 1;
        state.n_accepted_reads -= 1;
        drop(state);
        self.answered.notify_one();
        self.filled.notify_one();
    }

    /// The bytes of the answers that were queued since the last call, for the rate limit.
    pub(super) fn take_uncharged_answers(&self) -> usize {
        std::mem::take(&mut self.state().uncharged_answers)
    }

    /// Answers of this weight were sent.
    pub(super) fn answers_sent(&self, weight: usize) {
        if weight > 0 {
            self.state().unread_answers -= weight;
            self.answered.notify_one();
        }
    }

    /// Refuses further frames, except answers to accepted requests. What is queued and what the session
    /// has missed is still sent.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.filled.notify_one();
        self.closing.cancel();
    }

    /// Sets what is sent at the very end, when the queue is closed.
    pub(super) fn set_last(&self, bytes: Bytes) {
        self.state().last = Some(bytes);
    }

    /// Waits for something to do. Moves all frames into `frames`, which must be empty.
    pub(super) async fn take(&self, frames: &mut Vec<Frame>) -> SendQueueItem {
        loop {
            let item = self.state().take(frames);
            if let Some(item) = item {
                return item;
            }
            self.filled.notified().await;
        }
    }

    /// Dropping the guard means that the connection has ended.
    pub(super) fn abandon_on_drop(&self) -> DropGuard {
        self.abandoned.clone().drop_guard()
    }

    /// Waits until the connection has ended.
    pub(super) async fn abandoned(&self) {
        self.abandoned.cancelled().await;
    }

    /// Waits until the queue is closed.
    pub(super) async fn closed(&self) {
        self.closing.cancelled().await;
    }

    fn push(&self, state: &mut QueueState, frame: Frame) {
        if state.closed && state.n_accepted_reads == 0 {
            return;
        }
        state.weight += frame.weight();
        state.unread_answers += frame.answer_weight();
        state.uncharged_answers += frame.answer_weight();
        state.frames.push(frame);
        if state.frames.len() == 1 {
            self.filled.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        // The state is consistent even if a holder of the lock panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueState {
    /// A frame larger than the whole queue is accepted when the queue is empty.
    fn has_room_for(&self, bytes: &Bytes) -> bool {
        self.frames.is_empty() || self.weight + bytes.len() + FRAME_OVERHEAD <= SEND_QUEUE_BYTES
    }

    fn is_behind(&self) -> bool {
        self.feed.as_ref().is_some_and(|feed| feed.is_behind)
    }

    fn lag(&self) -> Option<u64> {
        let lags = self.weight > SEND_QUEUE_LAG_BYTES || self.is_behind();
        lags.then_some(self.n_takes)
    }

    fn take(&mut self, frames: &mut Vec<Frame>) -> Option<SendQueueItem> {
        let has_room = self.weight <= SEND_QUEUE_BYTES / 2;
        if self.user_list == UserListState::Missed && has_room && !self.closed {
            self.user_list = UserListState::Requested;
            return Some(SendQueueItem::UserList);
        }
        let item = if !self.frames.is_empty() {
            std::mem::swap(&mut self.frames, frames);
            self.weight = 0;
            SendQueueItem::Frames
        } else if self.is_behind() {
            SendQueueItem::CatchUp
        } else if !self.closed || self.n_accepted_reads > 0 {
            return None;
        } else if let Some(last) = self.last.take() {
            frames.push(Frame::Transient(last));
            SendQueueItem::Frames
        } else {
            SendQueueItem::Closed
        };
        self.n_takes += 1;
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn bytes(size: usize) -> Bytes {
        Bytes::from(vec![b'x'; size])
    }

    fn answer(size: usize) -> Frame {
        Frame::Answer(bytes(size))
    }

    /// The queue of a session that is logged in and up to date.
    fn live_queue() -> SendQueue {
        let queue = SendQueue::default();
        queue.subscribe("Bob_1234".parse().unwrap(), Seq(0), false);
        queue
    }

    fn take_all(queue: &SendQueue) -> Vec<Frame> {
        let mut frames = Vec::new();
        assert_eq!(queue.take(&mut frames).now_or_never(), Some(SendQueueItem::Frames));
        queue.answers_sent(frames.iter().map(Frame::answer_weight).sum());
        frames
    }

    fn take_item(queue: &SendQueue) -> Option<SendQueueItem> {
        queue.take(&mut Vec::new()).now_or_never()
    }

    #[test]
    fn frames_come_out_once_and_in_order() {
        let queue = live_queue();
        queue.push_events(&bytes(1), 1, Seq(1));
        queue.push_events(&bytes(1), 1, Seq(1));
        queue.push_answer(answer(2));
        queue.push_presence(bytes(3));
        let expected = [Frame::Events(bytes(1), 1), answer(2), Frame::Transient(bytes(3))];
        assert_eq!(take_all(&queue), expected);
        assert_eq!(take_item(&queue), None);
        queue.push_answer(answer(4));
        queue.set_last(bytes(5));
        queue.close();
        queue.push_answer(answer(6));
        assert_eq!(take_all(&queue), [answer(4)]);
        assert_eq!(take_all(&queue), [Frame::Transient(bytes(5))]);
        assert_eq!(take_item(&queue), Some(SendQueueItem::Closed));
    }

    #[test]
    fn session_with_full_queue_falls_behind() {
        for size in [1, 1_000, 100_000] {
            let queue = live_queue();
            let capacity = SEND_QUEUE_BYTES / (size + FRAME_OVERHEAD);
            for seq in 1..=capacity + 2 {
                queue.push_events(&bytes(size), 1, Seq(seq as u64));
            }
            assert_eq!(queue.lag(), Some(0));
            queue.close();
            assert_eq!(take_all(&queue).len(), capacity);
            assert_eq!(take_item(&queue), Some(SendQueueItem::CatchUp), "also when it is closed");
            assert_eq!(queue.position().unwrap().1, Seq(capacity as u64));
            queue.advance(Seq(capacity as u64 + 2), false, &mut Vec::new());
            assert_eq!(take_item(&queue), Some(SendQueueItem::Closed));
        }
    }

    #[test]
    fn answers_are_never_dropped_and_hold_up_requests() {
        let queue = live_queue();
        assert!(queue.begin_request(true).now_or_never().is_some());
        assert!(queue.begin_request(true).now_or_never().is_some());
        assert!(queue.begin_request(true).now_or_never().is_none(), "two are under way");
        assert!(queue.begin_request(false).now_or_never().is_some(), "not a read");
        queue.accept_read();
        queue.accept_read();
        queue.close();
        for _ in 0..2 {
            queue.push_answer(answer(SEND_QUEUE_BYTES));
            queue.end_read();
        }
        assert!(queue.begin_request(false).now_or_never().is_none(), "the answers are unread");
        assert_eq!(take_all(&queue).len(), 2);
        assert!(queue.begin_request(true).now_or_never().is_some());
    }

    #[test]
    fn latest_setting_of_a_conversation_is_kept() {
        let queue = live_queue();
        let key = |kind, room: &str| (kind, Audience::Room(room.parse().unwrap()));
        let ops = key(SettingKind::Read, "#ops");
        queue.push_answer(answer(SEND_QUEUE_BYTES));
        for size in 1..=10_000 {
            queue.push_setting(ops.clone(), bytes(size));
        }
        queue.push_events(&bytes(1), 1, Seq(1));
        queue.push_setting(key(SettingKind::Notify, "#ops"), bytes(1));
        queue.push_setting(key(SettingKind::Read, "#lab"), bytes(2));
        let frames = take_all(&queue);
        assert_eq!(frames.len(), 4, "also in a full queue");
        assert_eq!(frames[1], Frame::Setting(ops, bytes(10_000)));
        assert_eq!(take_item(&queue), Some(SendQueueItem::CatchUp));
    }

    #[test]
    fn typing_is_dropped_by_a_session_that_lags() {
        let queue = live_queue();
        queue.push_typing(bytes(1));
        assert_eq!(take_all(&queue).len(), 1);
        queue.push_answer(answer(SEND_QUEUE_LAG_BYTES));
        queue.push_typing(bytes(1));
        assert_eq!(take_all(&queue).len(), 1);
        assert_eq!(take_item(&queue), None, "no user list is wanted");
    }

    #[test]
    fn dropped_presence_is_replaced_by_one_user_list() {
        let queue = live_queue();
        queue.push_answer(answer(SEND_QUEUE_BYTES));
        for _ in 0..100 {
            queue.push_presence(bytes(10));
        }
        assert_eq!(take_all(&queue).len(), 1);
        assert_eq!(take_item(&queue), Some(SendQueueItem::UserList));
        queue.push_presence(bytes(10));
        assert_eq!(take_item(&queue), None, "the list is on its way");
        queue.resume_presence();
        queue.push_presence(bytes(20));
        assert_eq!(take_all(&queue), [Frame::Transient(bytes(20))]);
    }
}
