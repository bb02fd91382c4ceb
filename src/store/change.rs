//! Changes in the log: all events but new messages.

use serde::{Deserialize, Serialize};

use super::sight::Sight;
use crate::protocol::event::{Deleted, Edited, Event, Pinned, Reacted};
use crate::protocol::id::{Cid, MessageId, RoomName, Seq, UserId};
use crate::protocol::message::{Message, Millis};
use crate::protocol::reaction::Emoji;
use crate::protocol::room::{RoomChange, RoomChanged, RoomState};

/// What has changed, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ChangeKind {
    Deleted,
    Expired,
    /// The new text is that of the message.
    Edited,
    Reacted {
        emoji: Emoji,
        on: bool,
    },
    Pinned {
        on: bool,
    },
    Room {
        room: RoomName,
        change: RoomChange,
        state: RoomState,
    },
}

/// A change in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChangeRow {
    pub(super) seq: Seq,
    /// The message that it is about.
    pub(super) id: Option<MessageId>,
    /// The sequence number of this message, or its own.
    pub(super) about: Seq,
    /// Who made it; `None` for the server and its administrator.
    pub(super) by: Option<UserId>,
    pub(super) cid: Option<Cid>,
    /// See [`super::row::conversation_key`].
    pub(super) conversation: String,
    /// Other users who may see it.
    pub(super) also: Vec<UserId>,
    pub(super) at: Millis,
    pub(super) kind: ChangeKind,
}

impl ChangeRow {
    pub(super) fn is_visible(&self, sight: &Sight<'_>) -> bool {
        let recipients = Some(self.conversation.as_str()).filter(|key| !key.is_empty());
        sight.sees("", recipients, self.about) || self.also.contains(sight.viewer)
    }

    /// The event of the change. `edited` is the message that was edited; without it, there is nothing to tell.
    pub(super) fn into_event(self, edited: Option<Message>) -> Option<Event> {
        let Self { seq, id, by, cid, at, kind, .. } = self;
        Some(match kind {
            ChangeKind::Deleted => Event::Deleted(Deleted { seq, id: id?, author: by?, cid }),
            ChangeKind::Expired => Event::Expired { seq, id: id? },
            ChangeKind::Edited => {
                let message = edited?;
                let zone = *message.at.offset();
                Event::Edited(Edited {
                    seq,
                    id: message.id,
                    reply_to: message.reply_to(),
                    author: message.sender,
                    audience: message.audience,
                    content: message.content,
                    mentions: message.mentions,
                    at: chrono::DateTime::from_timestamp_millis(at)?.with_timezone(&zone),
                    cid,
                })
            }
            ChangeKind::Reacted { emoji, on } => {
                Event::Reacted(Reacted { seq, id: id?, user: by?, emoji, on, cid })
            }
            ChangeKind::Pinned { on } => Event::Pinned(Pinned { seq, id: id?, user: by?, on, cid }),
            ChangeKind::Room { room, change, state } => {
                Event::RoomChanged(RoomChanged { seq, room, change, by, at, state, cid })
            }
        })
    }
}
