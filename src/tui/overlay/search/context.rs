//! What was said before and after the selected hit.

use std::collections::HashMap;

use chrono::{DateTime, FixedOffset};

use super::TYPING_PAUSE;
use crate::client::state::Session;
use crate::client::state::search::SearchHit;
use crate::client::state::timeline::{EntryIndex, MessageState, TimelineEntry};
use crate::protocol::event::HistoryPage;
use crate::protocol::id::{Cid, MessageId};
use crate::protocol::message::{Message, Millis};
use crate::protocol::query::HistoryRange;
use crate::protocol::request::Request;

/// The messages around a hit; `None` at an end of its conversation.
#[derive(Debug, Clone, Default)]
pub(super) struct HitContext {
    pub(super) before: Option<Message>,
    pub(super) after: Option<Message>,
}

impl HitContext {
    fn messages(&self) -> impl Iterator<Item = &Message> {
        self.before.iter().chain(&self.after)
    }
}

/// The contexts that were looked up on the server.
#[derive(Debug, Clone, Default)]
pub(super) struct LookedUp {
    contexts: HashMap<MessageId, HitContext>,
    /// The selected hit, and when to look its context up; `None` if that is done or not needed.
    selected: Option<MessageId>,
    due: Option<DateTime<FixedOffset>>,
    /// The last request.
    cid: Option<Cid>,
}

impl LookedUp {
    /// The context of a hit: from the loaded messages, else as looked up.
    pub(super) fn context(&self, hit: &SearchHit, chat: &Session) -> HitContext {
        match loaded_context(hit, chat) {
            Some((context, true)) => context,
            loaded => {
                let looked_up = self.contexts.get(&hit.id).cloned();
                looked_up.or_else(|| loaded.map(|(context, _)| context)).unwrap_or_default()
            }
        }
    }

    /// Notes which hit is selected, and returns the request for its context once the selection rests.
    pub(super) fn take_request(
        &mut self,
        hit: Option<&SearchHit>,
        chat: &mut Session,
        now: DateTime<FixedOffset>,
    ) -> Option<(Cid, Request)> {
        if self.selected != hit.map(|hit| hit.id) {
            self.selected = hit.map(|hit| hit.id);
            let is_missing = hit.is_some_and(|hit| {
                !self.contexts.contains_key(&hit.id)
                    && loaded_context(hit, chat).is_none_or(|(_, is_complete)| !is_complete)
            });
            self.due = is_missing.then(|| now + TYPING_PAUSE);
        }
        self.due.take_if(|due| *due <= now)?;
        let hit = hit?;
        let (cid, request) = chat.look_up(&hit.conversation, HistoryRange::Around(hit.id))?;
        self.cid = Some(cid.clone());
        Some((cid, request))
    }

    /// When [`Self::take_request`] is due.
    pub(super) fn due(&self) -> Option<DateTime<FixedOffset>> {
        self.due
    }

    /// Takes the messages around a hit from the page that was asked for. Returns whether it was.
    pub(super) fn on_page(&mut self, page: &HistoryPage) -> bool {
        if self.cid.is_none() || self.cid != page.cid {
            return false;
        }
        let Some(id) = self.selected else { return true };
        if let Some(at) = page.messages.iter().position(|message| message.id == id) {
            let before = at.checked_sub(1).and_then(|at| page.messages.get(at)).cloned();
            let after = page.messages.get(at + 1).cloned();
            self.contexts.insert(id, HitContext { before, after });
        }
        true
    }

    /// Drops contexts with a message whose text has changed or can no longer be read. The selected one is
    /// looked up again.
    pub(super) fn forget(&mut self, id: MessageId) {
        self.retain(|message| message.id != id);
        self.contexts.remove(&id);
    }

    /// Drops contexts with messages that have expired at `now`, by the server's clock.
    pub(super) fn expire(&mut self, now: Millis) {
        self.retain(|message| message.expires().is_none_or(|expires| expires > now));
    }

    /// When the next message of a context expires, by the server's clock.
    pub(super) fn next_expiry(&self) -> Option<Millis> {
        self.contexts.values().flat_map(HitContext::messages).filter_map(Message::expires).min()
    }

    fn retain(&mut self, keep: impl Fn(&Message) -> bool) {
        let count = self.contexts.len();
        self.contexts.retain(|_, context| context.messages().all(&keep));
        if self.contexts.len() < count {
            self.selected = None;
        }
    }
}

/// What the loaded messages tell about the context of a hit, and whether that is all.
fn loaded_context(hit: &SearchHit, chat: &Session) -> Option<(HitContext, bool)> {
    let conversation = chat.conversation(&hit.conversation)?;
    let timeline = conversation.live_timeline();
    let at = timeline.index_of(hit.id)?;
    let message = |index| match timeline.get(EntryIndex(index)) {
        Some(TimelineEntry::Message(posted)) if posted.state == MessageState::Readable => {
            Some(posted.message.clone())
        }
        Some(_) | None => None,
    };
    let before = (timeline.first().0..at.0).rev().find_map(message);
    let after = (at.0 + 1..timeline.end().0).find_map(message);
    let is_complete = before.is_some() || conversation.has_full_history();
    Some((HitContext { before, after }, is_complete))
}
