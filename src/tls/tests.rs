//! Certificates made, read and refused; handshakes that work and that must not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rcgen::KeyPair;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

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
    assert!(open_error(folder.path()).contains("no private key without a password in"));
    fs::write(&key, "-----BEGIN PRIVATE KEY-----\n%%%\n-----END PRIVATE KEY-----\n").unwrap();
    assert!(open_error(folder.path()).contains("key.pem is damaged"));

    fs::write(&cert, good.replace("CERTIFICATE", "PHOTOGRAPH")).unwrap();
    assert!(open_error(folder.path()).contains("no certificate in"));
    fs::write(&cert, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert!(open_error(folder.path()).contains("not a certificate"));

    fs::remove_file(&key).unwrap();
    assert!(open_error(folder.path()).contains("put the key there"));
    fs::write(&cert, good).unwrap();
    fs::create_dir(&key).unwrap();
    assert!(open_error(folder.path()).contains("cannot read"));
}

#[tokio::test]
async fn common_key_types_work() {
    for sort in [&rcgen::PKCS_RSA_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate_for(sort).unwrap();
        fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
        let identity = ServerIdentity::open(folder.path()).unwrap();
        let (near, far) = tokio::io::duplex(4_096);
        let (seen, taken) = tokio::join!(
            client::connect_unverified("localhost", near, None),
            identity.acceptor.accept(far)
        );
        taken.unwrap();
        assert_eq!(seen.unwrap().1, identity.fingerprint(), "{sort:?}");
    }
}

#[tokio::test]
async fn non_tls_server_is_refused() {
    use tokio::io::AsyncWriteExt;
    let (near, mut far) = tokio::io::duplex(4_096);
    far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    assert!(client::connect_unverified("localhost", near, None).await.is_err());
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
    let (near, far) = tokio::io::duplex(4_096);
    let chain = super::pem::certificates(&folder.path().join("cert.pem")).unwrap();
    roots.add(chain[0].clone()).unwrap();
    let asks = tokio_rustls::rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        provider(),
    );
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .unwrap()
        .with_client_cert_verifier(asks.build().unwrap())
        .with_single_cert(chain, super::pem::private_key(&folder.path().join("key.pem")).unwrap())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (_, refused) = tokio::join!(
        client::connect_unverified("localhost", near, Some(&own)),
        acceptor.accept(far)
    );
    // It was shown, and this verifier knows it not: who shows none is refused for that.
    let error = refused.unwrap_err().to_string();
    assert!(
        error.contains("UnknownIssuer") || error.contains("invalid peer certificate"),
        "{error}"
    );
}

#[tokio::test]
async fn reload_uses_a_new_certificate_and_rejects_a_broken_one() {
    let folder = tempfile::tempdir().unwrap();
    let identity = ServerIdentity::open(folder.path()).unwrap();
    let seen = async || {
        let (near, far) = tokio::io::duplex(4_096);
        let (seen, taken) = tokio::join!(
            client::connect_unverified("localhost", near, None),
            identity.acceptor.accept(far)
        );
        taken.unwrap();
        seen.unwrap().1
    };
    let first = seen().await;
    fs::write(folder.path().join("key.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let error = identity.reload().unwrap_err().to_string();
    assert!(error.contains("cannot be used together"), "{error}");
    assert_eq!((seen().await, identity.fingerprint()), (first, first));
    fs::remove_file(folder.path().join("cert.pem")).unwrap();
    identity.reload().unwrap_err();
    let other = ServerIdentity::open(folder.path()).unwrap().fingerprint();
    identity.reload().unwrap();
    assert_ne!(other, first);
    assert_eq!((seen().await, identity.fingerprint()), (other, other));
}
