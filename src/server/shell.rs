//! The one task that owns the hub: commands in, effects out, and the clock read once a batch.

use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::admin::{AdminCommand, AdminReply};
use super::fanout::Fanout;
use super::housekeeping::LogChanges;
use super::hub::{HubInput, Now, PeerInfo, SessionId};
use super::hub_task::HubTask;
use super::limits::{HUB_BATCH, HUB_QUEUE_LEN, LAG_PAUSE, LAG_PAUSE_STEP};
use super::send_queue::SendQueue;
use crate::protocol::error::Refusal;
use crate::protocol::id::{MessageId, Seq};
use crate::protocol::request::{DecodedRequest, Login, Request};

/// What a session tells the hub.
#[derive(Debug)]
pub(super) enum HubCommand {
    /// Somebody logs in and will be answered through the outbox.
    Login { session: SessionId, login: Login, peer: PeerInfo, queue: Arc<SendQueue> },
    /// Somebody who is logged in asks for something.
    Request { session: SessionId, request: DecodedRequest },
    /// Whoever runs the server asks for something.
    Admin { command: AdminCommand, reply: oneshot::Sender<AdminReply> },
    /// A session has read the log up to this place.
    CaughtUp { session: SessionId, up_to: Seq },
    /// These message ids are free again.
    IdsFreed(Vec<MessageId>),
    /// Only from here on is the log complete.
    Horizon(Seq),
    /// The connection has ended.
    Disconnected(SessionId),
}

/// The way to the hub. When it is full, the sender waits.
pub(super) type HubSender = mpsc::Sender<HubCommand>;

/// The hub's end of that way.
pub(super) type HubReceiver = mpsc::Receiver<HubCommand>;

/// The way to the hub, both ends.
pub(super) fn hub_channel() -> (HubSender, HubReceiver) {
    mpsc::channel(HUB_QUEUE_LEN)
}

/// What tells the time.
pub type Clock = fn() -> Now;

/// The clock of production.
#[expect(clippy::disallowed_methods, reason = "the shell is where time comes from")]
pub(super) fn system_clock() -> Now {
    Now { monotonic: Instant::now(), wall: chrono::Local::now().fixed_offset() }
}

/// Runs the hub until `stop`, then waits for the log and says goodbye to all sessions.
pub(super) async fn run(
    mut desk: HubTask,
    mut commands: HubReceiver,
    clock: impl Fn() -> Now,
    changes: Arc<LogChanges>,
    stop: CancellationToken,
) {
    let mut batch = Vec::with_capacity(HUB_BATCH);
    let mut now = clock();
    loop {
        let (deadline, has_room) = (desk.hub.next_deadline(now), desk.can_write());
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            returned = desk.next_reply() => {
                now = clock();
                desk.handle_reply(now, returned);
                // What was committed together is handed out together, in one piece for each session.
                while let Some(returned) = desk.next_reply().now_or_never() {
                    desk.handle_reply(now, returned);
                }
            }
            _ = commands.recv_many(&mut batch, HUB_BATCH), if has_room => {
                now = clock();
                handle_commands(&mut desk, now, &mut batch).await;
            }
            () = sleep_until_deadline(deadline) => {
                now = clock();
                desk.handle_input(now, HubInput::Tick);
            }
        }
        deliver(&mut desk, now).await;
        if std::mem::take(&mut desk.has_removed) {
            changes.removed.notify_one();
        }
        if std::mem::take(&mut desk.has_written) {
            changes.written.notify_one();
        }
    }
    commands.close();
    while commands.recv_many(&mut batch, HUB_BATCH).await > 0 {
        handle_commands(&mut desk, clock(), &mut batch).await;
        desk.flush_writes(clock()).await;
    }
    while desk.is_writing() {
        let returned = desk.next_reply().await;
        desk.handle_reply(clock(), returned);
    }
    desk.fanout.close_all(&Refusal::ShuttingDown);
}

async fn sleep_until_deadline(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn handle_commands(desk: &mut HubTask, now: Now, batch: &mut Vec<HubCommand>) {
    for command in batch.drain(..) {
        match command {
            HubCommand::Login { session, login, peer, queue: outbox } => {
                desk.fanout.add(session, login.dialect, outbox);
                desk.handle_input(now, HubInput::Login { session, login, peer });
            }
            HubCommand::Request { session, request: (_, Ok(Request::Exit)) }
            | HubCommand::Disconnected(session) => desk.end_session(now, session).await,
            HubCommand::Request { session, request } => {
                desk.handle_input(now, HubInput::Request { session, request });
            }
            HubCommand::Admin { command: act, reply: answer } => {
                desk.handle_admin(now, act, answer)
            }
            HubCommand::CaughtUp { session, up_to: looked } => {
                desk.fanout.caught_up(session, looked)
            }
            HubCommand::IdsFreed(ids) => desk.handle_input(now, HubInput::IdsFreed(ids)),
            HubCommand::Horizon(horizon) => desk.handle_input(now, HubInput::Horizon(horizon)),
        }
    }
}

/// Hands out what was gathered, sends on what is to be written, and lets the writers come to their turn.
async fn deliver(desk: &mut HubTask, now: Now) {
    desk.fanout.flush();
    // Who was too slow has left; telling the others of it can show more who are.
    loop {
        let ended = desk.fanout.take_ended();
        if ended.is_empty() {
            break;
        }
        for session in ended {
            desk.handle_input(now, HubInput::Disconnected(session));
        }
        desk.fanout.flush();
    }
    desk.flush_writes(now).await;
    yield_to_writers(&mut desk.fanout).await;
}

/// Lets the writers come to their turn; waits for them when most are behind.
async fn yield_to_writers(fanout: &mut Fanout) {
    tokio::task::yield_now().await;
    let mut waited = std::time::Duration::ZERO;
    while fanout.most_sessions_lag() && waited < LAG_PAUSE {
        sleep(LAG_PAUSE_STEP).await;
        waited += LAG_PAUSE_STEP;
        fanout.recount_lagging();
    }
}
