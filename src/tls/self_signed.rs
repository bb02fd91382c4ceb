//! A key and a self-signed certificate of it, made on the first start.
//!
//! Several servers may start at once on the same folder: a lock lets one of them make the files. Each
//! file appears whole or not at all, the key before the certificate. A key without a certificate is
//! kept, since its fingerprint may be known to people already.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};

use super::TlsError;

/// Sees to it that `certificate` and `key` exist in `folder`.
///
/// # Errors
/// A file can't be made, or there is a certificate without its key.
pub(super) fn create_if_missing(
    folder: &Path,
    certificate: &Path,
    key: &Path,
) -> Result<(), TlsError> {
    if certificate.exists() && key.exists() {
        return Ok(());
    }
    let failed = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::File { action: doing, path, source }
    };
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
            write_new(key, 0o600, &new.serialize_pem()).map_err(failed("make", key))?;
        }
        (false, true) => {}
    }
    let text = fs::read_to_string(key).map_err(failed("read", key))?;
    let pem = self_signed(&text).map_err(generate_error(key))?;
    write_new(certificate, 0o644, &pem).map_err(failed("make", certificate))
}

/// Makes the folder, for its owner alone, and waits until nobody else makes files in it. The lock is
/// held for as long as the file is.
///
/// # Errors
/// The folder or the file in it can't be made.
pub(super) fn lock(folder: &Path) -> Result<File, TlsError> {
    let failed = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::File { action: doing, path, source }
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed("make", folder))?;
    let path = folder.join(".lock");
    let lock = File::create(&path).map_err(failed("make", &path))?;
    lock.lock().map_err(failed("lock", &path))?;
    Ok(lock)
}

fn generate_error(key: &Path) -> impl FnOnce(rcgen::Error) -> TlsError {
    let path = key.to_owned();
    move |source| TlsError::Generate { path, source }
}

/// The names are those that work on the server's own machine; our client looks at none of them.
pub(super) fn self_signed(key: &str) -> Result<String, rcgen::Error> {
    let key = KeyPair::from_pem(key)?;
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut wanted = CertificateParams::new(names)?;
    wanted.distinguished_name.push(DnType::CommonName, "chat");
    Ok(wanted.self_signed(&key)?.pem())
}

/// Writes a file that is not there yet; the name appears only once everything is on disk.
pub(super) fn write_new(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension("pem.new");
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    create_new(&unfinished, mode, text)?;
    fs::rename(&unfinished, path)
}

/// Writes a file that must not be there yet; where another begins at the same time, one of them fails.
pub(super) fn create_new(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a key is of no use, and would be in the way of the next attempt.
        drop(fs::remove_file(path));
    }
    written
}
