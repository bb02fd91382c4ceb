//! The room's rules, one table or story each.

use std::sync::Arc;
use std::time::Duration;

use super::harness::{HubHarness, PLAIN, direct_to, local_peer, post, reply_to};
use super::*;
use crate::protocol::error::Refusal;
use crate::protocol::event::Deleted;
use crate::protocol::id::MessageId;
use crate::protocol::message::MessageKind;
use crate::protocol::request::{Dialect, PostKind};
use crate::server::limits;
use crate::store::{Reader as _, Retention, Store as _, View};

#[test]
fn login_gets_welcome_and_user_list() {
    let mut room = HubHarness::new();
    let ann = room.join_with_key(1, "Ann", Some([1; 32]));
    room.wait(limits::PRESENCE_INTERVAL * 2);
    room.take_sent();
    let bob = room.join_with_key(2, "Bob", Some([2; 32]));
    let told = room.take_sent();
    let [(2, Event::Welcome(welcome)), (2, Event::Users(people)), news @ ..] = told.as_slice()
    else {
        panic!("{told:?}");
    };
    assert_eq!((&welcome.user, welcome.head, &people[..]), (&bob, Seq(0), &[ann][..]));
    let presence = Event::Presence { joined: vec![bob], left: vec![] };
    assert_eq!(news, [(1, presence.clone()), (2, presence)]);
}

#[test]
fn invalid_name_is_refused_and_session_closed() {
    let mut room = HubHarness::new();
    let login = Login::original("a b".to_owned());
    room.handle(HubInput::Login { session: SessionId(1), login, peer: local_peer(None) });
    let told = room.take_sent();
    let [(1, Event::LoginRefused(refused))] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(refused.code, ErrorCode::BadName);
    assert_eq!(room.closed, [SessionId(1)]);
}

#[test]
fn confusable_name_is_refused_for_a_new_user() {
    let mut room = HubHarness::new();
    let refused = |room: &mut HubHarness, session: u64, name: &str, key: Option<KeyHash>| {
        room.sent.clear();
        let login = Login { dialect: Dialect::Extended, ..Login::original(name.to_owned()) };
        room.handle(HubInput::Login { session: SessionId(session), login, peer: local_peer(key) });
        match room.take_sent().as_slice() {
            [(to, Event::LoginRefused(refused))] if *to == session => Some(refused.code),
            _ => None,
        }
    };
    let bob = room.join_with_key(1, "Bob", Some([1; 32]));
    room.join(2, "Ann", Dialect::Original);
    for (session, name) in [(3, "B0b"), (4, "bob"), (5, "ANN")] {
        assert_eq!(refused(&mut room, session, name, None), Some(ErrorCode::ConfusableName));
        assert!(room.closed.contains(&SessionId(session)));
    }
    assert_ne!(room.join_with_key(6, "Bob", Some([2; 32])), bob, "many are called Bob");
    for session in [1, 2, 6] {
        room.disconnect(session);
    }
    assert_eq!(refused(&mut room, 7, "ann", None), None, "a guest who left does not come back");
    room.restart();
    assert_eq!(refused(&mut room, 8, "bob", None), Some(ErrorCode::ConfusableName));
    assert_eq!(room.join_with_key(9, "Bob", Some([1; 32])), bob, "who comes back is never refused");
}

#[test]
fn message_is_sent_to_audience_and_author() {
    let mut room = HubHarness::new();
    let (ann, bob) = (room.join_and_settle(1, "Ann"), room.join_and_settle(2, "Bob"));
    let kim = room.join_and_settle(3, "Kim");
    room.request(1, post(Audience::Everyone, PLAIN));
    let (to, message) = room.take_posted();
    assert_eq!(to, [1, 2, 3]);
    assert_eq!((message.seq, &message.sender), (Seq(1), &ann));

    room.request(1, post(direct_to(&[&ann, &kim]), PLAIN));
    let (to, message) = room.take_posted();
    assert_eq!((to, message.audience), (vec![1, 3], direct_to(&[&kim])));

    room.request_with_cid(2, Some("c-1"), Ok(post(direct_to(&[&ann, &kim]), PLAIN)));
    let (to, message) = room.take_posted();
    assert_eq!((to, message.sender), (vec![2, 1, 3], bob));
    assert_eq!(message.cid.unwrap().to_string(), "c-1");
}

#[test]
fn guests_are_marked_in_presence_and_messages() {
    let mut room = HubHarness::new();
    room.join_with_key(1, "Ann", Some([1; 32]));
    room.wait(limits::PRESENCE_INTERVAL * 2);
    room.take_sent();
    let bob = room.join(2, "Bob", Dialect::Original);
    let told = room.take_sent();
    let to_ann: Vec<_> = told.iter().filter(|(to, _)| *to == 1).map(|(_, event)| event).collect();
    let came = Event::Presence { joined: vec![bob.clone()], left: vec![] };
    assert_eq!(to_ann, [&Event::Guests(vec![bob.clone()]), &came], "before they are seen");
    room.join(3, "Kim", Dialect::Extended);
    let told = room.take_sent();
    assert!(told.contains(&(3, Event::Guests(vec![bob]))), "{told:?}");
    room.wait(limits::PRESENCE_INTERVAL * 2);
    for (session, guest) in [(1, false), (2, true), (3, true)] {
        room.take_sent();
        room.request(session, post(Audience::Everyone, PLAIN));
        assert_eq!(room.take_posted().1.guest, guest, "{session}");
    }
}

#[test]
fn invalid_request_is_refused_to_its_sender_only() {
    let mut room = HubHarness::new();
    let (ann, bob) = (room.join_and_settle(1, "Ann"), room.join_and_settle(2, "Bob"));
    room.join_and_settle(3, "Kim");
    room.request(1, post(direct_to(&[&bob]), PLAIN));
    let (_, private) = room.take_posted();
    room.request(2, post(Audience::Everyone, PLAIN));
    let (_, public) = room.take_posted();
    let nobody: UserId = "Zed_0000".parse().unwrap();
    let unknown: MessageId = "999999".parse().unwrap();
    for (session, request, code) in [
        (1, post(direct_to(&[&nobody]), PLAIN), ErrorCode::UnknownRecipient),
        (1, post(direct_to(&[&bob, &nobody]), PLAIN), ErrorCode::UnknownRecipient),
        (1, post(direct_to(&[&ann]), PLAIN), ErrorCode::NoRecipient),
        (1, post(Audience::Everyone, reply_to(unknown)), ErrorCode::UnknownMessage),
        (3, post(Audience::Everyone, reply_to(private.id)), ErrorCode::UnknownMessage),
        (1, post(direct_to(&[&nobody]), reply_to(public.id)), ErrorCode::UnknownRecipient),
        (1, post(direct_to(&[&ann]), reply_to(public.id)), ErrorCode::NoRecipient),
        (1, Request::Delete(public.id), ErrorCode::NotYours),
        (2, Request::Delete(private.id), ErrorCode::NotYours),
        (3, Request::Delete(private.id), ErrorCode::UnknownMessage),
        (1, Request::Delete(unknown), ErrorCode::UnknownMessage),
    ] {
        room.request(session, request.clone());
        assert_eq!(room.take_error(session), code, "{request:?}");
    }
    room.request_with_cid(1, None, Err(Refusal::EmptyContent));
    assert_eq!(room.take_error(1), ErrorCode::EmptyContent);
    room.request(1, Request::LocalSearch);
    room.request(9, Request::Delete(public.id));
    assert_eq!(room.take_sent(), [], "a search is ignored, and so is whoever is not logged in");
}

#[test]
fn reply_audience_stays_within_original_audience() {
    let mut room = HubHarness::new();
    let (ann, bob, kim) = (
        room.join_and_settle(1, "Ann"),
        room.join_and_settle(2, "Bob"),
        room.join_and_settle(3, "Kim"),
    );
    let zoe = room.join_and_settle(4, "Zoe");
    room.request(1, post(direct_to(&[&bob, &kim]), PLAIN));
    let (_, private) = room.take_posted();
    for wanted in [Audience::Everyone, direct_to(&[&ann, &bob, &kim])] {
        room.request(2, post(wanted, reply_to(private.id)));
        let (to, answer) = room.take_posted();
        assert_eq!((to, answer.audience), (vec![2, 1, 3], direct_to(&[&ann, &kim])));
    }
    room.request(2, post(direct_to(&[&ann]), reply_to(private.id)));
    assert_eq!(room.take_posted().1.audience, direct_to(&[&ann]));
    room.request(2, post(direct_to(&[&ann, &zoe]), reply_to(private.id)));
    assert_eq!(room.take_error(2), ErrorCode::UnknownRecipient);

    room.request(1, post(Audience::Everyone, PLAIN));
    let (_, public) = room.take_posted();
    room.request(2, post(direct_to(&[&zoe]), reply_to(public.id)));
    assert_eq!(room.take_posted().0, [2, 4]);
    room.request(2, post(Audience::Everyone, reply_to(public.id)));
    assert_eq!(room.take_posted().0, [1, 2, 3, 4]);
}

#[test]
fn direct_message_is_kept_until_delivered() {
    let mut room = HubHarness::new();
    let bob = room.join_with_key(2, "Bob", Some([2; 32]));
    room.disconnect(2);
    room.join_and_settle(1, "Ann");
    room.request(1, post(direct_to(&[&bob]), PLAIN));
    let (_, private) = room.take_posted();
    room.request(1, post(Audience::Everyone, PLAIN));
    let is_kept = |room: &mut HubHarness| {
        room.wait(Duration::from_hours(1));
        let (now, mut reader) = (room.millis(), room.store.open_reader().unwrap());
        room.store.sweep(now, Retention::Days(0)).unwrap();
        reader.metadata(View { viewer: &bob, now }, private.id).unwrap().is_some()
    };
    assert!(is_kept(&mut room));
    room.join_with_key(2, "Bob", Some([2; 32]));
    let earlier = Seq(private.seq.0 - 1);
    for up_to in [None, Some(earlier)] {
        room.request(2, Request::Ping(up_to));
        assert!(is_kept(&mut room), "{up_to:?}");
    }
    // Nobody can have had what was not said yet.
    room.request(2, Request::Ping(Some(Seq(u64::MAX))));
    assert!(!is_kept(&mut room));
    room.request(1, post(direct_to(&[&bob]), PLAIN));
    let again = room.store.snapshot().unwrap();
    assert_eq!(again.size.messages, 1, "the next one waits again");
    room.request(2, Request::Ping(Some(again.head)));
    room.wait(Duration::from_hours(1));
    let now = room.millis();
    room.store.sweep(now, Retention::Days(0)).unwrap();
    assert_eq!(room.store.snapshot().unwrap().size.messages, 0);
}

#[test]
fn reply_drops_departed_recipients_unless_none_remain() {
    let mut room = HubHarness::new();
    room.join_and_settle(1, "Ann");
    let (bob, kim) = (room.join_and_settle(2, "Bob"), room.join_and_settle(3, "Kim"));
    room.request(1, post(direct_to(&[&bob, &kim]), PLAIN));
    let (_, private) = room.take_posted();
    room.request(1, post(Audience::Everyone, PLAIN));
    let (_, public) = room.take_posted();
    room.disconnect(3);
    room.wait(limits::PRESENCE_INTERVAL);
    room.sent.clear();
    for to in [private.id, public.id] {
        room.request(1, post(direct_to(&[&bob, &kim]), reply_to(to)));
        assert_eq!(room.take_posted().1.audience, direct_to(&[&bob]));
        room.request(1, post(direct_to(&[&kim]), reply_to(to)));
        assert_eq!(room.take_error(1), ErrorCode::UnknownRecipient);
    }
}

#[test]
fn deletion_is_sent_to_the_audience() {
    let mut room = HubHarness::new();
    let (ann, bob) = (room.join_and_settle(1, "Ann"), room.join_and_settle(2, "Bob"));
    room.join_and_settle(3, "Kim");
    room.request(1, post(direct_to(&[&bob]), PLAIN));
    let (_, message) = room.take_posted();
    room.request_with_cid(1, Some("d-1"), Ok(Request::Delete(message.id)));
    let cid = Some("d-1".parse().unwrap());
    let gone = Event::Deleted(Deleted { seq: Seq(2), id: message.id, author: ann, cid });
    assert_eq!(room.take_sent(), [(1, gone.clone()), (2, gone)]);
    room.request(1, Request::Delete(message.id));
    assert_eq!(room.take_error(1), ErrorCode::UnknownMessage);
    room.request(2, post(Audience::Everyone, reply_to(message.id)));
    assert_eq!(room.take_error(2), ErrorCode::UnknownMessage);
}

#[test]
fn temporary_message_expires_once_and_on_time() {
    let mut room = HubHarness::new();
    let bob = room.join_and_settle(1, "Bob");
    room.join_and_settle(2, "Ann");
    room.join_and_settle(3, "Kim");
    room.request(2, post(direct_to(&[&bob]), PostKind::Temporary { seconds: 10 }));
    let (_, message) = room.take_posted();
    let at = message.at.timestamp_millis() + 10_000;
    assert_eq!(message.kind, MessageKind::Temporary { expires: at });
    room.wait(Duration::from_millis(9_999));
    assert_eq!(room.take_sent(), []);
    room.request(1, post(Audience::Everyone, reply_to(message.id)));
    assert_eq!(room.take_posted().0, [1, 2]);
    room.wait(Duration::from_millis(1));
    let gone = Event::Expired { seq: Seq(3), id: message.id };
    assert_eq!(room.take_sent(), [(2, gone.clone()), (1, gone)]);
    room.request(1, post(Audience::Everyone, reply_to(message.id)));
    assert_eq!(room.take_error(1), ErrorCode::UnknownMessage);
    room.wait(Duration::from_hours(1));
    assert_eq!(room.take_sent(), []);
}

#[test]
fn deleted_temporary_message_does_not_expire() {
    let mut room = HubHarness::new();
    room.join_and_settle(1, "Ann");
    room.request(1, post(Audience::Everyone, PostKind::Temporary { seconds: 1 }));
    let (_, message) = room.take_posted();
    room.request(1, Request::Delete(message.id));
    room.sent.clear();
    room.wait(Duration::from_mins(1));
    assert_eq!(room.take_sent(), []);
    assert_eq!(room.hub.next_deadline(room.now), None);
}

fn presence_events(to: &[u64], joined: &[&UserId], left: &[&UserId]) -> Vec<(u64, Event)> {
    let event = Event::Presence {
        joined: joined.iter().map(|user| (*user).clone()).collect(),
        left: left.iter().map(|user| (*user).clone()).collect(),
    };
    to.iter().map(|session| (*session, event.clone())).collect()
}

#[test]
fn presence_changes_are_batched() {
    let mut room = HubHarness::new();
    room.join_and_settle(1, "Ann");
    let bob = room.join(2, "Bob", Dialect::Extended);
    let kim = room.join(3, "Kim", Dialect::Extended);
    let zed = room.join(4, "Zed", Dialect::Extended);
    room.disconnect(2);
    assert_eq!(room.take_presence(), presence_events(&[1, 2], &[&bob], &[]), "the first at once");
    room.wait(limits::PRESENCE_INTERVAL.saturating_sub(Duration::from_millis(1)));
    assert_eq!(room.take_presence(), []);
    room.wait(Duration::from_millis(1));
    assert_eq!(
        room.take_presence(),
        presence_events(&[1, 3, 4], &[&kim, &zed], &[&bob]),
        "the same to all"
    );
    room.disconnect(4);
    room.wait(limits::PRESENCE_INTERVAL);
    assert_eq!(room.take_presence(), presence_events(&[1, 3], &[], &[&zed]));
}

#[test]
fn short_visit_is_not_announced() {
    let mut room = HubHarness::new();
    room.join_and_settle(1, "Ann");
    let key = Some([2; 32]);
    let bob = room.join_with_key(2, "Bob", key);
    room.take_presence();
    room.join(3, "Kim", Dialect::Extended);
    room.disconnect(3);
    room.disconnect(2);
    room.join_with_key(4, "Bob", key);
    room.wait(limits::PRESENCE_INTERVAL * 4);
    assert_eq!(room.take_presence(), []);
    room.disconnect(4);
    assert_eq!(room.take_presence(), presence_events(&[1], &[], &[&bob]));
}

#[test]
fn logins_between_announcements_share_one_user_list() {
    let mut room = HubHarness::new();
    let ann = room.join_and_settle(1, "Ann");
    let list = |room: &mut HubHarness, session, name: &str| {
        room.join(session, name, Dialect::Extended);
        let lists = room.take_sent().into_iter().filter_map(|(_, event)| match event {
            Event::Users(people) => Some(people),
            _ => None,
        });
        lists.last().unwrap()
    };
    list(&mut room, 2, "Bob");
    let kims = list(&mut room, 3, "Kim");
    let zeds = list(&mut room, 4, "Zed");
    assert!(kims.contains(&ann) && Arc::ptr_eq(&kims, &zeds));
    room.wait(limits::PRESENCE_INTERVAL);
    assert_eq!(list(&mut room, 5, "Zoe").len(), 4);
}

/// What each of a storm of people is told of those who come is as much as there are people, but not
/// as often.
#[test]
fn presence_interval_grows_with_the_number_of_users() {
    let mut room = HubHarness::new();
    let mut words = 0;
    for session in 0..4_000 {
        room.join(session, "Bob", Dialect::Extended);
        let told = room.take_sent();
        words += told.iter().filter(|(_, event)| matches!(event, Event::Presence { .. })).count();
        room.wait(Duration::from_millis(1));
    }
    assert!(words < 4_000 * 5, "{words} words");
}

#[test]
fn original_client_gets_the_list_of_other_users() {
    let mut room = HubHarness::new();
    // It knows no PRESENCE: the fan-out keeps that from it.
    let lists = |room: &mut HubHarness| {
        let mut told = room.take_sent();
        told.retain(|(_, event)| matches!(event, Event::Users(_)));
        told
    };
    let ann = room.join(1, "Ann", Dialect::Original);
    assert_eq!(lists(&mut room), [(1, Event::Users([].into()))]);
    room.wait(limits::PRESENCE_INTERVAL);
    let bob = room.join(2, "Bob", Dialect::Original);
    let expected = [(2, Event::Users([ann].into())), (1, Event::Users([bob].into()))];
    assert_eq!(lists(&mut room), expected);
    room.disconnect(2);
    assert_eq!(lists(&mut room), []);
    room.wait(limits::PRESENCE_INTERVAL);
    assert_eq!(lists(&mut room), [(1, Event::Users([].into()))]);
}

#[test]
fn exit_and_oversized_frame_close_the_session() {
    let mut room = HubHarness::new();
    room.join_and_settle(1, "Ann");
    let bob = room.join_and_settle(2, "Bob");
    room.request(2, Request::Exit);
    assert_eq!(room.take_sent(), presence_events(&[1], &[], &[&bob]));
    room.request_with_cid(1, None, Err(Refusal::FrameTooLong(10)));
    assert!(matches!(room.take_sent()[..], [(1, Event::Error(_)), (1, Event::Closing(_))]));
    assert_eq!(room.closed, [SessionId(2), SessionId(1)]);
}

#[test]
fn uncached_message_is_looked_up_in_the_log() {
    let mut room = HubHarness::new();
    let ann = room.join_with_key(1, "Ann", Some([1; 32]));
    room.sent.clear();
    room.request(1, post(Audience::Everyone, PostKind::Temporary { seconds: 3_600 }));
    let (_, temporary) = room.take_posted();
    room.request(1, post(Audience::Everyone, PLAIN));
    let (_, plain) = room.take_posted();
    room.restart();
    assert_eq!(room.join_with_key(1, "Ann", Some([1; 32])), ann);
    let bob = room.join_and_settle(2, "Bob");
    room.request(2, Request::Delete(plain.id));
    assert_eq!(room.take_error(2), ErrorCode::NotYours);
    room.request(2, post(Audience::Everyone, PostKind::Reply { to: plain.id }));
    assert_eq!(room.take_posted().1.sender, bob);
    room.request(1, Request::Delete(plain.id));
    let told = room.take_sent();
    assert!(
        matches!(&told[0].1, Event::Deleted(gone) if gone.id == plain.id && gone.author == ann)
    );
    room.request(1, Request::Delete(plain.id));
    assert_eq!(room.take_error(1), ErrorCode::UnknownMessage);
    room.wait(Duration::from_mins(61));
    let told = room.take_sent();
    assert!(told.is_empty(), "nobody here was sent it: the log tells those who were: {told:?}");
    let view = View { viewer: &ann, now: room.millis() };
    let events =
        room.store.open_reader().unwrap().events_after(view, Seq(0), 100).unwrap().unwrap();
    let expired = |event: &Event| matches!(event, Event::Expired { id, .. } if *id == temporary.id);
    assert!(events.events.iter().any(expired));
}

#[test]
fn repeated_request_gets_the_first_result_and_changes_nothing() {
    let mut room = HubHarness::new();
    room.join_and_settle(1, "Ann");
    room.request_with_cid(1, Some("one"), Ok(post(Audience::Everyone, PLAIN)));
    let (_, first) = room.take_posted();
    let stored = |room: &mut HubHarness| match room.take_sent().as_slice() {
        [(1, Event::Stored(stored))] => stored.clone(),
        other => panic!("{other:?}"),
    };
    for _ in 0..2 {
        room.request_with_cid(1, Some("one"), Ok(post(Audience::Everyone, PLAIN)));
        assert_eq!(stored(&mut room).id, first.id);
    }
    room.request_with_cid(1, Some("two"), Ok(Request::Delete(first.id)));
    room.sent.clear();
    room.request_with_cid(1, Some("one"), Ok(post(Audience::Everyone, PLAIN)));
    assert_eq!(stored(&mut room).seq, first.seq, "not even when the message is gone");
}

#[test]
fn key_keeps_its_id_across_restarts_and_receives_direct_messages_offline() {
    let mut room = HubHarness::new();
    let bob = room.join_with_key(1, "Bob", Some([1; 32]));
    let zoe = room.join_with_key(2, "Zoe", None);
    assert_ne!(room.join_with_key(3, "Bob", Some([2; 32])), bob, "another key is another person");
    assert_ne!(room.join_with_key(4, "Rob", Some([1; 32])), bob, "and so is another name");
    assert_eq!(room.join_with_key(5, "Bob", Some([1; 32])), bob, "the same twice at once");
    room.restart();
    room.sent.clear();
    let ann = room.join_with_key(6, "Ann", None);
    room.sent.clear();
    let only = |user: &UserId| Audience::Only([user.clone()].into());
    room.request(6, post(only(&zoe), PLAIN));
    assert_eq!(
        room.take_error(6),
        ErrorCode::UnknownRecipient,
        "nobody inherits an ID without a key"
    );
    room.request(6, post(only(&bob), PLAIN));
    assert_eq!(room.take_posted().1.sender, ann);
    assert_eq!(room.join_with_key(7, "Bob", Some([1; 32])), bob);
}

#[test]
fn failed_write_is_reported_and_not_announced() {
    let mut room = HubHarness::new();
    room.join_and_settle(1, "Ann");
    room.request(1, post(Audience::Everyone, PostKind::Temporary { seconds: 5 }));
    let (_, temporary) = room.take_posted();
    room.is_disk_full = true;
    room.request_with_cid(1, Some("one"), Ok(post(Audience::Everyone, PLAIN)));
    assert_eq!(room.take_error(1), ErrorCode::NotStored);
    room.request(1, Request::Delete(temporary.id));
    assert_eq!(room.take_error(1), ErrorCode::NotStored);
    room.wait(Duration::from_secs(6));
    assert!(room.take_sent().is_empty(), "it is noted later");
    room.is_disk_full = false;
    room.request_with_cid(1, Some("one"), Ok(post(Audience::Everyone, PLAIN)));
    room.take_posted();
    room.wait(Duration::from_secs(20));
    let told = room.take_sent();
    assert!(matches!(told[0].1, Event::Expired { id, .. } if id == temporary.id));
}

#[test]
fn presence_is_announced_before_the_first_message() {
    let mut room = HubHarness::new();
    room.join_and_settle(1, "Ann");
    for (session, name) in [(2, "Bob"), (3, "Kim")] {
        let user = room.join_with_key(session, name, Some([7; 32]));
        room.request(session, post(Audience::Everyone, PLAIN));
        let to_ann: Vec<_> = room.take_sent().into_iter().filter(|(to, _)| *to == 1).collect();
        let [(_, Event::Presence { joined, .. }), (_, Event::Posted(said))] = to_ann.as_slice()
        else {
            panic!("{to_ann:?}");
        };
        assert_eq!((joined, &said.sender), (&vec![user.clone()], &user));
    }
}
