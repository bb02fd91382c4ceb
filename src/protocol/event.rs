//! Events: everything that a server sends. Their encoding is in `codec`.

use std::sync::Arc;

use chrono::{DateTime, FixedOffset};
use serde::{Deserialize, Serialize};

use super::error::ErrorCode;
use super::id::{Cid, MessageId, Seq, UserId};
use super::limits::{ERROR_CHARACTERS, Limits};
use super::mention::Mentions;
use super::message::{Audience, Message, Millis};
use super::reaction::Emoji;
use super::room::{ConversationList, NotifySetting, ReadMarker, RoomChanged, RoomList, UserList};
use super::text::SafeText;

/// An object that a server sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// LOGIN: the first object on a new connection.
    LoginPrompt,
    /// The login is accepted.
    Welcome(Welcome),
    /// The login is refused.
    LoginRefused(ErrorReply),
    /// `ACTIVE_CLIENT`: the online users as of the latest PRESENCE. Logins between two PRESENCE events
    /// share the list.
    Users(Arc<[UserId]>),
    /// PRESENCE: the changes since the previous one.
    Presence {
        /// Users who came online.
        joined: Vec<UserId>,
        /// Users who went offline.
        left: Vec<UserId>,
    },
    /// GUESTS: the users of the following `ACTIVE_CLIENT` or PRESENCE who have no key.
    Guests(Vec<UserId>),
    /// MESSAGE, TEMPORARY or REPLY.
    Posted(Message),
    /// DELETE: a message was removed.
    Deleted(Deleted),
    /// OUTDATED: a temporary message has expired.
    Expired {
        /// The position of this event, not of the message, in the log.
        seq: Seq,
        /// The expired message.
        id: MessageId,
    },
    /// EDIT: the text of a message was replaced.
    Edited(Edited),
    /// REACT: a user added or removed a reaction.
    Reacted(Reacted),
    /// PIN: a message was pinned, or its pin removed.
    Pinned(Pinned),
    /// ROOM: a room or its members have changed.
    RoomChanged(RoomChanged),
    /// READ: the user's read marker has moved.
    Read(ReadMarker),
    /// NOTIFY: the user's notification setting has changed.
    NotifySet(NotifySetting),
    /// TYPING: a user is writing a message.
    Typing {
        /// The conversation, as the receiving user sees it.
        conversation: Audience,
        /// Who writes.
        user: UserId,
    },
    /// CONVERSATIONS: the conversations of the user.
    Conversations(ConversationList),
    /// ROOMS: a page of the public rooms.
    Rooms(RoomList),
    /// USERS: a page of users.
    UserPage(UserList),
    /// LIVE: everything up to here has been sent; events from here on are new.
    Live(Seq),
    /// STORED: the request was executed before; nothing was done now.
    Stored(StoredReply),
    /// HISTORY: the reply to a history query.
    History(HistoryPage),
    /// FOUND: hits of a search; more follow while [`SearchResults::end`] is `Searching`.
    SearchResults(SearchResults),
    /// PONG: the number of log events sent on this connection so far.
    Pong(u64),
    /// ERROR: a request was refused or failed.
    Error(ErrorReply),
    /// CLOSING: the server is closing the connection.
    Closing(ErrorReply),
}

/// The reply to an accepted login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The ID of this session.
    pub user: UserId,
    /// The random identity of the server's log. If it differs from an earlier login, all sequence
    /// numbers and message ids have started over.
    pub epoch: String,
    /// The last position assigned in the log.
    pub head: Seq,
    /// The server's clock at the login.
    pub now: Millis,
    /// Whether the client continues where it left off. If it asked to and this is `false`, it must
    /// discard what it has: it was away too long, or the log is a different one.
    pub resumed: bool,
    /// The server's limits.
    pub limits: Limits,
}

/// The result of a request that had been executed before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReply {
    /// The position of the resulting event.
    pub seq: Seq,
    /// The message that the request was about; `None` if it was about a room.
    pub id: Option<MessageId>,
    /// The repeated request.
    pub cid: Option<Cid>,
}

/// The reply to a history query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryPage {
    /// The messages, oldest first.
    pub messages: Vec<Message>,
    /// Whether the log has earlier messages that the user may see.
    pub has_earlier: bool,
    /// Whether the log has later messages that the user may see.
    pub has_later: bool,
    /// The query that this answers.
    pub cid: Option<Cid>,
}

/// Some hits of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchResults {
    /// The messages, newest first.
    pub messages: Vec<Message>,
    /// Number of messages searched so far, counting only those that the user may see.
    pub searched: u64,
    /// Whether the search has ended, and why.
    pub end: SearchEnd,
    /// The query that this answers.
    pub cid: Option<Cid>,
}

/// The state of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SearchEnd {
    /// More results follow.
    Searching,
    /// Everything was searched.
    Complete,
    /// There are too many hits; only the newest were sent.
    TooMany,
    /// The search timed out.
    TooLong,
    /// The same user started another search.
    Replaced,
}

/// A message was removed, by its author or by the administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// The position of this event, not of the message, in the log.
    pub seq: Seq,
    /// The removed message.
    pub id: MessageId,
    /// The author of the message.
    pub author: UserId,
    /// The id of the author's request.
    pub cid: Option<Cid>,
}

/// The text of a message was replaced by its author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The position of this event, not of the message, in the log.
    pub seq: Seq,
    /// The message.
    pub id: MessageId,
    /// The author of the message.
    pub author: UserId,
    /// The recipients of the message.
    pub audience: Audience,
    /// The message that this one replies to, if any.
    pub reply_to: Option<MessageId>,
    /// The new text.
    pub content: SafeText,
    /// Whom the new text mentions. An edit notifies nobody.
    pub mentions: Mentions,
    /// When it was edited, in the server's time zone.
    pub at: DateTime<FixedOffset>,
    /// The id of the author's request.
    pub cid: Option<Cid>,
}

/// A user added or removed a reaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reacted {
    /// The position of this event, not of the message, in the log.
    pub seq: Seq,
    /// The message.
    pub id: MessageId,
    /// Who reacts.
    pub user: UserId,
    /// The reaction.
    pub emoji: Emoji,
    /// Whether it was added.
    pub on: bool,
    /// The id of the request.
    pub cid: Option<Cid>,
}

/// A message was pinned, or its pin removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// The position of this event, not of the message, in the log.
    pub seq: Seq,
    /// The message.
    pub id: MessageId,
    /// Who pinned it.
    pub user: UserId,
    /// Whether it is pinned.
    pub on: bool,
    /// The id of the request.
    pub cid: Option<Cid>,
}

/// Why a request or login failed, or why a connection closes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorReply {
    /// The reason, for programs.
    pub code: ErrorCode,
    /// The reason, for users.
    pub text: SafeText,
    /// The request that this answers, if it had an id.
    pub cid: Option<Cid>,
}

impl Event {
    /// The message whose earlier text must not be shown any more after this event.
    pub fn removed_message(&self) -> Option<MessageId> {
        match self {
            Self::Deleted(deleted) => Some(deleted.id),
            Self::Expired { id, .. } => Some(*id),
            Self::Edited(edited) => Some(edited.id),
            Self::LoginPrompt
            | Self::Welcome(_)
            | Self::LoginRefused(_)
            | Self::Users(_)
            | Self::Presence { .. }
            | Self::Guests(_)
            | Self::Posted(_)
            | Self::Reacted(_)
            | Self::Pinned(_)
            | Self::RoomChanged(_)
            | Self::Read(_)
            | Self::NotifySet(_)
            | Self::Typing { .. }
            | Self::Conversations(_)
            | Self::Rooms(_)
            | Self::UserPage(_)
            | Self::Live(_)
            | Self::Stored(_)
            | Self::History(_)
            | Self::SearchResults(_)
            | Self::Pong(_)
            | Self::Error(_)
            | Self::Closing(_) => None,
        }
    }

    /// The position in the log, if this is an event of the log.
    pub fn seq(&self) -> Option<Seq> {
        match self {
            Self::Posted(message) => Some(message.seq),
            Self::Deleted(deleted) => Some(deleted.seq),
            Self::Expired { seq, .. } => Some(*seq),
            Self::Edited(edited) => Some(edited.seq),
            Self::Reacted(reacted) => Some(reacted.seq),
            Self::Pinned(pinned) => Some(pinned.seq),
            Self::RoomChanged(changed) => Some(changed.seq),
            Self::LoginPrompt
            | Self::Welcome(_)
            | Self::LoginRefused(_)
            | Self::Users(_)
            | Self::Presence { .. }
            | Self::Guests(_)
            | Self::Read(_)
            | Self::NotifySet(_)
            | Self::Typing { .. }
            | Self::Conversations(_)
            | Self::Rooms(_)
            | Self::UserPage(_)
            | Self::Live(_)
            | Self::Stored(_)
            | Self::History(_)
            | Self::SearchResults(_)
            | Self::Pong(_)
            | Self::Error(_)
            | Self::Closing(_) => None,
        }
    }
}

impl Edited {
    /// Gives the message its new text.
    pub fn apply_to(&self, message: &mut Message) {
        message.content = self.content.clone();
        message.mentions = self.mentions.clone();
        message.edited = Some(self.at.timestamp_millis());
    }
}

impl ErrorReply {
    /// The reply to the request `cid`. Texts over [`ERROR_CHARACTERS`] are truncated.
    pub fn new(refusal: &super::error::Refusal, cid: Option<Cid>) -> Self {
        let text: String = refusal.to_string().chars().take(ERROR_CHARACTERS).collect();
        Self { code: refusal.code(), text: SafeText::clean(&text), cid }
    }
}
