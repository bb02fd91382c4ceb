//! When to ask for parts of the history, and what to do when they come.

use super::commands::pick;
use crate::client::state::history::HistoryRequest;
use crate::tui::conversation::BlockCache;
use crate::tui::model::{Focus, ItemId, Model, UiEffect, Viewport};

/// What has to be asked for now.
fn next_request(model: &Model) -> Option<HistoryRequest> {
    let chat = &model.chat;
    if !chat.is_online() {
        None
    } else if model.returning_to_live && !chat.shows_latest() {
        Some(HistoryRequest::Recent)
    } else if let Some(id) = model.pending_jump {
        Some(HistoryRequest::Around(id))
    } else if chat.needs_recent_history() {
        Some(HistoryRequest::Recent)
    } else if model.layout.visible.near_top && chat.has_earlier() {
        Some(HistoryRequest::Earlier)
    } else {
        None
    }
}

/// Whether something could be asked for at once.
pub(in crate::tui) fn can_request_history(model: &Model) -> bool {
    !model.chat.is_loading_history() && next_request(model).is_some()
}

/// Asks for what is wanted, one part at a time.
pub(super) fn request_next(model: &mut Model) -> Option<UiEffect> {
    let part = next_request(model)?;
    let (cid, request) = model.chat.request_history(part)?;
    if model.returning_to_live && part == HistoryRequest::Recent {
        reset_view(model);
    }
    Some(UiEffect::Send(Some(cid), request))
}

/// A part has come.
pub(super) fn on_page(model: &mut Model, part: HistoryRequest) {
    // What was seen last says nothing of the top that is there now.
    model.layout.visible.near_top = false;
    let HistoryRequest::Around(id) = part else { return };
    if model.pending_jump.take_if(|looking| *looking == id).is_none() {
        return;
    }
    let key = ItemId::Message(id);
    if model.has_message(&key) {
        pick(model, key);
    } else {
        model.show_error(format!("message {id} is gone"));
    }
}

/// Nothing that was drawn is there any more.
pub(super) fn reset_view(model: &mut Model) {
    model.block_cache = BlockCache::default();
    model.viewport = Viewport::Live;
    model.returning_to_live = false;
    model.layout.visible.near_top = false;
    if let Focus::Picked(ItemId::Message(_) | ItemId::Boundary(_) | ItemId::Other(_)) = model.focus
    {
        model.focus = Focus::Typing;
    }
}
