//! `--open` and `--invite-only`: who is let in, as two flags that contradict each other.

use std::cmp::Ordering;

use clap::builder::BoolishValueParser;
use clap::error::ErrorKind;
use clap::{ArgMatches, Command, Error, FromArgMatches};

use super::settings;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AccessArgs {
    /// Nothing: whoever is on this machine comes in, and nobody new from elsewhere.
    Default,
    /// Everybody comes in.
    Open,
    /// Nobody new comes in without an invite.
    InviteOnly,
}

#[derive(Debug, clap::Args)]
#[group(skip)]
struct AccessFlags {
    /// Let in anybody who can reach an address that is not this machine's alone
    #[arg(long, env = "CHAT_OPEN", value_parser = BoolishValueParser::new())]
    open: bool,
    /// Let nobody new in without an invite, wherever it listens
    #[arg(long, env = "CHAT_INVITE_ONLY", value_parser = BoolishValueParser::new())]
    invite_only: bool,
}

impl FromArgMatches for AccessArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let AccessFlags { open, invite_only } = AccessFlags::from_arg_matches(matches)?;
        Ok(match (open, invite_only) {
            (false, false) => Self::Default,
            (true, false) => Self::Open,
            (false, true) => Self::InviteOnly,
            (true, true) => match settings::compare_sources(matches, "open", "invite_only") {
                None => {
                    let why = "--open and --invite-only contradict each other: leave one out\n";
                    return Err(Error::raw(ErrorKind::ArgumentConflict, why));
                }
                Some(Ordering::Greater) => Self::Open,
                // Said in one place, the safe one counts.
                Some(Ordering::Equal | Ordering::Less) => Self::InviteOnly,
            },
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for AccessArgs {
    fn augment_args(command: Command) -> Command {
        AccessFlags::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        AccessFlags::augment_args_for_update(command)
    }
}
