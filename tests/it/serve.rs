//! `chat serve` as its operator meets it: ready lines, errors that say what to do, a good end.

use std::fs;
use std::net::TcpListener;
use std::process::Output;
use std::time::{Duration, Instant};

use chat::tls;
use tempfile::TempDir;

use crate::support::{Server, chat, serve};

/// What a server says that can't start: its status and its words.
fn fails(folder: &TempDir, arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, stdout } = serve(folder, arguments).output().unwrap();
    assert!(stdout.is_empty(), "nothing is ready");
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn the_ready_lines_say_all_that_others_need() {
    let mut server = Server::start();
    let fingerprint = server.line();
    assert_eq!(server.line(), format!("join with: chat join {} --name YOURNAME", server.address));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_, seen) = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        tls::client::connect("localhost", stream, None).await.unwrap()
    });
    assert_eq!(fingerprint, format!("fingerprint {seen}"));
}

#[test]
fn names_and_version_six_addresses_can_be_listened_on() {
    for listen in ["localhost:0", "[::1]:0"] {
        let folder = TempDir::new().unwrap();
        let command = serve(&folder, &["--listen", listen]);
        let server = Server::spawn(folder, command);
        assert!(server.address.ip().is_loopback());
        server.ours("Ann");
    }
}

#[test]
fn the_environment_sets_what_flags_do_not() {
    let folder = TempDir::new().unwrap();
    let certs = TempDir::new().unwrap();
    let mut command = serve(&folder, &["--listen", "127.0.0.1:0"]);
    command.env("CHAT_CERTS", certs.path()).env("CHAT_LISTEN", "nonsense:1");
    let server = Server::spawn(folder, command);
    assert!(certs.path().join("key.pem").exists());
    assert!(!server.certificate().exists());
}

#[test]
fn the_file_sets_what_the_environment_does_not() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("config/chat/config.toml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let [ours, theirs] = ["ours", "theirs"].map(|name| folder.path().join(name));
    let text = |listen| format!("listen = {listen:?}\ncerts = {:?}\n", ours.to_str().unwrap());
    fs::write(&file, text("127.0.0.1:0")).unwrap();
    Server::spawn(TempDir::new().unwrap(), serve(&folder, &[]));
    assert!(ours.join("key.pem").exists());
    let mut command = serve(&folder, &[]);
    command.env("CHAT_CERTS", &theirs);
    Server::spawn(TempDir::new().unwrap(), command);
    assert!(theirs.join("key.pem").exists());

    fs::write(&file, text("nonsense:port")).unwrap();
    let (status, words) = fails(&folder, &[]);
    assert_eq!(status, Some(2));
    for said in [file.to_str().unwrap(), "line 1", "nonsense:port", "correct it"] {
        assert!(words.contains(said), "{words}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it is a real process that has to end in time")]
fn a_stop_tells_the_clients_and_ends_well() {
    for signal in ["TERM", "INT"] {
        let server = Server::start();
        let (mut ann, mut tom) = (server.ours("Ann"), server.original("Tom"));
        let start = Instant::now();
        server.signal(signal);
        assert_eq!(ann.wait_for("action", "CLOSING")["code"], "shutting_down");
        assert_eq!(ann.next(), None);
        assert!(tom.wire.recv().is_empty());
        assert_eq!(server.wait().code(), Some(0));
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = TempDir::new().unwrap();
    let (status, words) = fails(&folder, &["--listen", &address]);
    assert_eq!(status, Some(1));
    assert!(words.contains(&address) && words.contains("--listen takes another"), "{words}");
}

/// Which line says who is let in, where other machines can reach the server.
fn who_is_let_in(server: &mut Server) -> String {
    server.line();
    server.line();
    server.line()
}

#[test]
fn other_machines_are_let_in_only_when_asked_to_and_the_ready_lines_say_it() {
    const LISTEN: [&str; 3] = ["serve", "--listen", "0.0.0.0:0"];
    let folder = tempfile::Builder::new().prefix("it's here ").tempdir().unwrap();
    let mut command = chat(folder.path(), &[&LISTEN[..], &["--data", "."]].concat());
    command.current_dir(folder.path());
    let data = fs::canonicalize(folder.path()).unwrap();
    let line = who_is_let_in(&mut Server::spawn(folder, command));
    let (_, to_make_one) = line.split_once("without an invite; to make one: chat ").unwrap();
    let words = shlex::split(to_make_one).unwrap();
    assert_eq!(words, ["invite", "--data", data.to_str().unwrap()], "in any folder");

    let folder = TempDir::new().unwrap();
    let data = folder.path().join("chat");
    let arguments = [&LISTEN[..], &["--data", data.to_str().unwrap()]].concat();
    let mut command = chat(folder.path(), &arguments);
    command.env("XDG_DATA_HOME", folder.path());
    let line = who_is_let_in(&mut Server::spawn(folder, command));
    assert!(line.ends_with("to make one: chat invite"), "it looks there by itself: {line}");

    let folder = TempDir::new().unwrap();
    let command = serve(&folder, &["--listen", "0.0.0.0:0", "--open"]);
    let mut server = Server::spawn(folder, command);
    assert_eq!(who_is_let_in(&mut server), "open to anybody who can reach this port");
    server.ours("Ann");
}

#[test]
fn wrong_usage_has_its_own_status() {
    let folder = TempDir::new().unwrap();
    for arguments in [&["--listen", "host:port"][..], &["--listen", ":1"], &["--no-such-flag"]] {
        assert_eq!(fails(&folder, arguments).0, Some(2), "{arguments:?}");
    }
    let (status, words) = fails(&folder, &["--listen", "no-such-host.invalid:1"]);
    assert_eq!(status, Some(1));
    assert!(words.contains("no-such-host.invalid"), "{words}");
}

#[test]
fn a_broken_certificate_is_named() {
    let folder = TempDir::new().unwrap();
    let certs = folder.path().join("certs");
    fs::create_dir(&certs).unwrap();
    fs::write(certs.join("cert.pem"), "not a certificate").unwrap();
    let listen = ["--listen", "127.0.0.1:0"];
    let (status, words) = fails(&folder, &listen);
    assert_eq!(status, Some(1));
    assert!(words.contains("key.pem") && words.contains("put the key there"), "{words}");
    fs::write(certs.join("key.pem"), "not a key").unwrap();
    let (_, words) = fails(&folder, &listen);
    assert!(words.contains("no certificate in") && words.contains("cert.pem"), "{words}");

    let blocked = folder.path().join("file");
    fs::write(&blocked, "").unwrap();
    let (_, words) =
        fails(&folder, &["--listen", "127.0.0.1:0", "--certs", blocked.to_str().unwrap()]);
    assert!(words.contains("cannot make") && words.contains("file"), "{words}");
}

#[test]
fn no_message_gets_into_the_log() {
    let folder = TempDir::new().unwrap();
    let mut command = serve(&folder, &["--listen", "127.0.0.1:0"]);
    command.env("CHAT_LOG", "trace");
    let server = Server::spawn(folder, command);
    let mut ann = server.ours("Ann");
    ann.say("marzipan");
    ann.wait_for("content", "marzipan");
    ann.send(&serde_json::json!({"action": "MESSAGE", "private": "marzipan"}));
    ann.wait_for("code", "bad_request");
    assert!(server.log().contains("connected"), "it logs");
    assert!(!server.log().contains("marzipan"));
}
