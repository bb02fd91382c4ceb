//! A client of the admin socket of a server on this machine: one JSON line per request and per reply.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::exit::CliError;
use super::paths;
use crate::protocol::text::SafeText;
use crate::server::admin::{AdminCommand, AdminReply};
use crate::server::admin_socket;

/// How long the server may take to answer.
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);

/// The longest accepted reply, in bytes. A list of all connections that a server accepts is shorter.
const MAX_REPLY_BYTES: u64 = 16 * 1_024 * 1_024;

/// The argument that selects a server on this machine.
#[derive(Debug, clap::Args)]
pub(super) struct LocalServer {
    /// Data directory of the server [default: your data directory]
    ///
    /// Use the same directory as for `chat serve`.
    #[arg(long, env = "CHAT_DATA", value_name = "DIR", global = true)]
    data: Option<PathBuf>,
}

impl LocalServer {
    /// Sends a command to the running server and returns its reply.
    ///
    /// # Errors
    /// The server cannot be reached, does not answer, or refuses the command.
    pub(super) async fn request(&self, command: &AdminCommand) -> anyhow::Result<AdminReply> {
        let dir = match &self.data {
            Some(dir) => dir.clone(),
            None => paths::data_dir()?,
        };
        let stream = UnixStream::connect(dir.join(admin_socket::FILE)).await;
        let stream = stream.map_err(|error| explain_connect_error(error, &dir))?;
        let reply =
            timeout(REPLY_TIMEOUT, exchange(stream, command)).await.map_err(|_elapsed| {
                anyhow!("the server did not answer within {} seconds", REPLY_TIMEOUT.as_secs())
            })??;
        match reply {
            AdminReply::Refused { error } => {
                Err(CliError::refused(&SafeText::clean(&error)).into())
            }
            reply => Ok(reply),
        }
    }
}

fn explain_connect_error(error: io::Error, dir: &Path) -> anyhow::Error {
    let dir = dir.display();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => anyhow!(
            "no server runs on {dir} (start one with `chat serve`, or name another data directory with --data)"
        ),
        io::ErrorKind::PermissionDenied => anyhow!(
            "permission denied: the server on {dir} belongs to another user (run this command as that user)"
        ),
        _ => anyhow::Error::new(error).context(format!("cannot reach the server on {dir}")),
    }
}

async fn exchange(mut stream: UnixStream, command: &AdminCommand) -> anyhow::Result<AdminReply> {
    let mut line = serde_json::to_vec(command)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut reply = Vec::new();
    BufReader::new(stream.take(MAX_REPLY_BYTES)).read_until(b'\n', &mut reply).await?;
    if reply.is_empty() {
        bail!("the server closed the connection without an answer (its log has the reason)");
    }
    serde_json::from_slice(&reply)
        .context("cannot decode the server's answer: it may run another version of chat")
}
