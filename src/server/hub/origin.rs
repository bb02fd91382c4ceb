//! Where the entries that the hub proposes come from.

use super::{NewSession, SessionId};
use crate::protocol::id::{Cid, MessageId};
use crate::server::admin::AdminCommand;

/// Identifies an administrator's command that waits for its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AdminRequestId(pub u64);

/// Where an entry came from, and so who waits for its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the field names say it")]
pub enum Origin {
    /// A request of a session.
    Request { session: SessionId, cid: Option<Cid> },
    /// A temporary message was due.
    Expiry(MessageId),
    /// The login of a new user.
    Login(NewSession),
    /// An administrator's command.
    Admin { id: AdminRequestId, command: AdminCommand },
    /// Nothing depends on the outcome.
    NoReply,
}

impl Origin {
    /// The session whose request it was.
    pub(super) fn session(&self) -> Option<SessionId> {
        match self {
            Self::Request { session, .. } => Some(*session),
            Self::Expiry(_) | Self::Login(_) | Self::Admin { .. } | Self::NoReply => None,
        }
    }
}
