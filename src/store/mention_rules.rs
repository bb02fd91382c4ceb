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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::rule_rows::{TestRows, audience, users};
    use crate::store::tests::user;

    fn found(rows: &TestRows, author: &str, to: &str, text: &str) -> String {
        let guests = users("Guy");
        match mentions(rows, &user(author), &audience(to), text, &guests).unwrap() {
            Mentions::None => String::new(),
            Mentions::Users(users) => {
                users.iter().map(UserId::as_str).collect::<Vec<_>>().join(" ")
            }
            Mentions::All => "all".to_owned(),
        }
    }

    #[test]
    fn users_of_the_conversation_are_mentioned() {
        let mut rows = TestRows::new("Ann Bob Kim", &[("#ops", "Ann Kim")]);
        rows.registered.insert("Bob_0004".parse().unwrap());
        for (to, text, expected) in [
            ("*", "@Kim @Guy_0002, @Zed", "Kim_0002 Guy_0002"),
            ("*", "@Bob is ambiguous", ""),
            ("*", "@Bob_0004 is not", "Bob_0004"),
            ("*", "@Kim @Kim_0002 once", "Kim_0002"),
            ("*", "@Ann oneself", ""),
            ("*", "`@Kim` in code", ""),
            ("*", "@all", "all"),
            ("#ops", "@Kim @Bob_0002 @Guy", "Kim_0002"),
            ("#ops", "@all @Kim", "all"),
            ("Bob Kim", "@Bob @Ann @Guy", "Bob_0002"),
            ("Bob Kim", "@all", "all"),
        ] {
            assert_eq!(found(&rows, "Ann", to, text), expected, "{to} {text}");
        }
    }

    #[test]
    fn all_are_mentioned_in_small_conversations_and_by_owners() {
        let many: Vec<_> = (0..=MENTION_ALL_MEMBERS).map(|n| format!("User{n}")).collect();
        let names = format!("Ann {}", many.join(" "));
        let rows = TestRows::new(&names, &[("#ops", &names), ("#pub", "Ann Kim")]);
        for (author, to, expected) in [
            ("Ann", "*", ""),
            ("Ann", "#ops", "all"),
            ("User1", "#ops", ""),
            ("Kim", "#pub", "all"),
            ("User1", &names, "all"),
        ] {
            assert_eq!(found(&rows, author, to, "@all"), expected, "{author} {to}");
        }
    }

    #[test]
    fn number_of_mentioned_users_is_limited() {
        let many: Vec<_> = (0..=MENTIONED_USERS).map(|n| format!("User{n}")).collect();
        let rows = TestRows::new(&many.join(" "), &[]);
        let text = many.join(" @");
        assert_eq!(
            found(&rows, "Ann", "*", &format!("@{text}")).split(' ').count(),
            MENTIONED_USERS
        );
    }
}
