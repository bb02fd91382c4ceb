//! From a TCP connection to a session: one task each, so that nobody waits for anybody's handshake.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::task::TaskTracker;

use super::admission::{Door, Verdict};
use super::hub::{Peer, SessionId};
use super::limits::{ACCEPT_PAUSE, HANDSHAKE_TIMEOUT};
use super::session::{self, Room};
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
    pub(super) room: Room,
    pub(super) tasks: TaskTracker,
    pub(super) door: Door,
}

impl Acceptor {
    /// Takes connections until `stop`.
    pub(super) async fn run(self, listener: impl Listener) {
        let mut next = 0;
        while let Some(accepted) = self.room.stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, peer)) => {
                    self.take(SessionId(next), stream, peer);
                    next += 1;
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Takes one connection, or drops it.
    pub(super) fn take<IO>(&self, session: SessionId, stream: IO, peer: SocketAddr)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some((verdict, place)) = self.door.knock((self.room.clock)().mono, peer.ip()) else {
            tracing::debug!(%peer, "dropped: too many connections");
            return;
        };
        let (tls, room) = (self.tls.clone(), self.room.clone());
        self.tasks.spawn(async move {
            // Boxed: what a handshake takes would be kept for as long as the connection lasts.
            let shaking = Box::pin(place.shake(encrypt(tls, stream)));
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
    verdict: Verdict,
    session: SessionId,
    stream: Box<TlsStream<IO>>,
    peer: SocketAddr,
    room: Room,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    match verdict {
        Verdict::Enter => {
            tracing::debug!(session = session.0, %peer, "connected");
            let key = tls::server::client_key(&stream);
            let peer = Peer { key, address: peer.ip().to_canonical() };
            session::run(stream, session, peer, room).await;
            tracing::debug!(session = session.0, "ended");
        }
        Verdict::Refuse => {
            tracing::warn!(%peer, "refused: too many connections from there (see --per-address)");
            session::refuse(stream, &Refusal::TooManyConnections).await;
        }
    }
}

/// Boxed: the stream is handed on through several futures, each of which would keep room for it.
async fn encrypt<IO: AsyncRead + AsyncWrite + Unpin>(
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
    use crate::server::tests::{Rig, mono};

    /// An acceptor, and connections to it that come from wherever a test says.
    struct Street {
        acceptor: Acceptor,
        next: u64,
        _certificates: tempfile::TempDir,
        _rig: Rig,
    }

    impl Street {
        fn new() -> Self {
            let certificates = tempfile::tempdir().unwrap();
            let identity = tls::server::Identity::open(certificates.path()).unwrap();
            let rig = Rig::start();
            let (room, tasks) = (rig.room.clone(), rig.tasks.clone());
            let door = Door::new(Some(CONNECTIONS_PER_ADDRESS));
            let acceptor = Acceptor { tls: identity.acceptor, room, tasks, door };
            Self { acceptor, next: 0, _certificates: certificates, _rig: rig }
        }

        /// A connection on which nothing was said yet.
        fn knock(&mut self, from: &str) -> DuplexStream {
            let (near, far) = tokio::io::duplex(65_536);
            self.next += 1;
            let peer = SocketAddr::new(from.parse().unwrap(), 50_000);
            self.acceptor.take(SessionId(self.next), far, peer);
            near
        }

        /// An encrypted one; nothing if it was dropped.
        async fn enter(&mut self, from: &str) -> Option<TlsStream<DuplexStream>> {
            let stream = self.knock(from);
            tls::client::connect("localhost", stream, None).await.ok().map(|(stream, _)| stream)
        }
    }

    /// The first thing that the server says.
    async fn greeting(stream: &mut TlsStream<DuplexStream>) -> Event {
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
    async fn one_connection_too_many_from_an_address_is_told_so() {
        let mut street = Street::new();
        let mut inside = Vec::new();
        for _ in 0..CONNECTIONS_PER_ADDRESS {
            let mut stream = street.enter("192.0.2.1").await.unwrap();
            assert_eq!(greeting(&mut stream).await, Event::LoginPrompt);
            inside.push(stream);
        }
        let mut refused = street.enter("192.0.2.1").await.unwrap();
        match greeting(&mut refused).await {
            Event::LoginRefused(why) => assert_eq!(why.code, ErrorCode::TooManyConnections),
            other => panic!("{other:?}"),
        }
        let mut other = street.enter("192.0.2.2").await.unwrap();
        assert_eq!(greeting(&mut other).await, Event::LoginPrompt);
    }

    #[tokio::test(start_paused = true)]
    async fn silent_connections_from_an_address_keep_only_it_waiting_and_not_for_long() {
        let mut street = Street::new();
        let silent: Vec<_> =
            (0..HANDSHAKES_PER_ADDRESS).map(|_| street.knock("192.0.2.1")).collect();
        assert!(street.enter("192.0.2.1").await.is_none(), "dropped");
        assert!(street.enter("192.0.2.2").await.is_some());
        let start = mono();
        for mut stream in silent {
            let mut nothing = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut nothing).await.unwrap();
            assert!(nothing.is_empty());
        }
        assert_eq!(mono() - start, HANDSHAKE_TIMEOUT);
        assert!(street.enter("192.0.2.1").await.is_some());
    }
}
