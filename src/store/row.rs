//! A message as it lies in the log: borrowed, and made a value only when it is wanted.

use std::fmt;

use chrono::{DateTime, FixedOffset};

use super::{MessageMetadata, StoreError, View};
use crate::protocol::id::{Cid, MessageId, Seq, UserId};
use crate::protocol::message::{Audience, Message, MessageKind, Millis, can_see};
use crate::protocol::text::SafeText;

/// As much of a message as a search looks at: reading a column more, a million times, is felt.
#[derive(Clone, Copy)]
pub struct ScanRow<'a> {
    /// Its place in the order.
    pub seq: Seq,
    /// Who wrote it.
    pub sender: &'a str,
    /// When.
    pub at: Millis,
    /// The text. To be shown it is read again ([`super::Reader::messages`]): only that is
    /// [`SafeText`].
    pub content: &'a str,
    /// `None` for everybody, or IDs with a space between.
    pub(super) recipients: Option<&'a str>,
    pub(super) expires: Option<Millis>,
}

impl fmt::Debug for ScanRow<'_> {
    /// Without the text, which never reaches a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate").field("seq", &self.seq).finish_non_exhaustive()
    }
}

impl ScanRow<'_> {
    /// Whether `user` is named among the recipients; nobody is when it is for everybody.
    pub fn is_recipient(&self, user: &UserId) -> bool {
        self.recipients
            .is_some_and(|named| split_recipients(named).any(|name| name == user.as_str()))
    }

    pub(super) fn is_visible(&self, view: View<'_>) -> bool {
        is_visible(view, self.sender, self.recipients, self.expires)
    }
}

/// Who may see it may do so until it expires.
fn is_visible(
    view: View<'_>,
    sender: &str,
    recipients: Option<&str>,
    expires: Option<Millis>,
) -> bool {
    expires.is_none_or(|expires| expires > view.now)
        && can_see(view.viewer.as_str(), sender, recipients.map(split_recipients))
}

/// The IDs in a list as it lies in the log.
pub(super) fn split_recipients(recipients: &str) -> impl Iterator<Item = &str> {
    recipients.split(' ').filter(|name| !name.is_empty())
}

/// A message as it lies in the log.
#[derive(Clone, Copy)]
pub(super) struct MessageRow<'a> {
    pub(super) seq: Seq,
    pub(super) id: u32,
    pub(super) sender: &'a str,
    /// `None` for everybody, or IDs with a space between.
    pub(super) recipients: Option<&'a str>,
    pub(super) at: Millis,
    /// Seconds east of Greenwich.
    pub(super) zone: i32,
    pub(super) expires: Option<Millis>,
    pub(super) reply_to: Option<u32>,
    pub(super) cid: Option<&'a str>,
    pub(super) content: &'a str,
    pub(super) guest: bool,
}

impl MessageRow<'_> {
    pub(super) fn is_visible(&self, view: View<'_>) -> bool {
        is_visible(view, self.sender, self.recipients, self.expires)
    }

    /// The message as a value.
    pub(super) fn to_message(&self) -> Result<Message, StoreError> {
        let MessageMetadata { seq, sender, audience, kind } = self.to_metadata()?;
        Ok(Message {
            seq,
            id: parse_message_id(self.id)?,
            sender,
            guest: self.guest,
            audience,
            kind,
            content: SafeText::clean(self.content),
            at: to_datetime(self.at, self.zone)?,
            cid: parse_cid(self.cid)?,
        })
    }

    /// All but the text.
    pub(super) fn to_metadata(&self) -> Result<MessageMetadata, StoreError> {
        let kind = match (self.expires, self.reply_to) {
            (Some(expires), _) => MessageKind::Temporary { expires },
            (None, Some(to)) => MessageKind::Reply { to: parse_message_id(to)? },
            (None, None) => MessageKind::Plain,
        };
        Ok(MessageMetadata {
            seq: self.seq,
            sender: parse_user_id(self.sender)?,
            audience: parse_audience(self.recipients)?,
            kind,
        })
    }
}

/// The recipients as they lie in the log.
pub(super) fn join_recipients(audience: &Audience) -> Option<String> {
    match audience {
        Audience::Everyone => None,
        Audience::Only(people) => {
            Some(people.iter().map(UserId::as_str).collect::<Vec<_>>().join(" "))
        }
    }
}

pub(super) fn parse_audience(recipients: Option<&str>) -> Result<Audience, StoreError> {
    let Some(recipients) = recipients else { return Ok(Audience::Everyone) };
    split_recipients(recipients).map(parse_user_id).collect::<Result<_, _>>().map(Audience::Only)
}

pub(super) fn parse_user_id(text: &str) -> Result<UserId, StoreError> {
    text.parse().map_err(|error| corrupt("a user's ID", error))
}

pub(super) fn parse_cid(text: Option<&str>) -> Result<Option<Cid>, StoreError> {
    text.map(str::parse).transpose().map_err(|error| corrupt("a client's id", error))
}

pub(super) fn parse_message_id(number: u32) -> Result<MessageId, StoreError> {
    MessageId::from_number(number).ok_or_else(|| corrupt("a message's id", number))
}

/// A moment in a time zone `zone` seconds east of Greenwich.
pub(super) fn to_datetime(at: Millis, zone: i32) -> Result<DateTime<FixedOffset>, StoreError> {
    let zone = FixedOffset::east_opt(zone).ok_or_else(|| corrupt("a time zone", zone))?;
    let at = DateTime::from_timestamp_millis(at).ok_or_else(|| corrupt("a time", at))?;
    Ok(at.with_timezone(&zone))
}

fn corrupt(what: &str, found: impl fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("{what}: {found}"))
}
