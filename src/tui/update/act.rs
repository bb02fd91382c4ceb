//! What each command does.

use chrono::{DateTime, FixedOffset};

use super::keys::complete;
use super::send::send;
use crate::client::state::Room;
use crate::client::state::timeline::Fate;
use crate::protocol::id::MessageId;
use crate::protocol::request::Request;
use crate::tui::command::Command;
use crate::tui::conversation::{Slots, duration};
use crate::tui::layout::{Person, people};
use crate::tui::model::{Effect, Focus, Key, Model, Scroll};
use crate::tui::overlay::search::SearchBox;
use crate::tui::overlay::{Overlay, help};

/// Does it.
pub(super) fn act(model: &mut Model, now: DateTime<FixedOffset>, command: Command) -> Vec<Effect> {
    match command {
        Command::Send => return send(model, now),
        Command::NewLine => model.compose.text.insert_newline(),
        Command::Complete => complete(model),
        Command::Help => model.overlays.push(Overlay::Help { top: 0 }),
        Command::Search => open_search(model, now, ""),
        Command::People => model.focus = Focus::People(0),
        Command::Everyone => model.compose.to.clear(),
        Command::Temporary => next_life(model),
        Command::PageUp => scroll(model, page(model)),
        Command::PageDown => scroll(model, -page(model)),
        Command::Top => scroll(model, i64::from(u32::MAX)),
        Command::Bottom => to_bottom(model),
        Command::Mouse => return toggle_mouse(model),
        Command::Redraw => return vec![Effect::Redraw],
        Command::Quit => return vec![Effect::Quit],
        Command::ClearOrQuit => return clear_or_quit(model),
        Command::Back => back(model),
        Command::Yes => return delete_asked(model),
        Command::Pick | Command::PreviousMessage => pick_neighbour(model, now, true),
        Command::NextMessage => pick_neighbour(model, now, false),
        Command::ReplyLatest => reply_latest(model),
        Command::Reply => reply_picked(model),
        Command::Delete => ask_delete(model),
        Command::Copy => return copy(model),
        Command::Retry => return edit_failed(model),
        Command::NextHit => go_to_hit(model, true),
        Command::PreviousHit => go_to_hit(model, false),
        Command::PersonUp => move_person(model, -1),
        Command::PersonDown => move_person(model, 1),
        Command::TogglePerson => toggle_focused(model),
        Command::HitUp => with_search(model, |search, _| search.move_by(-1)),
        Command::HitDown => with_search(model, |search, _| search.move_by(1)),
        Command::MatchCase => with_search(model, |search, room| search.toggle_case(room, now)),
        Command::Jump => jump(model),
        Command::ScrollUp => scroll(model, 1),
        Command::ScrollDown => scroll(model, -1),
    }
    Vec::new()
}

/// Opens the search, with something in it.
pub(super) fn open_search(model: &mut Model, now: DateTime<FixedOffset>, typed: &str) {
    let search = SearchBox::new(typed, &model.room, now);
    model.overlays.push(Overlay::Search(Box::new(search)));
}

/// Scrolls what is on top; up is positive.
pub(super) fn scroll(model: &mut Model, rows: i64) {
    let area = model.areas.overlay.unwrap_or_default();
    match model.overlays.last_mut() {
        Some(Overlay::Help { top }) => {
            let last = i64::try_from(help::last_top(area, model.theme)).unwrap_or(i64::MAX);
            let wanted = i64::try_from(*top).unwrap_or(i64::MAX).saturating_sub(rows);
            *top = usize::try_from(wanted.clamp(0, last)).unwrap_or_default();
        }
        Some(Overlay::Search(search)) => {
            search.move_by(isize::try_from(-rows).unwrap_or_default());
        }
        Some(Overlay::Delete(_)) => {}
        None => model.scroll_by += rows,
    }
}

fn page(model: &Model) -> i64 {
    let area = model.areas.overlay.unwrap_or(model.areas.talk);
    i64::from(area.height.saturating_sub(3).max(1))
}

/// Back to the newest message.
pub(super) fn to_bottom(model: &mut Model) {
    model.scroll = Scroll::Bottom;
    model.scroll_by = 0;
    model.returning = !model.room.is_present();
    model.looking = None;
}

/// Goes to a message, wherever it is.
pub(super) fn show(model: &mut Model, id: MessageId) {
    if model.room.timeline().said(id).is_some() {
        pick(model, Key::Message(id));
    } else {
        model.looking = Some(id);
        model.returning = false;
    }
}

fn next_life(model: &mut Model) {
    if model.compose.reply.is_some() {
        model.complain("a reply can't be temporary (Esc drops the reply)");
        return;
    }
    model.compose.next_life();
    match model.compose.seconds {
        Some(seconds) => {
            let life = duration(i64::from(seconds));
            model.tell(format!("the next message vanishes {life} after it is sent"));
        }
        None => model.tell("the next message stays"),
    }
}

fn toggle_mouse(model: &mut Model) -> Vec<Effect> {
    model.mouse = !model.mouse;
    if model.mouse {
        model.tell("the mouse works here again");
    } else {
        model.tell("the mouse is the terminal's: select text; Alt-M takes it back");
    }
    vec![Effect::Mouse(model.mouse)]
}

fn clear_or_quit(model: &mut Model) -> Vec<Effect> {
    if model.leaving {
        return vec![Effect::Quit];
    }
    model.leaving = true;
    model.compose.clear();
    model.tell("Ctrl-C once more leaves");
    Vec::new()
}

/// One step back, from the top down to plain typing; never a change of who gets a message but by
/// dropping a reply.
fn back(model: &mut Model) {
    if model.overlays.pop().is_some() {
    } else if model.focus != Focus::Typing {
        model.focus = Focus::Typing;
    } else if model.compose.completion.take().is_some() {
    } else if model.compose.reply.is_some() {
        model.compose.drop_reply();
    } else {
        to_bottom(model);
    }
}

/// Picks a message, and shows it.
pub(super) fn pick(model: &mut Model, key: Key) {
    if !model.has(&key) {
        return;
    }
    model.reveal = Some(key.clone());
    model.focus = Focus::Picked(key);
}

fn pick_neighbour(model: &mut Model, now: DateTime<FixedOffset>, older: bool) {
    let slots = Slots { room: &model.room, zone: *now.offset() };
    let next = match &model.focus {
        Focus::Picked(key) => slots.neighbour(key, older),
        Focus::Typing | Focus::People(_) => match model.scroll {
            Scroll::Bottom => slots.newest(),
            Scroll::At { .. } => model.areas.conversation.newest(),
        },
    };
    match next {
        Some(key) => pick(model, key),
        None if older => model.tell("there is no message to pick"),
        None => {
            model.focus = Focus::Typing;
            to_bottom(model);
        }
    }
}

fn readable(model: &Model, key: &Key) -> Option<MessageId> {
    match key {
        Key::Message(id) => {
            let said = model.room.timeline().said(*id)?;
            (said.fate == Fate::Readable).then_some(*id)
        }
        Key::Pending(_) | Key::Edge(_) | Key::Other(_) => None,
    }
}

fn picked_readable(model: &mut Model) -> Option<MessageId> {
    let id = model.picked().and_then(|key| readable(model, key));
    if id.is_none() {
        model.complain("that message is gone, or not sent yet");
    }
    id
}

fn reply_picked(model: &mut Model) {
    if let Some(id) = picked_readable(model) {
        begin_reply(model, id);
    }
}

fn reply_latest(model: &mut Model) {
    let room = &model.room;
    let mut messages = room.timeline().newest_first();
    let latest = messages.find(|message| !room.is_you(&message.sender)).map(|message| message.id);
    drop(messages);
    match latest {
        Some(id) => begin_reply(model, id),
        None => model.complain("there is no message to reply to"),
    }
}

fn begin_reply(model: &mut Model, id: MessageId) {
    model.compose.reply_to(id, &model.room);
    model.focus = Focus::Typing;
}

fn ask_delete(model: &mut Model) {
    let Some(id) = picked_readable(model) else { return };
    let said = model.room.timeline().said(id);
    if said.is_some_and(|said| model.room.is_you(&said.message.sender)) {
        model.overlays.push(Overlay::Delete(id));
    } else {
        model.complain("only its author can delete a message");
    }
}

fn delete_asked(model: &mut Model) -> Vec<Effect> {
    match model.overlays.pop() {
        Some(Overlay::Delete(id)) => {
            model.focus = Focus::Typing;
            delete(model, id)
        }
        Some(other @ (Overlay::Help { .. } | Overlay::Search(_))) => {
            model.overlays.push(other);
            Vec::new()
        }
        None => Vec::new(),
    }
}

/// Asks the server to delete a message.
pub(super) fn delete(model: &mut Model, id: MessageId) -> Vec<Effect> {
    vec![Effect::Send(model.room.next_cid(), Request::Delete(id))]
}

fn copy(model: &mut Model) -> Vec<Effect> {
    let Some(id) = picked_readable(model) else { return Vec::new() };
    let Some(said) = model.room.timeline().said(id) else { return Vec::new() };
    let text = said.message.content.as_str().to_owned();
    model.tell(format!("copied {} characters", text.chars().count()));
    vec![Effect::Copy(text)]
}

/// Puts a message that was not sent back into the input, with its recipients.
fn edit_failed(model: &mut Model) -> Vec<Effect> {
    let Some(Key::Pending(cid)) = model.picked().cloned() else {
        model.complain("this message was sent");
        return Vec::new();
    };
    let Some(say) = model.room.take_failed(&cid) else {
        model.complain("this message is still being sent");
        return Vec::new();
    };
    model.focus = Focus::Typing;
    model.compose.restore(say);
    vec![Effect::Discard(cid)]
}

fn go_to_hit(model: &mut Model, older: bool) {
    let Some(found) = &mut model.found else {
        model.complain("nothing was searched for (Ctrl-F)");
        return;
    };
    match found.go(older) {
        Some(id) => {
            let words = found.words();
            show(model, id);
            model.tell(words);
        }
        None => model.tell(if older { "no older hit" } else { "no newer hit" }),
    }
}

fn move_person(model: &mut Model, rows: isize) {
    let last = people(model).len().saturating_sub(1);
    if let Focus::People(row) = &mut model.focus {
        *row = row.saturating_add_signed(rows).min(last);
    }
}

fn toggle_focused(model: &mut Model) {
    if let Focus::People(row) = model.focus
        && let Some(person) = people(model).into_iter().nth(row)
    {
        toggle(model, &person);
    }
}

/// Adds a person to the recipients or removes them; everyone removes all.
pub(super) fn toggle(model: &mut Model, person: &Person) {
    match person {
        Person::Everyone => model.compose.to.clear(),
        Person::One { id, .. } => model.compose.toggle(id),
    }
}

fn with_search(model: &mut Model, change: impl FnOnce(&mut SearchBox, &Room)) {
    if let Some(Overlay::Search(search)) = model.overlays.last_mut() {
        change(search, &model.room);
    }
}

/// From the search to the chosen message.
pub(super) fn jump(model: &mut Model) {
    let Some(Overlay::Search(search)) = model.overlays.last() else { return };
    let Some(found) = search.found() else { return };
    model.overlays.pop();
    if let Some(id) = found.current() {
        show(model, id);
        model.tell(format!("{}: n and N go on", found.words()));
    }
    model.found = Some(found);
}
