//! The logged-in sessions, the IDs of guests, and a copy of which IDs are registered.
//!
//! The log decides who gets an ID. The copy follows its outcomes, and lets registered users log in while the
//! log cannot be written to.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use super::SessionId;
use super::confusables::ConfusableNames;
use crate::protocol::id::{Name, UserId};
use crate::protocol::limits::ORIGINAL_FRAME_BYTES;
use crate::protocol::request::Dialect;
use crate::server::limits;
use crate::store::{BanTarget, IdHolder, candidate_id, network_contains};

/// The SHA-256 of a client's public key, which identifies the client across connections.
pub type KeyHash = [u8; 32];

/// What the connection itself tells about a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerInfo {
    /// The key of the client's certificate, proved in the TLS handshake; `None` for a guest.
    pub key: Option<KeyHash>,
    /// The IP address of the client.
    pub address: IpAddr,
}

impl PeerInfo {
    /// Whether a ban of `target` covers this client.
    pub(super) fn matches(&self, target: &BanTarget) -> bool {
        match target {
            BanTarget::Key(key) => self.key == Some(*key),
            BanTarget::Network(network) => network_contains(network, self.address),
        }
    }
}

/// The sessions and IDs of the server.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_id: BTreeMap<SessionId, SessionEntry>,
    /// A user may have several sessions, for example on two machines.
    by_user: BTreeMap<UserId, BTreeSet<SessionId>>,
    /// The registered IDs of each key, oldest first.
    ids_by_key: HashMap<KeyHash, Vec<UserId>>,
    registered: HashSet<UserId>,
    registered_names: ConfusableNames,
    /// The online users without a key.
    guests: Arc<BTreeSet<UserId>>,
    guest_names: ConfusableNames,
    guest_ids: GuestIds,
    /// Those that have direct messages, which another guest with the ID would see.
    guests_in_log: HashSet<UserId>,
}

/// A logged-in session.
#[derive(Debug)]
pub(super) struct SessionEntry {
    pub(super) user: UserId,
    pub(super) dialect: Dialect,
    pub(super) peer: PeerInfo,
    /// See [`Login::quiet`](crate::protocol::request::Login::quiet).
    pub(super) quiet: bool,
}

impl Sessions {
    /// `registered` are the IDs that belong to keys. `retired` are other IDs that guests must not get.
    pub(super) fn new(registered: &[(UserId, KeyHash)], retired: &[UserId]) -> Self {
        let mut sessions = Self::default();
        for (user, key) in registered {
            sessions.on_registered(user, *key);
        }
        // Older logs gave any number to keys and guests.
        for user in registered.iter().map(|(user, _)| user).chain(retired) {
            sessions.guest_ids.reserve(user);
        }
        sessions.on_direct_message(retired);
        sessions
    }

    /// These users have direct messages.
    pub(super) fn on_direct_message<'a>(&mut self, users: impl IntoIterator<Item = &'a UserId>) {
        let guests = users.into_iter().filter(|user| !self.registered.contains(*user));
        self.guests_in_log.extend(guests.cloned());
    }

    /// The IDs registered for a key, oldest first.
    pub(super) fn ids_of(&self, key: Option<KeyHash>) -> &[UserId] {
        key.and_then(|key| self.ids_by_key.get(&key)).map_or(&[], Vec::as_slice)
    }

    /// A new ID is registered for a key.
    pub(super) fn on_registered(&mut self, user: &UserId, key: KeyHash) {
        self.registered.insert(user.clone());
        self.ids_by_key.entry(key).or_default().push(user.clone());
        user.parse_name().iter().for_each(|name| self.registered_names.add(name));
    }

    /// A registered ID belongs to another key.
    pub(super) fn on_rebound(&mut self, user: &UserId, from: KeyHash, to: KeyHash) {
        self.ids_by_key.entry(from).or_default().retain(|id| id != user);
        self.ids_by_key.entry(to).or_default().push(user.clone());
    }

    /// The name of an online guest that `name` could be mistaken for.
    pub(super) fn similar_guest(&self, name: &Name) -> Option<&Name> {
        self.guest_names.confusable_with(name)
    }

    /// Another name in use that `name` could be mistaken for.
    pub(super) fn similar_name(&self, name: &Name) -> Option<&Name> {
        self.similar_guest(name).or_else(|| self.registered_names.confusable_with(name))
    }

    /// Issues a unique ID for a guest.
    pub(super) fn issue_guest_id(&mut self, name: &Name, draw: u64) -> UserId {
        let user = self.guest_ids.issue(name, draw);
        self.guest_names.add(name);
        let (online, registered, in_log) = (&self.by_user, &self.registered, &self.guests_in_log);
        self.guest_ids.prune_oldest(|old| {
            let is_known = online.contains_key(old) || registered.contains(old);
            *old == user || is_known || in_log.contains(old)
        });
        user
    }

    /// Adds a session. Returns whether the user has come: is listed now, but was not before.
    pub(super) fn add(&mut self, session: SessionId, entry: SessionEntry) -> bool {
        let (user, quiet) = (entry.user.clone(), entry.quiet);
        let has_come = !quiet && !self.is_listed(&user);
        self.by_id.insert(session, entry);
        if !self.is_registered(&user) {
            Arc::make_mut(&mut self.guests).insert(user.clone());
        }
        self.by_user.entry(user).or_default().insert(session);
        has_come
    }

    /// Removes a session. Returns the user if the user has left: was listed before, but is not now.
    pub(super) fn remove(&mut self, session: SessionId) -> Option<UserId> {
        let SessionEntry { user, quiet, .. } = self.by_id.remove(&session)?;
        let own = self.by_user.get_mut(&user)?;
        own.remove(&session);
        if own.is_empty() {
            self.by_user.remove(&user);
            if !self.is_registered(&user) {
                user.parse_name().iter().for_each(|name| self.guest_names.remove(name));
                Arc::make_mut(&mut self.guests).remove(&user);
            }
        }
        (!quiet && !self.is_listed(&user)).then_some(user)
    }

    /// Whether the user has a session that is not quiet.
    fn is_listed(&self, user: &UserId) -> bool {
        let mut sessions = self.sessions_of(user);
        sessions.any(|session| self.by_id.get(&session).is_some_and(|entry| !entry.quiet))
    }

    /// The user of a session, if it is logged in.
    pub(super) fn user(&self, session: SessionId) -> Option<UserId> {
        self.by_id.get(&session).map(|entry| entry.user.clone())
    }

    pub(super) fn sessions_of(&self, user: &UserId) -> impl Iterator<Item = SessionId> {
        self.by_user.get(user).into_iter().flatten().copied()
    }

    /// Whether the ID belongs to a key; all others are guests.
    pub(super) fn is_registered(&self, user: &UserId) -> bool {
        self.registered.contains(user)
    }

    pub(super) fn guests_among(&self, users: &BTreeSet<UserId>) -> Vec<UserId> {
        users.iter().filter(|user| !self.is_registered(user)).cloned().collect()
    }

    /// The online users without a key.
    pub(super) fn guests(&self) -> Arc<BTreeSet<UserId>> {
        Arc::clone(&self.guests)
    }

    /// The number of online users and the number of registered IDs.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.by_user.len(), self.registered.len())
    }

    /// All sessions, with their users and peers.
    pub(super) fn peers(&self) -> impl Iterator<Item = (SessionId, &UserId, PeerInfo)> {
        self.by_id.iter().map(|(session, entry)| (*session, &entry.user, entry.peer))
    }

    /// All sessions, with their dialects.
    pub(super) fn dialects(&self) -> impl Iterator<Item = (SessionId, Dialect)> {
        self.by_id.iter().map(|(session, entry)| (*session, entry.dialect))
    }

    pub(super) fn dialect(&self, session: SessionId) -> Option<Dialect> {
        self.by_id.get(&session).map(|entry| entry.dialect)
    }

    /// The online users except the one of `session`, for an original client: at most as many as fit in a
    /// frame that it can read.
    pub(super) fn other_users(&self, session: SessionId) -> Arc<[UserId]> {
        // With quotation marks and a comma, an ID takes at least nine bytes.
        let max_users = ORIGINAL_FRAME_BYTES / 9;
        let own = self.by_id.get(&session).map(|entry| &entry.user);
        let others = self.by_user.keys().filter(|user| Some(*user) != own && self.is_listed(user));
        others.take(max_users).cloned().collect()
    }
}

/// The latest [`limits::RETIRED_IDS`] IDs that guests got or must not get, and all older ones in use.
#[derive(Debug, Default)]
struct GuestIds {
    ids: HashSet<UserId>,
    order: VecDeque<UserId>,
}

impl GuestIds {
    /// Returns whether the ID was free.
    fn reserve(&mut self, user: &UserId) -> bool {
        let is_free = self.ids.insert(user.clone());
        if is_free {
            self.order.push_back(user.clone());
        }
        is_free
    }

    fn issue(&mut self, name: &Name, draw: u64) -> UserId {
        let mut tries = 0;
        loop {
            let user = candidate_id(name, IdHolder::Guest, draw, tries);
            if self.reserve(&user) {
                return user;
            }
            tries += 1;
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_id_with_direct_messages_is_never_given_again() {
        let [bob, tom]: [Name; 2] = ["Bob", "Tom"].map(|name| name.parse().unwrap());
        for has_messages in [false, true] {
            let mut sessions = Sessions::new(&[], &[]);
            let first = sessions.issue_guest_id(&bob, 1);
            if has_messages {
                sessions.on_direct_message([&first]);
            }
            for number in 0..=limits::RETIRED_IDS {
                let other = format!("Guest{}_{}", number / 9_000, 1_000 + number % 9_000);
                sessions.guest_ids.reserve(&other.parse().unwrap());
            }
            sessions.issue_guest_id(&tom, 1);
            assert_eq!(sessions.issue_guest_id(&bob, 1) == first, !has_messages);
        }
    }
}
