//! The task that keeps one connection up: connect, log in, carry, and again after a pause.
//!
//! The only place of the client that reads the clock. What goes over a connection is `connection`'s
//! business; how long a pause is, `backoff`'s.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::connection::{Connection, DisconnectReason, EventObserver, LOGIN_TIMEOUT};
use super::cursor::Cursor;
use super::dial::{Connector, VerifiedStream};
use super::outbox::task::OutboxSignal;
use super::throttle::Keepalive;
use super::{ClientEvent, Connected, REQUEST_QUEUE};
use crate::protocol::request::Login;
use crate::protocol::text::SafeText;

/// The queue of requests of the connection that stands, if one does. A new connection brings a new
/// queue, so nothing that was meant for one connection goes out on the next.
pub(super) type CurrentRequests = Option<mpsc::Sender<Vec<u8>>>;

/// Nobody wants the connection any more: the client was closed, or its events are dropped.
#[derive(Debug)]
pub(super) struct Closed;

/// Where the events go, as long as somebody wants them.
#[derive(Debug, Clone)]
pub(super) struct EventSender {
    pub(super) events: mpsc::Sender<ClientEvent>,
    pub(super) closing: CancellationToken,
}

impl EventSender {
    /// Waits while the queue is full.
    pub(super) async fn send(&self, event: ClientEvent) -> Result<(), Closed> {
        tokio::select! {
            biased;
            () = self.closing.cancelled() => Err(Closed),
            sent = self.events.send(event) => sent.map_err(|_closed| Closed),
        }
    }

    /// Waits until nobody wants the connection any more.
    pub(super) async fn closed(&self) {
        tokio::select! {
            biased;
            () = self.closing.cancelled() => {}
            () = self.events.closed() => {}
        }
    }

    /// Does `what`, but leaves it when nobody wants the connection any more.
    async fn until_closed<T>(&self, future: impl Future<Output = T>) -> Result<T, Closed> {
        tokio::select! {
            biased;
            () = self.closed() => Err(Closed),
            done = future => Ok(done),
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
    requests: watch::Sender<CurrentRequests>,
    events: EventSender,
    observer: EventObserver,
}

/// What an attempt came to, and how long it had held then.
struct FailedAttempt {
    reason: SafeText,
    connected_for: Duration,
}

impl<C: Connector> Driver<C> {
    pub(super) fn new(
        connector: C,
        login: Login,
        backoff: Backoff,
        requests: watch::Sender<CurrentRequests>,
        signals: mpsc::Sender<OutboxSignal>,
        events: EventSender,
    ) -> Self {
        let observer = EventObserver::new(Cursor::default(), signals);
        Self { connector, login, backoff, requests, events, observer }
    }

    /// Runs until the client is closed, the server does not want it, or is a wrong one.
    pub(super) async fn run(mut self) {
        while self.connect_and_pause().await.is_ok() {}
    }

    async fn connect_and_pause(&mut self) -> Result<(), Closed> {
        self.events.send(ClientEvent::Connecting).await?;
        let FailedAttempt { reason, connected_for } = self.connect_once().await?;
        let retry_in = self.backoff.next_pause(connected_for);
        self.events.send(ClientEvent::Disconnected { reason, retry_in }).await?;
        self.events.until_closed(tokio::time::sleep(retry_in)).await
    }

    async fn connect_once(&mut self) -> Result<FailedAttempt, Closed> {
        let verified = match self.events.until_closed(self.connector.connect()).await? {
            Ok(reached) => reached,
            Err(error) if error.is_final() => {
                let reason = SafeText::clean(&error.to_string());
                self.events.send(ClientEvent::Untrusted { reason }).await?;
                return Err(Closed);
            }
            Err(error) => {
                let reason = SafeText::clean(&error.to_string());
                return Ok(FailedAttempt { reason, connected_for: Duration::ZERO });
            }
        };
        let VerifiedStream { stream, fingerprint, first_contact_notice: first_contact } = verified;
        if let Some(words) = first_contact {
            self.events.send(ClientEvent::FirstContact(words)).await?;
        }
        let mut connection = Connection::new(stream);
        let login = Login { resume: self.observer.cursor.resume(), ..self.login.clone() };
        let login = connection.log_in(&login);
        let answer = self.events.until_closed(tokio::time::timeout(LOGIN_TIMEOUT, login)).await?;
        let welcome = match answer.unwrap_or(Err(DisconnectReason::LoginTimeout)) {
            Ok(welcome) => welcome,
            Err(loss) => return self.end_attempt(&loss, Duration::ZERO).await,
        };
        let (sender, requests) = mpsc::channel(REQUEST_QUEUE);
        let weak_sender = sender.downgrade();
        self.requests.send_replace(Some(sender));
        let connected_at = now();
        let keepalive = Keepalive::from_limits(&welcome.limits);
        let connected = Connected { welcome: welcome.clone(), fingerprint };
        self.events.send(ClientEvent::Connected(connected)).await?;
        self.observer.on_welcome(&welcome, weak_sender).await;
        let stop_requests = async {
            self.events.closed().await;
            // The connection ends once nobody can send over it any more.
            self.requests.send_replace(None);
            std::future::pending().await
        };
        let reason = tokio::select! {
            biased;
            loss = connection.run(requests, keepalive, &self.events, &mut self.observer) => loss,
            loss = stop_requests => loss,
        };
        self.requests.send_replace(None);
        self.observer.on_disconnect().await;
        self.end_attempt(&reason, now() - connected_at).await
    }

    /// The end of an attempt, and of all attempts if the loss is final.
    async fn end_attempt(
        &mut self,
        loss: &DisconnectReason,
        connected_for: Duration,
    ) -> Result<FailedAttempt, Closed> {
        let reason = SafeText::clean(&loss.to_string());
        if loss.is_final() {
            self.events.send(ClientEvent::Ended { reason }).await?;
            return Err(Closed);
        }
        Ok(FailedAttempt { reason, connected_for })
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the shell")]
fn now() -> Instant {
    Instant::now()
}
