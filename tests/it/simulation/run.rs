//! A world in a process: the real server and the real clients, with TLS, on a network and a clock that
//! are made up. A seed decides all of it.
//!
//! Knows nothing of what should come out: `checker` judges that.

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use chat::client::outbox::Outbox;
use chat::client::{self, ConnectError, Connector, VerifiedStream};
use chat::protocol::request::{Dialect, Login};
use chat::server::hub::Now;
use chat::server::{Listener, ServerLimits, ServerParts};
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
use crate::support::checker::History;
use crate::support::test_user::{self, TestUser, UserCoordinator};

const USERS: usize = 4;

/// How much time passes at once. What happens on one machine happens to the millisecond; what comes
/// from another is noticed at the next step.
const STEP: Duration = Duration::from_millis(20);

/// Longer than anything takes: a dead link is found after 45 seconds, and pauses grow to 30.
const TIMEOUT: Duration = Duration::from_secs(400);

/// How often somebody thinks of something to do.
const ACTION_INTERVAL: Duration = Duration::from_millis(100);

const SERVER: &str = "server";
const PORT: u16 = 7_000;

/// The moment at which the simulation begins, in milliseconds.
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

/// The network's end at the server.
struct SimListener(turmoil::net::TcpListener);

impl Listener for SimListener {
    type Stream = turmoil::net::TcpStream;

    async fn accept(&self) -> std::io::Result<(Self::Stream, std::net::SocketAddr)> {
        self.0.accept().await
    }
}

/// A client's way to the server.
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

/// What outlives a crash of the server.
struct ServerHost {
    folder: PathBuf,
    identity: ServerIdentity,
    rng: RefCell<StdRng>,
    stop: RefCell<CancellationToken>,
}

/// The server from its start to its end.
async fn run_server(host: Rc<ServerHost>) -> turmoil::Result {
    let mut store = SqliteStore::open(&host.folder)?;
    let opened = store.snapshot()?;
    let (reads, read_queue) = worker::read_queue();
    let (searches, search_queue) = worker::read_queue();
    let (writes, write_queue) = worker::write_queue();
    let mut dice = StdRng::seed_from_u64(host.rng.borrow_mut().random());
    let seed = dice.random();
    let slowness = dice.random_range(1..30);
    let disk = async move || {
        tokio::time::sleep(Duration::from_millis(dice.random_range(0..slowness))).await;
    };
    tokio::task::spawn_local(worker::run_reader_task(store.open_reader()?, read_queue));
    tokio::task::spawn_local(worker::run_reader_task(store.open_reader()?, search_queue));
    tokio::task::spawn_local(worker::run_writer_task(store, write_queue, disk));
    let listener = turmoil::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    let parts = ServerParts {
        access: chat::server::hub::AccessMode::Open,
        admin: None,
        listener: SimListener(listener),
        identity: host.identity.clone(),
        log: LogHandles { writer: writes, readers: reads, searchers: searches },
        threads: LogThreads::default(),
        snapshot: opened,
        retention: Retention::Forever,
        limits: ServerLimits::default(),
        clock: simulated_clock,
        seed,
    };
    let stop = CancellationToken::new();
    host.stop.replace(stop.clone());
    Ok(parts.run(stop).await?)
}

/// The world.
pub(super) struct Simulation {
    pub(super) sim: Sim<'static>,
    pub(super) rng: StdRng,
    server: Rc<ServerHost>,
    coordinator: Rc<UserCoordinator>,
    users: Vec<Rc<RefCell<TestUser>>>,
}

/// The name of a client's machine.
fn client_host(number: usize) -> String {
    format!("client{number}")
}

impl Simulation {
    /// A server and some clients, whose files are in this folder.
    fn new(seed: u64, folder: &Path) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut builder = turmoil::Builder::new();
        let latency = rng.random_range(5..300);
        builder.rng_seed(seed).tick_duration(STEP).simulation_duration(Duration::MAX);
        builder.min_message_latency(Duration::from_millis(1)).enable_random_order();
        builder.max_message_latency(Duration::from_millis(latency));
        let mut sim = builder.build();
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
            let person = TestUser::new(number, &coordinator, rng.random());
            users.push(Rc::clone(&person));
            let key = folder.join(format!("{}.pem", client_host(number)));
            let identity = Arc::new(ClientIdentity::open(&key).unwrap());
            let seeds = RefCell::new(StdRng::seed_from_u64(rng.random()));
            sim.host(client_host(number), move || {
                let (person, identity) = (Rc::clone(&person), Arc::clone(&identity));
                let username = person.borrow().name().to_string();
                let dialect = Dialect::Extended;
                let login = Login { username, dialect, user_id: None, invite: None, resume: None };
                let dice = SmallRng::seed_from_u64(seeds.borrow_mut().random());
                // The real one's file is another thread's work, and when that is done, chance. What it
                // would hold, the person says again.
                let outbox = Outbox::default();
                async move {
                    let client = client::connect_with(SimConnector(identity), login, outbox, dice);
                    test_user::run(person, client, ACTION_INTERVAL).await;
                    Ok(())
                }
            });
        }
        Self { sim, rng, server, coordinator, users }
    }

    /// The machine of some client.
    pub(super) fn random_client(&mut self) -> String {
        client_host(self.rng.random_range(0..USERS))
    }

    /// The machines of all clients.
    pub(super) fn clients() -> impl Iterator<Item = String> {
        (0..USERS).map(client_host)
    }

    /// Ends the server as SIGTERM does.
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
        self.users.iter().all(|person| holds(&person.borrow()))
    }
}

/// What everybody noted in the world of this seed, and how long it lasted there.
pub(super) fn run(seed: u64) -> (History, Duration) {
    // A disk that is waited for takes longer than all else.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let folder = folder.unwrap();
    let mut world = Simulation::new(seed, folder.path());
    world.run_until("everybody is there", |world| world.coordinator.all_registered());
    let mut fate = FaultInjector::default();
    for _ in 0..world.rng.random_range(1..12) {
        let pause = Duration::from_millis(world.rng.random_range(0..3_000));
        world.run(pause);
        fate.inject_random(&mut world);
    }
    let pause = Duration::from_millis(world.rng.random_range(0..3_000));
    world.run(pause);
    fate.repair_all(&mut world);
    world.coordinator.stop_posting();
    world.run_until("everything has its answer", |world| {
        world.all(TestUser::has_no_pending_requests)
    });
    world.coordinator.post_final_message();
    world.run_until("everybody has everything", |world| world.all(TestUser::is_finished));
    let history = world.users.iter().map(|person| person.borrow().observations()).collect();
    (history, world.sim.elapsed())
}
