//! Unsent messages, and the commands and signals that control the outbox task.

use tokio::sync::mpsc;

use crate::client::throttle::SendThrottle;
use crate::protocol::id::Cid;
use crate::protocol::message::Millis;
use crate::protocol::request::Post;

/// A message that the server has not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsentMessage {
    /// Identifies the message in the server's answer.
    pub cid: Cid,
    /// The message itself.
    pub post: Post,
    /// When it was posted, by the local clock.
    pub at: Millis,
}

/// A command from the user interface.
#[derive(Debug)]
pub(in crate::client) enum OutboxCommand {
    /// Store a message and send it until the server answers.
    Post(Cid, Post),
    /// Drop a message that was refused or not sent yet.
    Discard(Cid),
}

/// A report from the connection.
#[derive(Debug)]
pub(in crate::client) enum OutboxSignal {
    /// The replay is complete: the connection takes messages through this channel, at this rate.
    Live(mpsc::Sender<Vec<u8>>, SendThrottle),
    /// The connection was lost.
    Disconnected,
    /// The server acknowledged or refused a request.
    Answered(Cid),
    /// The server could not store a message. It is sent again over the next connection.
    NotStored(Cid),
    /// A message was deleted or expired: the outbox file must not keep its text.
    MessageRemoved,
}
