//! A bad network: a proxy that cuts, slices, stalls and swallows what goes through it.
//!
//! Each connection has troubles of its own, at a random byte of each direction. Whatever it does TCP may
//! do, and no more: what comes out is a beginning of what went in.

#![expect(clippy::indexing_slicing, reason = "a test fails where its tools do")]

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Up to how many bytes go through before there is trouble: less than the encryption takes to begin, or
/// a good deal of talk.
const MAX_BYTES_BEFORE_FAULT: usize = 6_000;

/// How many bytes at most go through one by one.
const MAX_SINGLE_BYTES: usize = 2_000;

/// What happens to one direction of a connection.
#[derive(Debug, Clone, Copy)]
enum ConnectionFault {
    Nothing,
    /// Both ends are told that the connection is gone, and lose what was under way.
    Reset,
    /// Both ends are told that nothing more will come.
    HangUp,
    /// Nothing goes through for a while; and after as many bytes again, both ends are told.
    Stall(Duration),
    /// Nothing ever goes through again, and nobody is told.
    Silence,
}

/// What one direction has to expect.
#[derive(Debug, Clone, Copy)]
struct FaultPlan {
    fault: ConnectionFault,
    /// After so many bytes.
    after_bytes: usize,
    /// So many of them one by one.
    single_bytes: usize,
}

/// The proxy.
pub(crate) struct FlakyProxy {
    /// Where it listens.
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

    /// New connections have no trouble any more.
    pub(crate) fn stop_faults(&self) {
        self.is_reliable.set(true);
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.connections.get()
    }

    /// Takes connections and carries them to `server`, each in a task of its own.
    pub(crate) async fn run(self: Rc<Self>, server: SocketAddr) {
        loop {
            let (client, _) = self.listener.accept().await.unwrap();
            self.connections.set(self.connections.get() + 1);
            let moods = (self.random_plan(), self.random_plan());
            let server = TcpStream::connect(server).await.unwrap();
            tokio::task::spawn_local(forward(client, server, moods));
        }
    }

    fn random_plan(&self) -> FaultPlan {
        let mut dice = self.rng.borrow_mut();
        let trouble = match dice.random_range(0..10) {
            _ if self.is_reliable.get() => ConnectionFault::Nothing,
            0..5 => ConnectionFault::Reset,
            5..8 => ConnectionFault::HangUp,
            8 => ConnectionFault::Stall(Duration::from_millis(dice.random_range(0..30_000))),
            _ => ConnectionFault::Silence,
        };
        let sliced =
            if dice.random_ratio(1, 3) { dice.random_range(0..MAX_SINGLE_BYTES) } else { 0 };
        FaultPlan {
            fault: trouble,
            after_bytes: dice.random_range(0..MAX_BYTES_BEFORE_FAULT),
            single_bytes: sliced,
        }
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

/// Carries one direction, until its end or its trouble.
async fn forward_direction(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    FaultPlan { fault: mut trouble, after_bytes: after, single_bytes: mut sliced }: FaultPlan,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1_024];
    let mut left = after;
    loop {
        let n = from.read(&mut buffer).await?;
        if n == 0 {
            return to.shutdown().await;
        }
        let (good, rest) = buffer[..n].split_at(n.min(left));
        left -= good.len();
        send(&mut to, good, &mut sliced).await?;
        if rest.is_empty() {
            continue;
        }
        match trouble {
            ConnectionFault::Nothing => left = usize::MAX,
            ConnectionFault::Reset => return Err(io::ErrorKind::ConnectionReset.into()),
            ConnectionFault::HangUp => return Err(io::ErrorKind::BrokenPipe.into()),
            ConnectionFault::Stall(time) => {
                tokio::time::sleep(time).await;
                (trouble, left) = (ConnectionFault::HangUp, after + rest.len());
            }
            ConnectionFault::Silence => return std::future::pending().await,
        }
        left -= rest.len();
        send(&mut to, rest, &mut sliced).await?;
    }
}

async fn send(
    to: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    sliced: &mut usize,
) -> io::Result<()> {
    let (one_by_one, rest) = bytes.split_at(bytes.len().min(*sliced));
    *sliced -= one_by_one.len();
    for byte in one_by_one {
        to.write_all(&[*byte]).await?;
        // Whoever reads gets it before there is more.
        tokio::task::yield_now().await;
    }
    to.write_all(rest).await
}
