//! A hub with a clock and a log of its own, for the tests.

use std::time::Duration;

use chrono::DateTime;

use super::*;
use crate::protocol::error::Refusal;
use crate::protocol::id::Cid;
use crate::protocol::message::Message;
use crate::protocol::request::{Dialect, Post, PostKind};
use crate::protocol::text::SafeText;
use crate::server::limits;
use crate::store::memory::MemoryStore;
use crate::store::{Reader as _, Store as _, View};

/// A hub with a clock and a log of its own, and everything that each session was told.
pub(super) struct HubHarness {
    pub(super) hub: Hub,
    pub(super) store: MemoryStore,
    pub(super) now: Now,
    pub(super) sent: Vec<(SessionId, Event)>,
    pub(super) closed: Vec<SessionId>,
    connected: Vec<SessionId>,
    head: u64,
    /// While the disk is full, what is to be written is refused.
    pub(super) is_disk_full: bool,
    access: AccessMode,
    admin_replies: Vec<AdminReply>,
}

/// Somebody on this machine.
pub(super) fn local_peer(key: Option<KeyHash>) -> PeerInfo {
    PeerInfo { key, address: std::net::Ipv4Addr::LOCALHOST.into() }
}

impl HubHarness {
    pub(super) fn new() -> Self {
        let mono = crate::server::tests::monotonic_now();
        let wall = DateTime::from_timestamp_millis(1_800_000_000_000).unwrap().fixed_offset();
        let mut store = MemoryStore::default();
        let hub = Hub::new(7, AccessMode::Open, &store.snapshot().unwrap());
        Self {
            hub,
            store,
            now: Now { monotonic: mono, wall },
            sent: vec![],
            closed: vec![],
            connected: vec![],
            head: 0,
            is_disk_full: false,
            access: AccessMode::Open,
            admin_replies: vec![],
        }
    }

    /// The server stops and starts again, for these people.
    pub(super) fn restart_with_access(&mut self, access: AccessMode) {
        self.access = access;
        self.restart();
    }

    /// The server stops and starts again, on the same log.
    pub(super) fn restart(&mut self) {
        self.hub = Hub::new(8, self.access, &self.store.snapshot().unwrap());
        self.connected.clear();
    }

    pub(super) fn handle(&mut self, input: HubInput) {
        let mut inputs = std::collections::VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in self.hub.handle(self.now, input) {
                inputs.extend(self.execute(effect));
            }
        }
    }

    /// What comes back of it at once.
    fn execute(&mut self, effect: HubEffect) -> Option<HubInput> {
        match effect {
            HubEffect::Send { to, event } => self.send(to, &event),
            HubEffect::Append { context: ticket, .. } if self.is_disk_full => {
                return Some(HubInput::WriteFailed { context: ticket, reason: "its disk is full" });
            }
            HubEffect::Append { context: ticket, append } => {
                let outcomes = self.store.append(self.now.millis(), &[append]).unwrap();
                let outcome = outcomes.into_iter().next().unwrap();
                return Some(HubInput::Written { context: ticket, outcome });
            }
            HubEffect::Lookup { session, viewer, id, request } => {
                let view = View { viewer: &viewer, now: self.now.millis() };
                let found = self.store.open_reader().unwrap().metadata(view, id).unwrap();
                return Some(HubInput::LookupDone { session, request, id, metadata: found });
            }
            HubEffect::AdminReply { reply: answer, .. } => self.admin_replies.push(answer),
            HubEffect::Read { .. } | HubEffect::Subscribe { .. } => {}
            HubEffect::Close(session) => {
                self.connected.retain(|here| *here != session);
                self.closed.push(session);
            }
        }
        None
    }

    fn send(&mut self, to: SessionSet, event: &Event) {
        if let Some(seq) = event.seq() {
            self.head += 1;
            assert_eq!(seq.0, self.head, "no gaps in the order");
        }
        let to = match to {
            SessionSet::One(session) => vec![session],
            SessionSet::Many(sessions) => sessions,
            SessionSet::All => self.connected.clone(),
        };
        self.sent.extend(to.into_iter().map(|session| (session, event.clone())));
    }

    /// Lets time pass, with a tick at every deadline.
    pub(super) fn wait(&mut self, duration: Duration) {
        let end = self.now.monotonic + duration;
        while let Some(deadline) = self.hub.next_deadline(self.now).filter(|at| *at <= end) {
            self.advance_clock(deadline.saturating_duration_since(self.now.monotonic));
            self.handle(HubInput::Tick);
            assert!(self.hub.next_deadline(self.now).is_none_or(|at| at > self.now.monotonic));
        }
        self.advance_clock(end - self.now.monotonic);
    }

    fn advance_clock(&mut self, duration: Duration) {
        self.now.monotonic += duration;
        self.now.wall += duration;
    }

    pub(super) fn join(&mut self, session: u64, name: &str, dialect: Dialect) -> UserId {
        self.log_in(session, name, dialect, None)
    }

    /// Somebody with our client and a key.
    pub(super) fn join_with_key(
        &mut self,
        session: u64,
        name: &str,
        key: Option<KeyHash>,
    ) -> UserId {
        self.log_in(session, name, Dialect::Extended, key)
    }

    fn log_in(
        &mut self,
        session: u64,
        name: &str,
        dialect: Dialect,
        key: Option<KeyHash>,
    ) -> UserId {
        let id = SessionId(session);
        self.connected.push(id);
        let login = Login { dialect, ..Login::original(name.to_owned()) };
        self.handle(HubInput::Login { session: id, login, peer: local_peer(key) });
        self.hub.sessions.user(id).unwrap()
    }

    /// A login from this machine with our client, as `Bob` unless `change` says otherwise; the ID, or
    /// why not.
    pub(super) fn try_login(
        &mut self,
        session: u64,
        key: Option<KeyHash>,
        change: impl FnOnce(&mut Login),
    ) -> Result<UserId, ErrorCode> {
        self.try_login_from(session, local_peer(key), change)
    }

    /// The same from anywhere.
    pub(super) fn try_login_from(
        &mut self,
        session: u64,
        peer: PeerInfo,
        change: impl FnOnce(&mut Login),
    ) -> Result<UserId, ErrorCode> {
        let id = SessionId(session);
        let mut login = Login { dialect: Dialect::Extended, ..Login::original("Bob".to_owned()) };
        change(&mut login);
        self.connected.push(id);
        self.sent.clear();
        self.handle(HubInput::Login { session: id, login, peer });
        let mut told = self.sent.drain(..).filter(|(to, _)| *to == id);
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
    pub(super) fn join_and_settle(&mut self, session: u64, name: &str) -> UserId {
        let user = self.join(session, name, Dialect::Extended);
        self.wait(limits::PRESENCE_INTERVAL * 2);
        self.sent.clear();
        user
    }

    pub(super) fn disconnect(&mut self, session: u64) {
        self.connected.retain(|here| here.0 != session);
        self.handle(HubInput::Disconnected(SessionId(session)));
    }

    /// What comes of an act of whoever runs the server.
    pub(super) fn admin(&mut self, act: AdminCommand) -> AdminReply {
        self.handle(HubInput::Admin { id: AdminRequestId(7), command: act });
        self.admin_replies.pop().unwrap()
    }

    pub(super) fn request(&mut self, session: u64, request: Request) {
        self.request_with_cid(session, None, Ok(request));
    }

    pub(super) fn request_with_cid(
        &mut self,
        session: u64,
        cid: Option<&str>,
        request: Result<Request, Refusal>,
    ) {
        let cid: Option<Cid> = cid.map(|cid| cid.parse().unwrap());
        self.handle(HubInput::Request { session: SessionId(session), request: (cid, request) });
    }

    /// What everybody was told since the last time, by session.
    pub(super) fn take_sent(&mut self) -> Vec<(u64, Event)> {
        self.sent.drain(..).map(|(session, event)| (session.0, event)).collect()
    }

    /// What everybody was told of those who came and went, since the last time.
    pub(super) fn take_presence(&mut self) -> Vec<(u64, Event)> {
        let mut told = self.take_sent();
        told.retain(|(_, event)| matches!(event, Event::Presence { .. }));
        told
    }

    /// The one message that was told, and to whom.
    pub(super) fn take_posted(&mut self) -> (Vec<u64>, Message) {
        let told = self.take_sent();
        let to = told.iter().map(|(session, _)| *session).collect();
        let Some((_, Event::Posted(message))) = told.into_iter().next() else {
            panic!("no message was told");
        };
        (to, message)
    }

    /// The code of the one error that was told, which `session` alone must have got.
    pub(super) fn take_error(&mut self, session: u64) -> ErrorCode {
        let told = self.take_sent();
        let [(to, Event::Error(refused))] = told.as_slice() else {
            panic!("not one refusal: {told:?}");
        };
        assert_eq!(*to, session);
        refused.code
    }
}

pub(super) fn post(audience: Audience, kind: PostKind) -> Request {
    Request::Post(Post { audience, kind, content: SafeText::clean("hi") })
}

pub(super) fn direct_to(people: &[&UserId]) -> Audience {
    Audience::Only(people.iter().map(|user| (*user).clone()).collect())
}

pub(super) const PLAIN: PostKind = PostKind::Plain;

pub(super) fn reply_to(to: MessageId) -> PostKind {
    PostKind::Reply { to }
}
