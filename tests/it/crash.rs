//! The server is killed, stopped, loses its power or its disk, while people talk.
//!
//! The suite does a few of each; `CHAT_KILLS=1000` and `CHAT_POWER_CUTS=200` do more.

use std::process::Command;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::support::checker::{Report, check};
use crate::support::load::{Member, Stage};
use crate::support::{Server, serve, tell, times};

const CLIENTS: usize = 6;

/// A server on the same folder, on any port.
fn command(server: &Server) -> Command {
    serve(server.folder(), &["--listen", "127.0.0.1:0", "--no-rate-limits"])
}

/// Has clients talk while `fate` befalls the server `times` times, and judges what they noted. Fate
/// leaves a server that runs.
fn ordeal(
    name: &str,
    mut server: Server,
    times: usize,
    mut fate: impl FnMut(&mut Server, &Stage, &mut StdRng),
) -> Report {
    let stage = Stage::new(CLIENTS);
    let mut dice = StdRng::seed_from_u64(1);
    stage.server_is_at(server.address);
    let certificate = server.certificate();
    let mut members: Vec<_> =
        (0..CLIENTS).map(|number| Member::join(number, &certificate, &stage)).collect();
    std::thread::scope(|scope| {
        for member in &mut members {
            scope.spawn(|| member.run(&stage));
        }
        for _ in 0..times {
            stage.wait_for(dice.random_range(1..150));
            fate(&mut server, &stage, &mut dice);
            stage.server_is_at(server.address);
        }
        stage.wait_for(1);
        stage.is_over();
    });
    let history = members.into_iter().map(|member| member.finish(&stage)).collect();
    server.signal("TERM");
    assert!(server.wait_for_end().success(), "{}", server.log());
    let log = rusqlite::Connection::open(server.folder().path().join("log.db")).unwrap();
    let found = log.query_row("PRAGMA integrity_check", (), |row| row.get::<_, String>(0));
    assert_eq!(found.unwrap(), "ok");
    let report = check(&history);
    tell(&format!("{times} {name}: {report}"));
    assert!(report.acknowledged > times && report.removed > 0, "{report}");
    report
}

#[test]
fn a_killed_server_loses_and_doubles_nothing() {
    let report = ordeal("kills", Server::start(), times("CHAT_KILLS", 5), |server, _, _| {
        server.kill();
        let again = command(server);
        assert!(server.restart(again), "{}", server.log());
    });
    assert!(report.is_clean(), "{report}");
}

#[test]
fn a_stopped_server_loses_and_doubles_nothing() {
    let report = ordeal("stops", Server::start(), 3, |server, _, _| {
        server.signal("TERM");
        assert!(server.wait_for_end().success(), "{}", server.log());
        let again = command(server);
        assert!(server.restart(again), "{}", server.log());
    });
    assert!(report.is_clean(), "{report}");
}

#[cfg(target_os = "linux")]
mod disk {
    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::*;
    use crate::support::disk::Disk;

    /// A server on a disk that may give it trouble.
    fn server() -> Option<(Server, Disk)> {
        let folder = TempDir::new().unwrap();
        let disk = Disk::of(folder.path())?;
        let mut command = serve(&folder, &["--listen", "127.0.0.1:0", "--no-rate-limits"]);
        disk.under(&mut command);
        Some((Server::spawn(folder, command), disk))
    }

    /// Cuts the power at any moment of what the server does next, its start included; on a disk that
    /// lies, if it does.
    fn cut_power(server: &mut Server, stage: &Stage, dice: &mut StdRng, disk: &Disk, lies: bool) {
        server.kill();
        disk.lose_power(dice);
        let mut again = command(server);
        disk.under(&mut again).env("DISK_CUT", dice.random_range(0..1_500).to_string());
        if lies {
            again.env("DISK_LIES", "yes");
        }
        if server.restart(again) {
            stage.server_is_at(server.address);
            server.wait_for_end();
        }
        disk.lose_power(dice);
        let mut again = command(server);
        disk.under(&mut again);
        assert!(server.restart(again), "{}", server.log());
    }

    #[test]
    fn a_power_cut_loses_and_doubles_nothing() {
        let Some((server, disk)) = server() else { return };
        let times = times("CHAT_POWER_CUTS", 10);
        let report = ordeal("power cuts", server, times.div_ceil(2), |server, stage, dice| {
            cut_power(server, stage, dice, &disk, false);
        });
        assert!(report.is_clean(), "{report}");
    }

    #[test]
    fn the_power_cuts_can_tell_whether_the_disk_is_waited_for() {
        let Some((server, disk)) = server() else { return };
        let report = ordeal("power cuts of a disk that lies", server, 3, |server, stage, dice| {
            cut_power(server, stage, dice, &disk, true);
        });
        assert!(report.lost > 0, "{report}");
    }

    fn say(cid: &str) -> Value {
        json!({"action": "MESSAGE", "receiver": ["all"], "content": cid, "cid": cid})
    }

    #[test]
    fn a_full_disk_refuses_messages_and_nothing_else() {
        let Some((mut server, disk)) = server() else { return };
        let (mut ann, mut bob) = (server.ours("Ann"), server.ours("Bob"));
        ann.send(&say("before"));
        bob.wait_for("cid", "before");

        disk.has("full");
        for attempt in ["one", "two"] {
            ann.send(&say(attempt));
            let refused = ann.wait_for("cid", attempt);
            assert_eq!(
                (&refused["action"], &refused["code"]),
                (&json!("ERROR"), &json!("not_stored"))
            );
            assert!(refused["error"].as_str().unwrap().contains("its disk is full"), "{refused}");
        }
        assert!(server.log().contains("the disk is full"), "{}", server.log());
        bob.send(&json!({"action": "HISTORY", "cid": "page"}));
        assert_eq!(contents(&bob.wait_for("cid", "page")), ["before"]);
        server.ours("Tom");

        disk.is_well();
        ann.send(&say("two"));
        assert_eq!(ann.wait_for("cid", "two")["action"], "MESSAGE");
        assert_eq!(bob.wait_for("action", "MESSAGE")["content"], "two", "one was not stored");
        server.signal("TERM");
        assert!(server.wait_for_end().success());
        let again = command(&server);
        assert!(server.restart(again));
        let mut bob = server.ours("Bob");
        bob.send(&json!({"action": "HISTORY", "cid": "page"}));
        assert_eq!(contents(&bob.wait_for("cid", "page")), ["before", "two"]);
    }

    #[test]
    fn a_broken_disk_is_not_trusted_again() {
        let Some((mut server, disk)) = server() else { return };
        let mut ann = server.ours("Ann");
        ann.send(&say("before"));
        ann.wait_for("cid", "before");
        disk.has("broken");
        ann.send(&say("one"));
        assert_eq!(ann.wait_for("cid", "one")["code"], "not_stored");
        disk.is_well();
        ann.send(&say("two"));
        let refused = ann.wait_for("cid", "two");
        assert_eq!(refused["code"], "not_stored", "what the disk has is unknown: {refused}");
        ann.send(&json!({"action": "HISTORY", "cid": "page"}));
        assert_eq!(contents(&ann.wait_for("cid", "page"))[0], "before");
        server.signal("TERM");
        server.wait_for_end();
        let again = command(&server);
        assert!(server.restart(again), "{}", server.log());
        let mut ann = server.ours("Ann");
        ann.send(&say("three"));
        assert_eq!(ann.wait_for("cid", "three")["action"], "MESSAGE");
    }

    fn contents(page: &Value) -> Vec<&str> {
        let messages = page["messages"].as_array().unwrap();
        messages.iter().map(|message| message["content"].as_str().unwrap()).collect()
    }
}
