//! Fingerprints of public keys, and SHA-256.
//!
//! A fingerprint is computed from the key, not from the certificate, so a renewed certificate keeps it.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::TlsError;

/// The SHA-256 of a public key (the `SubjectPublicKeyInfo` of its certificate). It is displayed as in
/// SSH: `SHA256:` and base64 without padding.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of the key in `certificate`.
    ///
    /// # Errors
    /// [`TlsError::InvalidCertificate`] if this is not an X.509 certificate.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, TlsError> {
        let key = webpki::EndEntityCert::try_from(certificate)?.subject_public_key_info();
        Ok(Self(sha256(&key)))
    }
}

/// A malformed fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is `SHA256:` and 43 characters of base64, or 43 of URL-safe base64")]
pub struct FingerprintError;

/// The SHA-256 of `bytes` as 64 hexadecimal digits, safe as a file name.
pub fn sha256_hex(bytes: &[u8]) -> String {
    let nibbles = sha256(bytes).into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.filter_map(|nibble| char::from_digit(nibble.into(), 16)).collect()
}

/// The SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; digest::SHA256_OUTPUT_LEN] {
    let mut hash = [0; digest::SHA256_OUTPUT_LEN];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

impl Fingerprint {
    /// The fingerprint with this digest.
    pub fn from_digest(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The SHA-256 digest.
    pub fn digest(self) -> [u8; 32] {
        self.0
    }

    /// The digest in URL-safe base64, for links and file names.
    pub fn to_url_safe(self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.0)
    }
}

/// Parses both encodings. Surrounding white space and padding are ignored.
impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let text = text.trim();
        let digits = text.strip_prefix("SHA256:").unwrap_or(text).trim_end_matches('=');
        let digest = BASE64_STANDARD_NO_PAD.decode(digits.replace('-', "+").replace('_', "/"));
        digest.ok().and_then(|digest| digest.try_into().ok()).map(Self).ok_or(FingerprintError)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", BASE64_STANDARD_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_matches_test_vectors() {
        // FIPS 180-4, examples of NIST.
        for (input, hash) in [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ] {
            assert_eq!(sha256_hex(input.as_bytes()), hash, "{input:?}");
        }
    }

    #[test]
    fn fingerprint_parses_both_encodings() {
        let fingerprint = Fingerprint([0xfb; 32]);
        let shown = fingerprint.to_string();
        for text in [&shown, &format!(" {shown}=\n"), &fingerprint.to_url_safe()] {
            assert_eq!(text.parse(), Ok(fingerprint), "{text:?}");
        }
        for wrong in ["", "SHA256:", "SHA1:abc", shown.split_at(49).0, &format!("{shown}A")] {
            assert_eq!(wrong.parse::<Fingerprint>(), Err(FingerprintError), "{wrong:?}");
        }
    }
}
