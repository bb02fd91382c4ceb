//! The room's rules, one table or story each.

use std::time::Duration;

use chrono::DateTime;

use super::*;
use crate::protocol::event::Deleted;
use crate::protocol::id::{ClientId, MessageId};
use crate::protocol::message::{Kind, Message};
use crate::protocol::request::{Dialect, Say, SayKind};
use crate::protocol::text::SafeText;
use crate::server::limits;

/// A hub with a clock of its own, and everything that each session was told.
pub(super) struct Room {
    hub: Hub,
    now: Now,
    told: Vec<(SessionId, Event)>,
    closed: Vec<SessionId>,
    here: Vec<SessionId>,
    head: u64,
}

impl Room {
    pub(super) fn new() -> Self {
        let mono = crate::server::tests::mono();
        let wall = DateTime::from_timestamp_millis(1_800_000_000_000).unwrap().fixed_offset();
        let hub = Hub::new(7);
        Self { hub, now: Now { mono, wall }, told: vec![], closed: vec![], here: vec![], head: 0 }
    }

    pub(super) fn input(&mut self, input: Input) {
        for effect in self.hub.handle(self.now, input) {
            match effect {
                Effect::Send { to, event } => {
                    if let Some(seq) = seq(&event) {
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
                Effect::Close(session) => {
                    self.here.retain(|here| *here != session);
                    self.closed.push(session);
                }
            }
        }
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
        let id = SessionId(session);
        self.here.push(id);
        let login = Login { username: name.to_owned(), dialect };
        self.input(Input::Login { session: id, login });
        self.hub.roster.user(id).unwrap()
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

    pub(super) fn ask(&mut self, session: u64, request: Request) {
        self.ask_as(session, None, Ok(request));
    }

    fn ask_as(&mut self, session: u64, cid: Option<&str>, request: Result<Request, Refusal>) {
        let cid: Option<ClientId> = cid.map(|cid| cid.parse().unwrap());
        self.input(Input::Request { session: SessionId(session), request: (cid, request) });
    }

    /// What everybody was told since the last time, by session.
    pub(super) fn told(&mut self) -> Vec<(u64, Event)> {
        self.told.drain(..).map(|(session, event)| (session.0, event)).collect()
    }

    /// The one message that was told, and to whom.
    fn said(&mut self) -> (Vec<u64>, Message) {
        let told = self.told();
        let to = told.iter().map(|(session, _)| *session).collect();
        let Some((_, Event::Said(message))) = told.into_iter().next() else {
            panic!("no message was told");
        };
        (to, message)
    }

    /// The code of the one error that was told, which `session` alone must have got.
    fn refused(&mut self, session: u64) -> ErrorCode {
        let told = self.told();
        let [(to, Event::Refused(refused))] = told.as_slice() else {
            panic!("not one refusal: {told:?}");
        };
        assert_eq!(*to, session);
        refused.code
    }
}

fn seq(event: &Event) -> Option<Seq> {
    match event {
        Event::Said(message) => Some(message.seq),
        Event::Deleted(deleted) => Some(deleted.seq),
        Event::Expired { seq, .. } => Some(*seq),
        Event::LoginPrompt
        | Event::Welcome(_)
        | Event::LoginRefused(_)
        | Event::People(_)
        | Event::Presence { .. }
        | Event::Refused(_)
        | Event::Closing(_) => None,
    }
}

pub(super) fn say(audience: Audience, kind: SayKind) -> Request {
    Request::Say(Say { audience, kind, content: SafeText::clean("hi") })
}

pub(super) fn only(people: &[&UserId]) -> Audience {
    Audience::Only(people.iter().map(|user| (*user).clone()).collect())
}

const PLAIN: SayKind = SayKind::Plain;

fn reply(to: MessageId) -> SayKind {
    SayKind::Reply { to }
}

#[test]
fn a_login_is_welcomed_and_told_of_the_others() {
    let mut room = Room::new();
    let ann = room.ours(1, "Ann");
    let bob = room.join(2, "Bob", Dialect::Extended);
    let told = room.told();
    let [(2, Event::Welcome(welcome)), (2, Event::People(people)), (1, presence)] = told.as_slice()
    else {
        panic!("{told:?}");
    };
    assert_eq!((&welcome.user, welcome.head, people), (&bob, Seq(0), &vec![ann]));
    assert_eq!(*presence, Event::Presence { joined: vec![bob], left: vec![] });
}

#[test]
fn a_name_that_is_none_is_refused_and_the_session_closed() {
    let mut room = Room::new();
    let login = Login { username: "a b".to_owned(), dialect: Dialect::Original };
    room.input(Input::Login { session: SessionId(1), login });
    let told = room.told();
    let [(1, Event::LoginRefused(refused))] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(refused.code, ErrorCode::BadName);
    assert_eq!(room.closed, [SessionId(1)]);
}

#[test]
fn messages_go_to_their_people_and_back_to_the_sender() {
    let mut room = Room::new();
    let (ann, bob) = (room.ours(1, "Ann"), room.ours(2, "Bob"));
    let kim = room.ours(3, "Kim");
    room.ask(1, say(Audience::Everyone, PLAIN));
    let (to, message) = room.said();
    assert_eq!(to, [1, 2, 3]);
    assert_eq!((message.seq, &message.sender), (Seq(1), &ann));

    room.ask(1, say(only(&[&ann, &kim]), PLAIN));
    let (to, message) = room.said();
    assert_eq!((to, message.audience), (vec![1, 3], only(&[&kim])));

    room.ask_as(2, Some("c-1"), Ok(say(only(&[&ann, &kim]), PLAIN)));
    let (to, message) = room.said();
    assert_eq!((to, message.sender), (vec![2, 1, 3], bob));
    assert_eq!(message.cid.unwrap().to_string(), "c-1");
}

#[test]
fn what_cannot_be_done_is_said_to_its_sender_alone() {
    let mut room = Room::new();
    let (ann, bob) = (room.ours(1, "Ann"), room.ours(2, "Bob"));
    room.ours(3, "Kim");
    room.ask(1, say(only(&[&bob]), PLAIN));
    let (_, private) = room.said();
    room.ask(2, say(Audience::Everyone, PLAIN));
    let (_, public) = room.said();
    let nobody: UserId = "Zed_0000".parse().unwrap();
    let unknown: MessageId = "999999".parse().unwrap();
    for (session, request, code) in [
        (1, say(only(&[&nobody]), PLAIN), ErrorCode::UnknownRecipient),
        (1, say(only(&[&bob, &nobody]), PLAIN), ErrorCode::UnknownRecipient),
        (1, say(only(&[&ann]), PLAIN), ErrorCode::NoRecipient),
        (1, say(Audience::Everyone, reply(unknown)), ErrorCode::UnknownMessage),
        (3, say(Audience::Everyone, reply(private.id)), ErrorCode::UnknownMessage),
        (1, say(only(&[&nobody]), reply(public.id)), ErrorCode::UnknownRecipient),
        (1, say(only(&[&ann]), reply(public.id)), ErrorCode::NoRecipient),
        (1, Request::Delete(public.id), ErrorCode::NotYours),
        (2, Request::Delete(private.id), ErrorCode::NotYours),
        (3, Request::Delete(private.id), ErrorCode::UnknownMessage),
        (1, Request::Delete(unknown), ErrorCode::UnknownMessage),
    ] {
        room.ask(session, request.clone());
        assert_eq!(room.refused(session), code, "{request:?}");
    }
    room.ask_as(1, None, Err(Refusal::EmptyContent));
    assert_eq!(room.refused(1), ErrorCode::EmptyContent);
    room.ask(1, Request::Search);
    room.ask(9, Request::Delete(public.id));
    assert_eq!(room.told(), [], "a search is ignored, and so is whoever is not logged in");
}

#[test]
fn a_reply_never_goes_further_than_what_it_replies_to() {
    let mut room = Room::new();
    let (ann, bob, kim) = (room.ours(1, "Ann"), room.ours(2, "Bob"), room.ours(3, "Kim"));
    let zoe = room.ours(4, "Zoe");
    room.ask(1, say(only(&[&bob, &kim]), PLAIN));
    let (_, private) = room.said();
    for wanted in [Audience::Everyone, only(&[&ann, &bob, &kim])] {
        room.ask(2, say(wanted, reply(private.id)));
        let (to, answer) = room.said();
        assert_eq!((to, answer.audience), (vec![2, 1, 3], only(&[&ann, &kim])));
    }
    room.ask(2, say(only(&[&ann]), reply(private.id)));
    assert_eq!(room.said().1.audience, only(&[&ann]));
    room.ask(2, say(only(&[&ann, &zoe]), reply(private.id)));
    assert_eq!(room.refused(2), ErrorCode::UnknownRecipient);

    room.ask(1, say(Audience::Everyone, PLAIN));
    let (_, public) = room.said();
    room.ask(2, say(only(&[&zoe]), reply(public.id)));
    assert_eq!(room.said().0, [2, 4]);
    room.ask(2, say(Audience::Everyone, reply(public.id)));
    assert_eq!(room.said().0, [1, 2, 3, 4]);
}

#[test]
fn a_reply_drops_who_has_left_unless_nobody_remains() {
    let mut room = Room::new();
    room.ours(1, "Ann");
    let (bob, kim) = (room.ours(2, "Bob"), room.ours(3, "Kim"));
    room.ask(1, say(only(&[&bob, &kim]), PLAIN));
    let (_, private) = room.said();
    room.ask(1, say(Audience::Everyone, PLAIN));
    let (_, public) = room.said();
    room.leave(3);
    room.wait(limits::PRESENCE_PAUSE);
    room.told.clear();
    for to in [private.id, public.id] {
        room.ask(1, say(only(&[&bob, &kim]), reply(to)));
        assert_eq!(room.said().1.audience, only(&[&bob]));
        room.ask(1, say(only(&[&kim]), reply(to)));
        assert_eq!(room.refused(1), ErrorCode::UnknownRecipient);
    }
}

#[test]
fn a_removed_message_is_gone_for_all_who_have_it() {
    let mut room = Room::new();
    let (ann, bob) = (room.ours(1, "Ann"), room.ours(2, "Bob"));
    room.ours(3, "Kim");
    room.ask(1, say(only(&[&bob]), PLAIN));
    let (_, message) = room.said();
    room.ask_as(1, Some("d-1"), Ok(Request::Delete(message.id)));
    let cid = Some("d-1".parse().unwrap());
    let gone = Event::Deleted(Deleted { seq: Seq(2), id: message.id, by: ann, cid });
    assert_eq!(room.told(), [(1, gone.clone()), (2, gone)]);
    room.ask(1, Request::Delete(message.id));
    assert_eq!(room.refused(1), ErrorCode::UnknownMessage);
    room.ask(2, say(Audience::Everyone, reply(message.id)));
    assert_eq!(room.refused(2), ErrorCode::UnknownMessage);
}

#[test]
fn a_temporary_message_expires_once_and_on_time() {
    let mut room = Room::new();
    let bob = room.ours(1, "Bob");
    room.ours(2, "Ann");
    room.ours(3, "Kim");
    room.ask(2, say(only(&[&bob]), SayKind::Temporary { seconds: 10 }));
    let (_, message) = room.said();
    let at = message.at.timestamp_millis() + 10_000;
    assert_eq!(message.kind, Kind::Temporary { expires: at });
    room.wait(Duration::from_millis(9_999));
    assert_eq!(room.told(), []);
    room.ask(1, say(Audience::Everyone, reply(message.id)));
    assert_eq!(room.said().0, [1, 2]);
    room.wait(Duration::from_millis(1));
    let gone = Event::Expired { seq: Seq(3), id: message.id };
    assert_eq!(room.told(), [(2, gone.clone()), (1, gone)]);
    room.ask(1, say(Audience::Everyone, reply(message.id)));
    assert_eq!(room.refused(1), ErrorCode::UnknownMessage);
    room.wait(Duration::from_hours(1));
    assert_eq!(room.told(), []);
}

#[test]
fn a_removed_temporary_message_does_not_expire() {
    let mut room = Room::new();
    room.ours(1, "Ann");
    room.ask(1, say(Audience::Everyone, SayKind::Temporary { seconds: 1 }));
    let (_, message) = room.said();
    room.ask(1, Request::Delete(message.id));
    room.told.clear();
    room.wait(Duration::from_mins(1));
    assert_eq!(room.told(), []);
    assert_eq!(room.hub.next_deadline(room.now), None);
}

#[test]
fn comings_and_goings_are_told_four_times_a_second_at_most() {
    let mut room = Room::new();
    room.ours(1, "Ann");
    let bob = room.join(2, "Bob", Dialect::Extended);
    let kim = room.join(3, "Kim", Dialect::Extended);
    let zed = room.join(4, "Zed", Dialect::Extended);
    room.leave(2);
    let presence = |room: &mut Room| {
        let mut told = room.told();
        told.retain(|(_, event)| matches!(event, Event::Presence { .. }));
        told
    };
    let news = |joined: &[&UserId], left: &[&UserId]| Event::Presence {
        joined: joined.iter().map(|user| (*user).clone()).collect(),
        left: left.iter().map(|user| (*user).clone()).collect(),
    };
    assert_eq!(presence(&mut room), [(1, news(&[&bob], &[]))], "the first at once");
    room.wait(limits::PRESENCE_PAUSE.saturating_sub(Duration::from_millis(1)));
    assert_eq!(presence(&mut room), []);
    room.wait(Duration::from_millis(1));
    let expected =
        [(3, news(&[&zed], &[&bob])), (4, news(&[], &[&bob])), (1, news(&[&kim, &zed], &[&bob]))];
    assert_eq!(presence(&mut room), expected, "to each what it does not know");
    room.leave(4);
    room.wait(limits::PRESENCE_PAUSE);
    assert_eq!(presence(&mut room), [(1, news(&[], &[&zed])), (3, news(&[], &[&zed]))]);
}

#[test]
fn who_comes_and_goes_within_a_pause_is_not_mentioned_but_to_who_saw_them() {
    let mut room = Room::new();
    room.ours(1, "Ann");
    room.join(2, "Bob", Dialect::Extended);
    room.told.clear();
    room.join(3, "Kim", Dialect::Extended);
    room.leave(3);
    room.wait(limits::PRESENCE_PAUSE * 4);
    let told = room.told();
    assert!(!told.iter().any(|(_, event)| matches!(event, Event::Presence { .. })), "{told:?}");

    room.join(4, "Zed", Dialect::Extended);
    let kim = room.join(5, "Kim", Dialect::Extended);
    room.join(6, "Zoe", Dialect::Extended);
    room.leave(5);
    room.told.clear();
    room.wait(limits::PRESENCE_PAUSE);
    let told = room.told();
    let zoe = told.iter().find(|(session, _)| *session == 6).unwrap();
    assert_eq!(zoe.1, Event::Presence { joined: vec![], left: vec![kim] });
}

#[test]
fn an_original_client_gets_the_list_of_the_others() {
    let mut room = Room::new();
    let ann = room.join(1, "Ann", Dialect::Original);
    assert_eq!(room.told()[1], (1, Event::People(vec![])));
    room.wait(limits::PRESENCE_PAUSE);
    let bob = room.join(2, "Bob", Dialect::Original);
    let told = room.told();
    assert!(matches!(told[0], (2, Event::Welcome(_))));
    assert_eq!(told[1..], [(2, Event::People(vec![ann])), (1, Event::People(vec![bob]))]);
    room.leave(2);
    assert_eq!(room.told(), []);
    room.wait(limits::PRESENCE_PAUSE);
    assert_eq!(room.told(), [(1, Event::People(vec![]))]);
}

#[test]
fn leaving_and_saying_too_much_end_a_session() {
    let mut room = Room::new();
    room.ours(1, "Ann");
    let bob = room.ours(2, "Bob");
    room.ask(2, Request::Exit);
    assert_eq!(room.told(), [(1, Event::Presence { joined: vec![], left: vec![bob] })]);
    room.ask_as(1, None, Err(Refusal::FrameTooLong(10)));
    assert!(matches!(room.told()[..], [(1, Event::Refused(_)), (1, Event::Closing(_))]));
    assert_eq!(room.closed, [SessionId(2), SessionId(1)]);
}

#[test]
fn the_ledger_is_bounded_and_a_temporary_message_goes_with_it() {
    let mut room = Room::new();
    room.ours(1, "Ann");
    room.ask(1, say(Audience::Everyone, SayKind::Temporary { seconds: 3_600 }));
    let (_, first) = room.said();
    for _ in 1..limits::LEDGER_MESSAGES {
        room.ask(1, say(Audience::Everyone, PLAIN));
    }
    room.told.clear();
    room.ask(1, say(Audience::Everyone, PLAIN));
    let told = room.told();
    assert!(matches!(told[1], (1, Event::Expired { id, .. }) if id == first.id));
}
