//! Posting messages. The log decides who the audience is.

use super::{Hub, Now};
use crate::protocol::id::{Cid, UserId};
use crate::protocol::message::MessageKind;
use crate::protocol::request::{Post, PostKind};
use crate::store::{Entry, NewMessage};

impl Hub {
    /// The entry of MESSAGE, TEMPORARY or REPLY.
    pub(super) fn post(&self, now: Now, sender: UserId, cid: Option<Cid>, post: Post) -> Entry {
        let kind = match post.kind {
            PostKind::Plain => MessageKind::Plain,
            PostKind::Temporary { seconds } => {
                MessageKind::Temporary { expires: now.millis() + i64::from(seconds) * 1_000 }
            }
            PostKind::Reply { to } => MessageKind::Reply { to },
        };
        Entry::Post(NewMessage {
            guest: !self.sessions.is_registered(&sender),
            guests: self.sessions.guests(),
            sender,
            audience: post.audience,
            kind,
            content: post.content,
            at: now.wall,
            cid,
        })
    }
}
