//! Questions before something is done that cannot be taken back.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Padding, Paragraph, Widget};

use crate::client::state::Session;
use crate::protocol::id::MessageId;
use crate::protocol::text::SafeText;
use crate::tui::command::{Scope, UiCommand};
use crate::tui::conversation::quote_text;
use crate::tui::keymap::Keymap;
use crate::tui::text::shorten;
use crate::tui::theme::Theme;

/// A question, with what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Delete this message?
    Delete(MessageId),
    /// Keep this long paste in the input, or send it at once?
    Paste {
        /// The pasted text.
        text: SafeText,
        /// The number of messages that it would be.
        messages: usize,
    },
    /// Send the draft, which is too long for one message, as this many?
    Split(usize),
    /// Send the draft as text, although it begins like a command?
    UnknownCommand,
}

impl Question {
    fn title(&self) -> String {
        match self {
            Self::Delete(_) => " Delete this message? ".to_owned(),
            Self::Paste { text, .. } => {
                let text = text.as_str();
                let (lines, characters) = (text.lines().count(), text.chars().count());
                format!(" Paste of {lines} lines, {characters} characters ")
            }
            Self::Split(_) => " Too long for one message ".to_owned(),
            Self::UnknownCommand => " Unknown command ".to_owned(),
        }
    }

    fn about(&self, chat: &Session) -> String {
        match self {
            Self::Delete(id) => quote_text(chat, *id),
            Self::Paste { text, .. } => text.one_line(),
            Self::Split(_) => "The draft stays in the input until you decide.".to_owned(),
            Self::UnknownCommand => "Nothing was sent. F1 lists the commands.".to_owned(),
        }
    }

    fn answers(&self) -> Vec<(UiCommand, String)> {
        match self {
            Self::Delete(_) => {
                vec![
                    (UiCommand::Confirm, "delete for everyone".to_owned()),
                    (UiCommand::Back, "keep".to_owned()),
                ]
            }
            Self::Paste { messages, .. } => {
                let send = match messages {
                    1 => "send now".to_owned(),
                    count => format!("send as {count} messages"),
                };
                vec![
                    (UiCommand::Confirm, "keep in input".to_owned()),
                    (UiCommand::SendPaste, send),
                    (UiCommand::Back, "drop".to_owned()),
                ]
            }
            Self::Split(count) => {
                vec![
                    (UiCommand::Confirm, format!("send as {count} messages")),
                    (UiCommand::Back, "edit".to_owned()),
                ]
            }
            Self::UnknownCommand => {
                vec![
                    (UiCommand::Confirm, "send as text".to_owned()),
                    (UiCommand::Back, "edit".to_owned()),
                ]
            }
        }
    }

    /// Draws the question.
    pub fn draw(
        &self,
        chat: &Session,
        keymap: &Keymap,
        area: Rect,
        theme: Theme,
        buffer: &mut Buffer,
    ) {
        Clear.render(area, buffer);
        let width = usize::from(area.width.saturating_sub(4));
        let about = shorten(&self.about(chat), width);
        let answers =
            self.answers().into_iter().enumerate().flat_map(|(index, (command, label))| {
                let key = keymap.key_in(Scope::Question, command);
                let key = key.map(|key| key.to_string()).unwrap_or_default();
                let gap = if index == 0 { "" } else { "   " };
                [Span::raw(gap), Span::styled(key, theme.key()), Span::raw(format!(" {label}"))]
            });
        let block = Block::bordered()
            .border_type(BorderType::Rounded)
            .border_style(theme.error())
            .padding(Padding::horizontal(1))
            .title(self.title());
        Paragraph::new(vec![Line::styled(about, theme.dim()), answers.collect()])
            .block(block)
            .render(area, buffer);
    }
}
