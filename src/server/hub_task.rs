//! The task that owns the [`Hub`]: it receives commands, reads the clock once per batch, and carries out
//! the hub's effects on the log, the readers and the sessions.
//!
//! The writes of one batch go to the log together, and their outcomes come back in order. No event is
//! sent before its write is on disk.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admin::{AdminCommand, AdminReply};
use super::fanout::Fanout;
use super::hub::{
    AdminRequestId, Hub, HubEffect, HubInput, Now, Origin, PeerInfo, ReadRequest, SessionId,
};
use super::limits::{BATCHES_IN_FLIGHT, HUB_BATCH, HUB_QUEUE_LEN, LAG_PAUSE, LAG_PAUSE_STEP};
use super::queries::{self, ActiveSearches, SearchJob};
use super::send_queue::SendQueue;
use crate::protocol::error::Refusal;
use crate::protocol::event::{Event, SearchEnd, SearchResults};
use crate::protocol::id::{Cid, UserId};
use crate::protocol::request::{DecodedRequest, Login, Request};
use crate::store::worker::LogHandles;
use crate::store::{Entry, Outcome, Retained, StoreError};

/// A message to the hub task: from sessions, the admin socket and housekeeping.
#[derive(Debug)]
pub(super) enum HubCommand {
    /// A client sent its login. The reply goes to `queue`.
    Login { session: SessionId, login: Login, peer: PeerInfo, queue: Arc<SendQueue> },
    /// A logged-in client sent a request.
    Request { session: SessionId, request: DecodedRequest },
    /// The administrator sent a command. Dropping `reply` unsent means that the server is stopping.
    Admin { command: AdminCommand, reply: oneshot::Sender<AdminReply> },
    /// A session missed presence announcements.
    UserListWanted(SessionId),
    /// What is past its retention was removed from the log.
    Retained(Retained),
    /// The connection ended.
    Disconnected(SessionId),
}

/// Sends commands to the hub task. Waits while the queue is full.
pub(super) type HubSender = mpsc::Sender<HubCommand>;

/// The hub task's end of the command queue.
pub(super) type HubReceiver = mpsc::Receiver<HubCommand>;

/// Makes the command queue, of [`HUB_QUEUE_LEN`] commands.
pub(super) fn hub_channel() -> (HubSender, HubReceiver) {
    mpsc::channel(HUB_QUEUE_LEN)
}

/// Returns the current time. The simulation has its own.
pub type Clock = fn() -> Now;

/// The system's clock.
#[expect(clippy::disallowed_methods, reason = "the server reads the clock here and nowhere else")]
pub(super) fn system_clock() -> Now {
    // `Local::now` panics before 1970.
    let wall = chrono::DateTime::<chrono::Local>::from(std::time::SystemTime::now());
    Now { monotonic: Instant::now(), wall: wall.fixed_offset() }
}

/// What the hub task signals to housekeeping.
#[derive(Debug, Default)]
pub(super) struct LogChanges {
    /// A message was removed; its text is still in the files.
    pub(super) removed: Notify,
    /// The log was written to.
    pub(super) written: Notify,
}

/// The origins of one batch of entries, with its outcomes in the same order.
type ProposalReply = (Vec<Origin>, Result<Vec<Outcome>, StoreError>);

/// What follows in the order in which the hub asked for it.
enum Ordered {
    /// A batch of entries was applied, or could not be stored.
    Applied(ProposalReply),
    /// A read may start: every entry that was proposed before has been applied.
    Read(LogRead),
    /// Everything that this session requested before it ended has been answered.
    SessionEnded(SessionId),
}

/// A read from the log for a session.
struct LogRead {
    session: SessionId,
    viewer: UserId,
    cid: Option<Cid>,
    request: ReadRequest,
}

/// The hub with everything it acts on.
pub(super) struct HubTask {
    hub: Hub,
    fanout: Fanout,
    log: LogHandles,
    tasks: TaskTracker,
    /// The entries of the current batch.
    proposals: Vec<(Origin, Entry)>,
    /// Batches at the log, and what follows them.
    in_order: FuturesOrdered<BoxFuture<'static, Ordered>>,
    batches_in_flight: usize,
    /// Reads that follow the current batch.
    reads: Vec<LogRead>,
    searches: ActiveSearches,
    admin_replies: HashMap<AdminRequestId, oneshot::Sender<AdminReply>>,
    next_admin_request: u64,
    /// [`LogChanges::removed`] has to be signalled.
    has_removed: bool,
    /// [`LogChanges::written`] has to be signalled.
    has_written: bool,
    /// The last write failed. A failure is logged once until a write succeeds.
    is_log_failing: bool,
}

impl HubTask {
    pub(super) fn new(hub: Hub, fanout: Fanout, log: LogHandles, tasks: TaskTracker) -> Self {
        Self {
            hub,
            fanout,
            log,
            tasks,
            proposals: Vec::new(),
            in_order: FuturesOrdered::new(),
            batches_in_flight: 0,
            reads: Vec::new(),
            searches: ActiveSearches::default(),
            admin_replies: HashMap::new(),
            next_admin_request: 0,
            has_removed: false,
            has_written: false,
            is_log_failing: false,
        }
    }

    /// Runs until `stop`; then handles the commands that are queued, waits for the log, and closes all
    /// sessions.
    pub(super) async fn run(
        mut self,
        mut commands: HubReceiver,
        clock: Clock,
        changes: Arc<LogChanges>,
        stop: CancellationToken,
    ) {
        let mut batch = Vec::with_capacity(HUB_BATCH);
        let mut now = clock();
        loop {
            let (deadline, can_propose) = (self.hub.next_deadline(now), self.can_propose());
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(next) = self.in_order.next() => {
                    now = clock();
                    self.handle_ordered(now, next);
                    // Events that were committed together are sent together, in one piece per session.
                    while let Some(Some(next)) = self.in_order.next().now_or_never() {
                        self.handle_ordered(now, next);
                    }
                }
                _ = commands.recv_many(&mut batch, HUB_BATCH), if can_propose => {
                    now = clock();
                    self.handle_commands(now, &mut batch).await;
                }
                () = sleep_until_deadline(deadline) => {
                    now = clock();
                    self.handle_input(now, HubInput::Tick);
                }
            }
            self.deliver(now).await;
            if std::mem::take(&mut self.has_removed) {
                changes.removed.notify_one();
            }
            if std::mem::take(&mut self.has_written) {
                changes.written.notify_one();
            }
        }
        commands.close();
        while commands.recv_many(&mut batch, HUB_BATCH).await > 0 {
            self.handle_commands(clock(), &mut batch).await;
            self.flush_proposals(clock()).await;
        }
        while let Some(next) = self.in_order.next().await {
            self.handle_ordered(clock(), next);
            self.flush_proposals(clock()).await;
        }
        self.fanout.close_all(&Refusal::ShuttingDown);
    }

    async fn handle_commands(&mut self, now: Now, batch: &mut Vec<HubCommand>) {
        for command in batch.drain(..) {
            match command {
                HubCommand::Login { session, login, peer, queue } => {
                    self.fanout.add(session, login.dialect, queue);
                    self.handle_input(now, HubInput::Login { session, login, peer });
                }
                HubCommand::Request { session, request: (_, Ok(Request::Exit)) }
                | HubCommand::Disconnected(session) => self.end_session(now, session).await,
                HubCommand::Request { session, request } => {
                    self.handle_input(now, HubInput::Request { session, request });
                }
                HubCommand::Admin { command, reply } => self.handle_admin(now, command, reply),
                HubCommand::UserListWanted(session) => {
                    self.fanout.resume_presence(session);
                    self.handle_input(now, HubInput::UserListWanted(session));
                }
                HubCommand::Retained(retained) => {
                    self.fanout.forget_through(retained.horizon);
                    let (origin, outcome) = (Origin::NoReply, Outcome::Retained(retained));
                    self.handle_input(now, HubInput::Applied { origin, outcome });
                }
            }
        }
    }

    fn handle_admin(
        &mut self,
        now: Now,
        command: AdminCommand,
        reply: oneshot::Sender<AdminReply>,
    ) {
        let id = AdminRequestId(self.next_admin_request);
        self.next_admin_request += 1;
        self.admin_replies.insert(id, reply);
        self.handle_input(now, HubInput::Admin { id, command });
    }

    /// Ends a session once everything that it requested has been answered.
    async fn end_session(&mut self, now: Now, session: SessionId) {
        self.flush_proposals(now).await;
        self.follow(now, Ordered::SessionEnded(session));
    }

    /// Lets something follow the batches that are at the log.
    fn follow(&mut self, now: Now, next: Ordered) {
        if self.in_order.is_empty() {
            self.handle_ordered(now, next);
        } else {
            self.in_order.push_back(std::future::ready(next).boxed());
        }
    }

    /// Gives the hub an input and carries out its effects.
    fn handle_input(&mut self, now: Now, input: HubInput) {
        for effect in self.hub.handle(now, input) {
            match effect {
                HubEffect::Send { to, event } => {
                    self.has_removed |= event.removed_message().is_some();
                    self.fanout.deliver(to, &event);
                }
                HubEffect::Propose { origin, entry } => self.proposals.push((origin, entry)),
                HubEffect::Read { session, viewer, cid, query } => {
                    let read = LogRead { session, viewer, cid, request: query };
                    if self.proposals.is_empty() {
                        self.follow(now, Ordered::Read(read));
                    } else {
                        self.reads.push(read);
                    }
                }
                HubEffect::Subscribe { session, viewer, after } => {
                    self.fanout.subscribe(session, viewer, after);
                }
                HubEffect::AdminReply { id, reply } => {
                    if let Some(sender) = self.admin_replies.remove(&id) {
                        // The connection to the admin socket may have ended.
                        sender.send(reply).ok();
                    }
                }
                HubEffect::Close(session) => self.close_session(session),
            }
        }
    }

    fn close_session(&mut self, session: SessionId) {
        self.fanout.close(session);
        self.searches.end_session(session);
    }

    /// Whether the log can take another batch.
    fn can_propose(&self) -> bool {
        self.batches_in_flight < BATCHES_IN_FLIGHT
    }

    /// Sends the current batch to the log. Waits only while the log's queue is full.
    async fn flush_proposals(&mut self, now: Now) {
        if self.proposals.is_empty() {
            return;
        }
        let (origins, entries): (Vec<_>, Vec<_>) = self.proposals.drain(..).unzip();
        let pending = self.log.writer.propose(now.millis(), entries).await;
        let reply = async move {
            Ordered::Applied(match pending {
                Ok(pending) => (origins, pending.wait().await),
                Err(error) => (origins, Err(error)),
            })
        };
        self.in_order.push_back(reply.boxed());
        self.batches_in_flight += 1;
        for read in std::mem::take(&mut self.reads) {
            self.follow(now, Ordered::Read(read));
        }
    }

    fn handle_ordered(&mut self, now: Now, next: Ordered) {
        match next {
            Ordered::Applied(reply) => self.handle_applied(now, reply),
            Ordered::Read(read) => self.start_read(now, read),
            Ordered::SessionEnded(session) => {
                self.close_session(session);
                self.handle_input(now, HubInput::Disconnected(session));
            }
        }
    }

    fn handle_applied(&mut self, now: Now, (origins, outcomes): ProposalReply) {
        self.batches_in_flight -= 1;
        match outcomes {
            Ok(outcomes) => {
                self.is_log_failing = false;
                self.has_written = true;
                for (origin, outcome) in origins.into_iter().zip(outcomes) {
                    self.handle_input(now, HubInput::Applied { origin, outcome });
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_log_failing, true) {
                    tracing::error!(%error, "cannot write to the log; requests are refused until it recovers");
                }
                let reason = error.public_reason();
                for origin in origins {
                    self.handle_input(now, HubInput::NotApplied { origin, reason });
                }
            }
        }
    }

    /// Starts a history or search query, whose reply goes to the session without passing the hub again.
    fn start_read(&mut self, now: Now, read: LogRead) {
        let LogRead { session, viewer, cid, request } = read;
        let Some(pending) = self.fanout.begin_read(session) else { return };
        let (pending, now) = (Arc::new(pending), now.millis());
        match request {
            ReadRequest::Search(query) => {
                let cancelled = self.searches.start(session, &viewer);
                if query.pattern.is_empty() {
                    let end = SearchEnd::Complete;
                    let results = SearchResults { messages: Vec::new(), searched: 0, end, cid };
                    pending.answer(Event::SearchResults(results));
                    return;
                }
                let job = SearchJob::new(viewer, now, cid.clone(), query, cancelled);
                self.tasks.spawn(queries::search(self.log.searchers.clone(), job, cid, pending));
            }
            request => {
                let readers = self.log.readers.clone();
                let answer = queries::answer_read(readers, viewer, now, cid, request, pending);
                self.tasks.spawn(answer);
            }
        }
    }

    /// Sends the gathered events and the queued writes, then lets the sessions write.
    async fn deliver(&mut self, now: Now) {
        self.fanout.flush();
        self.flush_proposals(now).await;
        self.yield_to_writers().await;
    }

    /// Lets the sessions' tasks run. While most sessions lag, waits for them, up to [`LAG_PAUSE`].
    async fn yield_to_writers(&mut self) {
        tokio::task::yield_now().await;
        let mut waited = Duration::ZERO;
        while self.fanout.most_sessions_lag() && waited < LAG_PAUSE {
            sleep(LAG_PAUSE_STEP).await;
            waited += LAG_PAUSE_STEP;
            self.fanout.recount_lagging();
        }
        if self.fanout.most_sessions_lag() {
            self.fanout.mark_lagging_as_stalled();
        }
    }
}

/// Waits for `deadline`, forever if there is none.
pub(super) async fn sleep_until_deadline(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
