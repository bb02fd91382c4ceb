//! From a TCP connection to a session: one task each, so that nobody waits for anybody's handshake.

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
use super::limits::{ACCEPT_RETRY_DELAY, HANDSHAKE_TIMEOUT};
use super::session::{self, SessionContext};
use crate::protocol::error::Refusal;
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
    pub(super) context: SessionContext,
    pub(super) tasks: TaskTracker,
    pub(super) limiter: ConnectionLimiter,
}

impl Acceptor {
    /// Takes connections until `stop`.
    pub(super) async fn run(self, listener: impl Listener) {
        let mut next = 0;
        while let Some(accepted) = self.context.stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, peer)) => {
                    self.spawn_connection(SessionId(next), stream, peer);
                    next += 1;
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        }
    }

    /// Takes one connection, or drops it.
    pub(super) fn spawn_connection<IO>(&self, session: SessionId, stream: IO, peer: SocketAddr)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some((verdict, place)) =
            self.limiter.try_acquire((self.context.clock)().monotonic, peer.ip())
        else {
            tracing::debug!(%peer, "dropped: too many connections");
            return;
        };
        let (tls, room) = (self.tls.clone(), self.context.clone());
        self.tasks.spawn(async move {
            // Boxed: what a handshake takes would be kept for as long as the connection lasts.
            let shaking = Box::pin(place.run_handshake(tls_handshake(tls, stream)));
            match room.stop.run_until_cancelled(shaking).await.flatten() {
                Some(Ok(stream)) => serve(verdict, session, stream, peer, room).await,
                Some(Err(error)) => tracing::debug!(%peer, %error, "no encrypted connection"),
                None => tracing::debug!(%peer, "dropped during the handshake"),
            }
            drop(place);
        });
    }
}

async fn serve<IO>(
    verdict: ConnectionDecision,
    session: SessionId,
    stream: Box<TlsStream<IO>>,
    peer: SocketAddr,
    room: SessionContext,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    match verdict {
        ConnectionDecision::Accept => {
            tracing::debug!(session = session.0, %peer, "connected");
            let key = tls::server::client_key_hash(&stream);
            let peer = PeerInfo { key, address: peer.ip().to_canonical() };
            session::run(stream, session, peer, room).await;
            tracing::debug!(session = session.0, "ended");
        }
        ConnectionDecision::Refuse => {
            tracing::warn!(%peer, "refused: too many connections from there (see --per-address)");
            session::refuse(stream, &Refusal::TooManyConnections).await;
        }
    }
}

/// Boxed: the stream is handed on through several futures, each of which would keep room for it.
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

    /// An acceptor, and connections to it that come from wherever a test says.
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
            let rig = ServerHarness::start();
            let (room, tasks) = (rig.context.clone(), rig.tasks.clone());
            let door = ConnectionLimiter::new(Some(CONNECTIONS_PER_ADDRESS));
            let acceptor = Acceptor { tls: identity.acceptor, context: room, tasks, limiter: door };
            Self { acceptor, next_session: 0, _certificates: certificates, _harness: rig }
        }

        /// A connection on which nothing was said yet.
        fn connect_raw(&mut self, from: &str) -> DuplexStream {
            let (near, far) = tokio::io::duplex(65_536);
            self.next_session += 1;
            let peer = SocketAddr::new(from.parse().unwrap(), 50_000);
            self.acceptor.spawn_connection(SessionId(self.next_session), far, peer);
            near
        }

        /// An encrypted one; nothing if it was dropped.
        async fn connect_tls(&mut self, from: &str) -> Option<TlsStream<DuplexStream>> {
            let stream = self.connect_raw(from);
            tls::client::connect_unverified("localhost", stream, None)
                .await
                .ok()
                .map(|(stream, _)| stream)
        }
    }

    /// The first thing that the server says.
    async fn first_event(stream: &mut TlsStream<DuplexStream>) -> Event {
        use tokio::io::AsyncReadExt as _;
        let mut decoder = Decoder::new(usize::MAX);
        loop {
            if let Some(object) = decoder.next_object() {
                return Event::decode(&object.unwrap()).unwrap().unwrap();
            }
            assert!(stream.read_buf(decoder.buffer()).await.unwrap() > 0, "not a word");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn connection_over_the_address_limit_is_refused_with_a_reason() {
        let mut street = AcceptorHarness::new();
        let mut inside = Vec::new();
        for _ in 0..CONNECTIONS_PER_ADDRESS {
            let mut stream = street.connect_tls("192.0.2.1").await.unwrap();
            assert_eq!(first_event(&mut stream).await, Event::LoginPrompt);
            inside.push(stream);
        }
        let mut refused = street.connect_tls("192.0.2.1").await.unwrap();
        match first_event(&mut refused).await {
            Event::LoginRefused(why) => assert_eq!(why.code, ErrorCode::TooManyConnections),
            other => panic!("{other:?}"),
        }
        let mut other = street.connect_tls("192.0.2.2").await.unwrap();
        assert_eq!(first_event(&mut other).await, Event::LoginPrompt);
    }

    #[tokio::test(start_paused = true)]
    async fn unfinished_handshakes_block_only_their_own_address() {
        let mut street = AcceptorHarness::new();
        let silent: Vec<_> =
            (0..HANDSHAKES_PER_ADDRESS).map(|_| street.connect_raw("192.0.2.1")).collect();
        assert!(street.connect_tls("192.0.2.1").await.is_none(), "dropped");
        assert!(street.connect_tls("192.0.2.2").await.is_some());
        let start = monotonic_now();
        for mut stream in silent {
            let mut nothing = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut nothing).await.unwrap();
            assert!(nothing.is_empty());
        }
        assert_eq!(monotonic_now() - start, HANDSHAKE_TIMEOUT);
        assert!(street.connect_tls("192.0.2.1").await.is_some());
    }
}
