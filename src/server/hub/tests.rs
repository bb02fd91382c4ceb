//! Tests of the hub's rules, through its inputs and effects.

use std::sync::Arc;
use std::time::Duration;

use super::harness::{HubHarness, PLAIN, direct_to, local_peer, post, reply_to};
use super::*;
use crate::protocol::error::{ErrorCode, Refusal};
use crate::protocol::event::Deleted;
use crate::protocol::id::{MessageId, RoomName};
use crate::protocol::message::{Audience, MessageKind};
use crate::protocol::query::HistoryRange;
use crate::protocol::request::{Dialect, PostKind, Request};
use crate::protocol::room::{RoomAction, RoomChange};
use crate::protocol::text::SafeText;
use crate::server::admin::{RoomCommand, RoomInfo};
use crate::server::{RoomCreators, limits};
use crate::store::tests::{page, sweep};
use crate::store::{Retention, Store as _, View};

#[test]
fn login_gets_welcome_and_user_list() {
    let mut harness = HubHarness::new();
    let ann = harness.join_with_key(1, "Ann", Some([1; 32]));
    harness.wait(limits::PRESENCE_INTERVAL * 2);
    harness.take_sent();
    let bob = harness.join_with_key(2, "Bob", Some([2; 32]));
    let sent = harness.take_sent();
    let [(2, Event::Welcome(welcome)), (2, Event::Users(users)), rest @ ..] = sent.as_slice()
    else {
        panic!("{sent:?}");
    };
    assert_eq!((&welcome.user, welcome.head, &users[..]), (&bob, Seq(0), &[ann][..]));
    let presence = Event::Presence { joined: vec![bob], left: vec![] };
    assert_eq!(rest, [(1, presence.clone()), (2, presence)]);
}

#[test]
fn invalid_name_is_refused_and_session_closed() {
    let mut harness = HubHarness::new();
    let login = Login::original("a b".to_owned());
    harness.handle(HubInput::Login { session: SessionId(1), login, peer: local_peer(None) });
    let sent = harness.take_sent();
    let [(1, Event::LoginRefused(refused))] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(refused.code, ErrorCode::BadName);
    assert_eq!(harness.closed, [SessionId(1)]);
}

#[test]
fn confusable_name_is_refused_for_a_new_user() {
    let mut harness = HubHarness::new();
    let refused = |harness: &mut HubHarness, session: u64, name: &str, key: Option<KeyHash>| {
        harness.sent.clear();
        let login = Login { dialect: Dialect::Extended, ..Login::original(name.to_owned()) };
        harness.handle(HubInput::Login {
            session: SessionId(session),
            login,
            peer: local_peer(key),
        });
        match harness.take_sent().as_slice() {
            [(to, Event::LoginRefused(refused))] if *to == session => Some(refused.code),
            _ => None,
        }
    };
    let bob = harness.join_with_key(1, "Bob", Some([1; 32]));
    harness.join(2, "Ann", Dialect::Original);
    for (session, name) in [(3, "B0b"), (4, "bob"), (5, "ANN")] {
        assert_eq!(refused(&mut harness, session, name, None), Some(ErrorCode::ConfusableName));
        assert!(harness.closed.contains(&SessionId(session)));
    }
    assert_ne!(harness.join_with_key(6, "Bob", Some([2; 32])), bob, "the same name is allowed");
    for session in [1, 2, 6] {
        harness.disconnect(session);
    }
    assert_eq!(refused(&mut harness, 7, "ann", None), None, "the name of a guest who left is free");
    harness.restart();
    assert_eq!(refused(&mut harness, 8, "bob", None), Some(ErrorCode::ConfusableName));
    assert_eq!(
        harness.join_with_key(9, "Bob", Some([1; 32])),
        bob,
        "a registered ID is never confusable"
    );
}

#[test]
fn message_is_sent_to_audience_and_author() {
    let mut harness = HubHarness::new();
    let (ann, bob) = (harness.join_and_settle(1, "Ann"), harness.join_and_settle(2, "Bob"));
    let kim = harness.join_and_settle(3, "Kim");
    harness.request(1, post(Audience::Everyone, PLAIN));
    let (to, message) = harness.take_posted();
    assert_eq!(to, [1, 2, 3]);
    assert_eq!((message.seq, &message.sender), (Seq(1), &ann));

    harness.request(1, post(direct_to(&[&ann, &kim]), PLAIN));
    let (to, message) = harness.take_posted();
    assert_eq!((to, message.audience), (vec![1, 3], direct_to(&[&kim])));

    harness.request_with_cid(2, Some("c-1"), Ok(post(direct_to(&[&ann, &kim]), PLAIN)));
    let (to, message) = harness.take_posted();
    assert_eq!((to, message.sender), (vec![1, 2, 3], bob));
    assert_eq!(message.cid.unwrap().to_string(), "c-1");
}

#[test]
fn guests_are_marked_in_presence_and_messages() {
    let mut harness = HubHarness::new();
    harness.join_with_key(1, "Ann", Some([1; 32]));
    harness.wait(limits::PRESENCE_INTERVAL * 2);
    harness.take_sent();
    let bob = harness.join(2, "Bob", Dialect::Original);
    let sent = harness.take_sent();
    let to_ann: Vec<_> = sent.iter().filter(|(to, _)| *to == 1).map(|(_, event)| event).collect();
    let joined = Event::Presence { joined: vec![bob.clone()], left: vec![] };
    assert_eq!(to_ann, [&Event::Guests(vec![bob.clone()]), &joined], "guests are announced first");
    harness.join(3, "Kim", Dialect::Extended);
    let sent = harness.take_sent();
    assert!(sent.contains(&(3, Event::Guests(vec![bob]))), "{sent:?}");
    harness.wait(limits::PRESENCE_INTERVAL * 2);
    for (session, guest) in [(1, false), (2, true), (3, true)] {
        harness.take_sent();
        harness.request(session, post(Audience::Everyone, PLAIN));
        assert_eq!(harness.take_posted().1.guest, guest, "{session}");
    }
}

#[test]
fn invalid_request_is_refused_to_its_sender_only() {
    let mut harness = HubHarness::new();
    let (ann, bob) = (harness.join_and_settle(1, "Ann"), harness.join_and_settle(2, "Bob"));
    harness.join_and_settle(3, "Kim");
    harness.request(1, post(direct_to(&[&bob]), PLAIN));
    let (_, private) = harness.take_posted();
    harness.request(2, post(Audience::Everyone, PLAIN));
    let (_, public) = harness.take_posted();
    let unknown_user: UserId = "Zed_0000".parse().unwrap();
    let unknown: MessageId = "999999".parse().unwrap();
    for (session, request, code) in [
        (1, post(direct_to(&[&unknown_user]), PLAIN), ErrorCode::UnknownRecipient),
        (1, post(direct_to(&[&bob, &unknown_user]), PLAIN), ErrorCode::UnknownRecipient),
        (1, post(direct_to(&[&ann]), PLAIN), ErrorCode::NoRecipient),
        (1, post(Audience::Everyone, reply_to(unknown)), ErrorCode::UnknownMessage),
        (3, post(Audience::Everyone, reply_to(private.id)), ErrorCode::UnknownMessage),
        (1, post(direct_to(&[&unknown_user]), reply_to(public.id)), ErrorCode::UnknownRecipient),
        (1, post(direct_to(&[&ann]), reply_to(public.id)), ErrorCode::NoRecipient),
        (1, Request::Delete(public.id), ErrorCode::NotYours),
        (2, Request::Delete(private.id), ErrorCode::NotYours),
        (3, Request::Delete(private.id), ErrorCode::UnknownMessage),
        (1, Request::Delete(unknown), ErrorCode::UnknownMessage),
    ] {
        harness.request(session, request.clone());
        assert_eq!(harness.take_error(session), code, "{request:?}");
    }
    harness.request_with_cid(1, None, Err(Refusal::EmptyContent));
    assert_eq!(harness.take_error(1), ErrorCode::EmptyContent);
    harness.request(1, Request::LocalSearch);
    harness.request(9, Request::Delete(public.id));
    assert_eq!(
        harness.take_sent(),
        [],
        "local searches and sessions that are not logged in are ignored"
    );
}

#[test]
fn reply_audience_stays_within_original_audience() {
    let mut harness = HubHarness::new();
    let (ann, bob, kim) = (
        harness.join_and_settle(1, "Ann"),
        harness.join_and_settle(2, "Bob"),
        harness.join_and_settle(3, "Kim"),
    );
    let zoe = harness.join_and_settle(4, "Zoe");
    harness.request(1, post(direct_to(&[&bob, &kim]), PLAIN));
    let (_, private) = harness.take_posted();
    for wanted in [Audience::Everyone, direct_to(&[&ann, &bob, &kim])] {
        harness.request(2, post(wanted, reply_to(private.id)));
        let (to, message) = harness.take_posted();
        assert_eq!((to, message.audience), (vec![1, 2, 3], direct_to(&[&ann, &kim])));
    }
    harness.request(2, post(direct_to(&[&ann]), reply_to(private.id)));
    assert_eq!(harness.take_posted().1.audience, direct_to(&[&ann]));
    harness.request(2, post(direct_to(&[&ann, &zoe]), reply_to(private.id)));
    assert_eq!(harness.take_error(2), ErrorCode::UnknownRecipient);

    harness.request(1, post(Audience::Everyone, PLAIN));
    let (_, public) = harness.take_posted();
    harness.request(2, post(direct_to(&[&zoe]), reply_to(public.id)));
    assert_eq!(harness.take_posted().0, [2, 4]);
    harness.request(2, post(Audience::Everyone, reply_to(public.id)));
    assert_eq!(harness.take_posted().0, [1, 2, 3, 4]);
}

#[test]
fn direct_message_is_kept_until_delivered() {
    let mut harness = HubHarness::new();
    let bob = harness.join_with_key(2, "Bob", Some([2; 32]));
    harness.disconnect(2);
    harness.join_and_settle(1, "Ann");
    harness.request(1, post(direct_to(&[&bob]), PLAIN));
    let (_, private) = harness.take_posted();
    harness.request(1, post(Audience::Everyone, PLAIN));
    let is_kept = |harness: &mut HubHarness| {
        harness.wait(Duration::from_hours(1));
        let (now, mut reader) = (harness.millis(), harness.store.open_reader().unwrap());
        sweep(&mut harness.store, now, Retention::Days(0));
        let (view, range) = (View { viewer: &bob, now }, HistoryRange::Around(private.id));
        page(&mut reader, view, range, 1).is_ok()
    };
    assert!(is_kept(&mut harness));
    harness.join_with_key(2, "Bob", Some([2; 32]));
    let earlier = Seq(private.seq.0 - 1);
    for up_to in [None, Some(earlier)] {
        harness.request(2, Request::Ping(up_to));
        assert!(is_kept(&mut harness), "{up_to:?}");
    }
    // A position past the head counts as the head.
    harness.request(2, Request::Ping(Some(Seq(u64::MAX))));
    assert!(!is_kept(&mut harness));
    harness.request(1, post(direct_to(&[&bob]), PLAIN));
    let again = harness.store.snapshot().unwrap();
    assert_eq!(again.size.messages, 1, "the next one is undelivered again");
    harness.request(2, Request::Ping(Some(again.head)));
    harness.wait(Duration::from_hours(1));
    let now = harness.millis();
    sweep(&mut harness.store, now, Retention::Days(0));
    assert_eq!(harness.store.snapshot().unwrap().size.messages, 0);
}

#[test]
fn reply_drops_departed_recipients_unless_none_remain() {
    let mut harness = HubHarness::new();
    harness.join_and_settle(1, "Ann");
    let (bob, kim) = (harness.join_and_settle(2, "Bob"), harness.join_and_settle(3, "Kim"));
    harness.request(1, post(direct_to(&[&bob, &kim]), PLAIN));
    let (_, private) = harness.take_posted();
    harness.request(1, post(Audience::Everyone, PLAIN));
    let (_, public) = harness.take_posted();
    harness.disconnect(3);
    harness.wait(limits::PRESENCE_INTERVAL);
    harness.sent.clear();
    for to in [private.id, public.id] {
        harness.request(1, post(direct_to(&[&bob, &kim]), reply_to(to)));
        assert_eq!(harness.take_posted().1.audience, direct_to(&[&bob]));
        harness.request(1, post(direct_to(&[&kim]), reply_to(to)));
        assert_eq!(harness.take_error(1), ErrorCode::UnknownRecipient);
    }
}

#[test]
fn deletion_is_sent_to_the_audience() {
    let mut harness = HubHarness::new();
    let (ann, bob) = (harness.join_and_settle(1, "Ann"), harness.join_and_settle(2, "Bob"));
    harness.join_and_settle(3, "Kim");
    harness.request(1, post(direct_to(&[&bob]), PLAIN));
    let (_, message) = harness.take_posted();
    harness.request_with_cid(1, Some("d-1"), Ok(Request::Delete(message.id)));
    let cid = Some("d-1".parse().unwrap());
    let deleted = Event::Deleted(Deleted { seq: Seq(2), id: message.id, author: ann, cid });
    assert_eq!(harness.take_sent(), [(1, deleted.clone()), (2, deleted)]);
    harness.request(1, Request::Delete(message.id));
    assert_eq!(harness.take_error(1), ErrorCode::UnknownMessage);
    harness.request(2, post(Audience::Everyone, reply_to(message.id)));
    assert_eq!(harness.take_error(2), ErrorCode::UnknownMessage);
}

#[test]
fn temporary_message_expires_once_and_on_time() {
    let mut harness = HubHarness::new();
    let bob = harness.join_and_settle(1, "Bob");
    harness.join_and_settle(2, "Ann");
    harness.join_and_settle(3, "Kim");
    harness.request(2, post(direct_to(&[&bob]), PostKind::Temporary { seconds: 10 }));
    let (_, message) = harness.take_posted();
    let at = message.at.timestamp_millis() + 10_000;
    assert_eq!(message.kind, MessageKind::Temporary { expires: at });
    harness.wait(Duration::from_millis(9_999));
    assert_eq!(harness.take_sent(), []);
    harness.request(1, post(Audience::Everyone, reply_to(message.id)));
    assert_eq!(harness.take_posted().0, [1, 2]);
    harness.wait(Duration::from_millis(1));
    let expired = Event::Expired { seq: Seq(3), id: message.id };
    assert_eq!(harness.take_sent(), [(1, expired.clone()), (2, expired)]);
    harness.request(1, post(Audience::Everyone, reply_to(message.id)));
    assert_eq!(harness.take_error(1), ErrorCode::UnknownMessage);
    harness.wait(Duration::from_hours(1));
    assert_eq!(harness.take_sent(), []);
}

#[test]
fn temporary_message_expires_on_time_while_the_clock_is_not_trusted() {
    let mut harness = HubHarness::new();
    harness.join_and_settle(1, "Ann");
    harness.now.wall += Duration::from_hours(40 * 24);
    harness.request(1, post(Audience::Everyone, PostKind::Temporary { seconds: 10 }));
    let (_, message) = harness.take_posted();
    harness.wait(Duration::from_millis(9_999));
    assert_eq!(harness.take_sent(), []);
    harness.wait(Duration::from_millis(1));
    assert_eq!(harness.take_sent(), [(1, Event::Expired { seq: Seq(2), id: message.id })]);
}

#[test]
fn deleted_temporary_message_does_not_expire() {
    let mut harness = HubHarness::new();
    harness.join_and_settle(1, "Ann");
    harness.request(1, post(Audience::Everyone, PostKind::Temporary { seconds: 1 }));
    let (_, message) = harness.take_posted();
    harness.request(1, Request::Delete(message.id));
    harness.sent.clear();
    harness.wait(Duration::from_mins(1));
    assert_eq!(harness.take_sent(), []);
    assert_eq!(harness.hub.next_deadline(harness.now), None);
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
    let mut harness = HubHarness::new();
    harness.join_and_settle(1, "Ann");
    let bob = harness.join(2, "Bob", Dialect::Extended);
    let kim = harness.join(3, "Kim", Dialect::Extended);
    let zed = harness.join(4, "Zed", Dialect::Extended);
    harness.disconnect(2);
    assert_eq!(
        harness.take_presence(),
        presence_events(&[1, 2], &[&bob], &[]),
        "the first immediately"
    );
    harness.wait(limits::PRESENCE_INTERVAL.saturating_sub(Duration::from_millis(1)));
    assert_eq!(harness.take_presence(), []);
    harness.wait(Duration::from_millis(1));
    assert_eq!(
        harness.take_presence(),
        presence_events(&[1, 3, 4], &[&kim, &zed], &[&bob]),
        "the same batch for all"
    );
    harness.disconnect(4);
    harness.wait(limits::PRESENCE_INTERVAL);
    assert_eq!(harness.take_presence(), presence_events(&[1, 3], &[], &[&zed]));
}

#[test]
fn short_visit_is_not_announced() {
    let mut harness = HubHarness::new();
    harness.join_and_settle(1, "Ann");
    let key = Some([2; 32]);
    let bob = harness.join_with_key(2, "Bob", key);
    harness.take_presence();
    harness.join(3, "Kim", Dialect::Extended);
    harness.disconnect(3);
    harness.disconnect(2);
    harness.join_with_key(4, "Bob", key);
    harness.wait(limits::PRESENCE_INTERVAL * 4);
    assert_eq!(harness.take_presence(), []);
    harness.disconnect(4);
    assert_eq!(harness.take_presence(), presence_events(&[1], &[], &[&bob]));
}

#[test]
fn quiet_session_is_not_announced() {
    let mut harness = HubHarness::new();
    let tom = harness.join(1, "Tom", Dialect::Original);
    let log_in = |harness: &mut HubHarness, session, quiet| {
        let original = Login::original("Bob".to_owned());
        let login = Login { dialect: Dialect::Extended, quiet, ..original };
        let (session, peer) = (SessionId(session), local_peer(Some([2; 32])));
        harness.take_sent();
        harness.handle(HubInput::Login { session, login, peer });
        harness.wait(limits::PRESENCE_INTERVAL * 2);
        harness.take_sent()
    };
    let leave = |harness: &mut HubHarness, session| {
        harness.disconnect(session);
        harness.wait(limits::PRESENCE_INTERVAL * 2);
        harness.take_sent()
    };
    let sent = log_in(&mut harness, 2, true);
    assert!(sent.iter().all(|(session, _)| *session == 2), "nobody is told: {sent:?}");
    let bob = harness.hub.sessions.user(SessionId(2)).unwrap();
    harness.request(2, post(direct_to(&[&tom]), PLAIN));
    assert_eq!(harness.take_posted().0, [1, 2], "it sends and receives");
    let list_of_tom = |users: &[&UserId]| {
        let users = users.iter().map(|user| (*user).clone()).collect();
        (1, Event::Users(users))
    };
    let sent = log_in(&mut harness, 3, false);
    assert!(sent.contains(&list_of_tom(&[&bob])), "a second session is: {sent:?}");
    assert_eq!(leave(&mut harness, 2), [], "a quiet one leaves");
    log_in(&mut harness, 4, true);
    let sent = leave(&mut harness, 3);
    assert!(sent.contains(&list_of_tom(&[])), "only quiet ones are left: {sent:?}");
    assert_eq!(leave(&mut harness, 4), []);
}

#[test]
fn logins_between_announcements_share_one_user_list() {
    let mut harness = HubHarness::new();
    let ann = harness.join_and_settle(1, "Ann");
    let list = |harness: &mut HubHarness, session, name: &str| {
        harness.join(session, name, Dialect::Extended);
        let lists = harness.take_sent().into_iter().filter_map(|(_, event)| match event {
            Event::Users(users) => Some(users),
            _ => None,
        });
        lists.last().unwrap()
    };
    list(&mut harness, 2, "Bob");
    let kims = list(&mut harness, 3, "Kim");
    let zeds = list(&mut harness, 4, "Zed");
    assert!(kims.contains(&ann) && Arc::ptr_eq(&kims, &zeds));
    harness.wait(limits::PRESENCE_INTERVAL);
    assert_eq!(list(&mut harness, 5, "Zoe").len(), 4);
}

/// An announcement goes to every user, so it has to be rarer when there are more users.
#[test]
fn presence_interval_grows_with_the_number_of_users() {
    let mut harness = HubHarness::new();
    let mut n_announcements = 0;
    for session in 0..4_000 {
        harness.join(session, "Bob", Dialect::Extended);
        let sent = harness.take_sent();
        n_announcements +=
            sent.iter().filter(|(_, event)| matches!(event, Event::Presence { .. })).count();
        harness.wait(Duration::from_millis(1));
    }
    assert!(n_announcements < 4_000 * 5, "{n_announcements} announcements");
}

#[test]
fn original_client_gets_the_list_of_other_users() {
    let mut harness = HubHarness::new();
    // The fan-out does not send PRESENCE to original clients.
    let lists = |harness: &mut HubHarness| {
        let mut sent = harness.take_sent();
        sent.retain(|(_, event)| matches!(event, Event::Users(_)));
        sent
    };
    let ann = harness.join(1, "Ann", Dialect::Original);
    assert_eq!(lists(&mut harness), [(1, Event::Users([].into()))]);
    harness.wait(limits::PRESENCE_INTERVAL);
    let bob = harness.join(2, "Bob", Dialect::Original);
    let expected = [(2, Event::Users([ann].into())), (1, Event::Users([bob].into()))];
    assert_eq!(lists(&mut harness), expected);
    harness.disconnect(2);
    assert_eq!(lists(&mut harness), []);
    harness.wait(limits::PRESENCE_INTERVAL);
    assert_eq!(lists(&mut harness), [(1, Event::Users([].into()))]);
}

#[test]
fn exit_and_oversized_frame_close_the_session() {
    let mut harness = HubHarness::new();
    harness.join_and_settle(1, "Ann");
    let bob = harness.join_and_settle(2, "Bob");
    harness.request(2, Request::Exit);
    assert_eq!(harness.take_sent(), presence_events(&[1], &[], &[&bob]));
    harness.request_with_cid(1, None, Err(Refusal::FrameTooLong(10)));
    assert!(matches!(harness.take_sent()[..], [(1, Event::Error(_)), (1, Event::Closing(_))]));
    assert_eq!(harness.closed, [SessionId(2), SessionId(1)]);
}

#[test]
fn message_from_before_a_restart_is_like_any_other() {
    let mut harness = HubHarness::new();
    let ann = harness.join_with_key(1, "Ann", Some([1; 32]));
    harness.sent.clear();
    harness.request(1, post(Audience::Everyone, PostKind::Temporary { seconds: 3_600 }));
    let (_, temporary) = harness.take_posted();
    harness.request(1, post(Audience::Everyone, PLAIN));
    let (_, plain) = harness.take_posted();
    harness.restart();
    assert_eq!(harness.join_with_key(1, "Ann", Some([1; 32])), ann);
    let bob = harness.join_and_settle(2, "Bob");
    harness.request(2, Request::Delete(plain.id));
    assert_eq!(harness.take_error(2), ErrorCode::NotYours);
    harness.request(2, post(Audience::Everyone, PostKind::Reply { to: plain.id }));
    assert_eq!(harness.take_posted().1.sender, bob);
    harness.request(1, Request::Delete(plain.id));
    let sent = harness.take_sent();
    assert!(
        matches!(&sent[0].1, Event::Deleted(deleted) if deleted.id == plain.id && deleted.author == ann)
    );
    harness.request(1, Request::Delete(plain.id));
    assert_eq!(harness.take_error(1), ErrorCode::UnknownMessage);
    harness.wait(Duration::from_mins(61));
    let sent = harness.take_sent();
    let [(1, expired), (2, _)] = sent.as_slice() else { panic!("{sent:?}") };
    assert!(matches!(expired, Event::Expired { id, .. } if *id == temporary.id), "{expired:?}");
}

#[test]
fn repeated_request_gets_the_first_result_and_changes_nothing() {
    let mut harness = HubHarness::new();
    harness.join_and_settle(1, "Ann");
    harness.request_with_cid(1, Some("one"), Ok(post(Audience::Everyone, PLAIN)));
    let (_, first) = harness.take_posted();
    let stored = |harness: &mut HubHarness| match harness.take_sent().as_slice() {
        [(1, Event::Stored(stored))] => stored.clone(),
        other => panic!("{other:?}"),
    };
    for _ in 0..2 {
        harness.request_with_cid(1, Some("one"), Ok(post(Audience::Everyone, PLAIN)));
        assert_eq!(stored(&mut harness).id, Some(first.id));
    }
    harness.request_with_cid(1, Some("two"), Ok(Request::Delete(first.id)));
    harness.sent.clear();
    harness.request_with_cid(1, Some("one"), Ok(post(Audience::Everyone, PLAIN)));
    assert_eq!(stored(&mut harness).seq, first.seq, "even after the message was removed");
}

#[test]
fn key_keeps_its_id_across_restarts_and_receives_direct_messages_offline() {
    let mut harness = HubHarness::new();
    let bob = harness.join_with_key(1, "Bob", Some([1; 32]));
    let zoe = harness.join_with_key(2, "Zoe", None);
    assert_ne!(harness.join_with_key(3, "Bob", Some([2; 32])), bob, "another key is another user");
    assert_ne!(harness.join_with_key(4, "Rob", Some([1; 32])), bob, "another name is another user");
    assert_eq!(
        harness.join_with_key(5, "Bob", Some([1; 32])),
        bob,
        "a second session of the same user"
    );
    harness.restart();
    harness.sent.clear();
    let ann = harness.join_with_key(6, "Ann", None);
    harness.sent.clear();
    let only = |user: &UserId| Audience::Only([user.clone()].into());
    harness.request(6, post(only(&zoe), PLAIN));
    assert_eq!(
        harness.take_error(6),
        ErrorCode::UnknownRecipient,
        "an ID without a key is not inherited"
    );
    harness.request(6, post(only(&bob), PLAIN));
    assert_eq!(harness.take_posted().1.sender, ann);
    assert_eq!(harness.join_with_key(7, "Bob", Some([1; 32])), bob);
}

#[test]
fn failed_write_is_reported_and_not_announced() {
    let mut harness = HubHarness::new();
    harness.join_and_settle(1, "Ann");
    harness.request(1, post(Audience::Everyone, PostKind::Temporary { seconds: 5 }));
    let (_, temporary) = harness.take_posted();
    harness.is_disk_full = true;
    harness.request_with_cid(1, Some("one"), Ok(post(Audience::Everyone, PLAIN)));
    assert_eq!(harness.take_error(1), ErrorCode::NotStored);
    harness.request(1, Request::Delete(temporary.id));
    assert_eq!(harness.take_error(1), ErrorCode::NotStored);
    harness.wait(Duration::from_secs(6));
    assert!(harness.take_sent().is_empty(), "the expiry is not written yet");
    harness.is_disk_full = false;
    harness.request_with_cid(1, Some("one"), Ok(post(Audience::Everyone, PLAIN)));
    harness.take_posted();
    harness.wait(Duration::from_secs(20));
    let sent = harness.take_sent();
    assert!(matches!(sent[0].1, Event::Expired { id, .. } if id == temporary.id));
}

#[test]
fn presence_is_announced_before_the_first_message() {
    let mut harness = HubHarness::new();
    harness.join_and_settle(1, "Ann");
    for (session, name) in [(2, "Bob"), (3, "Kim")] {
        let user = harness.join_with_key(session, name, Some([7; 32]));
        harness.request(session, post(Audience::Everyone, PLAIN));
        let to_ann: Vec<_> = harness.take_sent().into_iter().filter(|(to, _)| *to == 1).collect();
        let [(_, Event::Presence { joined, .. }), (_, Event::Posted(message))] = to_ann.as_slice()
        else {
            panic!("{to_ann:?}");
        };
        assert_eq!((joined, &message.sender), (&vec![user.clone()], &user));
    }
}

fn room_name(name: &str) -> RoomName {
    name.parse().unwrap()
}

fn room_request(room: &str, action: RoomAction) -> Request {
    Request::Room { room: room_name(room), action }
}

fn create(private: bool) -> RoomAction {
    RoomAction::Create { private, topic: SafeText::default() }
}

#[test]
fn administrator_may_reserve_the_creation_of_rooms() {
    let mut harness = HubHarness::new();
    let ann = harness.join_with_key(1, "Ann", Some([1; 32]));
    let settings = RoomSettings { creators: RoomCreators::Admins, ..RoomSettings::default() };
    harness.change_hub(|hub| hub.with_rooms(settings));
    harness.take_sent();
    harness.request(1, room_request("#ops", create(false)));
    assert_eq!(harness.take_error(1), ErrorCode::NotAllowed);
    let command = |owner: &UserId| AdminCommand::Room {
        room: room_name("#ops"),
        change: RoomCommand::Create {
            private: true,
            topic: "deploys".to_owned(),
            owner: Some(owner.clone()),
        },
    };
    assert_eq!(harness.admin(command(&ann)), AdminReply::Done { text: "created #ops".to_owned() });
    let sent = harness.take_sent();
    let [(1, Event::RoomChanged(added))] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!((&added.change, added.by.as_ref()), (&RoomChange::Added(vec![ann.clone()]), None));
    let AdminReply::Refused { .. } = harness.admin(command(&ann)) else { panic!("twice") };
    let info = RoomInfo { room: room_name("#ops"), private: true, archived: false, people: 1 };
    assert_eq!(harness.admin(AdminCommand::Rooms), AdminReply::Rooms { rooms: vec![info] });
    harness.request(1, room_request("#ops", RoomAction::Archive(true)));
    harness.request(1, post(Audience::Room(room_name("#ops")), PLAIN));
    let sent = harness.take_sent();
    assert!(
        matches!(sent.last(), Some((1, Event::Error(error))) if error.code == ErrorCode::Archived)
    );
}

#[test]
fn newcomer_becomes_a_member_of_the_rooms_of_the_invite() {
    let mut harness = HubHarness::new();
    let ann = harness.join_with_key(1, "Ann", Some([1; 32]));
    harness.request(1, room_request("#ops", create(true)));
    harness.request(1, post(Audience::Room(room_name("#ops")), PLAIN));
    harness.restart_with_access(AccessMode::InviteOnly { host: None });
    let secret = crate::protocol::invite::Invite::new([7; 16]);
    let command = |room: &str| AdminCommand::Invite {
        invite: secret.clone(),
        uses: 1,
        seconds: 60,
        rooms: vec![room_name(room)],
    };
    assert!(matches!(harness.admin(command("#lab")), AdminReply::Refused { .. }));
    assert!(matches!(harness.admin(command("#ops")), AdminReply::Done { .. }));
    let invite = Some(secret.clone());
    let bob = harness.try_login(2, Some([2; 32]), |login| login.invite = invite).unwrap();
    harness.request(2, post(Audience::Room(room_name("#ops")), PLAIN));
    assert_eq!(harness.take_posted().1.sender, bob);
    let view = View { viewer: &bob, now: harness.millis() };
    let mut reader = harness.store.open_reader().unwrap();
    let seen = page(&mut reader, view, HistoryRange::Latest, 9).unwrap();
    assert!(seen.messages.iter().all(|message| message.sender != ann), "from now on: {seen:?}");
}
