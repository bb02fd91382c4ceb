//! The header and the status line.

use chrono::{DateTime, FixedOffset};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use unicode_width::UnicodeWidthStr;

use crate::client::state::ConnectionState;
use crate::tui::command::{Scope, hints};
use crate::tui::model::{ItemId, Model};
use crate::tui::update::scope;
use crate::tui::wrap::shorten;

/// Draws the server, the state of the connection, the number of online users and the own ID, shortened to
/// the width of the screen.
pub(super) fn draw_header(model: &Model, area: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    let (sign, word, style) = match model.chat.connection() {
        ConnectionState::Online { .. } => ("●", "TLS 1.3", theme.success()),
        ConnectionState::Connecting => ("○", "connecting", theme.warning()),
        ConnectionState::Offline { .. } => ("○", "not connected", theme.error()),
        ConnectionState::Ended { .. } => ("×", "ended", theme.error()),
    };
    let server = || Span::raw(format!("{} ", model.server));
    let state = || Span::styled(format!("{sign} {word}"), style);
    let long = || vec![Span::styled(" chat  ", theme.title()), server(), state()];
    let short = || vec![Span::raw(" "), server(), Span::styled(sign, style)];
    let count = model.chat.directory().online_count();
    let others = if count == 1 { "other" } else { "others" };
    let you = model.chat.own_id().map(|id| Span::styled(format!("{id} "), theme.own()));
    let full = [Span::raw(format!("{count} {others} online   you are "))];
    let brief = [Span::raw(format!("{count} online (F2)  "))];
    let line = |spans: &[Span<'static>]| {
        Line::from(spans.iter().cloned().chain(you.clone()).collect::<Vec<_>>())
    };
    let candidates = [
        (Line::from(long()), line(&full)),
        (Line::from(long()), line(&brief)),
        (Line::from(short()), line(&brief)),
        (Line::from(short()), line(&[])),
    ];
    let fits = |(left, right): &(Line<'_>, Line<'_>)| {
        left.width() + right.width() < usize::from(area.width)
    };
    let (left, right) =
        candidates.into_iter().find(fits).unwrap_or_else(|| (Line::default(), line(&[])));
    right.right_aligned().render(area, buffer);
    let width = u16::try_from(left.width()).unwrap_or(u16::MAX).min(area.width);
    left.render(Rect { width, ..area }, buffer);
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
    let top = scope(model);
    let mut spans = vec![Span::raw(" ")];
    match model.picked() {
        Some(ItemId::Message(id)) => spans.push(Span::raw(format!("message {id}  "))),
        Some(ItemId::Pending(_)) => spans.push(Span::raw("not sent yet  ")),
        Some(ItemId::Boundary(_) | ItemId::Other(_)) | None => {}
    }
    let anywhere =
        || hints(Scope::Anywhere).filter(|_| matches!(top, Scope::Typing | Scope::Picked));
    let all = anywhere().take(1).chain(hints(top)).chain(anywhere().skip(1));
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
