//! Loading pages of the history on demand, and what counts as displayed.

use crate::client::state::history::HistoryRequest;
use crate::tui::event::UiEffect;
use crate::tui::item::ItemId;
use crate::tui::layout::ScreenLayout;
use crate::tui::model::{Focus, Model};
use crate::tui::viewport::{BottomEdge, Viewport};

/// Requests the latest messages of the open conversation, if none were loaded yet. One request is pending at a
/// time.
pub(super) fn request_recent(model: &mut Model) -> Option<UiEffect> {
    let open = model.chat.opened();
    let is_wanted = open.needs_recent() && open.shows_latest();
    is_wanted.then(|| request(model, HistoryRequest::Recent)).flatten()
}

fn request(model: &mut Model, page: HistoryRequest) -> Option<UiEffect> {
    let open = model.chat.open_audience().clone();
    let (cid, request) = model.chat.request_history(&open, page)?;
    Some(UiEffect::Send(Some(cid), request))
}

/// Takes over where a frame was laid out, marks as read what it shows, and requests the page that adjoins it.
pub(super) fn on_displayed(model: &mut Model, layout: &ScreenLayout) -> Option<UiEffect> {
    let visible = &layout.visible;
    let is_latest = visible.edge == BottomEdge::Latest && model.chat.opened().shows_latest();
    model.viewport.settle(visible.edge, is_latest);
    if let Some(sidebar) = &layout.sidebar {
        model.sidebar_scroll.conversations.top = sidebar.conversations.above;
        model.sidebar_scroll.people.top = sidebar.people.above;
    }
    if let Some((overlay, layout)) = model.overlays.top_mut().zip(layout.overlay.as_ref()) {
        overlay.settle(layout);
    }
    if model.is_focused && !model.viewport.is_opening() {
        if is_latest {
            model.read_position = model.chat.read_position().or_else(|| model.read_position.take());
        }
        mark_displayed(model, layout);
    }
    let open = model.chat.opened();
    if visible.near_top && open.has_earlier() {
        request(model, HistoryRequest::Earlier)
    } else if visible.near_bottom && open.has_later() {
        request(model, HistoryRequest::Later)
    } else {
        None
    }
}

/// Moves the read marker to the last message that is displayed.
fn mark_displayed(model: &mut Model, layout: &ScreenLayout) {
    let timeline = model.chat.opened().timeline();
    let newest = layout.visible.newest_stored().and_then(|id| timeline.message(id));
    if let Some(seq) = newest.map(|entry| entry.message.seq) {
        let open = model.chat.open_audience().clone();
        model.chat.mark_displayed(&open, seq);
    }
}

/// Scrolls to the first unread message of a conversation that was just opened, once its messages and its
/// marker are known.
pub(super) fn show_first_unread(model: &mut Model) {
    let open = model.chat.opened();
    if !model.viewport.is_opening() || open.needs_recent() || open.is_loading() {
        return;
    }
    let first = open.first_unread();
    // Before the first login nothing is known.
    let is_offline = !model.chat.is_online() && model.chat.own_id().is_some();
    if first.is_some() || model.chat.is_listed() || is_offline {
        model.viewport.on_first_unread_known(first.map(ItemId::Message));
    }
}

/// Resets what belongs to the shown timeline, after it was replaced or another conversation was opened.
pub(super) fn reset_view(model: &mut Model) {
    model.drawing_generation += 1;
    model.viewport = Viewport::default();
    if let Focus::Picked(ItemId::Message(_) | ItemId::Boundary(_) | ItemId::Other(_)) = model.focus
    {
        model.focus = Focus::Typing;
    }
}
