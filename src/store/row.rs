//! Rows of the message table, borrowed from the log and decoded only when needed.

use std::fmt;

use chrono::{DateTime, FixedOffset};

use super::{StoreError, View};
use crate::protocol::id::{Cid, MessageId, Seq, UserId};
use crate::protocol::message::{Audience, Message, MessageKind, Millis, can_see};
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
    /// IDs separated by spaces, or `None` for everyone.
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

    pub(super) fn is_visible(&self, view: View<'_>) -> bool {
        is_visible(view, self.sender, self.recipients, self.expires)
    }
}

/// Whether the viewer may see the message, and it has not expired.
fn is_visible(
    view: View<'_>,
    sender: &str,
    recipients: Option<&str>,
    expires: Option<Millis>,
) -> bool {
    expires.is_none_or(|expires| expires > view.now)
        && can_see(view.viewer.as_str(), sender, recipients.map(split_recipients))
}

/// The IDs in a column of recipients.
pub(super) fn split_recipients(recipients: &str) -> impl Iterator<Item = &str> {
    recipients.split(' ').filter(|id| !id.is_empty())
}

/// A row of the message table.
#[derive(Clone, Copy)]
pub(super) struct MessageRow<'a> {
    pub(super) seq: Seq,
    pub(super) id: u32,
    pub(super) sender: &'a str,
    /// IDs separated by spaces, or `None` for everyone.
    pub(super) recipients: Option<&'a str>,
    pub(super) at: Millis,
    /// Offset from UTC in seconds, positive to the east.
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

    /// The size of its text and recipients.
    pub(super) fn bytes(&self) -> usize {
        self.content.len() + self.recipients.map_or(0, str::len)
    }

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
        })
    }
}

/// The recipients as they are stored in the log.
pub(super) fn join_recipients(audience: &Audience) -> Option<String> {
    match audience {
        Audience::Everyone => None,
        Audience::Only(users) => {
            Some(users.iter().map(UserId::as_str).collect::<Vec<_>>().join(" "))
        }
    }
}

pub(super) fn parse_audience(recipients: Option<&str>) -> Result<Audience, StoreError> {
    let Some(recipients) = recipients else { return Ok(Audience::Everyone) };
    split_recipients(recipients).map(parse_user_id).collect::<Result<_, _>>().map(Audience::Only)
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

fn corrupt(column: &str, value: impl fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("invalid {column}: {value}"))
}
