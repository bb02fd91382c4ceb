//! Export of a client's key to an encrypted file, and import on another machine.
//!
//! The file is PKCS #8 (RFC 5958) in PEM, encrypted with scrypt and AES-256 in parameters that OpenSSL
//! accepts. An import never destroys a key: a replaced key stays next to the new one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pkcs8::der::pem::PemLabel as _;
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::Kdf;
use pkcs8::{EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef, SecretDocument};

use super::client::ClientIdentity;
use super::fingerprint::Fingerprint;
use super::{TlsError, self_signed};
use crate::files;

/// The longest key file that is read, in bytes. Exported keys have about 400.
const MAX_FILE_BYTES: u64 = 64 * 1024;

// Limits of the key derivation that a file may demand. Without them, a malicious file could exhaust
// memory or run for hours before its passphrase is checked.
const MAX_SCRYPT_BYTES: u64 = 1 << 30;
const MAX_SCRYPT_LANES: u16 = 16;
const MAX_PBKDF2_ROUNDS: u32 = 10_000_000;

/// An error of [`export`] or [`import`].
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the field names and the texts say it")]
pub enum KeyFileError {
    /// The client's own key file.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Any other file cannot be read or written.
    #[error("cannot {action} {}: {source}", file.display())]
    File { action: &'static str, file: PathBuf, source: io::Error },
    /// The target of an export exists. It is not overwritten, since it may hold another key.
    #[error("{} already exists: choose another file", .0.display())]
    Exists(PathBuf),
    /// The file is not an encrypted private key in PEM.
    #[error("{} is not a key exported by `chat key export` ({detail})", file.display())]
    NotExportedKey { file: PathBuf, detail: String },
    /// The file cannot be decrypted.
    #[error("wrong passphrase for {}, or the file is damaged", .0.display())]
    WrongPassphrase(PathBuf),
    /// Another key is installed, and `replace` is not set.
    #[error(
        "{} already holds another key, {present}: use --replace to install {imported} (the old key is kept)",
        file.display()
    )]
    OtherKeyPresent { file: PathBuf, present: Fingerprint, imported: Fingerprint },
    /// The key cannot be encoded or encrypted.
    #[error("cannot export this key: {0}")]
    Export(#[source] pkcs8::Error),
}

/// The result of an [`import`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportOutcome {
    /// There was no key before.
    New,
    /// The same key was already installed.
    Unchanged,
    /// Another key was replaced, and is now in this file.
    Replaced(PathBuf),
}

/// Writes the key to a new file with mode 0600, encrypted with `passphrase`.
///
/// # Errors
/// The file exists or cannot be written, or the key cannot be encrypted.
pub fn export(own: &ClientIdentity, file: &Path, passphrase: &str) -> Result<(), KeyFileError> {
    let encrypted = PrivateKeyInfoRef::try_from(own.key.secret_der())
        .and_then(|key| key.encrypt_with_rng(&mut rand::rng(), passphrase))
        .map_err(KeyFileError::Export)?;
    let text = encrypted
        .to_pem(EncryptedPrivateKeyInfoRef::PEM_LABEL, LineEnding::LF)
        .map_err(|error| KeyFileError::Export(error.into()))?;
    files::create_new(file, 0o600, text.as_bytes()).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists(file.to_owned()),
        _ => KeyFileError::File { action: "write", file: file.to_owned(), source },
    })
}

/// Decrypts the key in `from` and installs it as `file`. If `file` holds another key, it is replaced only
/// if `replace` is set.
///
/// # Errors
/// See [`KeyFileError`]. On error, no key is changed.
pub fn import(
    from: &Path,
    passphrase: &str,
    file: &Path,
    replace: bool,
) -> Result<(ClientIdentity, ImportOutcome), KeyFileError> {
    let text = decrypt(from, passphrase)?;
    let imported = ClientIdentity::from_pem(&text, from)?;
    let file_error = |action, source| KeyFileError::File { action, file: file.to_owned(), source };
    let _lock = self_signed::lock(file.parent().unwrap_or_else(|| Path::new(".")))?;
    let mut outcome = ImportOutcome::New;
    if file.exists() {
        let present = ClientIdentity::open(file)?.fingerprint;
        if present == imported.fingerprint {
            return Ok((imported, ImportOutcome::Unchanged));
        }
        if !replace {
            let (file, imported) = (file.to_owned(), imported.fingerprint);
            return Err(KeyFileError::OtherKeyPresent { file, present, imported });
        }
        let old = file.with_extension(format!("{}.pem", present.to_url_safe()));
        match fs::hard_link(file, &old) {
            // A file of this name holds the same key: the name contains its fingerprint.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(file_error("back up", error));
            }
            Ok(()) | Err(_) => outcome = ImportOutcome::Replaced(old),
        }
    }
    files::replace(file, 0o600, text.as_bytes()).map_err(|source| file_error("write", source))?;
    Ok((imported, outcome))
}

fn decrypt(file: &Path, passphrase: &str) -> Result<String, KeyFileError> {
    let read_error = |source| KeyFileError::File { action: "read", file: file.to_owned(), source };
    let not_exported_key = |detail: &dyn std::fmt::Display| KeyFileError::NotExportedKey {
        file: file.to_owned(),
        detail: detail.to_string(),
    };
    let size = fs::metadata(file).map_err(read_error)?.len();
    if size > MAX_FILE_BYTES {
        return Err(not_exported_key(&"the file is too long"));
    }
    let text = fs::read_to_string(file).map_err(read_error)?;
    let (label, document) =
        SecretDocument::from_pem(&text).map_err(|error| not_exported_key(&error))?;
    if label != EncryptedPrivateKeyInfoRef::PEM_LABEL {
        return Err(not_exported_key(&format!("it is a {label}")));
    }
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
        .map_err(|error| not_exported_key(&error))?;
    if !kdf_cost_is_acceptable(&encrypted.encryption_algorithm) {
        return Err(not_exported_key(&"its key derivation needs too much memory or time"));
    }
    let key = encrypted
        .decrypt(passphrase)
        .map_err(|_error| KeyFileError::WrongPassphrase(file.to_owned()))?;
    let pem = key.to_pem(PrivateKeyInfoRef::PEM_LABEL, LineEnding::LF);
    Ok(pem.map_err(|error| not_exported_key(&error))?.to_string())
}

/// Whether the key derivation stays within the limits on memory and time.
fn kdf_cost_is_acceptable(scheme: &EncryptionScheme) -> bool {
    let EncryptionScheme::Pbes2(parameters) = scheme else { return false };
    match &parameters.kdf {
        Kdf::Scrypt(scrypt) => {
            let block = 128 * u64::from(scrypt.block_size);
            let bytes = scrypt.cost_parameter.checked_mul(block);
            bytes.is_some_and(|bytes| bytes <= MAX_SCRYPT_BYTES)
                && scrypt.parallelization <= MAX_SCRYPT_LANES
        }
        Kdf::Pbkdf2(pbkdf2) => pbkdf2.iteration_count <= MAX_PBKDF2_ROUNDS,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct KeyFolder(tempfile::TempDir);

    impl KeyFolder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn key(&self) -> PathBuf {
            self.0.path().join("client/id.pem")
        }

        fn open(&self) -> ClientIdentity {
            ClientIdentity::open(&self.key()).unwrap()
        }

        fn import(
            &self,
            from: &Path,
            passphrase: &str,
            replace: bool,
        ) -> Result<ImportOutcome, KeyFileError> {
            import(from, passphrase, &self.key(), replace).map(|(_, outcome)| outcome)
        }
    }

    #[test]
    fn exported_key_can_be_imported_and_replaced_key_is_kept() {
        let (source, target) = (KeyFolder::new(), KeyFolder::new());
        let file = source.0.path().join("exported");
        let own = source.open();
        export(&own, &file, "correct horse").unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), "{text}");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(export(&own, &file, "other"), Err(KeyFileError::Exists(_))));

        let wrong = target.import(&file, "battery staple", false).unwrap_err();
        assert!(matches!(wrong, KeyFileError::WrongPassphrase(_)), "{wrong}");
        assert!(!target.key().exists());
        assert_eq!(target.import(&file, "correct horse", false).unwrap(), ImportOutcome::New);
        assert_eq!(target.open().fingerprint, own.fingerprint);
        assert_eq!(target.import(&file, "correct horse", false).unwrap(), ImportOutcome::Unchanged);

        let third = KeyFolder::new();
        let old = third.open().fingerprint;
        let error = third.import(&file, "correct horse", false).unwrap_err().to_string();
        assert!(error.contains("--replace") && error.contains(&old.to_string()), "{error}");
        assert_eq!(third.open().fingerprint, old);
        let ImportOutcome::Replaced(kept) = third.import(&file, "correct horse", true).unwrap()
        else {
            panic!("the old key was not replaced");
        };
        assert_eq!(third.open().fingerprint, own.fingerprint);
        assert_eq!(ClientIdentity::open(&kept).unwrap().fingerprint, old);
        assert_eq!(fs::metadata(third.key()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn invalid_key_file_is_refused_and_nothing_changes() {
        let home = KeyFolder::new();
        let own = home.open();
        let file = home.0.path().join("file");
        let good = home.0.path().join("good");
        export(&own, &good, "pass").unwrap();
        let good = fs::read_to_string(&good).unwrap();
        let plain = fs::read_to_string(home.key()).unwrap();
        let cut: String = good.lines().take(2).collect();
        for text in ["", "nonsense", &plain, &cut, &"x".repeat(70_000)] {
            fs::write(&file, text).unwrap();
            let error = home.import(&file, "pass", true).unwrap_err();
            assert!(matches!(error, KeyFileError::NotExportedKey { .. }), "{error}");
        }
        assert_eq!(home.open().fingerprint, own.fingerprint);
    }

    #[test]
    fn key_derivation_cost_is_limited() {
        use pkcs8::pkcs5::pbes2::{Parameters, Pbkdf2Params, ScryptParams};
        let salt = [0; 16];
        let is_acceptable = |kdf| {
            let scheme = Parameters::generate_pbkdf2_sha256_aes256cbc(1, &salt, [0; 16]).unwrap();
            kdf_cost_is_acceptable(&Parameters { kdf, ..scheme }.into())
        };
        let pbkdf2 =
            |rounds| is_acceptable(Pbkdf2Params::hmac_sha256(rounds, &salt).unwrap().into());
        assert!(pbkdf2(600_000) && !pbkdf2(MAX_PBKDF2_ROUNDS + 1));
        let scrypt = |cost_parameter, block_size, parallelization| {
            let salt = salt.as_slice().try_into().unwrap();
            let key_length = None;
            is_acceptable(
                ScryptParams { salt, cost_parameter, block_size, parallelization, key_length }
                    .into(),
            )
        };
        assert!(scrypt(1 << 14, 8, 1) && scrypt(1 << 20, 8, 1));
        assert!(!scrypt(1 << 21, 8, 1) && !scrypt(u64::MAX, u16::MAX, 1) && !scrypt(2, 8, 17));
    }
}
