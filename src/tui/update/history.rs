//! When to ask for parts of the history, and what to do when they come.

use super::act::pick;
use crate::client::state::history::Part;
use crate::tui::conversation::Cache;
use crate::tui::model::{Effect, Focus, Key, Model, Scroll};

/// What has to be asked for now.
fn wanted(model: &Model) -> Option<Part> {
    let room = &model.room;
    if !room.is_online() {
        None
    } else if model.returning && !room.is_present() {
        Some(Part::Recent)
    } else if let Some(id) = model.looking {
        Some(Part::Around(id))
    } else if room.lacks_history() {
        Some(Part::Recent)
    } else if model.areas.conversation.near_top && room.has_earlier() {
        Some(Part::Earlier)
    } else {
        None
    }
}

/// Whether something could be asked for at once.
pub(in crate::tui) fn wants_history(model: &Model) -> bool {
    !model.room.is_asking() && wanted(model).is_some()
}

/// Asks for what is wanted, one part at a time.
pub(super) fn ask(model: &mut Model) -> Option<Effect> {
    let part = wanted(model)?;
    let (cid, request) = model.room.ask(part)?;
    if model.returning && part == Part::Recent {
        anew(model);
    }
    Some(Effect::Send(Some(cid), request))
}

/// A part has come.
pub(super) fn arrived(model: &mut Model, part: Part) {
    // What was seen last says nothing of the top that is there now.
    model.areas.conversation.near_top = false;
    let Part::Around(id) = part else { return };
    if model.looking.take_if(|looking| *looking == id).is_none() {
        return;
    }
    let key = Key::Message(id);
    if model.has(&key) {
        pick(model, key);
    } else {
        model.complain(format!("message {id} is gone"));
    }
}

/// Nothing that was drawn is there any more.
pub(super) fn anew(model: &mut Model) {
    model.cache = Cache::default();
    model.scroll = Scroll::Bottom;
    model.returning = false;
    model.areas.conversation.near_top = false;
    if let Focus::Picked(Key::Message(_) | Key::Edge(_) | Key::Other(_)) = model.focus {
        model.focus = Focus::Typing;
    }
}
