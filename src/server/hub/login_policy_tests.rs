//! The gate as one table: every combination of what speaks for and against a login, with its outcome.

use std::time::Duration;

use super::harness::{HubHarness, local_peer};
use super::*;
use crate::protocol::invite::Invite;
use crate::protocol::request::Dialect;
use crate::server::admin::UserSelector;
use crate::server::limits::{IDS_PER_KEY, NEW_IDS_PER_ADDRESS, NEW_IDS_WINDOW};
use crate::store::Store as _;
use crate::tls::fingerprint::Fingerprint;

const KNOWN: KeyHash = [1; 32];
const NEW: KeyHash = [2; 32];
const HOST: KeyHash = [3; 32];

/// What the invite of a login is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InviteCase {
    Missing,
    Valid,
    UsedUp,
    Expired,
    Unknown,
    Malformed,
}

/// What is shut out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BanCase {
    NotBanned,
    KeyBanned,
    AddressBanned,
}

/// The ID that a login asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestedId {
    Any,
    Own,
    OtherUsers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LoginResult {
    /// As the ID that the key has.
    ExistingId,
    /// As somebody new.
    NewId,
    /// As somebody new, at the cost of the invite.
    NewIdByInvite,
    Refused(ErrorCode),
}

#[derive(Debug, Clone, Copy)]
struct Case {
    key: Option<KeyHash>,
    invite: InviteCase,
    invite_only: bool,
    ban: BanCase,
    requested_id: RequestedId,
}

use BanCase::{AddressBanned, KeyBanned, NotBanned};
use ErrorCode::{BadInvite, Banned, InviteNeeded, NotYourId};
use InviteCase::{Expired, Malformed, Missing, Unknown, UsedUp, Valid};
use LoginResult::{ExistingId, NewId as Newcomer, NewIdByInvite, Refused as No};
use RequestedId::{Any, OtherUsers, Own};

/// A row for all cases in which each of these is one of those; where the list is empty, whatever it is.
type TableRow = (
    &'static [Option<KeyHash>],
    &'static [InviteCase],
    &'static [bool],
    &'static [BanCase],
    &'static [RequestedId],
    LoginResult,
);

/// The first row that fits a case is its outcome.
const TABLE: [TableRow; 12] = [
    // key,         brings,       invite-only, bans,      asks,      outcome
    (&[], &[Malformed], &[], &[], &[], No(BadInvite)),
    (&[], &[], &[], &[AddressBanned], &[], No(Banned)),
    (&[Some(KNOWN), Some(NEW), Some(HOST)], &[], &[], &[KeyBanned], &[], No(Banned)),
    (&[Some(KNOWN)], &[], &[], &[], &[Any, Own], ExistingId),
    (&[], &[], &[], &[], &[Own, OtherUsers], No(NotYourId)),
    (&[], &[], &[false], &[], &[], Newcomer),
    (&[Some(HOST)], &[], &[], &[], &[], Newcomer),
    (&[None], &[], &[], &[], &[], No(InviteNeeded)),
    (&[], &[Missing], &[], &[], &[], No(InviteNeeded)),
    (&[], &[UsedUp, Expired], &[], &[], &[], No(BadInvite)),
    (&[], &[Unknown], &[], &[], &[], No(BadInvite)),
    (&[], &[Valid], &[], &[], &[], NewIdByInvite),
];

fn row_index(case: Case) -> usize {
    fn fits<T: PartialEq>(list: &[T], value: &T) -> bool {
        list.is_empty() || list.contains(value)
    }
    let row = TABLE.iter().position(|(keys, brings, invite_only, bans, asks, _)| {
        fits(keys, &case.key)
            && fits(brings, &case.invite)
            && fits(invite_only, &case.invite_only)
            && fits(bans, &case.ban)
            && fits(asks, &case.requested_id)
    });
    row.unwrap_or_else(|| panic!("no row for {case:?}"))
}

fn all_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for key in [None, Some(NEW), Some(KNOWN), Some(HOST)] {
        for brings in [Missing, Valid, UsedUp, Expired, Unknown, Malformed] {
            for invite_only in [false, true] {
                for bans in [NotBanned, KeyBanned, AddressBanned] {
                    for asks in [Any, Own, OtherUsers] {
                        cases.push(Case {
                            key,
                            invite: brings,
                            invite_only,
                            ban: bans,
                            requested_id: asks,
                        });
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

fn create_invite(room: &mut HubHarness, byte: u8, uses: u32) {
    let act = AdminCommand::Invite { invite: invite(byte), uses, seconds: 3_600 };
    let answer = room.admin(act);
    assert!(matches!(answer, AdminReply::Done { .. }), "{answer:?}");
}

fn ban(room: &mut HubHarness, who: &str) {
    let answer = room.admin(AdminCommand::Ban { who: who.parse().unwrap() });
    assert!(matches!(answer, AdminReply::Done { .. }), "{answer:?}");
}

/// A server with somebody who is known, `Bob`, and invites of every sort.
fn harness_for(case: Case) -> (HubHarness, UserId) {
    let mut room = HubHarness::new();
    let bob = room.join_with_key(1, "Bob", Some(KNOWN));
    room.disconnect(1);
    room.restart_with_access(AccessMode::InviteOnly { host: Some(HOST) });
    create_invite(&mut room, 3, 9);
    room.wait(Duration::from_hours(1));
    create_invite(&mut room, 1, 1);
    create_invite(&mut room, 2, 1);
    let used = room.try_login(2, Some([9; 32]), |login| login.invite = Some(invite(2)));
    used.unwrap();
    room.disconnect(2);
    if !case.invite_only {
        room.restart_with_access(AccessMode::Open);
    }
    match case.ban {
        NotBanned => {}
        AddressBanned => ban(&mut room, "127.0.0.0/8"),
        KeyBanned => {
            let key = case.key.unwrap_or(KNOWN);
            ban(&mut room, &Fingerprint::from_digest(key).to_string());
        }
    }
    room.take_sent();
    room.closed.clear();
    (room, bob)
}

fn try_case(room: &mut HubHarness, bob: &UserId, case: Case) -> LoginResult {
    // As it comes over the wire, where a broken invite is refused before anything else.
    let mut object = serde_json::json!({"action": "LOGIN", "protocol": 1, "username": "Bob"});
    match case.invite {
        Missing => {}
        Valid => object["invite"] = invite(1).to_string().into(),
        UsedUp => object["invite"] = invite(2).to_string().into(),
        Expired => object["invite"] = invite(3).to_string().into(),
        Unknown => object["invite"] = invite(4).to_string().into(),
        Malformed => object["invite"] = "half of i".into(),
    }
    match case.requested_id {
        Any => {}
        Own => object["user_id"] = bob.as_str().into(),
        OtherUsers => object["user_id"] = "Zoe_0000".into(),
    }
    let login = match Login::decode(object.to_string().as_bytes()) {
        Ok(login) => login,
        Err(refusal) => return No(refusal.code()),
    };
    let n_open = |room: &mut HubHarness| room.store.snapshot().unwrap().invites.len();
    let before = n_open(room);
    match room.try_login(5, case.key, |own| *own = login) {
        Err(code) => No(code),
        Ok(user) if user == *bob => ExistingId,
        Ok(_) if n_open(room) < before => NewIdByInvite,
        Ok(_) => Newcomer,
    }
}

#[test]
fn login_policy_matches_the_table() {
    let mut rows_seen = [false; TABLE.len()];
    for case in all_cases() {
        let (mut room, bob) = harness_for(case);
        let found = try_case(&mut room, &bob, case);
        let row = row_index(case);
        rows_seen[row] = true;
        assert_eq!(found, TABLE[row].5, "{case:?}");
        if let (No(_), false) = (found, case.invite == Malformed) {
            assert_eq!(room.closed, [SessionId(5)], "a refusal ends the connection: {case:?}");
        }
    }
    assert_eq!(rows_seen, [true; TABLE.len()], "a row is of no use");
}

#[test]
fn key_has_at_most_three_ids_and_keeps_them() {
    let mut room = HubHarness::new();
    let names = ["Ann", "Bob", "Cid"];
    let ids = names.map(|name| room.join_with_key(1, name, Some(KNOWN)));
    assert_eq!(ids.len(), IDS_PER_KEY);
    let fourth = |login: &mut Login| login.username = "Dan".to_owned();
    assert_eq!(room.try_login(2, Some(KNOWN), fourth), Err(ErrorCode::TooManyIds));
    for (name, id) in names.iter().zip(&ids) {
        assert_eq!(room.join_with_key(3, name, Some(KNOWN)), *id);
        let asks = |login: &mut Login| login.user_id = Some(id.clone());
        assert_eq!(room.try_login(4, Some(KNOWN), asks), Ok(id.clone()), "whatever name is said");
    }
    room.try_login(5, Some(NEW), fourth).unwrap();
}

#[test]
fn new_ids_are_rate_limited_per_address() {
    let mut room = HubHarness::new();
    let mut session = 0;
    let mut enter = |room: &mut HubHarness, address: &str| {
        session += 1;
        let mut key = [0; 32];
        key[0] = u8::try_from(session).unwrap();
        let peer = PeerInfo { key: Some(key), address: address.parse().unwrap() };
        room.try_login_from(session, peer, |_| {})
    };
    for n in 0..NEW_IDS_PER_ADDRESS {
        enter(&mut room, &format!("2001:db8::{n}")).unwrap();
        enter(&mut room, "203.0.113.1").unwrap();
    }
    let refused = Err(ErrorCode::TooManyConnections);
    assert_eq!(enter(&mut room, "2001:db8::ffff:1"), refused, "a /64 is one address");
    assert_eq!(enter(&mut room, "203.0.113.1"), refused);
    enter(&mut room, "203.0.113.2").unwrap();
    enter(&mut room, "2001:db8:0:1::1").unwrap();
    for _ in 0..=NEW_IDS_PER_ADDRESS {
        enter(&mut room, "127.0.0.1").unwrap();
    }
    let known = PeerInfo { key: Some([0; 32]), address: "203.0.113.1".parse().unwrap() };
    assert_eq!(room.try_login_from(99, known, |_| {}), refused);
    room.wait(NEW_IDS_WINDOW);
    room.try_login_from(99, known, |_| {}).unwrap();
    room.try_login_from(98, known, |_| {}).unwrap();
}

#[test]
fn single_use_invite_admits_one_of_two_concurrent_logins() {
    let mut room = HubHarness::new();
    room.restart_with_access(AccessMode::InviteOnly { host: None });
    create_invite(&mut room, 1, 1);
    let login = |session, key| HubInput::Login {
        session: SessionId(session),
        login: Login {
            invite: Some(invite(1)),
            dialect: Dialect::Extended,
            ..Login::original("Bob".to_owned())
        },
        peer: local_peer(Some(key)),
    };
    // None of it is on disk yet.
    let first = room.hub.handle(room.now, login(1, KNOWN));
    let second = room.hub.handle(room.now, login(2, NEW));
    let again = room.hub.handle(room.now, login(3, KNOWN));
    let [HubEffect::Append { context: ticket, .. }] = first.as_slice() else { panic!("{first:?}") };
    assert!(
        matches!(&second[..], [HubEffect::Send { event: Event::LoginRefused(no), .. }, HubEffect::Close(SessionId(2))]
        if no.code == BadInvite)
    );
    assert!(again.is_empty(), "who came twice waits for the same: {again:?}");

    // The disk is full: the invite is as good as before.
    let reason = "its disk is full";
    let failed =
        room.hub.handle(room.now, HubInput::WriteFailed { context: ticket.clone(), reason });
    let refused: Vec<_> = failed
        .iter()
        .filter_map(|effect| match effect {
            HubEffect::Send { event: Event::LoginRefused(no), .. } => Some(no.code),
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
fn id_is_not_used_before_it_is_on_disk() {
    let mut room = HubHarness::new();
    let login = Login { dialect: Dialect::Extended, ..Login::original("Bob".to_owned()) };
    let login = HubInput::Login { session: SessionId(1), login, peer: local_peer(Some(KNOWN)) };
    let effects = room.hub.handle(room.now, login);
    let [HubEffect::Append { context: ticket, append: Append::Register { user, .. } }] =
        effects.as_slice()
    else {
        panic!("{effects:?}");
    };
    // Banned, or gone, meanwhile.
    let mut other = Vec::new();
    room.hub.execute_admin(
        room.now,
        AdminRequestId(1),
        AdminCommand::Ban { who: key_selector(KNOWN) },
        &mut other,
    );
    let stored = HubInput::Written { context: ticket.clone(), outcome: Outcome::Registered };
    let effects = room.hub.handle(room.now, stored);
    assert!(
        matches!(&effects[..], [HubEffect::Send { event: Event::LoginRefused(no), .. }, HubEffect::Close(_)]
        if no.code == Banned),
        "{effects:?}"
    );
    assert!(room.hub.sessions.sessions_of(user).next().is_none());
}

fn key_selector(key: KeyHash) -> UserSelector {
    UserSelector::Key(Fingerprint::from_digest(key))
}

#[test]
fn unwritten_ban_is_in_force_until_restart() {
    let mut room = HubHarness::new();
    let bob = room.join_with_key(1, "Bob", Some(KNOWN));
    room.is_disk_full = true;
    let answer = room.admin(AdminCommand::Ban { who: UserSelector::User(bob.clone()) });
    assert!(matches!(&answer, AdminReply::Refused { error } if error.contains("its disk is full")));
    assert_eq!(room.closed, [SessionId(1)]);
    assert_eq!(room.try_login(2, Some(KNOWN), |_| {}), Err(Banned));
    room.is_disk_full = false;
    room.restart();
    assert_eq!(room.try_login(3, Some(KNOWN), |_| {}), Ok(bob));
}
