//! A test harness for the hub: simulated time, an in-memory log, and a record of what is sent.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::DateTime;

use super::*;
use crate::protocol::error::{ErrorCode, Refusal};
use crate::protocol::id::{Cid, MessageId};
use crate::protocol::message::{Audience, Message};
use crate::protocol::request::{Dialect, Post, PostKind, Request};
use crate::protocol::text::SafeText;
use crate::server::limits;
use crate::store::Store as _;
use crate::store::tests::memory::MemoryStore;

/// A hub with its own clock and log, and everything sent to each session.
pub(super) struct HubHarness {
    pub(super) hub: Hub,
    pub(super) store: MemoryStore,
    pub(super) now: Now,
    pub(super) sent: Vec<(SessionId, Event)>,
    pub(super) closed: Vec<SessionId>,
    connected: Vec<SessionId>,
    /// The last event of the log.
    pub(super) head: u64,
    /// While set, all writes fail.
    pub(super) is_disk_full: bool,
    access: AccessMode,
    admin_replies: Vec<AdminReply>,
}

/// A client on the loopback interface.
pub(super) fn local_peer(key: Option<KeyHash>) -> PeerInfo {
    PeerInfo { key, address: std::net::Ipv4Addr::LOCALHOST.into() }
}

impl HubHarness {
    pub(super) fn new() -> Self {
        let monotonic = crate::server::tests::monotonic_now();
        let wall = DateTime::from_timestamp_millis(1_800_000_000_000).unwrap().fixed_offset();
        let mut store = MemoryStore::default();
        let hub = Hub::new(7, AccessMode::Open, &store.snapshot().unwrap());
        Self {
            hub,
            store,
            now: Now { monotonic, wall },
            sent: vec![],
            closed: vec![],
            connected: vec![],
            head: 0,
            is_disk_full: false,
            access: AccessMode::Open,
            admin_replies: vec![],
        }
    }

    /// Restarts the server on the same log, with another access mode.
    pub(super) fn restart_with_access(&mut self, access: AccessMode) {
        self.access = access;
        self.restart();
    }

    /// Changes the settings of the hub.
    pub(super) fn change_hub(&mut self, change: impl FnOnce(Hub) -> Hub) {
        let placeholder = Hub::new(0, self.access, &self.store.snapshot().unwrap());
        self.hub = change(std::mem::replace(&mut self.hub, placeholder));
    }

    /// Restarts the server on the same log.
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

    /// Carries out an effect. Returns the input that follows from it, if any.
    fn execute(&mut self, effect: HubEffect) -> Option<HubInput> {
        match effect {
            HubEffect::Send { to, event } => self.send(to, &event),
            HubEffect::Propose { origin, .. } if self.is_disk_full => {
                return Some(HubInput::NotApplied { origin, reason: "its disk is full" });
            }
            HubEffect::Propose { origin, entry } => {
                let outcomes = self.store.apply(self.now.millis(), &[entry]).unwrap();
                let outcome = outcomes.into_iter().next().unwrap();
                return Some(HubInput::Applied { origin, outcome });
            }
            HubEffect::AdminReply { reply, .. } => self.admin_replies.push(reply),
            HubEffect::Read { .. } | HubEffect::Subscribe { .. } => {}
            HubEffect::Close(session) => {
                self.connected.retain(|connected| *connected != session);
                self.closed.push(session);
            }
        }
        None
    }

    fn send(&mut self, to: SessionSet, event: &Event) {
        if let Some(seq) = event.seq() {
            self.head += 1;
            assert_eq!(seq.0, self.head, "sequence numbers have no gaps");
        }
        let mut to = match to {
            SessionSet::One(session) => vec![session],
            SessionSet::Own { user, .. } => self.hub.sessions.sessions_of(&user).collect(),
            SessionSet::Users(users) | SessionSet::Members(users) => {
                users.iter().flat_map(|user| self.hub.sessions.sessions_of(user)).collect()
            }
            SessionSet::All => self.connected.clone(),
        };
        to.sort();
        self.sent.extend(to.into_iter().map(|session| (session, event.clone())));
    }

    /// Advances the clock, with a tick at every deadline.
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

    /// Logs in with an extended client.
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

    /// Tries to log in from loopback with an extended client, as `Bob` unless `change` sets another name.
    /// Returns the ID or the error code.
    pub(super) fn try_login(
        &mut self,
        session: u64,
        key: Option<KeyHash>,
        change: impl FnOnce(&mut Login),
    ) -> Result<UserId, ErrorCode> {
        self.try_login_from(session, local_peer(key), change)
    }

    /// [`try_login`](Self::try_login) from any peer.
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
        let mut sent = self.sent.drain(..).filter(|(to, _)| *to == id);
        match sent.next() {
            Some((_, Event::Welcome(welcome))) => Ok(welcome.user),
            Some((_, Event::LoginRefused(refused))) => Err(refused.code),
            other => panic!("no answer to a login: {other:?}"),
        }
    }

    pub(super) fn millis(&self) -> Millis {
        self.now.millis()
    }

    /// Logs in with an extended client, waits until that is announced, and clears what was sent.
    pub(super) fn join_and_settle(&mut self, session: u64, name: &str) -> UserId {
        let user = self.join(session, name, Dialect::Extended);
        self.wait(limits::PRESENCE_INTERVAL * 2);
        self.sent.clear();
        user
    }

    pub(super) fn disconnect(&mut self, session: u64) {
        self.connected.retain(|connected| connected.0 != session);
        self.handle(HubInput::Disconnected(SessionId(session)));
    }

    /// Executes an administrator's command and returns the reply.
    pub(super) fn admin(&mut self, command: AdminCommand) -> AdminReply {
        self.handle(HubInput::Admin { id: AdminRequestId(7), command });
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

    /// Takes all events sent since the last call, with their sessions.
    pub(super) fn take_sent(&mut self) -> Vec<(u64, Event)> {
        self.sent.drain(..).map(|(session, event)| (session.0, event)).collect()
    }

    /// Takes what was sent since the last call and returns the PRESENCE events of it.
    pub(super) fn take_presence(&mut self) -> Vec<(u64, Event)> {
        let mut sent = self.take_sent();
        sent.retain(|(_, event)| matches!(event, Event::Presence { .. }));
        sent
    }

    /// Takes the message that was posted and the sessions it was sent to.
    pub(super) fn take_posted(&mut self) -> (Vec<u64>, Message) {
        let sent = self.take_sent();
        let to = sent.iter().map(|(session, _)| *session).collect::<BTreeSet<_>>();
        let Some((_, Event::Posted(message))) = sent.into_iter().next() else {
            panic!("no message was sent");
        };
        (to.into_iter().collect(), message)
    }

    /// Takes the only event sent, which must be an error for `session`, and returns its code.
    pub(super) fn take_error(&mut self, session: u64) -> ErrorCode {
        let sent = self.take_sent();
        let [(to, Event::Error(error))] = sent.as_slice() else {
            panic!("not exactly one error: {sent:?}");
        };
        assert_eq!(*to, session);
        error.code
    }
}

pub(super) fn post(audience: Audience, kind: PostKind) -> Request {
    Request::Post(Post { audience, kind, content: SafeText::clean("hi") })
}

pub(super) fn direct_to(users: &[&UserId]) -> Audience {
    Audience::Only(users.iter().map(|user| (*user).clone()).collect())
}

pub(super) const PLAIN: PostKind = PostKind::Plain;

pub(super) fn reply_to(to: MessageId) -> PostKind {
    PostKind::Reply { to }
}
