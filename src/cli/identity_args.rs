//! The flags that select the user (`--name`, `--id`) and how to verify the server (`--ca`).

use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{ArgMatches, Command, Error, FromArgMatches};
use tokio::sync::mpsc::Receiver;

use super::exit::CliError;
use super::{paths, settings};
use crate::client::address::ServerAddress;
use crate::client::known_servers::KnownServers;
use crate::client::link::ServerLink;
use crate::client::outbox::Outbox;
use crate::client::trust::TrustMode;
use crate::client::{self, Client, ClientEvent, ClientOptions};
use crate::protocol::id::{Name, UserId};
use crate::tls::authorities::Authorities;
use crate::tls::client::ClientIdentity;

/// The name or the ID to log in with. If both are set, the name is that of the ID.
#[derive(Debug)]
pub(super) struct IdentityArgs {
    name: Option<Name>,
    pub(super) id: Option<UserId>,
}

#[derive(Debug, clap::Args)]
#[group(skip)]
struct IdentityFlags {
    /// Your name, as other users see it [default: your login name]
    #[arg(long, env = "CHAT_NAME")]
    name: Option<Name>,
    /// Log in as this ID, if your key has several
    ///
    /// The ID includes the name, so --name is not needed.
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
                        format!("--id {id} is not an ID of the name {name}: omit --name"),
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

/// How to verify the server.
#[derive(Debug, clap::Args)]
pub(super) struct CaArgs {
    /// Verify the server's certificate against these authorities
    ///
    /// FILE is a PEM file of certificate authorities; `system` stands for the authorities that the
    /// operating system trusts. The certificate must be valid for the server's name.
    ///
    /// Without this flag, the server's key is pinned at first contact, and no other key is accepted
    /// afterwards.
    #[arg(long, env = "CHAT_CA", value_name = "FILE|system")]
    ca: Option<PathBuf>,
}

impl IdentityArgs {
    /// The name of the ID, or else `--name`, or else the login name.
    ///
    /// # Errors
    /// None of them is set and valid.
    pub(super) fn name(&self) -> anyhow::Result<Name> {
        let login_name = || {
            let mut values =
                ["USER", "LOGNAME"].into_iter().filter_map(|key| std::env::var(key).ok());
            values.find_map(|value| value.parse().ok())
        };
        match (&self.id, &self.name) {
            (Some(id), _) => Ok(id.name().parse()?),
            (None, Some(name)) => Ok(name.clone()),
            (None, None) => login_name().ok_or_else(|| {
                let message = "the login name is not a valid name: choose one with --name, such as --name Bob";
                CliError::usage(message.to_owned()).into()
            }),
        }
    }

    /// Connects for a script: the user is not announced, and the outbox is kept in memory only.
    ///
    /// # Errors
    /// The host does not exist, or a file of the client cannot be used.
    pub(super) async fn connect_quietly(
        &self,
        link: ServerLink,
        ca: &CaArgs,
    ) -> anyhow::Result<(Client, Receiver<ClientEvent>)> {
        check_host(&link.server).await?;
        Ok(client::connect(ClientOptions {
            link,
            name: self.name()?,
            identity: Some(client_identity()?),
            trust: ca.trust_mode()?,
            id: self.id.clone(),
            outbox: Outbox::default(),
            quiet: true,
        }))
    }
}

impl CaArgs {
    /// Loads the authorities of `--ca`, or else the pinned keys.
    pub(super) fn trust_mode(&self) -> anyhow::Result<TrustMode> {
        Ok(match self.ca.as_deref() {
            None => TrustMode::PinOnFirstUse(KnownServers::open(&paths::client_dir()?)?),
            Some(system) if system == Path::new("system") => {
                TrustMode::Authorities(Authorities::from_system()?)
            }
            Some(file) => TrustMode::Authorities(Authorities::from_file(file)?),
        })
    }
}

/// Checks that the host of a server exists.
///
/// # Errors
/// It does not. The text of the error contains its source, so the source is left out.
pub(super) async fn check_host(server: &ServerAddress) -> anyhow::Result<()> {
    client::check_host(server).await.map_err(|error| anyhow::anyhow!("{error}"))
}

/// Loads the client's key, and creates it if it does not exist.
pub(super) fn client_identity() -> anyhow::Result<Arc<ClientIdentity>> {
    Ok(Arc::new(ClientIdentity::open(&paths::client_key()?)?))
}
