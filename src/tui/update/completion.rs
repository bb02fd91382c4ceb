//! Completing the word before the cursor.

use tui_textarea::TextArea;

use super::sidebar::focus_people;
use crate::tui::completion::{Completion, propose};
use crate::tui::model::Model;

/// Completes the word before the cursor, or replaces the inserted proposal with the next one.
pub(super) fn complete(model: &mut Model) {
    let composer = &mut model.composer;
    if let Some(mut open) = composer.completion.take() {
        delete_before_cursor(&mut composer.input, open.inserted_chars);
        open.selected = (open.selected + 1) % open.proposals.len();
        insert_proposal(model, open);
        return;
    }
    let cursor = composer.input.cursor();
    let line = composer.input.lines().get(cursor.0).cloned().unwrap_or_default();
    let before: String = line.chars().take(cursor.1).collect();
    match propose(&before, &model.chat) {
        Some((proposals, replaced)) => {
            delete_before_cursor(&mut composer.input, replaced);
            insert_proposal(model, Completion { proposals, selected: 0, inserted_chars: 0 });
        }
        None if composer.is_empty() => focus_people(model),
        None => model.show_notice("nothing to complete (@ completes names, . commands)"),
    }
}

fn insert_proposal(model: &mut Model, mut open: Completion) {
    let Some(proposal) = open.proposals.get(open.selected) else { return };
    model.composer.input.insert_str(&proposal.text);
    open.inserted_chars = proposal.text.chars().count();
    model.composer.completion = (open.proposals.len() > 1).then_some(open);
}

fn delete_before_cursor(text: &mut TextArea<'static>, characters: usize) {
    for _ in 0..characters {
        text.delete_char();
    }
}
