//! The chat as one client sees it: connection, online users, timeline, pending messages.
//!
//! Pure: [`ChatState::apply`] takes an event and the time, and returns what changed. The state of a user
//! interface (scroll positions, selections, drafts) is kept elsewhere.

pub mod history;
mod pending;
pub mod search;
pub mod search_input;
pub mod timeline;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, FixedOffset};
use thiserror::Error;

use self::history::{HistoryRequest, LoadedHistory};
pub use self::pending::{Delivery, PendingMessage};
use self::timeline::{EntryIndex, MessageState, Timeline};
use super::event::{ClientEvent, Connected};
use crate::protocol;
use crate::protocol::event::{ErrorReply, SearchResults};
use crate::protocol::id::{Cid, MessageId, UserId};
use crate::protocol::message::{Audience, Millis};
use crate::protocol::request::{Post, PostKind};
use crate::protocol::text::SafeText;

/// The state of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionState {
    /// An attempt is in progress.
    Connecting,
    /// Logged in.
    Online {
        /// The fingerprint of the server's key.
        fingerprint: String,
    },
    /// Not connected. Another attempt follows.
    Offline {
        /// The cause.
        reason: SafeText,
        /// When the next attempt starts.
        retry_at: DateTime<FixedOffset>,
    },
    /// Not connected. No further attempt is made.
    Ended {
        /// The cause.
        reason: SafeText,
    },
}

/// A change of the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A message was added to the timeline.
    Posted(EntryIndex),
    /// This user posted a message while the timeline shows an excerpt of the past.
    PostedOutOfView(UserId),
    /// A requested part of the history arrived.
    HistoryLoaded(HistoryRequest),
    /// A requested part of the history will not arrive. The error follows.
    HistoryRefused(HistoryRequest),
    /// The server sent search results.
    SearchResults(SearchResults),
    /// A message was deleted or has expired: its text must not be shown any more.
    Removed(MessageId),
    /// The timeline was cleared.
    Reset,
    /// Users connected or disconnected.
    Presence {
        /// The users who connected.
        joined: Vec<UserId>,
        /// The users who disconnected.
        left: Vec<UserId>,
    },
    /// The connection changed, with a text for the user.
    Connection(SafeText),
    /// The server sent an error.
    Error(ErrorReply),
}

/// Why a word does not name an online user.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ResolveError {
    /// No online user has this name or ID.
    #[error("no online user is named {0}")]
    Unknown(String),
    /// Several online users have this name.
    #[error("{0} may be {list}: write the whole ID", list = join(.1))]
    Ambiguous(String, Vec<UserId>),
}

fn join(ids: &[UserId]) -> String {
    ids.iter().map(UserId::as_str).collect::<Vec<_>>().join(" or ")
}

/// The chat as one client sees it.
#[derive(Debug, Clone)]
pub struct ChatState {
    own_id: Option<UserId>,
    /// Every ID that this client has had. Messages of all of them are its own.
    own_ids: BTreeSet<UserId>,
    connection: ConnectionState,
    online_users: BTreeSet<UserId>,
    guests: BTreeSet<UserId>,
    timeline: Timeline,
    history: LoadedHistory,
    pending: Vec<PendingMessage>,
    /// The server's clock minus the local one, in milliseconds.
    clock_offset: Millis,
    cid_prefix: String,
    cid_count: u64,
}

impl ChatState {
    /// Creates an empty state. `cid_prefix` starts the `cid` of each request. It must be unique among all
    /// clients, and consist of visible ASCII characters.
    pub fn new(cid_prefix: &str) -> Self {
        Self {
            own_id: None,
            own_ids: BTreeSet::new(),
            connection: ConnectionState::Connecting,
            online_users: BTreeSet::new(),
            guests: BTreeSet::new(),
            timeline: Timeline::default(),
            history: LoadedHistory::default(),
            pending: Vec::new(),
            clock_offset: 0,
            cid_prefix: cid_prefix.to_owned(),
            cid_count: 0,
        }
    }

    /// Returns the user's ID, once logged in.
    pub fn own_id(&self) -> Option<&UserId> {
        self.own_id.as_ref()
    }

    /// Whether `user` is the ID of this client, or was before a reconnection.
    pub fn is_own_id(&self, user: &UserId) -> bool {
        self.own_ids.contains(user)
    }

    /// Returns the state of the connection.
    pub fn connection(&self) -> &ConnectionState {
        &self.connection
    }

    /// Whether the client is logged in.
    pub fn is_online(&self) -> bool {
        matches!(self.connection, ConnectionState::Online { .. })
    }

    /// Returns the other online users.
    pub fn online_users(&self) -> &BTreeSet<UserId> {
        &self.online_users
    }

    /// Whether a user logged in without a key, so that the ID proves nothing.
    pub fn is_guest(&self, user: &UserId) -> bool {
        self.guests.contains(user)
    }

    /// Returns the timeline.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// Converts a local time to the server's clock.
    pub fn server_time(&self, now: DateTime<FixedOffset>) -> Millis {
        now.timestamp_millis() + self.clock_offset
    }

    /// Returns when the next message expires, by the local clock.
    pub fn next_expiry(&self) -> Option<Millis> {
        self.timeline.next_expiry().map(|at| at - self.clock_offset)
    }

    /// Applies an event.
    pub fn apply(&mut self, now: DateTime<FixedOffset>, event: ClientEvent) -> Vec<Change> {
        match event {
            ClientEvent::Connecting => {
                self.connection = ConnectionState::Connecting;
                Vec::new()
            }
            ClientEvent::FirstContact(notice) => {
                let lines = notice.as_str().lines().map(SafeText::clean);
                lines.map(|line| self.connection_notice(now, line)).collect()
            }
            ClientEvent::Connected(connected) => self.on_connected(now, connected),
            ClientEvent::Received(event) => self.on_server_event(now, event),
            ClientEvent::Restored(unsent) => {
                self.restore(now, unsent);
                Vec::new()
            }
            ClientEvent::Sending(cid) => {
                self.set_delivery(&cid, Delivery::Sending);
                Vec::new()
            }
            ClientEvent::NotSent { cid, reason } => {
                self.mark_failed(&cid, reason);
                Vec::new()
            }
            ClientEvent::Disconnected { reason, retry_in } => {
                self.on_disconnected(now, reason, retry_in)
            }
            // The user interface quits and prints the reason.
            ClientEvent::Untrusted { reason } => {
                self.end(reason);
                Vec::new()
            }
            ClientEvent::Ended { reason } => {
                self.end(reason.clone());
                vec![self.connection_notice(now, reason)]
            }
        }
    }

    /// Removes messages that have expired.
    pub fn expire(&mut self, now: DateTime<FixedOffset>) -> Vec<Change> {
        let expired = self.timeline.expire(self.server_time(now));
        expired.into_iter().map(Change::Removed).collect()
    }

    /// Adds a notice to the timeline, unless it shows an excerpt.
    pub fn add_notice(&mut self, now: DateTime<FixedOffset>, text: SafeText) {
        if self.shows_latest() {
            self.timeline.add_notice(now, text);
        }
    }

    /// Returns a `cid` for the next request.
    pub fn next_cid(&mut self) -> Option<Cid> {
        self.cid_count += 1;
        format!("{}-{}", self.cid_prefix, self.cid_count).parse().ok()
    }

    /// Resolves an ID, or a name that only one online user has.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub fn resolve(&self, word: &str) -> Result<UserId, ResolveError> {
        if let Some(id) = word.parse().ok().filter(|id| self.online_users.contains(id)) {
            return Ok(id);
        }
        let named: Vec<&UserId> =
            self.online_users.iter().filter(|id| id.name().eq_ignore_ascii_case(word)).collect();
        match named.as_slice() {
            [id] => Ok((*id).clone()),
            [] => Err(ResolveError::Unknown(SafeText::clean(word).one_line())),
            several => {
                let several = several.iter().map(|id| (*id).clone()).collect();
                Err(ResolveError::Ambiguous(SafeText::clean(word).one_line(), several))
            }
        }
    }

    /// Returns the default audience of a reply: everyone for a public message, its other participants for a
    /// direct one.
    pub fn reply_audience(&self, id: MessageId) -> Audience {
        match self.timeline.message(id).map(|entry| &entry.message) {
            Some(message) => match &message.audience {
                shared @ (Audience::Everyone | Audience::Room(_)) => shared.clone(),
                Audience::Only(recipients) => {
                    let participants = recipients.iter().chain([&message.sender]);
                    Audience::Only(participants.filter(|id| !self.is_own_id(id)).cloned().collect())
                }
            },
            None => Audience::Everyone,
        }
    }

    /// Returns a reply to a message with the default audience.
    pub fn reply(&self, to: MessageId, content: SafeText) -> Post {
        Post { audience: self.reply_audience(to), kind: PostKind::Reply { to }, content }
    }

    fn end(&mut self, reason: SafeText) {
        self.requeue_pending();
        self.online_users.clear();
        self.connection = ConnectionState::Ended { reason };
    }

    fn on_connected(&mut self, now: DateTime<FixedOffset>, connected: Connected) -> Vec<Change> {
        let Connected { welcome, fingerprint } = connected;
        let is_reconnect = !self.own_ids.is_empty();
        self.clock_offset = welcome.now - now.timestamp_millis();
        self.online_users.clear();
        self.guests.clear();
        self.own_ids.insert(welcome.user.clone());
        self.connection = ConnectionState::Online { fingerprint };
        self.history.on_welcome(&welcome.epoch, welcome.head, welcome.resumed);
        let text = match (is_reconnect, welcome.resumed) {
            (false, _) => format!("you are {}", welcome.user),
            (true, true) => format!("reconnected as {}", welcome.user),
            (true, false) => {
                self.timeline.clear();
                format!("reconnected as {}; this server's history was reset", welcome.user)
            }
        };
        self.own_id = Some(welcome.user);
        let reset = (is_reconnect && !welcome.resumed).then_some(Change::Reset);
        reset.into_iter().chain([self.connection_notice(now, SafeText::clean(&text))]).collect()
    }

    fn on_disconnected(
        &mut self,
        now: DateTime<FixedOffset>,
        reason: SafeText,
        retry_in: Duration,
    ) -> Vec<Change> {
        let was_online = matches!(self.connection, ConnectionState::Online { .. });
        self.requeue_pending();
        self.online_users.clear();
        let retry_in = chrono::TimeDelta::from_std(retry_in).unwrap_or_default();
        let retry_at = now + retry_in;
        self.connection = ConnectionState::Offline { reason: reason.clone(), retry_at };
        if !was_online {
            return vec![Change::Connection(reason)];
        }
        vec![self.connection_notice(now, SafeText::clean(&format!("disconnected: {reason}")))]
    }

    fn on_server_event(
        &mut self,
        now: DateTime<FixedOffset>,
        event: protocol::event::Event,
    ) -> Vec<Change> {
        use protocol::event::Event;
        match event {
            Event::Users(users) => {
                self.online_users =
                    users.iter().filter(|id| !self.is_own_id(id)).cloned().collect();
                Vec::new()
            }
            Event::Presence { joined, left } => self.on_presence(now, joined, left),
            Event::Guests(guests) => {
                self.guests.extend(guests);
                Vec::new()
            }
            Event::Posted(message) => {
                self.confirm(&message);
                if self.shows_latest() {
                    self.timeline.add(message).map(Change::Posted).into_iter().collect()
                } else {
                    vec![Change::PostedOutOfView(message.sender)]
                }
            }
            Event::Deleted(deleted) => self.remove_text(deleted.id, MessageState::Removed),
            Event::Expired { id, .. } => self.remove_text(id, MessageState::Expired),
            Event::Error(refused) => {
                let history = self.history.on_error(&refused).map(Change::HistoryRefused);
                if let Some(cid) = &refused.cid {
                    self.mark_failed(cid, refused.text.clone());
                }
                history.into_iter().chain([Change::Error(refused)]).collect()
            }
            Event::History(page) => self.on_history_page(page),
            Event::SearchResults(mut found) => {
                found.messages.retain(|message| !self.history.was_removed(message.id));
                vec![Change::SearchResults(found)]
            }
            Event::Stored(stored) => {
                self.pending.retain(|pending| Some(&pending.cid) != stored.cid.as_ref());
                Vec::new()
            }
            // The driver reports the login and the end of a connection.
            _ => Vec::new(),
        }
    }

    fn on_presence(
        &mut self,
        now: DateTime<FixedOffset>,
        mut joined: Vec<UserId>,
        mut left: Vec<UserId>,
    ) -> Vec<Change> {
        left.retain(|id| self.online_users.remove(id));
        for id in &left {
            self.guests.remove(id);
        }
        joined.retain(|id| !self.is_own_id(id) && self.online_users.insert(id.clone()));
        if joined.is_empty() && left.is_empty() {
            return Vec::new();
        }
        if self.shows_latest() {
            self.timeline.add_presence(now, &joined, &left);
        }
        vec![Change::Presence { joined, left }]
    }

    fn remove_text(&mut self, id: MessageId, state: MessageState) -> Vec<Change> {
        let is_new = !self.history.was_removed(id);
        self.history.mark_removed(id);
        // A message that is not loaded may be among the search results.
        let known = self.timeline.message(id).is_some();
        let taken = self.timeline.remove_text(id, state);
        if taken || (is_new && !known) { vec![Change::Removed(id)] } else { Vec::new() }
    }

    fn connection_notice(&mut self, now: DateTime<FixedOffset>, text: SafeText) -> Change {
        self.add_notice(now, text.clone());
        Change::Connection(text)
    }
}
