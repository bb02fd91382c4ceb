//! The short name of a public key, as people compare it.
//!
//! Of the key and not of the certificate, so that a renewed certificate keeps it.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use tokio_rustls::rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::TlsError;

/// SHA-256 of a certificate's public key (its `SubjectPublicKeyInfo`), shown as ssh shows a key's:
/// `SHA256:` and base64 without padding.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of the key in `certificate`.
    ///
    /// # Errors
    /// It is not an X.509 certificate.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, TlsError> {
        let key = webpki::EndEntityCert::try_from(certificate)?.subject_public_key_info();
        Ok(Self(sha256(&key)))
    }
}

/// A text that is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("SHA256: and 43 letters, digits, + or /; or 43 letters, digits, - or _")]
pub struct FingerprintError;

/// SHA-256 in hexadecimal digits: a file name that is safe, whatever was hashed.
pub fn sha256_hex(bytes: &[u8]) -> String {
    let nibbles = sha256(bytes).into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.filter_map(|nibble| char::from_digit(nibble.into(), 16)).collect()
}

/// SHA-256, by the library that encrypts.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    if let Some(suite) = TLS13_AES_128_GCM_SHA256.tls13() {
        digest.copy_from_slice(suite.common.hash_provider.hash(bytes).as_ref());
    }
    digest
}

impl Fingerprint {
    /// The fingerprint that is this digest.
    pub fn from_digest(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The digest itself.
    pub fn digest(self) -> [u8; 32] {
        self.0
    }

    /// As it stands in a link, where `+` and `/` would mean something else.
    pub fn to_url_safe(self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.0)
    }
}

/// Reads both forms, with the spaces and the padding that people copy along.
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
