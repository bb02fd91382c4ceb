//! Formats messages and notices as lines of text.
//!
//! Pure. All texts are [`SafeText`], so lines contain no escape sequences. The further lines of a message
//! are indented, so that no text can imitate the line of another message.

use std::fmt::Write as _;

use chrono::{DateTime, FixedOffset};

use crate::client::state::Session;
use crate::client::state::timeline::{MessageState, NameList, TimelineMessage};
use crate::protocol::id::UserId;
use crate::protocol::message::{Audience, Message, MessageKind};
use crate::protocol::text::SafeText;

/// The label of users without a key.
const UNVERIFIED: &str = "not verified";

/// Precedes the second and further lines of a message.
const INDENT: &str = "    ";

/// Formats a message: `12:03 [235467] Ann_1180 -> you, Kim_9021 (private): text`.
pub(in crate::cli) fn message(
    state: &Session,
    now: DateTime<FixedOffset>,
    message: &Message,
) -> String {
    let mut line = clock(message.at, now);
    let Message { id, sender, audience, content, .. } = message;
    // Writing to a String cannot fail.
    write!(line, " [{id}] {}", display_name(state, sender)).unwrap_or_default();
    match audience {
        Audience::Everyone => {}
        Audience::Room(room) => write!(line, " in {room}").unwrap_or_default(),
        Audience::Only(recipients) => {
            let names: Vec<&str> = recipients.iter().map(|id| display_name(state, id)).collect();
            write!(line, " -> {}", names.join(", ")).unwrap_or_default();
        }
    }
    let labels = labels(message);
    if !labels.is_empty() {
        write!(line, " ({})", labels.join(", ")).unwrap_or_default();
    }
    write!(line, ": {}", indented(content)).unwrap_or_default();
    line
}

/// Formats a notice that a message was removed or has expired.
pub(super) fn tombstone(now: DateTime<FixedOffset>, entry: &TimelineMessage) -> String {
    let event = match entry.state {
        MessageState::Readable => "is readable",
        MessageState::Removed => "was removed by its author",
        MessageState::Expired => "has expired",
    };
    notice(now, &format!("message {} of {} {event}", entry.message.id, entry.message.sender))
}

/// Formats who joined and who left: up to two lines.
pub(super) fn presence(
    now: DateTime<FixedOffset>,
    joined: &NameList,
    left: &NameList,
) -> Vec<String> {
    let line = |names: &NameList, verb: &str| {
        (names.count() > 0).then(|| notice(now, &format!("{} {verb}", names.summary())))
    };
    [line(joined, "joined"), line(left, "left")].into_iter().flatten().collect()
}

/// Formats the list of online users.
pub(super) fn online_users(now: DateTime<FixedOffset>, state: &Session) -> String {
    match join_names(state, state.directory().online()) {
        names if names.is_empty() => notice(now, "nobody else is online"),
        names => notice(now, &format!("online: {names}")),
    }
}

/// Formats any line that is not a message: `12:03 -- text`.
pub(in crate::cli) fn notice(now: DateTime<FixedOffset>, text: &str) -> String {
    format!("{} -- {text}", clock(now, now))
}

/// The time of day in the reader's time zone, preceded by the date unless it is today.
fn clock(at: DateTime<FixedOffset>, now: DateTime<FixedOffset>) -> String {
    let at = at.with_timezone(now.offset());
    let is_today = at.date_naive() == now.date_naive();
    at.format(if is_today { "%H:%M" } else { "%Y-%m-%d %H:%M" }).to_string()
}

fn display_name<'a>(state: &Session, id: &'a UserId) -> &'a str {
    if state.is_own_id(id) { "you" } else { id.as_str() }
}

fn labels(message: &Message) -> Vec<String> {
    let private = message.audience.is_direct().then(|| "private".to_owned());
    let guest = message.guest.then(|| UNVERIFIED.to_owned());
    let kind = match message.kind {
        MessageKind::Plain => None,
        MessageKind::Temporary { expires } => {
            let seconds = (expires - message.at.timestamp_millis()).max(0) / 1_000;
            Some(format!("for {seconds} s"))
        }
        MessageKind::Reply { to } => Some(format!("reply to {to}")),
    };
    let edited = message.edited.map(|_| "edited".to_owned());
    guest.into_iter().chain(private).chain(kind).chain(edited).collect()
}

fn indented(content: &SafeText) -> String {
    content.as_str().replace('\n', &format!("\n{INDENT}"))
}

fn join_names<'a>(state: &Session, users: impl IntoIterator<Item = &'a UserId>) -> String {
    let name = |id| {
        if state.directory().is_guest(id) { format!("{id} ({UNVERIFIED})") } else { id.to_string() }
    };
    users.into_iter().map(name).collect::<Vec<_>>().join(", ")
}
