//! Accepts connections and runs each in a task of its own, from the TLS handshake to the end of its
//! session, so that no handshake delays another.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::task::TaskTracker;

use super::connection_limit::{ConnectionDecision, ConnectionLimiter};
use super::hub::{PeerInfo, SessionId};
#[cfg(target_os = "linux")]
use super::limits::UNSENT_BYTES;
use super::limits::{ACCEPT_RETRY_DELAY, HANDSHAKE_TIMEOUT};
use super::session::{self, SessionContext};
use crate::protocol::error::Refusal;
use crate::tls;

/// A source of connections: TCP, or a simulated network.
pub trait Listener: Send + 'static {
    /// The byte stream of a connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Waits for the next connection, and returns it with the address of its peer. Cancel safe.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = Self::accept(self).await?;
        // These fail only if the connection is closed already, and then so does the first read.
        stream.set_nodelay(true).unwrap_or_default();
        #[cfg(target_os = "linux")]
        socket2::SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES).unwrap_or_default();
        Ok((stream, peer))
    }
}

/// The accept loop.
pub(super) struct Acceptor {
    pub(super) tls: TlsAcceptor,
    pub(super) context: SessionContext,
    pub(super) tasks: TaskTracker,
    pub(super) limiter: ConnectionLimiter,
}

impl Acceptor {
    /// Accepts connections until the server stops.
    pub(super) async fn run(self, listener: impl Listener) {
        let mut next = 0;
        while let Some(accepted) = self.context.stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, peer)) => {
                    self.spawn_connection(SessionId(next), stream, peer);
                    next += 1;
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        }
    }

    /// Serves one connection in a new task, or drops it if there are too many.
    pub(super) fn spawn_connection<IO>(&self, session: SessionId, stream: IO, peer: SocketAddr)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some((decision, permit)) =
            self.limiter.try_acquire((self.context.clock)().monotonic, peer.ip())
        else {
            tracing::debug!(%peer, "connection dropped: too many connections");
            return;
        };
        let (tls, context) = (self.tls.clone(), self.context.clone());
        self.tasks.spawn(async move {
            // Boxed, so that the handshake's memory is freed when it is done.
            let handshake = Box::pin(permit.run_handshake(tls_handshake(tls, stream)));
            match context.stop.run_until_cancelled(handshake).await.flatten() {
                Some(Ok(stream)) => serve(decision, session, stream, peer, context).await,
                Some(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
                None => tracing::debug!(%peer, "connection dropped during the TLS handshake"),
            }
            drop(permit);
        });
    }
}

async fn serve<IO>(
    decision: ConnectionDecision,
    session: SessionId,
    stream: Box<TlsStream<IO>>,
    peer: SocketAddr,
    context: SessionContext,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    match decision {
        ConnectionDecision::Accept => {
            tracing::debug!(session = session.0, %peer, "connected");
            let key = tls::server::client_key_hash(&stream);
            let peer = PeerInfo { key, address: peer.ip().to_canonical() };
            session::run(stream, session, peer, context).await;
            tracing::debug!(session = session.0, "disconnected");
        }
        ConnectionDecision::Refuse => {
            tracing::warn!(%peer, "connection refused: too many from this address (see --per-address)");
            session::refuse(stream, &Refusal::TooManyConnections).await;
        }
    }
}

/// The stream is boxed because it moves through several futures, each of which would reserve space for it.
async fn tls_handshake<IO: AsyncRead + AsyncWrite + Unpin>(
    tls: TlsAcceptor,
    stream: IO,
) -> io::Result<Box<TlsStream<IO>>> {
    timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await?.map(Box::new)
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;
    use tokio_rustls::client::TlsStream;

    use super::*;
    use crate::protocol::decoder::Decoder;
    use crate::protocol::error::ErrorCode;
    use crate::protocol::event::Event;
    use crate::server::limits::{
        CONNECTIONS_PER_ADDRESS, HANDSHAKE_TIMEOUT, HANDSHAKES_PER_ADDRESS,
    };
    use crate::server::tests::{ServerHarness, monotonic_now};

    /// An acceptor, with simulated connections from any address.
    struct AcceptorHarness {
        acceptor: Acceptor,
        next_session: u64,
        _certificates: tempfile::TempDir,
        _harness: ServerHarness,
    }

    impl AcceptorHarness {
        fn new() -> Self {
            let certificates = tempfile::tempdir().unwrap();
            let identity = tls::server::ServerIdentity::open(certificates.path()).unwrap();
            let harness = ServerHarness::start();
            let (context, tasks) = (harness.context.clone(), harness.tasks.clone());
            let limiter = ConnectionLimiter::new(Some(CONNECTIONS_PER_ADDRESS));
            let acceptor = Acceptor { tls: identity.acceptor, context, tasks, limiter };
            Self { acceptor, next_session: 0, _certificates: certificates, _harness: harness }
        }

        /// A connection that has sent nothing.
        fn connect_raw(&mut self, from: &str) -> DuplexStream {
            let (near, far) = tokio::io::duplex(65_536);
            self.next_session += 1;
            let peer = SocketAddr::new(from.parse().unwrap(), 50_000);
            self.acceptor.spawn_connection(SessionId(self.next_session), far, peer);
            near
        }

        /// A connection after its TLS handshake. `None` if the server dropped it.
        async fn connect_tls(&mut self, from: &str) -> Option<TlsStream<DuplexStream>> {
            let stream = self.connect_raw(from);
            tls::client::connect_unverified("localhost", stream, None)
                .await
                .ok()
                .map(|(stream, _)| stream)
        }
    }

    async fn first_event(stream: &mut TlsStream<DuplexStream>) -> Event {
        use tokio::io::AsyncReadExt as _;
        let mut decoder = Decoder::new(usize::MAX);
        loop {
            if let Some(object) = decoder.next_object() {
                return Event::decode(&object.unwrap()).unwrap().unwrap();
            }
            assert!(stream.read_buf(decoder.buffer()).await.unwrap() > 0, "connection closed");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn connection_over_the_address_limit_is_refused_with_a_reason() {
        let mut harness = AcceptorHarness::new();
        let mut accepted = Vec::new();
        for _ in 0..CONNECTIONS_PER_ADDRESS {
            let mut stream = harness.connect_tls("192.0.2.1").await.unwrap();
            assert_eq!(first_event(&mut stream).await, Event::LoginPrompt);
            accepted.push(stream);
        }
        let mut refused = harness.connect_tls("192.0.2.1").await.unwrap();
        match first_event(&mut refused).await {
            Event::LoginRefused(error) => assert_eq!(error.code, ErrorCode::TooManyConnections),
            other => panic!("{other:?}"),
        }
        let mut other = harness.connect_tls("192.0.2.2").await.unwrap();
        assert_eq!(first_event(&mut other).await, Event::LoginPrompt);
    }

    #[tokio::test(start_paused = true)]
    async fn unfinished_handshakes_block_only_their_own_address() {
        let mut harness = AcceptorHarness::new();
        let silent: Vec<_> =
            (0..HANDSHAKES_PER_ADDRESS).map(|_| harness.connect_raw("192.0.2.1")).collect();
        assert!(harness.connect_tls("192.0.2.1").await.is_none(), "dropped");
        assert!(harness.connect_tls("192.0.2.2").await.is_some());
        let start = monotonic_now();
        for mut stream in silent {
            let mut received = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut received).await.unwrap();
            assert!(received.is_empty());
        }
        assert_eq!(monotonic_now() - start, HANDSHAKE_TIMEOUT);
        assert!(harness.connect_tls("192.0.2.1").await.is_some());
    }
}
