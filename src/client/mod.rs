//! The client without a terminal: one connection that is kept up, and the room as it is seen from here.
//!
//! [`connect`] gives a handle for requests and a stream of [`Event`]s; the pure [`state`] turns those
//! into what a screen shows. Nothing here knows of a terminal, and nothing of the server's inside.

pub mod address;
mod backoff;
mod connection;
mod cursor;
mod dial;
mod driver;
pub mod known;
pub mod line;
pub mod link;
pub mod outbox;
mod pace;
pub mod seen;
pub mod state;
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
pub use self::dial::{ConnectError, Connector, Reached};
use self::driver::{Driver, Outlet, Requests};
use self::link::Link;
use self::outbox::task::{Order, Task};
use self::outbox::{Outbox, Unsent};
use self::pace::Pace;
use self::trust::Trust;
use crate::protocol;
use crate::protocol::event::Welcome;
use crate::protocol::id::{ClientId, Name, UserId};
use crate::protocol::request::{Dialect, Login, Request};
use crate::protocol::text::SafeText;
use crate::tls::client::ClientIdentity;

/// How many events wait for the receiver; when they are full the driver waits, and so the server.
const EVENTS: usize = 1_024;

/// How many requests wait for the connection; when they are full sending fails.
const REQUESTS: usize = 64;

/// What a client needs to know.
#[derive(Debug)]
pub struct Options {
    /// The way to the server.
    pub link: Link,
    /// The name to log in with.
    pub name: Name,
    /// The key by which the server knows the client again; without one each login is somebody new.
    pub identity: Option<Arc<ClientIdentity>>,
    /// By what the server is known to be the right one.
    pub trust: Trust,
    /// The one of its IDs that the client wants; without it, the server chooses.
    pub id: Option<UserId>,
    /// What waits to be said; the default one forgets it with the process.
    pub outbox: Outbox,
}

/// A handle on the connection; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    requests: watch::Receiver<Requests>,
    orders: mpsc::Sender<Order>,
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

/// Begins to connect, and keeps the connection up until [`Client::close`], or until the receiver of the
/// events is dropped. Must be called inside of a tokio runtime.
pub fn connect(options: Options) -> (Client, mpsc::Receiver<Event>) {
    let Options { link, name, identity, trust, id, outbox } = options;
    let Link { server, pin, invite } = link;
    let login = Login { id, invite, ..login(&name) };
    connect_by(Dialer { server, pin, trust, identity }, login, outbox, rand::make_rng())
}

fn login(name: &Name) -> Login {
    let username = name.as_str().to_owned();
    Login { username, dialect: Dialect::Extended, id: None, invite: None, resume: None }
}

/// The same over any sort of connection; `rng` draws the pauses between attempts.
pub fn connect_by<C: Connector>(
    connector: C,
    login: Login,
    outbox: Outbox,
    rng: SmallRng,
) -> (Client, mpsc::Receiver<Event>) {
    let (events, receiver) = mpsc::channel(EVENTS);
    let (requests, current) = watch::channel(None);
    let (orders, ordered) = mpsc::channel(REQUESTS);
    let (words, heard) = mpsc::channel(REQUESTS);
    let client = Client {
        requests: current,
        orders,
        closing: CancellationToken::new(),
        tasks: TaskTracker::new(),
    };
    for unsent in outbox.unsent() {
        // There is room: fewer wait than fit.
        events.try_send(Event::Kept(unsent.clone())).unwrap_or_default();
    }
    let outlet = Outlet { events, closing: client.closing.clone() };
    let task = Task {
        outbox,
        orders: ordered,
        words: heard,
        outlet: outlet.clone(),
        line: None,
        pace: Pace::default(),
    };
    let backoff = Backoff::new(rng);
    client.tasks.spawn(Driver::new(connector, login, backoff, requests, words, outlet).run());
    client.tasks.spawn(task.run());
    client.tasks.close();
    (client, receiver)
}

impl Client {
    /// Hands over a request, and the name by which its answer will be known.
    ///
    /// A message with a name goes into the outbox, and is sent as often as it takes until it has its
    /// answer: [`Event::Sending`] and [`Event::NotSent`] tell of it. Anything else needs a connection;
    /// what has no answer when that is lost may or may not have reached the server.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn try_send(&self, cid: Option<&ClientId>, request: &Request) -> Result<(), SendError> {
        if self.closing.is_cancelled() {
            return Err(SendError::NotConnected);
        }
        if let (Some(cid), Request::Say(say)) = (cid, request) {
            return Ok(self.orders.try_send(Order::Say(cid.clone(), say.clone()))?);
        }
        let current = self.requests.borrow();
        let queue = current.as_ref().ok_or(SendError::NotConnected)?;
        Ok(queue.try_send(request.encode(cid))?)
    }

    /// Takes a message that was not sent out of the outbox, for good.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn discard(&self, cid: &ClientId) -> Result<(), SendError> {
        Ok(self.orders.try_send(Order::Discard(cid.clone()))?)
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
pub enum Event {
    /// An attempt to connect begins.
    Connecting,
    /// This server was never met before, and its key is pinned now: what to compare it with, for people.
    FirstContact(SafeText),
    /// Logged in. What was known of people is void: the list of them comes next. So is all else, if
    /// the login does not go on from where the one before ended.
    Connected(Connected),
    /// An earlier run has said this, and the server never answered: it waits to be sent.
    Kept(Unsent),
    /// A message from the outbox goes out over the connection that stands, as fast as the server takes
    /// them.
    Sending(ClientId),
    /// A message was not sent, and is not sent by itself.
    NotSent {
        /// Its name.
        cid: ClientId,
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
