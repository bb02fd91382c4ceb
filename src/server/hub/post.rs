//! MESSAGE, TEMPORARY and REPLY: who gets it, and what it becomes.

use std::collections::BTreeSet;

use super::{Hub, HubEffect, Now, SessionId, WriteContext};
use crate::protocol::error::Refusal;
use crate::protocol::id::{Cid, MessageId, UserId};
use crate::protocol::message::{Audience, MessageKind, can_see};
use crate::protocol::request::{Post, PostKind};
use crate::store::{Append, NewMessage};

impl Hub {
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
        let ticket = WriteContext::Post { session, cid: cid.clone(), id };
        let content = post.content;
        let (guest, at) = (!self.sessions.is_registered(&sender), now.wall);
        let message = NewMessage { id, sender, guest, audience, kind, content, at, cid };
        effects.push(HubEffect::Append { context: ticket, append: Append::Post(message) });
        Ok(())
    }

    /// A message to anybody who is not here, and can't come back, is refused as a
    /// whole: its sender would believe that all have it.
    fn resolve_audience(&self, sender: &UserId, wanted: Audience) -> Result<Audience, Refusal> {
        let Audience::Only(mut people) = wanted else { return Ok(Audience::Everyone) };
        people.remove(sender);
        let absent = people.iter().filter(|user| !self.sessions.is_reachable(user));
        refuse_unknown(absent.cloned().collect())?;
        direct_audience(people)
    }

    /// A reply never goes further than what it replies to. Its recipients were computed from that, so
    /// those who have left since are dropped, as long as anybody remains.
    fn resolve_reply_audience(
        &self,
        sender: &UserId,
        to: MessageId,
        wanted: Audience,
    ) -> Result<Audience, Refusal> {
        let entry = self.message_cache.get_visible(to, sender)?;
        let mut people = match (&entry.audience, wanted) {
            (Audience::Everyone, Audience::Everyone) => return Ok(Audience::Everyone),
            (Audience::Everyone, Audience::Only(named)) => {
                refuse_unknown(
                    named.iter().filter(|user| !self.sessions.was_issued(user)).cloned().collect(),
                )?;
                named
            }
            (Audience::Only(readers), Audience::Everyone) => {
                readers.iter().chain([&entry.author]).cloned().collect()
            }
            (Audience::Only(readers), Audience::Only(named)) => {
                let outside = |user: &&UserId| !can_see(*user, &entry.author, Some(readers));
                refuse_unknown(named.iter().filter(outside).cloned().collect())?;
                named
            }
        };
        people.remove(sender);
        let unreachable: Vec<_> =
            people.extract_if(.., |user| !self.sessions.is_reachable(user)).collect();
        if people.is_empty() {
            refuse_unknown(unreachable)?;
        }
        direct_audience(people)
    }
}

fn refuse_unknown(people: Vec<UserId>) -> Result<(), Refusal> {
    if people.is_empty() { Ok(()) } else { Err(Refusal::UnknownRecipient(people)) }
}

fn direct_audience(people: BTreeSet<UserId>) -> Result<Audience, Refusal> {
    if people.is_empty() { Err(Refusal::NoRecipient) } else { Ok(Audience::Only(people)) }
}
