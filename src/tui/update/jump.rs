//! Jumps to messages, loaded or not, and back.

use super::history::reset_view;
use super::sidebar::open_conversation;
use crate::client::state::history::HistoryRequest;
use crate::protocol::id::MessageId;
use crate::tui::event::UiEffect;
use crate::tui::item::ItemId;
use crate::tui::layout::ScreenLayout;
use crate::tui::model::{Focus, JumpOrigin, Model};
use crate::tui::viewport::Viewport;

/// Jumps that can be gone back from, one after the other.
const MAX_JUMP_ORIGINS: usize = 20;

/// Picks a message and makes it visible. Does nothing if the message does not exist any more.
pub(super) fn pick(model: &mut Model, item: ItemId) {
    if !model.has_message(&item) {
        return;
    }
    model.viewport.reveal(item.clone());
    model.focus = Focus::Picked(item);
}

/// Jumps to a message of the open conversation. [`jump_back`] returns.
pub(super) fn jump_to(model: &mut Model, layout: &ScreenLayout, id: MessageId) -> Vec<UiEffect> {
    push_origin(model, layout);
    go_to_message(model, id)
}

/// Remembers what is visible before a jump.
pub(super) fn push_origin(model: &mut Model, layout: &ScreenLayout) {
    let shows_latest = model.chat.opened().shows_latest();
    let picked = model.picked().cloned().or_else(|| layout.visible.newest_message());
    let message = match picked {
        Some(ItemId::Message(id)) => Some(id),
        Some(ItemId::Pending(_) | ItemId::Boundary(_) | ItemId::Other(_)) | None => None,
    };
    model.jump_origins.push(JumpOrigin {
        conversation: model.chat.open_audience().clone(),
        edge: shows_latest.then(|| model.viewport.edge()),
        message,
    });
    let over = model.jump_origins.len().saturating_sub(MAX_JUMP_ORIGINS);
    model.jump_origins.drain(..over);
}

/// Returns to where the last jump started.
pub(super) fn jump_back(model: &mut Model) -> Vec<UiEffect> {
    let Some(origin) = model.jump_origins.pop() else {
        model.show_notice("no jump to go back from");
        return Vec::new();
    };
    model.focus = Focus::Typing;
    open_conversation(model, &origin.conversation);
    match (origin.edge, origin.message) {
        (Some(edge), _) => {
            show_latest_timeline(model);
            model.viewport = Viewport::at(edge);
            Vec::new()
        }
        (None, Some(id)) => go_to_message(model, id),
        (None, None) => Vec::new(),
    }
}

/// Shows the timeline up to the latest message in place of an excerpt.
fn show_latest_timeline(model: &mut Model) {
    let open = model.chat.open_audience().clone();
    if model.chat.return_to_latest(&open).is_some() {
        reset_view(model);
    }
}

/// Scrolls to the newest message.
pub(super) fn scroll_to_latest(model: &mut Model) {
    show_latest_timeline(model);
    model.viewport.go_to_latest();
    model.jump_origins.clear();
}

/// Picks a message of the open conversation and makes it visible. Loads the history around it first if
/// necessary.
pub(super) fn go_to_message(model: &mut Model, id: MessageId) -> Vec<UiEffect> {
    if model.chat.opened().live_timeline().message(id).is_some() {
        show_latest_timeline(model);
    }
    if model.chat.opened().timeline().message(id).is_some() {
        pick(model, ItemId::Message(id));
        return Vec::new();
    }
    let open = model.chat.open_audience().clone();
    let request = model.chat.request_history(&open, HistoryRequest::Around(id));
    if request.is_none() {
        model.jump_origins.pop();
        model.show_error(format!("not connected: message {id} cannot be loaded now"));
    }
    request.into_iter().map(|(cid, request)| UiEffect::Send(Some(cid), request)).collect()
}

/// Handles a jump whose message cannot be loaded: the view has not moved.
pub(super) fn on_jump_failed(model: &mut Model, reason: String) {
    model.jump_origins.pop();
    model.show_error(reason);
}

/// Handles the arrival of the history around a message: picks the message.
pub(super) fn on_loaded_around(model: &mut Model, id: MessageId) {
    let item = ItemId::Message(id);
    if !model.has_message(&item) {
        on_jump_failed(model, format!("message {id} was removed or has expired"));
    } else if model.focus == Focus::Typing && !model.composer.is_empty() {
        // What is being typed keeps the keys.
        model.viewport.reveal(item);
    } else {
        pick(model, item);
    }
}
