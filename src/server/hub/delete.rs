//! DELETE: by the author alone, and gone for everybody who has the message.

use super::{Hub, HubEffect, SessionId, WriteContext};
use crate::protocol::error::Refusal;
use crate::protocol::id::{Cid, MessageId, UserId};
use crate::store::Append;

impl Hub {
    pub(super) fn delete(
        &mut self,
        session: SessionId,
        author: UserId,
        cid: Option<Cid>,
        id: MessageId,
        effects: &mut Vec<HubEffect>,
    ) -> Result<(), Refusal> {
        let entry = self.message_cache.get_visible(id, &author)?;
        if entry.author != author {
            return Err(Refusal::NotYours(id));
        }
        let ticket = WriteContext::Delete { session, cid: cid.clone(), id, message: entry.clone() };
        effects.push(HubEffect::Append {
            context: ticket,
            append: Append::Delete { id, author, cid },
        });
        Ok(())
    }
}
