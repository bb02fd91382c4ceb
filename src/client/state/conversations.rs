//! All conversations of the user, bounded in memory.

use std::collections::BTreeMap;

use super::conversation::Conversation;
use super::timeline::MAX_ENTRIES;
use crate::protocol::id::MessageId;
use crate::protocol::message::Audience;

/// The conversations of the user. Everyone is always there.
#[derive(Debug, Clone)]
pub(super) struct Conversations {
    everyone: Conversation,
    others: BTreeMap<Audience, Conversation>,
}

impl Conversations {
    pub(super) fn new() -> Self {
        Self { everyone: Conversation::new(&Audience::Everyone, false), others: BTreeMap::new() }
    }

    pub(super) fn everyone(&self) -> &Conversation {
        &self.everyone
    }

    pub(super) fn everyone_mut(&mut self) -> &mut Conversation {
        &mut self.everyone
    }

    pub(super) fn get(&self, audience: &Audience) -> Option<&Conversation> {
        match audience {
            Audience::Everyone => Some(&self.everyone),
            other => self.others.get(other),
        }
    }

    pub(super) fn get_mut(&mut self, audience: &Audience) -> Option<&mut Conversation> {
        match audience {
            Audience::Everyone => Some(&mut self.everyone),
            other => self.others.get_mut(other),
        }
    }

    /// Returns a conversation; a new one if it is unknown.
    pub(super) fn ensure(&mut self, audience: &Audience, needs_recent: bool) -> &mut Conversation {
        match audience {
            Audience::Everyone => &mut self.everyone,
            other => self
                .others
                .entry(other.clone())
                .or_insert_with(|| Conversation::new(other, needs_recent)),
        }
    }

    pub(super) fn remove(&mut self, audience: &Audience) {
        self.others.remove(audience);
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Conversation) -> bool) {
        self.others.retain(|_, conversation| keep(conversation));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Audience, &Conversation)> {
        std::iter::once((&Audience::Everyone, &self.everyone)).chain(&self.others)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&Audience, &mut Conversation)> {
        std::iter::once((&Audience::Everyone, &mut self.everyone)).chain(&mut self.others)
    }

    /// Returns the conversation in which a message is loaded.
    pub(super) fn locate(&self, id: MessageId) -> Option<&Audience> {
        self.iter().find(|(_, one)| one.message(id).is_some()).map(|(audience, _)| audience)
    }

    /// Discards the loaded history of the conversations that were opened least recently, until the rest fits
    /// into [`MAX_ENTRIES`]. That of `open` is kept.
    pub(super) fn evict(&mut self, open: &Audience) {
        let mut total: usize = self.iter().map(|(_, one)| one.entries()).sum();
        while total > MAX_ENTRIES {
            let loaded =
                self.iter_mut().filter(|(audience, one)| *audience != open && one.entries() > 0);
            let Some((_, oldest)) = loaded.min_by_key(|(_, one)| one.opened) else { return };
            total -= oldest.entries();
            oldest.discard_history();
        }
    }
}

impl Conversation {
    /// The number of loaded entries.
    fn entries(&self) -> usize {
        let excerpt = self.excerpt.as_ref().map_or(0, |excerpt| excerpt.timeline.len());
        self.live.timeline.len() + excerpt
    }
}
