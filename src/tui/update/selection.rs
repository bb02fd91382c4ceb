//! Selecting text with the mouse: a drag selects, a double click selects a word, releasing copies.

use chrono::{DateTime, FixedOffset, TimeDelta};
use ratatui::layout::Position;

use crate::tui::conversation::{Items, TextSelection};
use crate::tui::event::UiEffect;
use crate::tui::layout::{ScreenLayout, Target};
use crate::tui::model::{Focus, Model, Press};

/// Within this time, a second click in the same cell selects the word.
const DOUBLE_CLICK: TimeDelta = TimeDelta::milliseconds(400);

/// Handles a press of the left button in the conversation. It becomes a click or a selection when the pointer
/// moves or the button is released.
pub(super) fn press(
    model: &mut Model,
    layout: &ScreenLayout,
    now: DateTime<FixedOffset>,
    target: &Target,
    cell: Position,
) -> Vec<UiEffect> {
    let before = model.press.take();
    model.selection = None;
    let point = layout.visible.text_at(cell);
    let is_double =
        before.is_some_and(|before| before.cell == cell && now - before.at < DOUBLE_CLICK);
    // A second click on a quote jumps again.
    if is_double
        && target.item().is_some()
        && let Some(point) = &point
    {
        let items = Items { chat: &model.chat, zone: *now.offset() };
        model.selection = items.word_at(point);
        model.focus = Focus::Typing;
        return copy(model, now);
    }
    model.press = Some(Press { cell, at: now, point, is_held: true });
    Vec::new()
}

/// Selects up to the pointer.
pub(super) fn drag(model: &mut Model, layout: &ScreenLayout, cell: Position) {
    let Some(anchor) = model.press.as_ref().filter(|press| press.is_held) else { return };
    let Some(anchor) = anchor.point.clone() else { return };
    let Some(head) = layout.visible.text_at(cell) else { return };
    if model.selection.is_some() || head != anchor {
        model.selection = Some(TextSelection { anchor, head });
        model.focus = Focus::Typing;
    }
}

/// Whether releasing the button here is a click: nothing was selected, and what is here is what was pressed.
pub(super) fn is_click(model: &Model, target: &Target, cell: Position) -> bool {
    let Some(press) = model.press.as_ref().filter(|press| press.is_held) else { return false };
    let is_same = match (&press.point, target.item()) {
        (Some(point), Some(item)) if press.cell.y == cell.y => point.item == *item,
        _ => press.cell == cell,
    };
    model.selection.is_none() && is_same
}

/// Ends a selection, and copies it.
pub(super) fn release(
    model: &mut Model,
    layout: &ScreenLayout,
    now: DateTime<FixedOffset>,
    cell: Position,
) -> Vec<UiEffect> {
    if model.selection.is_none() || !model.press.as_ref().is_some_and(|press| press.is_held) {
        return Vec::new();
    }
    drag(model, layout, cell);
    model.press = None;
    copy(model, now)
}

fn copy(model: &mut Model, now: DateTime<FixedOffset>) -> Vec<UiEffect> {
    let items = Items { chat: &model.chat, zone: *now.offset() };
    let text = model.selection.as_ref().map(|selection| items.selected_text(selection));
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Vec::new() };
    model.show_notice(format!(
        "copied {} characters (Esc drops the selection)",
        text.chars().count()
    ));
    vec![UiEffect::Copy(text)]
}
