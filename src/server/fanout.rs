//! Fan-out: encodes each event once per dialect and puts it into the send queues of its recipients.
//!
//! Events for all sessions are gathered and queued as one piece per session, so that a message to a
//! thousand sessions is cheap. Every log event also goes into the [tail](super::tail), where a session
//! whose queue is full finds it later.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::hub::{SessionId, SessionSet};
use super::limits::FANOUT_BATCH_BYTES;
use super::send_queue::{Frame, SendQueue};
use super::tail::{PendingRead, Tail, TailEvent};
use crate::protocol::error::Refusal;
use crate::protocol::event::{ErrorReply, Event};
use crate::protocol::id::{Seq, UserId};
use crate::protocol::request::Dialect;

/// The send queues of all sessions.
#[derive(Debug)]
pub(super) struct Fanout {
    subscribers: BTreeMap<SessionId, Subscriber>,
    n_originals: usize,
    tail: Arc<Tail>,
    /// The last log event that was queued or gathered.
    head: Seq,
    batch: Batch,
    backlog: Backlog,
    /// The last encoded user list. All sessions that log in between two presence announcements get
    /// the same list.
    user_list: Option<(Arc<[UserId]>, Bytes)>,
}

/// Gathered log events for all sessions.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    events: Vec<TailEvent>,
}

#[derive(Debug)]
struct Subscriber {
    dialect: Dialect,
    queue: Arc<SendQueue>,
    is_logged_in: bool,
    /// The value of [`SendQueue::lag`] at which the hub task has waited for this session in vain.
    stalled_at: Option<u64>,
}

/// How many sessions are behind.
#[derive(Debug, Default)]
struct Backlog {
    n_lagging: usize,
    n_stalled: usize,
}

/// One event, encoded for each dialect when first needed.
struct EncodedEvent<'a> {
    event: &'a Event,
    extended: OnceCell<Bytes>,
    original: OnceCell<Option<Bytes>>,
}

impl<'a> EncodedEvent<'a> {
    fn new(event: &'a Event) -> Self {
        Self { event, extended: OnceCell::new(), original: OnceCell::new() }
    }

    /// `None` if the dialect has no such event.
    fn for_dialect(&self, dialect: Dialect) -> Option<Bytes> {
        match dialect {
            Dialect::Extended => Some(self.extended.get_or_init(|| self.event.encode()).clone()),
            Dialect::Original => {
                self.original.get_or_init(|| self.event.encode_for_original()).clone()
            }
        }
    }
}

impl Fanout {
    /// No sessions. `tail` is empty, and `head` is the last event of the log.
    pub(super) fn new(head: Seq, tail: Arc<Tail>) -> Self {
        Self {
            subscribers: BTreeMap::new(),
            n_originals: 0,
            tail,
            head,
            batch: Batch::default(),
            backlog: Backlog::default(),
            user_list: None,
        }
    }

    /// Adds a session that is about to log in. It gets only events that are addressed to it.
    pub(super) fn add(&mut self, session: SessionId, dialect: Dialect, queue: Arc<SendQueue>) {
        self.n_originals += usize::from(dialect == Dialect::Original);
        let subscriber = Subscriber { dialect, queue, is_logged_in: false, stalled_at: None };
        self.subscribers.insert(session, subscriber);
    }

    /// Subscribes a session to log events from now on. With `after`, it first gets those after that one.
    pub(super) fn subscribe(&mut self, session: SessionId, viewer: UserId, after: Option<Seq>) {
        self.flush();
        let Some(subscriber) = self.subscribers.get_mut(&session) else { return };
        subscriber.is_logged_in = true;
        subscriber.queue.subscribe(viewer, after.unwrap_or(self.head), after.is_some());
    }

    /// A session asks for a complete user list. The caller sends it next.
    pub(super) fn resume_transient(&self, session: SessionId) {
        if let Some(subscriber) = self.subscribers.get(&session) {
            subscriber.queue.resume_transient();
        }
    }

    /// Registers a history or search request of a session.
    pub(super) fn begin_read(&self, session: SessionId) -> Option<PendingRead> {
        let subscriber = self.subscribers.get(&session)?;
        Some(PendingRead::new(Arc::clone(&self.tail), Arc::clone(&subscriber.queue)))
    }

    /// Sends an event. One for all sessions may be gathered until [`Self::flush`].
    pub(super) fn deliver(&mut self, to: SessionSet, event: &Event) {
        match (to, event.seq()) {
            (SessionSet::All, Some(seq)) => self.add_to_batch(event, seq),
            (SessionSet::All, None) => {
                // Before its login is accepted, a client learns nothing about others.
                let logged_in =
                    self.subscribers.iter().filter(|(_, subscriber)| subscriber.is_logged_in);
                let logged_in: Vec<SessionId> = logged_in.map(|(session, _)| *session).collect();
                self.send(&logged_in, event);
            }
            (SessionSet::Only { viewers, sessions }, Some(seq)) => {
                self.send_to_viewers(viewers, &sessions, event, seq);
            }
            (SessionSet::Only { sessions, .. }, None) => self.send(&sessions, event),
            (SessionSet::One(session), _) => self.send(&[session], event),
        }
    }

    /// Forgets the events up to the log's horizon, which may contain messages that the log has no longer.
    pub(super) fn forget_through(&mut self, horizon: Seq) {
        self.flush();
        self.tail.forget_through(horizon);
    }

    /// Closes a session after everything that was sent to it.
    pub(super) fn close(&mut self, session: SessionId) {
        self.flush();
        if let Some(subscriber) = self.subscribers.remove(&session) {
            self.n_originals -= usize::from(subscriber.dialect == Dialect::Original);
            subscriber.queue.close();
        }
    }

    /// Queues the gathered events.
    pub(super) fn flush(&mut self) {
        let Batch { bytes, events } = std::mem::take(&mut self.batch);
        if bytes.is_empty() {
            return;
        }
        let (bytes, count) = (Bytes::from(bytes), events.len() as u64);
        let originals: Vec<_> = events
            .iter()
            .filter_map(|event| event.original.clone().map(|bytes| (bytes, event.seq)))
            .collect();
        self.tail.append(&bytes, events);
        self.backlog = Backlog::default();
        for subscriber in self.subscribers.values_mut() {
            let lag = match subscriber.dialect {
                Dialect::Extended => subscriber.queue.push_events(&bytes, count, self.head),
                Dialect::Original => originals
                    .iter()
                    .fold(None, |_, (piece, seq)| subscriber.queue.push_events(piece, 1, *seq)),
            };
            self.backlog.count(subscriber, lag);
        }
    }

    /// Whether most sessions lagged at the last event for all, without those that stalled. Then it is the
    /// server that is slow.
    pub(super) fn most_sessions_lag(&self) -> bool {
        let Backlog { n_lagging, n_stalled } = self.backlog;
        n_lagging * 2 > self.subscribers.len().saturating_sub(n_stalled)
    }

    /// Updates the number of lagging sessions.
    pub(super) fn recount_lagging(&mut self) {
        self.backlog = Backlog::default();
        for subscriber in self.subscribers.values() {
            self.backlog.count(subscriber, subscriber.queue.lag());
        }
    }

    /// The hub task has waited for the lagging sessions in vain. They do not count until they take
    /// something.
    pub(super) fn mark_lagging_as_stalled(&mut self) {
        for subscriber in self.subscribers.values_mut() {
            subscriber.stalled_at = subscriber.queue.lag();
        }
    }

    /// Sends `reason` to all sessions and closes them.
    pub(super) fn close_all(&mut self, reason: &Refusal) {
        self.flush();
        let sessions: Vec<SessionId> = self.subscribers.keys().copied().collect();
        self.send(&sessions, &Event::Closing(ErrorReply::new(reason, None)));
        for subscriber in std::mem::take(&mut self.subscribers).into_values() {
            subscriber.queue.close();
        }
    }

    fn add_to_batch(&mut self, event: &Event, seq: Seq) {
        let start = self.batch.bytes.len();
        self.batch.bytes.extend_from_slice(&event.encode());
        let (range, original) = (start..self.batch.bytes.len(), self.encode_for_originals(event));
        self.batch.events.extend(TailEvent::new(event, range, original, None));
        self.head = seq;
        if self.batch.bytes.len() >= FANOUT_BATCH_BYTES {
            self.flush();
        }
    }

    /// Sends a log event that only `viewers` may see.
    fn send_to_viewers(
        &mut self,
        viewers: Arc<[UserId]>,
        sessions: &[SessionId],
        event: &Event,
        seq: Seq,
    ) {
        self.flush();
        self.head = seq;
        let (bytes, original) = (event.encode(), self.encode_for_originals(event));
        let for_tail = TailEvent::new(event, 0..bytes.len(), original.clone(), Some(viewers));
        self.tail.append(&bytes, for_tail.into_iter().collect());
        for session in sessions {
            let Some(subscriber) = self.subscribers.get(session) else { continue };
            match (subscriber.dialect, &original) {
                (Dialect::Extended, _) => subscriber.queue.push_events(&bytes, 1, seq),
                (Dialect::Original, Some(bytes)) => subscriber.queue.push_events(bytes, 1, seq),
                (Dialect::Original, None) => None,
            };
        }
    }

    fn encode_for_originals(&self, event: &Event) -> Option<Bytes> {
        (self.n_originals > 0).then(|| event.encode_for_original()).flatten()
    }

    /// Sends an event that is not in the log.
    fn send(&mut self, sessions: &[SessionId], event: &Event) {
        self.flush();
        let encoded = EncodedEvent::new(event);
        if let (Event::Users(users), Some((cached, bytes))) = (event, &self.user_list)
            && Arc::ptr_eq(users, cached)
        {
            encoded.extended.set(bytes.clone()).ok();
        }
        for session in sessions {
            let Some(subscriber) = self.subscribers.get(session) else { continue };
            let Some(bytes) = encoded.for_dialect(subscriber.dialect) else { continue };
            match event {
                Event::Users(_) | Event::Guests(_) | Event::Presence { .. } => {
                    subscriber.queue.push_transient(bytes);
                }
                Event::Closing(_) => subscriber.queue.set_last(bytes),
                _ => subscriber.queue.push_answer(Frame::Answer(bytes)),
            }
        }
        if let (Event::Users(users), Some(bytes)) = (event, encoded.extended.into_inner()) {
            self.user_list = Some((Arc::clone(users), bytes));
        }
    }
}

/// If the hub task panics, the sessions still end.
impl Drop for Fanout {
    fn drop(&mut self) {
        for subscriber in self.subscribers.values() {
            subscriber.queue.close();
        }
    }
}

impl Backlog {
    /// `lag` is the value of [`SendQueue::lag`].
    fn count(&mut self, subscriber: &Subscriber, lag: Option<u64>) {
        if lag.is_some() && lag == subscriber.stalled_at {
            self.n_stalled += 1;
        } else {
            self.n_lagging += usize::from(lag.is_some());
        }
    }
}
