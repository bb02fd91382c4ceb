//! A message as the server made it: the value that every recipient sees.

use std::collections::BTreeSet;

use chrono::{DateTime, FixedOffset};

use super::id::{ClientId, MessageId, Seq, UserId};
use super::text::SafeText;

/// Milliseconds since 1970, by the server's clock.
pub type Millis = i64;

/// Who gets a message, beside its sender.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Everybody in the room.
    Everyone,
    /// These people alone. On a [`Message`] the sender is never among them.
    Only(BTreeSet<UserId>),
}

impl Audience {
    /// Whether `user` is among the recipients.
    pub fn includes(&self, user: &UserId) -> bool {
        match self {
            Self::Everyone => true,
            Self::Only(people) => people.contains(user),
        }
    }

    /// Whether the message is for named people alone.
    pub fn is_private(&self) -> bool {
        match self {
            Self::Everyone => false,
            Self::Only(_) => true,
        }
    }
}

/// What sort of message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// MESSAGE.
    Plain,
    /// TEMPORARY: nobody may show it from this moment on.
    Temporary {
        /// The moment, by the server's clock.
        expires: Millis,
    },
    /// REPLY.
    Reply {
        /// The message replied to.
        to: MessageId,
    },
}

/// A message in the server's one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its place in the order.
    pub seq: Seq,
    /// Its unique id.
    pub id: MessageId,
    /// Who wrote it; set by the server alone.
    pub sender: UserId,
    /// Whether the sender showed no key, as original clients don't: the ID was theirs for one connection,
    /// and says nothing about who it was.
    pub guest: bool,
    /// Who gets it.
    pub audience: Audience,
    /// What sort it is.
    pub kind: Kind,
    /// The text.
    pub content: SafeText,
    /// When the server took it, in the server's time zone.
    pub at: DateTime<FixedOffset>,
    /// The sender's own name for it.
    pub cid: Option<ClientId>,
}

impl Message {
    /// Whether `user` wrote it or is among its recipients.
    pub fn visible_to(&self, user: &UserId) -> bool {
        self.sender == *user || self.audience.includes(user)
    }

    /// When it expires, by the server's clock in milliseconds.
    pub fn expires(&self) -> Option<Millis> {
        match self.kind {
            Kind::Temporary { expires } => Some(expires),
            Kind::Plain | Kind::Reply { .. } => None,
        }
    }

    /// The message that this one replies to.
    pub fn reply_to(&self) -> Option<MessageId> {
        match self.kind {
            Kind::Reply { to } => Some(to),
            Kind::Plain | Kind::Temporary { .. } => None,
        }
    }
}
