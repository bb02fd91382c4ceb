//! Mouse events: a click acts on the target under the pointer in the last layout.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use tui_textarea::CursorMove;

use super::commands::{
    go_to_message, open_selected_hit, pick, scroll, scroll_to_latest, toggle_person,
    toggle_recipient,
};
use crate::tui::layout::{Chip, Target};
use crate::tui::model::{Focus, ItemId, Model, UiEffect};
use crate::tui::overlay::Overlay;

/// Rows that one step of the wheel scrolls.
const WHEEL_ROWS: i64 = 3;

/// Handles a mouse event.
pub(super) fn on_mouse(model: &mut Model, mouse: MouseEvent) -> Vec<UiEffect> {
    let target = model.layout.target_at(mouse.column, mouse.row);
    match mouse.kind {
        MouseEventKind::Down(MouseButton::Left) => return click(model, target),
        MouseEventKind::ScrollUp => wheel(model, &target, WHEEL_ROWS),
        MouseEventKind::ScrollDown => wheel(model, &target, -WHEEL_ROWS),
        MouseEventKind::Down(MouseButton::Right | MouseButton::Middle)
        | MouseEventKind::Up(_)
        | MouseEventKind::Drag(_)
        | MouseEventKind::Moved
        | MouseEventKind::ScrollLeft
        | MouseEventKind::ScrollRight => {}
    }
    Vec::new()
}

fn wheel(model: &mut Model, target: &Target, rows: i64) {
    match target {
        Target::Person(_) | Target::People => {
            let rows = isize::try_from(-rows).unwrap_or_default();
            model.people_top = model.people_top.saturating_add_signed(rows);
        }
        _ => scroll(model, rows),
    }
}

fn click(model: &mut Model, target: Target) -> Vec<UiEffect> {
    model.notice = None;
    match target {
        Target::Person(person) => toggle_person(model, &person),
        Target::Chip(Chip::Person(id)) => toggle_recipient(model, &id),
        Target::Chip(Chip::Expiry) => model.composer.expires_after = None,
        Target::Reply => model.composer.cancel_reply(),
        Target::Item(item @ (ItemId::Message(_) | ItemId::Pending(_))) => {
            let is_picked = model.picked() == Some(&item);
            if is_picked { model.focus = Focus::Typing } else { pick(model, item) }
        }
        Target::Quote(id) => return go_to_message(model, id),
        Target::Pill => scroll_to_latest(model),
        Target::Input(row, column) => {
            model.focus = Focus::Typing;
            let text = &mut model.composer.input;
            let (top, left) = text.scroll_offset();
            let (row, column) = (usize::from(top + row), usize::from(left + column));
            let to = text.screen_to_data(row, column);
            let clamp = |position: usize| u16::try_from(position).unwrap_or(u16::MAX);
            text.move_cursor(CursorMove::Jump(clamp(to.0), clamp(to.1)));
        }
        Target::OverlayRow(index) => {
            if let Some(Overlay::Search(search)) = model.overlays.last_mut() {
                search.select(index);
            }
            return open_selected_hit(model);
        }
        Target::Item(ItemId::Boundary(_) | ItemId::Other(_))
        | Target::Conversation
        | Target::People => {
            model.focus = Focus::Typing;
        }
        Target::Overlay | Target::Nothing => {}
    }
    Vec::new()
}
