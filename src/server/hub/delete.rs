//! DELETE: by the author alone, and gone for everybody who has the message.

use super::{Effect, Hub, SessionId, Ticket};
use crate::protocol::error::Refusal;
use crate::protocol::id::{ClientId, MessageId, UserId};
use crate::store::Append;

impl Hub {
    pub(super) fn delete(
        &mut self,
        session: SessionId,
        by: UserId,
        cid: Option<ClientId>,
        id: MessageId,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let entry = self.ledger.visible(id, &by)?;
        if entry.author != by {
            return Err(Refusal::NotYours(id));
        }
        let ticket = Ticket::Delete { session, cid: cid.clone(), id, entry: entry.clone() };
        effects.push(Effect::Append { ticket, append: Append::Delete { id, by, cid } });
        Ok(())
    }
}
