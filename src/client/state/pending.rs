//! What one has said oneself and the server has not confirmed: what the screen may claim of it.

use chrono::{DateTime, FixedOffset};

use super::Room;
use crate::client::outbox::Unsent;
use crate::protocol::id::ClientId;
use crate::protocol::message::Message;
use crate::protocol::request::{Request, Say};
use crate::protocol::text::SafeText;

/// A message of one's own that the server has not confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The name that its answer will carry.
    pub cid: ClientId,
    /// What was said.
    pub say: Say,
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

impl Room {
    /// What the server has not confirmed, oldest first.
    pub fn pending(&self) -> &[Pending] {
        &self.pending
    }

    /// Notes a message as being sent, and gives what has to be sent for it.
    pub fn say(&mut self, now: DateTime<FixedOffset>, say: Say) -> Option<(ClientId, Request)> {
        let cid = self.next_cid()?;
        self.pending.push(Pending {
            cid: cid.clone(),
            say: say.clone(),
            at: now,
            delivery: Delivery::Waiting,
        });
        Some((cid, Request::Say(say)))
    }

    /// Notes that a message could not be sent.
    pub fn fail(&mut self, cid: &ClientId, reason: SafeText) {
        self.deliver(cid, Delivery::Failed(reason));
    }

    /// Takes back a message that was not sent.
    pub fn take_failed(&mut self, cid: &ClientId) -> Option<Say> {
        let failed = |one: &Pending| matches!(one.delivery, Delivery::Failed(_));
        let index = self.pending.iter().position(|one| one.cid == *cid && failed(one))?;
        Some(self.pending.remove(index).say)
    }

    /// An earlier run has left this.
    pub(super) fn kept(&mut self, now: DateTime<FixedOffset>, unsent: Unsent) {
        let at = DateTime::from_timestamp_millis(unsent.at);
        let at = at.map_or(now, |at| at.with_timezone(now.offset()));
        let Unsent { cid, say, .. } = unsent;
        self.pending.push(Pending { cid, say, at, delivery: Delivery::Waiting });
    }

    /// The server has a message of one's own.
    pub(super) fn confirm(&mut self, message: &Message) {
        if self.is_you(&message.sender) {
            self.pending.retain(|pending| Some(&pending.cid) != message.cid.as_ref());
        }
    }

    /// What has no answer waits for the next connection.
    pub(super) fn wait_pending(&mut self) {
        for pending in &mut self.pending {
            if pending.delivery == Delivery::Sending {
                pending.delivery = Delivery::Waiting;
            }
        }
    }

    pub(super) fn deliver(&mut self, cid: &ClientId, delivery: Delivery) {
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.cid == *cid) {
            pending.delivery = delivery;
        }
    }
}
