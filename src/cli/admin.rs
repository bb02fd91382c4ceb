//! `chat admin`: what whoever runs a server can do, from the machine that it runs on.

use std::fmt::Write as _;
use std::io::Write as _;

use super::local::{Local, clean};
use super::serve::size;
use crate::protocol::id::{MessageId, UserId};
use crate::server::admin::{Act, Answer, Connection, Open, ShutOut, Stats, Who};
use crate::tls::fingerprint::Fingerprint;

/// What can follow `chat admin`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    local: Local,
    /// Print one JSON object
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Who is here, who is shut out, and which invites are open
    List,
    /// End connections; whoever it was may come back
    Kick {
        /// An ID, a key's fingerprint, or an address (such as 203.0.113.7 or 203.0.113.0/24)
        who: Who,
    },
    /// Shut somebody out, at once and for good; an ID stands for its key
    Ban {
        /// An ID, a key's fingerprint, or an address (such as 203.0.113.7 or 203.0.113.0/24)
        who: Who,
    },
    /// Shut somebody out no longer
    Unban {
        /// As for `ban`
        who: Who,
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
pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let act = match args.action {
        Action::List => Act::List,
        Action::Kick { who } => Act::Kick { who },
        Action::Ban { who } => Act::Ban { who },
        Action::Unban { who } => Act::Unban { who },
        Action::Delete { message } => Act::Delete { id: message },
        Action::Rebind { id, fingerprint } => Act::Rebind { user: id, key: fingerprint },
        Action::Stats => Act::Stats,
    };
    let answer = args.local.ask(&act).await?;
    let words = if args.json { serde_json::to_string(&answer)? + "\n" } else { show(&answer) };
    let mut out = std::io::stdout().lock();
    out.write_all(words.as_bytes())?;
    Ok(out.flush()?)
}

/// An answer as people read it.
fn show(answer: &Answer) -> String {
    match answer {
        Answer::Done { text } | Answer::Refused { error: text } => clean(text) + "\n",
        Answer::List { here, banned, invites } => show_list(here, banned, invites),
        Answer::Stats(stats) => show_stats(stats),
        Answer::Invited { listening, fingerprint } => format!("{listening} {fingerprint}\n"),
    }
}

fn show_list(here: &[Connection], banned: &[ShutOut], invites: &[Open]) -> String {
    let mut rows = vec![("ID".to_owned(), "ADDRESS".to_owned(), "KEY".to_owned())];
    rows.extend(here.iter().map(|Connection { user, address, key }| {
        let key = key.as_ref().map_or_else(|| "none".to_owned(), Who::to_string);
        (user.to_string(), address.to_string(), key)
    }));
    let users = rows.iter().map(|(user, ..)| user.chars().count()).max().unwrap_or(0);
    let addresses = rows.iter().map(|(_, address, _)| address.len()).max().unwrap_or(0);
    let mut words = String::new();
    for (user, address, key) in &rows {
        // Writing to a String does not fail.
        writeln!(words, "{user:users$}  {address:addresses$}  {key}").unwrap_or_default();
    }
    for ShutOut { who, ids } in banned {
        let ids = ids.iter().map(ToString::to_string);
        let who: Vec<_> = std::iter::once(who.to_string()).chain(ids).collect();
        writeln!(words, "shut out: {}", who.join("  ")).unwrap_or_default();
    }
    for Open { uses, expires } in invites {
        let until = chrono::DateTime::from_timestamp_millis(*expires).unwrap_or_default();
        let until = until.with_timezone(&chrono::Local).format("%Y-%m-%d %H:%M");
        writeln!(words, "open invite: for {uses} more, until {until}").unwrap_or_default();
    }
    words
}

fn show_stats(stats: &Stats) -> String {
    let Stats { people, connections, ids, messages, bytes, uptime, memory } = stats;
    let memory = memory.map_or_else(|| "unknown".to_owned(), size);
    format!(
        "people here   {people}\nconnections   {connections}\nIDs           {ids}\n\
         messages      {messages}\non disk       {}\nmemory        {memory}\n\
         up for        {}\n",
        size(*bytes),
        time(*uptime)
    )
}

/// A time in seconds, as people say it.
fn time(seconds: u64) -> String {
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
    fn a_list_is_read_at_a_glance_and_fits_a_terminal() {
        let key: Who = "SHA256:9ekmIZbWsgyWTPBUUUYXPQ6nPRXM2yPMMz1vpCoVOyg".parse().unwrap();
        let here = [("Ann_9908", "127.0.0.1", Some(key.clone())), ("Tom_8386", "10.0.0.7", None)]
            .map(|(user, address, key)| Connection {
                user: user.parse().unwrap(),
                address: address.parse().unwrap(),
                key,
            });
        let banned = [
            ShutOut { who: key, ids: vec!["Ann_9908".parse().unwrap()] },
            ShutOut { who: "10.0.0.0/8".parse().unwrap(), ids: Vec::new() },
        ];
        let words = show_list(&here, &banned, &[]);
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
    fn figures_are_said_as_people_say_them() {
        let stats = Stats { messages: 3, bytes: 41_000, uptime: 90_061, ..Stats::default() };
        insta::assert_snapshot!(show_stats(&stats), @r"
        people here   0
        connections   0
        IDs           0
        messages      3
        on disk       41 kB
        memory        unknown
        up for        1 d 1 h
        ");
        assert_eq!([59, 61, 3_661].map(time), ["0 min", "1 min", "1 h 1 min"]);
    }
}
