//! Reasons for which a server refuses a request or a login, with their stable codes and texts.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::id::{IdError, MessageId, Name, RoomName, UserId};
use super::limits;

/// The stable code of a [`Refusal`] on the wire, in snake case. Codes never change; texts may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The bytes are not a JSON object.
    BadJson,
    /// A field is missing or invalid.
    BadRequest,
    /// The object exceeds the size limit. The connection is closed.
    FrameTooLong,
    /// The action is not part of the protocol.
    UnknownAction,
    /// The first object was not a login.
    LoginFirst,
    /// A second login on the same connection.
    AlreadyLoggedIn,
    /// The requested name is invalid.
    BadName,
    /// The requested name looks like another name in use.
    ConfusableName,
    /// The server admits new users only with an invite.
    InviteNeeded,
    /// The invite is used up, expired or unknown.
    BadInvite,
    /// The user's key or address is banned. The connection is closed.
    Banned,
    /// The administrator closed the connection.
    Kicked,
    /// The requested ID does not belong to the client's key.
    NotYourId,
    /// The key already has the maximum number of IDs.
    TooManyIds,
    /// Too many connections or new IDs from one address.
    TooManyConnections,
    /// The client exceeded its rate limit for too long. The connection is closed.
    Flooding,
    /// The message has no visible text.
    EmptyContent,
    /// The text of the message exceeds the limit.
    ContentTooLong,
    /// A direct message without a recipient other than its sender.
    NoRecipient,
    /// A recipient is neither connected nor a registered ID.
    UnknownRecipient,
    /// A direct message names too many recipients.
    TooManyRecipients,
    /// The lifetime of a temporary message is out of range.
    BadSeconds,
    /// The message does not exist, or the user may not see it.
    UnknownMessage,
    /// The search expression is invalid, too long or too complex.
    BadPattern,
    /// The server could not write to its log: the disk is full or failed.
    NotStored,
    /// The server could not read its log now. The request can be repeated.
    NotRead,
    /// Only the author may do this.
    NotYours,
    /// The message cannot be edited: it is temporary.
    NotEditable,
    /// There is no such room, or it is private and the user is not a member.
    NoSuchRoom,
    /// Only members of the room may do this.
    NotAMember,
    /// A room of this name, or of one that looks like it, exists.
    RoomExists,
    /// Only the owner of the room may do this.
    NotOwner,
    /// The server or the user has the maximum number of rooms.
    TooManyRooms,
    /// The room is archived: it is read-only.
    Archived,
    /// The message has the maximum number of reactions, or the conversation that of pinned messages.
    LimitReached,
    /// The server's settings do not allow this.
    NotAllowed,
    /// The client took nothing of what was sent to it. The connection is closed.
    TooSlow,
    /// No login in time. The connection is closed.
    LoginTimeout,
    /// The server is shutting down. The connection is closed.
    ShuttingDown,
    /// A code that this version does not know.
    #[serde(other)]
    Unknown,
}

/// Why the server refuses a request or a login. The text is for users; [`Refusal::code`] is for
/// programs.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "each variant is documented at the code of the same name")]
pub enum Refusal {
    #[error("not a JSON object: {0}")]
    BadJson(String),
    #[error("{0}")]
    BadRequest(String),
    #[error("the object exceeds the limit of {0} bytes")]
    FrameTooLong(usize),
    #[error(
        "unknown action; a client may send MESSAGE, TEMPORARY, REPLY, DELETE, SEARCH, HISTORY, PING, EXIT and the actions of rooms"
    )]
    UnknownAction,
    #[error("log in first: send {{\"username\": \"...\"}}")]
    LoginFirst,
    #[error("already logged in on this connection")]
    AlreadyLoggedIn,
    #[error("{0}")]
    BadName(#[from] IdError),
    /// The requested name and the name that it looks like.
    #[error("the name {0} looks like {1}, which is in use: choose exactly {1}, or another name")]
    ConfusableName(Name, Name),
    #[error(
        "this server requires an invite: ask its administrator for a chat:// link (`chat invite` creates one)"
    )]
    InviteNeeded,
    #[error("the invite is used up, expired or incomplete: ask for a new link")]
    BadInvite,
    #[error("you are banned from this server; ask its administrator")]
    Banned,
    #[error("the administrator closed your connection")]
    Kicked,
    #[error(
        "{0} does not belong to your key: omit --id, or import the right key with `chat key import`"
    )]
    NotYourId(UserId),
    /// All IDs of the key.
    #[error("this key already has {} IDs, the maximum: {}", .0.len(), join_ids(.0))]
    TooManyIds(Vec<UserId>),
    #[error("too many connections from your address: close one, or retry in a minute")]
    TooManyConnections,
    #[error("rate limit exceeded for too long")]
    Flooding,
    #[error("the message is empty")]
    EmptyContent,
    /// The number of characters.
    #[error("the message has {0} characters; the maximum is {max}", max = limits::CONTENT_CHARACTERS)]
    ContentTooLong(usize),
    #[error("a direct message needs at least one recipient other than its sender")]
    NoRecipient,
    #[error("recipient not found: {}; the message was not sent", join_ids(.0))]
    UnknownRecipient(Vec<UserId>),
    #[error("a direct message may have at most {} recipients", limits::RECIPIENTS)]
    TooManyRecipients,
    #[error("a temporary message must last 1 to {} seconds", limits::MAX_TEMPORARY_SECONDS)]
    BadSeconds,
    #[error("message {0} not found; it may have expired or been removed")]
    UnknownMessage(MessageId),
    #[error("invalid search expression: {0}")]
    BadPattern(String),
    /// The public part of the cause.
    #[error("the server's storage failed ({0}): nothing was sent; tell its administrator")]
    NotStored(&'static str),
    /// The public part of the cause.
    #[error("the server could not read its storage ({0}): try again")]
    NotRead(&'static str),
    #[error("message {0} is not yours: only its author can change it")]
    NotYours(MessageId),
    #[error("message {0} is temporary and cannot be edited")]
    NotEditable(MessageId),
    #[error("there is no room {0} that you may see")]
    NoSuchRoom(RoomName),
    #[error("you are not a member of {0}: join it first")]
    NotAMember(RoomName),
    /// The requested name and the name of the existing room.
    #[error("cannot create {0}: {1} exists, and names that look alike are not allowed")]
    RoomExists(RoomName, RoomName),
    #[error("only the owner of {0} can do this")]
    NotOwner(RoomName),
    /// The maximum, and of what.
    #[error("there are {0} {1}, the maximum: leave or archive one first")]
    TooManyRooms(u32, &'static str),
    #[error("{0} is archived: it is read-only")]
    Archived(RoomName),
    /// The maximum, and of what.
    #[error("there are {0} {1}, the maximum")]
    LimitReached(usize, &'static str),
    #[error("{0}")]
    NotAllowed(&'static str),
    #[error("this client received nothing for 30 seconds")]
    TooSlow,
    #[error("login timed out")]
    LoginTimeout,
    #[error("the server is shutting down")]
    ShuttingDown,
}

impl Refusal {
    /// The stable code of this reason.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::BadJson(_) => ErrorCode::BadJson,
            Self::BadRequest(_) => ErrorCode::BadRequest,
            Self::FrameTooLong(_) => ErrorCode::FrameTooLong,
            Self::UnknownAction => ErrorCode::UnknownAction,
            Self::LoginFirst => ErrorCode::LoginFirst,
            Self::AlreadyLoggedIn => ErrorCode::AlreadyLoggedIn,
            Self::BadName(_) => ErrorCode::BadName,
            Self::ConfusableName(..) => ErrorCode::ConfusableName,
            Self::InviteNeeded => ErrorCode::InviteNeeded,
            Self::BadInvite => ErrorCode::BadInvite,
            Self::Banned => ErrorCode::Banned,
            Self::Kicked => ErrorCode::Kicked,
            Self::NotYourId(_) => ErrorCode::NotYourId,
            Self::TooManyIds(_) => ErrorCode::TooManyIds,
            Self::TooManyConnections => ErrorCode::TooManyConnections,
            Self::Flooding => ErrorCode::Flooding,
            Self::EmptyContent => ErrorCode::EmptyContent,
            Self::ContentTooLong(_) => ErrorCode::ContentTooLong,
            Self::NoRecipient => ErrorCode::NoRecipient,
            Self::UnknownRecipient(_) => ErrorCode::UnknownRecipient,
            Self::TooManyRecipients => ErrorCode::TooManyRecipients,
            Self::BadSeconds => ErrorCode::BadSeconds,
            Self::UnknownMessage(_) => ErrorCode::UnknownMessage,
            Self::BadPattern(_) => ErrorCode::BadPattern,
            Self::NotStored(_) => ErrorCode::NotStored,
            Self::NotRead(_) => ErrorCode::NotRead,
            Self::NotYours(_) => ErrorCode::NotYours,
            Self::NotEditable(_) => ErrorCode::NotEditable,
            Self::NoSuchRoom(_) => ErrorCode::NoSuchRoom,
            Self::NotAMember(_) => ErrorCode::NotAMember,
            Self::RoomExists(..) => ErrorCode::RoomExists,
            Self::NotOwner(_) => ErrorCode::NotOwner,
            Self::TooManyRooms(..) => ErrorCode::TooManyRooms,
            Self::Archived(_) => ErrorCode::Archived,
            Self::LimitReached(..) => ErrorCode::LimitReached,
            Self::NotAllowed(_) => ErrorCode::NotAllowed,
            Self::TooSlow => ErrorCode::TooSlow,
            Self::LoginTimeout => ErrorCode::LoginTimeout,
            Self::ShuttingDown => ErrorCode::ShuttingDown,
        }
    }
}

fn join_ids(ids: &[UserId]) -> String {
    ids.iter().map(UserId::as_str).collect::<Vec<_>>().join(", ")
}
