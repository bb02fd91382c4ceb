//! What happens in a room, as lines of text.
//!
//! Pure. Every text here is cleaned already (`SafeText`), so a line holds no escape sequence; and what
//! follows a line break in a message is indented, so nobody can write a line that looks like another's.

use std::fmt::Write as _;

use chrono::{DateTime, FixedOffset};

use crate::client::state::Room;
use crate::client::state::timeline::{Crowd, Fate, Said};
use crate::protocol::id::UserId;
use crate::protocol::message::{Audience, Kind, Message};
use crate::protocol::text::SafeText;

/// Whoever has shown no key.
const GUEST: &str = "not verified";

/// What stands before every further line of a message.
const INDENT: &str = "    ";

/// A message: `12:03 [235467] Ann_1180 -> you, Kim_9021 (private): text`.
pub(in crate::cli) fn message(
    room: &Room,
    now: DateTime<FixedOffset>,
    message: &Message,
) -> String {
    let mut line = clock(message.at, now);
    let Message { id, sender, audience, content, .. } = message;
    // Writing to a string cannot fail.
    write!(line, " [{id}] {}", who(room, sender)).unwrap_or_default();
    if let Audience::Only(people) = audience {
        let people: Vec<&str> = people.iter().map(|id| who(room, id)).collect();
        write!(line, " -> {}", people.join(", ")).unwrap_or_default();
    }
    let marks = marks(message);
    if !marks.is_empty() {
        write!(line, " ({})", marks.join(", ")).unwrap_or_default();
    }
    write!(line, ": {}", indented(content)).unwrap_or_default();
    line
}

/// A message whose text is gone.
pub(super) fn gone(now: DateTime<FixedOffset>, said: &Said) -> String {
    let words = match said.fate {
        Fate::Readable => "can be read",
        Fate::Removed => "was removed by its author",
        Fate::Expired => "has expired",
    };
    notice(now, &format!("message {} of {} {words}", said.message.id, said.message.sender))
}

/// Who came and who went; nothing for nobody.
pub(super) fn presence(now: DateTime<FixedOffset>, joined: &Crowd, left: &Crowd) -> Vec<String> {
    let line = |people: &Crowd, did: &str| {
        (people.count() > 0).then(|| notice(now, &format!("{} {did}", people.words())))
    };
    [line(joined, "joined"), line(left, "left")].into_iter().flatten().collect()
}

/// Who is here.
pub(super) fn people(now: DateTime<FixedOffset>, room: &Room) -> String {
    match list(room, room.people()) {
        names if names.is_empty() => notice(now, "nobody else is here"),
        names => notice(now, &format!("here: {names}")),
    }
}

/// Anything that nobody said.
pub(in crate::cli) fn notice(now: DateTime<FixedOffset>, text: &str) -> String {
    format!("{} -- {text}", clock(now, now))
}

/// The time of day, and the day unless it is today, where the reader is.
fn clock(at: DateTime<FixedOffset>, now: DateTime<FixedOffset>) -> String {
    let at = at.with_timezone(now.offset());
    let is_today = at.date_naive() == now.date_naive();
    at.format(if is_today { "%H:%M" } else { "%Y-%m-%d %H:%M" }).to_string()
}

fn who<'a>(room: &Room, id: &'a UserId) -> &'a str {
    if room.is_you(id) { "you" } else { id.as_str() }
}

fn marks(message: &Message) -> Vec<String> {
    let private = message.audience.is_private().then(|| "private".to_owned());
    let guest = message.guest.then(|| GUEST.to_owned());
    let kind = match message.kind {
        Kind::Plain => None,
        Kind::Temporary { expires } => {
            let seconds = (expires - message.at.timestamp_millis()).max(0) / 1_000;
            Some(format!("for {seconds} s"))
        }
        Kind::Reply { to } => Some(format!("reply to {to}")),
    };
    guest.into_iter().chain(private).chain(kind).collect()
}

fn indented(content: &SafeText) -> String {
    content.as_str().replace('\n', &format!("\n{INDENT}"))
}

fn list<'a>(room: &Room, people: impl IntoIterator<Item = &'a UserId>) -> String {
    let name = |id| if room.is_guest(id) { format!("{id} ({GUEST})") } else { id.to_string() };
    people.into_iter().map(name).collect::<Vec<_>>().join(", ")
}
