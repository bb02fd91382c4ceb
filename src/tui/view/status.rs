//! The line above everything, the line below everything, and the question about deleting.

use chrono::{DateTime, FixedOffset};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Padding, Paragraph, Widget};
use unicode_width::UnicodeWidthStr;

use crate::client::state::ConnectionState;
use crate::protocol::id::MessageId;
use crate::tui::command::{Scope, hints};
use crate::tui::conversation::quote_text;
use crate::tui::model::{ItemId, Model};
use crate::tui::update::scope;
use crate::tui::wrap::shorten;

/// Draws where one is, who is here and who one is: in as many words as there is room for.
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
    let here = model.chat.online_users().len();
    let others = if here == 1 { "other" } else { "others" };
    let you = model.chat.own_id().map(|id| Span::styled(format!("{id} "), theme.own()));
    let whole = [Span::raw(format!("{here} {others} here   you are "))];
    let brief = [Span::raw(format!("{here} here (F2)  "))];
    let line = |words: &[Span<'static>]| {
        Line::from(words.iter().cloned().chain(you.clone()).collect::<Vec<_>>())
    };
    let candidates = [
        (Line::from(long()), line(&whole)),
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

/// Draws what the keys do, or what there is to say.
pub(super) fn draw_status(
    model: &Model,
    now: DateTime<FixedOffset>,
    area: Rect,
    buffer: &mut Buffer,
) {
    let theme = model.theme;
    let cut = |words: String| shorten(&words, usize::from(area.width));
    let left = match (&model.notice, model.chat.connection()) {
        (Some(notice), _) => {
            let style = if notice.is_error { theme.error() } else { theme.success() };
            Line::styled(cut(format!(" {}", notice.text)), style)
        }
        (None, ConnectionState::Offline { reason, retry_at }) => {
            let seconds = ((*retry_at - now).num_milliseconds().max(0) + 999) / 1_000;
            let again = if seconds > 0 {
                format!("again in {seconds} s")
            } else {
                "trying again".to_owned()
            };
            Line::styled(cut(format!(" {again}: {}", reason.one_line())), theme.error())
        }
        (None, ConnectionState::Ended { reason }) => {
            Line::styled(cut(format!(" Ctrl-Q leaves: {}", reason.one_line())), theme.error())
        }
        (None, ConnectionState::Connecting | ConnectionState::Online { .. }) => {
            hint_line(model, area.width)
        }
    };
    left.render(area, buffer);
}

/// As many keys as there is room for, the way to the others first.
fn hint_line(model: &Model, width: u16) -> Line<'static> {
    let top = scope(model);
    let mut spans = vec![Span::raw(" ")];
    match model.picked() {
        Some(ItemId::Message(id)) => spans.push(Span::raw(format!("message {id}  "))),
        Some(ItemId::Pending(_)) => spans.push(Span::raw("not stored yet  ")),
        Some(ItemId::Boundary(_) | ItemId::Other(_)) | None => {}
    }
    let anywhere =
        || hints(Scope::Anywhere).filter(|_| matches!(top, Scope::Typing | Scope::Picked));
    let all = anywhere().take(1).chain(hints(top)).chain(anywhere().skip(1));
    let mut used: usize = spans.iter().map(|span| span.content.width()).sum();
    for (key, word) in all {
        let (key, word) = (key.to_string(), format!(" {word}  "));
        used += key.width() + word.width();
        if used > usize::from(width) + 2 {
            break;
        }
        spans.push(Span::styled(key, model.theme.key()));
        spans.push(Span::styled(word, model.theme.dim()));
    }
    Line::from(spans)
}

/// Draws the question.
pub(super) fn draw_question(model: &Model, id: MessageId, area: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    Clear.render(area, buffer);
    let width = usize::from(area.width.saturating_sub(4));
    let quote = shorten(&quote_text(&model.chat, id), width);
    let answer = Line::from(vec![
        Span::styled("y", theme.key()),
        Span::raw(" delete it for everyone   "),
        Span::styled("n", theme.key()),
        Span::raw(" keep it"),
    ]);
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(theme.error())
        .padding(Padding::horizontal(1))
        .title(" Delete this message? ");
    Paragraph::new(vec![Line::styled(quote, theme.dim()), answer])
        .block(block)
        .render(area, buffer);
}
