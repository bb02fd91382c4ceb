//! What comes from outside: a server that goes away, hostile text, and nothing at all.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::talk::join_ann_and_bob;
use crate::support::pty::{PtyProgram, key};
use crate::support::{TestServer, serve_command};

#[test]
fn client_reconnects_after_server_loss() {
    let data = TempDir::new().unwrap();
    let start = |address: &str| {
        TestServer::spawn(TempDir::new().unwrap(), serve_command(&data, &["--listen", address]))
    };
    let server = start("127.0.0.1:0");
    let address = server.address.to_string();
    let (mut ann, bob) = join_ann_and_bob(&server);
    ann.submit("before");
    bob.wait_for("│ before");
    drop(server);
    for screen in [&ann, &bob] {
        screen.wait_for("disconnected: ");
        screen.wait_for("not connected");
    }
    ann.submit("is anybody there?");
    ann.wait_for("waiting…");
    let _server = start(&address);
    for screen in [&ann, &bob] {
        screen.wait_for("connected again, as ");
        screen.wait_for("● TLS 1.3");
        screen.wait_for("1 other here");
    }
    bob.wait_for("│ is anybody there?");
    bob.wait_for("│ before");
}

#[test]
fn returning_user_keeps_the_id_and_sees_the_unread_marker() {
    let server = TestServer::start();
    let (mut ann, mut bob) = join_ann_and_bob(&server);
    ann.submit("before");
    bob.wait_for("│ before");
    let id = bob.id();
    bob.submit("seen");
    ann.wait_for("│ seen");
    let home = bob.quit();
    ann.wait_for(&format!("{id} left"));
    ann.submit("meanwhile");
    ann.wait_for("│ meanwhile");
    let mut bob = PtyProgram::rejoin(&server, "Bob", home);
    bob.wait_for("│ meanwhile");
    bob.wait_for("│ before");
    bob.wait_for("new since you left");
    assert!(bob.row_of("│ seen") < bob.row_of("new since you left"));
    assert!(bob.row_of("new since you left") < bob.row_of("│ meanwhile"));
    assert_eq!(bob.id(), id);
    bob.keys(key::CTRL_F);
    bob.keys("from:ann while");
    bob.wait_for("1 of 1 in");
}

#[test]
fn messages_cannot_send_control_sequences() {
    let server = TestServer::start();
    let ann = PtyProgram::join(&server, "Ann");
    let mut eve = server.join_original("Eve");
    for hostile in [
        "\x1b]0;title\x07",
        "\x1b]52;c;cm0gLXJm\x1b\\",
        "\x1b[2J\x1b[31m\x1b[?1049l",
        "\u{9b}2J\u{9d}0;title\u{9c}",
        "\x1bP+q544e\x1b\\ \x1b_payload\x1b\\ \x1bc",
        "\u{202e}txet\u{2066}\u{200f}",
        "bell\x07 back\x08\x08 return\rover \x0b\x0c \x7f \0",
    ] {
        eve.send("MESSAGE", &["all"], hostile, &Value::Null);
    }
    eve.send("MESSAGE", &["all"], "the end", &Value::Null);
    ann.wait_for("│ the end");
    ann.wait_for("]0;title");
    let raw = ann.raw();
    let mut controls: Vec<char> = raw.chars().filter(|c| c.is_control()).collect();
    controls.sort_unstable();
    controls.dedup();
    assert_eq!(controls, ['\x1b'], "control characters");
    for bidi in ('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}').chain(['\u{200f}']) {
        assert!(!raw.contains(bidi), "{bidi:?}");
    }
    let after = |mark: &str| {
        raw.split(mark).skip(1).filter_map(|rest| rest.chars().next()).collect::<String>()
    };
    assert!(after("\x1b").chars().all(|c| c == '['), "no sequence but CSI");
    assert!(!raw.contains("\x1b[?1049l"), "the other screen was left");
}

#[test]
fn idle_client_draws_nothing_and_uses_no_cpu() {
    let server = TestServer::start();
    let (ann, bob) = join_ann_and_bob(&server);
    for screen in [&ann, &bob] {
        screen.wait_for_quiet(Duration::from_millis(300));
    }
    let before = [&ann, &bob].map(|screen| (screen.raw().len(), cpu_ticks(screen)));
    ann.has_output_within(Duration::from_millis(1_500));
    let after = [&ann, &bob].map(|screen| (screen.raw().len(), cpu_ticks(screen)));
    for (before, after) in before.into_iter().zip(after) {
        assert_eq!(before.0, after.0, "something was written");
        assert!(after.1 - before.1 <= 2, "{} ticks of 10 ms", after.1 - before.1);
    }
}

/// The processor time that the program has used, as Linux counts it.
fn cpu_ticks(screen: &PtyProgram) -> u64 {
    let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", screen.process_id())) else {
        return 0;
    };
    // proc_pid_stat(5): the fields 14 and 15; the second may have spaces and ends with a bracket.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

#[test]
fn host_shows_the_join_command() {
    let data = TempDir::new().unwrap();
    let folder = data.path().to_str().unwrap();
    let mut alice = PtyProgram::spawn(
        &["host", "--name", "Alice", "--data", folder, "--listen", "127.0.0.1:0"],
        crate::support::pty::DEFAULT_SIZE,
    );
    alice.wait_for("you are Alice_");
    alice.wait_for("join with: chat join 127.0.0.1:");
    let screen = alice.contents();
    let (_, after) = screen.split_once("join with: chat join ").unwrap();
    let address = after.split_whitespace().next().unwrap();
    let mut bob =
        PtyProgram::spawn(&["join", address, "--name", "Bob"], crate::support::pty::DEFAULT_SIZE);
    bob.wait_for("you are Bob_");
    bob.submit("hello");
    alice.wait_for("│ hello");
    alice.submit(".exit");
    bob.wait_for("disconnected: the server is shutting down");
    assert_eq!(alice.finish(), 0);
}
