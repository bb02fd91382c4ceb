//! The update function: applies an event to the model and returns effects.
//!
//! Pure: no clock, no socket, no terminal. This file dispatches; the submodules handle the events.

mod commands;
mod history;
mod keys;
mod mouse;
mod search;
mod send;

pub(super) use history::can_request_history;
pub(super) use keys::scope;

use chrono::{DateTime, FixedOffset};
use crossterm::event::{Event, KeyEventKind};
use ratatui::layout::Size;

use super::model::{Focus, ItemId, Model, UiEffect, UiEvent, Viewport};
use super::overlay::Overlay;
use crate::client;
use crate::client::state::timeline::{EntryIndex, TimelineEntry};
use crate::client::state::{Change, ConnectionState};
use crate::protocol::id::MessageId;
use crate::protocol::text::SafeText;

/// Applies an event, and returns the effects to carry out.
pub fn update(model: &mut Model, now: DateTime<FixedOffset>, event: UiEvent) -> Vec<UiEffect> {
    let mut effects = apply_event(model, now, event);
    effects.extend(history::request_next(model));
    effects.extend(search::sync_server_search(model, now));
    effects
}

fn apply_event(model: &mut Model, now: DateTime<FixedOffset>, event: UiEvent) -> Vec<UiEffect> {
    match event {
        UiEvent::Terminal(Event::Key(key)) if key.kind == KeyEventKind::Release => Vec::new(),
        UiEvent::Terminal(Event::Key(key)) => keys::on_key(model, now, key),
        UiEvent::Terminal(Event::Mouse(mouse)) => mouse::on_mouse(model, mouse),
        UiEvent::Terminal(Event::Paste(text)) => on_paste(model, now, &text),
        UiEvent::Terminal(Event::Resize(width, height)) => {
            model.size = Size { width, height };
            Vec::new()
        }
        UiEvent::Terminal(Event::FocusGained | Event::FocusLost) => Vec::new(),
        UiEvent::Client(event) => on_client_event(model, now, event),
        UiEvent::SendFailed { cid, reason } => {
            if let Some(cid) = cid {
                model.chat.mark_failed(&cid, reason.clone());
            }
            model.show_error(reason.one_line());
            Vec::new()
        }
        UiEvent::Tick => on_tick(model, now),
    }
}

/// Inserts a paste as text. It never runs a command and never sends, whatever it contains.
fn on_paste(model: &mut Model, now: DateTime<FixedOffset>, text: &str) -> Vec<UiEffect> {
    let text = SafeText::clean(text);
    match model.overlays.last_mut() {
        Some(Overlay::Search(search)) => {
            search.input_mut().insert_str(text.one_line());
            search.restart(&model.chat, now);
        }
        Some(Overlay::Help { .. } | Overlay::ConfirmDelete(_)) => {}
        None => {
            model.focus = Focus::Typing;
            model.composer.completion = None;
            model.composer.input.insert_str(text.as_str());
        }
    }
    Vec::new()
}

fn on_tick(model: &mut Model, now: DateTime<FixedOffset>) -> Vec<UiEffect> {
    for change in model.chat.expire(now) {
        on_change(model, change);
    }
    if let Some(Overlay::Search(search)) = model.overlays.last_mut() {
        search.step(model.chat.timeline());
    }
    Vec::new()
}

fn on_client_event(
    model: &mut Model,
    now: DateTime<FixedOffset>,
    event: client::ClientEvent,
) -> Vec<UiEffect> {
    let quit = match &event {
        client::ClientEvent::Untrusted { reason } => Some(UiEffect::Untrusted(reason.clone())),
        // Before the first login there is no conversation to keep on the screen.
        client::ClientEvent::Ended { .. } if model.chat.own_id().is_none() => Some(UiEffect::Quit),
        client::ClientEvent::Connecting
        | client::ClientEvent::FirstContact(_)
        | client::ClientEvent::Connected(_)
        | client::ClientEvent::Restored(_)
        | client::ClientEvent::Sending(_)
        | client::ClientEvent::NotSent { .. }
        | client::ClientEvent::Received(_)
        | client::ClientEvent::Disconnected { .. }
        | client::ClientEvent::Ended { .. } => None,
    };
    for change in model.chat.apply(now, event) {
        on_change(model, change);
    }
    quit.into_iter().collect()
}

fn on_change(model: &mut Model, change: Change) {
    match change {
        Change::Posted(index) => on_posted(model, index),
        Change::PostedOutOfView(sender) => {
            model.unread_below += usize::from(!model.chat.is_own_id(&sender));
        }
        Change::HistoryLoaded(request) => history::on_page(model, request),
        Change::HistoryRefused(request) => history::on_refused(model, request),
        Change::Removed(id) => on_message_unreadable(model, id),
        Change::Error(error) => search::on_error(model, error),
        Change::SearchResults(results) => search::on_results(model, results),
        Change::Presence { .. } => {}
        Change::Reset => history::reset_view(model),
        // An error, such as a full outbox, stays visible when another attempt to connect fails.
        Change::Connection(_)
            if matches!(model.chat.connection(), ConnectionState::Offline { .. }) =>
        {
            model.notice.take_if(|notice| !notice.is_error);
        }
        Change::Connection(_) => model.notice = None,
    }
}

fn on_posted(model: &mut Model, index: EntryIndex) {
    let Some(TimelineEntry::Message(entry)) = model.chat.timeline().get(index) else { return };
    let message = &entry.message;
    if !model.chat.is_own_id(&message.sender) {
        model.unread_below += usize::from(model.viewport != Viewport::Live);
    } else if let Some(cid) = &message.cid
        && model.focus == Focus::Picked(ItemId::Pending(cid.clone()))
    {
        // A picked pending message stays picked when it is stored.
        model.focus = Focus::Picked(ItemId::Message(message.id));
    }
}

/// Handles the removal or expiry of a message: it can be neither a hit, nor replied to, nor deleted.
fn on_message_unreadable(model: &mut Model, id: MessageId) {
    model.block_cache.remove(id);
    model.overlays.retain(|overlay| match overlay {
        Overlay::ConfirmDelete(target) => *target != id,
        Overlay::Help { .. } | Overlay::Search(_) => true,
    });
    for overlay in &mut model.overlays {
        if let Overlay::Search(search) = overlay {
            search.remove(id);
        }
    }
    if let Some(hits) = &mut model.search_hits {
        hits.remove(id);
    }
    if model.composer.reply_to == Some(id) {
        model.composer.cancel_reply();
        model.show_error("the message you were replying to was removed or has expired");
    }
}
