//! The rules about IDs, invites and bans: pure functions over what the log holds.
//!
//! Names are compared by their skeletons (Unicode UTS #39). The same name is not confusable with itself: any
//! number of users may have it, and their IDs tell them apart.

use super::{
    BanSubject, BanTarget, IDS_PER_KEY, IdHolder, InviteRule, NewUser, OPEN_INVITES, OpenInvite,
    Outcome, Rejection, StoreError, select_id,
};
use crate::protocol::error::Refusal;
use crate::protocol::id::{Name, UserId};
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

    /// The number of registered IDs of this name.
    fn count_ids(&self, name: &Name) -> Result<u32, StoreError>;

    /// Whether someone has direct messages under this ID, which its next holder would see.
    fn has_direct_messages(&self, user: &UserId) -> Result<bool, StoreError>;
}

/// Why an entry changes nothing.
#[derive(Debug)]
pub(super) enum NoChange {
    AlreadyRegistered(UserId),
    Refused(Refusal),
    Rejected(Rejection),
    Failed(StoreError),
}

impl From<Refusal> for NoChange {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Rejection> for NoChange {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl<E: Into<StoreError>> From<E> for NoChange {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// The outcome of an entry that was applied or changes nothing.
pub(super) fn outcome(applied: Result<Outcome, NoChange>) -> Result<Outcome, StoreError> {
    match applied {
        Ok(outcome) => Ok(outcome),
        Err(NoChange::AlreadyRegistered(user)) => Ok(Outcome::AlreadyRegistered(user)),
        Err(NoChange::Refused(refusal)) => Ok(Outcome::Refused(refusal)),
        Err(NoChange::Rejected(rejection)) => Ok(Outcome::Rejected(rejection)),
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
        return Err(NoChange::AlreadyRegistered(id.clone()));
    }
    if let InviteRule::Required(hash) = &new.invite {
        let hash = hash.as_ref().ok_or(Refusal::InviteNeeded)?;
        let is_usable = |invite: &OpenInvite| invite.is_usable(now);
        rows.find_invite(hash)?.filter(is_usable).ok_or(Refusal::BadInvite)?;
    }
    if own.len() >= IDS_PER_KEY {
        return Err(Refusal::TooManyIds(own).into());
    }
    let similar = match &new.similar_guest {
        None => rows.similar_name(&new.name)?,
        guest => guest.clone(),
    };
    if let Some(other) = similar {
        return Err(Refusal::ConfusableName(new.name.clone(), other).into());
    }
    free_id(rows, new)
}

/// The key's ID of that name: the latest of several, which may be an old ID that was rebound to this key.
pub fn latest_of_name<'a>(own: &'a [UserId], name: &Name) -> Option<&'a UserId> {
    own.iter().rev().find(|id| id.name() == name.as_str())
}

/// The first free ID from the one that was drawn.
fn free_id(rows: &impl AccountRows, new: &NewUser) -> Result<UserId, NoChange> {
    let n_used = rows.count_ids(&new.name)?;
    for tries in 0..=u32::MAX {
        let draw = new.draw.wrapping_add(tries.into());
        let user = select_id(&new.name, IdHolder::Key, n_used.saturating_add(tries), draw);
        if rows.key_of(&user)?.is_none() && !rows.has_direct_messages(&user)? {
            return Ok(user);
        }
    }
    Err(Refusal::NotStored("all IDs of this name are in use").into())
}

/// The key that loses an ID which is bound to another.
pub(super) fn key_to_replace(rows: &impl AccountRows, user: &UserId) -> Result<[u8; 32], NoChange> {
    rows.key_of(user)?.ok_or_else(|| Rejection::NoKey(user.clone()).into())
}

pub(super) fn may_invite(rows: &impl AccountRows, now: Millis) -> Result<(), NoChange> {
    if rows.count_invites(now)? < OPEN_INVITES {
        Ok(())
    } else {
        Err(Rejection::TooManyInvites.into())
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
    if rows.is_banned(&target)? { Ok(target) } else { Err(Rejection::NotBanned(target).into()) }
}
