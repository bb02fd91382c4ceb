//! A message as the server made it: the value that every recipient sees.

use std::collections::BTreeSet;

use chrono::{DateTime, FixedOffset};

use super::id::{Cid, MessageId, Seq, UserId};
use super::text::SafeText;

/// Milliseconds since 1970, by the server's clock.
pub type Millis = i64;

/// Who gets a message, beside its sender.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Everybody in the room.
    Everyone,
    /// These people alone. On a [`UiEvent`] the sender is never among them.
    Only(BTreeSet<UserId>),
}

impl Audience {
    /// The people who are named; `None` for everybody.
    pub fn recipients(&self) -> Option<&BTreeSet<UserId>> {
        match self {
            Self::Everyone => None,
            Self::Only(people) => Some(people),
        }
    }

    /// Whether the message is for named people alone.
    pub fn is_private(&self) -> bool {
        self.recipients().is_some()
    }
}

/// Who may see what `author` has said to `recipients`, also that it is gone: those people, and nobody
/// else. `None` is everybody.
///
/// This is the one rule. The live feed and the log's lists for pages and replays are made by it; what is
/// looked up (to search, to quote, to reply, to remove) is held against [`can_see`], which asks it.
pub fn viewers<'a, Id: Eq + ?Sized>(
    author: &'a Id,
    recipients: Option<impl IntoIterator<Item = &'a Id>>,
) -> Option<impl Iterator<Item = &'a Id>> {
    recipients.map(|named| std::iter::once(author).chain(named))
}

/// Whether `viewer` may see what `author` has said to `recipients`: see [`readers`].
pub fn can_see<'a, Id: Eq + ?Sized>(
    viewer: &Id,
    author: &'a Id,
    recipients: Option<impl IntoIterator<Item = &'a Id>>,
) -> bool {
    viewers(author, recipients).is_none_or(|mut people| people.any(|person| person == viewer))
}

/// What sort of message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
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
    pub kind: MessageKind,
    /// The text.
    pub content: SafeText,
    /// When the server took it, in the server's time zone.
    pub at: DateTime<FixedOffset>,
    /// The sender's own name for it.
    pub cid: Option<Cid>,
}

impl Message {
    /// When it expires, by the server's clock in milliseconds.
    pub fn expires(&self) -> Option<Millis> {
        match self.kind {
            MessageKind::Temporary { expires } => Some(expires),
            MessageKind::Plain | MessageKind::Reply { .. } => None,
        }
    }

    /// The message that this one replies to.
    pub fn reply_to(&self) -> Option<MessageId> {
        match self.kind {
            MessageKind::Reply { to } => Some(to),
            MessageKind::Plain | MessageKind::Temporary { .. } => None,
        }
    }
}
