//! The task that keeps what is said here on disk, and hands it to whatever connection stands.
//!
//! The only place of the outbox that reads the clock and waits for the disk.

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::file::{OutboxFile, may_persist};
use super::{Outbox, UnsentMessage};
use crate::client::driver::{Closed, EventSender};
use crate::client::throttle::SendThrottle;
use crate::client::{ClientEvent, REQUEST_QUEUE};
use crate::protocol::id::Cid;
use crate::protocol::message::Millis;
use crate::protocol::request::{Post, Request};
use crate::protocol::text::SafeText;

/// What the person wants.
#[derive(Debug)]
pub(in crate::client) enum OutboxCommand {
    /// Say this, under this name.
    Post(Cid, Post),
    /// Don't say what was not sent yet, or refused.
    Discard(Cid),
}

/// What the connection brings.
#[derive(Debug)]
pub(in crate::client) enum OutboxSignal {
    /// The server has said everything that it had to say, and takes requests here, at this pace.
    Live(mpsc::Sender<Vec<u8>>, SendThrottle),
    /// There is no connection any more.
    Disconnected,
    /// The server has done it, or never will.
    Answered(Cid),
    /// The server can't store it now.
    NotStored(Cid),
    /// A message is gone: no trace of it must stay.
    MessageRemoved,
}

/// What comes next.
enum Step {
    Signal(OutboxSignal),
    Commands,
    Sent(Option<Cid>),
}

/// The task.
#[derive(Debug)]
pub(in crate::client) struct OutboxTask {
    pub(in crate::client) outbox: Outbox,
    pub(in crate::client) commands: mpsc::Receiver<OutboxCommand>,
    pub(in crate::client) signals: mpsc::Receiver<OutboxSignal>,
    pub(in crate::client) events: EventSender,
    pub(in crate::client) requests: Option<mpsc::Sender<Vec<u8>>>,
    pub(in crate::client) throttle: SendThrottle,
}

impl OutboxTask {
    /// Runs until nobody wants the connection any more. What was taken until then is on disk, and is
    /// handed over if a connection stands.
    pub(in crate::client) async fn run(mut self) {
        while self.step().await.is_ok() {}
        // The connection must not wait for who hears no more.
        self.signals.close();
        self.commands.close();
        let mut commands = Vec::with_capacity(REQUEST_QUEUE);
        while self.commands.recv_many(&mut commands, REQUEST_QUEUE).await > 0 {
            if self.on_commands(&mut commands).await.is_err() {
                // There is nobody to tell; what is on disk is said the next time.
            }
        }
        // What the server does not take by then is on disk.
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
        let waits = self.outbox.queue.next().is_some();
        let due = Instant::from_std(self.throttle.ready_at(now().into_std()));
        let next = tokio::select! {
            biased;
            () = self.events.closed() => return Err(Closed),
            word = self.signals.recv() => Step::Signal(word.ok_or(Closed)?),
            count = self.commands.recv_many(&mut commands, REQUEST_QUEUE) => match count {
                0 => return Err(Closed),
                _ => Step::Commands,
            },
            handed = send_when_due(self.requests.as_ref(), self.outbox.queue.next(), due), if waits => {
                Step::Sent(handed)
            }
        };
        match next {
            Step::Signal(word) => self.on_signal(word).await,
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
            OutboxSignal::Live(line, pace) => {
                (self.requests, self.throttle) = (Some(line), pace);
                for cid in self.outbox.queue.on_connect(unix_millis()) {
                    let reason = "it waited for more than 6 days, and is not sent by itself";
                    self.events.send(not_sent(cid, reason)).await?;
                }
                for cid in self.outbox.queue.waiting() {
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
                let kept = self.persistent();
                self.with_file(move |disk| disk.scrub(kept.iter())).await.unwrap_or_default();
            }
        }
        Ok(())
    }

    /// Puts what is to be said on disk, all at once; nothing is sent that is not there.
    async fn on_commands(&mut self, commands: &mut Vec<OutboxCommand>) -> Result<(), Closed> {
        let mut new = Vec::new();
        for command in commands.drain(..) {
            match command {
                OutboxCommand::Post(cid, say) => {
                    new.push(UnsentMessage { cid, post: say, at: unix_millis() })
                }
                OutboxCommand::Discard(cid) => self.remove(cid).await,
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let outcome = if self.outbox.queue.has_room_for(new.len()) {
            let kept: Vec<UnsentMessage> =
                new.iter().filter(|one| may_persist(one)).cloned().collect();
            self.with_file(move |disk| disk.append(&kept))
                .await
                .map_err(|error| format!("this machine's disk does not take it: {error}"))
        } else {
            Err("too many messages wait already".to_owned())
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
            let kept = self.persistent();
            // Where that fails the message is sent once more after a restart, and known by its `cid`.
            self.with_file(move |disk| disk.record_answers(&[cid], kept.iter()))
                .await
                .unwrap_or_default();
        }
    }

    fn persistent(&self) -> Vec<UnsentMessage> {
        self.outbox.queue.unsent().filter(|unsent| may_persist(unsent)).cloned().collect()
    }

    /// Does `work` on a thread that may wait for the disk; without a disk there is nothing to do.
    async fn with_file(
        &mut self,
        work: impl FnOnce(&mut OutboxFile) -> std::io::Result<()> + Send + 'static,
    ) -> std::io::Result<()> {
        let Some(mut disk) = self.outbox.file.take() else { return Ok(()) };
        let done = tokio::task::spawn_blocking(move || {
            let outcome = work(&mut disk);
            (disk, outcome)
        });
        let (disk, outcome) = done.await.map_err(std::io::Error::other)?;
        self.outbox.file = Some(disk);
        outcome
    }
}

/// Hands a message to the connection when it is due, and gives its name; nothing if the connection is
/// gone. Waits while the connection takes nothing, or there is none.
async fn send_when_due(
    requests: Option<&mpsc::Sender<Vec<u8>>>,
    unsent: Option<&UnsentMessage>,
    due: Instant,
) -> Option<Cid> {
    let (Some(line), Some(unsent)) = (requests, unsent) else {
        return std::future::pending().await;
    };
    sleep_until(due).await;
    let room = line.reserve().await.ok()?;
    room.send(Request::Post(unsent.post.clone()).encode(Some(&unsent.cid)));
    Some(unsent.cid.clone())
}

fn not_sent(cid: Cid, reason: &str) -> ClientEvent {
    ClientEvent::NotSent { cid, reason: SafeText::clean(reason) }
}

#[expect(clippy::disallowed_methods, reason = "this is the shell")]
fn unix_millis() -> Millis {
    chrono::Utc::now().timestamp_millis()
}

#[expect(clippy::disallowed_methods, reason = "this is the shell")]
fn now() -> Instant {
    Instant::now()
}
