//! The file `known_servers`, which holds the pinned keys of servers.
//!
//! `pins` reads and writes the text; this module does the file access. Clients in several processes may use
//! the file: a lock file lets one of them change it at a time.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::address::ServerAddress;
use super::clock;
use super::pins::{self, Pin, PinLineError};
use crate::files;
use crate::tls::fingerprint::Fingerprint;

/// The largest file that is read, in bytes: ten thousand servers.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The file `known_servers` can't be used.
#[derive(Debug, Error)]
pub enum KnownServersError {
    /// The file can't be read or written.
    #[error("cannot {action} {}: {source}", file.display())]
    Io {
        /// The failed operation, as a verb.
        action: &'static str,
        /// The file.
        file: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A line of the file is invalid.
    #[error("{}: {source}", file.display())]
    BadLine {
        /// The file.
        file: PathBuf,
        /// The line and the problem.
        source: PinLineError,
    },
}

/// The result of [`KnownServers::find_or_pin`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PinLookup {
    /// The server was known. The key may differ.
    Found(Pin),
    /// The server was unknown, and its key was pinned.
    Added,
}

/// The file `known_servers`.
#[derive(Debug, Clone)]
pub struct KnownServers {
    file: PathBuf,
}

impl KnownServers {
    /// Opens the file in `folder`. It need not exist.
    ///
    /// # Errors
    /// The file exists, but can't be read or has an invalid line.
    pub fn open(folder: &Path) -> Result<Self, KnownServersError> {
        let known = Self { file: folder.join("known_servers") };
        known.read()?;
        Ok(known)
    }

    /// Returns the path of the file.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Whether the key of a server is pinned.
    ///
    /// # Errors
    /// The file can't be read or has an invalid line.
    pub fn contains(&self, server: &ServerAddress) -> Result<bool, KnownServersError> {
        Ok(self.read()?.1.iter().any(|pin| pin.server == *server))
    }

    /// Looks up a server, and pins `key` if the server is unknown. If several clients do this at the same
    /// time, the first one pins its key and the others find it.
    pub(super) fn find_or_pin(
        &self,
        server: &ServerAddress,
        key: Fingerprint,
    ) -> Result<PinLookup, KnownServersError> {
        let find = |pins: Vec<Pin>| pins.into_iter().find(|pin| pin.server == *server);
        let (_, pins) = self.read()?;
        if let Some(pin) = find(pins) {
            return Ok(PinLookup::Found(pin));
        }
        let _lock = self.lock()?;
        let (text, pins) = self.read()?;
        if let Some(pin) = find(pins) {
            return Ok(PinLookup::Found(pin));
        }
        let text = pins::append(&text, server, key, clock::now().date_naive());
        files::replace(&self.file, 0o600, text.as_bytes()).map_err(self.failed("write"))?;
        Ok(PinLookup::Added)
    }

    fn read(&self) -> Result<(String, Vec<Pin>), KnownServersError> {
        let mut text = String::new();
        let read = File::open(&self.file).and_then(|file| {
            let size = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
            if size as u64 > MAX_FILE_BYTES {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            Ok(())
        });
        match read {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(self.failed("read")(source));
            }
            Ok(()) | Err(_) => {}
        }
        match pins::parse(&text) {
            Ok(pins) => Ok((text, pins)),
            Err(source) => Err(KnownServersError::BadLine { file: self.file.clone(), source }),
        }
    }

    /// Creates the folder if it is missing, and waits for the lock file. The lock is held until the returned
    /// file is dropped.
    fn lock(&self) -> Result<File, KnownServersError> {
        let folder = self.file.parent().unwrap_or_else(|| Path::new("."));
        let locked = || {
            files::create_private_folder(folder)?;
            let lock = File::create(self.file.with_extension("lock"))?;
            lock.lock()?;
            io::Result::Ok(lock)
        };
        locked().map_err(self.failed("lock"))
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(io::Error) -> KnownServersError {
        let file = self.file.clone();
        move |source| KnownServersError::Io { action, file, source }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn unreadable_known_servers_is_named_and_trusts_no_server() {
        let key = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU".parse().unwrap();
        let server = "example.org:7000".parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known_servers");
        let known = KnownServers::open(folder.path()).unwrap();
        let large = vec![b'#'; 1024 * 1024 + 1];
        for (bytes, problem) in [
            (&b"nonsense\n"[..], "line 1 is not HOST:PORT SHA256:"),
            (b"# \xff\xfe\n", "UTF-8"),
            (&large, "too large"),
        ] {
            fs::write(&file, bytes).unwrap();
            for error in [
                KnownServers::open(folder.path()).unwrap_err().to_string(),
                known.find_or_pin(&server, key).unwrap_err().to_string(),
            ] {
                assert!(error.contains(problem), "{error}");
                assert!(error.contains(&file.display().to_string()), "{error}");
            }
            assert_eq!(fs::read(&file).unwrap(), bytes, "the file is unchanged");
        }
    }
}
