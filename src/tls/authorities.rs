//! Certificate authorities, from a PEM file or from the operating system.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::{TlsError, pem, provider};

/// A set of trusted certificate authorities, at least one.
#[derive(Debug, Clone)]
pub struct Authorities(pub(super) Arc<WebPkiServerVerifier>);

impl Authorities {
    /// Reads the authorities from a PEM file.
    ///
    /// # Errors
    /// The file cannot be read or parsed, or has no usable certificate.
    pub fn from_file(file: &Path) -> Result<Self, TlsError> {
        Self::new(pem::certificates(file)?)?.ok_or_else(|| TlsError::MissingPemItem {
            item: "usable certificate",
            path: file.to_owned(),
        })
    }

    /// Loads the authorities that the operating system trusts.
    ///
    /// # Errors
    /// [`TlsError::NoAuthorities`] if there are none.
    pub fn from_system() -> Result<Self, TlsError> {
        let native = rustls_native_certs::load_native_certs();
        Self::new(native.certs)?.ok_or_else(|| TlsError::NoAuthorities {
            detail: native.errors.first().map_or_else(String::new, |error| format!(": {error}")),
        })
    }

    fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Option<Self>, TlsError> {
        let mut roots = RootCertStore::empty();
        // System stores contain certificates that webpki cannot parse; they are skipped.
        roots.add_parsable_certificates(certificates);
        if roots.is_empty() {
            return Ok(None);
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
        Ok(Some(Self(
            verifier
                .build()
                .map_err(|error| TlsError::NoAuthorities { detail: format!(": {error}") })?,
        )))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{
        BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd,
    };

    use super::*;
    use crate::tls::client;
    use crate::tls::server::ServerIdentity;

    /// A certificate authority, and a server with certificates from it.
    struct CaFixture {
        folder: tempfile::TempDir,
        issuer: Issuer<'static, KeyPair>,
    }

    impl CaFixture {
        fn new(name: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate().unwrap();
            fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem())
                .unwrap();
            Self { folder, issuer: Issuer::new(params, key) }
        }

        /// Connects to `localhost` at a server whose certificate is for `name` and expires at the start
        /// of `last_year`. Returns the error, if any.
        async fn connect(
            &self,
            name: &str,
            last_year: i32,
            trusted: &Authorities,
        ) -> Option<String> {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new([name.to_owned()]).unwrap();
            params.not_after = date_time_ymd(last_year, 1, 1);
            let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
            fs::write(self.folder.path().join("cert.pem"), certificate).unwrap();
            fs::write(self.folder.path().join("key.pem"), key.serialize_pem()).unwrap();
            let identity = ServerIdentity::open(self.folder.path()).unwrap();
            let (client_end, server_end) = tokio::io::duplex(64 * 1024);
            let (connected, _) = tokio::join!(
                client::connect_verified("localhost", client_end, None, trusted),
                identity.acceptor.accept(server_end)
            );
            let error = connected.err()?;
            assert!(matches!(error, TlsError::Untrusted(_)), "{error}");
            Some(error.to_string())
        }
    }

    #[tokio::test]
    async fn certificate_name_validity_and_issuer_are_checked() {
        let (ca, other_ca) = (CaFixture::new("one"), CaFixture::new("other"));
        let trusted = Authorities::from_file(&ca.folder.path().join("ca.pem")).unwrap();
        assert_eq!(ca.connect("localhost", 4_000, &trusted).await, None);
        for (from, name, year, expected) in [
            (&ca, "localhost", 2_020, "expired"),
            (&ca, "elsewhere", 4_000, "not valid for name \"localhost\""),
            (&other_ca, "localhost", 4_000, "UnknownIssuer"),
        ] {
            let error = from.connect(name, year, &trusted).await.unwrap();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn ca_file_without_certificates_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        for text in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            fs::write(&file, text).unwrap();
            let error = Authorities::from_file(&file).unwrap_err().to_string();
            assert!(error.contains("ca.pem"), "{error}");
        }
    }
}
