//! Random histories against a small model of what each message is and who may know of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::rig::{Room, say};
use super::*;
use crate::protocol::id::MessageId;
use crate::protocol::request::{Dialect, SayKind};

#[derive(Debug, Clone)]
enum Step {
    Join(bool),
    Leave(usize),
    Say { by: usize, to: Vec<usize>, kind: u32, target: usize },
    Delete { by: usize, target: usize },
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let to = proptest::collection::vec(0..8_usize, 0..3);
    prop_oneof![
        2 => any::<bool>().prop_map(Step::Join),
        1 => (0..8_usize).prop_map(Step::Leave),
        6 => (0..8_usize, to, 0..3_u32, 0..20_usize)
            .prop_map(|(by, to, kind, target)| Step::Say { by, to, kind, target }),
        2 => (0..8_usize, 0..20_usize).prop_map(|(by, target)| Step::Delete { by, target }),
        1 => (0..4_000_u64).prop_map(Step::Wait),
    ]
}

/// What is known of a message from having been told of it.
struct Known {
    sender: UserId,
    people: BTreeSet<u64>,
    expires: Option<Millis>,
    gone: bool,
}

#[derive(Default)]
struct Model {
    /// Who is here, by session.
    people: BTreeMap<u64, UserId>,
    everybody: Vec<UserId>,
    messages: BTreeMap<MessageId, Known>,
    order: Vec<MessageId>,
    head: u64,
    joined: u64,
}

impl Model {
    fn session(&self, pick: usize) -> Option<u64> {
        self.people.keys().copied().nth(pick)
    }

    fn target(&self, pick: usize) -> MessageId {
        self.order.get(pick).copied().unwrap_or_else(|| "999999".parse().unwrap())
    }

    fn take(&mut self, room: &mut Room, step: Step) -> Result<(), TestCaseError> {
        let asker = match step {
            Step::Join(ours) => {
                self.joined += 1;
                let dialect = if ours { Dialect::Extended } else { Dialect::Original };
                let user = room.join(self.joined, "Bob", dialect);
                prop_assert!(!self.everybody.contains(&user), "an ID given twice");
                self.everybody.push(user.clone());
                self.people.insert(self.joined, user);
                None
            }
            Step::Leave(pick) => {
                if let Some(session) = self.session(pick) {
                    self.people.remove(&session);
                    room.leave(session);
                }
                None
            }
            Step::Say { by, to, kind, target } => {
                let Some(session) = self.session(by) else { return Ok(()) };
                let people: BTreeSet<_> =
                    to.iter().filter_map(|pick| self.everybody.get(*pick).cloned()).collect();
                let audience =
                    if people.is_empty() { Audience::Everyone } else { Audience::Only(people) };
                let kind = match kind {
                    0 => SayKind::Plain,
                    1 => SayKind::Temporary { seconds: 2 },
                    _ => SayKind::Reply { to: self.target(target) },
                };
                room.ask(session, say(audience, kind));
                Some(session)
            }
            Step::Delete { by, target } => {
                let Some(session) = self.session(by) else { return Ok(()) };
                room.ask(session, Request::Delete(self.target(target)));
                Some(session)
            }
            Step::Wait(millis) => {
                room.wait(Duration::from_millis(millis));
                None
            }
        };
        self.check(room, asker)
    }

    fn check(&mut self, room: &mut Room, asker: Option<u64>) -> Result<(), TestCaseError> {
        let mut answers = 0;
        let mut events: Vec<(Event, BTreeSet<u64>)> = Vec::new();
        for (session, event) in room.told() {
            prop_assert!(self.people.contains_key(&session), "told to somebody who left");
            match &event {
                Event::Refused(_) => {
                    prop_assert_eq!(Some(session), asker);
                    answers += 1;
                }
                Event::Said(_) | Event::Deleted(_) | Event::Expired { .. } => {
                    match events.last_mut() {
                        Some((last, to)) if *last == event => {
                            prop_assert!(to.insert(session), "told twice");
                        }
                        Some(_) | None => events.push((event, BTreeSet::from([session]))),
                    }
                }
                Event::LoginPrompt
                | Event::Welcome(_)
                | Event::LoginRefused(_)
                | Event::People(_)
                | Event::Presence { .. }
                | Event::Guests(_)
                | Event::Live(_)
                | Event::Stored(_)
                | Event::History(_)
                | Event::Found(_)
                | Event::Pong(_)
                | Event::Closing(_) => {}
            }
        }
        for (event, to) in events {
            answers += usize::from(self.learn(room, &event, &to, asker)?);
        }
        prop_assert_eq!(answers, usize::from(asker.is_some()), "exactly one answer to a request");
        // Whose people have all left, of that nobody was told.
        for known in self.messages.values_mut() {
            if !known.gone && known.expires.is_some_and(|at| at <= room.millis()) {
                let nobody = known.people.iter().all(|session| !self.people.contains_key(session));
                prop_assert!(nobody, "not expired");
                known.gone = true;
            }
        }
        Ok(())
    }

    /// Whether the event answers the request.
    fn learn(
        &mut self,
        room: &Room,
        event: &Event,
        to: &BTreeSet<u64>,
        asker: Option<u64>,
    ) -> Result<bool, TestCaseError> {
        match event {
            Event::Said(message) => {
                self.next(message.seq)?;
                prop_assert!(!self.messages.contains_key(&message.id), "an id given twice");
                let mut people: BTreeSet<_> = self.people.clone().into_iter().collect();
                people.retain(|(_, user)| {
                    message.sender == *user
                        || message.audience.named().is_none_or(|named| named.contains(user))
                });
                let people: BTreeSet<_> = people.into_iter().map(|(session, _)| session).collect();
                prop_assert_eq!(to, &people, "the audience alone, and all of it");
                if let Some(target) = message.reply_to().map(|id| &self.messages[&id]) {
                    prop_assert!(!target.gone, "a reply to what is gone");
                    prop_assert!(target.people.is_superset(to), "wider than its target");
                }
                let known = Known {
                    sender: message.sender.clone(),
                    people: match message.audience {
                        Audience::Everyone => (0..1_000).collect(),
                        Audience::Only(_) => people,
                    },
                    expires: message.expires(),
                    gone: false,
                };
                self.messages.insert(message.id, known);
                self.order.push(message.id);
                Ok(asker.and_then(|asker| self.people.get(&asker)) == Some(&message.sender))
            }
            Event::Deleted(deleted) => {
                self.next(deleted.seq)?;
                prop_assert_eq!(&self.messages[&deleted.id].sender, &deleted.by);
                self.end(deleted.id, to)?;
                Ok(asker.and_then(|asker| self.people.get(&asker)) == Some(&deleted.by))
            }
            Event::Expired { seq, id } => {
                self.next(*seq)?;
                let expires = self.messages[id].expires;
                prop_assert!(expires.is_some_and(|at| at <= room.millis()), "too early");
                self.end(*id, to)?;
                Ok(false)
            }
            other => panic!("{other:?}"),
        }
    }

    fn next(&mut self, seq: Seq) -> Result<(), TestCaseError> {
        prop_assert!(seq.0 > self.head, "out of order");
        self.head = seq.0;
        Ok(())
    }

    fn end(&mut self, id: MessageId, to: &BTreeSet<u64>) -> Result<(), TestCaseError> {
        let known = self.messages.get_mut(&id).unwrap();
        prop_assert!(!known.gone, "gone twice");
        known.gone = true;
        let mut people = known.people.clone();
        people.retain(|session| self.people.contains_key(session));
        prop_assert_eq!(to, &people, "all who have it, and nobody else");
        Ok(())
    }
}

proptest! {
    #[test]
    fn any_history_keeps_the_rules(steps in proptest::collection::vec(step(), 1..60)) {
        let mut room = Room::new();
        let mut model = Model::default();
        for step in steps {
            model.take(&mut room, step)?;
        }
        room.wait(Duration::from_secs(3));
        model.check(&mut room, None)?;
    }
}
