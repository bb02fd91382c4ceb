//! `--open` and `--invite-only`, two flags that exclude each other.

use std::cmp::Ordering;

use clap::builder::BoolishValueParser;
use clap::error::ErrorKind;
use clap::{ArgMatches, Command, Error, FromArgMatches};

use super::settings;

/// Whether new users need an invite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AccessArgs {
    /// Neither flag: open on a loopback address, by invite only on any other address.
    Default,
    /// Anyone may join.
    Open,
    /// New users need an invite.
    InviteOnly,
}

#[derive(Debug, clap::Args)]
#[group(skip)]
struct AccessFlags {
    /// Let anyone who can reach the server join without an invite
    ///
    /// By default, a server that listens on a loopback address only is open, and any other server
    /// requires an invite from new users.
    #[arg(long, env = "CHAT_OPEN", value_parser = BoolishValueParser::new())]
    open: bool,
    /// Require an invite from new users, even on a loopback address
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
                    let message = "--open and --invite-only exclude each other: omit one of them";
                    return Err(Error::raw(ErrorKind::ArgumentConflict, message));
                }
                Some(Ordering::Greater) => Self::Open,
                // Both come from the same source: the safer one wins.
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
