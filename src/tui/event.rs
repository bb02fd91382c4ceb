//! The inputs and outputs of `update`.

use crate::client;
use crate::protocol::id::Cid;
use crate::protocol::request::Request;
use crate::protocol::text::SafeText;

/// An input of `update`.
#[derive(Debug, Clone)]
pub enum UiEvent {
    /// A key, a mouse event, a paste, a resize.
    Terminal(crossterm::event::Event),
    /// An event of the client: from the server, or about the connection.
    Client(client::ClientEvent),
    /// The client did not accept a request, for example because its queue is full.
    SendFailed {
        /// The ID of the request, if it had one.
        cid: Option<Cid>,
        /// Shown to the user.
        reason: SafeText,
    },
    /// The time that `next_wake` returned has come.
    Tick,
    /// A frame is laid out, and about to be drawn. What it shows counts as displayed.
    Displayed,
}

/// An output of `update`, carried out by the event loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UiEffect {
    /// Send the request to the server.
    Send(Option<Cid>, Request),
    /// Remove the message from the outbox.
    DiscardPending(Cid),
    /// Copy the text to the clipboard.
    Copy(String),
    /// Turn mouse reports on or off.
    CaptureMouse(bool),
    /// Ring the bell of the terminal.
    Ring,
    /// Clear the terminal and draw every cell.
    Redraw,
    /// Quit, requested by the user or because the first login was refused.
    Quit,
    /// Quit because the server is not trusted, for this reason.
    Untrusted(SafeText),
}
