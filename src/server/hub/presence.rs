//! Presence: announces which users join and leave. The first change is announced immediately, those
//! that follow within an interval are batched.
//!
//! All sessions of extended clients share one state: a new session gets the user list as of the last
//! announcement, and the next announcement like all others. So the list is built once per announcement,
//! however many users log in before the next.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::sessions::Sessions;
use super::{Hub, HubEffect, Now, SessionId, SessionSet};
use crate::protocol::event::Event;
use crate::protocol::id::UserId;
use crate::protocol::request::Dialect;
use crate::server::limits::{PRESENCE_INTERVAL, PRESENCE_INTERVAL_PER_SESSION};

/// The announced users, and the changes not announced yet.
#[derive(Debug, Default)]
pub(super) struct Presence {
    announced: BTreeSet<UserId>,
    /// `announced` and the guests among them, as sent to a new session; built on demand.
    user_list: Option<(Arc<[UserId]>, Vec<UserId>)>,
    /// Not announced yet; disjoint from `announced`.
    joined: BTreeSet<UserId>,
    /// Not announced yet; a subset of `announced`.
    left: BTreeSet<UserId>,
    /// The session of the latest change, if that was a join. If it is an original client, its list is
    /// current and is not sent again.
    last_joined: Option<SessionId>,
    /// The next announcement is not due before this.
    paused_until: Option<Instant>,
}

impl Presence {
    pub(super) fn on_join(&mut self, session: SessionId, user: UserId) {
        self.last_joined = Some(session);
        if !self.left.remove(&user) {
            self.joined.insert(user);
        }
    }

    /// A user who joins and leaves between two announcements is not announced.
    pub(super) fn on_leave(&mut self, user: UserId) {
        self.last_joined = None;
        if !self.joined.remove(&user) {
            self.left.insert(user);
        }
    }

    /// The user list for a new session. Changes that are missing in it come with the next announcement.
    pub(super) fn initial_events(&mut self, sessions: &Sessions) -> Vec<Event> {
        let announced = &self.announced;
        let (users, guests) = self.user_list.get_or_insert_with(|| {
            (announced.iter().cloned().collect(), sessions.guests_among(announced))
        });
        let guests = Some(guests.clone()).filter(|guests| !guests.is_empty());
        let users = Event::Users(Arc::clone(users));
        guests.map(Event::Guests).into_iter().chain([users]).collect()
    }

    /// Whether the user is online but not announced yet.
    pub(super) fn is_unannounced(&self, user: &UserId) -> bool {
        self.joined.contains(user)
    }

    /// Lets the next announcement happen immediately.
    pub(super) fn end_pause(&mut self) {
        self.paused_until = None;
    }

    fn is_empty(&self) -> bool {
        self.joined.is_empty() && self.left.is_empty()
    }

    /// When the pending changes are to be announced.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.paused_until.filter(|_| !self.is_empty())
    }

    /// Returns the pending changes as events, and marks them as announced.
    fn take_changes(&mut self, sessions: &Sessions) -> Vec<Event> {
        self.user_list = None;
        let (joined, left) = (std::mem::take(&mut self.joined), std::mem::take(&mut self.left));
        for user in &left {
            self.announced.remove(user);
        }
        self.announced.extend(joined.iter().cloned());
        let guests = Some(sessions.guests_among(&joined)).filter(|guests| !guests.is_empty());
        let (joined, left) = (joined.into_iter().collect(), left.into_iter().collect());
        let presence = Event::Presence { joined, left };
        guests.map(Event::Guests).into_iter().chain([presence]).collect()
    }
}

impl Hub {
    /// Sends a session the complete user list.
    pub(super) fn send_user_list(&mut self, session: SessionId, effects: &mut Vec<HubEffect>) {
        let user_list = match self.sessions.dialect(session) {
            None => return,
            Some(Dialect::Extended) => self.presence.initial_events(&self.sessions),
            Some(Dialect::Original) => vec![Event::Users(self.sessions.other_users(session))],
        };
        let send_event = |event| HubEffect::Send { to: SessionSet::One(session), event };
        effects.extend(user_list.into_iter().map(send_event));
    }

    /// Announces the pending changes, unless the last announcement was too recent.
    pub(super) fn announce_presence(&mut self, now: Now, effects: &mut Vec<HubEffect>) {
        let is_paused = self.presence.paused_until.is_some_and(|until| now.monotonic < until);
        if is_paused || self.presence.is_empty() {
            return;
        }
        let originals =
            self.sessions.dialects().filter(|(_, dialect)| *dialect == Dialect::Original);
        for (session, _) in
            originals.filter(|(session, _)| self.presence.last_joined != Some(*session))
        {
            let event = Event::Users(self.sessions.other_users(session));
            effects.push(HubEffect::Send { to: SessionSet::One(session), event });
        }
        for event in self.presence.take_changes(&self.sessions) {
            effects.push(HubEffect::Send { to: SessionSet::All, event });
        }
        self.presence.paused_until = Some(now.monotonic + interval(self.presence.announced.len()));
    }
}

/// How long to wait after an announcement to this many users.
fn interval(users: usize) -> Duration {
    let users = u32::try_from(users).unwrap_or(u32::MAX);
    PRESENCE_INTERVAL.max(PRESENCE_INTERVAL_PER_SESSION.saturating_mul(users))
}
