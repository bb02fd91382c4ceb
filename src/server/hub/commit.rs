//! What comes back from the log: only now is anything told, to those it is for.

use super::message_cache::CachedMessage;
use super::{AdminRequestId, Hub, HubEffect, Now, SessionId, SessionSet};
use crate::protocol::error::Refusal;
use crate::protocol::event::{ErrorReply, Event, StoredReply};
use crate::protocol::id::{Cid, MessageId, UserId};
use crate::protocol::message::Message;
use crate::store::{Outcome, PriorOutcome};

/// What something was written for.
#[derive(Debug, Clone)]
pub enum WriteContext {
    /// A message of this session.
    Post {
        /// The session.
        session: SessionId,
        /// Its name for the request.
        cid: Option<Cid>,
        /// The id that was drawn.
        id: MessageId,
    },
    /// A removal by this session.
    Delete {
        /// The session.
        session: SessionId,
        /// Its name for the request.
        cid: Option<Cid>,
        /// The message.
        id: MessageId,
        /// Who has it.
        message: CachedMessage,
    },
    /// A message whose time is up.
    Expire {
        /// The message.
        id: MessageId,
        /// Who has it, if anybody here does.
        message: Option<CachedMessage>,
    },
    /// A new ID, whose people wait to be let in.
    Register(UserId),
    /// An act of whoever runs the server.
    Admin {
        /// Who waits for the answer.
        id: AdminRequestId,
        /// What is said when it is on disk.
        success: String,
    },
    /// Nobody waits for it.
    NoReply,
}

impl Hub {
    /// Something is on disk.
    pub(super) fn on_written(
        &mut self,
        now: Now,
        ticket: WriteContext,
        outcome: Outcome,
        effects: &mut Vec<HubEffect>,
    ) {
        match (outcome, ticket) {
            (outcome, WriteContext::Admin { id: asker, success: done }) => {
                self.on_admin_written(asker, done, Ok(outcome), effects);
            }
            (outcome, WriteContext::Register(user)) => {
                self.on_registered(now, &user, Ok(&outcome), effects)
            }
            (Outcome::Posted(message), _) => self.on_posted(now, message, effects),
            (Outcome::Deleted(deleted), WriteContext::Delete { message: entry, .. }) => {
                self.message_cache.remove(deleted.id);
                self.head = deleted.seq;
                let to = self.audience_sessions(&entry.author, &entry.audience);
                effects.push(HubEffect::Send { to, event: Event::Deleted(deleted) });
            }
            (Outcome::Expired { seq, id }, WriteContext::Expire { message: entry, .. }) => {
                self.head = seq;
                let to = match entry {
                    Some(entry) => self.audience_sessions(&entry.author, &entry.audience),
                    None => SessionSet::Many(Vec::new()),
                };
                effects.push(HubEffect::Send { to, event: Event::Expired { seq, id } });
            }
            (Outcome::Repeated(first), ticket) => self.answer_repeated(&first, &ticket, effects),
            (Outcome::NotFound, WriteContext::Delete { session, cid, id, .. }) => {
                send_error(session, cid, &Refusal::UnknownMessage(id), effects);
            }
            // The hub draws ids that are free; and what is noted is noted.
            (
                Outcome::Deleted(_)
                | Outcome::Expired { .. }
                | Outcome::NotFound
                | Outcome::IdTaken
                | Outcome::Registered
                | Outcome::KeyMismatch
                | Outcome::InvalidInvite
                | Outcome::Removed { .. }
                | Outcome::Done,
                _,
            ) => {}
        }
    }

    /// Something could not be written: nothing of it has happened.
    pub(super) fn on_write_failed(
        &mut self,
        now: Now,
        ticket: WriteContext,
        reason: &'static str,
        effects: &mut Vec<HubEffect>,
    ) {
        match ticket {
            WriteContext::Post { session, cid, id } => {
                self.message_ids.remove(id);
                send_error(session, cid, &Refusal::NotStored(reason), effects);
            }
            WriteContext::Delete { session, cid, .. } => {
                send_error(session, cid, &Refusal::NotStored(reason), effects);
            }
            WriteContext::Expire { id, message: entry } => self.retry_expiry(now, id, entry),
            WriteContext::Register(user) => self.on_registered(now, &user, Err(reason), effects),
            WriteContext::Admin { id: asker, success: done } => {
                self.on_admin_written(asker, done, Err(reason), effects);
            }
            WriteContext::NoReply => {}
        }
    }

    fn on_posted(&mut self, now: Now, message: Message, effects: &mut Vec<HubEffect>) {
        if self.presence.is_unannounced(&message.sender) {
            // Nobody hears from somebody before they hear of them.
            self.presence.end_pause();
            self.announce_presence(now, effects);
        }
        self.head = message.seq;
        self.track_recipients(&message);
        let entry =
            CachedMessage { author: message.sender.clone(), audience: message.audience.clone() };
        if let Some(at) = message.expires() {
            self.expiry.insert(at, message.id, Some(entry.clone()));
        }
        self.message_cache.insert(message.id, entry);
        let to = self.audience_sessions(&message.sender, &message.audience);
        effects.push(HubEffect::Send { to, event: Event::Posted(message) });
    }

    /// The first time counts; this time nothing was done, and the sender is told what it was.
    fn answer_repeated(
        &mut self,
        first: &PriorOutcome,
        ticket: &WriteContext,
        effects: &mut Vec<HubEffect>,
    ) {
        let (session, cid) = match ticket {
            WriteContext::Post { session, cid, id } => {
                self.message_ids.remove(*id);
                (*session, cid)
            }
            WriteContext::Delete { session, cid, .. } => (*session, cid),
            WriteContext::Expire { .. }
            | WriteContext::Register(_)
            | WriteContext::Admin { .. }
            | WriteContext::NoReply => return,
        };
        let (seq, id) = match first {
            PriorOutcome::Posted(message) => (message.seq, message.id),
            PriorOutcome::PostedThenRemoved { seq, id } => (*seq, *id),
            PriorOutcome::Deleted(deleted) => (deleted.seq, deleted.id),
        };
        if let Some(cid) = cid.clone() {
            let event = Event::Stored(StoredReply { seq, id, cid });
            effects.push(HubEffect::Send { to: SessionSet::One(session), event });
        }
    }
}

pub(super) fn send_error(
    session: SessionId,
    cid: Option<Cid>,
    refusal: &Refusal,
    effects: &mut Vec<HubEffect>,
) {
    let event = Event::Error(ErrorReply::new(refusal, cid));
    effects.push(HubEffect::Send { to: SessionSet::One(session), event });
}
