//! The real server and the real client library with a fault-injecting proxy between them.
//!
//! The clients' clock runs faster than real time, so that reconnect pauses are short; the network is real. The
//! suite breaks a few hundred connections; `CHAT_RECONNECTS=5000` breaks more.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use chat::client::address::ServerAddress;
use chat::client::known_servers::KnownServers;
use chat::client::outbox::Outbox;
use chat::client::trust::TrustMode;
use chat::client::{self, ClientOptions};
use chat::tls::client::ClientIdentity;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::support::checker::check;
use crate::support::flaky_proxy::FlakyProxy;
use crate::support::test_user::{self, TestUser, UserCoordinator};
use crate::support::{TestServer, count_from_env, print_result, serve_command};

const USERS: usize = 8;

/// The interval between a user's actions, by the clients' clock.
const ACTION_INTERVAL: Duration = Duration::from_secs(1);

/// How far the clients' clock advances per real millisecond.
const STEP: Duration = Duration::from_millis(100);

/// The timeout of every wait, by the clients' clock.
const TIMEOUT: Duration = Duration::from_hours(2);

#[expect(clippy::disallowed_methods, reason = "messages expire by the real clock")]
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
    let coordinator = UserCoordinator::new(USERS, wall_clock_ms);
    let users: Vec<_> =
        (0..USERS).map(|number| TestUser::new(number, &coordinator, number as u64)).collect();
    let mut clock = FastClock::start();
    for (number, user) in users.iter().enumerate() {
        let key = home.path().join(format!("{number}.pem"));
        let identity = Some(Arc::new(ClientIdentity::open(&key).unwrap()));
        let name = user.borrow().name();
        let server: ServerAddress = proxy.address.to_string().parse().unwrap();
        let outbox = Outbox::open(&home.path().join("outbox"), &server, name.as_str()).unwrap();
        let trust = TrustMode::PinOnFirstUse(KnownServers::open(home.path()).unwrap());
        let link = server.into();
        let client = client::connect(ClientOptions {
            link,
            name,
            identity,
            trust,
            id: None,
            outbox,
            quiet: false,
        });
        tokio::task::spawn_local(test_user::run(Rc::clone(user), client, ACTION_INTERVAL));
    }
    clock
        .run_until("enough connections", || {
            coordinator.all_registered() && proxy.connections() >= connections
        })
        .await;
    proxy.stop_faults();
    coordinator.stop_posting();
    clock
        .run_until("no request is pending", || {
            users.iter().all(|user| user.borrow().has_no_pending_requests())
        })
        .await;
    coordinator.post_final_message();
    clock
        .run_until("every user has everything", || {
            users.iter().all(|user| user.borrow().is_finished())
        })
        .await;
    let report = check(&users.iter().map(|user| user.borrow().observations()).collect());
    print_result(&format!("{} connections: {report}", proxy.connections()));
    assert!(report.is_clean() && report.acknowledged > 100, "{report}");
}

/// A clock that runs faster than real time.
struct FastClock {
    ticks: mpsc::Receiver<()>,
    elapsed: Duration,
}

impl FastClock {
    /// Pauses the clock of this runtime. A thread ticks every real millisecond. Its pending blocking task keeps
    /// tokio from advancing the paused clock on its own.
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

    async fn run_until(&mut self, condition: &str, holds: impl Fn() -> bool) {
        while !holds() {
            self.ticks.recv().await.unwrap();
            tokio::time::advance(STEP).await;
            self.elapsed += STEP;
            let is_late = self.elapsed > TIMEOUT;
            assert!(!is_late, "{condition}: not within {TIMEOUT:?}");
        }
    }
}
