//! The server's end of an encrypted stream: its certificate and its acceptor.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::{CryptoProvider, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error as RustlsError, ServerConfig,
    SignatureScheme,
};
use tokio_rustls::server::TlsStream;

use super::fingerprint::Fingerprint;
use super::{TlsError, VERSIONS, pem, provider, self_signed};

/// The longest client certificate that is accepted, in bytes. Those of the `chat` client have about 300.
const MAX_CLIENT_CERT_BYTES: usize = 4 * 1024;

/// A server's certificate and key, and the acceptor that uses them. Clones share one certificate, also
/// after a reload.
#[derive(Clone)]
pub struct ServerIdentity {
    /// Performs the server's side of the handshake.
    pub acceptor: TlsAcceptor,
    folder: PathBuf,
    certificate: Arc<ReloadableCert>,
}

/// The certificate for new connections.
struct ReloadableCert(RwLock<(Arc<CertifiedKey>, Fingerprint)>);

impl std::fmt::Debug for ReloadableCert {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ReloadableCert").field(&self.current().1).finish()
    }
}

impl std::fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerIdentity")
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

impl ReloadableCert {
    /// Ignores poisoning: the value is replaced as a whole, so a panic cannot leave it inconsistent.
    fn current(&self) -> (Arc<CertifiedKey>, Fingerprint) {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for ReloadableCert {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current().0)
    }
}

impl ServerIdentity {
    /// Reads `cert.pem` and `key.pem` from `folder`. Creates both if they are missing, or the
    /// certificate if only the key exists.
    ///
    /// # Errors
    /// A file cannot be read, parsed or created, or the certificate and the key do not match.
    pub fn open(folder: &Path) -> Result<Self, TlsError> {
        self_signed::create_if_missing(folder, &folder.join("cert.pem"), &folder.join("key.pem"))?;
        let certificate = Arc::new(ReloadableCert(RwLock::new(load(folder)?)));
        let resolver = Arc::<ReloadableCert>::clone(&certificate);
        let config = config(Arc::new(AnyClientCert(provider())), resolver)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self { acceptor, folder: folder.to_owned(), certificate })
    }

    /// The fingerprint of the server's key, which users compare.
    pub fn fingerprint(&self) -> Fingerprint {
        self.certificate.current().1
    }

    /// Reads the files again and uses them for new connections. Existing connections stay open.
    ///
    /// # Errors
    /// A file cannot be read or parsed, or the certificate and the key do not match. The previous
    /// certificate then stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        let loaded = load(&self.folder)?;
        *self.certificate.0.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(())
    }
}

fn load(folder: &Path) -> Result<(Arc<CertifiedKey>, Fingerprint), TlsError> {
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    warn_if_readable_by_others(&key);
    let chain = pem::certificates(&certificate)?;
    let own = chain.first().ok_or(TlsError::NoServerCertificate)?;
    let fingerprint = Fingerprint::of_certificate(own)?;
    let pair = CertifiedKey::from_der(chain, pem::private_key(&key)?, &provider())
        .map_err(|source| TlsError::UnusableKeyPair { certificate, key, source })?;
    Ok((Arc::new(pair), fingerprint))
}

pub(super) fn config(
    verifier: Arc<dyn ClientCertVerifier>,
    certificate: Arc<dyn ResolvesServerCert>,
) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificate);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    // The server pays for all handshakes, so it chooses the cheapest cipher suite.
    config.ignore_client_order = true;
    Ok(config)
}

/// The SHA-256 of the client's public key, or `None` if the client presented no certificate. The
/// handshake has proved that the client holds the key.
pub fn client_key_hash<IO>(stream: &TlsStream<IO>) -> Option<[u8; 32]> {
    let (_, session) = stream.get_ref();
    let own = session.peer_certificates()?.first()?;
    Fingerprint::of_certificate(own).ok().map(Fingerprint::digest)
}

/// Accepts any client certificate, or none, and verifies that the client holds its key. The server
/// identifies users by their keys, not by anything else in a certificate.
#[derive(Debug)]
pub(super) struct AnyClientCert(pub(super) Arc<CryptoProvider>);

impl ClientCertVerifier for AnyClientCert {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, RustlsError> {
        match Fingerprint::of_certificate(end_entity) {
            Ok(_) if end_entity.len() <= MAX_CLIENT_CERT_BYTES => {
                Ok(ClientCertVerified::assertion())
            }
            Ok(_) | Err(_) => Err(CertificateError::BadEncoding.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        Err(RustlsError::General("TLS 1.2 is not supported".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn warn_if_readable_by_others(key: &Path) {
    let mode = std::fs::metadata(key).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o077 != 0 {
        tracing::warn!(file = %key.display(), "the server's private key is readable by other users: run `chmod 600` on it");
    }
}
