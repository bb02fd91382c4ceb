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
    let room = match original.as_ref().map(|original| &original.audience) {
        Some(Audience::Room(room)) => Some(room),
        Some(Audience::Only(_)) if wanted.room().is_some() => {
            return Err(Refusal::NotAllowed("a reply stays in its conversation").into());
        }
        Some(Audience::Everyone | Audience::Only(_)) | None => wanted.room(),
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
    use std::sync::Arc;

    use super::*;
    use crate::store::tests::rule_rows::{TestRows, audience, shown, users};
    use crate::store::tests::{id, message, user};

    /// Ann owns `#ops`, Bob sees it from 10 on. The messages are to everyone (1), to Bob and Kim (2), and in
    /// `#ops` (3, 12) and the archived `#old` (4).
    fn rows() -> TestRows {
        TestRows::new("Ann Bob Kim", &[("#ops", "Ann Bob"), ("#old", "Ann Bob"), ("#pub", "Kim")])
            .since("#ops", "Bob", 10)
            .with(1, "Bob", "*")
            .with(2, "Ann", "Bob Kim")
            .with(3, "Ann", "#ops")
            .with(12, "Ann", "#ops")
            .with(4, "Ann", "#old")
    }

    fn names(audience: &Audience) -> String {
        match audience {
            Audience::Everyone => "*".to_owned(),
            Audience::Room(room) => room.to_string(),
            Audience::Only(users) => users.iter().map(UserId::name).collect::<Vec<_>>().join(" "),
        }
    }

    #[test]
    fn message_goes_to_its_conversation_or_is_refused() {
        for (sender, reply_to, wanted, expected) in [
            ("Ann", None, "*", "*"),
            ("Ann", None, "Bob", "Bob"),
            ("Ann", None, "Ann Bob", "Bob"),
            ("Ann", None, "Bob Zed", "UnknownRecipient"),
            ("Ann", None, "Ann", "NoRecipient"),
            ("Ann", None, "#ops", "#ops"),
            ("Kim", None, "#ops", "NoSuchRoom"),
            ("Ann", None, "#none", "NoSuchRoom"),
            ("Ann", None, "#pub", "NotAMember"),
            ("Ann", None, "#old", "Archived"),
            ("Kim", Some(1), "*", "*"),
            ("Kim", Some(1), "Bob", "Bob"),
            ("Kim", Some(1), "#pub", "#pub"),
            ("Kim", Some(1), "#ops", "NoSuchRoom"),
            ("Kim", Some(2), "*", "Ann Bob"),
            ("Kim", Some(2), "Ann", "Ann"),
            ("Kim", Some(2), "Zed", "UnknownRecipient"),
            ("Kim", Some(2), "#pub", "NotAllowed"),
            ("Zed", Some(2), "*", "UnknownMessage"),
            ("Ann", Some(3), "*", "#ops"),
            ("Ann", Some(3), "Kim", "#ops"),
            ("Bob", Some(3), "#ops", "UnknownMessage"),
            ("Bob", Some(12), "#pub", "#ops"),
            ("Kim", Some(3), "#ops", "UnknownMessage"),
            ("Ann", Some(4), "#ops", "Archived"),
            ("Ann", Some(9), "*", "UnknownMessage"),
        ] {
            let kind = match reply_to {
                None => MessageKind::Plain,
                Some(seq) => MessageKind::Reply { to: id(seq) },
            };
            let (audience, guests) = (audience(wanted), Arc::default());
            let new = NewMessage { audience, guests, kind, ..message(1, sender, "text") };
            let found = shown(resolve_audience(&rows(), &new), |audience| names(&audience));
            assert_eq!(found, expected, "{sender} {reply_to:?} {wanted}");
        }
    }

    #[test]
    fn reply_drops_those_who_have_left() {
        let departed = Refusal::UnknownRecipient(users("Bob Kim").into_iter().collect());
        for (wanted, known, expected) in [
            ("*", "Bob Kim", Ok(audience("Bob Kim"))),
            ("*", "Kim", Ok(audience("Kim"))),
            ("*", "", Err(departed)),
        ] {
            let rows = TestRows::default().with(2, "Bob", "Ann Kim");
            let original = rows.original(id(2)).unwrap().unwrap();
            let (ann, known) = (user("Ann"), users(known));
            assert_eq!(reply_audience(&ann, &original, &audience(wanted), &known), expected);
        }
    }

    #[test]
    fn author_edits_and_deletes_and_others_learn_nothing() {
        for (by, seq, edited, deleted) in [
            ("Bob", 1, "ok", "ok"),
            ("Ann", 1, "NotYours", "NotYours"),
            ("Ann", 2, "ok", "ok"),
            ("Bob", 2, "NotYours", "NotYours"),
            ("Zed", 2, "UnknownMessage", "UnknownMessage"),
            ("Ann", 3, "ok", "ok"),
            ("Bob", 3, "UnknownMessage", "UnknownMessage"),
            ("Bob", 12, "NotYours", "NotYours"),
            ("Ann", 4, "Archived", "ok"),
            ("Ann", 9, "UnknownMessage", "UnknownMessage"),
        ] {
            let (rows, by) = (rows(), user(by));
            let found = shown(may_edit(&rows, id(seq), &by), |_| "ok".to_owned());
            assert_eq!(found, edited, "{by} {seq}");
            let found = shown(may_delete(&rows, id(seq), &by), |()| "ok".to_owned());
            assert_eq!(found, deleted, "{by} {seq}");
        }
        let mut rows = rows();
        rows.originals.get_mut(&id(1)).unwrap().is_temporary = true;
        assert_eq!(shown(may_edit(&rows, id(1), &user("Bob")), |_| String::new()), "NotEditable");
    }

    #[test]
    fn reaction_is_a_toggle_with_a_limit() {
        let thumb = || "👍".parse::<Emoji>().unwrap();
        let others = |n: usize| {
            let emoji = ["😀", "😃", "😄", "😁", "😆", "😅", "🤣", "😂", "🙂", "🙃", "😉", "😊"];
            let more = ["😇", "🥰", "😍", "🤩", "😘", "😗", "😚", "😙"];
            let all = emoji.into_iter().chain(more).take(n);
            all.map(|emoji| (emoji.parse::<Emoji>().unwrap(), true)).collect::<Vec<_>>()
        };
        let with = |own| others(REACTION_KINDS - 1).into_iter().chain([(thumb(), own)]).collect();
        for (by, seq, kinds, on, expected) in [
            ("Kim", 1, vec![], true, "ok"),
            ("Kim", 1, vec![], false, "Unchanged"),
            ("Kim", 1, vec![(thumb(), true)], true, "Unchanged"),
            ("Kim", 1, vec![(thumb(), true)], false, "ok"),
            ("Kim", 1, vec![(thumb(), false)], false, "Unchanged"),
            ("Kim", 1, others(REACTION_KINDS - 1), true, "ok"),
            ("Kim", 1, others(REACTION_KINDS), true, "LimitReached"),
            ("Kim", 1, with(false), true, "ok"),
            ("Kim", 1, with(true), false, "ok"),
            ("Kim", 3, vec![], true, "UnknownMessage"),
            ("Bob", 12, vec![], true, "ok"),
            ("Ann", 4, vec![], true, "Archived"),
        ] {
            let by = user(by);
            let reacted = may_react(&rows(), (id(seq), &by), (&thumb(), on), |_| Ok(kinds));
            assert_eq!(shown(reacted, |_| "ok".to_owned()), expected, "{by} {seq} {on}");
        }
    }

    #[test]
    fn owner_pins_in_rooms_and_anyone_in_direct_conversations() {
        for (by, seq, pinned, on, expected) in [
            ("Bob", 1, (false, 0), true, "NotAllowed"),
            ("Kim", 2, (false, PINNED_MESSAGES - 1), true, "ok"),
            ("Kim", 2, (false, PINNED_MESSAGES), true, "LimitReached"),
            ("Kim", 2, (true, PINNED_MESSAGES), true, "Unchanged"),
            ("Kim", 2, (true, PINNED_MESSAGES), false, "ok"),
            ("Kim", 2, (false, 1), false, "Unchanged"),
            ("Ann", 12, (false, 0), true, "ok"),
            ("Bob", 12, (false, 0), true, "NotOwner"),
            ("Bob", 3, (false, 0), true, "UnknownMessage"),
            ("Ann", 4, (false, 0), true, "Archived"),
        ] {
            let by = user(by);
            let found = may_pin(&rows(), (id(seq), &by), on, |_| Ok(pinned));
            assert_eq!(shown(found, |_| "ok".to_owned()), expected, "{by} {seq} {pinned:?}");
        }
    }

    #[test]
    fn settings_are_for_the_conversations_of_registered_users() {
        let mut rows = rows();
        rows.direct.insert("Ann_0002 Bob_0002".to_owned());
        for (by, conversation, expected) in [
            ("Ann", "*", "*"),
            ("Ann", "Bob", "Bob"),
            ("Ann", "Ann Bob", "Bob"),
            ("Ann", "Kim", "NotAllowed"),
            ("Ann", "Ann", "NotAllowed"),
            ("Ann", "#ops", "#ops"),
            ("Ann", "#old", "#old"),
            ("Ann", "#pub", "NotAMember"),
            ("Kim", "#ops", "NoSuchRoom"),
            ("Zed", "*", "NotAllowed"),
        ] {
            let found = may_mark(&rows, &user(by), &audience(conversation));
            assert_eq!(shown(found, |named| names(&named)), expected, "{by} {conversation}");
        }
    }

    #[test]
    fn marker_moves_back_only_on_request() {
        for (old, up_to, unread, expected) in
            [(5, 7, false, 7), (5, 3, false, 5), (5, 3, true, 3), (5, 7, true, 7)]
        {
            assert_eq!(moved_marker(Seq(old), Seq(up_to), unread), Seq(expected));
        }
    }
}
