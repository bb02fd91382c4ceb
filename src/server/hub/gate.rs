//! The gate: who gets in, and as whom. Everything that speaks for or against a login is here, in one
//! order. What follows from it is in `enter`.

use std::collections::{BTreeSet, HashMap, VecDeque};

use tokio::time::Instant;

use super::{Hub, Key, Now, Peer};
use crate::protocol::error::Refusal;
use crate::protocol::id::{Name, UserId};
use crate::protocol::message::Millis;
use crate::protocol::request::Login;
use crate::server::limits::{IDS_PER_KEY, NEW_IDS, NEW_IDS_KEPT, NEW_IDS_TIME};
use crate::store::{Banned, Network, OpenInvite};
use crate::tls::fingerprint;

/// For whom a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// For everybody who reaches it.
    #[default]
    Open,
    /// For those who have an ID, or an invite.
    InviteOnly {
        /// Whose house it is: who holds this key needs no invite.
        host: Option<Key>,
    },
}

/// Somebody gets in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Under this ID, which is theirs already.
    Known(UserId),
    /// Under a new ID of this name.
    New {
        /// The name.
        name: Name,
        /// By this invite, if by one: the SHA-256 of its secret.
        invite: Option<[u8; 32]>,
    },
}

/// What is known to the gate beside who has which ID.
#[derive(Debug)]
pub(super) struct Gate {
    access: Access,
    pub(super) invites: HashMap<[u8; 32], OpenInvite>,
    pub(super) banned: BTreeSet<Banned>,
    recent: Recent,
}

impl Gate {
    pub(super) fn new(access: Access, invites: &[OpenInvite], banned: &[Banned]) -> Self {
        let invites = invites.iter().map(|invite| (invite.hash, *invite)).collect();
        let banned = banned.iter().copied().collect();
        Self { access, invites, banned, recent: Recent::default() }
    }

    pub(super) fn is_banned(&self, peer: Peer) -> bool {
        self.banned.iter().any(|banned| peer.is(banned))
    }

    /// The invite by which somebody new gets in, where one is needed.
    fn invite(&self, now: Millis, login: &Login, peer: Peer) -> Result<Option<[u8; 32]>, Refusal> {
        match (self.access, peer.key) {
            (Access::Open, _) => return Ok(None),
            (Access::InviteOnly { host }, Some(key)) if host == Some(key) => return Ok(None),
            // Without a key somebody would be new each time, and an invite is for one person.
            (Access::InviteOnly { .. }, None) => return Err(Refusal::InviteNeeded),
            (Access::InviteOnly { .. }, Some(_)) => {}
        }
        let invite = login.invite.as_ref().ok_or(Refusal::InviteNeeded)?;
        let hash = fingerprint::sha256(invite.secret());
        match self.invites.get(&hash) {
            Some(open) if open.is_good(now) => Ok(Some(hash)),
            Some(_) | None => Err(Refusal::BadInvite),
        }
    }

    /// Somebody new is on the way in: counts against their invite, or else against their address.
    pub(super) fn count(&mut self, now: Now, peer: Peer, invite: Option<&[u8; 32]>) {
        match invite {
            Some(hash) => {
                if let Some(open) = self.invites.get_mut(hash) {
                    open.uses -= 1;
                }
            }
            None => self.recent.note(now.mono, peer),
        }
    }

    /// Somebody did not get in after all.
    pub(super) fn give_back(&mut self, invite: Option<&[u8; 32]>) {
        if let Some(open) = invite.and_then(|hash| self.invites.get_mut(hash)) {
            open.uses += 1;
        }
    }
}

/// From where somebody new came lately.
#[derive(Debug, Default)]
struct Recent {
    order: VecDeque<(Instant, Network)>,
    counts: HashMap<Network, usize>,
}

impl Recent {
    fn note(&mut self, now: Instant, peer: Peer) {
        if peer.address.is_loopback() {
            return;
        }
        let network = Network::of(peer.address);
        self.order.push_back((now, network));
        *self.counts.entry(network).or_default() += 1;
        while self.order.len() > NEW_IDS_KEPT {
            self.forget_first();
        }
    }

    fn forget_old(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(at, _)| now - *at >= NEW_IDS_TIME) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some((_, network)) = self.order.pop_front() else { return };
        if let Some(count) = self.counts.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&network);
            }
        }
    }

    fn is_too_much(&self, peer: Peer) -> bool {
        let so_far = self.counts.get(&Network::of(peer.address));
        so_far.is_some_and(|count| *count >= NEW_IDS)
    }
}

impl Hub {
    /// Whether somebody gets in, and as whom.
    pub(super) fn admit(
        &mut self,
        now: Now,
        login: &Login,
        peer: Peer,
    ) -> Result<Admission, Refusal> {
        let name: Name = login.username.parse()?;
        if self.gate.is_banned(peer) {
            return Err(Refusal::Banned);
        }
        let own = self.roster.ids_of(peer.key);
        if let Some(id) = &login.id {
            let is_theirs = own.contains(id);
            return is_theirs
                .then(|| Admission::Known(id.clone()))
                .ok_or_else(|| Refusal::NotYourId(id.clone()));
        }
        // Of several, the one that came to the key last: it may be one that was lost before.
        if let Some(known) = own.iter().rev().find(|id| id.name() == name.as_str()) {
            return Ok(Admission::Known(known.clone()));
        }
        let invite = self.gate.invite(now.millis(), login, peer)?;
        if own.len() >= IDS_PER_KEY {
            return Err(Refusal::TooManyIds(own.to_vec()));
        }
        self.gate.recent.forget_old(now.mono);
        if invite.is_none() && self.gate.recent.is_too_much(peer) {
            return Err(Refusal::TooManyConnections);
        }
        if let Some(other) = self.roster.like(&name) {
            return Err(Refusal::ConfusableName(name, other.clone()));
        }
        Ok(Admission::New { name, invite })
    }
}
