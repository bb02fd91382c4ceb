//! Simulated users: they use the real client library whatever happens to its connections, and record
//! everything.
//!
//! `checker` checks what they record. They know nothing of the network: the test gives each user a client,
//! and a new one when the client's process has ended.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails on a panic"
)]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use chat::client::outbox::belongs_in_outbox;
use chat::client::{Client, ClientEvent};
use chat::protocol::event::Event;
use chat::protocol::id::{Cid, MessageId, Name, Seq, UserId};
use chat::protocol::message::{Audience, Message, MessageKind};
use chat::protocol::query::{HistoryQuery, HistoryRange};
use chat::protocol::request::{Post, PostKind, Request};
use chat::protocol::text::SafeText;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::mpsc::Receiver;

use super::checker::{Observation, ReceivedMessage, Recipients, Timestamp, Token};
use super::load_client::{TOKEN_PREFIX, find_tokens};

/// Maximum number of unanswered requests of one user.
const WINDOW: usize = 20;

/// The phases of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UserPhase {
    Active,
    /// No user posts anything new.
    Draining,
    /// The first user posts the final message.
    FinalMessage,
    /// The final message has this `seq`. A user that has reached it has everything.
    Finished(u64),
}

/// State shared by all users: the clock, their IDs, and the phase.
pub(crate) struct UserCoordinator {
    ticks: Cell<u64>,
    next_token: Cell<Token>,
    users: RefCell<Vec<Option<UserId>>>,
    phase: Cell<UserPhase>,
    wall_clock: fn() -> i64,
}

impl UserCoordinator {
    /// `wall_clock` returns Unix milliseconds.
    pub(crate) fn new(count: usize, wall_clock: fn() -> i64) -> Rc<Self> {
        Rc::new(Self {
            ticks: Cell::new(1),
            next_token: Cell::new(1),
            users: RefCell::new(vec![None; count]),
            phase: Cell::new(UserPhase::Active),
            wall_clock,
        })
    }

    /// Whether every user is registered, so that each can be addressed.
    pub(crate) fn all_registered(&self) -> bool {
        self.users.borrow().iter().all(Option::is_some)
    }

    /// Stops new messages; the users still wait for pending requests.
    pub(crate) fn stop_posting(&self) {
        self.phase.set(UserPhase::Draining);
    }

    /// Makes the first user post the final message, once nothing is pending. Every user waits for it and then
    /// reads the complete history.
    pub(crate) fn post_final_message(&self) {
        self.phase.set(UserPhase::FinalMessage);
    }

    fn now(&self) -> Timestamp {
        let tick = self.ticks.get();
        self.ticks.set(tick + 1);
        Timestamp { tick, wall_ms: (self.wall_clock)() }
    }

    fn token(&self) -> Token {
        let token = self.next_token.get();
        self.next_token.set(token + 1);
        token
    }
}

/// A request with its `cid`.
type CidRequest = (Cid, Request);

/// Progress of reading the complete history, page by page from the end.
#[derive(Default)]
enum HistoryScan {
    #[default]
    NotStarted,
    Reading(Timestamp, Vec<Vec<ReceivedMessage>>),
    Complete,
}

/// A user with its pending requests and observations.
pub(crate) struct TestUser {
    number: usize,
    coordinator: Rc<UserCoordinator>,
    rng: StdRng,
    is_connected: bool,
    /// Whether the current client process has logged in before.
    was_connected: bool,
    user_id: Option<UserId>,
    last_seq: u64,
    /// Requests without a reply, in the order in which they were made.
    pending: Vec<CidRequest>,
    tokens: BTreeMap<MessageId, Token>,
    /// Acknowledged messages of its own that it may delete or edit.
    own: Vec<(MessageId, Token)>,
    page_requested_at: Option<Timestamp>,
    history: HistoryScan,
    observations: Vec<Observation>,
}

impl TestUser {
    pub(crate) fn new(
        number: usize,
        coordinator: &Rc<UserCoordinator>,
        seed: u64,
    ) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            number,
            coordinator: Rc::clone(coordinator),
            rng: StdRng::seed_from_u64(seed),
            is_connected: false,
            was_connected: false,
            user_id: None,
            last_seq: 0,
            pending: Vec::new(),
            tokens: BTreeMap::new(),
            own: Vec::new(),
            page_requested_at: None,
            history: HistoryScan::NotStarted,
            observations: Vec::new(),
        }))
    }

    /// The name to log in with.
    pub(crate) fn name(&self) -> Name {
        format!("User{}", self.number).parse().unwrap()
    }

    /// Whether no request is pending.
    pub(crate) fn has_no_pending_requests(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether the user has read the complete history.
    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.history, HistoryScan::Complete)
    }

    /// The observations so far.
    pub(crate) fn observations(&self) -> Vec<Observation> {
        self.observations.clone()
    }

    /// Starts a new client process. Requests that were only in memory are lost; returns those that the client
    /// would find on disk and send again.
    fn restart(&mut self) -> Vec<CidRequest> {
        self.is_connected = false;
        self.was_connected = false;
        self.page_requested_at = None;
        self.history = HistoryScan::NotStarted;
        self.pending.retain(|(_, request)| match request {
            Request::Post(post) => !matches!(post.kind, PostKind::Temporary { .. }),
            request => belongs_in_outbox(request),
        });
        self.pending.clone()
    }

    /// Decides what to do next.
    fn next_action(&mut self) -> Option<CidRequest> {
        let is_known = self.coordinator.users.borrow()[self.number].is_some();
        if !is_known && self.user_id.is_some() && self.pending.is_empty() {
            return Some(self.post(PostKind::Plain, None));
        }
        match self.coordinator.phase.get() {
            UserPhase::Active => self.random_action(),
            UserPhase::FinalMessage if self.number == 0 && self.has_no_pending_requests() => {
                Some(self.post(PostKind::Plain, None))
            }
            UserPhase::Finished(last) if self.last_seq >= last => self.request_history(),
            UserPhase::Draining | UserPhase::FinalMessage | UserPhase::Finished(_) => None,
        }
    }

    fn random_action(&mut self) -> Option<CidRequest> {
        if !self.coordinator.all_registered() || self.pending.len() >= WINDOW {
            return None;
        }
        match self.rng.random_range(0..100) {
            0..12 => Some(self.post(PostKind::Plain, None)),
            12..20 => {
                let to = self.random_other_user();
                Some(self.post(PostKind::Plain, Some(to)))
            }
            20..23 => {
                let seconds = self.rng.random_range(1..5);
                Some(self.post(PostKind::Temporary { seconds }, None))
            }
            23..26 if self.is_connected && !self.own.is_empty() => {
                let (id, token) = self.own.swap_remove(self.rng.random_range(0..self.own.len()));
                self.observations.push(Observation::DeleteRequested { token });
                Some(self.track_request(&format!("d{token}"), Request::Delete(id)))
            }
            26..31 if !self.own.is_empty() => Some(self.edit()),
            31..33 if self.is_connected && self.page_requested_at.is_none() => {
                self.page_requested_at = Some(self.coordinator.now());
                Some(("page".parse().unwrap(), history_before(None)))
            }
            _ => None,
        }
    }

    fn random_other_user(&mut self) -> usize {
        let count = self.coordinator.users.borrow().len();
        (self.number + self.rng.random_range(1..count)) % count
    }

    fn post(&mut self, kind: PostKind, to: Option<usize>) -> CidRequest {
        let token = self.coordinator.token();
        let audience = to.map_or(Audience::Everyone, |to| {
            Audience::Only(self.coordinator.users.borrow()[to].iter().cloned().collect())
        });
        let content = SafeText::clean(&format!("{TOKEN_PREFIX}{token}."));
        let is_temporary = matches!(kind, PostKind::Temporary { .. });
        self.observations.push(Observation::Posted {
            token,
            recipients: to.map_or(Recipients::Everyone, |to| Recipients::Users(vec![to])),
            is_temporary,
        });
        let request = Request::Post(Post { audience, kind, content });
        self.track_request(&format!("s{token}"), request)
    }

    /// Edits a message of its own, also one whose earlier edit is pending.
    fn edit(&mut self) -> CidRequest {
        let (id, text) = self.own[self.rng.random_range(0..self.own.len())];
        let token = self.coordinator.token();
        self.observations.push(Observation::EditRequested { text, token });
        let content = SafeText::clean(&format!("{TOKEN_PREFIX}{token}."));
        self.track_request(&format!("e{token}"), Request::Edit { id, content })
    }

    fn track_request(&mut self, cid: &str, request: Request) -> CidRequest {
        let cid: Cid = cid.parse().unwrap();
        self.pending.push((cid.clone(), request.clone()));
        (cid, request)
    }

    /// Requests the end of the history, once everything has arrived.
    fn request_history(&mut self) -> Option<CidRequest> {
        if !self.is_connected || !matches!(self.history, HistoryScan::NotStarted) {
            return None;
        }
        self.history = HistoryScan::Reading(self.coordinator.now(), Vec::new());
        Some(("log".parse().unwrap(), history_before(None)))
    }

    /// Handles an event of the client; returns the request that follows from it.
    fn on_client_event(&mut self, event: ClientEvent) -> Option<CidRequest> {
        match event {
            ClientEvent::Connecting => {
                self.observations.push(Observation::Connecting { at: self.coordinator.now() });
            }
            ClientEvent::Connected(connected) => {
                let welcome = connected.welcome;
                let (from, to) = (self.last_seq, welcome.head.0);
                match (self.was_connected, welcome.resumed) {
                    (false, _) => {
                        self.observations.push(Observation::Restarted { from, to });
                        self.last_seq = to;
                    }
                    (true, false) => self.observations.push(Observation::NotResumed),
                    (true, true) => {}
                }
                self.is_connected = true;
                self.was_connected = true;
                self.user_id = Some(welcome.user);
            }
            ClientEvent::Disconnected { .. } => {
                self.is_connected = false;
                self.pending.retain(|(_, request)| belongs_in_outbox(request));
                self.page_requested_at = None;
                if !self.is_finished() {
                    self.history = HistoryScan::NotStarted;
                }
            }
            ClientEvent::NotSent { cid, .. } => drop(self.remove_pending(&cid)),
            ClientEvent::Restored(_) | ClientEvent::Sending(_) | ClientEvent::FirstContact(_) => {}
            ClientEvent::Ended { reason } | ClientEvent::Untrusted { reason } => {
                panic!("user {} was refused: {}", self.number, reason.as_str())
            }
            ClientEvent::Received(event) => return self.on_server_event(event),
        }
        None
    }

    fn on_server_event(&mut self, event: Event) -> Option<CidRequest> {
        let tokens = find_tokens(&event.encode());
        if !tokens.is_empty() {
            self.observations.push(Observation::RawTokens(tokens));
        }
        match event {
            Event::Posted(message) => {
                self.remember_token(&message);
                let copy = received_message(&message);
                self.last_seq = self.last_seq.max(copy.seq);
                self.observations.push(Observation::Received(copy));
                if self.user_id.as_ref() == Some(&message.sender) {
                    if copy.expires.is_none() {
                        self.own.push((message.id, copy.token));
                    }
                    self.on_reply(message.cid, copy.seq);
                }
            }
            Event::Deleted(deleted) => {
                let seq = self.on_tombstone(deleted.seq.0, deleted.id);
                if self.user_id.as_ref() == Some(&deleted.author) {
                    self.on_reply(deleted.cid, seq);
                }
            }
            Event::Edited(edited) => {
                let text = find_tokens(edited.content.as_str().as_bytes())[0];
                self.tokens.insert(edited.id, text);
                let (seq, cid) = (edited.seq.0, edited.cid.expect("edits have a cid"));
                self.last_seq = self.last_seq.max(seq);
                let token = cid.as_str()[1..].parse().unwrap();
                self.observations.push(Observation::Edited { seq, token, text });
                if self.user_id.as_ref() == Some(&edited.author) {
                    self.on_reply(Some(cid), seq);
                }
            }
            Event::Expired { seq, id } => drop(self.on_tombstone(seq.0, id)),
            Event::Stored(stored) => self.on_reply(stored.cid, stored.seq.0),
            Event::History(page) => {
                page.messages.iter().for_each(|message| self.remember_token(message));
                let messages = page.messages.iter().map(received_message).collect();
                if page.cid.is_some_and(|cid| cid.as_str() == "log") {
                    let before = page.messages.first().map(|message| message.seq);
                    return self.on_history_page(messages, before.filter(|_| page.has_earlier));
                }
                let requested_at = self.page_requested_at.take().expect("no page was requested");
                self.observations.push(Observation::HistoryPage { requested_at, messages });
            }
            Event::Error(reply) => {
                let cid = reply.cid.expect("an error without a cid");
                // The deletion was done before, and its reply was lost.
                assert!(cid.as_str().starts_with('d'), "{cid}: {}", reply.text.as_str());
                self.remove_pending(&cid);
            }
            _ => {}
        }
        None
    }

    fn remember_token(&mut self, message: &Message) {
        self.tokens.insert(message.id, received_message(message).token);
    }

    fn on_tombstone(&mut self, seq: u64, id: MessageId) -> u64 {
        self.last_seq = self.last_seq.max(seq);
        let token = self.tokens.remove(&id);
        self.observations.push(Observation::Tombstone { seq, token });
        seq
    }

    /// Handles a page of the complete history and requests the page before it.
    fn on_history_page(
        &mut self,
        messages: Vec<ReceivedMessage>,
        before: Option<Seq>,
    ) -> Option<CidRequest> {
        let HistoryScan::Reading(requested_at, mut pages) = std::mem::take(&mut self.history)
        else {
            panic!("a page that was not requested")
        };
        pages.push(messages);
        if before.is_some() {
            self.history = HistoryScan::Reading(requested_at, pages);
            return Some(("log".parse().unwrap(), history_before(before)));
        }
        let messages = pages.into_iter().rev().flatten().collect();
        self.observations.push(Observation::FullHistory { requested_at, messages });
        self.history = HistoryScan::Complete;
        None
    }

    /// Handles a request that the client did not accept.
    fn on_send_failed(&mut self, cid: &Cid) {
        match cid.as_str() {
            "page" => self.page_requested_at = None,
            "log" => self.history = HistoryScan::NotStarted,
            _ => drop(self.remove_pending(cid)),
        }
    }

    /// Removes a pending request; returns whether it was pending.
    fn remove_pending(&mut self, cid: &Cid) -> bool {
        let before = self.pending.len();
        self.pending.retain(|(pending, _)| pending != cid);
        self.pending.len() < before
    }

    fn on_reply(&mut self, cid: Option<Cid>, seq: u64) {
        let Some(cid) = cid.filter(|cid| self.remove_pending(cid)) else { return };
        let token = cid.as_str()[1..].parse().unwrap();
        let at = self.coordinator.now();
        match cid.as_str().as_bytes() {
            [b'd', ..] => {
                return self.observations.push(Observation::DeleteAcknowledged { token, at });
            }
            [b'e', ..] => {
                return self.observations.push(Observation::EditAcknowledged { token, seq, at });
            }
            _ => {}
        }
        self.observations.push(Observation::Acknowledged { token, seq });
        self.coordinator.users.borrow_mut()[self.number].clone_from(&self.user_id);
        if self.coordinator.phase.get() == UserPhase::FinalMessage {
            self.coordinator.phase.set(UserPhase::Finished(seq));
        }
    }
}

fn received_message(message: &Message) -> ReceivedMessage {
    let token = find_tokens(message.content.as_str().as_bytes()).pop().expect("a token");
    let expires = match message.kind {
        MessageKind::Temporary { expires } => Some(expires),
        MessageKind::Plain | MessageKind::Reply { .. } => None,
    };
    ReceivedMessage { seq: message.seq.0, token, expires }
}

/// Runs a user with a new client until the user has everything. The user acts once per `action_interval`.
pub(crate) async fn run(
    user: Rc<RefCell<TestUser>>,
    (client, mut events): (Client, Receiver<ClientEvent>),
    action_interval: Duration,
) {
    let mut requests = user.borrow_mut().restart();
    let mut interval = tokio::time::interval(action_interval);
    while !user.borrow().is_finished() {
        for (cid, request) in requests.drain(..) {
            if client.try_send(Some(&cid), &request).is_err() {
                user.borrow_mut().on_send_failed(&cid);
            }
        }
        requests.extend(tokio::select! {
            biased;
            event = events.recv() => user.borrow_mut().on_client_event(event.expect("the client is running")),
            _ = interval.tick() => user.borrow_mut().next_action(),
        });
    }
    client.close().await;
}

fn history_before(before: Option<Seq>) -> Request {
    let range = before.map_or(HistoryRange::Latest, HistoryRange::Before);
    Request::History(HistoryQuery { conversation: None, range })
}
