//! `chat send` in a script: its output, its exit status, and that it sends a message exactly once.

use std::io::Write as _;
use std::process::{Output, Stdio};

use chat::protocol::limits::CONTENT_CHARACTERS;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{TestServer, chat_command};

/// Runs `chat send` with a new key; returns exit status, standard output and standard error.
fn run_send(server: &TestServer, arguments: &[&str]) -> (Option<i32>, String, String) {
    let home = TempDir::new().unwrap();
    let link = server.pinned_link();
    let all = [&["send", &link, "--name", "ci"], arguments].concat();
    check_output(chat_command(home.path(), &all).output().unwrap())
}

fn check_output(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(!stdout.contains('\x1b') && !stderr.contains('\x1b'), "{stdout:?} {stderr:?}");
    (output.status.code(), stdout, stderr)
}

#[test]
fn id_is_printed_after_the_message_is_stored() {
    let server = TestServer::start();
    let mut ann = server.join("Ann");
    let (status, printed, stderr) = run_send(&server, &["the", "build", "is green"]);
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    let message = ann.wait_for("action", "MESSAGE");
    assert_eq!(message["content"], "the build is green");
    assert!(message["sender"].as_str().unwrap().starts_with("ci_"), "{message}");
    assert_eq!(printed, format!("{}\n", message["id"].as_str().unwrap()));
    run_send(&server, &["--", "--reply:1"]);
    assert_eq!(ann.wait_for("action", "MESSAGE")["content"], "--reply:1");
}

#[test]
fn text_is_read_from_stdin() {
    let server = TestServer::start();
    let mut ann = server.join("Ann");
    let address = server.address.to_string();
    for arguments in [&["send", &address, "--name", "ci"][..], &["send", &address, "-"]] {
        let home = TempDir::new().unwrap();
        let mut command = chat_command(home.path(), arguments);
        let mut child = command.env("USER", "ci").stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"two\nlines\n").unwrap();
        assert_eq!(check_output(child.wait_with_output().unwrap()).0, Some(0));
        assert_eq!(ann.wait_for("action", "MESSAGE")["content"], "two\nlines");
    }
}

#[test]
fn flags_select_recipients_reply_and_lifetime() {
    let server = TestServer::start();
    let (mut ann, mut bob) = (server.join("Ann"), server.join("Bob"));
    let (status, id, _) = run_send(&server, &["--to", &ann.id.clone(), "for Ann"]);
    assert_eq!(status, Some(0));
    let message = ann.wait_for("action", "MESSAGE");
    assert_eq!(message["receiver"], json!([ann.id]));
    run_send(&server, &["--temp=60", "for a minute"]);
    let message = bob.wait_for("content", "for a minute");
    assert_eq!(message["expires"].as_i64().unwrap() - message["at"].as_i64().unwrap(), 60_000);
    run_send(&server, &["--temp", "for ten seconds"]);
    let message = bob.wait_for("action", "TEMPORARY");
    assert_eq!(message["content"], "for ten seconds", "a direct message reached another user");
    let (status, _, stderr) = run_send(&server, &["--reply", id.trim(), "not mine to see"]);
    assert_eq!(status, Some(4), "a new key gets another ID: {stderr}");
    ann.post("a question");
    let id = bob.wait_for("content", "a question")["id"].as_str().unwrap().to_owned();
    assert_eq!(run_send(&server, &["--reply", &id, "an answer"]).0, Some(0));
    assert_eq!(bob.wait_for("action", "REPLY")["optional"], id.as_str());
}

#[test]
fn same_key_keeps_the_same_id() {
    let server = TestServer::start();
    let mut ann = server.join("Ann");
    let (home, address) = (TempDir::new().unwrap(), server.address.to_string());
    let mut sender = || {
        let output = chat_command(home.path(), &["send", &address, "--name", "ci", "hello"])
            .output()
            .unwrap();
        assert!(output.status.success());
        ann.wait_for("action", "MESSAGE")["sender"].clone()
    };
    assert_eq!(sender(), sender());
}

#[test]
fn failures_print_the_reason_and_set_the_exit_status() {
    let server = TestServer::start();
    let long = "x".repeat(CONTENT_CHARACTERS + 1);
    for (arguments, expected_status, expected) in [
        (&["--to", "Nobody_1234", "hello"][..], 4, "recipient not found: Nobody_1234"),
        (&["--reply", "123456", "hello"], 4, "message 123456 not found"),
        (&[" "], 2, "the message is empty"),
        (&[], 2, "the message is empty"),
        (&[&long], 2, "the maximum is 4000"),
        (&["--reply", "123456", "--temp", "hello"], 2, "cannot be used with"),
        (&["--temp=0", "hello"], 2, "0 is not in"),
        (&["--to", "Bob", "hello"], 2, "such as Bob_4572"),
    ] {
        let (status, printed, stderr) = run_send(&server, arguments);
        assert_eq!((status, printed.as_str()), (Some(expected_status), ""), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }
}

#[test]
fn timeout_limits_the_wait_for_a_missing_server() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let home = TempDir::new().unwrap();
    let arguments = ["send", &address, "--name", "ci", "--timeout", "1", "hello"];
    let (status, printed, stderr) =
        check_output(chat_command(home.path(), &arguments).output().unwrap());
    assert_eq!((status, printed.as_str()), (Some(1), ""));
    assert!(stderr.contains("not acknowledged within 1 s (cannot connect to"), "{stderr}");
    assert!(stderr.ends_with("it was not sent\n"), "{stderr}");
}

#[test]
fn server_flag_wins_over_a_first_word_that_looks_like_a_server() {
    let server = TestServer::start();
    let mut ann = server.join("Ann");
    let home = TempDir::new().unwrap();
    let address = server.address.to_string();
    let arguments = ["send", "--server", &address, "--name", "ci", "deploy:8080", "done"];
    let (status, _, stderr) = check_output(chat_command(home.path(), &arguments).output().unwrap());
    assert_eq!((status, stderr.lines().count()), (Some(0), 4), "{stderr}");
    assert_eq!(ann.wait_for("action", "MESSAGE")["content"], "deploy:8080 done");
}

/// `.invalid` does not exist anywhere (RFC 6761).
#[test]
fn host_that_does_not_exist_fails_at_once() {
    for arguments in [
        &["send", "--server", "nowhere.invalid", "--timeout", "3600", "hello"][..],
        &["tail", "nowhere.invalid"],
        &["tail", "nowhere.invalid", "--follow"],
        &["join", "nowhere.invalid", "--plain"],
    ] {
        let home = TempDir::new().unwrap();
        let output = chat_command(home.path(), arguments).env("CHAT_NAME", "ci").output().unwrap();
        let (status, printed, stderr) = check_output(output);
        assert_eq!((status, printed.as_str()), (Some(1), ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains("cannot find the host nowhere.invalid"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.ends_with("(check the name)\n"), "{stderr}");
    }
}

#[test]
fn refused_connection_fails_before_the_timeout() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let home = TempDir::new().unwrap();
    let arguments = ["send", &address, "--name", "ci", "--timeout", "3600", "hello"];
    let (status, printed, stderr) =
        check_output(chat_command(home.path(), &arguments).output().unwrap());
    assert_eq!((status, printed.as_str()), (Some(1), ""));
    assert!(stderr.contains("connection refused"), "{stderr}");
    assert!(stderr.ends_with("it was not sent\n"), "{stderr}");
}

/// The connection breaks between the request and its reply, so the client cannot know its outcome.
#[test]
fn unanswered_request_is_resent_with_the_same_cid() {
    let data = TempDir::new().unwrap();
    let identity = chat::tls::server::ServerIdentity::open(data.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seen = runtime.spawn(async move {
        let mut cids = Vec::new();
        for is_last in [false, true] {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = identity.acceptor.accept(stream).await.unwrap();
            let welcome = json!({
                "status": "SUCCESS", "user_id": "ci_1234", "protocol": 1, "epoch": "e", "head": 7,
                "now": 0, "resumed": is_last
            });
            stream.write_all(welcome.to_string().as_bytes()).await.unwrap();
            stream.write_all(br#"{"action":"LIVE","seq":7}"#).await.unwrap();
            let mut received = String::new();
            while !received.contains("cid") {
                let mut bytes = vec![0; 4_096];
                let n = stream.read(&mut bytes).await.unwrap();
                assert!(n > 0, "disconnected after {received}");
                received.push_str(std::str::from_utf8(&bytes[..n]).unwrap());
            }
            let message: Value = serde_json::from_str(received.lines().last().unwrap()).unwrap();
            let cid = message["cid"].clone();
            if is_last {
                let stored = json!({"action": "STORED", "seq": 7, "id": "234567", "cid": cid});
                stream.write_all(stored.to_string().as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
                // Until the client disconnects.
                stream.read_to_end(&mut Vec::new()).await.unwrap_or_default();
            }
            cids.push(cid);
        }
        cids
    });
    let home = TempDir::new().unwrap();
    let output =
        chat_command(home.path(), &["send", &address, "--name", "ci", "hello"]).output().unwrap();
    let (status, printed, stderr) = check_output(output);
    assert_eq!((status, printed.as_str()), (Some(0), "234567\n"), "{stderr}");
    let cids = runtime.block_on(seen).unwrap();
    assert_eq!(cids[0], cids[1]);
}
