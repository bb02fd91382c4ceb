//! The task that owns the [`Hub`]: it receives commands, reads the clock once per batch, and carries out
//! the hub's effects on the log, the readers and the sessions.
//!
//! The writes of one batch go to the log together, and their outcomes come back in order. No event is
//! sent before its write is on disk.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, FuturesUnordered};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admin::{AdminCommand, AdminReply};
use super::fanout::Fanout;
use super::hub::{
    AdminRequestId, Hub, HubEffect, HubInput, Now, PeerInfo, ReadRequest, SessionId, WriteContext,
};
use super::limits::{HUB_BATCH, HUB_QUEUE_LEN, LAG_PAUSE, LAG_PAUSE_STEP, WRITES_IN_FLIGHT};
use super::queries::{self, ActiveSearches, SearchJob};
use super::recent_removals::RecentRemovals;
use super::send_queue::SendQueue;
use crate::protocol::error::Refusal;
use crate::protocol::event::{Event, SearchEnd, SearchResults};
use crate::protocol::id::{Cid, MessageId, Seq, UserId};
use crate::protocol::message::Millis;
use crate::protocol::query::SearchQuery;
use crate::protocol::request::{DecodedRequest, Login, Request};
use crate::store::worker::LogHandles;
use crate::store::{Append, Outcome, Reader, StoreError, View};

/// A message to the hub task: from sessions, the admin socket and housekeeping.
#[derive(Debug)]
pub(super) enum HubCommand {
    /// A client sent its login. The reply goes to `queue`.
    Login { session: SessionId, login: Login, peer: PeerInfo, queue: Arc<SendQueue> },
    /// A logged-in client sent a request.
    Request { session: SessionId, request: DecodedRequest },
    /// The administrator sent a command. Dropping `reply` unsent means that the server is stopping.
    Admin { command: AdminCommand, reply: oneshot::Sender<AdminReply> },
    /// A session that reads missed events from the log has read it up to here.
    CaughtUp { session: SessionId, up_to: Seq },
    /// These message IDs can be used again.
    IdsFreed(Vec<MessageId>),
    /// The log's horizon moved. See [`Reader::horizon`].
    Horizon(Seq),
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

/// The contexts of one batch of writes, with its outcomes in the same order.
type WriteReply = (Vec<WriteContext>, Result<Vec<Outcome>, StoreError>);

/// A reply from the log.
enum LogReply {
    /// A batch was written, or failed.
    Written(WriteReply),
    /// The result of a lookup.
    Lookup(HubInput),
    /// All writes that this session requested before it ended have been answered.
    SessionEnded(SessionId),
}

/// The hub with everything it acts on.
pub(super) struct HubTask {
    hub: Hub,
    fanout: Fanout,
    log: LogHandles,
    tasks: TaskTracker,
    /// Writes of the current batch.
    queued_writes: Vec<(WriteContext, Append)>,
    /// Batches sent to the log.
    writes_in_flight: FuturesOrdered<BoxFuture<'static, LogReply>>,
    lookups: FuturesUnordered<BoxFuture<'static, HubInput>>,
    searches: ActiveSearches,
    admin_replies: HashMap<AdminRequestId, oneshot::Sender<AdminReply>>,
    next_admin_request: u64,
    recent_removals: Arc<RecentRemovals>,
    /// [`LogChanges::removed`] has to be signalled.
    has_removed: bool,
    /// [`LogChanges::written`] has to be signalled.
    has_written: bool,
    /// The last write failed. A failure is logged once until a write succeeds.
    is_log_failing: bool,
}

impl HubTask {
    pub(super) fn new(
        hub: Hub,
        fanout: Fanout,
        log: LogHandles,
        recent_removals: Arc<RecentRemovals>,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            hub,
            fanout,
            log,
            tasks,
            queued_writes: Vec::new(),
            writes_in_flight: FuturesOrdered::new(),
            lookups: FuturesUnordered::new(),
            searches: ActiveSearches::default(),
            admin_replies: HashMap::new(),
            next_admin_request: 0,
            recent_removals,
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
            let (deadline, can_write) = (self.hub.next_deadline(now), self.can_write());
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                reply = self.next_reply() => {
                    now = clock();
                    self.handle_reply(now, reply);
                    // Events that were committed together are sent together, in one piece per session.
                    while let Some(reply) = self.next_reply().now_or_never() {
                        self.handle_reply(now, reply);
                    }
                }
                _ = commands.recv_many(&mut batch, HUB_BATCH), if can_write => {
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
            self.flush_writes(clock()).await;
        }
        while !self.writes_in_flight.is_empty() {
            let reply = self.next_reply().await;
            self.handle_reply(clock(), reply);
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
                HubCommand::CaughtUp { session, up_to } => self.fanout.caught_up(session, up_to),
                HubCommand::IdsFreed(ids) => self.handle_input(now, HubInput::IdsFreed(ids)),
                HubCommand::Horizon(horizon) => self.handle_input(now, HubInput::Horizon(horizon)),
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
        self.flush_writes(now).await;
        let ended = LogReply::SessionEnded(session);
        if self.writes_in_flight.is_empty() {
            self.handle_reply(now, ended);
        } else {
            self.writes_in_flight.push_back(std::future::ready(ended).boxed());
        }
    }

    /// Gives the hub an input and carries out its effects.
    fn handle_input(&mut self, now: Now, input: HubInput) {
        for effect in self.hub.handle(now, input) {
            match effect {
                HubEffect::Send { to, event } => {
                    self.record_removal(&event);
                    self.fanout.deliver(to, &event);
                }
                HubEffect::Append { context, append } => {
                    self.queued_writes.push((context, append));
                }
                HubEffect::Lookup { session, viewer, id, request } => {
                    self.start_lookup(now, session, viewer, id, request);
                }
                HubEffect::Read { session, viewer, cid, query } => {
                    self.start_read(now, session, viewer, cid, query);
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

    fn record_removal(&mut self, event: &Event) {
        if let Some(id) = event.removed_message() {
            self.recent_removals.record(id);
            self.has_removed = true;
        }
    }

    fn close_session(&mut self, session: SessionId) {
        self.fanout.close(session);
        self.searches.end_session(session);
    }

    /// Whether the log can take another batch.
    fn can_write(&self) -> bool {
        self.writes_in_flight.len() < WRITES_IN_FLIGHT
    }

    /// Sends the queued writes to the log as one batch. Waits only while the log's queue is full.
    async fn flush_writes(&mut self, now: Now) {
        if self.queued_writes.is_empty() {
            return;
        }
        let (contexts, appends): (Vec<_>, Vec<_>) = self.queued_writes.drain(..).unzip();
        let pending = self.log.writer.append(now.millis(), appends).await;
        let reply = async move {
            LogReply::Written(match pending {
                Ok(pending) => (contexts, pending.wait().await),
                Err(error) => (contexts, Err(error)),
            })
        };
        self.writes_in_flight.push_back(reply.boxed());
    }

    /// Waits for the next reply from the log: of the writes in their order, of the lookups in any order.
    async fn next_reply(&mut self) -> LogReply {
        tokio::select! {
            biased;
            Some(reply) = self.writes_in_flight.next() => reply,
            Some(input) = self.lookups.next() => LogReply::Lookup(input),
            else => std::future::pending().await,
        }
    }

    fn handle_reply(&mut self, now: Now, reply: LogReply) {
        match reply {
            LogReply::Written(written) => self.handle_written(now, written),
            LogReply::Lookup(input) => self.handle_input(now, input),
            LogReply::SessionEnded(session) => {
                self.close_session(session);
                self.handle_input(now, HubInput::Disconnected(session));
            }
        }
    }

    fn handle_written(&mut self, now: Now, (contexts, outcomes): WriteReply) {
        match outcomes {
            Ok(outcomes) => {
                self.is_log_failing = false;
                self.has_written = true;
                for (context, outcome) in contexts.into_iter().zip(outcomes) {
                    self.handle_input(now, HubInput::Written { context, outcome });
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_log_failing, true) {
                    tracing::error!(%error, "cannot write to the log; requests are refused until it recovers");
                }
                let reason = public_reason(&error);
                for context in contexts {
                    self.handle_input(now, HubInput::WriteFailed { context, reason });
                }
            }
        }
    }

    /// Reads what the log knows of a message that `request` refers to.
    fn start_lookup(
        &self,
        now: Now,
        session: SessionId,
        viewer: UserId,
        id: MessageId,
        request: DecodedRequest,
    ) {
        let (readers, now) = (self.log.readers.clone(), now.millis());
        let lookup = async move {
            let view =
                move |reader: &mut dyn Reader| reader.metadata(View { viewer: &viewer, now }, id);
            let metadata = readers.read(view).await.ok().flatten();
            HubInput::LookupDone { session, request, id, metadata }
        };
        self.lookups.push(lookup.boxed());
    }

    /// Starts a history or search query, whose reply goes to the session without passing the hub again.
    fn start_read(
        &mut self,
        now: Now,
        session: SessionId,
        viewer: UserId,
        cid: Option<Cid>,
        request: ReadRequest,
    ) {
        let Some(queue) = self.fanout.queue(session) else { return };
        let (removals, since) = (Arc::clone(&self.recent_removals), self.recent_removals.count());
        let send = move |event: Event| removals.send_without_removed(&queue, since, event);
        let now = now.millis();
        match request {
            ReadRequest::History(query) => {
                let readers = self.log.readers.clone();
                self.tasks.spawn(async move {
                    let reply_cid = cid.clone();
                    let read = move |reader: &mut dyn Reader| {
                        let view = View { viewer: &viewer, now };
                        queries::history_page(reader, view, reply_cid, query)
                    };
                    let page = readers.read(read).await;
                    send(page.unwrap_or_else(|error| read_failed(&error, cid)));
                });
            }
            ReadRequest::Search(query) => self.start_search(session, viewer, now, cid, query, send),
        }
    }

    /// Starts a search, which replaces the user's previous one.
    fn start_search(
        &mut self,
        session: SessionId,
        viewer: UserId,
        now: Millis,
        cid: Option<Cid>,
        query: SearchQuery,
        send: impl Fn(Event) + Clone + Send + 'static,
    ) {
        let cancelled = self.searches.start(session, &viewer);
        if query.pattern.is_empty() {
            let end = SearchEnd::Complete;
            let results = SearchResults { messages: Vec::new(), searched: 0, end, cid };
            send(Event::SearchResults(results));
            return;
        }
        let (searchers, deadline) = (self.log.searchers.clone(), queries::search_deadline());
        self.tasks.spawn(async move {
            let (sink, reply_cid) = (send.clone(), cid.clone());
            let job = SearchJob { viewer, now, cid: reply_cid, query, cancelled, deadline };
            if let Err(error) = searchers.read(move |reader| job.run(reader, sink)).await {
                send(read_failed(&error, cid));
            }
        });
    }

    /// Sends the gathered events and the queued writes, then lets the sessions write.
    async fn deliver(&mut self, now: Now) {
        self.fanout.flush();
        // Announcing that a slow session was closed can overfill the queues of others.
        loop {
            let ended = self.fanout.take_ended();
            if ended.is_empty() {
                break;
            }
            for session in ended {
                self.handle_input(now, HubInput::Disconnected(session));
            }
            self.fanout.flush();
        }
        self.flush_writes(now).await;
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
    }
}

async fn sleep_until_deadline(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn read_failed(error: &StoreError, cid: Option<Cid>) -> Event {
    tracing::error!(%error, "cannot read the log");
    queries::error_reply(&Refusal::NotRead(public_reason(error)), cid)
}

/// The part of a store error that clients get. The server logs all of it.
fn public_reason(error: &StoreError) -> &'static str {
    match error {
        StoreError::DiskFull => "its disk is full",
        StoreError::Busy => "another program holds its files",
        _ => "its disk fails",
    }
}
