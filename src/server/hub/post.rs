//! Posting and deleting messages: resolving the audience, checking permission, writing to the log.

use std::collections::BTreeSet;

use super::{Hub, HubEffect, Now, SessionId, WriteContext};
use crate::protocol::error::Refusal;
use crate::protocol::id::{Cid, MessageId, UserId};
use crate::protocol::message::{Audience, MessageKind, can_see};
use crate::protocol::request::{Post, PostKind};
use crate::store::{Append, NewMessage};

impl Hub {
    /// Handles MESSAGE, TEMPORARY and REPLY.
    pub(super) fn post(
        &mut self,
        now: Now,
        session: SessionId,
        sender: UserId,
        cid: Option<Cid>,
        post: Post,
        effects: &mut Vec<HubEffect>,
    ) -> Result<(), Refusal> {
        let (audience, kind) = match post.kind {
            PostKind::Plain => (self.resolve_audience(&sender, post.audience)?, MessageKind::Plain),
            PostKind::Temporary { seconds } => {
                let expires = now.millis() + i64::from(seconds) * 1_000;
                (self.resolve_audience(&sender, post.audience)?, MessageKind::Temporary { expires })
            }
            PostKind::Reply { to } => (
                self.resolve_reply_audience(&sender, to, post.audience)?,
                MessageKind::Reply { to },
            ),
        };
        let id = self.message_ids.allocate(&mut self.rng);
        let context = WriteContext::Post { session, cid: cid.clone(), id };
        let (guest, at) = (!self.sessions.is_registered(&sender), now.wall);
        let message =
            NewMessage { id, sender, guest, audience, kind, content: post.content, at, cid };
        effects.push(HubEffect::Append { context, append: Append::Post(message) });
        Ok(())
    }

    /// Handles DELETE, which only the author of a message may send.
    pub(super) fn delete(
        &mut self,
        session: SessionId,
        user: UserId,
        cid: Option<Cid>,
        id: MessageId,
        effects: &mut Vec<HubEffect>,
    ) -> Result<(), Refusal> {
        let message = self.message_cache.get_visible(id, &user)?.clone();
        if message.author != user {
            return Err(Refusal::NotYours(id));
        }
        let context = WriteContext::Delete { session, cid: cid.clone(), id, message };
        let append = Append::Delete { id, author: user, cid };
        effects.push(HubEffect::Append { context, append });
        Ok(())
    }

    /// The audience of a new message. If any recipient is unreachable the whole message is refused, so
    /// that its author never believes that more users have it than do.
    fn resolve_audience(&self, sender: &UserId, wanted: Audience) -> Result<Audience, Refusal> {
        let Audience::Only(mut recipients) = wanted else { return Ok(Audience::Everyone) };
        recipients.remove(sender);
        let unreachable = recipients.iter().filter(|user| !self.sessions.is_reachable(user));
        refuse_unknown(unreachable.cloned().collect())?;
        direct_audience(recipients)
    }

    /// The audience of a reply: at most the audience of the original message. Recipients who have left
    /// since the original was posted are dropped; if none remain, the reply is refused.
    fn resolve_reply_audience(
        &self,
        sender: &UserId,
        to: MessageId,
        wanted: Audience,
    ) -> Result<Audience, Refusal> {
        let original = self.message_cache.get_visible(to, sender)?;
        let mut recipients = match (&original.audience, wanted) {
            (Audience::Everyone, Audience::Everyone) => return Ok(Audience::Everyone),
            (Audience::Everyone, Audience::Only(named)) => {
                refuse_unknown(
                    named.iter().filter(|user| !self.sessions.was_issued(user)).cloned().collect(),
                )?;
                named
            }
            (Audience::Only(readers), Audience::Everyone) => {
                readers.iter().chain([&original.author]).cloned().collect()
            }
            (Audience::Only(readers), Audience::Only(named)) => {
                let outside = |user: &&UserId| !can_see(*user, &original.author, Some(readers));
                refuse_unknown(named.iter().filter(outside).cloned().collect())?;
                named
            }
        };
        recipients.remove(sender);
        let unreachable: Vec<_> =
            recipients.extract_if(.., |user| !self.sessions.is_reachable(user)).collect();
        if recipients.is_empty() {
            refuse_unknown(unreachable)?;
        }
        direct_audience(recipients)
    }
}

fn refuse_unknown(users: Vec<UserId>) -> Result<(), Refusal> {
    if users.is_empty() { Ok(()) } else { Err(Refusal::UnknownRecipient(users)) }
}

fn direct_audience(recipients: BTreeSet<UserId>) -> Result<Audience, Refusal> {
    if recipients.is_empty() { Err(Refusal::NoRecipient) } else { Ok(Audience::Only(recipients)) }
}
