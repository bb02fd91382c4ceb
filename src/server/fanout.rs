//! Events to bytes, once for each dialect, and into the outboxes of those they are for.
//!
//! What goes to everybody is gathered first and handed to each session in one piece: that is what
//! makes a message to a thousand people cheap.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::hub::{Effect, Recipients, SessionId};
use super::limits::{GATHERED_BYTES, OUTBOX_BEHIND};
use super::outbox::{NotTaken, Outbox};
use crate::protocol::error::Refusal;
use crate::protocol::event::{Event, Refused};
use crate::protocol::request::Dialect;

/// The outboxes of all sessions that are logged in.
#[derive(Debug, Default)]
pub(super) struct Fanout {
    members: BTreeMap<SessionId, Member>,
    n_originals: usize,
    gathered: Vec<u8>,
    /// For original clients: each piece travels by itself.
    gathered_for_originals: Vec<Bytes>,
    ended: Vec<SessionId>,
    n_behind: usize,
}

#[derive(Debug)]
struct Member {
    dialect: Dialect,
    outbox: Arc<Outbox>,
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
    /// A session that is about to log in.
    pub(super) fn add(&mut self, session: SessionId, dialect: Dialect, outbox: Arc<Outbox>) {
        // Not for the newcomer: it was said before.
        self.flush();
        self.n_originals += usize::from(dialect == Dialect::Original);
        self.members.insert(session, Member { dialect, outbox });
    }

    /// Does what the hub decided.
    pub(super) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send { to: Recipients::Everyone, event } => self.gather(&event),
            Effect::Send { to: Recipients::These(sessions), event } => self.send(&sessions, &event),
            Effect::Send { to: Recipients::One(session), event } => self.send(&[session], &event),
            Effect::Close(session) => {
                self.flush();
                self.remove(session, Outbox::close);
            }
        }
    }

    /// A session that has ended by itself: what it asked for last is still answered, if it listens.
    pub(super) fn forget(&mut self, session: SessionId) {
        self.flush();
        self.remove(session, Outbox::close);
    }

    /// Hands out what was gathered.
    pub(super) fn flush(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let ours = Bytes::from(std::mem::take(&mut self.gathered));
        let originals = std::mem::take(&mut self.gathered_for_originals);
        self.n_behind = 0;
        for (session, member) in &self.members {
            let backlog = match member.dialect {
                Dialect::Extended => member.outbox.push(ours.clone()),
                Dialect::Original => {
                    originals.iter().try_fold(0, |_, frame| member.outbox.push(frame.clone()))
                }
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
        self.gather(&Event::Closing(Refused::new(reason, None)));
        self.flush();
        for member in std::mem::take(&mut self.members).into_values() {
            member.outbox.close();
        }
    }

    fn gather(&mut self, event: &Event) {
        self.gathered.extend_from_slice(&event.encode());
        if self.n_originals > 0 {
            self.gathered_for_originals.extend(event.encode_for_original());
        }
        if self.gathered.len() >= GATHERED_BYTES {
            self.flush();
        }
    }

    fn send(&mut self, sessions: &[SessionId], event: &Event) {
        self.flush();
        let encoded = Encoded::new(event);
        for session in sessions {
            let Some(member) = self.members.get(session) else { continue };
            let Some(frame) = encoded.for_dialect(member.dialect) else { continue };
            if let Err(reason) = member.outbox.push(frame) {
                self.ended.push(end(*session, member, reason));
            }
        }
    }

    fn remove(&mut self, session: SessionId, last: impl FnOnce(&Outbox)) {
        if let Some(member) = self.members.remove(&session) {
            self.n_originals -= usize::from(member.dialect == Dialect::Original);
            last(&member.outbox);
        }
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
