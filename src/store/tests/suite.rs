//! What every log promises, one promise a test, run on the log in memory and on the one in SQLite.

use std::ops::ControlFlow;

use super::super::memory::MemoryStore;
use super::super::sqlite::SqliteStore;
use super::super::{
    Banned, CID_KEPT, CLOCK_BACK, DAY, First, MARK_KEPT, Metadata, OpenInvite, RESUME_KEPT,
    Retention, Scanned, Swept,
};
use super::*;
use crate::protocol::event::{Deleted, Event};

macro_rules! suite {
    ($($test:ident),* $(,)?) => {
        mod in_memory {
            $(#[test] fn $test() { super::$test(super::MemoryStore::default()); })*
        }

        mod in_sqlite {
            $(#[test] fn $test() {
                let folder = tempfile::tempdir().unwrap();
                let store = super::SqliteStore::open(folder.path()).unwrap();
                super::$test(store.without_sync());
            })*
        }
    };
}

suite!(
    numbers_have_no_gaps_and_all_see_one_order,
    a_resend_does_nothing_and_gets_the_first_outcome,
    a_resend_is_known_for_seven_days_whatever_became_of_the_message,
    direct_messages_are_for_their_people_alone,
    what_is_gone_is_gone_in_every_path,
    who_was_away_learns_what_is_gone,
    a_slow_reader_gets_everything_in_steps,
    history_is_read_page_by_page,
    a_message_is_found_with_those_around_it,
    a_scan_goes_back_in_steps_and_stops_when_told,
    the_time_never_goes_back_a_little,
    a_taken_id_hurts_nobody_else,
    an_id_belongs_to_one_key,
    an_id_goes_to_another_key_when_it_is_bound_anew,
    an_invite_lets_in_so_many_and_no_more,
    an_invite_that_is_too_old_lets_nobody_in_and_goes,
    who_is_shut_out_stays_out_until_let_in_again,
    what_an_administrator_removes_goes_as_if_by_its_author,
    nothing_goes_unless_a_retention_is_set,
    old_messages_go_and_who_was_away_too_long_is_told,
    no_history_keeps_only_what_waits_for_somebody,
    marks_are_kept_for_ninety_days,
    a_log_says_what_it_contains,
);

fn numbers_have_no_gaps_and_all_see_one_order(mut store: impl Store) {
    let batch: Vec<_> = (1..=3).map(|n| Append::Say(message(n, "Ann", &n.to_string()))).collect();
    let outcomes = store.append(NOW, &batch).unwrap();
    let numbers: Vec<_> = outcomes.into_iter().map(|outcome| said(outcome).seq).collect();
    assert_eq!(numbers, [Seq(1), Seq(2), Seq(3)]);
    let deleted = append(&mut store, delete(3, "Ann"));
    assert_eq!(
        deleted,
        Outcome::Deleted(Deleted { seq: Seq(4), id: id(3), by: user("Ann"), cid: None })
    );
    assert_eq!(append(&mut store, delete(3, "Ann")), Outcome::Gone);
    assert_eq!(said(append(&mut store, Append::Say(message(3, "Bob", "5")))).seq, Seq(5));
    assert_eq!(store.opened().unwrap().head, Seq(5));
    assert_eq!(texts(&mut store.reader().unwrap(), "Cid"), ["1", "2", "5"]);
}

fn a_resend_does_nothing_and_gets_the_first_outcome(mut store: impl Store) {
    let first = NewMessage { cid: Some(cid("a")), ..message(1, "Ann", "hello") };
    let again = NewMessage { id: id(2), ..first.clone() };
    let outcomes = store.append(NOW, &[Append::Say(first), Append::Say(again.clone())]).unwrap();
    let [Outcome::Said(hello), second] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    assert_eq!(*second, Outcome::Repeated(First::Said(hello.clone())));

    let of_bob = NewMessage { sender: user("Bob"), ..again };
    assert_eq!(said(append(&mut store, Append::Say(of_bob))).seq, Seq(2));

    let delete = Append::Delete { id: id(1), by: user("Ann"), cid: Some(cid("b")) };
    let deleted = append(&mut store, delete.clone());
    let Outcome::Deleted(event) = deleted else { panic!("{deleted:?}") };
    assert_eq!(append(&mut store, delete), Outcome::Repeated(First::Deleted(event)));
}

fn a_resend_is_known_for_seven_days_whatever_became_of_the_message(mut store: impl Store) {
    let said_once = NewMessage { cid: Some(cid("a")), ..message(1, "Ann", "hello") };
    append(&mut store, Append::Say(said_once.clone()));
    append(&mut store, delete(1, "Ann"));
    let again = Append::Say(NewMessage { at: at(NOW + CID_KEPT - 1), ..said_once });
    let gone = Outcome::Repeated(First::SaidAndGone { seq: Seq(1), id: id(1) });
    store.sweep(NOW + CID_KEPT - 1, Retention::Days(0)).unwrap();
    assert_eq!(append_at(&mut store, NOW + CID_KEPT - 1, again.clone()), gone);
    let late = said(append_at(&mut store, NOW + CID_KEPT, again));
    assert_eq!(late.seq, Seq(3));
}

fn direct_messages_are_for_their_people_alone(mut store: impl Store) {
    let secret =
        NewMessage { audience: only(&["Bob", "Cid"]), ..message(1, "Ann", "the secret is 42") };
    append(&mut store, Append::Say(secret));
    append(&mut store, Append::Say(message(2, "Ann", "hello")));
    let mut reader = store.reader().unwrap();
    for (viewer, may) in [("Ann", true), ("Bob", true), ("Cid", true), ("Dan", false)] {
        let who = user(viewer);
        let view = View { viewer: &who, now: NOW };
        assert_eq!(texts(&mut reader, viewer).len(), 1 + usize::from(may), "{viewer}");
        let events = reader.events_after(view, Seq(0), 10).unwrap().unwrap().events;
        assert_eq!(events.len(), 1 + usize::from(may), "{viewer}");
        assert_eq!(reader.message(view, id(1)).unwrap().is_some(), may, "{viewer}");
        assert_eq!(reader.messages(view, &[Seq(1)]).unwrap().len(), usize::from(may), "{viewer}");
        assert_eq!(reader.around(view, id(1), 1).unwrap().is_some(), may, "{viewer}");
        let mut shown = Vec::new();
        let scanned = reader.scan(view, None, 10, &mut |row| {
            shown.push(row.content.to_owned());
            ControlFlow::Continue(())
        });
        assert_eq!(scanned.unwrap().shown, 1 + u64::from(may), "{viewer}");
        assert_eq!(shown.iter().any(|text| text.contains("secret")), may, "{viewer}");
    }
    append(&mut store, delete(1, "Ann"));
    let (dan, bob) = (user("Dan"), user("Bob"));
    let after = |reader: &mut _, viewer| {
        Reader::events_after(reader, View { viewer, now: NOW }, Seq(2), 10).unwrap().unwrap()
    };
    assert_eq!(after(&mut reader, &dan).events, []);
    assert_eq!(after(&mut reader, &dan).looked, Seq(3));
    assert_eq!(after(&mut reader, &bob).events.len(), 1);
}

fn what_is_gone_is_gone_in_every_path(mut store: impl Store) {
    let kind = Kind::Temporary { expires: NOW + 10 };
    let brief = NewMessage { kind, cid: Some(cid("a")), ..message(1, "Ann", "brief") };
    let audience = only(&["Ann"]);
    append(&mut store, Append::Say(brief.clone()));
    append(&mut store, Append::Say(NewMessage { audience, ..message(2, "Bob", "removed") }));
    append(&mut store, delete(2, "Bob"));
    let mut reader = store.reader().unwrap();
    assert_eq!(texts(&mut reader, "Ann"), ["brief"]);

    // Its time is up, though nobody has said so yet.
    let viewer = user("Ann");
    let view = View { viewer: &viewer, now: NOW + 10 };
    assert!(texts_at(&mut reader, "Ann", NOW + 10).is_empty());
    assert_eq!(reader.message(view, id(1)).unwrap(), None);
    assert_eq!(reader.around(view, id(1), 1).unwrap(), None);
    assert_eq!(reader.messages(view, &[Seq(1)]).unwrap(), []);
    let nothing = Scanned { shown: 0, next: None };
    assert_eq!(reader.scan(view, None, 10, &mut |_| panic!("it is gone")).unwrap(), nothing);
    let events = reader.events_after(view, Seq(0), 10).unwrap().unwrap().events;
    assert!(matches!(events.as_slice(), [Event::Deleted(_)]), "{events:?}");
    let gone = Outcome::Repeated(First::SaidAndGone { seq: Seq(1), id: id(1) });
    assert_eq!(append_at(&mut store, NOW + 10, Append::Say(brief)), gone);
    assert_eq!(append_at(&mut store, NOW + 10, delete(1, "Ann")), Outcome::Gone);

    let expired = append_at(&mut store, NOW + 10, Append::Expire { id: id(1) });
    assert_eq!(expired, Outcome::Expired { seq: Seq(4), id: id(1) });
    assert_eq!(append(&mut store, Append::Expire { id: id(1) }), Outcome::Gone);
    assert!(texts(&mut reader, "Ann").is_empty(), "not even by a clock that goes back");
}

fn who_was_away_learns_what_is_gone(mut store: impl Store) {
    for (number, sender) in [(1, "Ann"), (2, "Bob")] {
        append(&mut store, Append::Say(message(number, sender, "text")));
    }
    append(&mut store, delete(1, "Ann"));
    append(&mut store, Append::Expire { id: id(2) });
    let viewer = user("Cid");
    let view = View { viewer: &viewer, now: NOW };
    let events = store.reader().unwrap().events_after(view, Seq(2), 10).unwrap().unwrap();
    let by = user("Ann");
    assert_eq!(
        events.events,
        [
            Event::Deleted(Deleted { seq: Seq(3), id: id(1), by, cid: None }),
            Event::Expired { seq: Seq(4), id: id(2) },
        ]
    );
}

fn a_slow_reader_gets_everything_in_steps(mut store: impl Store) {
    for number in 1..=9 {
        // Every third is not for the reader.
        let audience = if number % 3 == 0 { only(&["Bob"]) } else { Audience::Everyone };
        append(&mut store, Append::Say(NewMessage { audience, ..message(number, "Ann", "text") }));
    }
    let viewer = user("Cid");
    let view = View { viewer: &viewer, now: NOW };
    let (mut reader, mut place, mut steps) = (store.reader().unwrap(), Seq(0), Vec::new());
    while place < Seq(9) {
        let events = reader.events_after(view, place, 2).unwrap().unwrap();
        place = events.looked;
        steps.push((events.events.len(), place.0));
    }
    assert_eq!(steps, [(2, 2), (2, 5), (2, 8), (0, 9)]);
    let beyond = reader.events_after(view, Seq(u64::MAX), 2).unwrap().unwrap();
    assert_eq!((beyond.events.len(), beyond.looked), (0, Seq(9)));
}

fn history_is_read_page_by_page(mut store: impl Store) {
    for number in 1..=7 {
        let audience = if number % 2 == 0 { only(&["Bob"]) } else { Audience::Everyone };
        append(&mut store, Append::Say(NewMessage { audience, ..message(number, "Ann", "text") }));
    }
    let mut reader = store.reader().unwrap();
    let mut pages = |viewer: &str| {
        let (mut before, mut all) = (None, Vec::new());
        loop {
            let view = View { viewer: &user(viewer), now: NOW };
            let page = reader.history(view, before, 3).unwrap();
            all.push(page.messages.iter().map(|message| message.seq.0).collect::<Vec<_>>());
            before = page.messages.first().map(|message| message.seq);
            if !page.more {
                return all;
            }
        }
    };
    assert_eq!(pages("Bob"), [vec![5, 6, 7], vec![2, 3, 4], vec![1]]);
    assert_eq!(pages("Cid"), [vec![3, 5, 7], vec![1]]);
}

fn a_message_is_found_with_those_around_it(mut store: impl Store) {
    let kind = Kind::Reply { to: id(2) };
    for number in 1..=5 {
        append(&mut store, Append::Say(NewMessage { kind, ..message(number, "Ann", "text") }));
    }
    let viewer = user("Cid");
    let view = View { viewer: &viewer, now: NOW };
    let mut reader = store.reader().unwrap();
    let around = reader.around(view, id(4), 2).unwrap().unwrap();
    assert_eq!(seqs(&around.messages), [2, 3, 4, 5].map(Seq));
    assert_eq!((around.earlier, around.later), (true, false));
    let first = reader.around(view, id(1), 1).unwrap().unwrap();
    assert_eq!(seqs(&first.messages), [1, 2].map(Seq));
    assert_eq!((first.earlier, first.later), (false, true));
    assert_eq!(reader.around(view, id(9), 2).unwrap(), None);
    let metadata =
        Metadata { seq: Seq(4), sender: user("Ann"), audience: Audience::Everyone, kind };
    assert_eq!(reader.message(view, id(4)).unwrap(), Some(metadata));
}

fn a_scan_goes_back_in_steps_and_stops_when_told(mut store: impl Store) {
    for number in 1..=5 {
        let audience = if number == 4 { only(&["Bob"]) } else { Audience::Everyone };
        append(&mut store, Append::Say(NewMessage { audience, ..message(number, "Ann", "text") }));
    }
    let viewer = user("Cid");
    let view = View { viewer: &viewer, now: NOW };
    let mut reader = store.reader().unwrap();
    let mut scan = |before, rows, stop: u64| {
        let mut shown = Vec::new();
        let scanned = reader.scan(view, before, rows, &mut |row| {
            assert!(!row.names(&user("Bob")));
            shown.push(row.seq.0);
            if row.seq.0 == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        (shown, scanned.unwrap().next)
    };
    assert_eq!(scan(None, 2, 0), (vec![5], Some(Seq(4))), "what is not shown is looked at, too");
    assert_eq!(scan(Some(Seq(4)), 9, 2), (vec![3, 2], Some(Seq(2))));
    assert_eq!(scan(Some(Seq(2)), 9, 0), (vec![1], None));
}

fn the_time_never_goes_back_a_little(mut store: impl Store) {
    let mut say = |number, now| {
        let new = NewMessage { at: at(now), ..message(number, "Ann", "text") };
        let message = said(append_at(&mut store, now, Append::Say(new)));
        assert_eq!(message.at.offset().local_minus_utc(), 3_600);
        message.at.timestamp_millis()
    };
    assert_eq!(say(1, NOW), NOW);
    assert_eq!(say(2, NOW - CLOCK_BACK), NOW);
    assert_eq!(say(3, NOW + 5), NOW + 5);
    assert_eq!(say(4, NOW + 4 - CLOCK_BACK), NOW + 4 - CLOCK_BACK, "it was wrong before");
}

fn a_taken_id_hurts_nobody_else(mut store: impl Store) {
    let batch = [(1, "one"), (1, "two"), (2, "three")]
        .map(|(n, text)| Append::Say(message(n, "Ann", text)));
    let outcomes = store.append(NOW, &batch).unwrap();
    let [Outcome::Said(one), Outcome::IdTaken, Outcome::Said(three)] = outcomes.as_slice() else {
        panic!("{outcomes:?}")
    };
    assert_eq!((one.seq, three.seq), (Seq(1), Seq(2)));
}

fn an_id_belongs_to_one_key(mut store: impl Store) {
    assert_eq!(append(&mut store, register("Ann", 1)), Outcome::Registered);
    assert_eq!(append(&mut store, register("Ann", 1)), Outcome::Registered);
    assert_eq!(append(&mut store, register("Ann", 2)), Outcome::NotYourKey);
    assert_eq!(append(&mut store, register("Bob", 1)), Outcome::Registered);
    let registered = store.opened().unwrap().registered;
    assert_eq!(registered, [(user("Ann"), [1; 32]), (user("Bob"), [1; 32])]);
}

fn an_id_goes_to_another_key_when_it_is_bound_anew(mut store: impl Store) {
    append(&mut store, register("Ann", 1));
    append_at(&mut store, NOW + 1, register("Bob", 2));
    append_at(&mut store, NOW + 2, Append::Rebind { user: user("Ann"), key: [2; 32] });
    append_at(&mut store, NOW + 2, Append::Rebind { user: user("Cid"), key: [2; 32] });
    assert_eq!(append(&mut store, register("Ann", 1)), Outcome::NotYourKey);
    let registered = store.opened().unwrap().registered;
    assert_eq!(registered, [(user("Bob"), [2; 32]), (user("Ann"), [2; 32])], "the latest is last");
}

fn an_invite_lets_in_so_many_and_no_more(mut store: impl Store) {
    append(&mut store, Append::Invite(OpenInvite { hash: [7; 32], uses: 2, expires: NOW + 1 }));
    let redeem = |name: &str, key| Append::Register {
        user: user(name),
        key: [key; 32],
        invite: Some([7; 32]),
    };
    let batch = [redeem("Ann", 1), redeem("Ann", 1), redeem("Ann", 2), redeem("Bob", 2)];
    let expected =
        [Outcome::Registered, Outcome::Registered, Outcome::NotYourKey, Outcome::Registered];
    assert_eq!(store.append(NOW, &batch[..3]).unwrap(), expected[..3]);
    let open = store.opened().unwrap().invites;
    assert_eq!(open, [OpenInvite { hash: [7; 32], uses: 1, expires: NOW + 1 }]);
    assert_eq!(store.append(NOW, &batch).unwrap(), expected, "who is in already pays nothing");
    assert_eq!(append(&mut store, redeem("Cid", 3)), Outcome::BadInvite);
    assert_eq!(store.opened().unwrap().invites, []);
    assert_eq!(store.opened().unwrap().registered.len(), 2);
}

fn an_invite_that_is_too_old_lets_nobody_in_and_goes(mut store: impl Store) {
    let invite = |hash, expires| Append::Invite(OpenInvite { hash: [hash; 32], uses: 9, expires });
    append(&mut store, invite(1, NOW + 10));
    append(&mut store, invite(2, NOW + 20));
    let redeem = Append::Register { user: user("Ann"), key: [1; 32], invite: Some([1; 32]) };
    assert_eq!(append_at(&mut store, NOW + 10, redeem), Outcome::BadInvite);
    store.sweep(NOW + 10, Retention::Forever).unwrap();
    let hashes: Vec<_> = store.opened().unwrap().invites.iter().map(|open| open.hash).collect();
    assert_eq!(hashes, [[2; 32]]);
}

fn who_is_shut_out_stays_out_until_let_in_again(mut store: impl Store) {
    let key = Banned::Key([1; 32]);
    let network = Banned::Network("203.0.113.0/24".parse().unwrap());
    let batch = [key, network, key, network].map(Append::Ban);
    store.append(NOW, &batch).unwrap();
    let mut banned = store.opened().unwrap().banned;
    banned.sort();
    assert_eq!(banned, [key, network]);
    append(&mut store, Append::Unban(key));
    append(&mut store, Append::Unban(Banned::Key([2; 32])));
    assert_eq!(store.opened().unwrap().banned, [network]);
    append(&mut store, Append::Unban(network));
    assert_eq!(store.opened().unwrap().banned, []);
}

fn what_an_administrator_removes_goes_as_if_by_its_author(mut store: impl Store) {
    let audience = only(&["Bob"]);
    let secret = NewMessage { audience: audience.clone(), ..message(1, "Ann", "the secret is 42") };
    append(&mut store, Append::Say(secret));
    let deleted = Deleted { seq: Seq(2), id: id(1), by: user("Ann"), cid: None };
    let removed = append(&mut store, Append::Remove { id: id(1) });
    assert_eq!(removed, Outcome::Removed { deleted: deleted.clone(), audience });
    assert_eq!(append(&mut store, Append::Remove { id: id(1) }), Outcome::Gone);
    let mut reader = store.reader().unwrap();
    for (viewer, told) in [("Bob", vec![Event::Deleted(deleted)]), ("Dan", vec![])] {
        let view = View { viewer: &user(viewer), now: NOW };
        assert_eq!(reader.events_after(view, Seq(0), 9).unwrap().unwrap().events, told);
    }
}

fn nothing_goes_unless_a_retention_is_set(mut store: impl Store) {
    append(&mut store, Append::Say(message(1, "Ann", "text")));
    let swept = store.sweep(NOW + 10_000 * DAY, Retention::Forever).unwrap();
    assert_eq!(swept, Swept::default());
    assert_eq!(texts(&mut store.reader().unwrap(), "Bob"), ["text"]);
}

fn old_messages_go_and_who_was_away_too_long_is_told(mut store: impl Store) {
    for (number, day) in [(1, 0), (2, 1), (3, 2)] {
        let at = at(NOW + day * DAY);
        append(&mut store, Append::Say(NewMessage { at, ..message(number, "Ann", "text") }));
    }
    let swept = store.sweep(NOW + 3 * DAY, Retention::Days(2)).unwrap();
    assert_eq!(swept, Swept { freed: vec![id(1)], more: false });
    let mut reader = store.reader().unwrap();
    assert_eq!(reader.horizon().unwrap(), Seq(1));
    assert_eq!(store.opened().unwrap().horizon, Seq(1));
    let viewer = user("Bob");
    let view = View { viewer: &viewer, now: NOW };
    assert_eq!(reader.events_after(view, Seq(0), 9).unwrap(), None);
    assert_eq!(reader.events_after(view, Seq(1), 9).unwrap().unwrap().events.len(), 2);
}

fn no_history_keeps_only_what_waits_for_somebody(mut store: impl Store) {
    append(&mut store, register("Bob", 1));
    let kind = Kind::Temporary { expires: NOW + 2 * RESUME_KEPT };
    let (to_bob, to_cid) = (only(&["Bob", "Cid"]), only(&["Cid"]));
    append(&mut store, Append::Say(message(1, "Ann", "to all")));
    append(&mut store, Append::Say(NewMessage { audience: to_bob, ..message(2, "Ann", "waits") }));
    append(&mut store, Append::Say(NewMessage { audience: to_cid, ..message(3, "Ann", "lost") }));
    append(&mut store, Append::Say(NewMessage { kind, ..message(4, "Ann", "temporary") }));
    let none = Retention::Days(0);
    assert_eq!(store.sweep(NOW + RESUME_KEPT, none).unwrap(), Swept::default());
    store.sweep(NOW + RESUME_KEPT + 1, none).unwrap();
    let mut reader = store.reader().unwrap();
    assert_eq!(texts(&mut reader, "Bob"), ["waits", "temporary"]);

    append(&mut store, Append::Seen { user: user("Bob"), up_to: Seq(2) });
    append(&mut store, Append::Seen { user: user("Bob"), up_to: Seq(1) });
    store.sweep(NOW + RESUME_KEPT + 1, none).unwrap();
    assert_eq!(texts(&mut reader, "Bob"), ["temporary"]);

    let again = NewMessage { audience: only(&["Bob"]), ..message(5, "Ann", "unread") };
    append(&mut store, Append::Say(again));
    store.sweep(NOW + MARK_KEPT, none).unwrap();
    assert_eq!(texts(&mut reader, "Bob"), ["temporary", "unread"]);
    store.sweep(NOW + MARK_KEPT + 1, none).unwrap();
    assert_eq!(texts(&mut reader, "Bob"), ["temporary"]);
}

fn marks_are_kept_for_ninety_days(mut store: impl Store) {
    append(&mut store, Append::Say(message(1, "Ann", "text")));
    append(&mut store, delete(1, "Ann"));
    let viewer = user("Bob");
    let view = View { viewer: &viewer, now: NOW };
    let mut reader = store.reader().unwrap();
    assert_eq!(store.sweep(NOW + MARK_KEPT, Retention::Forever).unwrap(), Swept::default());
    assert_eq!(reader.events_after(view, Seq(1), 9).unwrap().unwrap().events.len(), 1);
    let swept = store.sweep(NOW + MARK_KEPT + 1, Retention::Forever).unwrap();
    assert_eq!(swept.freed, [id(1)]);
    assert_eq!(reader.events_after(view, Seq(1), 9).unwrap(), None, "too far back");
    assert_eq!(reader.events_after(view, Seq(2), 9).unwrap().unwrap().events, []);
}

fn a_log_says_what_it_contains(mut store: impl Store) {
    let kind = Kind::Temporary { expires: NOW + 10 };
    append(&mut store, Append::Say(message(1, "Ann", "text")));
    append(&mut store, Append::Say(NewMessage { kind, ..message(2, "Ann", "brief") }));
    let audience = only(&["Bob"]);
    append(&mut store, Append::Say(NewMessage { audience, ..message(3, "Ann", "removed") }));
    append(&mut store, delete(3, "Ann"));
    let mut opened = store.opened().unwrap();
    opened.ids.sort();
    assert_eq!(opened.ids, [1, 2, 3].map(id), "an id stays taken while its mark is there");
    assert_eq!(opened.temporary, [(id(2), NOW + 10)]);
    assert_eq!(opened.size.messages, 2);
    assert_eq!(store.reader().unwrap().size().unwrap(), opened.size);
    assert_eq!(opened.head, Seq(4));
    assert_eq!(opened.private, [user("Ann"), user("Bob")]);
    assert!(!opened.epoch.is_empty());
}
