//! The outbox: messages and changes that the server has not acknowledged, sent again until it answers.
//!
//! The server recognizes a request by its `cid`, so sending it twice executes it once. `queue` decides what to
//! send (pure), `file` keeps the requests across a crash, and `task` runs both.

mod file;
mod queue;
pub(super) mod request;
pub(super) mod task;

#[cfg(test)]
mod tests;

use std::path::Path;

use self::file::OutboxFile;
use self::queue::OutboxQueue;
pub(super) use self::request::{OutboxCommand, OutboxSignal};
pub use self::request::{UnsentRequest, belongs_in_outbox};
use super::address::ServerAddress;
use super::process_file::ProcessFileError;
use crate::tls::fingerprint::sha256_hex;

/// The unacknowledged requests of one user on one server. The default one is kept in memory only.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: OutboxQueue,
    file: Option<OutboxFile>,
}

impl Outbox {
    /// Opens the outbox of `user` on `server` in `folder`, with the requests that earlier runs left.
    /// If another process has it open, this process gets a file of its own.
    ///
    /// # Errors
    /// a file or directory can't be created, read or written.
    pub fn open(
        folder: &Path,
        server: &ServerAddress,
        user: &str,
    ) -> Result<Self, ProcessFileError> {
        let (file, unsent) = OutboxFile::open(folder, &file_stem(server, user))?;
        Ok(Self { queue: OutboxQueue::new(unsent), file: Some(file) })
    }

    pub(super) fn unsent(&self) -> impl Iterator<Item = &UnsentRequest> {
        self.queue.unsent()
    }
}

/// Returns the file name stem for a server and a user. It is a hash, because neither of the two is safe in
/// a path.
pub fn file_stem(server: &ServerAddress, user: &str) -> String {
    let mut digest = sha256_hex(format!("{server}\n{user}").as_bytes());
    digest.truncate(32);
    digest
}
