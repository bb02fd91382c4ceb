//! What happens in a room, as lines of text.
//!
//! Pure. Every text here is cleaned already (`SafeText`), so a line holds no escape sequence; and what
//! follows a line break in a message is indented, so nobody can write a line that looks like another's.

use std::fmt::Write as _;

use chrono::{DateTime, FixedOffset};

use crate::client::state::ChatState;
use crate::client::state::timeline::{MessageState, NameList, TimelineMessage};
use crate::protocol::id::UserId;
use crate::protocol::message::{Audience, Message, MessageKind};
use crate::protocol::text::SafeText;

/// Whoever has shown no key.
const UNVERIFIED: &str = "not verified";

/// What stands before every further line of a message.
const INDENT: &str = "    ";

/// A message: `12:03 [235467] Ann_1180 -> you, Kim_9021 (private): text`.
pub(in crate::cli) fn message(
    state: &ChatState,
    now: DateTime<FixedOffset>,
    message: &Message,
) -> String {
    let mut line = clock(message.at, now);
    let Message { id, sender, audience, content, .. } = message;
    // Writing to a string cannot fail.
    write!(line, " [{id}] {}", display_name(state, sender)).unwrap_or_default();
    if let Audience::Only(people) = audience {
        let people: Vec<&str> = people.iter().map(|id| display_name(state, id)).collect();
        write!(line, " -> {}", people.join(", ")).unwrap_or_default();
    }
    let labels = labels(message);
    if !labels.is_empty() {
        write!(line, " ({})", labels.join(", ")).unwrap_or_default();
    }
    write!(line, ": {}", indented(content)).unwrap_or_default();
    line
}

/// A message whose text is gone.
pub(super) fn tombstone(now: DateTime<FixedOffset>, entry: &TimelineMessage) -> String {
    let words = match entry.state {
        MessageState::Readable => "can be read",
        MessageState::Removed => "was removed by its author",
        MessageState::Expired => "has expired",
    };
    notice(now, &format!("message {} of {} {words}", entry.message.id, entry.message.sender))
}

/// Who came and who went; nothing for nobody.
pub(super) fn presence(
    now: DateTime<FixedOffset>,
    joined: &NameList,
    left: &NameList,
) -> Vec<String> {
    let line = |people: &NameList, did: &str| {
        (people.count() > 0).then(|| notice(now, &format!("{} {did}", people.summary())))
    };
    [line(joined, "joined"), line(left, "left")].into_iter().flatten().collect()
}

/// Who is here.
pub(super) fn online_users(now: DateTime<FixedOffset>, state: &ChatState) -> String {
    match join_names(state, state.online_users()) {
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

fn display_name<'a>(state: &ChatState, id: &'a UserId) -> &'a str {
    if state.is_own_id(id) { "you" } else { id.as_str() }
}

fn labels(message: &Message) -> Vec<String> {
    let private = message.audience.is_private().then(|| "private".to_owned());
    let guest = message.guest.then(|| UNVERIFIED.to_owned());
    let kind = match message.kind {
        MessageKind::Plain => None,
        MessageKind::Temporary { expires } => {
            let seconds = (expires - message.at.timestamp_millis()).max(0) / 1_000;
            Some(format!("for {seconds} s"))
        }
        MessageKind::Reply { to } => Some(format!("reply to {to}")),
    };
    guest.into_iter().chain(private).chain(kind).collect()
}

fn indented(content: &SafeText) -> String {
    content.as_str().replace('\n', &format!("\n{INDENT}"))
}

fn join_names<'a>(state: &ChatState, people: impl IntoIterator<Item = &'a UserId>) -> String {
    let name =
        |id| if state.is_guest(id) { format!("{id} ({UNVERIFIED})") } else { id.to_string() };
    people.into_iter().map(name).collect::<Vec<_>>().join(", ")
}
