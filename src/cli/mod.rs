//! The command line: subcommands, flags, settings, exit statuses, logging, and the line-mode client.
//!
//! Each subcommand has its own module. It parses arguments, calls the layers below and prints the result.

mod access_args;
mod admin;
mod config;
mod demo;
pub mod exit;
mod fd_limit;
mod host;
mod identity_args;
mod invite;
mod join;
mod key;
mod keys;
pub mod listen_address;
mod local_server;
mod logging;
mod output;
mod paths;
mod plain;
mod rooms;
mod screen_args;
mod send;
mod serve;
pub mod settings;
mod signals;
mod tail;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use self::exit::ExitStatus;
use self::output::{print_error, print_note};
use self::settings::Settings;

/// A group chat for the terminal that a team can host itself
#[derive(Debug, Parser)]
#[command(version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a server
    ///
    /// The server runs in the foreground until SIGINT or SIGTERM. It prints its address, the fingerprint
    /// of its key and the command to join it, and logs to standard error.
    Serve(serve::ServeArgs),
    /// Join a server
    ///
    /// Without a SERVER, this joins the server on this machine.
    Join(join::JoinArgs),
    /// Run a server and join it
    ///
    /// The server stops when you quit.
    Host(host::HostArgs),
    /// Try the program with a team that talks, without a server
    ///
    /// Everything runs in this process, and nothing is kept.
    Demo(demo::DemoArgs),
    /// Send one message
    ///
    /// Prints the ID of the message after the server has stored it. The message is for everyone unless
    /// --to names recipients.
    Send(send::SendArgs),
    /// Print the latest messages
    Tail(tail::TailArgs),
    /// List your rooms with what is unread, and the public rooms
    Rooms(rooms::RoomsArgs),
    /// Show, export or import your key
    ///
    /// Servers identify you by this key. It is created on first use.
    Key(key::KeyArgs),
    /// Show the settings and where they come from
    Config(config::ConfigArgs),
    /// List the keys of the full screen
    Keys(keys::KeysArgs),
    /// Create an invite link for the server on this machine
    ///
    /// A new user joins with `chat join LINK`. A terminal that is large enough also shows the link as a QR
    /// code.
    Invite(invite::InviteArgs),
    /// Administer the server on this machine
    ///
    /// Run this as the user who runs the server. Changes are recorded in audit.log in the data directory.
    Admin(admin::AdminArgs),
}

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    let settings = settings::load();
    let defaults = settings.as_ref().ok().cloned().unwrap_or_default();
    let mut command = defaults.apply_as_defaults(Cli::command());
    let matches = command.try_get_matches_from_mut(std::env::args_os());
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return report_usage(&error.format(&mut command)).into(),
    };
    // Checked only now, so that --help works with an invalid settings file.
    let settings = match settings {
        Ok(settings) => settings,
        Err(error) => return report_outcome(Err(error)).into(),
    };
    let status = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let outcome = runtime.block_on(run(cli.command, &settings));
            // Dropping the runtime would wait for the thread that reads standard input.
            runtime.shutdown_background();
            report_outcome(outcome)
        }
        Err(error) => report_outcome(Err(error.into())),
    };
    status.into()
}

async fn run(command: Command, settings: &Settings) -> anyhow::Result<()> {
    match command {
        Command::Serve(args) => serve::run(args).await,
        Command::Join(args) => join::run(args, settings).await,
        // Boxed because a server and a client together make a large future.
        Command::Host(args) => Box::pin(host::run(args, settings)).await,
        Command::Demo(args) => Box::pin(demo::run(args, settings)).await,
        Command::Send(args) => send::run(args).await,
        Command::Tail(args) => tail::run(args).await,
        Command::Rooms(args) => rooms::run(args).await,
        Command::Config(args) => config::run(&args, settings),
        Command::Key(args) => key::run(args),
        Command::Keys(args) => keys::run(&args, settings),
        Command::Invite(args) => invite::run(args).await,
        Command::Admin(args) => admin::run(args).await,
    }
}

/// Prints what clap reports: help and version to standard output, errors to standard error.
fn report_usage(error: &clap::Error) -> ExitStatus {
    if error.use_stderr() {
        // clap writes "error: " itself.
        print_note(error);
        return ExitStatus::Usage;
    }
    // A closed standard output is ignored.
    error.print().unwrap_or_default();
    ExitStatus::Success
}

fn report_outcome(outcome: anyhow::Result<()>) -> ExitStatus {
    let Err(error) = outcome else { return ExitStatus::Success };
    print_error(format_args!("{error:#}"));
    ExitStatus::from_error(&error)
}
