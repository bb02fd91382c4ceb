//! The server: encrypted connections in, one room behind them.
//!
//! The pure [`hub`] decides; everything else here carries. Sessions are fed from the log alone: nothing
//! is told before it is on disk.

mod accept;
pub mod admin;
pub mod admin_socket;
mod audit;
mod connection_limit;
mod fanout;
mod housekeeping;
pub mod hub;
mod hub_task;
pub mod limits;
mod queries;
mod rate_limit;
mod recent_removals;
mod send_queue;
mod session;
mod shell;

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
use self::admin_socket::{AdminSocket, AdminSocketError};
use self::connection_limit::ConnectionLimiter;
use self::fanout::Fanout;
use self::housekeeping::{Housekeeping, LogChanges};
use self::hub::{AccessMode, Hub};
use self::hub_task::HubTask;
use self::rate_limit::RateLimiter;
use self::recent_removals::RecentRemovals;
use self::session::SessionContext;
pub use self::shell::Clock;
use crate::protocol::limits::{Limits, Rates};
use crate::store::sqlite::SqliteStore;
use crate::store::worker::{self, LogHandles, LogThreads};
use crate::store::{LogSize, LogSnapshot, Retention, Store as _, StoreError};
use crate::tls;
use crate::tls::fingerprint::Fingerprint;
use crate::tls::server::ServerIdentity;

/// What a server needs to know.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Where to listen: the first of these that can be had.
    pub listen: Vec<SocketAddr>,
    /// The folder of `cert.pem` and `key.pem`; they are made if neither is there.
    pub certs: PathBuf,
    /// The folder of the log.
    pub data: PathBuf,
    /// How long messages are kept.
    pub retention: Retention,
    /// Who is let in.
    pub access: AccessMode,
    /// What people are held to.
    pub limits: ServerLimits,
}

/// What people are held to: by default to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct ServerLimits {
    /// How many connections one address may have.
    pub connections_per_address: Option<u32>,
    /// How fast one person is heard.
    pub rates: Option<Rates>,
}

/// Why a server can't run. The texts say what to do.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The certificate can't be used.
    #[error(transparent)]
    Certificate(#[from] tls::TlsError),
    /// The log can't be used.
    #[error(transparent)]
    Log(#[from] StoreError),
    /// There can be no local socket.
    #[error(transparent)]
    Socket(#[from] AdminSocketError),
    /// The port is taken.
    #[error(
        "cannot listen on {0}: the address is in use (is another server running? --listen takes another address, and port 0 any free port)"
    )]
    AddressInUse(SocketAddr),
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
    ListenSocket(#[source] io::Error),
    /// A defect in this program.
    #[error("the server's heart has stopped; that is a defect of this program: please report it")]
    HubStopped,
}

/// A server that listens, but takes no connections before [`Server::run`].
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    identity: ServerIdentity,
    store: SqliteStore,
    admin: AdminSocket,
    snapshot: LogSnapshot,
    options: ServerOptions,
}

impl Server {
    /// Opens the certificate, the log and the listening socket.
    ///
    /// # Errors
    /// See [`enum@Error`].
    pub async fn bind(options: ServerOptions) -> Result<Self, ServerError> {
        let identity = ServerIdentity::open(&options.certs)?;
        let listener = bind_first(&options.listen).await?;
        let address = listener.local_addr().map_err(ServerError::ListenSocket)?;
        let mut store = SqliteStore::open(&options.data)?;
        let opened = store.snapshot()?;
        let admin = AdminSocket::bind(&options.data, address, identity.fingerprint())?;
        Ok(Self { listener, address, identity, store, admin, snapshot: opened, options })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Who is let in.
    pub fn access(&self) -> AccessMode {
        self.options.access
    }

    /// How large the log is.
    pub fn log_size(&self) -> LogSize {
        self.snapshot.size
    }

    /// The fingerprint of its key.
    pub fn fingerprint(&self) -> Fingerprint {
        self.identity.fingerprint()
    }

    /// Its certificate, which can be read again while it serves.
    pub fn identity(&self) -> ServerIdentity {
        self.identity.clone()
    }

    /// See [`ServerParts::run`].
    ///
    /// # Errors
    /// As there; or the log gets no threads.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ServerError> {
        let (log, threads) = worker::spawn_threads(self.store)?;
        let parts = ServerParts {
            listener: self.listener,
            identity: self.identity,
            log,
            threads,
            snapshot: self.snapshot,
            retention: self.options.retention,
            access: self.options.access,
            admin: Some(self.admin),
            limits: self.options.limits,
            clock: shell::system_clock,
            seed: rand::random(),
        };
        parts.run(stop).await
    }
}

/// What a server is put together from. [`Server`] has what is real; a simulation brings a network, a
/// clock, a log and dice of its own.
#[derive(Debug)]
pub struct ServerParts<L> {
    /// Where connections come from.
    pub listener: L,
    /// What encrypts them.
    pub identity: ServerIdentity,
    /// The ways to the log.
    pub log: LogHandles,
    /// What is waited for at the end, so that all is written.
    pub threads: LogThreads,
    /// What was in the log when it was opened.
    pub snapshot: LogSnapshot,
    /// How long messages are kept.
    pub retention: Retention,
    /// Who is let in.
    pub access: AccessMode,
    /// Where whoever runs the server is heard.
    pub admin: Option<AdminSocket>,
    /// What people are held to.
    pub limits: ServerLimits,
    /// What tells the time.
    pub clock: Clock,
    /// What the dice begin with.
    pub seed: u64,
}

impl<L: Listener> ServerParts<L> {
    /// Serves until `stop`; then tells the clients, sends what is left to be sent, and returns within
    /// five seconds.
    ///
    /// # Errors
    /// [`Error::HubStopped`] alone: what clients do never ends a server.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ServerError> {
        let Self {
            listener,
            identity,
            log,
            threads,
            snapshot: opened,
            retention,
            limits: bounds,
            access,
            admin,
            clock,
            seed,
        } = self;
        let tasks = TaskTracker::new();
        let (hub, commands) = shell::hub_channel();
        let changes = Arc::<LogChanges>::default();
        let keeping = Housekeeping {
            log: log.clone(),
            hub: hub.clone(),
            changes: Arc::clone(&changes),
            retention,
            clock,
        };
        let keeping = tasks.spawn(stop.clone().run_until_cancelled_owned(keeping.run()));
        if let Some(admin) = admin {
            let admin = admin.run(hub.clone(), log.readers.clone(), tasks.clone(), stop.clone());
            tasks.spawn(stop.clone().run_until_cancelled_owned(admin));
        }
        let removed = Arc::<RecentRemovals>::default();
        let reads = log.readers.clone();
        let people = bounds.rates.map(|rates| Arc::new(RateLimiter::new(rates)));
        let (hushed, stopped) = (Arc::clone(&removed), stop.clone());
        let room = SessionContext {
            hub,
            reads,
            recent_removals: hushed,
            clock,
            rate_limiter: people,
            stop: stopped,
        };
        let head = opened.head;
        let told = Limits { rates: bounds.rates, ..Limits::default() };
        let heart = Hub::new(seed, access, &opened).with_limits(told);
        drop(opened);
        let desk = HubTask::new(heart, Fanout::new(head), log, removed, tasks.clone());
        let mut heart = tasks.spawn(shell::run(desk, commands, clock, changes, stop.clone()));
        let door = ConnectionLimiter::new(bounds.connections_per_address);
        let acceptor =
            Acceptor { tls: identity.acceptor, context: room, tasks: tasks.clone(), limiter: door };
        tokio::select! {
            biased;
            () = acceptor.run(listener) => {}
            ended = &mut heart => {
                if ended.is_err() || !stop.is_cancelled() {
                    return Err(ServerError::HubStopped);
                }
            }
        }
        wait_for_tasks(&tasks, &keeping, threads).await;
        Ok(())
    }
}

/// Waits for what is still to be sent and written.
async fn wait_for_tasks(
    tasks: &TaskTracker,
    keeping: &JoinHandle<Option<()>>,
    threads: LogThreads,
) {
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
async fn bind_first(addresses: &[SocketAddr]) -> Result<TcpListener, ServerError> {
    let mut failed = None;
    for address in addresses {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
                failed.get_or_insert(ServerError::AddressInUse(*address));
            }
            Err(source) => {
                failed.get_or_insert(ServerError::Listen { address: *address, source });
            }
        }
    }
    Err(failed.unwrap_or_else(|| ServerError::ListenSocket(io::ErrorKind::InvalidInput.into())))
}
