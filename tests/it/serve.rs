//! `chat serve`: ready lines, settings, startup errors and shutdown.

use std::fs;
use std::net::TcpListener;
use std::process::Output;
use std::time::{Duration, Instant};

use chat::tls;
use tempfile::TempDir;

use crate::support::{TestServer, chat_command, serve_command};

/// Runs a server that cannot start; returns exit status and standard error.
fn run_failing_serve(folder: &TempDir, arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, stdout } = serve_command(folder, arguments).output().unwrap();
    assert!(stdout.is_empty(), "no ready line");
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn ready_lines_show_address_fingerprint_and_join_command() {
    let mut server = TestServer::start();
    let fingerprint = server.next_line();
    assert_eq!(
        server.next_line(),
        format!("join with: chat join {} --name YOURNAME", server.address)
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_, seen) = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        tls::client::connect_unverified("localhost", stream, None).await.unwrap()
    });
    assert_eq!(fingerprint, format!("fingerprint {seen}"));
}

#[test]
fn hostname_and_ipv6_addresses_can_be_listened_on() {
    for listen in ["localhost:0", "[::1]:0"] {
        let folder = TempDir::new().unwrap();
        let command = serve_command(&folder, &["--listen", listen]);
        let server = TestServer::spawn(folder, command);
        assert!(server.address.ip().is_loopback());
        server.join("Ann");
    }
}

#[test]
fn environment_applies_without_a_flag() {
    let folder = TempDir::new().unwrap();
    let certs = TempDir::new().unwrap();
    let mut command = serve_command(&folder, &["--listen", "127.0.0.1:0"]);
    command.env("CHAT_CERTS", certs.path()).env("CHAT_LISTEN", "nonsense:1");
    let server = TestServer::spawn(folder, command);
    assert!(certs.path().join("key.pem").exists());
    assert!(!server.certificate_path().exists());
}

#[test]
fn config_file_applies_without_flag_or_environment() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("config/chat/config.toml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let [ours, theirs] = ["ours", "theirs"].map(|name| folder.path().join(name));
    let text = |listen| format!("listen = {listen:?}\ncerts = {:?}\n", ours.to_str().unwrap());
    fs::write(&file, text("127.0.0.1:0")).unwrap();
    TestServer::spawn(TempDir::new().unwrap(), serve_command(&folder, &[]));
    assert!(ours.join("key.pem").exists());
    let mut command = serve_command(&folder, &[]);
    command.env("CHAT_CERTS", &theirs);
    TestServer::spawn(TempDir::new().unwrap(), command);
    assert!(theirs.join("key.pem").exists());

    fs::write(&file, text("nonsense:port")).unwrap();
    let (status, output) = run_failing_serve(&folder, &[]);
    assert_eq!(status, Some(2));
    for text in [file.to_str().unwrap(), "line 1", "nonsense:port", "correct the file"] {
        assert!(output.contains(text), "{output}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the exit of a real process is timed")]
fn shutdown_notifies_clients_and_exits_with_success() {
    for signal in ["TERM", "INT"] {
        let server = TestServer::start();
        let (mut ann, mut tom) = (server.join("Ann"), server.join_original("Tom"));
        let start = Instant::now();
        server.signal(signal);
        assert_eq!(ann.wait_for("action", "CLOSING")["code"], "shutting_down");
        assert_eq!(ann.next(), None);
        assert!(tom.connection.recv().is_empty());
        assert_eq!(server.into_exit_status().code(), Some(0));
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn occupied_address_is_reported() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = TempDir::new().unwrap();
    let (status, output) = run_failing_serve(&folder, &["--listen", &address]);
    assert_eq!(status, Some(1));
    assert!(
        output.contains(&address) && output.contains("choose another with --listen"),
        "{output}"
    );
}

/// The ready line with the login policy of a server that other machines can reach.
fn login_policy_line(server: &mut TestServer) -> String {
    server.next_line();
    server.next_line();
    server.next_line()
}

#[test]
fn reachable_server_requires_invites_unless_open_and_says_so() {
    const LISTEN: [&str; 3] = ["serve", "--listen", "0.0.0.0:0"];
    let folder = tempfile::Builder::new().prefix("it's here ").tempdir().unwrap();
    let mut command = chat_command(folder.path(), &[&LISTEN[..], &["--data", "."]].concat());
    command.current_dir(folder.path());
    let data = fs::canonicalize(folder.path()).unwrap();
    let line = login_policy_line(&mut TestServer::spawn(folder, command));
    let (_, invite_command) =
        line.split_once("new users need an invite, create one with: chat ").unwrap();
    let arguments = shlex::split(invite_command).unwrap();
    assert_eq!(arguments, ["invite", "--data", data.to_str().unwrap()], "works in any folder");

    let folder = TempDir::new().unwrap();
    let data = folder.path().join("chat");
    let arguments = [&LISTEN[..], &["--data", data.to_str().unwrap()]].concat();
    let mut command = chat_command(folder.path(), &arguments);
    command.env("XDG_DATA_HOME", folder.path());
    let line = login_policy_line(&mut TestServer::spawn(folder, command));
    assert!(line.ends_with("create one with: chat invite"), "default data directory: {line}");

    let folder = TempDir::new().unwrap();
    let command = serve_command(&folder, &["--listen", "0.0.0.0:0", "--open"]);
    let mut server = TestServer::spawn(folder, command);
    assert_eq!(login_policy_line(&mut server), "open to anyone who can reach this port");
    server.join("Ann");
}

#[test]
fn usage_errors_have_their_own_exit_status() {
    let folder = TempDir::new().unwrap();
    for arguments in [&["--listen", "host:port"][..], &["--listen", ":1"], &["--no-such-flag"]] {
        assert_eq!(run_failing_serve(&folder, arguments).0, Some(2), "{arguments:?}");
    }
    let (status, output) = run_failing_serve(&folder, &["--listen", "no-such-host.invalid:1"]);
    assert_eq!(status, Some(1));
    assert!(output.contains("no-such-host.invalid"), "{output}");
}

#[test]
fn broken_certificate_is_reported() {
    let folder = TempDir::new().unwrap();
    let certs = folder.path().join("certs");
    fs::create_dir(&certs).unwrap();
    fs::write(certs.join("cert.pem"), "not a certificate").unwrap();
    let listen = ["--listen", "127.0.0.1:0"];
    let (status, output) = run_failing_serve(&folder, &listen);
    assert_eq!(status, Some(1));
    assert!(output.contains("key.pem") && output.contains("restore the key"), "{output}");
    fs::write(certs.join("key.pem"), "not a key").unwrap();
    let (_, output) = run_failing_serve(&folder, &listen);
    assert!(output.contains("no certificate in") && output.contains("cert.pem"), "{output}");

    let blocked = folder.path().join("file");
    fs::write(&blocked, "").unwrap();
    let (_, output) = run_failing_serve(
        &folder,
        &["--listen", "127.0.0.1:0", "--certs", blocked.to_str().unwrap()],
    );
    assert!(output.contains("cannot create") && output.contains("file"), "{output}");
}

#[test]
fn message_text_is_never_logged() {
    let folder = TempDir::new().unwrap();
    let mut command = serve_command(&folder, &["--listen", "127.0.0.1:0"]);
    command.env("CHAT_LOG", "trace");
    let server = TestServer::spawn(folder, command);
    let mut ann = server.join("Ann");
    ann.post("marzipan");
    ann.wait_for("content", "marzipan");
    ann.send(&serde_json::json!({"action": "MESSAGE", "private": "marzipan"}));
    ann.wait_for("code", "bad_request");
    assert!(server.log().contains("connected"), "empty log");
    assert!(!server.log().contains("marzipan"));
}
