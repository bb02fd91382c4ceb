//! Whether a server is the right one: the key that it has shown is judged before anything is sent to it.
//!
//! The shell around `known`: it reads and writes the file, and knows the day. That the server holds its
//! key, `tls` has made sure of.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use chrono::{Local, NaiveDate};
use thiserror::Error;

use super::address::ServerAddress;
use super::pins::{self, Pin, PinLineError};
use crate::tls::authorities::Authorities;
use crate::tls::fingerprint::Fingerprint;

/// How large `known_servers` may be, in bytes: ten thousand servers.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// By what a server is known to be the right one.
#[derive(Debug, Clone)]
pub enum TrustMode {
    /// It has the key that it had when it was first met.
    PinOnFirstUse(KnownServers),
    /// Its certificate is for its name, and comes from one of these.
    Authorities(Authorities),
    /// It has this key: it runs in this process.
    Exactly(Fingerprint),
}

/// How well a server is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyCheck {
    /// For the first time; its key is known from now on.
    FirstContact,
    /// Its key is the expected one.
    Known,
}

/// Why nothing is sent to a server.
#[derive(Debug, Error)]
pub enum UntrustedServer {
    /// It had another key.
    #[error(
        "the key of {} has changed: nothing was sent\n  pinned  {} (since {})\n  now     {key}\n\
         Somebody may be in between, to read along. Or the server was set up anew, as after its data \
         folder was deleted: ask whoever runs it for its fingerprint, and only if that is the one above, \
         remove line {} of {}:\n  {} {} {}",
        pin.server, pin.key, pin.since, pin.line, file.display(), pin.server, pin.key, pin.since
    )]
    KeyChanged {
        /// Its line.
        pin: Box<Pin>,
        /// The key that it has shown.
        key: Fingerprint,
        /// The file with the line.
        file: PathBuf,
    },
    /// The link speaks of another.
    #[error(
        "the key of {server} is not the one in the link: nothing was sent\n  link    {expected}\n  server  \
         {key}\nSomebody may be in between, to read along. Or the link is old: ask whoever runs the server \
         for another"
    )]
    LinkMismatch {
        /// The server.
        server: ServerAddress,
        /// The key in the link.
        expected: Fingerprint,
        /// The key that it has shown.
        key: Fingerprint,
    },
    /// Another program has taken its place.
    #[error("what answers at {0} is not the server of this program: nothing was sent")]
    NotOwnServer(ServerAddress),
    /// Nobody can say.
    #[error(transparent)]
    KnownServers(#[from] KnownServersError),
}

/// What is wrong with `known_servers`.
#[derive(Debug, Error)]
pub enum KnownServersError {
    /// It can't be read or written.
    #[error("cannot {action} {}: {source}", file.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It makes no sense.
    #[error("{}: {source}", file.display())]
    BadLine {
        /// The file.
        file: PathBuf,
        /// Where.
        source: PinLineError,
    },
}

impl UntrustedServer {
    /// Whether another attempt would come to the same.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::KeyChanged { .. } | Self::LinkMismatch { .. } | Self::NotOwnServer(_) => true,
            Self::KnownServers(_) => false,
        }
    }
}

impl TrustMode {
    /// Judges the key that a server has shown; `wanted` is the one in the link. What is new is noted.
    pub(super) fn check(
        &self,
        server: &ServerAddress,
        expected: Option<Fingerprint>,
        key: Fingerprint,
    ) -> Result<KeyCheck, UntrustedServer> {
        if let Some(wanted) = expected.filter(|wanted| *wanted != key) {
            return Err(UntrustedServer::LinkMismatch {
                server: server.clone(),
                expected: wanted,
                key,
            });
        }
        match self {
            Self::PinOnFirstUse(known) => match known.check(server, key)? {
                // Who brought the key in a link has nothing to compare any more.
                KeyCheck::FirstContact if expected.is_some() => Ok(KeyCheck::Known),
                contact => Ok(contact),
            },
            Self::Authorities(_) => Ok(KeyCheck::Known),
            Self::Exactly(own) if *own == key => Ok(KeyCheck::Known),
            Self::Exactly(_) => Err(UntrustedServer::NotOwnServer(server.clone())),
        }
    }
}

/// The file with the keys of the servers that were met.
#[derive(Debug, Clone)]
pub struct KnownServers {
    file: PathBuf,
}

impl KnownServers {
    /// Those in `folder`: none if there is no file yet.
    ///
    /// # Errors
    /// There is one that can't be read, or makes no sense.
    pub fn open(folder: &Path) -> Result<Self, KnownServersError> {
        let known = Self { file: folder.join("known_servers") };
        known.read()?;
        Ok(known)
    }

    /// Several clients may meet a server at once: the first one's word counts.
    fn check(&self, server: &ServerAddress, key: Fingerprint) -> Result<KeyCheck, UntrustedServer> {
        let (_, pins) = self.read()?;
        if let Some(contact) = self.compare(pins, server, key)? {
            return Ok(contact);
        }
        let _lock = self.lock()?;
        let (text, pins) = self.read()?;
        if let Some(contact) = self.compare(pins, server, key)? {
            return Ok(contact);
        }
        self.replace(&pins::append(&text, server, key, today()))?;
        Ok(KeyCheck::FirstContact)
    }

    fn compare(
        &self,
        pins: Vec<Pin>,
        server: &ServerAddress,
        key: Fingerprint,
    ) -> Result<Option<KeyCheck>, UntrustedServer> {
        match pins.into_iter().find(|pin| pin.server == *server) {
            None => Ok(None),
            Some(pin) if pin.key == key => Ok(Some(KeyCheck::Known)),
            Some(pin) => {
                let (pin, file) = (Box::new(pin), self.file.clone());
                Err(UntrustedServer::KeyChanged { pin, key, file })
            }
        }
    }

    fn read(&self) -> Result<(String, Vec<Pin>), KnownServersError> {
        let mut text = String::new();
        let read = File::open(&self.file).and_then(|file| {
            let size = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
            if size as u64 > MAX_FILE_BYTES {
                Err(io::ErrorKind::FileTooLarge.into())
            } else {
                Ok(())
            }
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

    /// Makes the folder, for its owner alone. The lock is held for as long as the file is.
    fn lock(&self) -> Result<File, KnownServersError> {
        let folder = self.file.parent().unwrap_or_else(|| Path::new("."));
        let locked = || {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            let lock = File::create(self.file.with_extension("lock"))?;
            lock.lock()?;
            io::Result::Ok(lock)
        };
        locked().map_err(self.failed("lock"))
    }

    /// The old text or the new one, but never half of it.
    fn replace(&self, text: &str) -> Result<(), KnownServersError> {
        let new = self.file.with_extension("new");
        let written = || {
            let mut file = OpenOptions::new();
            let mut file = file.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &self.file)
        };
        written().map_err(self.failed("write"))
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(io::Error) -> KnownServersError {
        let file = self.file.clone();
        move |source| KnownServersError::Io { action: doing, file, source }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the shell")]
fn today() -> NaiveDate {
    Local::now().date_naive()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
    const NEW: &str = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn key(text: &str) -> Fingerprint {
        text.parse().unwrap()
    }

    fn server() -> ServerAddress {
        "example.org:7000".parse().unwrap()
    }

    #[test]
    fn first_key_is_pinned_and_another_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let known = KnownServers::open(&folder.path().join("client")).unwrap();
        assert_eq!(known.check(&server(), key(OLD)).unwrap(), KeyCheck::FirstContact);
        assert_eq!(known.check(&server(), key(OLD)).unwrap(), KeyCheck::Known);
        let words = known.check(&server(), key(NEW)).unwrap_err().to_string();
        let file = folder.path().join("client/known_servers");
        let line = fs::read_to_string(&file).unwrap();
        for told in [OLD, NEW, &format!("remove line 1 of {}", file.display()), line.trim()] {
            assert!(words.contains(told), "{told} in {words}");
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), line, "nothing is replaced");
        let elsewhere = "example.org:7001".parse().unwrap();
        assert_eq!(known.check(&elsewhere, key(NEW)).unwrap(), KeyCheck::FirstContact);
        fs::write(&file, "").unwrap();
        assert_eq!(
            known.check(&server(), key(NEW)).unwrap(),
            KeyCheck::FirstContact,
            "its line is gone"
        );
    }

    #[test]
    fn pin_in_link_is_required_and_does_not_override_known_servers() {
        let folder = tempfile::tempdir().unwrap();
        let trust = TrustMode::PinOnFirstUse(KnownServers::open(folder.path()).unwrap());
        let wrong = trust.check(&server(), Some(key(NEW)), key(OLD)).unwrap_err();
        assert!(matches!(wrong, UntrustedServer::LinkMismatch { .. }), "{wrong}");
        assert!(!folder.path().join("known_servers").exists(), "nothing is pinned by that");
        assert_eq!(trust.check(&server(), Some(key(OLD)), key(OLD)).unwrap(), KeyCheck::Known);
        assert_eq!(trust.check(&server(), None, key(OLD)).unwrap(), KeyCheck::Known);
        let changed = trust.check(&server(), Some(key(NEW)), key(NEW)).unwrap_err();
        assert!(matches!(changed, UntrustedServer::KeyChanged { .. }), "{changed}");
    }

    #[test]
    fn own_server_is_checked_by_its_key_alone() {
        let trust = TrustMode::Exactly(key(OLD));
        assert_eq!(trust.check(&server(), None, key(OLD)).unwrap(), KeyCheck::Known);
        assert!(trust.check(&server(), None, key(NEW)).is_err());
    }

    #[test]
    fn concurrent_first_contacts_pin_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let known = KnownServers::open(folder.path()).unwrap();
        let mut met = Vec::new();
        std::thread::scope(|scope| {
            let known = &known;
            let start = |text| scope.spawn(move || known.check(&server(), key(text)));
            let all = [OLD, NEW, OLD, NEW, OLD, NEW, OLD, NEW].map(start);
            met.extend(all.map(|one| one.join().unwrap().ok()));
        });
        let count = |wanted| met.iter().filter(|one| **one == wanted).count();
        assert_eq!((count(Some(KeyCheck::FirstContact)), count(Some(KeyCheck::Known))), (1, 3));
        assert_eq!(known.read().unwrap().1.len(), 1);
    }

    #[test]
    fn unreadable_known_servers_is_named_and_trusts_no_server() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known_servers");
        let known = KnownServers::open(folder.path()).unwrap();
        let large = vec![b'#'; 1024 * 1024 + 1];
        for (bytes, told) in [
            (&b"nonsense\n"[..], "line 1 is not HOST:PORT SHA256:"),
            (b"# \xff\xfe\n", "UTF-8"),
            (&large, "too large"),
        ] {
            fs::write(&file, bytes).unwrap();
            for words in [
                KnownServers::open(folder.path()).unwrap_err().to_string(),
                known.check(&server(), key(OLD)).unwrap_err().to_string(),
            ] {
                assert!(words.contains(told), "{words}");
                assert!(words.contains(&file.display().to_string()), "{words}");
            }
            assert_eq!(fs::read(&file).unwrap(), bytes, "it is left as it is");
        }
    }
}
