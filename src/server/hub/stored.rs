//! What comes back from the log: only now is anything told, to those it is for.

use super::ledger::Entry;
use super::{Asker, Effect, Hub, Now, Recipients, SessionId};
use crate::protocol::error::Refusal;
use crate::protocol::event::{Event, Refused, Stored};
use crate::protocol::id::{ClientId, MessageId, UserId};
use crate::protocol::message::Message;
use crate::store::{First, Outcome};

/// What something was written for.
#[derive(Debug, Clone)]
pub enum Ticket {
    /// A message of this session.
    Say {
        /// The session.
        session: SessionId,
        /// Its name for the request.
        cid: Option<ClientId>,
        /// The id that was drawn.
        id: MessageId,
    },
    /// A removal by this session.
    Delete {
        /// The session.
        session: SessionId,
        /// Its name for the request.
        cid: Option<ClientId>,
        /// The message.
        id: MessageId,
        /// Who has it.
        entry: Entry,
    },
    /// A message whose time is up.
    Expiry {
        /// The message.
        id: MessageId,
        /// Who has it, if anybody here does.
        entry: Option<Entry>,
    },
    /// A new ID, whose people wait to be let in.
    Register(UserId),
    /// An act of whoever runs the server.
    Administer {
        /// Who waits for the answer.
        asker: Asker,
        /// What is said when it is on disk.
        done: String,
    },
    /// Nobody waits for it.
    Note,
}

impl Hub {
    /// Something is on disk.
    pub(super) fn stored(
        &mut self,
        now: Now,
        ticket: Ticket,
        outcome: Outcome,
        effects: &mut Vec<Effect>,
    ) {
        match (outcome, ticket) {
            (outcome, Ticket::Administer { asker, done }) => {
                self.administered(asker, done, Ok(outcome), effects);
            }
            (outcome, Ticket::Register(user)) => self.registered(now, &user, Ok(&outcome), effects),
            (Outcome::Said(message), _) => self.said(now, message, effects),
            (Outcome::Deleted(deleted), Ticket::Delete { entry, .. }) => {
                self.ledger.remove(deleted.id);
                self.head = deleted.seq;
                let to = self.holders(&entry.author, &entry.audience);
                effects.push(Effect::Send { to, event: Event::Deleted(deleted) });
            }
            (Outcome::Expired { seq, id }, Ticket::Expiry { entry, .. }) => {
                self.head = seq;
                let to = match entry {
                    Some(entry) => self.holders(&entry.author, &entry.audience),
                    None => Recipients::These(Vec::new()),
                };
                effects.push(Effect::Send { to, event: Event::Expired { seq, id } });
            }
            (Outcome::Repeated(first), ticket) => self.repeated(&first, &ticket, effects),
            (Outcome::Gone, Ticket::Delete { session, cid, id, .. }) => {
                refuse(session, cid, &Refusal::UnknownMessage(id), effects);
            }
            // The hub draws ids that are free; and what is noted is noted.
            (
                Outcome::Deleted(_)
                | Outcome::Expired { .. }
                | Outcome::Gone
                | Outcome::IdTaken
                | Outcome::Registered
                | Outcome::NotYourKey
                | Outcome::BadInvite
                | Outcome::Removed { .. }
                | Outcome::Noted,
                _,
            ) => {}
        }
    }

    /// Something could not be written: nothing of it has happened.
    pub(super) fn not_stored(
        &mut self,
        now: Now,
        ticket: Ticket,
        reason: &'static str,
        effects: &mut Vec<Effect>,
    ) {
        match ticket {
            Ticket::Say { session, cid, id } => {
                self.ids.remove(id);
                refuse(session, cid, &Refusal::NotStored(reason), effects);
            }
            Ticket::Delete { session, cid, .. } => {
                refuse(session, cid, &Refusal::NotStored(reason), effects);
            }
            Ticket::Expiry { id, entry } => self.expire_later(now, id, entry),
            Ticket::Register(user) => self.registered(now, &user, Err(reason), effects),
            Ticket::Administer { asker, done } => {
                self.administered(asker, done, Err(reason), effects);
            }
            Ticket::Note => {}
        }
    }

    fn said(&mut self, now: Now, message: Message, effects: &mut Vec<Effect>) {
        if self.presence.is_news(&message.sender) {
            // Nobody hears from somebody before they hear of them.
            self.presence.hurry();
            self.tell_presence(now, effects);
        }
        self.head = message.seq;
        self.waits(&message);
        let entry = Entry { author: message.sender.clone(), audience: message.audience.clone() };
        if let Some(at) = message.expires() {
            self.expiry.insert(at, message.id, Some(entry.clone()));
        }
        self.ledger.insert(message.id, entry);
        let to = self.holders(&message.sender, &message.audience);
        effects.push(Effect::Send { to, event: Event::Said(message) });
    }

    /// The first time counts; this time nothing was done, and the sender is told what it was.
    fn repeated(&mut self, first: &First, ticket: &Ticket, effects: &mut Vec<Effect>) {
        let (session, cid) = match ticket {
            Ticket::Say { session, cid, id } => {
                self.ids.remove(*id);
                (*session, cid)
            }
            Ticket::Delete { session, cid, .. } => (*session, cid),
            Ticket::Expiry { .. }
            | Ticket::Register(_)
            | Ticket::Administer { .. }
            | Ticket::Note => return,
        };
        let (seq, id) = match first {
            First::Said(message) => (message.seq, message.id),
            First::SaidAndGone { seq, id } => (*seq, *id),
            First::Deleted(deleted) => (deleted.seq, deleted.id),
        };
        if let Some(cid) = cid.clone() {
            let event = Event::Stored(Stored { seq, id, cid });
            effects.push(Effect::Send { to: Recipients::One(session), event });
        }
    }
}

pub(super) fn refuse(
    session: SessionId,
    cid: Option<ClientId>,
    refusal: &Refusal,
    effects: &mut Vec<Effect>,
) {
    let event = Event::Refused(Refused::new(refusal, cid));
    effects.push(Effect::Send { to: Recipients::One(session), event });
}
