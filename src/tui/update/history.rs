//! Loading pages of the history on demand.

use super::messages::{on_jump_failed, pick};
use crate::client::state::history::HistoryRequest;
use crate::tui::conversation::BlockCache;
use crate::tui::event::UiEffect;
use crate::tui::item::ItemId;
use crate::tui::model::{Focus, Model};
use crate::tui::viewport::Viewport;

/// The page that the screen needs next, if any.
fn next_request(model: &Model) -> Option<HistoryRequest> {
    let open = model.chat.opened();
    if !model.chat.can_request() || open.is_loading() {
        None
    } else if open.needs_recent() && open.shows_latest() {
        Some(HistoryRequest::Recent)
    } else if model.layout.visible.near_top && open.has_earlier() {
        Some(HistoryRequest::Earlier)
    } else {
        None
    }
}

/// Whether a request for a page can be sent now.
pub(in crate::tui) fn can_request_history(model: &Model) -> bool {
    next_request(model).is_some()
}

/// Requests the page that the screen needs. One request is pending at a time.
pub(super) fn request_next(model: &mut Model) -> Option<UiEffect> {
    let page = next_request(model)?;
    let open = model.chat.open_audience().clone();
    let (cid, request) = model.chat.request_history(&open, page)?;
    Some(UiEffect::Send(Some(cid), request))
}

/// Handles the arrival of a page: picks the message that it was loaded for.
pub(super) fn on_page(model: &mut Model, request: HistoryRequest) {
    // The last layout is from before the page; the next one tells whether the top is near again.
    model.layout.visible.near_top = false;
    let HistoryRequest::Around(id) = request else { return };
    let item = ItemId::Message(id);
    if !model.has_message(&item) {
        on_jump_failed(model, format!("message {id} was removed or has expired"));
    } else if model.focus == Focus::Typing && !model.composer.is_empty() {
        // What is being typed keeps the keys.
        model.scroll_into_view = Some(item);
    } else {
        pick(model, item);
    }
}

/// Resets scrolling, cache and focus, after the timeline was replaced or another conversation was opened.
pub(super) fn reset_view(model: &mut Model) {
    model.block_cache = BlockCache::default();
    model.viewport = Viewport::Live;
    model.unread_below = 0;
    model.layout.visible.near_top = false;
    model.scroll_into_view = None;
    if let Focus::Picked(ItemId::Message(_) | ItemId::Boundary(_) | ItemId::Other(_)) = model.focus
    {
        model.focus = Focus::Typing;
    }
}
