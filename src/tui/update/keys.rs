//! Key events: runs the bound command, or else edits the text that has the focus.

use chrono::{DateTime, FixedOffset};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tui_textarea::{Input, TextArea};

use super::commands::execute;
use super::messages::scroll_to_latest;
use super::sidebar::{focus_people, open_nth};
use crate::tui::command::{Scope, UiCommand};
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
    let command = model.keymap.lookup(scope, chord).or_else(|| anywhere(model, chord));
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
            open_nth(model, chord);
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
    let command = model.keymap.lookup(Scope::Anywhere, chord)?;
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
            if key.code != KeyCode::Enter && edit_text(search.input_mut(), key) {
                search.restart(&model.chat, now);
            }
        }
        (Some(Overlay::Rooms(rooms)), _) => {
            if key.code != KeyCode::Enter {
                rooms.edit(|filter| edit_text(filter, key));
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
        (Some(Overlay::Emoji(picker)), _) => {
            if edit_text(&mut picker.input, key) {
                picker.search();
            }
        }
        (None, Focus::Picked(_)) if is_text(key) => {
            model.focus = Focus::Typing;
            edit_text(&mut model.composer.input, key);
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

/// Edits a text, with the line editing keys of a shell. Returns whether the text changed.
fn edit_text(text: &mut TextArea<'static>, key: KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('u') if control => text.delete_line_by_head(),
        KeyCode::Char('z') if control => text.undo(),
        // The input box would insert the letter of an unknown Ctrl chord.
        KeyCode::Char(c) if control && !"abdefhknpvwxy".contains(c) => false,
        _ => text.input(Input::from(key)),
    }
}

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
