//! Identity, with the real program: servers by pin, link or certificate, users by their keys.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Output, Stdio};

use chat::tls::server::ServerIdentity;
use serde_json::json;
use tempfile::TempDir;

use crate::support::pty::PtyProgram;
use crate::support::{TestServer, TlsConnection, chat_command, serve_command};

/// Runs `chat` with this `CHAT_HOME` and input; returns exit status, standard output and standard error.
fn run_chat(home: &TempDir, arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut child = chat_command(home.path(), arguments).stdin(Stdio::piped()).spawn().unwrap();
    // It may exit before it reads anything.
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap_or_default();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn send(home: &TempDir, server: &str, more: &[&str]) -> (Option<i32>, String) {
    let all =
        [&["send", server, "--name", "Bob", "--timeout", "10"][..], more, &["hello"]].concat();
    let (status, _, stderr) = run_chat(home, &all, "");
    (status, stderr)
}

/// Replaces a server by another one with another key on the same address.
fn replace_server(mut server: TestServer) -> TestServer {
    let address = server.address.to_string();
    server.kill();
    let folder = TempDir::new().unwrap();
    let command = serve_command(&folder, &["--listen", &address]);
    TestServer::spawn(folder, command)
}

fn known_servers(home: &TempDir) -> String {
    fs::read_to_string(home.path().join("client/known_servers")).unwrap()
}

#[test]
fn first_contact_pins_the_key_and_a_changed_key_is_rejected() {
    let server = TestServer::start();
    let (home, address) = (TempDir::new().unwrap(), server.address.to_string());
    let first = server.fingerprint();
    let (status, stderr) = send(&home, &address, &[]);
    assert_eq!(status, Some(0), "{stderr}");
    assert!(stderr.starts_with(&format!("first contact with {address}")), "{stderr}");
    assert!(stderr.contains(&first.to_string()), "{stderr}");
    assert_eq!(send(&home, &address, &[]), (Some(0), String::new()));
    let line = known_servers(&home);
    assert!(line.starts_with(&format!("{address} {first} 20")), "{line}");

    let server = replace_server(server);
    let second = server.fingerprint();
    let file = home.path().join("client/known_servers");
    for command in [
        &["send", &address, "--name", "Bob", "hello"][..],
        &["tail", &address, "--name", "Bob"],
        &["join", &address, "--name", "Bob", "--plain"],
    ] {
        let (status, _, stderr) = run_chat(&home, command, "hello\n");
        assert_eq!(status, Some(3), "{stderr}");
        for text in [
            &first.to_string(),
            &second.to_string(),
            &format!("remove line 1 of {}", file.display()),
            line.trim(),
            "its data directory was deleted",
        ] {
            assert!(stderr.contains(text), "{text:?} in {stderr}");
        }
    }
    assert_eq!(known_servers(&home), line);
    let mut ann = server.join("Ann");
    ann.send(&json!({"action": "HISTORY", "cid": "all"}));
    assert_eq!(
        ann.wait_for("action", "HISTORY")["messages"],
        json!([]),
        "a message was sent to the wrong server"
    );
    fs::write(&file, "").unwrap();
    let (status, stderr) = send(&home, &address, &[]);
    assert!(status == Some(0) && stderr.contains(&second.to_string()), "{stderr}");
}

#[test]
fn running_client_exits_when_the_server_key_changes() {
    let server = TestServer::start();
    let home = TempDir::new().unwrap();
    let address = server.address.to_string();
    let screen = PtyProgram::spawn(&["join", &address, "--name", "Ann"], (24, 80));
    let mut zed = server.join("Zed");
    zed.post("hello");
    zed.wait_for("content", "hello");
    let mut bob = chat_command(home.path(), &["tail", &address, "--name", "Bob", "--follow"]);
    let mut bob = bob.spawn().unwrap();
    screen.wait_for("first contact with");
    screen.wait_for(&server.fingerprint().to_string());
    screen.wait_for("from now on any other key is refused");
    let mut printed = String::new();
    BufReader::new(bob.stdout.take().unwrap()).read_line(&mut printed).unwrap();
    assert!(printed.contains("hello"), "{printed}");
    let _server = replace_server(server);
    assert_eq!(screen.finish(), 3);
    let Output { status, stderr, .. } = bob.wait_with_output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("has changed: nothing was sent"), "{stderr}");
}

#[test]
fn link_pin_is_verified_and_stored() {
    let server = TestServer::start();
    let own = server.fingerprint();
    let home = TempDir::new().unwrap();
    let wrong = format!("chat://{}/#pin={}", server.address, "A".repeat(43));
    let (status, stderr) = send(&home, &wrong, &[]);
    assert_eq!(status, Some(3), "{stderr}");
    assert!(stderr.contains("not the one in the link: nothing was sent"), "{stderr}");
    assert!(stderr.contains(&own.to_string()), "{stderr}");
    assert!(!home.path().join("client/known_servers").exists());
    assert_eq!(send(&home, &server.pinned_link(), &[]), (Some(0), String::new()));
    assert!(known_servers(&home).contains(&own.to_string()));
    let (status, stderr) = send(&home, "chat://127.0.0.1/#pin=half", &[]);
    assert!(status == Some(2) && stderr.contains("copy the whole link"), "{stderr}");
}

#[test]
fn damaged_pin_file_is_reported_and_prevents_connecting() {
    let server = TestServer::start();
    let home = TempDir::new().unwrap();
    let file = home.path().join("client/known_servers");
    fs::create_dir(home.path().join("client")).unwrap();
    fs::write(&file, "# mine\n\x1b[31m who knows\n").unwrap();
    let (status, stderr) = send(&home, &server.address.to_string(), &[]);
    assert_eq!(status, Some(1));
    assert!(stderr.contains(&format!("{}: line 2 is not", file.display())), "{stderr}");
    assert!(!stderr.contains('\x1b'));
}

#[test]
fn ca_file_replaces_pinning() {
    let (server, other) = (TestServer::start(), TestServer::start());
    let (home, address) = (TempDir::new().unwrap(), server.address.to_string());
    let ca = |server: &TestServer| server.certificate_path().to_str().unwrap().to_owned();
    let sent = send(&home, &address, &["--ca", &ca(&server)]);
    assert_eq!(sent, (Some(0), String::new()));
    assert!(!home.path().join("client/known_servers").exists());
    let (status, stderr) = send(&home, &address, &["--ca", &ca(&other)]);
    assert_eq!(status, Some(3), "{stderr}");
    assert!(stderr.contains("is not trusted, nothing was sent"), "{stderr}");
    let (status, stderr) = send(&home, &address, &["--ca", "nowhere.pem"]);
    assert!(status == Some(1) && stderr.contains("nowhere.pem"), "{stderr}");
}

#[test]
fn system_ca_certificates_replace_pinning() {
    let (server, other) = (TestServer::start(), TestServer::start());
    let home = TempDir::new().unwrap();
    let arguments =
        ["send", &server.address.to_string(), "--name", "Bob", "--ca", "system", "hello"];
    let send = |trusted: &Path| {
        let mut command = chat_command(home.path(), &arguments);
        // Overrides the system certificate store.
        let output = command.env("SSL_CERT_FILE", trusted).env_remove("SSL_CERT_DIR").output();
        let Output { status, stderr, .. } = output.unwrap();
        (status.code(), String::from_utf8(stderr).unwrap())
    };
    assert_eq!(send(&server.certificate_path()), (Some(0), String::new()));
    assert!(!home.path().join("client/known_servers").exists());
    let (status, stderr) = send(&other.certificate_path());
    assert_eq!(status, Some(3), "{stderr}");
    assert!(stderr.contains("is not trusted, nothing was sent"), "{stderr}");
    let empty = home.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    let (status, stderr) = send(&empty);
    assert!(status == Some(1) && stderr.contains("system"), "{stderr}");
}

#[test]
fn exported_key_keeps_the_id_on_another_machine() {
    let server = TestServer::start();
    let mut ann = server.join("Ann");
    let (here, there) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let address = server.address.to_string();
    let mut send_hello = |home: &TempDir, who: &[&str]| {
        let all = [&["send", &address][..], who, &["hello"]].concat();
        let (status, _, stderr) = run_chat(home, &all, "");
        assert_eq!(status, Some(0), "{stderr}");
        ann.wait_for("action", "MESSAGE")["sender"].as_str().unwrap().to_owned()
    };
    let bob = send_hello(&here, &["--name", "Bob"]);
    let file = here.path().join("moved.pem");
    let file = file.to_str().unwrap();
    let (status, shown, _) = run_chat(&here, &["key", "show"], "");
    assert_eq!(status, Some(0));
    let (fingerprint, place) = shown.trim().split_once('\n').unwrap();
    assert_eq!(Path::new(place), here.path().join("client/id.pem"));
    assert_eq!(run_chat(&here, &["key", "export", file], "\n").0, Some(1), "no passphrase");
    let (status, stdout, _) = run_chat(&here, &["key", "export", file], "correct horse\n");
    assert!(status == Some(0) && stdout.contains(fingerprint), "{stdout}");
    assert_eq!(
        run_chat(&here, &["key", "export", file], "correct horse\n").0,
        Some(1),
        "no overwriting"
    );

    let (status, _, stderr) = run_chat(&there, &["key", "import", file], "wrong\n");
    assert!(status == Some(1) && stderr.contains("wrong passphrase"), "{stderr}");
    let (status, stdout, _) = run_chat(&there, &["key", "import", file], "correct horse\n");
    assert!(status == Some(0) && stdout.contains(fingerprint), "{stdout}");
    assert_eq!(send_hello(&there, &["--name", "Bob"]), bob);
    assert_eq!(send_hello(&there, &["--id", &bob]), bob, "the name follows from the ID");
    let (status, _, stderr) =
        run_chat(&there, &["send", &address, "--id", &bob, "--name", "Tom", "hello"], "");
    assert!(status == Some(2) && stderr.contains("omit --name"), "{stderr}");
}

/// The server's current certificate.
fn server_certificate(server: &TestServer) -> Vec<u8> {
    TlsConnection::server_certificate(server).to_vec()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "waits for a real process")]
fn certificate_reload_keeps_connections() {
    let server = TestServer::start();
    let (mut ann, mut bob) = (server.join("Ann"), server.join("Bob"));
    let (before, own) = (server_certificate(&server), server.fingerprint());
    let reload = |text: &str| {
        let count = server.log().matches(text).count();
        server.signal("HUP");
        let start = std::time::Instant::now();
        while server.log().matches(text).count() == count {
            assert!(start.elapsed() < crate::support::TIMEOUT, "{}", server.log());
            std::thread::yield_now();
        }
    };
    fs::write(server.certificate_path(), "not a certificate").unwrap();
    reload("cannot reload the certificate");
    assert_eq!(server_certificate(&server), before);
    // Creates a new certificate for the existing key.
    fs::remove_file(server.certificate_path()).unwrap();
    ServerIdentity::open(server.certificate_path().parent().unwrap()).unwrap();
    reload("certificate reloaded");
    assert_ne!(server_certificate(&server), before);
    assert_eq!(server.fingerprint(), own);
    ann.post("still here");
    assert_eq!(bob.wait_for("action", "MESSAGE")["content"], "still here");
}
