//! Fan-out: encodes each event once per dialect and puts it into the send queues of its recipients.
//!
//! Consecutive log events for the same sessions are gathered and queued as one piece per session, so that a
//! message to a thousand sessions is cheap. Every log event also goes into the [tail](super::tail), where a session
//! whose queue is full finds it later.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::hub::{SessionId, SessionSet};
use super::limits::FANOUT_BATCH_BYTES;
use super::send_queue::{Frame, SendQueue, SettingKey, SettingKind};
use super::tail::{PendingRead, Tail, TailEvent};
use crate::protocol::error::Refusal;
use crate::protocol::event::{ErrorReply, Event};
use crate::protocol::id::{Seq, UserId};
use crate::protocol::request::Dialect;

/// The send queues of all sessions.
#[derive(Debug)]
pub(super) struct Fanout {
    subscribers: BTreeMap<SessionId, Subscriber>,
    /// The sessions that are logged in.
    by_user: HashMap<UserId, Vec<SessionId>>,
    /// The sessions of the last list of viewers, until a session comes or goes: a room keeps its list, and its
    /// members are not looked up again for each message.
    last_viewers: Option<ViewerSessions>,
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

/// A list of viewers, and their sessions.
type ViewerSessions = (Arc<[UserId]>, Arc<[SessionId]>);

/// Gathered log events for the same sessions.
#[derive(Debug, Default)]
struct Batch {
    to: Option<SessionSet>,
    bytes: Vec<u8>,
    events: Vec<TailEvent>,
}

#[derive(Debug)]
struct Subscriber {
    dialect: Dialect,
    queue: Arc<SendQueue>,
    /// `None` before the login is accepted.
    user: Option<UserId>,
    /// The value of [`SendQueue::lag`] at which the hub task has waited for this session in vain.
    stalled_at: Option<u64>,
}

/// A gathered batch, encoded.
struct Piece {
    bytes: Bytes,
    count: u64,
    /// The last of the events.
    last: Seq,
    /// One piece for each event.
    originals: Vec<(Bytes, Seq)>,
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
            by_user: HashMap::new(),
            last_viewers: None,
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
        let subscriber = Subscriber { dialect, queue, user: None, stalled_at: None };
        self.subscribers.insert(session, subscriber);
    }

    /// Subscribes a session to log events from now on. With `after`, it first gets those after that one.
    pub(super) fn subscribe(&mut self, session: SessionId, viewer: UserId, after: Option<Seq>) {
        self.flush();
        let Some(subscriber) = self.subscribers.get_mut(&session) else { return };
        subscriber.user = Some(viewer.clone());
        self.by_user.entry(viewer.clone()).or_default().push(session);
        self.last_viewers = None;
        subscriber.queue.subscribe(viewer, after.unwrap_or(self.head), after.is_some());
    }

    /// A session asks for a complete user list. The caller sends it next.
    pub(super) fn resume_presence(&self, session: SessionId) {
        if let Some(subscriber) = self.subscribers.get(&session) {
            subscriber.queue.resume_presence();
        }
    }

    /// Registers a request of a session that is answered from the log.
    pub(super) fn begin_read(&self, session: SessionId) -> Option<PendingRead> {
        let subscriber = self.subscribers.get(&session)?;
        let (user, queue) = (subscriber.user.clone()?, Arc::clone(&subscriber.queue));
        Some(PendingRead::new(Arc::clone(&self.tail), queue, user, subscriber.dialect))
    }

    /// Sends an event. One of the log may be gathered until [`Self::flush`].
    pub(super) fn deliver(&mut self, to: SessionSet, event: &Event) {
        if let Some(seq) = event.seq() {
            return self.add_to_batch(to, event, seq);
        }
        match to {
            SessionSet::One(session) => self.send(&[session], event),
            SessionSet::Own { user, requester } => self.send_setting(&user, requester, event),
            SessionSet::Users(users) | SessionSet::Members(users) => {
                let sessions = self.sessions_of_all(&users);
                self.send(&sessions, event);
            }
            SessionSet::All => {
                // Before its login is accepted, a client learns nothing about others.
                let subscribers = self.subscribers.iter();
                let logged_in = subscribers.filter(|(_, subscriber)| subscriber.user.is_some());
                let logged_in: Vec<SessionId> = logged_in.map(|(session, _)| *session).collect();
                self.send(&logged_in, event);
            }
        }
    }

    fn sessions_of(&self, user: &UserId) -> &[SessionId] {
        self.by_user.get(user).map_or(&[], Vec::as_slice)
    }

    fn sessions_of_all(&mut self, viewers: &Arc<[UserId]>) -> Arc<[SessionId]> {
        if let Some((last, sessions)) = &self.last_viewers
            && Arc::ptr_eq(last, viewers)
        {
            return Arc::clone(sessions);
        }
        let sessions: Arc<[SessionId]> =
            viewers.iter().flat_map(|user| self.sessions_of(user)).copied().collect();
        self.last_viewers = Some((Arc::clone(viewers), Arc::clone(&sessions)));
        sessions
    }

    /// Forgets the events up to the log's horizon, which may contain messages that the log has no longer.
    pub(super) fn forget_through(&mut self, horizon: Seq) {
        self.flush();
        self.tail.forget_through(horizon);
    }

    /// Closes a session after everything that was sent to it.
    pub(super) fn close(&mut self, session: SessionId) {
        self.flush();
        self.last_viewers = None;
        if let Some(subscriber) = self.subscribers.remove(&session) {
            self.n_originals -= usize::from(subscriber.dialect == Dialect::Original);
            if let Some(user) = &subscriber.user
                && let Some(own) = self.by_user.get_mut(user)
            {
                own.retain(|other| *other != session);
                if own.is_empty() {
                    self.by_user.remove(user);
                }
            }
            subscriber.queue.close();
        }
    }

    /// Queues the gathered events.
    pub(super) fn flush(&mut self) {
        let Batch { to, bytes, events } = std::mem::take(&mut self.batch);
        let Some(to) = to else { return };
        let piece = Piece {
            bytes: bytes.into(),
            count: events.len() as u64,
            last: self.head,
            originals: events
                .iter()
                .filter_map(|event| event.original.clone().map(|bytes| (bytes, event.seq)))
                .collect(),
        };
        self.tail.append(&piece.bytes, events);
        let mut backlog = Backlog::default();
        let Some(viewers) = to.viewers() else {
            for subscriber in self.subscribers.values() {
                backlog.count(subscriber, piece.push_to(subscriber));
            }
            self.backlog = backlog;
            return;
        };
        let sessions = self.sessions_of_all(viewers);
        for subscriber in sessions.iter().filter_map(|session| self.subscribers.get(session)) {
            backlog.count(subscriber, piece.push_to(subscriber));
        }
        if sessions.len() * 2 > self.subscribers.len() {
            self.backlog = backlog;
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

    fn add_to_batch(&mut self, to: SessionSet, event: &Event, seq: Seq) {
        if self.batch.to.as_ref().is_some_and(|current| !is_same(current, &to)) {
            self.flush();
        }
        let start = self.batch.bytes.len();
        self.batch.bytes.extend_from_slice(&event.encode());
        let range = start..self.batch.bytes.len();
        let is_in_room = matches!(to, SessionSet::Members(_));
        let original = (!is_in_room).then(|| self.encode_for_originals(event)).flatten();
        let viewers = to.viewers().cloned();
        self.batch.events.push(TailEvent::new(event, seq, range, original, viewers));
        self.batch.to = Some(to);
        self.head = seq;
        if self.batch.bytes.len() >= FANOUT_BATCH_BYTES {
            self.flush();
        }
    }

    fn encode_for_originals(&self, event: &Event) -> Option<Bytes> {
        (self.n_originals > 0).then(|| event.encode_for_original()).flatten()
    }

    /// Sends a user's setting to all of the user's sessions; to `requester`, as the answer.
    fn send_setting(&mut self, user: &UserId, requester: Option<SessionId>, event: &Event) {
        self.flush();
        self.tail.on_setting(user);
        let Some(key) = setting_key(event) else { return };
        let bytes = event.encode();
        for session in self.sessions_of(user) {
            let Some(subscriber) = self.subscribers.get(session) else { continue };
            match subscriber.dialect {
                Dialect::Original => {}
                Dialect::Extended if Some(*session) == requester => {
                    subscriber.queue.push_answer(Frame::Answer(bytes.clone()));
                }
                Dialect::Extended => subscriber.queue.push_setting(key.clone(), bytes.clone()),
            }
        }
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
                    subscriber.queue.push_presence(bytes);
                }
                Event::Typing { .. } => subscriber.queue.push_typing(bytes),
                Event::Closing(_) => subscriber.queue.set_last(bytes),
                _ => subscriber.queue.push_answer(Frame::Answer(bytes)),
            }
        }
        if let (Event::Users(users), Some(bytes)) = (event, encoded.extended.into_inner()) {
            self.user_list = Some((Arc::clone(users), bytes));
        }
    }
}

/// The key of a read marker or a notification setting.
fn setting_key(event: &Event) -> Option<SettingKey> {
    match event {
        Event::Read(marker) => Some((SettingKind::Read, marker.conversation.clone())),
        Event::NotifySet(setting) => Some((SettingKind::Notify, setting.conversation.clone())),
        _ => None,
    }
}

/// Whether log events for these sessions may be gathered. A room's events share their list of members.
fn is_same(one: &SessionSet, other: &SessionSet) -> bool {
    match (one, other) {
        (SessionSet::Members(one), SessionSet::Members(other)) => Arc::ptr_eq(one, other),
        (SessionSet::Users(one), SessionSet::Users(other)) => one == other,
        (one, other) => *one == SessionSet::All && *other == SessionSet::All,
    }
}

impl Piece {
    /// Returns the same as [`SendQueue::lag`].
    fn push_to(&self, subscriber: &Subscriber) -> Option<u64> {
        match subscriber.dialect {
            Dialect::Extended => subscriber.queue.push_events(&self.bytes, self.count, self.last),
            Dialect::Original => self
                .originals
                .iter()
                .fold(None, |_, (bytes, seq)| subscriber.queue.push_events(bytes, 1, *seq)),
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
