//! Invites: who may register on a server, with the real program.
#![expect(clippy::indexing_slicing, reason = "a test fails on a panic")]

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use crate::support::{
    ClientKey, TestClient, TestServer, TlsConnection, chat_command, serve_command, tls_config,
};

fn start_invite_only_server() -> TestServer {
    let folder = TempDir::new().unwrap();
    let command = serve_command(&folder, &["--listen", "127.0.0.1:0", "--invite-only"]);
    TestServer::spawn(folder, command)
}

/// Creates an invite; returns its link.
fn create_invite(server: &TestServer, arguments: &[&str]) -> String {
    let (status, output, _) = server.run_local(&[&["invite"], arguments].concat());
    assert_eq!(status, Some(0));
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(lines.len(), 1, "only the link without a terminal: {output}");
    assert!(output.starts_with("chat://") && output.contains("/#pin="), "{output}");
    lines.concat()
}

/// Runs `chat send`; returns exit status and standard error.
fn send_message(home: &Path, server: &str, name: &str) -> (Option<i32>, String) {
    let command =
        chat_command(home, &["send", server, "--name", name, "--timeout", "10", "--", "hello"]);
    let output = { command }.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Logs in with a key and an invite over a new connection.
fn log_in(
    server: &TestServer,
    key: &ClientKey,
    invite: Option<&str>,
) -> Result<TestClient, String> {
    let tcp = TcpStream::connect(server.address).unwrap();
    let wire = TlsConnection::try_handshake(tcp, tls_config(&server.certificate_path(), Some(key)))
        .unwrap();
    let login = json!({"action": "LOGIN", "protocol": 1, "username": "Bob", "invite": invite});
    TestClient::log_in(wire, &login).map_err(|refusal| refusal["code"].as_str().unwrap().to_owned())
}

fn invite_secret(link: &str) -> &str {
    link.split_once("&invite=").unwrap().1
}

#[test]
fn invite_admits_one_user_and_rejects_the_next() {
    let server = start_invite_only_server();
    let (ann, bob) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let address = server.address.to_string();
    let (status, output) = send_message(ann.path(), &address, "Ann");
    assert_eq!(status, Some(4));
    assert!(output.contains("requires an invite") && output.contains("chat://"), "{output}");

    let link = create_invite(&server, &[]);
    assert_eq!(send_message(ann.path(), &link, "Ann"), (Some(0), String::new()));
    let (status, output) = send_message(bob.path(), &link, "Bob");
    assert_eq!(status, Some(4));
    assert!(output.contains("ask for a new link"), "{output}");
    assert_eq!(
        send_message(ann.path(), &address, "Ann").0,
        Some(0),
        "a registered user needs no invite"
    );
    assert_eq!(
        send_message(ann.path(), &link, "Ann").0,
        Some(0),
        "a registered user may use the old link"
    );

    let output = server.run_admin(&["list"]);
    assert!(!output.contains("open invite"), "{output}");
    let (_, output, _) = server.run_local(&["invite", "--uses", "0"]);
    assert_eq!(output, "");
}

#[test]
fn public_server_requires_an_invite_by_default() {
    let folder = TempDir::new().unwrap();
    let command = serve_command(&folder, &["--listen", "0.0.0.0:0"]);
    let mut server = TestServer::spawn(folder, command);
    server.address.set_ip(Ipv4Addr::LOCALHOST.into());
    assert_eq!(log_in(&server, &ClientKey::new(), None).err().unwrap(), "invite_needed");
    let link = create_invite(&server, &[]);
    assert!(log_in(&server, &ClientKey::new(), Some(invite_secret(&link))).is_ok());
}

#[test]
fn keyless_clients_are_refused_with_the_reason() {
    let server = start_invite_only_server();
    let mut tom = TlsConnection::connect(&server);
    tom.recv();
    tom.send(br#"{"username": "Tom"}"#);
    let refusal: serde_json::Value = serde_json::from_slice(&tom.recv()).unwrap();
    assert_eq!((&refusal["status"], &refusal["code"]), (&json!("ERROR"), &json!("invite_needed")));
    assert!(refusal["error"].as_str().unwrap().contains("ask its administrator"));
    assert!(tom.recv().is_empty());

    let link = create_invite(&server, &[]);
    let login = json!({"action": "LOGIN", "protocol": 1, "username": "Tom", "invite": invite_secret(&link)});
    let refusal = TestClient::log_in(TlsConnection::connect(&server), &login).err().unwrap();
    assert_eq!(refusal["code"], "invite_needed");
    let next = log_in(&server, &ClientKey::new(), Some(invite_secret(&link)));
    assert!(next.is_ok(), "a refused login must not use up the invite");
}

#[test]
#[expect(clippy::needless_collect, reason = "all logins start before the first is awaited")]
fn invite_for_three_admits_three_concurrent_logins() {
    let server = start_invite_only_server();
    let link = create_invite(&server, &["--uses", "3", "--for", "10m"]);
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let many: Vec<_> = (0..12)
            .map(|_| {
                scope.spawn(|| {
                    log_in(&server, &ClientKey::new(), Some(invite_secret(&link))).map(drop)
                })
            })
            .collect();
        many.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 3, "{outcomes:?}");
    let refusal = outcomes.into_iter().filter_map(Result::err);
    assert!(refusal.into_iter().all(|code| code == "bad_invite"));
}

#[test]
fn crash_keeps_redeemed_invites_and_ids() {
    let mut server = start_invite_only_server();
    for _ in 0..5 {
        let (bob, eve) = (ClientKey::new(), ClientKey::new());
        let link = create_invite(&server, &[]);
        let id = log_in(&server, &bob, Some(invite_secret(&link))).unwrap().id;
        server.kill();
        let command =
            serve_command(server.data_folder(), &["--listen", "127.0.0.1:0", "--invite-only"]);
        assert!(server.restart(command));
        assert_eq!(log_in(&server, &eve, Some(invite_secret(&link))).err().unwrap(), "bad_invite");
        assert_eq!(log_in(&server, &bob, None).unwrap().id, id);
    }
}

#[test]
fn invite_secret_is_never_stored_or_logged() {
    let folder = TempDir::new().unwrap();
    let mut command = serve_command(&folder, &["--listen", "127.0.0.1:0", "--invite-only"]);
    command.env("CHAT_LOG", "trace");
    let server = TestServer::spawn(folder, command);
    let link = create_invite(&server, &[]);
    log_in(&server, &ClientKey::new(), Some(invite_secret(&link))).unwrap();
    let mut n_files = 0;
    for file in fs::read_dir(server.data_folder().path()).unwrap() {
        let file = file.unwrap().path();
        if file.is_file() {
            n_files += 1;
            let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
            assert!(!text.contains(invite_secret(&link)), "{}", file.display());
        }
    }
    assert!(n_files >= 4, "log, write-ahead log, log output and audit log");
}

#[test]
fn host_needs_no_invite_for_its_own_server() {
    let (home, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let data = home.path().join("data");
    let arguments =
        ["host", "--name", "Ann", "--plain", "--listen", "127.0.0.1:0", "--invite-only"];
    let mut command = chat_command(home.path(), &arguments);
    command.arg("--data").arg(&data).stdin(std::process::Stdio::piped());
    let mut host = command.spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(host.stdout.take().unwrap()));
    let address = lines.next().unwrap().unwrap().replace("listening on ", "");
    let mut until = |text: &str| lines.by_ref().map(Result::unwrap).any(|line| line.contains(text));
    assert!(until("new users need an invite"));
    assert!(until("you are Ann_"));
    assert_eq!(send_message(other.path(), &address, "Eve").0, Some(4));
    drop(host.stdin.take());
    assert_eq!(host.wait().unwrap().code(), Some(0));
}
