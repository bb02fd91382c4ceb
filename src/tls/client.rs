//! The client's end: an encrypted stream, and the fingerprint of the key at its other end.
//!
//! The server proves that it holds its certificate's key. Whether that key is the right one is for the
//! caller to say, who has the [`Fingerprint`]; names, dates and issuers are not looked at. The client
//! shows a key of its own, by which a server knows it again.

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

/// The key by which servers know a client again, with a certificate that says nothing else.
pub struct ClientIdentity {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: PrivateKeyDer<'static>,
    /// What servers know the client by.
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
    /// Reads the key in `file`; makes it, for its owner alone, if there is none. Several may do so at
    /// once: all get the same key.
    ///
    /// # Errors
    /// The file can't be read or made, is no private key, or others may read it, too. It is then left as
    /// it is.
    pub fn open(file: &Path) -> Result<Self, TlsError> {
        let failed = |action, source| TlsError::File { action, path: file.to_owned(), source };
        let made = |source| TlsError::Generate { path: file.to_owned(), source };
        if !file.exists() {
            let _lock = self_signed::lock(file.parent().unwrap_or_else(|| Path::new(".")))?;
            if !file.exists() {
                let new = KeyPair::generate_for(&PKCS_ED25519).map_err(made)?;
                self_signed::write_new(file, 0o600, &new.serialize_pem())
                    .map_err(|source| failed("make", source))?;
            }
        }
        let found = fs::metadata(file).map_err(|source| failed("read", source))?;
        if found.mode() & 0o077 != 0 {
            return Err(TlsError::KeyReadableByOthers(file.to_owned()));
        }
        let text = fs::read_to_string(file).map_err(|source| failed("read", source))?;
        Self::from_pem(&text, file)
    }

    /// The identity of a key in PEM, which came from `file`.
    pub(super) fn from_pem(text: &str, file: &Path) -> Result<Self, TlsError> {
        let key = pem::private_key_in(text.as_bytes(), file)?;
        let certificate = self_signed_certificate(text)
            .map_err(|source| TlsError::Generate { path: file.to_owned(), source })?;
        let fingerprint = Fingerprint::of_certificate(&certificate)?;
        Ok(Self { certificate, key, fingerprint })
    }
}

fn self_signed_certificate(key: &str) -> Result<CertificateDer<'static>, rcgen::Error> {
    let mut wanted = CertificateParams::new(Vec::new())?;
    wanted.distinguished_name.push(DnType::CommonName, "chat client");
    Ok(wanted.self_signed(&KeyPair::from_pem(key)?)?.into())
}

/// Encrypts `stream`, which leads to `host`, and shows `identity` to whoever is there. Whether its key
/// is the right one is left to the caller, who says nothing before it knows.
///
/// # Errors
/// The other side does not speak TLS 1.3, or can't prove that it holds its certificate's key.
pub async fn connect_unverified<IO>(
    host: &str,
    stream: IO,
    identity: Option<&ClientIdentity>,
) -> Result<(TlsStream<IO>, Fingerprint), TlsError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    // What can't be a name (`_` in it, say) is not worth failing for: the name is not looked at.
    let name = ServerName::try_from(host.to_owned())
        .unwrap_or_else(|_| ServerName::IpAddress(Ipv4Addr::LOCALHOST.into()));
    handshake(name, stream, config(Arc::new(AnyServerCert(provider())), identity)?).await
}

/// Encrypts `stream`, and makes sure that the other side is `host`: one of the authorities says so.
///
/// # Errors
/// As [`connect`], and [`Error::Untrusted`] if nobody says so.
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
        TlsError::Handshake(broken) => match broken.get_ref().and_then(|why| why.downcast_ref()) {
            Some(why @ RustlsError::InvalidCertificate(_)) => TlsError::Untrusted(why.clone()),
            Some(_) | None => error,
        },
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
    let own =
        session.peer_certificates().and_then(<[_]>::first).ok_or(TlsError::NoServerCertificate)?;
    let fingerprint = Fingerprint::of_certificate(own)?;
    Ok((stream, fingerprint))
}

/// Takes any certificate, but only from whoever holds its key.
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
        Err(RustlsError::General("TLS 1.2 is not spoken here".to_owned()))
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
