//! Completing the word before the cursor.

use super::sidebar::focus_people;
use crate::tui::completion::{Completion, propose};
use crate::tui::model::Model;

/// Completes the word before the cursor, or replaces the inserted proposal with the next one.
pub(super) fn complete(model: &mut Model) {
    let composer = &mut model.composer;
    if let Some(mut open) = composer.completion.take() {
        open.selected = (open.selected + 1) % open.proposals.len();
        insert_proposal(model, open);
        return;
    }
    match propose(composer.input.before_cursor(), &model.chat) {
        Some((proposals, inserted_chars)) => {
            insert_proposal(model, Completion { proposals, selected: 0, inserted_chars });
        }
        None if composer.is_empty() => focus_people(model),
        None => model.show_notice("nothing to complete (@ completes names, . commands)"),
    }
}

fn insert_proposal(model: &mut Model, mut open: Completion) {
    let Some(proposal) = open.proposals.get(open.selected) else { return };
    model.composer.input.replace_before_cursor(open.inserted_chars, &proposal.text);
    open.inserted_chars = proposal.text.chars().count();
    model.composer.completion = (open.proposals.len() > 1).then_some(open);
}
