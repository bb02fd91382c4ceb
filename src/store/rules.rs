//! The rules about stored messages: pure functions over what the log holds.
//!
//! Both logs apply entries by these rules and by no others.

use std::collections::BTreeSet;

use super::{NewMessage, StoreError};
use crate::protocol::error::Refusal;
use crate::protocol::id::{MessageId, UserId};
use crate::protocol::message::{Audience, MessageKind, can_see};

/// What the rules need to know of a stored message that has not expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Original {
    pub(super) author: UserId,
    pub(super) audience: Audience,
}

/// What the rules look up in the log.
pub(super) trait Rows {
    /// The message with this id, unless it is removed or expired.
    fn original(&self, id: MessageId) -> Result<Option<Original>, StoreError>;

    fn is_registered(&self, user: &UserId) -> Result<bool, StoreError>;
}

/// The audience of a new message, or why it has none.
pub(super) fn resolve_audience(
    rows: &impl Rows,
    new: &NewMessage,
) -> Result<Result<Audience, Refusal>, StoreError> {
    let (sender, wanted) = (&new.sender, &new.audience);
    let (reply, candidates) = match new.kind {
        MessageKind::Plain | MessageKind::Temporary { .. } => (None, wanted.recipients().cloned()),
        MessageKind::Reply { to } => {
            let original = rows.original(to)?;
            let candidates = reply_candidates(original.as_ref(), wanted);
            (Some((to, original)), candidates)
        }
    };
    let mut known = BTreeSet::new();
    for user in candidates.into_iter().flatten() {
        if new.guests.contains(&user) || rows.is_registered(&user)? {
            known.insert(user);
        }
    }
    Ok(match reply {
        None => post_audience(sender, wanted, &known),
        Some((to, original)) => reply_audience(sender, to, original.as_ref(), wanted, &known),
    })
}

/// The audience of a message that is not a reply.
///
/// `known` are those among its recipients who can receive it: registered users and online guests. A
/// message to anyone else is refused as a whole, because its sender would believe that all received it.
fn post_audience(
    sender: &UserId,
    wanted: &Audience,
    known: &BTreeSet<UserId>,
) -> Result<Audience, Refusal> {
    let named = match wanted {
        Audience::Everyone => return Ok(Audience::Everyone),
        Audience::Room(room) => return Err(Refusal::NoSuchRoom(room.clone())),
        Audience::Only(named) => named,
    };
    let mut named = named.clone();
    named.remove(sender);
    let unknown: Vec<_> = named.difference(known).cloned().collect();
    if !unknown.is_empty() {
        return Err(Refusal::UnknownRecipient(unknown));
    }
    only(named)
}

/// The audience of a reply, which stays within the audience of its original.
///
/// A client computes the recipients from the original, so those who have left since are dropped, as long
/// as anyone remains. `known` as for [`post_audience`], among [`reply_candidates`].
fn reply_audience(
    sender: &UserId,
    to: MessageId,
    original: Option<&Original>,
    wanted: &Audience,
    known: &BTreeSet<UserId>,
) -> Result<Audience, Refusal> {
    let original = visible(original, to, sender)?;
    if let (Audience::Only(readers), Audience::Only(named)) = (&original.audience, wanted) {
        let is_outside = |user: &&UserId| !can_see(*user, &original.author, Some(readers));
        let outside: Vec<_> = named.iter().filter(is_outside).cloned().collect();
        if !outside.is_empty() {
            return Err(Refusal::UnknownRecipient(outside));
        }
    }
    let Some(mut recipients) = reply_candidates(Some(original), wanted) else {
        return Ok(Audience::Everyone);
    };
    recipients.remove(sender);
    let departed: Vec<_> = recipients.extract_if(.., |user| !known.contains(user)).collect();
    if recipients.is_empty() && !departed.is_empty() {
        return Err(Refusal::UnknownRecipient(departed));
    }
    only(recipients)
}

/// Everyone who may become a recipient of a reply; `None` for all users.
fn reply_candidates(original: Option<&Original>, wanted: &Audience) -> Option<BTreeSet<UserId>> {
    match (original.map(|original| &original.audience), wanted) {
        (_, Audience::Only(named)) => Some(named.clone()),
        (Some(Audience::Only(readers)), Audience::Everyone) => {
            let author = original.map(|original| original.author.clone());
            Some(readers.iter().cloned().chain(author).collect())
        }
        (_, Audience::Everyone | Audience::Room(_)) => None,
    }
}

/// Only its author may delete a message. Those who cannot see it do not learn that it exists.
pub(super) fn may_delete(
    by: &UserId,
    id: MessageId,
    original: Option<&Original>,
) -> Result<(), Refusal> {
    if visible(original, id, by)?.author == *by { Ok(()) } else { Err(Refusal::NotYours(id)) }
}

fn visible<'a>(
    original: Option<&'a Original>,
    id: MessageId,
    viewer: &UserId,
) -> Result<&'a Original, Refusal> {
    original
        .filter(|message| can_see(viewer, &message.author, message.audience.recipients()))
        .ok_or(Refusal::UnknownMessage(id))
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
