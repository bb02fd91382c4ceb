//! Message history: requested in pages and merged into the timeline of a conversation.
//!
//! The live timeline of a conversation reaches the latest message, and pages extend it backwards. An excerpt
//! of the past around a message may be shown instead; the live timeline goes on being updated meanwhile.

use std::collections::BTreeSet;

use super::conversation::Conversation;
use super::history::{HistoryBoundary, HistoryRequest, LoadedHistory, ReadPosition};
use super::requests::Owner;
use super::{Change, Session};
use crate::protocol::event::HistoryPage;
use crate::protocol::id::{Cid, Seq, UserId};
use crate::protocol::message::{Audience, Message};
use crate::protocol::query::{HistoryQuery, HistoryRange};
use crate::protocol::request::Request;

impl Conversation {
    pub(super) fn shown(&self) -> &LoadedHistory {
        self.excerpt.as_ref().unwrap_or(&self.live)
    }

    /// Whether the shown timeline reaches the latest message.
    pub fn shows_latest(&self) -> bool {
        self.excerpt.is_none()
    }

    /// Returns what to show above the first entry, if anything.
    pub fn boundary_above(&self) -> Option<HistoryBoundary> {
        match (&self.loading, self.shown().above) {
            (Some((_, HistoryRequest::Recent | HistoryRequest::Earlier)), _) => {
                Some(HistoryBoundary::Loading)
            }
            (Some((_, HistoryRequest::Around(_) | HistoryRequest::Later)) | None, above) => above,
        }
        .filter(|_| self.timeline().oldest().is_some())
    }

    /// Whether a history request is unanswered.
    pub fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    /// Whether all messages on the server are loaded.
    pub fn has_full_history(&self) -> bool {
        let has_beginning = matches!(self.live.above, None | Some(HistoryBoundary::Beginning));
        has_beginning && !self.needs_recent
    }

    /// Whether the latest messages are to be requested.
    pub fn needs_recent(&self) -> bool {
        self.needs_recent && !self.was_refused
    }

    /// Whether earlier messages can be requested.
    pub fn has_earlier(&self) -> bool {
        let shown = self.shown();
        shown.above == Some(HistoryBoundary::Earlier)
            && !self.was_refused
            && (self.excerpt.is_some() || !self.needs_recent)
            && shown.timeline.can_load_more()
            && shown.timeline.oldest().is_some()
    }

    /// Whether later messages than those of an excerpt can be requested.
    pub fn has_later(&self) -> bool {
        let excerpt = self.excerpt.as_ref().filter(|_| !self.was_refused);
        excerpt.is_some_and(|excerpt| excerpt.timeline.can_load_more())
    }

    /// Returns which messages a request is for; `None` if it makes no sense now.
    fn range(&self, request: HistoryRequest) -> Option<HistoryRange> {
        match request {
            HistoryRequest::Recent => Some(HistoryRange::Latest),
            HistoryRequest::Earlier => {
                self.timeline().oldest().map(|oldest| HistoryRange::Before(oldest.seq))
            }
            HistoryRequest::Later => {
                self.excerpt.as_ref().map(|excerpt| HistoryRange::After(excerpt.timeline.newest()))
            }
            HistoryRequest::Around(id) => Some(HistoryRange::Around(id)),
        }
    }

    /// Merges a page. Returns whether the shown timeline was replaced.
    fn on_page(
        &mut self,
        request: HistoryRequest,
        page: HistoryPage,
        own: &BTreeSet<UserId>,
    ) -> bool {
        let HistoryPage { messages, has_earlier, has_later, .. } = page;
        for message in &messages {
            self.note_unread(message, own);
        }
        match request {
            HistoryRequest::Recent => {
                if self.needs_recent {
                    // The page tells what lies above, even if live messages are older than it.
                    self.live.set_above(has_earlier);
                }
                self.live.merge(messages, has_earlier);
                self.needs_recent = false;
                false
            }
            HistoryRequest::Earlier => {
                let shown = self.excerpt.as_mut().unwrap_or(&mut self.live);
                if messages.is_empty() {
                    shown.set_above(has_earlier);
                }
                shown.merge(messages, has_earlier);
                false
            }
            HistoryRequest::Later => {
                if let Some(excerpt) = &mut self.excerpt {
                    excerpt.timeline.add_history(messages);
                }
                if !has_later {
                    self.join_excerpt();
                }
                false
            }
            HistoryRequest::Around(_) => self.show_around(messages, has_earlier, has_later),
        }
    }

    fn show_around(&mut self, messages: Vec<Message>, has_earlier: bool, has_later: bool) -> bool {
        let oldest = self.live.timeline.oldest().map(|message| message.seq);
        let last = messages.last().map(|message| message.seq);
        let overlaps =
            !self.needs_recent && last.zip(oldest).is_some_and(|(last, old)| last >= old);
        if messages.is_empty() {
            false
        } else if overlaps || !has_later {
            self.live.merge(messages, has_earlier);
            self.needs_recent &= has_later;
            self.excerpt.take().is_some()
        } else {
            let mut excerpt = LoadedHistory::default();
            excerpt.merge(messages, has_earlier);
            self.excerpt = Some(excerpt);
            true
        }
    }

    /// Makes the excerpt the live timeline, after its end has reached the latest message.
    fn join_excerpt(&mut self) {
        let Some(mut excerpt) = self.excerpt.take() else { return };
        let after = excerpt.timeline.newest();
        let newer = self.live.timeline.newest_first().take_while(|message| message.seq > after);
        let newer: Vec<Message> = newer.cloned().collect();
        excerpt.timeline.add_history(newer);
        self.live = excerpt;
        self.needs_recent = false;
    }

    fn note_unread(&mut self, message: &Message, own: &BTreeSet<UserId>) {
        let Some(after) = self.unread_after else { return };
        let is_first = self.first_unread.is_none_or(|(first, _)| message.seq < first);
        if message.seq > after && is_first && !own.contains(&message.sender) {
            self.first_unread = Some((message.seq, message.id));
        }
    }
}

impl Session {
    /// Sets the read marker of the previous run, for servers that keep none.
    pub fn set_last_read(&mut self, position: ReadPosition) {
        self.last_read = Some(position);
    }

    /// Returns the position of the latest message to everyone, if the timeline reaches it.
    pub fn read_position(&self) -> Option<ReadPosition> {
        let everyone = self.conversations.everyone();
        let seq = everyone.live.timeline.newest();
        let is_known = everyone.shows_latest() && seq > Seq(0);
        is_known.then(|| ReadPosition { epoch: self.epoch.clone(), seq })
    }

    /// Returns a request for a part of the history of a conversation, or `None` without a connection.
    /// [`HistoryRequest::Around`] replaces an unanswered request; the others wait for its answer.
    pub fn request_history(
        &mut self,
        audience: &Audience,
        request: HistoryRequest,
    ) -> Option<(Cid, Request)> {
        let can_request = self.can_request();
        let conversation = self.conversations.get_mut(audience).filter(|_| can_request)?;
        match (&conversation.loading, request) {
            (Some((cid, _)), HistoryRequest::Around(_)) => {
                self.requests.take(cid);
            }
            (Some(_), _) => return None,
            (None, _) => {}
        }
        let range = conversation.range(request)?;
        let cid = self.requests.add(Owner::History(audience.clone()))?;
        conversation.loading = Some((cid.clone(), request));
        let query = HistoryQuery { conversation: Some(audience.clone()), range };
        Some((cid, Request::History(query)))
    }

    /// Returns a request for messages of a conversation to show outside its timeline: a thread, pins, the
    /// context of a hit. `None` without a connection. The answer is a [`Change::Lookup`], or
    /// [`Change::Refused`].
    pub fn look_up(&mut self, audience: &Audience, range: HistoryRange) -> Option<(Cid, Request)> {
        let query = HistoryQuery { conversation: Some(audience.clone()), range };
        self.request(Owner::Lookup(audience.clone()), Request::History(query))
    }

    /// Shows the latest messages of a conversation in place of an excerpt.
    pub fn return_to_latest(&mut self, audience: &Audience) -> Option<Change> {
        let conversation = self.conversations.get_mut(audience)?;
        conversation.excerpt.take()?;
        if let Some((cid, _)) = conversation.loading.take() {
            self.requests.take(&cid);
        }
        Some(Change::Reset(audience.clone()))
    }

    /// Handles a page of history.
    pub(super) fn on_history_page(&mut self, mut page: HistoryPage) -> Vec<Change> {
        let owner = page.cid.as_ref().and_then(|cid| match self.requests.get(cid) {
            Some(Owner::History(_) | Owner::Lookup(_)) => self.requests.take(cid),
            Some(_) | None => None,
        });
        let Some(Owner::History(audience) | Owner::Lookup(audience)) = &owner else {
            return Vec::new();
        };
        let audience = audience.clone();
        page.messages.retain_mut(|message| self.recent_changes.update(message));
        // A server may answer with more than was asked for.
        page.messages.retain(|message| self.conversation_of(message) == audience);
        for message in &page.messages {
            self.note_sender(message);
            self.confirm(message.cid.as_ref().filter(|_| self.is_own_id(&message.sender)));
        }
        if matches!(owner, Some(Owner::Lookup(_))) {
            return vec![Change::Lookup(page)];
        }
        let Some(conversation) = self.conversations.get_mut(&audience) else { return Vec::new() };
        let Some((_, request)) =
            conversation.loading.take_if(|(asked, _)| Some(&*asked) == page.cid.as_ref())
        else {
            return Vec::new();
        };
        let is_reset = conversation.on_page(request, page, &self.own_ids);
        let reset = is_reset.then(|| Change::Reset(audience.clone()));
        self.conversations.evict(&self.open);
        reset.into_iter().chain([Change::HistoryLoaded(audience, request)]).collect()
    }
}
