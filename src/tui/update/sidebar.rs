//! Opening conversations, and ticking the people of a direct one.

use std::collections::BTreeSet;

use chrono::{DateTime, FixedOffset};

use super::history::reset_view;
use crate::protocol::id::UserId;
use crate::protocol::message::Audience;
use crate::tui::command::UiCommand;
use crate::tui::key::Chord;
use crate::tui::model::{Focus, ListScroll, Model, PeopleFocus};
use crate::tui::sidebar::{conversations, next_unread, people};
use crate::tui::viewport::{BottomEdge, Viewport};

/// Opens a conversation. The draft of the one that was open stays there. A room that the user has left is not
/// opened.
pub(super) fn open_conversation(model: &mut Model, audience: &Audience) {
    if let Some(room) = audience.room()
        && model.chat.conversation(audience).is_none()
    {
        model.show_error(format!("you are no longer in {room}"));
        return;
    }
    open_for_ticks(model, audience);
    model.ticked_from = None;
    model.focus = Focus::Typing;
}

fn open_for_ticks(model: &mut Model, audience: &Audience) {
    if audience != model.chat.open_audience() {
        model.chat.open(audience);
    }
    follow_open(model);
}

/// Shows the draft and the messages of the open conversation, if it has changed. Called after each event: the
/// server, too, closes conversations.
pub(super) fn follow_open(model: &mut Model) {
    let open = model.chat.open_audience().clone();
    if model.shown == open {
        return;
    }
    let draft = model.drafts.remove(&open).unwrap_or_default();
    let mut left = std::mem::replace(&mut model.composer, draft);
    let left_in = std::mem::replace(&mut model.shown, open);
    left.completion = None;
    if !left.is_unused() {
        model.drafts.insert(left_in.clone(), left);
    }
    let left_at = std::mem::take(&mut model.viewport);
    reset_view(model);
    keep_viewport(model, left_in, left_at);
    model.viewport = viewport_of_opened(model);
    model.sidebar_scroll.conversations.is_free = false;
    if let Some(room) = model.shown.room().filter(|_| model.chat.opened().members().is_none()) {
        model.chat.load_members(room);
    }
}

/// Keeps where a conversation was left, unless its latest messages were shown.
fn keep_viewport(model: &mut Model, left_in: Audience, viewport: Viewport) {
    if viewport.edge() != BottomEdge::Latest && model.chat.conversation(&left_in).is_some() {
        model.viewports.insert(left_in, viewport);
    }
}

/// The viewport of the conversation that was opened: at the first unread message, or else where it was left.
fn viewport_of_opened(model: &mut Model) -> Viewport {
    let left_at = model.viewports.remove(model.chat.open_audience());
    let open = model.chat.opened();
    let is_loaded = open.unread() == 0 && !open.needs_recent();
    left_at.filter(|_| is_loaded).unwrap_or_else(Viewport::opening)
}

/// Opens the conversation this many rows below the open one.
pub(super) fn open_neighbour(model: &mut Model, rows: isize) {
    let listed = conversations(model);
    let open = listed.iter().position(|audience| *audience == model.chat.open_audience());
    let next = open.unwrap_or(0).saturating_add_signed(rows).min(listed.len().saturating_sub(1));
    if let Some(audience) = listed.get(next).map(|audience| (*audience).clone()) {
        open_conversation(model, &audience);
    }
}

/// Opens the conversation whose number in the sidebar was pressed.
pub(super) fn open_nth(model: &mut Model, chord: Chord) {
    let Some(index) = model.keymap.position(UiCommand::OpenNth, chord) else { return };
    match conversations(model).get(index).map(|one| (*one).clone()) {
        Some(audience) => open_conversation(model, &audience),
        None => model.show_notice(format!("there is no conversation {}", index + 1)),
    }
}

/// Opens the next conversation with unread messages.
pub(super) fn open_next_unread(model: &mut Model, now: DateTime<FixedOffset>) {
    match next_unread(model, model.chat.server_time(now)) {
        Some(audience) => open_conversation(model, &audience),
        None => model.show_notice("nothing unread elsewhere"),
    }
}

/// Opens the direct conversation with one person.
pub(super) fn open_direct(model: &mut Model, user: &UserId) {
    open_conversation(model, &Audience::Only([user.clone()].into()));
}

/// Ticks or unticks a person, and opens the direct conversation of exactly the ticked people. Without any,
/// returns to where the user was before the first tick.
pub(super) fn toggle_person(model: &mut Model, user: &UserId) {
    let open = model.chat.open_audience().clone();
    let from = model.ticked_from.clone().unwrap_or_else(|| open.clone());
    let mut ticked: BTreeSet<UserId> = open.direct().cloned().unwrap_or_default();
    if !ticked.remove(user) {
        ticked.insert(user.clone());
    }
    if !ticked.is_empty() {
        open_for_ticks(model, &Audience::Only(ticked));
        model.ticked_from = Some(from);
        return;
    }
    // Unticking all people of a direct conversation cannot return to itself.
    let back = if from.is_direct() { Audience::Everyone } else { from };
    open_for_ticks(model, &back);
    model.ticked_from = None;
}

/// Returns to where the user was before the first tick. Returns whether there was one.
pub(super) fn drop_ticks(model: &mut Model) -> bool {
    let Some(from) = model.ticked_from.take() else { return false };
    open_conversation(model, &from);
    true
}

/// Gives the focus to the conversations in the sidebar.
pub(super) fn focus_conversations(model: &mut Model) {
    model.sidebar_scroll.conversations.is_free = false;
    model.focus = Focus::Conversations(model.chat.open_audience().clone());
}

/// Gives the focus to the people in the sidebar.
pub(super) fn focus_people(model: &mut Model) {
    model.sidebar_scroll.people.is_free = false;
    model.focus = Focus::People(PeopleFocus::default());
    filter_people(model, String::new());
}

/// Lists only the people whose ID contains this text, with the focus on the first one.
fn filter_people(model: &mut Model, filter: String) {
    model.sidebar_scroll.people = ListScroll::default();
    model.focus = Focus::People(PeopleFocus { at: None, filter: filter.clone() });
    let at = people(model).next().cloned();
    model.focus = Focus::People(PeopleFocus { at, filter });
}

/// Changes the filter of the people, which have the focus.
pub(super) fn edit_filter(model: &mut Model, edit: impl FnOnce(&mut String)) {
    let Focus::People(PeopleFocus { filter, .. }) = &model.focus else { return };
    let mut filter = filter.clone();
    edit(&mut filter);
    filter_people(model, filter);
}

/// Drops the filter of the people. Returns whether there was one.
pub(super) fn drop_filter(model: &mut Model) -> bool {
    let is_filtered =
        matches!(&model.focus, Focus::People(PeopleFocus { filter, .. }) if !filter.is_empty());
    if is_filtered {
        filter_people(model, String::new());
    }
    is_filtered
}

/// Moves the focus in the sidebar by this many rows.
pub(super) fn move_focus(model: &mut Model, rows: isize) {
    let moved = |at: Option<usize>, count: usize| {
        at.unwrap_or(0).saturating_add_signed(rows).min(count.saturating_sub(1))
    };
    let focus = match &model.focus {
        Focus::Conversations(at) => {
            let listed = conversations(model);
            let to = moved(listed.iter().position(|one| *one == at), listed.len());
            Focus::Conversations(listed.get(to).map_or(at, |one| *one).clone())
        }
        Focus::People(PeopleFocus { at, filter }) => {
            let index = people(model).position(|user| Some(user) == at.as_ref());
            let to = moved(index, people(model).count());
            let at = people(model).nth(to).cloned();
            Focus::People(PeopleFocus { at, filter: filter.clone() })
        }
        Focus::Typing | Focus::Picked(_) => return,
    };
    model.focus = focus;
    model.sidebar_scroll.conversations.is_free = false;
    model.sidebar_scroll.people.is_free = false;
}

/// Opens what has the focus in the sidebar: a conversation, or the direct one with a person.
pub(super) fn open_focused(model: &mut Model) {
    match model.focus.clone() {
        Focus::Conversations(audience) => open_conversation(model, &audience),
        Focus::People(PeopleFocus { at: Some(user), .. }) => open_direct(model, &user),
        Focus::People(PeopleFocus { at: None, .. }) | Focus::Typing | Focus::Picked(_) => {}
    }
}

/// Ticks or unticks the person that has the focus.
pub(super) fn toggle_focused_person(model: &mut Model) {
    if let Focus::People(PeopleFocus { at: Some(user), .. }) = model.focus.clone() {
        toggle_person(model, &user);
    }
}
