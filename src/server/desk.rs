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

use super::admin::{Act, Answer};
use super::fanout::Fanout;
use super::hub::{Asker, Effect, Hub, Input, Now, Query, SessionId, Ticket};
use super::limits::WRITING;
use super::removed::Removed;
use super::search::{self, Search, Searches};
use crate::protocol::error::Refusal;
use crate::protocol::event::{Event, Found, SearchEnd};
use crate::protocol::id::{ClientId, UserId};
use crate::protocol::query::Find;
use crate::store::handle::Handles;
use crate::store::{Append, Outcome, StoreError, View};

type Written = (Vec<Ticket>, Result<Vec<Outcome>, StoreError>);
type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Something that comes back from the log.
pub(super) enum Returned {
    /// What came of what was written.
    Written(Written),
    /// What a reader has found.
    Looked(Input),
    /// Everything that a session asked for before it left.
    Left(SessionId),
}

/// The hub, and all that it reaches.
pub(super) struct Desk {
    pub(super) hub: Hub,
    pub(super) fanout: Fanout,
    log: Handles,
    tasks: TaskTracker,
    appends: Vec<(Ticket, Append)>,
    writing: FuturesOrdered<Later<Returned>>,
    looking: FuturesUnordered<Later<Input>>,
    searches: Searches,
    askers: HashMap<Asker, oneshot::Sender<Answer>>,
    n_asked: u64,
    latest: Arc<Removed>,
    /// Something was removed whose text is still in the files.
    pub(super) removed: bool,
    /// Something was written.
    pub(super) written: bool,
    /// Said once, until something is written again.
    is_failing: bool,
}

impl Desk {
    pub(super) fn new(
        hub: Hub,
        fanout: Fanout,
        log: Handles,
        latest: Arc<Removed>,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            hub,
            fanout,
            log,
            tasks,
            appends: Vec::new(),
            writing: FuturesOrdered::new(),
            looking: FuturesUnordered::new(),
            searches: Searches::default(),
            askers: HashMap::new(),
            n_asked: 0,
            latest,
            removed: false,
            written: false,
            is_failing: false,
        }
    }

    /// Whether the log keeps up, so that more can be taken.
    pub(super) fn has_room(&self) -> bool {
        self.writing.len() < WRITING
    }

    /// Whether something is on its way to the log.
    pub(super) fn is_writing(&self) -> bool {
        !self.writing.is_empty()
    }

    /// Gives the hub an input and carries out what follows.
    pub(super) fn input(&mut self, now: Now, input: Input) {
        for effect in self.hub.handle(now, input) {
            match effect {
                Effect::Send { to, event } => {
                    self.note_removal(&event);
                    self.fanout.tell(to, &event);
                }
                Effect::Append { ticket, append } => self.appends.push((ticket, append)),
                Effect::Look { session, viewer, id, request } => {
                    let (reads, wall) = (self.log.reads.clone(), now.millis());
                    self.looking.push(Box::pin(async move {
                        let found = reads
                            .read(move |reader| {
                                reader.message(View { viewer: &viewer, now: wall }, id)
                            })
                            .await;
                        Input::Looked { session, request, id, found: found.ok().flatten() }
                    }));
                }
                Effect::Read { session, viewer, cid, query } => {
                    self.read(now, session, viewer, cid, query);
                }
                Effect::Feed { session, viewer, after } => {
                    self.fanout.feed(session, viewer, after);
                }
                Effect::Answer { asker, answer } => {
                    if let Some(asker) = self.askers.remove(&asker) {
                        // Whoever asked may have left meanwhile.
                        asker.send(answer).ok();
                    }
                }
                Effect::Close(session) => self.close(session),
            }
        }
    }

    /// Whoever runs the server asks for something.
    pub(super) fn administer(&mut self, now: Now, act: Act, answer: oneshot::Sender<Answer>) {
        let asker = Asker(self.n_asked);
        self.n_asked += 1;
        self.askers.insert(asker, answer);
        self.input(now, Input::Administer { asker, act });
    }

    /// A session has ended: what it asked for last is still answered, if it listens.
    pub(super) async fn leave(&mut self, now: Now, session: SessionId) {
        self.write(now).await;
        if self.writing.is_empty() {
            self.settle(now, Returned::Left(session));
        } else {
            self.writing.push_back(Box::pin(std::future::ready(Returned::Left(session))));
        }
    }

    fn note_removal(&mut self, event: &Event) {
        if let Some(id) = event.removes() {
            self.latest.note(id);
            self.removed = true;
        }
    }

    /// Ends a session.
    pub(super) fn close(&mut self, session: SessionId) {
        self.fanout.close(session);
        self.searches.leave(session);
    }

    /// Sends what is to be written on its way. Waits only for room in the log's queue.
    pub(super) async fn write(&mut self, now: Now) {
        if self.appends.is_empty() {
            return;
        }
        let (tickets, appends): (Vec<_>, Vec<_>) = self.appends.drain(..).unzip();
        let pending = self.log.store.append(now.millis(), appends).await;
        self.writing.push_back(Box::pin(async move {
            Returned::Written(match pending {
                Ok(pending) => (tickets, pending.done().await),
                Err(error) => (tickets, Err(error)),
            })
        }));
    }

    /// What comes back from the log next; waits until there is something.
    pub(super) async fn returned(&mut self) -> Returned {
        tokio::select! {
            biased;
            Some(returned) = self.writing.next() => returned,
            Some(looked) = self.looking.next() => Returned::Looked(looked),
            else => std::future::pending().await,
        }
    }

    /// Tells the hub what has come back.
    pub(super) fn settle(&mut self, now: Now, returned: Returned) {
        match returned {
            Returned::Written(written) => self.settle_written(now, written),
            Returned::Looked(looked) => self.input(now, looked),
            Returned::Left(session) => {
                self.close(session);
                self.input(now, Input::Left(session));
            }
        }
    }

    fn settle_written(&mut self, now: Now, (tickets, outcomes): Written) {
        match outcomes {
            Ok(outcomes) => {
                self.is_failing = false;
                self.written = true;
                for (ticket, outcome) in tickets.into_iter().zip(outcomes) {
                    self.input(now, Input::Stored { ticket, outcome });
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::error!(%error, "messages cannot be stored, and are refused");
                }
                let reason = reason(&error);
                for ticket in tickets {
                    self.input(now, Input::NotStored { ticket, reason });
                }
            }
        }
    }

    fn read(
        &mut self,
        now: Now,
        session: SessionId,
        viewer: UserId,
        cid: Option<ClientId>,
        query: Query,
    ) {
        let Some(outbox) = self.fanout.outbox(session) else { return };
        let (latest, since) = (Arc::clone(&self.latest), self.latest.count());
        let tell = move |event: Event| latest.answer(&outbox, since, event);
        let wall = now.millis();
        match query {
            Query::History(history) => {
                let reads = self.log.reads.clone();
                self.tasks.spawn(async move {
                    let asked = cid.clone();
                    let work = move |reader: &mut dyn crate::store::Reader| {
                        search::history(reader, View { viewer: &viewer, now: wall }, asked, history)
                    };
                    tell(reads.read(work).await.unwrap_or_else(|error| unreadable(&error, cid)));
                });
            }
            Query::Find(find) => self.search(session, viewer, wall, cid, find, tell),
        }
    }

    /// One search a person: the last.
    fn search(
        &mut self,
        session: SessionId,
        viewer: UserId,
        now: i64,
        cid: Option<ClientId>,
        find: Find,
        tell: impl Fn(Event) + Clone + Send + 'static,
    ) {
        let cancelled = self.searches.begin(session, &viewer);
        if find.pattern.is_empty() {
            let end = SearchEnd::Complete;
            tell(Event::Found(Found { messages: Vec::new(), searched: 0, end, cid }));
            return;
        }
        let (searches, deadline) = (self.log.searches.clone(), search::deadline());
        self.tasks.spawn(async move {
            let asked = cid.clone();
            let sink = tell.clone();
            let search = Search { viewer, now, cid: asked, find, cancelled, deadline };
            let done = searches.read(move |reader| search.run(reader, sink)).await;
            if let Err(error) = done {
                tell(unreadable(&error, cid));
            }
        });
    }
}

fn unreadable(error: &StoreError, cid: Option<ClientId>) -> Event {
    tracing::error!(%error, "the log cannot be read");
    search::refused(&Refusal::NotStored(reason(error)), cid)
}

/// What people are told; the log of the server has the rest.
fn reason(error: &StoreError) -> &'static str {
    match error {
        StoreError::Full => "its disk is full",
        StoreError::Busy => "another program holds its files",
        _ => "its disk fails",
    }
}
