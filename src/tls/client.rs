//! The client's end of an encrypted stream, and the client's key.
//!
//! A client trusts a server in one of two ways: [`connect_unverified`] returns the [`Fingerprint`] of the
//! server's key, which the caller must check; [`connect_verified`] checks the certificate's name,
//! validity and issuer against [`Authorities`]. In both, the client may present its own key, by which
//! servers recognize it.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ED25519};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{Resumption, WebPkiServerVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error as RustlsError, SignatureScheme,
};

use super::authorities::Authorities;
use super::fingerprint::Fingerprint;
use super::{TlsError, VERSIONS, pem, provider, self_signed};
use crate::files;

/// A client's key, by which servers recognize it, and a self-signed certificate for it.
pub struct ClientIdentity {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: PrivateKeyDer<'static>,
    /// The fingerprint of the key.
    pub fingerprint: Fingerprint,
}

impl std::fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientIdentity")
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

impl ClientIdentity {
    /// Reads the key in `file`, or creates it with mode 0600 if the file is missing. Concurrent calls get
    /// the same key.
    ///
    /// # Errors
    /// The file cannot be read or created, is not a private key, or is readable by other users.
    pub fn open(file: &Path) -> Result<Self, TlsError> {
        let file_error = |action, source| TlsError::File { action, path: file.to_owned(), source };
        if !file.exists() {
            let _lock = self_signed::lock(file.parent().unwrap_or_else(|| Path::new(".")))?;
            if !file.exists() {
                let new = KeyPair::generate_for(&PKCS_ED25519)
                    .map_err(|source| TlsError::Generate { path: file.to_owned(), source })?;
                files::replace(file, 0o600, new.serialize_pem().as_bytes())
                    .map_err(|source| file_error("create", source))?;
            }
        }
        let metadata = fs::metadata(file).map_err(|source| file_error("read", source))?;
        if metadata.mode() & 0o077 != 0 {
            return Err(TlsError::KeyReadableByOthers(file.to_owned()));
        }
        let text = fs::read_to_string(file).map_err(|source| file_error("read", source))?;
        Self::from_pem(&text, file)
    }

    /// The identity for a private key in PEM. `file` is named in errors.
    pub(super) fn from_pem(text: &str, file: &Path) -> Result<Self, TlsError> {
        let key = pem::private_key_in(text.as_bytes(), file)?;
        let certificate = self_signed_certificate(text)
            .map_err(|source| TlsError::Generate { path: file.to_owned(), source })?;
        let fingerprint = Fingerprint::of_certificate(&certificate)?;
        Ok(Self { certificate, key, fingerprint })
    }
}

fn self_signed_certificate(key: &str) -> Result<CertificateDer<'static>, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "chat client");
    Ok(params.self_signed(&KeyPair::from_pem(key)?)?.into())
}

/// Encrypts `stream` and returns the fingerprint of the server's key. The key is not trusted yet: the
/// caller must check the fingerprint before it sends anything.
///
/// The certificate's name, validity and issuer are ignored. `host` is sent to the server as SNI.
///
/// # Errors
/// The server does not support TLS 1.3, or does not hold the key of its certificate.
pub async fn connect_unverified<IO>(
    host: &str,
    stream: IO,
    identity: Option<&ClientIdentity>,
) -> Result<(TlsStream<IO>, Fingerprint), TlsError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    // A host that is not a valid DNS name (because of a `_`, for example) still works: the name is not
    // verified.
    let name = ServerName::try_from(host.to_owned())
        .unwrap_or_else(|_| ServerName::IpAddress(Ipv4Addr::LOCALHOST.into()));
    handshake(name, stream, config(Arc::new(AnyServerCert(provider())), identity)?).await
}

/// Encrypts `stream`, and verifies that the server has a valid certificate for `host` from one of
/// `authorities`.
///
/// # Errors
/// Like [`connect_unverified`], and [`TlsError::Untrusted`] if the certificate is not valid.
pub async fn connect_verified<IO>(
    host: &str,
    stream: IO,
    identity: Option<&ClientIdentity>,
    authorities: &Authorities,
) -> Result<(TlsStream<IO>, Fingerprint), TlsError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_invalid| TlsError::InvalidServerName(host.to_owned()))?;
    let verifier: Arc<dyn ServerCertVerifier> = Arc::<WebPkiServerVerifier>::clone(&authorities.0);
    let connected = handshake(name, stream, config(verifier, identity)?).await;
    connected.map_err(|error| match &error {
        TlsError::Handshake(source) => {
            match source.get_ref().and_then(|cause| cause.downcast_ref()) {
                Some(cause @ RustlsError::InvalidCertificate(_)) => {
                    TlsError::Untrusted(cause.clone())
                }
                Some(_) | None => error,
            }
        }
        _ => error,
    })
}

pub(super) fn config(
    verifier: Arc<dyn ServerCertVerifier>,
    identity: Option<&ClientIdentity>,
) -> Result<ClientConfig, TlsError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        Some(own) => {
            config.with_client_auth_cert(vec![own.certificate.clone()], own.key.clone_key())?
        }
        None => config.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    Ok(config)
}

pub(super) async fn handshake<IO>(
    name: ServerName<'static>,
    stream: IO,
    config: ClientConfig,
) -> Result<(TlsStream<IO>, Fingerprint), TlsError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, stream).await.map_err(TlsError::Handshake)?;
    let (_, session) = stream.get_ref();
    let certificate =
        session.peer_certificates().and_then(<[_]>::first).ok_or(TlsError::NoServerCertificate)?;
    let fingerprint = Fingerprint::of_certificate(certificate)?;
    Ok((stream, fingerprint))
}

/// Accepts any server certificate, and verifies that the server holds its key.
#[derive(Debug)]
pub(super) struct AnyServerCert(pub(super) Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServerCert {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        Ok(ServerCertVerified::assertion())
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
