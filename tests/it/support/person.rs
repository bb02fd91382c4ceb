//! People who talk through the real client, whatever becomes of their connections, and note everything.
//!
//! What they noted is judged by `checker`. They know nothing of networks: who plays them gives them a
//! client, and another one when its process has ended.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails where its tools do"
)]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use chat::client::{Client, Event};
use chat::protocol::event::Event as Said;
use chat::protocol::id::{ClientId, MessageId, Name, Seq, UserId};
use chat::protocol::message::{Audience, Kind, Message};
use chat::protocol::query::History;
use chat::protocol::request::{Request, Say, SayKind};
use chat::protocol::text::SafeText;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::mpsc::Receiver;

use super::checker::{Copy, Moment, Note, Token};
use super::load::{MARK, tokens};

/// How many of a person's messages may be without an answer.
const WINDOW: usize = 20;

/// How far the conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Talking,
    /// Nobody says anything new.
    Ending,
    /// Somebody says the last word.
    LastWord,
    /// It stands at this place: whoever is there has everything.
    Over(u64),
}

/// What all people share: what time it is, who they are, and whether to go on.
pub(crate) struct Room {
    ticks: Cell<u64>,
    next_token: Cell<Token>,
    users: RefCell<Vec<Option<UserId>>>,
    phase: Cell<Phase>,
    clock: fn() -> i64,
}

impl Room {
    /// For so many people, by this clock on the wall, in milliseconds.
    pub(crate) fn new(people: usize, clock: fn() -> i64) -> Rc<Self> {
        Rc::new(Self {
            ticks: Cell::new(1),
            next_token: Cell::new(1),
            users: RefCell::new(vec![None; people]),
            phase: Cell::new(Phase::Talking),
            clock,
        })
    }

    /// Whether the server knows everybody, so that all can be written to.
    pub(crate) fn is_complete(&self) -> bool {
        self.users.borrow().iter().all(Option::is_some)
    }

    /// Nobody says anything new; what was begun is brought to its end.
    pub(crate) fn end(&self) {
        self.phase.set(Phase::Ending);
    }

    /// Now that all have their answers, the first person says the last word, and everybody waits for it
    /// and reads the whole history.
    pub(crate) fn last_word(&self) {
        self.phase.set(Phase::LastWord);
    }

    fn now(&self) -> Moment {
        let tick = self.ticks.get();
        self.ticks.set(tick + 1);
        Moment { tick, wall: (self.clock)() }
    }

    fn token(&self) -> Token {
        let token = self.next_token.get();
        self.next_token.set(token + 1);
        token
    }
}

/// Something for the client to do.
type Order = (ClientId, Request);

/// What is known of the whole history, page by page from its end.
#[derive(Default)]
enum Log {
    #[default]
    Unasked,
    Asked(Moment, Vec<Vec<Copy>>),
    Read,
}

/// One person.
pub(crate) struct Person {
    number: usize,
    room: Rc<Room>,
    dice: StdRng,
    is_connected: bool,
    /// Whether this process of the client was logged in before.
    was_connected: bool,
    user: Option<UserId>,
    reached: u64,
    /// What has no answer, in the order in which it was said.
    pending: Vec<Order>,
    tokens: BTreeMap<MessageId, Token>,
    /// Stored messages of its own that it may remove.
    own: Vec<(MessageId, Token)>,
    page: Option<Moment>,
    log: Log,
    notes: Vec<Note>,
}

impl Person {
    pub(crate) fn new(number: usize, room: &Rc<Room>, seed: u64) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            number,
            room: Rc::clone(room),
            dice: StdRng::seed_from_u64(seed),
            is_connected: false,
            was_connected: false,
            user: None,
            reached: 0,
            pending: Vec::new(),
            tokens: BTreeMap::new(),
            own: Vec::new(),
            page: None,
            log: Log::Unasked,
            notes: Vec::new(),
        }))
    }

    /// The name to log in with.
    pub(crate) fn name(&self) -> Name {
        format!("Person{}", self.number).parse().unwrap()
    }

    /// Whether everything it said has its answer.
    pub(crate) fn is_answered(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether it has everything, and the whole history besides.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.log, Log::Read)
    }

    /// What it noted.
    pub(crate) fn notes(&self) -> Vec<Note> {
        self.notes.clone()
    }

    /// The client's process begins. What only its memory had is gone; what its disk has is said again.
    fn begin(&mut self) -> Vec<Order> {
        self.is_connected = false;
        self.was_connected = false;
        self.page = None;
        self.log = Log::Unasked;
        self.pending.retain(|(_, request)| match request {
            Request::Say(say) => !matches!(say.kind, SayKind::Temporary { .. }),
            _ => false,
        });
        self.pending.clone()
    }

    /// What it thinks of doing now.
    fn act(&mut self) -> Option<Order> {
        let is_known = self.room.users.borrow()[self.number].is_some();
        if !is_known && self.user.is_some() && self.pending.is_empty() {
            return Some(self.say(SayKind::Plain, None));
        }
        match self.room.phase.get() {
            Phase::Talking => self.talk(),
            Phase::LastWord if self.number == 0 && self.is_answered() => {
                Some(self.say(SayKind::Plain, None))
            }
            Phase::Over(last) if self.reached >= last => self.ask_log(),
            Phase::Ending | Phase::LastWord | Phase::Over(_) => None,
        }
    }

    fn talk(&mut self) -> Option<Order> {
        if !self.room.is_complete() || self.pending.len() >= WINDOW {
            return None;
        }
        match self.dice.random_range(0..100) {
            0..12 => Some(self.say(SayKind::Plain, None)),
            12..20 => {
                let to = self.somebody();
                Some(self.say(SayKind::Plain, Some(to)))
            }
            20..23 => {
                let seconds = self.dice.random_range(1..5);
                Some(self.say(SayKind::Temporary { seconds }, None))
            }
            23..26 if self.is_connected && !self.own.is_empty() => {
                let (id, token) = self.own.swap_remove(self.dice.random_range(0..self.own.len()));
                self.notes.push(Note::Removing { token });
                Some(self.order(&format!("d{token}"), Request::Delete(id)))
            }
            26..28 if self.is_connected && self.page.is_none() => {
                self.page = Some(self.room.now());
                Some(("page".parse().unwrap(), Request::History(History::Before(None))))
            }
            _ => None,
        }
    }

    fn somebody(&mut self) -> usize {
        let people = self.room.users.borrow().len();
        (self.number + self.dice.random_range(1..people)) % people
    }

    fn say(&mut self, kind: SayKind, to: Option<usize>) -> Order {
        let token = self.room.token();
        let audience = to.map_or(Audience::Everyone, |to| {
            Audience::Only(self.room.users.borrow()[to].iter().cloned().collect())
        });
        let content = SafeText::clean(&format!("{MARK}{token}."));
        let is_temporary = matches!(kind, SayKind::Temporary { .. });
        self.notes.push(Note::Said { token, to: to.map(|to| vec![to]), is_temporary });
        let say = Request::Say(Say { audience, kind, content });
        self.order(&format!("s{token}"), say)
    }

    fn order(&mut self, cid: &str, request: Request) -> Order {
        let cid: ClientId = cid.parse().unwrap();
        self.pending.push((cid.clone(), request.clone()));
        (cid, request)
    }

    /// Asks for the whole history, once everything has come.
    fn ask_log(&mut self) -> Option<Order> {
        if !self.is_connected || !matches!(self.log, Log::Unasked) {
            return None;
        }
        self.log = Log::Asked(self.room.now(), Vec::new());
        Some(("log".parse().unwrap(), Request::History(History::Before(None))))
    }

    /// Takes what the client tells, and says what follows from it.
    fn hear(&mut self, event: Event) -> Option<Order> {
        match event {
            Event::Connecting => self.notes.push(Note::Connecting { at: self.room.now() }),
            Event::Connected(connected) => {
                let welcome = connected.welcome;
                let (from, to) = (self.reached, welcome.head.0);
                match (self.was_connected, welcome.resumed) {
                    (false, _) => {
                        self.notes.push(Note::Anew { from, to });
                        self.reached = to;
                    }
                    (true, false) => self.notes.push(Note::NotResumed),
                    (true, true) => {}
                }
                self.is_connected = true;
                self.was_connected = true;
                self.user = Some(welcome.user);
            }
            Event::Disconnected { .. } => {
                self.is_connected = false;
                // These have no answer any more; messages are sent again.
                self.pending.retain(|(_, request)| matches!(request, Request::Say(_)));
                self.page = None;
                if !self.is_done() {
                    self.log = Log::Unasked;
                }
            }
            Event::NotSent { cid, .. } => drop(self.settle(&cid)),
            Event::Kept(_) | Event::Sending(_) | Event::FirstContact(_) => {}
            Event::Ended { reason } | Event::Untrusted { reason } => {
                panic!("{} may not come in: {}", self.number, reason.as_str())
            }
            Event::Received(said) => return self.receive(said),
        }
        None
    }

    fn receive(&mut self, said: Said) -> Option<Order> {
        let tokens = tokens(&said.encode());
        if !tokens.is_empty() {
            self.notes.push(Note::Bytes(tokens));
        }
        match said {
            Said::Said(message) => {
                self.know(&message);
                let copy = copy(&message);
                self.reached = self.reached.max(copy.seq);
                self.notes.push(Note::Heard(copy));
                if self.user.as_ref() == Some(&message.sender) {
                    if copy.expires.is_none() {
                        self.own.push((message.id, copy.token));
                    }
                    self.answered(message.cid, copy.seq);
                }
            }
            Said::Deleted(deleted) => {
                let seq = self.gone(deleted.seq.0, deleted.id);
                if self.user.as_ref() == Some(&deleted.by) {
                    self.answered(deleted.cid, seq);
                }
            }
            Said::Expired { seq, id } => drop(self.gone(seq.0, id)),
            Said::Stored(stored) => self.answered(Some(stored.cid), stored.seq.0),
            Said::History(page) => {
                page.messages.iter().for_each(|message| self.know(message));
                let copies = page.messages.iter().map(copy).collect();
                if page.cid.is_some_and(|cid| cid.as_str() == "log") {
                    let before = page.messages.first().map(|message| message.seq);
                    return self.read(copies, before.filter(|_| page.earlier));
                }
                let asked = self.page.take().expect("asked for");
                self.notes.push(Note::Page { asked, copies });
            }
            Said::Refused(refused) => {
                let cid = refused.cid.expect("about something");
                // A removal that was done before, and whose answer was lost.
                assert!(cid.as_str().starts_with('d'), "{cid}: {}", refused.text.as_str());
                self.settle(&cid);
            }
            Said::LoginPrompt
            | Said::Welcome(_)
            | Said::LoginRefused(_)
            | Said::People(_)
            | Said::Guests(_)
            | Said::Presence { .. }
            | Said::Live(_)
            | Said::Found(_)
            | Said::Pong(_)
            | Said::Closing(_) => {}
        }
        None
    }

    fn know(&mut self, message: &Message) {
        self.tokens.insert(message.id, copy(message).token);
    }

    fn gone(&mut self, seq: u64, id: MessageId) -> u64 {
        self.reached = self.reached.max(seq);
        let token = self.tokens.remove(&id);
        self.notes.push(Note::Gone { seq, token });
        seq
    }

    /// Takes a page of the whole history, and asks for the one before it.
    fn read(&mut self, copies: Vec<Copy>, before: Option<Seq>) -> Option<Order> {
        let Log::Asked(asked, mut pages) = std::mem::take(&mut self.log) else {
            panic!("nobody asked for that")
        };
        pages.push(copies);
        if before.is_some() {
            self.log = Log::Asked(asked, pages);
            return Some(("log".parse().unwrap(), Request::History(History::Before(before))));
        }
        let copies = pages.into_iter().rev().flatten().collect();
        self.notes.push(Note::Log { asked, copies });
        self.log = Log::Read;
        None
    }

    /// The client did not take an order.
    fn untaken(&mut self, cid: &ClientId) {
        match cid.as_str() {
            "page" => self.page = None,
            "log" => self.log = Log::Unasked,
            _ => drop(self.settle(cid)),
        }
    }

    /// Expects no answer any more; whether one was expected.
    fn settle(&mut self, cid: &ClientId) -> bool {
        let before = self.pending.len();
        self.pending.retain(|(pending, _)| pending != cid);
        self.pending.len() < before
    }

    fn answered(&mut self, cid: Option<ClientId>, seq: u64) {
        let Some(cid) = cid.filter(|cid| self.settle(cid)) else { return };
        let token = cid.as_str()[1..].parse().unwrap();
        if cid.as_str().starts_with('d') {
            self.notes.push(Note::Removed { token, at: self.room.now() });
            return;
        }
        self.notes.push(Note::Stored { token, seq });
        self.room.users.borrow_mut()[self.number].clone_from(&self.user);
        if self.room.phase.get() == Phase::LastWord {
            self.room.phase.set(Phase::Over(seq));
        }
    }
}

fn copy(message: &Message) -> Copy {
    let token = tokens(message.content.as_str().as_bytes()).pop().expect("a token");
    let expires = match message.kind {
        Kind::Temporary { expires } => Some(expires),
        Kind::Plain | Kind::Reply { .. } => None,
    };
    Copy { seq: message.seq.0, token, expires }
}

/// Has the person use a client that was just begun, and think of something to do every `pace`, until it
/// has everything.
pub(crate) async fn live(
    person: Rc<RefCell<Person>>,
    (client, mut events): (Client, Receiver<Event>),
    pace: Duration,
) {
    let mut orders = person.borrow_mut().begin();
    let mut pace = tokio::time::interval(pace);
    while !person.borrow().is_done() {
        for (cid, request) in orders.drain(..) {
            if client.try_send(Some(&cid), &request).is_err() {
                person.borrow_mut().untaken(&cid);
            }
        }
        orders.extend(tokio::select! {
            biased;
            event = events.recv() => person.borrow_mut().hear(event.expect("it goes on")),
            _ = pace.tick() => person.borrow_mut().act(),
        });
    }
    client.close().await;
}
