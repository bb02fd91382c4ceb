//! The administrator's commands and their replies: the JSON objects of the admin socket, one per line.
//!
//! They are not part of the chat protocol: `chat admin` and the server have to be of the same version.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::protocol::id::{MessageId, RoomName, UserId};
use crate::protocol::invite::Invite;
use crate::protocol::message::Millis;
use crate::protocol::room::SharedHistory;
use crate::store::parse_network;
use crate::tls::fingerprint::Fingerprint;

/// A command of the administrator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub enum AdminCommand {
    /// List sessions, bans and open invites.
    List,
    /// Report the server's size and memory.
    Stats,
    /// Close sessions. The users may log in again.
    Kick {
        who: UserSelector,
    },
    /// Ban a key or a network, and close its sessions. An ID stands for its key.
    Ban {
        who: UserSelector,
    },
    Unban {
        who: UserSelector,
    },
    /// Remove a message.
    Delete {
        id: MessageId,
    },
    /// Bind an ID to another key, because its own was lost.
    Rebind {
        user: UserId,
        #[serde(with = "as_text")]
        key: Fingerprint,
    },
    /// List all rooms.
    Rooms,
    /// Create or change a room.
    Room {
        room: RoomName,
        change: RoomCommand,
    },
    /// Create an invite.
    Invite {
        /// Its secret, drawn by the client.
        invite: Invite,
        /// How many users may join with it.
        uses: u32,
        /// How long it is valid, in seconds.
        seconds: u32,
        /// The rooms that the new users become members of.
        rooms: Vec<RoomName>,
    },
}

/// What the administrator does with a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub enum RoomCommand {
    Create {
        /// Whether it exists only for its members.
        private: bool,
        topic: String,
        /// Its first member.
        owner: Option<UserId>,
    },
    /// Add users.
    Add {
        users: Vec<UserId>,
        /// Which of a private room's earlier messages they may see.
        history: SharedHistory,
    },
    /// Remove members.
    Remove { users: Vec<UserId> },
    /// Make it read-only.
    Archive,
    /// Make it writable again.
    Unarchive,
}

impl fmt::Display for RoomCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create { private: true, .. } => "create --private",
            Self::Create { .. } => "create",
            Self::Add { .. } => "add",
            Self::Remove { .. } => "remove",
            Self::Archive => "archive",
            Self::Unarchive => "unarchive",
        })?;
        let users = match self {
            Self::Add { users, .. } | Self::Remove { users } => users.as_slice(),
            Self::Create { owner: Some(owner), .. } => std::slice::from_ref(owner),
            Self::Create { .. } | Self::Archive | Self::Unarchive => &[],
        };
        users.iter().try_for_each(|user| write!(f, " {user}"))
    }
}

impl AdminCommand {
    /// Whether it changes anything, and so goes into the audit log.
    pub fn changes_state(&self) -> bool {
        !matches!(self, Self::List | Self::Stats | Self::Rooms)
    }
}

impl fmt::Display for AdminCommand {
    /// As it is typed after `chat admin` or `chat`, without the secret of an invite.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List => f.write_str("list"),
            Self::Stats => f.write_str("stats"),
            Self::Kick { who } => write!(f, "kick {who}"),
            Self::Ban { who } => write!(f, "ban {who}"),
            Self::Unban { who } => write!(f, "unban {who}"),
            Self::Delete { id } => write!(f, "delete {id}"),
            Self::Rebind { user, key } => write!(f, "rebind {user} {key}"),
            Self::Rooms => f.write_str("rooms"),
            Self::Room { room, change } => write!(f, "room {room} {change}"),
            Self::Invite { uses, seconds, rooms, .. } => {
                write!(f, "invite --uses {uses} --for {seconds}s")?;
                rooms.iter().try_for_each(|room| write!(f, " --room {room}"))
            }
        }
    }
}

/// Selects users: by their ID, by their key, or by the network of their address.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum UserSelector {
    User(UserId),
    Key(Fingerprint),
    Network(IpNet),
}

/// The text selects no user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "expected an ID (Bob_4572), a key's fingerprint (SHA256:…) or an address (203.0.113.7, 2001:db8::/48)"
)]
pub struct UserSelectorError;

impl FromStr for UserSelector {
    type Err = UserSelectorError;

    fn from_str(text: &str) -> Result<Self, UserSelectorError> {
        let user = || text.parse().ok().map(Self::User);
        let key = || text.parse().ok().map(Self::Key);
        let network = || parse_network(text).ok().map(Self::Network);
        user().or_else(key).or_else(network).ok_or(UserSelectorError)
    }
}

impl fmt::Display for UserSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => user.fmt(f),
            Self::Key(key) => key.fmt(f),
            Self::Network(network) => network.fmt(f),
        }
    }
}

impl Serialize for UserSelector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        as_text::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for UserSelector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        as_text::deserialize(deserializer)
    }
}

/// The reply to an [`AdminCommand`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum AdminReply {
    /// The command was executed, and its effect is on disk. `text` says what changed.
    Done { text: String },
    /// The command was not executed. `error` says why, and what to do.
    Refused { error: String },
    /// To [`AdminCommand::List`].
    List {
        /// The connections of all online users.
        #[serde(rename = "here")]
        connections: Vec<ConnectionInfo>,
        banned: Vec<BanInfo>,
        /// The invites that can still be used.
        invites: Vec<InviteInfo>,
    },
    /// To [`AdminCommand::Stats`].
    Stats(ServerStats),
    /// To [`AdminCommand::Rooms`], ordered by name.
    Rooms { rooms: Vec<RoomInfo> },
    /// To [`AdminCommand::Invite`]: the other parts of the link.
    Invited {
        /// The address that the server listens on.
        listening: SocketAddr,
        /// The fingerprint of the server's key.
        #[serde(with = "as_text")]
        fingerprint: Fingerprint,
    },
}

/// One connection of an online user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct ConnectionInfo {
    pub user: UserId,
    pub address: IpAddr,
    /// The fingerprint of the client's key; `None` for a guest.
    pub key: Option<UserSelector>,
}

/// A ban.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanInfo {
    /// A key or a network.
    pub who: UserSelector,
    /// The IDs that belong to the key.
    pub ids: Vec<UserId>,
}

/// An invite that can still be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct InviteInfo {
    /// How many more users may join with it.
    pub uses: u32,
    pub expires: Millis,
}

/// A room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct RoomInfo {
    pub room: RoomName,
    /// Whether it exists only for its members.
    pub private: bool,
    /// Whether it is read-only.
    pub archived: bool,
    /// The number of its members.
    pub people: usize,
}

/// The server's figures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct ServerStats {
    /// Online users.
    #[serde(rename = "people")]
    pub users: usize,
    pub connections: usize,
    /// IDs that belong to a key.
    pub ids: usize,
    /// Messages in the log.
    pub messages: u64,
    /// The size of the log on disk, in bytes.
    pub bytes: u64,
    /// Seconds since the server started.
    pub uptime: u64,
    /// Resident memory in bytes, on systems that report it.
    pub memory: Option<u64>,
}

/// Serializes a value as its `Display` text.
mod as_text {
    use std::borrow::Cow;
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<T: Display, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_round_trip_through_json() {
        let key = "SHA256:9ekmIZbWsgyWTPBUUUYXPQ6nPRXM2yPMMz1vpCoVOyg";
        let room = |change| AdminCommand::Room { room: "#ops".parse().unwrap(), change };
        for text in ["Bob_4572", key, "203.0.113.0/24", "2001:db8::/64"] {
            let who: UserSelector = text.parse().unwrap();
            assert_eq!(who.to_string(), text);
            for command in [
                AdminCommand::Kick { who: who.clone() },
                AdminCommand::Ban { who },
                AdminCommand::Rebind {
                    user: "Bob_4572".parse().unwrap(),
                    key: key.parse().unwrap(),
                },
                AdminCommand::Delete { id: "235467".parse().unwrap() },
                AdminCommand::Rooms,
                room(RoomCommand::Archive),
                room(RoomCommand::Create {
                    private: true,
                    topic: "deploys".to_owned(),
                    owner: Some("Bob_4572".parse().unwrap()),
                }),
                AdminCommand::Invite {
                    invite: Invite::new([7; 16]),
                    uses: 3,
                    seconds: 60,
                    rooms: vec!["#ops".parse().unwrap()],
                },
            ] {
                let line = serde_json::to_string(&command).unwrap();
                assert_eq!(serde_json::from_str::<AdminCommand>(&line).unwrap(), command, "{line}");
            }
        }
        for text in ["", "Bob", "SHA256:", "SHA256:AAAA", "203.0.113.0/33", "all", "Bob_4572 "] {
            assert_eq!(text.parse::<UserSelector>(), Err(UserSelectorError), "{text:?}");
        }
    }

    #[test]
    fn invite_secret_is_not_displayed() {
        let invite = Invite::new([7; 16]);
        let secret = invite.to_string();
        let rooms = vec!["#ops".parse().unwrap()];
        let command = AdminCommand::Invite { invite, uses: 3, seconds: 60, rooms };
        assert_eq!(command.to_string(), "invite --uses 3 --for 60s --room #ops");
        assert!(!format!("{command:?}").contains(&secret));
    }
}
