//! Fan-out: encodes each event once per dialect and puts it into the send queues of its recipients.
//!
//! Events for all sessions are gathered and queued as one piece per session, so that a message to a
//! thousand sessions is cheap. A session with a full queue is not waited for: it reads the events it
//! missed from the log, and returns to the live feed once it has caught up.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::hub::{SessionId, SessionSet};
use super::limits::{FANOUT_BATCH_BYTES, SEND_QUEUE_LAG_BYTES};
use super::send_queue::{CatchUpFrom, Frame, PushError, SendQueue};
use crate::protocol::error::Refusal;
use crate::protocol::event::{ErrorReply, Event};
use crate::protocol::id::{Seq, UserId};
use crate::protocol::request::Dialect;

/// The send queues of all sessions, and how far each is in the log.
#[derive(Debug)]
pub(super) struct Fanout {
    subscribers: BTreeMap<SessionId, Subscriber>,
    n_originals: usize,
    /// The last log event that was queued or gathered.
    head: Seq,
    batch: Batch,
    /// Sessions that were closed here, until the hub task takes them.
    ended: Vec<SessionId>,
    n_lagging: usize,
    /// The last encoded user list. All sessions that log in between two presence announcements get
    /// the same list.
    user_list: Option<(Arc<[UserId]>, Bytes)>,
}

/// Gathered log events for all sessions.
#[derive(Debug, Default)]
struct Batch {
    /// For extended clients: all events together.
    bytes: Vec<u8>,
    /// For original clients: each event has to be sent in a TLS record of its own.
    for_originals: Vec<(Seq, Bytes)>,
    first: Seq,
    count: u64,
}

#[derive(Debug)]
struct Subscriber {
    dialect: Dialect,
    queue: Arc<SendQueue>,
    feed: Feed,
}

/// Where a session gets log events from.
#[derive(Debug, PartialEq, Eq)]
enum Feed {
    /// Nowhere: the login is not accepted yet.
    NotLoggedIn,
    /// From here. It has all events up to `Seq`, at least in its queue.
    Live(UserId, Seq),
    /// From the log.
    CatchingUp(UserId),
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
    /// No sessions; `head` is the last event of the log.
    pub(super) fn new(head: Seq) -> Self {
        Self {
            subscribers: BTreeMap::new(),
            n_originals: 0,
            head,
            batch: Batch::default(),
            ended: Vec::new(),
            n_lagging: 0,
            user_list: None,
        }
    }

    /// Adds a session that is about to log in. It gets only events that are addressed to it.
    pub(super) fn add(&mut self, session: SessionId, dialect: Dialect, queue: Arc<SendQueue>) {
        self.n_originals += usize::from(dialect == Dialect::Original);
        self.subscribers.insert(session, Subscriber { dialect, queue, feed: Feed::NotLoggedIn });
    }

    /// Subscribes a session to log events from now on. With `after`, it first reads those after that
    /// one from the log.
    pub(super) fn subscribe(&mut self, session: SessionId, viewer: UserId, after: Option<Seq>) {
        self.flush();
        let Some(subscriber) = self.subscribers.get_mut(&session) else { return };
        subscriber.queue.mark_logged_in();
        match after {
            None => subscriber.feed = Feed::Live(viewer, self.head),
            Some(after) => subscriber.start_catch_up(viewer, after),
        }
    }

    /// A session has read the log up to `up_to`. If that is the head, it returns to the live feed;
    /// otherwise it reads on.
    pub(super) fn caught_up(&mut self, session: SessionId, up_to: Seq) {
        self.flush();
        let Some(subscriber) = self.subscribers.get_mut(&session) else { return };
        let Feed::CatchingUp(viewer) = &subscriber.feed else { return };
        let viewer = viewer.clone();
        if up_to < self.head {
            subscriber.start_catch_up(viewer, up_to);
            return;
        }
        subscriber.feed = Feed::Live(viewer, up_to);
        self.send(&[session], &Event::Live(up_to));
    }

    /// The send queue of a session.
    pub(super) fn queue(&self, session: SessionId) -> Option<Arc<SendQueue>> {
        self.subscribers.get(&session).map(|subscriber| Arc::clone(&subscriber.queue))
    }

    /// Sends an event. One for all sessions may be gathered until [`Self::flush`].
    pub(super) fn deliver(&mut self, to: SessionSet, event: &Event) {
        match to {
            SessionSet::All => self.add_to_batch(event),
            SessionSet::Many(sessions) => self.send(&sessions, event),
            SessionSet::One(session) => self.send(&[session], event),
        }
    }

    /// Closes a session after everything that was sent to it.
    pub(super) fn close(&mut self, session: SessionId) {
        self.flush();
        self.remove(session, SendQueue::close);
    }

    /// Queues the gathered events.
    pub(super) fn flush(&mut self) {
        let Batch { bytes, for_originals, first, count } = std::mem::take(&mut self.batch);
        if bytes.is_empty() {
            return;
        }
        let bytes = Bytes::from(bytes);
        self.n_lagging = 0;
        for (session, subscriber) in &mut self.subscribers {
            let weight = match subscriber.dialect {
                Dialect::Extended => {
                    subscriber.push_events(Frame::Bytes(bytes.clone(), count), first, self.head)
                }
                Dialect::Original => for_originals.iter().try_fold(0, |_, (seq, piece)| {
                    subscriber.push_events(Frame::Bytes(piece.clone(), 1), *seq, *seq)
                }),
            };
            match weight {
                Ok(weight) => self.n_lagging += usize::from(weight > SEND_QUEUE_LAG_BYTES),
                Err(error) => self.ended.push(end_session(*session, subscriber, error)),
            }
        }
    }

    /// Whether most sessions lagged at the last event for all. Then it is the server that is slow.
    pub(super) fn most_sessions_lag(&self) -> bool {
        self.n_lagging * 2 > self.subscribers.len()
    }

    /// Updates the number of lagging sessions.
    pub(super) fn recount_lagging(&mut self) {
        let lags = |subscriber: &&Subscriber| subscriber.queue.weight() > SEND_QUEUE_LAG_BYTES;
        self.n_lagging = self.subscribers.values().filter(lags).count();
    }

    /// Takes the sessions that were closed here since the last call. The hub has to be told of them.
    pub(super) fn take_ended(&mut self) -> Vec<SessionId> {
        let ended = std::mem::take(&mut self.ended);
        for session in &ended {
            self.remove(*session, |_| {});
        }
        ended
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

    fn add_to_batch(&mut self, event: &Event) {
        let Some(seq) = event.seq() else {
            // Before its login is accepted, a client learns nothing about others.
            let logged_in = self
                .subscribers
                .iter()
                .filter(|(_, subscriber)| subscriber.feed != Feed::NotLoggedIn);
            let logged_in: Vec<SessionId> = logged_in.map(|(session, _)| *session).collect();
            self.send(&logged_in, event);
            return;
        };
        if self.batch.bytes.is_empty() {
            self.batch.first = seq;
        }
        self.head = seq;
        self.batch.count += 1;
        self.batch.bytes.extend_from_slice(&event.encode());
        if self.n_originals > 0 {
            let piece = event.encode_for_original().map(|piece| (seq, piece));
            self.batch.for_originals.extend(piece);
        }
        if self.batch.bytes.len() >= FANOUT_BATCH_BYTES {
            self.flush();
        }
    }

    fn send(&mut self, sessions: &[SessionId], event: &Event) {
        self.flush();
        let seq = event.seq();
        self.head = seq.unwrap_or(self.head);
        let encoded = EncodedEvent::new(event);
        if let (Event::Users(users), Some((cached, bytes))) = (event, &self.user_list)
            && Arc::ptr_eq(users, cached)
        {
            encoded.extended.set(bytes.clone()).ok();
        }
        for session in sessions {
            let Some(subscriber) = self.subscribers.get_mut(session) else { continue };
            let Some(bytes) = encoded.for_dialect(subscriber.dialect) else { continue };
            let pushed = match seq {
                Some(seq) => subscriber.push_events(Frame::Bytes(bytes, 1), seq, seq),
                None => subscriber.queue.push(Frame::Bytes(bytes, 0)),
            };
            if let Err(error) = pushed {
                self.ended.push(end_session(*session, subscriber, error));
            }
        }
        if let (Event::Users(users), Some(bytes)) = (event, encoded.extended.into_inner()) {
            self.user_list = Some((Arc::clone(users), bytes));
        }
    }

    fn remove(&mut self, session: SessionId, finish: impl FnOnce(&SendQueue)) {
        if let Some(subscriber) = self.subscribers.remove(&session) {
            self.n_originals -= usize::from(subscriber.dialect == Dialect::Original);
            finish(&subscriber.queue);
        }
    }
}

impl Subscriber {
    /// Queues the log events from `first` to `last`, and returns the queue's weight. Queues nothing,
    /// and returns 0, if the session has these events or will read them from the log.
    fn push_events(&mut self, frame: Frame, first: Seq, last: Seq) -> Result<usize, PushError> {
        let Feed::Live(viewer, up_to) = &self.feed else { return Ok(0) };
        let (viewer, up_to) = (viewer.clone(), *up_to);
        if last <= up_to {
            return Ok(0);
        }
        if first <= up_to {
            // The session already read a part of the frame from the log.
            self.start_catch_up(viewer, up_to);
            return Ok(0);
        }
        match self.queue.push(frame) {
            Err(PushError::Full) => {
                self.start_catch_up(viewer, Seq(first.0 - 1));
                Ok(0)
            }
            pushed @ (Ok(_) | Err(PushError::Closed)) => pushed,
        }
    }

    fn start_catch_up(&mut self, viewer: UserId, after: Seq) {
        self.feed = Feed::CatchingUp(viewer.clone());
        self.queue.start_catch_up(CatchUpFrom { viewer, after });
    }
}

/// Tells a session with a full queue why it is closed. Only events that are not in the log, such as
/// presence and errors, end a session this way.
fn end_session(session: SessionId, subscriber: &Subscriber, error: PushError) -> SessionId {
    if error == PushError::Full {
        tracing::info!(session = session.0, "session closed: its send queue is full");
        let event = Event::Closing(ErrorReply::new(&Refusal::TooSlow, None));
        let last = EncodedEvent::new(&event).for_dialect(subscriber.dialect);
        subscriber.queue.discard_and_close(last);
    }
    session
}
