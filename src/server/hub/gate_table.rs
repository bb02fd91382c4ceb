//! The gate as one table: every combination of what speaks for and against a login, with its outcome.

use std::time::Duration;

use super::rig::{Room, here};
use super::*;
use crate::protocol::invite::Invite;
use crate::protocol::request::Dialect;
use crate::server::admin::Who;
use crate::server::limits::{IDS_PER_KEY, NEW_IDS, NEW_IDS_TIME};
use crate::store::Store as _;
use crate::tls::fingerprint::Fingerprint;

const KNOWN: Key = [1; 32];
const NEW: Key = [2; 32];
const HOST: Key = [3; 32];

/// What the invite of a login is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Brings {
    Nothing,
    Good,
    UsedUp,
    TooOld,
    MadeUp,
    Broken,
}

/// What is shut out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bans {
    Nobody,
    TheKey,
    TheAddress,
}

/// The ID that a login asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    Whichever,
    Own,
    Anothers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comes {
    /// As the ID that the key has.
    Known,
    /// As somebody new.
    New,
    /// As somebody new, at the cost of the invite.
    Invited,
    Refused(ErrorCode),
}

#[derive(Debug, Clone, Copy)]
struct Case {
    key: Option<Key>,
    brings: Brings,
    invite_only: bool,
    bans: Bans,
    asks: Asks,
}

use Asks::{Anothers, Own, Whichever};
use Bans::{Nobody, TheAddress, TheKey};
use Brings::{Broken, Good, MadeUp, Nothing, TooOld, UsedUp};
use Comes::{Invited, Known, New as Newcomer, Refused as No};
use ErrorCode::{BadInvite, Banned, InviteNeeded, NotYourId};

/// A row for all cases in which each of these is one of those; where the list is empty, whatever it is.
type Row = (
    &'static [Option<Key>],
    &'static [Brings],
    &'static [bool],
    &'static [Bans],
    &'static [Asks],
    Comes,
);

/// The first row that fits a case is its outcome.
const TABLE: [Row; 12] = [
    // key,         brings,       invite-only, bans,      asks,      outcome
    (&[], &[Broken], &[], &[], &[], No(BadInvite)),
    (&[], &[], &[], &[TheAddress], &[], No(Banned)),
    (&[Some(KNOWN), Some(NEW), Some(HOST)], &[], &[], &[TheKey], &[], No(Banned)),
    (&[Some(KNOWN)], &[], &[], &[], &[Whichever, Own], Known),
    (&[], &[], &[], &[], &[Own, Anothers], No(NotYourId)),
    (&[], &[], &[false], &[], &[], Newcomer),
    (&[Some(HOST)], &[], &[], &[], &[], Newcomer),
    (&[None], &[], &[], &[], &[], No(InviteNeeded)),
    (&[], &[Nothing], &[], &[], &[], No(InviteNeeded)),
    (&[], &[UsedUp, TooOld], &[], &[], &[], No(BadInvite)),
    (&[], &[MadeUp], &[], &[], &[], No(BadInvite)),
    (&[], &[Good], &[], &[], &[], Invited),
];

fn row(case: Case) -> usize {
    fn fits<T: PartialEq>(list: &[T], value: &T) -> bool {
        list.is_empty() || list.contains(value)
    }
    let row = TABLE.iter().position(|(keys, brings, invite_only, bans, asks, _)| {
        fits(keys, &case.key)
            && fits(brings, &case.brings)
            && fits(invite_only, &case.invite_only)
            && fits(bans, &case.bans)
            && fits(asks, &case.asks)
    });
    row.unwrap_or_else(|| panic!("no row for {case:?}"))
}

fn all_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for key in [None, Some(NEW), Some(KNOWN), Some(HOST)] {
        for brings in [Nothing, Good, UsedUp, TooOld, MadeUp, Broken] {
            for invite_only in [false, true] {
                for bans in [Nobody, TheKey, TheAddress] {
                    for asks in [Whichever, Own, Anothers] {
                        cases.push(Case { key, brings, invite_only, bans, asks });
                    }
                }
            }
        }
    }
    cases
}

fn invite(byte: u8) -> Invite {
    Invite::new([byte; 16])
}

fn open(room: &mut Room, byte: u8, uses: u32) {
    let act = Act::Invite { invite: invite(byte), uses, seconds: 3_600 };
    let answer = room.administer(act);
    assert!(matches!(answer, Answer::Done { .. }), "{answer:?}");
}

fn ban(room: &mut Room, who: &str) {
    let answer = room.administer(Act::Ban { who: who.parse().unwrap() });
    assert!(matches!(answer, Answer::Done { .. }), "{answer:?}");
}

/// A server with somebody who is known, `Bob`, and invites of every sort.
fn room(case: Case) -> (Room, UserId) {
    let mut room = Room::new();
    let bob = room.join_with(1, "Bob", Some(KNOWN));
    room.leave(1);
    room.restart_as(Access::InviteOnly { host: Some(HOST) });
    open(&mut room, 3, 9);
    room.wait(Duration::from_hours(1));
    open(&mut room, 1, 1);
    open(&mut room, 2, 1);
    let used = room.try_login(2, Some([9; 32]), |login| login.invite = Some(invite(2)));
    used.unwrap();
    room.leave(2);
    if !case.invite_only {
        room.restart_as(Access::Open);
    }
    match case.bans {
        Nobody => {}
        TheAddress => ban(&mut room, "127.0.0.0/8"),
        TheKey => {
            let key = case.key.unwrap_or(KNOWN);
            ban(&mut room, &Fingerprint::from_digest(key).to_string());
        }
    }
    room.told();
    room.closed.clear();
    (room, bob)
}

fn outcome(room: &mut Room, bob: &UserId, case: Case) -> Comes {
    // As it comes over the wire, where a broken invite is refused before anything else.
    let mut object = serde_json::json!({"action": "LOGIN", "protocol": 1, "username": "Bob"});
    match case.brings {
        Nothing => {}
        Good => object["invite"] = invite(1).to_string().into(),
        UsedUp => object["invite"] = invite(2).to_string().into(),
        TooOld => object["invite"] = invite(3).to_string().into(),
        MadeUp => object["invite"] = invite(4).to_string().into(),
        Broken => object["invite"] = "half of i".into(),
    }
    match case.asks {
        Whichever => {}
        Own => object["user_id"] = bob.as_str().into(),
        Anothers => object["user_id"] = "Zoe_0000".into(),
    }
    let login = match Login::decode(object.to_string().as_bytes()) {
        Ok(login) => login,
        Err(refusal) => return No(refusal.code()),
    };
    let n_open = |room: &mut Room| room.log.opened().unwrap().invites.len();
    let before = n_open(room);
    match room.try_login(5, case.key, |own| *own = login) {
        Err(code) => No(code),
        Ok(user) if user == *bob => Known,
        Ok(_) if n_open(room) < before => Invited,
        Ok(_) => Newcomer,
    }
}

#[test]
fn every_login_has_its_row_in_the_table() {
    let mut rows_seen = [false; TABLE.len()];
    for case in all_cases() {
        let (mut room, bob) = room(case);
        let found = outcome(&mut room, &bob, case);
        let row = row(case);
        rows_seen[row] = true;
        assert_eq!(found, TABLE[row].5, "{case:?}");
        if let (No(_), false) = (found, case.brings == Broken) {
            assert_eq!(room.closed, [SessionId(5)], "a refusal ends the connection: {case:?}");
        }
    }
    assert_eq!(rows_seen, [true; TABLE.len()], "a row is of no use");
}

#[test]
fn a_key_has_three_ids_at_most_and_all_come_back() {
    let mut room = Room::new();
    let names = ["Ann", "Bob", "Cid"];
    let ids = names.map(|name| room.join_with(1, name, Some(KNOWN)));
    assert_eq!(ids.len(), IDS_PER_KEY);
    let fourth = |login: &mut Login| login.username = "Dan".to_owned();
    assert_eq!(room.try_login(2, Some(KNOWN), fourth), Err(ErrorCode::TooManyIds));
    for (name, id) in names.iter().zip(&ids) {
        assert_eq!(room.join_with(3, name, Some(KNOWN)), *id);
        let asks = |login: &mut Login| login.id = Some(id.clone());
        assert_eq!(room.try_login(4, Some(KNOWN), asks), Ok(id.clone()), "whatever name is said");
    }
    room.try_login(5, Some(NEW), fourth).unwrap();
}

#[test]
fn one_address_makes_five_new_ids_in_ten_minutes_and_this_machine_more() {
    let mut room = Room::new();
    let mut session = 0;
    let mut enter = |room: &mut Room, address: &str| {
        session += 1;
        let mut key = [0; 32];
        key[0] = u8::try_from(session).unwrap();
        let peer = Peer { key: Some(key), address: address.parse().unwrap() };
        room.try_login_from(session, peer, |_| {})
    };
    for n in 0..NEW_IDS {
        enter(&mut room, &format!("2001:db8::{n}")).unwrap();
        enter(&mut room, "203.0.113.1").unwrap();
    }
    let refused = Err(ErrorCode::TooManyConnections);
    assert_eq!(enter(&mut room, "2001:db8::ffff:1"), refused, "a /64 is one address");
    assert_eq!(enter(&mut room, "203.0.113.1"), refused);
    enter(&mut room, "203.0.113.2").unwrap();
    enter(&mut room, "2001:db8:0:1::1").unwrap();
    for _ in 0..=NEW_IDS {
        enter(&mut room, "127.0.0.1").unwrap();
    }
    let known = Peer { key: Some([0; 32]), address: "203.0.113.1".parse().unwrap() };
    assert_eq!(room.try_login_from(99, known, |_| {}), refused);
    room.wait(NEW_IDS_TIME);
    room.try_login_from(99, known, |_| {}).unwrap();
    room.try_login_from(98, known, |_| {}).unwrap();
}

#[test]
fn an_invite_is_for_one_however_many_come_at_once() {
    let mut room = Room::new();
    room.restart_as(Access::InviteOnly { host: None });
    open(&mut room, 1, 1);
    let login = |session, key| Input::Login {
        session: SessionId(session),
        login: Login {
            invite: Some(invite(1)),
            dialect: Dialect::Extended,
            ..Login::original("Bob".to_owned())
        },
        peer: here(Some(key)),
    };
    // None of it is on disk yet.
    let first = room.hub.handle(room.now, login(1, KNOWN));
    let second = room.hub.handle(room.now, login(2, NEW));
    let again = room.hub.handle(room.now, login(3, KNOWN));
    let [Effect::Append { ticket, .. }] = first.as_slice() else { panic!("{first:?}") };
    assert!(
        matches!(&second[..], [Effect::Send { event: Event::LoginRefused(no), .. }, Effect::Close(SessionId(2))]
        if no.code == BadInvite)
    );
    assert!(again.is_empty(), "who came twice waits for the same: {again:?}");

    // The disk is full: the invite is as good as before.
    let reason = "its disk is full";
    let failed = room.hub.handle(room.now, Input::NotStored { ticket: ticket.clone(), reason });
    let refused: Vec<_> = failed
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send { event: Event::LoginRefused(no), .. } => Some(no.code),
            _ => None,
        })
        .collect();
    assert_eq!(refused, [ErrorCode::NotStored, ErrorCode::NotStored]);
    let by_invite = |login: &mut Login| login.invite = Some(invite(1));
    let user = room.try_login(4, Some(NEW), by_invite).unwrap();
    assert_eq!(room.try_login(5, Some(KNOWN), by_invite), Err(BadInvite));
    room.restart();
    assert_eq!(room.try_login(6, Some(KNOWN), by_invite), Err(BadInvite));
    assert_eq!(room.try_login(7, Some(NEW), |_| {}), Ok(user), "who has an ID just comes back");
}

#[test]
fn nobody_is_told_of_an_id_that_is_not_on_disk() {
    let mut room = Room::new();
    let login = Login { dialect: Dialect::Extended, ..Login::original("Bob".to_owned()) };
    let login = Input::Login { session: SessionId(1), login, peer: here(Some(KNOWN)) };
    let effects = room.hub.handle(room.now, login);
    let [Effect::Append { ticket, append: Append::Register { user, .. } }] = effects.as_slice()
    else {
        panic!("{effects:?}");
    };
    // Banned, or gone, meanwhile.
    let mut other = Vec::new();
    room.hub.administer(room.now, Asker(1), Act::Ban { who: who(KNOWN) }, &mut other);
    let stored = Input::Stored { ticket: ticket.clone(), outcome: Outcome::Registered };
    let effects = room.hub.handle(room.now, stored);
    assert!(
        matches!(&effects[..], [Effect::Send { event: Event::LoginRefused(no), .. }, Effect::Close(_)]
        if no.code == Banned),
        "{effects:?}"
    );
    assert!(room.hub.roster.sessions_of(user).next().is_none());
}

fn who(key: Key) -> Who {
    Who::Key(Fingerprint::from_digest(key))
}

#[test]
fn an_act_that_can_not_be_stored_is_in_force_until_the_server_stops_and_said_so() {
    let mut room = Room::new();
    let bob = room.join_with(1, "Bob", Some(KNOWN));
    room.is_full = true;
    let answer = room.administer(Act::Ban { who: Who::User(bob.clone()) });
    assert!(matches!(&answer, Answer::Refused { error } if error.contains("its disk is full")));
    assert_eq!(room.closed, [SessionId(1)]);
    assert_eq!(room.try_login(2, Some(KNOWN), |_| {}), Err(Banned));
    room.is_full = false;
    room.restart();
    assert_eq!(room.try_login(3, Some(KNOWN), |_| {}), Ok(bob));
}
