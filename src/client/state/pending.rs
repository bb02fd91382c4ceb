//! What one has said oneself and the server has not confirmed: what the screen may claim of it.

use chrono::{DateTime, FixedOffset};

use super::ChatState;
use crate::client::outbox::UnsentMessage;
use crate::protocol::id::Cid;
use crate::protocol::message::Message;
use crate::protocol::request::{Post, Request};
use crate::protocol::text::SafeText;

/// A message of one's own that the server has not confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingMessage {
    /// The name that its answer will carry.
    pub cid: Cid,
    /// What was said.
    pub post: Post,
    /// When.
    pub at: DateTime<FixedOffset>,
    /// How far it is.
    pub delivery: Delivery,
}

/// How far a message of one's own is on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// No connection has it yet: it waits for one.
    Waiting,
    /// It was handed to the connection that stands.
    Sending,
    /// It was not sent, for this reason, and the person has to say what becomes of it.
    Failed(SafeText),
}

impl ChatState {
    /// What the server has not confirmed, oldest first.
    pub fn pending(&self) -> &[PendingMessage] {
        &self.pending
    }

    /// Notes a message as being sent, and gives what has to be sent for it.
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

    /// Notes that a message could not be sent.
    pub fn mark_failed(&mut self, cid: &Cid, reason: SafeText) {
        self.set_delivery(cid, Delivery::Failed(reason));
    }

    /// Takes back a message that was not sent.
    pub fn take_failed(&mut self, cid: &Cid) -> Option<Post> {
        let failed = |one: &PendingMessage| matches!(one.delivery, Delivery::Failed(_));
        let index = self.pending.iter().position(|one| one.cid == *cid && failed(one))?;
        Some(self.pending.remove(index).post)
    }

    /// An earlier run has left this.
    pub(super) fn restore(&mut self, now: DateTime<FixedOffset>, unsent: UnsentMessage) {
        let at = DateTime::from_timestamp_millis(unsent.at);
        let at = at.map_or(now, |at| at.with_timezone(now.offset()));
        let UnsentMessage { cid, post: say, .. } = unsent;
        self.pending.push(PendingMessage { cid, post: say, at, delivery: Delivery::Waiting });
    }

    /// The server has a message of one's own.
    pub(super) fn confirm(&mut self, message: &Message) {
        if self.is_own_id(&message.sender) {
            self.pending.retain(|pending| Some(&pending.cid) != message.cid.as_ref());
        }
    }

    /// What has no answer waits for the next connection.
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
