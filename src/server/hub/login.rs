//! Logging in: a session starts, waits for the log's decision about a new user, or is refused.

use super::login_policy::LoginDecision;
use super::sessions::SessionEntry;
use super::{Hub, HubEffect, Now, Origin, PeerInfo, SessionId, SessionSet};
use crate::protocol::error::Refusal;
use crate::protocol::event::{ErrorReply, Event, Welcome};
use crate::protocol::id::UserId;
use crate::protocol::request::{Dialect, Login, Resume};
use crate::store::{Entry, Outcome};

/// A session that starts once its user's ID is on disk. Otherwise a crash could take the ID back and give it
/// to another user, and an invite could be used twice.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct NewSession {
    pub id: SessionId,
    pub peer: PeerInfo,
    pub dialect: Dialect,
    pub resume: Option<Resume>,
    pub quiet: bool,
}

impl Hub {
    pub(super) fn log_in(
        &mut self,
        now: Now,
        id: SessionId,
        login: Login,
        peer: PeerInfo,
        effects: &mut Vec<HubEffect>,
    ) {
        let decision = self.decide_login(now, &login, peer);
        let Login { dialect, resume, quiet, .. } = login;
        let session = NewSession { id, peer, dialect, resume, quiet };
        match decision {
            Ok(LoginDecision::Id(user)) => self.start_session(now, session, user, effects),
            Ok(LoginDecision::NewUser(new)) => {
                let (origin, entry) = (Origin::Login(session), Entry::Register(new));
                effects.push(HubEffect::Propose { origin, entry });
            }
            Err(refusal) => refuse_login(id, &refusal, effects),
        }
    }

    /// Starts or refuses the session of a new user.
    pub(super) fn finish_login(
        &mut self,
        now: Now,
        session: NewSession,
        outcome: Outcome,
        effects: &mut Vec<HubEffect>,
    ) {
        if !matches!(outcome, Outcome::Registered { .. }) {
            self.login_policy.new_ids.undo(session.peer);
        }
        let user = match outcome {
            // An administrator may have banned the peer meanwhile.
            _ if self.login_policy.is_banned(session.peer) => Err(Refusal::Banned),
            Outcome::Registered { user, .. } | Outcome::AlreadyRegistered(user) => Ok(user),
            Outcome::Refused(refusal) => Err(refusal),
            _ => Err(Refusal::NotStored("unexpected outcome")),
        };
        match user {
            Ok(user) => self.start_session(now, session, user, effects),
            Err(refusal) => refuse_login(session.id, &refusal, effects),
        }
    }

    fn start_session(
        &mut self,
        now: Now,
        session: NewSession,
        user: UserId,
        effects: &mut Vec<HubEffect>,
    ) {
        let NewSession { id: session, peer, dialect, resume, quiet } = session;
        let entry = SessionEntry { user: user.clone(), dialect, peer, quiet };
        let has_come = self.sessions.add(session, entry);
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
        if has_come {
            self.presence.on_join(session, user);
        }
    }
}

fn refuse_login(session: SessionId, refusal: &Refusal, effects: &mut Vec<HubEffect>) {
    let (to, error) = (SessionSet::One(session), ErrorReply::new(refusal, None));
    effects.push(HubEffect::Send { to, event: Event::LoginRefused(error) });
    effects.push(HubEffect::Close(session));
}
