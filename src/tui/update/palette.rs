//! The palette: what it offers, and what a row does.

use std::collections::BTreeSet;

use super::sidebar::{open_conversation, open_direct};
use crate::client::state::{Availability, Conversation};
use crate::protocol::id::UserId;
use crate::protocol::message::Audience;
use crate::tui::command::{Scope, UiCommand};
use crate::tui::model::Model;
use crate::tui::overlay::Overlay;
use crate::tui::overlay::palette::{Palette, PaletteEntry, PaletteTarget};
use crate::tui::sidebar::conversations;

/// Opens the palette: conversations, people, commands.
pub(super) fn open_palette(model: &mut Model) {
    let entries = conversation_entries(model)
        .chain(person_entries(model))
        .chain(command_entries(model))
        .collect();
    model.overlays.open(Overlay::Palette(Box::new(Palette::new(entries))));
}

fn conversation_entries(model: &Model) -> impl Iterator<Item = PaletteEntry> {
    let mut opens = model.keymap.in_scope(Scope::Anywhere);
    let opens = opens.find(|bound| bound.binding.command == UiCommand::OpenNth);
    let keys = opens.map_or(&[][..], |bound| &bound.chords);
    let listed = conversations(model);
    listed.into_iter().enumerate().map(move |(index, audience)| {
        let unread = model.chat.conversation(audience).map_or(0, Conversation::unread);
        let note = match (unread, keys.get(index)) {
            (1.., _) => format!("{unread} unread"),
            (0, Some(key)) => key.to_string(),
            (0, None) => String::new(),
        };
        let target = PaletteTarget::Conversation(audience.clone());
        PaletteEntry { target, label: crate::tui::bubble::conversation_name(audience), note }
    })
}

fn person_entries(model: &Model) -> impl Iterator<Item = PaletteEntry> {
    let directory = model.chat.directory();
    // The direct conversations that exist are listed already.
    let listed: BTreeSet<&UserId> =
        conversations(model).into_iter().filter_map(only_recipient).collect();
    let others = directory
        .users()
        .filter(move |user| !model.chat.is_own_id(user) && !listed.contains(*user));
    others.map(|user| {
        let note = match directory.availability(user) {
            Availability::Online => "online",
            Availability::Away => "away",
            Availability::Gone => "left",
        };
        let target = PaletteTarget::Person(user.clone());
        PaletteEntry { target, label: user.to_string(), note: note.to_owned() }
    })
}

/// The person of a direct conversation with one.
fn only_recipient(conversation: &Audience) -> Option<&UserId> {
    let people = conversation.direct()?;
    people.first().filter(|_| people.len() == 1)
}

fn command_entries(model: &Model) -> impl Iterator<Item = PaletteEntry> {
    // A number is needed to open the nth one.
    let is_offered = |command: UiCommand| !matches!(command, UiCommand::OpenNth | UiCommand::GoTo);
    let commands = model.keymap.in_scope(Scope::Anywhere);
    commands.filter(move |bound| is_offered(bound.binding.command)).map(|bound| PaletteEntry {
        target: PaletteTarget::Command(bound.binding.command),
        label: bound.binding.description.to_owned(),
        note: bound.chords.first().map(ToString::to_string).unwrap_or_default(),
    })
}

/// Closes the palette, and goes to its selected row. Returns the command, if it is one.
pub(super) fn choose(model: &mut Model) -> Option<UiCommand> {
    let Some(Overlay::Palette(palette)) = model.overlays.top() else { return None };
    let target = palette.selected()?.clone();
    model.overlays.close_top();
    match target {
        PaletteTarget::Conversation(audience) => open_conversation(model, &audience),
        PaletteTarget::Person(user) => open_direct(model, &user),
        PaletteTarget::Command(command) => return Some(command),
    }
    None
}
