//! The way to the server on this machine: its local socket, one line out and one line in.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::exit::{CliError, ExitStatus};
use super::listen_address;
use crate::protocol::text::SafeText;
use crate::server::admin::{AdminCommand, AdminReply};
use crate::server::admin_socket;

/// A server that does not answer for so long does nothing else either.
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);

/// More than a list of all connections that a server takes.
const MAX_REPLY_BYTES: u64 = 16 * 1_024 * 1_024;

/// Which server on this machine is meant.
#[derive(Debug, clap::Args)]
pub(super) struct LocalServer {
    /// The data folder of the server [default: the user's data folder, as for `chat serve`]
    #[arg(long, env = "CHAT_DATA", value_name = "DIR", global = true)]
    data: Option<PathBuf>,
}

impl LocalServer {
    /// Asks the server, which has to run.
    pub(super) async fn request(&self, command: &AdminCommand) -> anyhow::Result<AdminReply> {
        let folder = match &self.data {
            Some(folder) => folder.clone(),
            None => listen_address::data_folder()?,
        };
        let path = folder.join(admin_socket::FILE);
        let stream = UnixStream::connect(&path).await.map_err(|error| {
            let folder = folder.display();
            let hint = match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => format!(
                    "no server runs on {folder}: start one with `chat serve`, or say with --data DIR which one you mean"
                ),
                io::ErrorKind::PermissionDenied => format!(
                    "the server on {folder} belongs to somebody else, who alone can administer it"
                ),
                _ => format!("cannot reach the server on {folder}"),
            };
            anyhow::Error::new(error).context(hint)
        })?;
        let asked = timeout(REPLY_TIMEOUT, exchange(stream, command)).await;
        match asked.context("the server does not answer")?? {
            AdminReply::Refused { error } => {
                Err(CliError { status: ExitStatus::Refused, message: cleaned(&error) }.into())
            }
            answer => Ok(answer),
        }
    }
}

async fn exchange(mut stream: UnixStream, command: &AdminCommand) -> anyhow::Result<AdminReply> {
    let mut line = serde_json::to_vec(command)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut reply = Vec::new();
    BufReader::new(stream.take(MAX_REPLY_BYTES)).read_until(b'\n', &mut reply).await?;
    if reply.is_empty() {
        bail!("the server has hung up (its log says why)");
    }
    serde_json::from_slice(&reply).context("the server is of another version")
}

/// What the server says, as it may reach a terminal.
pub(super) fn cleaned(words: &str) -> String {
    SafeText::clean(words).as_str().to_owned()
}
