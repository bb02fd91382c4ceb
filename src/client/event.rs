//! The events that a client reports to its user interface.

use std::time::Duration;

use super::outbox::request::UnsentRequest;
use crate::protocol::event::{Event, Welcome};
use crate::protocol::id::{Cid, UserId};
use crate::protocol::text::SafeText;

/// A change of the connection or the outbox, or an event from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEvent {
    /// A connection attempt starts.
    Connecting,
    /// The server's key was unknown and is now pinned. The text shows the fingerprint to compare.
    FirstContact(SafeText),
    /// The login succeeded. The user list is void until the server sends it. If the login did not resume
    /// the previous one, everything else received before is void too.
    Connected(Connected),
    /// A request that an earlier run left in the outbox. It will be sent.
    Restored(UnsentRequest),
    /// A request from the outbox is queued for the current connection.
    Sending(Cid),
    /// A request from the outbox was not sent, and will not be sent automatically.
    NotSent {
        /// The `cid` of the request.
        cid: Cid,
        /// The cause, as text for the user.
        reason: SafeText,
    },
    /// An event from the server.
    Received(Event),
    /// The connection was lost or an attempt failed. The next attempt starts after `retry_in`.
    Disconnected {
        /// The cause, as text for the user.
        reason: SafeText,
        /// The pause before the next attempt.
        retry_in: Duration,
    },
    /// The server's key or certificate was refused. Nothing was sent, and no further attempt is made.
    Untrusted {
        /// The cause and the remedy, as text for the user, in several lines.
        reason: SafeText,
    },
    /// The server rejected the login, or kicked or banned this client. No further attempt is made.
    Ended {
        /// The cause, as text for the user.
        reason: SafeText,
    },
}

/// A successful login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// The server's answer to the login.
    pub welcome: Welcome,
    /// The fingerprint of the server's key, in the form that `chat serve` prints.
    pub fingerprint: String,
}

/// Returns the request of this client that an event reports as executed: its own copy or STORED. `is_own` tells
/// whether an ID belongs to this client.
pub fn executed_request(event: &Event, is_own: impl Fn(&UserId) -> bool) -> Option<&Cid> {
    let (author, cid) = match event {
        Event::Stored(stored) => return stored.cid.as_ref(),
        Event::Posted(message) => (&message.sender, &message.cid),
        Event::Deleted(deleted) => (&deleted.author, &deleted.cid),
        Event::Edited(edited) => (&edited.author, &edited.cid),
        Event::Reacted(reacted) => (&reacted.user, &reacted.cid),
        Event::Pinned(pinned) => (&pinned.user, &pinned.cid),
        Event::RoomChanged(changed) => (changed.by.as_ref()?, &changed.cid),
        _ => return None,
    };
    cid.as_ref().filter(|_| is_own(author))
}
