//! The inputs and outputs of `update`.

use super::theme::Rgb;
use crate::client;
use crate::client::drafts::Draft;
use crate::protocol::id::Cid;
use crate::protocol::request::Request;
use crate::protocol::text::SafeText;
use crate::tui::text::Link;

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
    /// The terminal told the colour of its background.
    Background(Rgb),
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
    /// Open the link with a program of the desktop, or copy it where there is none.
    OpenLink(Link),
    /// Turn mouse reports on or off.
    CaptureMouse(bool),
    /// Keep these drafts on disk.
    SaveDrafts(Vec<Draft>),
    /// Notify the user, who looks at another window, with this text.
    Notify(String),
    /// Clear the terminal and draw every cell.
    Redraw,
    /// Stop the process, so that the shell can be used meanwhile.
    Suspend,
    /// Quit, requested by the user or because the first login was refused.
    Quit,
    /// Quit because the server is not trusted, for this reason.
    Untrusted(SafeText),
}
