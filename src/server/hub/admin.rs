//! Administrator commands: they take effect immediately and are answered after they are written to the
//! log.

use super::origin::{AdminRequestId, Origin};
use super::{Hub, HubEffect, Now, PeerInfo, SessionId, SessionSet};
use crate::protocol::error::Refusal;
use crate::protocol::event::{ErrorReply, Event};
use crate::protocol::id::{MessageId, UserId};
use crate::protocol::invite::Invite;
use crate::server::admin::{
    AdminCommand, AdminReply, BanInfo, ConnectionInfo, InviteInfo, ServerStats, UserSelector,
};
use crate::server::limits::{INVITE_MAX_SECONDS, INVITE_MAX_USES, OPEN_INVITES};
use crate::store::{BanTarget, Entry, OpenInvite, Outcome, network_contains};
use crate::tls::fingerprint::{self, Fingerprint};

/// What a command writes to the log, and the text of the reply after that.
type AdminWrite = (Entry, String);

impl Hub {
    pub(super) fn execute_admin(
        &mut self,
        now: Now,
        id: AdminRequestId,
        command: AdminCommand,
        effects: &mut Vec<HubEffect>,
    ) {
        let result = match command {
            AdminCommand::List => Err(self.admin_list(now)),
            AdminCommand::Stats => Err(AdminReply::Stats(self.admin_stats())),
            AdminCommand::Kick { who } => Err(self.kick(&who, effects)),
            AdminCommand::Ban { who } => self.ban(&who, effects),
            AdminCommand::Unban { who } => self.unban(&who),
            AdminCommand::Delete { id } => Ok(remove_message(id)),
            AdminCommand::Rebind { user, key } => self.rebind(user, key, effects),
            AdminCommand::Invite { invite, uses, seconds } => {
                self.open_invite(now, &invite, uses, seconds)
            }
        };
        effects.push(match result {
            Ok((entry, success)) => {
                HubEffect::Propose { origin: Origin::Admin { id, success }, entry }
            }
            Err(reply) => HubEffect::AdminReply { id, reply },
        });
    }

    fn admin_list(&self, now: Now) -> AdminReply {
        let key =
            |peer: PeerInfo| peer.key.map(|key| UserSelector::Key(Fingerprint::from_digest(key)));
        let mut connections: Vec<_> = self
            .sessions
            .peers()
            .map(|(_, user, peer)| ConnectionInfo {
                user: user.clone(),
                address: peer.address,
                key: key(peer),
            })
            .collect();
        connections.sort_by(|a, b| a.user.cmp(&b.user));
        let banned = self.login_policy.bans.iter().map(|target| match target {
            BanTarget::Key(key) => BanInfo {
                who: UserSelector::Key(Fingerprint::from_digest(*key)),
                ids: self.sessions.ids_of(Some(*key)).to_vec(),
            },
            BanTarget::Network(network) => {
                BanInfo { who: UserSelector::Network(*network), ids: Vec::new() }
            }
        });
        let banned = banned.collect();
        let open = self.login_policy.invites.values().filter(|open| open.is_usable(now.millis()));
        let mut invites: Vec<_> =
            open.map(|open| InviteInfo { uses: open.uses, expires: open.expires }).collect();
        invites.sort_by_key(|open| open.expires);
        AdminReply::List { connections, banned, invites }
    }

    /// What the hub knows; the admin socket adds what comes from the log and the clock.
    fn admin_stats(&self) -> ServerStats {
        let (users, ids) = self.sessions.count();
        ServerStats {
            users,
            ids,
            connections: self.sessions.peers().count(),
            ..ServerStats::default()
        }
    }

    fn kick(&mut self, who: &UserSelector, effects: &mut Vec<HubEffect>) -> AdminReply {
        match self.close_matching(&Refusal::Kicked, effects, |user, peer| selects(who, user, peer))
        {
            0 => error_reply(format!("no session matches {who} (`chat admin list` shows all)")),
            closed => AdminReply::Done { text: connections_closed(closed) },
        }
    }

    fn ban(
        &mut self,
        who: &UserSelector,
        effects: &mut Vec<HubEffect>,
    ) -> Result<AdminWrite, AdminReply> {
        let target = self.ban_target(who)?;
        self.login_policy.bans.insert(target);
        let closed =
            self.close_matching(&Refusal::Banned, effects, |_, peer| peer.matches(&target));
        let success = format!("banned {}; {}", describe(who, target), connections_closed(closed));
        Ok((Entry::Ban(target), success))
    }

    fn unban(&mut self, who: &UserSelector) -> Result<AdminWrite, AdminReply> {
        let target = self.ban_target(who)?;
        if !self.login_policy.bans.remove(&target) {
            return Err(error_reply(format!(
                "{} is not banned (`chat admin list` shows all bans)",
                describe(who, target)
            )));
        }
        Ok((Entry::Unban(target), format!("unbanned {}", describe(who, target))))
    }

    /// What a ban of `who` is stored as: an ID is banned by its key.
    fn ban_target(&self, who: &UserSelector) -> Result<BanTarget, AdminReply> {
        match who {
            UserSelector::Key(key) => Ok(BanTarget::Key(key.digest())),
            UserSelector::Network(network) => Ok(BanTarget::Network(*network)),
            UserSelector::User(user) => self.sessions.key_of(user).map(BanTarget::Key).ok_or_else(|| {
                error_reply(format!(
                    "{user} has no key to ban: ban the address instead (`chat admin list` shows it)"
                ))
            }),
        }
    }

    fn rebind(
        &mut self,
        user: UserId,
        key: Fingerprint,
        effects: &mut Vec<HubEffect>,
    ) -> Result<AdminWrite, AdminReply> {
        if self.sessions.key_of(&user).is_none() {
            return Err(error_reply(format!(
                "{user} is not an ID with a key (see `chat admin list`)"
            )));
        }
        let digest = key.digest();
        self.sessions.bind(&user, digest);
        let is_old = |id: &UserId, peer: PeerInfo| *id == user && peer.key != Some(digest);
        let closed = self.close_matching(&Refusal::Kicked, effects, is_old);
        let success = format!("{user} now belongs to {key}; {}", connections_closed(closed));
        Ok((Entry::Rebind { user, key: digest }, success))
    }

    fn open_invite(
        &mut self,
        now: Now,
        invite: &Invite,
        uses: u32,
        seconds: u32,
    ) -> Result<AdminWrite, AdminReply> {
        if !(1..=INVITE_MAX_USES).contains(&uses) || !(1..=INVITE_MAX_SECONDS).contains(&seconds) {
            return Err(error_reply(format!(
                "an invite allows 1 to {INVITE_MAX_USES} uses and is valid for at most {} days",
                INVITE_MAX_SECONDS / 86_400
            )));
        }
        self.login_policy.invites.retain(|_, open| open.is_usable(now.millis()));
        if self.login_policy.invites.len() >= OPEN_INVITES {
            return Err(error_reply(format!(
                "{OPEN_INVITES} invites are open, the maximum: wait until one expires"
            )));
        }
        let hash = fingerprint::sha256(invite.secret());
        let expires = now.millis() + i64::from(seconds) * 1_000;
        let open = OpenInvite { hash, uses, expires };
        self.login_policy.invites.insert(hash, open);
        Ok((Entry::Invite(open), String::new()))
    }

    /// Closes all sessions that match and sends them the reason. Returns their number.
    fn close_matching(
        &mut self,
        reason: &Refusal,
        effects: &mut Vec<HubEffect>,
        is_selected: impl Fn(&UserId, PeerInfo) -> bool,
    ) -> usize {
        let all = self.sessions.peers();
        let selected: Vec<SessionId> =
            all.filter(|(_, user, peer)| is_selected(user, *peer)).map(|(id, ..)| id).collect();
        for session in &selected {
            let (to, event) =
                (SessionSet::One(*session), Event::Closing(ErrorReply::new(reason, None)));
            effects.push(HubEffect::Send { to, event });
            self.close_session(*session, effects);
        }
        selected.len()
    }
}

/// Answers a command whose entry the log has applied, or could not store.
pub(super) fn reply_to_admin(
    id: AdminRequestId,
    success: String,
    outcome: Result<&Outcome, &'static str>,
    effects: &mut Vec<HubEffect>,
) {
    let reply = match outcome {
        Ok(Outcome::Refused(Refusal::UnknownMessage(_))) => {
            error_reply("no such message (it may be removed or expired already)")
        }
        Ok(Outcome::Refused(refusal)) => error_reply(refusal.to_string()),
        Ok(_) => AdminReply::Done { text: success },
        Err(reason) => error_reply(format!(
            "cannot write this to the log: {reason} (the change may be lost when the server restarts; try \
             again)"
        )),
    };
    effects.push(HubEffect::AdminReply { id, reply });
}

fn remove_message(id: MessageId) -> AdminWrite {
    (Entry::Remove { id }, format!("removed message {id}"))
}

fn selects(who: &UserSelector, user: &UserId, peer: PeerInfo) -> bool {
    match who {
        UserSelector::User(selected) => selected == user,
        UserSelector::Key(key) => peer.key == Some(key.digest()),
        UserSelector::Network(network) => network_contains(network, peer.address),
    }
}

/// `who`, with the banned key if `who` is an ID.
fn describe(who: &UserSelector, target: BanTarget) -> String {
    match (who, target) {
        (UserSelector::User(user), BanTarget::Key(key)) => {
            format!("{user} (key {})", Fingerprint::from_digest(key))
        }
        (who, _) => who.to_string(),
    }
}

fn connections_closed(count: usize) -> String {
    match count {
        1 => "1 connection closed".to_owned(),
        _ => format!("{count} connections closed"),
    }
}

fn error_reply(error: impl Into<String>) -> AdminReply {
    AdminReply::Refused { error: error.into() }
}
