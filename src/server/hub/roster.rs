//! Who is here, under which ID.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use rand::RngExt;
use rand::rngs::StdRng;

use super::SessionId;
use super::names::Names;
use crate::protocol::id::{Name, UserId};
use crate::protocol::limits::ORIGINAL_FRAME_BYTES;
use crate::protocol::request::Dialect;
use crate::server::limits;
use crate::store::Banned;

/// The SHA-256 of a client's public key: who shows it again is the same person.
pub type Key = [u8; 32];

/// Who is at the other end of a connection, as far as the connection itself tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The key that was shown, and proved to be held.
    pub key: Option<Key>,
    /// From where the connection came.
    pub address: IpAddr,
}

impl Peer {
    /// Whether this is somebody who is shut out by that.
    pub(super) fn is(&self, banned: &Banned) -> bool {
        match banned {
            Banned::Key(key) => self.key == Some(*key),
            Banned::Network(network) => network.contains(self.address),
        }
    }
}

/// Everybody who is logged in, and everybody who can come back.
#[derive(Debug, Default)]
pub(super) struct Roster {
    people: BTreeMap<SessionId, Person>,
    /// Somebody may be here more than once: on two machines, or with a script beside the screen.
    sessions: BTreeMap<UserId, BTreeSet<SessionId>>,
    /// The IDs that belong to keys, for good.
    registered: HashMap<Key, Vec<UserId>>,
    lasting: HashMap<UserId, Key>,
    given: GivenIds,
    names: Names,
}

#[derive(Debug)]
struct Person {
    user: UserId,
    dialect: Dialect,
    peer: Peer,
}

impl Roster {
    /// Knows whose IDs are whose from earlier, and which may never be given again.
    pub(super) fn new(registered: &[(UserId, Key)], taken: &[UserId]) -> Self {
        let mut roster = Self::default();
        for (user, key) in registered {
            roster.bind(user, *key);
            roster.names.add(user);
            roster.given.keep(user);
        }
        for user in taken {
            roster.given.keep(user);
        }
        roster
    }

    /// The IDs that belong to a key, in the order in which they came to it.
    pub(super) fn ids_of(&self, key: Option<Key>) -> &[UserId] {
        key.and_then(|key| self.registered.get(&key)).map_or(&[], Vec::as_slice)
    }

    /// The key that an ID belongs to.
    pub(super) fn key_of(&self, user: &UserId) -> Option<Key> {
        self.lasting.get(user).copied()
    }

    /// A new ID, which is nobody else's.
    pub(super) fn draw(&mut self, name: &Name, dice: &mut StdRng) -> UserId {
        let user = self.given.draw(name, dice);
        self.names.add(&user);
        let (sessions, lasting) = (&self.sessions, &self.lasting);
        self.given.forget_oldest(|old| {
            *old == user || sessions.contains_key(old) || lasting.contains_key(old)
        });
        user
    }

    /// An ID belongs to this key from now on, and to no other.
    pub(super) fn bind(&mut self, user: &UserId, key: Key) {
        self.release(user);
        self.registered.entry(key).or_default().push(user.clone());
        self.lasting.insert(user.clone(), key);
    }

    /// An ID that nobody has come to have belongs to no key any more. It is not given again.
    pub(super) fn unbind(&mut self, user: &UserId) {
        self.release(user);
        self.names.remove(user);
    }

    /// The name in use that somebody new of this name could be taken for.
    pub(super) fn like(&self, name: &Name) -> Option<&Name> {
        self.names.like(name)
    }

    fn release(&mut self, user: &UserId) {
        let Some(key) = self.lasting.remove(user) else { return };
        if let Some(own) = self.registered.get_mut(&key) {
            own.retain(|id| id != user);
            if own.is_empty() {
                self.registered.remove(&key);
            }
        }
    }

    /// Lets somebody in; whether nobody was here under this ID before.
    pub(super) fn enter(
        &mut self,
        session: SessionId,
        user: &UserId,
        dialect: Dialect,
        peer: Peer,
    ) -> bool {
        self.people.insert(session, Person { user: user.clone(), dialect, peer });
        let here = self.sessions.entry(user.clone()).or_default();
        here.insert(session);
        here.len() == 1
    }

    /// Who has left, if that was the last of their sessions.
    pub(super) fn leave(&mut self, session: SessionId) -> Option<UserId> {
        let Person { user, .. } = self.people.remove(&session)?;
        let here = self.sessions.get_mut(&user)?;
        here.remove(&session);
        if !here.is_empty() {
            return None;
        }
        self.sessions.remove(&user);
        if !self.lasting.contains_key(&user) {
            self.names.remove(&user);
        }
        Some(user)
    }

    /// Who it is on that connection.
    pub(super) fn user(&self, session: SessionId) -> Option<UserId> {
        self.people.get(&session).map(|person| person.user.clone())
    }

    /// Where somebody is, if here.
    pub(super) fn sessions_of(&self, user: &UserId) -> impl Iterator<Item = SessionId> {
        self.sessions.get(user).into_iter().flatten().copied()
    }

    /// Whether a direct message would be read: now, or when they come back.
    pub(super) fn is_reachable(&self, user: &UserId) -> bool {
        self.sessions.contains_key(user) || self.is_lasting(user)
    }

    /// Whether this person can come back.
    pub(super) fn is_lasting(&self, user: &UserId) -> bool {
        self.lasting.contains_key(user)
    }

    /// Who of them has shown no key.
    pub(super) fn guests_among(&self, people: &BTreeSet<UserId>) -> Vec<UserId> {
        people.iter().filter(|user| !self.is_lasting(user)).cloned().collect()
    }

    /// Whether the ID has been given to somebody, here or gone.
    pub(super) fn was_here(&self, user: &UserId) -> bool {
        self.given.ids.contains(user)
    }

    /// How many people are here, and how many IDs belong to keys.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.sessions.len(), self.lasting.len())
    }

    /// All connections, with who is at their ends.
    pub(super) fn connections(&self) -> impl Iterator<Item = (SessionId, &UserId, Peer)> {
        self.people.iter().map(|(session, person)| (*session, &person.user, person.peer))
    }

    /// All sessions and what they speak.
    pub(super) fn sessions(&self) -> impl Iterator<Item = (SessionId, Dialect)> {
        self.people.iter().map(|(session, person)| (*session, person.dialect))
    }

    /// Everybody but the one on `session`, who has an original client: no more than it can read.
    pub(super) fn others(&self, session: SessionId) -> Arc<[UserId]> {
        // In quotation marks and with a comma, an ID has nine bytes or more.
        let most = ORIGINAL_FRAME_BYTES / 9;
        let own = self.people.get(&session).map(|person| &person.user);
        let others = self.sessions.keys().filter(|user| Some(*user) != own);
        others.take(most).cloned().collect()
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
    /// Never gives this ID again, as long as it is in use.
    fn keep(&mut self, user: &UserId) {
        if self.ids.insert(user.clone()) {
            self.order.push_back(user.clone());
            *self.by_name.entry(user.name().to_owned()).or_default() += 1;
        }
    }

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
