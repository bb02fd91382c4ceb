//! The login policy: decides whether a client may log in, and under which ID.
//!
//! Here is what does not depend on the log: name, bans, own IDs, whether an invite is required, the rate
//! limit, and confusable names of guests. Whether a key gets a new ID, and which, is decided by the log. What
//! follows from the decision is in `login`.

use std::collections::{BTreeSet, VecDeque};

use ipnet::IpNet;
use rand::RngExt as _;
use tokio::time::Instant;

use super::{Hub, KeyHash, Now, PeerInfo};
use crate::protocol::error::Refusal;
use crate::protocol::id::{Name, UserId};
use crate::protocol::request::Login;
use crate::server::limits::{NEW_IDS_PER_ADDRESS, NEW_IDS_TRACKED, NEW_IDS_WINDOW};
use crate::store::{BanTarget, InviteRule, NewUser, client_network, latest_of_name};
use crate::tls::fingerprint;

/// Who may join a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessMode {
    /// Any client that can connect.
    #[default]
    Open,
    /// Clients with a registered ID or an invite.
    InviteOnly {
        /// The key that needs no invite: the user who runs `chat host`.
        host: Option<KeyHash>,
    },
}

/// Under which ID a client logs in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LoginDecision {
    /// An ID that is registered for the client's key, or a new one of a guest.
    Id(UserId),
    /// The log decides whether the key gets an ID.
    NewUser(NewUser),
}

/// The access mode, bans and rate limit that decide about logins.
#[derive(Debug)]
pub(super) struct LoginPolicy {
    access: AccessMode,
    /// A copy of the log's bans, which follows its outcomes.
    pub(super) bans: BTreeSet<BanTarget>,
    pub(super) new_ids: NewIdRateLimit,
}

impl LoginPolicy {
    pub(super) fn new(access: AccessMode, bans: &[BanTarget]) -> Self {
        let bans = bans.iter().copied().collect();
        Self { access, bans, new_ids: NewIdRateLimit::default() }
    }

    pub(super) fn is_banned(&self, peer: PeerInfo) -> bool {
        self.bans.iter().any(|target| peer.matches(target))
    }

    fn invite_rule(&self, login: &Login, peer: PeerInfo) -> Result<InviteRule, Refusal> {
        match (self.access, peer.key) {
            (AccessMode::Open, _) => Ok(InviteRule::NotRequired),
            (AccessMode::InviteOnly { host }, Some(key)) if host == Some(key) => {
                Ok(InviteRule::NotRequired)
            }
            // A guest gets a new ID at each login, so each login would use up the invite once more.
            (AccessMode::InviteOnly { .. }, None) => Err(Refusal::InviteNeeded),
            (AccessMode::InviteOnly { .. }, Some(_)) => {
                let invite = login.invite.as_ref();
                Ok(InviteRule::Required(invite.map(|invite| fingerprint::sha256(invite.secret()))))
            }
        }
    }
}

/// Limits the new IDs of each client network: [`NEW_IDS_PER_ADDRESS`] per [`NEW_IDS_WINDOW`].
/// Loopback addresses are exempt. The networks of the latest new IDs, oldest first.
#[derive(Debug, Default)]
pub(super) struct NewIdRateLimit(VecDeque<(Instant, IpNet)>);

impl NewIdRateLimit {
    pub(super) fn record(&mut self, now: Instant, peer: PeerInfo) {
        if peer.address.is_loopback() {
            return;
        }
        self.0.push_back((now, client_network(peer.address)));
        if self.0.len() > NEW_IDS_TRACKED {
            self.0.pop_front();
        }
    }

    /// Undoes the latest [`record`](Self::record) of this client's network.
    pub(super) fn undo(&mut self, peer: PeerInfo) {
        let network = client_network(peer.address);
        if let Some(index) = self.0.iter().rposition(|(_, recorded)| *recorded == network) {
            self.0.remove(index);
        }
    }

    fn is_exceeded(&mut self, now: Instant, peer: PeerInfo) -> bool {
        while self.0.front().is_some_and(|(at, _)| now - *at >= NEW_IDS_WINDOW) {
            self.0.pop_front();
        }
        let network = client_network(peer.address);
        self.0.iter().filter(|(_, recorded)| *recorded == network).count() >= NEW_IDS_PER_ADDRESS
    }
}

impl Hub {
    /// Decides whether a login is accepted, and under which ID.
    pub(super) fn decide_login(
        &mut self,
        now: Now,
        login: &Login,
        peer: PeerInfo,
    ) -> Result<LoginDecision, Refusal> {
        let name: Name = login.username.parse()?;
        if self.login_policy.is_banned(peer) {
            return Err(Refusal::Banned);
        }
        let own = self.sessions.ids_of(peer.key);
        if let Some(id) = &login.user_id {
            return own
                .contains(id)
                .then(|| LoginDecision::Id(id.clone()))
                .ok_or_else(|| Refusal::NotYourId(id.clone()));
        }
        if let Some(id) = latest_of_name(own, &name) {
            return Ok(LoginDecision::Id(id.clone()));
        }
        let invite = self.login_policy.invite_rule(login, peer)?;
        let new_ids = &mut self.login_policy.new_ids;
        if invite == InviteRule::NotRequired && new_ids.is_exceeded(now.monotonic, peer) {
            return Err(Refusal::TooManyConnections);
        }
        let draw = self.rng.random();
        if let Some(key) = peer.key {
            new_ids.record(now.monotonic, peer);
            let similar_guest = self.sessions.similar_guest(&name).cloned();
            return Ok(LoginDecision::NewUser(NewUser { name, key, invite, similar_guest, draw }));
        }
        if let Some(other) = self.sessions.similar_name(&name) {
            return Err(Refusal::ConfusableName(name, other.clone()));
        }
        new_ids.record(now.monotonic, peer);
        Ok(LoginDecision::Id(self.sessions.issue_guest_id(&name, draw)))
    }
}
