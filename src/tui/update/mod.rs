//! The update function: applies an event to the model and returns effects.
//!
//! Pure: no clock, no socket, no terminal. This file dispatches; the submodules handle the events.

mod commands;
mod completion;
mod history;
mod jump;
mod keys;
mod messages;
mod mouse;
mod palette;
mod rooms;
mod search;
mod selection;
mod send;
mod sidebar;

use chrono::{DateTime, FixedOffset, TimeDelta};
use crossterm::event::{Event, KeyEventKind};
use ratatui::layout::Size;

use super::bubble::{conversation_name, display_name};
use super::event::{UiEffect, UiEvent};
use super::item::ItemId;
use super::layout::ScreenLayout;
use super::model::{Focus, Model};
use super::overlay::Overlay;
use crate::client;
use crate::client::state::history::HistoryRequest;
use crate::client::state::timeline::{EntryIndex, TimelineEntry};
use crate::client::state::{Change, ConnectionState, MessageChange};
use crate::protocol::id::MessageId;
use crate::protocol::message::Audience;
use crate::protocol::request::Request;
use crate::protocol::text::SafeText;

/// The time between a key and writing the drafts to disk.
const DRAFT_DELAY: TimeDelta = TimeDelta::seconds(1);

/// Applies an event, and returns the effects to carry out. `layout` is that of the last frame: a click acts on what
/// is visible.
pub fn update(
    model: &mut Model,
    layout: &ScreenLayout,
    now: DateTime<FixedOffset>,
    event: UiEvent,
) -> Vec<UiEffect> {
    let is_input = matches!(event, UiEvent::Terminal(_));
    let shown = model.shown.clone();
    let mut effects = apply_event(model, layout, now, event);
    sidebar::follow_open(model);
    schedule_drafts(model, now, is_input, model.shown != shown || sends_message(&effects));
    history::show_first_unread(model);
    let due = model.chat.take_requests(now);
    effects.extend(due.into_iter().map(|(cid, request)| UiEffect::Send(Some(cid), request)));
    effects.extend(history::request_recent(model));
    effects.extend(search::sync_server_search(model, now));
    effects.extend(search::request_context(model, now));
    effects.extend(rooms::request_page(model));
    effects
}

/// Whether a draft became a message, so that a crash must not bring the draft back.
fn sends_message(effects: &[UiEffect]) -> bool {
    effects.iter().any(|effect| matches!(effect, UiEffect::Send(_, Request::Post(_))))
}

/// Drafts are written a second after the first key, so that a crash loses at most that second, and at once when
/// one is sent or another conversation is opened.
fn schedule_drafts(model: &mut Model, now: DateTime<FixedOffset>, is_input: bool, at_once: bool) {
    if at_once {
        model.drafts_due = Some(now);
    } else if is_input {
        model.drafts_due.get_or_insert(now + DRAFT_DELAY);
    }
}

fn apply_event(
    model: &mut Model,
    layout: &ScreenLayout,
    now: DateTime<FixedOffset>,
    event: UiEvent,
) -> Vec<UiEffect> {
    match event {
        UiEvent::Terminal(Event::Key(key)) if key.kind == KeyEventKind::Release => Vec::new(),
        UiEvent::Terminal(Event::Key(key)) => keys::on_key(model, layout, now, key),
        UiEvent::Terminal(Event::Mouse(mouse)) => mouse::on_mouse(model, layout, now, mouse),
        UiEvent::Terminal(Event::Paste(text)) => on_paste(model, now, &text),
        UiEvent::Terminal(Event::Resize(width, height)) => {
            model.size = Size { width, height };
            Vec::new()
        }
        UiEvent::Terminal(Event::FocusGained) => {
            model.is_focused = true;
            Vec::new()
        }
        UiEvent::Terminal(Event::FocusLost) => {
            model.is_focused = false;
            Vec::new()
        }
        UiEvent::Client(event) => on_client_event(model, now, event),
        UiEvent::SendFailed { cid, reason } => {
            let changes = cid.map(|cid| model.chat.not_sent(now, &cid, reason.clone()));
            on_changes(model, now, changes.unwrap_or_default());
            model.show_error(reason.one_line());
            Vec::new()
        }
        UiEvent::Background(background) => {
            model.theme = model.theme_choice.resolve(Some(background));
            Vec::new()
        }
        UiEvent::Tick => on_tick(model, now),
        UiEvent::Displayed => history::on_displayed(model, layout).into_iter().collect(),
    }
}

/// Inserts a paste as text. It never runs a command and never sends, whatever it contains.
fn on_paste(model: &mut Model, now: DateTime<FixedOffset>, text: &str) -> Vec<UiEffect> {
    let text = SafeText::clean(text);
    if let Some(overlay) = model.overlays.top_mut() {
        overlay.edit(&model.chat, now, |input| input.insert(&text.one_line()));
    } else {
        model.focus = Focus::Typing;
        model.quit_armed = None;
        model.composer.completion = None;
        send::paste(model, text);
    }
    Vec::new()
}

fn on_tick(model: &mut Model, now: DateTime<FixedOffset>) -> Vec<UiEffect> {
    let changes = model.chat.expire(now);
    on_changes(model, now, changes);
    let mut effects: Vec<UiEffect> =
        model.notices.take_due(&model.chat, now).map(UiEffect::Notify).into_iter().collect();
    if model.drafts_due.take_if(|due| *due <= now).is_some() {
        effects.push(UiEffect::SaveDrafts(model.all_drafts()));
    }
    if let Some(Overlay::Search(search)) = model.overlays.top_mut() {
        search.step(&model.chat);
    }
    effects
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
    let changes = model.chat.apply(now, event);
    on_changes(model, now, changes);
    quit.into_iter().collect()
}

fn on_changes(model: &mut Model, now: DateTime<FixedOffset>, changes: Vec<Change>) {
    for change in changes {
        if let Change::Posted { conversation, rings: true, .. } = &change
            && !model.is_focused
        {
            model.notices.add(conversation.clone(), now);
        }
        on_change(model, change);
    }
}

fn on_change(model: &mut Model, change: Change) {
    let is_open = |model: &Model, audience: &Audience| audience == model.chat.open_audience();
    match change {
        Change::Posted { conversation, index, rings } => {
            on_posted(model, &conversation, index, rings);
        }
        Change::HistoryLoaded(audience, HistoryRequest::Around(id))
            if is_open(model, &audience) =>
        {
            jump::on_loaded_around(model, id);
        }
        Change::HistoryFailed(_, HistoryRequest::Around(_), reason) => {
            jump::on_jump_failed(model, reason.one_line());
        }
        Change::Failed { reason, change } => {
            rooms::on_change_failed(model, &change);
            model.show_error(reason.one_line());
        }
        Change::Lookup(page) => messages::on_lookup(model, page),
        Change::Message { id, change, .. } => on_message_changed(model, id, change),
        Change::Error(error) => model.show_error(error.text.one_line()),
        Change::Refused { cid, reason } => {
            if !rooms::on_refused(model, &cid, &reason) {
                search::on_refused(model, &cid, reason);
            }
        }
        Change::Rooms(page) => rooms::on_page(model, page),
        Change::Conversation(audience) => rooms::on_conversation_changed(model, &audience),
        Change::ConversationRemoved(audience) => {
            model.overlays.retain(|overlay| !matches!(overlay, Overlay::Thread(_)));
            search::forget_conversation(model, &audience);
            model.jump_origins.retain(|origin| origin.conversation != audience);
            model.viewports.remove(&audience);
            model.show_notice(format!("you are no longer in {}", conversation_name(&audience)));
        }
        Change::AddedToRoom { room, by } => {
            let by = by.map_or_else(|| "the administrator".to_owned(), |user| user.to_string());
            model.show_notice(format!("{by} added you to {room} (F3)"));
        }
        Change::SearchResults(results) => search::on_results(model, results),
        Change::Reset(audience) if !is_open(model, &audience) => {
            model.viewports.remove(&audience);
        }
        Change::Reset(_) => {
            model.overlays.retain(|overlay| !matches!(overlay, Overlay::Thread(_)));
            history::reset_view(model);
        }
        // An error, such as a full outbox, stays visible when another attempt to connect fails.
        Change::Connection(_)
            if matches!(model.chat.connection(), ConnectionState::Offline { .. }) =>
        {
            model.notice.take_if(|notice| !notice.is_error);
        }
        Change::Connection(_) => model.notice = None,
        Change::HistoryLoaded(..)
        | Change::HistoryFailed(..)
        | Change::Typing(_)
        | Change::Directory
        | Change::Presence { .. } => {}
    }
}

fn on_posted(model: &mut Model, conversation: &Audience, index: EntryIndex, rings: bool) {
    let Some(posted_in) = model.chat.conversation(conversation) else { return };
    let Some(TimelineEntry::Message(entry)) = posted_in.live_timeline().get(index) else { return };
    let message = &entry.message;
    for overlay in model.overlays.iter_mut() {
        if let Overlay::Thread(thread) = overlay {
            thread.add(message.clone());
        }
    }
    let is_own = model.chat.is_own_id(&message.sender);
    if conversation != model.chat.open_audience() {
        if rings {
            let sender = display_name(&message.sender, message.guest);
            model.show_notice(if conversation.is_direct() {
                format!("new direct message from {sender}")
            } else {
                format!("new message from {sender} in {}", conversation_name(conversation))
            });
        }
    } else if !is_own {
        if !(model.viewport.is_live() && posted_in.shows_latest()) {
            model.viewport.on_newer();
        }
    } else if let Some(cid) = &message.cid
        && model.focus == Focus::Picked(ItemId::Pending(cid.clone()))
    {
        // A picked pending message stays picked when it is stored. Its menu is outdated.
        model.overlays.retain(|overlay| !matches!(overlay, Overlay::Menu(_)));
        model.focus = Focus::Picked(ItemId::Message(message.id));
    }
}

fn on_message_changed(model: &mut Model, id: MessageId, change: MessageChange) {
    for overlay in model.overlays.iter_mut() {
        match overlay {
            Overlay::Search(search) => search.on_message_changed(id, change, &model.chat),
            Overlay::Thread(thread) => thread.on_message_changed(id, change, &model.chat),
            _ => {}
        }
    }
    match change {
        MessageChange::Removed | MessageChange::Expired => {
            model.drawing_generation += 1;
            on_message_unreadable(model, id);
        }
        MessageChange::Edited => model.drawing_generation += 1,
        MessageChange::Reacted | MessageChange::Pinned => {}
    }
}

/// Handles the removal or expiry of a message: it can be neither a hit, nor replied to, nor deleted.
fn on_message_unreadable(model: &mut Model, id: MessageId) {
    model.overlays.retain(|overlay| !overlay.is_about(id));
    if let Some(hits) = &mut model.search_hits {
        hits.remove(id);
    }
    if model.composer.reply_to == Some(id) {
        model.composer.cancel_reply();
        model.show_error("the message you were replying to was removed or has expired");
    }
    for draft in model.drafts.values_mut() {
        draft.reply_to.take_if(|to| *to == id);
        if draft.editing == Some(id) {
            draft.detach_edit();
        }
    }
    model.drafts.retain(|_, draft| !draft.is_unused());
    if model.composer.editing == Some(id) {
        model.composer.detach_edit();
        model.show_error("the message you were editing was removed or has expired");
    }
}
