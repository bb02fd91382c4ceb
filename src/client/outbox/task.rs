//! The task that keeps what is said here on disk, and hands it to whatever connection stands.
//!
//! The only place of the outbox that reads the clock and waits for the disk.

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::disk::{Disk, may_keep};
use super::{Outbox, Unsent};
use crate::client::driver::{Outlet, Over};
use crate::client::pace::Pace;
use crate::client::{Event, REQUESTS};
use crate::protocol::id::ClientId;
use crate::protocol::message::Millis;
use crate::protocol::request::{Request, Say};
use crate::protocol::text::SafeText;

/// What the person wants.
#[derive(Debug)]
pub(in crate::client) enum Order {
    /// Say this, under this name.
    Say(ClientId, Say),
    /// Don't say what was not sent yet, or refused.
    Discard(ClientId),
}

/// What the connection brings.
#[derive(Debug)]
pub(in crate::client) enum Word {
    /// The server has said everything that it had to say, and takes requests here, at this pace.
    Live(mpsc::Sender<Vec<u8>>, Pace),
    /// There is no connection any more.
    Lost,
    /// The server has done it, or never will.
    Answered(ClientId),
    /// The server can't store it now.
    NotStored(ClientId),
    /// A message is gone: no trace of it must stay.
    Gone,
}

/// What comes next.
enum Next {
    Hear(Word),
    Obey,
    Sent(Option<ClientId>),
}

/// The task.
#[derive(Debug)]
pub(in crate::client) struct Task {
    pub(in crate::client) outbox: Outbox,
    pub(in crate::client) orders: mpsc::Receiver<Order>,
    pub(in crate::client) words: mpsc::Receiver<Word>,
    pub(in crate::client) outlet: Outlet,
    pub(in crate::client) line: Option<mpsc::Sender<Vec<u8>>>,
    pub(in crate::client) pace: Pace,
}

impl Task {
    /// Runs until nobody wants the connection any more. What was taken until then is on disk, and is
    /// handed over if a connection stands.
    pub(in crate::client) async fn run(mut self) {
        while self.step().await.is_ok() {}
        // The connection must not wait for who hears no more.
        self.words.close();
        self.orders.close();
        let mut orders = Vec::with_capacity(REQUESTS);
        while self.orders.recv_many(&mut orders, REQUESTS).await > 0 {
            if self.obey(&mut orders).await.is_err() {
                // There is nobody to tell; what is on disk is said the next time.
            }
        }
        // What the server does not take by then is on disk.
        let now = mono();
        while self.line.is_some() && self.outbox.queue.next().is_some() {
            match hand_over(self.line.as_ref(), self.outbox.queue.next(), now).await {
                Some(cid) => self.outbox.queue.sent(&cid),
                None => self.line = None,
            }
        }
    }

    async fn step(&mut self) -> Result<(), Over> {
        let mut orders = Vec::with_capacity(REQUESTS);
        let waits = self.outbox.queue.next().is_some();
        let due = Instant::from_std(self.pace.due(mono().into_std()));
        let next = tokio::select! {
            biased;
            () = self.outlet.over() => return Err(Over),
            word = self.words.recv() => Next::Hear(word.ok_or(Over)?),
            count = self.orders.recv_many(&mut orders, REQUESTS) => match count {
                0 => return Err(Over),
                _ => Next::Obey,
            },
            handed = hand_over(self.line.as_ref(), self.outbox.queue.next(), due), if waits => {
                Next::Sent(handed)
            }
        };
        match next {
            Next::Hear(word) => self.hear(word).await,
            Next::Obey => self.obey(&mut orders).await,
            Next::Sent(Some(cid)) => {
                self.outbox.queue.sent(&cid);
                self.pace.sent(mono().into_std());
                Ok(())
            }
            Next::Sent(None) => {
                self.line = None;
                Ok(())
            }
        }
    }

    async fn hear(&mut self, word: Word) -> Result<(), Over> {
        match word {
            Word::Live(line, pace) => {
                (self.line, self.pace) = (Some(line), pace);
                for cid in self.outbox.queue.connected(now()) {
                    let reason = "it waited for more than 6 days, and is not sent by itself";
                    self.outlet.send(not_sent(cid, reason)).await?;
                }
                for cid in self.outbox.queue.waiting() {
                    self.outlet.send(Event::Sending(cid.clone())).await?;
                }
            }
            Word::Lost => {
                self.line = None;
                self.outbox.queue.lost();
            }
            Word::Answered(cid) => self.answered(cid).await,
            Word::NotStored(cid) => self.outbox.queue.hold(&cid),
            Word::Gone => {
                let kept = self.kept();
                self.on_disk(move |disk| disk.scrub(kept.iter())).await.unwrap_or_default();
            }
        }
        Ok(())
    }

    /// Puts what is to be said on disk, all at once; nothing is sent that is not there.
    async fn obey(&mut self, orders: &mut Vec<Order>) -> Result<(), Over> {
        let mut new = Vec::new();
        for order in orders.drain(..) {
            match order {
                Order::Say(cid, say) => new.push(Unsent { cid, say, at: now() }),
                Order::Discard(cid) => self.answered(cid).await,
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let outcome = if self.outbox.queue.has_room_for(new.len()) {
            let kept: Vec<Unsent> = new.iter().filter(|one| may_keep(one)).cloned().collect();
            self.on_disk(move |disk| disk.append(&kept))
                .await
                .map_err(|error| format!("this machine's disk does not take it: {error}"))
        } else {
            Err("too many messages wait already".to_owned())
        };
        for unsent in new {
            match &outcome {
                Ok(()) => {
                    let cid = unsent.cid.clone();
                    self.outbox.queue.add(unsent);
                    if self.line.is_some() {
                        self.outlet.send(Event::Sending(cid)).await?;
                    }
                }
                Err(reason) => self.outlet.send(not_sent(unsent.cid, reason)).await?,
            }
        }
        Ok(())
    }

    async fn answered(&mut self, cid: ClientId) {
        if self.outbox.queue.remove(&cid) {
            let kept = self.kept();
            // Where that fails the message is sent once more after a restart, and known by its `cid`.
            self.on_disk(move |disk| disk.answered(&[cid], kept.iter())).await.unwrap_or_default();
        }
    }

    fn kept(&self) -> Vec<Unsent> {
        self.outbox.queue.unsent().filter(|unsent| may_keep(unsent)).cloned().collect()
    }

    /// Does `work` on a thread that may wait for the disk; without a disk there is nothing to do.
    async fn on_disk(
        &mut self,
        work: impl FnOnce(&mut Disk) -> std::io::Result<()> + Send + 'static,
    ) -> std::io::Result<()> {
        let Some(mut disk) = self.outbox.disk.take() else { return Ok(()) };
        let done = tokio::task::spawn_blocking(move || {
            let outcome = work(&mut disk);
            (disk, outcome)
        });
        let (disk, outcome) = done.await.map_err(std::io::Error::other)?;
        self.outbox.disk = Some(disk);
        outcome
    }
}

/// Hands a message to the connection when it is due, and gives its name; nothing if the connection is
/// gone. Waits while the connection takes nothing, or there is none.
async fn hand_over(
    line: Option<&mpsc::Sender<Vec<u8>>>,
    unsent: Option<&Unsent>,
    due: Instant,
) -> Option<ClientId> {
    let (Some(line), Some(unsent)) = (line, unsent) else {
        return std::future::pending().await;
    };
    sleep_until(due).await;
    let room = line.reserve().await.ok()?;
    room.send(Request::Say(unsent.say.clone()).encode(Some(&unsent.cid)));
    Some(unsent.cid.clone())
}

fn not_sent(cid: ClientId, reason: &str) -> Event {
    Event::NotSent { cid, reason: SafeText::clean(reason) }
}

#[expect(clippy::disallowed_methods, reason = "this is the shell")]
fn now() -> Millis {
    chrono::Utc::now().timestamp_millis()
}

#[expect(clippy::disallowed_methods, reason = "this is the shell")]
fn mono() -> Instant {
    Instant::now()
}
