//! One simulation: the real server and clients, with TLS, on a simulated network and clock, from one seed.
//!
//! It only produces a history; `checker` checks it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use chat::client::outbox::Outbox;
use chat::client::{self, ConnectError, Connector, VerifiedStream};
use chat::protocol::request::{Dialect, Login};
use chat::server::hub::Now;
use chat::server::{Listener, RoomSettings, ServerLimits, ServerParts};
use chat::store::sqlite::SqliteStore;
use chat::store::worker::{self, LogHandles, LogThreads};
use chat::store::{Retention, Store as _};
use chat::tls;
use chat::tls::client::ClientIdentity;
use chat::tls::server::ServerIdentity;
use chrono::DateTime;
use rand::rngs::{SmallRng, StdRng};
use rand::{RngExt as _, SeedableRng as _};
use tokio_util::sync::CancellationToken;
use turmoil::Sim;

use super::faults::FaultInjector;
use crate::support::checker::{History, Token};
use crate::support::load_client::tokens_in_files;
use crate::support::test_user::{self, TestUser, UserCoordinator};

const USERS: usize = 4;

/// The simulated time per step. Hosts see packets of other hosts at the next step; timers of one host are
/// exact to the millisecond.
const STEP: Duration = Duration::from_millis(20);

/// The timeout of every wait: a dead connection is detected after 45 seconds, and reconnect pauses grow to
/// 30.
const TIMEOUT: Duration = Duration::from_secs(400);

/// The interval between a user's actions.
const ACTION_INTERVAL: Duration = Duration::from_millis(100);

const SERVER: &str = "server";
const PORT: u16 = 7_000;

/// The simulated wall-clock time at the start, in Unix milliseconds.
const START_MS: i64 = 1_800_000_000_000;

fn wall_clock_ms() -> i64 {
    let elapsed = turmoil::sim_elapsed().unwrap_or_default();
    START_MS + i64::try_from(elapsed.as_millis()).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the clock of the simulation")]
fn simulated_clock() -> Now {
    let wall = DateTime::from_timestamp_millis(wall_clock_ms()).unwrap().fixed_offset();
    Now { monotonic: tokio::time::Instant::now(), wall }
}

/// A listener on the simulated network.
struct SimListener(turmoil::net::TcpListener);

impl Listener for SimListener {
    type Stream = turmoil::net::TcpStream;

    async fn accept(&self) -> std::io::Result<(Self::Stream, std::net::SocketAddr)> {
        self.0.accept().await
    }
}

/// Connects a client over the simulated network, with its key.
struct SimConnector(Arc<ClientIdentity>);

impl Connector for SimConnector {
    type Stream = tokio_rustls::client::TlsStream<turmoil::net::TcpStream>;

    async fn connect(&mut self) -> Result<VerifiedStream<Self::Stream>, ConnectError> {
        let server = || SERVER.parse().unwrap();
        let attempt = async {
            let stream = turmoil::net::TcpStream::connect((SERVER, PORT)).await;
            let stream = stream.map_err(|_refused| ConnectError::Refused(server()))?;
            let encrypted = tls::client::connect_unverified(SERVER, stream, Some(&self.0)).await;
            encrypted.map_err(|source| ConnectError::Tls { server: server(), source })
        };
        let limit = Duration::from_secs(10);
        let attempt = tokio::time::timeout(limit, attempt).await;
        let (stream, key) = attempt.map_err(|_elapsed| ConnectError::TimedOut(server()))??;
        Ok(VerifiedStream { stream, fingerprint: key.to_string(), first_contact_notice: None })
    }
}

/// What survives a crash of the server.
struct ServerHost {
    folder: PathBuf,
    identity: ServerIdentity,
    rng: RefCell<StdRng>,
    stop: RefCell<CancellationToken>,
}

/// Creates a log with the same epoch in every run, because message ids depend on it.
fn create_log(folder: &Path) {
    drop(SqliteStore::open(folder).unwrap());
    let log = rusqlite::Connection::open(folder.join("log.db")).unwrap();
    log.execute("UPDATE log SET epoch = 'simulation'", ()).unwrap();
}

/// Runs the server until it stops.
async fn run_server(host: Rc<ServerHost>) -> turmoil::Result {
    let mut store = SqliteStore::open(&host.folder)?;
    let snapshot = store.snapshot()?;
    let (reads, read_queue) = worker::read_queue();
    let (catch_up, catch_up_queue) = worker::read_queue();
    let (searches, search_queue) = worker::read_queue();
    let (writes, write_queue) = worker::write_queue();
    let mut rng = StdRng::seed_from_u64(host.rng.borrow_mut().random());
    let seed = rng.random();
    let slowness = rng.random_range(1..30);
    let disk = async move || {
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..slowness))).await;
    };
    tokio::task::spawn_local(worker::run_reader_task(store.open_reader()?, read_queue));
    tokio::task::spawn_local(worker::run_reader_task(store.open_reader()?, catch_up_queue));
    tokio::task::spawn_local(worker::run_reader_task(store.open_reader()?, search_queue));
    tokio::task::spawn_local(worker::run_writer_task(store, write_queue, disk));
    let listener = turmoil::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    let parts = ServerParts {
        access: chat::server::hub::AccessMode::Open,
        admin: None,
        listener: SimListener(listener),
        identity: host.identity.clone(),
        log: LogHandles { writer: writes, readers: reads, catch_up, searchers: searches },
        threads: LogThreads::default(),
        snapshot,
        retention: Retention::Forever,
        rooms: RoomSettings::default(),
        limits: ServerLimits::default(),
        clock: simulated_clock,
        seed,
    };
    let stop = CancellationToken::new();
    host.stop.replace(stop.clone());
    Ok(parts.run(stop).await?)
}

/// A simulation with its server and users.
pub(super) struct Simulation {
    pub(super) sim: Sim<'static>,
    pub(super) rng: StdRng,
    server: Rc<ServerHost>,
    coordinator: Rc<UserCoordinator>,
    users: Vec<Rc<RefCell<TestUser>>>,
}

/// The host name of a client.
fn client_host(number: usize) -> String {
    format!("client{number}")
}

impl Simulation {
    /// Sets up a server and clients with their files in `folder`.
    fn new(seed: u64, folder: &Path) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut builder = turmoil::Builder::new();
        let latency = rng.random_range(5..300);
        builder.rng_seed(seed).tick_duration(STEP).simulation_duration(Duration::MAX);
        builder.min_message_latency(Duration::from_millis(1)).enable_random_order();
        builder.max_message_latency(Duration::from_millis(latency));
        let mut sim = builder.build();
        create_log(&folder.join("log"));
        let server = Rc::new(ServerHost {
            folder: folder.join("log"),
            identity: ServerIdentity::open(&folder.join("certs")).unwrap(),
            rng: RefCell::new(StdRng::seed_from_u64(rng.random())),
            stop: RefCell::default(),
        });
        let host = Rc::clone(&server);
        sim.host(SERVER, move || run_server(Rc::clone(&host)));
        let coordinator = UserCoordinator::new(USERS, wall_clock_ms);
        let mut users = Vec::new();
        for number in 0..USERS {
            let user = TestUser::new(number, &coordinator, rng.random());
            users.push(Rc::clone(&user));
            let key = folder.join(format!("{}.pem", client_host(number)));
            let identity = Arc::new(ClientIdentity::open(&key).unwrap());
            let seeds = RefCell::new(StdRng::seed_from_u64(rng.random()));
            sim.host(client_host(number), move || {
                let (user, identity) = (Rc::clone(&user), Arc::clone(&identity));
                let username = user.borrow().name().to_string();
                let dialect = Dialect::Extended;
                let login = Login { dialect, ..Login::original(username) };
                let rng = SmallRng::seed_from_u64(seeds.borrow_mut().random());
                // The real outbox uses a thread, which is not deterministic. The user sends again what it
                // would contain.
                let outbox = Outbox::default();
                async move {
                    let client = client::connect_with(SimConnector(identity), login, outbox, rng);
                    test_user::run(user, client, ACTION_INTERVAL).await;
                    Ok(())
                }
            });
        }
        Self { sim, rng, server, coordinator, users }
    }

    /// The host name of a random client.
    pub(super) fn random_client(&mut self) -> String {
        client_host(self.rng.random_range(0..USERS))
    }

    /// The host names of all clients.
    pub(super) fn clients() -> impl Iterator<Item = String> {
        (0..USERS).map(client_host)
    }

    /// Stops the server as SIGTERM does.
    pub(super) fn stop_server(&self) {
        self.server.stop.borrow().cancel();
    }

    fn run(&mut self, time: Duration) {
        let end = self.sim.elapsed() + time;
        while self.sim.elapsed() < end {
            self.sim.step().unwrap();
        }
    }

    fn run_until(&mut self, condition: &str, holds: impl Fn(&Self) -> bool) {
        let end = self.sim.elapsed() + TIMEOUT;
        while !holds(self) {
            assert!(self.sim.elapsed() < end, "{condition}: not within {TIMEOUT:?}");
            self.sim.step().unwrap();
        }
    }

    fn all(&self, holds: fn(&TestUser) -> bool) -> bool {
        self.users.iter().all(|user| holds(&user.borrow()))
    }
}

/// The result of a simulation.
pub(super) struct SimulationResult {
    pub(super) history: History,
    /// The simulated time until every user had everything.
    pub(super) elapsed: Duration,
    /// What the files of the server contain a minute later, when removed texts must be erased.
    pub(super) tokens_in_files: BTreeSet<Token>,
}

/// Runs a seed.
pub(super) fn run(seed: u64) -> SimulationResult {
    // A memory file system, because syncing a disk would dominate the run time.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let folder = folder.unwrap();
    let mut simulation = Simulation::new(seed, folder.path());
    simulation.run_until("all users are registered", |simulation| {
        simulation.coordinator.all_registered()
    });
    let mut faults = FaultInjector::default();
    for _ in 0..simulation.rng.random_range(1..12) {
        let pause = Duration::from_millis(simulation.rng.random_range(0..3_000));
        simulation.run(pause);
        faults.inject_random(&mut simulation);
    }
    let pause = Duration::from_millis(simulation.rng.random_range(0..3_000));
    simulation.run(pause);
    faults.repair_all(&mut simulation);
    simulation.coordinator.stop_posting();
    simulation.run_until("no request is pending", |simulation| {
        simulation.all(TestUser::has_no_pending_requests)
    });
    simulation.coordinator.post_final_message();
    simulation
        .run_until("every user has everything", |simulation| simulation.all(TestUser::is_finished));
    let history = simulation.users.iter().map(|user| user.borrow().observations()).collect();
    let elapsed = simulation.sim.elapsed();
    simulation.run(Duration::from_mins(1));
    SimulationResult {
        history,
        elapsed,
        tokens_in_files: tokens_in_files(&folder.path().join("log")),
    }
}
