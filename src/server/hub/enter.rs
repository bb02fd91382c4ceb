//! What follows from a login: somebody comes in, waits until their new ID is on disk, or is turned away.

use std::collections::BTreeMap;

use super::gate::Admission;
use super::{Effect, Hub, Now, Peer, Recipients, SessionId, Ticket};
use crate::protocol::error::Refusal;
use crate::protocol::event::{Event, Refused, Welcome};
use crate::protocol::id::UserId;
use crate::protocol::request::{Dialect, Login, Resume};
use crate::store::{Append, Outcome};

/// A connection that logs in.
#[derive(Debug)]
struct Arrival {
    session: SessionId,
    peer: Peer,
    dialect: Dialect,
    resume: Option<Resume>,
}

/// Those whose ID is on its way to the disk. Before it is there, nobody is told of it: an ID that a crash
/// takes back could become somebody else's, and an invite that it gives back let in another.
#[derive(Debug, Default)]
pub(super) struct Waiting(BTreeMap<UserId, Newcomer>);

#[derive(Debug)]
struct Newcomer {
    invite: Option<[u8; 32]>,
    /// More than one when they came twice at once.
    arrivals: Vec<Arrival>,
}

impl Waiting {
    /// The connection has ended.
    pub(super) fn forget(&mut self, session: SessionId) {
        for newcomer in self.0.values_mut() {
            newcomer.arrivals.retain(|arrival| arrival.session != session);
        }
    }
}

impl Hub {
    pub(super) fn log_in(
        &mut self,
        now: Now,
        session: SessionId,
        login: Login,
        peer: Peer,
        effects: &mut Vec<Effect>,
    ) {
        let admission = match self.admit(now, &login, peer) {
            Ok(admission) => admission,
            Err(refusal) => return turn_away(session, &refusal, effects),
        };
        let arrival = Arrival { session, peer, dialect: login.dialect, resume: login.resume };
        match (admission, peer.key) {
            (Admission::Known(user), _) => match self.waiting.0.get_mut(&user) {
                Some(newcomer) => newcomer.arrivals.push(arrival),
                None => self.enter(now, arrival, user, effects),
            },
            (Admission::New { name, invite }, key) => {
                self.gate.count(now, peer, invite.as_ref());
                let user = self.roster.draw(&name, &mut self.dice);
                let Some(key) = key else { return self.enter(now, arrival, user, effects) };
                self.roster.bind(&user, key);
                let newcomer = Newcomer { invite, arrivals: vec![arrival] };
                self.waiting.0.insert(user.clone(), newcomer);
                let ticket = Ticket::Register(user.clone());
                let append = Append::Register { user, key, invite };
                effects.push(Effect::Append { ticket, append });
            }
        }
    }

    /// A new ID is on disk, or is not.
    pub(super) fn registered(
        &mut self,
        now: Now,
        user: &UserId,
        outcome: Result<&Outcome, &'static str>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(Newcomer { invite, arrivals }) = self.waiting.0.remove(user) else { return };
        let refusal = match outcome {
            Ok(Outcome::Registered) => None,
            Err(reason) => Some(Refusal::NotStored(reason)),
            // The hub counts as the log does; where they differ, the log is right.
            Ok(_) => Some(Refusal::BadInvite),
        };
        if refusal.is_some() {
            self.roster.unbind(user);
            self.gate.give_back(invite.as_ref());
        }
        for arrival in arrivals {
            // An administrator may have spoken meanwhile.
            let refusal = if self.gate.is_banned(arrival.peer) {
                Some(Refusal::Banned)
            } else if self.roster.key_of(user) == arrival.peer.key {
                None
            } else {
                refusal.clone().or_else(|| Some(Refusal::NotYourId(user.clone())))
            };
            match refusal {
                Some(refusal) => turn_away(arrival.session, &refusal, effects),
                None => self.enter(now, arrival, user.clone(), effects),
            }
        }
    }

    fn enter(&mut self, now: Now, arrival: Arrival, user: UserId, effects: &mut Vec<Effect>) {
        let Arrival { session, peer, dialect, resume } = arrival;
        let is_first = self.roster.enter(session, &user, dialect, peer);
        let resume =
            resume.filter(|resume| resume.epoch == self.epoch && resume.after >= self.horizon);
        let welcome = Welcome {
            user: user.clone(),
            epoch: self.epoch.clone(),
            head: self.head,
            now: now.millis(),
            resumed: resume.is_some(),
            limits: self.limits,
        };
        let people = match dialect {
            Dialect::Extended => self.presence.list(&self.roster),
            Dialect::Original => vec![Event::People(self.roster.others(session))],
        };
        let tell = |event| Effect::Send { to: Recipients::One(session), event };
        effects.extend(std::iter::once(Event::Welcome(welcome)).chain(people).map(tell));
        let (viewer, after) = (user.clone(), resume.map(|resume| resume.after));
        effects.push(Effect::Feed { session, viewer, after });
        if is_first {
            self.presence.joined(session, user);
        }
    }
}

fn turn_away(session: SessionId, refusal: &Refusal, effects: &mut Vec<Effect>) {
    let (to, refused) = (Recipients::One(session), Refused::new(refusal, None));
    effects.push(Effect::Send { to, event: Event::LoginRefused(refused) });
    effects.push(Effect::Close(session));
}
