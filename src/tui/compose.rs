//! What is being written: the input box, the recipients, the reply, the time a message has.
//!
//! The recipients shown are those that `say` uses: there is one place that knows.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Widget;
use tui_textarea::{CursorMove, TextArea, WrapMode};

use super::complete::Completion;
use crate::client::line::Line;
use crate::client::state::{ResolveError, Room};
use crate::protocol::id::{MessageId, UserId};
use crate::protocol::message::Audience;
use crate::protocol::request::{Say, SayKind};

/// The times that Ctrl-T goes through, in seconds.
const LIVES: [u32; 4] = [10, 60, 600, 3_600];

/// What is being written.
#[derive(Debug, Clone)]
pub struct Compose {
    /// The text.
    pub text: TextArea<'static>,
    /// The people it is for; nobody means everyone.
    pub to: Vec<UserId>,
    /// The message it replies to.
    pub reply: Option<MessageId>,
    /// The people chosen before the reply was begun.
    before_reply: Vec<UserId>,
    /// How long it lives.
    pub seconds: Option<u32>,
    /// The completion that is open.
    pub completion: Option<Completion>,
}

/// Who would get the message, and how, if it were sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// To whom; or why the names that were typed mean nobody.
    pub audience: Result<Audience, ResolveError>,
    /// As what.
    pub kind: SayKind,
    /// Whether the names were typed, so that the chosen ones do not count.
    pub is_typed: bool,
}

impl Default for Compose {
    fn default() -> Self {
        Self {
            text: text_area(),
            to: Vec::new(),
            reply: None,
            before_reply: Vec::new(),
            seconds: None,
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

impl Compose {
    /// The text as it was typed.
    pub fn typed(&self) -> String {
        self.text.lines().join("\n")
    }

    /// Whether nothing is typed.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Throws the text away.
    pub fn clear(&mut self) {
        self.set(text_area());
    }

    /// Puts this text into the box, with the cursor at its end.
    pub fn replace(&mut self, typed: &str) {
        let mut text = text_area();
        text.insert_str(typed);
        self.set(text);
    }

    fn set(&mut self, text: TextArea<'static>) {
        self.text = text;
        self.completion = None;
    }

    /// Begins a reply: it goes to those who see the message.
    pub fn reply_to(&mut self, id: MessageId, room: &Room) {
        if self.reply.is_none() {
            self.before_reply = std::mem::take(&mut self.to);
        }
        self.reply = Some(id);
        self.seconds = None;
        self.to = match room.reply_audience(id) {
            Audience::Everyone => Vec::new(),
            Audience::Only(people) => people.into_iter().collect(),
        };
    }

    /// Drops the reply, if there is one; the people chosen before are chosen again.
    pub fn drop_reply(&mut self) {
        if self.reply.take().is_some() {
            self.to = std::mem::take(&mut self.before_reply);
        }
    }

    /// Takes back what was not sent, as it was to be sent.
    pub fn restore(&mut self, say: Say) {
        self.drop_reply();
        self.replace(say.content.as_str());
        (self.reply, self.seconds) = match say.kind {
            SayKind::Plain => (None, None),
            SayKind::Temporary { seconds } => (None, Some(seconds)),
            SayKind::Reply { to } => (Some(to), None),
        };
        self.to = match say.audience {
            Audience::Everyone => Vec::new(),
            Audience::Only(people) => people.into_iter().collect(),
        };
    }

    /// What is left for the next message once one is sent: the people.
    pub fn sent(&mut self) {
        self.clear();
        self.drop_reply();
        self.seconds = None;
    }

    /// Adds a person, or removes them.
    pub fn toggle(&mut self, id: &UserId) {
        match self.to.iter().position(|chosen| chosen == id) {
            Some(index) => drop(self.to.remove(index)),
            None => self.to.push(id.clone()),
        }
    }

    /// The next of the times a message can have; after the last: no end.
    pub fn next_life(&mut self) {
        self.seconds = match self.seconds {
            None => LIVES.first().copied(),
            Some(now) => LIVES.into_iter().find(|life| *life > now),
        };
    }

    /// Who would get the text, and how, if it were sent now.
    pub fn address(&self, room: &Room) -> Address {
        // What a command and its names mean does not depend on the text after them, which may
        // not be there yet.
        let line = Line::parse(&format!("{}\n.", self.typed()));
        let (words, kind) = match line {
            Ok(Line::Say { to, .. }) => (to, self.kind()),
            Ok(Line::Temporary { to, seconds, .. }) => (to, SayKind::Temporary { seconds }),
            Ok(Line::Reply { to, .. }) => {
                let audience = Ok(room.reply_audience(to));
                return Address { audience, kind: SayKind::Reply { to }, is_typed: true };
            }
            Ok(Line::Delete(_) | Line::Search(_) | Line::Exit) | Err(_) => (vec![], self.kind()),
        };
        if words.is_empty() {
            return Address { audience: Ok(self.chosen()), kind, is_typed: false };
        }
        let people = words.iter().map(|word| room.resolve(word)).collect::<Result<_, _>>();
        Address { audience: people.map(Audience::Only), kind, is_typed: true }
    }

    fn chosen(&self) -> Audience {
        if self.to.is_empty() {
            Audience::Everyone
        } else {
            Audience::Only(self.to.iter().cloned().collect())
        }
    }

    fn kind(&self) -> SayKind {
        match (self.reply, self.seconds) {
            (Some(to), _) => SayKind::Reply { to },
            (None, Some(seconds)) => SayKind::Temporary { seconds },
            (None, None) => SayKind::Plain,
        }
    }

    /// How many rows the text takes in a box of `width` cells.
    pub fn rows(&self, width: u16) -> u16 {
        // The box alone knows how it wraps, and says so only of where its cursor is.
        let mut text = self.text.clone();
        text.move_cursor(CursorMove::Bottom);
        text.move_cursor(CursorMove::End);
        let area = Rect::new(0, 0, width.max(1), 1);
        (&text).render(area, &mut Buffer::empty(area));
        u16::try_from(text.screen_cursor().row + 1).unwrap_or(u16::MAX)
    }
}
