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
use chat::client::{self, ConnectError, Connector, Reached};
use chat::protocol::request::{Dialect, Login};
use chat::server::hub::Now;
use chat::server::{Bounds, Listener, Parts};
use chat::store::handle::{self, Handles, Threads};
use chat::store::sqlite::SqliteStore;
use chat::store::{Retention, Store as _};
use chat::tls;
use chat::tls::client::ClientIdentity;
use chat::tls::server::Identity;
use chrono::DateTime;
use rand::rngs::{SmallRng, StdRng};
use rand::{RngExt as _, SeedableRng as _};
use tokio_util::sync::CancellationToken;
use turmoil::Sim;

use super::fate::Fate;
use crate::support::checker::History;
use crate::support::person::{self, Person, Room};

const PEOPLE: usize = 4;

/// How much time passes at once. What happens on one machine happens to the millisecond; what comes
/// from another is noticed at the next step.
const STEP: Duration = Duration::from_millis(20);

/// Longer than anything takes: a dead link is found after 45 seconds, and pauses grow to 30.
const PATIENCE: Duration = Duration::from_secs(400);

/// How often somebody thinks of something to do.
const PACE: Duration = Duration::from_millis(100);

const SERVER: &str = "server";
const PORT: u16 = 7_000;

/// The moment at which the simulation begins, in milliseconds.
const BEGINNING: i64 = 1_800_000_000_000;

fn wall() -> i64 {
    let elapsed = turmoil::sim_elapsed().unwrap_or_default();
    BEGINNING + i64::try_from(elapsed.as_millis()).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the clock of the simulation")]
fn clock() -> Now {
    let wall = DateTime::from_timestamp_millis(wall()).unwrap().fixed_offset();
    Now { mono: tokio::time::Instant::now(), wall }
}

/// The network's end at the server.
struct Door(turmoil::net::TcpListener);

impl Listener for Door {
    type Stream = turmoil::net::TcpStream;

    async fn accept(&self) -> std::io::Result<(Self::Stream, std::net::SocketAddr)> {
        self.0.accept().await
    }
}

/// A client's way to the server.
struct Way(Arc<ClientIdentity>);

impl Connector for Way {
    type Stream = tokio_rustls::client::TlsStream<turmoil::net::TcpStream>;

    async fn connect(&mut self) -> Result<Reached<Self::Stream>, ConnectError> {
        let server = || SERVER.parse().unwrap();
        let attempt = async {
            let stream = turmoil::net::TcpStream::connect((SERVER, PORT)).await;
            let stream = stream.map_err(|_refused| ConnectError::Refused(server()))?;
            let encrypted = tls::client::connect(SERVER, stream, Some(&self.0)).await;
            encrypted.map_err(|source| ConnectError::Tls { server: server(), source })
        };
        let limit = Duration::from_secs(10);
        let attempt = tokio::time::timeout(limit, attempt).await;
        let (stream, key) = attempt.map_err(|_elapsed| ConnectError::Silent(server()))??;
        Ok(Reached { stream, fingerprint: key.to_string(), first_contact: None })
    }
}

/// What outlives a crash of the server.
struct Machine {
    folder: PathBuf,
    identity: Identity,
    dice: RefCell<StdRng>,
    stop: RefCell<CancellationToken>,
}

/// The server from its start to its end.
async fn serve(machine: Rc<Machine>) -> turmoil::Result {
    let mut store = SqliteStore::open(&machine.folder)?;
    let opened = store.opened()?;
    let (reads, read_queue) = handle::read_queue();
    let (searches, search_queue) = handle::read_queue();
    let (writes, write_queue) = handle::write_queue();
    let mut dice = StdRng::seed_from_u64(machine.dice.borrow_mut().random());
    let seed = dice.random();
    let slowness = dice.random_range(1..30);
    let disk = async move || {
        tokio::time::sleep(Duration::from_millis(dice.random_range(0..slowness))).await;
    };
    tokio::task::spawn_local(handle::serve_reads_as_task(store.reader()?, read_queue));
    tokio::task::spawn_local(handle::serve_reads_as_task(store.reader()?, search_queue));
    tokio::task::spawn_local(handle::serve_as_task(store, write_queue, disk));
    let listener = turmoil::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    let parts = Parts {
        access: chat::server::hub::Access::Open,
        admin: None,
        listener: Door(listener),
        identity: machine.identity.clone(),
        log: Handles { store: writes, reads, searches },
        threads: Threads::default(),
        opened,
        retention: Retention::Forever,
        bounds: Bounds::default(),
        clock,
        seed,
    };
    let stop = CancellationToken::new();
    machine.stop.replace(stop.clone());
    Ok(parts.run(stop).await?)
}

/// The world.
pub(super) struct World {
    pub(super) sim: Sim<'static>,
    pub(super) dice: StdRng,
    machine: Rc<Machine>,
    room: Rc<Room>,
    people: Vec<Rc<RefCell<Person>>>,
}

/// The name of a client's machine.
fn machine_of(number: usize) -> String {
    format!("client{number}")
}

impl World {
    /// A server and some clients, whose files are in this folder.
    fn new(seed: u64, folder: &Path) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut builder = turmoil::Builder::new();
        let latency = dice.random_range(5..300);
        builder.rng_seed(seed).tick_duration(STEP).simulation_duration(Duration::MAX);
        builder.min_message_latency(Duration::from_millis(1)).enable_random_order();
        builder.max_message_latency(Duration::from_millis(latency));
        let mut sim = builder.build();
        let machine = Rc::new(Machine {
            folder: folder.join("log"),
            identity: Identity::open(&folder.join("certs")).unwrap(),
            dice: RefCell::new(StdRng::seed_from_u64(dice.random())),
            stop: RefCell::default(),
        });
        let server = Rc::clone(&machine);
        sim.host(SERVER, move || serve(Rc::clone(&server)));
        let room = Room::new(PEOPLE, wall);
        let mut people = Vec::new();
        for number in 0..PEOPLE {
            let person = Person::new(number, &room, dice.random());
            people.push(Rc::clone(&person));
            let key = folder.join(format!("{}.pem", machine_of(number)));
            let identity = Arc::new(ClientIdentity::open(&key).unwrap());
            let seeds = RefCell::new(StdRng::seed_from_u64(dice.random()));
            sim.host(machine_of(number), move || {
                let (person, identity) = (Rc::clone(&person), Arc::clone(&identity));
                let username = person.borrow().name().to_string();
                let dialect = Dialect::Extended;
                let login = Login { username, dialect, id: None, invite: None, resume: None };
                let dice = SmallRng::seed_from_u64(seeds.borrow_mut().random());
                // The real one's file is another thread's work, and when that is done, chance. What it
                // would hold, the person says again.
                let outbox = Outbox::default();
                async move {
                    let client = client::connect_by(Way(identity), login, outbox, dice);
                    person::live(person, client, PACE).await;
                    Ok(())
                }
            });
        }
        Self { sim, dice, machine, room, people }
    }

    /// The machine of some client.
    pub(super) fn some_client(&mut self) -> String {
        machine_of(self.dice.random_range(0..PEOPLE))
    }

    /// The machines of all clients.
    pub(super) fn clients() -> impl Iterator<Item = String> {
        (0..PEOPLE).map(machine_of)
    }

    /// Ends the server as SIGTERM does.
    pub(super) fn stop_server(&self) {
        self.machine.stop.borrow().cancel();
    }

    fn run(&mut self, time: Duration) {
        let end = self.sim.elapsed() + time;
        while self.sim.elapsed() < end {
            self.sim.step().unwrap();
        }
    }

    fn run_until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let end = self.sim.elapsed() + PATIENCE;
        while !is_so(self) {
            assert!(self.sim.elapsed() < end, "{what}: not within {PATIENCE:?}");
            self.sim.step().unwrap();
        }
    }

    fn all(&self, is_so: fn(&Person) -> bool) -> bool {
        self.people.iter().all(|person| is_so(&person.borrow()))
    }
}

/// What everybody noted in the world of this seed, and how long it lasted there.
pub(super) fn play(seed: u64) -> (History, Duration) {
    // A disk that is waited for takes longer than all else.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let folder = folder.unwrap();
    let mut world = World::new(seed, folder.path());
    world.run_until("everybody is there", |world| world.room.is_complete());
    let mut fate = Fate::default();
    for _ in 0..world.dice.random_range(1..12) {
        let pause = Duration::from_millis(world.dice.random_range(0..3_000));
        world.run(pause);
        fate.strike(&mut world);
    }
    let pause = Duration::from_millis(world.dice.random_range(0..3_000));
    world.run(pause);
    fate.relent(&mut world);
    world.room.end();
    world.run_until("everything has its answer", |world| world.all(Person::is_answered));
    world.room.last_word();
    world.run_until("everybody has everything", |world| world.all(Person::is_done));
    let history = world.people.iter().map(|person| person.borrow().notes()).collect();
    (history, world.sim.elapsed())
}
