//! The server: accepts TLS connections, runs one session for each, and keeps the log.
//!
//! The [`hub`] is the functional core: it decides, without I/O, clock or randomness of its own. The other
//! modules are the shell around it. Sessions get events from the log only, so nothing is sent before it
//! is on disk.

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
mod send_queue;
mod session;
mod tail;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
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
use self::housekeeping::Housekeeping;
use self::hub::trusted_clock::TrustedClock;
use self::hub::{AccessMode, Hub};
pub use self::hub_task::Clock;
use self::hub_task::{HubTask, LogChanges, hub_channel, system_clock};
use self::rate_limit::RateLimiter;
use self::session::SessionContext;
use self::tail::Tail;
use crate::protocol::limits::{Limits, Rates};
use crate::store::sqlite::SqliteStore;
use crate::store::worker::{self, LogHandles, LogThreads};
use crate::store::{LogSize, LogSnapshot, Retention, RoomLimits, Store as _, StoreError};
use crate::tls;
use crate::tls::fingerprint::Fingerprint;
use crate::tls::server::ServerIdentity;

/// The options of [`Server::bind`].
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names say it")]
pub struct ServerOptions {
    /// Addresses to listen on. The first one that is free is used.
    pub listen: Vec<SocketAddr>,
    /// The directory of `cert.pem` and `key.pem`. They are created if both are missing.
    pub certs: PathBuf,
    /// The directory of the log, the admin socket and the audit log.
    pub data: PathBuf,
    /// How long messages are kept.
    pub retention: Retention,
    /// Who may log in.
    pub access: AccessMode,
    pub rooms: RoomSettings,
    pub limits: ServerLimits,
}

/// The limits that an administrator can change. By default, all are off.
#[derive(Debug, Clone, Copy, Default)]
pub struct ServerLimits {
    /// Open connections per address, or per /64 of IPv6.
    pub connections_per_address: Option<u32>,
    /// Rate limits per user.
    pub rates: Option<Rates>,
}

/// The settings for rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomSettings {
    /// Who creates rooms.
    pub creators: RoomCreators,
    /// How many there may be.
    pub limits: RoomLimits,
}

impl Default for RoomSettings {
    fn default() -> Self {
        Self { creators: RoomCreators::Anyone, limits: limits::ROOM_LIMITS }
    }
}

/// Who may create rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoomCreators {
    /// Any user with a key.
    Anyone,
    /// Only the administrator.
    Admins,
}

/// The text names nobody who may create rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("rooms are created by anyone or admins")]
pub struct RoomCreatorsError;

impl FromStr for RoomCreators {
    type Err = RoomCreatorsError;

    fn from_str(text: &str) -> Result<Self, RoomCreatorsError> {
        match text {
            "anyone" => Ok(Self::Anyone),
            "admins" => Ok(Self::Admins),
            _ => Err(RoomCreatorsError),
        }
    }
}

/// Why a server cannot start, or stopped.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ServerError {
    #[error(transparent)]
    Certificate(#[from] tls::TlsError),
    #[error(transparent)]
    Log(#[from] StoreError),
    #[error(transparent)]
    Socket(#[from] AdminSocketError),
    #[error(
        "cannot listen on {0}: address already in use (choose another with --listen; port 0 takes any free port)"
    )]
    AddressInUse(SocketAddr),
    #[error("cannot listen on {address}: {source} (choose another address with --listen)")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot set up the listening socket: {0}")]
    ListenSocket(#[source] io::Error),
    #[error("internal error: the hub task stopped (please report this)")]
    HubStopped,
}

/// A server that is bound to its address. It accepts no connections before [`Server::run`].
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
    /// Opens the certificate, the log, the listening socket and the admin socket.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn bind(options: ServerOptions) -> Result<Self, ServerError> {
        let identity = ServerIdentity::open(&options.certs)?;
        let listener = bind_first(&options.listen).await?;
        let address = listener.local_addr().map_err(ServerError::ListenSocket)?;
        let mut store = SqliteStore::open(&options.data)?;
        let snapshot = store.snapshot()?;
        let admin = AdminSocket::bind(&options.data, address, identity.fingerprint())?;
        Ok(Self { listener, address, identity, store, admin, snapshot, options })
    }

    /// The address that it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Who may log in.
    pub fn access(&self) -> AccessMode {
        self.options.access
    }

    /// The size of the log when it was opened.
    pub fn log_size(&self) -> LogSize {
        self.snapshot.size
    }

    /// The fingerprint of its key.
    pub fn fingerprint(&self) -> Fingerprint {
        self.identity.fingerprint()
    }

    /// Its certificate, which can be reloaded while the server runs.
    pub fn identity(&self) -> ServerIdentity {
        self.identity.clone()
    }

    /// Runs the server until `stop`. See [`ServerParts::run`].
    ///
    /// # Errors
    /// As there, or a thread for the log cannot be spawned.
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
            rooms: self.options.rooms,
            admin: Some(self.admin),
            limits: self.options.limits,
            clock: system_clock,
            seed: rand::random(),
        };
        parts.run(stop).await
    }
}

/// Everything a server is built from. [`Server`] uses the real network, clock and log; the simulation
/// brings its own.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct ServerParts<L> {
    pub listener: L,
    pub identity: ServerIdentity,
    pub log: LogHandles,
    /// Joined at the end, when everything is written.
    pub threads: LogThreads,
    /// The state of the log before the server starts.
    pub snapshot: LogSnapshot,
    pub retention: Retention,
    pub access: AccessMode,
    pub rooms: RoomSettings,
    /// `None` runs the server without an admin socket.
    pub admin: Option<AdminSocket>,
    pub limits: ServerLimits,
    pub clock: Clock,
    /// Seeds all random decisions of the hub.
    pub seed: u64,
}

impl<L: Listener> ServerParts<L> {
    /// Serves until `stop`. Then announces the shutdown to all sessions, sends and writes what is
    /// queued, and returns within [`limits::SHUTDOWN_GRACE`].
    ///
    /// # Errors
    /// Only [`ServerError::HubStopped`]: nothing that a client does ends a server.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ServerError> {
        let Self {
            listener,
            identity,
            log,
            threads,
            snapshot,
            retention,
            limits,
            access,
            rooms,
            admin,
            clock,
            seed,
        } = self;
        let tasks = TaskTracker::new();
        let (hub, commands) = hub_channel();
        let changes = Arc::<LogChanges>::default();
        let housekeeping = Housekeeping {
            writer: log.writer.clone(),
            hub: hub.clone(),
            changes: Arc::clone(&changes),
            retention,
            clock,
            trusted_clock: TrustedClock::new(snapshot.clock),
        };
        let housekeeping = tasks.spawn(stop.clone().run_until_cancelled_owned(housekeeping.run()));
        if let Some(admin) = admin {
            let admin = admin.run(hub.clone(), log.readers.clone(), tasks.clone(), stop.clone());
            tasks.spawn(stop.clone().run_until_cancelled_owned(admin));
        }
        let tail = Arc::new(Tail::new(snapshot.head));
        let context = SessionContext {
            hub,
            catch_up: log.catch_up.clone(),
            tail: Arc::clone(&tail),
            clock,
            rate_limiter: limits.rates.map(|rates| Arc::new(RateLimiter::new(rates))),
            stop: stop.clone(),
        };
        let fanout = Fanout::new(snapshot.head, tail);
        let announced = Limits { rates: limits.rates, ..Limits::default() };
        let hub = Hub::new(seed, access, &snapshot).with_limits(announced).with_rooms(rooms);
        drop(snapshot);
        let hub_task = HubTask::new(hub, fanout, log, tasks.clone());
        let mut hub_task = tasks.spawn(hub_task.run(commands, clock, changes, stop.clone()));
        let limiter = ConnectionLimiter::new(limits.connections_per_address);
        let acceptor = Acceptor { tls: identity.acceptor, context, tasks: tasks.clone(), limiter };
        tokio::select! {
            biased;
            () = acceptor.run(listener) => {}
            ended = &mut hub_task => {
                if ended.is_err() || !stop.is_cancelled() {
                    return Err(ServerError::HubStopped);
                }
            }
        }
        wait_for_tasks(&tasks, &housekeeping, threads).await;
        Ok(())
    }
}

/// Waits until everything queued is sent and written, up to [`limits::SHUTDOWN_GRACE`].
async fn wait_for_tasks(
    tasks: &TaskTracker,
    housekeeping: &JoinHandle<Option<()>>,
    threads: LogThreads,
) {
    tracing::info!("stopping");
    tasks.close();
    if timeout(limits::SHUTDOWN_GRACE, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "stopped before all connections were closed");
        housekeeping.abort();
        return;
    }
    // The tasks held the last handles to the log, so its threads end once the queues are empty.
    drop(tokio::task::spawn_blocking(move || threads.join()).await);
}

/// Listens on the first address that can be bound. If none can, returns the error of the first.
async fn bind_first(addresses: &[SocketAddr]) -> Result<TcpListener, ServerError> {
    let mut first_error = None;
    for address in addresses {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
                first_error.get_or_insert(ServerError::AddressInUse(*address));
            }
            Err(source) => {
                first_error.get_or_insert(ServerError::Listen { address: *address, source });
            }
        }
    }
    Err(first_error
        .unwrap_or_else(|| ServerError::ListenSocket(io::ErrorKind::InvalidInput.into())))
}
