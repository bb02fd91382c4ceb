//! Messages and their audience.

use std::collections::BTreeSet;

use chrono::{DateTime, FixedOffset};

use super::id::{Cid, MessageId, RoomName, Seq, UserId};
use super::mention::Mentions;
use super::reaction::Reaction;
use super::text::SafeText;

/// Milliseconds since 1970-01-01 UTC on the server's clock.
pub type Millis = i64;

/// The recipients of a message, in addition to its sender. It also names a conversation, as one of its
/// users sees it: the recipients of the messages that this user posts there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Audience {
    /// All users, including those who join later.
    Everyone,
    /// The members of a room, including those who join later.
    Room(RoomName),
    /// A direct message to these users. In a [`Message`], the sender is not among them.
    Only(BTreeSet<UserId>),
}

impl Audience {
    /// The room of a message to a room.
    pub fn room(&self) -> Option<&RoomName> {
        match self {
            Self::Room(room) => Some(room),
            Self::Everyone | Self::Only(_) => None,
        }
    }

    /// The recipients of a direct message.
    pub fn direct(&self) -> Option<&BTreeSet<UserId>> {
        match self {
            Self::Only(recipients) => Some(recipients),
            Self::Everyone | Self::Room(_) => None,
        }
    }

    /// Whether this is a direct message.
    pub fn is_direct(&self) -> bool {
        matches!(self, Self::Only(_))
    }
}

/// The kind of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// MESSAGE.
    Plain,
    /// TEMPORARY.
    Temporary {
        /// From this time on the message must not be shown.
        expires: Millis,
    },
    /// REPLY.
    Reply {
        /// The message replied to.
        to: MessageId,
    },
}

/// A message in the server's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The position in the log.
    pub seq: Seq,
    /// The unique id.
    pub id: MessageId,
    /// The author.
    pub sender: UserId,
    /// Whether the sender was a guest (presented no key). The ID was valid for one connection and
    /// does not identify anyone beyond it.
    pub guest: bool,
    /// The recipients.
    pub audience: Audience,
    /// Plain, temporary or a reply.
    pub kind: MessageKind,
    /// The text.
    pub content: SafeText,
    /// When the server accepted it, in the server's time zone.
    pub at: DateTime<FixedOffset>,
    /// The id of the sender's request.
    pub cid: Option<Cid>,
    /// The users whom the text mentions.
    pub mentions: Mentions,
    /// When the text was last edited.
    pub edited: Option<Millis>,
    /// The reactions, in the order in which each emoji was first used.
    pub reactions: Vec<Reaction>,
    /// Whether the message is pinned in its conversation.
    pub pinned: bool,
}

impl Message {
    /// The conversation that the message belongs to, as `viewer` sees it.
    pub fn conversation(&self, viewer: &UserId) -> Audience {
        match &self.audience {
            Audience::Only(recipients) => {
                let participants = recipients.iter().chain([&self.sender]);
                Audience::Only(participants.filter(|user| *user != viewer).cloned().collect())
            }
            shared @ (Audience::Everyone | Audience::Room(_)) => shared.clone(),
        }
    }

    /// When the message expires, if it is temporary.
    pub fn expires(&self) -> Option<Millis> {
        match self.kind {
            MessageKind::Temporary { expires } => Some(expires),
            MessageKind::Plain | MessageKind::Reply { .. } => None,
        }
    }

    /// The message that this one replies to, if any.
    pub fn reply_to(&self) -> Option<MessageId> {
        match self.kind {
            MessageKind::Reply { to } => Some(to),
            MessageKind::Plain | MessageKind::Temporary { .. } => None,
        }
    }
}
