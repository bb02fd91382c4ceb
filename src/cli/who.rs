//! Who somebody is: the name on the command line, and the key that this machine keeps; and how the other
//! side shows who it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc::Receiver;

use super::config;
use super::exit::{Exit, Failure};
use crate::client::link::Link;
use crate::client::outbox::Outbox;
use crate::client::trust::{KnownServers, Trust};
use crate::client::{self, Client, Event, Options};
use crate::protocol::id::{Name, UserId};
use crate::tls::authorities::Authorities;
use crate::tls::client::ClientIdentity;

/// A person, or a script.
#[derive(Debug, clap::Args)]
pub(super) struct Who {
    /// The name that others see [default: the one you are logged in with here]
    #[arg(long, env = "CHAT_NAME")]
    name: Option<Name>,
    /// The one of your IDs that you want to be; it needs no name beside it
    #[arg(long)]
    pub(super) id: Option<UserId>,
}

/// How a server is known to be the right one.
#[derive(Debug, clap::Args)]
pub(super) struct Ca {
    /// Trust no key, but a certificate for the server's name: from an authority in this PEM file, or
    /// from one that the `system` trusts
    #[arg(long, value_name = "FILE|system")]
    ca: Option<PathBuf>,
}

impl Who {
    /// The name given, that of the ID, or else that of the user of this machine.
    pub(super) fn name(&self) -> anyhow::Result<Name> {
        let of_user = || {
            let mut words =
                ["USER", "LOGNAME"].into_iter().filter_map(|key| std::env::var(key).ok());
            words.find_map(|word| word.parse().ok())
        };
        let of_id = self.id.as_ref().map(|id| id.name().parse()).transpose()?;
        match (&self.name, of_id) {
            (Some(name), Some(of_id)) if *name != of_id => Err(usage(format!(
                "--id is of somebody called {of_id}, not {name}: leave --name out"
            ))),
            (Some(name), _) => Ok(name.clone()),
            (None, Some(of_id)) => Ok(of_id),
            (None, None) => of_user()
                .ok_or_else(|| usage("who are you? Give a name, such as: --name Bob".to_owned())),
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

fn usage(message: String) -> anyhow::Error {
    Failure { exit: Exit::Usage, message }.into()
}

/// The key by which servers know this machine's user again.
pub(super) fn identity() -> anyhow::Result<Arc<ClientIdentity>> {
    let file = config::client_folder()?.join("id.pem");
    Ok(Arc::new(ClientIdentity::open(&file)?))
}
