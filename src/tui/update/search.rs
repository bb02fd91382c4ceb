//! The server's part of a search: when it is asked, what becomes of its answers, when it may stop.

use chrono::{DateTime, FixedOffset};

use crate::protocol::event::{Found, Refused, SearchEnd};
use crate::protocol::query::Find;
use crate::protocol::request::Request;
use crate::tui::model::{Effect, Model};
use crate::tui::overlay::Overlay;
use crate::tui::overlay::search::SearchBox;

fn open(overlays: &mut [Overlay]) -> Option<&mut SearchBox> {
    overlays.iter_mut().find_map(|overlay| match overlay {
        Overlay::Search(search) => Some(search.as_mut()),
        Overlay::Help { .. } | Overlay::Delete(_) => None,
    })
}

/// Asks what is due, and ends on the server what nobody looks at any more.
pub(super) fn follow(model: &mut Model, now: DateTime<FixedOffset>) -> Option<Effect> {
    let Some(search) = open(&mut model.overlays) else { return cancel(model) };
    search.expire(model.room.server_time(now));
    if !model.room.is_online() {
        if model.finding.take().is_some() {
            search.ask_again(now);
        }
        return None;
    }
    search.due().filter(|due| *due <= now)?;
    let cid = model.room.next_cid()?;
    match search.ask(cid.clone()) {
        Some(find) => {
            model.finding = Some(cid.clone());
            Some(Effect::Send(Some(cid), Request::Find(find)))
        }
        None => cancel(model),
    }
}

/// A new search ends the one before by itself; without one the server has to be told.
fn cancel(model: &mut Model) -> Option<Effect> {
    model.finding.take()?;
    Some(Effect::Send(None, Request::Find(Find::default())))
}

/// The server has found something.
pub(super) fn found(model: &mut Model, found: Found) {
    if found.end != SearchEnd::Searching && model.finding == found.cid {
        model.finding = None;
    }
    if let Some(search) = open(&mut model.overlays)
        && search.asked(found.cid.as_ref())
    {
        search.found_there(found, model.room.timeline());
    }
}

/// The server has refused something.
pub(super) fn refused(model: &mut Model, refused: Refused) {
    match open(&mut model.overlays) {
        Some(search) if search.asked(refused.cid.as_ref()) => {
            model.finding = None;
            search.refused(refused.text);
        }
        Some(_) | None => model.complain(refused.text.one_line()),
    }
}
