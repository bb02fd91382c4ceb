//! Mouse events: a click acts on the target under the pointer in the last layout.

use chrono::{DateTime, FixedOffset};
use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Position;

use super::commands::{choose_row, scroll};
use super::jump::{jump_back, jump_to, pick, scroll_to_latest};
use super::messages::{open_link, open_menu};
use super::rooms::browse_rooms;
use super::selection;
use super::sidebar::{open_conversation, open_direct, toggle_person};
use crate::tui::event::UiEffect;
use crate::tui::item::ItemId;
use crate::tui::layout::{ScreenLayout, Target};
use crate::tui::model::{Focus, Model};
use crate::tui::overlay::Overlay;
use crate::tui::to_line::Chip;

/// Rows that one step of the wheel scrolls.
const WHEEL_ROWS: i64 = 3;

/// Handles a mouse event.
pub(super) fn on_mouse(
    model: &mut Model,
    layout: &ScreenLayout,
    now: DateTime<FixedOffset>,
    mouse: MouseEvent,
) -> Vec<UiEffect> {
    let target = layout.target_at(now, mouse.column, mouse.row);
    let cell = Position { x: mouse.column, y: mouse.row };
    match mouse.kind {
        MouseEventKind::Down(MouseButton::Left) if target.is_in_conversation() => {
            return selection::press(model, layout, now, &target, cell);
        }
        MouseEventKind::Down(MouseButton::Left) => {
            (model.press, model.selection) = (None, None);
            return click(model, layout, now, target);
        }
        MouseEventKind::Drag(MouseButton::Left) => selection::drag(model, layout, cell),
        MouseEventKind::Up(MouseButton::Left) => {
            if selection::is_click(model, &target, cell) {
                return click(model, layout, now, target);
            }
            return selection::release(model, layout, now, cell);
        }
        MouseEventKind::ScrollUp => wheel(model, layout, mouse, WHEEL_ROWS),
        MouseEventKind::ScrollDown => wheel(model, layout, mouse, -WHEEL_ROWS),
        MouseEventKind::Down(MouseButton::Right) => pick_and_open_menu(model, target),
        MouseEventKind::Down(MouseButton::Middle)
        | MouseEventKind::Up(_)
        | MouseEventKind::Drag(_)
        | MouseEventKind::Moved
        | MouseEventKind::ScrollLeft
        | MouseEventKind::ScrollRight => {}
    }
    Vec::new()
}

fn wheel(model: &mut Model, layout: &ScreenLayout, mouse: MouseEvent, rows: i64) {
    let point = Position { x: mouse.column, y: mouse.row };
    let sidebar = layout.sidebar.as_ref().filter(|_| model.overlays.is_empty());
    let Some(sidebar) = sidebar.filter(|sidebar| sidebar.area.contains(point)) else {
        scroll(model, rows);
        return;
    };
    let list = if sidebar.people.area.contains(point) {
        &mut model.sidebar_scroll.people
    } else {
        &mut model.sidebar_scroll.conversations
    };
    list.top = list.top.saturating_add_signed(isize::try_from(-rows).unwrap_or_default());
    list.is_free = true;
}

/// Opens the menu of the message under the pointer.
fn pick_and_open_menu(model: &mut Model, target: Target) {
    if let Target::Item(item @ (ItemId::Message(_) | ItemId::Pending(_))) | Target::Link(_, item) =
        target
    {
        model.notice = None;
        pick(model, item);
        open_menu(model);
    }
}

fn click(
    model: &mut Model,
    layout: &ScreenLayout,
    now: DateTime<FixedOffset>,
    target: Target,
) -> Vec<UiEffect> {
    model.notice = None;
    match target {
        Target::OpenConversation(audience) => open_conversation(model, &audience),
        Target::BrowseRooms => {
            model.focus = Focus::Typing;
            browse_rooms(model);
        }
        Target::PersonName(id) => open_direct(model, &id),
        Target::PersonBox(id) | Target::Chip(Chip::Person(id)) => toggle_person(model, &id),
        Target::MovedRow => {
            model.show_notice("the list has just moved: look, and click again");
        }
        Target::Chip(Chip::Expiry) => model.composer.expires_after = None,
        Target::Reply => model.composer.cancel_reply(),
        Target::Item(item @ (ItemId::Message(_) | ItemId::Pending(_))) => {
            let is_picked = model.picked() == Some(&item);
            if is_picked { open_menu(model) } else { pick(model, item) }
        }
        Target::Link(link, _) => return open_link(model, link),
        Target::Quote(id) => return jump_to(model, layout, id),
        Target::Back => return jump_back(model),
        Target::Pill => scroll_to_latest(model),
        Target::Input(row, column) => {
            model.focus = Focus::Typing;
            model.composer.completion = None;
            model.composer.input.on_click(row, column);
        }
        Target::OverlayRow(index) => {
            if let Some(list) = model.overlays.top_mut().and_then(Overlay::list_mut) {
                list.select(index);
            }
            return choose_row(model, layout, now);
        }
        Target::Item(ItemId::Boundary(_) | ItemId::Other(_))
        | Target::Conversation
        | Target::Sidebar => {
            model.focus = Focus::Typing;
        }
        Target::Nothing => drop(model.overlays.close_top()),
        Target::Overlay => {}
    }
    Vec::new()
}
