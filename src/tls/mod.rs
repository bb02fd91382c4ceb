//! TLS: certificates, keys, fingerprints, and the two ends of an encrypted stream.
//!
//! Only TLS 1.3, with aws-lc-rs, without session resumption and early data. This module knows nothing of
//! chat. It proves that the peer holds the key of its certificate; whether that key is trusted is decided
//! by the caller, except where [`client::connect_verified`] checks a certificate authority.

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
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::{self, CipherSuite};

/// An error of certificates, keys or handshakes.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the field names and the texts say it")]
pub enum TlsError {
    /// a file or directory cannot be read, created or locked.
    #[error("cannot {action} {}: {source}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    /// The file of a private key has permissions for other users.
    #[error("{path} is readable by other users: run `chmod 600 {path}`", path = .0.display())]
    KeyReadableByOthers(PathBuf),
    /// A PEM file has no certificate or private key in it.
    #[error("no {item} in {}: expected a PEM file with a -----BEGIN ...----- line", path.display())]
    MissingPemItem { item: &'static str, path: PathBuf },
    /// A PEM file cannot be parsed.
    #[error("{} is damaged: {source}", path.display())]
    Pem { path: PathBuf, source: io::Error },
    /// A certificate without its private key.
    #[error(
        "{} exists but its key {} does not: restore the key, or delete the certificate to create both",
        certificate.display(), key.display()
    )]
    KeyMissing { certificate: PathBuf, key: PathBuf },
    /// The certificate and the key do not match, or one of them is not supported.
    #[error("{} and {} cannot be used together: {source}", certificate.display(), key.display())]
    UnusableKeyPair { certificate: PathBuf, key: PathBuf, source: rustls::Error },
    /// No certificate could be generated for the key in this file.
    #[error("cannot create a certificate for the key {}: {source}", path.display())]
    Generate { path: PathBuf, source: rcgen::Error },
    /// The bytes are not an X.509 certificate.
    #[error("invalid certificate: {0}")]
    InvalidCertificate(#[from] webpki::Error),
    /// The TLS library rejected its configuration.
    #[error(transparent)]
    Config(#[from] rustls::Error),
    /// The handshake failed, or the connection was lost during it.
    #[error("TLS handshake failed: {0}")]
    Handshake(#[source] io::Error),
    /// The server's certificate failed verification against the certificate authorities.
    #[error(
        "{0} (--ca requires a current certificate for this host name from a trusted authority; \
         without --ca, the server's key is checked instead)"
    )]
    Untrusted(rustls::Error),
    /// No certificate can be valid for this host.
    #[error("cannot check a certificate against {0:?}: use the server's host name")]
    InvalidServerName(String),
    /// The operating system has no usable certificate authorities.
    #[error("no certificate authorities found on this system{detail} (name a file with --ca FILE)")]
    NoAuthorities { detail: String },
    /// The server presented no certificate.
    #[error("the server presented no certificate")]
    NoServerCertificate,
}

/// AES-128 with SHA-256 comes first: processors have instructions for SHA-256, but few for SHA-384, which a
/// handshake would compute some fifty times.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider
        .cipher_suites
        .sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
