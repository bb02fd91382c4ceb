//! Keys: to the table first, and what it does not know to the text that is being typed.

use chrono::{DateTime, FixedOffset};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tui_textarea::{Input, TextArea};

use super::commands::execute;
use crate::tui::command::{Scope, UiCommand, lookup};
use crate::tui::completion::{Completion, propose};
use crate::tui::key::Chord;
use crate::tui::model::{Focus, Model, UiEffect};
use crate::tui::overlay::Overlay;

/// Does what a key does.
pub(super) fn on_key(
    model: &mut Model,
    now: DateTime<FixedOffset>,
    key: KeyEvent,
) -> Vec<UiEffect> {
    let scope = scope(model);
    let command = lookup(&[scope, Scope::Anywhere], Chord::from_event(key));
    if command != Some(UiCommand::ClearOrQuit) {
        model.quit_armed = false;
    }
    model.notice = None;
    match command {
        Some(command) if is_available(model, command) => execute(model, now, command),
        Some(_) | None => {
            type_into_focus(model, now, key);
            Vec::new()
        }
    }
}

/// Where keys go.
pub(crate) fn scope(model: &Model) -> Scope {
    match (model.overlays.last(), &model.focus) {
        (Some(overlay), _) => overlay.scope(),
        (None, Focus::Typing) => Scope::Typing,
        (None, Focus::Picked(_)) => Scope::Picked,
        (None, Focus::People(_)) => Scope::People,
    }
}

/// Some keys are text keys as long as there is text.
fn is_available(model: &Model, command: UiCommand) -> bool {
    match command {
        UiCommand::PickMessage => model.composer.is_empty(),
        _ => true,
    }
}

fn type_into_focus(model: &mut Model, now: DateTime<FixedOffset>, key: KeyEvent) {
    match (model.overlays.last_mut(), &model.focus) {
        (Some(Overlay::Search(search)), _) => {
            if key.code != KeyCode::Enter && edit_text(search.input_mut(), key) {
                search.restart(&model.chat, now);
            }
        }
        (None, Focus::Typing) => {
            if model.composer.is_empty() && matches!(key.code, KeyCode::Home | KeyCode::End) {
                scroll_to_end(model, key.code == KeyCode::Home);
                return;
            }
            model.composer.completion = None;
            edit_text(&mut model.composer.input, key);
        }
        (Some(Overlay::Help { .. } | Overlay::ConfirmDelete(_)), _)
        | (None, Focus::Picked(_) | Focus::People(_)) => {}
    }
}

fn scroll_to_end(model: &mut Model, top: bool) {
    let far = i64::from(u32::MAX);
    model.scroll_by += if top { far } else { -far };
    model.returning_to_live = !top && !model.chat.shows_latest();
}

/// Edits a text; whether it changed. Line editing is as in a shell where the box has other ideas.
fn edit_text(text: &mut TextArea<'static>, key: KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('u') if control => text.delete_line_by_head(),
        KeyCode::Char('z') if control => text.undo(),
        // The box would take an unknown key with control as its letter.
        KeyCode::Char(c) if control && !"abdefhknpvwxy".contains(c) => false,
        _ => text.input(Input::from(key)),
    }
}

/// Completes the word before the cursor, or goes on to the next proposal.
pub(super) fn complete(model: &mut Model) {
    let compose = &mut model.composer;
    if let Some(mut open) = compose.completion.take() {
        compose.input.delete_line_by_chars(open.inserted_chars);
        open.selected = (open.selected + 1) % open.proposals.len();
        insert_proposal(model, open);
        return;
    }
    let cursor = compose.input.cursor();
    let line = compose.input.lines().get(cursor.0).cloned().unwrap_or_default();
    let before: String = line.chars().take(cursor.1).collect();
    match propose(&before, &model.chat) {
        Some((proposals, replaced)) => {
            compose.input.delete_line_by_chars(replaced);
            insert_proposal(model, Completion { proposals, selected: 0, inserted_chars: 0 });
        }
        None if compose.is_empty() => model.focus = Focus::People(0),
        None => model.show_notice("nothing to complete here (@ for people, . for commands)"),
    }
}

fn insert_proposal(model: &mut Model, mut open: Completion) {
    let Some(proposal) = open.proposals.get(open.selected) else { return };
    model.composer.input.insert_str(&proposal.word);
    open.inserted_chars = proposal.word.chars().count();
    model.composer.completion = (open.proposals.len() > 1).then_some(open);
}

/// Deleting backwards, which the box offers one character at a time.
trait DeleteBack {
    fn delete_line_by_chars(&mut self, characters: usize);
}

impl DeleteBack for TextArea<'_> {
    fn delete_line_by_chars(&mut self, characters: usize) {
        for _ in 0..characters {
            self.delete_char();
        }
    }
}
