//! Requests of sessions: what becomes an entry, what is read from the log, and what is only passed on.

use std::sync::Arc;

use super::commit::send_error;
use super::{Hub, HubEffect, Now, Origin, ReadRequest, SessionId, SessionSet};
use crate::protocol::error::{ErrorCode, Refusal};
use crate::protocol::event::{ErrorReply, Event};
use crate::protocol::id::{Cid, RoomName, UserId};
use crate::protocol::limits::TYPING_MEMBERS;
use crate::protocol::message::Audience;
use crate::protocol::request::{DecodedRequest, Request};
use crate::protocol::room::RoomAction;
use crate::server::RoomCreators;
use crate::store::{Entry, RoomEntry};

impl Hub {
    pub(super) fn answer_request(
        &mut self,
        now: Now,
        session: SessionId,
        (cid, request): DecodedRequest,
        effects: &mut Vec<HubEffect>,
    ) {
        let Some(user) = self.sessions.user(session) else { return };
        let effect = match request {
            Ok(Request::LocalSearch) => return,
            Ok(Request::Typing(conversation)) => {
                return self.send_typing(&user, &conversation, effects);
            }
            // The session sends PONG: only it knows what has been sent.
            Ok(Request::Ping(up_to)) => {
                if let Some(up_to) = up_to {
                    self.record_delivery(session, up_to, effects);
                }
                return;
            }
            Ok(Request::Exit) => return self.close_session(session, effects),
            Ok(request) => match to_read(&request) {
                Some(query) => {
                    Ok(HubEffect::Read { session, viewer: user, cid: cid.clone(), query })
                }
                None => self.to_entry(now, user, cid.clone(), request).map(|entry| {
                    let origin = Origin::Request { session, cid: cid.clone() };
                    HubEffect::Propose { origin, entry }
                }),
            },
            Err(refusal) => Err(refusal),
        };
        match effect {
            Ok(effect) => effects.push(effect),
            Err(refusal) => self.refuse_request(session, cid, &refusal, effects),
        }
    }

    fn refuse_request(
        &mut self,
        session: SessionId,
        cid: Option<Cid>,
        refusal: &Refusal,
        effects: &mut Vec<HubEffect>,
    ) {
        send_error(session, cid, refusal, effects);
        if matches!(refusal.code(), ErrorCode::FrameTooLong | ErrorCode::Flooding) {
            let (to, event) =
                (SessionSet::One(session), Event::Closing(ErrorReply::new(refusal, None)));
            effects.push(HubEffect::Send { to, event });
            self.close_session(session, effects);
        }
    }

    fn to_entry(
        &self,
        now: Now,
        by: UserId,
        cid: Option<Cid>,
        request: Request,
    ) -> Result<Entry, Refusal> {
        Ok(match request {
            Request::Post(post) => self.post(now, by, cid, post),
            Request::Delete(id) => Entry::Delete { id, by, cid },
            Request::Edit { id, content } => {
                Entry::Edit { id, by, content, guests: self.sessions.guests(), cid }
            }
            Request::React { id, emoji, on } => Entry::React { id, by, emoji, on, cid },
            Request::Pin { id, on } => Entry::Pin { id, by, on, cid },
            Request::Room { action: RoomAction::Create { .. }, .. }
                if self.room_settings.creators == RoomCreators::Admins =>
            {
                return Err(Refusal::NotAllowed(
                    "only the administrator of this server creates rooms",
                ));
            }
            Request::Room { room, action } => self.room_entry(room, Some(by), action, cid),
            Request::Read { conversation, up_to, unread } => {
                Entry::Read { by, conversation, up_to, unread, cid }
            }
            Request::Notify { conversation, level, muted_until } => {
                Entry::Notify { by, conversation, level, muted_until, cid }
            }
            _ => return Err(Refusal::UnknownAction),
        })
    }

    /// A change of a room, by a user or by the administrator.
    pub(super) fn room_entry(
        &self,
        room: RoomName,
        by: Option<UserId>,
        action: RoomAction,
        cid: Option<Cid>,
    ) -> Entry {
        Entry::Room(RoomEntry { room, by, action, limits: self.room_settings.limits, cid })
    }

    /// Tells the others in a conversation that `user` is writing, if there are few of them.
    fn send_typing(&self, user: &UserId, conversation: &Audience, effects: &mut Vec<HubEffect>) {
        let mut send = |to: Arc<[UserId]>, conversation| {
            let event = Event::Typing { conversation, user: user.clone() };
            effects.push(HubEffect::Send { to: SessionSet::Users(to), event });
        };
        match conversation {
            Audience::Everyone => {}
            Audience::Room(name) => {
                let room = self.rooms.room(name).filter(|room| {
                    let members = &room.members;
                    members.contains_key(user) && members.len() <= TYPING_MEMBERS && !room.archived
                });
                let members = room.into_iter().flat_map(|room| room.members.keys());
                send(
                    members.filter(|member| *member != user).cloned().collect(),
                    conversation.clone(),
                );
            }
            Audience::Only(others) => {
                let mut people = others.clone();
                people.insert(user.clone());
                if people.len() > TYPING_MEMBERS {
                    return;
                }
                for reader in people.iter().filter(|reader| *reader != user) {
                    let others = people.iter().filter(|other| *other != reader);
                    send(Arc::from([reader.clone()]), Audience::Only(others.cloned().collect()));
                }
            }
        }
    }
}

/// The request, if it is answered from the log.
fn to_read(request: &Request) -> Option<ReadRequest> {
    match request {
        Request::History(query) => Some(ReadRequest::History(query.clone())),
        Request::SearchHistory(query) => Some(ReadRequest::Search(query.clone())),
        Request::Conversations => Some(ReadRequest::Conversations),
        Request::Rooms(after) => Some(ReadRequest::Rooms(after.clone())),
        Request::Users { room, after } => {
            Some(ReadRequest::Users { room: room.clone(), after: after.clone() })
        }
        _ => None,
    }
}
