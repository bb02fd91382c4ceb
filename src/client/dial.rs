//! From an address to an encrypted stream of bytes.
//!
//! [`Connector`] is what the driver knows of it, so that tests connect in memory, or over a network that
//! a simulation makes up. What it gives is a server whose key has been judged, by `trust`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinError;
use tokio_rustls::client::TlsStream;

use super::address::ServerAddress;
use super::trust::{KeyCheck, TrustMode, UntrustedServer};
use crate::protocol::text::SafeText;
use crate::tls;
use crate::tls::client::ClientIdentity;
use crate::tls::fingerprint::Fingerprint;

/// How long one address, and then the handshake of TLS, may take: far more than the slowest network
/// needs, and less than a person's patience.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes connections to one server.
pub trait Connector: Send + 'static {
    /// What a connection is.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send;

    /// Makes one.
    fn connect(
        &mut self,
    ) -> impl Future<Output = Result<VerifiedStream<Self::Stream>, ConnectError>> + Send;
}

/// A connection to a server that has shown its key, which is the right one.
#[derive(Debug)]
pub struct VerifiedStream<S> {
    /// What carries the bytes.
    pub stream: S,
    /// The fingerprint of the server's key.
    pub fingerprint: String,
    /// What people have to know who meet this server for the first time.
    pub first_contact_notice: Option<SafeText>,
}

/// Why there is no connection; the texts are for people.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The host's name leads nowhere.
    #[error("there is no host {host} ({source})")]
    UnknownHost {
        /// Its name.
        host: String,
        /// Why not.
        source: io::Error,
    },
    /// The host is there, the server is not.
    #[error("nobody answers at {0} (connection refused): is `chat serve` running there?")]
    Refused(ServerAddress),
    /// The host is not there, or something swallows what is sent to it.
    #[error(
        "{0} does not answer within {seconds} seconds: is the address right, and no firewall between?",
        seconds = CONNECT_TIMEOUT.as_secs()
    )]
    TimedOut(ServerAddress),
    /// Anything else that the network says.
    #[error("can't reach {server} ({source})")]
    Unreachable {
        /// Where it should be.
        server: ServerAddress,
        /// Why not.
        source: io::Error,
    },
    /// Something answers, but it is no server of ours.
    #[error("{server} does not answer as a chat server does, with TLS 1.3 ({source})")]
    Tls {
        /// Where it should be.
        server: ServerAddress,
        /// What is wrong.
        source: tls::TlsError,
    },
    /// It can't show that it is the right one.
    #[error("{server} has no certificate to be trusted: nothing was sent. {source}")]
    UntrustedCertificate {
        /// Where it should be.
        server: ServerAddress,
        /// What is wrong.
        source: tls::TlsError,
    },
    /// It has the wrong key, or nobody knows.
    #[error(transparent)]
    Untrusted(#[from] UntrustedServer),
    /// A defect in this program.
    #[error("the server's key could not be judged ({0})")]
    KeyCheckFailed(#[from] JoinError),
}

impl ConnectError {
    /// Whether it is a wrong server that answers: another attempt would come to the same.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::UntrustedCertificate { .. } => true,
            Self::Untrusted(distrust) => distrust.is_final(),
            Self::UnknownHost { .. }
            | Self::Refused(_)
            | Self::TimedOut(_)
            | Self::Unreachable { .. }
            | Self::Tls { .. }
            | Self::KeyCheckFailed(_) => false,
        }
    }
}

/// Connects over TCP, with TLS.
#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) server: ServerAddress,
    /// The key that the link wants.
    pub(super) pin: Option<Fingerprint>,
    pub(super) trust: TrustMode,
    pub(super) identity: Option<Arc<ClientIdentity>>,
}

impl Connector for Dialer {
    type Stream = TlsStream<TcpStream>;

    async fn connect(&mut self) -> Result<VerifiedStream<Self::Stream>, ConnectError> {
        let stream = self.connect_tcp().await?;
        let shown = tokio::time::timeout(CONNECT_TIMEOUT, self.start_tls(stream)).await;
        let (stream, key) = match shown {
            Ok(Ok(shown)) => shown,
            Ok(Err(
                source @ (tls::TlsError::Untrusted(_) | tls::TlsError::InvalidServerName(_)),
            )) => {
                return Err(ConnectError::UntrustedCertificate {
                    server: self.server.clone(),
                    source,
                });
            }
            Ok(Err(source)) => {
                return Err(ConnectError::Tls { server: self.server.clone(), source });
            }
            Err(_elapsed) => return Err(ConnectError::TimedOut(self.server.clone())),
        };
        let (server, pin, trust) = (self.server.clone(), self.pin, self.trust.clone());
        // It reads and writes a file, and may wait for another client to do the same.
        let judged = tokio::task::spawn_blocking(move || trust.check(&server, pin, key)).await?;
        let first_contact = match judged? {
            KeyCheck::FirstContact => Some(first_contact_notice(&self.server, key)),
            KeyCheck::Known => None,
        };
        Ok(VerifiedStream {
            stream,
            fingerprint: key.to_string(),
            first_contact_notice: first_contact,
        })
    }
}

/// What to compare, and with what, in lines that fit beside the people of a small screen.
fn first_contact_notice(server: &ServerAddress, key: Fingerprint) -> SafeText {
    SafeText::clean(&format!(
        "first contact with {server}, whose key is\n{key}\ncompare it with what the server printed when it began\n\
         from now on no other key is taken for this server"
    ))
}

impl Dialer {
    async fn start_tls(
        &self,
        stream: TcpStream,
    ) -> Result<(TlsStream<TcpStream>, Fingerprint), tls::TlsError> {
        let (host, identity) = (self.server.host(), self.identity.as_deref());
        match &self.trust {
            TrustMode::Authorities(authorities) => {
                tls::client::connect_verified(host, stream, identity, authorities).await
            }
            TrustMode::PinOnFirstUse(_) | TrustMode::Exactly(_) => {
                tls::client::connect_unverified(host, stream, identity).await
            }
        }
    }

    /// Tries all addresses of the host, one after the other; the error is the last one's.
    async fn connect_tcp(&self) -> Result<TcpStream, ConnectError> {
        let host = self.server.host();
        let unknown = |source| ConnectError::UnknownHost { host: host.to_owned(), source };
        let addresses = tokio::net::lookup_host((host, self.server.port())).await;
        let mut outcome = Err(unknown(io::ErrorKind::NotFound.into()));
        for address in addresses.map_err(unknown)? {
            outcome = self.connect_address(address).await;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    async fn connect_address(&self, address: SocketAddr) -> Result<TcpStream, ConnectError> {
        let attempt = async {
            let stream = TcpStream::connect(address).await?;
            // A chat's messages are small and wait for nobody.
            stream.set_nodelay(true)?;
            io::Result::Ok(stream)
        };
        let server = || self.server.clone();
        match tokio::time::timeout(CONNECT_TIMEOUT, attempt).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(match error.kind() {
                io::ErrorKind::ConnectionRefused => ConnectError::Refused(server()),
                io::ErrorKind::TimedOut => ConnectError::TimedOut(server()),
                _ => ConnectError::Unreachable { server: server(), source: error },
            }),
            Err(_elapsed) => Err(ConnectError::TimedOut(server())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener as Reserved};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::client::trust::KnownServers;

    async fn connect_to(port: u16) -> Result<VerifiedStream<TlsStream<TcpStream>>, ConnectError> {
        let server = format!("localhost:{port}").parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let trust = TrustMode::PinOnFirstUse(KnownServers::open(folder.path()).unwrap());
        Dialer { server, pin: None, trust, identity: None }.connect().await
    }

    async fn listen() -> (TcpListener, u16) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    #[tokio::test]
    async fn connecting_returns_the_servers_fingerprint() {
        let folder = tempfile::tempdir().unwrap();
        let identity = tls::server::ServerIdentity::open(folder.path()).unwrap();
        let (listener, port) = listen().await;
        let server = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = identity.acceptor.accept(stream).await.unwrap();
            stream.write_all(b"hello").await.unwrap();
            stream.shutdown().await.unwrap();
        };
        let client = async {
            let mut link = connect_to(port).await.unwrap();
            let words = link.first_contact_notice.unwrap().to_string();
            assert!(words.contains(&link.fingerprint), "{words}");
            let mut said = String::new();
            link.stream.read_to_string(&mut said).await.unwrap();
            (said, link.fingerprint)
        };
        let ((), (said, fingerprint)) = tokio::join!(server, client);
        assert_eq!((said.as_str(), fingerprint), ("hello", identity.fingerprint().to_string()));
    }

    #[tokio::test]
    async fn closed_port_and_other_protocol_have_different_errors() {
        let free = Reserved::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let error = connect_to(port).await.unwrap_err();
        assert!(matches!(error, ConnectError::Refused(_)), "{error}");

        let (listener, port) = listen().await;
        let web_server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        };
        let ((), outcome) = tokio::join!(web_server, connect_to(port));
        let error = outcome.unwrap_err();
        assert!(matches!(error, ConnectError::Tls { .. }), "{error}");
    }
}
