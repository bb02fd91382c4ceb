//! Who somebody is: the name on the command line, and the key that this machine keeps; and how the other
//! side shows who it is.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{ArgMatches, Command, Error, FromArgMatches};
use tokio::sync::mpsc::Receiver;

use super::exit::{CliError, ExitStatus};
use super::{listen_address, settings};
use crate::client::link::ServerLink;
use crate::client::outbox::Outbox;
use crate::client::trust::{KnownServers, TrustMode};
use crate::client::{self, Client, ClientEvent, ClientOptions};
use crate::protocol::id::{Name, UserId};
use crate::tls::authorities::Authorities;
use crate::tls::client::ClientIdentity;

/// A person, or a script: an ID, or else a name, that belong together.
#[derive(Debug)]
pub(super) struct IdentityArgs {
    name: Option<Name>,
    pub(super) id: Option<UserId>,
}

#[derive(Debug, clap::Args)]
#[group(skip)]
struct IdentityFlags {
    /// The name that others see [default: the one you are logged in with here]
    #[arg(long, env = "CHAT_NAME")]
    name: Option<Name>,
    /// The one of your IDs that you want to be; it needs no name beside it
    #[arg(long, env = "CHAT_ID")]
    id: Option<UserId>,
}

impl FromArgMatches for IdentityArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let IdentityFlags { name, id } = IdentityFlags::from_arg_matches(matches)?;
        match (name, id) {
            (Some(name), Some(id)) if name.as_str() != id.name() => {
                match settings::compare_sources(matches, "name", "id") {
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

impl clap::Args for IdentityArgs {
    fn augment_args(command: Command) -> Command {
        IdentityFlags::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        IdentityFlags::augment_args_for_update(command)
    }
}

/// How a server is known to be the right one.
#[derive(Debug, clap::Args)]
pub(super) struct CaArgs {
    /// Trust no key, but a certificate for the server's name: from an authority in this PEM file, or
    /// from one that the `system` trusts
    #[arg(long, env = "CHAT_CA", value_name = "FILE|system")]
    ca: Option<PathBuf>,
}

impl IdentityArgs {
    /// The name of the ID, the one given, or else that of the user of this machine.
    pub(super) fn name(&self) -> anyhow::Result<Name> {
        let login_name = || {
            let mut values =
                ["USER", "LOGNAME"].into_iter().filter_map(|key| std::env::var(key).ok());
            values.find_map(|word| word.parse().ok())
        };
        match (&self.id, &self.name) {
            (Some(id), _) => Ok(id.name().parse()?),
            (None, Some(name)) => Ok(name.clone()),
            (None, None) => login_name().ok_or_else(|| {
                let message = "who are you? Give a name, such as: --name Bob".to_owned();
                CliError { status: ExitStatus::Usage, message }.into()
            }),
        }
    }

    /// Connects for as long as one command takes: what it has to say is kept in memory alone.
    pub(super) fn connect_in_memory(
        &self,
        link: ServerLink,
        ca: &CaArgs,
    ) -> anyhow::Result<(Client, Receiver<ClientEvent>)> {
        Ok(client::connect(ClientOptions {
            link,
            name: self.name()?,
            identity: Some(client_identity()?),
            trust: ca.trust_mode()?,
            id: self.id.clone(),
            outbox: Outbox::default(),
        }))
    }
}

impl CaArgs {
    /// Reads what is trusted.
    pub(super) fn trust_mode(&self) -> anyhow::Result<TrustMode> {
        Ok(match self.ca.as_deref() {
            None => {
                TrustMode::PinOnFirstUse(KnownServers::open(&listen_address::client_folder()?)?)
            }
            Some(system) if system == Path::new("system") => {
                TrustMode::Authorities(Authorities::from_system()?)
            }
            Some(file) => TrustMode::Authorities(Authorities::from_file(file)?),
        })
    }
}

/// The key by which servers know this machine's user again.
pub(super) fn client_identity() -> anyhow::Result<Arc<ClientIdentity>> {
    let file = listen_address::client_folder()?.join("id.pem");
    Ok(Arc::new(ClientIdentity::open(&file)?))
}
