//! Key events: runs the bound command, or else edits the text that has the focus.

use chrono::{DateTime, FixedOffset};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::commands::{execute, scroll_to_oldest};
use super::jump::scroll_to_latest;
use super::sidebar::{edit_filter, open_nth};
use crate::tui::command::{Scope, UiCommand};
use crate::tui::event::UiEffect;
use crate::tui::key::Chord;
use crate::tui::layout::ScreenLayout;
use crate::tui::model::{Focus, Model, TypingIndicator};

/// Handles a key press.
pub(super) fn on_key(
    model: &mut Model,
    layout: &ScreenLayout,
    now: DateTime<FixedOffset>,
    key: KeyEvent,
) -> Vec<UiEffect> {
    let scope = model.scope();
    let chord = Chord::from_event(key);
    let command = model.keymap.lookup(scope, chord).or_else(|| anywhere(model, chord));
    if !matches!(command, Some(UiCommand::ClearOrQuit | UiCommand::Quit)) {
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
        Some(command) if is_available(model, command) => execute(model, layout, now, command),
        Some(_) | None => {
            type_into_focus(model, now, key);
            tell_typing(model, now)
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
    if let Some(overlay) = model.overlays.top_mut() {
        if key.code != KeyCode::Enter {
            overlay.edit(&model.chat, now, |input| input.on_key(key));
        }
        return;
    }
    match &model.focus {
        Focus::Typing if model.composer.is_empty() && key.code == KeyCode::Home => {
            scroll_to_oldest(model);
        }
        Focus::Typing if model.composer.is_empty() && key.code == KeyCode::End => {
            scroll_to_latest(model);
        }
        Focus::Typing => {
            model.composer.completion = None;
            model.composer.input.on_key(key);
        }
        Focus::Picked(_) if is_text(key) => {
            model.focus = Focus::Typing;
            model.composer.input.on_key(key);
        }
        Focus::People(_) => match key.code {
            KeyCode::Char(typed) if is_text(key) => edit_filter(model, |text| text.push(typed)),
            KeyCode::Backspace => edit_filter(model, |text| {
                text.pop();
            }),
            _ => {}
        },
        Focus::Picked(_) | Focus::Conversations(_) => {}
    }
}

/// Tells the open conversation that the user is writing to it, if that is due.
fn tell_typing(model: &mut Model, now: DateTime<FixedOffset>) -> Vec<UiEffect> {
    // A command or names at the start may lead elsewhere.
    let is_for_open = model.focus == Focus::Typing
        && model.overlays.is_empty()
        && model.composer.editing.is_none()
        && model.composer.input.lines().first().is_some_and(|line| {
            line.chars().next().is_some_and(|first| !matches!(first, '.' | '/' | '@'))
        });
    if model.typing == TypingIndicator::Off || !is_for_open {
        return Vec::new();
    }
    let typing = model.chat.tell_typing(now).map(|request| UiEffect::Send(None, request));
    typing.into_iter().collect()
}

/// Whether a key types a character.
fn is_text(key: KeyEvent) -> bool {
    let is_chord = key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
    matches!(key.code, KeyCode::Char(_)) && !is_chord
}
