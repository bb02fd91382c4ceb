//! A message as it lies in the log: borrowed, and made a value only when it is wanted.

use std::fmt;

use chrono::{DateTime, FixedOffset};

use super::{Metadata, StoreError, View};
use crate::protocol::id::{ClientId, MessageId, Seq, UserId};
use crate::protocol::message::{Audience, Kind, Message, Millis, can_see};
use crate::protocol::text::SafeText;

/// As much of a message as a search looks at: reading a column more, a million times, is felt.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
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

impl fmt::Debug for Candidate<'_> {
    /// Without the text, which never reaches a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate").field("seq", &self.seq).finish_non_exhaustive()
    }
}

impl Candidate<'_> {
    /// Whether `user` is named among the recipients; nobody is when it is for everybody.
    pub fn names(&self, user: &UserId) -> bool {
        self.recipients.is_some_and(|named| names(named).any(|name| name == user.as_str()))
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
        && can_see(view.viewer.as_str(), sender, recipients.map(names))
}

/// The IDs in a list as it lies in the log.
pub(super) fn names(recipients: &str) -> impl Iterator<Item = &str> {
    recipients.split(' ').filter(|name| !name.is_empty())
}

/// A message as it lies in the log.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
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

impl Row<'_> {
    pub(super) fn is_visible(&self, view: View<'_>) -> bool {
        is_visible(view, self.sender, self.recipients, self.expires)
    }

    /// The message as a value.
    pub(super) fn message(&self) -> Result<Message, StoreError> {
        let Metadata { seq, sender, audience, kind } = self.metadata()?;
        Ok(Message {
            seq,
            id: message_id(self.id)?,
            sender,
            guest: self.guest,
            audience,
            kind,
            content: SafeText::clean(self.content),
            at: moment(self.at, self.zone)?,
            cid: client_id(self.cid)?,
        })
    }

    /// All but the text.
    pub(super) fn metadata(&self) -> Result<Metadata, StoreError> {
        let kind = match (self.expires, self.reply_to) {
            (Some(expires), _) => Kind::Temporary { expires },
            (None, Some(to)) => Kind::Reply { to: message_id(to)? },
            (None, None) => Kind::Plain,
        };
        Ok(Metadata {
            seq: self.seq,
            sender: user_id(self.sender)?,
            audience: audience(self.recipients)?,
            kind,
        })
    }
}

/// The recipients as they lie in the log.
pub(super) fn recipients(audience: &Audience) -> Option<String> {
    match audience {
        Audience::Everyone => None,
        Audience::Only(people) => {
            Some(people.iter().map(UserId::as_str).collect::<Vec<_>>().join(" "))
        }
    }
}

pub(super) fn audience(recipients: Option<&str>) -> Result<Audience, StoreError> {
    let Some(recipients) = recipients else { return Ok(Audience::Everyone) };
    names(recipients).map(user_id).collect::<Result<_, _>>().map(Audience::Only)
}

pub(super) fn user_id(text: &str) -> Result<UserId, StoreError> {
    text.parse().map_err(|error| damaged("a user's ID", error))
}

pub(super) fn client_id(text: Option<&str>) -> Result<Option<ClientId>, StoreError> {
    text.map(str::parse).transpose().map_err(|error| damaged("a client's id", error))
}

pub(super) fn message_id(number: u32) -> Result<MessageId, StoreError> {
    MessageId::from_number(number).ok_or_else(|| damaged("a message's id", number))
}

/// A moment in a time zone `zone` seconds east of Greenwich.
pub(super) fn moment(at: Millis, zone: i32) -> Result<DateTime<FixedOffset>, StoreError> {
    let zone = FixedOffset::east_opt(zone).ok_or_else(|| damaged("a time zone", zone))?;
    let at = DateTime::from_timestamp_millis(at).ok_or_else(|| damaged("a time", at))?;
    Ok(at.with_timezone(&zone))
}

fn damaged(what: &str, found: impl fmt::Display) -> StoreError {
    StoreError::Damaged(format!("{what}: {found}"))
}
