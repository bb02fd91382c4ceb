//! The heart of the outbox: what waits, in which order, and what becomes of it. Pure.

use std::collections::VecDeque;

use super::Unsent;
use crate::protocol::id::ClientId;
use crate::protocol::limits;
use crate::protocol::message::Millis;

/// How many messages may wait: more is no typing any more, and would be no use to anybody later.
const MOST: usize = 1_000;

/// How long a message may wait: a day less than the server remembers a `cid`, so that no clock decides
/// whether it comes twice.
const OLDEST_MILLIS: Millis = (limits::CLIENT_ID_DAYS.cast_signed() - 1) * 24 * 60 * 60 * 1_000;

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It has not been handed to this connection.
    Waiting,
    /// It has.
    Sent,
    /// The server could not store it: it waits for the next connection.
    Held,
    /// It waited too long to be sent by itself.
    TooOld,
}

/// All that waits, oldest first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: VecDeque<(Unsent, State)>,
}

impl Queue {
    pub(super) fn new(unsent: Vec<Unsent>) -> Self {
        Self { entries: unsent.into_iter().map(|unsent| (unsent, State::Waiting)).collect() }
    }

    pub(super) fn unsent(&self) -> impl Iterator<Item = &Unsent> {
        self.entries.iter().map(|(unsent, _)| unsent)
    }

    pub(super) fn has_room_for(&self, more: usize) -> bool {
        self.entries.len() + more <= MOST
    }

    pub(super) fn add(&mut self, unsent: Unsent) {
        self.entries.push_back((unsent, State::Waiting));
    }

    /// The next to be sent.
    pub(super) fn next(&self) -> Option<&Unsent> {
        let waiting = self.entries.iter().find(|(_, state)| *state == State::Waiting);
        waiting.map(|(unsent, _)| unsent)
    }

    /// The names of all that are to be sent, in order.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &ClientId> {
        let waiting = self.entries.iter().filter(|(_, state)| *state == State::Waiting);
        waiting.map(|(unsent, _)| &unsent.cid)
    }

    pub(super) fn sent(&mut self, cid: &ClientId) {
        self.set(cid, State::Sent);
    }

    /// It stays, but is not sent again over this connection.
    pub(super) fn hold(&mut self, cid: &ClientId) {
        self.set(cid, State::Held);
    }

    /// Takes out what has its answer, or is not wanted any more; whether it was there.
    pub(super) fn remove(&mut self, cid: &ClientId) -> bool {
        let found = self.entries.iter().position(|(unsent, _)| unsent.cid == *cid);
        found.and_then(|index| self.entries.remove(index)).is_some()
    }

    /// The connection is lost: whatever has no answer will be sent again.
    pub(super) fn lost(&mut self) {
        for (_, state) in self.entries.iter_mut().filter(|(_, state)| *state == State::Sent) {
            *state = State::Waiting;
        }
    }

    /// A connection stands: everything is to be sent but what has become too old. Those are given.
    pub(super) fn connected(&mut self, now: Millis) -> Vec<ClientId> {
        let mut too_old = Vec::new();
        for (unsent, state) in &mut self.entries {
            *state = if now - unsent.at > OLDEST_MILLIS {
                too_old.push(unsent.cid.clone());
                State::TooOld
            } else {
                State::Waiting
            };
        }
        too_old
    }

    fn set(&mut self, cid: &ClientId, new: State) {
        if let Some((_, state)) = self.entries.iter_mut().find(|(unsent, _)| unsent.cid == *cid) {
            *state = new;
        }
    }
}
