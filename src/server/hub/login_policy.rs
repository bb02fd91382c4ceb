//! The login policy: decides whether a client may log in, and under which ID.
//!
//! All checks are here, in one order: name, bans, own IDs, invite, rate limit, confusable name. What
//! follows from the decision is in `login`.

use std::collections::{BTreeSet, HashMap, VecDeque};

use ipnet::IpNet;
use tokio::time::Instant;

use super::{Hub, KeyHash, Now, PeerInfo};
use crate::protocol::error::Refusal;
use crate::protocol::id::{Name, UserId};
use crate::protocol::message::Millis;
use crate::protocol::request::Login;
use crate::server::limits::{IDS_PER_KEY, NEW_IDS_PER_ADDRESS, NEW_IDS_TRACKED, NEW_IDS_WINDOW};
use crate::store::{BanTarget, OpenInvite, client_network};
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

/// The ID of an accepted login.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LoginDecision {
    /// An ID that is registered for the client's key.
    ExistingId(UserId),
    /// A new ID.
    NewId {
        /// The name the ID starts with.
        name: Name,
        /// The SHA-256 of the invite's secret, if an invite is used.
        invite: Option<[u8; 32]>,
    },
}

/// The access mode, invites, bans and rate limit that decide about logins.
#[derive(Debug)]
pub(super) struct LoginPolicy {
    access: AccessMode,
    /// By the SHA-256 of their secrets.
    pub(super) invites: HashMap<[u8; 32], OpenInvite>,
    pub(super) bans: BTreeSet<BanTarget>,
    new_ids: NewIdRateLimit,
}

impl LoginPolicy {
    pub(super) fn new(access: AccessMode, invites: &[OpenInvite], bans: &[BanTarget]) -> Self {
        let invites = invites.iter().map(|invite| (invite.hash, *invite)).collect();
        let bans = bans.iter().copied().collect();
        Self { access, invites, bans, new_ids: NewIdRateLimit::default() }
    }

    pub(super) fn is_banned(&self, peer: PeerInfo) -> bool {
        self.bans.iter().any(|target| peer.matches(target))
    }

    /// The hash of the login's invite, or `None` if no invite is required.
    fn required_invite(
        &self,
        now: Millis,
        login: &Login,
        peer: PeerInfo,
    ) -> Result<Option<[u8; 32]>, Refusal> {
        match (self.access, peer.key) {
            (AccessMode::Open, _) => return Ok(None),
            (AccessMode::InviteOnly { host }, Some(key)) if host == Some(key) => return Ok(None),
            // A guest gets a new ID at each login, so each login would use up the invite once more.
            (AccessMode::InviteOnly { .. }, None) => return Err(Refusal::InviteNeeded),
            (AccessMode::InviteOnly { .. }, Some(_)) => {}
        }
        let invite = login.invite.as_ref().ok_or(Refusal::InviteNeeded)?;
        let hash = fingerprint::sha256(invite.secret());
        match self.invites.get(&hash) {
            Some(open) if open.is_usable(now) => Ok(Some(hash)),
            Some(_) | None => Err(Refusal::BadInvite),
        }
    }

    /// Counts a new ID against its invite, or against the rate limit of the client's address.
    pub(super) fn record_new_id(&mut self, now: Now, peer: PeerInfo, invite: Option<&[u8; 32]>) {
        match invite {
            Some(hash) => {
                if let Some(open) = self.invites.get_mut(hash) {
                    open.uses -= 1;
                }
            }
            None => self.new_ids.record(now.monotonic, peer),
        }
    }

    /// Undoes the use of an invite when the new ID could not be registered.
    pub(super) fn return_invite_use(&mut self, invite: Option<&[u8; 32]>) {
        if let Some(open) = invite.and_then(|hash| self.invites.get_mut(hash)) {
            open.uses += 1;
        }
    }
}

/// Limits the new IDs of each client network: [`NEW_IDS_PER_ADDRESS`] per [`NEW_IDS_WINDOW`].
/// Loopback addresses are exempt.
#[derive(Debug, Default)]
struct NewIdRateLimit {
    order: VecDeque<(Instant, IpNet)>,
    by_network: HashMap<IpNet, usize>,
}

impl NewIdRateLimit {
    fn record(&mut self, now: Instant, peer: PeerInfo) {
        if peer.address.is_loopback() {
            return;
        }
        let network = client_network(peer.address);
        self.order.push_back((now, network));
        *self.by_network.entry(network).or_default() += 1;
        while self.order.len() > NEW_IDS_TRACKED {
            self.remove_oldest();
        }
    }

    fn prune(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(at, _)| now - *at >= NEW_IDS_WINDOW) {
            self.remove_oldest();
        }
    }

    fn remove_oldest(&mut self) {
        let Some((_, network)) = self.order.pop_front() else { return };
        if let Some(count) = self.by_network.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.by_network.remove(&network);
            }
        }
    }

    fn is_exceeded(&self, peer: PeerInfo) -> bool {
        let so_far = self.by_network.get(&client_network(peer.address));
        so_far.is_some_and(|count| *count >= NEW_IDS_PER_ADDRESS)
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
                .then(|| LoginDecision::ExistingId(id.clone()))
                .ok_or_else(|| Refusal::NotYourId(id.clone()));
        }
        // The latest of several, which may be an old ID that was rebound to this key.
        if let Some(id) = own.iter().rev().find(|own| own.name() == name.as_str()) {
            return Ok(LoginDecision::ExistingId(id.clone()));
        }
        let invite = self.login_policy.required_invite(now.millis(), login, peer)?;
        if own.len() >= IDS_PER_KEY {
            return Err(Refusal::TooManyIds(own.to_vec()));
        }
        self.login_policy.new_ids.prune(now.monotonic);
        if invite.is_none() && self.login_policy.new_ids.is_exceeded(peer) {
            return Err(Refusal::TooManyConnections);
        }
        if let Some(other) = self.sessions.confusable_with(&name) {
            return Err(Refusal::ConfusableName(name, other.clone()));
        }
        Ok(LoginDecision::NewId { name, invite })
    }
}
