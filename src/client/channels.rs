//! The bounded channels between the client's tasks and its user.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::event::ClientEvent;

/// Capacity of the event channel. When it is full the client stops reading, which slows the server down.
pub(super) const EVENT_QUEUE: usize = 1_024;

/// Capacity of the channels for requests, outbox commands and outbox signals. When the first two are full,
/// sending fails.
pub(super) const REQUEST_QUEUE: usize = 64;

/// The request channel of the current connection, or `None` while there is no connection. Each connection
/// has its own channel, so a request is never sent over a later connection.
pub(super) type CurrentRequests = Option<mpsc::Sender<Vec<u8>>>;

/// The client was closed, or the receiver of its events was dropped.
#[derive(Debug)]
pub(super) struct Closed;

/// Sends events to the user interface until the client is closed.
#[derive(Debug, Clone)]
pub(super) struct EventSender {
    pub(super) events: mpsc::Sender<ClientEvent>,
    pub(super) closing: CancellationToken,
}

impl EventSender {
    /// Sends an event. Waits while the channel is full.
    pub(super) async fn send(&self, event: ClientEvent) -> Result<(), Closed> {
        tokio::select! {
            biased;
            () = self.closing.cancelled() => Err(Closed),
            sent = self.events.send(event) => sent.map_err(|_closed| Closed),
        }
    }

    /// Waits until the client is closed or the receiver of the events is dropped.
    pub(super) async fn closed(&self) {
        tokio::select! {
            biased;
            () = self.closing.cancelled() => {}
            () = self.events.closed() => {}
        }
    }

    /// Runs `future`, but cancels it when the client is closed.
    pub(super) async fn until_closed<T>(
        &self,
        future: impl Future<Output = T>,
    ) -> Result<T, Closed> {
        tokio::select! {
            biased;
            () = self.closed() => Err(Closed),
            output = future => Ok(output),
        }
    }
}
