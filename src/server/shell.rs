//! The one task that owns the hub: commands in, effects out, and the clock read once a batch.

use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::admin::{Act, Answer};
use super::desk::Desk;
use super::fanout::Fanout;
use super::housekeeping::Changes;
use super::hub::{Input, Now, Peer, SessionId};
use super::limits::{BATCH, BEHIND_PAUSE, BEHIND_STEP, COMMANDS};
use super::outbox::Outbox;
use crate::protocol::error::Refusal;
use crate::protocol::id::{MessageId, Seq};
use crate::protocol::request::{Decoded, Login, Request};

/// What a session tells the hub.
#[derive(Debug)]
pub(super) enum Command {
    /// Somebody logs in and will be answered through the outbox.
    Login { session: SessionId, login: Login, peer: Peer, outbox: Arc<Outbox> },
    /// Somebody who is logged in asks for something.
    Request { session: SessionId, request: Decoded },
    /// Whoever runs the server asks for something.
    Administer { act: Act, answer: oneshot::Sender<Answer> },
    /// A session has read the log up to this place.
    Level { session: SessionId, looked: Seq },
    /// These message ids are free again.
    Freed(Vec<MessageId>),
    /// Only from here on is the log complete.
    Horizon(Seq),
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

/// What tells the time.
pub type Clock = fn() -> Now;

/// The clock of production.
#[expect(clippy::disallowed_methods, reason = "the shell is where time comes from")]
pub(super) fn clock() -> Now {
    Now { mono: Instant::now(), wall: chrono::Local::now().fixed_offset() }
}

/// Runs the hub until `stop`, then waits for the log and says goodbye to all sessions.
pub(super) async fn run(
    mut desk: Desk,
    mut commands: HubReceiver,
    clock: impl Fn() -> Now,
    changes: Arc<Changes>,
    stop: CancellationToken,
) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut now = clock();
    loop {
        let (deadline, has_room) = (desk.hub.next_deadline(now), desk.has_room());
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            returned = desk.returned() => {
                now = clock();
                desk.settle(now, returned);
                // What was committed together is handed out together, in one piece for each session.
                while let Some(returned) = desk.returned().now_or_never() {
                    desk.settle(now, returned);
                }
            }
            _ = commands.recv_many(&mut batch, BATCH), if has_room => {
                now = clock();
                take(&mut desk, now, &mut batch).await;
            }
            () = until(deadline) => {
                now = clock();
                desk.input(now, Input::Tick);
            }
        }
        hand_out(&mut desk, now).await;
        if std::mem::take(&mut desk.removed) {
            changes.removed.notify_one();
        }
        if std::mem::take(&mut desk.written) {
            changes.written.notify_one();
        }
    }
    commands.close();
    while commands.recv_many(&mut batch, BATCH).await > 0 {
        take(&mut desk, clock(), &mut batch).await;
        desk.write(clock()).await;
    }
    while desk.is_writing() {
        let returned = desk.returned().await;
        desk.settle(clock(), returned);
    }
    desk.fanout.close_all(&Refusal::ShuttingDown);
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn take(desk: &mut Desk, now: Now, batch: &mut Vec<Command>) {
    for command in batch.drain(..) {
        match command {
            Command::Login { session, login, peer, outbox } => {
                desk.fanout.add(session, login.dialect, outbox);
                desk.input(now, Input::Login { session, login, peer });
            }
            Command::Request { session, request: (_, Ok(Request::Exit)) }
            | Command::Left(session) => desk.leave(now, session).await,
            Command::Request { session, request } => {
                desk.input(now, Input::Request { session, request });
            }
            Command::Administer { act, answer } => desk.administer(now, act, answer),
            Command::Level { session, looked } => desk.fanout.level(session, looked),
            Command::Freed(ids) => desk.input(now, Input::Freed(ids)),
            Command::Horizon(horizon) => desk.input(now, Input::Horizon(horizon)),
        }
    }
}

/// Hands out what was gathered, sends on what is to be written, and lets the writers come to their turn.
async fn hand_out(desk: &mut Desk, now: Now) {
    desk.fanout.flush();
    // Who was too slow has left; telling the others of it can show more who are.
    loop {
        let ended = desk.fanout.take_ended();
        if ended.is_empty() {
            break;
        }
        for session in ended {
            desk.input(now, Input::Left(session));
        }
        desk.fanout.flush();
    }
    desk.write(now).await;
    pace(&mut desk.fanout).await;
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
