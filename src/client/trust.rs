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
use super::known::{self, LineError, Pin};
use crate::tls::authorities::Authorities;
use crate::tls::fingerprint::Fingerprint;

/// How large `known_servers` may be, in bytes: ten thousand servers.
const FILE_BYTES: u64 = 1024 * 1024;

/// By what a server is known to be the right one.
#[derive(Debug, Clone)]
pub enum Trust {
    /// It has the key that it had when it was first met.
    Pins(KnownServers),
    /// Its certificate is for its name, and comes from one of these.
    Authorities(Authorities),
    /// It has this key: it runs in this process.
    Key(Fingerprint),
}

/// How well a server is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contact {
    /// For the first time; its key is known from now on.
    First,
    /// Its key is the expected one.
    Known,
}

/// Why nothing is sent to a server.
#[derive(Debug, Error)]
pub enum Distrust {
    /// It had another key.
    #[error(
        "the key of {} has changed: nothing was sent\n  pinned  {} (since {})\n  now     {key}\n\
         Somebody may be in between, to read along. Or the server was set up anew, as after its data \
         folder was deleted: ask whoever runs it for its fingerprint, and only if that is the one above, \
         remove line {} of {}:\n  {} {} {}",
        pin.server, pin.key, pin.since, pin.line, file.display(), pin.server, pin.key, pin.since
    )]
    Changed {
        /// Its line.
        pin: Box<Pin>,
        /// The key that it has shown.
        key: Fingerprint,
        /// The file with the line.
        file: PathBuf,
    },
    /// The link speaks of another.
    #[error(
        "the key of {server} is not the one in the link: nothing was sent\n  link    {wanted}\n  server  \
         {key}\nSomebody may be in between, to read along. Or the link is old: ask whoever runs the server \
         for another"
    )]
    NotInLink {
        /// The server.
        server: ServerAddress,
        /// The key in the link.
        wanted: Fingerprint,
        /// The key that it has shown.
        key: Fingerprint,
    },
    /// Another program has taken its place.
    #[error("what answers at {0} is not the server of this program: nothing was sent")]
    NotThis(ServerAddress),
    /// Nobody can say.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What is wrong with `known_servers`.
#[derive(Debug, Error)]
pub enum FileError {
    /// It can't be read or written.
    #[error("cannot {doing} {}: {source}", file.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It makes no sense.
    #[error("{}: {source}", file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// Where.
        source: LineError,
    },
}

impl Distrust {
    /// Whether another attempt would come to the same.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Changed { .. } | Self::NotInLink { .. } | Self::NotThis(_) => true,
            Self::File(_) => false,
        }
    }
}

impl Trust {
    /// Judges the key that a server has shown; `wanted` is the one in the link. What is new is noted.
    pub(super) fn judge(
        &self,
        server: &ServerAddress,
        wanted: Option<Fingerprint>,
        key: Fingerprint,
    ) -> Result<Contact, Distrust> {
        if let Some(wanted) = wanted.filter(|wanted| *wanted != key) {
            return Err(Distrust::NotInLink { server: server.clone(), wanted, key });
        }
        match self {
            Self::Pins(known) => match known.judge(server, key)? {
                // Who brought the key in a link has nothing to compare any more.
                Contact::First if wanted.is_some() => Ok(Contact::Known),
                contact => Ok(contact),
            },
            Self::Authorities(_) => Ok(Contact::Known),
            Self::Key(own) if *own == key => Ok(Contact::Known),
            Self::Key(_) => Err(Distrust::NotThis(server.clone())),
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
    pub fn open(folder: &Path) -> Result<Self, FileError> {
        let known = Self { file: folder.join("known_servers") };
        known.read()?;
        Ok(known)
    }

    /// Several clients may meet a server at once: the first one's word counts.
    fn judge(&self, server: &ServerAddress, key: Fingerprint) -> Result<Contact, Distrust> {
        let (_, pins) = self.read()?;
        if let Some(contact) = self.compare(pins, server, key)? {
            return Ok(contact);
        }
        let _lock = self.lock()?;
        let (text, pins) = self.read()?;
        if let Some(contact) = self.compare(pins, server, key)? {
            return Ok(contact);
        }
        self.write(&known::with(&text, server, key, today()))?;
        Ok(Contact::First)
    }

    fn compare(
        &self,
        pins: Vec<Pin>,
        server: &ServerAddress,
        key: Fingerprint,
    ) -> Result<Option<Contact>, Distrust> {
        match pins.into_iter().find(|pin| pin.server == *server) {
            None => Ok(None),
            Some(pin) if pin.key == key => Ok(Some(Contact::Known)),
            Some(pin) => {
                let (pin, file) = (Box::new(pin), self.file.clone());
                Err(Distrust::Changed { pin, key, file })
            }
        }
    }

    fn read(&self) -> Result<(String, Vec<Pin>), FileError> {
        let mut text = String::new();
        let read = File::open(&self.file).and_then(|file| {
            let size = file.take(FILE_BYTES + 1).read_to_string(&mut text)?;
            if size as u64 > FILE_BYTES { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(()) }
        });
        match read {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(self.failed("read")(source));
            }
            Ok(()) | Err(_) => {}
        }
        match known::parse(&text) {
            Ok(pins) => Ok((text, pins)),
            Err(source) => Err(FileError::Line { file: self.file.clone(), source }),
        }
    }

    /// Makes the folder, for its owner alone. The lock is held for as long as the file is.
    fn lock(&self) -> Result<File, FileError> {
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
    fn write(&self, text: &str) -> Result<(), FileError> {
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

    fn failed(&self, doing: &'static str) -> impl FnOnce(io::Error) -> FileError {
        let file = self.file.clone();
        move |source| FileError::Io { doing, file, source }
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
    fn a_key_is_pinned_once_and_no_other_is_taken_then() {
        let folder = tempfile::tempdir().unwrap();
        let known = KnownServers::open(&folder.path().join("client")).unwrap();
        assert_eq!(known.judge(&server(), key(OLD)).unwrap(), Contact::First);
        assert_eq!(known.judge(&server(), key(OLD)).unwrap(), Contact::Known);
        let words = known.judge(&server(), key(NEW)).unwrap_err().to_string();
        let file = folder.path().join("client/known_servers");
        let line = fs::read_to_string(&file).unwrap();
        for told in [OLD, NEW, &format!("remove line 1 of {}", file.display()), line.trim()] {
            assert!(words.contains(told), "{told} in {words}");
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), line, "nothing is replaced");
        let elsewhere = "example.org:7001".parse().unwrap();
        assert_eq!(known.judge(&elsewhere, key(NEW)).unwrap(), Contact::First);
        fs::write(&file, "").unwrap();
        assert_eq!(known.judge(&server(), key(NEW)).unwrap(), Contact::First, "its line is gone");
    }

    #[test]
    fn a_link_says_which_key_it_has_to_be_and_does_not_overrule_what_is_pinned() {
        let folder = tempfile::tempdir().unwrap();
        let trust = Trust::Pins(KnownServers::open(folder.path()).unwrap());
        let wrong = trust.judge(&server(), Some(key(NEW)), key(OLD)).unwrap_err();
        assert!(matches!(wrong, Distrust::NotInLink { .. }), "{wrong}");
        assert!(!folder.path().join("known_servers").exists(), "nothing is pinned by that");
        assert_eq!(trust.judge(&server(), Some(key(OLD)), key(OLD)).unwrap(), Contact::Known);
        assert_eq!(trust.judge(&server(), None, key(OLD)).unwrap(), Contact::Known);
        let changed = trust.judge(&server(), Some(key(NEW)), key(NEW)).unwrap_err();
        assert!(matches!(changed, Distrust::Changed { .. }), "{changed}");
    }

    #[test]
    fn a_server_of_this_process_is_known_by_its_key_alone() {
        let trust = Trust::Key(key(OLD));
        assert_eq!(trust.judge(&server(), None, key(OLD)).unwrap(), Contact::Known);
        assert!(trust.judge(&server(), None, key(NEW)).is_err());
    }

    #[test]
    fn clients_that_meet_a_server_at_once_agree_on_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let known = KnownServers::open(folder.path()).unwrap();
        let mut met = Vec::new();
        std::thread::scope(|scope| {
            let known = &known;
            let start = |text| scope.spawn(move || known.judge(&server(), key(text)));
            let all = [OLD, NEW, OLD, NEW, OLD, NEW, OLD, NEW].map(start);
            met.extend(all.map(|one| one.join().unwrap().ok()));
        });
        let count = |wanted| met.iter().filter(|one| **one == wanted).count();
        assert_eq!((count(Some(Contact::First)), count(Some(Contact::Known))), (1, 3));
        assert_eq!(known.read().unwrap().1.len(), 1);
    }

    #[test]
    fn a_file_that_makes_no_sense_is_named_and_nobody_is_trusted() {
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
                known.judge(&server(), key(OLD)).unwrap_err().to_string(),
            ] {
                assert!(words.contains(told), "{words}");
                assert!(words.contains(&file.display().to_string()), "{words}");
            }
            assert_eq!(fs::read(&file).unwrap(), bytes, "it is left as it is");
        }
    }
}
