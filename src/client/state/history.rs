//! Message history: requested in pages and merged into the timeline.
//!
//! Normally the timeline reaches the newest message, and pages extend it backwards. It can instead show an
//! excerpt of the past around a message; new messages are then only reported, not added.

use std::collections::VecDeque;

use super::{Change, ChatState};
use crate::protocol::error::ErrorCode;
use crate::protocol::event::{ErrorReply, HistoryPage};
use crate::protocol::id::{Cid, MessageId, Seq};
use crate::protocol::message::Message;
use crate::protocol::query::{HistoryQuery, HistoryRange};
use crate::protocol::request::Request;

/// How many removed messages are remembered, because an answer still in flight may contain their text.
const MAX_REMOVED: usize = 1_024;

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
    /// The newest messages.
    Recent,
    /// The messages before the oldest loaded one.
    Earlier,
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

/// Which part of the history is loaded, and which is requested.
#[derive(Debug, Clone, Default)]
pub(super) struct LoadedHistory {
    epoch: String,
    /// Whether the log has messages and none was loaded yet.
    needs_recent: bool,
    /// What lies before the oldest message; `None` if unknown.
    above: Option<HistoryBoundary>,
    pending_request: Option<(Cid, HistoryRequest)>,
    /// The server could not read its storage. Nothing is requested until the user tries again.
    has_failed: bool,
    /// Whether the timeline shows an excerpt of the past.
    is_excerpt: bool,
    /// The read marker of the previous run.
    last_read: Option<ReadPosition>,
    /// The first message after `last_read`.
    unread: Option<(Seq, MessageId)>,
    /// The most recently removed messages, newest first.
    removed: VecDeque<MessageId>,
}

impl LoadedHistory {
    /// Handles a login. A pending request will not be answered.
    pub(super) fn on_welcome(&mut self, epoch: &str, head: Seq, resumed: bool) {
        self.pending_request = None;
        self.has_failed = false;
        if !resumed {
            let left_off = self.last_read.take().filter(|seen| seen.epoch == epoch);
            let is_lacking = head > Seq(0);
            *self = Self {
                epoch: epoch.to_owned(),
                needs_recent: is_lacking,
                last_read: left_off,
                ..Self::default()
            };
        }
    }

    pub(super) fn mark_removed(&mut self, id: MessageId) {
        self.removed.truncate(MAX_REMOVED - 1);
        self.removed.push_front(id);
    }

    /// Whether a message was removed, as far as remembered.
    pub(super) fn was_removed(&self, id: MessageId) -> bool {
        self.removed.contains(&id)
    }

    /// Handles an error reply. Returns the pending request if this answers it.
    pub(super) fn on_error(&mut self, error: &ErrorReply) -> Option<HistoryRequest> {
        let is_answer = |(asked, _): &mut (Cid, _)| Some(&*asked) == error.cid.as_ref();
        let (_, request) = self.pending_request.take_if(is_answer)?;
        match request {
            _ if error.code == ErrorCode::NotRead => self.has_failed = true,
            // One message is unknown; that says nothing about the rest of the history.
            HistoryRequest::Around(_) => {}
            HistoryRequest::Recent | HistoryRequest::Earlier => {
                // Do not request again what was refused.
                self.needs_recent = false;
                self.above = None;
            }
        }
        Some(request)
    }
}

impl ChatState {
    /// Sets the read marker of the previous run.
    pub fn set_last_read(&mut self, position: ReadPosition) {
        self.history.last_read = Some(position);
    }

    /// Returns the position of the newest message, if the timeline reaches it.
    pub fn read_position(&self) -> Option<ReadPosition> {
        let seq = self.timeline.newest();
        let is_known = !self.history.is_excerpt && seq > Seq(0);
        is_known.then(|| ReadPosition { epoch: self.history.epoch.clone(), seq })
    }

    /// Returns the first message of another user after the read marker of the previous run.
    pub fn first_unread(&self) -> Option<MessageId> {
        self.history.unread.map(|(_, id)| id)
    }

    /// Whether the timeline reaches the newest message.
    pub fn shows_latest(&self) -> bool {
        !self.history.is_excerpt
    }

    /// Returns what to show above the first entry, if anything.
    pub fn boundary_above(&self) -> Option<HistoryBoundary> {
        match (&self.history.pending_request, self.history.above) {
            (Some((_, HistoryRequest::Recent | HistoryRequest::Earlier)), _) => {
                Some(HistoryBoundary::Loading)
            }
            (Some((_, HistoryRequest::Around(_))) | None, above) => above,
        }
        .filter(|_| self.timeline.oldest().is_some())
    }

    /// Whether a history request is pending.
    pub fn is_loading_history(&self) -> bool {
        self.history.pending_request.is_some()
    }

    /// Whether all messages on the server are loaded.
    pub fn has_full_history(&self) -> bool {
        let has_beginning = matches!(self.history.above, None | Some(HistoryBoundary::Beginning));
        has_beginning && !self.history.needs_recent && !self.history.is_excerpt
    }

    /// Whether the log has messages and none was loaded yet.
    pub fn needs_recent_history(&self) -> bool {
        self.history.needs_recent && !self.history.has_failed
    }

    /// Allows requests again after the server could not read its storage. Call it when the user acts.
    pub fn retry_history(&mut self) {
        self.history.has_failed = false;
    }

    /// Whether earlier messages can be requested.
    pub fn has_earlier(&self) -> bool {
        self.history.above == Some(HistoryBoundary::Earlier)
            && !self.history.needs_recent
            && !self.history.has_failed
            && self.timeline.can_load_more()
            && self.timeline.oldest().is_some()
    }

    /// Returns a request for a part of the history, or `None` without a connection or while another request
    /// is pending. [`HistoryRequest::Recent`] leaves an excerpt.
    pub fn request_history(&mut self, request: HistoryRequest) -> Option<(Cid, Request)> {
        if !self.is_online() || self.history.pending_request.is_some() {
            return None;
        }
        let wanted = match request {
            HistoryRequest::Recent => {
                if std::mem::take(&mut self.history.is_excerpt) {
                    self.timeline.clear();
                    self.history.needs_recent = true;
                }
                HistoryRange::Latest
            }
            HistoryRequest::Earlier => match self.timeline.oldest() {
                Some(oldest) => HistoryRange::Before(oldest.seq),
                None => HistoryRange::Latest,
            },
            HistoryRequest::Around(id) => HistoryRange::Around(id),
        };
        let cid = self.next_cid()?;
        self.history.pending_request = Some((cid.clone(), request));
        Some((cid, Request::History(HistoryQuery { conversation: None, range: wanted })))
    }

    /// Handles a page of history.
    pub(super) fn on_history_page(&mut self, page: HistoryPage) -> Vec<Change> {
        let HistoryPage { mut messages, has_earlier: earlier, has_later: later, cid } = page;
        let asked =
            self.history.pending_request.take_if(|(asked, _)| Some(&*asked) == cid.as_ref());
        let Some((_, request)) = asked else { return Vec::new() };
        messages.retain(|message| !self.history.was_removed(message.id));
        for message in &messages {
            self.confirm(message);
            self.note_unread(message);
        }
        let is_excerpt =
            matches!(request, HistoryRequest::Around(_)) && (later || self.history.is_excerpt);
        if is_excerpt {
            if messages.is_empty() {
                return vec![Change::HistoryLoaded(request)];
            }
            self.timeline.clear();
            self.history.is_excerpt = true;
        }
        let oldest = self.timeline.oldest().map(|message| message.seq);
        let reaches_further = match (oldest, messages.first()) {
            (Some(oldest), Some(first)) => first.seq < oldest,
            (None, _) => true,
            (Some(_), None) => matches!(request, HistoryRequest::Earlier),
        };
        if reaches_further || self.history.needs_recent {
            self.history.needs_recent = false;
            self.history.above =
                Some(if earlier { HistoryBoundary::Earlier } else { HistoryBoundary::Beginning });
        }
        self.timeline.add_history(messages);
        let reset = is_excerpt.then_some(Change::Reset);
        reset.into_iter().chain([Change::HistoryLoaded(request)]).collect()
    }

    fn note_unread(&mut self, message: &Message) {
        let Some(seen) = &self.history.last_read else { return };
        let is_first = self.history.unread.is_none_or(|(first, _)| message.seq < first);
        if message.seq > seen.seq && is_first && !self.is_own_id(&message.sender) {
            self.history.unread = Some((message.seq, message.id));
        }
    }
}
