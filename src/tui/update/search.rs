//! The search: sends it to the server, handles the results, cancels it when it is closed, and goes to its hits.

use chrono::{DateTime, FixedOffset};

use super::jump::{go_to_message, push_origin};
use super::sidebar::open_conversation;
use crate::client::state::search::SearchHit;
use crate::protocol::event::{HistoryPage, SearchEnd, SearchResults};
use crate::protocol::id::Cid;
use crate::protocol::message::Audience;
use crate::protocol::query::SearchQuery;
use crate::protocol::request::Request;
use crate::protocol::text::SafeText;
use crate::tui::event::UiEffect;
use crate::tui::item::ItemId;
use crate::tui::layout::ScreenLayout;
use crate::tui::model::Model;
use crate::tui::overlay::search::{SearchHitList, SearchOverlay};
use crate::tui::overlay::{Overlay, Overlays};

fn search_overlay(overlays: &mut Overlays) -> Option<&mut SearchOverlay> {
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
    for overlay in model.overlays.iter_mut() {
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

/// Opens the search with `typed` in its input: in the open conversation, or in all.
pub(super) fn open_search(
    model: &mut Model,
    now: DateTime<FixedOffset>,
    typed: &str,
    is_wide: bool,
) {
    let search = SearchOverlay::new(typed, is_wide, &model.chat, now);
    model.overlays.open(Overlay::Search(Box::new(search)));
}

/// Whether the picked message is the search hit that was jumped to last.
pub(super) fn is_at_hit(model: &Model) -> bool {
    let hit = model.search_hits.as_ref().and_then(SearchHitList::current);
    hit.is_some_and(|hit| model.picked() == Some(&ItemId::Message(hit.id)))
}

/// Goes to the next older or newer hit of the last search.
pub(super) fn go_to_hit(model: &mut Model, layout: &ScreenLayout, older: bool) -> Vec<UiEffect> {
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
        push_origin(model, layout);
    }
    show_hit(model, &hit, position)
}

/// Opens the conversation of a hit, and goes to it.
fn show_hit(model: &mut Model, hit: &SearchHit, position: String) -> Vec<UiEffect> {
    model.show_notice(position);
    open_conversation(model, &hit.conversation);
    go_to_message(model, hit.id)
}

/// Closes the search and jumps to the selected hit.
pub(super) fn open_selected_hit(model: &mut Model, layout: &ScreenLayout) -> Vec<UiEffect> {
    let Some(Overlay::Search(search)) = model.overlays.top() else { return Vec::new() };
    let Some(hits) = search.hit_list() else { return Vec::new() };
    model.overlays.close_top();
    let hit = hits.current().cloned();
    let position = format!("{} (Ctrl-G: older, Alt-G: newer)", hits.position_text());
    model.search_hits = Some(hits);
    push_origin(model, layout);
    hit.map(|hit| show_hit(model, &hit, position)).unwrap_or_default()
}
