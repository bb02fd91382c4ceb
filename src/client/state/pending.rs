//! The user's own messages that the server has not acknowledged, with their delivery state.

use chrono::{DateTime, FixedOffset};

use super::ChatState;
use crate::client::outbox::UnsentMessage;
use crate::protocol::id::Cid;
use crate::protocol::message::Message;
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

/// The delivery state of an own message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// It waits for a connection.
    Waiting,
    /// It was handed to the current connection.
    Sending,
    /// It was not sent, for this reason. The user can edit or discard it.
    Failed(SafeText),
}

impl ChatState {
    /// Returns the unacknowledged messages, oldest first.
    pub fn pending(&self) -> &[PendingMessage] {
        &self.pending
    }

    /// Adds a pending message. Returns its `cid` and the request to send.
    pub fn post(&mut self, now: DateTime<FixedOffset>, post: Post) -> Option<(Cid, Request)> {
        let cid = self.next_cid()?;
        self.pending.push(PendingMessage {
            cid: cid.clone(),
            post: post.clone(),
            at: now,
            delivery: Delivery::Waiting,
        });
        Some((cid, Request::Post(post)))
    }

    /// Marks a message as not sent.
    pub fn mark_failed(&mut self, cid: &Cid, reason: SafeText) {
        self.set_delivery(cid, Delivery::Failed(reason));
    }

    /// Removes and returns a message that was not sent.
    pub fn take_failed(&mut self, cid: &Cid) -> Option<Post> {
        let is_failed = |pending: &PendingMessage| {
            pending.cid == *cid && matches!(pending.delivery, Delivery::Failed(_))
        };
        let index = self.pending.iter().position(is_failed)?;
        Some(self.pending.remove(index).post)
    }

    /// Adds a message from an earlier run.
    pub(super) fn restore(&mut self, now: DateTime<FixedOffset>, unsent: UnsentMessage) {
        let at = DateTime::from_timestamp_millis(unsent.at);
        let at = at.map_or(now, |at| at.with_timezone(now.offset()));
        let UnsentMessage { cid, post, .. } = unsent;
        self.pending.push(PendingMessage { cid, post, at, delivery: Delivery::Waiting });
    }

    /// Removes a pending message when its acknowledged copy arrives.
    pub(super) fn confirm(&mut self, message: &Message) {
        if self.is_own_id(&message.sender) {
            self.pending.retain(|pending| Some(&pending.cid) != message.cid.as_ref());
        }
    }

    /// Marks unanswered messages as waiting for the next connection.
    pub(super) fn requeue_pending(&mut self) {
        for pending in &mut self.pending {
            if pending.delivery == Delivery::Sending {
                pending.delivery = Delivery::Waiting;
            }
        }
    }

    pub(super) fn set_delivery(&mut self, cid: &Cid, delivery: Delivery) {
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.cid == *cid) {
            pending.delivery = delivery;
        }
    }
}
