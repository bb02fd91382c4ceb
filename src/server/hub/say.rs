//! MESSAGE, TEMPORARY and REPLY: who gets it, and what it becomes.

use std::collections::BTreeSet;

use super::{Effect, Hub, Now, SessionId, Ticket};
use crate::protocol::error::Refusal;
use crate::protocol::id::{ClientId, MessageId, UserId};
use crate::protocol::message::{Audience, Kind, can_see};
use crate::protocol::request::{Say, SayKind};
use crate::store::{Append, NewMessage};

impl Hub {
    pub(super) fn say(
        &mut self,
        now: Now,
        session: SessionId,
        sender: UserId,
        cid: Option<ClientId>,
        said: Say,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let (audience, kind) = match said.kind {
            SayKind::Plain => (self.audience(&sender, said.audience)?, Kind::Plain),
            SayKind::Temporary { seconds } => {
                let expires = now.millis() + i64::from(seconds) * 1_000;
                (self.audience(&sender, said.audience)?, Kind::Temporary { expires })
            }
            SayKind::Reply { to } => {
                (self.reply_audience(&sender, to, said.audience)?, Kind::Reply { to })
            }
        };
        let id = self.ids.draw(&mut self.dice);
        let ticket = Ticket::Say { session, cid: cid.clone(), id };
        let content = said.content;
        let (guest, at) = (!self.roster.is_lasting(&sender), now.wall);
        let message = NewMessage { id, sender, guest, audience, kind, content, at, cid };
        effects.push(Effect::Append { ticket, append: Append::Say(message) });
        Ok(())
    }

    /// A message to anybody who is not here, and can't come back, is refused as a
    /// whole: its sender would believe that all have it.
    fn audience(&self, sender: &UserId, wanted: Audience) -> Result<Audience, Refusal> {
        let Audience::Only(mut people) = wanted else { return Ok(Audience::Everyone) };
        people.remove(sender);
        let absent = people.iter().filter(|user| !self.roster.is_reachable(user));
        unknown(absent.cloned().collect())?;
        only(people)
    }

    /// A reply never goes further than what it replies to. Its recipients were computed from that, so
    /// those who have left since are dropped, as long as anybody remains.
    fn reply_audience(
        &self,
        sender: &UserId,
        to: MessageId,
        wanted: Audience,
    ) -> Result<Audience, Refusal> {
        let entry = self.ledger.visible(to, sender)?;
        let mut people = match (&entry.audience, wanted) {
            (Audience::Everyone, Audience::Everyone) => return Ok(Audience::Everyone),
            (Audience::Everyone, Audience::Only(named)) => {
                unknown(
                    named.iter().filter(|user| !self.roster.was_here(user)).cloned().collect(),
                )?;
                named
            }
            (Audience::Only(readers), Audience::Everyone) => {
                readers.iter().chain([&entry.author]).cloned().collect()
            }
            (Audience::Only(readers), Audience::Only(named)) => {
                let outside = |user: &&UserId| !can_see(*user, &entry.author, Some(readers));
                unknown(named.iter().filter(outside).cloned().collect())?;
                named
            }
        };
        people.remove(sender);
        let gone: Vec<_> = people.extract_if(.., |user| !self.roster.is_reachable(user)).collect();
        if people.is_empty() {
            unknown(gone)?;
        }
        only(people)
    }
}

fn unknown(people: Vec<UserId>) -> Result<(), Refusal> {
    if people.is_empty() { Ok(()) } else { Err(Refusal::UnknownRecipient(people)) }
}

fn only(people: BTreeSet<UserId>) -> Result<Audience, Refusal> {
    if people.is_empty() { Err(Refusal::NoRecipient) } else { Ok(Audience::Only(people)) }
}
