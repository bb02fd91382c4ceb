//! The outbox: what was said here and the server has not answered yet, so that it is said exactly once.
//!
//! The pure part is `queue`; `disk` keeps it beyond a crash; `task` carries it to a connection. The
//! server knows each message by its `cid`, so sending one again does no harm, and not sending it would.

mod file;
mod queue;
pub(super) mod task;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use self::file::OutboxFile;
use self::queue::OutboxQueue;
use super::address::ServerAddress;
use crate::protocol::id::Cid;
use crate::protocol::message::Millis;
use crate::protocol::request::Post;
use crate::tls::fingerprint::sha256_hex;

/// A message that the server has not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsentMessage {
    /// The name that its answer will carry.
    pub cid: Cid,
    /// What was said.
    pub post: Post,
    /// When, by this machine's clock.
    pub at: Millis,
}

/// A file or folder of the outbox can't be used.
#[derive(Debug, Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct OutboxError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// What waits for one server, and was said by one person.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: OutboxQueue,
    file: Option<OutboxFile>,
}

impl Outbox {
    /// Takes over what earlier runs have left in `folder` for this server and person, unless another
    /// process does so already; that one has files of its own then.
    ///
    /// # Errors
    /// A file can't be made, read or written.
    pub fn open(folder: &Path, server: &ServerAddress, user: &str) -> Result<Self, OutboxError> {
        let (disk, left) = OutboxFile::open(folder, &file_stem(server, user))?;
        Ok(Self { queue: OutboxQueue::new(left), file: Some(disk) })
    }

    pub(super) fn unsent(&self) -> impl Iterator<Item = &UnsentMessage> {
        self.queue.unsent()
    }
}

/// A safe file name for what belongs to one server and person: nobody's text is a path.
pub fn file_stem(server: &ServerAddress, user: &str) -> String {
    let mut digest = sha256_hex(format!("{server}\n{user}").as_bytes());
    digest.truncate(32);
    digest
}
