//! Keys: to the table first, and what it does not know to the text that is being typed.

use chrono::{DateTime, FixedOffset};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tui_textarea::{Input, TextArea};

use super::act::act;
use crate::tui::command::{Command, Scope, lookup};
use crate::tui::complete::{Completion, propose};
use crate::tui::key::Chord;
use crate::tui::model::{Effect, Focus, Model};
use crate::tui::overlay::Overlay;

/// Does what a key does.
pub(super) fn press(model: &mut Model, now: DateTime<FixedOffset>, key: KeyEvent) -> Vec<Effect> {
    let scope = scope(model);
    let command = lookup(&[scope, Scope::Anywhere], Chord::of(key));
    if command != Some(Command::ClearOrQuit) {
        model.leaving = false;
    }
    model.notice = None;
    match command {
        Some(command) if means_something(model, command) => act(model, now, command),
        Some(_) | None => {
            type_key(model, now, key);
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
fn means_something(model: &Model, command: Command) -> bool {
    match command {
        Command::Pick => model.compose.is_empty(),
        _ => true,
    }
}

fn type_key(model: &mut Model, now: DateTime<FixedOffset>, key: KeyEvent) {
    match (model.overlays.last_mut(), &model.focus) {
        (Some(Overlay::Search(search)), _) => {
            if key.code != KeyCode::Enter && edit(search.input(), key) {
                search.restart(&model.room, now);
            }
        }
        (None, Focus::Typing) => {
            if model.compose.is_empty() && matches!(key.code, KeyCode::Home | KeyCode::End) {
                scroll_to_end(model, key.code == KeyCode::Home);
                return;
            }
            model.compose.completion = None;
            edit(&mut model.compose.text, key);
        }
        (Some(Overlay::Help { .. } | Overlay::Delete(_)), _)
        | (None, Focus::Picked(_) | Focus::People(_)) => {}
    }
}

fn scroll_to_end(model: &mut Model, top: bool) {
    let far = i64::from(u32::MAX);
    model.scroll_by += if top { far } else { -far };
    model.returning = !top && !model.room.is_present();
}

/// Edits a text; whether it changed. Line editing is as in a shell where the box has other ideas.
fn edit(text: &mut TextArea<'static>, key: KeyEvent) -> bool {
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
    let compose = &mut model.compose;
    if let Some(mut open) = compose.completion.take() {
        compose.text.delete_line_by_chars(open.inserted);
        open.chosen = (open.chosen + 1) % open.proposals.len();
        insert(model, open);
        return;
    }
    let cursor = compose.text.cursor();
    let line = compose.text.lines().get(cursor.0).cloned().unwrap_or_default();
    let before: String = line.chars().take(cursor.1).collect();
    match propose(&before, &model.room) {
        Some((proposals, replaced)) => {
            compose.text.delete_line_by_chars(replaced);
            insert(model, Completion { proposals, chosen: 0, inserted: 0 });
        }
        None if compose.is_empty() => model.focus = Focus::People(0),
        None => model.tell("nothing to complete here (@ for people, . for commands)"),
    }
}

fn insert(model: &mut Model, mut open: Completion) {
    let Some(proposal) = open.proposals.get(open.chosen) else { return };
    model.compose.text.insert_str(&proposal.word);
    open.inserted = proposal.word.chars().count();
    model.compose.completion = (open.proposals.len() > 1).then_some(open);
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
