//! Who is here, under which ID.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use rand::RngExt;
use rand::rngs::StdRng;

use super::SessionId;
use super::confusables::ConfusableNames;
use crate::protocol::id::{Name, UserId};
use crate::protocol::limits::ORIGINAL_FRAME_BYTES;
use crate::protocol::request::Dialect;
use crate::server::limits;
use crate::store::BanTarget;

/// The SHA-256 of a client's public key: who shows it again is the same person.
pub type KeyHash = [u8; 32];

/// Who is at the other end of a connection, as far as the connection itself tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerInfo {
    /// The key that was shown, and proved to be held.
    pub key: Option<KeyHash>,
    /// From where the connection came.
    pub address: IpAddr,
}

impl PeerInfo {
    /// Whether this is somebody who is shut out by that.
    pub(super) fn matches(&self, banned: &BanTarget) -> bool {
        match banned {
            BanTarget::Key(key) => self.key == Some(*key),
            BanTarget::Network(network) => network.contains(self.address),
        }
    }
}

/// Everybody who is logged in, and everybody who can come back.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    sessions: BTreeMap<SessionId, SessionEntry>,
    /// Somebody may be here more than once: on two machines, or with a script beside the screen.
    by_user: BTreeMap<UserId, BTreeSet<SessionId>>,
    /// The IDs that belong to keys, for good.
    ids_by_key: HashMap<KeyHash, Vec<UserId>>,
    keys_by_id: HashMap<UserId, KeyHash>,
    issued: IssuedIds,
    names: ConfusableNames,
}

#[derive(Debug)]
struct SessionEntry {
    user: UserId,
    dialect: Dialect,
    peer: PeerInfo,
}

impl Sessions {
    /// Knows whose IDs are whose from earlier, and which may never be given again.
    pub(super) fn new(registered: &[(UserId, KeyHash)], retired: &[UserId]) -> Self {
        let mut roster = Self::default();
        for (user, key) in registered {
            roster.bind(user, *key);
            roster.names.add(user);
            roster.issued.reserve(user);
        }
        for user in retired {
            roster.issued.reserve(user);
        }
        roster
    }

    /// The IDs that belong to a key, in the order in which they came to it.
    pub(super) fn ids_of(&self, key: Option<KeyHash>) -> &[UserId] {
        key.and_then(|key| self.ids_by_key.get(&key)).map_or(&[], Vec::as_slice)
    }

    /// The key that an ID belongs to.
    pub(super) fn key_of(&self, user: &UserId) -> Option<KeyHash> {
        self.keys_by_id.get(user).copied()
    }

    /// A new ID, which is nobody else's.
    pub(super) fn issue_id(&mut self, name: &Name, rng: &mut StdRng) -> UserId {
        let user = self.issued.issue(name, rng);
        self.names.add(&user);
        let (sessions, lasting) = (&self.by_user, &self.keys_by_id);
        self.issued.prune_oldest(|old| {
            *old == user || sessions.contains_key(old) || lasting.contains_key(old)
        });
        user
    }

    /// An ID belongs to this key from now on, and to no other.
    pub(super) fn bind(&mut self, user: &UserId, key: KeyHash) {
        self.detach_key(user);
        self.ids_by_key.entry(key).or_default().push(user.clone());
        self.keys_by_id.insert(user.clone(), key);
    }

    /// An ID that nobody has come to have belongs to no key any more. It is not given again.
    pub(super) fn unbind(&mut self, user: &UserId) {
        self.detach_key(user);
        self.names.remove(user);
    }

    /// The name in use that somebody new of this name could be taken for.
    pub(super) fn confusable_with(&self, name: &Name) -> Option<&Name> {
        self.names.confusable_with(name)
    }

    fn detach_key(&mut self, user: &UserId) {
        let Some(key) = self.keys_by_id.remove(user) else { return };
        if let Some(own) = self.ids_by_key.get_mut(&key) {
            own.retain(|id| id != user);
            if own.is_empty() {
                self.ids_by_key.remove(&key);
            }
        }
    }

    /// Lets somebody in; whether nobody was here under this ID before.
    pub(super) fn add(
        &mut self,
        session: SessionId,
        user: &UserId,
        dialect: Dialect,
        peer: PeerInfo,
    ) -> bool {
        self.sessions.insert(session, SessionEntry { user: user.clone(), dialect, peer });
        let own = self.by_user.entry(user.clone()).or_default();
        own.insert(session);
        own.len() == 1
    }

    /// Who has left, if that was the last of their sessions.
    pub(super) fn remove(&mut self, session: SessionId) -> Option<UserId> {
        let SessionEntry { user, .. } = self.sessions.remove(&session)?;
        let own = self.by_user.get_mut(&user)?;
        own.remove(&session);
        if !own.is_empty() {
            return None;
        }
        self.by_user.remove(&user);
        if !self.keys_by_id.contains_key(&user) {
            self.names.remove(&user);
        }
        Some(user)
    }

    /// Who it is on that connection.
    pub(super) fn user(&self, session: SessionId) -> Option<UserId> {
        self.sessions.get(&session).map(|person| person.user.clone())
    }

    /// Where somebody is, if here.
    pub(super) fn sessions_of(&self, user: &UserId) -> impl Iterator<Item = SessionId> {
        self.by_user.get(user).into_iter().flatten().copied()
    }

    /// Whether a direct message would be read: now, or when they come back.
    pub(super) fn is_reachable(&self, user: &UserId) -> bool {
        self.by_user.contains_key(user) || self.is_registered(user)
    }

    /// Whether this person can come back.
    pub(super) fn is_registered(&self, user: &UserId) -> bool {
        self.keys_by_id.contains_key(user)
    }

    /// Who of them has shown no key.
    pub(super) fn guests_among(&self, users: &BTreeSet<UserId>) -> Vec<UserId> {
        users.iter().filter(|user| !self.is_registered(user)).cloned().collect()
    }

    /// Whether the ID has been given to somebody, here or gone.
    pub(super) fn was_issued(&self, user: &UserId) -> bool {
        self.issued.ids.contains(user)
    }

    /// How many people are here, and how many IDs belong to keys.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.by_user.len(), self.keys_by_id.len())
    }

    /// All connections, with who is at their ends.
    pub(super) fn peers(&self) -> impl Iterator<Item = (SessionId, &UserId, PeerInfo)> {
        self.sessions.iter().map(|(session, person)| (*session, &person.user, person.peer))
    }

    /// All sessions and what they speak.
    pub(super) fn dialects(&self) -> impl Iterator<Item = (SessionId, Dialect)> {
        self.sessions.iter().map(|(session, person)| (*session, person.dialect))
    }

    /// Everybody but the one on `session`, who has an original client: no more than it can read.
    pub(super) fn other_users(&self, session: SessionId) -> Arc<[UserId]> {
        // In quotation marks and with a comma, an ID has nine bytes or more.
        let most = ORIGINAL_FRAME_BYTES / 9;
        let own = self.sessions.get(&session).map(|person| &person.user);
        let others = self.by_user.keys().filter(|user| Some(*user) != own);
        others.take(most).cloned().collect()
    }
}

/// The IDs given so far, the latest [`limits::IDS_KEPT`] of them and all that are in use.
#[derive(Debug, Default)]
struct IssuedIds {
    ids: HashSet<UserId>,
    order: VecDeque<UserId>,
    count_by_name: HashMap<String, u32>,
}

impl IssuedIds {
    /// Never gives this ID again, as long as it is in use.
    fn reserve(&mut self, user: &UserId) {
        if self.ids.insert(user.clone()) {
            self.order.push_back(user.clone());
            *self.count_by_name.entry(user.name().to_owned()).or_default() += 1;
        }
    }

    /// Four random digits, and one more each time a name's numbers are half used up.
    fn issue(&mut self, name: &Name, rng: &mut StdRng) -> UserId {
        let n_used = self.count_by_name.entry(name.as_str().to_owned()).or_default();
        let mut numbers = 0..10_000_u32;
        while *n_used >= numbers.end / 2 && numbers.end < 1_000_000_000 {
            numbers = numbers.end..numbers.end * 10;
        }
        *n_used += 1;
        loop {
            let user = UserId::new(name, rng.random_range(numbers.clone()));
            if self.ids.insert(user.clone()) {
                self.order.push_back(user.clone());
                return user;
            }
        }
    }

    fn prune_oldest(&mut self, in_use: impl Fn(&UserId) -> bool) {
        if self.order.len() <= limits::RETIRED_IDS {
            return;
        }
        let Some(oldest) = self.order.pop_front() else { return };
        if in_use(&oldest) {
            self.order.push_back(oldest);
            return;
        }
        self.ids.remove(&oldest);
        if let Some(used) = self.count_by_name.get_mut(oldest.name()) {
            *used -= 1;
            if *used == 0 {
                self.count_by_name.remove(oldest.name());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn issued_ids_are_unique_and_grow_when_half_are_used() {
        let mut issued = IssuedIds::default();
        let mut rng = StdRng::seed_from_u64(1);
        let name = "Bob".parse().unwrap();
        let ids: Vec<_> = (0..5_001).map(|_| issued.issue(&name, &mut rng).to_string()).collect();
        assert!(ids.iter().take(5_000).all(|id| id.len() == "Bob_1234".len()));
        assert_eq!(ids[5_000].len(), "Bob_12345".len());
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    }
}
