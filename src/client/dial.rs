//! From an address to an encrypted stream of bytes.
//!
//! [`Connector`] is what the driver knows of it, so that tests connect in memory, or over a network that
//! a simulation makes up. Whose key a server has is not judged here: see `tls::client`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::address::ServerAddress;
use crate::tls;
use crate::tls::client::ClientIdentity;

/// How long one address, and then the handshake of TLS, may take: far more than the slowest network
/// needs, and less than a person's patience.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// Makes connections to one server.
pub trait Connector: Send + 'static {
    /// What a connection is.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send;

    /// Makes one.
    fn connect(
        &mut self,
    ) -> impl Future<Output = Result<Reached<Self::Stream>, ConnectError>> + Send;
}

/// A connection to a server that has shown its key.
#[derive(Debug)]
pub struct Reached<S> {
    /// What carries the bytes.
    pub stream: S,
    /// The fingerprint of the server's key.
    pub fingerprint: String,
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
        seconds = CONNECT_TIME.as_secs()
    )]
    Silent(ServerAddress),
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
        source: tls::Error,
    },
}

/// Connects over TCP, with TLS.
#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) server: ServerAddress,
    pub(super) identity: Option<Arc<ClientIdentity>>,
}

impl Connector for Dialer {
    type Stream = TlsStream<TcpStream>;

    async fn connect(&mut self) -> Result<Reached<Self::Stream>, ConnectError> {
        let stream = self.reach().await?;
        let handshake = tls::client::connect(self.server.host(), stream, self.identity.as_deref());
        match tokio::time::timeout(CONNECT_TIME, handshake).await {
            Ok(Ok((stream, key))) => Ok(Reached { stream, fingerprint: key.to_string() }),
            Ok(Err(source)) => Err(ConnectError::Tls { server: self.server.clone(), source }),
            Err(_elapsed) => Err(ConnectError::Silent(self.server.clone())),
        }
    }
}

impl Dialer {
    /// Tries all addresses of the host, one after the other; the error is the last one's.
    async fn reach(&self) -> Result<TcpStream, ConnectError> {
        let host = self.server.host();
        let unknown = |source| ConnectError::UnknownHost { host: host.to_owned(), source };
        let addresses = tokio::net::lookup_host((host, self.server.port())).await;
        let mut outcome = Err(unknown(io::ErrorKind::NotFound.into()));
        for address in addresses.map_err(unknown)? {
            outcome = self.reach_address(address).await;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    async fn reach_address(&self, address: SocketAddr) -> Result<TcpStream, ConnectError> {
        let attempt = async {
            let stream = TcpStream::connect(address).await?;
            // A chat's messages are small and wait for nobody.
            stream.set_nodelay(true)?;
            io::Result::Ok(stream)
        };
        let server = || self.server.clone();
        match tokio::time::timeout(CONNECT_TIME, attempt).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(match error.kind() {
                io::ErrorKind::ConnectionRefused => ConnectError::Refused(server()),
                io::ErrorKind::TimedOut => ConnectError::Silent(server()),
                _ => ConnectError::Unreachable { server: server(), source: error },
            }),
            Err(_elapsed) => Err(ConnectError::Silent(server())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener as Reserved};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    async fn connect_to(port: u16) -> Result<Reached<TlsStream<TcpStream>>, ConnectError> {
        let server = format!("localhost:{port}").parse().unwrap();
        Dialer { server, identity: None }.connect().await
    }

    async fn listen() -> (TcpListener, u16) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    #[tokio::test]
    async fn the_servers_key_is_known_once_connected() {
        let folder = tempfile::tempdir().unwrap();
        let identity = tls::server::Identity::open(folder.path()).unwrap();
        let (listener, port) = listen().await;
        let server = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = identity.acceptor.accept(stream).await.unwrap();
            stream.write_all(b"hello").await.unwrap();
            stream.shutdown().await.unwrap();
        };
        let client = async {
            let mut link = connect_to(port).await.unwrap();
            let mut said = String::new();
            link.stream.read_to_string(&mut said).await.unwrap();
            (said, link.fingerprint)
        };
        let ((), (said, fingerprint)) = tokio::join!(server, client);
        assert_eq!((said.as_str(), fingerprint), ("hello", identity.fingerprint.to_string()));
    }

    #[tokio::test]
    async fn nobody_there_and_somebody_else_there_are_told_apart() {
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
