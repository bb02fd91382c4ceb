//! Who came and who went, told at a measured pace: a first change at once, those that follow it
//! together.
//!
//! All sessions of ours know the same of it: a newcomer gets the list as it was at the last word, and
//! with the next word what everybody gets. So a list is encoded once, however many come before that.

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

/// What has been told, and the changes that have not.
#[derive(Debug, Default)]
pub(super) struct Presence {
    announced: BTreeSet<UserId>,
    /// `told`, as newcomers get it, and those in it who have shown no key; made when the first of them
    /// comes.
    user_list: Option<(Arc<[UserId]>, Vec<UserId>)>,
    /// None of these is in `told`.
    joined: BTreeSet<UserId>,
    /// All of these are in `told`.
    left: BTreeSet<UserId>,
    /// Whoever came after the last change: an original client that was told of all at its login.
    last_joined: Option<SessionId>,
    /// The pause after the last word lasts until then.
    paused_until: Option<Instant>,
}

impl Presence {
    pub(super) fn on_join(&mut self, session: SessionId, user: UserId) {
        self.last_joined = Some(session);
        if !self.left.remove(&user) {
            self.joined.insert(user);
        }
    }

    /// Somebody who came and went within one pause is not mentioned.
    pub(super) fn on_leave(&mut self, user: UserId) {
        self.last_joined = None;
        if !self.joined.remove(&user) {
            self.left.insert(user);
        }
    }

    /// Everybody who has been told of; what is missing comes with the next word.
    pub(super) fn initial_events(&mut self, roster: &Sessions) -> Vec<Event> {
        let told = &self.announced;
        let (people, guests) = self
            .user_list
            .get_or_insert_with(|| (told.iter().cloned().collect(), roster.guests_among(told)));
        let guests = Some(guests.clone()).filter(|guests| !guests.is_empty());
        let people = Event::Users(Arc::clone(people));
        guests.map(Event::Guests).into_iter().chain([people]).collect()
    }

    /// Whether others have not been told yet that this person is here.
    pub(super) fn is_unannounced(&self, user: &UserId) -> bool {
        self.joined.contains(user)
    }

    /// Ends the pause.
    pub(super) fn end_pause(&mut self) {
        self.paused_until = None;
    }

    fn is_empty(&self) -> bool {
        self.joined.is_empty() && self.left.is_empty()
    }

    /// When what was gathered is to be told.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.paused_until.filter(|_| !self.is_empty())
    }

    /// What everybody does not know yet, as told from now on.
    fn take_changes(&mut self, roster: &Sessions) -> Vec<Event> {
        self.user_list = None;
        let (joined, left) = (std::mem::take(&mut self.joined), std::mem::take(&mut self.left));
        for user in &left {
            self.announced.remove(user);
        }
        self.announced.extend(joined.iter().cloned());
        let guests = Some(roster.guests_among(&joined)).filter(|guests| !guests.is_empty());
        let (joined, left) = (joined.into_iter().collect(), left.into_iter().collect());
        let presence = Event::Presence { joined, left };
        guests.map(Event::Guests).into_iter().chain([presence]).collect()
    }
}

impl Hub {
    /// Tells everybody what they don't know yet, unless the last word was too short a time ago.
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

/// How long to be quiet after a word to so many people.
fn interval(users: usize) -> Duration {
    let people = u32::try_from(users).unwrap_or(u32::MAX);
    PRESENCE_INTERVAL.max(PRESENCE_INTERVAL_PER_SESSION.saturating_mul(people))
}
