//! Certificates and encrypted streams: TLS 1.3 alone, by aws-lc-rs, without tickets and early data.
//!
//! Knows nothing of chat. Whom to trust beyond "holds the key of this fingerprint" is not decided here.

pub mod authorities;
pub mod client;
pub mod fingerprint;
pub mod keyfile;
mod pem;
mod self_signed;
pub mod server;

#[cfg(test)]
mod attack_tests;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use tokio_rustls::rustls;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};

/// What can be wrong with certificates, keys and handshakes. The texts say what to do.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file or folder can't be read or made.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A private key that is not private.
    #[error(
        "others on this machine can read your key {path}, and who has it is you: chmod 600 {path}",
        path = .0.display()
    )]
    KeyReadableByOthers(PathBuf),
    /// The file has nothing of the sort in it.
    #[error("there is no {item} in {}: it must be a PEM file with a -----BEGIN ...----- line", path.display())]
    MissingPemItem {
        /// A certificate, or a private key.
        item: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The file is no PEM.
    #[error("{} is damaged: {source}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// A certificate without its key.
    #[error(
        "{} is there, but its key {} is not: put the key there, or take the certificate away to have both made",
        certificate.display(), key.display()
    )]
    KeyMissing {
        /// The certificate's file.
        certificate: PathBuf,
        /// Where the key should be.
        key: PathBuf,
    },
    /// Certificate and key can't be used, or don't belong together.
    #[error("{} and {} cannot be used together: {source}", certificate.display(), key.display())]
    UnusableKeyPair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate for the key {}: {source}", path.display())]
    Generate {
        /// The key's file.
        path: PathBuf,
        /// Why not.
        source: rcgen::Error,
    },
    /// The certificate is none.
    #[error("not a certificate: {0}")]
    InvalidCertificate(#[from] webpki::Error),
    /// The library refuses what it was set up with.
    #[error(transparent)]
    Config(#[from] rustls::Error),
    /// The connection failed before it was encrypted.
    #[error("the encrypted connection failed: {0}")]
    Handshake(#[source] io::Error),
    /// The certificate is not for this server, too old, or from somebody else.
    #[error(
        "{0} (--ca wants a certificate for this very name, in its time, from an authority that is named; \
         without --ca the server's key alone counts)"
    )]
    Untrusted(rustls::Error),
    /// No certificate is for such a host.
    #[error("a certificate can't be checked against {0:?}: give the server by its name")]
    InvalidServerName(String),
    /// Nobody vouches for anybody.
    #[error("this system names no certificate authorities{detail} (--ca FILE does)")]
    NoAuthorities {
        /// Why not.
        detail: String,
    },
    /// The other side showed no certificate.
    #[error("the server showed no certificate")]
    NoServerCertificate,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
