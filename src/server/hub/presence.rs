//! Who came and who went, told at a measured pace: a first change at once, those that follow it
//! together.
//!
//! All sessions of ours know the same of it: a newcomer gets the list as it was at the last word, and
//! with the next word what everybody gets. So a list is encoded once, however many come before that.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::roster::Roster;
use super::{Effect, Hub, Now, Recipients, SessionId};
use crate::protocol::event::Event;
use crate::protocol::id::UserId;
use crate::protocol::request::Dialect;
use crate::server::limits::{PRESENCE_PAUSE, PRESENCE_PAUSE_EACH};

/// What has been told, and the changes that have not.
#[derive(Debug, Default)]
pub(super) struct Presence {
    told: BTreeSet<UserId>,
    /// `told`, as newcomers get it, and those in it who have shown no key; made when the first of them
    /// comes.
    list: Option<(Arc<[UserId]>, Vec<UserId>)>,
    /// None of these is in `told`.
    joined: BTreeSet<UserId>,
    /// All of these are in `told`.
    left: BTreeSet<UserId>,
    /// Whoever came after the last change: an original client that was told of all at its login.
    last: Option<SessionId>,
    /// The pause after the last word lasts until then.
    quiet_until: Option<Instant>,
}

impl Presence {
    pub(super) fn joined(&mut self, session: SessionId, user: UserId) {
        self.last = Some(session);
        if !self.left.remove(&user) {
            self.joined.insert(user);
        }
    }

    /// Somebody who came and went within one pause is not mentioned.
    pub(super) fn left(&mut self, user: UserId) {
        self.last = None;
        if !self.joined.remove(&user) {
            self.left.insert(user);
        }
    }

    /// Everybody who has been told of; what is missing comes with the next word.
    pub(super) fn list(&mut self, roster: &Roster) -> Vec<Event> {
        let told = &self.told;
        let (people, guests) = self
            .list
            .get_or_insert_with(|| (told.iter().cloned().collect(), roster.guests_among(told)));
        let guests = Some(guests.clone()).filter(|guests| !guests.is_empty());
        let people = Event::People(Arc::clone(people));
        guests.map(Event::Guests).into_iter().chain([people]).collect()
    }

    /// Whether others have not been told yet that this person is here.
    pub(super) fn is_news(&self, user: &UserId) -> bool {
        self.joined.contains(user)
    }

    /// Ends the pause.
    pub(super) fn hurry(&mut self) {
        self.quiet_until = None;
    }

    fn is_empty(&self) -> bool {
        self.joined.is_empty() && self.left.is_empty()
    }

    /// When what was gathered is to be told.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.quiet_until.filter(|_| !self.is_empty())
    }

    /// What everybody does not know yet, as told from now on.
    fn news(&mut self, roster: &Roster) -> Vec<Event> {
        self.list = None;
        let (joined, left) = (std::mem::take(&mut self.joined), std::mem::take(&mut self.left));
        for user in &left {
            self.told.remove(user);
        }
        self.told.extend(joined.iter().cloned());
        let guests = Some(roster.guests_among(&joined)).filter(|guests| !guests.is_empty());
        let (joined, left) = (joined.into_iter().collect(), left.into_iter().collect());
        let presence = Event::Presence { joined, left };
        guests.map(Event::Guests).into_iter().chain([presence]).collect()
    }
}

impl Hub {
    /// Tells everybody what they don't know yet, unless the last word was too short a time ago.
    pub(super) fn tell_presence(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let quiet = self.presence.quiet_until.is_some_and(|until| now.mono < until);
        if quiet || self.presence.is_empty() {
            return;
        }
        let originals = self.roster.sessions().filter(|(_, dialect)| *dialect == Dialect::Original);
        for (session, _) in originals.filter(|(session, _)| self.presence.last != Some(*session)) {
            let event = Event::People(self.roster.others(session));
            effects.push(Effect::Send { to: Recipients::One(session), event });
        }
        for event in self.presence.news(&self.roster) {
            effects.push(Effect::Send { to: Recipients::Everyone, event });
        }
        self.presence.quiet_until = Some(now.mono + pause(self.presence.told.len()));
    }
}

/// How long to be quiet after a word to so many people.
fn pause(people: usize) -> Duration {
    let people = u32::try_from(people).unwrap_or(u32::MAX);
    PRESENCE_PAUSE.max(PRESENCE_PAUSE_EACH.saturating_mul(people))
}
