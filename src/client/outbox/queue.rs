//! The heart of the outbox: what waits, in which order, and what becomes of it. Pure.

use std::collections::VecDeque;

use super::UnsentMessage;
use crate::protocol::id::Cid;
use crate::protocol::limits;
use crate::protocol::message::Millis;

/// How many messages may wait: more is no typing any more, and would be no use to anybody later.
const MAX_MESSAGES: usize = 1_000;

/// How long a message may wait: a day less than the server remembers a `cid`, so that no clock decides
/// whether it comes twice.
const MAX_AGE_MILLIS: Millis = (limits::CID_DAYS.cast_signed() - 1) * 24 * 60 * 60 * 1_000;

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SendState {
    /// It has not been handed to this connection.
    Waiting,
    /// It has.
    Sent,
    /// The server could not store it: it waits for the next connection.
    Deferred,
    /// It waited too long to be sent by itself.
    TooOld,
}

/// All that waits, oldest first.
#[derive(Debug, Default)]
pub(super) struct OutboxQueue {
    entries: VecDeque<(UnsentMessage, SendState)>,
}

impl OutboxQueue {
    pub(super) fn new(unsent: Vec<UnsentMessage>) -> Self {
        Self { entries: unsent.into_iter().map(|unsent| (unsent, SendState::Waiting)).collect() }
    }

    pub(super) fn unsent(&self) -> impl Iterator<Item = &UnsentMessage> {
        self.entries.iter().map(|(unsent, _)| unsent)
    }

    pub(super) fn has_room_for(&self, more: usize) -> bool {
        self.entries.len() + more <= MAX_MESSAGES
    }

    pub(super) fn push(&mut self, unsent: UnsentMessage) {
        self.entries.push_back((unsent, SendState::Waiting));
    }

    /// The next to be sent.
    pub(super) fn next(&self) -> Option<&UnsentMessage> {
        let waiting = self.entries.iter().find(|(_, state)| *state == SendState::Waiting);
        waiting.map(|(unsent, _)| unsent)
    }

    /// The names of all that are to be sent, in order.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Cid> {
        let waiting_cids = self.entries.iter().filter(|(_, state)| *state == SendState::Waiting);
        waiting_cids.map(|(unsent, _)| &unsent.cid)
    }

    pub(super) fn mark_sent(&mut self, cid: &Cid) {
        self.set_state(cid, SendState::Sent);
    }

    /// It stays, but is not sent again over this connection.
    pub(super) fn defer(&mut self, cid: &Cid) {
        self.set_state(cid, SendState::Deferred);
    }

    /// Takes out what has its answer, or is not wanted any more; whether it was there.
    pub(super) fn remove(&mut self, cid: &Cid) -> bool {
        let found = self.entries.iter().position(|(unsent, _)| unsent.cid == *cid);
        found.and_then(|index| self.entries.remove(index)).is_some()
    }

    /// The connection is lost: whatever has no answer will be sent again.
    pub(super) fn on_disconnect(&mut self) {
        for (_, state) in self.entries.iter_mut().filter(|(_, state)| *state == SendState::Sent) {
            *state = SendState::Waiting;
        }
    }

    /// A connection stands: everything is to be sent but what has become too old. Those are given.
    pub(super) fn on_connect(&mut self, now: Millis) -> Vec<Cid> {
        let mut too_old = Vec::new();
        for (unsent, state) in &mut self.entries {
            *state = if now - unsent.at > MAX_AGE_MILLIS {
                too_old.push(unsent.cid.clone());
                SendState::TooOld
            } else {
                SendState::Waiting
            };
        }
        too_old
    }

    fn set_state(&mut self, cid: &Cid, new: SendState) {
        if let Some((_, state)) = self.entries.iter_mut().find(|(unsent, _)| unsent.cid == *cid) {
            *state = new;
        }
    }
}
