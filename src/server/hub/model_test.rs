//! Model test: random steps against a simple model of the messages and of who may see them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::harness::{HubHarness, post};
use super::*;
use crate::protocol::id::MessageId;
use crate::protocol::message::Audience;
use crate::protocol::request::{Dialect, PostKind, Request};

#[derive(Debug, Clone)]
enum Step {
    Join(bool),
    Leave(usize),
    Post { author: usize, to: Vec<usize>, kind: u32, target: usize },
    Delete { author: usize, target: usize },
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let to = proptest::collection::vec(0..8_usize, 0..3);
    prop_oneof![
        2 => any::<bool>().prop_map(Step::Join),
        1 => (0..8_usize).prop_map(Step::Leave),
        6 => (0..8_usize, to, 0..3_u32, 0..20_usize)
            .prop_map(|(author, to, kind, target)| Step::Post { author, to, kind, target }),
        2 => (0..8_usize, 0..20_usize).prop_map(|(author, target)| Step::Delete { author, target }),
        1 => (0..4_000_u64).prop_map(Step::Wait),
    ]
}

/// A message as the events about it describe it.
struct KnownMessage {
    sender: UserId,
    sessions: BTreeSet<u64>,
    expires: Option<Millis>,
    removed: bool,
}

#[derive(Default)]
struct Model {
    /// The online users, by session.
    online: BTreeMap<u64, UserId>,
    all_users: Vec<UserId>,
    messages: BTreeMap<MessageId, KnownMessage>,
    ids: Vec<MessageId>,
    head: u64,
    n_joined: u64,
}

impl Model {
    fn session(&self, pick: usize) -> Option<u64> {
        self.online.keys().copied().nth(pick)
    }

    fn target(&self, pick: usize) -> MessageId {
        self.ids.get(pick).copied().unwrap_or_else(|| "999999".parse().unwrap())
    }

    fn run_step(&mut self, harness: &mut HubHarness, step: Step) -> Result<(), TestCaseError> {
        let requester = match step {
            Step::Join(is_extended) => {
                self.n_joined += 1;
                let dialect = if is_extended { Dialect::Extended } else { Dialect::Original };
                let user = harness.join(self.n_joined, "Bob", dialect);
                prop_assert!(!self.all_users.contains(&user), "an ID was issued twice");
                self.all_users.push(user.clone());
                self.online.insert(self.n_joined, user);
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
                let recipients: BTreeSet<_> =
                    to.iter().filter_map(|pick| self.all_users.get(*pick).cloned()).collect();
                let audience = if recipients.is_empty() {
                    Audience::Everyone
                } else {
                    Audience::Only(recipients)
                };
                let kind = match kind {
                    0 => PostKind::Plain,
                    1 => PostKind::Temporary { seconds: 2 },
                    _ => PostKind::Reply { to: self.target(target) },
                };
                harness.request(session, post(audience, kind));
                Some(session)
            }
            Step::Delete { author, target } => {
                let Some(session) = self.session(author) else { return Ok(()) };
                harness.request(session, Request::Delete(self.target(target)));
                Some(session)
            }
            Step::Wait(millis) => {
                harness.wait(Duration::from_millis(millis));
                None
            }
        };
        self.check(harness, requester)
    }

    fn check(
        &mut self,
        harness: &mut HubHarness,
        requester: Option<u64>,
    ) -> Result<(), TestCaseError> {
        let mut answers = 0;
        let mut events: Vec<(Event, BTreeSet<u64>)> = Vec::new();
        for (session, event) in harness.take_sent() {
            prop_assert!(self.online.contains_key(&session), "sent to a session that left");
            match &event {
                Event::Error(_) => {
                    prop_assert_eq!(Some(session), requester);
                    answers += 1;
                }
                Event::Posted(_) | Event::Deleted(_) | Event::Expired { .. } => {
                    match events.last_mut() {
                        Some((last, to)) if *last == event => {
                            prop_assert!(to.insert(session), "sent twice");
                        }
                        Some(_) | None => events.push((event, BTreeSet::from([session]))),
                    }
                }
                _ => {}
            }
        }
        for (event, to) in events {
            answers += usize::from(self.on_event(harness, &event, &to, requester)?);
        }
        prop_assert_eq!(
            answers,
            usize::from(requester.is_some()),
            "exactly one answer to a request"
        );
        // An expiry is not announced if the whole audience has left.
        for known in self.messages.values_mut() {
            if !known.removed && known.expires.is_some_and(|at| at <= harness.millis()) {
                let all_left =
                    known.sessions.iter().all(|session| !self.online.contains_key(session));
                prop_assert!(all_left, "not expired");
                known.removed = true;
            }
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
        match event {
            Event::Posted(message) => {
                self.advance_head(message.seq)?;
                prop_assert!(!self.messages.contains_key(&message.id), "an id was allocated twice");
                let mut audience: BTreeSet<_> = self.online.clone().into_iter().collect();
                audience.retain(|(_, user)| {
                    let is_named = match &message.audience {
                        Audience::Only(named) => named.contains(user),
                        Audience::Everyone | Audience::Room(_) => true,
                    };
                    message.sender == *user || is_named
                });
                let audience: BTreeSet<_> =
                    audience.into_iter().map(|(session, _)| session).collect();
                prop_assert_eq!(to, &audience, "sent to exactly the audience");
                if let Some(target) = message.reply_to().map(|id| &self.messages[&id]) {
                    prop_assert!(!target.removed, "a reply to a removed message");
                    prop_assert!(
                        target.sessions.is_superset(to),
                        "wider than the original message"
                    );
                }
                let known = KnownMessage {
                    sender: message.sender.clone(),
                    sessions: match message.audience {
                        Audience::Everyone => (0..1_000).collect(),
                        Audience::Only(_) | Audience::Room(_) => audience,
                    },
                    expires: message.expires(),
                    removed: false,
                };
                self.messages.insert(message.id, known);
                self.ids.push(message.id);
                Ok(requester.and_then(|requester| self.online.get(&requester))
                    == Some(&message.sender))
            }
            Event::Deleted(deleted) => {
                self.advance_head(deleted.seq)?;
                prop_assert_eq!(&self.messages[&deleted.id].sender, &deleted.author);
                self.remove_message(deleted.id, to)?;
                Ok(requester.and_then(|requester| self.online.get(&requester))
                    == Some(&deleted.author))
            }
            Event::Expired { seq, id } => {
                self.advance_head(*seq)?;
                let expires = self.messages[id].expires;
                prop_assert!(expires.is_some_and(|at| at <= harness.millis()), "too early");
                self.remove_message(*id, to)?;
                Ok(false)
            }
            other => panic!("{other:?}"),
        }
    }

    fn advance_head(&mut self, seq: Seq) -> Result<(), TestCaseError> {
        prop_assert!(seq.0 > self.head, "out of order");
        self.head = seq.0;
        Ok(())
    }

    fn remove_message(&mut self, id: MessageId, to: &BTreeSet<u64>) -> Result<(), TestCaseError> {
        let known = self.messages.get_mut(&id).unwrap();
        prop_assert!(!known.removed, "removed twice");
        known.removed = true;
        let mut audience = known.sessions.clone();
        audience.retain(|session| self.online.contains_key(session));
        prop_assert_eq!(to, &audience, "sent to exactly the audience");
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
