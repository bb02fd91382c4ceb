//! Who may see what: the members of a conversation see its messages and whatever else is said about them.
//!
//! This is the only rule of visibility. [`Sight`] answers for one viewer, as reading and the rules of the log
//! need it; [`Memberships`] lists all viewers, as live delivery needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::change::ChangeRow;
use super::row::{parse_room, parse_users, split_recipients};
use super::{Change, StoreError};
use crate::protocol::event::Event;
use crate::protocol::id::{RoomName, Seq, UserId};
use crate::protocol::message::{Audience, Message};

/// Who may see an event of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Viewers {
    /// All users.
    Everyone,
    /// The members of a room.
    Room {
        /// The room.
        room: RoomName,
        /// The message that the event is or is about, or else the event: members who may see only later ones
        /// do not see it.
        about: Seq,
        /// Users who are, or were until now, affected: they see the event, too.
        also: Vec<UserId>,
    },
    /// The participants of a direct conversation.
    Users(BTreeSet<UserId>),
}

impl Viewers {
    /// The viewers of a message.
    pub fn of(message: &Message) -> Self {
        match &message.audience {
            Audience::Everyone => Self::Everyone,
            Audience::Room(room) => {
                Self::Room { room: room.clone(), about: message.seq, also: Vec::new() }
            }
            Audience::Only(users) => {
                Self::Users(users.iter().chain([&message.sender]).cloned().collect())
            }
        }
    }

    /// The viewers of a change.
    pub(super) fn of_change(change: &ChangeRow) -> Result<Self, StoreError> {
        let (about, also) = (change.about, change.also.clone());
        Ok(match change.conversation.as_str() {
            "" => Self::Everyone,
            room if room.starts_with('#') => Self::Room { room: parse_room(room)?, about, also },
            users => Self::Users(parse_users(users)?),
        })
    }
}

/// What one user may see.
#[derive(Debug, Clone)]
pub(super) struct Sight<'a> {
    pub(super) viewer: &'a UserId,
    /// The rooms in which the user is a member, and the first event there that the user may see.
    pub(super) rooms: BTreeMap<RoomName, Seq>,
}

impl Sight<'_> {
    /// Whether the user may see the message `about` from `sender` to `recipients`, which are as in
    /// [`super::ScanRow`], and the events about it.
    pub(super) fn sees(&self, sender: &str, recipients: Option<&str>, about: Seq) -> bool {
        let viewer = self.viewer.as_str();
        match recipients {
            None => true,
            Some(room) if room.starts_with('#') => {
                self.rooms.get(room).is_some_and(|since| is_shown(*since, about))
            }
            Some(users) => sender == viewer || split_recipients(users).any(|user| user == viewer),
        }
    }
}

/// Whether a member since `since` may see what is about `about`.
fn is_shown(since: Seq, about: Seq) -> bool {
    since <= about
}

/// A room and its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Whether it exists only for its members.
    pub private: bool,
    /// Whether it is read-only.
    pub archived: bool,
    /// Its members, and the first event that each of them may see.
    pub members: BTreeMap<UserId, Seq>,
}

/// A user has become a member of a room, or is none any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberChange {
    /// The user.
    pub user: UserId,
    /// The first event that a member may see; `None` for who has left.
    pub since: Option<Seq>,
}

/// The members of all rooms, for live delivery.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memberships(BTreeMap<RoomName, LiveRoom>);

/// A room, with what every event in it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LiveRoom {
    room: Room,
    /// The members, ordered by ID: the viewers of almost every event, which share this slice.
    members: Arc<[UserId]>,
    /// All members see what is about later messages.
    latest_since: Seq,
}

impl LiveRoom {
    fn new(room: Room) -> Self {
        Self {
            members: room.members.keys().cloned().collect(),
            latest_since: room.members.values().copied().max().unwrap_or_default(),
            room,
        }
    }

    fn viewers(&self, about: Seq, also: &[UserId]) -> Arc<[UserId]> {
        let members = &self.room.members;
        if is_shown(self.latest_since, about) && also.iter().all(|user| members.contains_key(user))
        {
            return Arc::clone(&self.members);
        }
        let shown = members.iter().filter(|(_, since)| is_shown(**since, about));
        let viewers: BTreeSet<_> = shown.map(|(user, _)| user).chain(also).cloned().collect();
        viewers.into_iter().collect()
    }
}

impl Memberships {
    /// The memberships of a log that has just been opened.
    pub fn new(rooms: impl IntoIterator<Item = (RoomName, Room)>) -> Self {
        Self(rooms.into_iter().map(|(name, room)| (name, LiveRoom::new(room))).collect())
    }

    /// Follows a change that was applied.
    pub fn apply(&mut self, change: &Change) {
        let Event::RoomChanged(changed) = &change.event else { return };
        let (private, archived) = (changed.state.private, changed.state.archived);
        let mut room = match self.0.remove(&changed.room) {
            Some(live) => Room { archived, ..live.room },
            None => Room { private, archived, members: BTreeMap::new() },
        };
        for MemberChange { user, since } in &change.members {
            match since {
                Some(since) => room.members.insert(user.clone(), *since),
                None => room.members.remove(user),
            };
        }
        self.0.insert(changed.room.clone(), LiveRoom::new(room));
    }

    /// The room, if it exists.
    pub fn room(&self, name: &RoomName) -> Option<&Room> {
        self.0.get(name).map(|live| &live.room)
    }

    /// All rooms, by name.
    pub fn rooms(&self) -> impl Iterator<Item = (&RoomName, &Room)> {
        self.0.iter().map(|(name, live)| (name, &live.room))
    }

    /// Those who may see an event, ordered by ID; `None` for everyone.
    pub fn viewers(&self, viewers: &Viewers) -> Option<Arc<[UserId]>> {
        match viewers {
            Viewers::Everyone => None,
            Viewers::Users(users) => Some(users.iter().cloned().collect()),
            Viewers::Room { room, about, also } => {
                Some(self.0.get(room).map_or_else(Arc::default, |live| live.viewers(*about, also)))
            }
        }
    }
}
