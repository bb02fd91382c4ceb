//! A few rows for the tests of the rules.

use std::collections::{BTreeMap, BTreeSet};

use super::super::StoreError;
use super::super::account_rules::{NoChange, outcome};
use super::super::mention_rules::MemberRows;
use super::super::room_rules::RoomRows;
use super::super::rules::{Original, Rows};
use super::*;
use crate::protocol::id::RoomName;
use crate::protocol::room::RoomState;

/// A log with a few rows. Who has been in a room longest is first.
#[derive(Default)]
pub(in super::super) struct TestRows {
    pub(in super::super) registered: BTreeSet<UserId>,
    pub(in super::super) rooms: BTreeMap<RoomName, (RoomState, Vec<(UserId, Seq)>)>,
    pub(in super::super) originals: BTreeMap<MessageId, Original>,
    pub(in super::super) direct: BTreeSet<String>,
}

/// Users with these names.
pub(in super::super) fn users(names: &str) -> BTreeSet<UserId> {
    names.split_whitespace().map(user).collect()
}

/// `*` is everyone, `#ops` a room.
pub(in super::super) fn audience(names: &str) -> Audience {
    match names {
        "*" => Audience::Everyone,
        room if room.starts_with('#') => Audience::Room(room.parse().unwrap()),
        names => Audience::Only(users(names)),
    }
}

/// The code of the refusal, `Unchanged`, or what `show` makes of the rest.
pub(in super::super) fn shown<T>(
    decided: Result<T, NoChange>,
    show: impl FnOnce(T) -> String,
) -> String {
    match decided {
        Ok(value) => show(value),
        Err(no) => match outcome(Err(no), Seq(0)).unwrap() {
            Outcome::Refused(refusal) => format!("{:?}", refusal.code()),
            Outcome::Repeated { .. } => "Unchanged".to_owned(),
            other => panic!("{other:?}"),
        },
    }
}

impl TestRows {
    /// All registered users, and rooms: `#pub` is public, the others are private, `#old` is archived.
    pub(in super::super) fn new(registered: &str, rooms: &[(&str, &str)]) -> Self {
        let rooms = rooms.iter().map(|(name, members)| {
            let members: Vec<_> =
                members.split_whitespace().map(|name| (user(name), Seq(0))).collect();
            let people = u32::try_from(members.len()).unwrap();
            let (private, archived) = (*name != "#pub", *name == "#old");
            let state = RoomState { private, people, archived, ..RoomState::default() };
            (name.parse().unwrap(), (state, members))
        });
        Self { registered: users(registered), rooms: rooms.collect(), ..Self::default() }
    }

    /// Adds the message with this number.
    pub(in super::super) fn with(mut self, seq: u32, author: &str, readers: &str) -> Self {
        let original = Original {
            seq: Seq(seq.into()),
            author: user(author),
            audience: audience(readers),
            is_temporary: false,
        };
        self.originals.insert(id(seq), original);
        self
    }

    /// Lets a member see only what comes after this number.
    pub(in super::super) fn since(mut self, room: &str, member: &str, since: u64) -> Self {
        let (_, members) = self.rooms.get_mut(room).unwrap();
        members.iter_mut().find(|(user, _)| *user == super::user(member)).unwrap().1 = Seq(since);
        self
    }
}

impl Rows for TestRows {
    fn original(&self, id: MessageId) -> Result<Option<Original>, StoreError> {
        Ok(self.originals.get(&id).cloned())
    }

    fn is_registered(&self, user: &UserId) -> Result<bool, StoreError> {
        Ok(self.registered.contains(user))
    }

    fn room(&self, room: &RoomName) -> Result<Option<RoomState>, StoreError> {
        Ok(self.rooms.get(room).map(|(state, _)| state.clone()))
    }

    fn member_since(&self, room: &RoomName, user: &UserId) -> Result<Option<Seq>, StoreError> {
        let members = self.rooms.get(room).map(|(_, members)| members);
        let mut members = members.into_iter().flatten();
        Ok(members.find(|(member, _)| member == user).map(|(_, since)| *since))
    }

    fn is_in_conversation(&self, _: &UserId, key: &str) -> Result<bool, StoreError> {
        Ok(self.direct.contains(key))
    }

    fn owner(&self, room: &RoomName) -> Result<Option<UserId>, StoreError> {
        Ok(self.rooms.get(room).and_then(|(_, members)| Some(members.first()?.0.clone())))
    }
}

impl RoomRows for TestRows {
    fn similar_room(&self, name: &RoomName) -> Result<Option<RoomName>, StoreError> {
        let skeletons = name.skeletons();
        let is_similar =
            |room: &&RoomName| room.skeletons().iter().any(|other| skeletons.contains(other));
        Ok(self.rooms.keys().find(is_similar).cloned())
    }

    fn count_rooms(&self) -> Result<u32, StoreError> {
        Ok(u32::try_from(self.rooms.len()).unwrap())
    }

    fn count_memberships(&self, user: &UserId) -> Result<u32, StoreError> {
        let rooms = self.rooms.values();
        let own = rooms.filter(|(_, members)| members.iter().any(|(member, _)| member == user));
        Ok(u32::try_from(own.count()).unwrap())
    }
}

impl MemberRows for TestRows {
    fn users_between(
        &self,
        room: Option<&RoomName>,
        from: &str,
        to: &str,
    ) -> Result<Vec<UserId>, StoreError> {
        let users: Vec<_> = match room {
            None => self.registered.iter().collect(),
            Some(room) => self.rooms[room].1.iter().map(|(user, _)| user).collect(),
        };
        let range = from..=to;
        Ok(users
            .into_iter()
            .filter(|user| range.contains(&user.as_str()))
            .take(2)
            .cloned()
            .collect())
    }

    fn count_registered(&self, limit: u32) -> Result<u32, StoreError> {
        Ok(u32::try_from(self.registered.len()).unwrap().min(limit))
    }
}
