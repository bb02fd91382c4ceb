//! The outbox: what was said here and the server has not answered yet, so that it is said exactly once.
//!
//! The pure part is `queue`; `disk` keeps it beyond a crash; `task` carries it to a connection. The
//! server knows each message by its `cid`, so sending one again does no harm, and not sending it would.

mod disk;
mod queue;
pub(super) mod task;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use self::disk::Disk;
use self::queue::Queue;
use super::address::ServerAddress;
use crate::protocol::id::ClientId;
use crate::protocol::message::Millis;
use crate::protocol::request::Say;
use crate::tls::fingerprint::hex_digest;

/// A message that the server has not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsent {
    /// The name that its answer will carry.
    pub cid: ClientId,
    /// What was said.
    pub say: Say,
    /// When, by this machine's clock.
    pub at: Millis,
}

/// A file or folder of the outbox can't be used.
#[derive(Debug, Error)]
#[error("cannot {doing} {}: {source}", path.display())]
pub struct Error {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// What waits for one server, and was said by one person.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: Queue,
    disk: Option<Disk>,
}

impl Outbox {
    /// Takes over what earlier runs have left in `folder` for this server and person, unless another
    /// process does so already; that one has files of its own then.
    ///
    /// # Errors
    /// A file can't be made, read or written.
    pub fn open(folder: &Path, server: &ServerAddress, whose: &str) -> Result<Self, Error> {
        let (disk, left) = Disk::open(folder, &file_stem(server, whose))?;
        Ok(Self { queue: Queue::new(left), disk: Some(disk) })
    }

    pub(super) fn unsent(&self) -> impl Iterator<Item = &Unsent> {
        self.queue.unsent()
    }
}

/// A safe file name for what belongs to one server and person: nobody's text is a path.
pub fn file_stem(server: &ServerAddress, whose: &str) -> String {
    let mut digest = hex_digest(format!("{server}\n{whose}").as_bytes());
    digest.truncate(32);
    digest
}
