//! What was said before one came: asked for in pages, and put where it belongs.
//!
//! Usually the conversation reaches to the present, and pages come before it. It can instead be a part
//! of the past, around a message; what is said meanwhile is then only counted.

use std::collections::VecDeque;

use super::{Change, Room};
use crate::protocol::event::Page;
use crate::protocol::id::{ClientId, MessageId, Seq};
use crate::protocol::message::Message;
use crate::protocol::query;
use crate::protocol::request::Request;

/// How many messages that are gone are remembered, because an answer that is under way may still have
/// their text: far more than go within the time of an answer.
const BURIED: usize = 1_024;

/// How far one had read when one left.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Seen {
    /// In which log.
    pub epoch: String,
    /// Up to which place in it.
    pub seq: Seq,
}

/// Which part of the history was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The newest.
    Recent,
    /// What comes before that which is there.
    Earlier,
    /// What was said around a message.
    Around(MessageId),
}

/// What there is beyond the conversation as it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Edge {
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
pub(super) struct History {
    epoch: String,
    /// Whether nothing was loaded yet of what there is.
    is_lacking: bool,
    /// Before the first message.
    above: Option<Edge>,
    asked: Option<(ClientId, Part)>,
    /// Whether the conversation is a part of the past, without the present.
    is_past: bool,
    left_off: Option<Seen>,
    unread: Option<(Seq, MessageId)>,
    buried: VecDeque<MessageId>,
}

impl History {
    /// A login; what was asked before it has no answer.
    pub(super) fn welcome(&mut self, epoch: &str, head: Seq, resumed: bool) {
        self.asked = None;
        if !resumed {
            let left_off = self.left_off.take().filter(|seen| seen.epoch == epoch);
            let is_lacking = head > Seq(0);
            *self = Self { epoch: epoch.to_owned(), is_lacking, left_off, ..Self::default() };
        }
    }

    pub(super) fn bury(&mut self, id: MessageId) {
        self.buried.truncate(BURIED - 1);
        self.buried.push_front(id);
    }

    /// Whether its text is gone for ever, as far as is remembered.
    pub(super) fn is_buried(&self, id: MessageId) -> bool {
        self.buried.contains(&id)
    }

    /// Notes a refusal; whether it was the answer to what was asked.
    pub(super) fn refused(&mut self, cid: Option<&ClientId>) -> bool {
        let asked = self.asked.take_if(|(asked, _)| Some(&*asked) == cid);
        if asked.is_some() {
            // Nobody asks again and again what is refused.
            self.is_lacking = false;
            self.above = None;
        }
        asked.is_some()
    }
}

impl Room {
    /// Says how far one had read when one left the last time.
    pub fn left_off(&mut self, seen: Seen) {
        self.history.left_off = Some(seen);
    }

    /// How far the conversation goes, if it reaches to the present.
    pub fn reached(&self) -> Option<Seen> {
        let seq = self.timeline.newest();
        let is_known = !self.history.is_past && seq > Seq(0);
        is_known.then(|| Seen { epoch: self.history.epoch.clone(), seq })
    }

    /// The first message of others that came after one had left.
    pub fn first_unread(&self) -> Option<MessageId> {
        self.history.unread.map(|(_, id)| id)
    }

    /// Whether the conversation reaches to the present.
    pub fn is_present(&self) -> bool {
        !self.history.is_past
    }

    /// What there is before the first entry, where a line should say so.
    pub fn edge_above(&self) -> Option<Edge> {
        match (&self.history.asked, self.history.above) {
            (Some((_, Part::Recent | Part::Earlier)), _) => Some(Edge::Loading),
            (Some((_, Part::Around(_))) | None, above) => above,
        }
        .filter(|_| self.timeline.oldest().is_some())
    }

    /// Whether the answer to a question about the history is awaited.
    pub fn is_asking(&self) -> bool {
        self.history.asked.is_some()
    }

    /// Whether there is nothing on the server that is not here.
    pub fn is_whole(&self) -> bool {
        let has_beginning = matches!(self.history.above, None | Some(Edge::Beginning));
        has_beginning && !self.history.is_lacking && !self.history.is_past
    }

    /// Whether nothing was loaded so far.
    pub fn lacks_history(&self) -> bool {
        self.history.is_lacking
    }

    /// Whether there are earlier messages to be asked for.
    pub fn has_earlier(&self) -> bool {
        self.history.above == Some(Edge::Earlier)
            && !self.history.is_lacking
            && self.timeline.has_room()
            && self.timeline.oldest().is_some()
    }

    /// Gives the request for a part of the history; nothing without a connection, or while the answer
    /// to another is awaited. Asking for the newest leaves the past.
    pub fn ask(&mut self, part: Part) -> Option<(ClientId, Request)> {
        if !self.is_online() || self.history.asked.is_some() {
            return None;
        }
        let wanted = match part {
            Part::Recent => {
                if std::mem::take(&mut self.history.is_past) {
                    self.timeline.clear();
                    self.history.is_lacking = true;
                }
                query::History::Before(None)
            }
            Part::Earlier => {
                query::History::Before(self.timeline.oldest().map(|message| message.seq))
            }
            Part::Around(id) => query::History::Around(id),
        };
        let cid = self.next_cid()?;
        self.history.asked = Some((cid.clone(), part));
        Some((cid, Request::History(wanted)))
    }

    /// Takes in an answer.
    pub(super) fn page(&mut self, page: Page) -> Vec<Change> {
        let Page { mut messages, earlier, later, cid } = page;
        let asked = self.history.asked.take_if(|(asked, _)| Some(&*asked) == cid.as_ref());
        let Some((_, part)) = asked else { return Vec::new() };
        messages.retain(|message| !self.history.is_buried(message.id));
        for message in &messages {
            self.confirm(message);
            self.note_unread(message);
        }
        let is_elsewhere = matches!(part, Part::Around(_)) && (later || self.history.is_past);
        if is_elsewhere {
            if messages.is_empty() {
                return vec![Change::Page(part)];
            }
            self.timeline.clear();
            self.history.is_past = true;
        }
        let oldest = self.timeline.oldest().map(|message| message.seq);
        let reaches_further = match (oldest, messages.first()) {
            (Some(oldest), Some(first)) => first.seq < oldest,
            (None, _) => true,
            (Some(_), None) => matches!(part, Part::Earlier),
        };
        if reaches_further || self.history.is_lacking {
            self.history.is_lacking = false;
            self.history.above = Some(if earlier { Edge::Earlier } else { Edge::Beginning });
        }
        self.timeline.add_history(messages);
        let anew = is_elsewhere.then_some(Change::Anew);
        anew.into_iter().chain([Change::Page(part)]).collect()
    }

    fn note_unread(&mut self, message: &Message) {
        let Some(seen) = &self.history.left_off else { return };
        let is_first = self.history.unread.is_none_or(|(first, _)| message.seq < first);
        if message.seq > seen.seq && is_first && !self.is_you(&message.sender) {
            self.history.unread = Some((message.seq, message.id));
        }
    }
}
