//! The hub's desk: its effects to the log, to the readers and to the fan-out; and what comes back.
//!
//! Appends of one batch go to the log together and come back in order; nothing is told before.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::{FuturesOrdered, FuturesUnordered};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::admin::{AdminCommand, AdminReply};
use super::fanout::Fanout;
use super::hub::{
    AdminRequestId, Hub, HubEffect, HubInput, Now, ReadRequest, SessionId, WriteContext,
};
use super::limits::WRITES_IN_FLIGHT;
use super::queries::{self, ActiveSearches, SearchJob};
use super::recent_removals::RecentRemovals;
use crate::protocol::error::Refusal;
use crate::protocol::event::{Event, SearchEnd, SearchResults};
use crate::protocol::id::{Cid, UserId};
use crate::protocol::query::SearchQuery;
use crate::store::worker::LogHandles;
use crate::store::{Append, Outcome, StoreError, View};

type WriteReply = (Vec<WriteContext>, Result<Vec<Outcome>, StoreError>);
type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Something that comes back from the log.
pub(super) enum LogReply {
    /// What came of what was written.
    Written(WriteReply),
    /// What a reader has found.
    Lookup(HubInput),
    /// Everything that a session asked for before it left.
    SessionEnded(SessionId),
}

/// The hub, and all that it reaches.
pub(super) struct HubTask {
    pub(super) hub: Hub,
    pub(super) fanout: Fanout,
    log: LogHandles,
    tasks: TaskTracker,
    queued_writes: Vec<(WriteContext, Append)>,
    writes_in_flight: FuturesOrdered<BoxFuture<LogReply>>,
    lookups: FuturesUnordered<BoxFuture<HubInput>>,
    searches: ActiveSearches,
    admin_replies: HashMap<AdminRequestId, oneshot::Sender<AdminReply>>,
    next_admin_request: u64,
    recent_removals: Arc<RecentRemovals>,
    /// Something was removed whose text is still in the files.
    pub(super) has_removed: bool,
    /// Something was written.
    pub(super) has_written: bool,
    /// Said once, until something is written again.
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

    /// Whether the log keeps up, so that more can be taken.
    pub(super) fn can_write(&self) -> bool {
        self.writes_in_flight.len() < WRITES_IN_FLIGHT
    }

    /// Whether something is on its way to the log.
    pub(super) fn is_writing(&self) -> bool {
        !self.writes_in_flight.is_empty()
    }

    /// Gives the hub an input and carries out what follows.
    pub(super) fn handle_input(&mut self, now: Now, input: HubInput) {
        for effect in self.hub.handle(now, input) {
            match effect {
                HubEffect::Send { to, event } => {
                    self.record_removal(&event);
                    self.fanout.deliver(to, &event);
                }
                HubEffect::Append { context: ticket, append } => {
                    self.queued_writes.push((ticket, append))
                }
                HubEffect::Lookup { session, viewer, id, request } => {
                    let (reads, wall) = (self.log.readers.clone(), now.millis());
                    self.lookups.push(Box::pin(async move {
                        let found = reads
                            .read(move |reader| {
                                reader.metadata(View { viewer: &viewer, now: wall }, id)
                            })
                            .await;
                        HubInput::LookupDone {
                            session,
                            request,
                            id,
                            metadata: found.ok().flatten(),
                        }
                    }));
                }
                HubEffect::Read { session, viewer, cid, query } => {
                    self.start_read(now, session, viewer, cid, query);
                }
                HubEffect::Subscribe { session, viewer, after } => {
                    self.fanout.subscribe(session, viewer, after);
                }
                HubEffect::AdminReply { id: asker, reply: answer } => {
                    if let Some(asker) = self.admin_replies.remove(&asker) {
                        // Whoever asked may have left meanwhile.
                        asker.send(answer).ok();
                    }
                }
                HubEffect::Close(session) => self.close_session(session),
            }
        }
    }

    /// Whoever runs the server asks for something.
    pub(super) fn handle_admin(
        &mut self,
        now: Now,
        act: AdminCommand,
        answer: oneshot::Sender<AdminReply>,
    ) {
        let asker = AdminRequestId(self.next_admin_request);
        self.next_admin_request += 1;
        self.admin_replies.insert(asker, answer);
        self.handle_input(now, HubInput::Admin { id: asker, command: act });
    }

    /// A session has ended: what it asked for last is still answered, if it listens.
    pub(super) async fn end_session(&mut self, now: Now, session: SessionId) {
        self.flush_writes(now).await;
        if self.writes_in_flight.is_empty() {
            self.handle_reply(now, LogReply::SessionEnded(session));
        } else {
            self.writes_in_flight
                .push_back(Box::pin(std::future::ready(LogReply::SessionEnded(session))));
        }
    }

    fn record_removal(&mut self, event: &Event) {
        if let Some(id) = event.removed_message() {
            self.recent_removals.record(id);
            self.has_removed = true;
        }
    }

    /// Ends a session.
    pub(super) fn close_session(&mut self, session: SessionId) {
        self.fanout.close(session);
        self.searches.end_session(session);
    }

    /// Sends what is to be written on its way. Waits only for room in the log's queue.
    pub(super) async fn flush_writes(&mut self, now: Now) {
        if self.queued_writes.is_empty() {
            return;
        }
        let (tickets, appends): (Vec<_>, Vec<_>) = self.queued_writes.drain(..).unzip();
        let pending = self.log.writer.append(now.millis(), appends).await;
        self.writes_in_flight.push_back(Box::pin(async move {
            LogReply::Written(match pending {
                Ok(pending) => (tickets, pending.wait().await),
                Err(error) => (tickets, Err(error)),
            })
        }));
    }

    /// What comes back from the log next; waits until there is something.
    pub(super) async fn next_reply(&mut self) -> LogReply {
        tokio::select! {
            biased;
            Some(returned) = self.writes_in_flight.next() => returned,
            Some(looked) = self.lookups.next() => LogReply::Lookup(looked),
            else => std::future::pending().await,
        }
    }

    /// Tells the hub what has come back.
    pub(super) fn handle_reply(&mut self, now: Now, returned: LogReply) {
        match returned {
            LogReply::Written(written) => self.handle_written(now, written),
            LogReply::Lookup(looked) => self.handle_input(now, looked),
            LogReply::SessionEnded(session) => {
                self.close_session(session);
                self.handle_input(now, HubInput::Disconnected(session));
            }
        }
    }

    fn handle_written(&mut self, now: Now, (tickets, outcomes): WriteReply) {
        match outcomes {
            Ok(outcomes) => {
                self.is_log_failing = false;
                self.has_written = true;
                for (ticket, outcome) in tickets.into_iter().zip(outcomes) {
                    self.handle_input(now, HubInput::Written { context: ticket, outcome });
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_log_failing, true) {
                    tracing::error!(%error, "messages cannot be stored, and are refused");
                }
                let reason = public_reason(&error);
                for ticket in tickets {
                    self.handle_input(now, HubInput::WriteFailed { context: ticket, reason });
                }
            }
        }
    }

    fn start_read(
        &mut self,
        now: Now,
        session: SessionId,
        viewer: UserId,
        cid: Option<Cid>,
        query: ReadRequest,
    ) {
        let Some(outbox) = self.fanout.queue(session) else { return };
        let (latest, since) = (Arc::clone(&self.recent_removals), self.recent_removals.count());
        let tell = move |event: Event| latest.send_without_removed(&outbox, since, event);
        let wall = now.millis();
        match query {
            ReadRequest::History(history) => {
                let reads = self.log.readers.clone();
                self.tasks.spawn(async move {
                    let asked = cid.clone();
                    let work = move |reader: &mut dyn crate::store::Reader| {
                        queries::history_page(
                            reader,
                            View { viewer: &viewer, now: wall },
                            asked,
                            history,
                        )
                    };
                    tell(reads.read(work).await.unwrap_or_else(|error| read_failed(&error, cid)));
                });
            }
            ReadRequest::Search(find) => self.start_search(session, viewer, wall, cid, find, tell),
        }
    }

    /// One search a person: the last.
    fn start_search(
        &mut self,
        session: SessionId,
        viewer: UserId,
        now: i64,
        cid: Option<Cid>,
        find: SearchQuery,
        tell: impl Fn(Event) + Clone + Send + 'static,
    ) {
        let cancelled = self.searches.start(session, &viewer);
        if find.pattern.is_empty() {
            let end = SearchEnd::Complete;
            tell(Event::SearchResults(SearchResults {
                messages: Vec::new(),
                searched: 0,
                end,
                cid,
            }));
            return;
        }
        let (searches, deadline) = (self.log.searchers.clone(), queries::search_deadline());
        self.tasks.spawn(async move {
            let asked = cid.clone();
            let sink = tell.clone();
            let search = SearchJob { viewer, now, cid: asked, query: find, cancelled, deadline };
            let done = searches.read(move |reader| search.run(reader, sink)).await;
            if let Err(error) = done {
                tell(read_failed(&error, cid));
            }
        });
    }
}

fn read_failed(error: &StoreError, cid: Option<Cid>) -> Event {
    tracing::error!(%error, "the log cannot be read");
    queries::error_reply(&Refusal::NotStored(public_reason(error)), cid)
}

/// What people are told; the log of the server has the rest.
fn public_reason(error: &StoreError) -> &'static str {
    match error {
        StoreError::DiskFull => "its disk is full",
        StoreError::Busy => "another program holds its files",
        _ => "its disk fails",
    }
}
