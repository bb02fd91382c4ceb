//! The login policy as one table: every combination of key, invite, bans and requested ID.

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

/// The invite sent with a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InviteCase {
    Missing,
    Valid,
    UsedUp,
    Expired,
    Unknown,
    Malformed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BanCase {
    None,
    Key,
    Address,
}

/// The ID that a login asks for. `Any`: it leaves the choice to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestedId {
    Any,
    Own,
    OtherUsers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LoginResult {
    /// Accepted with the ID registered for the key.
    ExistingId,
    /// Accepted with a new ID.
    NewId,
    /// Accepted with a new ID, which used up the invite.
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

use ErrorCode::{BadInvite, Banned, InviteNeeded, NotYourId};
use InviteCase::{Expired, Malformed, Missing, Unknown, UsedUp, Valid};
use LoginResult::{ExistingId, NewId, NewIdByInvite, Refused};
use RequestedId::{Any, OtherUsers, Own};

/// A row matches a case if each list contains the case's value; an empty list matches any value.
type TableRow = (
    &'static [Option<KeyHash>],
    &'static [InviteCase],
    &'static [bool],
    &'static [BanCase],
    &'static [RequestedId],
    LoginResult,
);

/// The first row that matches a case gives its outcome.
const TABLE: [TableRow; 12] = [
    // keys, invites, invite-only, bans, requested IDs, outcome
    (&[], &[Malformed], &[], &[], &[], Refused(BadInvite)),
    (&[], &[], &[], &[BanCase::Address], &[], Refused(Banned)),
    (&[Some(KNOWN), Some(NEW), Some(HOST)], &[], &[], &[BanCase::Key], &[], Refused(Banned)),
    (&[Some(KNOWN)], &[], &[], &[], &[Any, Own], ExistingId),
    (&[], &[], &[], &[], &[Own, OtherUsers], Refused(NotYourId)),
    (&[], &[], &[false], &[], &[], NewId),
    (&[Some(HOST)], &[], &[], &[], &[], NewId),
    (&[None], &[], &[], &[], &[], Refused(InviteNeeded)),
    (&[], &[Missing], &[], &[], &[], Refused(InviteNeeded)),
    (&[], &[UsedUp, Expired], &[], &[], &[], Refused(BadInvite)),
    (&[], &[Unknown], &[], &[], &[], Refused(BadInvite)),
    (&[], &[Valid], &[], &[], &[], NewIdByInvite),
];

fn row_index(case: Case) -> usize {
    fn fits<T: PartialEq>(list: &[T], value: &T) -> bool {
        list.is_empty() || list.contains(value)
    }
    let row = TABLE.iter().position(|(keys, invites, invite_only, bans, requested_ids, _)| {
        fits(keys, &case.key)
            && fits(invites, &case.invite)
            && fits(invite_only, &case.invite_only)
            && fits(bans, &case.ban)
            && fits(requested_ids, &case.requested_id)
    });
    row.unwrap_or_else(|| panic!("no row matches {case:?}"))
}

fn all_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for key in [None, Some(NEW), Some(KNOWN), Some(HOST)] {
        for invite in [Missing, Valid, UsedUp, Expired, Unknown, Malformed] {
            for invite_only in [false, true] {
                for ban in [BanCase::None, BanCase::Key, BanCase::Address] {
                    for requested_id in [Any, Own, OtherUsers] {
                        cases.push(Case { key, invite, invite_only, ban, requested_id });
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

fn create_invite(harness: &mut HubHarness, byte: u8, uses: u32) {
    let command = AdminCommand::Invite { invite: invite(byte), uses, seconds: 3_600 };
    let reply = harness.admin(command);
    assert!(matches!(reply, AdminReply::Done { .. }), "{reply:?}");
}

fn ban(harness: &mut HubHarness, who: &str) {
    let reply = harness.admin(AdminCommand::Ban { who: who.parse().unwrap() });
    assert!(matches!(reply, AdminReply::Done { .. }), "{reply:?}");
}

/// A server with a registered user, `Bob`, and invites of every kind.
fn harness_for(case: Case) -> (HubHarness, UserId) {
    let mut harness = HubHarness::new();
    let bob = harness.join_with_key(1, "Bob", Some(KNOWN));
    harness.disconnect(1);
    harness.restart_with_access(AccessMode::InviteOnly { host: Some(HOST) });
    create_invite(&mut harness, 3, 9);
    harness.wait(Duration::from_hours(1));
    create_invite(&mut harness, 1, 1);
    create_invite(&mut harness, 2, 1);
    let used_up = harness.try_login(2, Some([9; 32]), |login| login.invite = Some(invite(2)));
    used_up.unwrap();
    harness.disconnect(2);
    if !case.invite_only {
        harness.restart_with_access(AccessMode::Open);
    }
    match case.ban {
        BanCase::None => {}
        BanCase::Address => ban(&mut harness, "127.0.0.0/8"),
        BanCase::Key => {
            let key = case.key.unwrap_or(KNOWN);
            ban(&mut harness, &Fingerprint::from_digest(key).to_string());
        }
    }
    harness.take_sent();
    harness.closed.clear();
    (harness, bob)
}

fn try_case(harness: &mut HubHarness, bob: &UserId, case: Case) -> LoginResult {
    // Through the decoder, which refuses a malformed invite before anything else.
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
        Err(refusal) => return Refused(refusal.code()),
    };
    let n_open = |harness: &mut HubHarness| harness.store.snapshot().unwrap().invites.len();
    let before = n_open(harness);
    match harness.try_login(5, case.key, |own| *own = login) {
        Err(code) => Refused(code),
        Ok(user) if user == *bob => ExistingId,
        Ok(_) if n_open(harness) < before => NewIdByInvite,
        Ok(_) => NewId,
    }
}

#[test]
fn login_policy_matches_the_table() {
    let mut rows_seen = [false; TABLE.len()];
    for case in all_cases() {
        let (mut harness, bob) = harness_for(case);
        let result = try_case(&mut harness, &bob, case);
        let row = row_index(case);
        rows_seen[row] = true;
        assert_eq!(result, TABLE[row].5, "{case:?}");
        if let (Refused(_), false) = (result, case.invite == Malformed) {
            assert_eq!(harness.closed, [SessionId(5)], "a refusal closes the connection: {case:?}");
        }
    }
    assert_eq!(rows_seen, [true; TABLE.len()], "a row matches no case");
}

#[test]
fn key_has_at_most_three_ids_and_keeps_them() {
    let mut harness = HubHarness::new();
    let names = ["Ann", "Bob", "Cid"];
    let ids = names.map(|name| harness.join_with_key(1, name, Some(KNOWN)));
    assert_eq!(ids.len(), IDS_PER_KEY);
    let fourth = |login: &mut Login| login.username = "Dan".to_owned();
    assert_eq!(harness.try_login(2, Some(KNOWN), fourth), Err(ErrorCode::TooManyIds));
    for (name, id) in names.iter().zip(&ids) {
        assert_eq!(harness.join_with_key(3, name, Some(KNOWN)), *id);
        let asks = |login: &mut Login| login.user_id = Some(id.clone());
        assert_eq!(
            harness.try_login(4, Some(KNOWN), asks),
            Ok(id.clone()),
            "the name of the login is ignored"
        );
    }
    harness.try_login(5, Some(NEW), fourth).unwrap();
}

#[test]
fn new_ids_are_rate_limited_per_address() {
    let mut harness = HubHarness::new();
    let mut session = 0;
    let mut enter = |harness: &mut HubHarness, address: &str| {
        session += 1;
        let mut key = [0; 32];
        key[0] = u8::try_from(session).unwrap();
        let peer = PeerInfo { key: Some(key), address: address.parse().unwrap() };
        harness.try_login_from(session, peer, |_| {})
    };
    for n in 0..NEW_IDS_PER_ADDRESS {
        enter(&mut harness, &format!("2001:db8::{n}")).unwrap();
        enter(&mut harness, "203.0.113.1").unwrap();
    }
    let refused = Err(ErrorCode::TooManyConnections);
    assert_eq!(enter(&mut harness, "2001:db8::ffff:1"), refused, "a /64 counts as one address");
    assert_eq!(enter(&mut harness, "203.0.113.1"), refused);
    enter(&mut harness, "203.0.113.2").unwrap();
    enter(&mut harness, "2001:db8:0:1::1").unwrap();
    for _ in 0..=NEW_IDS_PER_ADDRESS {
        enter(&mut harness, "127.0.0.1").unwrap();
    }
    let known = PeerInfo { key: Some([0; 32]), address: "203.0.113.1".parse().unwrap() };
    assert_eq!(harness.try_login_from(99, known, |_| {}), refused);
    harness.wait(NEW_IDS_WINDOW);
    harness.try_login_from(99, known, |_| {}).unwrap();
    harness.try_login_from(98, known, |_| {}).unwrap();
}

#[test]
fn single_use_invite_admits_one_of_two_concurrent_logins() {
    let mut harness = HubHarness::new();
    harness.restart_with_access(AccessMode::InviteOnly { host: None });
    create_invite(&mut harness, 1, 1);
    let login = |session, key| HubInput::Login {
        session: SessionId(session),
        login: Login {
            invite: Some(invite(1)),
            dialect: Dialect::Extended,
            ..Login::original("Bob".to_owned())
        },
        peer: local_peer(Some(key)),
    };
    // Nothing is written yet.
    let first = harness.hub.handle(harness.now, login(1, KNOWN));
    let second = harness.hub.handle(harness.now, login(2, NEW));
    let again = harness.hub.handle(harness.now, login(3, KNOWN));
    let [HubEffect::Propose { origin, .. }] = first.as_slice() else { panic!("{first:?}") };
    assert!(
        matches!(&second[..], [HubEffect::Send { event: Event::LoginRefused(no), .. }, HubEffect::Close(SessionId(2))]
        if no.code == BadInvite)
    );
    assert!(again.is_empty(), "a second login of the key waits for the same write: {again:?}");

    // The disk is full: the invite keeps its use.
    let reason = "its disk is full";
    let failed =
        harness.hub.handle(harness.now, HubInput::NotApplied { origin: origin.clone(), reason });
    let refused: Vec<_> = failed
        .iter()
        .filter_map(|effect| match effect {
            HubEffect::Send { event: Event::LoginRefused(no), .. } => Some(no.code),
            _ => None,
        })
        .collect();
    assert_eq!(refused, [ErrorCode::NotStored, ErrorCode::NotStored]);
    let by_invite = |login: &mut Login| login.invite = Some(invite(1));
    let user = harness.try_login(4, Some(NEW), by_invite).unwrap();
    assert_eq!(harness.try_login(5, Some(KNOWN), by_invite), Err(BadInvite));
    harness.restart();
    assert_eq!(harness.try_login(6, Some(KNOWN), by_invite), Err(BadInvite));
    assert_eq!(
        harness.try_login(7, Some(NEW), |_| {}),
        Ok(user),
        "a registered user needs no invite"
    );
}

#[test]
fn id_is_not_used_before_it_is_on_disk() {
    let mut harness = HubHarness::new();
    let login = Login { dialect: Dialect::Extended, ..Login::original("Bob".to_owned()) };
    let login = HubInput::Login { session: SessionId(1), login, peer: local_peer(Some(KNOWN)) };
    let effects = harness.hub.handle(harness.now, login);
    let [HubEffect::Propose { origin, entry: Entry::Register { user, .. } }] = effects.as_slice()
    else {
        panic!("{effects:?}");
    };
    // The key is banned meanwhile.
    let mut other = Vec::new();
    harness.hub.execute_admin(
        harness.now,
        AdminRequestId(1),
        AdminCommand::Ban { who: key_selector(KNOWN) },
        &mut other,
    );
    let written = HubInput::Applied { origin: origin.clone(), outcome: Outcome::Registered };
    let effects = harness.hub.handle(harness.now, written);
    assert!(
        matches!(&effects[..], [HubEffect::Send { event: Event::LoginRefused(no), .. }, HubEffect::Close(_)]
        if no.code == Banned),
        "{effects:?}"
    );
    assert!(harness.hub.sessions.sessions_of(user).next().is_none());
}

fn key_selector(key: KeyHash) -> UserSelector {
    UserSelector::Key(Fingerprint::from_digest(key))
}

#[test]
fn unwritten_ban_is_in_force_until_restart() {
    let mut harness = HubHarness::new();
    let bob = harness.join_with_key(1, "Bob", Some(KNOWN));
    harness.is_disk_full = true;
    let reply = harness.admin(AdminCommand::Ban { who: UserSelector::User(bob.clone()) });
    assert!(matches!(&reply, AdminReply::Refused { error } if error.contains("its disk is full")));
    assert_eq!(harness.closed, [SessionId(1)]);
    assert_eq!(harness.try_login(2, Some(KNOWN), |_| {}), Err(Banned));
    harness.is_disk_full = false;
    harness.restart();
    assert_eq!(harness.try_login(3, Some(KNOWN), |_| {}), Ok(bob));
}
