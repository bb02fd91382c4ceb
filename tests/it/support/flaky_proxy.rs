//! A TCP proxy that injects faults: it resets, closes, stalls and silences connections and splits their data.
//!
//! Each direction of a connection has its own fault at a random byte. The proxy does only what TCP allows:
//! the output is a prefix of the input.

#![expect(clippy::indexing_slicing, reason = "a test fails on a panic")]

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Maximum number of bytes before a fault. The range covers the TLS handshake and a good part of a session.
const MAX_BYTES_BEFORE_FAULT: usize = 6_000;

/// Maximum number of bytes that are forwarded one by one.
const MAX_SINGLE_BYTES: usize = 2_000;

/// A fault in one direction of a connection.
#[derive(Debug, Clone, Copy)]
enum ConnectionFault {
    Nothing,
    /// Resets both ends; data in flight is lost.
    Reset,
    /// Closes both ends in order.
    Close,
    /// Forwards nothing for a while, then as many bytes again, then closes both ends.
    Stall(Duration),
    /// Forwards nothing any more and leaves both ends open.
    Silence,
}

/// What happens to one direction of a connection.
#[derive(Debug, Clone, Copy)]
struct FaultPlan {
    fault: ConnectionFault,
    /// The number of bytes before the fault.
    after_bytes: usize,
    /// The number of bytes that are forwarded one by one.
    single_bytes: usize,
}

/// A running proxy.
pub(crate) struct FlakyProxy {
    /// The listen address.
    pub(crate) address: SocketAddr,
    listener: TcpListener,
    rng: RefCell<StdRng>,
    is_reliable: Cell<bool>,
    connections: Cell<usize>,
}

impl FlakyProxy {
    pub(crate) async fn new(seed: u64) -> Rc<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        Rc::new(Self {
            address: listener.local_addr().unwrap(),
            listener,
            rng: RefCell::new(StdRng::seed_from_u64(seed)),
            is_reliable: Cell::new(false),
            connections: Cell::new(0),
        })
    }

    /// Makes new connections free of faults.
    pub(crate) fn stop_faults(&self) {
        self.is_reliable.set(true);
    }

    /// The number of connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.get()
    }

    /// Accepts connections and forwards each to `server` in its own task.
    pub(crate) async fn run(self: Rc<Self>, server: SocketAddr) {
        loop {
            let (client, _) = self.listener.accept().await.unwrap();
            self.connections.set(self.connections.get() + 1);
            let plans = (self.random_plan(), self.random_plan());
            let server = TcpStream::connect(server).await.unwrap();
            tokio::task::spawn_local(forward(client, server, plans));
        }
    }

    fn random_plan(&self) -> FaultPlan {
        let mut rng = self.rng.borrow_mut();
        let fault = match rng.random_range(0..10) {
            _ if self.is_reliable.get() => ConnectionFault::Nothing,
            0..5 => ConnectionFault::Reset,
            5..8 => ConnectionFault::Close,
            8 => ConnectionFault::Stall(Duration::from_millis(rng.random_range(0..30_000))),
            _ => ConnectionFault::Silence,
        };
        let single_bytes =
            if rng.random_ratio(1, 3) { rng.random_range(0..MAX_SINGLE_BYTES) } else { 0 };
        FaultPlan { fault, after_bytes: rng.random_range(0..MAX_BYTES_BEFORE_FAULT), single_bytes }
    }
}

async fn forward(mut client: TcpStream, mut server: TcpStream, (up, down): (FaultPlan, FaultPlan)) {
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (client_reads, client_writes) = client.split();
    let (server_reads, server_writes) = server.split();
    let ended = tokio::try_join!(
        forward_direction(client_reads, server_writes, up),
        forward_direction(server_reads, client_writes, down)
    );
    if ended.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset) {
        client.set_zero_linger().unwrap();
        server.set_zero_linger().unwrap();
    }
}

/// Forwards one direction until its end or its fault.
async fn forward_direction(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    FaultPlan { mut fault, after_bytes, mut single_bytes }: FaultPlan,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1_024];
    let mut remaining = after_bytes;
    loop {
        let n = from.read(&mut buffer).await?;
        if n == 0 {
            return to.shutdown().await;
        }
        let (before, rest) = buffer[..n].split_at(n.min(remaining));
        remaining -= before.len();
        send(&mut to, before, &mut single_bytes).await?;
        if rest.is_empty() {
            continue;
        }
        match fault {
            ConnectionFault::Nothing => remaining = usize::MAX,
            ConnectionFault::Reset => return Err(io::ErrorKind::ConnectionReset.into()),
            ConnectionFault::Close => return Err(io::ErrorKind::BrokenPipe.into()),
            ConnectionFault::Stall(time) => {
                tokio::time::sleep(time).await;
                (fault, remaining) = (ConnectionFault::Close, after_bytes + rest.len());
            }
            ConnectionFault::Silence => return std::future::pending().await,
        }
        remaining -= rest.len();
        send(&mut to, rest, &mut single_bytes).await?;
    }
}

async fn send(
    to: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    single_bytes: &mut usize,
) -> io::Result<()> {
    let (one_by_one, rest) = bytes.split_at(bytes.len().min(*single_bytes));
    *single_bytes -= one_by_one.len();
    for byte in one_by_one {
        to.write_all(&[*byte]).await?;
        // Lets the reader run before the next byte.
        tokio::task::yield_now().await;
    }
    to.write_all(rest).await
}
