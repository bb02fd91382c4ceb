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

use super::bubble::display_name;
use super::model::{Focus, ItemId, Model, UiEffect, UiEvent, Viewport};
use super::overlay::Overlay;
use crate::client;
use crate::client::state::history::HistoryRequest;
use crate::client::state::timeline::{EntryIndex, TimelineEntry};
use crate::client::state::{Change, ConnectionState, MessageChange};
use crate::protocol::id::{MessageId, UserId};
use crate::protocol::message::Audience;
use crate::protocol::text::SafeText;

/// Applies an event, and returns the effects to carry out.
pub fn update(model: &mut Model, now: DateTime<FixedOffset>, event: UiEvent) -> Vec<UiEffect> {
    let mut effects = apply_event(model, now, event);
    let due = model.chat.take_requests(now);
    effects.extend(due.into_iter().map(|(cid, request)| UiEffect::Send(Some(cid), request)));
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
            let changes = cid.map(|cid| model.chat.not_sent(now, &cid, reason.clone()));
            changes.into_iter().flatten().for_each(|change| on_change(model, change));
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
        search.step(&model.chat);
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
    let is_open = |model: &Model, audience: &Audience| audience == model.chat.open_audience();
    match change {
        Change::Posted { conversation, index, .. } => on_posted(model, &conversation, index),
        Change::HistoryLoaded(audience, request) if is_open(model, &audience) => {
            history::on_page(model, request);
        }
        Change::HistoryFailed(_, HistoryRequest::Around(_), reason)
        | Change::Failed { reason, .. } => model.show_error(reason.one_line()),
        Change::Message { id, change, .. } => on_message_changed(model, id, change),
        Change::Error(error) => model.show_error(error.text.one_line()),
        Change::Refused { cid, reason } => search::on_refused(model, &cid, reason),
        Change::SearchResults(results) => search::on_results(model, results),
        Change::Reset(audience) if !is_open(model, &audience) => {}
        Change::Reset(_) | Change::ConversationRemoved(_) => history::reset_view(model),
        // An error, such as a full outbox, stays visible when another attempt to connect fails.
        Change::Connection(_)
            if matches!(model.chat.connection(), ConnectionState::Offline { .. }) =>
        {
            model.notice.take_if(|notice| !notice.is_error);
        }
        Change::Connection(_) => model.notice = None,
        Change::HistoryLoaded(..)
        | Change::HistoryFailed(..)
        | Change::Conversation(_)
        | Change::Typing(_)
        | Change::Directory
        | Change::Presence { .. }
        | Change::Rooms(_)
        | Change::Thread(_) => {}
    }
}

fn on_posted(model: &mut Model, conversation: &Audience, index: EntryIndex) {
    let Some(posted_in) = model.chat.conversation(conversation) else { return };
    let Some(TimelineEntry::Message(entry)) = posted_in.live_timeline().get(index) else { return };
    let message = &entry.message;
    let is_own = model.chat.is_own_id(&message.sender);
    if conversation != model.chat.open_audience() {
        if !is_own {
            let sender = display_name(&message.sender, message.guest);
            model.show_notice(format!("new message from {sender} in {}", name(conversation)));
        }
    } else if !is_own {
        let is_visible = model.viewport == Viewport::Live && posted_in.shows_latest();
        model.unread_below += usize::from(!is_visible);
    } else if let Some(cid) = &message.cid
        && model.focus == Focus::Picked(ItemId::Pending(cid.clone()))
    {
        // A picked pending message stays picked when it is stored.
        model.focus = Focus::Picked(ItemId::Message(message.id));
    }
}

/// The name of a conversation.
pub(super) fn name(conversation: &Audience) -> String {
    match conversation {
        Audience::Everyone => "everyone".to_owned(),
        Audience::Room(room) => room.to_string(),
        Audience::Only(users) => {
            let names: Vec<&str> = users.iter().map(UserId::as_str).collect();
            names.join(", ")
        }
    }
}

fn on_message_changed(model: &mut Model, id: MessageId, change: MessageChange) {
    model.block_cache.remove(id);
    for overlay in &mut model.overlays {
        if let Overlay::Search(search) = overlay {
            search.on_message_changed(id, change, &model.chat);
        }
    }
    match change {
        MessageChange::Removed | MessageChange::Expired => on_message_unreadable(model, id),
        MessageChange::Edited | MessageChange::Reacted | MessageChange::Pinned => {}
    }
}

/// Handles the removal or expiry of a message: it can be neither a hit, nor replied to, nor deleted.
fn on_message_unreadable(model: &mut Model, id: MessageId) {
    model.overlays.retain(|overlay| match overlay {
        Overlay::ConfirmDelete(target) => *target != id,
        Overlay::Help { .. } | Overlay::Search(_) => true,
    });
    if let Some(hits) = &mut model.search_hits {
        hits.remove(id);
    }
    if model.composer.reply_to == Some(id) {
        model.composer.cancel_reply();
        model.show_error("the message you were replying to was removed or has expired");
    }
}
