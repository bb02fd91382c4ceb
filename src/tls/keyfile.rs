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
use super::{Error, selfsigned};

/// The longest file that is read as a key, in bytes: ours have some 400.
const FILE_BYTES: u64 = 64 * 1024;

/// What a foreign file may ask of this machine before its passphrase is known to be right, so that it
/// does not take all memory or the whole day: 1 GiB of scrypt, ten million rounds of PBKDF2.
const SCRYPT_BYTES: u64 = 1 << 30;
const SCRYPT_LANES: u16 = 16;
const PBKDF2_ROUNDS: u32 = 10_000_000;

/// Why a key did not go or come.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A key's file.
    #[error(transparent)]
    Key(#[from] Error),
    /// Any other file.
    #[error("cannot {doing} {}: {source}", file.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There may be another key in it.
    #[error("{} is there already: name a file that is not", .0.display())]
    Exists(PathBuf),
    /// What came is no exported key.
    #[error("{} is not a key from `chat key export` ({why})", file.display())]
    Form {
        /// The file.
        file: PathBuf,
        /// Why not.
        why: String,
    },
    /// It can't be decrypted.
    #[error("this is not the passphrase of {}, or the file is damaged", .0.display())]
    Passphrase(PathBuf),
    /// Whoever has another key here would lose it.
    #[error(
        "{} has another key, {has}: --replace puts {brings} in its place, and keeps the old one beside",
        file.display()
    )]
    Other {
        /// The file.
        file: PathBuf,
        /// The key in it.
        has: Fingerprint,
        /// The key that is to come.
        brings: Fingerprint,
    },
    /// The key can't be written down.
    #[error("this key can't be exported: {0}")]
    Export(#[source] pkcs8::Error),
}

/// What has become of a key that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Import {
    /// It is the first here.
    New,
    /// It was here.
    Same,
    /// Another was here, which is in this file now.
    Replaced(PathBuf),
}

/// Writes the key to a new file, encrypted.
///
/// # Errors
/// The file is there, or can't be written.
pub fn export(own: &ClientIdentity, file: &Path, passphrase: &str) -> Result<(), KeyError> {
    let encrypted = PrivateKeyInfoRef::try_from(own.key.secret_der())
        .and_then(|key| key.encrypt_with_rng(&mut rand::rng(), passphrase))
        .map_err(KeyError::Export)?;
    let text = encrypted
        .to_pem(EncryptedPrivateKeyInfoRef::PEM_LABEL, LineEnding::LF)
        .map_err(|error| KeyError::Export(error.into()))?;
    selfsigned::create_new(file, 0o600, &text).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => KeyError::Exists(file.to_owned()),
        _ => KeyError::File { doing: "write", file: file.to_owned(), source },
    })
}

/// Decrypts the key in `from` and makes it the one in `file`, where another stays unless `replace`.
///
/// # Errors
/// See [`KeyError`]; nothing is changed then.
pub fn import(
    from: &Path,
    passphrase: &str,
    file: &Path,
    replace: bool,
) -> Result<(ClientIdentity, Import), KeyError> {
    let text = decrypt(from, passphrase)?;
    let comes = ClientIdentity::of(&text, from)?;
    let failed = |doing, source| KeyError::File { doing, file: file.to_owned(), source };
    let _lock = selfsigned::lock(file.parent().unwrap_or_else(|| Path::new(".")))?;
    let mut import = Import::New;
    if file.exists() {
        let has = ClientIdentity::open(file)?.fingerprint;
        if has == comes.fingerprint {
            return Ok((comes, Import::Same));
        }
        if !replace {
            let (file, brings) = (file.to_owned(), comes.fingerprint);
            return Err(KeyError::Other { file, has, brings });
        }
        let old = file.with_extension(format!("{}.pem", has.in_link()));
        match fs::hard_link(file, &old) {
            // Of the same name is the same key.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("keep", error));
            }
            Ok(()) | Err(_) => import = Import::Replaced(old),
        }
    }
    selfsigned::write_new(file, 0o600, &text).map_err(|source| failed("write", source))?;
    Ok((comes, import))
}

fn decrypt(file: &Path, passphrase: &str) -> Result<String, KeyError> {
    let failed = |source| KeyError::File { doing: "read", file: file.to_owned(), source };
    let size = fs::metadata(file).map_err(failed)?.len();
    if size > FILE_BYTES {
        return Err(KeyError::Form { file: file.to_owned(), why: "it is too long".to_owned() });
    }
    let form = |error: &dyn std::fmt::Display| KeyError::Form {
        file: file.to_owned(),
        why: error.to_string(),
    };
    let text = fs::read_to_string(file).map_err(failed)?;
    let (label, document) = SecretDocument::from_pem(&text).map_err(|error| form(&error))?;
    if label != EncryptedPrivateKeyInfoRef::PEM_LABEL {
        return Err(form(&format!("a {label}")));
    }
    let encrypted =
        EncryptedPrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|error| form(&error))?;
    if !is_bearable(&encrypted.encryption_algorithm) {
        return Err(form(&"it takes too much memory or time"));
    }
    let wrong = |_| KeyError::Passphrase(file.to_owned());
    let key = encrypted.decrypt(passphrase).map_err(wrong)?;
    let pem = key.to_pem(PrivateKeyInfoRef::PEM_LABEL, LineEnding::LF);
    Ok(pem.map_err(|error| form(&error))?.to_string())
}

/// Whether trying a passphrase costs what it may.
fn is_bearable(scheme: &EncryptionScheme) -> bool {
    let EncryptionScheme::Pbes2(parameters) = scheme else { return false };
    match &parameters.kdf {
        Kdf::Scrypt(scrypt) => {
            let block = 128 * u64::from(scrypt.block_size);
            let bytes = scrypt.cost_parameter.checked_mul(block);
            bytes.is_some_and(|bytes| bytes <= SCRYPT_BYTES)
                && scrypt.parallelization <= SCRYPT_LANES
        }
        Kdf::Pbkdf2(pbkdf2) => pbkdf2.iteration_count <= PBKDF2_ROUNDS,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct Home(tempfile::TempDir);

    impl Home {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn key(&self) -> PathBuf {
            self.0.path().join("client/id.pem")
        }

        fn open(&self) -> ClientIdentity {
            ClientIdentity::open(&self.key()).unwrap()
        }

        fn import(&self, from: &Path, words: &str, replace: bool) -> Result<Import, KeyError> {
            import(from, words, &self.key(), replace).map(|(_, import)| import)
        }
    }

    #[test]
    fn a_key_moves_with_its_passphrase_and_none_is_ever_lost() {
        let (here, there) = (Home::new(), Home::new());
        let file = here.0.path().join("exported");
        let own = here.open();
        export(&own, &file, "correct horse").unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), "{text}");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(export(&own, &file, "other"), Err(KeyError::Exists(_))));

        let wrong = there.import(&file, "battery staple", false).unwrap_err();
        assert!(matches!(wrong, KeyError::Passphrase(_)), "{wrong}");
        assert!(!there.key().exists());
        assert_eq!(there.import(&file, "correct horse", false).unwrap(), Import::New);
        assert_eq!(there.open().fingerprint, own.fingerprint);
        assert_eq!(there.import(&file, "correct horse", false).unwrap(), Import::Same);

        let third = Home::new();
        let old = third.open().fingerprint;
        let refused = third.import(&file, "correct horse", false).unwrap_err().to_string();
        assert!(refused.contains("--replace") && refused.contains(&old.to_string()), "{refused}");
        assert_eq!(third.open().fingerprint, old);
        let Import::Replaced(kept) = third.import(&file, "correct horse", true).unwrap() else {
            panic!("there was another");
        };
        assert_eq!(third.open().fingerprint, own.fingerprint);
        assert_eq!(ClientIdentity::open(&kept).unwrap().fingerprint, old);
        assert_eq!(fs::metadata(third.key()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_no_exported_key_is_refused_and_costs_nothing() {
        let home = Home::new();
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
            assert!(matches!(error, KeyError::Form { .. }), "{error}");
        }
        assert_eq!(home.open().fingerprint, own.fingerprint);
    }

    #[test]
    fn a_file_cannot_ask_for_all_memory_or_the_whole_day() {
        use pkcs8::pkcs5::pbes2::{Parameters, Pbkdf2Params, ScryptParams};
        let salt = [0; 16];
        let asks = |kdf| {
            let scheme = Parameters::generate_pbkdf2_sha256_aes256cbc(1, &salt, [0; 16]).unwrap();
            is_bearable(&Parameters { kdf, ..scheme }.into())
        };
        let pbkdf2 = |rounds| asks(Pbkdf2Params::hmac_sha256(rounds, &salt).unwrap().into());
        assert!(pbkdf2(600_000) && !pbkdf2(PBKDF2_ROUNDS + 1));
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
