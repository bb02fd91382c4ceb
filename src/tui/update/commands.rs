//! Carries out the commands of the key bindings.

use chrono::{DateTime, FixedOffset, TimeDelta};

use super::completion::complete;
use super::jump::{jump_back, pick, scroll_to_latest};
use super::messages;
use super::palette::{self, open_palette};
use super::rooms::{browse_rooms, choose_room};
use super::search::{go_to_hit, is_at_hit, open_search, open_selected_hit};
use super::send::{confirm, send, send_paste};
use super::sidebar::{
    drop_filter, drop_ticks, focus_conversations, focus_people, move_focus, open_conversation,
    open_focused, open_neighbour, open_next_unread, toggle_focused_person,
};
use crate::client::state::Session;
use crate::protocol::message::Audience;
use crate::tui::command::UiCommand;
use crate::tui::conversation::{Items, duration};
use crate::tui::event::UiEffect;
use crate::tui::layout::ScreenLayout;
use crate::tui::model::{Focus, Model};
use crate::tui::overlay::Overlay;
use crate::tui::overlay::search::SearchOverlay;

/// Within this time, a second Ctrl-C or Ctrl-Q quits.
const QUIT_WINDOW: TimeDelta = TimeDelta::seconds(2);

/// Carries out a command.
pub(super) fn execute(
    model: &mut Model,
    layout: &ScreenLayout,
    now: DateTime<FixedOffset>,
    command: UiCommand,
) -> Vec<UiEffect> {
    match command {
        UiCommand::Send => return send(model, now),
        UiCommand::NewLine => drop(model.composer.input.insert("\n")),
        UiCommand::Complete => complete(model, now),
        UiCommand::Help => model.open_help(),
        UiCommand::GoTo => open_palette(model),
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
        UiCommand::PageUp => scroll(model, page_rows(layout)),
        UiCommand::PageDown => scroll(model, -page_rows(layout)),
        UiCommand::ScrollToOldest => scroll_to_oldest(model),
        UiCommand::ScrollToLatest => scroll_to_latest(model),
        UiCommand::CycleLayout => cycle_layout(model),
        UiCommand::ToggleMouse => return toggle_mouse(model),
        UiCommand::Redraw => return vec![UiEffect::Redraw],
        UiCommand::Quit => return quit(model, now),
        UiCommand::ClearOrQuit => return clear_or_quit(model, now),
        UiCommand::Back => return step_back(model),
        UiCommand::Confirm => return confirm(model, now),
        UiCommand::SendPaste => return send_paste(model, now),
        UiCommand::PickMessage | UiCommand::PreviousMessage => {
            pick_neighbour(model, layout, now, true);
        }
        UiCommand::NextMessage => pick_neighbour(model, layout, now, false),
        UiCommand::ReplyLatest => messages::reply_picked_or_latest(model),
        UiCommand::OpenMenu => messages::open_menu(model),
        UiCommand::Message(command) => return messages::act_on_picked(model, command),
        UiCommand::JumpBack => return jump_back(model),
        UiCommand::RowUp | UiCommand::HitUp => move_row(model, -1),
        UiCommand::RowDown | UiCommand::HitDown => move_row(model, 1),
        UiCommand::ChooseRow => return choose_row(model, layout, now),
        UiCommand::NextHit => return go_to_hit(model, layout, true),
        UiCommand::PreviousHit => return go_to_hit(model, layout, false),
        UiCommand::FocusUp => move_focus(model, -1),
        UiCommand::FocusDown => move_focus(model, 1),
        UiCommand::OpenFocused => open_focused(model),
        UiCommand::TogglePerson => toggle_focused_person(model),
        UiCommand::MatchCase => with_search(model, |search, chat| search.toggle_case(chat, now)),
        UiCommand::SearchScope => {
            with_search(model, |search, chat| search.toggle_scope(chat, now));
        }
        UiCommand::GoToHit => return open_selected_hit(model, layout),
        UiCommand::ScrollUp => scroll(model, 1),
        UiCommand::ScrollDown => scroll(model, -1),
    }
    Vec::new()
}

fn move_row(model: &mut Model, rows: isize) {
    if let Some(list) = model.overlays.top_mut().and_then(Overlay::list_mut) {
        list.move_by(rows);
    }
}

/// Carries out the selected row of the top overlay.
pub(super) fn choose_row(
    model: &mut Model,
    layout: &ScreenLayout,
    now: DateTime<FixedOffset>,
) -> Vec<UiEffect> {
    match model.overlays.top() {
        Some(Overlay::Palette(_)) => {
            let command = palette::choose(model);
            command.map(|command| execute(model, layout, now, command)).unwrap_or_default()
        }
        Some(Overlay::Search(_)) => open_selected_hit(model, layout),
        Some(Overlay::Rooms(_)) => choose_room(model),
        Some(_) | None => messages::choose_row(model, layout),
    }
}

/// Scrolls the top overlay, or else the conversation; positive is up.
pub(super) fn scroll(model: &mut Model, rows: i64) {
    if let Some(overlay) = model.overlays.top_mut() {
        overlay.scroll_by(isize::try_from(-rows).unwrap_or_default());
    } else {
        model.viewport.scroll_by(rows);
        model.chat.retry_history();
    }
}

/// Scrolls to the oldest loaded message.
pub(super) fn scroll_to_oldest(model: &mut Model) {
    model.viewport.go_to_oldest();
    model.chat.retry_history();
}

fn page_rows(layout: &ScreenLayout) -> i64 {
    let area = layout.overlay.as_ref().map_or(layout.conversation, |overlay| overlay.area);
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

fn cycle_layout(model: &mut Model) {
    model.layout = model.layout.next();
    model.drawing_generation += 1;
    model.show_notice(format!("layout: {}", model.layout.label()));
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

/// Quits. With text in the input, only if pressed twice.
fn quit(model: &mut Model, now: DateTime<FixedOffset>) -> Vec<UiEffect> {
    if model.composer.is_empty() || model.quit_armed.is_some_and(|until| now < until) {
        return vec![UiEffect::Quit];
    }
    model.quit_armed = Some(now + QUIT_WINDOW);
    model.show_notice("the draft is not sent: press Ctrl-Q again to quit and keep it");
    Vec::new()
}

/// Closes the top overlay, or else clears the input, or else quits when pressed twice.
fn clear_or_quit(model: &mut Model, now: DateTime<FixedOffset>) -> Vec<UiEffect> {
    if model.overlays.close_top().is_some() {
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

/// Closes the top overlay, or else drops the selection, the filter of the people, the picked message, the completion,
/// the edit or the reply, or else returns from the ticked people, or else scrolls to the newest message.
fn step_back(model: &mut Model) -> Vec<UiEffect> {
    if model.overlays.close_top().is_some()
        || model.selection.take().is_some()
        || drop_filter(model)
    {
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

fn pick_neighbour(
    model: &mut Model,
    layout: &ScreenLayout,
    now: DateTime<FixedOffset>,
    older: bool,
) {
    let items = Items { chat: &model.chat, zone: *now.offset() };
    let next = match &model.focus {
        Focus::Picked(item) => items.neighbour(item, older),
        _ if model.viewport.is_live() => items.newest(),
        _ => layout.visible.newest_message(),
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

fn with_search(model: &mut Model, change: impl FnOnce(&mut SearchOverlay, &Session)) {
    if let Some(Overlay::Search(search)) = model.overlays.top_mut() {
        change(search, &model.chat);
    }
}
