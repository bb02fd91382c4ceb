//! Loading pages of the history on demand.

use super::commands::pick;
use crate::client::state::history::HistoryRequest;
use crate::tui::conversation::BlockCache;
use crate::tui::model::{Focus, ItemId, Model, UiEffect, Viewport};

/// The page that the screen needs next, if any.
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

/// Whether a request for a page can be sent now.
pub(in crate::tui) fn can_request_history(model: &Model) -> bool {
    !model.chat.is_loading_history() && next_request(model).is_some()
}

/// Requests the page that the screen needs. One request is pending at a time.
pub(super) fn request_next(model: &mut Model) -> Option<UiEffect> {
    let page = next_request(model)?;
    let (cid, request) = model.chat.request_history(page)?;
    if model.returning_to_live && page == HistoryRequest::Recent {
        reset_view(model);
    }
    Some(UiEffect::Send(Some(cid), request))
}

/// Handles the arrival of a page: picks the message that it was loaded for.
pub(super) fn on_page(model: &mut Model, request: HistoryRequest) {
    // The last layout is from before the page; the next one tells whether the top is near again.
    model.layout.visible.near_top = false;
    let HistoryRequest::Around(id) = request else { return };
    if model.pending_jump.take_if(|jump| *jump == id).is_none() {
        return;
    }
    let item = ItemId::Message(id);
    if model.has_message(&item) {
        pick(model, item);
    } else {
        model.show_error(format!("message {id} was removed or has expired"));
    }
}

/// Handles an error in place of a page: the message that it was wanted for is not shown.
pub(super) fn on_refused(model: &mut Model, request: HistoryRequest) {
    if let HistoryRequest::Around(id) = request {
        model.pending_jump.take_if(|jump| *jump == id);
    }
}

/// Resets scrolling, cache and focus, after the timeline was replaced.
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
