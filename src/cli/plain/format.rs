//! Formats messages and notices as lines of text.
//!
//! Pure. All texts are [`SafeText`], so lines contain no escape sequences. The further lines of a message
//! are indented, so that no text can imitate the line of another message.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use chrono::{DateTime, FixedOffset};

use crate::client::state::timeline::{MessageState, NameList, TimelineMessage};
use crate::client::state::{Availability, Conversation, FOREVER, Session, room_notice};
use crate::protocol::event::{Event, Reacted};
use crate::protocol::id::{RoomName, UserId};
use crate::protocol::limits::UNREAD_COUNTED;
use crate::protocol::message::{Audience, Message, MessageKind};
use crate::protocol::room::{NotifyLevel, NotifySetting, RoomState};
use crate::protocol::text::SafeText;

/// The label of users without a key.
const UNVERIFIED: &str = "not verified";

/// Precedes the second and further lines of a message.
const INDENT: &str = "    ";

/// Formats a message: `12:03 #ops Ann_1180 (reply to 235467): text [480512]`. The README documents the form.
pub(in crate::cli) fn message(
    state: &Session,
    now: DateTime<FixedOffset>,
    message: &Message,
) -> String {
    let conversation = conversation(state, &state.conversation_of(message));
    let mut line = format!(
        "{} {conversation} {}",
        clock(message.at, now),
        display_name(state, &message.sender)
    );
    let labels = labels(state, message);
    // Writing to a String cannot fail.
    if !labels.is_empty() {
        write!(line, " ({})", labels.join(", ")).unwrap_or_default();
    }
    write!(line, ": {} [{}]", indented(&message.content), message.id).unwrap_or_default();
    line
}

/// Formats a conversation: `everyone`, `#ops` or `@Ann_1180,Kim_9021`.
pub(in crate::cli) fn conversation(state: &Session, conversation: &Audience) -> String {
    match conversation {
        Audience::Everyone => "everyone".to_owned(),
        Audience::Room(room) => room.to_string(),
        Audience::Only(users) if users.is_empty() => "@you".to_owned(),
        Audience::Only(users) => {
            let names: Vec<&str> = users.iter().map(|user| display_name(state, user)).collect();
            format!("@{}", names.join(","))
        }
    }
}

/// Formats an edit, a reaction, a pin, a change of a room or of a setting; `None` for any other event.
pub(in crate::cli) fn change(
    state: &Session,
    now: DateTime<FixedOffset>,
    event: &Event,
) -> Option<String> {
    let name = |user| display_name(state, user);
    let (message, text) = match event {
        Event::Edited(edited) => {
            let text = indented(&edited.content);
            (edited.id, format!("{} edited {}: {text}", name(&edited.author), edited.id))
        }
        Event::Reacted(reacted) => {
            let (verb, word) = if reacted.on { ("reacted", "to") } else { ("removed", "from") };
            let Reacted { id, user, emoji, .. } = reacted;
            (*id, format!("{} {verb} {emoji} {word} {id}", name(user)))
        }
        Event::Pinned(pinned) => {
            let verb = if pinned.on { "pinned" } else { "unpinned" };
            (pinned.id, format!("{} {verb} {}", name(&pinned.user), pinned.id))
        }
        Event::RoomChanged(changed) => {
            let room = Audience::Room(changed.room.clone());
            return Some(notice_in(state, now, &room, &room_notice(changed).one_line()));
        }
        Event::NotifySet(setting) => {
            return Some(notice_in(
                state,
                now,
                &setting.conversation,
                &notifications(state, now, setting),
            ));
        }
        _ => return None,
    };
    Some(match state.message(message) {
        Some(entry) => notice_in(state, now, &state.conversation_of(&entry.message), &text),
        None => notice(now, &text),
    })
}

fn notifications(state: &Session, now: DateTime<FixedOffset>, setting: &NotifySetting) -> String {
    let muted = setting.muted_until.filter(|until| *until > state.server_time(now));
    let level = match setting.level {
        NotifyLevel::All => "all messages ring",
        NotifyLevel::Mentions => "mentions ring",
        NotifyLevel::None => "nothing rings",
    };
    match muted.map(|until| (until, DateTime::from_timestamp_millis(until))) {
        None => level.to_owned(),
        Some((FOREVER, _) | (_, None)) => "muted".to_owned(),
        Some((_, Some(until))) => {
            let until = until.with_timezone(now.offset());
            format!("muted until {}", clock(until, now))
        }
    }
}

/// Formats what is unread: `unread: #ops 3 (1 mention), @Kim_9021 1`; `None` if nothing is.
pub(super) fn unread_summary(now: DateTime<FixedOffset>, state: &Session) -> Option<String> {
    let unread = state.conversations().filter(|(_, one)| one.unread() > 0);
    let counts: Vec<String> = unread
        .map(|(audience, one)| {
            let counts = counts(one.unread(), "", one.mentions());
            format!("{} {counts}", conversation(state, audience))
        })
        .collect();
    (!counts.is_empty()).then(|| notice(now, &format!("unread: {}", counts.join(", "))))
}

/// Formats the number of unread messages and what follows it: `3`, `100+`, or `3 unread (1 mention)`.
fn counts(unread: u32, label: &str, mentions: u32) -> String {
    let more = if unread >= UNREAD_COUNTED { "+" } else { "" };
    match mentions {
        0 => format!("{unread}{more}{label}"),
        1 => format!("{unread}{more}{label} (1 mention)"),
        _ => format!("{unread}{more}{label} ({mentions} mentions)"),
    }
}

/// Formats where text goes from now on.
pub(super) fn destination(now: DateTime<FixedOffset>, state: &Session) -> String {
    let open = state.opened();
    let room = open.room().map(describe_room).unwrap_or_default();
    let unread = unread(open.unread(), open.mentions());
    let name = conversation(state, state.open_audience());
    notice(now, &format!("text goes to {name}{room}{unread}"))
}

/// Formats an own conversation in a list.
pub(super) fn listed_conversation(
    now: DateTime<FixedOffset>,
    state: &Session,
    audience: &Audience,
    one: &Conversation,
) -> String {
    let room = one.room().map(describe_room).unwrap_or_default();
    let unread = unread(one.unread(), one.mentions());
    let is_muted = one.muted_until().is_some_and(|until| until > state.server_time(now));
    let muted = if is_muted { ", muted" } else { "" };
    notice(now, &format!("{}{room}{unread}{muted}", conversation(state, audience)))
}

/// Formats a room in a list: `#ops (private, 12 people: topic), 3 unread (1 mention)`. `counts` are those of a
/// member.
pub(in crate::cli) fn listed_room(
    room: &RoomName,
    state: &RoomState,
    counts: Option<(u32, u32)>,
) -> String {
    let membership = match counts {
        Some((count, mentions)) => unread(count, mentions),
        None => ", not joined".to_owned(),
    };
    format!("{room}{}{membership}", describe_room(state))
}

fn unread(count: u32, mentions: u32) -> String {
    if count == 0 { String::new() } else { format!(", {}", counts(count, " unread", mentions)) }
}

/// ` (private, 12 people: topic)`
fn describe_room(room: &RoomState) -> String {
    let private = if room.private { "private, " } else { "" };
    let archived = if room.archived { "archived, " } else { "" };
    let people =
        if room.people == 1 { "1 person".to_owned() } else { format!("{} people", room.people) };
    let topic =
        if room.topic.is_blank() { String::new() } else { format!(": {}", room.topic.one_line()) };
    format!(" ({private}{archived}{people}{topic})")
}

/// Formats the members of a room: the first one is the owner.
pub(super) fn members(
    now: DateTime<FixedOffset>,
    state: &Session,
    room: &Audience,
    members: &[UserId],
) -> String {
    let names = members.iter().enumerate().map(|(index, user)| {
        let owner = (index == 0).then_some("owner");
        labelled(display_name(state, user), owner.into_iter().chain(availability(state, user)))
    });
    notice_in(state, now, room, &format!("people: {}", names.collect::<Vec<_>>().join(", ")))
}

/// Formats the participants of a direct conversation.
pub(super) fn participants(
    now: DateTime<FixedOffset>,
    state: &Session,
    users: &BTreeSet<UserId>,
) -> String {
    let names = users.iter().map(|user| labelled(user.as_str(), availability(state, user)));
    notice(now, &format!("people: {}", names.collect::<Vec<_>>().join(", ")))
}

fn availability(state: &Session, user: &UserId) -> Option<&'static str> {
    match state.directory().availability(user) {
        _ if state.is_own_id(user) => None,
        Availability::Online => None,
        Availability::Away => Some("away"),
        Availability::Gone => Some("left"),
    }
}

fn labelled<'a>(name: &str, labels: impl IntoIterator<Item = &'a str>) -> String {
    match labels.into_iter().collect::<Vec<_>>().as_slice() {
        [] => name.to_owned(),
        labels => format!("{name} ({})", labels.join(", ")),
    }
}

/// Formats a notice that a message was removed or has expired.
pub(super) fn tombstone(
    state: &Session,
    now: DateTime<FixedOffset>,
    entry: &TimelineMessage,
) -> String {
    let event = match entry.state {
        MessageState::Readable => "is readable",
        MessageState::Removed => "was removed",
        MessageState::Expired => "has expired",
    };
    let Message { id, sender, .. } = &entry.message;
    let text = if state.is_own_id(sender) {
        format!("your message {id} {event}")
    } else {
        format!("message {id} of {sender} {event}")
    };
    notice_in(state, now, &state.conversation_of(&entry.message), &text)
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

/// Formats a notice about a conversation: `12:03 #ops -- text`.
pub(super) fn notice_in(
    state: &Session,
    now: DateTime<FixedOffset>,
    audience: &Audience,
    text: &str,
) -> String {
    format!("{} {} -- {text}", clock(now, now), conversation(state, audience))
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

fn labels(state: &Session, message: &Message) -> Vec<String> {
    let guest = message.guest.then(|| UNVERIFIED.to_owned());
    let kind = match message.kind {
        MessageKind::Plain => None,
        MessageKind::Temporary { expires } => {
            let seconds = (expires - message.at.timestamp_millis()).max(0) / 1_000;
            Some(format!("for {seconds} s"))
        }
        MessageKind::Reply { to } => Some(format!("reply to {to}")),
    };
    let mention = state.is_mentioned(message).then(|| "mentions you".to_owned());
    let edited = message.edited.map(|_| "edited".to_owned());
    let pinned = message.pinned.then(|| "pinned".to_owned());
    let reactions = message.reactions.iter().map(|one| format!("{} {}", one.emoji, one.count));
    let labels = guest.into_iter().chain(kind).chain(mention).chain(edited).chain(pinned);
    labels.chain(reactions).collect()
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
