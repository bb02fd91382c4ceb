//! The rule of whom a message mentions.

use std::collections::BTreeSet;
use std::ops::Bound::Included;

use super::StoreError;
use super::rules::Rows;
use crate::protocol::id::{Name, RoomName, UserId};
use crate::protocol::limits::{MENTION_ALL_MEMBERS, MENTIONED_USERS};
use crate::protocol::mention::{Mentions, mention_words};
use crate::protocol::message::Audience;

/// How many words of a text are looked up at most: each takes some microseconds.
const WORDS_LOOKED_UP: usize = 4 * MENTIONED_USERS;

/// What the rule looks up in the log.
pub(super) trait MemberRows: Rows {
    /// At most two members of the room, or registered users, whose IDs are in this range.
    fn users_between(
        &self,
        room: Option<&RoomName>,
        from: &str,
        to: &str,
    ) -> Result<Vec<UserId>, StoreError>;

    /// The number of registered users, counted up to `limit`.
    fn count_registered(&self, limit: u32) -> Result<u32, StoreError>;
}

/// Whom a text mentions: users of its conversation, named by their ID, or by a name that only one of them
/// has, but not its author. The users of Everyone are the registered ones and `guests`.
pub(super) fn mentions(
    rows: &impl MemberRows,
    author: &UserId,
    audience: &Audience,
    text: &str,
    guests: &BTreeSet<UserId>,
) -> Result<Mentions, StoreError> {
    let mut mentioned = Vec::new();
    if !text.contains('@') {
        return Ok(Mentions::None);
    }
    for word in mention_words(text).into_iter().take(WORDS_LOOKED_UP) {
        if word.is_all() {
            if may_mention_all(rows, author, audience)? {
                return Ok(Mentions::All);
            }
        } else if let Some((from, to)) = id_range(word.name)
            && let [user] = users_between(rows, author, audience, guests, (&from, &to))?.as_slice()
            && user != author
            && !mentioned.contains(user)
            && mentioned.len() < MENTIONED_USERS
        {
            mentioned.push(user.clone());
        }
    }
    Ok(mentioned.into())
}

/// `@all` is for small conversations, and for the owner of a large room.
fn may_mention_all(
    rows: &impl MemberRows,
    author: &UserId,
    audience: &Audience,
) -> Result<bool, StoreError> {
    Ok(match audience {
        Audience::Everyone => {
            rows.count_registered(MENTION_ALL_MEMBERS + 1)? <= MENTION_ALL_MEMBERS
        }
        Audience::Room(room) => {
            let is_small =
                rows.room(room)?.is_some_and(|state| state.people <= MENTION_ALL_MEMBERS);
            is_small || rows.owner(room)?.as_ref() == Some(author)
        }
        Audience::Only(_) => true,
    })
}

/// The range of the IDs that a word names: one ID, or all IDs of a name.
fn id_range(word: &str) -> Option<(String, String)> {
    if let Ok(user) = word.parse::<UserId>() {
        return Some((user.as_str().to_owned(), user.as_str().to_owned()));
    }
    let name = word.parse::<Name>().ok()?;
    // `:` follows the digits.
    Some((format!("{name}_"), format!("{name}_:")))
}

/// Some of the users of a conversation in a range of IDs; at least two if there are more than one.
fn users_between(
    rows: &impl MemberRows,
    author: &UserId,
    audience: &Audience,
    guests: &BTreeSet<UserId>,
    (from, to): (&str, &str),
) -> Result<Vec<UserId>, StoreError> {
    let range = (Included(from), Included(to));
    Ok(match audience {
        Audience::Everyone => {
            let mut users = rows.users_between(None, from, to)?;
            users.extend(guests.range::<str, _>(range).take(2).cloned());
            users
        }
        Audience::Room(room) => rows.users_between(Some(room), from, to)?,
        Audience::Only(recipients) => {
            let is_in_range = |user: &&UserId| (from..=to).contains(&user.as_str());
            let users = recipients.range::<str, _>(range).take(2);
            users.chain([author]).filter(is_in_range).cloned().collect()
        }
    })
}
