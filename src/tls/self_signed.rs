//! Keys and self-signed certificates, created on the first start.
//!
//! Several processes may start in the same folder at the same time; a lock file lets one of them create
//! the files. Each file appears complete or not at all, the key before the certificate. A key without a
//! certificate is kept, because users may already have pinned its fingerprint.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};

use super::TlsError;
use crate::files;

/// Creates `certificate` and `key` in `folder` if they are missing.
///
/// # Errors
/// A file cannot be read or created, or the certificate exists without its key.
pub(super) fn create_if_missing(
    folder: &Path,
    certificate: &Path,
    key: &Path,
) -> Result<(), TlsError> {
    if certificate.exists() && key.exists() {
        return Ok(());
    }
    let _lock = lock(folder)?;
    match (certificate.exists(), key.exists()) {
        (true, true) => return Ok(()),
        (true, false) => {
            return Err(TlsError::KeyMissing {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
            });
        }
        (false, false) => {
            let new =
                KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(generate_error(key))?;
            files::replace(key, 0o600, new.serialize_pem().as_bytes())
                .map_err(file_error("create", key))?;
        }
        (false, true) => {}
    }
    let text = fs::read_to_string(key).map_err(file_error("read", key))?;
    let pem = self_signed(&text).map_err(generate_error(key))?;
    files::replace(certificate, 0o644, pem.as_bytes()).map_err(file_error("create", certificate))
}

/// Creates `folder` with mode 0700 if it is missing, and waits for its lock file. The lock is held until
/// the returned file is dropped.
///
/// # Errors
/// The folder or the lock file cannot be created or locked.
pub(super) fn lock(folder: &Path) -> Result<File, TlsError> {
    files::create_private_folder(folder).map_err(file_error("create", folder))?;
    let path = folder.join(".lock");
    let lock = File::create(&path).map_err(file_error("create", &path))?;
    lock.lock().map_err(file_error("lock", &path))?;
    Ok(lock)
}

fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TlsError {
    let path = path.to_owned();
    move |source| TlsError::File { action, path, source }
}

fn generate_error(key: &Path) -> impl FnOnce(rcgen::Error) -> TlsError {
    let path = key.to_owned();
    move |source| TlsError::Generate { path, source }
}

/// Returns a self-signed certificate for a private key, both in PEM. The subject names are those of the
/// local machine; the `chat` client checks the key only.
pub(super) fn self_signed(key: &str) -> Result<String, rcgen::Error> {
    let key = KeyPair::from_pem(key)?;
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "chat");
    Ok(params.self_signed(&key)?.pem())
}
