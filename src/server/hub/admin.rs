//! Administrator commands. What changes the log takes effect with its outcome, and is answered then.

use super::origin::{AdminRequestId, Origin};
use super::{Hub, HubEffect, Now, PeerInfo, SessionId, SessionSet};
use crate::protocol::error::Refusal;
use crate::protocol::event::{ErrorReply, Event};
use crate::protocol::id::{RoomName, UserId};
use crate::protocol::invite::Invite;
use crate::protocol::room::{RoomAction, RoomChange, SharedHistory};
use crate::protocol::text::SafeText;
use crate::server::admin::{
    AdminCommand, AdminReply, BanInfo, ConnectionInfo, RoomCommand, RoomInfo, ServerStats,
    UserSelector,
};
use crate::server::limits::{INVITE_MAX_SECONDS, INVITE_MAX_USES};
use crate::store::{
    BanSubject, BanTarget, Change, Entry, OPEN_INVITES, OpenInvite, Outcome, network_contains,
};
use crate::tls::fingerprint::{self, Fingerprint};

impl Hub {
    pub(super) fn execute_admin(
        &mut self,
        now: Now,
        id: AdminRequestId,
        command: AdminCommand,
        effects: &mut Vec<HubEffect>,
    ) {
        let result = match &command {
            AdminCommand::List => Err(self.admin_list()),
            AdminCommand::Stats => Err(AdminReply::Stats(self.admin_stats())),
            AdminCommand::Kick { who } => Err(self.kick(who, effects)),
            AdminCommand::Ban { who } => Ok(Entry::Ban(ban_subject(who))),
            AdminCommand::Unban { who } => Ok(Entry::Unban(ban_subject(who))),
            AdminCommand::Delete { id } => Ok(Entry::Remove { id: *id }),
            AdminCommand::Rebind { user, key } => {
                Ok(Entry::Rebind { user: user.clone(), key: key.digest() })
            }
            AdminCommand::Rooms => Err(self.admin_rooms()),
            AdminCommand::Room { room, change } => {
                Ok(self.room_entry(room.clone(), None, room_action(change), None))
            }
            AdminCommand::Invite { invite, uses, seconds, rooms } => {
                self.new_invite(now, invite, *uses, *seconds, rooms)
            }
        };
        effects.push(match result {
            Ok(entry) => HubEffect::Propose { origin: Origin::Admin { id, command }, entry },
            Err(reply) => HubEffect::AdminReply { id, reply },
        });
    }

    /// What the hub knows; the admin socket adds the invites from the log.
    fn admin_list(&self) -> AdminReply {
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
        AdminReply::List { connections, banned, invites: Vec::new() }
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

    fn admin_rooms(&self) -> AdminReply {
        let rooms = self.rooms.rooms().map(|(name, room)| RoomInfo {
            room: name.clone(),
            private: room.private,
            archived: room.archived,
            people: room.members.len(),
        });
        AdminReply::Rooms { rooms: rooms.collect() }
    }

    fn new_invite(
        &self,
        now: Now,
        invite: &Invite,
        uses: u32,
        seconds: u32,
        rooms: &[RoomName],
    ) -> Result<Entry, AdminReply> {
        if !(1..=INVITE_MAX_USES).contains(&uses) || !(1..=INVITE_MAX_SECONDS).contains(&seconds) {
            return Err(error_reply(format!(
                "an invite allows 1 to {INVITE_MAX_USES} uses and is valid for at most {} days",
                INVITE_MAX_SECONDS / 86_400
            )));
        }
        if let Some(room) = rooms.iter().find(|room| self.rooms.room(room).is_none()) {
            return Err(error_reply(format!(
                "there is no room {room} (`chat admin rooms` lists all)"
            )));
        }
        let hash = fingerprint::sha256(invite.secret());
        let expires = now.millis() + i64::from(seconds) * 1_000;
        Ok(Entry::Invite(OpenInvite { hash, uses, expires, rooms: rooms.to_vec() }))
    }

    /// What follows a step of a command: a new room gets its owner.
    pub(super) fn next_step(&self, command: &AdminCommand, outcome: &Outcome) -> Option<Entry> {
        let AdminCommand::Room { room, change: RoomCommand::Create { owner: Some(owner), .. } } =
            command
        else {
            return None;
        };
        let Outcome::Changed(Change { event: Event::RoomChanged(changed), .. }) = outcome else {
            return None;
        };
        let (users, history) = (vec![owner.clone()], SharedHistory::All);
        let add = || self.room_entry(room.clone(), None, RoomAction::Add { users, history }, None);
        (changed.change == RoomChange::Created).then(add)
    }

    fn kick(&mut self, who: &UserSelector, effects: &mut Vec<HubEffect>) -> AdminReply {
        match self.close_matching(&Refusal::Kicked, effects, |user, peer| selects(who, user, peer))
        {
            0 => error_reply(format!("no session matches {who} (`chat admin list` shows all)")),
            closed => AdminReply::Done { text: connections_closed(closed) },
        }
    }

    /// Closes all sessions that match and sends them the reason. Returns their number.
    pub(super) fn close_matching(
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

/// The reply to a command whose entry had this outcome, and closed so many sessions.
pub(super) fn admin_reply(command: &AdminCommand, outcome: &Outcome, closed: usize) -> AdminReply {
    let closed = connections_closed(closed);
    let result = match (command, outcome) {
        (_, Outcome::Refused(Refusal::UnknownMessage(_))) => {
            Err("no such message (it may be removed or expired already)".to_owned())
        }
        (_, Outcome::Refused(refusal)) => Err(refusal.to_string()),
        (AdminCommand::Rebind { .. }, Outcome::NoKey(user)) => {
            Err(format!("{user} is not an ID with a key (see `chat admin list`)"))
        }
        (_, Outcome::NoKey(user)) => Err(format!(
            "{user} has no key to ban: ban the address instead (`chat admin list` shows it)"
        )),
        (AdminCommand::Unban { who }, Outcome::NotBanned(target)) => Err(format!(
            "{} is not banned (`chat admin list` shows all bans)",
            describe(who, *target)
        )),
        (_, Outcome::TooManyInvites) => {
            Err(format!("{OPEN_INVITES} invites are open, the maximum: wait until one expires"))
        }
        (AdminCommand::Ban { who }, Outcome::Banned(target)) => {
            Ok(format!("banned {}; {closed}", describe(who, *target)))
        }
        (AdminCommand::Unban { who }, Outcome::Unbanned(target)) => {
            Ok(format!("unbanned {}", describe(who, *target)))
        }
        (AdminCommand::Rebind { user, key }, _) => {
            Ok(format!("{user} now belongs to {key}; {closed}"))
        }
        (AdminCommand::Delete { id }, _) => Ok(format!("removed message {id}")),
        (AdminCommand::Room { room, .. }, Outcome::Repeated { .. }) => {
            Ok(format!("{room} is unchanged"))
        }
        (AdminCommand::Room { room, change }, _) => Ok(match change {
            RoomCommand::Create { .. } => format!("created {room}"),
            RoomCommand::Archive => format!("archived {room}"),
            RoomCommand::Unarchive => format!("{room} is writable again"),
            RoomCommand::Add { .. } | RoomCommand::Remove { .. } => format!("changed {room}"),
        }),
        // The admin socket replies to a new invite with its link.
        (_, _) => Ok(String::new()),
    };
    result.map_or_else(error_reply, |text| AdminReply::Done { text })
}

/// The reply to a command whose entry could not be stored.
pub(super) fn not_written(reason: &str) -> AdminReply {
    error_reply(format!("cannot write this to the log: {reason} (nothing was changed; try again)"))
}

fn ban_subject(who: &UserSelector) -> BanSubject {
    match who {
        UserSelector::Key(key) => BanSubject::Target(BanTarget::Key(key.digest())),
        UserSelector::Network(network) => BanSubject::Target(BanTarget::Network(*network)),
        UserSelector::User(user) => BanSubject::User(user.clone()),
    }
}

/// The cleaned topic may be empty.
fn room_action(command: &RoomCommand) -> RoomAction {
    match command {
        RoomCommand::Create { private, topic, .. } => RoomAction::Create {
            private: *private,
            topic: SafeText::clean(&SafeText::clean(topic).one_line()),
        },
        RoomCommand::Add { users, history } => {
            RoomAction::Add { users: users.clone(), history: *history }
        }
        RoomCommand::Remove { users } => RoomAction::Remove(users.clone()),
        RoomCommand::Archive => RoomAction::Archive(true),
        RoomCommand::Unarchive => RoomAction::Archive(false),
    }
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
