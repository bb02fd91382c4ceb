//! The user's own messages and changes that the server has not acknowledged.

use chrono::{DateTime, FixedOffset};

use super::requests::Owner;
use super::{Change, Session};
use crate::client::outbox::UnsentRequest;
use crate::protocol::id::{Cid, MessageId};
use crate::protocol::request::{Post, Request};
use crate::protocol::text::SafeText;

/// An own message that the server has not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingMessage {
    /// Identifies the message in the server's answer.
    pub cid: Cid,
    /// The message itself.
    pub post: Post,
    /// When it was posted.
    pub at: DateTime<FixedOffset>,
    /// Its delivery state.
    pub delivery: Delivery,
}

/// A change of a message or a room that the server has not acknowledged: DELETE, EDIT, REACT, PIN or ROOM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingChange {
    /// Identifies the change in the server's answer.
    pub cid: Cid,
    /// The change itself.
    pub request: Request,
}

impl PendingChange {
    /// Returns the message that is changed; `None` if it is a room.
    pub fn message(&self) -> Option<MessageId> {
        match &self.request {
            Request::Delete(id)
            | Request::Edit { id, .. }
            | Request::React { id, .. }
            | Request::Pin { id, .. } => Some(*id),
            _ => None,
        }
    }
}

/// The delivery state of an own message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// It waits for a connection.
    Waiting,
    /// It was handed to the current connection.
    Sending,
    /// The server could not store it. It is sent again after the next login.
    Deferred,
    /// It was not sent, for this reason, and will not be. The user can edit or discard it.
    Failed(SafeText),
}

impl Session {
    /// Adds a pending message to its conversation. Returns its `cid` and the request to send.
    pub fn post(&mut self, now: DateTime<FixedOffset>, post: Post) -> Option<(Cid, Request)> {
        let conversation = self.without_own_ids(&post.audience);
        let cid = self.requests.add(Owner::Message(conversation))?;
        let request = Request::Post(post.clone());
        self.add_pending(PendingMessage {
            cid: cid.clone(),
            post,
            at: now,
            delivery: Delivery::Waiting,
        });
        Some((cid, request))
    }

    /// Adds a pending change: a DELETE, EDIT, REACT, PIN or ROOM. Returns its `cid` and the request to send.
    /// It may be made without a connection.
    pub fn change(&mut self, request: Request) -> Option<(Cid, Request)> {
        let cid = self.requests.add(Owner::Change)?;
        self.changes.push(PendingChange { cid: cid.clone(), request: request.clone() });
        Some((cid, request))
    }

    /// Returns the unacknowledged changes, oldest first.
    pub fn pending_changes(&self) -> &[PendingChange] {
        &self.changes
    }

    /// Removes and returns a message that was not sent.
    pub fn take_failed(&mut self, cid: &Cid) -> Option<Post> {
        let Some(Owner::Message(conversation)) = self.requests.get(cid) else { return None };
        let pending = &mut self.conversations.get_mut(conversation)?.pending;
        let is_failed = |pending: &PendingMessage| {
            pending.cid == *cid && matches!(pending.delivery, Delivery::Failed(_))
        };
        let index = pending.iter().position(is_failed)?;
        let post = pending.remove(index).post;
        self.requests.take(cid);
        Some(post)
    }

    /// Adds a request from an earlier run.
    pub(super) fn restore(&mut self, now: DateTime<FixedOffset>, unsent: UnsentRequest) {
        let at = DateTime::from_timestamp_millis(unsent.at);
        let at = at.map_or(now, |at| at.with_timezone(now.offset()));
        match unsent.request {
            Request::Post(post) => {
                let conversation = self.without_own_ids(&post.audience);
                self.requests.restore(unsent.cid.clone(), Owner::Message(conversation));
                let delivery = Delivery::Waiting;
                self.add_pending(PendingMessage { cid: unsent.cid, post, at, delivery });
            }
            request => {
                self.requests.restore(unsent.cid.clone(), Owner::Change);
                self.changes.push(PendingChange { cid: unsent.cid, request });
            }
        }
    }

    fn add_pending(&mut self, pending: PendingMessage) {
        let conversation = self.without_own_ids(&pending.post.audience);
        self.ensure_conversation(&conversation).pending.push(pending);
    }

    /// Removes a request that the server executed.
    pub(super) fn confirm(&mut self, cid: Option<&Cid>) {
        let Some(cid) = cid.filter(|cid| self.requests.get(cid).is_some_and(Owner::is_in_outbox))
        else {
            return;
        };
        match self.requests.take(cid) {
            Some(Owner::Message(conversation)) => {
                if let Some(conversation) = self.conversations.get_mut(&conversation) {
                    conversation.pending.retain(|pending| pending.cid != *cid);
                }
            }
            Some(_) | None => self.changes.retain(|change| change.cid != *cid),
        }
    }

    /// Marks a message as not sent, or drops a change that will not be made.
    pub(super) fn fail(&mut self, cid: &Cid, reason: SafeText) -> Vec<Change> {
        match self.requests.get(cid).cloned() {
            Some(Owner::Message(_)) => {
                self.set_delivery(cid, Delivery::Failed(reason));
                Vec::new()
            }
            Some(Owner::Change) => {
                self.requests.take(cid);
                let failed = self.changes.iter().position(|change| change.cid == *cid);
                let failed = failed.map(|index| self.changes.remove(index));
                failed.map(|change| Change::Failed { change, reason }).into_iter().collect()
            }
            Some(_) | None => Vec::new(),
        }
    }

    /// Marks unanswered messages as waiting for the next connection.
    pub(super) fn requeue_pending(&mut self) {
        let pending = self.conversations.iter_mut().flat_map(|(_, one)| &mut one.pending);
        for pending in pending {
            if pending.delivery == Delivery::Sending {
                pending.delivery = Delivery::Waiting;
            }
        }
    }

    pub(super) fn set_delivery(&mut self, cid: &Cid, delivery: Delivery) {
        let Some(Owner::Message(conversation)) = self.requests.get(cid) else { return };
        let conversation = self.conversations.get_mut(conversation);
        let mut pending = conversation.into_iter().flat_map(|one| &mut one.pending);
        if let Some(pending) = pending.find(|pending| pending.cid == *cid) {
            pending.delivery = delivery;
        }
    }
}
