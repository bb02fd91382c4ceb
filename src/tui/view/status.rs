//! The line above everything, the line below everything, and the question about deleting.

use chrono::{DateTime, FixedOffset};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Padding, Paragraph, Widget};

use crate::client::state::Link;
use crate::protocol::id::MessageId;
use crate::tui::command::{Scope, hints};
use crate::tui::conversation::quote_words;
use crate::tui::layout::PEOPLE_FROM;
use crate::tui::model::{Key, Model};
use crate::tui::update::scope;
use crate::tui::wrap::shorten;

/// Draws where one is, who is here and who one is.
pub(super) fn draw_header(model: &Model, area: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    let mut left = vec![Span::styled(" chat ", theme.title()), Span::raw(" ")];
    left.push(Span::raw(model.server.clone()));
    left.push(match model.room.link() {
        Link::Online { .. } => Span::styled("  ● TLS 1.3", theme.good()),
        Link::Connecting => Span::styled("  ○ connecting", theme.temporary()),
        Link::Offline { .. } => Span::styled("  ○ not connected", theme.error()),
        Link::Ended { .. } => Span::styled("  × ended", theme.error()),
    });
    let here = model.room.people().len();
    let keys = if area.width < PEOPLE_FROM { " (F2)" } else { "" };
    let mut right = vec![Span::raw(format!(
        "{here} {} here{keys}",
        if here == 1 { "other" } else { "others" }
    ))];
    if let Some(you) = model.room.you() {
        right.push(Span::raw("  you are "));
        right.push(Span::styled(you.to_string(), theme.own().patch(theme.title())));
    }
    right.push(Span::raw(" "));
    sides(Line::from(left), Line::from(right), area, buffer);
}

/// Draws what the keys do, or what there is to say.
pub(super) fn draw_status(
    model: &Model,
    now: DateTime<FixedOffset>,
    area: Rect,
    buffer: &mut Buffer,
) {
    let theme = model.theme;
    let left = match (&model.notice, model.room.link()) {
        (Some(notice), _) => {
            let style = if notice.is_error { theme.error() } else { theme.good() };
            Line::styled(format!(" {}", notice.text), style)
        }
        (None, Link::Offline { reason, retry_at }) => {
            let seconds = ((*retry_at - now).num_milliseconds().max(0) + 999) / 1_000;
            let again = if seconds > 0 {
                format!("again in {seconds} s")
            } else {
                "trying again".to_owned()
            };
            Line::styled(format!(" {again}: {}", reason.one_line()), theme.error())
        }
        (None, Link::Ended { reason }) => {
            Line::styled(format!(" {} (Ctrl-Q leaves)", reason.one_line()), theme.error())
        }
        (None, Link::Connecting | Link::Online { .. }) => hint_line(model),
    };
    left.render(area, buffer);
}

fn hint_line(model: &Model) -> Line<'static> {
    let top = scope(model);
    let general = matches!(top, Scope::Typing | Scope::Picked).then(|| hints(Scope::Anywhere));
    let mut spans = vec![Span::raw(" ")];
    match model.picked() {
        Some(Key::Message(id)) => spans.push(Span::raw(format!("message {id}  "))),
        Some(Key::Pending(_)) => spans.push(Span::raw("not sent: e edits it  ")),
        Some(Key::Other(_)) | None => {}
    }
    for (key, word) in hints(top).chain(general.into_iter().flatten()) {
        spans.push(Span::styled(key.to_string(), model.theme.key()));
        spans.push(Span::styled(format!(" {word}  "), model.theme.quiet()));
    }
    Line::from(spans)
}

/// Two lines on one row; where there is no room for both, the left one counts.
fn sides(left: Line<'_>, right: Line<'_>, area: Rect, buffer: &mut Buffer) {
    if left.width() + right.width() < usize::from(area.width) {
        right.right_aligned().render(area, buffer);
    }
    let width = u16::try_from(left.width()).unwrap_or(u16::MAX).min(area.width);
    left.render(Rect { width, ..area }, buffer);
}

/// Draws the question.
pub(super) fn draw_question(model: &Model, id: MessageId, area: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    Clear.render(area, buffer);
    let width = usize::from(area.width.saturating_sub(4));
    let quote = shorten(&quote_words(&model.room, id), width);
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
    Paragraph::new(vec![Line::styled(quote, theme.quiet()), answer])
        .block(block)
        .render(area, buffer);
}
