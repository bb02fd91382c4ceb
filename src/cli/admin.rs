//! `chat admin`: administers a server from the machine that it runs on.

use std::fmt::Write as _;
use std::time::Duration;

use super::local_server::LocalServer;
use super::output::{format_bytes, print};
use crate::client::duration;
use crate::protocol::id::{MessageId, RoomName, UserId};
use crate::protocol::room::SharedHistory;
use crate::protocol::text::SafeText;
use crate::server::admin::{
    AdminCommand, AdminReply, BanInfo, ConnectionInfo, InviteInfo, RoomCommand, RoomInfo,
    ServerStats, UserSelector,
};
use crate::tls::fingerprint::Fingerprint;

/// The arguments of `chat admin`.
#[derive(Debug, clap::Args)]
pub(super) struct AdminArgs {
    #[command(subcommand)]
    action: AdminAction,
    #[command(flatten)]
    server: LocalServer,
    /// Print the answer as one JSON object
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum AdminAction {
    /// List online users, bans and open invites
    List,
    /// Close the connections of a user; the user may join again
    Kick {
        /// ID, key fingerprint (SHA256:...), IP address or network (203.0.113.0/24)
        target: UserSelector,
    },
    /// Ban a user and close the user's connections
    ///
    /// An ID stands for the key that it belongs to. A ban lasts until `unban`.
    Ban {
        /// ID, key fingerprint (SHA256:...), IP address or network (203.0.113.0/24)
        target: UserSelector,
    },
    /// Lift a ban
    Unban {
        /// ID, key fingerprint, IP address or network, as given to `ban`
        target: UserSelector,
    },
    /// Remove a message for everyone
    Delete {
        /// ID of the message
        message: MessageId,
    },
    /// Bind an ID to another key, such as after the user lost the old one
    Rebind {
        /// ID of the user
        id: UserId,
        /// Fingerprint of the new key, as `chat key show` prints it on the user's machine
        fingerprint: Fingerprint,
    },
    /// List all rooms, private and archived ones too
    Rooms,
    /// Create or change a room
    Room {
        #[command(subcommand)]
        change: RoomChangeArgs,
    },
    /// Print statistics
    Stats,
}

#[derive(Debug, clap::Subcommand)]
enum RoomChangeArgs {
    /// Create a room
    Create {
        /// Name of the room, such as ops
        #[arg(value_parser = RoomName::from_input)]
        room: RoomName,
        /// Only members, who are added, see the room
        #[arg(long)]
        private: bool,
        /// Topic of the room
        #[arg(long, value_name = "TEXT", default_value = "")]
        topic: String,
        /// ID of its first member, who may remove members and archive the room
        #[arg(long, value_name = "ID")]
        owner: Option<UserId>,
    },
    /// Add users to a room
    Add {
        /// Name of the room
        #[arg(value_parser = RoomName::from_input)]
        room: RoomName,
        /// IDs of the users
        #[arg(required = true, value_name = "ID")]
        users: Vec<UserId>,
        /// Let them see all earlier messages of a private room
        #[arg(long)]
        history: bool,
    },
    /// Remove members from a room
    Remove {
        /// Name of the room
        #[arg(value_parser = RoomName::from_input)]
        room: RoomName,
        /// IDs of the members
        #[arg(required = true, value_name = "ID")]
        users: Vec<UserId>,
    },
    /// Make a room read-only
    Archive {
        /// Name of the room
        #[arg(value_parser = RoomName::from_input)]
        room: RoomName,
    },
    /// Make an archived room writable again
    Unarchive {
        /// Name of the room
        #[arg(value_parser = RoomName::from_input)]
        room: RoomName,
    },
}

impl From<RoomChangeArgs> for AdminCommand {
    fn from(args: RoomChangeArgs) -> Self {
        let (room, change) = match args {
            RoomChangeArgs::Create { room, private, topic, owner } => {
                (room, RoomCommand::Create { private, topic, owner })
            }
            RoomChangeArgs::Add { room, users, history } => {
                let history = if history { SharedHistory::All } else { SharedHistory::Now };
                (room, RoomCommand::Add { users, history })
            }
            RoomChangeArgs::Remove { room, users } => (room, RoomCommand::Remove { users }),
            RoomChangeArgs::Archive { room } => (room, RoomCommand::Archive),
            RoomChangeArgs::Unarchive { room } => (room, RoomCommand::Unarchive),
        };
        Self::Room { room, change }
    }
}

/// Sends the command to the server and prints the answer.
pub(super) async fn run(args: AdminArgs) -> anyhow::Result<()> {
    let command = match args.action {
        AdminAction::List => AdminCommand::List,
        AdminAction::Kick { target } => AdminCommand::Kick { who: target },
        AdminAction::Ban { target } => AdminCommand::Ban { who: target },
        AdminAction::Unban { target } => AdminCommand::Unban { who: target },
        AdminAction::Delete { message } => AdminCommand::Delete { id: message },
        AdminAction::Rebind { id, fingerprint } => {
            AdminCommand::Rebind { user: id, key: fingerprint }
        }
        AdminAction::Rooms => AdminCommand::Rooms,
        AdminAction::Room { change } => change.into(),
        AdminAction::Stats => AdminCommand::Stats,
    };
    let reply = args.server.request(&command).await?;
    let text = if args.json { serde_json::to_string(&reply)? + "\n" } else { format_reply(&reply) };
    print(&text)
}

fn format_reply(reply: &AdminReply) -> String {
    match reply {
        AdminReply::Done { text } | AdminReply::Refused { error: text } => {
            format!("{}\n", SafeText::clean(text))
        }
        AdminReply::List { connections, banned, invites } => {
            format_list(connections, banned, invites)
        }
        AdminReply::Rooms { rooms } => format_rooms(rooms),
        AdminReply::Stats(stats) => format_stats(stats),
        AdminReply::Invited { listening, fingerprint } => format!("{listening} {fingerprint}\n"),
    }
}

fn format_list(
    connections: &[ConnectionInfo],
    banned: &[BanInfo],
    invites: &[InviteInfo],
) -> String {
    let mut rows = vec![("ID".to_owned(), "ADDRESS".to_owned(), "KEY".to_owned())];
    rows.extend(connections.iter().map(|ConnectionInfo { user, address, key }| {
        let key = key.as_ref().map_or_else(|| "none".to_owned(), UserSelector::to_string);
        (user.to_string(), address.to_string(), key)
    }));
    let user_width = rows.iter().map(|(user, ..)| user.chars().count()).max().unwrap_or(0);
    let address_width = rows.iter().map(|(_, address, _)| address.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (user, address, key) in &rows {
        // Writing to a String cannot fail.
        writeln!(text, "{user:user_width$}  {address:address_width$}  {key}").unwrap_or_default();
    }
    for BanInfo { who, ids } in banned {
        let ids = ids.iter().map(ToString::to_string);
        let who: Vec<_> = std::iter::once(who.to_string()).chain(ids).collect();
        writeln!(text, "banned: {}", who.join("  ")).unwrap_or_default();
    }
    for InviteInfo { uses, expires } in invites {
        let until = chrono::DateTime::from_timestamp_millis(*expires).unwrap_or_default();
        let until = until.with_timezone(&chrono::Local).format("%Y-%m-%d %H:%M");
        let noun = if *uses == 1 { "use" } else { "uses" };
        writeln!(text, "open invite: {uses} {noun} left, expires {until}").unwrap_or_default();
    }
    text
}

fn format_rooms(rooms: &[RoomInfo]) -> String {
    let width = rooms.iter().map(|room| room.room.as_str().chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for RoomInfo { room, private, archived, people } in rooms {
        let kind = if *private { "private" } else { "public" };
        let archived = if *archived { ", archived" } else { "" };
        let noun = if *people == 1 { "member" } else { "members" };
        // Writing to a String cannot fail.
        writeln!(text, "{room:width$}  {people} {noun}, {kind}{archived}").unwrap_or_default();
    }
    text
}

fn format_stats(stats: &ServerStats) -> String {
    let ServerStats { users, connections, ids, messages, bytes, uptime, memory } = stats;
    let memory = memory.map_or_else(|| "unknown".to_owned(), format_bytes);
    // Seconds would be noise.
    let uptime = Duration::from_secs(uptime / 60 * 60);
    format!(
        "online users  {users}\nconnections   {connections}\nIDs           {ids}\n\
         messages      {messages}\nlog size      {}\nmemory        {memory}\n\
         uptime        {}\n",
        format_bytes(*bytes),
        duration::format(uptime)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_is_aligned_and_fits_80_columns() {
        let key: UserSelector =
            "SHA256:9ekmIZbWsgyWTPBUUUYXPQ6nPRXM2yPMMz1vpCoVOyg".parse().unwrap();
        let connections =
            [("Ann_9908", "127.0.0.1", Some(key.clone())), ("Tom_8386", "10.0.0.7", None)].map(
                |(user, address, key)| ConnectionInfo {
                    user: user.parse().unwrap(),
                    address: address.parse().unwrap(),
                    key,
                },
            );
        let banned = [
            BanInfo { who: key, ids: vec!["Ann_9908".parse().unwrap()] },
            BanInfo { who: "10.0.0.0/8".parse().unwrap(), ids: Vec::new() },
        ];
        let text = format_list(&connections, &banned, &[]);
        insta::assert_snapshot!(text, @r"
        ID        ADDRESS    KEY
        Ann_9908  127.0.0.1  SHA256:9ekmIZbWsgyWTPBUUUYXPQ6nPRXM2yPMMz1vpCoVOyg
        Tom_8386  10.0.0.7   none
        banned: SHA256:9ekmIZbWsgyWTPBUUUYXPQ6nPRXM2yPMMz1vpCoVOyg  Ann_9908
        banned: 10.0.0.0/8
        ");
        assert!(text.lines().all(|line| line.len() < 80));
    }

    #[test]
    fn stats_are_formatted_with_units() {
        let stats =
            ServerStats { messages: 3, bytes: 41_000, uptime: 90_061, ..ServerStats::default() };
        insta::assert_snapshot!(format_stats(&stats), @r"
        online users  0
        connections   0
        IDs           0
        messages      3
        log size      41 kB
        memory        unknown
        uptime        1 d 1 h
        ");
    }
}
