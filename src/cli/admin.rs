//! `chat admin`: what whoever runs a server can do, from the machine that it runs on.

use std::fmt::Write as _;
use std::io::Write as _;

use super::local_server::{LocalServer, cleaned};
use super::serve::format_bytes;
use crate::protocol::id::{MessageId, UserId};
use crate::server::admin::{
    AdminCommand, AdminReply, BanInfo, ConnectionInfo, InviteInfo, ServerStats, UserSelector,
};
use crate::tls::fingerprint::Fingerprint;

/// What can follow `chat admin`.
#[derive(Debug, clap::Args)]
pub(super) struct AdminArgs {
    #[command(subcommand)]
    action: AdminAction,
    #[command(flatten)]
    server: LocalServer,
    /// Print one JSON object
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum AdminAction {
    /// Who is here, who is shut out, and which invites are open
    List,
    /// End connections; whoever it was may come back
    Kick {
        /// An ID, a key's fingerprint, or an address (such as 203.0.113.7 or 203.0.113.0/24)
        target: UserSelector,
    },
    /// Shut somebody out, at once and for good; an ID stands for its key
    Ban {
        /// An ID, a key's fingerprint, or an address (such as 203.0.113.7 or 203.0.113.0/24)
        target: UserSelector,
    },
    /// Shut somebody out no longer
    Unban {
        /// As for `ban`
        target: UserSelector,
    },
    /// Remove a message for everybody
    Delete {
        /// Its id
        message: MessageId,
    },
    /// Bind an ID to another key, because the one it belonged to is lost
    Rebind {
        /// The ID
        id: UserId,
        /// The fingerprint of the other key (`chat key show` on that person's machine)
        fingerprint: Fingerprint,
    },
    /// How much there is of everything
    Stats,
}

/// Asks the server, and prints what it says.
pub(super) async fn run(args: AdminArgs) -> anyhow::Result<()> {
    let act = match args.action {
        AdminAction::List => AdminCommand::List,
        AdminAction::Kick { target: who } => AdminCommand::Kick { who },
        AdminAction::Ban { target: who } => AdminCommand::Ban { who },
        AdminAction::Unban { target: who } => AdminCommand::Unban { who },
        AdminAction::Delete { message } => AdminCommand::Delete { id: message },
        AdminAction::Rebind { id, fingerprint } => {
            AdminCommand::Rebind { user: id, key: fingerprint }
        }
        AdminAction::Stats => AdminCommand::Stats,
    };
    let answer = args.server.request(&act).await?;
    let words =
        if args.json { serde_json::to_string(&answer)? + "\n" } else { format_reply(&answer) };
    let mut out = std::io::stdout().lock();
    out.write_all(words.as_bytes())?;
    Ok(out.flush()?)
}

/// An answer as people read it.
fn format_reply(answer: &AdminReply) -> String {
    match answer {
        AdminReply::Done { text } | AdminReply::Refused { error: text } => cleaned(text) + "\n",
        AdminReply::List { connections: here, banned, invites } => {
            format_list(here, banned, invites)
        }
        AdminReply::Stats(stats) => format_stats(stats),
        AdminReply::Invited { listening, fingerprint } => format!("{listening} {fingerprint}\n"),
    }
}

fn format_list(here: &[ConnectionInfo], banned: &[BanInfo], invites: &[InviteInfo]) -> String {
    let mut rows = vec![("ID".to_owned(), "ADDRESS".to_owned(), "KEY".to_owned())];
    rows.extend(here.iter().map(|ConnectionInfo { user, address, key }| {
        let key = key.as_ref().map_or_else(|| "none".to_owned(), UserSelector::to_string);
        (user.to_string(), address.to_string(), key)
    }));
    let users = rows.iter().map(|(user, ..)| user.chars().count()).max().unwrap_or(0);
    let addresses = rows.iter().map(|(_, address, _)| address.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (user, address, key) in &rows {
        // Writing to a String does not fail.
        writeln!(text, "{user:users$}  {address:addresses$}  {key}").unwrap_or_default();
    }
    for BanInfo { who, ids } in banned {
        let ids = ids.iter().map(ToString::to_string);
        let who: Vec<_> = std::iter::once(who.to_string()).chain(ids).collect();
        writeln!(text, "shut out: {}", who.join("  ")).unwrap_or_default();
    }
    for InviteInfo { uses, expires } in invites {
        let until = chrono::DateTime::from_timestamp_millis(*expires).unwrap_or_default();
        let until = until.with_timezone(&chrono::Local).format("%Y-%m-%d %H:%M");
        writeln!(text, "open invite: for {uses} more, until {until}").unwrap_or_default();
    }
    text
}

fn format_stats(stats: &ServerStats) -> String {
    let ServerStats { users: people, connections, ids, messages, bytes, uptime, memory } = stats;
    let memory = memory.map_or_else(|| "unknown".to_owned(), format_bytes);
    format!(
        "people here   {people}\nconnections   {connections}\nIDs           {ids}\n\
         messages      {messages}\non disk       {}\nmemory        {memory}\n\
         up for        {}\n",
        format_bytes(*bytes),
        format_uptime(*uptime)
    )
}

/// A time in seconds, as people say it.
fn format_uptime(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min"),
        (0, _) => format!("{hours} h {minutes} min"),
        (_, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_is_aligned_and_fits_80_columns() {
        let key: UserSelector =
            "SHA256:9ekmIZbWsgyWTPBUUUYXPQ6nPRXM2yPMMz1vpCoVOyg".parse().unwrap();
        let here = [("Ann_9908", "127.0.0.1", Some(key.clone())), ("Tom_8386", "10.0.0.7", None)]
            .map(|(user, address, key)| ConnectionInfo {
                user: user.parse().unwrap(),
                address: address.parse().unwrap(),
                key,
            });
        let banned = [
            BanInfo { who: key, ids: vec!["Ann_9908".parse().unwrap()] },
            BanInfo { who: "10.0.0.0/8".parse().unwrap(), ids: Vec::new() },
        ];
        let words = format_list(&here, &banned, &[]);
        insta::assert_snapshot!(words, @r"
        ID        ADDRESS    KEY
        Ann_9908  127.0.0.1  SHA256:9ekmIZbWsgyWTPBUUUYXPQ6nPRXM2yPMMz1vpCoVOyg
        Tom_8386  10.0.0.7   none
        shut out: SHA256:9ekmIZbWsgyWTPBUUUYXPQ6nPRXM2yPMMz1vpCoVOyg  Ann_9908
        shut out: 10.0.0.0/8
        ");
        assert!(words.lines().all(|line| line.len() < 80));
    }

    #[test]
    fn stats_are_formatted_with_units() {
        let stats =
            ServerStats { messages: 3, bytes: 41_000, uptime: 90_061, ..ServerStats::default() };
        insta::assert_snapshot!(format_stats(&stats), @r"
        people here   0
        connections   0
        IDs           0
        messages      3
        on disk       41 kB
        memory        unknown
        up for        1 d 1 h
        ");
        assert_eq!([59, 61, 3_661].map(format_uptime), ["0 min", "1 min", "1 h 1 min"]);
    }
}
