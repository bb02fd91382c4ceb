//! The list of public rooms, and joining or creating the chosen one.

use super::sidebar::open_conversation;
use crate::client::state::PendingChange;
use crate::protocol::id::{Cid, RoomName};
use crate::protocol::message::Audience;
use crate::protocol::request::Request;
use crate::protocol::room::{RoomAction, RoomList};
use crate::protocol::text::SafeText;
use crate::tui::event::UiEffect;
use crate::tui::model::Model;
use crate::tui::overlay::rooms::{RoomChoice, RoomsOverlay};
use crate::tui::overlay::{Overlay, Overlays};

fn rooms_overlay(overlays: &mut Overlays) -> Option<&mut RoomsOverlay> {
    overlays.iter_mut().find_map(|overlay| match overlay {
        Overlay::Rooms(rooms) => Some(rooms.as_mut()),
        _ => None,
    })
}

/// Opens the list of public rooms.
pub(super) fn browse_rooms(model: &mut Model) {
    model.overlays.open(Overlay::Rooms(Box::default()));
}

/// Requests the next page of the open list.
pub(super) fn request_page(model: &mut Model) -> Option<UiEffect> {
    let rooms = rooms_overlay(&mut model.overlays)?;
    let (cid, request) = rooms.request_page(&mut model.chat)?;
    Some(UiEffect::Send(Some(cid), request))
}

/// Handles a page of the list.
pub(super) fn on_page(model: &mut Model, page: RoomList) {
    if let Some(rooms) = rooms_overlay(&mut model.overlays) {
        rooms.on_page(page);
    }
}

/// Handles a refused request. Returns whether it was for the list.
pub(super) fn on_refused(model: &mut Model, cid: &Cid, reason: &SafeText) -> bool {
    rooms_overlay(&mut model.overlays).is_some_and(|rooms| rooms.on_refused(cid, reason))
}

/// Joins or creates the selected room, and opens it.
pub(super) fn choose_room(model: &mut Model) -> Vec<UiEffect> {
    let Some(Overlay::Rooms(rooms)) = model.overlays.top() else { return Vec::new() };
    let Some(choice) = rooms.choice() else { return Vec::new() };
    model.overlays.close_top();
    match choice {
        RoomChoice::Open(room) => enter(model, room, RoomAction::Join),
        RoomChoice::Create(room) => {
            enter(model, room, RoomAction::Create { private: false, topic: SafeText::default() })
        }
    }
}

/// Opens a room. If the user is not a member, `action` makes the user one, and the room is opened then.
fn enter(model: &mut Model, room: RoomName, action: RoomAction) -> Vec<UiEffect> {
    let is_member = model.chat.conversation(&Audience::Room(room.clone())).is_some();
    let request = Request::Room { room: room.clone(), action };
    let change = if is_member { None } else { model.chat.change(request) };
    open_when_member(model, room);
    change.into_iter().map(|(cid, request)| UiEffect::Send(Some(cid), request)).collect()
}

/// Opens a room that the user asked to enter, now or when the server confirms it.
pub(super) fn open_when_member(model: &mut Model, room: RoomName) {
    let audience = Audience::Room(room.clone());
    if model.chat.conversation(&audience).is_some() {
        open_conversation(model, &audience);
        return;
    }
    if !model.chat.is_online() {
        model.show_notice(format!("not connected: {room} will be entered after reconnecting"));
    }
    model.joining = Some(room);
}

/// Opens the room that the user wanted to enter, once it is there, unless the user is writing elsewhere.
pub(super) fn on_conversation_changed(model: &mut Model, audience: &Audience) {
    let Some(room) = audience.room().filter(|room| model.joining.as_ref() == Some(room)) else {
        return;
    };
    model.joining = None;
    if model.composer.is_empty() {
        open_conversation(model, audience);
    } else {
        model.show_notice(format!("you are in {room} now (F3)"));
    }
}

/// Handles a change that was refused: a room that could not be entered is not waited for.
pub(super) fn on_change_failed(model: &mut Model, change: &PendingChange) {
    if let Request::Room { room, .. } = &change.request {
        model.joining.take_if(|joining| joining == room);
    }
}
