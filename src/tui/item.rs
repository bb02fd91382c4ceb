//! The identity of an item of the conversation.

use crate::client::state::history::HistoryBoundary;
use crate::client::state::timeline::EntryIndex;
use crate::protocol::id::{Cid, MessageId};

/// Identifies an item of the conversation: a message, or another row between messages.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ItemId {
    /// A stored message.
    Message(MessageId),
    /// A pending message.
    Pending(Cid),
    /// The row that stands for the history beyond what is loaded.
    Boundary(HistoryBoundary),
    /// A notice, or users who joined and left.
    Other(EntryIndex),
}
