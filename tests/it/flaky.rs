//! The real server and the real client with a bad network between them.
//!
//! The clients' clock runs faster than others, so that their pauses take no time; the network is a real
//! one. The suite loses a few hundred connections; `CHAT_RECONNECTS=5000` loses more.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use chat::client::address::ServerAddress;
use chat::client::outbox::Outbox;
use chat::client::trust::{KnownServers, Trust};
use chat::client::{self, Options};
use chat::tls::client::ClientIdentity;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::support::checker::check;
use crate::support::person::{self, Person, Room};
use crate::support::proxy::Proxy;
use crate::support::{Server, serve, tell, times};

const PEOPLE: usize = 8;

/// How often somebody thinks of something to do, by the clients' clock.
const PACE: Duration = Duration::from_secs(1);

/// Each millisecond takes the clients so long.
const FASTER: Duration = Duration::from_millis(100);

/// How long it may take by the clients' clock: far longer than it does.
const PATIENCE: Duration = Duration::from_hours(2);

#[expect(clippy::disallowed_methods, reason = "what expires does so by the real clock")]
fn wall() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

#[test]
fn a_bad_network_loses_and_doubles_nothing() {
    let connections = times("CHAT_RECONNECTS", 200);
    let folder = TempDir::new().unwrap();
    let command = serve(&folder, &["--listen", "127.0.0.1:0", "--no-rate-limits"]);
    let server = Server::spawn(folder, command);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, ordeal(&server, connections));
}

async fn ordeal(server: &Server, connections: usize) {
    let home = TempDir::new().unwrap();
    let proxy = Proxy::new(1).await;
    tokio::task::spawn_local(Rc::clone(&proxy).run(server.address));
    let room = Room::new(PEOPLE, wall);
    let people: Vec<_> =
        (0..PEOPLE).map(|number| Person::new(number, &room, number as u64)).collect();
    let mut clock = Clock::start();
    for (number, person) in people.iter().enumerate() {
        let key = home.path().join(format!("{number}.pem"));
        let identity = Some(Arc::new(ClientIdentity::open(&key).unwrap()));
        let name = person.borrow().name();
        let server: ServerAddress = proxy.address.to_string().parse().unwrap();
        let outbox = Outbox::open(&home.path().join("outbox"), &server, name.as_str()).unwrap();
        let trust = Trust::Pins(KnownServers::open(home.path()).unwrap());
        let link = server.into();
        let client = client::connect(Options { link, name, identity, trust, id: None, outbox });
        tokio::task::spawn_local(person::live(Rc::clone(person), client, PACE));
    }
    clock
        .run_until("enough connections", || {
            room.is_complete() && proxy.connections() >= connections
        })
        .await;
    proxy.calm();
    room.end();
    clock
        .run_until("all answered", || people.iter().all(|person| person.borrow().is_answered()))
        .await;
    room.last_word();
    clock.run_until("all done", || people.iter().all(|person| person.borrow().is_done())).await;
    let report = check(&people.iter().map(|person| person.borrow().notes()).collect());
    tell(&format!("{} connections: {report}", proxy.connections()));
    assert!(report.is_clean() && report.acknowledged > 100, "{report}");
}

/// A clock that runs faster than the real one.
struct Clock {
    ticks: mpsc::Receiver<()>,
    elapsed: Duration,
}

impl Clock {
    /// Stops the clock of this runtime. A thread tells the real time, and tokio, which would let a
    /// stopped clock jump whenever nothing goes on, waits for the thread.
    fn start() -> Self {
        tokio::time::pause();
        let (sender, ticks) = mpsc::channel(1);
        tokio::task::spawn_blocking(move || {
            while sender.blocking_send(()).is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self { ticks, elapsed: Duration::ZERO }
    }

    async fn run_until(&mut self, what: &str, is_so: impl Fn() -> bool) {
        while !is_so() {
            self.ticks.recv().await.unwrap();
            tokio::time::advance(FASTER).await;
            self.elapsed += FASTER;
            let is_late = self.elapsed > PATIENCE;
            assert!(!is_late, "{what}: not within {PATIENCE:?}");
        }
    }
}
