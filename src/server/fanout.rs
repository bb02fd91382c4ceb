//! Events to bytes, once for each dialect, and into the outboxes of those they are for.
//!
//! What goes to everybody is gathered first and handed to each session in one piece: that is what
//! makes a message to a thousand people cheap. Whoever does not keep up is not waited for: it reads on
//! in the log, and comes back to the live feed when it is level.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::hub::{Recipients, SessionId};
use super::limits::{GATHERED_BYTES, OUTBOX_BEHIND};
use super::outbox::{Behind, Frame, NotTaken, Outbox};
use crate::protocol::error::Refusal;
use crate::protocol::event::{Event, Refused};
use crate::protocol::id::{Seq, UserId};
use crate::protocol::request::Dialect;

/// The outboxes of all sessions that are logged in.
#[derive(Debug)]
pub(super) struct Fanout {
    members: BTreeMap<SessionId, Member>,
    n_originals: usize,
    /// The last event of the log that was handed out or gathered.
    head: Seq,
    gathered: Gathered,
    ended: Vec<SessionId>,
    n_behind: usize,
    /// The list of people that was sent last: all who come within one pause get the same.
    people: Option<(Arc<[UserId]>, Bytes)>,
}

/// Events for everybody that have not been handed out.
#[derive(Debug, Default)]
struct Gathered {
    bytes: Vec<u8>,
    /// For original clients: each piece travels by itself.
    for_originals: Vec<(Seq, Bytes)>,
    first: Seq,
    count: u64,
}

#[derive(Debug)]
struct Member {
    dialect: Dialect,
    outbox: Arc<Outbox>,
    feed: Feed,
}

/// From where a session gets the events of the log.
#[derive(Debug, PartialEq, Eq)]
enum Feed {
    /// It is not logged in yet.
    None,
    /// From here, as far as they come after this place; it has, or has been handed, all before.
    Live(UserId, Seq),
    /// From the log, for now.
    Log(UserId),
}

/// One event, encoded for each dialect when first needed.
struct Encoded<'a> {
    event: &'a Event,
    ours: OnceCell<Bytes>,
    original: OnceCell<Option<Bytes>>,
}

impl<'a> Encoded<'a> {
    fn new(event: &'a Event) -> Self {
        Self { event, ours: OnceCell::new(), original: OnceCell::new() }
    }

    fn for_dialect(&self, dialect: Dialect) -> Option<Bytes> {
        match dialect {
            Dialect::Extended => Some(self.ours.get_or_init(|| self.event.encode()).clone()),
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
            members: BTreeMap::new(),
            n_originals: 0,
            head,
            gathered: Gathered::default(),
            ended: Vec::new(),
            n_behind: 0,
            people: None,
        }
    }

    /// A session that is about to log in.
    pub(super) fn add(&mut self, session: SessionId, dialect: Dialect, outbox: Arc<Outbox>) {
        self.n_originals += usize::from(dialect == Dialect::Original);
        self.members.insert(session, Member { dialect, outbox, feed: Feed::None });
    }

    /// A session gets the events of the log from now on, and those after `after` first.
    pub(super) fn feed(&mut self, session: SessionId, viewer: UserId, after: Option<Seq>) {
        self.flush();
        let Some(member) = self.members.get_mut(&session) else { return };
        member.outbox.admit();
        match after {
            None => member.feed = Feed::Live(viewer, self.head),
            Some(after) => member.fall_behind(viewer, after),
        }
    }

    /// A session has read the log up to `looked`: back to the live feed, if that is not further.
    pub(super) fn level(&mut self, session: SessionId, looked: Seq) {
        self.flush();
        let Some(member) = self.members.get_mut(&session) else { return };
        let Feed::Log(viewer) = &member.feed else { return };
        let viewer = viewer.clone();
        if looked < self.head {
            member.fall_behind(viewer, looked);
            return;
        }
        member.feed = Feed::Live(viewer, looked);
        self.send(&[session], &Event::Live(looked));
    }

    /// The way to one session.
    pub(super) fn outbox(&self, session: SessionId) -> Option<Arc<Outbox>> {
        self.members.get(&session).map(|member| Arc::clone(&member.outbox))
    }

    /// Tells somebody something.
    pub(super) fn tell(&mut self, to: Recipients, event: &Event) {
        match to {
            Recipients::Everyone => self.gather(event),
            Recipients::These(sessions) => self.send(&sessions, event),
            Recipients::One(session) => self.send(&[session], event),
        }
    }

    /// Ends a session after all that was sent to it.
    pub(super) fn close(&mut self, session: SessionId) {
        self.flush();
        self.remove(session, Outbox::close);
    }

    /// Hands out what was gathered.
    pub(super) fn flush(&mut self) {
        let Gathered { bytes, for_originals, first, count } = std::mem::take(&mut self.gathered);
        if bytes.is_empty() {
            return;
        }
        let ours = Bytes::from(bytes);
        self.n_behind = 0;
        for (session, member) in &mut self.members {
            let backlog = match member.dialect {
                Dialect::Extended => {
                    member.push_events(Frame::Bytes(ours.clone(), count), first, self.head)
                }
                Dialect::Original => for_originals.iter().try_fold(0, |_, (seq, piece)| {
                    member.push_events(Frame::Bytes(piece.clone(), 1), *seq, *seq)
                }),
            };
            match backlog {
                Ok(bytes) => self.n_behind += usize::from(bytes > OUTBOX_BEHIND),
                Err(reason) => self.ended.push(end(*session, member, reason)),
            }
        }
    }

    /// Whether most sessions were behind at the last message to everybody: it is not they who are slow.
    pub(super) fn is_behind(&self) -> bool {
        self.n_behind * 2 > self.members.len()
    }

    /// Counts again who is behind.
    pub(super) fn recount(&mut self) {
        let behind = |member: &&Member| member.outbox.weight() > OUTBOX_BEHIND;
        self.n_behind = self.members.values().filter(behind).count();
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
        let sessions: Vec<SessionId> = self.members.keys().copied().collect();
        self.send(&sessions, &Event::Closing(Refused::new(reason, None)));
        for member in std::mem::take(&mut self.members).into_values() {
            member.outbox.close();
        }
    }

    fn gather(&mut self, event: &Event) {
        let Some(seq) = event.seq() else {
            // Who waits to be let in is told nothing.
            let inside = self.members.iter().filter(|(_, member)| member.feed != Feed::None);
            let inside: Vec<SessionId> = inside.map(|(session, _)| *session).collect();
            self.send(&inside, event);
            return;
        };
        if self.gathered.bytes.is_empty() {
            self.gathered.first = seq;
        }
        self.head = seq;
        self.gathered.count += 1;
        self.gathered.bytes.extend_from_slice(&event.encode());
        if self.n_originals > 0 {
            let piece = event.encode_for_original().map(|piece| (seq, piece));
            self.gathered.for_originals.extend(piece);
        }
        if self.gathered.bytes.len() >= GATHERED_BYTES {
            self.flush();
        }
    }

    fn send(&mut self, sessions: &[SessionId], event: &Event) {
        self.flush();
        let seq = event.seq();
        self.head = seq.unwrap_or(self.head);
        let encoded = Encoded::new(event);
        if let (Event::People(people), Some((known, bytes))) = (event, &self.people)
            && Arc::ptr_eq(people, known)
        {
            encoded.ours.set(bytes.clone()).ok();
        }
        for session in sessions {
            let Some(member) = self.members.get_mut(session) else { continue };
            let Some(bytes) = encoded.for_dialect(member.dialect) else { continue };
            let taken = match seq {
                Some(seq) => member.push_events(Frame::Bytes(bytes, 1), seq, seq),
                None => member.outbox.push(Frame::Bytes(bytes, 0)),
            };
            if let Err(reason) = taken {
                self.ended.push(end(*session, member, reason));
            }
        }
        if let (Event::People(people), Some(bytes)) = (event, encoded.ours.into_inner()) {
            self.people = Some((Arc::clone(people), bytes));
        }
    }

    fn remove(&mut self, session: SessionId, last: impl FnOnce(&Outbox)) {
        if let Some(member) = self.members.remove(&session) {
            self.n_originals -= usize::from(member.dialect == Dialect::Original);
            last(&member.outbox);
        }
    }
}

impl Member {
    /// Hands over events from `first` to `last` of the log, unless it gets them from there; says how
    /// much waits then.
    fn push_events(&mut self, frame: Frame, first: Seq, last: Seq) -> Result<usize, NotTaken> {
        let Feed::Live(viewer, has) = &self.feed else { return Ok(0) };
        let (viewer, has) = (viewer.clone(), *has);
        if last <= has {
            return Ok(0);
        }
        if first <= has {
            // Some of it came by the log already.
            self.fall_behind(viewer, has);
            return Ok(0);
        }
        match self.outbox.push(frame) {
            Err(NotTaken::Full) => {
                self.fall_behind(viewer, Seq(first.0 - 1));
                Ok(0)
            }
            taken @ (Ok(_) | Err(NotTaken::Closed)) => taken,
        }
    }

    fn fall_behind(&mut self, viewer: UserId, after: Seq) {
        self.feed = Feed::Log(viewer.clone());
        self.outbox.fall_behind(Behind { viewer, after });
    }
}

fn end(session: SessionId, member: &Member, reason: NotTaken) -> SessionId {
    if reason == NotTaken::Full {
        tracing::info!(session = session.0, "closed: too slow for what was sent to it");
        let event = Event::Closing(Refused::new(&Refusal::TooSlow, None));
        let last = Encoded::new(&event).for_dialect(member.dialect);
        member.outbox.abandon(last);
    }
    session
}
