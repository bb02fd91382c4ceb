//! Rows of the message table, borrowed from the log and decoded only when needed.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, FixedOffset};

use super::StoreError;
use super::sight::Sight;
use crate::protocol::id::{Cid, MessageId, RoomName, Seq, UserId};
use crate::protocol::mention::Mentions;
use crate::protocol::message::{Audience, Message, MessageKind, Millis};
use crate::protocol::text::SafeText;

/// The columns of a message that a search needs. Every further column would slow a scan of a million
/// rows noticeably.
#[derive(Clone, Copy)]
pub struct ScanRow<'a> {
    /// Its sequence number.
    pub seq: Seq,
    /// The ID of its author.
    pub sender: &'a str,
    /// When it was posted.
    pub at: Millis,
    /// The text. To display it, read the message again with [`super::Reader::messages`],
    /// which returns [`SafeText`].
    pub content: &'a str,
    /// IDs separated by spaces, or the name of a room; `None` for everyone.
    pub(super) recipients: Option<&'a str>,
    pub(super) expires: Option<Millis>,
}

impl fmt::Debug for ScanRow<'_> {
    /// Omits the text, so that it cannot get into the server's log output.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScanRow").field("seq", &self.seq).finish_non_exhaustive()
    }
}

impl ScanRow<'_> {
    /// Whether `user` is named as a recipient; `false` for a message to everyone.
    pub fn is_recipient(&self, user: &UserId) -> bool {
        self.recipients.is_some_and(|ids| split_recipients(ids).any(|id| id == user.as_str()))
    }

    /// Whether the viewer may see the message, and it has not expired.
    pub(super) fn is_visible(&self, sight: &Sight<'_>, now: Millis) -> bool {
        self.expires.is_none_or(|expires| expires > now)
            && sight.sees(self.sender, self.recipients, self.seq)
    }
}

/// The IDs in a column of recipients.
pub(super) fn split_recipients(recipients: &str) -> impl Iterator<Item = &str> {
    recipients.split(' ').filter(|id| !id.is_empty())
}

/// The key of a conversation: '' for Everyone, the name of a room, or the IDs of all participants of a direct
/// conversation, its sender included, in order and separated by spaces.
pub(super) fn conversation_key<'a>(sender: &'a str, recipients: Option<&'a str>) -> Cow<'a, str> {
    match recipients {
        None => Cow::Borrowed(""),
        Some(room) if room.starts_with('#') => Cow::Borrowed(room),
        Some(users) => {
            let mut participants: Vec<_> = split_recipients(users).chain([sender]).collect();
            participants.sort_unstable();
            participants.dedup();
            Cow::Owned(participants.join(" "))
        }
    }
}

/// The key of a conversation that `viewer` names.
pub(super) fn key_of_named(viewer: &UserId, conversation: &Audience) -> String {
    conversation_key(viewer.as_str(), join_recipients(conversation).as_deref()).into_owned()
}

/// A row of the message table.
#[derive(Clone, Copy)]
pub(super) struct MessageRow<'a> {
    pub(super) seq: Seq,
    pub(super) id: u32,
    pub(super) sender: &'a str,
    /// As in [`ScanRow`].
    pub(super) recipients: Option<&'a str>,
    pub(super) at: Millis,
    /// Offset from UTC in seconds, positive to the east.
    pub(super) zone: i32,
    pub(super) expires: Option<Millis>,
    pub(super) reply_to: Option<u32>,
    pub(super) cid: Option<&'a str>,
    pub(super) content: &'a str,
    pub(super) guest: bool,
    pub(super) edited: Option<Millis>,
    /// IDs separated by spaces, or [`ALL`]; `None` for nobody.
    pub(super) mentions: Option<&'a str>,
}

impl MessageRow<'_> {
    /// Whether the viewer may see the message, and it has not expired.
    pub(super) fn is_visible(&self, sight: &Sight<'_>, now: Millis) -> bool {
        self.expires.is_none_or(|expires| expires > now)
            && sight.sees(self.sender, self.recipients, self.seq)
    }

    /// The size of its text and recipients.
    pub(super) fn bytes(&self) -> usize {
        self.content.len() + self.recipients.map_or(0, str::len)
    }

    /// Reactions and pins are in tables of their own.
    pub(super) fn to_message(self) -> Result<Message, StoreError> {
        let kind = match (self.expires, self.reply_to) {
            (Some(expires), _) => MessageKind::Temporary { expires },
            (None, Some(to)) => MessageKind::Reply { to: parse_message_id(to)? },
            (None, None) => MessageKind::Plain,
        };
        Ok(Message {
            seq: self.seq,
            id: parse_message_id(self.id)?,
            sender: parse_user_id(self.sender)?,
            guest: self.guest,
            audience: parse_audience(self.recipients)?,
            kind,
            content: SafeText::from_trusted(self.content),
            at: to_datetime(self.at, self.zone)?,
            cid: parse_cid(self.cid)?,
            mentions: parse_mentions(self.mentions)?,
            edited: self.edited,
            reactions: Vec::new(),
            pinned: false,
        })
    }
}

/// The recipients as they are stored in the log.
pub(super) fn join_recipients(audience: &Audience) -> Option<String> {
    match audience {
        Audience::Everyone => None,
        Audience::Room(room) => Some(room.as_str().to_owned()),
        Audience::Only(users) => Some(join_users(users)),
    }
}

pub(super) fn join_users<'a>(users: impl IntoIterator<Item = &'a UserId>) -> String {
    users.into_iter().map(UserId::as_str).collect::<Vec<_>>().join(" ")
}

/// The column of mentions that stands for all users of a conversation. It is no user ID.
pub(super) const ALL: &str = "all";

pub(super) fn join_mentions(mentions: &Mentions) -> Option<String> {
    match mentions {
        Mentions::None => None,
        Mentions::Users(users) => Some(join_users(users)),
        Mentions::All => Some(ALL.to_owned()),
    }
}

pub(super) fn parse_mentions(mentions: Option<&str>) -> Result<Mentions, StoreError> {
    match mentions {
        None => Ok(Mentions::None),
        Some(ALL) => Ok(Mentions::All),
        Some(users) => parse_users(users).map(Mentions::Users),
    }
}

pub(super) fn parse_audience(recipients: Option<&str>) -> Result<Audience, StoreError> {
    match recipients {
        None => Ok(Audience::Everyone),
        Some(room) if room.starts_with('#') => parse_room(room).map(Audience::Room),
        Some(users) => parse_users(users).map(Audience::Only),
    }
}

pub(super) fn parse_users<C: FromIterator<UserId>>(users: &str) -> Result<C, StoreError> {
    split_recipients(users).map(parse_user_id).collect()
}

pub(super) fn parse_room(name: &str) -> Result<RoomName, StoreError> {
    name.parse().map_err(|error| corrupt("room name", error))
}

pub(super) fn parse_user_id(text: &str) -> Result<UserId, StoreError> {
    text.parse().map_err(|error| corrupt("user ID", error))
}

pub(super) fn parse_cid(text: Option<&str>) -> Result<Option<Cid>, StoreError> {
    text.map(str::parse).transpose().map_err(|error| corrupt("cid", error))
}

pub(super) fn parse_message_id(number: u32) -> Result<MessageId, StoreError> {
    MessageId::from_number(number).ok_or_else(|| corrupt("message id", number))
}

/// A time with an offset of `zone` seconds from UTC.
pub(super) fn to_datetime(at: Millis, zone: i32) -> Result<DateTime<FixedOffset>, StoreError> {
    let zone = FixedOffset::east_opt(zone).ok_or_else(|| corrupt("time zone", zone))?;
    let at = DateTime::from_timestamp_millis(at).ok_or_else(|| corrupt("time", at))?;
    Ok(at.with_timezone(&zone))
}

pub(super) fn corrupt(column: &str, value: impl fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("invalid {column}: {value}"))
}
