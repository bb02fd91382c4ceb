//! The client without a terminal: one connection that is kept up, and the room as it is seen from here.
//!
//! [`connect`] gives a handle for requests and a stream of [`Event`]s; the pure [`state`] turns those
//! into what a screen shows. Nothing here knows of a terminal, and nothing of the server's inside.

pub mod line;
pub mod state;

use std::time::Duration;

use crate::protocol;
use crate::protocol::event::Welcome;
use crate::protocol::text::SafeText;

/// What happens on the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An attempt to connect begins.
    Connecting,
    /// Logged in. What was known of people is void: the list of them comes next.
    Connected(Connected),
    /// The server said something.
    Received(protocol::event::Event),
    /// The connection is lost, or an attempt failed; the next attempt begins after the pause.
    Disconnected {
        /// Why, for people.
        reason: SafeText,
        /// How long until the next attempt.
        retry_in: Duration,
    },
    /// There will be no more attempts: the login was refused.
    Ended {
        /// Why, for people.
        reason: SafeText,
    },
}

/// A login that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// What the server said at the login.
    pub welcome: Welcome,
    /// The fingerprint of the server's key, as `chat serve` prints it.
    pub fingerprint: String,
}
