//! What each thing that happens does to the screen: dispatch alone; the doing is in the files beside.
//!
//! Pure: no clock, no socket, no terminal.

mod act;
mod history;
mod keys;
mod mouse;
mod search;
mod send;

pub(super) use history::wants_history;
pub(super) use keys::scope;

use chrono::{DateTime, FixedOffset};
use crossterm::event::{Event, KeyEventKind};
use ratatui::layout::Size;

use super::model::{Effect, Focus, Key, Message, Model, Scroll};
use super::overlay::Overlay;
use crate::client;
use crate::client::state::timeline::{Entry, Place};
use crate::client::state::{Change, Link};
use crate::protocol::id::MessageId;
use crate::protocol::text::SafeText;

/// Takes in what happened, and says what is to be done.
pub fn update(model: &mut Model, now: DateTime<FixedOffset>, message: Message) -> Vec<Effect> {
    let mut effects = take_in(model, now, message);
    effects.extend(history::ask(model));
    effects.extend(search::follow(model, now));
    effects
}

fn take_in(model: &mut Model, now: DateTime<FixedOffset>, message: Message) -> Vec<Effect> {
    match message {
        Message::Terminal(Event::Key(key)) if key.kind == KeyEventKind::Release => Vec::new(),
        Message::Terminal(Event::Key(key)) => keys::press(model, now, key),
        Message::Terminal(Event::Mouse(mouse)) => mouse::act(model, now, mouse),
        Message::Terminal(Event::Paste(text)) => paste(model, now, &text),
        Message::Terminal(Event::Resize(width, height)) => {
            model.size = Size { width, height };
            Vec::new()
        }
        Message::Terminal(Event::FocusGained | Event::FocusLost) => Vec::new(),
        Message::Client(event) => from_client(model, now, event),
        Message::NotSent { cid, reason } => {
            if let Some(cid) = cid {
                model.room.fail(&cid, reason.clone());
            }
            model.complain(reason.one_line());
            Vec::new()
        }
        Message::Tick => tick(model, now),
    }
}

/// A paste is text, never a command and never sent by itself, whatever is in it.
fn paste(model: &mut Model, now: DateTime<FixedOffset>, text: &str) -> Vec<Effect> {
    let text = SafeText::clean(text);
    match model.overlays.last_mut() {
        Some(Overlay::Search(search)) => {
            search.input().insert_str(text.one_line());
            search.restart(&model.room, now);
        }
        Some(Overlay::Help { .. } | Overlay::Delete(_)) => {}
        None => {
            model.focus = Focus::Typing;
            model.compose.completion = None;
            model.compose.text.insert_str(text.as_str());
        }
    }
    Vec::new()
}

fn tick(model: &mut Model, now: DateTime<FixedOffset>) -> Vec<Effect> {
    for change in model.room.expire(now) {
        changed(model, change);
    }
    if let Some(Overlay::Search(search)) = model.overlays.last_mut() {
        search.step(model.room.timeline());
    }
    Vec::new()
}

fn from_client(model: &mut Model, now: DateTime<FixedOffset>, event: client::Event) -> Vec<Effect> {
    let left = match &event {
        client::Event::Untrusted { reason } => Some(Effect::Untrusted(reason.clone())),
        // Where there was nothing to see yet, there is nothing to stay for.
        client::Event::Ended { .. } if model.room.you().is_none() => Some(Effect::Quit),
        client::Event::Connecting
        | client::Event::FirstContact(_)
        | client::Event::Connected(_)
        | client::Event::Kept(_)
        | client::Event::Sending(_)
        | client::Event::NotSent { .. }
        | client::Event::Received(_)
        | client::Event::Disconnected { .. }
        | client::Event::Ended { .. } => None,
    };
    for change in model.room.apply(now, event) {
        changed(model, change);
    }
    left.into_iter().collect()
}

fn changed(model: &mut Model, change: Change) {
    match change {
        Change::Said(place) => said(model, place),
        Change::Elsewhere(sender) => model.newer += usize::from(!model.room.is_you(&sender)),
        Change::Page(part) => history::arrived(model, part),
        Change::Gone(id) => gone(model, id),
        Change::Refused(refused) => search::refused(model, refused),
        Change::Found(found) => search::found(model, found),
        Change::Presence { .. } => {}
        Change::Anew => history::anew(model),
        // That nothing could be sent is still true when another attempt has failed.
        Change::Link(_) if matches!(model.room.link(), Link::Offline { .. }) => {
            model.notice.take_if(|notice| !notice.is_error);
        }
        Change::Link(_) => model.notice = None,
    }
}

fn said(model: &mut Model, place: Place) {
    let Some(Entry::Said(said)) = model.room.timeline().get(place) else { return };
    let message = &said.message;
    if !model.room.is_you(&message.sender) {
        model.newer += usize::from(model.scroll != Scroll::Bottom);
    } else if let Some(cid) = &message.cid
        && model.focus == Focus::Picked(Key::Pending(cid.clone()))
    {
        // What was picked while it was on its way stays picked now that it has arrived.
        model.focus = Focus::Picked(Key::Message(message.id));
    }
}

/// What can no longer be read can be neither a hit, nor replied to, nor deleted.
fn gone(model: &mut Model, id: MessageId) {
    model.cache.forget(id);
    model.overlays.retain(|overlay| match overlay {
        Overlay::Delete(asked) => *asked != id,
        Overlay::Help { .. } | Overlay::Search(_) => true,
    });
    for overlay in &mut model.overlays {
        if let Overlay::Search(search) = overlay {
            search.forget(id);
        }
    }
    if let Some(found) = &mut model.found {
        found.forget(id);
    }
    if model.compose.reply == Some(id) {
        model.compose.drop_reply();
        model.complain("the message you were replying to is gone");
    }
}
