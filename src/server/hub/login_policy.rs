//! The gate: who gets in, and as whom. Everything that speaks for or against a login is here, in one
//! order. What follows from it is in `enter`.

use std::collections::{BTreeSet, HashMap, VecDeque};

use tokio::time::Instant;

use super::{Hub, KeyHash, Now, PeerInfo};
use crate::protocol::error::Refusal;
use crate::protocol::id::{Name, UserId};
use crate::protocol::message::Millis;
use crate::protocol::request::Login;
use crate::server::limits::{IDS_PER_KEY, NEW_IDS_PER_ADDRESS, NEW_IDS_TRACKED, NEW_IDS_WINDOW};
use crate::store::{BanTarget, Network, OpenInvite};
use crate::tls::fingerprint;

/// For whom a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessMode {
    /// For everybody who reaches it.
    #[default]
    Open,
    /// For those who have an ID, or an invite.
    InviteOnly {
        /// Whose house it is: who holds this key needs no invite.
        host: Option<KeyHash>,
    },
}

/// Somebody gets in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LoginDecision {
    /// Under this ID, which is theirs already.
    ExistingId(UserId),
    /// Under a new ID of this name.
    NewId {
        /// The name.
        name: Name,
        /// By this invite, if by one: the SHA-256 of its secret.
        invite: Option<[u8; 32]>,
    },
}

/// What is known to the gate beside who has which ID.
#[derive(Debug)]
pub(super) struct LoginPolicy {
    access: AccessMode,
    pub(super) invites: HashMap<[u8; 32], OpenInvite>,
    pub(super) bans: BTreeSet<BanTarget>,
    new_ids: NewIdRateLimit,
}

impl LoginPolicy {
    pub(super) fn new(access: AccessMode, invites: &[OpenInvite], banned: &[BanTarget]) -> Self {
        let invites = invites.iter().map(|invite| (invite.hash, *invite)).collect();
        let bans = banned.iter().copied().collect();
        Self { access, invites, bans, new_ids: NewIdRateLimit::default() }
    }

    pub(super) fn is_banned(&self, peer: PeerInfo) -> bool {
        self.bans.iter().any(|banned| peer.matches(banned))
    }

    /// The invite by which somebody new gets in, where one is needed.
    fn required_invite(
        &self,
        now: Millis,
        login: &Login,
        peer: PeerInfo,
    ) -> Result<Option<[u8; 32]>, Refusal> {
        match (self.access, peer.key) {
            (AccessMode::Open, _) => return Ok(None),
            (AccessMode::InviteOnly { host }, Some(key)) if host == Some(key) => return Ok(None),
            // Without a key somebody would be new each time, and an invite is for one person.
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

    /// Somebody new is on the way in: counts against their invite, or else against their address.
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

    /// Somebody did not get in after all.
    pub(super) fn return_invite_use(&mut self, invite: Option<&[u8; 32]>) {
        if let Some(open) = invite.and_then(|hash| self.invites.get_mut(hash)) {
            open.uses += 1;
        }
    }
}

/// From where somebody new came lately.
#[derive(Debug, Default)]
struct NewIdRateLimit {
    order: VecDeque<(Instant, Network)>,
    by_network: HashMap<Network, usize>,
}

impl NewIdRateLimit {
    fn record(&mut self, now: Instant, peer: PeerInfo) {
        if peer.address.is_loopback() {
            return;
        }
        let network = Network::of(peer.address);
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
        let so_far = self.by_network.get(&Network::of(peer.address));
        so_far.is_some_and(|count| *count >= NEW_IDS_PER_ADDRESS)
    }
}

impl Hub {
    /// Whether somebody gets in, and as whom.
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
            let is_theirs = own.contains(id);
            return is_theirs
                .then(|| LoginDecision::ExistingId(id.clone()))
                .ok_or_else(|| Refusal::NotYourId(id.clone()));
        }
        // Of several, the one that came to the key last: it may be one that was lost before.
        if let Some(known) = own.iter().rev().find(|id| id.name() == name.as_str()) {
            return Ok(LoginDecision::ExistingId(known.clone()));
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
