//! When to notify a user who does not look at the screen.
//!
//! A notice waits for a moment: another session of the user may show the message, and a flood becomes one
//! notice.

use chrono::{DateTime, FixedOffset, TimeDelta};

use crate::client::state::Session;
use crate::protocol::message::Audience;

/// How long another session has time to show the message.
const DELAY: TimeDelta = TimeDelta::milliseconds(1_500);

/// The shortest time between two notices.
const INTERVAL: TimeDelta = TimeDelta::seconds(10);

/// The notice that waits, and the last one.
#[derive(Debug, Clone, Default)]
pub struct Notices {
    /// The conversation of the newest message, the number of messages, and when the notice is due.
    waiting: Option<(Audience, usize, DateTime<FixedOffset>)>,
    last: Option<DateTime<FixedOffset>>,
}

impl Notices {
    /// Takes note of a message that the user wants to be notified of.
    pub fn add(&mut self, conversation: Audience, now: DateTime<FixedOffset>) {
        let (count, due) = match &self.waiting {
            Some((_, count, due)) => (count + 1, *due),
            None => (1, self.last.map_or(now, |last| last + INTERVAL).max(now + DELAY)),
        };
        self.waiting = Some((conversation, count, due));
    }

    /// When [`Self::take_due`] is to be called.
    pub fn next_wake(&self) -> Option<DateTime<FixedOffset>> {
        self.waiting.as_ref().map(|(_, _, due)| *due)
    }

    /// The text of the notice that is due, unless the conversation has been read meanwhile.
    pub fn take_due(&mut self, chat: &Session, now: DateTime<FixedOffset>) -> Option<String> {
        let (conversation, count, _) = self.waiting.take_if(|(_, _, due)| *due <= now)?;
        if chat.conversation(&conversation).is_none_or(|one| one.unread() == 0) {
            return None;
        }
        self.last = Some(now);
        let messages = if count == 1 { "new message" } else { "new messages" };
        Some(match &conversation {
            Audience::Only(_) if count == 1 => "new direct message".to_owned(),
            Audience::Room(room) => format!("{count} {messages} for you, the latest in {room}"),
            Audience::Only(_) | Audience::Everyone => format!("{count} {messages} for you"),
        })
    }
}
