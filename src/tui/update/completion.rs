//! Completing the word before the cursor.

use chrono::{DateTime, FixedOffset};

use super::sidebar::focus_people;
use crate::tui::completion::{Completion, propose};
use crate::tui::model::Model;
use crate::tui::overlay::Overlay;

/// Completes the word before the cursor, or replaces the inserted proposal with the next one.
pub(super) fn complete(model: &mut Model, now: DateTime<FixedOffset>) {
    if let Some(Overlay::Search(search)) = model.overlays.top_mut() {
        search.complete(&model.chat, now);
        return;
    }
    let composer = &mut model.composer;
    let propose = |before: &str| propose(before, &model.chat);
    if Completion::advance(&mut composer.completion, &mut composer.input, propose) {
    } else if composer.is_empty() {
        focus_people(model);
    } else {
        model.show_notice("nothing to complete (@ completes names, . commands)");
    }
}
