//! The read marker of a conversation and the counts after it.
//!
//! The marker moves when messages are displayed, and is then told to the server. The server tells every
//! session of the user where the marker is; it moves back only when the user marks messages as unread.

use chrono::{DateTime, FixedOffset, TimeDelta};

use crate::protocol::id::Seq;
use crate::protocol::limits::UNREAD_COUNTED;

/// The shortest time between two READ requests of one conversation.
const SEND_INTERVAL: TimeDelta = TimeDelta::seconds(1);

/// The read marker of a conversation.
#[derive(Debug, Clone, Default)]
pub(super) struct ReadState {
    /// The marker, as the server told it.
    confirmed: Seq,
    /// The highest message that was displayed. Displaying it again moves nothing.
    displayed: Seq,
    /// A position to be sent to the server.
    unsent: Option<Seq>,
    /// The position in the unanswered request.
    in_flight: Option<Seq>,
    sent_at: Option<DateTime<FixedOffset>>,
    /// Whether the last request was refused: it is repeated with the next position, or after the next login.
    was_refused: bool,
    pub(super) unread: u32,
    pub(super) mentions: u32,
}

impl ReadState {
    /// The last message read.
    pub(super) fn marker(&self) -> Seq {
        [self.unsent, self.in_flight].into_iter().flatten().fold(self.confirmed, Seq::max)
    }

    /// Counts a new message of another user.
    pub(super) fn count(&mut self, seq: Seq, is_mention: bool) {
        if seq > self.marker() {
            self.set_counts(self.unread + 1, self.mentions + u32::from(is_mention));
        }
    }

    /// Takes back the count of a message that was removed. Beyond the highest number, how many are left is
    /// unknown.
    pub(super) fn uncount(&mut self, seq: Seq, is_mention: bool) {
        if seq > self.marker() && self.unread < UNREAD_COUNTED {
            self.unread = self.unread.saturating_sub(1);
            self.mentions = self.mentions.saturating_sub(u32::from(is_mention));
        }
    }

    pub(super) fn set_counts(&mut self, unread: u32, mentions: u32) {
        self.unread = unread.min(UNREAD_COUNTED);
        self.mentions = mentions.min(self.unread);
    }

    /// Moves the marker to a message that was displayed. Returns whether it moved.
    pub(super) fn display(&mut self, seq: Seq) -> bool {
        if seq <= self.displayed {
            return false;
        }
        self.displayed = seq;
        let moves = seq > self.marker();
        if moves {
            (self.unsent, self.was_refused) = (Some(seq), false);
        }
        moves
    }

    /// Forgets everything: the positions of another log mean nothing.
    pub(super) fn on_reset(&mut self) {
        *self = Self::default();
    }

    /// Forgets a position that was not sent yet: the user marks messages as unread.
    pub(super) fn cancel_unsent(&mut self) {
        self.unsent = None;
    }

    /// Sets the marker that the server told. Returns whether the counts it told with it apply: a position
    /// that this client has not told yet may be further.
    pub(super) fn on_server_marker(&mut self, seq: Seq) -> bool {
        self.confirmed = seq;
        self.unsent.take_if(|unsent| *unsent <= seq);
        self.displayed = self.displayed.max(seq);
        self.marker() == seq
    }

    /// When the next position may be sent; `None` if there is none.
    pub(super) fn due(&self, now: DateTime<FixedOffset>) -> Option<DateTime<FixedOffset>> {
        let is_waiting = self.unsent.is_some() && self.in_flight.is_none() && !self.was_refused;
        is_waiting.then(|| self.sent_at.map_or(now, |at| at + SEND_INTERVAL))
    }

    /// Takes the position to send.
    pub(super) fn take_due(&mut self, now: DateTime<FixedOffset>) -> Option<Seq> {
        self.due(now).filter(|due| *due <= now)?;
        self.in_flight = self.unsent.take();
        self.sent_at = Some(now);
        self.in_flight
    }

    /// Records that the last request was answered.
    pub(super) fn on_answered(&mut self) {
        self.in_flight = None;
    }

    /// Keeps the position of a refused request.
    pub(super) fn on_refused(&mut self) {
        self.on_lost();
        self.was_refused = true;
    }

    /// Lets a refused position be sent again.
    pub(super) fn on_login(&mut self) {
        self.was_refused = false;
    }

    /// Keeps the position of a request that was lost, to send it again.
    pub(super) fn on_lost(&mut self) {
        self.unsent = self.unsent.max(self.in_flight.take());
    }
}
