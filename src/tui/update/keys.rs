//! Key events: runs the bound command, or else edits the text that has the focus.

use chrono::{DateTime, FixedOffset};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::commands::execute;
use super::messages::scroll_to_latest;
use super::sidebar::{focus_people, open_nth};
use crate::tui::command::{Scope, UiCommand, lookup};
use crate::tui::completion::{Completion, propose};
use crate::tui::event::UiEffect;
use crate::tui::key::Chord;
use crate::tui::model::{Focus, Model};
use crate::tui::overlay::Overlay;

/// Handles a key press.
pub(super) fn on_key(
    model: &mut Model,
    now: DateTime<FixedOffset>,
    key: KeyEvent,
) -> Vec<UiEffect> {
    let scope = model.scope();
    let chord = Chord::from_event(key);
    let command = lookup(&[scope], chord).or_else(|| anywhere(model, chord));
    if command != Some(UiCommand::ClearOrQuit) {
        model.quit_armed = None;
    }
    // The next proposal replaces the one before the cursor, which any other command may move.
    if !matches!(command, None | Some(UiCommand::Complete | UiCommand::Back)) {
        model.composer.completion = None;
    }
    model.notice = None;
    match command {
        Some(UiCommand::OpenNth) => {
            open_nth(model, key);
            Vec::new()
        }
        Some(command) if is_available(model, command) => execute(model, now, command),
        Some(_) | None => {
            type_into_focus(model, now, key);
            Vec::new()
        }
    }
}

/// The command that a key runs in every scope. While an overlay is open, only what does not act below it.
fn anywhere(model: &Model, chord: Chord) -> Option<UiCommand> {
    let command = lookup(&[Scope::Anywhere], chord)?;
    let is_modal = match command {
        UiCommand::Quit
        | UiCommand::ClearOrQuit
        | UiCommand::Redraw
        | UiCommand::ToggleMouse
        | UiCommand::PageUp
        | UiCommand::PageDown
        | UiCommand::Help => true,
        _ => model.overlays.is_empty(),
    };
    is_modal.then_some(command)
}

/// Whether the key runs the command now. Up picks a message only in an empty input, and moves the cursor
/// otherwise.
fn is_available(model: &Model, command: UiCommand) -> bool {
    match command {
        UiCommand::PickMessage => model.composer.is_empty(),
        _ => true,
    }
}

fn type_into_focus(model: &mut Model, now: DateTime<FixedOffset>, key: KeyEvent) {
    match (model.overlays.last_mut(), &model.focus) {
        (Some(Overlay::Search(search)), _) => {
            if key.code != KeyCode::Enter {
                search.edit(&model.chat, now, |input| input.on_key(key));
            }
        }
        (Some(Overlay::Rooms(rooms)), _) => {
            if key.code != KeyCode::Enter {
                rooms.edit(|filter| filter.on_key(key));
            }
        }
        (None, Focus::Typing) => {
            if model.composer.is_empty() && matches!(key.code, KeyCode::Home | KeyCode::End) {
                scroll_to_end(model, key.code == KeyCode::Home);
                return;
            }
            model.composer.completion = None;
            model.composer.input.on_key(key);
        }
        (Some(Overlay::Emoji(picker)), _) => {
            if picker.input.on_key(key) {
                picker.search();
            }
        }
        (None, Focus::Picked(_)) if is_text(key) => {
            model.focus = Focus::Typing;
            model.composer.input.on_key(key);
        }
        (Some(_), _) | (None, Focus::Picked(_) | Focus::Conversations(_) | Focus::People(_)) => {}
    }
}

fn scroll_to_end(model: &mut Model, top: bool) {
    if top {
        model.scroll_by += i64::from(u32::MAX);
        model.is_opening = false;
    } else {
        scroll_to_latest(model);
    }
}

/// Whether a key types a character.
fn is_text(key: KeyEvent) -> bool {
    let is_chord = key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
    matches!(key.code, KeyCode::Char(_)) && !is_chord
}

/// Completes the word before the cursor, or replaces the inserted proposal with the next one.
pub(super) fn complete(model: &mut Model, now: DateTime<FixedOffset>) {
    if let Some(Overlay::Search(search)) = model.overlays.last_mut() {
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
