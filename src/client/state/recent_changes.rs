//! Recently removed and edited texts. An answer that is still on its way may contain the old text.

use std::collections::VecDeque;

use crate::protocol::event::Edited;
use crate::protocol::id::MessageId;
use crate::protocol::message::Message;

/// How many changes are remembered: more than happen while one answer is on its way.
const MAX_CHANGES: usize = 1_024;

/// The most recent removals and edits, latest first.
#[derive(Debug, Clone, Default)]
pub(super) struct RecentChanges(VecDeque<(MessageId, Option<Edited>)>);

impl RecentChanges {
    /// Records a removal. Returns whether it is new.
    pub(super) fn remove(&mut self, id: MessageId) -> bool {
        let is_new = !self.was_removed(id);
        self.0.retain(|(changed, _)| *changed != id);
        self.push(id, None);
        is_new
    }

    /// Records an edit.
    pub(super) fn edit(&mut self, edited: Edited) {
        if !self.was_removed(edited.id) {
            self.0.retain(|(changed, _)| *changed != edited.id);
            self.push(edited.id, Some(edited));
        }
    }

    /// Brings a message of an answer up to date. Returns `false` if it was removed.
    pub(super) fn update(&self, message: &mut Message) -> bool {
        match self.0.iter().find(|(id, _)| *id == message.id) {
            None => true,
            Some((_, None)) => false,
            Some((_, Some(edited))) => {
                if message.edited.is_none_or(|at| at < edited.at.timestamp_millis()) {
                    apply_edit(message, edited);
                }
                true
            }
        }
    }

    fn was_removed(&self, id: MessageId) -> bool {
        self.0.iter().any(|(changed, edited)| *changed == id && edited.is_none())
    }

    fn push(&mut self, id: MessageId, edited: Option<Edited>) {
        self.0.truncate(MAX_CHANGES - 1);
        self.0.push_front((id, edited));
    }
}

/// Replaces the text of a message.
pub(super) fn apply_edit(message: &mut Message, edited: &Edited) {
    message.content = edited.content.clone();
    message.mentions = edited.mentions.clone();
    message.edited = Some(edited.at.timestamp_millis());
}
