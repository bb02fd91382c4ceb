//! The sidebar: the conversations with what one missed in them, and the people of the open one.

use std::borrow::Cow;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::widgets::{Block, Borders, Clear, Widget};
use unicode_width::UnicodeWidthStr;

use crate::client::state::{Availability, Conversation};
use crate::protocol::id::UserId;
use crate::protocol::message::{Audience, Millis};
use crate::tui::bubble::{availability_note, display_name};
use crate::tui::layout::{SidebarLayout, SidebarSection};
use crate::tui::model::{Focus, Model, PeopleFocus};
use crate::tui::sidebar::{SidebarItem, is_muted, listed_for};
use crate::tui::text::shorten;

/// Text on the left of a row and a note on the right.
#[derive(Debug)]
struct Row {
    left: String,
    style: Style,
    note: String,
    note_style: Style,
}

/// Draws the sidebar at `now`, by the server's clock.
pub(super) fn draw(model: &Model, sidebar: &SidebarLayout, now: Millis, buffer: &mut Buffer) {
    let theme = model.theme;
    Clear.render(sidebar.area, buffer);
    Block::new().borders(Borders::RIGHT).border_style(theme.frame()).render(sidebar.area, buffer);
    let has_focus = matches!(model.focus, Focus::Conversations(_));
    draw_title(model, " Conversations", "F3", has_focus, sidebar.conversations, buffer);
    let title = people_title(model);
    let has_focus = matches!(model.focus, Focus::People(_));
    draw_title(model, &title, "F2", has_focus, sidebar.people, buffer);
    for row in &sidebar.rows {
        let drawn = match &row.item {
            SidebarItem::Conversation(audience) => conversation_row(model, audience, now),
            SidebarItem::BrowseRooms => Row {
                left: " + rooms".to_owned(),
                style: theme.dim(),
                note: "F4".to_owned(),
                note_style: theme.key(),
            },
            SidebarItem::Person(user) => person_row(model, user, row.area.width),
        };
        let has_focus = match (&model.focus, &row.item) {
            (Focus::Conversations(at), SidebarItem::Conversation(audience)) => at == audience,
            (Focus::People(focus), SidebarItem::Person(user)) => focus.at.as_ref() == Some(user),
            _ => false,
        };
        let focus = if has_focus { theme.selection() } else { Style::new() };
        draw_row(&drawn, focus, row.area, buffer);
    }
}

fn draw_row(row: &Row, focus: Style, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let width = usize::from(area.width);
    let note_width = if row.note.is_empty() { 0 } else { row.note.width() + 1 };
    let left_width = width.saturating_sub(note_width);
    let left = if row.left.width() <= left_width {
        Cow::Borrowed(row.left.as_str())
    } else {
        Cow::Owned(shorten(&row.left, left_width))
    };
    let style = row.style.patch(focus);
    let note_style = row.note_style.patch(focus);
    let note_x = area.x + u16::try_from(left_width).unwrap_or(area.width);
    buffer.set_style(Rect { width: note_x - area.x, ..area }, style);
    buffer.set_stringn(area.x, area.y, left, left_width, style);
    if note_width > 0 {
        buffer.set_style(Rect { x: note_x, width: area.right() - note_x, ..area }, note_style);
        let cells = usize::from(area.right() - note_x).saturating_sub(1);
        buffer.set_stringn(note_x + 1, area.y, &row.note, cells, note_style);
    }
}

/// Draws the title of a part, with its key, or how many rows are hidden.
fn draw_title(
    model: &Model,
    title: &str,
    key: &str,
    has_focus: bool,
    section: SidebarSection,
    buffer: &mut Buffer,
) {
    let note = match (section.above, section.below) {
        (0, 0) => key.to_owned(),
        (0, below) => format!("↓{below}"),
        (above, 0) => format!("↑{above}"),
        (above, below) => format!("↑{above} ↓{below}"),
    };
    let style = if has_focus { model.theme.selection() } else { model.theme.title() };
    let note_style = model.theme.dim();
    let row = Row { left: title.to_owned(), style, note, note_style };
    let area = Rect { height: section.area.height.min(1), ..section.area };
    draw_row(&row, Style::new(), area, buffer);
}

fn people_title(model: &Model) -> String {
    if let Focus::People(PeopleFocus { filter, .. }) = &model.focus
        && !filter.is_empty()
    {
        return format!(" find: {filter}");
    }
    match listed_for(model) {
        Audience::Everyone => format!(" People {}", model.chat.directory().online_count()),
        room @ Audience::Room(name) => {
            let state = model.chat.conversation(room).and_then(Conversation::room);
            let count = state.map_or(0, |state| state.people);
            format!(" In {name} {count}")
        }
        Audience::Only(_) => " People".to_owned(),
    }
}

/// The name of a conversation in a list, with its sign.
pub(super) fn title(audience: &Audience) -> String {
    match audience {
        Audience::Everyone => "  Everyone".to_owned(),
        Audience::Room(room) => format!("  {room}"),
        Audience::Only(users) if users.is_empty() => "  @ yourself".to_owned(),
        Audience::Only(users) => {
            let names: Vec<&str> = users.iter().map(UserId::as_str).collect();
            format!("  @ {}", names.join(", "))
        }
    }
}

fn conversation_row(model: &Model, audience: &Audience, now: Millis) -> Row {
    let theme = model.theme;
    let is_open = audience == model.chat.open_audience();
    let conversation = model.chat.conversation(audience);
    let (unread, mentions) = conversation.map_or((0, 0), |one| (one.unread(), one.mentions()));
    let is_muted = conversation.is_some_and(|one| is_muted(one, now));
    let has_draft = model.drafts.get(audience).is_some_and(|draft| !draft.is_blank());
    let (note, note_style) = match (mentions, unread) {
        (1.., _) => (format!("@{mentions}"), theme.private()),
        (0, 1..) if is_muted => (format!("muted {unread}"), theme.dim()),
        (0, 1..) if audience.is_direct() => (unread.to_string(), theme.private()),
        (0, 1..) => (unread.to_string(), theme.title()),
        (0, 0) if has_draft => ("draft".to_owned(), theme.warning()),
        (0, 0) if is_muted => ("muted".to_owned(), theme.dim()),
        (0, 0) => (String::new(), theme.dim()),
    };
    let mut style = match audience {
        Audience::Everyone => theme.text(),
        Audience::Room(_) => theme.accent(),
        Audience::Only(_) => theme.private(),
    };
    style = style.remove_modifier(Modifier::BOLD);
    if is_open || mentions > 0 || (unread > 0 && !is_muted) {
        style = style.add_modifier(Modifier::BOLD);
    }
    let title = title(audience);
    let left = if is_open { title.replacen(' ', "▌", 1) } else { title };
    Row { left, style, note, note_style }
}

fn person_row(model: &Model, user: &UserId, width: u16) -> Row {
    let theme = model.theme;
    let directory = model.chat.directory();
    let ticked = model.chat.open_audience().direct();
    let is_ticked = ticked.is_some_and(|ticked| ticked.contains(user));
    let availability = directory.availability(user);
    let style = match availability {
        Availability::Online => theme.name(user),
        Availability::Away => theme.dim(),
        Availability::Gone => theme.removed(),
    };
    let mark = if is_ticked { "[x]" } else { "[ ]" };
    let name = display_name(user, directory.is_guest(user));
    let opened = model.chat.opened();
    let is_typing = opened.typing().any(|typing| typing == user);
    let is_owner = opened.members().is_some_and(|members| members.users.first() == Some(user));
    let note = match availability {
        _ if is_typing => "typing…",
        Availability::Online if is_owner => "owner",
        other => availability_note(other).trim_matches([' ', '(', ')']),
    };
    let left = format!(" {mark} {name}");
    // The name matters more than the note.
    let fits = left.width() + 1 + note.width() <= usize::from(width);
    let note = if fits { note } else { "" };
    Row { left, style, note: note.to_owned(), note_style: theme.dim() }
}
