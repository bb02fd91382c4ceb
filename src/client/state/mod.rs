//! The chat as one client sees it.
//!
//! Pure: [`Session::apply`] takes an event and the time, and returns what changed. A [`Session`] holds what
//! belongs to the user as a whole: the connection, the clock, the directory of users, and any number of
//! [`Conversation`]s, of which one is open. The state of a user interface (scroll positions, selections,
//! drafts) is kept elsewhere.

pub mod conversation;
mod conversations;
mod directory;
mod events;
mod execute;
pub mod history;
mod paging;
mod pending;
mod reactions;
mod read_state;
mod recent_changes;
mod requests;
pub mod search;
pub mod search_input;
pub mod timeline;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, FixedOffset, TimeDelta};

pub use self::conversation::Conversation;
use self::conversations::Conversations;
pub use self::directory::{Availability, Directory, ResolveError};
pub use self::events::room_notice;
pub use self::execute::{ExecuteError, FOREVER};
use self::history::{HistoryRequest, ReadPosition};
pub use self::pending::{Delivery, PendingChange, PendingMessage};
use self::recent_changes::RecentChanges;
use self::requests::{Owner, Requests, Unanswered};
use self::timeline::{EntryIndex, TimelineMessage};
use super::event::{ClientEvent, Connected};
use crate::protocol::event::{ErrorReply, HistoryPage, SearchResults};
use crate::protocol::id::{Cid, MessageId, RoomName, Seq, UserId};
use crate::protocol::limits::TYPING_MEMBERS;
use crate::protocol::message::{Audience, Message, Millis};
use crate::protocol::query::SearchQuery;
use crate::protocol::request::{Post, PostKind, Request};
use crate::protocol::room::{NotifyLevel, RoomList};
use crate::protocol::text::SafeText;

/// How long nothing is requested automatically after the queue of requests was full.
const RETRY_PAUSE: TimeDelta = TimeDelta::seconds(1);

/// The shortest time between two TYPING requests (PROTOCOL.md).
const TYPING_INTERVAL: TimeDelta = TimeDelta::seconds(3);

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

/// What happened to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageChange {
    /// It was deleted: its text must not be shown any more.
    Removed,
    /// It has expired: its text must not be shown any more.
    Expired,
    /// Its text was replaced: the old one must not be shown any more.
    Edited,
    /// Its reactions have changed.
    Reacted,
    /// It was pinned, or its pin was removed.
    Pinned,
}

/// A change of the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A message was added to the live timeline of a conversation.
    Posted {
        /// The conversation.
        conversation: Audience,
        /// Where it is in the live timeline.
        index: EntryIndex,
        /// Whether the user wants to be notified of it.
        rings: bool,
    },
    /// A message was changed. No entry has moved.
    Message {
        /// Where it is loaded. `None`: nowhere; it may still be among the results of a search.
        conversation: Option<Audience>,
        /// The message.
        id: MessageId,
        /// What happened to it.
        change: MessageChange,
    },
    /// A requested part of the history arrived.
    HistoryLoaded(Audience, HistoryRequest),
    /// A requested part of the history will not arrive, for this reason.
    HistoryFailed(Audience, HistoryRequest, SafeText),
    /// Messages that [`Session::look_up`] asked for arrived. They are not added to a timeline.
    Lookup(HistoryPage),
    /// The shown timeline of a conversation was replaced or cleared.
    Reset(Audience),
    /// The marker, counts, room, members or settings of a conversation have changed, or it is new.
    Conversation(Audience),
    /// Another user, or the administrator, made this user a member of a room.
    AddedToRoom {
        /// The room.
        room: RoomName,
        /// The user who did it; `None`: the administrator.
        by: Option<UserId>,
    },
    /// A conversation does not exist any more for this user.
    ConversationRemoved(Audience),
    /// Who is writing in a conversation has changed.
    Typing(Audience),
    /// Users became known.
    Directory,
    /// Users connected or disconnected.
    Presence {
        /// The users who connected.
        joined: Vec<UserId>,
        /// The users who disconnected.
        left: Vec<UserId>,
    },
    /// The server sent search results.
    SearchResults(SearchResults),
    /// The server sent a page of the public rooms.
    Rooms(RoomList),
    /// A search, a thread, a list of rooms or a setting was refused or not sent.
    Refused {
        /// The request.
        cid: Cid,
        /// The cause, as text for the user.
        reason: SafeText,
    },
    /// A change was refused, and will not be made.
    Failed {
        /// The change.
        change: PendingChange,
        /// The cause, as text for the user.
        reason: SafeText,
    },
    /// The connection changed, with a text for the user.
    Connection(SafeText),
    /// The server sent an error.
    Error(ErrorReply),
}

/// The chat as one client sees it.
#[derive(Debug, Clone)]
pub struct Session {
    own_id: Option<UserId>,
    /// Whether it is hidden who joins and leaves.
    hides_presence: bool,
    /// Every ID that this client has had. Messages of all of them are its own.
    own_ids: BTreeSet<UserId>,
    connection: ConnectionState,
    /// The server's clock minus the local one, in milliseconds.
    clock_offset: Millis,
    /// Identifies the server's log.
    epoch: String,
    /// Whether the log was empty at the login, so that everything in it was received.
    has_whole_log: bool,
    directory: Directory,
    conversations: Conversations,
    open: Audience,
    /// Counts openings.
    openings: u64,
    changes: Vec<PendingChange>,
    requests: Requests,
    wanted: WantedRequests,
    /// Nothing is requested automatically before this time.
    held_until: Option<DateTime<FixedOffset>>,
    /// Whether the list of conversations has arrived on this connection: the server keeps read markers.
    is_listed: bool,
    /// Rooms known at the time of the request for the list, and not listed yet.
    unlisted_rooms: BTreeSet<Audience>,
    recent_changes: RecentChanges,
    typing_sent: Option<(Audience, DateTime<FixedOffset>)>,
    last_read: Option<ReadPosition>,
}

/// Requests that are sent as soon as possible.
#[derive(Debug, Clone, Default)]
struct WantedRequests {
    conversations: bool,
    /// The members of rooms, or all registered users (`None`), from after these users.
    users: BTreeMap<Option<RoomName>, Option<UserId>>,
}

impl Session {
    /// Creates an empty state. `cid_prefix` starts the `cid` of each request. It must be unique among all
    /// clients, and consist of visible ASCII characters.
    pub fn new(cid_prefix: &str) -> Self {
        Self {
            own_id: None,
            own_ids: BTreeSet::new(),
            connection: ConnectionState::Connecting,
            clock_offset: 0,
            epoch: String::new(),
            has_whole_log: false,
            directory: Directory::default(),
            conversations: Conversations::new(),
            open: Audience::Everyone,
            openings: 0,
            changes: Vec::new(),
            requests: Requests::new(cid_prefix),
            wanted: WantedRequests::default(),
            held_until: None,
            is_listed: false,
            unlisted_rooms: BTreeSet::new(),
            recent_changes: RecentChanges::default(),
            typing_sent: None,
            last_read: None,
            hides_presence: false,
        }
    }

    /// Sets whether it is hidden who joins and leaves from now on.
    pub fn hide_presence(&mut self, hide: bool) {
        self.hides_presence = hide;
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

    /// Whether a request for a page of history could be sent now.
    pub fn can_request(&self) -> bool {
        self.is_online() && self.held_until.is_none()
    }

    /// Whether the client is logged in.
    pub fn is_online(&self) -> bool {
        matches!(self.connection, ConnectionState::Online { .. })
    }

    /// Whether the list of conversations has arrived on this connection, so that the read markers are known.
    pub fn is_listed(&self) -> bool {
        self.is_listed
    }

    /// Returns the known users.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Returns all conversations.
    pub fn conversations(&self) -> impl Iterator<Item = (&Audience, &Conversation)> {
        self.conversations.iter()
    }

    /// Returns a conversation.
    pub fn conversation(&self, audience: &Audience) -> Option<&Conversation> {
        self.conversations.get(audience)
    }

    /// Returns which conversation is open. It decides who gets a new message.
    pub fn open_audience(&self) -> &Audience {
        &self.open
    }

    /// Returns the open conversation.
    pub fn opened(&self) -> &Conversation {
        self.conversations.get(&self.open).unwrap_or_else(|| self.conversations.everyone())
    }

    /// Opens a conversation, which may be a new direct one. Its unread line is put after the marker.
    pub fn open(&mut self, audience: &Audience) {
        self.openings += 1;
        let (openings, is_listed) = (self.openings, self.is_listed);
        let needs_recent = !self.has_whole_log;
        let conversation = self.conversations.ensure(audience, needs_recent);
        (conversation.opened, conversation.was_refused) = (openings, false);
        if is_listed {
            conversation.unread_at_opening = conversation.read.unread;
            conversation.set_unread_line(conversation.read.marker(), &self.own_ids);
        }
        self.open = audience.clone();
    }

    /// Allows the open conversation to request history again after a refusal. For when the user scrolls.
    pub fn retry_history(&mut self) {
        if let Some(conversation) = self.conversations.get_mut(&self.open) {
            conversation.was_refused = false;
        }
    }

    /// Returns a loaded message of any conversation.
    pub fn message(&self, id: MessageId) -> Option<&TimelineMessage> {
        let elsewhere = || self.conversations.iter().find_map(|(_, one)| one.message(id));
        self.opened().message(id).or_else(elsewhere)
    }

    /// Whether a message mentions this user.
    pub fn is_mentioned(&self, message: &Message) -> bool {
        conversation::is_mention(message, &self.own_ids)
    }

    /// Returns the conversation that a message belongs to.
    pub fn conversation_of(&self, message: &Message) -> Audience {
        match &message.audience {
            Audience::Only(recipients) => {
                let participants = recipients.iter().chain([&message.sender]);
                Audience::Only(participants.filter(|id| !self.is_own_id(id)).cloned().collect())
            }
            shared @ (Audience::Everyone | Audience::Room(_)) => shared.clone(),
        }
    }

    /// Returns the conversation of a message to this audience.
    pub(self) fn without_own_ids(&self, audience: &Audience) -> Audience {
        match audience {
            Audience::Only(recipients) => {
                let others = recipients.iter().filter(|id| !self.is_own_id(id));
                Audience::Only(others.cloned().collect())
            }
            shared @ (Audience::Everyone | Audience::Room(_)) => shared.clone(),
        }
    }

    /// Whether all messages of a conversation are loaded; of all conversations for `None`.
    pub fn has_full_history(&self, audience: Option<&Audience>) -> bool {
        match audience {
            Some(audience) => {
                self.conversations.get(audience).is_some_and(Conversation::has_full_history)
            }
            None => {
                self.has_whole_log
                    && self.conversations.iter().all(|(_, one)| one.has_full_history())
            }
        }
    }

    /// Converts a local time to the server's clock.
    pub fn server_time(&self, now: DateTime<FixedOffset>) -> Millis {
        now.timestamp_millis() + self.clock_offset
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
            ClientEvent::NotSent { cid, reason } => self.fail(&cid, reason),
            ClientEvent::Disconnected { reason, retry_in } => {
                self.on_disconnected(now, reason, retry_in)
            }
            // The user interface quits and prints the reason.
            ClientEvent::Untrusted { reason } => self.end(reason),
            ClientEvent::Ended { reason } => {
                let mut changes = self.end(reason.clone());
                changes.push(self.connection_notice(now, reason));
                changes
            }
        }
    }

    /// Returns the requests that are due: the list of conversations and the directory after a login, further
    /// pages, and read markers. The caller sends them, and reports with [`Self::not_sent`] if it cannot.
    pub fn take_requests(&mut self, now: DateTime<FixedOffset>) -> Vec<(Cid, Request)> {
        self.held_until.take_if(|until| *until <= now);
        if !self.is_online() || self.held_until.is_some() {
            return Vec::new();
        }
        let mut requests = Vec::new();
        if std::mem::take(&mut self.wanted.conversations) {
            let rooms = self.conversations.iter().map(|(audience, _)| audience);
            self.unlisted_rooms = rooms.filter(|one| one.room().is_some()).cloned().collect();
            requests.push((Owner::Conversations, Request::Conversations));
        }
        for (room, after) in std::mem::take(&mut self.wanted.users) {
            let request = Request::Users { room: room.clone(), after: after.clone() };
            requests.push((Owner::Users(room, after), request));
        }
        for (audience, conversation) in self.conversations.iter_mut().filter(|_| self.is_listed) {
            if let Some(up_to) = conversation.read.take_due(now) {
                let request =
                    Request::Read { conversation: audience.clone(), up_to, unread: false };
                requests.push((Owner::Read(audience.clone()), request));
            }
        }
        let requests = requests.into_iter();
        requests.filter_map(|(owner, request)| Some((self.requests.add(owner)?, request))).collect()
    }

    /// Returns when [`Self::take_requests`] or [`Self::expire`] is due; `None` if never.
    pub fn next_deadline(&self, now: DateTime<FixedOffset>) -> Option<DateTime<FixedOffset>> {
        let expiry = self.next_expiry().and_then(DateTime::from_timestamp_millis);
        let expiry = expiry.map(|at| at.with_timezone(now.offset()));
        let typing = self.conversations.iter().filter_map(|(_, one)| one.typing_expiry()).min();
        let request = self.next_request_due(now);
        let request = request.map(|due| self.held_until.map_or(due, |until| due.max(until)));
        expiry.into_iter().chain(typing).chain(request).chain(self.held_until).min()
    }

    fn next_request_due(&self, now: DateTime<FixedOffset>) -> Option<DateTime<FixedOffset>> {
        if !self.is_online() {
            return None;
        }
        if self.wanted.conversations || !self.wanted.users.is_empty() {
            return Some(now);
        }
        let markers = self.conversations.iter().filter(|_| self.is_listed);
        markers.filter_map(|(_, one)| one.read.due(now)).min()
    }

    /// Returns when the next message expires, by the local clock.
    pub fn next_expiry(&self) -> Option<Millis> {
        let expiries = self.conversations.iter().filter_map(|(_, one)| one.next_expiry());
        expiries.min().map(|at| at - self.clock_offset)
    }

    /// Removes messages that have expired, and users who have stopped writing.
    pub fn expire(&mut self, now: DateTime<FixedOffset>) -> Vec<Change> {
        let server_time = self.server_time(now);
        let mut changes = Vec::new();
        for (audience, conversation) in self.conversations.iter_mut() {
            let expired = conversation.expire(server_time, &self.own_ids);
            changes.extend(expired.into_iter().map(|id| Change::Message {
                conversation: Some(audience.clone()),
                id,
                change: MessageChange::Expired,
            }));
            if conversation.expire_typing(now) {
                changes.push(Change::Typing(audience.clone()));
            }
        }
        changes
    }

    /// Adds a notice to the timeline of Everyone, unless it shows an excerpt.
    pub fn add_notice(&mut self, now: DateTime<FixedOffset>, text: SafeText) {
        self.conversations.everyone_mut().add_notice(now, text);
    }

    /// Resolves a name or an ID, see [`Directory::resolve`].
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub fn resolve(&self, word: &str) -> Result<UserId, ResolveError> {
        self.directory.resolve(word)
    }

    /// Returns the conversation that a reply to a loaded message goes to.
    pub fn reply_audience(&self, id: MessageId) -> Option<Audience> {
        self.message(id).map(|entry| self.conversation_of(&entry.message))
    }

    /// Returns a reply to a loaded message.
    pub fn reply(&self, to: MessageId, content: SafeText) -> Option<Post> {
        let audience = self.reply_audience(to)?;
        Some(Post { audience, kind: PostKind::Reply { to }, content })
    }

    /// Records that a message, and with it all before it, was displayed. The read marker moves there, and
    /// [`Self::take_requests`] tells the server, at most once a second for each conversation.
    pub fn mark_displayed(&mut self, audience: &Audience, seq: Seq) -> Option<Change> {
        let conversation = self.conversations.get_mut(audience)?;
        if !conversation.read.display(seq) {
            return None;
        }
        conversation.recount(&self.own_ids);
        Some(Change::Conversation(audience.clone()))
    }

    /// Returns a request that marks the messages after `seq` as unread; `None` without a connection.
    pub fn mark_unread(&mut self, audience: &Audience, seq: Seq) -> Option<(Cid, Request)> {
        let conversation = audience.clone();
        let request = Request::Read { conversation, up_to: seq, unread: true };
        let sent = self.request(Owner::Notify, request)?;
        if let Some(conversation) = self.conversations.get_mut(audience) {
            conversation.read.cancel_unsent();
        }
        Some(sent)
    }

    /// Returns a request that sets which messages of a conversation ring; `None` without a connection.
    pub fn set_notify(
        &mut self,
        audience: &Audience,
        level: NotifyLevel,
        muted_until: Option<Millis>,
    ) -> Option<(Cid, Request)> {
        let conversation = audience.clone();
        self.request(Owner::Notify, Request::Notify { conversation, level, muted_until })
    }

    /// Returns a request for a search; `None` without a connection.
    pub fn search(&mut self, query: SearchQuery) -> Option<(Cid, Request)> {
        self.request(Owner::Search, Request::SearchHistory(query))
    }

    /// Returns a request for the public rooms after this one; `None` without a connection.
    pub fn list_rooms(&mut self, after: Option<RoomName>) -> Option<(Cid, Request)> {
        self.request(Owner::Rooms, Request::Rooms(after))
    }

    /// Requests the members of a room with the next [`Self::take_requests`].
    pub fn load_members(&mut self, room: &RoomName) {
        self.wanted.users.insert(Some(room.clone()), None);
    }

    /// Returns a request that tells the open conversation that this user is writing, if it is due.
    pub fn tell_typing(&mut self, now: DateTime<FixedOffset>) -> Option<Request> {
        let is_small = match &self.open {
            Audience::Everyone => false,
            Audience::Only(users) => users.len() < TYPING_MEMBERS,
            Audience::Room(_) => {
                self.opened().room().is_some_and(|room| room.people as usize <= TYPING_MEMBERS)
            }
        };
        let is_recent = |(audience, at): &(Audience, DateTime<FixedOffset>)| {
            *audience == self.open && now - *at < TYPING_INTERVAL
        };
        if !is_small || !self.is_online() || self.typing_sent.as_ref().is_some_and(is_recent) {
            return None;
        }
        self.typing_sent = Some((self.open.clone(), now));
        Some(Request::Typing(self.open.clone()))
    }

    fn request(&mut self, owner: Owner, request: Request) -> Option<(Cid, Request)> {
        let is_online = self.is_online();
        Some((is_online.then(|| self.requests.add(owner)).flatten()?, request))
    }

    /// Records that a request could not be handed to the client. Nothing but its owner changes.
    pub fn not_sent(
        &mut self,
        now: DateTime<FixedOffset>,
        cid: &Cid,
        reason: SafeText,
    ) -> Vec<Change> {
        match self.requests.get(cid) {
            Some(owner) if owner.is_in_outbox() => self.fail(cid, reason),
            Some(_) => {
                self.held_until = Some(now + RETRY_PAUSE);
                let owner = self.requests.take(cid);
                let release = |owner| self.release(cid, owner, Unanswered::NotSent, &reason);
                owner.and_then(release).into_iter().collect()
            }
            None => Vec::new(),
        }
    }

    /// Changes the owner of a request that has no answer.
    fn release(
        &mut self,
        cid: &Cid,
        owner: Owner,
        cause: Unanswered,
        reason: &SafeText,
    ) -> Option<Change> {
        let is_wanted = cause == Unanswered::NotSent;
        match owner {
            Owner::History(audience) => {
                let conversation = self.conversations.get_mut(&audience)?;
                let (_, request) = conversation.loading.take_if(|(asked, _)| asked == cid)?;
                let is_automatic = !matches!(request, HistoryRequest::Around(_));
                conversation.was_refused |= cause == Unanswered::Refused && is_automatic;
                return Some(Change::HistoryFailed(audience, request, reason.clone()));
            }
            Owner::Search | Owner::Lookup(_) | Owner::Rooms | Owner::Notify => {
                return Some(Change::Refused { cid: cid.clone(), reason: reason.clone() });
            }
            Owner::Conversations => self.wanted.conversations |= is_wanted,
            Owner::Users(room, after) => {
                if is_wanted {
                    self.wanted.users.insert(room, after);
                }
            }
            Owner::Read(audience) => {
                let read = &mut self.conversations.get_mut(&audience)?.read;
                match cause {
                    Unanswered::Refused => read.on_refused(),
                    Unanswered::NotSent | Unanswered::Lost => read.on_lost(),
                }
            }
            Owner::Message(_) | Owner::Change => {}
        }
        None
    }

    fn ensure_conversation(&mut self, audience: &Audience) -> &mut Conversation {
        self.conversations.ensure(audience, !self.has_whole_log)
    }

    fn lose_connection(&mut self, reason: &SafeText) -> Vec<Change> {
        self.requeue_pending();
        self.directory.on_disconnect();
        self.is_listed = false;
        let lost = self.requests.take_lost();
        let release = |(cid, owner)| self.release(&cid, owner, Unanswered::Lost, reason);
        lost.into_iter().filter_map(release).collect()
    }

    fn end(&mut self, reason: SafeText) -> Vec<Change> {
        let changes = self.lose_connection(&reason);
        self.connection = ConnectionState::Ended { reason };
        changes
    }

    fn on_connected(&mut self, now: DateTime<FixedOffset>, connected: Connected) -> Vec<Change> {
        let Connected { welcome, fingerprint } = connected;
        let is_reconnect = !self.own_ids.is_empty();
        let mut changes = self.lose_connection(&SafeText::default());
        self.clock_offset = welcome.now - now.timestamp_millis();
        self.own_ids.insert(welcome.user.clone());
        self.connection = ConnectionState::Online { fingerprint };
        self.directory.on_connect(now, is_reconnect);
        self.wanted.conversations = true;
        self.wanted.users.insert(None, None);
        if !welcome.resumed {
            changes.extend(self.reset(&welcome.epoch, welcome.head).filter(|_| is_reconnect));
        }
        for (_, conversation) in self.conversations.iter_mut() {
            conversation.was_refused = false;
            conversation.read.on_login();
        }
        let text = match (is_reconnect, welcome.resumed) {
            (false, _) => format!("you are {}", welcome.user),
            (true, true) => format!("reconnected as {}", welcome.user),
            (true, false) => {
                format!("reconnected as {}; this server's history was reset", welcome.user)
            }
        };
        self.own_id = Some(welcome.user);
        changes.push(self.connection_notice(now, SafeText::clean(&text)));
        changes
    }

    /// Discards everything that was received, but neither pending messages nor the open conversation.
    fn reset(&mut self, epoch: &str, head: Seq) -> impl Iterator<Item = Change> {
        let is_other_log = self.epoch != epoch;
        epoch.clone_into(&mut self.epoch);
        self.has_whole_log = head == Seq(0);
        let is_known = |one: &Conversation| !one.pending.is_empty();
        if is_other_log {
            self.conversations.retain(is_known);
        }
        let needs_recent = !self.has_whole_log;
        let mut reset = Vec::new();
        for (audience, conversation) in self.conversations.iter_mut() {
            let is_notice_only = conversation.live.timeline.oldest().is_none();
            if !is_notice_only {
                conversation.discard_history();
            }
            conversation.loading = None;
            conversation.needs_recent = needs_recent;
            if is_other_log {
                conversation.read.on_reset();
            }
            reset.push(Change::Reset(audience.clone()));
        }
        let last_read = self.last_read.take().filter(|read| read.epoch == epoch);
        if let Some(last_read) = last_read {
            self.conversations.everyone_mut().unread_after = Some(last_read.seq);
        }
        if self.conversations.get(&self.open).is_none() {
            self.open = Audience::Everyone;
        }
        reset.into_iter()
    }

    fn on_disconnected(
        &mut self,
        now: DateTime<FixedOffset>,
        reason: SafeText,
        retry_in: Duration,
    ) -> Vec<Change> {
        let was_online = self.is_online();
        let mut changes = self.lose_connection(&reason);
        let retry_in = TimeDelta::from_std(retry_in).unwrap_or_default();
        let retry_at = now + retry_in;
        self.connection = ConnectionState::Offline { reason: reason.clone(), retry_at };
        changes.push(if was_online {
            self.connection_notice(now, SafeText::clean(&format!("disconnected: {reason}")))
        } else {
            Change::Connection(reason)
        });
        changes
    }

    fn connection_notice(&mut self, now: DateTime<FixedOffset>, text: SafeText) -> Change {
        self.add_notice(now, text.clone());
        Change::Connection(text)
    }
}
