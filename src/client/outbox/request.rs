//! Unsent requests, and the commands and signals that control the outbox task.

use tokio::sync::mpsc;

use crate::client::throttle::SendThrottle;
use crate::protocol::id::Cid;
use crate::protocol::message::Millis;
use crate::protocol::request::{PostKind, Request};

/// A request that the server has not acknowledged: a message, or a change of a message or a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsentRequest {
    /// Identifies the request in the server's answer.
    pub cid: Cid,
    /// The request itself.
    pub request: Request,
    /// When it was made, by the local clock.
    pub at: Millis,
}

impl UnsentRequest {
    /// Whether it may be written to disk. A temporary message may not: it is kept in memory and lost with the
    /// process.
    pub(super) fn may_persist(&self) -> bool {
        let Request::Post(post) = &self.request else { return true };
        !matches!(post.kind, PostKind::Temporary { .. })
    }

    pub(super) fn is_message(&self) -> bool {
        matches!(self.request, Request::Post(_))
    }
}

/// Whether the outbox sends a request until it is answered: all that the server stores in its log.
pub fn belongs_in_outbox(request: &Request) -> bool {
    match request {
        Request::Post(_)
        | Request::Delete(_)
        | Request::Edit { .. }
        | Request::React { .. }
        | Request::Pin { .. }
        | Request::Room { .. } => true,
        Request::LocalSearch
        | Request::SearchHistory(_)
        | Request::History(_)
        | Request::Rooms(_)
        | Request::Users { .. }
        | Request::Conversations
        | Request::Read { .. }
        | Request::Notify { .. }
        | Request::Typing(_)
        | Request::Ping(_)
        | Request::Exit => false,
    }
}

/// A command from the user interface.
#[derive(Debug)]
pub(in crate::client) enum OutboxCommand {
    /// Store a request and send it until the server answers.
    Send(Cid, Request),
    /// Drop a request that was refused or not sent yet.
    Discard(Cid),
}

/// A report from the connection.
#[derive(Debug)]
pub(in crate::client) enum OutboxSignal {
    /// The replay is complete: the connection takes requests through this channel, at this rate.
    Live(mpsc::Sender<Vec<u8>>, SendThrottle),
    /// The connection was lost.
    Disconnected,
    /// The server acknowledged or refused a request.
    Answered(Cid),
    /// The server could not store a request. It is sent again over the next connection.
    NotStored(Cid),
    /// A message was deleted, edited or has expired: the outbox file must not keep its text.
    MessageRemoved,
}
