//! Draws the composer: the `To:` line, the reply, the input and the proposals of the completion.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Borders, Clear, Widget};
use unicode_width::UnicodeWidthStr;

use crate::protocol::limits;
use crate::protocol::message::Audience;
use crate::tui::conversation::quote_text;
use crate::tui::layout::ScreenLayout;
use crate::tui::model::Model;
use crate::tui::text::shorten;
use crate::tui::to_line::to_line;

/// From this length on, in characters, the length of the draft is shown.
const SHOW_LENGTH_FROM: usize = limits::CONTENT_CHARACTERS / 2;

/// Says how to drop a reply or an edit.
const DROPS_HINT: &str = " Esc drops it";

/// The width of [`DROPS_HINT`] in cells.
const DROPS_HINT_WIDTH: u16 = 13;

/// Draws the composer.
pub(super) fn draw(model: &Model, layout: &ScreenLayout, buffer: &mut Buffer) {
    let theme = model.theme;
    let frame = layout.composer;
    if frame.height > 1 {
        let line = to_line(model, frame.width);
        let borders = if frame.height > 2 { Borders::ALL } else { Borders::TOP };
        let border = match model.composer.destination(&model.chat).audience {
            Ok(Audience::Everyone) => theme.dim(),
            Ok(Audience::Room(_)) => theme.accent(),
            Ok(Audience::Only(_)) => theme.private(),
            Err(_) => theme.error(),
        };
        Clear.render(frame, buffer);
        Block::new()
            .borders(borders)
            .border_type(BorderType::Rounded)
            .border_style(border)
            .title_bottom(Line::from(length_counter(model)).right_aligned())
            .render(frame, buffer);
        let to = Line::from(line.parts.into_iter().map(|(span, _)| span).collect::<Vec<_>>());
        let top = Rect { x: frame.x + 1, width: frame.width.saturating_sub(2), height: 1, ..frame };
        to.render(top, buffer);
        if let Some(expiry) = line.expiry {
            Line::from(expiry).right_aligned().render(top, buffer);
        }
    }
    if let (Some(area), Some(id)) = (layout.reply, model.composer.quoted()) {
        let verb = if model.composer.editing.is_some() { "edit" } else { "reply to" };
        let text = format!("┃ {verb} {}", quote_text(&model.chat, id));
        let text = shorten(&text, usize::from(area.width.saturating_sub(DROPS_HINT_WIDTH)));
        Span::styled(text, theme.own()).render(area, buffer);
        Line::styled(DROPS_HINT, theme.dim()).right_aligned().render(area, buffer);
    }
    if !layout.input.is_empty() {
        (&model.composer.input).render(layout.input, buffer);
    }
    draw_proposals(model, layout.composer, buffer);
}

/// The length of the draft and the limit, once the draft is long.
fn length_counter(model: &Model) -> Span<'static> {
    let count = model.composer.input.characters();
    let text = format!(" {count}/{} ", limits::CONTENT_CHARACTERS);
    match count {
        ..SHOW_LENGTH_FROM => Span::raw(""),
        SHOW_LENGTH_FROM..=limits::CONTENT_CHARACTERS => Span::styled(text, model.theme.dim()),
        _ => Span::styled(text, model.theme.error()),
    }
}

/// Draws the proposals of the completion, right above the frame.
fn draw_proposals(model: &Model, frame: Rect, buffer: &mut Buffer) {
    let Some(open) = &model.composer.completion else { return };
    let longest = open.proposals.iter().map(|p| p.text.width() + p.description.width() + 3).max();
    let width = longest.unwrap_or(0).min(usize::from(frame.width.saturating_sub(2)));
    let height = u16::try_from(open.proposals.len()).unwrap_or(0).min(frame.y);
    let area = Rect {
        x: frame.x + 1,
        y: frame.y - height,
        width: u16::try_from(width).unwrap_or(frame.width),
        height,
    };
    Clear.render(area, buffer);
    for ((index, proposal), y) in open.proposals.iter().enumerate().zip(area.top()..area.bottom()) {
        let style =
            if index == open.selected { model.theme.selection() } else { model.theme.text() };
        let text = format!(" {} {}", proposal.text, proposal.description);
        let line = format!("{:<width$}", shorten(&text, width));
        Span::styled(line, style).render(Rect { y, height: 1, ..area }, buffer);
    }
}
