//! What is being written: the input box, the recipients, the reply, the time a message has.
//!
//! The recipients shown are those that `say` uses: there is one place that knows.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Widget;
use tui_textarea::{CursorMove, TextArea, WrapMode};

use super::completion::Completion;
use crate::client::input::UserInput;
use crate::client::state::{ChatState, ResolveError};
use crate::protocol::id::{MessageId, UserId};
use crate::protocol::message::Audience;
use crate::protocol::request::{Post, PostKind};

/// The times that Ctrl-T goes through, in seconds.
const EXPIRY_CHOICES: [u32; 4] = [10, 60, 600, 3_600];

/// What is being written.
#[derive(Debug, Clone)]
pub struct Composer {
    /// The text.
    pub input: TextArea<'static>,
    /// The people it is for; nobody means everyone.
    pub recipients: Vec<UserId>,
    /// The message it replies to.
    pub reply_to: Option<MessageId>,
    /// The people chosen before the reply was begun.
    recipients_before_reply: Vec<UserId>,
    /// How long it lives.
    pub expires_after: Option<u32>,
    /// The completion that is open.
    pub completion: Option<Completion>,
}

/// Who would get the message, and how, if it were sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// To whom; or why the names that were typed mean nobody.
    pub audience: Result<Audience, ResolveError>,
    /// As what.
    pub kind: PostKind,
    /// Whether the names were typed, so that the chosen ones do not count.
    pub is_typed: bool,
}

impl Default for Composer {
    fn default() -> Self {
        Self {
            input: text_area(),
            recipients: Vec::new(),
            reply_to: None,
            recipients_before_reply: Vec::new(),
            expires_after: None,
            completion: None,
        }
    }
}

/// A box to write in, drawn plainly: the terminal's own cursor shows where one is.
pub fn text_area() -> TextArea<'static> {
    let mut text = TextArea::default();
    text.set_cursor_line_style(Style::new());
    text.set_cursor_style(Style::new());
    text.set_wrap_mode(WrapMode::WordOrGlyph);
    text
}

impl Composer {
    /// The text as it was typed.
    pub fn text(&self) -> String {
        self.input.lines().join("\n")
    }

    /// Whether nothing is typed.
    pub fn is_empty(&self) -> bool {
        self.input.is_empty()
    }

    /// Throws the text away.
    pub fn clear(&mut self) {
        self.set_input(text_area());
    }

    /// Puts this text into the box, with the cursor at its end.
    pub fn set_text(&mut self, typed: &str) {
        let mut text = text_area();
        text.insert_str(typed);
        self.set_input(text);
    }

    fn set_input(&mut self, text: TextArea<'static>) {
        self.input = text;
        self.completion = None;
    }

    /// Begins a reply: it goes to those who see the message.
    pub fn start_reply(&mut self, id: MessageId, chat: &ChatState) {
        if self.reply_to.is_none() {
            self.recipients_before_reply = std::mem::take(&mut self.recipients);
        }
        self.reply_to = Some(id);
        self.expires_after = None;
        self.recipients = match chat.reply_audience(id) {
            Audience::Everyone => Vec::new(),
            Audience::Only(people) => people.into_iter().collect(),
        };
    }

    /// Drops the reply, if there is one; the people chosen before are chosen again.
    pub fn cancel_reply(&mut self) {
        if self.reply_to.take().is_some() {
            self.recipients = std::mem::take(&mut self.recipients_before_reply);
        }
    }

    /// Takes back what was not sent, as it was to be sent.
    pub fn restore_unsent(&mut self, post: Post) {
        self.cancel_reply();
        self.set_text(post.content.as_str());
        (self.reply_to, self.expires_after) = match post.kind {
            PostKind::Plain => (None, None),
            PostKind::Temporary { seconds } => (None, Some(seconds)),
            PostKind::Reply { to } => (Some(to), None),
        };
        self.recipients = match post.audience {
            Audience::Everyone => Vec::new(),
            Audience::Only(people) => people.into_iter().collect(),
        };
    }

    /// What is left for the next message once one is sent: the people.
    pub fn reset_after_send(&mut self) {
        self.clear();
        self.cancel_reply();
        self.expires_after = None;
    }

    /// Adds a person, or removes them.
    pub fn toggle_recipient(&mut self, id: &UserId) {
        match self.recipients.iter().position(|chosen| chosen == id) {
            Some(index) => drop(self.recipients.remove(index)),
            None => self.recipients.push(id.clone()),
        }
    }

    /// The next of the times a message can have; after the last: no end.
    pub fn cycle_expiry(&mut self) {
        self.expires_after = match self.expires_after {
            None => EXPIRY_CHOICES.first().copied(),
            Some(now) => EXPIRY_CHOICES.into_iter().find(|life| *life > now),
        };
    }

    /// Who would get the text, and how, if it were sent now.
    pub fn destination(&self, chat: &ChatState) -> Destination {
        // What a command and its names mean does not depend on the text after them, which may
        // not be there yet.
        let line = UserInput::parse(&format!("{}\n.", self.text()));
        let (words, kind) = match line {
            Ok(UserInput::Post { to, .. }) => (to, self.kind()),
            Ok(UserInput::Temporary { to, seconds, .. }) => (to, PostKind::Temporary { seconds }),
            Ok(UserInput::Reply { to, .. }) => {
                let audience = Ok(chat.reply_audience(to));
                return Destination { audience, kind: PostKind::Reply { to }, is_typed: true };
            }
            Ok(UserInput::Delete(_) | UserInput::Search(_) | UserInput::Exit) | Err(_) => {
                (vec![], self.kind())
            }
        };
        if words.is_empty() {
            return Destination { audience: Ok(self.chosen_audience()), kind, is_typed: false };
        }
        let people = words.iter().map(|word| chat.resolve(word)).collect::<Result<_, _>>();
        Destination { audience: people.map(Audience::Only), kind, is_typed: true }
    }

    fn chosen_audience(&self) -> Audience {
        if self.recipients.is_empty() {
            Audience::Everyone
        } else {
            Audience::Only(self.recipients.iter().cloned().collect())
        }
    }

    fn kind(&self) -> PostKind {
        match (self.reply_to, self.expires_after) {
            (Some(to), _) => PostKind::Reply { to },
            (None, Some(seconds)) => PostKind::Temporary { seconds },
            (None, None) => PostKind::Plain,
        }
    }

    /// How many rows the text takes in a box of `width` cells.
    pub fn height(&self, width: u16) -> u16 {
        // The box alone knows how it wraps, and says so only of where its cursor is.
        let mut text = self.input.clone();
        text.move_cursor(CursorMove::Bottom);
        text.move_cursor(CursorMove::End);
        let area = Rect::new(0, 0, width.max(1), 1);
        (&text).render(area, &mut Buffer::empty(area));
        u16::try_from(text.screen_cursor().row + 1).unwrap_or(u16::MAX)
    }
}
