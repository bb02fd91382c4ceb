//! What an empty conversation shows: whose it is, how others get in, and the first keys.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::protocol::message::Audience;
use crate::tui::command::{Scope, UiCommand};
use crate::tui::layout::ScreenLayout;
use crate::tui::model::Model;

/// Draws the lines above the notices, if there is no message and enough room.
pub(super) fn draw(model: &Model, layout: &ScreenLayout, buffer: &mut Buffer) {
    if !is_empty(model) {
        return;
    }
    let lines = lines(model);
    let mut free = layout.conversation;
    if let Some(first) = layout.visible.items.first() {
        free.height = first.area.y.saturating_sub(free.y);
    }
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    let Some(margin) = free.height.checked_sub(height) else { return };
    let rows = (free.y + margin / 2)..;
    for (line, y) in lines.into_iter().zip(rows) {
        line.centered().render(Rect { y, height: 1, ..free }, buffer);
    }
}

/// Whether the open conversation is known to have no messages.
fn is_empty(model: &Model) -> bool {
    let open = model.chat.opened();
    model.chat.is_online()
        && open.has_full_history()
        && open.pending().is_empty()
        && open.timeline().newest_first().next().is_none()
}

fn lines(model: &Model) -> Vec<Line<'static>> {
    let theme = model.theme;
    let own_id = model.chat.own_id().map(ToString::to_string).unwrap_or_default();
    let (state, invitation, command) = match model.chat.open_audience() {
        Audience::Everyone => (
            "nobody has written here yet".to_owned(),
            "others join with",
            format!("chat join {} --name NAME", model.server),
        ),
        Audience::Room(room) => {
            (format!("{room} has no messages yet"), "add people with", ".add NAME".to_owned())
        }
        Audience::Only(_) => (
            "no messages yet; only the people named below see them".to_owned(),
            "more people in a room:",
            ".room #NAME".to_owned(),
        ),
    };
    vec![
        Line::from_iter([Span::raw("you are "), Span::styled(own_id, theme.own())]),
        Line::raw(state),
        Line::default(),
        Line::from_iter([
            Span::styled(format!("{invitation} "), theme.dim()),
            Span::styled(command, theme.key()),
        ]),
        Line::default(),
        key_line(model),
    ]
}

fn key_line(model: &Model) -> Line<'static> {
    let keys = [
        (Scope::Typing, UiCommand::Send, "send"),
        (Scope::Anywhere, UiCommand::GoTo, "go to"),
        (Scope::Anywhere, UiCommand::Help, "help"),
    ];
    let shown = keys
        .into_iter()
        .filter_map(|(scope, command, label)| Some((model.keymap.key_in(scope, command)?, label)));
    let spans = shown.enumerate().flat_map(|(index, (key, label))| {
        let gap = if index == 0 { "" } else { "   " };
        [
            Span::styled(format!("{gap}{key}"), model.theme.key()),
            Span::styled(format!(" {label}"), model.theme.dim()),
        ]
    });
    spans.collect()
}
