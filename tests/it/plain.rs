//! Line mode (`--plain`): the real program with users on pipes.
//!
//! Every line is awaited with a timeout; nothing sleeps.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::isolate_environment;

/// The timeout of every wait: longer than anything takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A running `chat`, read line by line, killed on drop.
struct ChatProcess {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    seen: Vec<String>,
    /// `CHAT_HOME` of the process.
    home: Arc<TempDir>,
}

impl ChatProcess {
    fn start(args: &[&str]) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), args)
    }

    /// Starts with the key of an earlier process.
    fn start_in(home: Arc<TempDir>, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
        isolate_environment(&mut command, home.path());
        let mut child = command
            .args(args)
            .env("CHAT_HOME", home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let stderr_sender = sender.clone();
        forward_lines(child.stdout.take().unwrap(), move |line| sender.send(line).is_ok());
        forward_lines(child.stderr.take().unwrap(), move |line| stderr_sender.send(line).is_ok());
        Self { stdin: child.stdin.take(), child, lines, seen: Vec::new(), home }
    }

    fn join(server: &str, name: &str) -> Self {
        let mut joined = Self::start(&["join", server, "--name", name, "--plain"]);
        joined.wait_for("-- you are ");
        joined
    }

    fn type_line(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Skips to the next line that contains `text`.
    fn wait_for(&mut self, text: &str) -> String {
        loop {
            match self.lines.recv_timeout(TIMEOUT) {
                Ok(line) => {
                    assert!(!line.contains('\x1b'), "an escape sequence in {line:?}");
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no {text:?} after\n{}", self.seen.join("\n"));
                }
            }
        }
    }

    /// The user ID assigned by the server.
    fn id(&self) -> &str {
        let line = self.seen.iter().find(|line| line.contains("-- you are ")).unwrap();
        line.rsplit(' ').next().unwrap()
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// Closes standard input; returns the exit status and everything printed.
    fn finish(mut self) -> (ExitStatus, String) {
        drop(self.stdin.take());
        let mut seen = std::mem::take(&mut self.seen);
        loop {
            match self.lines.recv_timeout(TIMEOUT) {
                Ok(line) => seen.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("no end after\n{}", seen.join("\n")),
            }
        }
        (self.child.wait().unwrap(), seen.join("\n"))
    }
}

impl Drop for ChatProcess {
    fn drop(&mut self) {
        // It may have exited already.
        self.child.kill().unwrap_or_default();
        self.child.wait().unwrap();
    }
}

fn forward_lines(
    reader: impl Read + Send + 'static,
    send: impl Fn(String) -> bool + Send + 'static,
) {
    std::thread::spawn(move || {
        for line in BufReader::new(reader).lines() {
            if !send(line.unwrap()) {
                return;
            }
        }
    });
}

/// A running server with its own data directory.
struct PlainServer {
    process: ChatProcess,
    address: String,
    data: TempDir,
}

impl PlainServer {
    fn start() -> Self {
        Self::at("127.0.0.1:0", tempfile::tempdir().unwrap())
    }

    fn at(address: &str, data: TempDir) -> Self {
        let folder = data.path().to_str().unwrap();
        let mut process = ChatProcess::start(&[
            "serve",
            "--no-rate-limits",
            "--listen",
            address,
            "--data",
            folder,
        ]);
        let address = process.wait_for("listening on ").replace("listening on ", "");
        Self { process, address, data }
    }
}

/// The message id in the brackets at the end of a line.
fn message_id(line: &str) -> &str {
    line.rsplit_once('[').unwrap().1.strip_suffix(']').unwrap()
}

#[test]
fn users_post_reply_and_delete() {
    let server = PlainServer::start();
    let mut ann = ChatProcess::join(&server.address, "Ann");
    let mut bob = ChatProcess::join(&server.address, "Bob");
    bob.wait_for(&format!("-- online: {}", ann.id()));
    ann.wait_for(&format!("-- {} joined", bob.id()));
    bob.type_line("hello \x1b[31mthere");
    bob.wait_for("you: hello [31mthere");
    let line = ann.wait_for(&format!("{}: hello", bob.id()));
    let id = message_id(&line);
    ann.type_line(&format!(".reply {id} hello yourself"));
    bob.wait_for(&format!("{} (reply to {id}): hello yourself", ann.id()));
    ann.type_line(&format!(".delete {id}"));
    ann.wait_for("error: ");
    bob.type_line(&format!(".delete {id}"));
    ann.wait_for(&format!("message {id} of {} was removed", bob.id()));
    ann.type_line(".search hello");
    ann.wait_for("you (reply to");
    ann.wait_for("-- 1 found");
    bob.type_line(".exit");
    let left = format!("-- {} left", bob.id());
    assert_eq!(bob.finish().0.code(), Some(0));
    ann.wait_for(&left);
}

#[test]
fn direct_message_reaches_only_its_recipients() {
    let server = PlainServer::start();
    let mut ann = ChatProcess::join(&server.address, "Ann");
    let mut kim = ChatProcess::join(&server.address, "Kim");
    let mut bob = ChatProcess::join(&server.address, "Bob");
    bob.type_line("@Ann psst");
    bob.wait_for(&format!("@{} you: psst", ann.id()));
    ann.wait_for(&format!("@{0} {0}: psst", bob.id()));
    bob.type_line("@Nobody psst");
    bob.wait_for("error: no user is named Nobody");
    bob.type_line("said aloud");
    kim.wait_for("said aloud");
    assert!(!kim.seen.iter().any(|line| line.contains("psst")));
}

/// The output of a script that uses the key of `user`, and its exit status.
fn run_script(user: &ChatProcess, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
    isolate_environment(&mut command, user.home.path());
    command.env("CHAT_HOME", user.home.path()).args(arguments).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn room_is_used_from_creation_to_leaving() {
    let server = PlainServer::start();
    let mut ann = ChatProcess::join(&server.address, "Ann");
    let mut bob = ChatProcess::join(&server.address, "Bob");
    ann.wait_for(&format!("-- {} joined", bob.id()));
    ann.type_line(".room #ops private deploys");
    ann.wait_for("text goes to #ops (private, 1 person: deploys)");
    bob.type_line(".join #ops");
    bob.wait_for("error: ");
    ann.type_line("before Bob came");
    let secret = ann.wait_for("#ops you: before Bob came");
    ann.type_line(".add @Bob");
    bob.wait_for(&format!("#ops -- {} added {}", ann.id(), bob.id()));
    bob.type_line(".to #ops");
    bob.wait_for("text goes to #ops (private, 2 people: deploys)");
    bob.type_line("look @Ann, tpyo");
    let line = ann.wait_for(&format!("#ops {} (mentions you): look @Ann, tpyo", bob.id()));
    let id = message_id(&line);
    bob.wait_for("#ops you: look @Ann, tpyo");
    bob.type_line(&format!(".edit {id} typo"));
    ann.wait_for(&format!("#ops -- {} edited {id}: typo", bob.id()));
    ann.type_line(&format!(".react {id} +1"));
    bob.wait_for(&format!("#ops -- {} reacted 👍 to {id}", ann.id()));
    ann.type_line(&format!(".pin {id}"));
    bob.wait_for(&format!("#ops -- {} pinned {id}", ann.id()));
    bob.type_line(".pins");
    bob.wait_for(&format!("#ops you (edited, pinned, 👍 1): typo [{id}]"));
    bob.type_line(&format!(".react {} +1", message_id(&secret)));
    bob.wait_for("error: ");
    bob.type_line(".people");
    bob.wait_for(&format!("#ops -- people: {} (owner), you", ann.id()));
    bob.type_line(".mute 2h");
    bob.wait_for("#ops -- muted until ");
    bob.type_line(".rooms");
    bob.wait_for("-- #ops (private, 2 people: deploys), muted");
    bob.type_line(".leave");
    ann.wait_for(&format!("#ops -- {} left #ops", bob.id()));
    bob.wait_for("text goes to everyone");
    ann.type_line("after Bob left");
    ann.wait_for("#ops you: after Bob left");
    ann.type_line(".to everyone");
    ann.type_line("said aloud");
    bob.wait_for("everyone Ann");
    assert!(!bob.seen.iter().any(|line| line.contains("Bob came") || line.contains("Bob left")));
}

#[test]
fn scripts_use_rooms_and_are_not_announced() {
    let server = PlainServer::start();
    let address = &server.address;
    let mut ann = ChatProcess::join(address, "Ann");
    let bob = ChatProcess::join(address, "Bob");
    ann.wait_for(&format!("-- {} joined", bob.id()));
    ann.type_line(".room #ops deploys");
    ann.wait_for("text goes to #ops");
    ann.type_line("for the room");
    ann.wait_for("#ops you: for the room");
    let script = |arguments: &[&str]| run_script(&ann, arguments);
    let (status, id, stderr) = script(&[
        "send",
        "--server",
        address,
        "--name",
        "Ann",
        "--room",
        "ops",
        "deploy:8080",
        "tpyo",
    ]);
    assert_eq!(status, Some(0), "{stderr}");
    let id = id.trim_end().to_owned();
    for (flag, text) in [("--edit", "typo"), ("--react", "tada")] {
        let sent = script(&["send", address, "--name", "Ann", flag, &id, text]);
        assert_eq!(sent, (Some(0), format!("{id}\n"), String::new()));
    }
    let (status, _, stderr) = script(&["send", address, "--name", "Ann", "--react", &id, "word"]);
    assert_eq!(
        (status, stderr.as_str()),
        (Some(2), "error: a reaction is one emoji, such as 👍\n")
    );
    let tail = ["tail", address, "--name", "Ann"];
    let (status, text, _) = script(&[&tail[..], &["--room", "#ops"]].concat());
    assert_eq!((status, text.lines().count()), (Some(0), 2), "{text}");
    assert!(text.contains(&format!("#ops {} (edited, 🎉 1): typo [{id}]", ann.id())), "{text}");
    assert_eq!(script(&tail), (Some(0), String::new(), String::new()), "Everyone is empty");
    let (_, all, _) = script(&[&tail[..], &["--all", "--json"]].concat());
    assert!(all.lines().count() == 2 && all.contains(r##""receiver":["#ops"]"##), "{all}");
    let tail = ["tail", address, "--name", "Bob", "--room", "ops", "-n", "0"];
    let (status, text, stderr) = run_script(&bob, &tail);
    assert_eq!((status, text.as_str()), (Some(4), ""), "{stderr}");
    let rooms = ["rooms", address, "--name", "Bob"];
    assert_eq!(run_script(&bob, &rooms).1, "#ops (1 person: deploys), not joined\n");
    let (_, json, _) = script(&["rooms", address, "--name", "Ann", "--json"]);
    let room: serde_json::Value = serde_json::from_str(&json).unwrap();
    let expected = serde_json::json!({
        "room": "#ops", "member": true, "private": false, "archived": false, "people": 1,
        "topic": "deploys", "unread": 0, "mentions": 0
    });
    assert_eq!(room, expected);
    ann.type_line(".to everyone");
    ann.type_line("the end");
    ann.wait_for("everyone you: the end");
    let announced =
        ann.seen.iter().filter(|line| line.contains(" joined") || line.contains(" left"));
    assert_eq!(announced.count(), 1, "only Bob came: {}", ann.seen.join("\n"));
}

#[test]
fn what_was_missed_is_counted_at_the_start() {
    let server = PlainServer::start();
    let mut ann = ChatProcess::join(&server.address, "Ann");
    let mut bob = ChatProcess::join(&server.address, "Bob");
    ann.wait_for(&format!("-- {} joined", bob.id()));
    ann.type_line(".room #ops");
    ann.wait_for("text goes to #ops");
    ann.type_line(".add @Bob");
    bob.wait_for("#ops -- ");
    let home = Arc::clone(&bob.home);
    bob.finish();
    for text in ["one", "two @Bob"] {
        ann.type_line(text);
        ann.wait_for(&format!("#ops you: {text}"));
    }
    let arguments = ["join", &server.address, "--name", "Bob", "--plain"];
    let mut bob = ChatProcess::start_in(home, &arguments);
    bob.wait_for("-- unread: #ops 2 (1 mention)");
    bob.type_line(".to #ops");
    bob.wait_for("text goes to #ops (2 people), 2 unread (1 mention)");
}

#[test]
fn temporary_message_expires() {
    let server = PlainServer::start();
    let mut ann = ChatProcess::join(&server.address, "Ann");
    let mut bob = ChatProcess::join(&server.address, "Bob");
    bob.type_line(".temp 1 soon gone");
    let line = ann.wait_for("(for 1 s): soon gone");
    ann.wait_for(&format!("message {} of {} has expired", message_id(&line), bob.id()));
    ann.type_line(".search soon");
    ann.wait_for("-- 0 found");
}

#[test]
fn client_reconnects_after_server_loss() {
    let server = PlainServer::start();
    let mut ann = ChatProcess::join(&server.address, "Ann");
    let PlainServer { mut process, address, data } = server;
    process.child.kill().unwrap();
    assert!(ann.wait_for("-- disconnected: ").contains("; reconnecting in "));
    ann.type_line("typed while away");
    ann.wait_for("is `chat serve` running there?");
    let _server = PlainServer::at(&address, data);
    ann.wait_for("-- reconnected as ");
    ann.wait_for("you: typed while away");
}

#[test]
fn piped_file_arrives_complete_and_in_order() {
    const LINES: usize = 1_000;
    let server = PlainServer::start();
    let mut ann = ChatProcess::join(&server.address, "Ann");
    let mut bob = ChatProcess::join(&server.address, "Bob");
    for number in 0..LINES {
        bob.type_line(&format!("line {number}"));
    }
    let (status, printed) = bob.finish();
    assert_eq!(status.code(), Some(0));
    assert!(printed.contains(&format!("you: line {}", LINES - 1)), "exited before the last echo");
    for number in 0..LINES {
        let line = ann.wait_for(": line ");
        assert!(line.contains(&format!(": line {number} [")), "{line}");
    }
}

#[test]
fn signal_exits_with_success() {
    let server = PlainServer::start();
    for signal in ["TERM", "HUP", "INT"] {
        let bob = ChatProcess::join(&server.address, "Bob");
        bob.signal(signal);
        assert_eq!(bob.finish().0.code(), Some(0), "{signal}");
    }
}

#[test]
fn closed_stdout_exits_with_success() {
    let server = PlainServer::start();
    let mut ann = ChatProcess::join(&server.address, "Ann");
    let home = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_chat"))
        .env("CHAT_HOME", home.path())
        .args(["join", &server.address, "--name", "Bob", "--plain"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    ann.wait_for(" joined");
    drop(child.stdout.take());
    ann.type_line("is anybody there?");
    assert_eq!(child.wait().unwrap().code(), Some(0), "standard input is still open");
}

#[test]
fn usage_errors_say_what_to_do() {
    for (args, expected) in [
        (&["join", "--name", "two words", "--plain"][..], "a name is"),
        (&["join", "https://example.org", "--name", "Bob", "--plain"], "chat://"),
        (
            &["join", "chat://localhost/#pin=abc", "--name", "Bob", "--plain"],
            "pin in this link is not complete",
        ),
    ] {
        let (status, printed) = ChatProcess::start(args).finish();
        assert_eq!(status.code(), Some(2), "{args:?}: {printed}");
        assert!(printed.contains(expected), "{args:?}: {printed}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_chat"))
        .args(["join", "--plain"])
        .env_remove("LOGNAME")
        .env("USER", "not a name")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--name Bob"));
}

#[test]
fn kicked_client_prints_the_reason_and_exits() {
    let server = crate::support::TestServer::start();
    let mut bob = ChatProcess::join(&server.pinned_link(), "Bob");
    server.run_admin(&["kick", bob.id()]);
    bob.wait_for("error: the administrator closed your connection");
    assert_eq!(bob.child.wait().unwrap().code(), Some(4));
    assert_eq!(server.run_admin(&["list"]).lines().count(), 1, "the client is still connected");
}

#[test]
fn refused_login_has_its_own_exit_status() {
    let data = tempfile::tempdir().unwrap();
    let identity = chat::tls::server::ServerIdentity::open(data.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    runtime.spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = identity.acceptor.accept(stream).await.unwrap();
        let refused = br#"{"status":"ERROR","error":"not you","code":"not_yours"}"#;
        stream.write_all(refused).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    let (status, printed) =
        ChatProcess::start(&["join", &address, "--name", "Bob", "--plain"]).finish();
    assert_eq!(status.code(), Some(4), "{printed}");
    assert!(printed.contains("not you"), "{printed}");
}

#[test]
fn host_runs_server_and_client_and_stops_both() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().to_str().unwrap();
    let args = ["host", "--name", "Alice", "--plain", "--data", folder, "--listen"];
    let mut alice = ChatProcess::start(&[&args[..], &["127.0.0.1:0"]].concat());
    let address = alice.wait_for("listening on ").replace("listening on ", "");
    alice.wait_for(&format!("chat join {address} "));
    alice.wait_for("-- you are Alice_");
    let mut bob = ChatProcess::join(&address, "Bob");
    bob.type_line("hello");
    alice.wait_for(": hello");

    let (status, printed) = ChatProcess::start(&[&args[..], &[&address]].concat()).finish();
    assert_eq!(status.code(), Some(1));
    assert!(printed.contains(&format!("join it: chat join {address}")), "{printed}");

    assert_eq!(alice.finish().0.code(), Some(0));
    bob.wait_for("-- disconnected: the server is shutting down");

    let mut alice = ChatProcess::start(&[&args[..], &["0.0.0.0:0", "--open"]].concat());
    alice.wait_for("open to anyone who can reach this port");
}
