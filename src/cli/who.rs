//! Who somebody is: the name on the command line, and the key that this machine keeps; and how the other
//! side shows who it is.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{ArgMatches, Command, Error, FromArgMatches};
use tokio::sync::mpsc::Receiver;

use super::exit::{Exit, Failure};
use super::{config, settings};
use crate::client::link::Link;
use crate::client::outbox::Outbox;
use crate::client::trust::{KnownServers, Trust};
use crate::client::{self, Client, Event, Options};
use crate::protocol::id::{Name, UserId};
use crate::tls::authorities::Authorities;
use crate::tls::client::ClientIdentity;

/// A person, or a script: an ID, or else a name, that belong together.
#[derive(Debug)]
pub(super) struct Who {
    name: Option<Name>,
    pub(super) id: Option<UserId>,
}

#[derive(Debug, clap::Args)]
#[group(skip)]
struct Flags {
    /// The name that others see [default: the one you are logged in with here]
    #[arg(long, env = "CHAT_NAME")]
    name: Option<Name>,
    /// The one of your IDs that you want to be; it needs no name beside it
    #[arg(long, env = "CHAT_ID")]
    id: Option<UserId>,
}

impl FromArgMatches for Who {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let Flags { name, id } = Flags::from_arg_matches(matches)?;
        match (name, id) {
            (Some(name), Some(id)) if name.as_str() != id.name() => {
                match settings::stronger(matches, "name", "id") {
                    None => Err(Error::raw(
                        ErrorKind::ArgumentConflict,
                        format!(
                            "--id is of somebody called {}, not {name}: leave --name out\n",
                            id.name()
                        ),
                    )),
                    Some(Ordering::Greater) => Ok(Self { name: Some(name), id: None }),
                    Some(Ordering::Equal | Ordering::Less) => Ok(Self { name: None, id: Some(id) }),
                }
            }
            (name, id) => Ok(Self { name, id }),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for Who {
    fn augment_args(command: Command) -> Command {
        Flags::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Flags::augment_args_for_update(command)
    }
}

/// How a server is known to be the right one.
#[derive(Debug, clap::Args)]
pub(super) struct Ca {
    /// Trust no key, but a certificate for the server's name: from an authority in this PEM file, or
    /// from one that the `system` trusts
    #[arg(long, env = "CHAT_CA", value_name = "FILE|system")]
    ca: Option<PathBuf>,
}

impl Who {
    /// The name of the ID, the one given, or else that of the user of this machine.
    pub(super) fn name(&self) -> anyhow::Result<Name> {
        let of_user = || {
            let mut words =
                ["USER", "LOGNAME"].into_iter().filter_map(|key| std::env::var(key).ok());
            words.find_map(|word| word.parse().ok())
        };
        match (&self.id, &self.name) {
            (Some(id), _) => Ok(id.name().parse()?),
            (None, Some(name)) => Ok(name.clone()),
            (None, None) => of_user().ok_or_else(|| {
                let message = "who are you? Give a name, such as: --name Bob".to_owned();
                Failure { exit: Exit::Usage, message }.into()
            }),
        }
    }

    /// Connects for as long as one command takes: what it has to say is kept in memory alone.
    pub(super) fn connect(&self, link: Link, ca: &Ca) -> anyhow::Result<(Client, Receiver<Event>)> {
        Ok(client::connect(Options {
            link,
            name: self.name()?,
            identity: Some(identity()?),
            trust: ca.trust()?,
            id: self.id.clone(),
            outbox: Outbox::default(),
        }))
    }
}

impl Ca {
    /// Reads what is trusted.
    pub(super) fn trust(&self) -> anyhow::Result<Trust> {
        Ok(match self.ca.as_deref() {
            None => Trust::Pins(KnownServers::open(&config::client_folder()?)?),
            Some(system) if system == Path::new("system") => {
                Trust::Authorities(Authorities::of_system()?)
            }
            Some(file) => Trust::Authorities(Authorities::from_file(file)?),
        })
    }
}

/// The key by which servers know this machine's user again.
pub(super) fn identity() -> anyhow::Result<Arc<ClientIdentity>> {
    let file = config::client_folder()?.join("id.pem");
    Ok(Arc::new(ClientIdentity::open(&file)?))
}
