//! Delivery tracking: records up to where a user's clients have received everything, so that retention
//! may sweep direct messages that are delivered.
//!
//! Delivered means that a client has the message, not that its user has read it.

use std::collections::HashMap;

use super::{Hub, HubEffect, Origin, SessionId};
use crate::protocol::id::{Seq, UserId};
use crate::protocol::message::{Audience, Message};
use crate::store::Entry;

/// What is known since the server started about users with registered IDs.
#[derive(Debug, Default)]
pub(super) struct DeliveryTracker {
    /// The last direct message to each user.
    latest_direct: HashMap<UserId, Seq>,
    /// Up to where each user has received everything, as recorded in the log.
    recorded: HashMap<UserId, Seq>,
}

impl DeliveryTracker {
    /// Whether the log should record that the user has received everything up to `up_to`.
    fn is_worth_recording(&self, user: &UserId, up_to: Seq) -> bool {
        let recorded = self.recorded.get(user).copied();
        match self.latest_direct.get(user) {
            Some(latest) => up_to >= *latest && recorded < Some(*latest),
            // Direct messages from before the start are not tracked: record the first position.
            None => recorded.is_none(),
        }
    }
}

impl Hub {
    /// Remembers the users of a direct message, and the recipients as undelivered.
    pub(super) fn track_recipients(&mut self, message: &Message) {
        let Audience::Only(recipients) = &message.audience else { return };
        self.sessions.on_direct_message(recipients.iter().chain([&message.sender]));
        for user in recipients.iter().filter(|user| self.sessions.is_registered(user)) {
            self.delivery.latest_direct.insert(user.clone(), message.seq);
        }
    }

    /// A client reports that it has received everything up to `up_to`.
    pub(super) fn record_delivery(
        &mut self,
        session: SessionId,
        up_to: Seq,
        effects: &mut Vec<HubEffect>,
    ) {
        let Some(user) = self.sessions.user(session) else { return };
        let up_to = up_to.min(self.head);
        if self.sessions.is_registered(&user) && self.delivery.is_worth_recording(&user, up_to) {
            self.delivery.recorded.insert(user.clone(), up_to);
            let entry = Entry::Delivered { user, up_to };
            effects.push(HubEffect::Propose { origin: Origin::NoReply, entry });
        }
    }
}
