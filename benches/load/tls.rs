//! One certificate for all servers, and one way to connect to them: TLS 1.3, X25519, no resumption.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, NamedGroup, RootCertStore, version};

/// Writes a new P-256 certificate to `cert.pem` and its key to `key.pem`: a kind that every server takes.
pub(crate) fn write_certificate(folder: &Path) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let generated = rcgen::generate_simple_self_signed(names).unwrap();
    fs::write(folder.join("cert.pem"), generated.cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), generated.signing_key.serialize_pem()).unwrap();
}

/// Which clients have a key of their own: those of `chat` are known by it, and the bare server asks for it,
/// too, so that their handshakes are the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientKey {
    None,
    New,
}

/// Makes the configurations of clients.
pub(crate) struct Clients {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl Clients {
    /// Clients that trust the certificate in the folder.
    pub(crate) fn trusting(folder: &Path) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(folder.join("cert.pem")).unwrap()).unwrap();
        let mut provider = aws_lc_rs::default_provider();
        // The same key exchange with every server.
        provider.kx_groups.retain(|group| group.name() == NamedGroup::X25519);
        Self { roots: Arc::new(roots), provider: Arc::new(provider) }
    }

    pub(crate) fn config(&self, key: ClientKey) -> Arc<ClientConfig> {
        let config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&version::TLS13])
            .unwrap()
            .with_root_certificates(Arc::clone(&self.roots));
        let mut config = match key {
            ClientKey::None => config.with_no_client_auth(),
            ClientKey::New => {
                let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
                let parameters = rcgen::CertificateParams::new(["client".to_owned()]).unwrap();
                let certificate = parameters.self_signed(&key).unwrap().der().clone();
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                config.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        config.resumption = Resumption::disabled();
        Arc::new(config)
    }
}
