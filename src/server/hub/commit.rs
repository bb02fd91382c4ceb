//! Handling the log's outcomes: what was applied is announced to its audience, what was refused is
//! answered.

use super::admin::reply_to_admin;
use super::origin::Origin;
use super::{Hub, HubEffect, Now, SessionId, SessionSet};
use crate::protocol::error::Refusal;
use crate::protocol::event::{ErrorReply, Event, StoredReply};
use crate::protocol::id::Cid;
use crate::protocol::message::Message;
use crate::store::{Outcome, Removal};

impl Hub {
    /// Handles the outcome of an entry that the log has applied.
    pub(super) fn on_applied(
        &mut self,
        now: Now,
        origin: Origin,
        outcome: Outcome,
        effects: &mut Vec<HubEffect>,
    ) {
        if let Outcome::Removed(removal) = &outcome {
            self.on_removed(removal, effects);
        }
        match (outcome, origin) {
            (outcome, Origin::Admin { id, success }) => {
                reply_to_admin(id, success, Ok(&outcome), effects);
            }
            (outcome, Origin::Register(user)) => {
                self.on_registered(now, &user, Ok(&outcome), effects);
            }
            (Outcome::Posted(message), _) => self.on_posted(now, message, effects),
            (Outcome::Refused(refusal), Origin::Request { session, cid }) => {
                send_error(session, cid, &refusal, effects);
            }
            (Outcome::Repeated { seq, id }, Origin::Request { session, cid: Some(cid) }) => {
                let event = Event::Stored(StoredReply { seq, id: Some(id), cid: Some(cid) });
                effects.push(HubEffect::Send { to: SessionSet::One(session), event });
            }
            // A message that was due may have been deleted. The others need no action.
            (
                Outcome::Removed(_)
                | Outcome::Refused(_)
                | Outcome::Repeated { .. }
                | Outcome::Registered
                | Outcome::KeyMismatch
                | Outcome::InvalidInvite
                | Outcome::Done,
                Origin::Request { .. } | Origin::Expiry(_) | Origin::NoReply,
            ) => {}
        }
    }

    /// Handles an entry that could not be stored: nothing was changed.
    pub(super) fn on_not_applied(
        &mut self,
        now: Now,
        origin: Origin,
        reason: &'static str,
        effects: &mut Vec<HubEffect>,
    ) {
        match origin {
            Origin::Request { session, cid } => {
                send_error(session, cid, &Refusal::NotStored(reason), effects);
            }
            Origin::Expiry(id) => self.retry_expiry(now, id),
            Origin::Register(user) => self.on_registered(now, &user, Err(reason), effects),
            Origin::Admin { id, success } => reply_to_admin(id, success, Err(reason), effects),
            Origin::NoReply => {}
        }
    }

    fn on_removed(&mut self, removal: &Removal, effects: &mut Vec<HubEffect>) {
        self.head = removal.event.seq().unwrap_or(self.head);
        let to = self.audience_sessions(&removal.author, &removal.audience);
        effects.push(HubEffect::Send { to, event: removal.event.clone() });
    }

    fn on_posted(&mut self, now: Now, message: Message, effects: &mut Vec<HubEffect>) {
        if self.presence.is_unannounced(&message.sender) {
            // Clients learn of a user before they get a message from that user.
            self.presence.end_pause();
            self.announce_presence(now, effects);
        }
        self.head = message.seq;
        self.track_recipients(&message);
        if let Some(at) = message.expires() {
            self.schedule_expiry(now, at - now.millis(), message.id);
        }
        let to = self.audience_sessions(&message.sender, &message.audience);
        effects.push(HubEffect::Send { to, event: Event::Posted(message) });
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
