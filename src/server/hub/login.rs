//! Logging in: a session starts, waits until its new ID is written to the log, or is refused.

use std::collections::BTreeMap;

use super::login_policy::LoginDecision;
use super::{Hub, HubEffect, Now, Origin, PeerInfo, SessionId, SessionSet};
use crate::protocol::error::Refusal;
use crate::protocol::event::{ErrorReply, Event, Welcome};
use crate::protocol::id::UserId;
use crate::protocol::request::{Dialect, Login, Resume};
use crate::store::{Entry, Outcome};

/// An accepted login whose session has not started yet.
#[derive(Debug)]
struct PendingLogin {
    session: SessionId,
    peer: PeerInfo,
    dialect: Dialect,
    resume: Option<Resume>,
}

/// New IDs that are being written to the log, with the logins that wait for them.
///
/// A session starts only after its ID is on disk. Otherwise a crash could take the ID back and give it
/// to another user, and an invite could be used twice.
#[derive(Debug, Default)]
pub(super) struct PendingRegistrations(BTreeMap<UserId, PendingRegistration>);

#[derive(Debug)]
struct PendingRegistration {
    invite: Option<[u8; 32]>,
    /// More than one if the same key logs in again while the ID is being written.
    logins: Vec<PendingLogin>,
}

impl PendingRegistrations {
    /// Drops the pending login of a session that has ended.
    pub(super) fn remove_session(&mut self, session: SessionId) {
        for registration in self.0.values_mut() {
            registration.logins.retain(|login| login.session != session);
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
        let decision = match self.decide_login(now, &login, peer) {
            Ok(decision) => decision,
            Err(refusal) => return refuse_login(session, &refusal, effects),
        };
        let login = PendingLogin { session, peer, dialect: login.dialect, resume: login.resume };
        match (decision, peer.key) {
            (LoginDecision::ExistingId(user), _) => {
                match self.pending_registrations.0.get_mut(&user) {
                    Some(registration) => registration.logins.push(login),
                    None => self.start_session(now, login, user, effects),
                }
            }
            (LoginDecision::NewId { name, invite }, key) => {
                self.login_policy.record_new_id(now, peer, invite.as_ref());
                let user = self.sessions.issue_id(&name, &mut self.rng);
                let Some(key) = key else { return self.start_session(now, login, user, effects) };
                self.sessions.bind(&user, key);
                let registration = PendingRegistration { invite, logins: vec![login] };
                self.pending_registrations.0.insert(user.clone(), registration);
                let origin = Origin::Register(user.clone());
                let entry = Entry::Register { user, key, invite };
                effects.push(HubEffect::Propose { origin, entry });
            }
        }
    }

    /// Starts or refuses the logins that waited for a new ID.
    pub(super) fn on_registered(
        &mut self,
        now: Now,
        user: &UserId,
        outcome: Result<&Outcome, &'static str>,
        effects: &mut Vec<HubEffect>,
    ) {
        let Some(PendingRegistration { invite, logins }) =
            self.pending_registrations.0.remove(user)
        else {
            return;
        };
        let refusal = match outcome {
            Ok(Outcome::Registered) => None,
            Err(reason) => Some(Refusal::NotStored(reason)),
            // Hub and log count the uses of an invite alike; if they differ, the log is right.
            Ok(_) => Some(Refusal::BadInvite),
        };
        if refusal.is_some() {
            self.sessions.unbind(user);
            self.login_policy.return_invite_use(invite.as_ref());
        }
        for login in logins {
            // An administrator may have banned the peer or rebound the ID meanwhile.
            let refusal = if self.login_policy.is_banned(login.peer) {
                Some(Refusal::Banned)
            } else if self.sessions.key_of(user) == login.peer.key {
                None
            } else {
                refusal.clone().or_else(|| Some(Refusal::NotYourId(user.clone())))
            };
            match refusal {
                Some(refusal) => refuse_login(login.session, &refusal, effects),
                None => self.start_session(now, login, user.clone(), effects),
            }
        }
    }

    fn start_session(
        &mut self,
        now: Now,
        login: PendingLogin,
        user: UserId,
        effects: &mut Vec<HubEffect>,
    ) {
        let PendingLogin { session, peer, dialect, resume } = login;
        let is_first = self.sessions.add(session, &user, dialect, peer);
        // Beyond the head are events that this log has lost: it was restored from a backup.
        let range = self.horizon..=self.head;
        let resume =
            resume.filter(|resume| resume.epoch == self.epoch && range.contains(&resume.after));
        let welcome = Welcome {
            user: user.clone(),
            epoch: self.epoch.clone(),
            head: self.head,
            now: now.millis(),
            resumed: resume.is_some(),
            limits: self.limits,
        };
        let (to, event) = (SessionSet::One(session), Event::Welcome(welcome));
        effects.push(HubEffect::Send { to, event });
        self.send_user_list(session, effects);
        let (viewer, after) = (user.clone(), resume.map(|resume| resume.after));
        effects.push(HubEffect::Subscribe { session, viewer, after });
        if is_first {
            self.presence.on_join(session, user);
        }
    }
}

fn refuse_login(session: SessionId, refusal: &Refusal, effects: &mut Vec<HubEffect>) {
    let (to, error) = (SessionSet::One(session), ErrorReply::new(refusal, None));
    effects.push(HubEffect::Send { to, event: Event::LoginRefused(error) });
    effects.push(HubEffect::Close(session));
}
