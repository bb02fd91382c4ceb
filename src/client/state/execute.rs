//! Turns the commands that a user types into requests. The full screen and the line mode share this.

use chrono::{DateTime, FixedOffset};
use thiserror::Error;

use super::{ResolveError, Session};
use crate::client::input::{ChatCommand, Destination};
use crate::protocol::id::{Cid, RoomName, UserId};
use crate::protocol::message::{Audience, Millis};
use crate::protocol::request::Request;
use crate::protocol::room::{NotifyLevel, RoomAction, SharedHistory};
use crate::protocol::text::SafeText;

/// The end of a mute without a time: 9999-12-31T23:59:59Z, the last second that has a date of four digits.
pub const FOREVER: Millis = 253_402_300_799_000;

/// Why a command cannot be executed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExecuteError {
    /// A name does not name a known user.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The command is about a room, and the open conversation is none.
    #[error("this is not a room: open one first, as in .to #ops")]
    NoRoom,
    /// The user is not a member of the room.
    #[error("you are not a member of {0}: join it with .join {0}, or create it with .room {0}")]
    NotAMember(RoomName),
    /// A direct conversation with nobody but this user.
    #[error("nobody to write to: name another user")]
    NobodyElse,
    /// Settings are changed only while connected.
    #[error("not connected: try again later")]
    NotConnected,
    /// All `cid`s are used up.
    #[error("cannot send more requests: restart the client")]
    NoMoreRequests,
}

impl Session {
    /// Returns the requests that execute a command, in the order in which they have to be sent. A command
    /// without a room is about the open conversation.
    ///
    /// # Errors
    /// See [`ExecuteError`]. Nothing has changed then.
    pub fn execute(
        &mut self,
        now: DateTime<FixedOffset>,
        command: ChatCommand,
    ) -> Result<Vec<(Cid, Request)>, ExecuteError> {
        let changes = match command {
            ChatCommand::Edit { id, text } => vec![Request::Edit { id, content: text }],
            ChatCommand::React { id, emoji, on } => vec![Request::React { id, emoji, on }],
            ChatCommand::Pin { id, on } => vec![Request::Pin { id, on }],
            ChatCommand::Create { room, private, topic } => self.creation(room, private, topic),
            ChatCommand::Join(room) => vec![change_of(room, RoomAction::Join)],
            ChatCommand::Leave(room) => {
                vec![change_of(room.map_or_else(|| self.open_room(), Ok)?, RoomAction::Leave)]
            }
            ChatCommand::Add { users, history } => {
                let users = self.resolve_all(&users)?;
                vec![change_of(self.open_room()?, RoomAction::Add { users, history })]
            }
            ChatCommand::Remove(users) => {
                let users = self.resolve_all(&users)?;
                vec![change_of(self.open_room()?, RoomAction::Remove(users))]
            }
            ChatCommand::Topic(topic) => {
                vec![change_of(self.open_room()?, RoomAction::Topic(topic))]
            }
            ChatCommand::Archive(on) => vec![change_of(self.open_room()?, RoomAction::Archive(on))],
            ChatCommand::Mute(time) => {
                let until = time.map_or(FOREVER, |time| {
                    let milliseconds = i64::try_from(time.as_millis()).unwrap_or(FOREVER);
                    self.server_time(now).saturating_add(milliseconds).min(FOREVER)
                });
                return self.set_open_notify(self.opened().notify_level(), Some(until));
            }
            ChatCommand::Unmute => return self.set_open_notify(self.opened().notify_level(), None),
            ChatCommand::Notify(level) => {
                return self.set_open_notify(level, self.opened().muted_until());
            }
        };
        let sent: Option<Vec<_>> = changes.into_iter().map(|change| self.change(change)).collect();
        sent.ok_or(ExecuteError::NoMoreRequests)
    }

    /// Returns the conversation that the user named.
    ///
    /// # Errors
    /// See [`ExecuteError`].
    pub fn destination(&self, destination: Destination) -> Result<Audience, ExecuteError> {
        match destination {
            Destination::Everyone => Ok(Audience::Everyone),
            Destination::Room(room) => {
                let audience = Audience::Room(room.clone());
                let is_member = self.conversation(&audience).is_some();
                is_member.then_some(audience).ok_or(ExecuteError::NotAMember(room))
            }
            Destination::Users(users) => {
                Ok(Audience::Only(self.resolve_all(&users)?.into_iter().collect()))
            }
        }
    }

    /// The people of a direct conversation become members of the room that is created in it.
    fn creation(&self, room: RoomName, private: bool, topic: SafeText) -> Vec<Request> {
        let Audience::Only(people) = self.open_audience() else {
            return vec![change_of(room, RoomAction::Create { private, topic })];
        };
        let add = RoomAction::Add {
            users: people.iter().cloned().collect(),
            history: SharedHistory::Now,
        };
        vec![
            change_of(room.clone(), RoomAction::Create { private: true, topic }),
            change_of(room, add),
        ]
    }

    fn open_room(&self) -> Result<RoomName, ExecuteError> {
        self.open_audience().room().cloned().ok_or(ExecuteError::NoRoom)
    }

    fn resolve_all(&self, names: &[String]) -> Result<Vec<UserId>, ExecuteError> {
        let users = names.iter().map(|name| self.resolve(name)).collect::<Result<Vec<_>, _>>()?;
        let others: Vec<UserId> = users.into_iter().filter(|user| !self.is_own_id(user)).collect();
        if others.is_empty() { Err(ExecuteError::NobodyElse) } else { Ok(others) }
    }

    fn set_open_notify(
        &mut self,
        level: NotifyLevel,
        muted_until: Option<Millis>,
    ) -> Result<Vec<(Cid, Request)>, ExecuteError> {
        let open = self.open_audience().clone();
        let sent = self.set_notify(&open, level, muted_until);
        Ok(vec![sent.ok_or(ExecuteError::NotConnected)?])
    }
}

fn change_of(room: RoomName, action: RoomAction) -> Request {
    Request::Room { room, action }
}
