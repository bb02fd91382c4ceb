//! The room: who is here, who may do what, and who is told.
//!
//! Pure: inputs in, effects out, with time and dice handed in. One arm a kind of input here; each
//! idea's rules are in a file of its own. Nothing is kept of a message but what the rules need: its
//! text only passes through.

mod delete;
mod expiry;
mod ledger;
mod presence;
mod roster;
mod say;

#[cfg(test)]
mod machine;
#[cfg(test)]
mod tests;

use chrono::{DateTime, FixedOffset};
use rand::SeedableRng;
use rand::distr::{Alphanumeric, SampleString};
use rand::rngs::StdRng;
use tokio::time::Instant;

use self::ledger::Ledger;
use self::presence::Presence;
use self::roster::Roster;
use crate::protocol::error::{ErrorCode, Refusal};
use crate::protocol::event::{Event, Refused, Welcome};
use crate::protocol::id::{Seq, UserId};
use crate::protocol::message::{Audience, Millis};
use crate::protocol::request::{Decoded, Login, Request};

/// One moment by both clocks: `mono` for pauses, `wall` for what people and other machines see.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Never goes back.
    pub mono: Instant,
    /// The server's time, in its time zone.
    pub wall: DateTime<FixedOffset>,
}

impl Now {
    fn millis(&self) -> Millis {
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
    },
    /// Somebody who is logged in asks for something.
    Request {
        /// On this connection.
        session: SessionId,
        /// What; or why it is not understood.
        request: Decoded,
    },
    /// The connection has ended.
    Left(SessionId),
    /// [`Hub::next_deadline`] is reached.
    Tick,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Tell somebody something.
    Send {
        /// Whom.
        to: Recipients,
        /// What.
        event: Event,
    },
    /// End the connection after all that was sent to it; the session is not here any more.
    Close(SessionId),
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
    ledger: Ledger,
    presence: Presence,
    head: Seq,
    epoch: String,
    dice: StdRng,
}

impl Hub {
    /// An empty room. All that is random in it comes from `seed`.
    pub fn new(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        Self {
            roster: Roster::default(),
            ledger: Ledger::default(),
            presence: Presence::default(),
            head: Seq(0),
            epoch: Alphanumeric.sample_string(&mut dice, 16),
            dice,
        }
    }

    /// What follows from an input. Every request but SEARCH and EXIT gets exactly one answer.
    pub fn handle(&mut self, now: Now, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.expire(now, &mut effects);
        match input {
            Input::Login { session, login } => self.log_in(now, session, &login, &mut effects),
            Input::Request { session, request } => self.answer(now, session, request, &mut effects),
            Input::Left(session) => self.leave(session),
            Input::Tick => {}
        }
        self.tell_presence(now, &mut effects);
        effects
    }

    /// When [`Input::Tick`] is due, if nothing else comes before.
    pub fn next_deadline(&self, now: Now) -> Option<Instant> {
        let presence = self.presence.deadline();
        let expiry = self.ledger.expiry().deadline(now);
        presence.into_iter().chain(expiry).min()
    }

    fn log_in(&mut self, now: Now, session: SessionId, login: &Login, effects: &mut Vec<Effect>) {
        let to = Recipients::One(session);
        let name = match login.username.parse() {
            Ok(name) => name,
            Err(error) => {
                let refused = Refused::new(&Refusal::BadName(error), None);
                effects.push(Effect::Send { to, event: Event::LoginRefused(refused) });
                effects.push(Effect::Close(session));
                return;
            }
        };
        let user = self.roster.join(session, &name, login.dialect, &mut self.dice);
        let welcome = Welcome {
            user: user.clone(),
            epoch: self.epoch.clone(),
            head: self.head,
            now: now.millis(),
            resumed: false,
        };
        effects.push(Effect::Send { to: to.clone(), event: Event::Welcome(welcome) });
        let others = self.roster.others(session, login.dialect);
        effects.push(Effect::Send { to, event: Event::People(others) });
        self.presence.joined(session, user);
    }

    fn answer(
        &mut self,
        now: Now,
        session: SessionId,
        (cid, request): Decoded,
        effects: &mut Vec<Effect>,
    ) {
        let Some(user) = self.roster.user(session) else { return };
        let outcome = match request {
            Ok(Request::Say(say)) => self.say(now, user, cid.clone(), say, effects),
            Ok(Request::Delete(id)) => self.delete(user, cid.clone(), id, effects),
            Ok(Request::Search | Request::Ping | Request::Find(_) | Request::History(_)) => Ok(()),
            Ok(Request::Exit) => {
                self.close(session, effects);
                Ok(())
            }
            Err(refusal) => Err(refusal),
        };
        let Err(refusal) = outcome else { return };
        let to = Recipients::One(session);
        let event = Event::Refused(Refused::new(&refusal, cid));
        effects.push(Effect::Send { to: to.clone(), event });
        if refusal.code() == ErrorCode::FrameTooLong {
            let event = Event::Closing(Refused::new(&refusal, None));
            effects.push(Effect::Send { to, event });
            self.close(session, effects);
        }
    }

    fn close(&mut self, session: SessionId, effects: &mut Vec<Effect>) {
        self.leave(session);
        effects.push(Effect::Close(session));
    }

    fn leave(&mut self, session: SessionId) {
        if let Some(user) = self.roster.leave(session) {
            self.presence.left(session, user);
        }
    }

    fn next_seq(&mut self) -> Seq {
        self.head = Seq(self.head.0 + 1);
        self.head
    }

    /// Everybody here who has the message: its author and its recipients.
    fn holders(&self, author: &UserId, audience: &Audience) -> Recipients {
        match audience {
            Audience::Everyone => Recipients::Everyone,
            Audience::Only(people) => Recipients::These(
                std::iter::once(author)
                    .chain(people)
                    .filter_map(|user| self.roster.session(user))
                    .collect(),
            ),
        }
    }
}
