//! The one task that owns the hub: commands in, effects out, and the clock read once a batch.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::fanout::Fanout;
use super::hub::{Hub, Input, Now, SessionId};
use super::limits::{BATCH, BEHIND_PAUSE, BEHIND_STEP, COMMANDS};
use super::outbox::Outbox;
use crate::protocol::error::Refusal;
use crate::protocol::request::{Decoded, Login};

/// What a session tells the hub.
#[derive(Debug)]
pub(super) enum Command {
    /// Somebody logs in and will be answered through the outbox.
    Login { session: SessionId, login: Login, outbox: Arc<Outbox> },
    /// Somebody who is logged in asks for something.
    Request { session: SessionId, request: Decoded },
    /// The connection has ended.
    Left(SessionId),
}

/// The way to the hub. When it is full, the sender waits.
pub(super) type HubSender = mpsc::Sender<Command>;

/// The hub's end of that way.
pub(super) type HubReceiver = mpsc::Receiver<Command>;

/// The way to the hub, both ends.
pub(super) fn channel() -> (HubSender, HubReceiver) {
    mpsc::channel(COMMANDS)
}

/// The clock of production.
#[expect(clippy::disallowed_methods, reason = "the shell is where time comes from")]
pub(super) fn clock() -> Now {
    Now { mono: Instant::now(), wall: chrono::Local::now().fixed_offset() }
}

/// Runs the hub until `stop`, then says goodbye to all sessions.
pub(super) async fn run(
    mut hub: Hub,
    mut commands: HubReceiver,
    clock: impl Fn() -> Now,
    stop: CancellationToken,
) {
    let mut fanout = Fanout::default();
    let mut batch = Vec::with_capacity(BATCH);
    let mut now = clock();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = commands.recv_many(&mut batch, BATCH) => {}
            () = until(hub.next_deadline(now)) => {}
        }
        now = clock();
        handle(&mut hub, &mut fanout, now, &mut batch);
        pace(&mut fanout).await;
    }
    commands.close();
    while commands.recv_many(&mut batch, BATCH).await > 0 {
        handle(&mut hub, &mut fanout, clock(), &mut batch);
    }
    fanout.close_all(&Refusal::ShuttingDown);
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn handle(hub: &mut Hub, fanout: &mut Fanout, now: Now, batch: &mut Vec<Command>) {
    if batch.is_empty() {
        carry_out(hub, fanout, now, Input::Tick);
    }
    for command in batch.drain(..) {
        let input = match command {
            Command::Login { session, login, outbox } => {
                fanout.add(session, login.dialect, outbox);
                Input::Login { session, login }
            }
            Command::Request { session, request } => Input::Request { session, request },
            Command::Left(session) => {
                fanout.forget(session);
                Input::Left(session)
            }
        };
        carry_out(hub, fanout, now, input);
    }
    fanout.flush();
    // Who was too slow has left; telling the others of it can show more who are.
    loop {
        let ended = fanout.take_ended();
        if ended.is_empty() {
            return;
        }
        for session in ended {
            carry_out(hub, fanout, now, Input::Left(session));
        }
        fanout.flush();
    }
}

fn carry_out(hub: &mut Hub, fanout: &mut Fanout, now: Now, input: Input) {
    for effect in hub.handle(now, input) {
        fanout.carry_out(effect);
    }
}

/// Lets the writers come to their turn; waits for them when most are behind.
async fn pace(fanout: &mut Fanout) {
    tokio::task::yield_now().await;
    let mut waited = std::time::Duration::ZERO;
    while fanout.is_behind() && waited < BEHIND_PAUSE {
        sleep(BEHIND_STEP).await;
        waited += BEHIND_STEP;
        fanout.recount();
    }
}
