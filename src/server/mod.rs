//! The server: encrypted connections in, one room behind them.
//!
//! The pure [`hub`] decides; everything else here carries. Sessions are fed from the log alone: nothing
//! is told before it is on disk.

mod accept;
pub mod admin;
mod admission;
mod audit;
mod desk;
mod fanout;
mod housekeeping;
pub mod hub;
pub mod limits;
mod outbox;
mod rates;
mod removed;
mod search;
mod session;
mod shell;
pub mod socket;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::accept::Acceptor;
pub use self::accept::Listener;
use self::admission::Door;
use self::desk::Desk;
use self::fanout::Fanout;
use self::housekeeping::{Changes, Housekeeping};
use self::hub::{Access, Hub};
use self::rates::People;
use self::removed::Removed;
use self::session::Room;
pub use self::shell::Clock;
use self::socket::{AdminSocket, SocketError};
use crate::protocol::limits::{Limits, Rates};
use crate::store::handle::{self, Handles, Threads};
use crate::store::sqlite::SqliteStore;
use crate::store::{Opened, Retention, Size, Store as _, StoreError};
use crate::tls;
use crate::tls::fingerprint::Fingerprint;
use crate::tls::server::Identity;

/// What a server needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen: the first of these that can be had.
    pub listen: Vec<SocketAddr>,
    /// The folder of `cert.pem` and `key.pem`; they are made if neither is there.
    pub certs: PathBuf,
    /// The folder of the log.
    pub data: PathBuf,
    /// How long messages are kept.
    pub retention: Retention,
    /// Who is let in.
    pub access: Access,
    /// What people are held to.
    pub bounds: Bounds,
}

/// What people are held to: by default to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    /// How many connections one address may have.
    pub per_address: Option<u32>,
    /// How fast one person is heard.
    pub rates: Option<Rates>,
}

/// Why a server can't run. The texts say what to do.
#[derive(Debug, Error)]
pub enum Error {
    /// The certificate can't be used.
    #[error(transparent)]
    Certificate(#[from] tls::Error),
    /// The log can't be used.
    #[error(transparent)]
    Log(#[from] StoreError),
    /// There can be no local socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The port is taken.
    #[error(
        "cannot listen on {0}: the address is in use (is another server running? --listen takes another address, and port 0 any free port)"
    )]
    InUse(SocketAddr),
    /// The address can't be listened on.
    #[error("cannot listen on {address}: {source} (--listen takes another address)")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The listening socket is of no use.
    #[error("the listening socket failed: {0}")]
    Listening(#[source] io::Error),
    /// A defect in this program.
    #[error("the server's heart has stopped; that is a defect of this program: please report it")]
    HubStopped,
}

/// A server that listens, but takes no connections before [`Server::run`].
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    identity: Identity,
    store: SqliteStore,
    admin: AdminSocket,
    opened: Opened,
    options: Options,
}

impl Server {
    /// Opens the certificate, the log and the listening socket.
    ///
    /// # Errors
    /// See [`enum@Error`].
    pub async fn bind(options: Options) -> Result<Self, Error> {
        let identity = Identity::open(&options.certs)?;
        let listener = listen(&options.listen).await?;
        let address = listener.local_addr().map_err(Error::Listening)?;
        let mut store = SqliteStore::open(&options.data)?;
        let opened = store.opened()?;
        let admin = AdminSocket::bind(&options.data, address, identity.fingerprint())?;
        Ok(Self { listener, address, identity, store, admin, opened, options })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Who is let in.
    pub fn access(&self) -> Access {
        self.options.access
    }

    /// How large the log is.
    pub fn log_size(&self) -> Size {
        self.opened.size
    }

    /// The fingerprint of its key.
    pub fn fingerprint(&self) -> Fingerprint {
        self.identity.fingerprint()
    }

    /// Its certificate, which can be read again while it serves.
    pub fn identity(&self) -> Identity {
        self.identity.clone()
    }

    /// See [`Parts::run`].
    ///
    /// # Errors
    /// As there; or the log gets no threads.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let (log, threads) = handle::start(self.store)?;
        let parts = Parts {
            listener: self.listener,
            identity: self.identity,
            log,
            threads,
            opened: self.opened,
            retention: self.options.retention,
            access: self.options.access,
            admin: Some(self.admin),
            bounds: self.options.bounds,
            clock: shell::clock,
            seed: rand::random(),
        };
        parts.run(stop).await
    }
}

/// What a server is put together from. [`Server`] has what is real; a simulation brings a network, a
/// clock, a log and dice of its own.
#[derive(Debug)]
pub struct Parts<L> {
    /// Where connections come from.
    pub listener: L,
    /// What encrypts them.
    pub identity: Identity,
    /// The ways to the log.
    pub log: Handles,
    /// What is waited for at the end, so that all is written.
    pub threads: Threads,
    /// What was in the log when it was opened.
    pub opened: Opened,
    /// How long messages are kept.
    pub retention: Retention,
    /// Who is let in.
    pub access: Access,
    /// Where whoever runs the server is heard.
    pub admin: Option<AdminSocket>,
    /// What people are held to.
    pub bounds: Bounds,
    /// What tells the time.
    pub clock: Clock,
    /// What the dice begin with.
    pub seed: u64,
}

impl<L: Listener> Parts<L> {
    /// Serves until `stop`; then tells the clients, sends what is left to be sent, and returns within
    /// five seconds.
    ///
    /// # Errors
    /// [`Error::HubStopped`] alone: what clients do never ends a server.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let Self {
            listener,
            identity,
            log,
            threads,
            opened,
            retention,
            bounds,
            access,
            admin,
            clock,
            seed,
        } = self;
        let tasks = TaskTracker::new();
        let (hub, commands) = shell::channel();
        let changes = Arc::<Changes>::default();
        let keeping = Housekeeping {
            log: log.clone(),
            hub: hub.clone(),
            changes: Arc::clone(&changes),
            retention,
            clock,
        };
        let keeping = tasks.spawn(stop.clone().run_until_cancelled_owned(keeping.run()));
        if let Some(admin) = admin {
            let admin = admin.run(hub.clone(), log.reads.clone(), tasks.clone(), stop.clone());
            tasks.spawn(stop.clone().run_until_cancelled_owned(admin));
        }
        let removed = Arc::<Removed>::default();
        let reads = log.reads.clone();
        let people = bounds.rates.map(|rates| Arc::new(People::new(rates)));
        let (hushed, stopped) = (Arc::clone(&removed), stop.clone());
        let room = Room { hub, reads, removed: hushed, clock, people, stop: stopped };
        let head = opened.head;
        let told = Limits { rates: bounds.rates, ..Limits::default() };
        let heart = Hub::new(seed, access, &opened).with_limits(told);
        drop(opened);
        let desk = Desk::new(heart, Fanout::new(head), log, removed, tasks.clone());
        let mut heart = tasks.spawn(shell::run(desk, commands, clock, changes, stop.clone()));
        let door = Door::new(bounds.per_address);
        let acceptor = Acceptor { tls: identity.acceptor, room, tasks: tasks.clone(), door };
        tokio::select! {
            biased;
            () = acceptor.run(listener) => {}
            ended = &mut heart => {
                if ended.is_err() || !stop.is_cancelled() {
                    return Err(Error::HubStopped);
                }
            }
        }
        end(&tasks, &keeping, threads).await;
        Ok(())
    }
}

/// Waits for what is still to be sent and written.
async fn end(tasks: &TaskTracker, keeping: &JoinHandle<Option<()>>, threads: Threads) {
    tracing::info!("stopping");
    tasks.close();
    if timeout(limits::SHUTDOWN_GRACE, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "stopped without waiting for the slowest");
        keeping.abort();
        return;
    }
    // All handles are gone with the tasks; what was queued is written by now.
    drop(tokio::task::spawn_blocking(move || threads.join()).await);
}

/// Listens on the first address that can be had; the first that can't is named otherwise.
async fn listen(addresses: &[SocketAddr]) -> Result<TcpListener, Error> {
    let mut failed = None;
    for address in addresses {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
                failed.get_or_insert(Error::InUse(*address));
            }
            Err(source) => {
                failed.get_or_insert(Error::Listen { address: *address, source });
            }
        }
    }
    Err(failed.unwrap_or_else(|| Error::Listening(io::ErrorKind::InvalidInput.into())))
}
