//! `chat tail` in a script: its output, its order, and its exit status.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command};

use serde_json::Value;

use crate::support::pty::PtyProgram;
use crate::support::{TestClient, TestServer, chat_command};

/// `chat tail` with this server.
fn tail_command(server: &TestServer, arguments: &[&str]) -> Command {
    let home = server.data_folder().path().join("home");
    let link = server.pinned_link();
    chat_command(&home, &[&["tail", &link, "--name", "log"], arguments].concat())
}

/// The complete output of `chat tail`.
fn tail_output(server: &TestServer, arguments: &[&str]) -> String {
    let output = tail_command(server, arguments).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains('\x1b'), "{text:?}");
    text
}

/// Posts one message per number and waits until all are stored.
fn post_numbers(ann: &mut TestClient, numbers: std::ops::Range<usize>) {
    let last = numbers.end - 1;
    for number in numbers {
        ann.post(&number.to_string());
    }
    ann.wait_for("content", &last.to_string());
}

fn contents(json: &str) -> Vec<String> {
    let content = |line: &str| -> String {
        let object: Value = serde_json::from_str(line).unwrap();
        object.get("content").and_then(Value::as_str).unwrap().to_owned()
    };
    json.lines().map(content).collect()
}

/// A running `chat tail --follow`, killed on drop.
struct FollowingTail {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl FollowingTail {
    fn start(server: &TestServer, arguments: &[&str]) -> Self {
        let mut child = tail_command(server, &[&["--follow"], arguments].concat()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    fn json(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }
}

impl Drop for FollowingTail {
    fn drop(&mut self) {
        // It may have exited already.
        self.child.kill().unwrap_or_default();
        self.child.wait().unwrap();
    }
}

#[test]
fn kicked_tail_exits() {
    let server = TestServer::start();
    post_numbers(&mut server.join("Ann"), 0..1);
    let mut following = FollowingTail::start(&server, &["-n", "1"]);
    following.line();
    let list = server.run_admin(&["list"]);
    let id = list.split_whitespace().find(|word| word.starts_with("log_")).unwrap();
    server.run_admin(&["kick", id]);
    assert_eq!(following.child.wait().unwrap().code(), Some(4), "exit status");
}

#[test]
fn last_messages_are_printed_oldest_first() {
    let server = TestServer::start();
    assert_eq!(tail_output(&server, &[]), "");
    let (mut ann, bob) = (server.join("Ann"), server.join("Bob"));
    post_numbers(&mut ann, 0..12);
    ann.send(&serde_json::json!({
        "action": "MESSAGE", "receiver": [bob.id], "content": "for Bob", "cid": "private"
    }));
    let private = ann.wait_for("cid", "private");
    let text = tail_output(&server, &[]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 10, "{text}");
    for (line, number) in lines.iter().zip(2..12) {
        let text = format!(" everyone {} (not verified): {number} [", ann.id);
        assert!(line.contains(&text), "{line}");
    }
    assert!(!text.contains(private["id"].as_str().unwrap()));
    assert_eq!(contents(&tail_output(&server, &["--json", "-n", "2"])), ["10", "11"]);
    assert_eq!(tail_output(&server, &["-n", "0"]), "");
}

#[test]
fn json_output_has_the_fields_of_both_dialects() {
    let server = TestServer::start();
    let mut ann = server.join("Ann");
    post_numbers(&mut ann, 0..1);
    let output = tail_output(&server, &["--json"]);
    let object: Value = serde_json::from_str(&output).unwrap();
    let fields: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    for field in ["action", "id", "sender", "receiver", "content", "seq", "at"] {
        assert!(fields.contains(&field), "{field} in {output}");
    }
    assert_eq!((&object["private"], &object["optional"]), (&Value::Bool(false), &Value::Null));
    assert!(fields.contains(&"optional"), "{output}");
    let at = chrono::DateTime::from_timestamp_millis(object["at"].as_i64().unwrap()).unwrap();
    assert_eq!(object["time"], at.format("%Y-%m-%d %H:%M:%S").to_string());
}

#[test]
fn history_longer_than_a_page_is_complete() {
    let server = TestServer::start();
    let mut ann = server.join("Ann");
    post_numbers(&mut ann, 0..250);
    let expected: Vec<String> = (20..250).map(|number: usize| number.to_string()).collect();
    assert_eq!(contents(&tail_output(&server, &["--json", "-n", "230"])), expected);
    assert_eq!(contents(&tail_output(&server, &["--json", "-n", "2000"])).len(), 250);
}

#[test]
fn progress_is_shown_on_a_terminal_and_erased() {
    let server = TestServer::start();
    let mut ann = server.join("Ann");
    post_numbers(&mut ann, 0..110);
    let tail = ["tail", &server.pinned_link(), "--name", "log", "-n", "2000"];
    let screen = PtyProgram::spawn(&tail, (120, 80));
    screen.wait_for(": 109 [");
    assert_eq!(screen.row_of(": 0 ["), 0, "progress line not erased");
    assert_eq!(screen.count("of 2000 messages"), 0);
    assert!(screen.raw_until_exit().contains("\r100 of 2000 messages "));
}

#[test]
fn live_messages_follow_history_without_gap_or_duplicate() {
    const MESSAGES: usize = 1_000;
    let server = TestServer::start();
    let mut ann = server.join("Ann");
    post_numbers(&mut ann, 0..200);
    let mut seqs = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| post_numbers(&mut ann, 200..MESSAGES));
        let mut log = FollowingTail::start(&server, &["--json", "-n", "100000"]);
        for number in 0..MESSAGES {
            let object = log.json();
            assert_eq!(object["content"], number.to_string());
            seqs.push(object["seq"].as_u64().unwrap());
        }
    });
    assert!(seqs.is_sorted());
}

#[test]
fn removed_message_is_reported() {
    let server = TestServer::start();
    let mut ann = server.join("Ann");
    post_numbers(&mut ann, 0..2);
    let mut lines = FollowingTail::start(&server, &[]);
    let mut objects = FollowingTail::start(&server, &["--json", "-n", "1"]);
    let id = objects.json()["id"].as_str().unwrap().to_owned();
    assert!(lines.line().contains(": 0 [") && lines.line().contains(": 1 ["));
    ann.send(&serde_json::json!({"action": "DELETE", "content": id}));
    let removed = objects.json();
    assert_eq!((&removed["action"], &removed["content"]), (&"DELETE".into(), &id.as_str().into()));
    let line = format!(" -- message {id} was removed by {}", ann.id);
    assert!(lines.line().ends_with(&line), "{line}");
    assert_eq!(contents(&tail_output(&server, &["--json"])), ["0"]);
}

#[test]
fn signal_and_closed_pipe_exit_with_success() {
    let server = TestServer::start();
    let mut ann = server.join("Ann");
    post_numbers(&mut ann, 0..1);
    for signal in ["INT", "TERM"] {
        let mut log = FollowingTail::start(&server, &[]);
        log.line();
        let id = log.child.id().to_string();
        assert!(
            Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap().success()
        );
        assert_eq!(log.child.wait().unwrap().code(), Some(0), "{signal}");
    }
    let mut child = tail_command(&server, &["--follow"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    drop(lines);
    post_numbers(&mut ann, 1..2);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn unreachable_server_is_reported() {
    let server = TestServer::start();
    let mut command = tail_command(&server, &["--follow"]);
    let address = server.address.to_string();
    drop(server);
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains(&address) && stderr.contains("is `chat serve` running"), "{stderr}");
}
