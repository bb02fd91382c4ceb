//! From a TCP connection to a session: one task each, so that nobody waits for anybody's handshake.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::hub::SessionId;
use super::limits::{ACCEPT_PAUSE, CONNECTIONS, HANDSHAKE_TIMEOUT, HANDSHAKES};
use super::session::{self, Room};
use crate::tls;

/// Where connections come from: TCP, or a network that a simulation makes up.
pub trait Listener: Send + 'static {
    /// What a connection is.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next one, and from where it is. Safe to cancel.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = Self::accept(self).await?;
        // Where that fails the connection is gone already, and whoever reads from it will see.
        stream.set_nodelay(true).unwrap_or_default();
        Ok((stream, peer))
    }
}

/// Takes connections.
pub(super) struct Acceptor {
    pub(super) tls: TlsAcceptor,
    pub(super) room: Room,
    pub(super) tasks: TaskTracker,
}

impl Acceptor {
    /// Takes connections until `stop`.
    pub(super) async fn run(self, listener: impl Listener) {
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
        let mut next = 0;
        while let Some(accepted) = self.room.stop.run_until_cancelled(listener.accept()).await {
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let connection = Arc::clone(&connections).try_acquire_owned();
            let handshake = Arc::clone(&handshakes).try_acquire_owned();
            let (Ok(connection), Ok(handshake)) = (connection, handshake) else {
                tracing::warn!(%peer, "dropped: too many connections");
                continue;
            };
            let session = SessionId(next);
            next += 1;
            let (tls, room) = (self.tls.clone(), self.room.clone());
            self.tasks.spawn(async move {
                let stream = room.stop.run_until_cancelled(encrypt(tls, stream)).await;
                drop(handshake);
                match stream {
                    Some(Ok(stream)) => {
                        tracing::debug!(session = session.0, %peer, "connected");
                        let key = tls::server::client_key(&stream);
                        session::run(stream, session, key, room).await;
                        tracing::debug!(session = session.0, "ended");
                    }
                    Some(Err(error)) => tracing::debug!(%peer, %error, "no encrypted connection"),
                    None => {}
                }
                drop(connection);
            });
        }
    }
}

async fn encrypt<IO: AsyncRead + AsyncWrite + Unpin>(
    tls: TlsAcceptor,
    stream: IO,
) -> io::Result<tokio_rustls::server::TlsStream<IO>> {
    timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await?
}
