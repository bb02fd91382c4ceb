//! The rules about stored messages: pure functions over what the log holds.
//!
//! Both logs apply entries by these rules and by no others.

use std::collections::{BTreeMap, BTreeSet};

use super::account_rules::NoChange;
use super::row::{join_recipients, key_of_named};
use super::sight::Sight;
use super::{NewMessage, StoreError};
use crate::protocol::error::Refusal;
use crate::protocol::id::{MessageId, RoomName, Seq, UserId};
use crate::protocol::limits::{PINNED_MESSAGES, REACTION_KINDS};
use crate::protocol::message::{Audience, MessageKind};
use crate::protocol::reaction::Emoji;
use crate::protocol::room::{NotifyLevel, RoomState};

/// What the rules need to know of a stored message that has not expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Original {
    pub(super) seq: Seq,
    pub(super) author: UserId,
    pub(super) audience: Audience,
    pub(super) is_temporary: bool,
}

impl Original {
    /// The key of its conversation.
    pub(super) fn conversation(&self) -> String {
        key_of_named(&self.author, &self.audience)
    }
}

/// What the rules look up in the log.
pub(super) trait Rows {
    /// The message with this id, unless it is removed or expired.
    fn original(&self, id: MessageId) -> Result<Option<Original>, StoreError>;

    fn is_registered(&self, user: &UserId) -> Result<bool, StoreError>;

    fn room(&self, room: &RoomName) -> Result<Option<RoomState>, StoreError>;

    /// The first event of the room that a member may see; `None` if the user is no member.
    fn member_since(&self, room: &RoomName, user: &UserId) -> Result<Option<Seq>, StoreError>;

    /// Whether the direct conversation with this key has events.
    fn is_in_conversation(&self, user: &UserId, key: &str) -> Result<bool, StoreError>;

    /// The member who has been in the room longest.
    fn owner(&self, room: &RoomName) -> Result<Option<UserId>, StoreError>;
}

/// The audience of a new message.
pub(super) fn resolve_audience(rows: &impl Rows, new: &NewMessage) -> Result<Audience, NoChange> {
    let (sender, wanted) = (&new.sender, &new.audience);
    let original = match new.kind {
        MessageKind::Plain | MessageKind::Temporary { .. } => None,
        MessageKind::Reply { to } => Some(visible(rows, to, sender)?),
    };
    let room = match (original.as_ref().map(|original| &original.audience), wanted) {
        (Some(Audience::Room(room)), _) => Some(room),
        (Some(Audience::Only(_)), Audience::Room(_)) => {
            return Err(Refusal::NotAllowed("a reply stays in its conversation").into());
        }
        (_, Audience::Room(room)) => Some(room),
        (_, Audience::Everyone | Audience::Only(_)) => None,
    };
    if let Some(room) = room {
        may_change(rows, room, sender)?;
        return Ok(Audience::Room(room.clone()));
    }
    let candidates = match &original {
        None => named(wanted),
        Some(original) => reply_candidates(original, wanted),
    };
    let mut known = BTreeSet::new();
    for user in candidates.into_iter().flatten() {
        if new.guests.contains(&user) || rows.is_registered(&user)? {
            known.insert(user);
        }
    }
    let audience = match &original {
        None => post_audience(sender, wanted, &known),
        Some(original) => reply_audience(sender, original, wanted, &known),
    };
    Ok(audience?)
}

/// Whether a member of a room may post to it and change its messages: an archived room is read-only.
fn may_change(rows: &impl Rows, room: &RoomName, user: &UserId) -> Result<(), NoChange> {
    let state = room_of_member(rows, room, user)?;
    if state.archived { Err(Refusal::Archived(room.clone()).into()) } else { Ok(()) }
}

/// The room, if the user is a member. A private room does not exist for others.
pub(super) fn room_of_member(
    rows: &impl Rows,
    room: &RoomName,
    user: &UserId,
) -> Result<RoomState, NoChange> {
    let since = rows.member_since(room, user)?.map(|since| (room.clone(), since));
    let sight = Sight { viewer: user, rooms: BTreeMap::from_iter(since) };
    let state = rows.room(room)?;
    readable(&sight, &Audience::Room(room.clone()), state.as_ref())?;
    Ok(state.unwrap_or_default())
}

fn named(audience: &Audience) -> Option<BTreeSet<UserId>> {
    match audience {
        Audience::Everyone | Audience::Room(_) => None,
        Audience::Only(users) => Some(users.clone()),
    }
}

/// The audience of a message to Everyone or to users that is not a reply.
///
/// `known` are those among its recipients who can receive it: registered users and online guests. A
/// message to anyone else is refused as a whole, because its sender would believe that all received it.
fn post_audience(
    sender: &UserId,
    wanted: &Audience,
    known: &BTreeSet<UserId>,
) -> Result<Audience, Refusal> {
    let Some(mut named) = named(wanted) else { return Ok(wanted.clone()) };
    named.remove(sender);
    let unknown: Vec<_> = named.difference(known).cloned().collect();
    if !unknown.is_empty() {
        return Err(Refusal::UnknownRecipient(unknown));
    }
    only(named)
}

/// The audience of a reply outside of rooms, which stays within the audience of its original.
///
/// A client computes the recipients from the original, so those who have left since are dropped, as long
/// as anyone remains. `known` as for [`post_audience`], among [`reply_candidates`].
fn reply_audience(
    sender: &UserId,
    original: &Original,
    wanted: &Audience,
    known: &BTreeSet<UserId>,
) -> Result<Audience, Refusal> {
    if let (Audience::Only(readers), Audience::Only(named)) = (&original.audience, wanted) {
        let is_outside = |user: &&UserId| **user != original.author && !readers.contains(*user);
        let outside: Vec<_> = named.iter().filter(is_outside).cloned().collect();
        if !outside.is_empty() {
            return Err(Refusal::UnknownRecipient(outside));
        }
    }
    let Some(mut recipients) = reply_candidates(original, wanted) else {
        return Ok(Audience::Everyone);
    };
    recipients.remove(sender);
    let departed: Vec<_> = recipients.extract_if(.., |user| !known.contains(user)).collect();
    if recipients.is_empty() && !departed.is_empty() {
        return Err(Refusal::UnknownRecipient(departed));
    }
    only(recipients)
}

/// Everyone who may become a recipient of a reply outside of rooms; `None` for all users.
fn reply_candidates(original: &Original, wanted: &Audience) -> Option<BTreeSet<UserId>> {
    match (&original.audience, wanted) {
        (_, Audience::Only(named)) => Some(named.clone()),
        (Audience::Only(readers), Audience::Everyone | Audience::Room(_)) => {
            Some(readers.iter().chain([&original.author]).cloned().collect())
        }
        (Audience::Everyone | Audience::Room(_), Audience::Everyone | Audience::Room(_)) => None,
    }
}

/// The message, if the user may see it. Others do not learn that it exists.
fn visible(rows: &impl Rows, id: MessageId, viewer: &UserId) -> Result<Original, NoChange> {
    let not_found = || Refusal::UnknownMessage(id);
    let original = rows.original(id)?.ok_or_else(not_found)?;
    let since = match original.audience.room() {
        Some(room) => rows.member_since(room, viewer)?.map(|since| (room.clone(), since)),
        None => None,
    };
    let sight = Sight { viewer, rooms: BTreeMap::from_iter(since) };
    let recipients = join_recipients(&original.audience);
    if sight.sees(original.author.as_str(), recipients.as_deref(), original.seq) {
        Ok(original)
    } else {
        Err(not_found().into())
    }
}

/// The message, if the user may see and change it.
fn changeable(rows: &impl Rows, id: MessageId, user: &UserId) -> Result<Original, NoChange> {
    let original = visible(rows, id, user)?;
    if let Some(room) = original.audience.room() {
        may_change(rows, room, user)?;
    }
    Ok(original)
}

/// Only its author may delete a message, also in an archived room.
pub(super) fn may_delete(rows: &impl Rows, id: MessageId, by: &UserId) -> Result<(), NoChange> {
    if visible(rows, id, by)?.author == *by { Ok(()) } else { Err(Refusal::NotYours(id).into()) }
}

/// Only its author may edit a message.
pub(super) fn may_edit(rows: &impl Rows, id: MessageId, by: &UserId) -> Result<Original, NoChange> {
    let original = changeable(rows, id, by)?;
    if original.author != *by {
        return Err(Refusal::NotYours(id).into());
    }
    if original.is_temporary {
        return Err(Refusal::NotEditable(id).into());
    }
    Ok(original)
}

/// Whoever may see a message may react to it. `kinds` are its reactions, and whether each of them is also
/// the user's.
pub(super) fn may_react(
    rows: &impl Rows,
    (id, by): (MessageId, &UserId),
    (emoji, on): (&Emoji, bool),
    kinds: impl FnOnce(Seq) -> Result<Vec<(Emoji, bool)>, StoreError>,
) -> Result<Original, NoChange> {
    let original = changeable(rows, id, by)?;
    let kinds = kinds(original.seq)?;
    let existing = kinds.iter().find(|(kind, _)| kind == emoji);
    if existing.is_some_and(|(_, is_own)| *is_own) == on {
        return Err(NoChange::Unchanged(Some(id)));
    }
    if on && existing.is_none() && kinds.len() >= REACTION_KINDS {
        let what = "different reactions to this message";
        return Err(Refusal::LimitReached(REACTION_KINDS, what).into());
    }
    Ok(original)
}

/// The owner pins in a room, and any participant in a direct conversation. `pins` tells whether the message
/// is pinned, and counts the pins of its conversation.
pub(super) fn may_pin(
    rows: &impl Rows,
    (id, by): (MessageId, &UserId),
    on: bool,
    pins: impl FnOnce(&Original) -> Result<(bool, usize), StoreError>,
) -> Result<Original, NoChange> {
    let original = changeable(rows, id, by)?;
    match &original.audience {
        Audience::Everyone => {
            return Err(Refusal::NotAllowed("messages to everyone cannot be pinned").into());
        }
        Audience::Room(room) if rows.owner(room)?.as_ref() != Some(by) => {
            return Err(Refusal::NotOwner(room.clone()).into());
        }
        Audience::Room(_) | Audience::Only(_) => {}
    }
    let (is_pinned, count) = pins(&original)?;
    if is_pinned == on {
        return Err(NoChange::Unchanged(Some(id)));
    }
    if on && count >= PINNED_MESSAGES {
        let what = "pinned messages in this conversation";
        return Err(Refusal::LimitReached(PINNED_MESSAGES, what).into());
    }
    Ok(original)
}

/// Whether the viewer may read a conversation. `state` is that of the room, if it is one.
pub(super) fn readable(
    sight: &Sight<'_>,
    conversation: &Audience,
    state: Option<&RoomState>,
) -> Result<(), Refusal> {
    match (conversation, state) {
        (Audience::Everyone | Audience::Only(_), _) => Ok(()),
        (Audience::Room(room), Some(_)) if sight.rooms.contains_key(room) => Ok(()),
        (Audience::Room(room), Some(state)) if !state.private => {
            Err(Refusal::NotAMember(room.clone()))
        }
        (Audience::Room(room), Some(_) | None) => Err(Refusal::NoSuchRoom(room.clone())),
    }
}

/// The conversation, as the user names it, if it may have settings of that user.
pub(super) fn may_mark(
    rows: &impl Rows,
    by: &UserId,
    conversation: &Audience,
) -> Result<Audience, NoChange> {
    if !rows.is_registered(by)? {
        return Err(Refusal::NotAllowed("a guest has no read markers").into());
    }
    match conversation {
        Audience::Everyone => {}
        Audience::Room(room) => {
            room_of_member(rows, room, by)?;
        }
        Audience::Only(users) => {
            let others: BTreeSet<_> = users.iter().filter(|user| *user != by).cloned().collect();
            if !rows.is_in_conversation(by, &key_of_named(by, conversation))? {
                let text = "you have no messages in this conversation";
                return Err(Refusal::NotAllowed(text).into());
            }
            return Ok(Audience::Only(others));
        }
    }
    Ok(conversation.clone())
}

/// A read marker moves forward only, unless the user marks messages as unread.
pub(super) fn moved_marker(old: Seq, up_to: Seq, unread: bool) -> Seq {
    if unread { up_to } else { old.max(up_to) }
}

/// Which messages ring if the user has set nothing.
pub(super) fn default_notify(conversation: &Audience) -> NotifyLevel {
    match conversation {
        Audience::Everyone | Audience::Room(_) => NotifyLevel::Mentions,
        Audience::Only(_) => NotifyLevel::All,
    }
}

fn only(recipients: BTreeSet<UserId>) -> Result<Audience, Refusal> {
    if recipients.is_empty() { Err(Refusal::NoRecipient) } else { Ok(Audience::Only(recipients)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        format!("{name}_1234").parse().unwrap()
    }

    fn users(names: &str) -> BTreeSet<UserId> {
        names.split_whitespace().map(user).collect()
    }

    /// `*` is everyone.
    fn audience(names: &str) -> Audience {
        if names == "*" { Audience::Everyone } else { Audience::Only(users(names)) }
    }

    fn id() -> MessageId {
        MessageId::from_number(123_456).unwrap()
    }

    fn unknown(names: &str) -> Result<Audience, Refusal> {
        Err(Refusal::UnknownRecipient(users(names).into_iter().collect()))
    }

    #[test]
    fn post_goes_to_known_recipients_or_is_refused() {
        for (wanted, known, expected) in [
            ("*", "", Ok(Audience::Everyone)),
            ("Bob", "Bob", Ok(audience("Bob"))),
            ("Ann Bob", "Bob", Ok(audience("Bob"))),
            ("Bob Kim", "Bob", unknown("Kim")),
            ("Ann", "", Err(Refusal::NoRecipient)),
        ] {
            let found = post_audience(&user("Ann"), &audience(wanted), &users(known));
            assert_eq!(found, expected, "{wanted}");
        }
    }

    #[test]
    fn reply_stays_within_the_audience_of_its_original() {
        let hidden = || Err(Refusal::UnknownMessage(id()));
        for (original, wanted, known, expected) in [
            (("Bob", "*"), "*", "", Ok(Audience::Everyone)),
            (("Bob", "*"), "Bob", "Bob", Ok(audience("Bob"))),
            (("Bob", "*"), "Bob Kim", "Bob", Ok(audience("Bob"))),
            (("Bob", "*"), "Kim", "", unknown("Kim")),
            (("Bob", "*"), "Ann", "", Err(Refusal::NoRecipient)),
            (("Bob", "Ann Kim"), "*", "Bob Kim", Ok(audience("Bob Kim"))),
            (("Bob", "Ann Kim"), "*", "Kim", Ok(audience("Kim"))),
            (("Bob", "Ann Kim"), "Bob", "Bob", Ok(audience("Bob"))),
            (("Bob", "Ann Kim"), "Bob Zed", "Bob Zed", unknown("Zed")),
            (("Bob", "Ann Kim"), "*", "", unknown("Bob Kim")),
            (("Bob", "Kim"), "*", "Bob Kim", hidden()),
        ] {
            let (author, readers) = original;
            let stored = Original { author: user(author), audience: audience(readers) };
            let ann = user("Ann");
            let found = reply_audience(&ann, id(), Some(&stored), &audience(wanted), &users(known));
            assert_eq!(found, expected, "{original:?} {wanted}");
        }
        let missing = reply_audience(&user("Ann"), id(), None, &Audience::Everyone, &users(""));
        assert_eq!(missing, hidden());
    }

    #[test]
    fn only_the_author_deletes_and_others_learn_nothing() {
        for (author, readers, by, expected) in [
            ("Ann", "*", "Ann", Ok(())),
            ("Ann", "Bob", "Ann", Ok(())),
            ("Ann", "*", "Bob", Err(Refusal::NotYours(id()))),
            ("Ann", "Bob", "Bob", Err(Refusal::NotYours(id()))),
            ("Ann", "Bob", "Kim", Err(Refusal::UnknownMessage(id()))),
        ] {
            let stored = Original { author: user(author), audience: audience(readers) };
            assert_eq!(may_delete(&user(by), id(), Some(&stored)), expected, "{by}");
        }
        assert_eq!(may_delete(&user("Ann"), id(), None), Err(Refusal::UnknownMessage(id())));
    }
}
