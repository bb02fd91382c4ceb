//! Who somebody is: the name on the command line, and the key that this machine keeps.

use std::sync::Arc;

use tokio::sync::mpsc::Receiver;

use super::config;
use super::exit::{Exit, Failure};
use crate::client::link::Link;
use crate::client::outbox::Outbox;
use crate::client::{self, Client, Event, Options};
use crate::protocol::id::Name;
use crate::tls::client::ClientIdentity;

/// A person, or a script.
#[derive(Debug, clap::Args)]
pub(super) struct Who {
    /// The name that others see [default: the one you are logged in with here]
    #[arg(long)]
    name: Option<Name>,
}

impl Who {
    /// The name given, or else that of the user of this machine.
    pub(super) fn name(&self) -> anyhow::Result<Name> {
        let of_user = || {
            let mut words =
                ["USER", "LOGNAME"].into_iter().filter_map(|key| std::env::var(key).ok());
            words.find_map(|word| word.parse().ok())
        };
        self.name.clone().or_else(of_user).ok_or_else(|| {
            let message = "who are you? Give a name, such as: --name Bob".to_owned();
            Failure { exit: Exit::Usage, message }.into()
        })
    }

    /// Connects for as long as one command takes: what it has to say is kept in memory alone.
    pub(super) fn connect(&self, link: Link) -> anyhow::Result<(Client, Receiver<Event>)> {
        let identity = Some(identity()?);
        let outbox = Outbox::default();
        Ok(client::connect(Options { link, name: self.name()?, identity, outbox }))
    }
}

/// The key by which servers know this machine's user again.
pub(super) fn identity() -> anyhow::Result<Arc<ClientIdentity>> {
    let file = config::client_folder()?.join("id.pem");
    Ok(Arc::new(ClientIdentity::open(&file)?))
}
