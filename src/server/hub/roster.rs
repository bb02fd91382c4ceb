//! Who is here, under which ID.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use rand::RngExt;
use rand::rngs::StdRng;

use super::SessionId;
use crate::protocol::id::{Name, UserId};
use crate::protocol::limits::ORIGINAL_FRAME_BYTES;
use crate::protocol::request::Dialect;
use crate::server::limits;

/// Everybody who is logged in.
#[derive(Debug, Default)]
pub(super) struct Roster {
    people: BTreeMap<SessionId, Person>,
    sessions: BTreeMap<UserId, SessionId>,
    given: GivenIds,
}

#[derive(Debug)]
struct Person {
    user: UserId,
    dialect: Dialect,
}

impl Roster {
    /// Lets somebody in, under a new ID.
    pub(super) fn join(
        &mut self,
        session: SessionId,
        name: &Name,
        dialect: Dialect,
        dice: &mut StdRng,
    ) -> UserId {
        let user = self.given.draw(name, dice);
        self.sessions.insert(user.clone(), session);
        self.people.insert(session, Person { user: user.clone(), dialect });
        let sessions = &self.sessions;
        self.given.forget_oldest(|user| sessions.contains_key(user));
        user
    }

    /// Who has left, if anybody was there.
    pub(super) fn leave(&mut self, session: SessionId) -> Option<UserId> {
        let person = self.people.remove(&session)?;
        self.sessions.remove(&person.user);
        Some(person.user)
    }

    /// Who it is on that connection.
    pub(super) fn user(&self, session: SessionId) -> Option<UserId> {
        self.people.get(&session).map(|person| person.user.clone())
    }

    /// Where somebody is, if here.
    pub(super) fn session(&self, user: &UserId) -> Option<SessionId> {
        self.sessions.get(user).copied()
    }

    /// Whether the ID has been given to somebody, here or gone.
    pub(super) fn was_here(&self, user: &UserId) -> bool {
        self.given.ids.contains(user)
    }

    /// What is spoken on that connection.
    pub(super) fn dialect(&self, session: SessionId) -> Option<Dialect> {
        self.people.get(&session).map(|person| person.dialect)
    }

    /// All sessions and what they speak.
    pub(super) fn sessions(&self) -> impl Iterator<Item = (SessionId, Dialect)> {
        self.people.iter().map(|(session, person)| (*session, person.dialect))
    }

    /// Everybody but the one on `session`; to an original client no more of them than it can read.
    pub(super) fn others(&self, session: SessionId, dialect: Dialect) -> Vec<UserId> {
        // In quotation marks and with a comma, an ID has nine bytes or more.
        let most = match dialect {
            Dialect::Original => ORIGINAL_FRAME_BYTES / 9,
            Dialect::Extended => usize::MAX,
        };
        let others = self.sessions.iter().filter(|(_, other)| **other != session);
        others.map(|(user, _)| user.clone()).take(most).collect()
    }
}

/// The IDs given so far, the latest [`limits::IDS_KEPT`] of them and all that are in use.
#[derive(Debug, Default)]
struct GivenIds {
    ids: HashSet<UserId>,
    order: VecDeque<UserId>,
    by_name: HashMap<String, u32>,
}

impl GivenIds {
    /// Four random digits, and one more each time a name's numbers are half used up.
    fn draw(&mut self, name: &Name, dice: &mut StdRng) -> UserId {
        let n_used = self.by_name.entry(name.as_str().to_owned()).or_default();
        let mut numbers = 0..10_000_u32;
        while *n_used >= numbers.end / 2 && numbers.end < 1_000_000_000 {
            numbers = numbers.end..numbers.end * 10;
        }
        *n_used += 1;
        loop {
            let user = UserId::new(name, dice.random_range(numbers.clone()));
            if self.ids.insert(user.clone()) {
                self.order.push_back(user.clone());
                return user;
            }
        }
    }

    fn forget_oldest(&mut self, in_use: impl Fn(&UserId) -> bool) {
        if self.order.len() <= limits::IDS_KEPT {
            return;
        }
        let Some(oldest) = self.order.pop_front() else { return };
        if in_use(&oldest) {
            self.order.push_back(oldest);
            return;
        }
        self.ids.remove(&oldest);
        if let Some(used) = self.by_name.get_mut(oldest.name()) {
            *used -= 1;
            if *used == 0 {
                self.by_name.remove(oldest.name());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn ids_are_unique_and_grow_a_digit_when_half_are_used_up() {
        let mut given = GivenIds::default();
        let mut dice = StdRng::seed_from_u64(1);
        let name = "Bob".parse().unwrap();
        let ids: Vec<_> = (0..5_001).map(|_| given.draw(&name, &mut dice).to_string()).collect();
        assert!(ids.iter().take(5_000).all(|id| id.len() == "Bob_1234".len()));
        assert_eq!(ids[5_000].len(), "Bob_12345".len());
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    }
}
