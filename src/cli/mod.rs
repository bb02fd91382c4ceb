//! The command line: what can be typed, and the way from an outcome to an exit status.
//!
//! Each subcommand is a file of its own; nothing is decided here.

mod access_args;
mod admin;
pub mod exit;
mod fd_limit;
mod host;
mod identity_args;
mod invite;
mod join;
mod key;
pub mod listen_address;
mod local_server;
mod logging;
mod plain;
mod send;
mod serve;
pub mod settings;
mod signals;
mod tail;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use self::exit::ExitStatus;
use crate::protocol::text::SafeText;

/// A group chat for the terminal that a team can run by itself and trust.
#[derive(Debug, Parser)]
#[command(version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a server
    Serve(serve::ServeArgs),
    /// Join a server, full screen
    Join(join::JoinArgs),
    /// Run a server and join it, in one
    Host(host::HostArgs),
    /// Send one message, from a script
    Send(send::SendArgs),
    /// Print the last messages, and those to come
    Tail(tail::TailArgs),
    /// The key by which servers know you: show it, or take it to another machine
    Key(key::KeyArgs),
    /// Make a link that lets somebody into the server on this machine
    Invite(invite::InviteArgs),
    /// See and change what happens on the server on this machine
    Admin(admin::AdminArgs),
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    let settings = settings::load();
    let known = settings.as_ref().ok().cloned().unwrap_or_default();
    let mut command = known.apply_as_defaults(Cli::command());
    let parsed = command.try_get_matches_from_mut(std::env::args_os());
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return report_usage(&error.format(&mut command)),
    };
    // Help is given in any case.
    if let Err(error) = settings {
        return report_outcome(Err(error)).into();
    }
    let exit = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let outcome = runtime.block_on(run(cli.command));
            // Not dropped: that would wait for a thread that reads standard input.
            runtime.shutdown_background();
            report_outcome(outcome)
        }
        Err(error) => report_outcome(Err(error.into())),
    };
    exit.into()
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(args) => serve::run(args).await,
        Command::Join(args) => join::run(args).await,
        // A server and a client: too large for the stack of them all.
        Command::Host(args) => Box::pin(host::run(args)).await,
        Command::Send(args) => send::run(args).await,
        Command::Tail(args) => tail::run(args).await,
        Command::Key(args) => key::run(args),
        Command::Invite(args) => invite::run(args).await,
        Command::Admin(args) => admin::run(args).await,
    }
}

/// Help and the version go out as they are; what is wrong repeats words that may come from anywhere (a
/// link, say).
fn report_usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        print_stderr(&error.to_string());
        return ExitStatus::Usage.into();
    }
    // Where standard output is closed, nobody wanted it.
    error.print().unwrap_or_default();
    ExitStatus::Success.into()
}

/// The one way out for an error: whatever it repeats (the words of a server, of a certificate, the name
/// of a file) is cleaned. Where standard error is closed, the exit status still tells.
fn print_stderr(error: &str) {
    writeln!(std::io::stderr(), "{}", SafeText::clean(error)).unwrap_or_default();
}

fn report_outcome(outcome: anyhow::Result<()>) -> ExitStatus {
    let Err(error) = outcome else { return ExitStatus::Success };
    print_stderr(&format!("error: {error:#}"));
    ExitStatus::from_error(&error)
}
