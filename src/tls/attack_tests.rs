//! Attacks on the handshake: stolen certificates, replayed signatures, session tickets and TLS 1.2.
//!
//! Each attack has a control, in which a deliberately broken verifier or configuration lets it succeed.

use std::sync::{Arc, Mutex};

use rcgen::KeyPair;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{ResolvesClientCert, Resumption};
use tokio_rustls::rustls::crypto::aws_lc_rs::sign::any_supported_type;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache};
use tokio_rustls::rustls::sign::{CertifiedKey, Signer, SigningKey};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error as RustlsError, HandshakeKind,
    ServerConfig, SignatureAlgorithm, SignatureScheme,
};

use super::client::AnyServerCert;
use super::fingerprint::Fingerprint;
use super::server::{AnyClientCert, client_key_hash};
use super::{client, provider, self_signed, server};

/// A broken verifier that accepts every signature.
#[derive(Debug)]
struct SkipsSignatureCheck<V>(V);

impl ServerCertVerifier for SkipsSignatureCheck<AnyServerCert> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        self.0.verify_server_cert(end_entity, rest, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        ServerCertVerifier::verify_tls12_signature(&self.0, message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ServerCertVerifier::supported_verify_schemes(&self.0)
    }
}

impl ClientCertVerifier for SkipsSignatureCheck<AnyClientCert> {
    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, RustlsError> {
        self.0.verify_client_cert(end_entity, rest, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        ClientCertVerifier::verify_tls12_signature(&self.0, message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ClientCertVerifier::supported_verify_schemes(&self.0)
    }
}

/// Presents a certificate with a key that may not belong to it.
#[derive(Debug)]
struct FixedCert(Arc<CertifiedKey>);

impl ResolvesServerCert for FixedCert {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

impl ResolvesClientCert for FixedCert {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Signs once and repeats that signature, like an attacker who recorded a handshake.
#[derive(Debug, Clone)]
struct ReplayingKey(Arc<dyn SigningKey>, Arc<Mutex<Option<Vec<u8>>>>);

impl SigningKey for ReplayingKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let real = self.0.choose_scheme(offered)?;
        Some(Box::new(ReplayingSigner(real, Arc::clone(&self.1))))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

#[derive(Debug)]
struct ReplayingSigner(Box<dyn Signer>, Arc<Mutex<Option<Vec<u8>>>>);

impl Signer for ReplayingSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, RustlsError> {
        let mut recorded = self.1.lock().unwrap();
        match &*recorded {
            Some(signature) => Ok(signature.clone()),
            None => Ok(recorded.insert(self.0.sign(message)?).clone()),
        }
    }

    fn scheme(&self) -> SignatureScheme {
        self.0.scheme()
    }
}

fn signing_key(pair: &KeyPair) -> Arc<dyn SigningKey> {
    any_supported_type(&PrivateKeyDer::try_from(pair.serialize_der()).unwrap()).unwrap()
}

/// The certificate of one key, presented with another key.
fn cert_with_key(certificate_of: &KeyPair, key: Arc<dyn SigningKey>) -> Arc<FixedCert> {
    let pem = self_signed::self_signed(&certificate_of.serialize_pem()).unwrap();
    let certificate = rustls_pemfile::certs(&mut pem.as_bytes()).next().unwrap().unwrap();
    Arc::new(FixedCert(Arc::new(CertifiedKey::new(vec![certificate], key))))
}

fn fingerprint(cert: &FixedCert) -> Fingerprint {
    Fingerprint::of_certificate(&cert.0.cert[0]).unwrap()
}

fn strict_verifiers() -> (Arc<dyn ServerCertVerifier>, Arc<dyn ClientCertVerifier>) {
    (Arc::new(AnyServerCert(provider())), Arc::new(AnyClientCert(provider())))
}

fn broken_verifiers() -> (Arc<dyn ServerCertVerifier>, Arc<dyn ClientCertVerifier>) {
    (
        Arc::new(SkipsSignatureCheck(AnyServerCert(provider()))),
        Arc::new(SkipsSignatureCheck(AnyClientCert(provider()))),
    )
}

#[derive(Debug, PartialEq, Eq)]
struct HandshakeRefused;

/// The key of the peer as seen by each side.
#[derive(Debug)]
struct HandshakeResult {
    /// As seen by the client; `None` if the client refused the server.
    server: Option<Fingerprint>,
    /// As seen by the server.
    client: Result<Option<[u8; 32]>, HandshakeRefused>,
    kind: Option<HandshakeKind>,
}

async fn handshake(client: &ClientConfig, server: &Arc<ServerConfig>) -> HandshakeResult {
    let (client_end, server_end) = tokio::io::duplex(64 * 1024);
    let name = ServerName::try_from("localhost").unwrap();
    let client_side = async {
        let (mut stream, fingerprint) =
            client::handshake(name, client_end, client.clone()).await.ok()?;
        // The client processes session tickets on its next read after the handshake.
        let mut byte = [0];
        drop(stream.read(&mut byte).await);
        Some((fingerprint, stream.get_ref().1.handshake_kind()))
    };
    let server_side = async {
        let mut stream = TlsAcceptor::from(Arc::clone(server))
            .accept(server_end)
            .await
            .map_err(|_error| HandshakeRefused)?;
        stream.write_all(b"x").await.unwrap();
        Ok(client_key_hash(&stream))
    };
    let (connected, client) = tokio::join!(client_side, server_side);
    HandshakeResult {
        server: connected.map(|(fingerprint, _)| fingerprint),
        client,
        kind: connected.and_then(|(_, kind)| kind),
    }
}

#[tokio::test]
async fn stolen_server_certificate_is_refused() {
    let (bob, eve) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let stolen = cert_with_key(&bob, signing_key(&eve));
    for ((server_verifier, client_verifier), succeeds) in
        [(strict_verifiers(), false), (broken_verifiers(), true)]
    {
        let server = server::config(client_verifier, Arc::<FixedCert>::clone(&stolen)).unwrap();
        let result =
            handshake(&client::config(server_verifier, None).unwrap(), &Arc::new(server)).await;
        assert_eq!(result.server, succeeds.then(|| fingerprint(&stolen)));
    }
}

#[tokio::test]
async fn stolen_client_certificate_is_refused() {
    let pairs = [(); 3].map(|()| KeyPair::generate().unwrap());
    let [own, bob, eve] = &pairs;
    let stolen = cert_with_key(bob, signing_key(eve));
    for ((server_verifier, client_verifier), succeeds) in
        [(strict_verifiers(), false), (broken_verifiers(), true)]
    {
        let server = Arc::new(
            server::config(client_verifier, cert_with_key(own, signing_key(own))).unwrap(),
        );
        let mut client = client::config(server_verifier, None).unwrap();
        client.client_auth_cert_resolver = Arc::<FixedCert>::clone(&stolen);
        let key = Some(fingerprint(&stolen).digest());
        let expected = if succeeds { Ok(key) } else { Err(HandshakeRefused) };
        assert_eq!(handshake(&client, &server).await.client, expected);
    }
}

#[tokio::test]
async fn replayed_server_signature_is_refused() {
    let bob = KeyPair::generate().unwrap();
    for ((server_verifier, client_verifier), succeeds) in
        [(strict_verifiers(), false), (broken_verifiers(), true)]
    {
        let replaying =
            cert_with_key(&bob, Arc::new(ReplayingKey(signing_key(&bob), Arc::default())));
        let server =
            Arc::new(server::config(client_verifier, Arc::<FixedCert>::clone(&replaying)).unwrap());
        let client = client::config(server_verifier, None).unwrap();
        assert_eq!(handshake(&client, &server).await.server, Some(fingerprint(&replaying)));
        let again = handshake(&client, &server).await.server;
        assert_eq!(again, succeeds.then(|| fingerprint(&replaying)));
    }
}

#[tokio::test]
async fn client_without_certificate_has_no_key() {
    let own = KeyPair::generate().unwrap();
    let (server_verifier, client_verifier) = strict_verifiers();
    let server =
        Arc::new(server::config(client_verifier, cert_with_key(&own, signing_key(&own))).unwrap());
    let client = client::config(server_verifier, None).unwrap();
    assert_eq!(handshake(&client, &server).await.client, Ok(None));
}

#[tokio::test]
async fn session_resumption_is_disabled() {
    let own = KeyPair::generate().unwrap();
    let (server_verifier, client_verifier) = strict_verifiers();
    let mut client = client::config(server_verifier, None).unwrap();
    client.resumption = Resumption::in_memory_sessions(8);
    let config = server::config(client_verifier, cert_with_key(&own, signing_key(&own))).unwrap();
    let mut control = config.clone();
    control.send_tls13_tickets = 2;
    control.session_storage = ServerSessionMemoryCache::new(8);
    for (server, second) in [(config, HandshakeKind::Full), (control, HandshakeKind::Resumed)] {
        let server = Arc::new(server);
        // Not asserted to be `Full`: the first handshake may need a HelloRetryRequest.
        assert_ne!(handshake(&client, &server).await.kind, Some(HandshakeKind::Resumed));
        assert_eq!(handshake(&client, &server).await.kind, Some(second));
    }
}

/// A `ClientHello` of TLS 1.2 (RFC 5246, section 7.4.1.2): two cipher suites, one group, one signature
/// scheme, and no `supported_versions` extension.
fn tls_1_2_client_hello() -> Vec<u8> {
    let extensions = [0, 16, 0, 10, 0, 4, 0, 2, 0, 0x17, 0, 13, 0, 4, 0, 2, 4, 3];
    let suites = [0, 4, 0xc0, 0x2f, 0x00, 0x9c];
    let body = [&[3, 3][..], &[7; 32], &[0], &suites, &[1, 0], &extensions].concat();
    let length = u8::try_from(body.len()).unwrap();
    [&[22, 3, 1, 0, length + 4, 1, 0, 0, length], &body[..]].concat()
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let own = KeyPair::generate().unwrap();
    let (_, client_verifier) = strict_verifiers();
    let server = server::config(client_verifier, cert_with_key(&own, signing_key(&own))).unwrap();
    let (mut near, far) = tokio::io::duplex(4_096);
    near.write_all(&tls_1_2_client_hello()).await.unwrap();
    let error = TlsAcceptor::from(Arc::new(server)).accept(far).await.unwrap_err();
    assert!(error.to_string().contains("SupportedVersionsExtensionRequired"), "{error}");
    let mut answer = Vec::new();
    near.read_to_end(&mut answer).await.unwrap();
    assert_eq!(
        answer.last(),
        Some(&70),
        "not the alert protocol_version (RFC 8446, section 6): {answer:?}"
    );
}
