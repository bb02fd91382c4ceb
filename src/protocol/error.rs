//! What a server can refuse, with the stable code of each reason and its words for people.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::id::{IdError, MessageId, Name, UserId};
use super::limits;

/// The stable name of a reason, for programs. The words beside it may change, these may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The bytes were not a JSON object.
    BadJson,
    /// A JSON object, but a field is missing or not what it has to be.
    BadRequest,
    /// The object is longer than the server takes; the connection is closed.
    FrameTooLong,
    /// The action is not one of the protocol's.
    UnknownAction,
    /// Something other than a login came first.
    LoginFirst,
    /// A login after the login.
    AlreadyLoggedIn,
    /// The name can't be a name.
    BadName,
    /// The name could be taken for that of somebody else.
    ConfusableName,
    /// Nobody new is let in without an invite.
    InviteNeeded,
    /// The invite is used up, too old, or was never one.
    BadInvite,
    /// Whoever runs the server has shut this person out; the connection is closed.
    Banned,
    /// Whoever runs the server has ended this connection.
    Kicked,
    /// The ID asked for belongs to another key, or to none.
    NotYourId,
    /// The key has as many IDs as a key may have.
    TooManyIds,
    /// Too much comes from one address.
    TooManyConnections,
    /// Far more was asked for than one person may, and for too long; the connection is closed.
    Flooding,
    /// A message without text.
    EmptyContent,
    /// A message of more text than the server takes.
    ContentTooLong,
    /// A direct message to nobody, or to nobody but its sender.
    NoRecipient,
    /// A recipient who is not there.
    UnknownRecipient,
    /// A direct message to more people than the server takes.
    TooManyRecipients,
    /// A life of a temporary message that the server does not grant.
    BadSeconds,
    /// No such message, or none that the sender may see.
    UnknownMessage,
    /// The expression of a search is broken or too large.
    BadPattern,
    /// The server could not store it: the disk is full, or fails.
    NotStored,
    /// Only the author may do that.
    NotYours,
    /// The client did not take what was sent to it; the connection is closed.
    TooSlow,
    /// The login took too long; the connection is closed.
    LoginTimeout,
    /// The server stops; the connection is closed.
    ShuttingDown,
    /// A code that this version does not know.
    #[serde(other)]
    Unknown,
}

/// Why the server did not do what it was asked. The text is for people and says what to do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// See [`ErrorCode::BadJson`].
    #[error("that is not a JSON object: {0}")]
    BadJson(String),
    /// See [`ErrorCode::BadRequest`].
    #[error("{0}")]
    BadRequest(String),
    /// See [`ErrorCode::FrameTooLong`].
    #[error("an object may have {0} bytes at most")]
    FrameTooLong(usize),
    /// See [`ErrorCode::UnknownAction`].
    #[error("unknown action; there are MESSAGE, TEMPORARY, REPLY, DELETE, SEARCH and EXIT")]
    UnknownAction,
    /// See [`ErrorCode::LoginFirst`].
    #[error("log in first: {{\"username\": \"...\"}}")]
    LoginFirst,
    /// See [`ErrorCode::AlreadyLoggedIn`].
    #[error("already logged in on this connection")]
    AlreadyLoggedIn,
    /// See [`ErrorCode::BadName`].
    #[error("{0}")]
    BadName(#[from] IdError),
    /// See [`ErrorCode::ConfusableName`].
    #[error("the name {0} could be taken for {1}, which is in use: choose exactly {1}, or another")]
    ConfusableName(Name, Name),
    /// See [`ErrorCode::InviteNeeded`].
    #[error(
        "this server lets nobody new in without an invite: ask whoever runs it for a chat:// link (`chat invite` makes one)"
    )]
    InviteNeeded,
    /// See [`ErrorCode::InvalidInvite`].
    #[error("the invite is used up, too old, or not complete: ask for a new link")]
    BadInvite,
    /// See [`ErrorCode::BanTarget`].
    #[error("you are shut out of this server: whoever runs it can change that")]
    Banned,
    /// See [`ErrorCode::Kicked`].
    #[error("whoever runs the server has ended your connection")]
    Kicked,
    /// See [`ErrorCode::NotYourId`].
    #[error(
        "{0} does not belong to your key: leave --id out, or bring the key that it belongs to (`chat key import`)"
    )]
    NotYourId(UserId),
    /// See [`ErrorCode::TooManyIds`].
    #[error("your key has {} IDs already, and more it may not have: {}", .0.len(), join_ids(.0))]
    TooManyIds(Vec<UserId>),
    /// See [`ErrorCode::TooManyConnections`].
    #[error("too many connections come from your address: close one, or wait a minute")]
    TooManyConnections,
    /// See [`ErrorCode::Flooding`].
    #[error("you asked for far more than one person may, and for too long")]
    Flooding,
    /// See [`ErrorCode::EmptyContent`].
    #[error("the message has no text")]
    EmptyContent,
    /// See [`ErrorCode::ContentTooLong`].
    #[error("the message has {0} characters; {max} are the most", max = limits::CONTENT_CHARACTERS)]
    ContentTooLong(usize),
    /// See [`ErrorCode::NoRecipient`].
    #[error("a direct message needs at least one recipient other than its sender")]
    NoRecipient,
    /// See [`ErrorCode::UnknownRecipient`].
    #[error("not here: {}; the message was sent to nobody", join_ids(.0))]
    UnknownRecipient(Vec<UserId>),
    /// See [`ErrorCode::TooManyRecipients`].
    #[error("a direct message may name {} people at most", limits::RECIPIENTS)]
    TooManyRecipients,
    /// See [`ErrorCode::BadSeconds`].
    #[error("a temporary message lives from 1 to {} seconds", limits::MAX_TEMPORARY_SECONDS)]
    BadSeconds,
    /// See [`ErrorCode::UnknownMessage`].
    #[error("there is no message {0} that you can see (it may have expired or been removed)")]
    UnknownMessage(MessageId),
    /// See [`ErrorCode::BadPattern`].
    #[error("the search expression is broken: {0}")]
    BadPattern(String),
    /// See [`ErrorCode::WriteFailed`].
    #[error("the server could not store it ({0}): nothing was sent; tell whoever runs the server")]
    NotStored(&'static str),
    /// See [`ErrorCode::NotYours`].
    #[error("message {0} is not yours: only its author can do that")]
    NotYours(MessageId),
    /// See [`ErrorCode::TooSlow`].
    #[error("the connection was too slow for what was sent to it")]
    TooSlow,
    /// See [`ErrorCode::LoginTimeout`].
    #[error("no login came in time")]
    LoginTimeout,
    /// See [`ErrorCode::ShuttingDown`].
    #[error("the server is shutting down")]
    ShuttingDown,
}

impl Refusal {
    /// The code that goes with the text.
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
            Self::NotYours(_) => ErrorCode::NotYours,
            Self::TooSlow => ErrorCode::TooSlow,
            Self::LoginTimeout => ErrorCode::LoginTimeout,
            Self::ShuttingDown => ErrorCode::ShuttingDown,
        }
    }
}

fn join_ids(ids: &[UserId]) -> String {
    ids.iter().map(UserId::as_str).collect::<Vec<_>>().join(", ")
}
