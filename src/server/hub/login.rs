//! What follows from a login: somebody comes in, waits until their new ID is on disk, or is turned away.

use std::collections::BTreeMap;

use super::login_policy::LoginDecision;
use super::{Hub, HubEffect, Now, PeerInfo, SessionId, SessionSet, WriteContext};
use crate::protocol::error::Refusal;
use crate::protocol::event::{ErrorReply, Event, Welcome};
use crate::protocol::id::UserId;
use crate::protocol::request::{Dialect, Login, Resume};
use crate::store::{Append, Outcome};

/// A connection that logs in.
#[derive(Debug)]
struct PendingLogin {
    session: SessionId,
    peer: PeerInfo,
    dialect: Dialect,
    resume: Option<Resume>,
}

/// Those whose ID is on its way to the disk. Before it is there, nobody is told of it: an ID that a crash
/// takes back could become somebody else's, and an invite that it gives back let in another.
#[derive(Debug, Default)]
pub(super) struct PendingRegistrations(BTreeMap<UserId, PendingRegistration>);

#[derive(Debug)]
struct PendingRegistration {
    invite: Option<[u8; 32]>,
    /// More than one when they came twice at once.
    logins: Vec<PendingLogin>,
}

impl PendingRegistrations {
    /// The connection has ended.
    pub(super) fn remove_session(&mut self, session: SessionId) {
        for newcomer in self.0.values_mut() {
            newcomer.logins.retain(|arrival| arrival.session != session);
        }
    }
}

impl Hub {
    pub(super) fn log_in(
        &mut self,
        now: Now,
        session: SessionId,
        login: Login,
        peer: PeerInfo,
        effects: &mut Vec<HubEffect>,
    ) {
        let admission = match self.decide_login(now, &login, peer) {
            Ok(admission) => admission,
            Err(refusal) => return refuse_login(session, &refusal, effects),
        };
        let arrival = PendingLogin { session, peer, dialect: login.dialect, resume: login.resume };
        match (admission, peer.key) {
            (LoginDecision::ExistingId(user), _) => {
                match self.pending_registrations.0.get_mut(&user) {
                    Some(newcomer) => newcomer.logins.push(arrival),
                    None => self.start_session(now, arrival, user, effects),
                }
            }
            (LoginDecision::NewId { name, invite }, key) => {
                self.login_policy.record_new_id(now, peer, invite.as_ref());
                let user = self.sessions.issue_id(&name, &mut self.rng);
                let Some(key) = key else { return self.start_session(now, arrival, user, effects) };
                self.sessions.bind(&user, key);
                let newcomer = PendingRegistration { invite, logins: vec![arrival] };
                self.pending_registrations.0.insert(user.clone(), newcomer);
                let ticket = WriteContext::Register(user.clone());
                let append = Append::Register { user, key, invite };
                effects.push(HubEffect::Append { context: ticket, append });
            }
        }
    }

    /// A new ID is on disk, or is not.
    pub(super) fn on_registered(
        &mut self,
        now: Now,
        user: &UserId,
        outcome: Result<&Outcome, &'static str>,
        effects: &mut Vec<HubEffect>,
    ) {
        let Some(PendingRegistration { invite, logins: arrivals }) =
            self.pending_registrations.0.remove(user)
        else {
            return;
        };
        let refusal = match outcome {
            Ok(Outcome::Registered) => None,
            Err(reason) => Some(Refusal::NotStored(reason)),
            // The hub counts as the log does; where they differ, the log is right.
            Ok(_) => Some(Refusal::BadInvite),
        };
        if refusal.is_some() {
            self.sessions.unbind(user);
            self.login_policy.return_invite_use(invite.as_ref());
        }
        for arrival in arrivals {
            // An administrator may have spoken meanwhile.
            let refusal = if self.login_policy.is_banned(arrival.peer) {
                Some(Refusal::Banned)
            } else if self.sessions.key_of(user) == arrival.peer.key {
                None
            } else {
                refusal.clone().or_else(|| Some(Refusal::NotYourId(user.clone())))
            };
            match refusal {
                Some(refusal) => refuse_login(arrival.session, &refusal, effects),
                None => self.start_session(now, arrival, user.clone(), effects),
            }
        }
    }

    fn start_session(
        &mut self,
        now: Now,
        arrival: PendingLogin,
        user: UserId,
        effects: &mut Vec<HubEffect>,
    ) {
        let PendingLogin { session, peer, dialect, resume } = arrival;
        let is_first = self.sessions.add(session, &user, dialect, peer);
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
            Dialect::Extended => self.presence.initial_events(&self.sessions),
            Dialect::Original => vec![Event::Users(self.sessions.other_users(session))],
        };
        let send_event = |event| HubEffect::Send { to: SessionSet::One(session), event };
        effects.extend(std::iter::once(Event::Welcome(welcome)).chain(people).map(send_event));
        let (viewer, after) = (user.clone(), resume.map(|resume| resume.after));
        effects.push(HubEffect::Subscribe { session, viewer, after });
        if is_first {
            self.presence.on_join(session, user);
        }
    }
}

fn refuse_login(session: SessionId, refusal: &Refusal, effects: &mut Vec<HubEffect>) {
    let (to, refused) = (SessionSet::One(session), ErrorReply::new(refusal, None));
    effects.push(HubEffect::Send { to, event: Event::LoginRefused(refused) });
    effects.push(HubEffect::Close(session));
}
