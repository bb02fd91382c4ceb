//! The rules about rooms: pure functions over what the log holds.

use super::account_rules::NoChange;
use super::rules::{Rows, room_of_member};
use super::{Change, MemberChange, Outcome, RoomEntry, RoomLimits, StoreError};
use crate::protocol::error::Refusal;
use crate::protocol::id::{RoomName, Seq, UserId};
use crate::protocol::room::{RoomAction, RoomChange, RoomState, SharedHistory};
use crate::protocol::text::SafeText;

/// What the rules look up in the log.
pub(super) trait RoomRows: Rows {
    /// A room whose name looks like this one, or is the same.
    fn similar_room(&self, name: &RoomName) -> Result<Option<RoomName>, StoreError>;

    /// The number of rooms that are not archived.
    fn count_rooms(&self) -> Result<u32, StoreError>;

    fn count_memberships(&self, user: &UserId) -> Result<u32, StoreError>;
}

/// A change of a room that the rules allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RoomPlan {
    pub(super) change: RoomChange,
    /// The room after it.
    pub(super) state: RoomState,
    pub(super) members: Vec<MemberChange>,
}

/// A request, and what is known about it.
struct Request<'a, R> {
    rows: &'a R,
    room: &'a RoomName,
    by: Option<&'a UserId>,
    limits: RoomLimits,
    /// The position that the change gets in the log.
    seq: Seq,
}

/// Decides about a change of a room. `seq` is the position that it gets in the log.
pub(super) fn plan(
    rows: &impl RoomRows,
    entry: &RoomEntry,
    seq: Seq,
) -> Result<RoomPlan, NoChange> {
    let RoomEntry { room, by, action, limits, cid: _ } = entry;
    let request = Request { rows, room, by: by.as_ref(), limits: *limits, seq };
    if let Some(by) = by
        && !rows.is_registered(by)?
    {
        return Err(request.not_a_member());
    }
    match action {
        RoomAction::Create { private, topic } => request.create(*private, topic),
        RoomAction::Join => request.join(),
        RoomAction::Leave => request.leave(),
        RoomAction::Add { users, history } => request.add(users, *history),
        RoomAction::Remove(users) => request.remove(users),
        RoomAction::Topic(topic) => request.set_topic(topic),
        RoomAction::Archive(on) => request.archive(*on),
    }
}

/// Makes a new user a member of the rooms of an invite, by `change_room`. The administrator chose them, so their
/// number has no limit.
pub(super) fn join_invited(
    user: &UserId,
    rooms: Vec<RoomName>,
    mut change_room: impl FnMut(&RoomEntry) -> Result<Outcome, NoChange>,
) -> Result<Vec<Change>, StoreError> {
    let limits = RoomLimits { rooms: u32::MAX, memberships: u32::MAX };
    let mut joined = Vec::new();
    for room in rooms {
        let action = RoomAction::Add { users: vec![user.clone()], history: SharedHistory::Now };
        match change_room(&RoomEntry { room, by: None, action, limits, cid: None }) {
            Ok(Outcome::Changed(change)) => joined.push(change),
            Err(NoChange::Failed(error)) => return Err(error),
            // It is archived by now.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(joined)
}

impl<R: RoomRows> Request<'_, R> {
    fn create(&self, private: bool, topic: &SafeText) -> Result<RoomPlan, NoChange> {
        if let Some(similar) = self.rows.similar_room(self.room)? {
            // The name of a private room is not told to others.
            let hidden = self.is_hidden(&similar)?;
            let shown = if hidden { self.room.clone() } else { similar };
            return Err(Refusal::RoomExists(self.room.clone(), shown).into());
        }
        self.check_room_limit()?;
        let mut members = Vec::new();
        if let Some(by) = self.by {
            self.check_membership_limit(by, "rooms that you are in")?;
            members.push(joins(by, Seq(0)));
        }
        let state = RoomState { private, topic: topic.clone(), people: 0, archived: false };
        Ok(planned(RoomChange::Created, state, members))
    }

    fn join(&self) -> Result<RoomPlan, NoChange> {
        let user = self.user()?;
        let state = self.visible()?;
        if self.rows.member_since(self.room, user)?.is_some() {
            return Err(NoChange::Unchanged(None));
        }
        self.check_writable(&state)?;
        self.check_membership_limit(user, "rooms that you are in")?;
        Ok(planned(RoomChange::Joined, state, vec![joins(user, Seq(0))]))
    }

    fn leave(&self) -> Result<RoomPlan, NoChange> {
        let user = self.user()?;
        let state = room_of_member(self.rows, self.room, user)?;
        Ok(planned(RoomChange::Left, state, vec![leaves(user)]))
    }

    fn add(&self, users: &[UserId], history: SharedHistory) -> Result<RoomPlan, NoChange> {
        let state = self.for_member()?;
        self.check_writable(&state)?;
        let mut added: Vec<UserId> = Vec::new();
        let mut unknown = Vec::new();
        for user in users {
            if !self.rows.is_registered(user)? {
                unknown.push(user.clone());
            } else if self.rows.member_since(self.room, user)?.is_none() && !added.contains(user) {
                self.check_membership_limit(user, "rooms that one of these users is in")?;
                added.push(user.clone());
            }
        }
        if !unknown.is_empty() {
            return Err(Refusal::UnknownRecipient(unknown).into());
        }
        let since = match history {
            SharedHistory::Now if state.private => self.seq,
            // Nobody shares what they may not see themselves.
            SharedHistory::All | SharedHistory::Now => self.first_visible()?,
        };
        let members = added.iter().map(|user| joins(user, since)).collect();
        unless_empty(&added)?;
        Ok(planned(RoomChange::Added(added), state, members))
    }

    fn remove(&self, users: &[UserId]) -> Result<RoomPlan, NoChange> {
        let state = self.for_owner()?;
        let mut removed: Vec<UserId> = Vec::new();
        for user in users {
            if self.rows.member_since(self.room, user)?.is_some() && !removed.contains(user) {
                removed.push(user.clone());
            }
        }
        unless_empty(&removed)?;
        let members = removed.iter().map(leaves).collect();
        Ok(planned(RoomChange::Removed(removed), state, members))
    }

    fn set_topic(&self, topic: &SafeText) -> Result<RoomPlan, NoChange> {
        let state = self.for_owner()?;
        self.check_writable(&state)?;
        if state.topic == *topic {
            return Err(NoChange::Unchanged(None));
        }
        let state = RoomState { topic: topic.clone(), ..state };
        Ok(planned(RoomChange::Topic, state, Vec::new()))
    }

    fn archive(&self, archived: bool) -> Result<RoomPlan, NoChange> {
        let state = self.for_owner()?;
        if state.archived == archived {
            return Err(NoChange::Unchanged(None));
        }
        if !archived {
            self.check_room_limit()?;
        }
        let state = RoomState { archived, ..state };
        Ok(planned(RoomChange::Archived, state, Vec::new()))
    }

    /// The user who joins or leaves, which an administrator does not.
    fn user(&self) -> Result<&UserId, NoChange> {
        self.by.ok_or_else(|| self.not_a_member())
    }

    fn not_a_member(&self) -> NoChange {
        Refusal::NotAMember(self.room.clone()).into()
    }

    /// Whether the room is private and the user is no member.
    fn is_hidden(&self, room: &RoomName) -> Result<bool, StoreError> {
        let Some(by) = self.by else { return Ok(false) };
        let is_private = self.rows.room(room)?.is_some_and(|state| state.private);
        Ok(is_private && self.rows.member_since(room, by)?.is_none())
    }

    fn visible(&self) -> Result<RoomState, NoChange> {
        let hidden = self.is_hidden(self.room)?;
        let state = self.rows.room(self.room)?.filter(|_| !hidden);
        Ok(state.ok_or_else(|| Refusal::NoSuchRoom(self.room.clone()))?)
    }

    fn for_member(&self) -> Result<RoomState, NoChange> {
        match self.by {
            Some(by) => room_of_member(self.rows, self.room, by),
            None => self.visible(),
        }
    }

    fn for_owner(&self) -> Result<RoomState, NoChange> {
        let state = self.for_member()?;
        if self.by.is_some() && self.rows.owner(self.room)?.as_ref() != self.by {
            return Err(Refusal::NotOwner(self.room.clone()).into());
        }
        Ok(state)
    }

    /// The first event that the user may see.
    fn first_visible(&self) -> Result<Seq, StoreError> {
        let Some(by) = self.by else { return Ok(Seq(0)) };
        Ok(self.rows.member_since(self.room, by)?.unwrap_or(self.seq))
    }

    fn check_writable(&self, state: &RoomState) -> Result<(), NoChange> {
        if state.archived { Err(Refusal::Archived(self.room.clone()).into()) } else { Ok(()) }
    }

    fn check_room_limit(&self) -> Result<(), NoChange> {
        check_limit(self.rows.count_rooms()?, self.limits.rooms, "rooms on this server")
    }

    fn check_membership_limit(&self, user: &UserId, what: &'static str) -> Result<(), NoChange> {
        check_limit(self.rows.count_memberships(user)?, self.limits.memberships, what)
    }
}

fn unless_empty(users: &[UserId]) -> Result<(), NoChange> {
    if users.is_empty() { Err(NoChange::Unchanged(None)) } else { Ok(()) }
}

fn check_limit(count: u32, limit: u32, what: &'static str) -> Result<(), NoChange> {
    if count < limit { Ok(()) } else { Err(Refusal::TooManyRooms(limit, what).into()) }
}

/// Counts the members. A private room that nobody could join any more is archived.
fn planned(change: RoomChange, state: RoomState, members: Vec<MemberChange>) -> RoomPlan {
    let count = |joined| {
        let matching = members.iter().filter(|change| change.since.is_some() == joined);
        u32::try_from(matching.count()).unwrap_or(u32::MAX)
    };
    let left = count(false);
    let people = state.people.saturating_add(count(true)).saturating_sub(left);
    let is_abandoned = state.private && left > 0 && people == 0;
    let archived = state.archived || is_abandoned;
    RoomPlan { change, state: RoomState { people, archived, ..state }, members }
}

fn joins(user: &UserId, since: Seq) -> MemberChange {
    MemberChange { user: user.clone(), since: Some(since) }
}

fn leaves(user: &UserId) -> MemberChange {
    MemberChange { user: user.clone(), since: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::room;
    use crate::store::tests::rule_rows::{TestRows, shown, users};

    const SEQ: Seq = Seq(20);

    /// Ann owns the private `#ops`, Bob sees it from 10 on. `#old` is archived, `#pub` public. Kim is in all
    /// the rooms that a user may be in.
    fn rows() -> TestRows {
        let rooms = [("#ops", "Ann Bob Kim"), ("#old", "Ann Kim"), ("#pub", "Kim Bob")];
        TestRows::new("Ann Bob Kim Lou", &rooms).since("#ops", "Bob", 10)
    }

    /// The members who come and go, and the flags of the room.
    fn summary(plan: &RoomPlan) -> String {
        let members = plan.members.iter().map(|MemberChange { user, since }| match since {
            Some(since) => format!("+{}@{}", user.name(), since.0),
            None => format!("-{}", user.name()),
        });
        let archived = plan.state.archived.then(|| "archived".to_owned());
        let people = Some(plan.state.people.to_string());
        members.chain(people).chain(archived).collect::<Vec<_>>().join(" ")
    }

    fn create(private: bool) -> RoomAction {
        RoomAction::Create { private, topic: SafeText::default() }
    }

    fn add(names: &str, history: SharedHistory) -> RoomAction {
        RoomAction::Add { users: users(names).into_iter().collect(), history }
    }

    fn remove(names: &str) -> RoomAction {
        RoomAction::Remove(users(names).into_iter().collect())
    }

    fn check(rows: &TestRows, cases: &[(&str, &str, RoomAction, &str)], limits: RoomLimits) {
        for (by, name, action, expected) in cases {
            let entry = RoomEntry { limits, ..room(name, by, action.clone()) };
            let found = shown(plan(rows, &entry, SEQ), |plan| summary(&plan));
            assert_eq!(found, *expected, "{by} {name} {action:?}");
        }
    }

    const ENOUGH: RoomLimits = RoomLimits { rooms: 4, memberships: 4 };

    #[test]
    fn registered_users_create_rooms_with_new_names() {
        let cases = [
            ("Lou", "#new", create(true), "+Lou@0 1"),
            ("", "#new", create(false), "0"),
            ("Zed", "#new", create(false), "NotAMember"),
            ("Lou", "#pub", create(false), "RoomExists"),
            ("Lou", "#0ps", create(false), "RoomExists"),
        ];
        check(&rows(), &cases, ENOUGH);
        let full = RoomLimits { rooms: 3, ..ENOUGH };
        check(&rows(), &[("Lou", "#new", create(true), "TooManyRooms")], full);
        let few = RoomLimits { memberships: 3, ..ENOUGH };
        let cases = [
            ("Kim", "#new", create(true), "TooManyRooms"),
            ("Ann", "#new", create(true), "+Ann@0 1"),
        ];
        check(&rows(), &cases, few);
    }

    #[test]
    fn name_of_a_private_room_is_not_told() {
        for (by, shown) in [("Ann", "#ops"), ("Lou", "#0ps")] {
            let Err(NoChange::Decided(outcome)) =
                plan(&rows(), &room("#0ps", by, create(true)), SEQ)
            else {
                panic!("{by}")
            };
            let exists = Refusal::RoomExists("#0ps".parse().unwrap(), shown.parse().unwrap());
            assert_eq!(*outcome, Outcome::Refused(exists));
        }
    }

    #[test]
    fn users_join_public_rooms_and_leave() {
        let cases = [
            ("Lou", "#pub", RoomAction::Join, "+Lou@0 3"),
            ("Bob", "#pub", RoomAction::Join, "Unchanged"),
            ("Lou", "#ops", RoomAction::Join, "NoSuchRoom"),
            ("Ann", "#ops", RoomAction::Join, "Unchanged"),
            ("Zed", "#pub", RoomAction::Join, "NotAMember"),
            ("", "#pub", RoomAction::Join, "NotAMember"),
            ("Lou", "#none", RoomAction::Join, "NoSuchRoom"),
            ("Ann", "#ops", RoomAction::Leave, "-Ann 2"),
            ("Lou", "#ops", RoomAction::Leave, "NoSuchRoom"),
            ("Lou", "#pub", RoomAction::Leave, "NotAMember"),
            ("Kim", "#old", RoomAction::Leave, "-Kim 1 archived"),
        ];
        check(&rows(), &cases, ENOUGH);
        let few = RoomLimits { memberships: 0, ..ENOUGH };
        check(&rows(), &[("Lou", "#pub", RoomAction::Join, "TooManyRooms")], few);
        let last = TestRows::new("Ann", &[("#ops", "Ann"), ("#pub", "Ann")]);
        let cases = [
            ("Ann", "#ops", RoomAction::Leave, "-Ann 0 archived"),
            ("Ann", "#pub", RoomAction::Leave, "-Ann 0"),
            ("", "#ops", remove("Ann"), "-Ann 0 archived"),
        ];
        check(&last, &cases, ENOUGH);
    }

    #[test]
    fn members_add_users_who_see_no_more_than_they_do() {
        use SharedHistory::{All, Now};
        let cases = [
            ("Ann", "#ops", add("Lou", All), "+Lou@0 4"),
            ("Ann", "#ops", add("Lou", Now), "+Lou@20 4"),
            ("Bob", "#ops", add("Lou", All), "+Lou@10 4"),
            ("", "#ops", add("Lou", All), "+Lou@0 4"),
            ("Bob", "#pub", add("Ann Lou", Now), "+Ann@0 +Lou@0 4"),
            ("Bob", "#ops", add("Ann Lou", Now), "+Lou@20 4"),
            ("Bob", "#ops", add("Ann", All), "Unchanged"),
            ("Bob", "#ops", add("Lou Zed", All), "UnknownRecipient"),
            ("Lou", "#ops", add("Lou", All), "NoSuchRoom"),
            ("Lou", "#pub", add("Lou", All), "NotAMember"),
            ("Ann", "#old", add("Lou", All), "Archived"),
        ];
        check(&rows(), &cases, ENOUGH);
        let few = RoomLimits { memberships: 0, ..ENOUGH };
        check(&rows(), &[("Ann", "#ops", add("Lou", All), "TooManyRooms")], few);
    }

    #[test]
    fn owner_and_administrator_rule_a_room() {
        let topic = |text: &str| RoomAction::Topic(SafeText::clean(text));
        let cases = [
            ("Ann", "#ops", remove("Bob Lou"), "-Bob 2"),
            ("Ann", "#ops", remove("Lou"), "Unchanged"),
            ("Bob", "#ops", remove("Ann"), "NotOwner"),
            ("Lou", "#ops", remove("Ann"), "NoSuchRoom"),
            ("", "#ops", remove("Ann Bob"), "-Ann -Bob 1"),
            ("Ann", "#ops", topic("new"), "3"),
            ("Ann", "#ops", topic(""), "Unchanged"),
            ("Bob", "#ops", topic("new"), "NotOwner"),
            ("Ann", "#old", topic("new"), "Archived"),
            ("Ann", "#ops", RoomAction::Archive(true), "3 archived"),
            ("Ann", "#ops", RoomAction::Archive(false), "Unchanged"),
            ("Bob", "#ops", RoomAction::Archive(true), "NotOwner"),
            ("Lou", "#pub", RoomAction::Archive(true), "NotAMember"),
            ("Kim", "#pub", RoomAction::Archive(true), "2 archived"),
            ("", "#old", RoomAction::Archive(false), "2"),
        ];
        check(&rows(), &cases, ENOUGH);
        let full = RoomLimits { rooms: 3, ..ENOUGH };
        check(&rows(), &[("Ann", "#old", RoomAction::Archive(false), "TooManyRooms")], full);
    }
}
