//! A stub until the full screen exists.

use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use crate::client::address::ServerAddress;
use crate::client::{Client, Event};
use crate::protocol::text::SafeText;

/// What the screen needs.
#[derive(Debug)]
pub struct Options {
    /// The connection.
    pub client: Client,
    /// What happens on it.
    pub events: Receiver<Event>,
    /// Where it leads.
    pub server: ServerAddress,
    /// What is shown first.
    pub notices: Vec<SafeText>,
    /// Cancelled when the program is asked to end.
    pub stop: CancellationToken,
}

/// Shows the conversation until its user leaves.
pub async fn run(options: Options) -> anyhow::Result<()> {
    options.stop.cancelled().await;
    Ok(())
}
