//! How the server's key is checked, before anything is sent to the server.
//!
//! `tls` has already verified that the server holds the private key. `known_servers` stores pinned keys.

use std::path::PathBuf;

use thiserror::Error;

use super::address::ServerAddress;
use super::known_servers::{KnownServers, KnownServersError, PinLookup};
use super::pins::Pin;
use crate::tls::authorities::Authorities;
use crate::tls::fingerprint::Fingerprint;

/// How the server's key is checked.
#[derive(Debug, Clone)]
pub enum TrustMode {
    /// The key must be the pinned one. At first contact it is pinned.
    PinOnFirstUse(KnownServers),
    /// The certificate must be valid for the host name and issued by one of these authorities.
    Authorities(Authorities),
    /// The key must be this one: the server runs in the same process.
    Exactly(Fingerprint),
}

impl TrustMode {
    /// Whether the server's key was checked before, so that the server has been there.
    ///
    /// # Errors
    /// The file of the pinned keys cannot be used.
    pub fn is_known(&self, server: &ServerAddress) -> Result<bool, KnownServersError> {
        match self {
            Self::PinOnFirstUse(known_servers) => known_servers.contains(server),
            Self::Authorities(_) => Ok(false),
            Self::Exactly(_) => Ok(true),
        }
    }
}

/// The result of a successful check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyCheck {
    /// The key was unknown, and is pinned now.
    FirstContact,
    /// The key is the expected one.
    Known,
}

/// Why a server is not trusted. The texts are shown to the user.
#[derive(Debug, Error)]
pub enum UntrustedServer {
    /// The server's key differs from the pinned one.
    #[error(
        "the key of {} has changed: nothing was sent\n  pinned  {} (since {})\n  now     {key}\n\
         Someone may be intercepting the connection, or the server was set up again, as after its data \
         directory was deleted. Ask its administrator for the fingerprint; only if it is the one above, \
         remove line {} of {}:\n  {} {} {}",
        pin.server, pin.key, pin.since, pin.line, file.display(), pin.server, pin.key, pin.since
    )]
    KeyChanged {
        /// The pinned key.
        pin: Box<Pin>,
        /// The server's key.
        key: Fingerprint,
        /// The file that holds the pin.
        file: PathBuf,
    },
    /// The server's key differs from the one in the link.
    #[error(
        "the key of {server} is not the one in the link: nothing was sent\n  link    {expected}\n  server  \
         {key}\nSomeone may be intercepting the connection, or the link is out of date: ask the server's \
         administrator for a new one"
    )]
    LinkMismatch {
        /// The server.
        server: ServerAddress,
        /// The key in the link.
        expected: Fingerprint,
        /// The server's key.
        key: Fingerprint,
    },
    /// Another process listens on the address of the server in this process.
    #[error("another program answers at {0}, not the server of this process: nothing was sent")]
    NotOwnServer(ServerAddress),
    /// The pinned keys can't be read or written.
    #[error(transparent)]
    KnownServers(#[from] KnownServersError),
}

impl UntrustedServer {
    /// Whether another attempt would fail too.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::KeyChanged { .. } | Self::LinkMismatch { .. } | Self::NotOwnServer(_) => true,
            Self::KnownServers(_) => false,
        }
    }
}

impl TrustMode {
    /// Checks a server's key, and pins it at first contact. `expected` is the key in the link, if it has one.
    pub(super) fn check(
        &self,
        server: &ServerAddress,
        expected: Option<Fingerprint>,
        key: Fingerprint,
    ) -> Result<KeyCheck, UntrustedServer> {
        if let Some(expected) = expected.filter(|expected| *expected != key) {
            return Err(UntrustedServer::LinkMismatch { server: server.clone(), expected, key });
        }
        match self {
            Self::PinOnFirstUse(known) => match known.find_or_pin(server, key)? {
                PinLookup::Found(pin) if pin.key == key => Ok(KeyCheck::Known),
                PinLookup::Found(pin) => {
                    let (pin, file) = (Box::new(pin), known.file().to_owned());
                    Err(UntrustedServer::KeyChanged { pin, key, file })
                }
                // The link confirmed the key: the user has nothing to compare.
                PinLookup::Added if expected.is_some() => Ok(KeyCheck::Known),
                PinLookup::Added => Ok(KeyCheck::FirstContact),
            },
            Self::Authorities(_) => Ok(KeyCheck::Known),
            Self::Exactly(own) if *own == key => Ok(KeyCheck::Known),
            Self::Exactly(_) => Err(UntrustedServer::NotOwnServer(server.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        let trust = TrustMode::PinOnFirstUse(known);
        let check = |server: &ServerAddress, text| trust.check(server, None, key(text));
        assert_eq!(check(&server(), OLD).unwrap(), KeyCheck::FirstContact);
        assert_eq!(check(&server(), OLD).unwrap(), KeyCheck::Known);
        let error = check(&server(), NEW).unwrap_err().to_string();
        let file = folder.path().join("client/known_servers");
        let line = fs::read_to_string(&file).unwrap();
        let remedy = format!("remove line 1 of {}", file.display());
        for part in [OLD, NEW, &remedy, line.trim()] {
            assert!(error.contains(part), "{part} in {error}");
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), line, "the pin is unchanged");
        let other = "example.org:7001".parse().unwrap();
        assert_eq!(check(&other, NEW).unwrap(), KeyCheck::FirstContact);
        fs::write(&file, "").unwrap();
        assert_eq!(check(&server(), NEW).unwrap(), KeyCheck::FirstContact, "its line was removed");
    }

    #[test]
    fn pin_in_link_is_required_and_does_not_override_known_servers() {
        let folder = tempfile::tempdir().unwrap();
        let trust = TrustMode::PinOnFirstUse(KnownServers::open(folder.path()).unwrap());
        let error = trust.check(&server(), Some(key(NEW)), key(OLD)).unwrap_err();
        assert!(matches!(error, UntrustedServer::LinkMismatch { .. }), "{error}");
        assert!(!folder.path().join("known_servers").exists(), "nothing is pinned");
        assert_eq!(trust.check(&server(), Some(key(OLD)), key(OLD)).unwrap(), KeyCheck::Known);
        assert_eq!(trust.check(&server(), None, key(OLD)).unwrap(), KeyCheck::Known);
        let error = trust.check(&server(), Some(key(NEW)), key(NEW)).unwrap_err();
        assert!(matches!(error, UntrustedServer::KeyChanged { .. }), "{error}");
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
        let trust = TrustMode::PinOnFirstUse(known.clone());
        let mut checks = Vec::new();
        std::thread::scope(|scope| {
            let trust = &trust;
            let start = |text| scope.spawn(move || trust.check(&server(), None, key(text)));
            let clients = [OLD, NEW, OLD, NEW, OLD, NEW, OLD, NEW].map(start);
            checks.extend(clients.map(|client| client.join().unwrap().ok()));
        });
        let count = |wanted| checks.iter().filter(|check| **check == wanted).count();
        assert_eq!((count(Some(KeyCheck::FirstContact)), count(Some(KeyCheck::Known))), (1, 3));
        let text = fs::read_to_string(known.file()).unwrap();
        assert_eq!(text.lines().count(), 1);
    }
}
