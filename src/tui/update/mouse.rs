//! The mouse: what a click means is what lies there, as it was drawn.

use chrono::{DateTime, FixedOffset};
use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use tui_textarea::CursorMove;

use super::act::{jump, pick, scroll, show, to_bottom, toggle};
use crate::tui::layout::{Chip, Target};
use crate::tui::model::{Effect, Focus, Key, Model};
use crate::tui::overlay::Overlay;

/// How many rows the wheel scrolls.
const WHEEL: i64 = 3;

/// Does what a click or the wheel does.
pub(super) fn act(
    model: &mut Model,
    _now: DateTime<FixedOffset>,
    mouse: MouseEvent,
) -> Vec<Effect> {
    let target = model.areas.at(mouse.column, mouse.row);
    match mouse.kind {
        MouseEventKind::Down(MouseButton::Left) => click(model, target),
        MouseEventKind::ScrollUp => wheel(model, &target, WHEEL),
        MouseEventKind::ScrollDown => wheel(model, &target, -WHEEL),
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

fn click(model: &mut Model, target: Target) {
    model.notice = None;
    match target {
        Target::Person(person) => toggle(model, &person),
        Target::Chip(Chip::Person(id)) => model.compose.toggle(&id),
        Target::Chip(Chip::Life) => model.compose.seconds = None,
        Target::Reply => model.compose.drop_reply(),
        Target::Entry(key @ (Key::Message(_) | Key::Pending(_))) => {
            let again = model.picked() == Some(&key);
            if again { model.focus = Focus::Typing } else { pick(model, key) }
        }
        Target::Quote(id) => show(model, id),
        Target::Pill => to_bottom(model),
        Target::Input(row, column) => {
            model.focus = Focus::Typing;
            let text = &mut model.compose.text;
            let (top, left) = text.scroll_offset();
            let (row, column) = (usize::from(top + row), usize::from(left + column));
            let to = text.screen_to_data(row, column);
            let clamp = |position: usize| u16::try_from(position).unwrap_or(u16::MAX);
            text.move_cursor(CursorMove::Jump(clamp(to.0), clamp(to.1)));
        }
        Target::OverlayRow(index) => {
            if let Some(Overlay::Search(search)) = model.overlays.last_mut() {
                search.choose(index);
            }
            jump(model);
        }
        Target::Entry(Key::Edge(_) | Key::Other(_)) | Target::Talk | Target::People => {
            model.focus = Focus::Typing;
        }
        Target::Overlay | Target::Nothing => {}
    }
}
