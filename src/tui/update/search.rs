//! Sends searches to the server, handles the results, and cancels a search that is closed.

use chrono::{DateTime, FixedOffset};

use crate::protocol::event::{HistoryPage, SearchEnd, SearchResults};
use crate::protocol::id::Cid;
use crate::protocol::message::Audience;
use crate::protocol::query::SearchQuery;
use crate::protocol::request::Request;
use crate::protocol::text::SafeText;
use crate::tui::event::UiEffect;
use crate::tui::model::Model;
use crate::tui::overlay::Overlay;
use crate::tui::overlay::search::SearchOverlay;

fn search_overlay(overlays: &mut [Overlay]) -> Option<&mut SearchOverlay> {
    overlays.iter_mut().find_map(|overlay| match overlay {
        Overlay::Search(search) => Some(search.as_mut()),
        _ => None,
    })
}

/// Sends the request of the open search when it is due. Cancels the search on the server if it was closed.
pub(super) fn sync_server_search(
    model: &mut Model,
    now: DateTime<FixedOffset>,
) -> Option<UiEffect> {
    let Some(search) = search_overlay(&mut model.overlays) else {
        return cancel_server_search(model);
    };
    search.expire(model.chat.server_time(now));
    if !model.chat.is_online() {
        return None;
    }
    let is_due = search.is_due(now);
    let Some(query) = search.take_query(now) else {
        return is_due.then(|| cancel_server_search(model)).flatten();
    };
    let (cid, request) = model.chat.search(query)?;
    search.set_request(cid.clone());
    model.server_search = Some(cid.clone());
    Some(UiEffect::Send(Some(cid), request))
}

/// Requests the messages around the selected hit, once the selection rests.
pub(super) fn request_context(model: &mut Model, now: DateTime<FixedOffset>) -> Option<UiEffect> {
    let search = search_overlay(&mut model.overlays)?;
    let (cid, request) = search.take_context_request(&mut model.chat, now)?;
    Some(UiEffect::Send(Some(cid), request))
}

/// Handles messages around a hit. Returns whether they were requested for the search.
pub(super) fn on_context(model: &mut Model, page: &HistoryPage) -> bool {
    search_overlay(&mut model.overlays).is_some_and(|search| search.on_context(page))
}

/// Drops what the search shows of a conversation that the user has left.
pub(super) fn forget_conversation(model: &mut Model, conversation: &Audience) {
    if let Some(search) = search_overlay(&mut model.overlays) {
        search.forget_conversation(conversation);
    }
}

/// Cancels the running search on the server with an empty query. Not needed before another search, which
/// replaces it.
fn cancel_server_search(model: &mut Model) -> Option<UiEffect> {
    model.server_search.take()?;
    Some(UiEffect::Send(None, Request::SearchHistory(SearchQuery::default())))
}

/// Handles search results.
pub(super) fn on_results(model: &mut Model, results: SearchResults) {
    if results.end != SearchEnd::Searching && model.server_search == results.cid {
        model.server_search = None;
    }
    if let Some(search) = search_overlay(&mut model.overlays)
        && search.is_current_request(results.cid.as_ref())
    {
        search.on_results(results, &model.chat);
    }
}

/// Handles a refused request: in the search overlay if it is the search, else in the status line.
pub(super) fn on_refused(model: &mut Model, cid: &Cid, reason: SafeText) {
    model.server_search.take_if(|search| *search == *cid);
    for overlay in &mut model.overlays {
        if let Overlay::Thread(thread) = overlay
            && thread.is_current_request(Some(cid))
        {
            thread.on_refused();
        }
    }
    match search_overlay(&mut model.overlays) {
        // Without a connection, the search is sent again after the next login.
        Some(search) if search.is_current_request(Some(cid)) && model.chat.is_online() => {
            search.on_error(reason);
        }
        Some(search) if search.is_current_request(Some(cid)) => search.mark_lost(),
        Some(_) | None if model.chat.is_online() => model.show_error(reason.one_line()),
        Some(_) | None => {}
    }
}
