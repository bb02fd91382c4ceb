//! The room's rules, one table or story each.

use std::sync::Arc;
use std::time::Duration;

use super::rig::{PLAIN, Room, here, only, reply, say};
use super::*;
use crate::protocol::error::Refusal;
use crate::protocol::event::Deleted;
use crate::protocol::id::MessageId;
use crate::protocol::message::Kind;
use crate::protocol::request::{Dialect, SayKind};
use crate::server::limits;
use crate::store::{Reader as _, Retention, Store as _, View};

#[test]
fn a_login_is_welcomed_and_told_of_the_others() {
    let mut room = Room::new();
    let ann = room.join_with(1, "Ann", Some([1; 32]));
    room.wait(limits::PRESENCE_PAUSE * 2);
    room.told();
    let bob = room.join_with(2, "Bob", Some([2; 32]));
    let told = room.told();
    let [(2, Event::Welcome(welcome)), (2, Event::People(people)), news @ ..] = told.as_slice()
    else {
        panic!("{told:?}");
    };
    assert_eq!((&welcome.user, welcome.head, &people[..]), (&bob, Seq(0), &[ann][..]));
    let presence = Event::Presence { joined: vec![bob], left: vec![] };
    assert_eq!(news, [(1, presence.clone()), (2, presence)]);
}

#[test]
fn a_name_that_is_none_is_refused_and_the_session_closed() {
    let mut room = Room::new();
    let login = Login::original("a b".to_owned());
    room.input(Input::Login { session: SessionId(1), login, peer: here(None) });
    let told = room.told();
    let [(1, Event::LoginRefused(refused))] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(refused.code, ErrorCode::BadName);
    assert_eq!(room.closed, [SessionId(1)]);
}

#[test]
fn nobody_new_gets_a_name_that_can_be_taken_for_another_in_use() {
    let mut room = Room::new();
    let refused = |room: &mut Room, session: u64, name: &str, key: Option<Key>| {
        room.told.clear();
        let login = Login { dialect: Dialect::Extended, ..Login::original(name.to_owned()) };
        room.input(Input::Login { session: SessionId(session), login, peer: here(key) });
        match room.told().as_slice() {
            [(to, Event::LoginRefused(refused))] if *to == session => Some(refused.code),
            _ => None,
        }
    };
    let bob = room.join_with(1, "Bob", Some([1; 32]));
    room.join(2, "Ann", Dialect::Original);
    for (session, name) in [(3, "B0b"), (4, "bob"), (5, "ANN")] {
        assert_eq!(refused(&mut room, session, name, None), Some(ErrorCode::ConfusableName));
        assert!(room.closed.contains(&SessionId(session)));
    }
    assert_ne!(room.join_with(6, "Bob", Some([2; 32])), bob, "many are called Bob");
    for session in [1, 2, 6] {
        room.leave(session);
    }
    assert_eq!(refused(&mut room, 7, "ann", None), None, "a guest who left does not come back");
    room.restart();
    assert_eq!(refused(&mut room, 8, "bob", None), Some(ErrorCode::ConfusableName));
    assert_eq!(room.join_with(9, "Bob", Some([1; 32])), bob, "who comes back is never refused");
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
fn who_has_shown_no_key_is_marked_wherever_they_are_named() {
    let mut room = Room::new();
    room.join_with(1, "Ann", Some([1; 32]));
    room.wait(limits::PRESENCE_PAUSE * 2);
    room.told();
    let bob = room.join(2, "Bob", Dialect::Original);
    let told = room.told();
    let to_ann: Vec<_> = told.iter().filter(|(to, _)| *to == 1).map(|(_, event)| event).collect();
    let came = Event::Presence { joined: vec![bob.clone()], left: vec![] };
    assert_eq!(to_ann, [&Event::Guests(vec![bob.clone()]), &came], "before they are seen");
    room.join(3, "Kim", Dialect::Extended);
    let told = room.told();
    assert!(told.contains(&(3, Event::Guests(vec![bob]))), "{told:?}");
    room.wait(limits::PRESENCE_PAUSE * 2);
    for (session, guest) in [(1, false), (2, true), (3, true)] {
        room.told();
        room.ask(session, say(Audience::Everyone, PLAIN));
        assert_eq!(room.said().1.guest, guest, "{session}");
    }
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
fn a_direct_message_waits_until_its_people_have_had_it() {
    let mut room = Room::new();
    let bob = room.join_with(2, "Bob", Some([2; 32]));
    room.leave(2);
    room.ours(1, "Ann");
    room.ask(1, say(only(&[&bob]), PLAIN));
    let (_, private) = room.said();
    room.ask(1, say(Audience::Everyone, PLAIN));
    let is_kept = |room: &mut Room| {
        room.wait(Duration::from_hours(1));
        let (now, mut reader) = (room.millis(), room.log.reader().unwrap());
        room.log.sweep(now, Retention::Days(0)).unwrap();
        reader.message(View { viewer: &bob, now }, private.id).unwrap().is_some()
    };
    assert!(is_kept(&mut room));
    room.join_with(2, "Bob", Some([2; 32]));
    let earlier = Seq(private.seq.0 - 1);
    for up_to in [None, Some(earlier)] {
        room.ask(2, Request::Ping(up_to));
        assert!(is_kept(&mut room), "{up_to:?}");
    }
    // Nobody can have had what was not said yet.
    room.ask(2, Request::Ping(Some(Seq(u64::MAX))));
    assert!(!is_kept(&mut room));
    room.ask(1, say(only(&[&bob]), PLAIN));
    let again = room.log.opened().unwrap();
    assert_eq!(again.size.messages, 1, "the next one waits again");
    room.ask(2, Request::Ping(Some(again.head)));
    room.wait(Duration::from_hours(1));
    let now = room.millis();
    room.log.sweep(now, Retention::Days(0)).unwrap();
    assert_eq!(room.log.opened().unwrap().size.messages, 0);
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

fn news(to: &[u64], joined: &[&UserId], left: &[&UserId]) -> Vec<(u64, Event)> {
    let event = Event::Presence {
        joined: joined.iter().map(|user| (*user).clone()).collect(),
        left: left.iter().map(|user| (*user).clone()).collect(),
    };
    to.iter().map(|session| (*session, event.clone())).collect()
}

#[test]
fn comings_and_goings_are_told_four_times_a_second_at_most() {
    let mut room = Room::new();
    room.ours(1, "Ann");
    let bob = room.join(2, "Bob", Dialect::Extended);
    let kim = room.join(3, "Kim", Dialect::Extended);
    let zed = room.join(4, "Zed", Dialect::Extended);
    room.leave(2);
    assert_eq!(room.presence(), news(&[1, 2], &[&bob], &[]), "the first at once");
    room.wait(limits::PRESENCE_PAUSE.saturating_sub(Duration::from_millis(1)));
    assert_eq!(room.presence(), []);
    room.wait(Duration::from_millis(1));
    assert_eq!(room.presence(), news(&[1, 3, 4], &[&kim, &zed], &[&bob]), "the same to all");
    room.leave(4);
    room.wait(limits::PRESENCE_PAUSE);
    assert_eq!(room.presence(), news(&[1, 3], &[], &[&zed]));
}

#[test]
fn who_comes_and_goes_within_a_pause_is_not_mentioned() {
    let mut room = Room::new();
    room.ours(1, "Ann");
    let key = Some([2; 32]);
    let bob = room.join_with(2, "Bob", key);
    room.presence();
    room.join(3, "Kim", Dialect::Extended);
    room.leave(3);
    room.leave(2);
    room.join_with(4, "Bob", key);
    room.wait(limits::PRESENCE_PAUSE * 4);
    assert_eq!(room.presence(), []);
    room.leave(4);
    assert_eq!(room.presence(), news(&[1], &[], &[&bob]));
}

#[test]
fn those_who_come_within_a_pause_share_one_list() {
    let mut room = Room::new();
    let ann = room.ours(1, "Ann");
    let list = |room: &mut Room, session, name: &str| {
        room.join(session, name, Dialect::Extended);
        let lists = room.told().into_iter().filter_map(|(_, event)| match event {
            Event::People(people) => Some(people),
            _ => None,
        });
        lists.last().unwrap()
    };
    list(&mut room, 2, "Bob");
    let kims = list(&mut room, 3, "Kim");
    let zeds = list(&mut room, 4, "Zed");
    assert!(kims.contains(&ann) && Arc::ptr_eq(&kims, &zeds));
    room.wait(limits::PRESENCE_PAUSE);
    assert_eq!(list(&mut room, 5, "Zoe").len(), 4);
}

/// What each of a storm of people is told of those who come is as much as there are people, but not
/// as often.
#[test]
fn the_more_people_the_longer_the_pause() {
    let mut room = Room::new();
    let mut words = 0;
    for session in 0..4_000 {
        room.join(session, "Bob", Dialect::Extended);
        let told = room.told();
        words += told.iter().filter(|(_, event)| matches!(event, Event::Presence { .. })).count();
        room.wait(Duration::from_millis(1));
    }
    assert!(words < 4_000 * 5, "{words} words");
}

#[test]
fn an_original_client_gets_the_list_of_the_others() {
    let mut room = Room::new();
    // It knows no PRESENCE: the fan-out keeps that from it.
    let lists = |room: &mut Room| {
        let mut told = room.told();
        told.retain(|(_, event)| matches!(event, Event::People(_)));
        told
    };
    let ann = room.join(1, "Ann", Dialect::Original);
    assert_eq!(lists(&mut room), [(1, Event::People([].into()))]);
    room.wait(limits::PRESENCE_PAUSE);
    let bob = room.join(2, "Bob", Dialect::Original);
    let expected = [(2, Event::People([ann].into())), (1, Event::People([bob].into()))];
    assert_eq!(lists(&mut room), expected);
    room.leave(2);
    assert_eq!(lists(&mut room), []);
    room.wait(limits::PRESENCE_PAUSE);
    assert_eq!(lists(&mut room), [(1, Event::People([].into()))]);
}

#[test]
fn leaving_and_saying_too_much_end_a_session() {
    let mut room = Room::new();
    room.ours(1, "Ann");
    let bob = room.ours(2, "Bob");
    room.ask(2, Request::Exit);
    assert_eq!(room.told(), news(&[1], &[], &[&bob]));
    room.ask_as(1, None, Err(Refusal::FrameTooLong(10)));
    assert!(matches!(room.told()[..], [(1, Event::Refused(_)), (1, Event::Closing(_))]));
    assert_eq!(room.closed, [SessionId(2), SessionId(1)]);
}

#[test]
fn what_the_hub_does_not_know_by_heart_it_asks_the_log() {
    let mut room = Room::new();
    let ann = room.join_with(1, "Ann", Some([1; 32]));
    room.told.clear();
    room.ask(1, say(Audience::Everyone, SayKind::Temporary { seconds: 3_600 }));
    let (_, temporary) = room.said();
    room.ask(1, say(Audience::Everyone, PLAIN));
    let (_, plain) = room.said();
    room.restart();
    assert_eq!(room.join_with(1, "Ann", Some([1; 32])), ann);
    let bob = room.ours(2, "Bob");
    room.ask(2, Request::Delete(plain.id));
    assert_eq!(room.refused(2), ErrorCode::NotYours);
    room.ask(2, say(Audience::Everyone, SayKind::Reply { to: plain.id }));
    assert_eq!(room.said().1.sender, bob);
    room.ask(1, Request::Delete(plain.id));
    let told = room.told();
    assert!(matches!(&told[0].1, Event::Deleted(gone) if gone.id == plain.id && gone.by == ann));
    room.ask(1, Request::Delete(plain.id));
    assert_eq!(room.refused(1), ErrorCode::UnknownMessage);
    room.wait(Duration::from_mins(61));
    let told = room.told();
    assert!(told.is_empty(), "nobody here was sent it: the log tells those who were: {told:?}");
    let view = View { viewer: &ann, now: room.millis() };
    let events = room.log.reader().unwrap().events_after(view, Seq(0), 100).unwrap().unwrap();
    let expired = |event: &Event| matches!(event, Event::Expired { id, .. } if *id == temporary.id);
    assert!(events.events.iter().any(expired));
}

#[test]
fn a_repeated_request_does_nothing_and_is_told_what_it_did() {
    let mut room = Room::new();
    room.ours(1, "Ann");
    room.ask_as(1, Some("one"), Ok(say(Audience::Everyone, PLAIN)));
    let (_, first) = room.said();
    let stored = |room: &mut Room| match room.told().as_slice() {
        [(1, Event::Stored(stored))] => stored.clone(),
        other => panic!("{other:?}"),
    };
    for _ in 0..2 {
        room.ask_as(1, Some("one"), Ok(say(Audience::Everyone, PLAIN)));
        assert_eq!(stored(&mut room).id, first.id);
    }
    room.ask_as(1, Some("two"), Ok(Request::Delete(first.id)));
    room.told.clear();
    room.ask_as(1, Some("one"), Ok(say(Audience::Everyone, PLAIN)));
    assert_eq!(stored(&mut room).seq, first.seq, "not even when the message is gone");
}

#[test]
fn a_key_keeps_its_id_over_restarts_and_direct_messages_reach_it_when_away() {
    let mut room = Room::new();
    let bob = room.join_with(1, "Bob", Some([1; 32]));
    let zoe = room.join_with(2, "Zoe", None);
    assert_ne!(room.join_with(3, "Bob", Some([2; 32])), bob, "another key is another person");
    assert_ne!(room.join_with(4, "Rob", Some([1; 32])), bob, "and so is another name");
    assert_eq!(room.join_with(5, "Bob", Some([1; 32])), bob, "the same twice at once");
    room.restart();
    room.told.clear();
    let ann = room.join_with(6, "Ann", None);
    room.told.clear();
    let only = |user: &UserId| Audience::Only([user.clone()].into());
    room.ask(6, say(only(&zoe), PLAIN));
    assert_eq!(room.refused(6), ErrorCode::UnknownRecipient, "nobody inherits an ID without a key");
    room.ask(6, say(only(&bob), PLAIN));
    assert_eq!(room.said().1.sender, ann);
    assert_eq!(room.join_with(7, "Bob", Some([1; 32])), bob);
}

#[test]
fn a_full_disk_is_said_and_nothing_is_told_as_if_it_were_stored() {
    let mut room = Room::new();
    room.ours(1, "Ann");
    room.ask(1, say(Audience::Everyone, SayKind::Temporary { seconds: 5 }));
    let (_, temporary) = room.said();
    room.is_full = true;
    room.ask_as(1, Some("one"), Ok(say(Audience::Everyone, PLAIN)));
    assert_eq!(room.refused(1), ErrorCode::NotStored);
    room.ask(1, Request::Delete(temporary.id));
    assert_eq!(room.refused(1), ErrorCode::NotStored);
    room.wait(Duration::from_secs(6));
    assert!(room.told().is_empty(), "it is noted later");
    room.is_full = false;
    room.ask_as(1, Some("one"), Ok(say(Audience::Everyone, PLAIN)));
    room.said();
    room.wait(Duration::from_secs(20));
    let told = room.told();
    assert!(matches!(told[0].1, Event::Expired { id, .. } if id == temporary.id));
}

#[test]
fn nobody_hears_from_somebody_before_hearing_of_them() {
    let mut room = Room::new();
    room.ours(1, "Ann");
    for (session, name) in [(2, "Bob"), (3, "Kim")] {
        let user = room.join_with(session, name, Some([7; 32]));
        room.ask(session, say(Audience::Everyone, PLAIN));
        let to_ann: Vec<_> = room.told().into_iter().filter(|(to, _)| *to == 1).collect();
        let [(_, Event::Presence { joined, .. }), (_, Event::Said(said))] = to_ann.as_slice()
        else {
            panic!("{to_ann:?}");
        };
        assert_eq!((joined, &said.sender), (&vec![user.clone()], &user));
    }
}
