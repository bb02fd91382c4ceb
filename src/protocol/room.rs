//! Rooms and conversations: what a client requests and what a server tells about them.

use serde::{Deserialize, Serialize};

use super::id::{Cid, RoomName, Seq, UserId};
use super::message::{Audience, Millis};
use super::text::SafeText;

/// What a ROOM request does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomAction {
    /// Creates the room, with its creator as the only member.
    Create {
        /// Whether the room exists only for its members, who add others. Anyone joins a public room.
        private: bool,
        /// The topic; may be empty.
        topic: SafeText,
    },
    /// Joins a public room.
    Join,
    /// Leaves the room.
    Leave,
    /// Adds users.
    Add {
        /// The users.
        users: Vec<UserId>,
        /// Which of a private room's earlier messages they may see.
        history: SharedHistory,
    },
    /// Removes members.
    Remove(Vec<UserId>),
    /// Sets the topic, which may be empty.
    Topic(SafeText),
    /// Makes the room read-only, or writable again.
    Archive(bool),
}

/// Which earlier messages of a private room a new member may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SharedHistory {
    /// All of them.
    All,
    /// None.
    #[default]
    Now,
}

/// What has changed in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoomChange {
    /// The room was created.
    Created,
    /// A user joined.
    Joined,
    /// A member left.
    Left,
    /// A member added users.
    Added(Vec<UserId>),
    /// The owner removed members.
    Removed(Vec<UserId>),
    /// The topic was set.
    Topic,
    /// The room was archived, or is writable again.
    Archived,
}

/// The state of a room.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RoomState {
    /// Whether the room exists only for its members.
    pub private: bool,
    /// The topic; may be empty.
    pub topic: SafeText,
    /// The number of members.
    pub people: u32,
    /// Whether the room is read-only.
    pub archived: bool,
}

/// A change of a room, told to its members and to the users who were added or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomChanged {
    /// The position in the log.
    pub seq: Seq,
    /// The room.
    pub room: RoomName,
    /// What has changed.
    pub change: RoomChange,
    /// Who changed it; `None` for the administrator.
    pub by: Option<UserId>,
    /// When it was changed.
    pub at: Millis,
    /// The room after the change.
    pub state: RoomState,
    /// The id of the request.
    pub cid: Option<Cid>,
}

/// Which messages of a conversation ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotifyLevel {
    /// All messages. The default of direct conversations.
    All,
    /// Messages that mention the user. The default of rooms and of Everyone.
    Mentions,
    /// No message.
    None,
}

/// How a user is notified of the messages of a conversation. Told only to that user's sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifySetting {
    /// The conversation.
    pub conversation: Audience,
    /// Which messages ring.
    pub level: NotifyLevel,
    /// Nothing rings before this time.
    pub muted_until: Option<Millis>,
    /// The id of the request.
    pub cid: Option<Cid>,
}

/// How far a user has read a conversation. Told only to that user's sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadMarker {
    /// The conversation.
    pub conversation: Audience,
    /// The last message read.
    pub seq: Seq,
    /// Messages after it, up to [`super::limits::UNREAD_COUNTED`].
    pub unread: u32,
    /// Those of them that mention the user.
    pub mentions: u32,
    /// The id of the request.
    pub cid: Option<Cid>,
}

/// A conversation of the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationInfo {
    /// The conversation.
    pub conversation: Audience,
    /// The state of the room, if it is one.
    pub room: Option<RoomState>,
    /// The latest message; 0 if there is none.
    pub last: Seq,
    /// The last message read.
    pub read: Seq,
    /// Messages of others after it, up to [`super::limits::UNREAD_COUNTED`].
    pub unread: u32,
    /// Those of them that mention the user.
    pub mentions: u32,
    /// Which messages ring.
    pub notify: NotifyLevel,
    /// Nothing rings before this time.
    pub muted_until: Option<Millis>,
}

/// The conversations of the user: Everyone, the rooms, and the latest direct conversations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationList {
    /// Some of the conversations, ordered by [`ConversationInfo::last`], latest first.
    pub conversations: Vec<ConversationInfo>,
    /// Whether another part follows.
    pub has_more: bool,
    /// The query that this answers.
    pub cid: Option<Cid>,
}

/// A page of the public rooms, ordered by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomList {
    /// The rooms.
    pub rooms: Vec<(RoomName, RoomState)>,
    /// Whether there are more rooms after these.
    pub has_more: bool,
    /// The query that this answers.
    pub cid: Option<Cid>,
}

/// A page of the users whose ID belongs to a key, ordered by ID; or of the members of a room, longest first:
/// the first one of all is its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserList {
    /// The room; `None` for all users.
    pub room: Option<RoomName>,
    /// The users.
    pub users: Vec<UserId>,
    /// Whether there are more users after these.
    pub has_more: bool,
    /// The query that this answers.
    pub cid: Option<Cid>,
}
