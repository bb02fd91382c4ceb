//! The room as one client sees it: the connection, the people, the conversation, what is being sent.
//!
//! Pure: it is told what happens and when, and says what changed. What a screen adds to that (scroll
//! positions, choices, drafts) is not here.

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
use super::{ClientEvent, Connected};
use crate::protocol;
use crate::protocol::event::{ErrorReply, SearchResults};
use crate::protocol::id::{Cid, MessageId, UserId};
use crate::protocol::message::{Audience, Millis};
use crate::protocol::request::{Post, PostKind};
use crate::protocol::text::SafeText;

/// The state of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionState {
    /// An attempt is under way.
    Connecting,
    /// Logged in.
    Online {
        /// The fingerprint of the server's key.
        fingerprint: String,
    },
    /// Lost, or not had yet; there will be another attempt.
    Offline {
        /// Why.
        reason: SafeText,
        /// When the next attempt begins.
        retry_at: DateTime<FixedOffset>,
    },
    /// There will be no other attempt.
    Ended {
        /// Why.
        reason: SafeText,
    },
}

/// Something that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A message was added to the conversation.
    Posted(EntryIndex),
    /// A message was said while the conversation is a part of the past.
    PostedOutOfView(UserId),
    /// A part of the history came.
    HistoryLoaded(HistoryRequest),
    /// The server found something.
    SearchResults(SearchResults),
    /// The text of a message is gone.
    Removed(MessageId),
    /// All that was shown of the conversation is void.
    Reset,
    /// People came and went.
    Presence {
        /// Who came.
        joined: Vec<UserId>,
        /// Who went.
        left: Vec<UserId>,
    },
    /// The connection's state is another, as these words say.
    Connection(SafeText),
    /// The server refused something.
    Error(ErrorReply),
}

/// Why a word does not name somebody.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ResolveError {
    /// Nobody is called that.
    #[error("nobody here is called {0}")]
    Unknown(String),
    /// Several people are.
    #[error("{0} may be {list}: write the whole ID", list = join(.1))]
    Ambiguous(String, Vec<UserId>),
}

fn join(ids: &[UserId]) -> String {
    ids.iter().map(UserId::as_str).collect::<Vec<_>>().join(" or ")
}

/// The room.
#[derive(Debug, Clone)]
pub struct ChatState {
    own_id: Option<UserId>,
    /// Every ID this client has had: what was said under them is its own.
    own_ids: BTreeSet<UserId>,
    connection: ConnectionState,
    online_users: BTreeSet<UserId>,
    guests: BTreeSet<UserId>,
    timeline: Timeline,
    history: LoadedHistory,
    pending: Vec<PendingMessage>,
    /// The server's clock minus ours.
    clock_offset: Millis,
    cid_prefix: String,
    cid_count: u64,
}

impl ChatState {
    /// An empty room. What is sent is named after `cid_prefix`, which has to be unique among all
    /// clients, and made of visible ASCII characters.
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

    /// The ID that the server gave, once there has been a login.
    pub fn own_id(&self) -> Option<&UserId> {
        self.own_id.as_ref()
    }

    /// Whether `user` is, or was before a reconnection, this client.
    pub fn is_own_id(&self, user: &UserId) -> bool {
        self.own_ids.contains(user)
    }

    /// The state of the connection.
    pub fn connection(&self) -> &ConnectionState {
        &self.connection
    }

    /// Whether there is a connection to send over.
    pub fn is_online(&self) -> bool {
        matches!(self.connection, ConnectionState::Online { .. })
    }

    /// The others who are here, in the order of their IDs.
    pub fn online_users(&self) -> &BTreeSet<UserId> {
        &self.online_users
    }

    /// Whether they have shown no key: anybody may be behind the ID.
    pub fn is_guest(&self, user: &UserId) -> bool {
        self.guests.contains(user)
    }

    /// What was said.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// The server's clock at a moment of ours.
    pub fn server_time(&self, now: DateTime<FixedOffset>) -> Millis {
        now.timestamp_millis() + self.clock_offset
    }

    /// When the next message expires, by our clock, in milliseconds.
    pub fn next_expiry(&self) -> Option<Millis> {
        self.timeline.next_expiry().map(|at| at - self.clock_offset)
    }

    /// Takes in what happened on the connection.
    pub fn apply(&mut self, now: DateTime<FixedOffset>, event: ClientEvent) -> Vec<Change> {
        match event {
            ClientEvent::Connecting => {
                self.connection = ConnectionState::Connecting;
                Vec::new()
            }
            ClientEvent::FirstContact(words) => {
                let lines = words.as_str().lines().map(SafeText::clean);
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
            // Whoever shows the room leaves then, and says why.
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

    /// Takes away what has expired by now.
    pub fn expire(&mut self, now: DateTime<FixedOffset>) -> Vec<Change> {
        let expired = self.timeline.expire(self.server_time(now));
        expired.into_iter().map(Change::Removed).collect()
    }

    /// Says something that is not from the server.
    pub fn add_notice(&mut self, now: DateTime<FixedOffset>, text: SafeText) {
        if self.shows_latest() {
            self.timeline.add_notice(now, text);
        }
    }

    /// A name for the next request.
    pub fn next_cid(&mut self) -> Option<Cid> {
        self.cid_count += 1;
        format!("{}-{}", self.cid_prefix, self.cid_count).parse().ok()
    }

    /// Who is meant by a word: an ID, or a name that only one of the people here has.
    ///
    /// # Errors
    /// It is nobody's, or several people's.
    pub fn resolve(&self, word: &str) -> Result<UserId, ResolveError> {
        if let Some(id) = word.parse().ok().filter(|id| self.online_users.contains(id)) {
            return Ok(id);
        }
        let called: Vec<&UserId> =
            self.online_users.iter().filter(|id| id.name().eq_ignore_ascii_case(word)).collect();
        match called.as_slice() {
            [id] => Ok((*id).clone()),
            [] => Err(ResolveError::Unknown(SafeText::clean(word).one_line())),
            several => {
                let several = several.iter().map(|id| (*id).clone()).collect();
                Err(ResolveError::Ambiguous(SafeText::clean(word).one_line(), several))
            }
        }
    }

    /// Who gets a reply to this message unless something else is chosen: everybody for a public one,
    /// the people of a private one.
    pub fn reply_audience(&self, id: MessageId) -> Audience {
        match self.timeline.message(id).map(|said| &said.message) {
            Some(message) => match &message.audience {
                Audience::Everyone => Audience::Everyone,
                Audience::Only(people) => {
                    let everyone = people.iter().chain([&message.sender]);
                    Audience::Only(everyone.filter(|id| !self.is_own_id(id)).cloned().collect())
                }
            },
            None => Audience::Everyone,
        }
    }

    /// A request for a reply to the people of a message.
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
        let words = match (is_reconnect, welcome.resumed) {
            (false, _) => format!("you are {}", welcome.user),
            (true, true) => format!("connected again, as {}", welcome.user),
            (true, false) => {
                self.timeline.clear();
                format!("connected again, as {}: all begins anew", welcome.user)
            }
        };
        self.own_id = Some(welcome.user);
        let reset = (is_reconnect && !welcome.resumed).then_some(Change::Reset);
        reset.into_iter().chain([self.connection_notice(now, SafeText::clean(&words))]).collect()
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
            Event::Users(people) => {
                self.online_users =
                    people.iter().filter(|id| !self.is_own_id(id)).cloned().collect();
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
                self.history.on_error(refused.cid.as_ref());
                if let Some(cid) = &refused.cid {
                    self.mark_failed(cid, refused.text.clone());
                }
                vec![Change::Error(refused)]
            }
            Event::History(page) => self.on_history_page(page),
            Event::SearchResults(mut found) => {
                found.messages.retain(|message| !self.history.was_removed(message.id));
                vec![Change::SearchResults(found)]
            }
            Event::Stored(stored) => {
                self.pending.retain(|pending| pending.cid != stored.cid);
                Vec::new()
            }
            // The connection ends after these, or they belong to the login: the driver tells.
            Event::LoginPrompt
            | Event::Welcome(_)
            | Event::LoginRefused(_)
            | Event::Closing(_)
            | Event::Live(_)
            | Event::Pong(_) => Vec::new(),
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
        // It may be known elsewhere, in the hits of a search.
        let known = self.timeline.message(id).is_some();
        let taken = self.timeline.remove_text(id, state);
        if taken || (is_new && !known) { vec![Change::Removed(id)] } else { Vec::new() }
    }

    fn connection_notice(&mut self, now: DateTime<FixedOffset>, text: SafeText) -> Change {
        self.add_notice(now, text.clone());
        Change::Connection(text)
    }
}
