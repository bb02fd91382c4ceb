//! Handling the log's replies: what was written is announced to its audience, what failed is refused.

use std::sync::Arc;

use super::message_cache::CachedMessage;
use super::{AdminRequestId, Hub, HubEffect, Now, SessionId, SessionSet};
use crate::protocol::error::Refusal;
use crate::protocol::event::{ErrorReply, Event, StoredReply};
use crate::protocol::id::{Cid, MessageId, UserId};
use crate::protocol::message::Message;
use crate::store::{Outcome, PriorOutcome};

/// Why something is written to the log, and who waits for the outcome.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the field names say it")]
pub enum WriteContext {
    /// A session posted a message.
    Post { session: SessionId, cid: Option<Cid>, id: MessageId },
    /// A session deleted a message.
    Delete { session: SessionId, cid: Option<Cid>, id: MessageId, message: CachedMessage },
    /// A temporary message has expired. `message` is `None` if it was posted before this start of the
    /// server: no connected session was sent it live.
    Expire { id: MessageId, message: Option<CachedMessage> },
    /// A new ID is registered; its logins are pending.
    Register(UserId),
    /// An administrator's command; `success` is the text of the reply.
    Admin { id: AdminRequestId, success: String },
    /// Nothing depends on the outcome.
    NoReply,
}

impl Hub {
    /// Handles what the log has processed.
    pub(super) fn on_written(
        &mut self,
        now: Now,
        context: WriteContext,
        outcome: Outcome,
        effects: &mut Vec<HubEffect>,
    ) {
        match (outcome, context) {
            (outcome, WriteContext::Admin { id, success }) => {
                self.on_admin_written(id, success, Ok(outcome), effects);
            }
            (outcome, WriteContext::Register(user)) => {
                self.on_registered(now, &user, Ok(&outcome), effects);
            }
            (Outcome::Posted(message), _) => self.on_posted(now, message, effects),
            (Outcome::Deleted(deleted), WriteContext::Delete { message, .. }) => {
                self.message_cache.remove(deleted.id);
                self.head = deleted.seq;
                let to = self.audience_sessions(&message.author, &message.audience);
                effects.push(HubEffect::Send { to, event: Event::Deleted(deleted) });
            }
            (Outcome::Expired { seq, id }, WriteContext::Expire { message, .. }) => {
                self.head = seq;
                let to = match message {
                    Some(message) => self.audience_sessions(&message.author, &message.audience),
                    None => SessionSet::Only { viewers: Arc::default(), sessions: Vec::new() },
                };
                effects.push(HubEffect::Send { to, event: Event::Expired { seq, id } });
            }
            (Outcome::Repeated(first), context) => self.answer_repeated(&first, &context, effects),
            (Outcome::NotFound, WriteContext::Delete { session, cid, id, .. }) => {
                send_error(session, cid, &Refusal::UnknownMessage(id), effects);
            }
            // `IdTaken` cannot happen: the hub allocates free ids. The others need no action.
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

    /// Handles what could not be written: undoes what the hub did in advance and reports the error.
    pub(super) fn on_write_failed(
        &mut self,
        now: Now,
        context: WriteContext,
        reason: &'static str,
        effects: &mut Vec<HubEffect>,
    ) {
        match context {
            WriteContext::Post { session, cid, id } => {
                self.message_ids.remove(id);
                send_error(session, cid, &Refusal::NotStored(reason), effects);
            }
            WriteContext::Delete { session, cid, .. } => {
                send_error(session, cid, &Refusal::NotStored(reason), effects);
            }
            WriteContext::Expire { id, message } => self.retry_expiry(now, id, message),
            WriteContext::Register(user) => self.on_registered(now, &user, Err(reason), effects),
            WriteContext::Admin { id, success } => {
                self.on_admin_written(id, success, Err(reason), effects);
            }
            WriteContext::NoReply => {}
        }
    }

    fn on_posted(&mut self, now: Now, message: Message, effects: &mut Vec<HubEffect>) {
        if self.presence.is_unannounced(&message.sender) {
            // Clients learn of a user before they get a message from that user.
            self.presence.end_pause();
            self.announce_presence(now, effects);
        }
        self.head = message.seq;
        self.track_recipients(&message);
        let cached =
            CachedMessage { author: message.sender.clone(), audience: message.audience.clone() };
        if let Some(at) = message.expires() {
            self.expiry.insert(at, message.id, Some(cached.clone()));
        }
        self.message_cache.insert(message.id, cached);
        let to = self.audience_sessions(&message.sender, &message.audience);
        effects.push(HubEffect::Send { to, event: Event::Posted(message) });
    }

    /// Answers a repeated request (same `cid`) with the outcome of the first one; nothing was written.
    fn answer_repeated(
        &mut self,
        first: &PriorOutcome,
        context: &WriteContext,
        effects: &mut Vec<HubEffect>,
    ) {
        let (session, cid) = match context {
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
