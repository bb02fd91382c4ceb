//! A hub with a clock and a log of its own, for the tests.

use std::time::Duration;

use chrono::DateTime;

use super::*;
use crate::protocol::error::Refusal;
use crate::protocol::id::ClientId;
use crate::protocol::message::Message;
use crate::protocol::request::{Dialect, Say, SayKind};
use crate::protocol::text::SafeText;
use crate::server::limits;
use crate::store::memory::MemoryStore;
use crate::store::{Reader as _, Store as _, View};

/// A hub with a clock and a log of its own, and everything that each session was told.
pub(super) struct Room {
    pub(super) hub: Hub,
    pub(super) log: MemoryStore,
    pub(super) now: Now,
    pub(super) told: Vec<(SessionId, Event)>,
    pub(super) closed: Vec<SessionId>,
    here: Vec<SessionId>,
    head: u64,
    /// While the disk is full, what is to be written is refused.
    pub(super) is_full: bool,
    access: Access,
    answers: Vec<Answer>,
}

/// Somebody on this machine.
pub(super) fn here(key: Option<Key>) -> Peer {
    Peer { key, address: std::net::Ipv4Addr::LOCALHOST.into() }
}

impl Room {
    pub(super) fn new() -> Self {
        let mono = crate::server::tests::mono();
        let wall = DateTime::from_timestamp_millis(1_800_000_000_000).unwrap().fixed_offset();
        let mut log = MemoryStore::default();
        let hub = Hub::new(7, Access::Open, &log.opened().unwrap());
        Self {
            hub,
            log,
            now: Now { mono, wall },
            told: vec![],
            closed: vec![],
            here: vec![],
            head: 0,
            is_full: false,
            access: Access::Open,
            answers: vec![],
        }
    }

    /// The server stops and starts again, for these people.
    pub(super) fn restart_as(&mut self, access: Access) {
        self.access = access;
        self.restart();
    }

    /// The server stops and starts again, on the same log.
    pub(super) fn restart(&mut self) {
        self.hub = Hub::new(8, self.access, &self.log.opened().unwrap());
        self.here.clear();
    }

    pub(super) fn input(&mut self, input: Input) {
        let mut inputs = std::collections::VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in self.hub.handle(self.now, input) {
                inputs.extend(self.carry_out(effect));
            }
        }
    }

    /// What comes back of it at once.
    fn carry_out(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Send { to, event } => self.tell(to, &event),
            Effect::Append { ticket, .. } if self.is_full => {
                return Some(Input::NotStored { ticket, reason: "its disk is full" });
            }
            Effect::Append { ticket, append } => {
                let outcomes = self.log.append(self.now.millis(), &[append]).unwrap();
                let outcome = outcomes.into_iter().next().unwrap();
                return Some(Input::Stored { ticket, outcome });
            }
            Effect::Look { session, viewer, id, request } => {
                let view = View { viewer: &viewer, now: self.now.millis() };
                let found = self.log.reader().unwrap().message(view, id).unwrap();
                return Some(Input::Looked { session, request, id, found });
            }
            Effect::Answer { answer, .. } => self.answers.push(answer),
            Effect::Read { .. } | Effect::Feed { .. } => {}
            Effect::Close(session) => {
                self.here.retain(|here| *here != session);
                self.closed.push(session);
            }
        }
        None
    }

    fn tell(&mut self, to: Recipients, event: &Event) {
        if let Some(seq) = event.seq() {
            self.head += 1;
            assert_eq!(seq.0, self.head, "no gaps in the order");
        }
        let to = match to {
            Recipients::One(session) => vec![session],
            Recipients::These(sessions) => sessions,
            Recipients::Everyone => self.here.clone(),
        };
        self.told.extend(to.into_iter().map(|session| (session, event.clone())));
    }

    /// Lets time pass, with a tick at every deadline.
    pub(super) fn wait(&mut self, pause: Duration) {
        let end = self.now.mono + pause;
        while let Some(deadline) = self.hub.next_deadline(self.now).filter(|at| *at <= end) {
            self.advance(deadline.saturating_duration_since(self.now.mono));
            self.input(Input::Tick);
            assert!(self.hub.next_deadline(self.now).is_none_or(|at| at > self.now.mono));
        }
        self.advance(end - self.now.mono);
    }

    fn advance(&mut self, pause: Duration) {
        self.now.mono += pause;
        self.now.wall += pause;
    }

    pub(super) fn join(&mut self, session: u64, name: &str, dialect: Dialect) -> UserId {
        self.log_in(session, name, dialect, None)
    }

    /// Somebody with our client and a key.
    pub(super) fn join_with(&mut self, session: u64, name: &str, key: Option<Key>) -> UserId {
        self.log_in(session, name, Dialect::Extended, key)
    }

    fn log_in(&mut self, session: u64, name: &str, dialect: Dialect, key: Option<Key>) -> UserId {
        let id = SessionId(session);
        self.here.push(id);
        let login = Login { dialect, ..Login::original(name.to_owned()) };
        self.input(Input::Login { session: id, login, peer: here(key) });
        self.hub.roster.user(id).unwrap()
    }

    /// A login from this machine with our client, as `Bob` unless `change` says otherwise; the ID, or
    /// why not.
    pub(super) fn try_login(
        &mut self,
        session: u64,
        key: Option<Key>,
        change: impl FnOnce(&mut Login),
    ) -> Result<UserId, ErrorCode> {
        self.try_login_from(session, here(key), change)
    }

    /// The same from anywhere.
    pub(super) fn try_login_from(
        &mut self,
        session: u64,
        peer: Peer,
        change: impl FnOnce(&mut Login),
    ) -> Result<UserId, ErrorCode> {
        let id = SessionId(session);
        let mut login = Login { dialect: Dialect::Extended, ..Login::original("Bob".to_owned()) };
        change(&mut login);
        self.here.push(id);
        self.told.clear();
        self.input(Input::Login { session: id, login, peer });
        let mut told = self.told.drain(..).filter(|(to, _)| *to == id);
        match told.next() {
            Some((_, Event::Welcome(welcome))) => Ok(welcome.user),
            Some((_, Event::LoginRefused(refused))) => Err(refused.code),
            other => panic!("no answer to a login: {other:?}"),
        }
    }

    pub(super) fn millis(&self) -> Millis {
        self.now.millis()
    }

    /// Somebody with our client, and nothing told yet.
    pub(super) fn ours(&mut self, session: u64, name: &str) -> UserId {
        let user = self.join(session, name, Dialect::Extended);
        self.wait(limits::PRESENCE_PAUSE * 2);
        self.told.clear();
        user
    }

    pub(super) fn leave(&mut self, session: u64) {
        self.here.retain(|here| here.0 != session);
        self.input(Input::Left(SessionId(session)));
    }

    /// What comes of an act of whoever runs the server.
    pub(super) fn administer(&mut self, act: Act) -> Answer {
        self.input(Input::Administer { asker: Asker(7), act });
        self.answers.pop().unwrap()
    }

    pub(super) fn ask(&mut self, session: u64, request: Request) {
        self.ask_as(session, None, Ok(request));
    }

    pub(super) fn ask_as(
        &mut self,
        session: u64,
        cid: Option<&str>,
        request: Result<Request, Refusal>,
    ) {
        let cid: Option<ClientId> = cid.map(|cid| cid.parse().unwrap());
        self.input(Input::Request { session: SessionId(session), request: (cid, request) });
    }

    /// What everybody was told since the last time, by session.
    pub(super) fn told(&mut self) -> Vec<(u64, Event)> {
        self.told.drain(..).map(|(session, event)| (session.0, event)).collect()
    }

    /// What everybody was told of those who came and went, since the last time.
    pub(super) fn presence(&mut self) -> Vec<(u64, Event)> {
        let mut told = self.told();
        told.retain(|(_, event)| matches!(event, Event::Presence { .. }));
        told
    }

    /// The one message that was told, and to whom.
    pub(super) fn said(&mut self) -> (Vec<u64>, Message) {
        let told = self.told();
        let to = told.iter().map(|(session, _)| *session).collect();
        let Some((_, Event::Said(message))) = told.into_iter().next() else {
            panic!("no message was told");
        };
        (to, message)
    }

    /// The code of the one error that was told, which `session` alone must have got.
    pub(super) fn refused(&mut self, session: u64) -> ErrorCode {
        let told = self.told();
        let [(to, Event::Refused(refused))] = told.as_slice() else {
            panic!("not one refusal: {told:?}");
        };
        assert_eq!(*to, session);
        refused.code
    }
}

pub(super) fn say(audience: Audience, kind: SayKind) -> Request {
    Request::Say(Say { audience, kind, content: SafeText::clean("hi") })
}

pub(super) fn only(people: &[&UserId]) -> Audience {
    Audience::Only(people.iter().map(|user| (*user).clone()).collect())
}

pub(super) const PLAIN: SayKind = SayKind::Plain;

pub(super) fn reply(to: MessageId) -> SayKind {
    SayKind::Reply { to }
}
