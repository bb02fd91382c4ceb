//! PEM files to certificates and keys: the one file that uses rustls-pemfile.

use std::fs;
use std::path::Path;

use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;

/// All certificates of a file, the server's own first.
///
/// # Errors
/// The file can't be read, is damaged, or has none in it.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let found: Vec<_> = rustls_pemfile::certs(&mut text.as_slice())
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::Pem { path: path.to_owned(), source })?;
    if found.is_empty() {
        return Err(TlsError::MissingPemItem { item: "certificate", path: path.to_owned() });
    }
    Ok(found)
}

/// The first private key of a file: PKCS #8, SEC 1 or PKCS #1, not encrypted.
///
/// # Errors
/// The file can't be read, is damaged, or has none in it.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    private_key_in(&read(path)?, path)
}

/// The same of what has been read of `path` already.
pub(super) fn private_key_in(
    mut text: &[u8],
    path: &Path,
) -> Result<PrivateKeyDer<'static>, TlsError> {
    rustls_pemfile::private_key(&mut text)
        .map_err(|source| TlsError::Pem { path: path.to_owned(), source })?
        .ok_or_else(|| TlsError::MissingPemItem {
            item: "private key without a password",
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
