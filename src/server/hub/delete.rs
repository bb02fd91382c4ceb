//! DELETE: by the author alone, and gone for everybody who has the message.

use super::{Effect, Hub};
use crate::protocol::error::Refusal;
use crate::protocol::event::{Deleted, Event};
use crate::protocol::id::{ClientId, MessageId, UserId};

impl Hub {
    pub(super) fn delete(
        &mut self,
        by: UserId,
        cid: Option<ClientId>,
        id: MessageId,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        if self.ledger.visible(id, &by)?.author != by {
            return Err(Refusal::NotYours(id));
        }
        let entry = self.ledger.remove(id).ok_or(Refusal::UnknownMessage(id))?;
        let to = self.holders(&entry.author, &entry.audience);
        let seq = self.next_seq();
        let event = Event::Deleted(Deleted { seq, id, by, cid });
        effects.push(Effect::Send { to, event });
        Ok(())
    }
}
