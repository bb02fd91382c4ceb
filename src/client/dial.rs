//! Opens an encrypted connection to a server, and checks the server's key.
//!
//! [`Connector`] abstracts this for the driver, so that tests can connect in memory or over a simulated
//! network.

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

/// Time limit for the TCP connection to one address, and again for the TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Time limit for looking up the host name. Resolvers may take half a minute to find that none answers.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens connections to one server.
pub trait Connector: Send + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send;

    /// Opens a connection and checks the server's key.
    fn connect(
        &mut self,
    ) -> impl Future<Output = Result<VerifiedStream<Self::Stream>, ConnectError>> + Send;
}

/// A connection to a server whose key was checked.
#[derive(Debug)]
pub struct VerifiedStream<S> {
    /// The connection.
    pub stream: S,
    /// The fingerprint of the server's key.
    pub fingerprint: String,
    /// At first contact: asks the user to compare the fingerprint.
    pub first_contact_notice: Option<SafeText>,
}

/// Why a connection was not opened. The texts are shown to the user.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The host name does not resolve.
    #[error("cannot find the host {host}: {source} (check the name)")]
    UnknownHost {
        /// The host name.
        host: String,
        /// The resolver's error.
        source: io::Error,
    },
    /// The host refused the connection.
    #[error("cannot connect to {0}: connection refused (is `chat serve` running there?)")]
    Refused(ServerAddress),
    /// No answer in time, from the host or in the TLS handshake.
    #[error(
        "cannot connect to {0}: no answer within {seconds} seconds (check the address and any firewall)",
        seconds = CONNECT_TIMEOUT.as_secs()
    )]
    TimedOut(ServerAddress),
    /// Any other network error.
    #[error("cannot connect to {server}: {source}")]
    Unreachable {
        /// The server's address.
        server: ServerAddress,
        /// The network error.
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("no TLS 1.3 connection to {server}: {source} (is it a chat server?)")]
    Tls {
        /// The server's address.
        server: ServerAddress,
        /// The TLS error.
        source: tls::TlsError,
    },
    /// The certificate is not valid for the host name, or not issued by a trusted authority.
    #[error("the certificate of {server} is not trusted, nothing was sent: {source}")]
    UntrustedCertificate {
        /// The server's address.
        server: ServerAddress,
        /// The verification error.
        source: tls::TlsError,
    },
    /// The server's key is wrong, or could not be checked.
    #[error(transparent)]
    Untrusted(#[from] UntrustedServer),
    /// The check of the key panicked.
    #[error("internal error: the check of the server's key failed: {0} (please report this)")]
    KeyCheckFailed(#[from] JoinError),
}

impl ConnectError {
    /// Whether another attempt would fail too, because the server is not trusted.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::UntrustedCertificate { .. } => true,
            Self::Untrusted(untrusted) => untrusted.is_final(),
            Self::UnknownHost { .. }
            | Self::Refused(_)
            | Self::TimedOut(_)
            | Self::Unreachable { .. }
            | Self::Tls { .. }
            | Self::KeyCheckFailed(_) => false,
        }
    }
}

/// Connects over TCP and TLS.
#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) server: ServerAddress,
    /// The key that the link requires.
    pub(super) pin: Option<Fingerprint>,
    pub(super) trust: TrustMode,
    pub(super) identity: Option<Arc<ClientIdentity>>,
}

impl Connector for Dialer {
    type Stream = TlsStream<TcpStream>;

    async fn connect(&mut self) -> Result<VerifiedStream<Self::Stream>, ConnectError> {
        let stream = self.connect_tcp().await?;
        let server = self.server.clone();
        let handshake = tokio::time::timeout(CONNECT_TIMEOUT, self.start_tls(stream)).await;
        let (stream, key) = match handshake {
            Ok(Ok(stream_and_key)) => stream_and_key,
            Ok(Err(
                source @ (tls::TlsError::Untrusted(_) | tls::TlsError::InvalidServerName(_)),
            )) => return Err(ConnectError::UntrustedCertificate { server, source }),
            Ok(Err(source)) => return Err(ConnectError::Tls { server, source }),
            Err(_elapsed) => return Err(ConnectError::TimedOut(server)),
        };
        let (pin, trust) = (self.pin, self.trust.clone());
        // Blocking: the check reads and writes a file, and may wait for another client's lock.
        let check = tokio::task::spawn_blocking(move || trust.check(&server, pin, key)).await?;
        let first_contact_notice = match check? {
            KeyCheck::FirstContact => Some(first_contact_notice(&self.server, key)),
            KeyCheck::Known => None,
        };
        Ok(VerifiedStream { stream, fingerprint: key.to_string(), first_contact_notice })
    }
}

/// Returns the notice in lines that are short enough for a small screen.
fn first_contact_notice(server: &ServerAddress, key: Fingerprint) -> SafeText {
    SafeText::clean(&format!(
        "first contact with {server}, its key is\n{key}\ncompare it with the fingerprint that the server printed\n\
         from now on any other key is refused"
    ))
}

/// Checks that the host of a server exists.
///
/// # Errors
/// [`ConnectError::UnknownHost`]
pub async fn check_host(server: &ServerAddress) -> Result<(), ConnectError> {
    resolve(server).await.map(drop)
}

async fn resolve(server: &ServerAddress) -> Result<impl Iterator<Item = SocketAddr>, ConnectError> {
    let lookup = tokio::net::lookup_host((server.host(), server.port()));
    let timed_out = |_elapsed| Err(io::ErrorKind::TimedOut.into());
    let addresses = tokio::time::timeout(RESOLVE_TIMEOUT, lookup).await.unwrap_or_else(timed_out);
    addresses.map_err(|source| unknown_host(server, source))
}

fn unknown_host(server: &ServerAddress, source: io::Error) -> ConnectError {
    ConnectError::UnknownHost { host: server.host().to_owned(), source }
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

    /// Tries the addresses of the host one after the other. The error is that of the last one.
    async fn connect_tcp(&self) -> Result<TcpStream, ConnectError> {
        let mut outcome = Err(unknown_host(&self.server, io::ErrorKind::NotFound.into()));
        for address in resolve(&self.server).await? {
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
            // Messages are small: send them immediately.
            stream.set_nodelay(true)?;
            io::Result::Ok(stream)
        };
        let server = self.server.clone();
        match tokio::time::timeout(CONNECT_TIMEOUT, attempt).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(source)) => Err(match source.kind() {
                io::ErrorKind::ConnectionRefused => ConnectError::Refused(server),
                io::ErrorKind::TimedOut => ConnectError::TimedOut(server),
                _ => ConnectError::Unreachable { server, source },
            }),
            Err(_elapsed) => Err(ConnectError::TimedOut(server)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener as Reserved};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::client::known_servers::KnownServers;

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
            let mut verified = connect_to(port).await.unwrap();
            let notice = verified.first_contact_notice.unwrap().to_string();
            assert!(notice.contains(&verified.fingerprint), "{notice}");
            let mut received = String::new();
            verified.stream.read_to_string(&mut received).await.unwrap();
            (received, verified.fingerprint)
        };
        let ((), (received, fingerprint)) = tokio::join!(server, client);
        assert_eq!((received.as_str(), fingerprint), ("hello", identity.fingerprint().to_string()));
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
