//! The client without a terminal: one connection that is kept up, and the room as it is seen from here.
//!
//! [`connect`] gives a handle for requests and a stream of [`ClientEvent`]s; the pure [`state`] turns those
//! into what a screen shows. Nothing here knows of a terminal, and nothing of the server's inside.

pub mod address;
mod backoff;
mod connection;
mod cursor;
mod dial;
mod driver;
pub mod input;
pub mod link;
pub mod outbox;
pub mod pins;
pub mod read_marker;
pub mod state;
mod throttle;
pub mod trust;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use thiserror::Error;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::backoff::Backoff;
use self::dial::Dialer;
pub use self::dial::{ConnectError, Connector, VerifiedStream};
use self::driver::{CurrentRequests, Driver, EventSender};
use self::link::ServerLink;
use self::outbox::task::{OutboxCommand, OutboxTask};
use self::outbox::{Outbox, UnsentMessage};
use self::throttle::SendThrottle;
use self::trust::TrustMode;
use crate::protocol;
use crate::protocol::event::Welcome;
use crate::protocol::id::{Cid, Name, UserId};
use crate::protocol::request::{Dialect, Login, Request};
use crate::protocol::text::SafeText;
use crate::tls::client::ClientIdentity;

/// How many events wait for the receiver; when they are full the driver waits, and so the server.
const EVENT_QUEUE: usize = 1_024;

/// How many requests wait for the connection; when they are full sending fails.
const REQUEST_QUEUE: usize = 64;

/// What a client needs to know.
#[derive(Debug)]
pub struct ClientOptions {
    /// The way to the server.
    pub link: ServerLink,
    /// The name to log in with.
    pub name: Name,
    /// The key by which the server knows the client again; without one each login is somebody new.
    pub identity: Option<Arc<ClientIdentity>>,
    /// By what the server is known to be the right one.
    pub trust: TrustMode,
    /// The one of its IDs that the client wants; without it, the server chooses.
    pub id: Option<UserId>,
    /// What waits to be said; the default one forgets it with the process.
    pub outbox: Outbox,
}

/// A handle on the connection; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    requests: watch::Receiver<CurrentRequests>,
    commands: mpsc::Sender<OutboxCommand>,
    closing: CancellationToken,
    tasks: TaskTracker,
}

/// Why a request was not taken. It is then not sent later either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SendError {
    /// There is no connection.
    #[error("there is no connection")]
    NotConnected,
    /// More is waiting already than the connection takes.
    #[error("the connection is too slow for this: try again")]
    Busy,
}

/// Begins to connect, and keeps the connection up until [`Cid::close`], or until the receiver of the
/// events is dropped. Must be called inside of a tokio runtime.
pub fn connect(options: ClientOptions) -> (Client, mpsc::Receiver<ClientEvent>) {
    let ClientOptions { link, name, identity, trust, id, outbox } = options;
    let ServerLink { server, pin, invite } = link;
    let login = Login { user_id: id, invite, ..login(&name) };
    connect_with(Dialer { server, pin, trust, identity }, login, outbox, rand::make_rng())
}

fn login(name: &Name) -> Login {
    let username = name.as_str().to_owned();
    Login { username, dialect: Dialect::Extended, user_id: None, invite: None, resume: None }
}

/// The same over any sort of connection; `rng` draws the pauses between attempts.
pub fn connect_with<C: Connector>(
    connector: C,
    login: Login,
    outbox: Outbox,
    rng: SmallRng,
) -> (Client, mpsc::Receiver<ClientEvent>) {
    let (events, receiver) = mpsc::channel(EVENT_QUEUE);
    let (requests, current_requests) = watch::channel(None);
    let (commands, command_receiver) = mpsc::channel(REQUEST_QUEUE);
    let (signals, signal_receiver) = mpsc::channel(REQUEST_QUEUE);
    let client = Client {
        requests: current_requests,
        commands,
        closing: CancellationToken::new(),
        tasks: TaskTracker::new(),
    };
    for unsent in outbox.unsent() {
        // There is room: fewer wait than fit.
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
    client
        .tasks
        .spawn(Driver::new(connector, login, backoff, requests, signals, event_sender).run());
    client.tasks.spawn(task.run());
    client.tasks.close();
    (client, receiver)
}

impl Client {
    /// Hands over a request, and the name by which its answer will be known.
    ///
    /// A message with a name goes into the outbox, and is sent as often as it takes until it has its
    /// answer: [`Event::Sending`] and [`Event::SendFailed`] tell of it. Anything else needs a connection;
    /// what has no answer when that is lost may or may not have reached the server.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn try_send(&self, cid: Option<&Cid>, request: &Request) -> Result<(), SendError> {
        if self.closing.is_cancelled() {
            return Err(SendError::NotConnected);
        }
        if let (Some(cid), Request::Post(say)) = (cid, request) {
            return Ok(self.commands.try_send(OutboxCommand::Post(cid.clone(), say.clone()))?);
        }
        let current = self.requests.borrow();
        let queue = current.as_ref().ok_or(SendError::NotConnected)?;
        Ok(queue.try_send(request.encode(cid))?)
    }

    /// Takes a message that was not sent out of the outbox, for good.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn discard(&self, cid: &Cid) -> Result<(), SendError> {
        Ok(self.commands.try_send(OutboxCommand::Discard(cid.clone()))?)
    }

    /// Sends what was taken, says EXIT and hangs up. No event comes from now on. Takes two seconds at
    /// most; after that the connection is cut.
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

/// What happens on the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEvent {
    /// An attempt to connect begins.
    Connecting,
    /// This server was never met before, and its key is pinned now: what to compare it with, for people.
    FirstContact(SafeText),
    /// Logged in. What was known of people is void: the list of them comes next. So is all else, if
    /// the login does not go on from where the one before ended.
    Connected(Connected),
    /// An earlier run has said this, and the server never answered: it waits to be sent.
    Restored(UnsentMessage),
    /// A message from the outbox goes out over the connection that stands, as fast as the server takes
    /// them.
    Sending(Cid),
    /// A message was not sent, and is not sent by itself.
    NotSent {
        /// Its name.
        cid: Cid,
        /// Why, for people.
        reason: SafeText,
    },
    /// The server said something.
    Received(protocol::event::Event),
    /// The connection is lost, or an attempt failed; the next attempt begins after the pause.
    Disconnected {
        /// Why, for people.
        reason: SafeText,
        /// How long until the next attempt.
        retry_in: Duration,
    },
    /// There will be no more attempts: this is not the right server, and nothing was sent to it.
    Untrusted {
        /// Why, and what to do, for people; in several lines.
        reason: SafeText,
    },
    /// There will be no more attempts: the server refused the login, or has put this client out.
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
