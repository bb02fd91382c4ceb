//! The server's end: its certificate, and the acceptor of encrypted streams.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::NoServerSessionStorage;

use super::fingerprint::Fingerprint;
use super::{Error, VERSIONS, pem, provider, selfsigned};

/// A server's certificate, ready for use.
#[derive(Clone)]
pub struct Identity {
    /// Makes encrypted streams of plain ones.
    pub acceptor: TlsAcceptor,
    /// What the server's people tell its users, so that they can compare.
    pub fingerprint: Fingerprint,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads `cert.pem` and `key.pem` from `folder`, and makes them if neither is there.
    ///
    /// # Errors
    /// A file can't be read, made or understood, or the two don't belong together.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let certificate = folder.join("cert.pem");
        let key = folder.join("key.pem");
        selfsigned::ensure(folder, &certificate, &key)?;
        warn_of_readable(&key);
        let chain = pem::certificates(&certificate)?;
        let own = chain.first().ok_or(Error::Anonymous)?;
        let fingerprint = Fingerprint::of(own)?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)?
            .with_no_client_auth()
            .with_single_cert(chain, pem::private_key(&key)?)
            .map_err(|source| Error::Unusable { certificate, key, source })?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), fingerprint })
    }
}

fn warn_of_readable(key: &Path) {
    let mode = std::fs::metadata(key).map_or(0, |found| found.permissions().mode());
    if mode & 0o077 != 0 {
        tracing::warn!(file = %key.display(), "others can read the server's private key: chmod 600 it");
    }
}
