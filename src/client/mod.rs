//! The client library: keeps a connection to a server, and models the chat as one user sees it.
//!
//! [`connect`] returns a handle for requests and a stream of [`ClientEvent`]s. The pure [`state`] turns the
//! events into what a user interface shows.

pub mod address;
mod backoff;
mod channels;
pub mod clock;
mod connection;
mod cursor;
mod dial;
pub mod drafts;
mod driver;
pub mod duration;
mod event;
pub mod input;
mod keepalive;
pub mod known_servers;
pub mod link;
pub mod outbox;
pub mod pins;
mod process_file;
pub mod read_marker;
pub mod state;
mod throttle;
pub mod trust;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use rand::rngs::SmallRng;
use thiserror::Error;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::backoff::Backoff;
use self::channels::{CurrentRequests, EVENT_QUEUE, EventSender, REQUEST_QUEUE};
use self::connection::EventObserver;
use self::cursor::Cursor;
use self::dial::Dialer;
pub use self::dial::{ConnectError, Connector, VerifiedStream, check_host};
use self::driver::Driver;
pub use self::event::{ClientEvent, Connected, executed_request};
use self::link::ServerLink;
use self::outbox::task::OutboxTask;
use self::outbox::{Outbox, OutboxCommand, belongs_in_outbox};
use self::throttle::SendThrottle;
use self::trust::TrustMode;
use crate::protocol::id::{Cid, Name, UserId};
use crate::protocol::request::{Dialect, Login, Request};
use crate::tls::client::ClientIdentity;

/// The options of [`connect`].
#[derive(Debug)]
pub struct ClientOptions {
    /// The server's address, with an optional pin and invite.
    pub link: ServerLink,
    /// The name to log in with.
    pub name: Name,
    /// The key that identifies the user. Without one, each login is a new guest.
    pub identity: Option<Arc<ClientIdentity>>,
    /// How the server's key is checked.
    pub trust: TrustMode,
    /// The user's ID to log in as, for a user with several. `None`: the server chooses.
    pub id: Option<UserId>,
    /// The requests that earlier runs left unsent. The default one is kept in memory only.
    pub outbox: Outbox,
    /// Whether the user is not announced as joining and leaving.
    pub quiet: bool,
}

/// A handle to send requests. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    requests: watch::Receiver<CurrentRequests>,
    commands: mpsc::Sender<OutboxCommand>,
    /// The last request for history without a conversation.
    whole_log_query: watch::Sender<Option<Cid>>,
    closing: CancellationToken,
    tasks: TaskTracker,
}

/// Why a request was not accepted. It is not sent later either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SendError {
    /// There is no connection, or the client is closed.
    #[error("not connected")]
    NotConnected,
    /// The queue of requests is full.
    #[error("too many requests are waiting (try again in a moment)")]
    Busy,
}

/// Connects to a server, and reconnects until [`Client::close`] is called or the receiver is dropped.
///
/// # Panics
/// When called outside of a tokio runtime.
pub fn connect(options: ClientOptions) -> (Client, mpsc::Receiver<ClientEvent>) {
    let ClientOptions { link, name, identity, trust, id, outbox, quiet } = options;
    let ServerLink { server, pin, invite } = link;
    let login = Login { user_id: id, invite, quiet, ..login(&name) };
    connect_with(Dialer { server, pin, trust, identity }, login, outbox, rand::make_rng())
}

fn login(name: &Name) -> Login {
    let username = name.as_str().to_owned();
    Login { dialect: Dialect::Extended, ..Login::original(username) }
}

/// Like [`connect`], over any kind of stream. `rng` draws the pauses between attempts.
///
/// # Panics
/// When called outside of a tokio runtime.
pub fn connect_with<C: Connector>(
    connector: C,
    login: Login,
    outbox: Outbox,
    rng: SmallRng,
) -> (Client, mpsc::Receiver<ClientEvent>) {
    let (events, receiver) = mpsc::channel(EVENT_QUEUE);
    let (requests, current_requests) = watch::channel(None);
    let (whole_log_query, whole_log_receiver) = watch::channel(None);
    let (commands, command_receiver) = mpsc::channel(REQUEST_QUEUE);
    let (signals, signal_receiver) = mpsc::channel(REQUEST_QUEUE);
    let client = Client {
        requests: current_requests,
        commands,
        whole_log_query,
        closing: CancellationToken::new(),
        tasks: TaskTracker::new(),
    };
    for unsent in outbox.unsent() {
        // Never full: the outbox holds fewer messages than the channel.
        events.try_send(ClientEvent::Restored(unsent.clone())).unwrap_or_default();
    }
    let event_sender = EventSender { events, closing: client.closing.clone() };
    let task = OutboxTask {
        outbox,
        commands: command_receiver,
        signals: signal_receiver,
        events: event_sender.clone(),
        requests: None,
        throttle: SendThrottle::default(),
    };
    let backoff = Backoff::new(rng);
    let observer = EventObserver::new(Cursor::default(), signals, whole_log_receiver);
    let driver = Driver::new(connector, login, backoff, requests, observer, event_sender);
    client.tasks.spawn(driver.run());
    client.tasks.spawn(task.run());
    client.tasks.close();
    (client, receiver)
}

impl Client {
    /// Queues a request. The server's answer carries `cid`.
    ///
    /// A message, or a change of a message or a room, with a `cid` goes to the outbox, which sends it until the
    /// server answers and reports [`ClientEvent::Sending`] and [`ClientEvent::NotSent`]. Any other request needs a connection; if that
    /// is lost before the answer, the request may or may not have reached the server.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn try_send(&self, cid: Option<&Cid>, request: &Request) -> Result<(), SendError> {
        if self.closing.is_cancelled() {
            return Err(SendError::NotConnected);
        }
        if let Some(cid) = cid.filter(|_| belongs_in_outbox(request)) {
            return Ok(self
                .commands
                .try_send(OutboxCommand::Send(cid.clone(), request.clone()))?);
        }
        if matches!(request, Request::History(query) if query.conversation.is_none()) {
            self.whole_log_query.send_replace(cid.cloned());
        }
        let current = self.requests.borrow();
        let queue = current.as_ref().ok_or(SendError::NotConnected)?;
        Ok(queue.try_send(request.encode(cid))?)
    }

    /// Removes an unsent request from the outbox permanently.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn discard(&self, cid: &Cid) -> Result<(), SendError> {
        Ok(self.commands.try_send(OutboxCommand::Discard(cid.clone()))?)
    }

    /// Sends the queued requests and EXIT, and closes the connection. No event is reported afterwards. Takes
    /// two seconds at most, after which the connection is dropped.
    pub async fn close(&self) {
        self.closing.cancel();
        self.tasks.wait().await;
    }
}

impl<T> From<TrySendError<T>> for SendError {
    fn from(error: TrySendError<T>) -> Self {
        match error {
            TrySendError::Full(_) => Self::Busy,
            TrySendError::Closed(_) => Self::NotConnected,
        }
    }
}
