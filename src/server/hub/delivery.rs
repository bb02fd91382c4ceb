//! Who has had the direct messages to them: what nobody waits for any more need not be kept.
//!
//! Says nothing about reading: a client that has a message has been delivered to.

use std::collections::HashMap;

use super::{Hub, HubEffect, SessionId, WriteContext};
use crate::protocol::id::{Seq, UserId};
use crate::protocol::message::{Audience, Message};
use crate::store::Append;

/// What is known since the server started, of people who can come back.
#[derive(Debug, Default)]
pub(super) struct DeliveryTracker {
    /// The last direct message to each of them.
    latest_direct: HashMap<UserId, Seq>,
    /// Up to where each of them has everything, as the log knows it.
    recorded: HashMap<UserId, Seq>,
}

impl DeliveryTracker {
    /// Whether it is worth a place in the log that this person has everything up to `up_to`.
    fn is_worth_recording(&self, user: &UserId, up_to: Seq) -> bool {
        let noted = self.recorded.get(user).copied();
        match self.latest_direct.get(user) {
            Some(latest) => up_to >= *latest && noted < Some(*latest),
            // What came before the start is not known: once is enough.
            None => noted.is_none(),
        }
    }
}

impl Hub {
    /// Notes whom a message waits for from now on.
    pub(super) fn track_recipients(&mut self, message: &Message) {
        let Audience::Only(people) = &message.audience else { return };
        for user in people.iter().filter(|user| self.sessions.is_registered(user)) {
            self.delivery.latest_direct.insert(user.clone(), message.seq);
        }
    }

    /// A client says that everything up to here has come.
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
            let append = Append::Delivered { user, up_to };
            effects.push(HubEffect::Append { context: WriteContext::NoReply, append });
        }
    }
}
