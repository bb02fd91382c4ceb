//! Events to bytes, once for each dialect, and into the outboxes of those they are for.
//!
//! What goes to everybody is gathered first and handed to each session in one piece: that is what
//! makes a message to a thousand people cheap. Whoever does not keep up is not waited for: it reads on
//! in the log, and comes back to the live feed when it is level.

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

/// The outboxes of all sessions that are logged in.
#[derive(Debug)]
pub(super) struct Fanout {
    subscribers: BTreeMap<SessionId, Subscriber>,
    n_originals: usize,
    /// The last event of the log that was handed out or gathered.
    head: Seq,
    batch: Batch,
    ended: Vec<SessionId>,
    n_lagging: usize,
    /// The list of people that was sent last: all who come within one pause get the same.
    user_list: Option<(Arc<[UserId]>, Bytes)>,
}

/// Events for everybody that have not been handed out.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    /// For original clients: each piece travels by itself.
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

/// From where a session gets the events of the log.
#[derive(Debug, PartialEq, Eq)]
enum Feed {
    /// It is not logged in yet.
    NotLoggedIn,
    /// From here, as far as they come after this place; it has, or has been handed, all before.
    Live(UserId, Seq),
    /// From the log, for now.
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
    /// Nobody yet, before a log whose last event is `head`.
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

    /// A session that is about to log in.
    pub(super) fn add(&mut self, session: SessionId, dialect: Dialect, outbox: Arc<SendQueue>) {
        self.n_originals += usize::from(dialect == Dialect::Original);
        self.subscribers
            .insert(session, Subscriber { dialect, queue: outbox, feed: Feed::NotLoggedIn });
    }

    /// A session gets the events of the log from now on, and those after `after` first.
    pub(super) fn subscribe(&mut self, session: SessionId, viewer: UserId, after: Option<Seq>) {
        self.flush();
        let Some(member) = self.subscribers.get_mut(&session) else { return };
        member.queue.mark_logged_in();
        match after {
            None => member.feed = Feed::Live(viewer, self.head),
            Some(after) => member.start_catch_up(viewer, after),
        }
    }

    /// A session has read the log up to `looked`: back to the live feed, if that is not further.
    pub(super) fn caught_up(&mut self, session: SessionId, looked: Seq) {
        self.flush();
        let Some(member) = self.subscribers.get_mut(&session) else { return };
        let Feed::CatchingUp(viewer) = &member.feed else { return };
        let viewer = viewer.clone();
        if looked < self.head {
            member.start_catch_up(viewer, looked);
            return;
        }
        member.feed = Feed::Live(viewer, looked);
        self.send(&[session], &Event::Live(looked));
    }

    /// The way to one session.
    pub(super) fn queue(&self, session: SessionId) -> Option<Arc<SendQueue>> {
        self.subscribers.get(&session).map(|member| Arc::clone(&member.queue))
    }

    /// Tells somebody something.
    pub(super) fn deliver(&mut self, to: SessionSet, event: &Event) {
        match to {
            SessionSet::All => self.add_to_batch(event),
            SessionSet::Many(sessions) => self.send(&sessions, event),
            SessionSet::One(session) => self.send(&[session], event),
        }
    }

    /// Ends a session after all that was sent to it.
    pub(super) fn close(&mut self, session: SessionId) {
        self.flush();
        self.remove(session, SendQueue::close);
    }

    /// Hands out what was gathered.
    pub(super) fn flush(&mut self) {
        let Batch { bytes, for_originals, first, count } = std::mem::take(&mut self.batch);
        if bytes.is_empty() {
            return;
        }
        let ours = Bytes::from(bytes);
        self.n_lagging = 0;
        for (session, member) in &mut self.subscribers {
            let backlog = match member.dialect {
                Dialect::Extended => {
                    member.push_events(Frame::Bytes(ours.clone(), count), first, self.head)
                }
                Dialect::Original => for_originals.iter().try_fold(0, |_, (seq, piece)| {
                    member.push_events(Frame::Bytes(piece.clone(), 1), *seq, *seq)
                }),
            };
            match backlog {
                Ok(bytes) => self.n_lagging += usize::from(bytes > SEND_QUEUE_LAG_BYTES),
                Err(reason) => self.ended.push(end_session(*session, member, reason)),
            }
        }
    }

    /// Whether most sessions were behind at the last message to everybody: it is not they who are slow.
    pub(super) fn most_sessions_lag(&self) -> bool {
        self.n_lagging * 2 > self.subscribers.len()
    }

    /// Counts again who is behind.
    pub(super) fn recount_lagging(&mut self) {
        let behind = |member: &&Subscriber| member.queue.weight() > SEND_QUEUE_LAG_BYTES;
        self.n_lagging = self.subscribers.values().filter(behind).count();
    }

    /// The sessions that were closed because they took too little; the hub has to be told.
    pub(super) fn take_ended(&mut self) -> Vec<SessionId> {
        let ended = std::mem::take(&mut self.ended);
        for session in &ended {
            self.remove(*session, |_| {});
        }
        ended
    }

    /// Says goodbye to everybody.
    pub(super) fn close_all(&mut self, reason: &Refusal) {
        self.flush();
        let sessions: Vec<SessionId> = self.subscribers.keys().copied().collect();
        self.send(&sessions, &Event::Closing(ErrorReply::new(reason, None)));
        for member in std::mem::take(&mut self.subscribers).into_values() {
            member.queue.close();
        }
    }

    fn add_to_batch(&mut self, event: &Event) {
        let Some(seq) = event.seq() else {
            // Who waits to be let in is told nothing.
            let inside =
                self.subscribers.iter().filter(|(_, member)| member.feed != Feed::NotLoggedIn);
            let inside: Vec<SessionId> = inside.map(|(session, _)| *session).collect();
            self.send(&inside, event);
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
        if let (Event::Users(people), Some((known, bytes))) = (event, &self.user_list)
            && Arc::ptr_eq(people, known)
        {
            encoded.extended.set(bytes.clone()).ok();
        }
        for session in sessions {
            let Some(member) = self.subscribers.get_mut(session) else { continue };
            let Some(bytes) = encoded.for_dialect(member.dialect) else { continue };
            let taken = match seq {
                Some(seq) => member.push_events(Frame::Bytes(bytes, 1), seq, seq),
                None => member.queue.push(Frame::Bytes(bytes, 0)),
            };
            if let Err(reason) = taken {
                self.ended.push(end_session(*session, member, reason));
            }
        }
        if let (Event::Users(people), Some(bytes)) = (event, encoded.extended.into_inner()) {
            self.user_list = Some((Arc::clone(people), bytes));
        }
    }

    fn remove(&mut self, session: SessionId, last: impl FnOnce(&SendQueue)) {
        if let Some(member) = self.subscribers.remove(&session) {
            self.n_originals -= usize::from(member.dialect == Dialect::Original);
            last(&member.queue);
        }
    }
}

impl Subscriber {
    /// Hands over events from `first` to `last` of the log, unless it gets them from there; says how
    /// much waits then.
    fn push_events(&mut self, frame: Frame, first: Seq, last: Seq) -> Result<usize, PushError> {
        let Feed::Live(viewer, has) = &self.feed else { return Ok(0) };
        let (viewer, has) = (viewer.clone(), *has);
        if last <= has {
            return Ok(0);
        }
        if first <= has {
            // Some of it came by the log already.
            self.start_catch_up(viewer, has);
            return Ok(0);
        }
        match self.queue.push(frame) {
            Err(PushError::Full) => {
                self.start_catch_up(viewer, Seq(first.0 - 1));
                Ok(0)
            }
            taken @ (Ok(_) | Err(PushError::Closed)) => taken,
        }
    }

    fn start_catch_up(&mut self, viewer: UserId, after: Seq) {
        self.feed = Feed::CatchingUp(viewer.clone());
        self.queue.start_catch_up(CatchUpFrom { viewer, after });
    }
}

fn end_session(session: SessionId, member: &Subscriber, reason: PushError) -> SessionId {
    if reason == PushError::Full {
        tracing::info!(session = session.0, "closed: too slow for what was sent to it");
        let event = Event::Closing(ErrorReply::new(&Refusal::TooSlow, None));
        let last = EncodedEvent::new(&event).for_dialect(member.dialect);
        member.queue.discard_and_close(last);
    }
    session
}
