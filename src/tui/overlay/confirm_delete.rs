//! The question whether to delete a message.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Padding, Paragraph, Widget};

use crate::client::state::Session;
use crate::protocol::id::MessageId;
use crate::tui::conversation::quote_text;
use crate::tui::text::shorten;
use crate::tui::theme::Theme;

/// Draws the question about the message `id`.
pub fn draw(chat: &Session, id: MessageId, area: Rect, theme: Theme, buffer: &mut Buffer) {
    Clear.render(area, buffer);
    let width = usize::from(area.width.saturating_sub(4));
    let quote = shorten(&quote_text(chat, id), width);
    let answers = Line::from(vec![
        Span::styled("Enter", theme.key()),
        Span::raw(" delete for everyone   "),
        Span::styled("Esc", theme.key()),
        Span::raw(" keep"),
    ]);
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(theme.error())
        .padding(Padding::horizontal(1))
        .title(" Delete this message? ");
    Paragraph::new(vec![Line::styled(quote, theme.dim()), answers])
        .block(block)
        .render(area, buffer);
}
