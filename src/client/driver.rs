//! The task that keeps a client connected: connect, log in, run the connection, pause, and repeat.
//!
//! `connection` runs one connection, and `backoff` computes the pauses. Of the connection side of the client,
//! only this module reads the clock.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::backoff::Backoff;
use super::channels::{Closed, CurrentRequests, EventSender, REQUEST_QUEUE};
use super::connection::{Connection, DisconnectReason, EventObserver, LOGIN_TIMEOUT};
use super::dial::{Connector, VerifiedStream};
use super::event::{ClientEvent, Connected};
use super::keepalive::Keepalive;
use crate::protocol::request::Login;
use crate::protocol::text::SafeText;

/// Connects one client again and again.
#[derive(Debug)]
pub(super) struct Driver<C> {
    connector: C,
    /// The login without its resume position, which differs for each connection.
    login: Login,
    backoff: Backoff,
    requests: watch::Sender<CurrentRequests>,
    events: EventSender,
    observer: EventObserver,
}

/// An attempt after which the driver tries again: it failed, or its connection was lost later.
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
        observer: EventObserver,
        events: EventSender,
    ) -> Self {
        Self { connector, login, backoff, requests, events, observer }
    }

    /// Runs until the client is closed, or the server is untrusted or rejects the client.
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
            Ok(verified) => verified,
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
        let VerifiedStream { stream, fingerprint, first_contact_notice } = verified;
        if let Some(notice) = first_contact_notice {
            self.events.send(ClientEvent::FirstContact(notice)).await?;
        }
        let mut connection = Connection::new(stream);
        let login = Login { resume: self.observer.cursor.resume(), ..self.login.clone() };
        let login = connection.log_in(&login);
        let answer = self.events.until_closed(tokio::time::timeout(LOGIN_TIMEOUT, login)).await?;
        let welcome = match answer.unwrap_or(Err(DisconnectReason::LoginTimeout)) {
            Ok(welcome) => welcome,
            Err(reason) => return self.end_attempt(&reason, Duration::ZERO).await,
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
            // Dropping the last sender makes the connection write its queue and end.
            self.requests.send_replace(None);
            std::future::pending().await
        };
        let reason = tokio::select! {
            biased;
            reason = connection.run(requests, keepalive, &self.events, &mut self.observer) => reason,
            reason = stop_requests => reason,
        };
        self.requests.send_replace(None);
        self.observer.on_disconnect().await;
        self.end_attempt(&reason, now() - connected_at).await
    }

    /// Ends an attempt, and the driver if the reason is final.
    async fn end_attempt(
        &mut self,
        reason: &DisconnectReason,
        connected_for: Duration,
    ) -> Result<FailedAttempt, Closed> {
        let text = SafeText::clean(&reason.to_string());
        if reason.is_final() {
            self.events.send(ClientEvent::Ended { reason: text }).await?;
            return Err(Closed);
        }
        Ok(FailedAttempt { reason: text, connected_for })
    }
}

#[expect(clippy::disallowed_methods, reason = "the driver measures how long a connection lasts")]
fn now() -> Instant {
    Instant::now()
}
