//! The hub: the server's functional core. It owns the connected sessions and decides what each of
//! them may do and what it is sent.
//!
//! The hub does no I/O. [`Hub::handle`] takes one [`HubInput`] and the current time and returns
//! [`HubEffect`]s; all randomness comes from a seed. What is stored changes only by entries that the hub
//! proposes to the log. The log decides what comes of an entry, and only then does the hub send events.
//! The hub itself keeps what is not stored: sessions, presence, deadlines.

mod admin;
mod commit;
mod confusables;
mod delivery;
mod expiry;
mod login;
mod login_policy;
mod origin;
mod post;
mod presence;
mod request;
mod sessions;
pub(super) mod trusted_clock;

#[cfg(test)]
mod harness;
#[cfg(test)]
mod login_policy_tests;
#[cfg(test)]
mod model_test;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use chrono::{DateTime, FixedOffset};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::Instant;

use self::delivery::DeliveryTracker;
use self::expiry::ExpiryQueue;
pub use self::login::NewSession;
pub use self::login_policy::AccessMode;
use self::login_policy::LoginPolicy;
pub use self::origin::{AdminRequestId, Origin};
use self::presence::Presence;
use self::sessions::Sessions;
pub use self::sessions::{KeyHash, PeerInfo};
use self::trusted_clock::TrustedClock;
use crate::protocol::event::Event;
use crate::protocol::id::{Cid, RoomName, Seq, UserId};
use crate::protocol::limits::Limits;
use crate::protocol::message::Millis;
use crate::protocol::query::{HistoryQuery, SearchQuery};
use crate::protocol::request::{DecodedRequest, Login};
use crate::server::RoomSettings;
use crate::server::admin::{AdminCommand, AdminReply};
use crate::store::{Entry, LogSnapshot, Memberships, Outcome, Viewers};

/// The current time: `monotonic` for intervals, `wall` for timestamps and expiry.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The monotonic clock.
    pub monotonic: Instant,
    /// The wall clock, in the server's time zone.
    pub wall: DateTime<FixedOffset>,
}

impl Now {
    /// The wall clock, in milliseconds since the Unix epoch.
    pub fn millis(&self) -> Millis {
        self.wall.timestamp_millis()
    }
}

/// Identifies a session; unique while the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// An input of the hub.
#[derive(Debug)]
#[expect(missing_docs, reason = "the field names say it")]
pub enum HubInput {
    /// A client asks to log in.
    Login { session: SessionId, login: Login, peer: PeerInfo },
    /// A logged-in session sent a request, or something that is not a valid request.
    Request { session: SessionId, request: DecodedRequest },
    /// The log has applied a [`HubEffect::Propose`].
    Applied { origin: Origin, outcome: Outcome },
    /// The log could not store a [`HubEffect::Propose`]; nothing was changed.
    NotApplied { origin: Origin, reason: &'static str },
    /// An administrator sent a command.
    Admin { id: AdminRequestId, command: AdminCommand },
    /// A session missed presence announcements and needs a complete user list.
    UserListWanted(SessionId),
    /// The connection of a session has ended, after the outcomes of everything that it proposed.
    Disconnected(SessionId),
    /// [`Hub::next_deadline`] has passed.
    Tick,
}

/// Something the hub asks its caller to do.
#[derive(Debug)]
#[expect(missing_docs, reason = "the field names say it")]
pub enum HubEffect {
    /// Send an event.
    Send { to: SessionSet, event: Event },
    /// Propose an entry to the log, in the order of these effects. [`HubInput::Applied`] or
    /// [`HubInput::NotApplied`] follows.
    Propose { origin: Origin, entry: Entry },
    /// Read from the log and send the result to the session.
    Read { session: SessionId, viewer: UserId, cid: Option<Cid>, query: ReadRequest },
    /// Answer an administrator's command.
    AdminReply { id: AdminRequestId, reply: AdminReply },
    /// Send the session every event that `viewer` may see: first those in the log after `after`, if it
    /// is given, then the live ones.
    Subscribe { session: SessionId, viewer: UserId, after: Option<Seq> },
    /// Close the connection after sending everything queued for it. The hub has already removed the
    /// session.
    Close(SessionId),
}

/// A request that is answered from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadRequest {
    /// Read a page of history.
    History(HistoryQuery),
    /// Search the history.
    Search(SearchQuery),
    /// List the user's conversations.
    Conversations,
    /// List the public rooms after this one.
    Rooms(Option<RoomName>),
    /// List the members of a room, or all users with a key.
    Users {
        /// The room.
        room: Option<RoomName>,
        /// The last user of the page before.
        after: Option<UserId>,
    },
}

/// The sessions that an event is sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum SessionSet {
    One(SessionId),
    /// All sessions of a user. To `requester`, the event is the answer to a request.
    Own {
        user: UserId,
        requester: Option<SessionId>,
    },
    /// The sessions of these users, who are ordered by ID.
    Users(Arc<[UserId]>),
    /// The same, for an event of a room: original clients have no rooms.
    Members(Arc<[UserId]>),
    /// Every logged-in session.
    All,
}

impl SessionSet {
    /// The users of these sessions; `None` for all.
    pub fn viewers(&self) -> Option<&Arc<[UserId]>> {
        match self {
            Self::Users(users) | Self::Members(users) => Some(users),
            Self::One(_) | Self::Own { .. } | Self::All => None,
        }
    }
}

/// The state of the hub.
#[derive(Debug)]
pub struct Hub {
    sessions: Sessions,
    login_policy: LoginPolicy,
    expiry: ExpiryQueue,
    /// Decides when messages expire.
    clock: TrustedClock,
    presence: Presence,
    delivery: DeliveryTracker,
    rooms: Memberships,
    room_settings: RoomSettings,
    head: Seq,
    horizon: Seq,
    epoch: String,
    limits: Limits,
    rng: StdRng,
}

impl Hub {
    /// Returns the hub of a server that has just opened its log. `seed` determines all random choices.
    pub fn new(seed: u64, access: AccessMode, snapshot: &LogSnapshot) -> Self {
        let mut expiry = ExpiryQueue::default();
        for (id, at) in &snapshot.expirations {
            expiry.insert(*at, *id);
        }
        Self {
            sessions: Sessions::new(&snapshot.registered, &snapshot.direct_message_users),
            login_policy: LoginPolicy::new(access, &snapshot.bans),
            expiry,
            clock: TrustedClock::new(snapshot.clock),
            presence: Presence::default(),
            delivery: DeliveryTracker::default(),
            rooms: Memberships::new(snapshot.rooms.iter().cloned()),
            room_settings: RoomSettings::default(),
            head: snapshot.head,
            horizon: snapshot.horizon,
            epoch: snapshot.epoch.clone(),
            limits: Limits::default(),
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// Sets the limits announced in `WELCOME`. The hub does not enforce the rates: sessions do.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Sets who creates rooms, and how many there may be.
    #[must_use]
    pub fn with_rooms(self, room_settings: RoomSettings) -> Self {
        Self { room_settings, ..self }
    }

    /// Applies an input and returns its effects. Every request gets exactly one answer, except EXIT, the
    /// local search of original clients, TYPING, and PING, which the session answers.
    pub fn handle(&mut self, now: Now, input: HubInput) -> Vec<HubEffect> {
        let mut effects = Vec::new();
        self.expire_due(now, &mut effects);
        match input {
            HubInput::Login { session, login, peer } => {
                self.log_in(now, session, login, peer, &mut effects);
            }
            HubInput::Request { session, request } => {
                self.answer_request(now, session, request, &mut effects);
            }
            HubInput::Applied { origin, outcome } => {
                self.on_applied(now, origin, outcome, &mut effects);
            }
            HubInput::NotApplied { origin, reason } => {
                self.on_not_applied(now, origin, reason, &mut effects);
            }
            HubInput::Admin { id, command } => {
                self.execute_admin(now, id, command, &mut effects);
            }
            HubInput::UserListWanted(session) => self.send_user_list(session, &mut effects),
            HubInput::Disconnected(session) => self.remove_session(session),
            HubInput::Tick => {}
        }
        self.announce_presence(now, &mut effects);
        effects
    }

    /// When [`HubInput::Tick`] is due, unless another input comes first.
    pub fn next_deadline(&self, now: Now) -> Option<Instant> {
        let presence = self.presence.deadline();
        let expiry = self.expiry.deadline(now, self.clock.time(now));
        presence.into_iter().chain(expiry).min()
    }

    fn close_session(&mut self, session: SessionId, effects: &mut Vec<HubEffect>) {
        self.remove_session(session);
        effects.push(HubEffect::Close(session));
    }

    fn remove_session(&mut self, session: SessionId) {
        if let Some(user) = self.sessions.remove(session) {
            self.presence.on_leave(user);
        }
    }

    /// The sessions of those who may see an event.
    fn viewer_sessions(&self, viewers: &Viewers) -> SessionSet {
        match (viewers, self.rooms.viewers(viewers)) {
            (_, None) => SessionSet::All,
            (Viewers::Room { .. }, Some(members)) => SessionSet::Members(members),
            (_, Some(users)) => SessionSet::Users(users),
        }
    }
}
