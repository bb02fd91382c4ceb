//! The room: who is here, who may do what, and who is told.
//!
//! Pure: inputs in, effects out, with time and dice handed in. One arm a kind of input here; each
//! idea's rules are in a file of its own. Nothing is told before it is in the log; nothing is kept of a
//! message but what the rules need: its text only passes through.

mod admin;
mod commit;
mod confusables;
mod delete;
mod delivery;
mod expiry;
mod login;
mod login_policy;
mod message_cache;
mod message_ids;
mod post;
mod presence;
mod sessions;

#[cfg(test)]
mod harness;
#[cfg(test)]
mod login_policy_tests;
#[cfg(test)]
mod model_test;
#[cfg(test)]
mod tests;

use chrono::{DateTime, FixedOffset};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::Instant;

pub use self::admin::AdminRequestId;
pub use self::commit::WriteContext;
use self::commit::send_error;
use self::delivery::DeliveryTracker;
use self::expiry::ExpiryQueue;
use self::login::PendingRegistrations;
pub use self::login_policy::AccessMode;
use self::login_policy::LoginPolicy;
use self::message_cache::{CachedMessage, MessageCache};
use self::message_ids::MessageIdSet;
use self::presence::Presence;
use self::sessions::Sessions;
pub use self::sessions::{KeyHash, PeerInfo};
use crate::protocol::error::ErrorCode;
use crate::protocol::event::{ErrorReply, Event};
use crate::protocol::id::{Cid, MessageId, Seq, UserId};
use crate::protocol::limits::Limits;
use crate::protocol::message::{Audience, Millis, viewers};
use crate::protocol::query::{HistoryQuery, SearchQuery};
use crate::protocol::request::{DecodedRequest, Login, Post, PostKind, Request};
use crate::server::admin::{AdminCommand, AdminReply};
use crate::store::{Append, LogSnapshot, MessageMetadata, Outcome};

/// One moment by both clocks: `mono` for pauses, `wall` for what people and other machines see.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Never goes back.
    pub monotonic: Instant,
    /// The server's time, in its time zone.
    pub wall: DateTime<FixedOffset>,
}

impl Now {
    /// The wall clock in milliseconds.
    pub fn millis(&self) -> Millis {
        self.wall.timestamp_millis()
    }
}

/// One connection, for as long as the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// What happens to the room.
#[derive(Debug)]
pub enum HubInput {
    /// Somebody logs in.
    Login {
        /// On this connection.
        session: SessionId,
        /// With these words.
        login: Login,
        /// From there.
        peer: PeerInfo,
    },
    /// Somebody who is logged in asks for something.
    Request {
        /// On this connection.
        session: SessionId,
        /// What; or why it is not understood.
        request: DecodedRequest,
    },
    /// The log has been asked about a message that a request is about.
    LookupDone {
        /// On this connection.
        session: SessionId,
        /// The request.
        request: DecodedRequest,
        /// The message.
        id: MessageId,
        /// What the log says of it, if the asker may know.
        metadata: Option<MessageMetadata>,
    },
    /// Something is in the log.
    Written {
        /// What it was for.
        context: WriteContext,
        /// What came of it.
        outcome: Outcome,
    },
    /// Something could not be written to the log.
    WriteFailed {
        /// What it was for.
        context: WriteContext,
        /// Why, in a few words.
        reason: &'static str,
    },
    /// Whoever runs the server asks for something.
    Admin {
        /// To be answered.
        id: AdminRequestId,
        /// What.
        command: AdminCommand,
    },
    /// These ids are free again.
    IdsFreed(Vec<MessageId>),
    /// Only from here on is the log complete.
    Horizon(Seq),
    /// The connection has ended.
    Disconnected(SessionId),
    /// [`Hub::next_deadline`] is reached.
    Tick,
}

/// What is to be done.
#[derive(Debug)]
pub enum HubEffect {
    /// Tell somebody something.
    Send {
        /// Whom.
        to: SessionSet,
        /// What.
        event: Event,
    },
    /// Write to the log, in the order of these effects; [`Input::Stored`] or [`Input::WriteFailed`]
    /// follows.
    Append {
        /// What it is for.
        context: WriteContext,
        /// What.
        append: Append,
    },
    /// Ask the log about a message; [`Input::Looked`] follows.
    Lookup {
        /// For this connection.
        session: SessionId,
        /// As this person.
        viewer: UserId,
        /// About this message.
        id: MessageId,
        /// To go on with this request.
        request: DecodedRequest,
    },
    /// Answer a question from the log.
    Read {
        /// For this connection.
        session: SessionId,
        /// As this person.
        viewer: UserId,
        /// The question's name.
        cid: Option<Cid>,
        /// The question.
        query: ReadRequest,
    },
    /// Answer whoever runs the server.
    AdminReply {
        /// Who asked.
        id: AdminRequestId,
        /// What came of it.
        reply: AdminReply,
    },
    /// From now on this session gets what its person may see: what the log has after this place, if
    /// there is one, and then what comes.
    Subscribe {
        /// The connection.
        session: SessionId,
        /// The person.
        viewer: UserId,
        /// The place.
        after: Option<Seq>,
    },
    /// End the connection after all that was sent to it; the session is not here any more.
    Close(SessionId),
}

/// A question that the log answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadRequest {
    /// A page of history.
    History(HistoryQuery),
    /// A search.
    Search(SearchQuery),
}

/// Whom to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionSet {
    /// One session.
    One(SessionId),
    /// These sessions.
    Many(Vec<SessionId>),
    /// All sessions that are logged in.
    All,
}

/// The state of the room.
#[derive(Debug)]
pub struct Hub {
    sessions: Sessions,
    login_policy: LoginPolicy,
    pending_registrations: PendingRegistrations,
    message_cache: MessageCache,
    message_ids: MessageIdSet,
    expiry: ExpiryQueue,
    presence: Presence,
    delivery: DeliveryTracker,
    head: Seq,
    horizon: Seq,
    epoch: String,
    limits: Limits,
    rng: StdRng,
}

impl Hub {
    /// The room behind a log, and for whom it is. All that is random in it comes from `seed`.
    pub fn new(seed: u64, access: AccessMode, snapshot: &LogSnapshot) -> Self {
        let mut message_ids = MessageIdSet::default();
        for id in &snapshot.used_ids {
            message_ids.insert(*id);
        }
        let mut expiry = ExpiryQueue::default();
        for (id, at) in &snapshot.expirations {
            expiry.insert(*at, *id, None);
        }
        Self {
            sessions: Sessions::new(&snapshot.registered, &snapshot.direct_message_users),
            login_policy: LoginPolicy::new(access, &snapshot.invites, &snapshot.bans),
            pending_registrations: PendingRegistrations::default(),
            message_cache: MessageCache::default(),
            message_ids,
            expiry,
            presence: Presence::default(),
            delivery: DeliveryTracker::default(),
            head: snapshot.head,
            horizon: snapshot.horizon,
            epoch: snapshot.epoch.clone(),
            limits: Limits::default(),
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// The same room, which tells everybody these limits. It is for sessions to hold to the rates.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// What follows from an input. Every request but SEARCH and EXIT gets exactly one answer.
    pub fn handle(&mut self, now: Now, input: HubInput) -> Vec<HubEffect> {
        let mut effects = Vec::new();
        self.expire_due(now, &mut effects);
        match input {
            HubInput::Login { session, login, peer } => {
                self.log_in(now, session, login, peer, &mut effects);
            }
            HubInput::Request { session, request } => {
                self.on_request(now, session, request, &mut effects);
            }
            HubInput::LookupDone { session, request, id, metadata: found } => {
                if let Some(found) = found {
                    let MessageMetadata { sender: author, audience, .. } = found;
                    self.message_cache.insert(id, CachedMessage { author, audience });
                }
                self.answer_request(now, session, request, &mut effects);
            }
            HubInput::Written { context: ticket, outcome } => {
                self.on_written(now, ticket, outcome, &mut effects);
            }
            HubInput::WriteFailed { context: ticket, reason } => {
                self.on_write_failed(now, ticket, reason, &mut effects);
            }
            HubInput::Admin { id: asker, command: act } => {
                self.execute_admin(now, asker, act, &mut effects)
            }
            HubInput::IdsFreed(ids) => ids.into_iter().for_each(|id| self.message_ids.remove(id)),
            HubInput::Horizon(horizon) => self.horizon = horizon,
            HubInput::Disconnected(session) => self.remove_session(session),
            HubInput::Tick => {}
        }
        self.announce_presence(now, &mut effects);
        effects
    }

    /// When [`Input::Tick`] is due, if nothing else comes before.
    pub fn next_deadline(&self, now: Now) -> Option<Instant> {
        let presence = self.presence.deadline();
        let expiry = self.expiry.deadline(now);
        presence.into_iter().chain(expiry).min()
    }

    /// What a request is about has to be known: the log is asked first where it is not.
    fn on_request(
        &mut self,
        now: Now,
        session: SessionId,
        request: DecodedRequest,
        effects: &mut Vec<HubEffect>,
    ) {
        let Some(viewer) = self.sessions.user(session) else { return };
        let about = match &request.1 {
            Ok(
                Request::Post(Post { kind: PostKind::Reply { to: id }, .. }) | Request::Delete(id),
            ) => Some(*id),
            Ok(_) | Err(_) => None,
        };
        match about.filter(|id| !self.message_cache.contains(*id) && self.message_ids.contains(*id))
        {
            Some(id) => effects.push(HubEffect::Lookup { session, viewer, id, request }),
            None => self.answer_request(now, session, request, effects),
        }
    }

    fn answer_request(
        &mut self,
        now: Now,
        session: SessionId,
        (cid, request): DecodedRequest,
        effects: &mut Vec<HubEffect>,
    ) {
        let Some(user) = self.sessions.user(session) else { return };
        let mut read = |query| {
            let (viewer, cid) = (user.clone(), cid.clone());
            effects.push(HubEffect::Read { session, viewer, cid, query });
            Ok(())
        };
        let outcome = match request {
            Ok(Request::Post(say)) => self.post(now, session, user, cid.clone(), say, effects),
            Ok(Request::Delete(id)) => self.delete(session, user, cid.clone(), id, effects),
            Ok(Request::History(history)) => read(ReadRequest::History(history)),
            Ok(Request::SearchHistory(find)) => read(ReadRequest::Search(find)),
            Ok(Request::LocalSearch) => Ok(()),
            // Answered by the session: it alone knows what has gone out.
            Ok(Request::Ping(up_to)) => {
                if let Some(up_to) = up_to {
                    self.record_delivery(session, up_to, effects);
                }
                Ok(())
            }
            Ok(Request::Exit) => {
                self.close_session(session, effects);
                Ok(())
            }
            Err(refusal) => Err(refusal),
        };
        let Err(refusal) = outcome else { return };
        let is_last = matches!(refusal.code(), ErrorCode::FrameTooLong | ErrorCode::Flooding);
        send_error(session, cid, &refusal, effects);
        if is_last {
            let (to, event) =
                (SessionSet::One(session), Event::Closing(ErrorReply::new(&refusal, None)));
            effects.push(HubEffect::Send { to, event });
            self.close_session(session, effects);
        }
    }

    fn close_session(&mut self, session: SessionId, effects: &mut Vec<HubEffect>) {
        self.remove_session(session);
        effects.push(HubEffect::Close(session));
    }

    fn remove_session(&mut self, session: SessionId) {
        self.pending_registrations.remove_session(session);
        if let Some(user) = self.sessions.remove(session) {
            self.presence.on_leave(user);
        }
    }

    /// Everybody here who has the message: its author and its recipients.
    fn audience_sessions(&self, author: &UserId, audience: &Audience) -> SessionSet {
        match viewers(author, audience.recipients()) {
            None => SessionSet::All,
            Some(people) => {
                SessionSet::Many(people.flat_map(|user| self.sessions.sessions_of(user)).collect())
            }
        }
    }
}
