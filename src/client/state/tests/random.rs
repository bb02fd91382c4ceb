//! Property tests: whatever happens in whatever order, each request changes only its owner.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::protocol::event::{Event as ServerEvent, HistoryPage};
use crate::protocol::room::{
    ConversationInfo, ConversationList, NotifyLevel, ReadMarker, UserList,
};

#[derive(Debug, Clone)]
enum Step {
    Post(usize, usize),
    Display(usize, u64),
    Open(usize),
    Ask(usize, usize),
    Send(usize),
    Change,
    Due,
    Answer(usize),
    Refuse(usize),
    NotSent(usize),
    Delete(u32),
    Disconnect,
    Connect(bool),
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4_usize, 0..3_usize).prop_map(|(to, who)| Step::Post(to, who)),
        3 => (0..4_usize, 0..80_u64).prop_map(|(to, seq)| Step::Display(to, seq)),
        2 => (0..4_usize).prop_map(Step::Open),
        3 => (0..4_usize, 0..4_usize).prop_map(|(to, what)| Step::Ask(to, what)),
        2 => (0..4_usize).prop_map(Step::Send),
        1 => Just(Step::Change),
        3 => Just(Step::Due),
        5 => any::<usize>().prop_map(Step::Answer),
        2 => any::<usize>().prop_map(Step::Refuse),
        1 => any::<usize>().prop_map(Step::NotSent),
        1 => (0..60_u32).prop_map(Step::Delete),
        1 => Just(Step::Disconnect),
        2 => any::<bool>().prop_map(Step::Connect),
        2 => (0..4_i64).prop_map(Step::Wait),
    ]
}

fn audience(number: usize) -> Audience {
    match number {
        0 => Audience::Everyone,
        1 => Audience::Room("#ops".parse().unwrap()),
        2 => Audience::Only([id("Ann_1180")].into()),
        _ => Audience::Only([id("Ann_1180"), id("Kim_9021")].into()),
    }
}

/// The server, as far as the client can tell.
struct World {
    state: Session,
    now: i64,
    head: u32,
    unanswered: Vec<(Cid, Request)>,
    answered: Vec<Cid>,
    markers: BTreeMap<Audience, Seq>,
}

impl World {
    fn new() -> Self {
        Self {
            state: Session::new("test"),
            now: 0,
            head: 0,
            unanswered: Vec::new(),
            answered: Vec::new(),
            markers: BTreeMap::new(),
        }
    }

    fn apply(&mut self, event: ClientEvent) -> Vec<Change> {
        self.state.apply(at(self.now), event)
    }

    fn receive(&mut self, event: ServerEvent) -> Vec<Change> {
        self.apply(ClientEvent::Received(event))
    }

    fn take(&mut self, index: usize) -> Option<(Cid, Request)> {
        if self.unanswered.is_empty() || !self.state.is_online() {
            return None;
        }
        let taken = self.unanswered.remove(index % self.unanswered.len());
        self.answered.push(taken.0.clone());
        Some(taken)
    }

    fn message(&mut self, to: usize, who: usize) -> Message {
        self.head += 1;
        let sender = ["Ann_1180", "Kim_9021", "Bob_4572"][who];
        let audience = match audience(to) {
            Audience::Only(mut users) => {
                users.insert(id("Bob_4572"));
                users.remove(&id(sender));
                Audience::Only(users)
            }
            shared => shared,
        };
        Message { audience, ..message(self.head, sender, "x") }
    }

    fn answer(&mut self, cid: Cid, request: &Request) -> Vec<Change> {
        let cid = Some(cid);
        let event = match request {
            Request::Post(post) => {
                self.head += 1;
                let audience = post.audience.clone();
                ServerEvent::Posted(Message {
                    audience,
                    cid,
                    ..message(self.head, "Bob_4572", "x")
                })
            }
            Request::History(query) => {
                let to = (0..4).find(|to| Some(audience(*to)) == query.conversation).unwrap();
                let one = self.message(to, 0);
                ServerEvent::History(HistoryPage {
                    messages: vec![one],
                    has_earlier: true,
                    has_later: false,
                    cid,
                })
            }
            Request::Read { conversation, up_to, .. } => {
                let marker = self.markers.entry(conversation.clone()).or_default();
                *marker = (*up_to).max(*marker);
                let (conversation, seq) = (conversation.clone(), *marker);
                ServerEvent::Read(ReadMarker { conversation, seq, unread: 1, mentions: 0, cid })
            }
            Request::Conversations => {
                let info = |to| ConversationInfo {
                    conversation: audience(to),
                    room: None,
                    last: Seq(u64::from(self.head)),
                    read: self.markers.get(&audience(to)).copied().unwrap_or_default(),
                    unread: 3,
                    mentions: 1,
                    notify: NotifyLevel::All,
                    muted_until: None,
                };
                let conversations = (0..4).map(info).collect();
                ServerEvent::Conversations(ConversationList { conversations, has_more: false, cid })
            }
            Request::Users { room, .. } => ServerEvent::UserPage(UserList {
                room: room.clone(),
                users: vec![id("Kim_9021")],
                has_more: false,
                cid,
            }),
            _ => {
                let deleted = Deleted { seq: Seq(1), id: number(1), author: id("Bob_4572"), cid };
                ServerEvent::Deleted(deleted)
            }
        };
        self.receive(event)
    }

    fn refuse(&mut self, cid: Cid, code: ErrorCode) {
        let text = SafeText::clean("no");
        self.receive(ServerEvent::Error(ErrorReply { code, text, cid: Some(cid) }));
    }

    fn disconnect(&mut self) {
        let reason = SafeText::clean("lost");
        self.apply(ClientEvent::Disconnected { reason, retry_in: Duration::ZERO });
        self.unanswered
            .retain(|(_, request)| matches!(request, Request::Post(_) | Request::Delete(_)));
    }

    fn connect(&mut self, resumed: bool) {
        let welcome = Welcome {
            user: id("Bob_4572"),
            epoch: "e".into(),
            head: Seq(u64::from(self.head)),
            now: at(self.now).timestamp_millis(),
            resumed: resumed && self.state.own_id().is_some(),
            limits: Limits::default(),
        };
        let connected = Connected { welcome, fingerprint: String::new() };
        self.apply(ClientEvent::Connected(connected));
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Post(to, who) if self.state.is_online() => {
                let message = self.message(to, who);
                self.receive(ServerEvent::Posted(message));
            }
            Step::Display(to, seq) => {
                let seq = Seq(seq.min(u64::from(self.head)));
                self.state.mark_displayed(&audience(to), seq);
            }
            Step::Open(to) => self.state.open(&audience(to)),
            Step::Ask(to, what) => {
                let request = [
                    HistoryRequest::Recent,
                    HistoryRequest::Earlier,
                    HistoryRequest::Later,
                    HistoryRequest::Around(number(3)),
                ][what];
                self.unanswered.extend(self.state.request_history(&audience(to), request));
            }
            Step::Send(to) => {
                let post = Post { audience: audience(to), ..plain("x") };
                self.unanswered.extend(self.state.post(at(self.now), post));
            }
            Step::Change => {
                self.unanswered.extend(self.state.change(Request::Delete(number(2))));
            }
            Step::Due => self.unanswered.extend(self.state.take_requests(at(self.now))),
            Step::Answer(index) => {
                if let Some((cid, request)) = self.take(index) {
                    self.answer(cid, &request);
                }
            }
            Step::Refuse(index) => {
                if let Some((cid, _)) = self.take(index) {
                    self.refuse(cid, ErrorCode::NotRead);
                }
            }
            Step::NotSent(index) => {
                if let Some((cid, _)) = self.take(index) {
                    self.state.not_sent(at(self.now), &cid, SafeText::clean("busy"));
                }
            }
            Step::Delete(n) => {
                let deleted =
                    Deleted { seq: Seq(1), id: number(n), author: id("Ann_1180"), cid: None };
                self.receive(ServerEvent::Deleted(deleted));
            }
            Step::Disconnect => self.disconnect(),
            Step::Connect(resumed) if !self.state.is_online() => self.connect(resumed),
            Step::Wait(seconds) => {
                self.now += seconds;
                self.state.expire(at(self.now));
            }
            Step::Post(..) | Step::Connect(_) => {}
        }
    }

    /// What the answer of a request may not change in other conversations.
    fn snapshot(&self) -> BTreeMap<Audience, (Seq, u32, usize, bool)> {
        let view = |one: &Conversation| {
            (one.marker(), one.unread(), one.pending().len(), one.is_loading())
        };
        self.state.conversations().map(|(audience, one)| (audience.clone(), view(one))).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn markers_never_go_back_and_answers_count_once(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let mut world = World::new();
        for step in &steps {
            let before = world.snapshot();
            world.run(step);
            let after = world.snapshot();
            for (audience, (marker, unread, ..)) in &after {
                prop_assert!(*unread <= 100);
                if let Some((earlier, ..)) = before.get(audience) {
                    prop_assert!(marker >= earlier, "{audience:?}: {earlier:?} {marker:?} {step:?}");
                }
            }
        }
        // An answer that comes a second time changes nothing.
        let before = world.snapshot();
        for cid in world.answered.clone() {
            world.refuse(cid, ErrorCode::UnknownMessage);
        }
        prop_assert_eq!(before, world.snapshot());
    }

    #[test]
    fn refusal_changes_only_its_owner(
        steps in proptest::collection::vec(step(), 1..60),
        index in any::<usize>(),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.run(step);
        }
        let before = world.snapshot();
        let Some((cid, request)) = world.take(index) else { return Ok(()) };
        let owner = match &request {
            Request::History(query) => query.conversation.clone(),
            Request::Read { conversation, .. } => Some(conversation.clone()),
            Request::Post(post) => Some(post.audience.clone()),
            _ => None,
        };
        world.refuse(cid, ErrorCode::NotRead);
        let after = world.snapshot();
        for (audience, view) in before.iter().filter(|(one, _)| Some(*one) != owner.as_ref()) {
            prop_assert_eq!(after.get(audience), Some(view));
        }
    }
}
