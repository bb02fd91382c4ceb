//! The header and the status line.

use chrono::{DateTime, FixedOffset};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use unicode_width::UnicodeWidthStr;

use crate::client::state::ConnectionState;
use crate::protocol::message::Millis;
use crate::tui::command::Scope;
use crate::tui::item::ItemId;
use crate::tui::layout::ScreenLayout;
use crate::tui::model::Model;
use crate::tui::sidebar::{UnreadSummary, unread_summary};
use crate::tui::text::shorten;

/// Draws the server, the state of the connection, the open conversation, what one missed and the own ID, as
/// much as fits.
pub(super) fn draw_header(model: &Model, layout: &ScreenLayout, now: Millis, buffer: &mut Buffer) {
    let area = layout.header;
    let theme = model.theme;
    let (sign, word, style) = match model.chat.connection() {
        ConnectionState::Online { .. } => ("●", "TLS 1.3", theme.success()),
        ConnectionState::Connecting => ("○", "connecting", theme.warning()),
        ConnectionState::Offline { .. } => ("○", "not connected", theme.error()),
        ConnectionState::Ended { .. } => ("×", "ended", theme.error()),
    };
    let program = Span::styled(" chat ", theme.title());
    let server = Span::raw(format!(" {}", model.server));
    let state = Span::styled(format!(" {sign} {word}"), style);
    let short_state = Span::styled(format!(" {sign}"), style);
    let (conversation, topic) = conversation_title(model);
    let conversation = Span::styled(format!("  {conversation}"), theme.title());
    let topic = Span::styled(format!("  {topic}"), theme.dim());
    let unread = unread_text(unread_summary(model, now));
    let unread = Span::styled(format!("{unread}  "), theme.private());
    // Without a sidebar, the key that shows the conversations.
    let key = if layout.sidebar.is_none() { "F3  " } else { "" };
    let key = Span::styled(key, theme.key());
    // With this user, as the `To:` line counts.
    let count = model.chat.directory().online_count() + 1;
    let online = Span::styled(format!("{count} online  "), theme.dim());
    let own_id = model.chat.own_id().map(|id| format!("{id} ")).unwrap_or_default();
    let you = Span::styled(own_id, theme.own());
    let candidates = [
        (vec![&program, &server, &state, &conversation, &topic], vec![&unread, &online, &you]),
        (vec![&program, &server, &state, &conversation], vec![&unread, &online, &you]),
        (vec![&server, &state, &conversation], vec![&unread, &key, &you]),
        (vec![&state, &conversation], vec![&unread, &key, &you]),
        (vec![&short_state, &conversation], vec![&unread, &key, &you]),
        (vec![&short_state, &conversation], vec![&unread, &key]),
        (vec![&conversation], vec![]),
    ];
    let line = |spans: Vec<&Span<'static>>| spans.into_iter().cloned().collect::<Line<'static>>();
    let mut candidates = candidates.into_iter().map(|(left, right)| (line(left), line(right)));
    let fits = |(left, right): &(Line<'_>, Line<'_>)| {
        left.width() + right.width() < usize::from(area.width)
    };
    let Some((left, right)) = candidates.find(fits) else { return };
    right.right_aligned().render(area, buffer);
    let width = u16::try_from(left.width()).unwrap_or(u16::MAX).min(area.width);
    left.render(Rect { width, ..area }, buffer);
}

/// The name of the open conversation with the number of its people, and its topic.
fn conversation_title(model: &Model) -> (String, String) {
    let open = model.chat.open_audience();
    let name = super::sidebar::title(open).trim().to_owned();
    match model.chat.opened().room() {
        Some(room) => (format!("{name} · {}", room.people), room.topic.one_line()),
        None => (name, String::new()),
    }
}

fn unread_text(unread: UnreadSummary) -> String {
    match (unread.conversations, unread.mentions) {
        (0, _) => String::new(),
        (count, 0) => format!("{count} unread"),
        (count, mentions) => format!("{count} unread · @{mentions}"),
    }
}

/// Draws the notice, or else why there is no connection, or else the keys of the current scope.
pub(super) fn draw_status(
    model: &Model,
    now: DateTime<FixedOffset>,
    area: Rect,
    buffer: &mut Buffer,
) {
    let theme = model.theme;
    let cut = |text: String| shorten(&text, usize::from(area.width));
    let left = match (&model.notice, model.chat.connection()) {
        (Some(notice), _) => {
            let style = if notice.is_error { theme.error() } else { theme.success() };
            Line::styled(cut(format!(" {}", notice.text)), style)
        }
        (None, ConnectionState::Offline { reason, retry_at }) => {
            let seconds = ((*retry_at - now).num_milliseconds().max(0) + 999) / 1_000;
            let retry = if seconds > 0 {
                format!("retrying in {seconds} s")
            } else {
                "retrying now".to_owned()
            };
            Line::styled(cut(format!(" {retry}: {}", reason.one_line())), theme.error())
        }
        (None, ConnectionState::Ended { reason }) => Line::styled(
            cut(format!(" session ended (Ctrl-Q quits): {}", reason.one_line())),
            theme.error(),
        ),
        (None, ConnectionState::Connecting | ConnectionState::Online { .. }) => {
            hint_line(model, area.width)
        }
    };
    left.render(area, buffer);
}

/// The keys of the current scope, help first, as many as fit.
fn hint_line(model: &Model, width: u16) -> Line<'static> {
    let top = model.scope();
    let mut spans = vec![Span::raw(" ")];
    match model.picked() {
        Some(ItemId::Message(id)) => spans.push(Span::raw(format!("message {id}  "))),
        Some(ItemId::Pending(_)) => spans.push(Span::raw("not sent yet  ")),
        Some(ItemId::Boundary(_) | ItemId::Other(_)) | None => {}
    }
    let anywhere = || {
        model.keymap.hints(Scope::Anywhere).filter(|_| matches!(top, Scope::Typing | Scope::Picked))
    };
    let all = anywhere().take(1).chain(model.keymap.hints(top)).chain(anywhere().skip(1));
    let mut used: usize = spans.iter().map(|span| span.content.width()).sum();
    for (key, hint) in all {
        let (key, hint) = (key.to_string(), format!(" {hint}  "));
        used += key.width() + hint.width();
        if used > usize::from(width) + 2 {
            break;
        }
        spans.push(Span::styled(key, model.theme.key()));
        spans.push(Span::styled(hint, model.theme.dim()));
    }
    Line::from(spans)
}
