//! Model test: random steps against a simple model of the messages and rooms, and of who may see them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::harness::{HubHarness, post};
use super::*;
use crate::protocol::id::MessageId;
use crate::protocol::message::{Audience, Message};
use crate::protocol::request::{Dialect, PostKind, Request};
use crate::protocol::room::{RoomAction, SharedHistory};
use crate::protocol::text::SafeText;

#[derive(Debug, Clone)]
enum Step {
    /// With a key, the user is the same each time; otherwise a new guest.
    Join {
        key: Option<u8>,
        is_extended: bool,
    },
    Leave(usize),
    Post {
        author: usize,
        to: To,
        kind: u32,
        target: usize,
    },
    Delete {
        author: usize,
        target: usize,
    },
    Room {
        author: usize,
        room: RoomName,
        change: Change,
    },
    Wait(u64),
}

#[derive(Debug, Clone)]
enum To {
    Users(Vec<usize>),
    Room(RoomName),
}

#[derive(Debug, Clone, Copy)]
enum Change {
    Create { private: bool },
    Join,
    Leave,
    Add { user: usize, history: SharedHistory },
}

fn room() -> impl Strategy<Value = RoomName> {
    prop_oneof![Just("#ops"), Just("#lab")].prop_map(|name| name.parse().unwrap())
}

fn change() -> impl Strategy<Value = Change> {
    let history = prop_oneof![Just(SharedHistory::All), Just(SharedHistory::Now)];
    prop_oneof![
        any::<bool>().prop_map(|private| Change::Create { private }),
        Just(Change::Join),
        Just(Change::Leave),
        (0..8_usize, history).prop_map(|(user, history)| Change::Add { user, history }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let to = prop_oneof![
        proptest::collection::vec(0..8_usize, 0..3).prop_map(To::Users),
        room().prop_map(To::Room),
    ];
    prop_oneof![
        3 => (proptest::option::weighted(0.7, 1..4_u8), any::<bool>())
            .prop_map(|(key, is_extended)| Step::Join { key, is_extended }),
        1 => (0..8_usize).prop_map(Step::Leave),
        6 => (0..8_usize, to, 0..3_u32, 0..20_usize)
            .prop_map(|(author, to, kind, target)| Step::Post { author, to, kind, target }),
        2 => (0..8_usize, 0..20_usize).prop_map(|(author, target)| Step::Delete { author, target }),
        5 => (0..8_usize, room(), change())
            .prop_map(|(author, room, change)| Step::Room { author, room, change }),
        1 => (0..4_000_u64).prop_map(Step::Wait),
    ]
}

/// A message as the events about it describe it.
struct KnownMessage {
    seq: Seq,
    sender: UserId,
    audience: Audience,
    expires: Option<Millis>,
    removed: bool,
}

struct KnownRoom {
    private: bool,
    /// The members, and the first event that each of them sees.
    members: BTreeMap<UserId, Seq>,
}

#[derive(Default)]
struct Model {
    /// The online users, by session.
    online: BTreeMap<u64, UserId>,
    all_users: Vec<UserId>,
    by_key: BTreeMap<u8, UserId>,
    rooms: BTreeMap<RoomName, KnownRoom>,
    messages: BTreeMap<MessageId, KnownMessage>,
    ids: Vec<MessageId>,
    head: u64,
    n_joined: u64,
}

/// A request, and whether it has to succeed, if the model knows.
struct Requested {
    session: u64,
    succeeds: Option<bool>,
}

impl Model {
    fn session(&self, pick: usize) -> Option<u64> {
        self.online.keys().copied().nth(pick)
    }

    fn target(&self, pick: usize) -> MessageId {
        self.ids.get(pick).copied().unwrap_or_else(|| "999999".parse().unwrap())
    }

    fn is_registered(&self, user: &UserId) -> bool {
        self.by_key.values().any(|registered| registered == user)
    }

    fn since(&self, room: &RoomName, user: &UserId) -> Option<Seq> {
        self.rooms.get(room)?.members.get(user).copied()
    }

    fn sees(&self, user: &UserId, message: &KnownMessage) -> bool {
        match &message.audience {
            Audience::Everyone => true,
            Audience::Only(named) => message.sender == *user || named.contains(user),
            Audience::Room(room) => {
                self.since(room, user).is_some_and(|since| since <= message.seq)
            }
        }
    }

    /// The sessions of these users.
    fn sessions_of(&self, is_meant: impl Fn(&UserId) -> bool) -> BTreeSet<u64> {
        let mut sessions = self.online.clone();
        sessions.retain(|_, user| is_meant(user));
        sessions.into_keys().collect()
    }

    fn run_step(&mut self, harness: &mut HubHarness, step: Step) -> Result<(), TestCaseError> {
        let requested = match step {
            Step::Join { key, is_extended } => {
                self.join(harness, key, is_extended)?;
                None
            }
            Step::Leave(pick) => {
                if let Some(session) = self.session(pick) {
                    self.online.remove(&session);
                    harness.disconnect(session);
                }
                None
            }
            Step::Post { author, to, kind, target } => {
                let Some(session) = self.session(author) else { return Ok(()) };
                Some(self.post(harness, session, to, kind, target))
            }
            Step::Delete { author, target } => {
                let Some(session) = self.session(author) else { return Ok(()) };
                harness.request(session, Request::Delete(self.target(target)));
                Some(Requested { session, succeeds: None })
            }
            Step::Room { author, room, change } => {
                let Some(session) = self.session(author) else { return Ok(()) };
                Some(self.change_room(harness, session, room, change))
            }
            Step::Wait(millis) => {
                harness.wait(Duration::from_millis(millis));
                None
            }
        };
        self.check(harness, requested.as_ref())
    }

    fn join(
        &mut self,
        harness: &mut HubHarness,
        key: Option<u8>,
        is_extended: bool,
    ) -> Result<(), TestCaseError> {
        self.n_joined += 1;
        let user = match key {
            Some(key) => harness.join_with_key(self.n_joined, "Ann", Some([key; 32])),
            None if is_extended => harness.join(self.n_joined, "Bob", Dialect::Extended),
            None => harness.join(self.n_joined, "Bob", Dialect::Original),
        };
        if let Some(known) = key.and_then(|key| self.by_key.get(&key)) {
            prop_assert_eq!(known, &user, "an ID belongs to its key");
        } else {
            prop_assert!(!self.all_users.contains(&user), "an ID was issued twice");
            self.all_users.push(user.clone());
            self.by_key.extend(key.map(|key| (key, user.clone())));
        }
        self.online.insert(self.n_joined, user);
        Ok(())
    }

    fn post(
        &self,
        harness: &mut HubHarness,
        session: u64,
        to: To,
        kind: u32,
        target: usize,
    ) -> Requested {
        let audience = match to {
            To::Room(room) => Audience::Room(room),
            To::Users(picks) => {
                let picked = picks.iter().filter_map(|pick| self.all_users.get(*pick).cloned());
                let named: BTreeSet<_> = picked.collect();
                if named.is_empty() { Audience::Everyone } else { Audience::Only(named) }
            }
        };
        let kind = match kind {
            0 => PostKind::Plain,
            1 => PostKind::Temporary { seconds: 2 },
            _ => PostKind::Reply { to: self.target(target) },
        };
        // A reply to something else fails, or goes where its original is.
        let succeeds = match (&audience, kind) {
            (Audience::Room(room), PostKind::Plain | PostKind::Temporary { .. }) => {
                Some(self.since(room, &self.online[&session]).is_some())
            }
            _ => None,
        };
        harness.request(session, post(audience, kind));
        Requested { session, succeeds }
    }

    /// Changes the room in the model, too, if the request has to succeed.
    fn change_room(
        &mut self,
        harness: &mut HubHarness,
        session: u64,
        room: RoomName,
        change: Change,
    ) -> Requested {
        let by = self.online[&session].clone();
        let since = self.since(&room, &by);
        let known = self.rooms.get(&room);
        let is_private = known.is_some_and(|known| known.private);
        let (action, joins) = match change {
            Change::Create { private } => {
                let action = RoomAction::Create { private, topic: SafeText::default() };
                (action, known.is_none().then(|| (by.clone(), Some(Seq(0)))))
            }
            Change::Join => {
                let is_open = known.is_some() && !is_private && since.is_none();
                (RoomAction::Join, is_open.then(|| (by.clone(), Some(Seq(0)))))
            }
            Change::Leave => (RoomAction::Leave, since.map(|_| (by.clone(), None))),
            Change::Add { user, history } => {
                let user = self.all_users[user % self.all_users.len()].clone();
                let is_new = self.is_registered(&user) && self.since(&room, &user).is_none();
                let from = match history {
                    SharedHistory::Now if is_private => Some(Seq(harness.head + 1)),
                    SharedHistory::Now | SharedHistory::All => since,
                };
                let joins = (is_new && since.is_some()).then(|| (user.clone(), from));
                (RoomAction::Add { users: vec![user], history }, joins)
            }
        };
        let joins = joins.filter(|_| self.is_registered(&by));
        let succeeds = Some(joins.is_some());
        if let Some((user, since)) = joins {
            let private = matches!(change, Change::Create { private: true });
            let known = || KnownRoom { private, members: BTreeMap::new() };
            let members = &mut self.rooms.entry(room.clone()).or_insert_with(known).members;
            match since {
                Some(since) => members.insert(user, since),
                None => members.remove(&user),
            };
        }
        harness.request(session, Request::Room { room, action });
        Requested { session, succeeds }
    }

    fn check(
        &mut self,
        harness: &mut HubHarness,
        request: Option<&Requested>,
    ) -> Result<(), TestCaseError> {
        let requester = request.map(|request| request.session);
        let mut answers = 0;
        let mut events: Vec<(Event, BTreeSet<u64>)> = Vec::new();
        for (session, event) in harness.take_sent() {
            prop_assert!(self.online.contains_key(&session), "sent to a session that left");
            match &event {
                Event::Error(_) | Event::Stored(_) => {
                    prop_assert_eq!(Some(session), requester);
                    answers += 1;
                }
                Event::Posted(_)
                | Event::Deleted(_)
                | Event::Expired { .. }
                | Event::RoomChanged(_) => match events.last_mut() {
                    Some((last, to)) if *last == event => {
                        prop_assert!(to.insert(session), "sent twice");
                    }
                    Some(_) | None => events.push((event, BTreeSet::from([session]))),
                },
                _ => {}
            }
        }
        let mut succeeded = false;
        for (event, to) in events {
            let is_answer = self.on_event(harness, &event, &to, requester)?;
            answers += usize::from(is_answer);
            succeeded |= is_answer;
        }
        prop_assert_eq!(
            answers,
            usize::from(requester.is_some()),
            "exactly one answer to a request"
        );
        if let Some(succeeds) = request.and_then(|request| request.succeeds) {
            prop_assert_eq!(succeeded, succeeds, "members alone may");
        }
        self.expire(harness)
    }

    /// An expiry is not announced if the whole audience has left.
    fn expire(&mut self, harness: &HubHarness) -> Result<(), TestCaseError> {
        let is_due = |at: Millis| at <= harness.millis();
        let due: Vec<MessageId> = (self.messages.iter())
            .filter(|(_, known)| !known.removed && known.expires.is_some_and(is_due))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let known = &self.messages[&id];
            let viewers = self.sessions_of(|user| self.sees(user, known));
            prop_assert!(viewers.is_empty(), "not expired");
            self.messages.get_mut(&id).unwrap().removed = true;
        }
        Ok(())
    }

    /// Updates the model. Returns whether the event answers the request of `requester`.
    fn on_event(
        &mut self,
        harness: &HubHarness,
        event: &Event,
        to: &BTreeSet<u64>,
        requester: Option<u64>,
    ) -> Result<bool, TestCaseError> {
        let by = match event {
            Event::Posted(message) => {
                self.on_posted(message, to)?;
                Some(&message.sender)
            }
            Event::Deleted(deleted) => {
                self.advance_head(deleted.seq)?;
                prop_assert_eq!(&self.messages[&deleted.id].sender, &deleted.author);
                self.remove_message(deleted.id, to)?;
                Some(&deleted.author)
            }
            Event::Expired { seq, id } => {
                self.advance_head(*seq)?;
                let expires = self.messages[id].expires;
                prop_assert!(expires.is_some_and(|at| at <= harness.millis()), "too early");
                self.remove_message(*id, to)?;
                None
            }
            Event::RoomChanged(changed) => {
                self.advance_head(changed.seq)?;
                let by = changed.by.as_ref();
                let told = self.sessions_of(|user| {
                    self.since(&changed.room, user).is_some() || Some(user) == by
                });
                prop_assert_eq!(to, &told, "sent to exactly the members and who has left");
                by
            }
            other => panic!("{other:?}"),
        };
        Ok(by.is_some() && by == requester.and_then(|session| self.online.get(&session)))
    }

    fn on_posted(&mut self, message: &Message, to: &BTreeSet<u64>) -> Result<(), TestCaseError> {
        self.advance_head(message.seq)?;
        prop_assert!(!self.messages.contains_key(&message.id), "an id was allocated twice");
        let known = KnownMessage {
            seq: message.seq,
            sender: message.sender.clone(),
            audience: message.audience.clone(),
            expires: message.expires(),
            removed: false,
        };
        let viewers = self.sessions_of(|user| self.sees(user, &known));
        prop_assert_eq!(to, &viewers, "sent to exactly the audience");
        if let Some(target) = message.reply_to().map(|id| &self.messages[&id]) {
            prop_assert!(!target.removed, "a reply to a removed message");
            prop_assert!(self.sees(&message.sender, target), "a reply to a hidden message");
            let stays = match &target.audience {
                // Those who came later see the reply, not its original.
                Audience::Room(_) => message.audience == target.audience,
                Audience::Everyone | Audience::Only(_) => {
                    self.sessions_of(|user| self.sees(user, target)).is_superset(to)
                }
            };
            prop_assert!(stays, "wider than the original message");
        }
        self.messages.insert(message.id, known);
        self.ids.push(message.id);
        Ok(())
    }

    fn advance_head(&mut self, seq: Seq) -> Result<(), TestCaseError> {
        prop_assert!(seq.0 > self.head, "out of order");
        self.head = seq.0;
        Ok(())
    }

    fn remove_message(&mut self, id: MessageId, to: &BTreeSet<u64>) -> Result<(), TestCaseError> {
        let known = &self.messages[&id];
        prop_assert!(!known.removed, "removed twice");
        let viewers = self.sessions_of(|user| self.sees(user, known));
        prop_assert_eq!(to, &viewers, "sent to exactly the audience");
        self.messages.get_mut(&id).unwrap().removed = true;
        Ok(())
    }
}

proptest! {
    #[test]
    fn random_steps_match_the_model(steps in proptest::collection::vec(step(), 1..60)) {
        let mut harness = HubHarness::new();
        let mut model = Model::default();
        for step in steps {
            model.run_step(&mut harness, step)?;
        }
        harness.wait(Duration::from_secs(3));
        model.check(&mut harness, None)?;
    }
}
