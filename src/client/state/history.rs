//! What was said before one came: asked for in pages, and put where it belongs.
//!
//! Usually the conversation reaches to the present, and pages come before it. It can instead be a part
//! of the past, around a message; what is said meanwhile is then only counted.

use std::collections::VecDeque;

use super::{Change, ChatState};
use crate::protocol::event::HistoryPage;
use crate::protocol::id::{Cid, MessageId, Seq};
use crate::protocol::message::Message;
use crate::protocol::query;
use crate::protocol::request::Request;

/// How many messages that are gone are remembered, because an answer that is under way may still have
/// their text: far more than go within the time of an answer.
const MAX_REMOVED: usize = 1_024;

/// How far one had read when one left.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ReadPosition {
    /// In which log.
    pub epoch: String,
    /// Up to which place in it.
    pub seq: Seq,
}

/// Which part of the history was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryRequest {
    /// The newest.
    Recent,
    /// What comes before that which is there.
    Earlier,
    /// What was said around a message.
    Around(MessageId),
}

/// What there is beyond the conversation as it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HistoryBoundary {
    /// Earlier messages, which were asked for.
    Loading,
    /// Earlier messages.
    Earlier,
    /// Nothing: all begins here.
    Beginning,
    /// Later messages, up to the present.
    Later,
}

/// What is known of that which is not loaded.
#[derive(Debug, Clone, Default)]
pub(super) struct LoadedHistory {
    epoch: String,
    /// Whether nothing was loaded yet of what there is.
    needs_recent: bool,
    /// Before the first message.
    above: Option<HistoryBoundary>,
    pending_request: Option<(Cid, HistoryRequest)>,
    /// Whether the conversation is a part of the past, without the present.
    is_excerpt: bool,
    last_read: Option<ReadPosition>,
    unread: Option<(Seq, MessageId)>,
    removed: VecDeque<MessageId>,
}

impl LoadedHistory {
    /// A login; what was asked before it has no answer.
    pub(super) fn on_welcome(&mut self, epoch: &str, head: Seq, resumed: bool) {
        self.pending_request = None;
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

    /// Whether its text is gone for ever, as far as is remembered.
    pub(super) fn was_removed(&self, id: MessageId) -> bool {
        self.removed.contains(&id)
    }

    /// Notes a refusal; whether it was the answer to what was asked.
    pub(super) fn on_error(&mut self, cid: Option<&Cid>) -> bool {
        let asked = self.pending_request.take_if(|(asked, _)| Some(&*asked) == cid);
        if asked.is_some() {
            // Nobody asks again and again what is refused.
            self.needs_recent = false;
            self.above = None;
        }
        asked.is_some()
    }
}

impl ChatState {
    /// Says how far one had read when one left the last time.
    pub fn set_last_read(&mut self, position: ReadPosition) {
        self.history.last_read = Some(position);
    }

    /// How far the conversation goes, if it reaches to the present.
    pub fn read_position(&self) -> Option<ReadPosition> {
        let seq = self.timeline.newest();
        let is_known = !self.history.is_excerpt && seq > Seq(0);
        is_known.then(|| ReadPosition { epoch: self.history.epoch.clone(), seq })
    }

    /// The first message of others that came after one had left.
    pub fn first_unread(&self) -> Option<MessageId> {
        self.history.unread.map(|(_, id)| id)
    }

    /// Whether the conversation reaches to the present.
    pub fn shows_latest(&self) -> bool {
        !self.history.is_excerpt
    }

    /// What there is before the first entry, where a line should say so.
    pub fn boundary_above(&self) -> Option<HistoryBoundary> {
        match (&self.history.pending_request, self.history.above) {
            (Some((_, HistoryRequest::Recent | HistoryRequest::Earlier)), _) => {
                Some(HistoryBoundary::Loading)
            }
            (Some((_, HistoryRequest::Around(_))) | None, above) => above,
        }
        .filter(|_| self.timeline.oldest().is_some())
    }

    /// Whether the answer to a question about the history is awaited.
    pub fn is_loading_history(&self) -> bool {
        self.history.pending_request.is_some()
    }

    /// Whether there is nothing on the server that is not here.
    pub fn has_full_history(&self) -> bool {
        let has_beginning = matches!(self.history.above, None | Some(HistoryBoundary::Beginning));
        has_beginning && !self.history.needs_recent && !self.history.is_excerpt
    }

    /// Whether nothing was loaded so far.
    pub fn needs_recent_history(&self) -> bool {
        self.history.needs_recent
    }

    /// Whether there are earlier messages to be asked for.
    pub fn has_earlier(&self) -> bool {
        self.history.above == Some(HistoryBoundary::Earlier)
            && !self.history.needs_recent
            && self.timeline.can_load_more()
            && self.timeline.oldest().is_some()
    }

    /// Gives the request for a part of the history; nothing without a connection, or while the answer
    /// to another is awaited. Asking for the newest leaves the past.
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
                query::HistoryQuery::Before(None)
            }
            HistoryRequest::Earlier => {
                query::HistoryQuery::Before(self.timeline.oldest().map(|message| message.seq))
            }
            HistoryRequest::Around(id) => query::HistoryQuery::Around(id),
        };
        let cid = self.next_cid()?;
        self.history.pending_request = Some((cid.clone(), request));
        Some((cid, Request::History(wanted)))
    }

    /// Takes in an answer.
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
