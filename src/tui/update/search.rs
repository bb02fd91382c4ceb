//! Sends searches to the server, handles the results, and cancels a search that is closed.

use chrono::{DateTime, FixedOffset};

use crate::protocol::event::{ErrorReply, SearchEnd, SearchResults};
use crate::protocol::query::SearchQuery;
use crate::protocol::request::Request;
use crate::tui::model::{Model, UiEffect};
use crate::tui::overlay::Overlay;
use crate::tui::overlay::search::SearchOverlay;

fn search_overlay(overlays: &mut [Overlay]) -> Option<&mut SearchOverlay> {
    overlays.iter_mut().find_map(|overlay| match overlay {
        Overlay::Search(search) => Some(search.as_mut()),
        Overlay::Help { .. } | Overlay::ConfirmDelete(_) => None,
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
        if model.server_search.take().is_some() {
            search.retry_request(now);
        }
        return None;
    }
    search.request_due().filter(|due| *due <= now)?;
    let cid = model.chat.next_cid()?;
    match search.take_request(cid.clone()) {
        Some(query) => {
            model.server_search = Some(cid.clone());
            Some(UiEffect::Send(Some(cid), Request::SearchHistory(query)))
        }
        None => cancel_server_search(model),
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
        search.on_results(results, model.chat.timeline());
    }
}

/// Handles an error: in the search overlay if it answers the search, else in the status line.
pub(super) fn on_error(model: &mut Model, error: ErrorReply) {
    match search_overlay(&mut model.overlays) {
        Some(search) if search.is_current_request(error.cid.as_ref()) => {
            model.server_search = None;
            search.on_error(error.text);
        }
        Some(_) | None => model.show_error(error.text.one_line()),
    }
}
