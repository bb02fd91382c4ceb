//! Kills, shutdowns, power cuts and disk faults of a server under load.
//!
//! The suite runs a few of each; `CHAT_KILLS=1000` and `CHAT_POWER_CUTS=200` run more.

use std::process::Command;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::support::checker::{Report, check};
use crate::support::load_client::{LoadClient, LoadCoordinator};
use crate::support::{TestServer, count_from_env, print_result, serve_command};

const CLIENTS: usize = 6;

/// A command that restarts the server on the same folder and a free port.
fn restart_command(server: &TestServer) -> Command {
    serve_command(server.data_folder(), &["--listen", "127.0.0.1:0", "--no-rate-limits"])
}

/// Runs load clients while `inject_fault` is called `count` times, then checks what they recorded.
/// `inject_fault` must leave the server running.
fn run_with_faults(
    fault_name: &str,
    mut server: TestServer,
    count: usize,
    mut inject_fault: impl FnMut(&mut TestServer, &LoadCoordinator, &mut StdRng),
) -> Report {
    let coordinator = LoadCoordinator::new(CLIENTS);
    let mut rng = StdRng::seed_from_u64(1);
    coordinator.set_server_address(server.address);
    let certificate = server.certificate_path();
    let mut clients: Vec<_> =
        (0..CLIENTS).map(|number| LoadClient::join(number, &certificate, &coordinator)).collect();
    std::thread::scope(|scope| {
        for client in &mut clients {
            scope.spawn(|| client.run(&coordinator));
        }
        for _ in 0..count {
            coordinator.wait_for_acknowledgements(rng.random_range(1..150));
            inject_fault(&mut server, &coordinator, &mut rng);
            coordinator.set_server_address(server.address);
        }
        coordinator.wait_for_acknowledgements(1);
        coordinator.finish();
    });
    let history = clients.into_iter().map(|client| client.finish(&coordinator)).collect();
    server.signal("TERM");
    assert!(server.wait_for_exit().success(), "{}", server.log());
    let log = rusqlite::Connection::open(server.data_folder().path().join("log.db")).unwrap();
    let integrity = log.query_row("PRAGMA integrity_check", (), |row| row.get::<_, String>(0));
    assert_eq!(integrity.unwrap(), "ok");
    let report = check(&history);
    print_result(&format!("{count} {fault_name}: {report}"));
    let Report { acknowledged, removed, edited, annotated, .. } = report;
    assert!(acknowledged > count && removed > 0 && edited > 0 && annotated > 0, "{report}");
    report
}

#[test]
fn delivery_is_exactly_once_after_kill() {
    let report = run_with_faults(
        "kills",
        TestServer::start(),
        count_from_env("CHAT_KILLS", 5),
        |server, _, _| {
            server.kill();
            let again = restart_command(server);
            assert!(server.restart(again), "{}", server.log());
        },
    );
    assert!(report.is_clean(), "{report}");
}

#[test]
fn delivery_is_exactly_once_after_stop() {
    let report = run_with_faults("stops", TestServer::start(), 3, |server, _, _| {
        server.signal("TERM");
        assert!(server.wait_for_exit().success(), "{}", server.log());
        let again = restart_command(server);
        assert!(server.restart(again), "{}", server.log());
    });
    assert!(report.is_clean(), "{report}");
}

#[cfg(target_os = "linux")]
mod disk {
    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::*;
    use crate::support::faulty_disk::FaultyDisk;

    /// A server on a disk with faults; `None` without a C compiler.
    fn server() -> Option<(TestServer, FaultyDisk)> {
        let folder = TempDir::new().unwrap();
        let disk = FaultyDisk::create(folder.path())?;
        let mut command = serve_command(&folder, &["--listen", "127.0.0.1:0", "--no-rate-limits"]);
        disk.attach(&mut command);
        Some((TestServer::spawn(folder, command), disk))
    }

    /// Cuts the power now and again at a random change after the restart. `lies` makes the disk skip syncs of
    /// the write-ahead log.
    fn cut_power(
        server: &mut TestServer,
        coordinator: &LoadCoordinator,
        rng: &mut StdRng,
        disk: &FaultyDisk,
        lies: bool,
    ) {
        server.kill();
        disk.cut_power(rng);
        let mut again = restart_command(server);
        disk.attach(&mut again).env("DISK_CUT", rng.random_range(0..1_500).to_string());
        if lies {
            again.env("DISK_LIES", "yes");
        }
        if server.restart(again) {
            coordinator.set_server_address(server.address);
            server.wait_for_exit();
        }
        disk.cut_power(rng);
        let mut again = restart_command(server);
        disk.attach(&mut again);
        assert!(server.restart(again), "{}", server.log());
    }

    #[test]
    fn delivery_is_exactly_once_after_power_cut() {
        let Some((server, disk)) = server() else { return };
        let count = count_from_env("CHAT_POWER_CUTS", 10);
        let report =
            run_with_faults("power cuts", server, count.div_ceil(2), |server, coordinator, rng| {
                cut_power(server, coordinator, rng, &disk, false);
            });
        assert!(report.is_clean(), "{report}");
    }

    #[test]
    fn lost_writes_on_a_lying_disk_are_detected() {
        let Some((server, disk)) = server() else { return };
        let report = run_with_faults(
            "power cuts with a lying disk",
            server,
            3,
            |server, coordinator, rng| {
                cut_power(server, coordinator, rng, &disk, true);
            },
        );
        assert!(report.lost > 0, "{report}");
    }

    fn post_request(cid: &str) -> Value {
        json!({"action": "MESSAGE", "receiver": ["all"], "content": cid, "cid": cid})
    }

    #[test]
    fn full_disk_refuses_only_writes() {
        let Some((mut server, disk)) = server() else { return };
        let (mut ann, mut bob) = (server.join("Ann"), server.join("Bob"));
        ann.send(&post_request("before"));
        bob.wait_for("cid", "before");

        disk.fail_with("full");
        for attempt in ["one", "two"] {
            ann.send(&post_request(attempt));
            let reply = ann.wait_for("cid", attempt);
            assert_eq!((&reply["action"], &reply["code"]), (&json!("ERROR"), &json!("not_stored")));
            assert!(reply["error"].as_str().unwrap().contains("its disk is full"), "{reply}");
        }
        assert!(server.log().contains("the disk is full"), "{}", server.log());
        bob.send(&json!({"action": "HISTORY", "cid": "page"}));
        assert_eq!(contents(&bob.wait_for("cid", "page")), ["before"]);
        server.join("Tom");

        disk.repair();
        ann.send(&post_request("two"));
        assert_eq!(ann.wait_for("cid", "two")["action"], "MESSAGE");
        assert_eq!(bob.wait_for("action", "MESSAGE")["content"], "two", "one was not stored");
        server.signal("TERM");
        assert!(server.wait_for_exit().success());
        let again = restart_command(&server);
        assert!(server.restart(again));
        let mut bob = server.join("Bob");
        bob.send(&json!({"action": "HISTORY", "cid": "page"}));
        assert_eq!(contents(&bob.wait_for("cid", "page")), ["before", "two"]);
    }

    #[test]
    fn failed_sync_refuses_writes_until_restart() {
        let Some((mut server, disk)) = server() else { return };
        let mut ann = server.join("Ann");
        ann.send(&post_request("before"));
        ann.wait_for("cid", "before");
        disk.fail_with("broken");
        ann.send(&post_request("one"));
        assert_eq!(ann.wait_for("cid", "one")["code"], "not_stored");
        disk.repair();
        ann.send(&post_request("two"));
        let reply = ann.wait_for("cid", "two");
        assert_eq!(reply["code"], "not_stored", "the state of the disk is unknown: {reply}");
        ann.send(&json!({"action": "HISTORY", "cid": "page"}));
        assert_eq!(contents(&ann.wait_for("cid", "page"))[0], "before");
        server.signal("TERM");
        server.wait_for_exit();
        let again = restart_command(&server);
        assert!(server.restart(again), "{}", server.log());
        let mut ann = server.join("Ann");
        ann.send(&post_request("three"));
        assert_eq!(ann.wait_for("cid", "three")["action"], "MESSAGE");
    }

    fn contents(page: &Value) -> Vec<&str> {
        let messages = page["messages"].as_array().unwrap();
        messages.iter().map(|message| message["content"].as_str().unwrap()).collect()
    }
}
