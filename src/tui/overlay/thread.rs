//! A thread, a message and all replies to it, or the pinned messages, in one list.

use std::collections::BTreeMap;

use chrono::{DateTime, FixedOffset};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::client::state::timeline::MessageState;
use crate::client::state::{MessageChange, Session};
use crate::protocol::id::{Cid, MessageId, Seq};
use crate::protocol::message::Message;
use crate::tui::bubble::display_name;
use crate::tui::list::{self, ListFrame, ListLayout, Selection};
use crate::tui::text::wrap;
use crate::tui::theme::Theme;

/// The highest number of lines of a message; Enter shows the whole message in the conversation.
const MAX_LINES: usize = 6;

/// Whether the server's part of the thread has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Progress {
    /// It was requested.
    Loading(Cid),
    Complete,
    /// It cannot be loaded: only what was loaded before is shown.
    LoadedOnly,
}

/// Which messages are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThreadSubject {
    /// This message and the replies to it.
    Replies(MessageId),
    /// The pinned messages.
    Pinned,
}

impl ThreadSubject {
    fn includes(self, message: &Message) -> bool {
        match self {
            Self::Replies(root) => message.id == root || message.reply_to() == Some(root),
            Self::Pinned => message.pinned,
        }
    }
}

/// A message and the replies to it, or the pinned messages.
#[derive(Debug, Clone)]
pub struct ThreadOverlay {
    subject: ThreadSubject,
    messages: BTreeMap<Seq, Message>,
    progress: Progress,
    /// The selected row.
    pub list: Selection,
}

impl ThreadOverlay {
    /// Shows the loaded messages of the open conversation. `request` asks the server for the others, if there
    /// is a connection.
    pub fn new(chat: &Session, subject: ThreadSubject, request: Option<Cid>) -> Self {
        let loaded = chat.opened().timeline().newest_first();
        let loaded = loaded.filter(|one| subject.includes(one));
        let progress = request.map_or(Progress::LoadedOnly, Progress::Loading);
        let messages: BTreeMap<_, _> = loaded.map(|one| (one.seq, one.clone())).collect();
        let list = Selection::new(messages.len());
        Self { subject, messages, progress, list }
    }

    /// Whether this is the answer to the request of this thread.
    pub fn is_current_request(&self, cid: Option<&Cid>) -> bool {
        matches!(&self.progress, Progress::Loading(asked) if Some(asked) == cid)
    }

    /// Adds the messages that the server sent.
    pub fn on_page(&mut self, messages: Vec<Message>) {
        self.progress = Progress::Complete;
        for message in messages {
            self.add(message);
        }
    }

    /// Records that the server's part will not arrive.
    pub fn on_refused(&mut self) {
        self.progress = Progress::LoadedOnly;
    }

    /// Adds a message, if it is to be listed.
    pub fn add(&mut self, message: Message) {
        if self.subject.includes(&message) {
            self.messages.insert(message.seq, message);
            self.list.set_count(self.messages.len());
        }
    }

    /// Handles the change of a message. Its old text is dropped; the new one is known only if it is loaded.
    pub fn on_message_changed(&mut self, id: MessageId, change: MessageChange, chat: &Session) {
        let Some(seq) = self.messages.values().find(|one| one.id == id).map(|one| one.seq) else {
            return;
        };
        let loaded = chat.message(id).filter(|entry| entry.state == MessageState::Readable);
        match (loaded, change) {
            (Some(entry), _) if self.subject.includes(&entry.message) => {
                self.messages.insert(seq, entry.message.clone());
            }
            (Some(_), _) => drop(self.messages.remove(&seq)),
            (None, MessageChange::Reacted | MessageChange::Pinned) => {}
            (None, MessageChange::Removed | MessageChange::Expired | MessageChange::Edited) => {
                self.messages.remove(&seq);
            }
        }
        self.list.set_count(self.messages.len());
    }

    /// The selected message.
    pub fn selected(&self) -> Option<MessageId> {
        self.messages.values().nth(self.list.index()).map(|message| message.id)
    }

    /// The number of rows that the thread needs with its frame, in an overlay of this width.
    pub fn height(&self, width: u16) -> u16 {
        let rows = self.heights(width.saturating_sub(4));
        rows.into_iter().fold(2, u16::saturating_add)
    }

    fn heights(&self, width: u16) -> Vec<u16> {
        let height = |message| u16::try_from(text_lines(message, width).len() + 1);
        self.messages.values().map(|message| height(message).unwrap_or(u16::MAX)).collect()
    }

    /// Lays out the visible rows.
    pub fn lay_out(&self, area: Rect) -> ListLayout {
        let rows = list::rows_area(area, false);
        let heights = self.heights(rows.width);
        self.list.lay_out(|index| heights.get(index).copied().unwrap_or(0), rows)
    }

    /// Draws the thread.
    pub fn draw(
        &self,
        chat: &Session,
        area: Rect,
        rows: &[(usize, Rect)],
        zone: FixedOffset,
        theme: Theme,
        buffer: &mut Buffer,
    ) {
        let title = match self.subject {
            ThreadSubject::Pinned => format!(" Pinned · {} ", self.messages.len()),
            ThreadSubject::Replies(root) => {
                let replies = self.messages.values().filter(|one| one.reply_to() == Some(root));
                match replies.count() {
                    1 => " Thread · 1 reply ".to_owned(),
                    replies => format!(" Thread · {replies} replies "),
                }
            }
        };
        let note = match self.progress {
            Progress::Loading(_) => " loading… ",
            Progress::Complete => "",
            Progress::LoadedOnly => " loaded messages only ",
        };
        let frame = ListFrame { title, input: None, note };
        let rows = rows.iter().filter_map(|(index, row)| {
            let message = self.messages.values().nth(*index)?;
            let mut lines = vec![heading(chat, message, zone, theme)];
            lines.extend(text_lines(message, row.width).into_iter().map(Line::raw));
            Some((lines, *row, *index == self.list.index()))
        });
        list::draw(&frame, area, rows, theme, buffer);
    }
}

fn heading(chat: &Session, message: &Message, zone: FixedOffset, theme: Theme) -> Line<'static> {
    let (name, style): (String, Style) = if chat.is_own_id(&message.sender) {
        ("you".to_owned(), theme.own())
    } else {
        (display_name(&message.sender, message.guest), theme.name(&message.sender))
    };
    let at: DateTime<FixedOffset> = message.at.with_timezone(&zone);
    let at = at.format(" %-d %b %H:%M").to_string();
    Line::from(vec![Span::styled(name, style), Span::styled(at, theme.dim())])
}

fn text_lines(message: &Message, width: u16) -> Vec<String> {
    let mut lines = wrap(message.content.as_str(), usize::from(width.max(1)));
    if lines.len() > MAX_LINES {
        lines.truncate(MAX_LINES - 1);
        lines.push("…".to_owned());
    }
    lines
}
