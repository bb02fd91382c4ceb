//! The known users: online, away (registered but not connected) and gone.

use std::collections::BTreeSet;

use chrono::{DateTime, FixedOffset, TimeDelta};
use thiserror::Error;

use crate::protocol::id::UserId;
use crate::protocol::room::UserList;
use crate::protocol::text::SafeText;

/// The highest number of users kept by name, at some 60 bytes each. Whole IDs of further users still work.
const MAX_KNOWN_USERS: usize = 20_000;

/// How long after a reconnect users who were online before it are not announced as joined. Other clients need
/// up to 30 seconds to reconnect to a server that was restarted.
const QUIET_AFTER_RECONNECT: TimeDelta = TimeDelta::seconds(60);

/// Whether a user can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Availability {
    /// Connected.
    Online,
    /// Registered, but not connected: gets messages later.
    Away,
    /// A guest who left: gets no messages any more.
    Gone,
}

/// Why a word does not name a known user.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ResolveError {
    /// No known user has this name or ID.
    #[error("no user is named {0}")]
    Unknown(String),
    /// Several users have this name.
    #[error("{0} may be {list}: write the whole ID", list = join(.1))]
    Ambiguous(String, Vec<UserId>),
}

fn join(ids: &[UserId]) -> String {
    ids.iter().map(UserId::as_str).collect::<Vec<_>>().join(" or ")
}

/// The known users, without this client's own IDs.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    /// The users online now; without a connection, those online before.
    online: BTreeSet<UserId>,
    /// Users whose ID belongs to a key.
    registered: BTreeSet<UserId>,
    guests: BTreeSet<UserId>,
    is_connected: bool,
    /// Whether all registered users are known.
    is_complete: bool,
    /// Users who were online when the connection was lost, and have not been seen since.
    expected_back: BTreeSet<UserId>,
    quiet_until: Option<DateTime<FixedOffset>>,
}

impl Directory {
    /// Returns the users online now.
    pub fn online(&self) -> impl Iterator<Item = &UserId> {
        self.online.iter().filter(|_| self.is_connected)
    }

    /// Returns the number of users online now.
    pub fn online_count(&self) -> usize {
        if self.is_connected { self.online.len() } else { 0 }
    }

    /// Returns all known users to whom a message can be sent, ordered by ID.
    pub fn users(&self) -> impl Iterator<Item = &UserId> {
        self.online.union(&self.registered)
    }

    /// Whether a user logged in without a key, so that the ID proves nothing.
    pub fn is_guest(&self, user: &UserId) -> bool {
        self.guests.contains(user)
    }

    /// Returns whether a user can be reached.
    pub fn availability(&self, user: &UserId) -> Availability {
        if self.is_connected && self.online.contains(user) {
            Availability::Online
        } else if self.guests.contains(user) && self.is_connected {
            Availability::Gone
        } else {
            Availability::Away
        }
    }

    /// Resolves an ID, or a name that only one known user has. The ID of an unknown user is accepted unless
    /// all users are known.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub fn resolve(&self, word: &str) -> Result<UserId, ResolveError> {
        let exact = word.parse::<UserId>().ok();
        if let Some(id) = exact.as_ref().filter(|id| self.knows(id)) {
            return Ok(id.clone());
        }
        let named: Vec<UserId> = self
            .users()
            .filter(|id| {
                id.name().eq_ignore_ascii_case(word) || id.as_str().eq_ignore_ascii_case(word)
            })
            .cloned()
            .collect();
        match (named.as_slice(), exact) {
            ([id], _) => Ok(id.clone()),
            ([], Some(id)) if !self.is_complete => Ok(id),
            ([], _) => Err(ResolveError::Unknown(SafeText::clean(word).one_line())),
            (_, _) => Err(ResolveError::Ambiguous(SafeText::clean(word).one_line(), named)),
        }
    }

    fn knows(&self, user: &UserId) -> bool {
        self.online.contains(user) || self.registered.contains(user)
    }

    /// Adds a user whose ID belongs to a key.
    pub(super) fn add_registered(&mut self, user: &UserId) {
        if self.registered.len() < MAX_KNOWN_USERS && !self.registered.contains(user) {
            self.registered.insert(user.clone());
        }
    }

    /// Handles a page of the registered users. Returns the last user of the page if another one follows.
    pub(super) fn on_page(
        &mut self,
        page: &UserList,
        is_own: impl Fn(&UserId) -> bool,
    ) -> Option<UserId> {
        let last = page.users.last().cloned();
        for user in page.users.iter().filter(|user| !is_own(user)) {
            self.add_registered(user);
        }
        self.is_complete = !page.has_more && self.registered.len() < MAX_KNOWN_USERS;
        last.filter(|_| page.has_more && self.registered.len() < MAX_KNOWN_USERS)
    }

    /// Handles a login. The list of online users follows.
    pub(super) fn on_connect(&mut self, now: DateTime<FixedOffset>, is_reconnect: bool) {
        if is_reconnect {
            self.expected_back.append(&mut self.online);
            self.quiet_until = Some(now + QUIET_AFTER_RECONNECT);
        }
        self.online.clear();
        self.guests.clear();
        // A registration during the outage was not announced.
        self.is_complete = false;
        self.is_connected = true;
    }

    pub(super) fn on_disconnect(&mut self) {
        self.is_connected = false;
    }

    pub(super) fn add_guests(&mut self, guests: Vec<UserId>) {
        self.guests.extend(guests);
    }

    /// Replaces the list of online users.
    pub(super) fn set_online(&mut self, users: BTreeSet<UserId>) {
        for user in &users {
            self.expected_back.remove(user);
            self.note_online(user);
        }
        self.online = users;
    }

    /// Applies a change of the online users. Returns who is to be announced as joined and left.
    pub(super) fn on_presence(
        &mut self,
        now: DateTime<FixedOffset>,
        mut joined: Vec<UserId>,
        mut left: Vec<UserId>,
    ) -> (Vec<UserId>, Vec<UserId>) {
        if self.quiet_until.take_if(|until| *until <= now).is_some() {
            self.expected_back.clear();
        }
        left.retain(|user| self.online.remove(user));
        joined.retain(|user| {
            self.note_online(user);
            self.online.insert(user.clone()) && !self.expected_back.remove(user)
        });
        (joined, left)
    }

    fn note_online(&mut self, user: &UserId) {
        if !self.guests.contains(user) {
            self.add_registered(user);
        }
    }
}
