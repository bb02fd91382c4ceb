//! Which outbox requests to send, and in which order.
//!
//! Pure.

use std::collections::VecDeque;

use super::request::UnsentRequest;
use crate::protocol::id::Cid;
use crate::protocol::limits;
use crate::protocol::message::Millis;

/// The highest number of requests in the outbox: more than one makes during an outage.
const MAX_REQUESTS: usize = 1_000;

/// The age after which a request is not sent automatically. It is one day less than the server remembers a
/// `cid`, so that no clock difference makes a resend a second request.
const MAX_AGE_MILLIS: Millis = (limits::CID_DAYS.cast_signed() - 1) * 24 * 60 * 60 * 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SendState {
    /// Not handed to the current connection yet.
    Waiting,
    /// Handed to the current connection.
    Sent,
    /// The server could not store it: it waits for the next connection.
    Deferred,
    /// Older than [`MAX_AGE_MILLIS`]: it waits for the user to discard it or send it again.
    TooOld,
}

/// The requests of the outbox, oldest first.
#[derive(Debug, Default)]
pub(super) struct OutboxQueue {
    entries: VecDeque<(UnsentRequest, SendState)>,
}

impl OutboxQueue {
    pub(super) fn new(unsent: Vec<UnsentRequest>) -> Self {
        Self { entries: unsent.into_iter().map(|unsent| (unsent, SendState::Waiting)).collect() }
    }

    pub(super) fn unsent(&self) -> impl Iterator<Item = &UnsentRequest> {
        self.entries.iter().map(|(unsent, _)| unsent)
    }

    pub(super) fn has_room_for(&self, count: usize) -> bool {
        self.entries.len() + count <= MAX_REQUESTS
    }

    pub(super) fn push(&mut self, unsent: UnsentRequest) {
        self.entries.push_back((unsent, SendState::Waiting));
    }

    /// Returns the next request to send.
    pub(super) fn next(&self) -> Option<&UnsentRequest> {
        let waiting = self.entries.iter().find(|(_, state)| *state == SendState::Waiting);
        waiting.map(|(unsent, _)| unsent)
    }

    /// Returns the `cid`s of all requests to send, in order.
    pub(super) fn waiting_cids(&self) -> impl Iterator<Item = &Cid> {
        let waiting = self.entries.iter().filter(|(_, state)| *state == SendState::Waiting);
        waiting.map(|(unsent, _)| &unsent.cid)
    }

    pub(super) fn mark_sent(&mut self, cid: &Cid) {
        self.set_state(cid, SendState::Sent);
    }

    /// Keeps a request, but does not send it again over this connection.
    pub(super) fn defer(&mut self, cid: &Cid) {
        self.set_state(cid, SendState::Deferred);
    }

    /// Removes a request that was answered or discarded. Returns whether it was there.
    pub(super) fn remove(&mut self, cid: &Cid) -> bool {
        let found = self.entries.iter().position(|(unsent, _)| unsent.cid == *cid);
        found.and_then(|index| self.entries.remove(index)).is_some()
    }

    /// Marks unanswered requests to be sent again.
    pub(super) fn on_disconnect(&mut self) {
        let sent = self.entries.iter_mut().filter(|(_, state)| *state == SendState::Sent);
        for (_, state) in sent {
            *state = SendState::Waiting;
        }
    }

    /// Marks all requests to be sent, except those that are too old at `now`. Returns the latter.
    pub(super) fn on_connect(&mut self, now: Millis) -> Vec<UnsentRequest> {
        let mut too_old = Vec::new();
        for (unsent, state) in &mut self.entries {
            *state = if now - unsent.at > MAX_AGE_MILLIS {
                too_old.push(unsent.clone());
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
