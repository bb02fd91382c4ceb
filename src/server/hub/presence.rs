//! Who came and who went, told at a measured pace: a first change at once, those that follow it
//! together.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::{Effect, Hub, Now, Recipients, SessionId};
use crate::protocol::event::Event;
use crate::protocol::id::UserId;
use crate::protocol::request::Dialect;
use crate::server::limits::PRESENCE_PAUSE;

/// The changes that have not been told.
#[derive(Debug, Default)]
pub(super) struct Presence {
    /// In the order of their logins: each was told at its login of all that were there before.
    joined: Vec<(SessionId, UserId)>,
    left: BTreeSet<UserId>,
    /// The pause after the last word lasts until then.
    quiet_until: Option<Instant>,
}

impl Presence {
    pub(super) fn joined(&mut self, session: SessionId, user: UserId) {
        self.joined.push((session, user));
    }

    /// Somebody who came and went within one pause need not be mentioned, except to those who logged
    /// in between.
    pub(super) fn left(&mut self, session: SessionId, user: UserId) {
        let place = self.joined.iter().position(|(joined, _)| *joined == session);
        if let Some(place) = place {
            self.joined.remove(place);
        }
        if place.is_none_or(|place| place < self.joined.len()) {
            self.left.insert(user);
        }
    }

    /// Whether others have not been told yet that this person is here.
    pub(super) fn is_news(&self, user: &UserId) -> bool {
        self.joined.iter().any(|(_, joined)| joined == user)
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

    /// What `joined` means to the one at `place` in it: those who came later.
    fn news_since(&self, place: usize) -> Event {
        let joined = self.joined.iter().skip(place).map(|(_, user)| user.clone()).collect();
        Event::Presence { joined, left: self.left.iter().cloned().collect() }
    }
}

impl Hub {
    /// Tells everybody what they don't know yet, unless the last word was too short a time ago.
    pub(super) fn tell_presence(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let quiet = self.presence.quiet_until.is_some_and(|until| now.mono < until);
        if quiet || self.presence.is_empty() {
            return;
        }
        let news = &self.presence;
        let newcomers: BTreeSet<_> = news.joined.iter().map(|(session, _)| *session).collect();
        let mut ours = Vec::new();
        for (session, dialect) in self.roster.sessions() {
            match dialect {
                Dialect::Extended if newcomers.contains(&session) => {}
                Dialect::Extended => ours.push(session),
                Dialect::Original => {
                    let is_up_to_date = news.left.is_empty()
                        && news.joined.last().is_some_and(|(last, _)| *last == session);
                    if !is_up_to_date {
                        let event = Event::People(self.roster.others(session, dialect));
                        effects.push(Effect::Send { to: Recipients::One(session), event });
                    }
                }
            }
        }
        for (place, (session, _)) in news.joined.iter().enumerate() {
            let nothing_new = place + 1 == news.joined.len() && news.left.is_empty();
            if self.roster.dialect(*session) == Some(Dialect::Extended) && !nothing_new {
                let event = news.news_since(place + 1);
                effects.push(Effect::Send { to: Recipients::One(*session), event });
            }
        }
        if !ours.is_empty() {
            let event = news.news_since(0);
            effects.push(Effect::Send { to: Recipients::These(ours), event });
        }
        let quiet_until = Some(now.mono + PRESENCE_PAUSE);
        self.presence = Presence { quiet_until, ..Presence::default() };
    }
}
