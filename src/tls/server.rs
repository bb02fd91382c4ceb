//! The server's end: its certificate, and the acceptor of encrypted streams.

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
    CertificateError, DigitallySignedStruct, DistinguishedName, Error as TlsError, ServerConfig,
    SignatureScheme,
};
use tokio_rustls::server::TlsStream;

use super::fingerprint::Fingerprint;
use super::{Error, VERSIONS, pem, provider, selfsigned};

/// The longest certificate that a client may show, in bytes: ours have some 300.
const CERTIFICATE_BYTES: usize = 4 * 1024;

/// A server's certificate, ready for use. Clones share it: one that is read again is read for all.
#[derive(Clone)]
pub struct Identity {
    /// Makes encrypted streams of plain ones.
    pub acceptor: TlsAcceptor,
    folder: PathBuf,
    shown: Arc<Shown>,
}

/// What is shown to those who connect from now on.
struct Shown(RwLock<(Arc<CertifiedKey>, Fingerprint)>);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Shown").field(&self.now().1).finish()
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut identity = f.debug_struct("Identity");
        identity.field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

impl Shown {
    /// Nothing is left half done under this lock: what a panic leaves there is whole.
    fn now(&self) -> (Arc<CertifiedKey>, Fingerprint) {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.now().0)
    }
}

impl Identity {
    /// Reads `cert.pem` and `key.pem` from `folder`, and makes them if neither is there.
    ///
    /// # Errors
    /// A file can't be read, made or understood, or the two don't belong together.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        selfsigned::ensure(folder, &folder.join("cert.pem"), &folder.join("key.pem"))?;
        let shown = Arc::new(Shown(RwLock::new(read(folder)?)));
        let config = config(Arc::new(AnyKey(provider())), Arc::<Shown>::clone(&shown))?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self { acceptor, folder: folder.to_owned(), shown })
    }

    /// What the server's people tell its users, so that they can compare.
    pub fn fingerprint(&self) -> Fingerprint {
        self.shown.now().1
    }

    /// Reads the files again, for those who connect from now on; nobody is disconnected.
    ///
    /// # Errors
    /// As [`Identity::open`]; then what was shown before is shown on.
    pub fn reload(&self) -> Result<(), Error> {
        let read = read(&self.folder)?;
        *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }
}

fn read(folder: &Path) -> Result<(Arc<CertifiedKey>, Fingerprint), Error> {
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    warn_of_readable(&key);
    let chain = pem::certificates(&certificate)?;
    let own = chain.first().ok_or(Error::Anonymous)?;
    let fingerprint = Fingerprint::of(own)?;
    let pair = CertifiedKey::from_der(chain, pem::private_key(&key)?, &provider())
        .map_err(|source| Error::Unusable { certificate, key, source })?;
    Ok((Arc::new(pair), fingerprint))
}

pub(super) fn config(
    verifier: Arc<dyn ClientCertVerifier>,
    shown: Arc<dyn ResolvesServerCert>,
) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(shown);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The SHA-256 of the public key that the client has shown and proved to hold, if it has shown one.
pub fn client_key<IO>(stream: &TlsStream<IO>) -> Option<[u8; 32]> {
    let (_, session) = stream.get_ref();
    let own = session.peer_certificates()?.first()?;
    Fingerprint::of(own).ok().map(Fingerprint::digest)
}

/// Takes any client's certificate, or none; but only from whoever holds its key. Who that is, the
/// server knows by the key alone.
#[derive(Debug)]
pub(super) struct AnyKey(pub(super) Arc<CryptoProvider>);

impl ClientCertVerifier for AnyKey {
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
    ) -> Result<ClientCertVerified, TlsError> {
        match Fingerprint::of(end_entity) {
            Ok(_) if end_entity.len() <= CERTIFICATE_BYTES => Ok(ClientCertVerified::assertion()),
            Ok(_) | Err(_) => Err(CertificateError::BadEncoding.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(TlsError::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn warn_of_readable(key: &Path) {
    let mode = std::fs::metadata(key).map_or(0, |found| found.permissions().mode());
    if mode & 0o077 != 0 {
        tracing::warn!(file = %key.display(), "others can read the server's private key: chmod 600 it");
    }
}
