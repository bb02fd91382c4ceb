//! The real server and the real client with a bad network between them.
//!
//! The clients' clock runs faster than others, so that their pauses take no time; the network is a real
//! one. The suite loses a few hundred connections; `CHAT_RECONNECTS=5000` loses more.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use chat::client::address::ServerAddress;
use chat::client::outbox::Outbox;
use chat::client::trust::{KnownServers, TrustMode};
use chat::client::{self, ClientOptions};
use chat::tls::client::ClientIdentity;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::support::checker::check;
use crate::support::flaky_proxy::FlakyProxy;
use crate::support::test_user::{self, TestUser, UserCoordinator};
use crate::support::{TestServer, count_from_env, print_result, serve_command};

const USERS: usize = 8;

/// How often somebody thinks of something to do, by the clients' clock.
const ACTION_INTERVAL: Duration = Duration::from_secs(1);

/// Each millisecond takes the clients so long.
const STEP: Duration = Duration::from_millis(100);

/// How long it may take by the clients' clock: far longer than it does.
const TIMEOUT: Duration = Duration::from_hours(2);

#[expect(clippy::disallowed_methods, reason = "what expires does so by the real clock")]
fn wall_clock_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

#[test]
fn delivery_is_exactly_once_over_flaky_network() {
    let connections = count_from_env("CHAT_RECONNECTS", 200);
    let folder = TempDir::new().unwrap();
    let command = serve_command(&folder, &["--listen", "127.0.0.1:0", "--no-rate-limits"]);
    let server = TestServer::spawn(folder, command);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, run_users(&server, connections));
}

async fn run_users(server: &TestServer, connections: usize) {
    let home = TempDir::new().unwrap();
    let proxy = FlakyProxy::new(1).await;
    tokio::task::spawn_local(Rc::clone(&proxy).run(server.address));
    let room = UserCoordinator::new(USERS, wall_clock_ms);
    let people: Vec<_> =
        (0..USERS).map(|number| TestUser::new(number, &room, number as u64)).collect();
    let mut clock = FastClock::start();
    for (number, person) in people.iter().enumerate() {
        let key = home.path().join(format!("{number}.pem"));
        let identity = Some(Arc::new(ClientIdentity::open(&key).unwrap()));
        let name = person.borrow().name();
        let server: ServerAddress = proxy.address.to_string().parse().unwrap();
        let outbox = Outbox::open(&home.path().join("outbox"), &server, name.as_str()).unwrap();
        let trust = TrustMode::PinOnFirstUse(KnownServers::open(home.path()).unwrap());
        let link = server.into();
        let client =
            client::connect(ClientOptions { link, name, identity, trust, id: None, outbox });
        tokio::task::spawn_local(test_user::run(Rc::clone(person), client, ACTION_INTERVAL));
    }
    clock
        .run_until("enough connections", || {
            room.all_registered() && proxy.connections() >= connections
        })
        .await;
    proxy.stop_faults();
    room.stop_posting();
    clock
        .run_until("all answered", || {
            people.iter().all(|person| person.borrow().has_no_pending_requests())
        })
        .await;
    room.post_final_message();
    clock.run_until("all done", || people.iter().all(|person| person.borrow().is_finished())).await;
    let report = check(&people.iter().map(|person| person.borrow().observations()).collect());
    print_result(&format!("{} connections: {report}", proxy.connections()));
    assert!(report.is_clean() && report.acknowledged > 100, "{report}");
}

/// A clock that runs faster than the real one.
struct FastClock {
    ticks: mpsc::Receiver<()>,
    elapsed: Duration,
}

impl FastClock {
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
            tokio::time::advance(STEP).await;
            self.elapsed += STEP;
            let is_late = self.elapsed > TIMEOUT;
            assert!(!is_late, "{what}: not within {TIMEOUT:?}");
        }
    }
}
