//! The menu of a message: what can be done with it, and the letter that does it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::client::state::timeline::{MessageState, TimelineMessage};
use crate::client::state::{Delivery, Session};
use crate::protocol::message::Audience;
use crate::tui::command::{MessageCommand, Scope, UiCommand};
use crate::tui::item::ItemId;
use crate::tui::key::Chord;
use crate::tui::keymap::Keymap;
use crate::tui::list::{self, ListFrame, ListLayout, Selection};
use crate::tui::text::find_links;
use crate::tui::theme::Theme;

/// The width of the menu.
pub const WIDTH: u16 = 28;

/// A row of the menu.
#[derive(Debug, Clone)]
struct Row {
    command: MessageCommand,
    key: Option<Chord>,
    description: &'static str,
}

/// The menu of a message.
#[derive(Debug, Clone)]
pub struct MessageMenu {
    /// The message.
    pub item: ItemId,
    rows: Vec<Row>,
    /// The selected row.
    pub list: Selection,
}

impl MessageMenu {
    /// Returns the menu of a message; `None` if nothing can be done with it.
    pub fn new(chat: &Session, keymap: &Keymap, item: &ItemId) -> Option<Self> {
        let rows = keymap.in_scope(Scope::Menu).filter_map(|bound| match bound.binding.command {
            UiCommand::Message(command) => {
                let key = bound.chords.first().copied();
                Some(Row { command, key, description: bound.binding.description })
            }
            _ => None,
        });
        let rows: Vec<_> = rows.filter(|row| is_offered(chat, item, row.command)).collect();
        let list = Selection::new(rows.len());
        (!rows.is_empty()).then(|| Self { item: item.clone(), rows, list })
    }

    /// The command of the selected row.
    pub fn selected(&self) -> Option<MessageCommand> {
        self.rows.get(self.list.index()).map(|row| row.command)
    }

    /// Whether the menu has this command.
    pub fn offers(&self, command: MessageCommand) -> bool {
        self.rows.iter().any(|row| row.command == command)
    }

    /// The number of rows with the frame.
    pub fn height(&self) -> u16 {
        u16::try_from(self.rows.len() + 2).unwrap_or(u16::MAX)
    }

    /// Lays out the visible rows.
    pub fn lay_out(&self, area: Rect) -> ListLayout {
        self.list.lay_out(|_| 1, list::rows_area(area, false))
    }

    /// Draws the menu.
    pub fn draw(&self, area: Rect, rows: &[(usize, Rect)], theme: Theme, buffer: &mut Buffer) {
        let title = match &self.item {
            ItemId::Message(id) => format!(" {id} "),
            ItemId::Pending(_) | ItemId::Boundary(_) | ItemId::Other(_) => String::new(),
        };
        let frame = ListFrame { title, input: None, note: "" };
        let rows = rows.iter().filter_map(|(index, row)| {
            let Row { key, description, .. } = self.rows.get(*index)?;
            let key = key.map(|key| key.to_string()).unwrap_or_default();
            let line = Line::from(vec![
                Span::styled(format!("{key:<3}"), theme.key()),
                Span::raw(*description),
            ]);
            Some((vec![line], *row, *index == self.list.index()))
        });
        list::draw(&frame, area, rows, theme, buffer);
    }
}

/// Whether `command` can be run on a message.
fn is_offered(chat: &Session, item: &ItemId, command: MessageCommand) -> bool {
    match item {
        ItemId::Message(id) => chat
            .opened()
            .timeline()
            .message(*id)
            .filter(|entry| entry.state == MessageState::Readable)
            .is_some_and(|entry| is_offered_for(chat, entry, command)),
        ItemId::Pending(cid) => {
            let mut pending = chat.opened().pending().iter();
            let pending = pending.find(|pending| pending.cid == *cid);
            pending.is_some_and(|pending| match command {
                MessageCommand::Copy => true,
                MessageCommand::Edit | MessageCommand::Discard => {
                    matches!(pending.delivery, Delivery::Failed(_))
                }
                MessageCommand::Reply
                | MessageCommand::Delete
                | MessageCommand::React
                | MessageCommand::ShowThread
                | MessageCommand::OpenLink
                | MessageCommand::Pin => false,
            })
        }
        ItemId::Boundary(_) | ItemId::Other(_) => false,
    }
}

fn is_offered_for(chat: &Session, entry: &TimelineMessage, command: MessageCommand) -> bool {
    let is_own = chat.is_own_id(&entry.message.sender);
    match command {
        MessageCommand::Reply
        | MessageCommand::React
        | MessageCommand::ShowThread
        | MessageCommand::Copy => true,
        MessageCommand::Edit => is_own && entry.message.expires().is_none(),
        MessageCommand::Delete => is_own,
        MessageCommand::OpenLink => !find_links(entry.message.content.as_str()).is_empty(),
        MessageCommand::Pin => can_pin(chat),
        MessageCommand::Discard => false,
    }
}

/// Whether the user may pin messages of the open conversation: anyone in a direct conversation, and the owner
/// of a room. The server decides while the members are not loaded.
fn can_pin(chat: &Session) -> bool {
    match chat.open_audience() {
        Audience::Everyone => false,
        Audience::Only(_) => true,
        Audience::Room(_) => {
            let owner = chat.opened().members().and_then(|members| members.users.first());
            owner.is_none_or(|owner| chat.is_own_id(owner))
        }
    }
}
