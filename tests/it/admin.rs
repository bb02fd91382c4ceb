//! What whoever runs a server can do to it while people are there, with the real program.
#![expect(clippy::indexing_slicing, reason = "a test fails where its tools do")]

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_rustls::rustls::ClientConfig;

use crate::support::{Key, Ours, Server, Wire, chat, serve, trusting};

fn log_in(server: &Server, config: &Arc<ClientConfig>, name: &str) -> Result<Ours, Value> {
    let wire = Wire::open(TcpStream::connect(server.address).unwrap(), Arc::clone(config)).unwrap();
    Ours::log_in(wire, &json!({"action": "LOGIN", "protocol": 1, "username": name}))
}

/// Waits until the server has ended a session for this reason.
fn ended(mut session: Ours) -> String {
    let code = session.wait_for("action", "CLOSING")["code"].as_str().unwrap().to_owned();
    assert_eq!(session.next(), None);
    code
}

fn restart(server: &mut Server) {
    server.kill();
    let command = serve(server.folder(), &["--listen", "127.0.0.1:0"]);
    assert!(server.restart(command), "{}", server.log());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a real session has to end in time")]
fn a_ban_ends_sessions_at_once_and_outlives_restarts_and_tickets() {
    let mut server = Server::start();
    let (bob, ann) = (Key::new(), server.ours("Ann"));
    let config = trusting(&server.certificate(), Some(&bob));
    let (first, second) =
        (log_in(&server, &config, "Bob").unwrap(), log_in(&server, &config, "Bob").unwrap());
    let id = first.id.clone();
    let start = Instant::now();
    let words = server.administer(&["ban", &id]);
    assert_eq!(
        words,
        format!("{id}, who is {}, is shut out; 2 connections ended\n", bob.fingerprint())
    );
    assert_eq!((ended(first).as_str(), ended(second).as_str()), ("banned", "banned"));
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());

    for name in ["Bob", "Rob"] {
        assert_eq!(log_in(&server, &config, name).err().unwrap()["code"], "banned");
    }
    restart(&mut server);
    let config = trusting(&server.certificate(), Some(&bob));
    assert_eq!(log_in(&server, &config, "Bob").err().unwrap()["code"], "banned");
    assert!(
        server.administer(&["list"]).contains(&format!("shut out: {}  {id}\n", bob.fingerprint()))
    );
    server.administer(&["unban", &id]);
    for _ in 0..2 {
        let back = log_in(&server, &config, "Bob").unwrap();
        assert_eq!(back.id, id);
        assert!(!back.is_resumed(), "a server that gives no tickets takes none");
    }
    let (status, _, words) = server.local(&["admin", "unban", &id]);
    assert_eq!(status, Some(4));
    assert!(words.contains("is not shut out"), "{words}");
    drop(ann);
}

#[test]
fn an_address_is_shut_out_with_everybody_who_comes_from_there() {
    let server = Server::start();
    let (ann, mut tom) = (server.ours("Ann"), server.original("Tom"));
    let (status, _, words) = server.local(&["admin", "ban", &tom.id]);
    assert_eq!(status, Some(4));
    assert!(words.contains("belongs to no key: ban the address"), "{words}");
    server.administer(&["ban", "127.0.0.0/8"]);
    assert_eq!(ended(ann), "banned");
    assert!(tom.wire.recv().is_empty());
    server.administer(&["unban", "127.0.0.0/8"]);
    server.ours("Ann");
}

#[test]
fn a_kick_ends_connections_and_nothing_else() {
    let server = Server::start();
    let (ann, mut kim) = (server.ours("Ann"), server.ours("Kim"));
    let id = ann.id.clone();
    assert_eq!(server.administer(&["kick", &id]), "1 connection ended\n");
    assert_eq!(ended(ann), "kicked");
    server.ours("Ann");
    kim.say("still here");
    kim.wait_for("content", "still here");
    let (status, _, words) = server.local(&["admin", "kick", &id]);
    assert_eq!(
        (status, words.as_str()),
        (Some(4), &*format!("error: nobody who is here is {id}\n"))
    );
}

#[test]
fn an_id_that_is_bound_anew_lets_the_new_key_in_and_the_old_one_out() {
    let mut server = Server::start();
    let (old, new) = (Key::new(), Key::new());
    let config = |server: &Server, key| trusting(&server.certificate(), Some(key));
    let bob = log_in(&server, &config(&server, &old), "Bob").unwrap();
    let id = bob.id.clone();
    // With the new key Bob has been here already, as somebody else.
    let stranger = log_in(&server, &config(&server, &new), "Bob").unwrap();
    assert_ne!(stranger.id, id);
    server.administer(&["rebind", &id, &new.fingerprint()]);
    assert_eq!(ended(bob), "kicked");
    for _ in 0..2 {
        assert_eq!(log_in(&server, &config(&server, &new), "Bob").unwrap().id, id);
        assert_ne!(log_in(&server, &config(&server, &old), "Bob").unwrap().id, id);
        restart(&mut server);
    }
    let (status, _, words) = server.local(&["admin", "rebind", "Zoe_0000", &new.fingerprint()]);
    assert_eq!(status, Some(4));
    assert!(words.contains("no ID Zoe_0000"), "{words}");
}

#[test]
fn a_removed_message_is_gone_for_everybody_who_has_it() {
    let server = Server::start();
    let (mut ann, mut kim) = (server.ours("Ann"), server.ours("Kim"));
    ann.say("marzipan");
    let id = kim.wait_for("content", "marzipan")["id"].as_str().unwrap().to_owned();
    assert_eq!(server.administer(&["delete", &id]), format!("message {id} is removed\n"));
    for person in [&mut ann, &mut kim] {
        let gone = person.wait_for("action", "DELETE");
        assert_eq!(gone["content"], id.as_str());
    }
    assert_eq!(server.local(&["admin", "delete", &id]).0, Some(4), "it can't go twice");
    kim.send(&json!({"action": "HISTORY", "cid": "h"}));
    assert_eq!(kim.wait_for("cid", "h")["messages"], json!([]));
}

#[test]
fn what_was_done_stands_in_the_audit_log_and_what_is_there_in_a_list() {
    let server = Server::start();
    let ann = server.ours("Ann");
    let words = server.administer(&["list"]);
    assert_eq!(words, format!("ID        ADDRESS    KEY\n{}  127.0.0.1  none\n", ann.id));
    let words = server.administer(&["stats"]);
    assert!(words.contains("people here   1\n") && words.contains("messages      0\n"), "{words}");
    let stats: Value = serde_json::from_str(&server.administer(&["stats", "--json"])).unwrap();
    assert_eq!((&stats["answer"], &stats["people"]), (&json!("stats"), &json!(1)));
    server.administer(&["ban", "203.0.113.0/24"]);
    server.local(&["invite", "--uses", "2"]);
    server.local(&["admin", "kick", "Zoe_0000"]);
    let audit = server.folder().path().join("audit.log");
    let text = fs::read_to_string(&audit).unwrap();
    let acts: Vec<_> = text.lines().map(|line| line.split_once(" uid=").unwrap().1).collect();
    let own = fs::metadata(&audit).unwrap();
    let uid = std::os::unix::fs::MetadataExt::uid(&own);
    let expected = ["ban 203.0.113.0/24", "invite --uses 2 --for 86400s", "kick Zoe_0000"];
    assert_eq!(acts, expected.map(|act| format!("{uid} act={act:?}")));
    assert_eq!(own.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_server_that_is_not_there_is_said_so_and_a_dead_ones_socket_is_in_nobodys_way() {
    let home = TempDir::new().unwrap();
    let data = home.path().to_str().unwrap();
    let list = || {
        let output = chat(home.path(), &["admin", "list", "--data", data]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, words) = list();
    assert_eq!(status, Some(1));
    assert!(words.contains(&format!("no server runs on {data}")), "{words}");

    let mut server = Server::start();
    let socket = server.folder().path().join("admin.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let second = serve(server.folder(), &["--listen", "127.0.0.1:0"]).output().unwrap();
    assert_eq!(second.status.code(), Some(1), "one folder is for one server");
    server.administer(&["stats"]);
    server.kill();
    assert!(socket.exists());
    let (status, _, words) = server.local(&["admin", "stats"]);
    assert_eq!(status, Some(1));
    assert!(words.contains("no server runs on"), "{words}");
    let command = serve(server.folder(), &["--listen", "127.0.0.1:0"]);
    assert!(server.restart(command));
    server.administer(&["stats"]);
    server.signal("TERM");
    server.wait_for_end();
    assert!(!socket.exists(), "a server that ends well takes it along");
}

#[test]
fn a_folder_that_the_socket_can_not_be_in_is_named() {
    let folder = TempDir::new().unwrap();
    let long = folder.path().join("x".repeat(100));
    let shared = folder.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).unwrap();
    for (data, words) in [(&long, "too long for a socket"), (&shared, "can be written by others")] {
        let mut command = chat(folder.path(), &["serve", "--listen", "127.0.0.1:0", "--data"]);
        let output = command.arg(data).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn nonsense_at_the_socket_is_answered_and_bounded() {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    let server = Server::start();
    let ask = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(server.folder().path().join("admin.sock")).unwrap();
        // It may hang up before all is written.
        stream.write_all(bytes).unwrap_or_default();
        stream.shutdown(std::net::Shutdown::Write).unwrap_or_default();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap_or_default();
        String::from_utf8(answer).unwrap()
    };
    for nonsense in ["x", "{}\n", r#"{"act":"ban","who":"all"}"#, r#"{"act":"dance"}"#] {
        assert!(ask(nonsense.as_bytes()).starts_with(r#"{"answer":"refused""#), "{nonsense}");
    }
    let both = ask(b"{\"act\":\"list\"}\n{\"act\":\"stats\"}\n");
    assert_eq!(both.lines().count(), 2, "{both}");
    ask(&vec![b'x'; 1_000_000]);
    assert_eq!(ask(b""), "");
    server.administer(&["stats"]);
}
