//! The task that keeps one connection up: connect, log in, carry, and again after a pause.
//!
//! The only place of the client that reads the clock. What goes over a connection is `connection`'s
//! business; how long a pause is, `backoff`'s.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::connection::{Connection, Ears, LOGIN_TIME, Loss};
use super::cursor::Cursor;
use super::dial::{Connector, Reached};
use super::outbox::task::Word;
use super::pace::Pulse;
use super::{Connected, Event, REQUESTS};
use crate::protocol::request::Login;
use crate::protocol::text::SafeText;

/// The queue of requests of the connection that stands, if one does. A new connection brings a new
/// queue, so nothing that was meant for one connection goes out on the next.
pub(super) type Requests = Option<mpsc::Sender<Vec<u8>>>;

/// Nobody wants the connection any more: the client was closed, or its events are dropped.
#[derive(Debug)]
pub(super) struct Over;

/// Where the events go, as long as somebody wants them.
#[derive(Debug, Clone)]
pub(super) struct Outlet {
    pub(super) events: mpsc::Sender<Event>,
    pub(super) closing: CancellationToken,
}

impl Outlet {
    /// Waits while the queue is full.
    pub(super) async fn send(&self, event: Event) -> Result<(), Over> {
        tokio::select! {
            biased;
            () = self.closing.cancelled() => Err(Over),
            sent = self.events.send(event) => sent.map_err(|_closed| Over),
        }
    }

    /// Waits until nobody wants the connection any more.
    pub(super) async fn over(&self) {
        tokio::select! {
            biased;
            () = self.closing.cancelled() => {}
            () = self.events.closed() => {}
        }
    }

    /// Does `what`, but leaves it when nobody wants the connection any more.
    async fn unless_over<T>(&self, what: impl Future<Output = T>) -> Result<T, Over> {
        tokio::select! {
            biased;
            () = self.over() => Err(Over),
            done = what => Ok(done),
        }
    }
}

/// One client's connection, from attempt to attempt.
#[derive(Debug)]
pub(super) struct Driver<C> {
    connector: C,
    /// Without where to go on from: that changes from login to login.
    login: Login,
    backoff: Backoff,
    requests: watch::Sender<Requests>,
    outlet: Outlet,
    ears: Ears,
}

/// What an attempt came to, and how long it had held then.
struct Setback {
    reason: SafeText,
    held: Duration,
}

impl<C: Connector> Driver<C> {
    pub(super) fn new(
        connector: C,
        login: Login,
        backoff: Backoff,
        requests: watch::Sender<Requests>,
        words: mpsc::Sender<Word>,
        outlet: Outlet,
    ) -> Self {
        let ears = Ears::new(Cursor::default(), words);
        Self { connector, login, backoff, requests, outlet, ears }
    }

    /// Runs until the client is closed, the server does not want it, or is a wrong one.
    pub(super) async fn run(mut self) {
        while self.round().await.is_ok() {}
    }

    async fn round(&mut self) -> Result<(), Over> {
        self.outlet.send(Event::Connecting).await?;
        let Setback { reason, held } = self.attempt().await?;
        let retry_in = self.backoff.pause(held);
        self.outlet.send(Event::Disconnected { reason, retry_in }).await?;
        self.outlet.unless_over(tokio::time::sleep(retry_in)).await
    }

    async fn attempt(&mut self) -> Result<Setback, Over> {
        let reached = match self.outlet.unless_over(self.connector.connect()).await? {
            Ok(reached) => reached,
            Err(error) if error.is_final() => {
                let reason = SafeText::clean(&error.to_string());
                self.outlet.send(Event::Untrusted { reason }).await?;
                return Err(Over);
            }
            Err(error) => {
                let reason = SafeText::clean(&error.to_string());
                return Ok(Setback { reason, held: Duration::ZERO });
            }
        };
        let Reached { stream, fingerprint, first_contact } = reached;
        if let Some(words) = first_contact {
            self.outlet.send(Event::FirstContact(words)).await?;
        }
        let mut connection = Connection::new(stream);
        let login = Login { resume: self.ears.cursor.resume(), ..self.login.clone() };
        let login = connection.log_in(&login);
        let answer = self.outlet.unless_over(tokio::time::timeout(LOGIN_TIME, login)).await?;
        let welcome = match answer.unwrap_or(Err(Loss::LoginTimeout)) {
            Ok(welcome) => welcome,
            Err(loss) => return self.lost(&loss, Duration::ZERO).await,
        };
        let (sender, requests) = mpsc::channel(REQUESTS);
        let replayed = sender.downgrade();
        self.requests.send_replace(Some(sender));
        let since = now();
        let pulse = Pulse::of(&welcome.limits);
        let connected = Connected { welcome: welcome.clone(), fingerprint };
        self.outlet.send(Event::Connected(connected)).await?;
        self.ears.welcome(&welcome, replayed).await;
        let hang_up = async {
            self.outlet.over().await;
            // The connection ends once nobody can send over it any more.
            self.requests.send_replace(None);
            std::future::pending().await
        };
        let loss = tokio::select! {
            biased;
            loss = connection.carry(requests, pulse, &self.outlet, &mut self.ears) => loss,
            loss = hang_up => loss,
        };
        self.requests.send_replace(None);
        self.ears.lost().await;
        self.lost(&loss, now() - since).await
    }

    /// The end of an attempt, and of all attempts if the loss is final.
    async fn lost(&mut self, loss: &Loss, held: Duration) -> Result<Setback, Over> {
        let reason = SafeText::clean(&loss.to_string());
        if loss.is_final() {
            self.outlet.send(Event::Ended { reason }).await?;
            return Err(Over);
        }
        Ok(Setback { reason, held })
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the shell")]
fn now() -> Instant {
    Instant::now()
}
