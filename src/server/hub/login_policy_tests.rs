//! The login policy as one table: every combination of key, invite, bans and requested ID.

use std::time::Duration;

use super::harness::{HubHarness, local_peer};
use super::*;
use crate::protocol::error::ErrorCode;
use crate::protocol::invite::Invite;
use crate::protocol::request::Dialect;
use crate::server::admin::UserSelector;
use crate::server::limits::{NEW_IDS_PER_ADDRESS, NEW_IDS_WINDOW};
use crate::store::{IDS_PER_KEY, Reader as _, Store as _};
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
    let command =
        AdminCommand::Invite { invite: invite(byte), uses, seconds: 3_600, rooms: Vec::new() };
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
    let n_open = |harness: &mut HubHarness| {
        let now = harness.millis();
        harness.store.open_reader().unwrap().open_invites(now).unwrap().len()
    };
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

/// Starts a login as `Bob` whose entry is not applied yet.
fn propose_login(
    harness: &mut HubHarness,
    session: u64,
    key: KeyHash,
    invite: Option<Invite>,
) -> (Origin, Entry) {
    let login = Login { invite, dialect: Dialect::Extended, ..Login::original("Bob".to_owned()) };
    let (session, peer) = (SessionId(session), local_peer(Some(key)));
    let mut effects = harness.hub.handle(harness.now, HubInput::Login { session, login, peer });
    match (effects.pop(), effects.as_slice()) {
        (Some(HubEffect::Propose { origin, entry }), []) => (origin, entry),
        other => panic!("{other:?}"),
    }
}

/// The users or error codes that logins are answered with.
fn take_answers(harness: &mut HubHarness) -> Vec<(u64, Result<UserId, ErrorCode>)> {
    let answers = harness.take_sent().into_iter().filter_map(|(to, event)| match event {
        Event::Welcome(welcome) => Some((to, Ok(welcome.user))),
        Event::LoginRefused(refused) => Some((to, Err(refused.code))),
        _ => None,
    });
    answers.collect()
}

fn commit(harness: &mut HubHarness, proposed: Vec<(Origin, Entry)>) {
    let (origins, entries): (Vec<_>, Vec<_>) = proposed.into_iter().unzip();
    let outcomes = harness.store.apply(harness.millis(), &entries).unwrap();
    for (origin, outcome) in origins.into_iter().zip(outcomes) {
        harness.handle(HubInput::Applied { origin, outcome });
    }
}

#[test]
fn single_use_invite_admits_one_of_two_concurrent_logins() {
    let mut harness = HubHarness::new();
    harness.restart_with_access(AccessMode::InviteOnly { host: None });
    create_invite(&mut harness, 1, 1);
    let propose = |harness: &mut HubHarness| {
        let logins = [(1, KNOWN, Some(invite(1))), (2, NEW, Some(invite(1))), (3, KNOWN, None)];
        logins.map(|(session, key, invite)| propose_login(harness, session, key, invite)).to_vec()
    };

    // The disk is full: the invite keeps its use.
    for (origin, _) in propose(&mut harness) {
        harness.handle(HubInput::NotApplied { origin, reason: "its disk is full" });
    }
    let not_stored = [1, 2, 3].map(|session| (session, Err(ErrorCode::NotStored)));
    assert_eq!(take_answers(&mut harness), not_stored);

    let proposed = propose(&mut harness);
    commit(&mut harness, proposed);
    let answers = take_answers(&mut harness);
    let [(1, Ok(user)), (2, Err(BadInvite)), (3, Ok(same))] = answers.as_slice() else {
        panic!("{answers:?}")
    };
    assert_eq!(user, same, "a second login of the key gets the same ID and needs no invite");
    for _ in 0..2 {
        let by_invite = |login: &mut Login| login.invite = Some(invite(1));
        assert_eq!(harness.try_login(5, Some(NEW), by_invite), Err(BadInvite));
        assert_eq!(harness.try_login(6, Some(KNOWN), |_| {}).as_ref(), Ok(user));
        harness.restart();
    }
}

#[test]
fn id_is_not_used_before_it_is_on_disk() {
    let mut harness = HubHarness::new();
    let login = propose_login(&mut harness, 1, KNOWN, None);
    // The key is banned meanwhile.
    ban(&mut harness, &Fingerprint::from_digest(KNOWN).to_string());
    assert_eq!(harness.sent, []);
    commit(&mut harness, vec![login]);
    assert_eq!(take_answers(&mut harness), [(1, Err(Banned))]);
    assert_eq!(harness.hub.sessions.peers().count(), 0);
}

#[test]
fn refused_logins_do_not_count_as_new_ids() {
    let mut harness = HubHarness::new();
    harness.join_with_key(1, "Bob", Some(KNOWN));
    let peer = PeerInfo { key: Some(NEW), address: "203.0.113.1".parse().unwrap() };
    for session in 2..20 {
        let b0b = |login: &mut Login| login.username = "B0b".to_owned();
        let refused = harness.try_login_from(session, peer, b0b);
        assert_eq!(refused, Err(ErrorCode::ConfusableName));
    }
    harness.try_login_from(20, peer, |_| {}).unwrap();
}

#[test]
fn unwritten_ban_changes_nothing() {
    let mut harness = HubHarness::new();
    let bob = harness.join_with_key(1, "Bob", Some(KNOWN));
    harness.is_disk_full = true;
    let reply = harness.admin(AdminCommand::Ban { who: UserSelector::User(bob.clone()) });
    let AdminReply::Refused { error } = reply else { panic!("{reply:?}") };
    assert!(error.contains("its disk is full (nothing was changed; try again)"), "{error}");
    assert_eq!(harness.closed, []);
    assert_eq!(harness.try_login(2, Some(KNOWN), |_| {}), Ok(bob));
}
