//! Who has had the direct messages to them: what nobody waits for any more need not be kept.
//!
//! Says nothing about reading: a client that has a message has been delivered to.

use std::collections::HashMap;

use super::{Effect, Hub, SessionId, Ticket};
use crate::protocol::id::{Seq, UserId};
use crate::protocol::message::{Audience, Message};
use crate::store::Append;

/// What is known since the server started, of people who can come back.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    /// The last direct message to each of them.
    latest: HashMap<UserId, Seq>,
    /// Up to where each of them has everything, as the log knows it.
    noted: HashMap<UserId, Seq>,
}

impl Delivered {
    /// Whether it is worth a place in the log that this person has everything up to `up_to`.
    fn is_news(&self, user: &UserId, up_to: Seq) -> bool {
        let noted = self.noted.get(user).copied();
        match self.latest.get(user) {
            Some(latest) => up_to >= *latest && noted < Some(*latest),
            // What came before the start is not known: once is enough.
            None => noted.is_none(),
        }
    }
}

impl Hub {
    /// Notes whom a message waits for from now on.
    pub(super) fn waits(&mut self, message: &Message) {
        let Audience::Only(people) = &message.audience else { return };
        for user in people.iter().filter(|user| self.roster.is_lasting(user)) {
            self.delivered.latest.insert(user.clone(), message.seq);
        }
    }

    /// A client says that everything up to here has come.
    pub(super) fn has_come(&mut self, session: SessionId, up_to: Seq, effects: &mut Vec<Effect>) {
        let Some(user) = self.roster.user(session) else { return };
        let up_to = up_to.min(self.head);
        if self.roster.is_lasting(&user) && self.delivered.is_news(&user, up_to) {
            self.delivered.noted.insert(user.clone(), up_to);
            let append = Append::Seen { user, up_to };
            effects.push(Effect::Append { ticket: Ticket::Note, append });
        }
    }
}
