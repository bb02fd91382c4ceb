//! PEM files, parsed to certificates and private keys. Only this module uses rustls-pemfile.

use std::fs;
use std::path::Path;

use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;

/// Reads all certificates of a file, in their order.
///
/// # Errors
/// The file cannot be read or parsed, or has no certificate.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let certificates: Vec<_> = rustls_pemfile::certs(&mut text.as_slice())
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::Pem { path: path.to_owned(), source })?;
    if certificates.is_empty() {
        return Err(TlsError::MissingPemItem { item: "certificate", path: path.to_owned() });
    }
    Ok(certificates)
}

/// Reads the first private key of a file: unencrypted PKCS #8, SEC 1 or PKCS #1.
///
/// # Errors
/// The file cannot be read or parsed, or has no such key.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    private_key_in(&read(path)?, path)
}

/// Like [`private_key`], for a text that was read from `path`.
pub(super) fn private_key_in(
    mut text: &[u8],
    path: &Path,
) -> Result<PrivateKeyDer<'static>, TlsError> {
    rustls_pemfile::private_key(&mut text)
        .map_err(|source| TlsError::Pem { path: path.to_owned(), source })?
        .ok_or_else(|| TlsError::MissingPemItem {
            item: "unencrypted private key",
            path: path.to_owned(),
        })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::File {
        action: "read",
        path: path.to_owned(),
        source,
    })
}
