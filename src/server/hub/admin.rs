//! What whoever runs the server asks for: an input like any other, in force at once for those who are
//! here, and answered once it is on disk.

use super::commit::WriteContext;
use super::{Hub, HubEffect, Now, PeerInfo, SessionId, SessionSet};
use crate::protocol::error::Refusal;
use crate::protocol::event::{Deleted, ErrorReply, Event};
use crate::protocol::id::{MessageId, UserId};
use crate::protocol::invite::Invite;
use crate::protocol::message::Audience;
use crate::server::admin::{
    AdminCommand, AdminReply, BanInfo, ConnectionInfo, InviteInfo, ServerStats, UserSelector,
};
use crate::server::limits::{INVITE_MAX_SECONDS, INVITE_MAX_USES, OPEN_INVITES};
use crate::store::{Append, BanTarget, OpenInvite, Outcome};
use crate::tls::fingerprint::{self, Fingerprint};

/// Somebody who waits for the answer to an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AdminRequestId(pub u64);

/// What is written to the log, and what is said when it is there.
type AdminWrite = (Append, String);

impl Hub {
    pub(super) fn execute_admin(
        &mut self,
        now: Now,
        asker: AdminRequestId,
        act: AdminCommand,
        effects: &mut Vec<HubEffect>,
    ) {
        let to_store = match act {
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
        effects.push(match to_store {
            Ok((append, done)) => HubEffect::Append {
                context: WriteContext::Admin { id: asker, success: done },
                append,
            },
            Err(answer) => HubEffect::AdminReply { id: asker, reply: answer },
        });
    }

    /// An act is on disk, or is not.
    pub(super) fn on_admin_written(
        &mut self,
        asker: AdminRequestId,
        done: String,
        outcome: Result<Outcome, &'static str>,
        effects: &mut Vec<HubEffect>,
    ) {
        let answer = match outcome {
            Ok(Outcome::Removed { deleted, audience }) => {
                self.announce_removal(deleted, &audience, effects);
                AdminReply::Done { text: done }
            }
            Ok(Outcome::NotFound) => error_reply("there is no such message (any more)"),
            Ok(_) => AdminReply::Done { text: done },
            Err(reason) => error_reply(format!(
                "the server could not store it ({reason}): what has changed holds until it stops"
            )),
        };
        effects.push(HubEffect::AdminReply { id: asker, reply: answer });
    }

    fn announce_removal(
        &mut self,
        deleted: Deleted,
        audience: &Audience,
        effects: &mut Vec<HubEffect>,
    ) {
        self.message_cache.remove(deleted.id);
        self.head = deleted.seq;
        let to = self.audience_sessions(&deleted.author, audience);
        effects.push(HubEffect::Send { to, event: Event::Deleted(deleted) });
    }

    fn admin_list(&self, now: Now) -> AdminReply {
        let key =
            |peer: PeerInfo| peer.key.map(|key| UserSelector::Key(Fingerprint::from_digest(key)));
        let mut here: Vec<_> = self
            .sessions
            .peers()
            .map(|(_, user, peer)| ConnectionInfo {
                user: user.clone(),
                address: peer.address,
                key: key(peer),
            })
            .collect();
        here.sort_by(|a, b| a.user.cmp(&b.user));
        let banned = self.login_policy.bans.iter().map(|banned| match banned {
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
        AdminReply::List { connections: here, banned, invites }
    }

    /// The socket, which has the log and the clock, adds the rest.
    fn admin_stats(&self) -> ServerStats {
        let (people, ids) = self.sessions.count();
        ServerStats {
            users: people,
            ids,
            connections: self.sessions.peers().count(),
            ..ServerStats::default()
        }
    }

    fn kick(&mut self, who: &UserSelector, effects: &mut Vec<HubEffect>) -> AdminReply {
        match self.close_matching(&Refusal::Kicked, effects, |user, peer| selects(who, user, peer))
        {
            0 => error_reply(format!("nobody who is here is {who}")),
            ended => AdminReply::Done { text: connections_ended(ended) },
        }
    }

    fn ban(
        &mut self,
        who: &UserSelector,
        effects: &mut Vec<HubEffect>,
    ) -> Result<AdminWrite, AdminReply> {
        let banned = self.ban_target(who)?;
        self.login_policy.bans.insert(banned);
        let ended = self.close_matching(&Refusal::Banned, effects, |_, peer| peer.matches(&banned));
        let done = format!("{} is shut out; {}", describe(who, banned), connections_ended(ended));
        Ok((Append::Ban(banned), done))
    }

    fn unban(&mut self, who: &UserSelector) -> Result<AdminWrite, AdminReply> {
        let banned = self.ban_target(who)?;
        if !self.login_policy.bans.remove(&banned) {
            return Err(error_reply(format!(
                "{} is not shut out (`chat admin list` shows who is)",
                describe(who, banned)
            )));
        }
        Ok((Append::Unban(banned), format!("{} is shut out no longer", describe(who, banned))))
    }

    /// An ID is as good as its key: it is the key that comes back.
    fn ban_target(&self, who: &UserSelector) -> Result<BanTarget, AdminReply> {
        match who {
            UserSelector::Key(key) => Ok(BanTarget::Key(key.digest())),
            UserSelector::Network(network) => Ok(BanTarget::Network(*network)),
            UserSelector::User(user) => self.sessions.key_of(user).map(BanTarget::Key).ok_or_else(|| {
                error_reply(format!(
                    "{user} belongs to no key: ban the address instead (`chat admin list` shows it)"
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
            return Err(error_reply(format!("there is no ID {user} that belongs to a key")));
        }
        let digest = key.digest();
        self.sessions.bind(&user, digest);
        let is_old = |id: &UserId, peer: PeerInfo| *id == user && peer.key != Some(digest);
        let ended = self.close_matching(&Refusal::Kicked, effects, is_old);
        let done = format!("{user} belongs to {key} now; {}", connections_ended(ended));
        Ok((Append::Rebind { user, key: digest }, done))
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
                "an invite is for 1 to {INVITE_MAX_USES} people, and for {} days at most",
                INVITE_MAX_SECONDS / 86_400
            )));
        }
        self.login_policy.invites.retain(|_, open| open.is_usable(now.millis()));
        if self.login_policy.invites.len() >= OPEN_INVITES {
            return Err(error_reply(format!(
                "{OPEN_INVITES} invites are open already: let some expire"
            )));
        }
        let hash = fingerprint::sha256(invite.secret());
        let expires = now.millis() + i64::from(seconds) * 1_000;
        let open = OpenInvite { hash, uses, expires };
        self.login_policy.invites.insert(hash, open);
        Ok((Append::Invite(open), String::new()))
    }

    /// Ends the connections of those who are meant, and tells them why; how many there were.
    fn close_matching(
        &mut self,
        reason: &Refusal,
        effects: &mut Vec<HubEffect>,
        is_meant: impl Fn(&UserId, PeerInfo) -> bool,
    ) -> usize {
        let all = self.sessions.peers();
        let meant: Vec<SessionId> =
            all.filter(|(_, user, peer)| is_meant(user, *peer)).map(|(id, ..)| id).collect();
        for session in &meant {
            let (to, event) =
                (SessionSet::One(*session), Event::Closing(ErrorReply::new(reason, None)));
            effects.push(HubEffect::Send { to, event });
            self.close_session(*session, effects);
        }
        meant.len()
    }
}

fn remove_message(id: MessageId) -> AdminWrite {
    (Append::Remove { id }, format!("message {id} is removed"))
}

fn selects(who: &UserSelector, user: &UserId, peer: PeerInfo) -> bool {
    match who {
        UserSelector::User(meant) => meant == user,
        UserSelector::Key(key) => peer.key == Some(key.digest()),
        UserSelector::Network(network) => network.contains(peer.address),
    }
}

/// An ID with the key that is meant by it.
fn describe(who: &UserSelector, banned: BanTarget) -> String {
    match (who, banned) {
        (UserSelector::User(user), BanTarget::Key(key)) => {
            format!("{user}, who is {},", Fingerprint::from_digest(key))
        }
        (who, _) => who.to_string(),
    }
}

fn connections_ended(count: usize) -> String {
    match count {
        1 => "1 connection ended".to_owned(),
        _ => format!("{count} connections ended"),
    }
}

fn error_reply(error: impl Into<String>) -> AdminReply {
    AdminReply::Refused { error: error.into() }
}
