//! Carries out the commands of the key bindings.

use chrono::{DateTime, FixedOffset, TimeDelta};

use super::keys::complete;
use super::messages::{self, go_to_message, jump_back, pick, push_origin, scroll_to_latest};
use super::rooms::{browse_rooms, choose_room};
use super::send::send;
use super::sidebar::{
    drop_ticks, focus_conversations, focus_people, move_focus, open_conversation, open_focused,
    open_neighbour, open_next_unread, toggle_focused_person,
};
use crate::client::state::Session;
use crate::client::state::search::SearchHit;
use crate::protocol::message::Audience;
use crate::tui::command::UiCommand;
use crate::tui::conversation::{Items, duration};
use crate::tui::event::UiEffect;
use crate::tui::item::ItemId;
use crate::tui::model::{Focus, Model};
use crate::tui::overlay::search::{SearchHitList, SearchOverlay};
use crate::tui::overlay::{Overlay, help};
use crate::tui::viewport::Viewport;

/// Within this time, a second Ctrl-C quits.
const QUIT_WINDOW: TimeDelta = TimeDelta::seconds(1);

/// Carries out a command.
pub(super) fn execute(
    model: &mut Model,
    now: DateTime<FixedOffset>,
    command: UiCommand,
) -> Vec<UiEffect> {
    match command {
        UiCommand::Send => return send(model, now),
        UiCommand::NewLine => drop(model.composer.input.insert("\n")),
        UiCommand::Complete => complete(model, now),
        UiCommand::Help => model.overlays.push(Overlay::Help { top: 0 }),
        UiCommand::Search => open_search(model, now, "", false),
        UiCommand::FocusPeople => focus_people(model),
        UiCommand::FocusConversations => focus_conversations(model),
        UiCommand::BrowseRooms => browse_rooms(model),
        UiCommand::PreviousConversation => open_neighbour(model, -1),
        UiCommand::NextConversation => open_neighbour(model, 1),
        // The key says which one; see `keys`.
        UiCommand::OpenNth => {}
        UiCommand::NextUnread => open_next_unread(model, now),
        UiCommand::ToEveryone => open_conversation(model, &Audience::Everyone),
        UiCommand::CycleExpiry => cycle_expiry(model),
        UiCommand::PageUp => scroll(model, page_rows(model)),
        UiCommand::PageDown => scroll(model, -page_rows(model)),
        UiCommand::ScrollToOldest => scroll(model, i64::from(u32::MAX)),
        UiCommand::ScrollToLatest => scroll_to_latest(model),
        UiCommand::ToggleMouse => return toggle_mouse(model),
        UiCommand::Redraw => return vec![UiEffect::Redraw],
        UiCommand::Quit => return vec![UiEffect::Quit],
        UiCommand::ClearOrQuit => return clear_or_quit(model, now),
        UiCommand::Back => return step_back(model),
        UiCommand::ConfirmDelete => return messages::delete_confirmed(model),
        UiCommand::PickMessage | UiCommand::PreviousMessage => pick_neighbour(model, now, true),
        UiCommand::NextMessage => pick_neighbour(model, now, false),
        UiCommand::ReplyLatest => messages::reply_picked_or_latest(model),
        UiCommand::OpenMenu => messages::open_menu(model),
        UiCommand::Message(command) => return messages::act_on_picked(model, command),
        UiCommand::JumpBack => return jump_back(model),
        UiCommand::RowUp => move_row(model, -1),
        UiCommand::RowDown => move_row(model, 1),
        UiCommand::ChooseRow => return choose_row(model),
        UiCommand::NextHit => return go_to_hit(model, true),
        UiCommand::PreviousHit => return go_to_hit(model, false),
        UiCommand::FocusUp => move_focus(model, -1),
        UiCommand::FocusDown => move_focus(model, 1),
        UiCommand::OpenFocused => open_focused(model),
        UiCommand::TogglePerson => toggle_focused_person(model),
        UiCommand::HitUp => with_search(model, |search, _| search.move_selection(-1)),
        UiCommand::HitDown => with_search(model, |search, _| search.move_selection(1)),
        UiCommand::MatchCase => with_search(model, |search, chat| search.toggle_case(chat, now)),
        UiCommand::SearchScope => {
            with_search(model, |search, chat| search.toggle_scope(chat, now));
        }
        UiCommand::GoToHit => return open_selected_hit(model),
        UiCommand::ScrollUp => scroll(model, 1),
        UiCommand::ScrollDown => scroll(model, -1),
    }
    Vec::new()
}

fn move_row(model: &mut Model, rows: isize) {
    if let Some(list) = model.overlays.last_mut().and_then(Overlay::list_mut) {
        list.move_by(rows);
    }
}

/// Carries out the selected row of the top overlay.
pub(super) fn choose_row(model: &mut Model) -> Vec<UiEffect> {
    match model.overlays.last() {
        Some(Overlay::Search(_)) => open_selected_hit(model),
        Some(Overlay::Rooms(_)) => choose_room(model),
        Some(_) | None => messages::choose_row(model),
    }
}

/// Opens the search with `typed` in its input: in the open conversation, or in all.
pub(super) fn open_search(
    model: &mut Model,
    now: DateTime<FixedOffset>,
    typed: &str,
    is_wide: bool,
) {
    let search = SearchOverlay::new(typed, is_wide, &model.chat, now);
    model.overlays.push(Overlay::Search(Box::new(search)));
}

/// Scrolls the top overlay, or else the conversation; positive is up.
pub(super) fn scroll(model: &mut Model, rows: i64) {
    let area = model.layout.overlay.unwrap_or_default();
    match model.overlays.last_mut() {
        Some(Overlay::Help { top }) => {
            let last = i64::try_from(help::max_top(area, model.theme)).unwrap_or(i64::MAX);
            let target = i64::try_from(*top).unwrap_or(i64::MAX).saturating_sub(rows);
            *top = usize::try_from(target.clamp(0, last)).unwrap_or_default();
        }
        Some(Overlay::Search(search)) => {
            search.move_selection(isize::try_from(-rows).unwrap_or_default());
        }
        Some(other) => {
            if let Some(list) = other.list_mut() {
                list.move_by(isize::try_from(-rows).unwrap_or_default());
            }
        }
        None => {
            model.scroll_by += rows;
            model.is_opening = false;
            model.chat.retry_history();
        }
    }
}

fn page_rows(model: &Model) -> i64 {
    let area = model.layout.overlay.unwrap_or(model.layout.conversation);
    i64::from(area.height.saturating_sub(3).max(1))
}

fn cycle_expiry(model: &mut Model) {
    if model.composer.reply_to.is_some() {
        model.show_error("a reply cannot be temporary (Esc drops the reply)");
        return;
    }
    model.composer.cycle_expiry();
    match model.composer.expires_after {
        Some(seconds) => {
            let expiry = duration(i64::from(seconds));
            model.show_notice(format!("the next message expires after {expiry}"));
        }
        None => model.show_notice("the next message does not expire"),
    }
}

fn toggle_mouse(model: &mut Model) -> Vec<UiEffect> {
    model.mouse_captured = !model.mouse_captured;
    if model.mouse_captured {
        model.show_notice("mouse on");
    } else {
        model.show_notice("mouse off: select text (Alt-M turns it back on)");
    }
    vec![UiEffect::CaptureMouse(model.mouse_captured)]
}

/// Closes the top overlay, or else clears the input, or else quits when pressed twice.
fn clear_or_quit(model: &mut Model, now: DateTime<FixedOffset>) -> Vec<UiEffect> {
    if model.overlays.pop().is_some() {
    } else if !model.composer.is_empty() {
        model.composer.clear();
        model.focus = Focus::Typing;
        model.show_notice("cleared (Ctrl-Z restores it)");
    } else if model.quit_armed.is_some_and(|until| now < until) {
        return vec![UiEffect::Quit];
    } else {
        model.quit_armed = Some(now + QUIT_WINDOW);
        model.show_notice("press Ctrl-C again to quit");
    }
    Vec::new()
}

/// Closes the top overlay, or else the picked message, completion, edit or reply, or else returns from the
/// ticked people, or else scrolls to the newest message.
fn step_back(model: &mut Model) -> Vec<UiEffect> {
    if model.overlays.pop().is_some() {
    } else if is_at_hit(model) && !model.jump_origins.is_empty() {
        return jump_back(model);
    } else if model.focus != Focus::Typing {
        model.focus = Focus::Typing;
    } else if model.composer.completion.take().is_some() {
    } else if model.composer.editing.is_some() {
        model.composer.drop_edit();
    } else if model.composer.reply_to.is_some() {
        model.composer.cancel_reply();
    } else if !drop_ticks(model) {
        scroll_to_latest(model);
    }
    Vec::new()
}

/// Whether the picked message is the search hit that was jumped to last.
fn is_at_hit(model: &Model) -> bool {
    let hit = model.search_hits.as_ref().and_then(SearchHitList::current);
    hit.is_some_and(|hit| model.picked() == Some(&ItemId::Message(hit.id)))
}

fn pick_neighbour(model: &mut Model, now: DateTime<FixedOffset>, older: bool) {
    let items = Items { chat: &model.chat, zone: *now.offset() };
    let next = match &model.focus {
        Focus::Picked(item) => items.neighbour(item, older),
        Focus::Typing | Focus::Conversations(_) | Focus::People(_) => match model.viewport {
            Viewport::Live => items.newest(),
            Viewport::Anchored { .. } => model.layout.visible.newest_message(),
        },
    };
    match next {
        Some(item) => pick(model, item),
        None if older => model.show_notice("no message to pick"),
        None => {
            model.focus = Focus::Typing;
            scroll_to_latest(model);
        }
    }
}

fn go_to_hit(model: &mut Model, older: bool) -> Vec<UiEffect> {
    let was_at_hit = is_at_hit(model);
    let Some(hits) = &mut model.search_hits else {
        model.show_error("no search hits (Ctrl-F searches)");
        return Vec::new();
    };
    let Some(hit) = hits.advance(older).cloned() else {
        model.show_notice(if older { "no older hit" } else { "no newer hit" });
        return Vec::new();
    };
    let position = hits.position_text();
    if !was_at_hit {
        push_origin(model);
    }
    show_hit(model, &hit, position)
}

/// Opens the conversation of a hit, and goes to it.
fn show_hit(model: &mut Model, hit: &SearchHit, position: String) -> Vec<UiEffect> {
    model.show_notice(position);
    open_conversation(model, &hit.conversation);
    go_to_message(model, hit.id)
}

fn with_search(model: &mut Model, change: impl FnOnce(&mut SearchOverlay, &Session)) {
    if let Some(Overlay::Search(search)) = model.overlays.last_mut() {
        change(search, &model.chat);
    }
}

/// Closes the search and jumps to the selected hit.
fn open_selected_hit(model: &mut Model) -> Vec<UiEffect> {
    let Some(Overlay::Search(search)) = model.overlays.last() else { return Vec::new() };
    let Some(hits) = search.hit_list() else { return Vec::new() };
    model.overlays.pop();
    let hit = hits.current().cloned();
    let position = format!("{} (Ctrl-G: older, Alt-G: newer)", hits.position_text());
    model.search_hits = Some(hits);
    push_origin(model);
    hit.map(|hit| show_hit(model, &hit, position)).unwrap_or_default()
}
