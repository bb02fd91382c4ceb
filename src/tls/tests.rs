//! Tests of key and certificate files, handshakes and reloading.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rcgen::KeyPair;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::{CipherSuite, ClientConfig, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::server::ServerIdentity;
use super::{VERSIONS, client, provider};

fn open_error(folder: &Path) -> String {
    ServerIdentity::open(folder).unwrap_err().to_string()
}

#[test]
fn first_start_creates_an_owner_only_key() {
    let folder = tempfile::tempdir().unwrap();
    let certs = folder.path().join("new/certs");
    let first = ServerIdentity::open(&certs).unwrap();
    let mode = fs::metadata(certs.join("key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(ServerIdentity::open(&certs).unwrap().fingerprint(), first.fingerprint());

    fs::remove_file(certs.join("cert.pem")).unwrap();
    assert_eq!(
        ServerIdentity::open(&certs).unwrap().fingerprint(),
        first.fingerprint(),
        "the key is kept"
    );
}

#[test]
fn concurrent_starts_create_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let mut fingerprints = Vec::new();
    std::thread::scope(|scope| {
        let start = || scope.spawn(|| ServerIdentity::open(folder.path()).unwrap());
        let started = [(); 8].map(|()| start());
        fingerprints.extend(started.map(|start| start.join().unwrap().fingerprint()));
    });
    assert!(fingerprints.iter().all(|one| *one == fingerprints[0]));
}

#[test]
fn invalid_files_are_named_in_errors() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    ServerIdentity::open(folder.path()).unwrap();
    let good = fs::read_to_string(&cert).unwrap();

    let other = KeyPair::generate().unwrap().serialize_pem();
    fs::write(&key, other).unwrap();
    assert!(open_error(folder.path()).contains("cannot be used together"));

    fs::write(&key, "not a key").unwrap();
    assert!(open_error(folder.path()).contains("no unencrypted private key in"));
    fs::write(&key, "-----BEGIN PRIVATE KEY-----\n%%%\n-----END PRIVATE KEY-----\n").unwrap();
    assert!(open_error(folder.path()).contains("key.pem is damaged"));

    fs::write(&cert, good.replace("CERTIFICATE", "PHOTOGRAPH")).unwrap();
    assert!(open_error(folder.path()).contains("no certificate in"));
    fs::write(&cert, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert!(open_error(folder.path()).contains("invalid certificate"));

    fs::remove_file(&key).unwrap();
    assert!(open_error(folder.path()).contains("restore the key"));
    fs::write(&cert, good).unwrap();
    fs::create_dir(&key).unwrap();
    assert!(open_error(folder.path()).contains("cannot read"));
}

#[tokio::test]
async fn common_key_types_work() {
    for algorithm in [&rcgen::PKCS_RSA_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519]
    {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate_for(algorithm).unwrap();
        fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
        let identity = ServerIdentity::open(folder.path()).unwrap();
        let (client_end, server_end) = tokio::io::duplex(4_096);
        let (connected, accepted) = tokio::join!(
            client::connect_unverified("localhost", client_end, None),
            identity.acceptor.accept(server_end)
        );
        accepted.unwrap();
        assert_eq!(connected.unwrap().1, identity.fingerprint(), "{algorithm:?}");
    }
}

#[tokio::test]
async fn server_chooses_the_cheapest_cipher_suite() {
    let folder = tempfile::tempdir().unwrap();
    let identity = ServerIdentity::open(folder.path()).unwrap();
    // It puts AES-256 first.
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(VERSIONS)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(client::AnyServerCert(provider())))
        .with_no_client_auth();
    let (client_end, server_end) = tokio::io::duplex(4_096);
    let (connected, accepted) = tokio::join!(
        TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), client_end),
        identity.acceptor.accept(server_end)
    );
    connected.unwrap();
    let suite = accepted.unwrap().get_ref().1.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, CipherSuite::TLS13_AES_128_GCM_SHA256);
}

#[tokio::test]
async fn non_tls_server_is_refused() {
    use tokio::io::AsyncWriteExt;
    let (client_end, mut server_end) = tokio::io::duplex(4_096);
    server_end.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    assert!(client::connect_unverified("localhost", client_end, None).await.is_err());
}

#[test]
fn client_key_is_created_once_and_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("client/id.pem");
    let mut fingerprints = Vec::new();
    std::thread::scope(|scope| {
        let start = || scope.spawn(|| client::ClientIdentity::open(&file).unwrap());
        let started = [(); 8].map(|()| start());
        fingerprints.extend(started.map(|start| start.join().unwrap().fingerprint));
    });
    assert!(fingerprints.iter().all(|one| *one == fingerprints[0]));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let error = client::ClientIdentity::open(&file).unwrap_err().to_string();
    assert!(error.contains("chmod 600"), "{error}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&file, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
    let error = client::ClientIdentity::open(&file).unwrap_err().to_string();
    assert!(error.contains("id.pem"), "{error}");
}

#[tokio::test]
async fn client_presents_its_certificate() {
    let folder = tempfile::tempdir().unwrap();
    ServerIdentity::open(folder.path()).unwrap();
    let own = client::ClientIdentity::open(&folder.path().join("id.pem")).unwrap();
    let mut roots = tokio_rustls::rustls::RootCertStore::empty();
    let (client_end, server_end) = tokio::io::duplex(4_096);
    let chain = super::pem::certificates(&folder.path().join("cert.pem")).unwrap();
    roots.add(chain[0].clone()).unwrap();
    let verifier = tokio_rustls::rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        provider(),
    );
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(chain, super::pem::private_key(&folder.path().join("key.pem")).unwrap())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (_, result) = tokio::join!(
        client::connect_unverified("localhost", client_end, Some(&own)),
        acceptor.accept(server_end)
    );
    // The server received the certificate but does not trust its issuer. Without a certificate, the
    // error would be a different one.
    let error = result.unwrap_err().to_string();
    assert!(
        error.contains("UnknownIssuer") || error.contains("invalid peer certificate"),
        "{error}"
    );
}

#[tokio::test]
async fn reload_uses_a_new_certificate_and_rejects_a_broken_one() {
    let folder = tempfile::tempdir().unwrap();
    let identity = ServerIdentity::open(folder.path()).unwrap();
    let presented = async || {
        let (client_end, server_end) = tokio::io::duplex(4_096);
        let (connected, accepted) = tokio::join!(
            client::connect_unverified("localhost", client_end, None),
            identity.acceptor.accept(server_end)
        );
        accepted.unwrap();
        connected.unwrap().1
    };
    let first = presented().await;
    fs::write(folder.path().join("key.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let error = identity.reload().unwrap_err().to_string();
    assert!(error.contains("cannot be used together"), "{error}");
    assert_eq!((presented().await, identity.fingerprint()), (first, first));
    fs::remove_file(folder.path().join("cert.pem")).unwrap();
    identity.reload().unwrap_err();
    let other = ServerIdentity::open(folder.path()).unwrap().fingerprint();
    identity.reload().unwrap();
    assert_ne!(other, first);
    assert_eq!((presented().await, identity.fingerprint()), (other, other));
}
