//! The task that writes requests to the outbox file and hands them to the current connection.
//!
//! Of the outbox, only this module reads the clock and waits for the disk.

use std::io;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::Outbox;
use super::file::OutboxFile;
use super::request::{OutboxCommand, OutboxSignal, UnsentRequest};
use crate::client::channels::{Closed, EventSender, REQUEST_QUEUE};
use crate::client::clock;
use crate::client::event::ClientEvent;
use crate::client::throttle::SendThrottle;
use crate::protocol::id::Cid;
use crate::protocol::text::SafeText;

/// What `step` waited for.
enum Step {
    Signal(OutboxSignal),
    Commands,
    /// A request was handed to the connection; `None` if the connection was closed.
    Sent(Option<Cid>),
}

/// Owns the outbox.
#[derive(Debug)]
pub(in crate::client) struct OutboxTask {
    pub(in crate::client) outbox: Outbox,
    pub(in crate::client) commands: mpsc::Receiver<OutboxCommand>,
    pub(in crate::client) signals: mpsc::Receiver<OutboxSignal>,
    pub(in crate::client) events: EventSender,
    /// The request channel of the current connection, once its replay is complete.
    pub(in crate::client) requests: Option<mpsc::Sender<Vec<u8>>>,
    pub(in crate::client) throttle: SendThrottle,
}

impl OutboxTask {
    /// Runs until the client is closed. Queued commands are then still written to disk, and handed to the
    /// connection if there is one.
    pub(in crate::client) async fn run(mut self) {
        while self.step().await.is_ok() {}
        // Closed so that the connection does not wait for this task.
        self.signals.close();
        self.commands.close();
        let mut commands = Vec::with_capacity(REQUEST_QUEUE);
        while self.commands.recv_many(&mut commands, REQUEST_QUEUE).await > 0 {
            if self.on_commands(&mut commands).await.is_err() {
                // No event can be reported any more. The next run sends what is on disk.
            }
        }
        let now = now();
        while self.requests.is_some() && self.outbox.queue.next().is_some() {
            match send_when_due(self.requests.as_ref(), self.outbox.queue.next(), now).await {
                Some(cid) => self.outbox.queue.mark_sent(&cid),
                None => self.requests = None,
            }
        }
    }

    async fn step(&mut self) -> Result<(), Closed> {
        let mut commands = Vec::with_capacity(REQUEST_QUEUE);
        let has_next = self.outbox.queue.next().is_some();
        let due = Instant::from_std(self.throttle.ready_at(now().into_std()));
        let sent = send_when_due(self.requests.as_ref(), self.outbox.queue.next(), due);
        let step = tokio::select! {
            biased;
            () = self.events.closed() => return Err(Closed),
            signal = self.signals.recv() => Step::Signal(signal.ok_or(Closed)?),
            count = self.commands.recv_many(&mut commands, REQUEST_QUEUE) => match count {
                0 => return Err(Closed),
                _ => Step::Commands,
            },
            cid = sent, if has_next => Step::Sent(cid),
        };
        match step {
            Step::Signal(signal) => self.on_signal(signal).await,
            Step::Commands => self.on_commands(&mut commands).await,
            Step::Sent(Some(cid)) => {
                self.outbox.queue.mark_sent(&cid);
                self.throttle.record_send(now().into_std());
                Ok(())
            }
            Step::Sent(None) => {
                self.requests = None;
                Ok(())
            }
        }
    }

    async fn on_signal(&mut self, signal: OutboxSignal) -> Result<(), Closed> {
        match signal {
            OutboxSignal::Live(requests, throttle) => {
                (self.requests, self.throttle) = (Some(requests), throttle);
                for unsent in self.outbox.queue.on_connect(clock::now().timestamp_millis()) {
                    self.events
                        .send(not_sent(unsent.cid.clone(), "it is older than 6 days"))
                        .await?;
                    // A message is kept until the user discards it; an old change has lost its sense.
                    if !unsent.is_message() {
                        self.remove(unsent.cid).await;
                    }
                }
                for cid in self.outbox.queue.waiting_cids() {
                    self.events.send(ClientEvent::Sending(cid.clone())).await?;
                }
            }
            OutboxSignal::Disconnected => {
                self.requests = None;
                self.outbox.queue.on_disconnect();
            }
            OutboxSignal::Answered(cid) => self.remove(cid).await,
            OutboxSignal::NotStored(cid) => self.outbox.queue.defer(&cid),
            OutboxSignal::MessageRemoved => {
                let unsent = self.persistent();
                self.with_file(move |file| file.scrub(unsent.iter())).await.unwrap_or_default();
            }
        }
        Ok(())
    }

    /// Handles a batch of commands. New requests are synced to disk together, before any of them is sent.
    async fn on_commands(&mut self, commands: &mut Vec<OutboxCommand>) -> Result<(), Closed> {
        let mut new = Vec::new();
        for command in commands.drain(..) {
            match command {
                OutboxCommand::Send(cid, request) => {
                    new.push(UnsentRequest { cid, request, at: clock::now().timestamp_millis() });
                }
                OutboxCommand::Discard(cid) => self.remove(cid).await,
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let outcome = if self.outbox.queue.has_room_for(new.len()) {
            let stored: Vec<UnsentRequest> =
                new.iter().filter(|unsent| unsent.may_persist()).cloned().collect();
            self.with_file(move |file| file.append(&stored))
                .await
                .map_err(|error| format!("cannot save it to disk: {error}"))
        } else {
            Err("too many requests are waiting to be sent".to_owned())
        };
        for unsent in new {
            match &outcome {
                Ok(()) => {
                    let cid = unsent.cid.clone();
                    self.outbox.queue.push(unsent);
                    if self.requests.is_some() {
                        self.events.send(ClientEvent::Sending(cid)).await?;
                    }
                }
                Err(reason) => self.events.send(not_sent(unsent.cid, reason)).await?,
            }
        }
        Ok(())
    }

    async fn remove(&mut self, cid: Cid) {
        if self.outbox.queue.remove(&cid) {
            let unsent = self.persistent();
            // If this fails, the next run sends the request again, and the server recognizes its `cid`.
            self.with_file(move |file| file.record_answers(&[cid], unsent.iter()))
                .await
                .unwrap_or_default();
        }
    }

    fn persistent(&self) -> Vec<UnsentRequest> {
        self.outbox.queue.unsent().filter(|unsent| unsent.may_persist()).cloned().collect()
    }

    /// Runs `work` on the outbox file in a thread that may block. Does nothing for an outbox without a file.
    async fn with_file(
        &mut self,
        work: impl FnOnce(&mut OutboxFile) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let Some(mut file) = self.outbox.file.take() else { return Ok(()) };
        let done = tokio::task::spawn_blocking(move || {
            let outcome = work(&mut file);
            (file, outcome)
        });
        let (file, outcome) = done.await.map_err(io::Error::other)?;
        self.outbox.file = Some(file);
        outcome
    }
}

/// Hands a request to the connection at `due` and returns its `cid`, or `None` if the connection is closed.
/// Never returns without a connection or a request.
async fn send_when_due(
    requests: Option<&mpsc::Sender<Vec<u8>>>,
    unsent: Option<&UnsentRequest>,
    due: Instant,
) -> Option<Cid> {
    let (Some(requests), Some(unsent)) = (requests, unsent) else {
        return std::future::pending().await;
    };
    sleep_until(due).await;
    let permit = requests.reserve().await.ok()?;
    permit.send(unsent.request.encode(Some(&unsent.cid)));
    Some(unsent.cid.clone())
}

fn not_sent(cid: Cid, reason: &str) -> ClientEvent {
    ClientEvent::NotSent { cid, reason: SafeText::clean(reason) }
}

#[expect(clippy::disallowed_methods, reason = "the throttle needs the time")]
fn now() -> Instant {
    Instant::now()
}
