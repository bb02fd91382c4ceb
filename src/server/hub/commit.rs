//! Handling the log's outcomes: what was applied is announced to its audience, what was refused is
//! answered.

use super::admin::{admin_reply, not_written};
use super::origin::Origin;
use super::{Hub, HubEffect, Now, SessionId, SessionSet};
use crate::protocol::error::Refusal;
use crate::protocol::event::{ErrorReply, Event, StoredReply};
use crate::protocol::id::Cid;
use crate::protocol::message::Message;
use crate::store::{Change, Outcome, Viewers};

impl Hub {
    /// Handles the outcome of an entry that the log has applied.
    pub(super) fn on_applied(
        &mut self,
        now: Now,
        origin: Origin,
        outcome: Outcome,
        effects: &mut Vec<HubEffect>,
    ) {
        let closed = self.follow_log(&outcome, effects);
        let joined = match &outcome {
            Outcome::Registered { joined, .. } => joined.clone(),
            _ => Vec::new(),
        };
        match (origin, outcome) {
            (Origin::Admin { id, command }, outcome) => {
                if let Some(entry) = self.next_step(&command, &outcome) {
                    let origin = Origin::Admin { id, command };
                    return effects.push(HubEffect::Propose { origin, entry });
                }
                let reply = admin_reply(&command, &outcome, closed);
                effects.push(HubEffect::AdminReply { id, reply });
            }
            (Origin::Login(session), outcome) => self.finish_login(now, session, outcome, effects),
            (_, Outcome::Posted(message)) => self.on_posted(now, message, effects),
            (origin, Outcome::Personal { user, event }) => {
                let requester = origin.session();
                effects.push(HubEffect::Send { to: SessionSet::Own { user, requester }, event });
            }
            (Origin::Request { session, cid }, Outcome::Refused(refusal)) => {
                send_error(session, cid, &refusal, effects);
            }
            (Origin::Request { session, cid }, Outcome::Repeated { seq, id }) => {
                let event = Event::Stored(StoredReply { seq, id, cid });
                effects.push(HubEffect::Send { to: SessionSet::One(session), event });
            }
            // A message that was due may have been deleted. The others need no action.
            (Origin::Request { .. } | Origin::Expiry(_) | Origin::NoReply, _) => {}
        }
        // The session of the new user has started.
        for change in &joined {
            self.on_changed(change, effects);
        }
    }

    /// Follows what was stored, wherever it came from. Returns the number of sessions that it closed.
    fn follow_log(&mut self, outcome: &Outcome, effects: &mut Vec<HubEffect>) -> usize {
        match outcome {
            Outcome::Changed(change) => self.on_changed(change, effects),
            Outcome::Registered { user, key, .. } => self.sessions.on_registered(user, *key),
            Outcome::Rebound { user, from, to } => {
                self.sessions.on_rebound(user, *from, *to);
                return self.close_matching(&Refusal::Kicked, effects, |id, peer| {
                    id == user && from != to && peer.key == Some(*from)
                });
            }
            Outcome::Banned(target) => {
                self.login_policy.bans.insert(*target);
                return self
                    .close_matching(&Refusal::Banned, effects, |_, peer| peer.matches(target));
            }
            Outcome::Unbanned(target) => {
                self.login_policy.bans.remove(target);
            }
            Outcome::Retained(retained) => self.horizon = retained.horizon,
            _ => {}
        }
        0
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
            Origin::Login(session) => {
                let refused = Outcome::Refused(Refusal::NotStored(reason));
                self.finish_login(now, session, refused, effects);
            }
            Origin::Admin { id, .. } => {
                effects.push(HubEffect::AdminReply { id, reply: not_written(reason) });
            }
            Origin::NoReply => {}
        }
    }

    fn on_changed(&mut self, change: &Change, effects: &mut Vec<HubEffect>) {
        self.head = change.event.seq().unwrap_or(self.head);
        self.rooms.apply(change);
        let to = self.viewer_sessions(&change.viewers);
        effects.push(HubEffect::Send { to, event: change.event.clone() });
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
        let to = self.viewer_sessions(&Viewers::of(&message));
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
