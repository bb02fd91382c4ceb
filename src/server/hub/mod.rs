//! The room: who is here, who may do what, and who is told.
//!
//! Pure: inputs in, effects out, with time and dice handed in. One arm a kind of input here; each
//! idea's rules are in a file of its own. Nothing is told before it is in the log; nothing is kept of a
//! message but what the rules need: its text only passes through.

mod administer;
mod delete;
mod delivered;
mod enter;
mod expiry;
mod gate;
mod ids;
mod ledger;
mod names;
mod presence;
mod roster;
mod say;
mod stored;

#[cfg(test)]
mod gate_table;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod tests;

use chrono::{DateTime, FixedOffset};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::Instant;

pub use self::administer::Asker;
use self::delivered::Delivered;
use self::enter::Waiting;
use self::expiry::Expiry;
pub use self::gate::Access;
use self::gate::Gate;
use self::ids::Ids;
use self::ledger::{Entry, Ledger};
use self::presence::Presence;
use self::roster::Roster;
pub use self::roster::{Key, Peer};
pub use self::stored::Ticket;
use self::stored::refuse;
use crate::protocol::error::ErrorCode;
use crate::protocol::event::{Event, Refused};
use crate::protocol::id::{ClientId, MessageId, Seq, UserId};
use crate::protocol::limits::Limits;
use crate::protocol::message::{Audience, Millis, readers};
use crate::protocol::query::{Find, History};
use crate::protocol::request::{Decoded, Login, Request, Say, SayKind};
use crate::server::admin::{Act, Answer};
use crate::store::{Append, Metadata, Opened, Outcome};

/// One moment by both clocks: `mono` for pauses, `wall` for what people and other machines see.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Never goes back.
    pub mono: Instant,
    /// The server's time, in its time zone.
    pub wall: DateTime<FixedOffset>,
}

impl Now {
    /// The wall clock in milliseconds.
    pub fn millis(&self) -> Millis {
        self.wall.timestamp_millis()
    }
}

/// One connection, for as long as the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// What happens to the room.
#[derive(Debug)]
pub enum Input {
    /// Somebody logs in.
    Login {
        /// On this connection.
        session: SessionId,
        /// With these words.
        login: Login,
        /// From there.
        peer: Peer,
    },
    /// Somebody who is logged in asks for something.
    Request {
        /// On this connection.
        session: SessionId,
        /// What; or why it is not understood.
        request: Decoded,
    },
    /// The log has been asked about a message that a request is about.
    Looked {
        /// On this connection.
        session: SessionId,
        /// The request.
        request: Decoded,
        /// The message.
        id: MessageId,
        /// What the log says of it, if the asker may know.
        found: Option<Metadata>,
    },
    /// Something is in the log.
    Stored {
        /// What it was for.
        ticket: Ticket,
        /// What came of it.
        outcome: Outcome,
    },
    /// Something could not be written to the log.
    NotStored {
        /// What it was for.
        ticket: Ticket,
        /// Why, in a few words.
        reason: &'static str,
    },
    /// Whoever runs the server asks for something.
    Administer {
        /// To be answered.
        asker: Asker,
        /// What.
        act: Act,
    },
    /// These ids are free again.
    Freed(Vec<MessageId>),
    /// Only from here on is the log complete.
    Horizon(Seq),
    /// The connection has ended.
    Left(SessionId),
    /// [`Hub::next_deadline`] is reached.
    Tick,
}

/// What is to be done.
#[derive(Debug)]
pub enum Effect {
    /// Tell somebody something.
    Send {
        /// Whom.
        to: Recipients,
        /// What.
        event: Event,
    },
    /// Write to the log, in the order of these effects; [`Input::Stored`] or [`Input::NotStored`]
    /// follows.
    Append {
        /// What it is for.
        ticket: Ticket,
        /// What.
        append: Append,
    },
    /// Ask the log about a message; [`Input::Looked`] follows.
    Look {
        /// For this connection.
        session: SessionId,
        /// As this person.
        viewer: UserId,
        /// About this message.
        id: MessageId,
        /// To go on with this request.
        request: Decoded,
    },
    /// Answer a question from the log.
    Read {
        /// For this connection.
        session: SessionId,
        /// As this person.
        viewer: UserId,
        /// The question's name.
        cid: Option<ClientId>,
        /// The question.
        query: Query,
    },
    /// Answer whoever runs the server.
    Answer {
        /// Who asked.
        asker: Asker,
        /// What came of it.
        answer: Answer,
    },
    /// From now on this session gets what its person may see: what the log has after this place, if
    /// there is one, and then what comes.
    Feed {
        /// The connection.
        session: SessionId,
        /// The person.
        viewer: UserId,
        /// The place.
        after: Option<Seq>,
    },
    /// End the connection after all that was sent to it; the session is not here any more.
    Close(SessionId),
}

/// A question that the log answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// A page of history.
    History(History),
    /// A search.
    Find(Find),
}

/// Whom to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipients {
    /// One session.
    One(SessionId),
    /// These sessions.
    These(Vec<SessionId>),
    /// All sessions that are logged in.
    Everyone,
}

/// The state of the room.
#[derive(Debug)]
pub struct Hub {
    roster: Roster,
    gate: Gate,
    waiting: Waiting,
    ledger: Ledger,
    ids: Ids,
    expiry: Expiry,
    presence: Presence,
    delivered: Delivered,
    head: Seq,
    horizon: Seq,
    epoch: String,
    limits: Limits,
    dice: StdRng,
}

impl Hub {
    /// The room behind a log, and for whom it is. All that is random in it comes from `seed`.
    pub fn new(seed: u64, access: Access, log: &Opened) -> Self {
        let mut ids = Ids::default();
        for id in &log.ids {
            ids.insert(*id);
        }
        let mut expiry = Expiry::default();
        for (id, at) in &log.temporary {
            expiry.insert(*at, *id, None);
        }
        Self {
            roster: Roster::new(&log.registered, &log.private),
            gate: Gate::new(access, &log.invites, &log.banned),
            waiting: Waiting::default(),
            ledger: Ledger::default(),
            ids,
            expiry,
            presence: Presence::default(),
            delivered: Delivered::default(),
            head: log.head,
            horizon: log.horizon,
            epoch: log.epoch.clone(),
            limits: Limits::default(),
            dice: StdRng::seed_from_u64(seed),
        }
    }

    /// The same room, which tells everybody these limits. It is for sessions to hold to the rates.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// What follows from an input. Every request but SEARCH and EXIT gets exactly one answer.
    pub fn handle(&mut self, now: Now, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.expire(now, &mut effects);
        match input {
            Input::Login { session, login, peer } => {
                self.log_in(now, session, login, peer, &mut effects);
            }
            Input::Request { session, request } => {
                self.request(now, session, request, &mut effects);
            }
            Input::Looked { session, request, id, found } => {
                if let Some(found) = found {
                    let Metadata { sender: author, audience, .. } = found;
                    self.ledger.insert(id, Entry { author, audience });
                }
                self.answer(now, session, request, &mut effects);
            }
            Input::Stored { ticket, outcome } => {
                self.stored(now, ticket, outcome, &mut effects);
            }
            Input::NotStored { ticket, reason } => {
                self.not_stored(now, ticket, reason, &mut effects);
            }
            Input::Administer { asker, act } => self.administer(now, asker, act, &mut effects),
            Input::Freed(ids) => ids.into_iter().for_each(|id| self.ids.remove(id)),
            Input::Horizon(horizon) => self.horizon = horizon,
            Input::Left(session) => self.leave(session),
            Input::Tick => {}
        }
        self.tell_presence(now, &mut effects);
        effects
    }

    /// When [`Input::Tick`] is due, if nothing else comes before.
    pub fn next_deadline(&self, now: Now) -> Option<Instant> {
        let presence = self.presence.deadline();
        let expiry = self.expiry.deadline(now);
        presence.into_iter().chain(expiry).min()
    }

    /// What a request is about has to be known: the log is asked first where it is not.
    fn request(
        &mut self,
        now: Now,
        session: SessionId,
        request: Decoded,
        effects: &mut Vec<Effect>,
    ) {
        let Some(viewer) = self.roster.user(session) else { return };
        let about = match &request.1 {
            Ok(Request::Say(Say { kind: SayKind::Reply { to: id }, .. }) | Request::Delete(id)) => {
                Some(*id)
            }
            Ok(_) | Err(_) => None,
        };
        match about.filter(|id| !self.ledger.knows(*id) && self.ids.contains(*id)) {
            Some(id) => effects.push(Effect::Look { session, viewer, id, request }),
            None => self.answer(now, session, request, effects),
        }
    }

    fn answer(
        &mut self,
        now: Now,
        session: SessionId,
        (cid, request): Decoded,
        effects: &mut Vec<Effect>,
    ) {
        let Some(user) = self.roster.user(session) else { return };
        let mut read = |query| {
            let (viewer, cid) = (user.clone(), cid.clone());
            effects.push(Effect::Read { session, viewer, cid, query });
            Ok(())
        };
        let outcome = match request {
            Ok(Request::Say(say)) => self.say(now, session, user, cid.clone(), say, effects),
            Ok(Request::Delete(id)) => self.delete(session, user, cid.clone(), id, effects),
            Ok(Request::History(history)) => read(Query::History(history)),
            Ok(Request::Find(find)) => read(Query::Find(find)),
            Ok(Request::Search) => Ok(()),
            // Answered by the session: it alone knows what has gone out.
            Ok(Request::Ping(up_to)) => {
                if let Some(up_to) = up_to {
                    self.has_come(session, up_to, effects);
                }
                Ok(())
            }
            Ok(Request::Exit) => {
                self.close(session, effects);
                Ok(())
            }
            Err(refusal) => Err(refusal),
        };
        let Err(refusal) = outcome else { return };
        let is_last = matches!(refusal.code(), ErrorCode::FrameTooLong | ErrorCode::Flooding);
        refuse(session, cid, &refusal, effects);
        if is_last {
            let (to, event) =
                (Recipients::One(session), Event::Closing(Refused::new(&refusal, None)));
            effects.push(Effect::Send { to, event });
            self.close(session, effects);
        }
    }

    fn close(&mut self, session: SessionId, effects: &mut Vec<Effect>) {
        self.leave(session);
        effects.push(Effect::Close(session));
    }

    fn leave(&mut self, session: SessionId) {
        self.waiting.forget(session);
        if let Some(user) = self.roster.leave(session) {
            self.presence.left(user);
        }
    }

    /// Everybody here who has the message: its author and its recipients.
    fn holders(&self, author: &UserId, audience: &Audience) -> Recipients {
        match readers(author, audience.named()) {
            None => Recipients::Everyone,
            Some(people) => {
                Recipients::These(people.flat_map(|user| self.roster.sessions_of(user)).collect())
            }
        }
    }
}
