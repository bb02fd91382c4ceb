//! `chat admin` against a running server.
#![expect(clippy::indexing_slicing, reason = "a test fails on a panic")]

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_rustls::rustls::ClientConfig;

use crate::support::{
    ClientKey, TestClient, TestServer, TlsConnection, chat_command, serve_command, tls_config,
};

fn log_in(
    server: &TestServer,
    config: &Arc<ClientConfig>,
    name: &str,
) -> Result<TestClient, Value> {
    let wire = TlsConnection::try_handshake(
        TcpStream::connect(server.address).unwrap(),
        Arc::clone(config),
    )
    .unwrap();
    TestClient::log_in(wire, &json!({"action": "LOGIN", "protocol": 1, "username": name}))
}

/// Waits until the server closes the session; returns the code of its CLOSING.
fn closing_code(mut session: TestClient) -> String {
    let code = session.wait_for("action", "CLOSING")["code"].as_str().unwrap().to_owned();
    assert_eq!(session.next(), None);
    code
}

fn restart(server: &mut TestServer) {
    server.kill();
    let command = serve_command(server.data_folder(), &["--listen", "127.0.0.1:0"]);
    assert!(server.restart(command), "{}", server.log());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a real session has to end in time")]
fn ban_ends_sessions_and_survives_restart_and_tls_resumption() {
    let mut server = TestServer::start();
    let (bob, ann) = (ClientKey::new(), server.join("Ann"));
    let config = tls_config(&server.certificate_path(), Some(&bob));
    let (first, second) =
        (log_in(&server, &config, "Bob").unwrap(), log_in(&server, &config, "Bob").unwrap());
    let id = first.id.clone();
    let start = Instant::now();
    let output = server.run_admin(&["ban", &id]);
    assert_eq!(output, format!("banned {id} (key {}); 2 connections closed\n", bob.fingerprint()));
    assert_eq!((closing_code(first).as_str(), closing_code(second).as_str()), ("banned", "banned"));
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());

    for name in ["Bob", "Rob"] {
        assert_eq!(log_in(&server, &config, name).err().unwrap()["code"], "banned");
    }
    restart(&mut server);
    let config = tls_config(&server.certificate_path(), Some(&bob));
    assert_eq!(log_in(&server, &config, "Bob").err().unwrap()["code"], "banned");
    assert!(
        server.run_admin(&["list"]).contains(&format!("banned: {}  {id}\n", bob.fingerprint()))
    );
    server.run_admin(&["unban", &id]);
    for _ in 0..2 {
        let back = log_in(&server, &config, "Bob").unwrap();
        assert_eq!(back.id, id);
        assert!(!back.is_resumed(), "TLS resumption must be off");
    }
    let (status, _, output) = server.run_local(&["admin", "unban", &id]);
    assert_eq!(status, Some(4));
    assert!(output.contains("is not banned"), "{output}");
    drop(ann);
}

#[test]
fn address_ban_covers_every_client_of_the_network() {
    let server = TestServer::start();
    let (ann, mut tom) = (server.join("Ann"), server.join_original("Tom"));
    let (status, _, output) = server.run_local(&["admin", "ban", &tom.id]);
    assert_eq!(status, Some(4));
    assert!(output.contains("has no key to ban: ban the address instead"), "{output}");
    server.run_admin(&["ban", "127.0.0.0/8"]);
    assert_eq!(closing_code(ann), "banned");
    assert!(tom.connection.recv().is_empty());
    server.run_admin(&["unban", "127.0.0.0/8"]);
    server.join("Ann");
}

#[test]
fn kicked_user_can_reconnect() {
    let server = TestServer::start();
    let (ann, mut kim) = (server.join("Ann"), server.join("Kim"));
    let id = ann.id.clone();
    assert_eq!(server.run_admin(&["kick", &id]), "1 connection closed\n");
    assert_eq!(closing_code(ann), "kicked");
    server.join("Ann");
    kim.post("still here");
    kim.wait_for("content", "still here");
    let (status, _, output) = server.run_local(&["admin", "kick", &id]);
    assert_eq!(
        (status, output.as_str()),
        (Some(4), &*format!("error: no session matches {id} (`chat admin list` shows all)\n"))
    );
}

#[test]
fn rebind_moves_the_id_to_the_new_key() {
    let mut server = TestServer::start();
    let (old, new) = (ClientKey::new(), ClientKey::new());
    let config = |server: &TestServer, key| tls_config(&server.certificate_path(), Some(key));
    let bob = log_in(&server, &config(&server, &old), "Bob").unwrap();
    let id = bob.id.clone();
    // The new key already has another ID.
    let stranger = log_in(&server, &config(&server, &new), "Bob").unwrap();
    assert_ne!(stranger.id, id);
    server.run_admin(&["rebind", &id, &new.fingerprint()]);
    assert_eq!(closing_code(bob), "kicked");
    for _ in 0..2 {
        assert_eq!(log_in(&server, &config(&server, &new), "Bob").unwrap().id, id);
        assert_ne!(log_in(&server, &config(&server, &old), "Bob").unwrap().id, id);
        restart(&mut server);
    }
    let (status, _, output) =
        server.run_local(&["admin", "rebind", "Zoe_0000", &new.fingerprint()]);
    assert_eq!(status, Some(4));
    assert!(output.contains("Zoe_0000 is not an ID with a key"), "{output}");
}

#[test]
fn admin_delete_removes_the_message_for_all_clients() {
    let server = TestServer::start();
    let (mut ann, mut kim) = (server.join("Ann"), server.join("Kim"));
    ann.post("marzipan");
    let id = kim.wait_for("content", "marzipan")["id"].as_str().unwrap().to_owned();
    assert_eq!(server.run_admin(&["delete", &id]), format!("removed message {id}\n"));
    for client in [&mut ann, &mut kim] {
        let event = client.wait_for("action", "DELETE");
        assert_eq!(event["content"], id.as_str());
    }
    assert_eq!(server.run_local(&["admin", "delete", &id]).0, Some(4), "deleted twice");
    kim.send(&json!({"action": "HISTORY", "cid": "h"}));
    assert_eq!(kim.wait_for("cid", "h")["messages"], json!([]));
}

#[test]
fn audit_log_records_commands_and_list_shows_sessions() {
    let server = TestServer::start();
    let ann = server.join("Ann");
    let output = server.run_admin(&["list"]);
    assert_eq!(output, format!("ID        ADDRESS    KEY\n{}  127.0.0.1  none\n", ann.id));
    let output = server.run_admin(&["stats"]);
    assert!(
        output.contains("online users  1\n") && output.contains("messages      0\n"),
        "{output}"
    );
    let stats: Value = serde_json::from_str(&server.run_admin(&["stats", "--json"])).unwrap();
    assert_eq!((&stats["answer"], &stats["people"]), (&json!("stats"), &json!(1)));
    server.run_admin(&["ban", "203.0.113.0/24"]);
    server.run_local(&["invite", "--uses", "2"]);
    server.run_local(&["admin", "kick", "Zoe_0000"]);
    let audit = server.data_folder().path().join("audit.log");
    let text = fs::read_to_string(&audit).unwrap();
    let acts: Vec<_> = text.lines().map(|line| line.split_once(" uid=").unwrap().1).collect();
    let own = fs::metadata(&audit).unwrap();
    let uid = std::os::unix::fs::MetadataExt::uid(&own);
    let expected = ["ban 203.0.113.0/24", "invite --uses 2 --for 86400s", "kick Zoe_0000"];
    assert_eq!(acts, expected.map(|act| format!("{uid} act={act:?}")));
    assert_eq!(own.permissions().mode() & 0o777, 0o600);
}

#[test]
fn missing_server_is_reported_and_stale_socket_is_replaced() {
    let home = TempDir::new().unwrap();
    let data = home.path().to_str().unwrap();
    let list = || {
        let output =
            chat_command(home.path(), &["admin", "list", "--data", data]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, output) = list();
    assert_eq!(status, Some(1));
    assert!(output.contains(&format!("no server runs on {data}")), "{output}");

    let mut server = TestServer::start();
    let socket = server.data_folder().path().join("admin.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let second =
        serve_command(server.data_folder(), &["--listen", "127.0.0.1:0"]).output().unwrap();
    assert_eq!(second.status.code(), Some(1), "two servers on one data directory");
    server.run_admin(&["stats"]);
    server.kill();
    assert!(socket.exists());
    let (status, _, output) = server.run_local(&["admin", "stats"]);
    assert_eq!(status, Some(1));
    assert!(output.contains("no server runs on"), "{output}");
    let command = serve_command(server.data_folder(), &["--listen", "127.0.0.1:0"]);
    assert!(server.restart(command));
    server.run_admin(&["stats"]);
    server.signal("TERM");
    server.wait_for_exit();
    assert!(!socket.exists(), "socket left after a clean exit");
}

#[test]
fn unusable_socket_folder_is_reported() {
    let folder = TempDir::new().unwrap();
    let long = folder.path().join("x".repeat(100));
    let shared = folder.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).unwrap();
    for (data, expected) in
        [(&long, "too long for a Unix socket"), (&shared, "is writable by other users")]
    {
        let mut command =
            chat_command(folder.path(), &["serve", "--listen", "127.0.0.1:0", "--data"]);
        let output = command.arg(data).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }
}

#[test]
fn malformed_admin_requests_are_refused() {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    let server = TestServer::start();
    let ask = |bytes: &[u8]| {
        let mut stream =
            UnixStream::connect(server.data_folder().path().join("admin.sock")).unwrap();
        // The server may close the socket before everything is written.
        stream.write_all(bytes).unwrap_or_default();
        stream.shutdown(std::net::Shutdown::Write).unwrap_or_default();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap_or_default();
        String::from_utf8(answer).unwrap()
    };
    for malformed in ["x", "{}\n", r#"{"act":"ban","who":"all"}"#, r#"{"act":"dance"}"#] {
        assert!(ask(malformed.as_bytes()).starts_with(r#"{"answer":"refused""#), "{malformed}");
    }
    let both = ask(b"{\"act\":\"list\"}\n{\"act\":\"stats\"}\n");
    assert_eq!(both.lines().count(), 2, "{both}");
    ask(&vec![b'x'; 1_000_000]);
    assert_eq!(ask(b""), "");
    server.run_admin(&["stats"]);
}
