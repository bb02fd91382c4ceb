//! Contiguous parts of the message history, and which of them to request.

use super::timeline::Timeline;
use crate::protocol::id::{MessageId, Seq};
use crate::protocol::message::Message;

/// How far the user has read.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ReadPosition {
    /// Identifies the server's log.
    pub epoch: String,
    /// The last message read.
    pub seq: Seq,
}

/// A part of the history to request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryRequest {
    /// The latest messages.
    Recent,
    /// The messages before the oldest one of the shown timeline.
    Earlier,
    /// The messages after the latest one of an excerpt.
    Later,
    /// The messages around this one.
    Around(MessageId),
}

/// What lies beyond an end of the loaded messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HistoryBoundary {
    /// Earlier messages, which were requested.
    Loading,
    /// Earlier messages.
    Earlier,
    /// Nothing: the first message is loaded.
    Beginning,
    /// Later messages.
    Later,
}

/// A contiguous part of the history.
#[derive(Debug, Clone, Default)]
pub(super) struct LoadedHistory {
    pub(super) timeline: Timeline,
    /// What lies before the oldest message; `None` if unknown.
    pub(super) above: Option<HistoryBoundary>,
}

impl LoadedHistory {
    pub(super) fn clear(&mut self) {
        self.timeline.clear();
        self.above = None;
    }

    /// Adds a page that overlaps or adjoins what is loaded.
    pub(super) fn merge(&mut self, messages: Vec<Message>, has_earlier: bool) {
        let oldest = self.timeline.oldest().map(|message| message.seq);
        let reaches_further = match (oldest, messages.first()) {
            (Some(oldest), Some(first)) => first.seq <= oldest,
            (None, _) => true,
            (Some(_), None) => false,
        };
        if reaches_further {
            self.set_above(has_earlier);
        }
        self.timeline.add_history(messages);
    }

    pub(super) fn set_above(&mut self, has_earlier: bool) {
        let above = if has_earlier { HistoryBoundary::Earlier } else { HistoryBoundary::Beginning };
        self.above = Some(above);
    }
}
