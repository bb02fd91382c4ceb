//! Conformance suite: one test for each guarantee of `Store` and `Reader`, run on both implementations.

use std::ops::ControlFlow;

use super::super::{
    BanSubject, BanTarget, CID_RETENTION, Change, DAY, MAX_CLOCK_AHEAD, MIN_RETENTION,
    MemberChange, OPEN_INVITES, OpenInvite, RETAIN_ROWS, ScanResult, TOMBSTONE_RETENTION,
};
use super::memory::MemoryStore;
use super::*;
use crate::protocol::event::Deleted;
use crate::protocol::id::RoomName;

macro_rules! suite {
    ($($test:ident),* $(,)?) => {
        mod in_memory {
            $(#[test] fn $test() { super::$test(super::MemoryStore::default()); })*
        }

        mod in_sqlite {
            $(#[test] fn $test() {
                let folder = tempfile::tempdir().unwrap();
                super::$test(super::open_sqlite(folder.path()).without_sync());
            })*
        }
    };
}

suite!(
    seqs_are_gapless_and_ordered,
    resend_is_stored_once_and_gets_the_first_outcome,
    cid_is_remembered_for_seven_days_even_after_removal,
    direct_messages_are_visible_only_to_their_audience,
    removed_and_expired_messages_are_never_returned,
    removals_and_expirations_are_replayed,
    events_after_returns_everything_in_pages,
    history_is_paged,
    around_returns_neighbouring_messages,
    scan_is_paged_backwards_and_can_stop,
    small_clock_steps_back_are_ignored,
    refused_entry_changes_nothing,
    refused_request_is_decided_again_and_executed_once,
    registration_joins_the_rooms_of_the_invite,
    reply_and_deletion_follow_the_rules,
    key_has_one_id_per_name,
    id_in_use_is_not_given_again,
    similar_name_is_refused,
    rebind_moves_an_id_to_another_key,
    invite_registers_at_most_its_number_of_uses,
    expired_invite_is_rejected_and_swept,
    open_invites_are_limited,
    ban_is_stored_until_unban,
    admin_removal_is_reported_as_by_the_author,
    sweep_removes_no_messages_with_retention_forever,
    sweep_is_divided_into_steps,
    sweep_removes_old_messages_and_moves_the_horizon,
    zero_retention_keeps_only_undelivered_direct_messages,
    tombstones_are_kept_for_ninety_days,
    snapshot_lists_the_contents,
);

fn seqs_are_gapless_and_ordered(mut store: impl Store) {
    let batch: Vec<_> = (1..=3).map(|n| Entry::Post(message(n, "Ann", &n.to_string()))).collect();
    let outcomes = store.apply(NOW, &batch).unwrap();
    let numbers: Vec<_> = outcomes.into_iter().map(|outcome| expect_posted(outcome).seq).collect();
    assert_eq!(numbers, [Seq(1), Seq(2), Seq(3)]);
    let deleted = apply(&mut store, delete(3, "Ann"));
    let event = Deleted { seq: Seq(4), id: id(3), author: user("Ann"), cid: None };
    assert_eq!(expect_changed(deleted), Event::Deleted(event));
    assert_eq!(apply(&mut store, delete(3, "Ann")), not_found(3));
    assert_eq!(expect_posted(apply(&mut store, Entry::Post(message(3, "Bob", "5")))).seq, Seq(5));
    assert_eq!(store.snapshot().unwrap().head, Seq(5));
    assert_eq!(texts(&mut store.open_reader().unwrap(), "Cid"), ["1", "2", "5"]);
}

fn resend_is_stored_once_and_gets_the_first_outcome(mut store: impl Store) {
    let first = NewMessage { cid: Some(cid("a")), ..message(1, "Ann", "hello") };
    let again = first.clone();
    let outcomes = store.apply(NOW, &[Entry::Post(first), Entry::Post(again.clone())]).unwrap();
    let [Outcome::Posted(hello), second] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    assert_eq!(*second, Outcome::Repeated { seq: hello.seq, id: Some(hello.id) });

    let from_bob = NewMessage { sender: user("Bob"), ..again };
    assert_eq!(expect_posted(apply(&mut store, Entry::Post(from_bob))).seq, Seq(2));

    let delete = Entry::Delete { id: id(1), by: user("Ann"), cid: Some(cid("b")) };
    expect_changed(apply(&mut store, delete.clone()));
    assert_eq!(apply(&mut store, delete), Outcome::Repeated { seq: Seq(3), id: Some(id(1)) });
}

fn cid_is_remembered_for_seven_days_even_after_removal(mut store: impl Store) {
    let original = NewMessage { cid: Some(cid("a")), ..message(1, "Ann", "hello") };
    apply(&mut store, Entry::Post(original.clone()));
    apply(&mut store, delete(1, "Ann"));
    let again = Entry::Post(NewMessage { at: at(NOW + CID_RETENTION - 1), ..original });
    let removed = Outcome::Repeated { seq: Seq(1), id: Some(id(1)) };
    sweep(&mut store, NOW + CID_RETENTION - 1, Retention::Days(0));
    assert_eq!(apply_at(&mut store, NOW + CID_RETENTION - 1, again.clone()), removed);
    let late = expect_posted(apply_at(&mut store, NOW + CID_RETENTION, again));
    assert_eq!(late.seq, Seq(3));
}

fn direct_messages_are_visible_only_to_their_audience(mut store: impl Store) {
    let secret =
        NewMessage { audience: only(&["Bob", "Cid"]), ..message(1, "Ann", "the secret is 42") };
    apply(&mut store, Entry::Post(secret));
    apply(&mut store, Entry::Post(message(2, "Ann", "hello")));
    let mut reader = store.open_reader().unwrap();
    for (viewer, is_visible) in [("Ann", true), ("Bob", true), ("Cid", true), ("Dan", false)] {
        let viewer_id = user(viewer);
        let view = View { viewer: &viewer_id, now: NOW };
        assert_eq!(texts(&mut reader, viewer).len(), 1 + usize::from(is_visible), "{viewer}");
        let events = reader.events_after(view, Seq(0), 10).unwrap().unwrap().events;
        assert_eq!(events.len(), 1 + usize::from(is_visible), "{viewer}");
        assert_eq!(
            reader.messages(view, &[Seq(1)]).unwrap().len(),
            usize::from(is_visible),
            "{viewer}"
        );
        assert_eq!(around(&mut reader, view, 1, 2).is_ok(), is_visible, "{viewer}");
        let mut visited = Vec::new();
        let scanned = reader.scan(view, None, None, 10, &mut |row| {
            visited.push(row.content.to_owned());
            ControlFlow::Continue(())
        });
        assert_eq!(scanned.unwrap().unwrap().visited, 1 + u64::from(is_visible), "{viewer}");
        assert_eq!(visited.iter().any(|text| text.contains("secret")), is_visible, "{viewer}");
    }
    apply(&mut store, delete(1, "Ann"));
    let (dan, bob) = (user("Dan"), user("Bob"));
    let after = |reader: &mut _, viewer| {
        Reader::events_after(reader, View { viewer, now: NOW }, Seq(2), 10).unwrap().unwrap()
    };
    assert_eq!(after(&mut reader, &dan).events, []);
    assert_eq!(after(&mut reader, &dan).complete_to, Seq(3));
    assert_eq!(after(&mut reader, &bob).events.len(), 1);
}

fn removed_and_expired_messages_are_never_returned(mut store: impl Store) {
    let kind = MessageKind::Temporary { expires: NOW + 10 };
    let brief = NewMessage { kind, cid: Some(cid("a")), ..message(1, "Ann", "brief") };
    let audience = only(&["Ann"]);
    apply(&mut store, Entry::Post(brief.clone()));
    apply(&mut store, Entry::Post(NewMessage { audience, ..message(2, "Bob", "removed") }));
    apply(&mut store, delete(2, "Bob"));
    let mut reader = store.open_reader().unwrap();
    assert_eq!(texts(&mut reader, "Ann"), ["brief"]);

    // Expired by the clock, although `Entry::Expire` has not been written yet.
    let viewer = user("Ann");
    let view = View { viewer: &viewer, now: NOW + 10 };
    assert!(texts_at(&mut reader, "Ann", NOW + 10).is_empty());
    assert_eq!(around(&mut reader, view, 1, 2), Err(Refusal::UnknownMessage(id(1))));
    assert_eq!(reader.messages(view, &[Seq(1)]).unwrap(), []);
    let nothing = ScanResult { visited: 0, next: None };
    let scanned = reader.scan(view, None, None, 10, &mut |_| panic!("removed message"));
    assert_eq!(scanned.unwrap(), Ok(nothing));
    let events = reader.events_after(view, Seq(0), 10).unwrap().unwrap().events;
    assert!(matches!(events.as_slice(), [Event::Deleted(_)]), "{events:?}");
    let removed = Outcome::Repeated { seq: Seq(1), id: Some(id(1)) };
    assert_eq!(apply_at(&mut store, NOW + 10, Entry::Post(brief)), removed);
    assert_eq!(apply_at(&mut store, NOW + 10, delete(1, "Ann")), not_found(1));

    let expired = apply_at(&mut store, NOW + 10, Entry::Expire { id: id(1) });
    assert_eq!(expect_changed(expired), Event::Expired { seq: Seq(4), id: id(1) });
    assert_eq!(apply(&mut store, Entry::Expire { id: id(1) }), not_found(1));
    assert!(texts(&mut reader, "Ann").is_empty(), "not even after the clock steps back");
}

fn removals_and_expirations_are_replayed(mut store: impl Store) {
    for (number, sender) in [(1, "Ann"), (2, "Bob")] {
        apply(&mut store, Entry::Post(message(number, sender, "text")));
    }
    apply(&mut store, delete(1, "Ann"));
    apply(&mut store, Entry::Expire { id: id(2) });
    let viewer = user("Cid");
    let view = View { viewer: &viewer, now: NOW };
    let events = store.open_reader().unwrap().events_after(view, Seq(2), 10).unwrap().unwrap();
    let author = user("Ann");
    assert_eq!(
        events.events,
        [
            Event::Deleted(Deleted { seq: Seq(3), id: id(1), author, cid: None }),
            Event::Expired { seq: Seq(4), id: id(2) },
        ]
    );
}

fn events_after_returns_everything_in_pages(mut store: impl Store) {
    for number in 1..=9 {
        // Every third message is not visible to the viewer.
        let audience = if number % 3 == 0 { only(&["Bob"]) } else { Audience::Everyone };
        apply(&mut store, Entry::Post(NewMessage { audience, ..message(number, "Ann", "text") }));
    }
    let viewer = user("Cid");
    let view = View { viewer: &viewer, now: NOW };
    let (mut reader, mut after, mut pages) = (store.open_reader().unwrap(), Seq(0), Vec::new());
    while after < Seq(9) {
        let page = reader.events_after(view, after, 2).unwrap().unwrap();
        after = page.complete_to;
        pages.push((page.events.len(), after.0));
    }
    assert_eq!(pages, [(2, 2), (2, 5), (2, 8), (0, 9)]);
    let beyond = reader.events_after(view, Seq(u64::MAX), 2).unwrap().unwrap();
    assert_eq!((beyond.events.len(), beyond.complete_to), (0, Seq(9)));
}

fn history_is_paged(mut store: impl Store) {
    for number in 1..=7 {
        let audience = if number % 2 == 0 { only(&["Bob"]) } else { Audience::Everyone };
        apply(&mut store, Entry::Post(NewMessage { audience, ..message(number, "Ann", "text") }));
    }
    let mut reader = store.open_reader().unwrap();
    let mut pages = |viewer: &str| {
        let (mut before, mut all) = (None, Vec::new());
        loop {
            let view = View { viewer: &user(viewer), now: NOW };
            let range = before.map_or(HistoryRange::Latest, HistoryRange::Before);
            let page = page(&mut reader, view, range, 3).unwrap();
            all.push(page.messages.iter().map(|message| message.seq.0).collect::<Vec<_>>());
            before = page.messages.first().map(|message| message.seq);
            if !page.has_earlier {
                return all;
            }
        }
    };
    assert_eq!(pages("Bob"), [vec![5, 6, 7], vec![2, 3, 4], vec![1]]);
    assert_eq!(pages("Cid"), [vec![3, 5, 7], vec![1]]);
}

fn around_returns_neighbouring_messages(mut store: impl Store) {
    for number in 1..=5 {
        apply(&mut store, Entry::Post(message(number, "Ann", "text")));
    }
    let viewer = user("Cid");
    let view = View { viewer: &viewer, now: NOW };
    let mut reader = store.open_reader().unwrap();
    let near = around(&mut reader, view, 4, 4).unwrap();
    assert_eq!(seqs(&near.messages), [2, 3, 4, 5].map(Seq));
    assert_eq!((near.has_earlier, near.has_later), (true, false));
    let first = around(&mut reader, view, 1, 2).unwrap();
    assert_eq!(seqs(&first.messages), [1, 2].map(Seq));
    assert_eq!((first.has_earlier, first.has_later), (false, true));
    assert_eq!(around(&mut reader, view, 9, 4), Err(Refusal::UnknownMessage(id(9))));
}

fn scan_is_paged_backwards_and_can_stop(mut store: impl Store) {
    for number in 1..=5 {
        let audience = if number == 4 { only(&["Bob"]) } else { Audience::Everyone };
        apply(&mut store, Entry::Post(NewMessage { audience, ..message(number, "Ann", "text") }));
    }
    let viewer = user("Cid");
    let view = View { viewer: &viewer, now: NOW };
    let mut reader = store.open_reader().unwrap();
    let mut scan = |before, rows, stop: u64| {
        let mut visited = Vec::new();
        let scanned = reader.scan(view, None, before, rows, &mut |row| {
            assert!(!row.is_recipient(&user("Bob")));
            visited.push(row.seq.0);
            if row.seq.0 == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        (visited, scanned.unwrap().unwrap().next)
    };
    assert_eq!(scan(None, 2, 0), (vec![5], Some(Seq(4))), "invisible rows count");
    assert_eq!(scan(Some(Seq(4)), 9, 2), (vec![3, 2], Some(Seq(2))));
    assert_eq!(scan(Some(Seq(2)), 9, 0), (vec![1], None));
}

fn small_clock_steps_back_are_ignored(mut store: impl Store) {
    let mut post_at = |number, now| {
        let new = NewMessage { at: at(now), ..message(number, "Ann", "text") };
        let message = expect_posted(apply_at(&mut store, now, Entry::Post(new)));
        assert_eq!(message.at.offset().local_minus_utc(), 3_600);
        message.at.timestamp_millis()
    };
    assert_eq!(post_at(1, NOW), NOW);
    assert_eq!(post_at(2, NOW - MAX_CLOCK_AHEAD), NOW);
    assert_eq!(post_at(3, NOW + 5), NOW + 5);
    assert_eq!(
        post_at(4, NOW + 4 - MAX_CLOCK_AHEAD),
        NOW + 4 - MAX_CLOCK_AHEAD,
        "the earlier time was wrong"
    );
}

fn refused_entry_changes_nothing(mut store: impl Store) {
    let secret = NewMessage { audience: only(&["Zed"]), ..message(2, "Ann", "two") };
    let batch = [
        Entry::Post(message(1, "Ann", "one")),
        Entry::Post(secret),
        Entry::Post(message(2, "Ann", "three")),
    ];
    let outcomes = store.apply(NOW, &batch).unwrap();
    let [Outcome::Posted(one), Outcome::Refused(refusal), Outcome::Posted(three)] =
        outcomes.as_slice()
    else {
        panic!("{outcomes:?}")
    };
    assert_eq!((one.seq, three.seq), (Seq(1), Seq(2)));
    assert_eq!(*refusal, Refusal::UnknownRecipient(vec![user("Zed")]));
    assert_eq!(texts(&mut store.open_reader().unwrap(), "Ann"), ["one", "three"]);
}

/// The rules themselves are tested in `rules.rs`; this is about what they are given.
fn reply_and_deletion_follow_the_rules(mut store: impl Store) {
    apply(&mut store, register("Zed", 1));
    let to_zed = NewMessage {
        audience: only(&["Zed"]),
        kind: MessageKind::Temporary { expires: NOW + 10 },
        ..message(1, "Ann", "text")
    };
    apply(&mut store, Entry::Post(to_zed));
    let reply = |sender: &str| {
        let kind = MessageKind::Reply { to: id(1) };
        Entry::Post(NewMessage { kind, ..message(2, sender, "reply") })
    };
    assert_eq!(apply(&mut store, reply("Bob")), not_found(1));
    assert_eq!(apply_at(&mut store, NOW + 10, reply("Zed")), not_found(1), "expired");
    let sent = expect_posted(apply(&mut store, reply("Zed")));
    assert_eq!(sent.audience, only(&["Ann"]), "an online guest");
    let NewMessage { guests, .. } = message(3, "Zed", "");
    let offline = Arc::new(guests.iter().filter(|guest| **guest != user("Ann")).cloned().collect());
    let late = NewMessage {
        guests: offline,
        kind: MessageKind::Reply { to: id(1) },
        ..message(3, "Zed", "late")
    };
    let refused = Outcome::Refused(Refusal::UnknownRecipient(vec![user("Ann")]));
    assert_eq!(apply(&mut store, Entry::Post(late)), refused);
    assert_eq!(apply(&mut store, delete(1, "Bob")), not_found(1));
    assert_eq!(apply(&mut store, delete(1, "Zed")), Outcome::Refused(Refusal::NotYours(id(1))));
}

fn key_has_one_id_per_name(mut store: impl Store) {
    let ann = user("Ann");
    assert_eq!(apply(&mut store, register("Ann", 1)), registered("Ann_0002", 1));
    assert_eq!(apply(&mut store, register("Ann", 1)), Outcome::AlreadyRegistered(ann.clone()));
    assert_eq!(apply(&mut store, register("Ann", 2)), registered("Ann_0004", 2));
    assert_eq!(apply(&mut store, register("Bob", 1)), registered("Bob_0002", 1));
    let snapshot = store.snapshot().unwrap().registered;
    assert_eq!(
        snapshot,
        [(ann, [1; 32]), ("Ann_0004".parse().unwrap(), [2; 32]), (user("Bob"), [1; 32])]
    );
    apply(&mut store, register("Cid", 1));
    let all = ["Ann", "Bob", "Cid"].map(user).into();
    let fourth = Outcome::Refused(Refusal::TooManyIds(all));
    assert_eq!(apply(&mut store, register("Dan", 1)), fourth);
}

fn id_in_use_is_not_given_again(mut store: impl Store) {
    let to_zed = NewMessage {
        audience: only(&["Zed"]),
        guests: Arc::new([user("Zed")].into()),
        ..message(1, "Ann", "text")
    };
    apply(&mut store, Entry::Post(to_zed));
    assert_eq!(apply(&mut store, register("Zed", 1)), registered("Zed_0004", 1));
    assert_eq!(apply(&mut store, register("Ann", 1)), registered("Ann_0004", 1));
    apply(&mut store, Entry::Remove { id: id(1) });
    assert_eq!(apply(&mut store, register("Zed", 2)), registered("Zed_0006", 2), "has a tombstone");
    sweep(&mut store, NOW + TOMBSTONE_RETENTION + 1, Retention::Forever);
    assert_eq!(apply(&mut store, register("Zed", 3)), registered("Zed_0002", 3));
}

fn similar_name_is_refused(mut store: impl Store) {
    apply(&mut store, register("Bob", 1));
    let similar = |name: &str, other: &str| {
        Outcome::Refused(Refusal::ConfusableName(name.parse().unwrap(), other.parse().unwrap()))
    };
    for name in ["B0b", "bob", "BOB"] {
        assert_eq!(apply(&mut store, register(name, 2)), similar(name, "Bob"));
    }
    let similar_guest = Some("Tom".parse().unwrap());
    let torn = NewUser { similar_guest, ..new_user("Torn", 2) };
    assert_eq!(apply(&mut store, Entry::Register(torn)), similar("Torn", "Tom"));
    assert_eq!(apply(&mut store, register("Bob", 2)), registered("Bob_0004", 2));
    assert_eq!(store.snapshot().unwrap().registered.len(), 2);
}

fn rebind_moves_an_id_to_another_key(mut store: impl Store) {
    apply(&mut store, register("Ann", 1));
    apply_at(&mut store, NOW + 1, register("Bob", 2));
    let rebind = |name| Entry::Rebind { user: user(name), key: [2; 32] };
    let rebound = Outcome::Rebound { user: user("Ann"), from: [1; 32], to: [2; 32] };
    assert_eq!(apply_at(&mut store, NOW + 2, rebind("Ann")), rebound);
    let unknown = Outcome::NoKey(user("Cid"));
    assert_eq!(apply_at(&mut store, NOW + 2, rebind("Cid")), unknown);
    assert_eq!(apply_at(&mut store, NOW + 3, register("Ann", 1)), registered("Ann_0004", 1));
    assert_eq!(apply(&mut store, register("Ann", 2)), Outcome::AlreadyRegistered(user("Ann")));
    let order = store.snapshot().unwrap().registered.into_iter().map(|(user, _)| user.to_string());
    assert_eq!(
        order.collect::<Vec<_>>(),
        ["Bob_0002", "Ann_0002", "Ann_0004"],
        "in the order of binding"
    );
}

fn invite(hash: u8, uses: u32, expires: Millis) -> Entry {
    Entry::Invite(OpenInvite { hash: [hash; 32], uses, expires, rooms: Vec::new() })
}

fn redeem(name: &str, key: u8, hash: u8) -> Entry {
    let invite = InviteRule::Required(Some([hash; 32]));
    Entry::Register(NewUser { invite, ..new_user(name, key) })
}

fn bad_invite() -> Outcome {
    Outcome::Refused(Refusal::BadInvite)
}

fn invite_registers_at_most_its_number_of_uses(mut store: impl Store) {
    apply(&mut store, invite(7, 2, NOW + 1));
    let batch = [redeem("Ann", 1, 7), redeem("Ann", 1, 7), redeem("Ann", 2, 7)];
    let again = Outcome::AlreadyRegistered(user("Ann"));
    let expected = [registered("Ann_0002", 1), again.clone(), registered("Ann_0004", 2)];
    assert_eq!(store.apply(NOW, &batch[..2]).unwrap(), expected[..2]);
    let open = store.open_reader().unwrap().open_invites(NOW).unwrap();
    let one_left = OpenInvite { hash: [7; 32], uses: 1, expires: NOW + 1, rooms: Vec::new() };
    assert_eq!(open, [one_left], "registering again takes no use");
    assert_eq!(store.apply(NOW, &batch[2..]).unwrap(), expected[2..]);
    assert_eq!(apply(&mut store, redeem("Cid", 3, 7)), bad_invite());
    assert_eq!(apply(&mut store, batch[0].clone()), again, "needs no invite any more");
    assert_eq!(store.open_reader().unwrap().open_invites(NOW).unwrap(), []);
    assert_eq!(store.snapshot().unwrap().registered.len(), 2);
}

fn registration_joins_the_rooms_of_the_invite(mut store: impl Store) {
    let create = |name| {
        let action = RoomAction::Create { private: true, topic: SafeText::clean("") };
        Entry::Room(room(name, "", action))
    };
    let rooms: Vec<RoomName> = ["#ops", "#old"].map(|name| name.parse().unwrap()).into();
    let invite = OpenInvite { hash: [7; 32], uses: 1, expires: NOW + 1, rooms: rooms.clone() };
    let archive = Entry::Room(room("#old", "", RoomAction::Archive(true)));
    store.apply(NOW, &[create("#ops"), create("#old"), Entry::Invite(invite), archive]).unwrap();
    let Outcome::Registered { user, joined, .. } = apply(&mut store, redeem("Ann", 1, 7)) else {
        panic!("not registered")
    };
    let [Change { event: Event::RoomChanged(added), members, .. }] = joined.as_slice() else {
        panic!("{joined:?}")
    };
    assert_eq!((added.seq, &added.room), (Seq(4), &rooms[0]));
    assert_eq!(members[..], [MemberChange { user: user.clone(), since: Some(Seq(4)) }]);
    let snapshot = store.snapshot().unwrap();
    let member_of = snapshot.rooms.iter().filter(|(_, room)| room.members.contains_key(&user));
    assert_eq!(member_of.map(|(name, _)| name).collect::<Vec<_>>(), [&rooms[0]]);
}

fn refused_request_is_decided_again_and_executed_once(mut store: impl Store) {
    let reply = || {
        let kind = MessageKind::Reply { to: id(1) };
        let new = NewMessage { kind, cid: Some(cid("a")), ..message(1, "Ann", "text") };
        Entry::Post(new)
    };
    for _ in 0..2 {
        assert_eq!(apply(&mut store, reply()), not_found(1));
    }
    apply(&mut store, Entry::Post(message(1, "Bob", "original")));
    let done = expect_posted(apply(&mut store, reply()));
    let again = Outcome::Repeated { seq: done.seq, id: Some(done.id) };
    assert_eq!(apply(&mut store, reply()), again);
    apply(&mut store, delete(1, "Bob"));
    assert_eq!(apply(&mut store, reply()), again, "although it would be refused now");
}

fn expired_invite_is_rejected_and_swept(mut store: impl Store) {
    apply(&mut store, invite(1, 9, NOW + 10));
    apply(&mut store, invite(2, 9, NOW + 20));
    assert_eq!(apply_at(&mut store, NOW + 10, redeem("Ann", 1, 1)), bad_invite());
    let mut reader = store.open_reader().unwrap();
    let mut hashes = |now| -> Vec<_> {
        reader.open_invites(now).unwrap().iter().map(|open| open.hash[0]).collect()
    };
    assert_eq!(hashes(NOW), [1, 2]);
    assert_eq!(hashes(NOW + 10), [2]);
    sweep(&mut store, NOW + 10, Retention::Forever);
    assert_eq!(hashes(NOW), [2]);
}

fn open_invites_are_limited(mut store: impl Store) {
    let invite = |number: u32, expires| {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&number.to_be_bytes());
        Entry::Invite(OpenInvite { hash, uses: 1, expires, rooms: Vec::new() })
    };
    let batch: Vec<_> = (0..OPEN_INVITES).map(|number| invite(number, NOW + 10)).collect();
    assert!(store.apply(NOW, &batch).unwrap().iter().all(|outcome| *outcome == Outcome::Done));
    let too_many = Outcome::TooManyInvites;
    assert_eq!(apply(&mut store, invite(OPEN_INVITES, NOW + 20)), too_many);
    assert_eq!(apply_at(&mut store, NOW + 10, invite(OPEN_INVITES, NOW + 20)), Outcome::Done);
}

fn ban_is_stored_until_unban(mut store: impl Store) {
    let key = BanTarget::Key([1; 32]);
    let network = BanTarget::Network("203.0.113.0/24".parse().unwrap());
    apply(&mut store, register("Ann", 1));
    let ann = BanSubject::User(user("Ann"));
    let batch = [ann.clone(), BanSubject::Target(network), BanSubject::Target(key)].map(Entry::Ban);
    let banned = [key, network, key].map(Outcome::Banned);
    assert_eq!(store.apply(NOW, &batch).unwrap(), banned);
    let nobody = Entry::Ban(BanSubject::User(user("Bob")));
    assert_eq!(apply(&mut store, nobody), Outcome::NoKey(user("Bob")));
    let mut banned = store.snapshot().unwrap().bans;
    banned.sort();
    assert_eq!(banned, [key, network]);
    assert_eq!(apply(&mut store, Entry::Unban(ann.clone())), Outcome::Unbanned(key));
    assert_eq!(apply(&mut store, Entry::Unban(ann)), Outcome::NotBanned(key));
    assert_eq!(store.snapshot().unwrap().bans, [network]);
    let unban = Entry::Unban(BanSubject::Target(network));
    assert_eq!(apply(&mut store, unban), Outcome::Unbanned(network));
    assert_eq!(store.snapshot().unwrap().bans, []);
}

fn admin_removal_is_reported_as_by_the_author(mut store: impl Store) {
    let audience = only(&["Bob"]);
    let secret = NewMessage { audience: audience.clone(), ..message(1, "Ann", "the secret is 42") };
    apply(&mut store, Entry::Post(secret));
    let deleted = Deleted { seq: Seq(2), id: id(1), author: user("Ann"), cid: None };
    let event = Event::Deleted(deleted.clone());
    let viewers = Viewers::Users([user("Ann"), user("Bob")].into());
    let removal = Change { event, viewers, members: Vec::new() };
    assert_eq!(apply(&mut store, Entry::Remove { id: id(1) }), Outcome::Changed(removal));
    assert_eq!(apply(&mut store, Entry::Remove { id: id(1) }), not_found(1));
    let mut reader = store.open_reader().unwrap();
    for (viewer, expected) in [("Bob", vec![Event::Deleted(deleted)]), ("Dan", vec![])] {
        let view = View { viewer: &user(viewer), now: NOW };
        assert_eq!(reader.events_after(view, Seq(0), 9).unwrap().unwrap().events, expected);
    }
}

fn sweep_removes_no_messages_with_retention_forever(mut store: impl Store) {
    apply(&mut store, Entry::Post(message(1, "Ann", "text")));
    assert!(!sweep(&mut store, NOW + 10_000 * DAY, Retention::Forever));
    assert_eq!(texts(&mut store.open_reader().unwrap(), "Bob"), ["text"]);
}

fn sweep_is_divided_into_steps(mut store: impl Store) {
    let rows = u32::from(RETAIN_ROWS);
    let posts: Vec<_> = (1..=rows + 1).map(|n| Entry::Post(message(n, "Ann", "text"))).collect();
    store.apply(NOW, &posts).unwrap();
    apply(&mut store, delete(1, "Ann"));
    let later = NOW + 3 * DAY;
    let mut step = |after| {
        let step = Retain { after, ..retain(later, Retention::Days(2)) };
        expect_retained(apply_at(&mut store, later, Entry::Retain(step)))
    };
    let horizon = Seq(u64::from(rows) + 1);
    let first = Retained { has_removed: true, horizon, next: Some(horizon) };
    assert_eq!(step(Seq(0)), first);
    assert_eq!(step(horizon), Retained { has_removed: false, horizon, next: None });
}

fn sweep_removes_old_messages_and_moves_the_horizon(mut store: impl Store) {
    for (number, day) in [(1, 0), (2, 1), (3, 2)] {
        let at = at(NOW + day * DAY);
        apply(&mut store, Entry::Post(NewMessage { at, ..message(number, "Ann", "text") }));
    }
    assert!(sweep(&mut store, NOW + 3 * DAY, Retention::Days(2)));
    let mut reader = store.open_reader().unwrap();
    assert_eq!(store.snapshot().unwrap().horizon, Seq(1));
    let viewer = user("Bob");
    let view = View { viewer: &viewer, now: NOW };
    assert_eq!(reader.events_after(view, Seq(0), 9).unwrap(), None);
    assert_eq!(reader.events_after(view, Seq(1), 9).unwrap().unwrap().events.len(), 2);
}

fn zero_retention_keeps_only_undelivered_direct_messages(mut store: impl Store) {
    apply(&mut store, register("Bob", 1));
    let kind = MessageKind::Temporary { expires: NOW + 2 * MIN_RETENTION };
    let (to_bob, to_cid) = (only(&["Bob", "Cid"]), only(&["Cid"]));
    apply(&mut store, Entry::Post(message(1, "Ann", "to all")));
    apply(&mut store, Entry::Post(NewMessage { audience: to_bob, ..message(2, "Ann", "waits") }));
    apply(&mut store, Entry::Post(NewMessage { audience: to_cid, ..message(3, "Ann", "lost") }));
    apply(&mut store, Entry::Post(NewMessage { kind, ..message(4, "Ann", "temporary") }));
    let none = Retention::Days(0);
    assert!(!sweep(&mut store, NOW + MIN_RETENTION, none));
    sweep(&mut store, NOW + MIN_RETENTION + 1, none);
    let mut reader = store.open_reader().unwrap();
    assert_eq!(texts(&mut reader, "Bob"), ["waits", "temporary"]);

    apply(&mut store, Entry::Delivered { user: user("Bob"), up_to: Seq(2) });
    apply(&mut store, Entry::Delivered { user: user("Bob"), up_to: Seq(1) });
    sweep(&mut store, NOW + MIN_RETENTION + 1, none);
    assert_eq!(texts(&mut reader, "Bob"), ["temporary"]);

    let again = NewMessage { audience: only(&["Bob"]), ..message(5, "Ann", "unread") };
    apply(&mut store, Entry::Post(again));
    sweep(&mut store, NOW + TOMBSTONE_RETENTION, none);
    assert_eq!(texts(&mut reader, "Bob"), ["temporary", "unread"]);
    sweep(&mut store, NOW + TOMBSTONE_RETENTION + 1, none);
    assert_eq!(texts(&mut reader, "Bob"), ["temporary"]);
}

fn tombstones_are_kept_for_ninety_days(mut store: impl Store) {
    apply(&mut store, Entry::Post(message(1, "Ann", "text")));
    apply(&mut store, delete(1, "Ann"));
    let viewer = user("Bob");
    let view = View { viewer: &viewer, now: NOW };
    let mut reader = store.open_reader().unwrap();
    assert!(!sweep(&mut store, NOW + TOMBSTONE_RETENTION, Retention::Forever));
    assert_eq!(reader.events_after(view, Seq(1), 9).unwrap().unwrap().events.len(), 1);
    let has_removed = sweep(&mut store, NOW + TOMBSTONE_RETENTION + 1, Retention::Forever);
    assert!(!has_removed, "no text is removed");
    assert_eq!(reader.events_after(view, Seq(1), 9).unwrap(), None, "too far back");
    assert_eq!(reader.events_after(view, Seq(2), 9).unwrap().unwrap().events, []);
}

fn snapshot_lists_the_contents(mut store: impl Store) {
    let kind = MessageKind::Temporary { expires: NOW + 10 };
    apply(&mut store, Entry::Post(message(1, "Ann", "text")));
    apply(&mut store, Entry::Post(NewMessage { kind, ..message(2, "Ann", "brief") }));
    let audience = only(&["Bob"]);
    apply(&mut store, Entry::Post(NewMessage { audience, ..message(3, "Ann", "removed") }));
    apply(&mut store, delete(3, "Ann"));
    let snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.expirations, [(id(2), NOW + 10)]);
    assert_eq!(snapshot.size.messages, 2);
    assert_eq!(store.open_reader().unwrap().size().unwrap(), snapshot.size);
    assert_eq!(snapshot.head, Seq(4));
    assert_eq!(snapshot.direct_message_users, [user("Ann"), user("Bob")]);
    assert!(!snapshot.epoch.is_empty());
}
