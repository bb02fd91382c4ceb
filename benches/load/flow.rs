//! When messages are sent: in a closed loop, as fast as earlier ones arrive, or at times set by a clock.

use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};

use super::dialect::Dialect;
use super::mark::Mark;
use super::scenario::Schedule;

/// Bytes of a message's text, as in a line of a chat.
pub(crate) const TEXT_BYTES: usize = 120;
/// Messages that a sender puts in one write, at most.
const BATCH: u64 = 16;

/// The window of a closed loop: how many messages may be under way, on the average over their recipients.
pub(crate) struct Flow {
    window: u64,
    /// How many arrivals count as one message.
    pub(crate) copies: u64,
    pub(crate) sent: Cell<u64>,
    pub(crate) arrived: Cell<u64>,
    progress: Notify,
}

impl Flow {
    pub(crate) fn new(schedule: Schedule, copies: usize) -> Self {
        let window = match schedule {
            Schedule::InFlight(window) => window,
            Schedule::Idle | Schedule::PerSecond(_) => 0,
        };
        Self {
            window,
            copies: copies.max(1) as u64,
            sent: Cell::new(0),
            arrived: Cell::new(0),
            progress: Notify::new(),
        }
    }

    fn room(&self) -> u64 {
        (self.window + self.arrived.get() / self.copies).saturating_sub(self.sent.get())
    }

    pub(crate) fn arrived(&self, count: u64) {
        self.arrived.set(self.arrived.get() + count);
        // An eighth of the window at once, or senders would wake up for each message.
        if self.window > 0 && self.room() >= (self.window / 8).max(1) {
            self.progress.notify_waiters();
        }
    }

    /// Reserves room for at least one message and at most a batch.
    async fn reserve(&self) -> u64 {
        loop {
            let count = self.room().min(BATCH);
            if count > 0 {
                self.sent.set(self.sent.get() + count);
                return count;
            }
            self.progress.notified().await;
        }
    }
}

/// One sender's messages.
pub(crate) struct Sender {
    pub(crate) index: usize,
    pub(crate) dialect: Dialect,
    pub(crate) recipient: String,
    pub(crate) text_bytes: usize,
    pub(crate) epoch: Instant,
    pub(crate) outgoing: mpsc::Sender<Vec<u8>>,
    pub(crate) number: u64,
}

impl Sender {
    fn append(&mut self, due: u64, out: &mut Vec<u8>) {
        let mark = Mark { sender: self.index, number: self.number, due };
        self.dialect.message(mark, &self.recipient, self.text_bytes, out);
        self.number += 1;
    }

    /// Sends whenever the window has room, until `end`.
    pub(crate) async fn run_closed_loop(mut self, flow: &Flow, end: Instant) {
        while let Ok(count) = tokio::time::timeout_at(end.into(), flow.reserve()).await {
            let now = u64::try_from(self.epoch.elapsed().as_micros()).unwrap();
            let mut batch = Vec::new();
            (0..count).for_each(|_| self.append(now, &mut batch));
            // Closed: the group counts that.
            if self.outgoing.send(batch).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Sends one message for each time that the clock sets.
    pub(crate) async fn run_on_schedule(mut self, flow: &Flow, mut due: mpsc::Receiver<u64>) {
        while let Some(due) = due.recv().await {
            flow.sent.set(flow.sent.get() + 1);
            let mut message = Vec::new();
            self.append(due, &mut message);
            if self.outgoing.send(message).await.is_err() {
                return;
            }
        }
    }
}

/// Gives the senders their times in turn. A thread of its own, because the timers of the members' runtime
/// are late by up to a millisecond, and by more when it is busy.
pub(crate) fn start_clock(
    per_second: u32,
    duration: Duration,
    epoch: Instant,
    senders: Vec<mpsc::Sender<u64>>,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let start = epoch.elapsed();
        for number in 0_u32.. {
            let after = Duration::from_secs(1) * number / per_second;
            if after >= duration {
                return;
            }
            let due = start + after;
            thread::sleep(due.saturating_sub(epoch.elapsed()));
            let due = u64::try_from(due.as_micros()).unwrap();
            // A sender whose connection is closed sends nothing: the group counts that.
            senders[number as usize % senders.len()].blocking_send(due).ok();
        }
    })
}
