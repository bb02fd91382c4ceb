//! What whoever runs a server may ask of it, and what comes of that: the objects that go over its local
//! socket, one a line. Not a part of the protocol: both ends are of one version.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::protocol::id::{MessageId, UserId};
use crate::protocol::invite::Invite;
use crate::protocol::message::Millis;
use crate::store::Network;
use crate::tls::fingerprint::Fingerprint;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "snake_case", deny_unknown_fields)]
pub enum AdminCommand {
    /// Who is here, who is shut out, and which invites are open.
    List,
    /// How much there is of everything.
    Stats,
    /// End connections.
    Kick {
        /// Whose.
        who: UserSelector,
    },
    /// Shut somebody out, and end their connections.
    Ban {
        /// Whom.
        who: UserSelector,
    },
    /// Shut somebody out no longer.
    Unban {
        /// Whom.
        who: UserSelector,
    },
    /// Remove a message for everybody.
    Delete {
        /// Which.
        id: MessageId,
    },
    /// Bind an ID to another key, because the one it belonged to is lost.
    Rebind {
        /// The ID.
        user: UserId,
        /// The other key.
        #[serde(with = "text")]
        key: Fingerprint,
    },
    /// Open an invite.
    Invite {
        /// Its secret, drawn by whoever asks.
        invite: Invite,
        /// How many people it lets in.
        uses: u32,
        /// For how long, in seconds.
        seconds: u32,
    },
}

impl AdminCommand {
    /// Whether anything changes by it.
    pub fn changes_state(&self) -> bool {
        !matches!(self, Self::List | Self::Stats)
    }
}

impl fmt::Display for AdminCommand {
    /// As it would be typed; the secret of an invite is not said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List => f.write_str("list"),
            Self::Stats => f.write_str("stats"),
            Self::Kick { who } => write!(f, "kick {who}"),
            Self::Ban { who } => write!(f, "ban {who}"),
            Self::Unban { who } => write!(f, "unban {who}"),
            Self::Delete { id } => write!(f, "delete {id}"),
            Self::Rebind { user, key } => write!(f, "rebind {user} {key}"),
            Self::Invite { uses, seconds, .. } => {
                write!(f, "invite --uses {uses} --for {seconds}s")
            }
        }
    }
}

/// Whom an act is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserSelector {
    /// Whoever has this ID.
    User(UserId),
    /// Whoever holds this key.
    Key(Fingerprint),
    /// Whoever comes from here.
    Network(Network),
}

/// A text that says of nobody who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "WHO is an ID (Bob_4572), the fingerprint of a key (SHA256:…) or an address (203.0.113.7, 2001:db8::/48)"
)]
pub struct UserSelectorError;

impl FromStr for UserSelector {
    type Err = UserSelectorError;

    fn from_str(word: &str) -> Result<Self, UserSelectorError> {
        let user = || word.parse().ok().map(Self::User);
        let key = || word.parse().ok().map(Self::Key);
        let network = || word.parse().ok().map(Self::Network);
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
        text::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for UserSelector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

/// What comes of an act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum AdminReply {
    /// It is done, and on disk.
    Done {
        /// What, in words.
        text: String,
    },
    /// It is not done.
    Refused {
        /// Why not, and what to do.
        error: String,
    },
    /// The answer to [`Act::List`].
    List {
        /// The connections of everybody who is here.
        connections: Vec<ConnectionInfo>,
        /// Who is shut out.
        banned: Vec<BanInfo>,
        /// The invites that let somebody in still.
        invites: Vec<InviteInfo>,
    },
    /// The answer to [`Act::ServerStats`].
    Stats(ServerStats),
    /// The answer to [`Act::Invite`]: what stands in the link beside the secret.
    Invited {
        /// Where the server listens.
        listening: SocketAddr,
        /// The fingerprint of its key.
        #[serde(with = "text")]
        fingerprint: Fingerprint,
    },
}

/// One connection of somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionInfo {
    /// Whose.
    pub user: UserId,
    /// From where.
    pub address: IpAddr,
    /// The fingerprint of their key, if they have one.
    pub key: Option<UserSelector>,
}

/// Somebody who is shut out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanInfo {
    /// A key, or an address.
    pub who: UserSelector,
    /// The IDs that belong to the key: by them people know who that is.
    pub ids: Vec<UserId>,
}

/// An invite that lets somebody in still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteInfo {
    /// How many more people.
    pub uses: u32,
    /// Until when.
    pub expires: Millis,
}

/// How much there is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStats {
    /// How many people are here.
    pub users: usize,
    /// Over how many connections.
    pub connections: usize,
    /// How many IDs belong to keys.
    pub ids: usize,
    /// How many messages there are.
    pub messages: u64,
    /// How much room they take on disk, in bytes.
    pub bytes: u64,
    /// How long the server has run, in seconds.
    pub uptime: u64,
    /// How much memory it takes, in bytes, where the system says so.
    pub memory: Option<u64>,
}

/// Values that go over the wire as the text that people know them by.
mod text {
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
        for word in ["Bob_4572", key, "203.0.113.0/24", "2001:db8::/64"] {
            let who: UserSelector = word.parse().unwrap();
            assert_eq!(who.to_string(), word);
            for act in [
                AdminCommand::Kick { who: who.clone() },
                AdminCommand::Ban { who },
                AdminCommand::Rebind {
                    user: "Bob_4572".parse().unwrap(),
                    key: key.parse().unwrap(),
                },
                AdminCommand::Delete { id: "235467".parse().unwrap() },
                AdminCommand::Invite { invite: Invite::new([7; 16]), uses: 3, seconds: 60 },
            ] {
                let line = serde_json::to_string(&act).unwrap();
                assert_eq!(serde_json::from_str::<AdminCommand>(&line).unwrap(), act, "{line}");
            }
        }
        for word in ["", "Bob", "SHA256:", "SHA256:AAAA", "203.0.113.0/33", "all", "Bob_4572 "] {
            assert_eq!(word.parse::<UserSelector>(), Err(UserSelectorError), "{word:?}");
        }
    }

    #[test]
    fn invite_secret_is_not_displayed() {
        let invite = Invite::new([7; 16]);
        let secret = invite.to_string();
        let act = AdminCommand::Invite { invite, uses: 3, seconds: 60 };
        assert_eq!(act.to_string(), "invite --uses 3 --for 60s");
        assert!(!format!("{act:?}").contains(&secret));
    }
}
