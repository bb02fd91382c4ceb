//! A client's key on its way to another machine: encrypted by a passphrase, and put in place there.
//!
//! The form is PKCS #8 (RFC 5958), encrypted by scrypt and AES-256 with the parameters that OpenSSL takes
//! too, as PEM. No key is ever lost: what another takes the place of stays beside it.

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

/// The longest file that is read as a key, in bytes: ours have some 400.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// What a foreign file may ask of this machine before its passphrase is known to be right, so that it
/// does not take all memory or the whole day: 1 GiB of scrypt, ten million rounds of PBKDF2.
const MAX_SCRYPT_BYTES: u64 = 1 << 30;
const MAX_SCRYPT_LANES: u16 = 16;
const MAX_PBKDF2_ROUNDS: u32 = 10_000_000;

/// Why a key did not go or come.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// A key's file.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Any other file.
    #[error("cannot {action} {}: {source}", file.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There may be another key in it.
    #[error("{} is there already: name a file that is not", .0.display())]
    Exists(PathBuf),
    /// What came is no exported key.
    #[error("{} is not a key from `chat key export` ({detail})", file.display())]
    NotExportedKey {
        /// The file.
        file: PathBuf,
        /// Why not.
        detail: String,
    },
    /// It can't be decrypted.
    #[error("this is not the passphrase of {}, or the file is damaged", .0.display())]
    WrongPassphrase(PathBuf),
    /// Whoever has another key here would lose it.
    #[error(
        "{} has another key, {present}: --replace puts {imported} in its place, and keeps the old one beside",
        file.display()
    )]
    OtherKeyPresent {
        /// The file.
        file: PathBuf,
        /// The key in it.
        present: Fingerprint,
        /// The key that is to come.
        imported: Fingerprint,
    },
    /// The key can't be written down.
    #[error("this key can't be exported: {0}")]
    Export(#[source] pkcs8::Error),
}

/// What has become of a key that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportOutcome {
    /// It is the first here.
    New,
    /// It was here.
    Unchanged,
    /// Another was here, which is in this file now.
    Replaced(PathBuf),
}

/// Writes the key to a new file, encrypted.
///
/// # Errors
/// The file is there, or can't be written.
pub fn export(own: &ClientIdentity, file: &Path, passphrase: &str) -> Result<(), KeyFileError> {
    let encrypted = PrivateKeyInfoRef::try_from(own.key.secret_der())
        .and_then(|key| key.encrypt_with_rng(&mut rand::rng(), passphrase))
        .map_err(KeyFileError::Export)?;
    let text = encrypted
        .to_pem(EncryptedPrivateKeyInfoRef::PEM_LABEL, LineEnding::LF)
        .map_err(|error| KeyFileError::Export(error.into()))?;
    self_signed::create_new(file, 0o600, &text).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists(file.to_owned()),
        _ => KeyFileError::File { action: "write", file: file.to_owned(), source },
    })
}

/// Decrypts the key in `from` and makes it the one in `file`, where another stays unless `replace`.
///
/// # Errors
/// See [`KeyFileError`]; nothing is changed then.
pub fn import(
    from: &Path,
    passphrase: &str,
    file: &Path,
    replace: bool,
) -> Result<(ClientIdentity, ImportOutcome), KeyFileError> {
    let text = decrypt(from, passphrase)?;
    let imported = ClientIdentity::from_pem(&text, from)?;
    let failed =
        |doing, source| KeyFileError::File { action: doing, file: file.to_owned(), source };
    let _lock = self_signed::lock(file.parent().unwrap_or_else(|| Path::new(".")))?;
    let mut outcome = ImportOutcome::New;
    if file.exists() {
        let present = ClientIdentity::open(file)?.fingerprint;
        if present == imported.fingerprint {
            return Ok((imported, ImportOutcome::Unchanged));
        }
        if !replace {
            let (file, brings) = (file.to_owned(), imported.fingerprint);
            return Err(KeyFileError::OtherKeyPresent { file, present, imported: brings });
        }
        let old = file.with_extension(format!("{}.pem", present.to_url_safe()));
        match fs::hard_link(file, &old) {
            // Of the same name is the same key.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("keep", error));
            }
            Ok(()) | Err(_) => outcome = ImportOutcome::Replaced(old),
        }
    }
    self_signed::write_new(file, 0o600, &text).map_err(|source| failed("write", source))?;
    Ok((imported, outcome))
}

fn decrypt(file: &Path, passphrase: &str) -> Result<String, KeyFileError> {
    let failed = |source| KeyFileError::File { action: "read", file: file.to_owned(), source };
    let size = fs::metadata(file).map_err(failed)?.len();
    if size > MAX_FILE_BYTES {
        return Err(KeyFileError::NotExportedKey {
            file: file.to_owned(),
            detail: "it is too long".to_owned(),
        });
    }
    let form = |error: &dyn std::fmt::Display| KeyFileError::NotExportedKey {
        file: file.to_owned(),
        detail: error.to_string(),
    };
    let text = fs::read_to_string(file).map_err(failed)?;
    let (label, document) = SecretDocument::from_pem(&text).map_err(|error| form(&error))?;
    if label != EncryptedPrivateKeyInfoRef::PEM_LABEL {
        return Err(form(&format!("a {label}")));
    }
    let encrypted =
        EncryptedPrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|error| form(&error))?;
    if !kdf_cost_is_acceptable(&encrypted.encryption_algorithm) {
        return Err(form(&"it takes too much memory or time"));
    }
    let wrong = |_| KeyFileError::WrongPassphrase(file.to_owned());
    let key = encrypted.decrypt(passphrase).map_err(wrong)?;
    let pem = key.to_pem(PrivateKeyInfoRef::PEM_LABEL, LineEnding::LF);
    Ok(pem.map_err(|error| form(&error))?.to_string())
}

/// Whether trying a passphrase costs what it may.
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
            words: &str,
            replace: bool,
        ) -> Result<ImportOutcome, KeyFileError> {
            import(from, words, &self.key(), replace).map(|(_, import)| import)
        }
    }

    #[test]
    fn exported_key_can_be_imported_and_replaced_key_is_kept() {
        let (here, there) = (KeyFolder::new(), KeyFolder::new());
        let file = here.0.path().join("exported");
        let own = here.open();
        export(&own, &file, "correct horse").unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), "{text}");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(export(&own, &file, "other"), Err(KeyFileError::Exists(_))));

        let wrong = there.import(&file, "battery staple", false).unwrap_err();
        assert!(matches!(wrong, KeyFileError::WrongPassphrase(_)), "{wrong}");
        assert!(!there.key().exists());
        assert_eq!(there.import(&file, "correct horse", false).unwrap(), ImportOutcome::New);
        assert_eq!(there.open().fingerprint, own.fingerprint);
        assert_eq!(there.import(&file, "correct horse", false).unwrap(), ImportOutcome::Unchanged);

        let third = KeyFolder::new();
        let old = third.open().fingerprint;
        let refused = third.import(&file, "correct horse", false).unwrap_err().to_string();
        assert!(refused.contains("--replace") && refused.contains(&old.to_string()), "{refused}");
        assert_eq!(third.open().fingerprint, old);
        let ImportOutcome::Replaced(kept) = third.import(&file, "correct horse", true).unwrap()
        else {
            panic!("there was another");
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
        let asks = |kdf| {
            let scheme = Parameters::generate_pbkdf2_sha256_aes256cbc(1, &salt, [0; 16]).unwrap();
            kdf_cost_is_acceptable(&Parameters { kdf, ..scheme }.into())
        };
        let pbkdf2 = |rounds| asks(Pbkdf2Params::hmac_sha256(rounds, &salt).unwrap().into());
        assert!(pbkdf2(600_000) && !pbkdf2(MAX_PBKDF2_ROUNDS + 1));
        let scrypt = |cost_parameter, block_size, parallelization| {
            let salt = salt.as_slice().try_into().unwrap();
            let key_length = None;
            asks(
                ScryptParams { salt, cost_parameter, block_size, parallelization, key_length }
                    .into(),
            )
        };
        assert!(scrypt(1 << 14, 8, 1) && scrypt(1 << 20, 8, 1));
        assert!(!scrypt(1 << 21, 8, 1) && !scrypt(u64::MAX, u16::MAX, 1) && !scrypt(2, 8, 17));
    }
}
