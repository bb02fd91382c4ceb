//! The rules about IDs, invites and bans: pure functions over what the log holds.
//!
//! Names are compared by their skeletons (Unicode UTS #39). The same name is not confusable with itself: any
//! number of users may have it, and their IDs tell them apart.

use super::{
    BanSubject, BanTarget, IDS_PER_KEY, IdHolder, InviteRule, NewUser, OPEN_INVITES, OpenInvite,
    Outcome, StoreError, candidate_id,
};
use crate::protocol::error::Refusal;
use crate::protocol::id::{MessageId, Name, Seq, UserId};
use crate::protocol::message::Millis;

/// What the rules look up in the log.
pub(super) trait AccountRows {
    /// The IDs of a key, in the order in which they were bound.
    fn ids_of(&self, key: &[u8; 32]) -> Result<Vec<UserId>, StoreError>;

    fn key_of(&self, user: &UserId) -> Result<Option<[u8; 32]>, StoreError>;

    fn find_invite(&self, hash: &[u8; 32]) -> Result<Option<OpenInvite>, StoreError>;

    /// The number of invites that expire after `now`.
    fn count_invites(&self, now: Millis) -> Result<u32, StoreError>;

    fn is_banned(&self, target: &BanTarget) -> Result<bool, StoreError>;

    /// Another registered name that shares a skeleton with `name`.
    fn similar_name(&self, name: &Name) -> Result<Option<Name>, StoreError>;

    /// Whether someone has direct messages under this ID, which its next holder would see.
    fn has_direct_messages(&self, user: &UserId) -> Result<bool, StoreError>;
}

/// Why an entry changes nothing.
#[derive(Debug)]
pub(super) enum NoChange {
    /// Everything is already as requested; the message, if it is about one.
    Unchanged(Option<MessageId>),
    /// By the rules; this is its outcome.
    Decided(Box<Outcome>),
    Failed(StoreError),
}

impl From<Outcome> for NoChange {
    fn from(outcome: Outcome) -> Self {
        Self::Decided(Box::new(outcome))
    }
}

impl From<Refusal> for NoChange {
    fn from(refusal: Refusal) -> Self {
        Outcome::Refused(refusal).into()
    }
}

impl<E: Into<StoreError>> From<E> for NoChange {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// The outcome of an entry that was applied or changes nothing. `head` is the head of the log.
pub(super) fn outcome(
    applied: Result<Outcome, NoChange>,
    head: Seq,
) -> Result<Outcome, StoreError> {
    match applied {
        Ok(outcome) => Ok(outcome),
        Err(NoChange::Unchanged(id)) => Ok(Outcome::Repeated { seq: head, id }),
        Err(NoChange::Decided(outcome)) => Ok(*outcome),
        Err(NoChange::Failed(error)) => Err(error),
    }
}

/// The ID that a new user gets, if any. The invite is checked before anything that tells who has
/// registered.
pub(super) fn new_id(
    rows: &impl AccountRows,
    new: &NewUser,
    now: Millis,
) -> Result<UserId, NoChange> {
    let own = rows.ids_of(&new.key)?;
    if let Some(id) = latest_of_name(&own, &new.name) {
        return Err(Outcome::AlreadyRegistered(id.clone()).into());
    }
    if let InviteRule::Required(hash) = &new.invite {
        let hash = hash.as_ref().ok_or(Outcome::Refused(Refusal::InviteNeeded))?;
        let is_usable = |invite: &OpenInvite| invite.is_usable(now);
        rows.find_invite(hash)?.filter(is_usable).ok_or(Outcome::Refused(Refusal::BadInvite))?;
    }
    if own.len() >= IDS_PER_KEY {
        return Err(Outcome::Refused(Refusal::TooManyIds(own)).into());
    }
    let similar = match &new.similar_guest {
        None => rows.similar_name(&new.name)?,
        guest => guest.clone(),
    };
    if let Some(other) = similar {
        let refusal = Refusal::ConfusableName(new.name.clone(), other);
        return Err(Outcome::Refused(refusal).into());
    }
    let mut tries = 0;
    loop {
        let user = candidate_id(&new.name, IdHolder::Key, new.draw, tries);
        if rows.key_of(&user)?.is_none() && !rows.has_direct_messages(&user)? {
            return Ok(user);
        }
        tries += 1;
    }
}

/// The key's ID of that name: the latest of several, which may be an old ID that was rebound to this key.
pub fn latest_of_name<'a>(own: &'a [UserId], name: &Name) -> Option<&'a UserId> {
    own.iter().rev().find(|id| id.name() == name.as_str())
}

/// The key that loses an ID which is bound to another.
pub(super) fn key_to_replace(rows: &impl AccountRows, user: &UserId) -> Result<[u8; 32], NoChange> {
    rows.key_of(user)?.ok_or_else(|| Outcome::NoKey(user.clone()).into())
}

pub(super) fn may_invite(rows: &impl AccountRows, now: Millis) -> Result<(), NoChange> {
    if rows.count_invites(now)? < OPEN_INVITES {
        Ok(())
    } else {
        Err(Outcome::TooManyInvites.into())
    }
}

/// What a ban of `subject` is stored as.
pub(super) fn ban_target(
    rows: &impl AccountRows,
    subject: &BanSubject,
) -> Result<BanTarget, NoChange> {
    match subject {
        BanSubject::Target(target) => Ok(*target),
        BanSubject::User(user) => key_to_replace(rows, user).map(BanTarget::Key),
    }
}

/// The ban to be lifted.
pub(super) fn ban_to_lift(
    rows: &impl AccountRows,
    subject: &BanSubject,
) -> Result<BanTarget, NoChange> {
    let target = ban_target(rows, subject)?;
    if rows.is_banned(&target)? { Ok(target) } else { Err(Outcome::NotBanned(target).into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_000;
    const KEY: [u8; 32] = [1; 32];
    const OTHER: [u8; 32] = [2; 32];
    const HASH: [u8; 32] = [3; 32];

    /// A log with a few rows.
    #[derive(Default)]
    struct Rows {
        ids: Vec<(&'static str, [u8; 32])>,
        invite: Option<OpenInvite>,
        n_invites: u32,
        bans: Vec<BanTarget>,
        similar: Option<&'static str>,
        direct: Vec<&'static str>,
    }

    impl AccountRows for Rows {
        fn ids_of(&self, key: &[u8; 32]) -> Result<Vec<UserId>, StoreError> {
            let own = self.ids.iter().filter(|(_, held)| held == key);
            Ok(own.map(|(id, _)| id.parse().unwrap()).collect())
        }

        fn key_of(&self, user: &UserId) -> Result<Option<[u8; 32]>, StoreError> {
            Ok(self.ids.iter().find(|(id, _)| *id == user.as_str()).map(|(_, key)| *key))
        }

        fn find_invite(&self, hash: &[u8; 32]) -> Result<Option<OpenInvite>, StoreError> {
            Ok(self.invite.clone().filter(|open| open.hash == *hash))
        }

        fn count_invites(&self, _: Millis) -> Result<u32, StoreError> {
            Ok(self.n_invites)
        }

        fn is_banned(&self, target: &BanTarget) -> Result<bool, StoreError> {
            Ok(self.bans.contains(target))
        }

        fn similar_name(&self, _: &Name) -> Result<Option<Name>, StoreError> {
            Ok(self.similar.map(|name| name.parse().unwrap()))
        }

        fn has_direct_messages(&self, user: &UserId) -> Result<bool, StoreError> {
            Ok(self.direct.contains(&user.as_str()))
        }
    }

    fn bob(invite: InviteRule, similar_guest: Option<&str>) -> NewUser {
        let similar_guest = similar_guest.map(|name| name.parse().unwrap());
        NewUser { name: "Bob".parse().unwrap(), key: KEY, invite, similar_guest, draw: 1 }
    }

    /// The new ID, or what is wrong.
    fn register(rows: &Rows, new: &NewUser) -> String {
        let new_id = new_id(rows, new, NOW).map(|user| Outcome::Registered {
            user,
            key: KEY,
            joined: Vec::new(),
        });
        match outcome(new_id, Seq(0)).unwrap() {
            Outcome::Registered { user, .. } => user.to_string(),
            Outcome::AlreadyRegistered(user) => format!("already {user}"),
            Outcome::Refused(refusal) => format!("{:?}", refusal.code()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn checks_of_a_registration_have_one_order() {
        use InviteRule::{NotRequired, Required};
        let one_id: &[_] = &[("Bob_0008", KEY), ("Bob_0004", KEY), ("Tom_0002", KEY)];
        let three_ids: &[_] = &[("Ann_0002", KEY), ("Cid_0002", KEY), ("Tom_0002", KEY)];
        let all_ids = [(one_id, "already Bob_0004"), (three_ids, "TooManyIds"), (&[], "")];
        let all_invites = [
            (NotRequired, 0, NOW, ""),
            (Required(None), 1, NOW + 1, "InviteNeeded"),
            (Required(Some(HASH)), 0, NOW + 1, "BadInvite"),
            (Required(Some(HASH)), 1, NOW, "BadInvite"),
            (Required(Some(OTHER)), 1, NOW + 1, "BadInvite"),
            (Required(Some(HASH)), 1, NOW + 1, ""),
        ];
        let names =
            [(None, None), (Some("b0b"), None), (None, Some("BOB")), (Some("b0b"), Some("BOB"))];
        for (ids, own) in all_ids {
            for (rule, uses, expires, invite) in all_invites {
                for (similar, guest) in names {
                    let open = OpenInvite { hash: HASH, uses, expires, rooms: Vec::new() };
                    let rows =
                        Rows { ids: ids.to_vec(), invite: Some(open), similar, ..Rows::default() };
                    let similar =
                        if (similar, guest) == (None, None) { "" } else { "ConfusableName" };
                    let (existing, too_many) = match own {
                        "TooManyIds" => ("", own),
                        _ => (own, ""),
                    };
                    let checks = [existing, invite, too_many, similar, "Bob_0002"];
                    let expected = checks.into_iter().find(|check| !check.is_empty()).unwrap();
                    let found = register(&rows, &bob(rule, guest));
                    assert_eq!(found, expected, "{own} {rule:?} {uses} {expires} {similar}");
                }
            }
        }
    }

    #[test]
    fn new_id_is_the_first_free_one() {
        let other = |id| (id, OTHER);
        for (ids, direct, expected) in [
            (vec![], vec![], "Bob_0002"),
            (vec![other("Bob_0002")], vec![], "Bob_0004"),
            (vec![other("Bob_0002")], vec!["Bob_0004", "Bob_0006"], "Bob_0008"),
            (vec![other("Bobby_0002"), other("Bo_0002")], vec!["Bob_0003"], "Bob_0002"),
        ] {
            let rows = Rows { ids, direct, ..Rows::default() };
            assert_eq!(register(&rows, &bob(InviteRule::NotRequired, None)), expected);
        }
    }

    #[test]
    fn bans_need_a_key_and_are_lifted_once() {
        let rows = |bans| Rows { ids: vec![("Bob_0002", KEY)], bans, ..Rows::default() };
        let user = |id: &str| BanSubject::User(id.parse().unwrap());
        let (key, network) =
            (BanTarget::Key(KEY), BanTarget::Network("203.0.113.0/24".parse().unwrap()));
        let no_key = || Outcome::NoKey("Ann_0002".parse().unwrap());
        for (subject, banned, ban, unban) in [
            (user("Bob_0002"), vec![], Outcome::Banned(key), Outcome::NotBanned(key)),
            (user("Bob_0002"), vec![key], Outcome::Banned(key), Outcome::Unbanned(key)),
            (user("Ann_0002"), vec![key], no_key(), no_key()),
            (BanSubject::Target(key), vec![key], Outcome::Banned(key), Outcome::Unbanned(key)),
            (
                BanSubject::Target(network),
                vec![key],
                Outcome::Banned(network),
                Outcome::NotBanned(network),
            ),
            (
                BanSubject::Target(network),
                vec![network],
                Outcome::Banned(network),
                Outcome::Unbanned(network),
            ),
        ] {
            let rows = rows(banned);
            let banned = outcome(ban_target(&rows, &subject).map(Outcome::Banned), Seq(0));
            assert_eq!(banned.unwrap(), ban, "{subject:?}");
            let unbanned = outcome(ban_to_lift(&rows, &subject).map(Outcome::Unbanned), Seq(0));
            assert_eq!(unbanned.unwrap(), unban, "{subject:?}");
        }
    }

    #[test]
    fn invite_is_opened_below_the_limit() {
        for (n_invites, may) in [(0, true), (OPEN_INVITES - 1, true), (OPEN_INVITES, false)] {
            let rows = Rows { n_invites, ..Rows::default() };
            assert_eq!(may_invite(&rows, NOW).is_ok(), may);
        }
    }
}
