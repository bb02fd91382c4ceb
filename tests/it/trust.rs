//! Who is who, by the real program: servers by pin, link or certificate, people by the key they carry.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use chat::tls::server::Identity;
use serde_json::json;
use tempfile::TempDir;

use crate::support::screen::Screen;
use crate::support::{Server, Wire, chat, serve};

/// Runs `chat` as whoever has this home; its status, its output and its complaints.
fn run(home: &TempDir, arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut child = chat(home.path(), arguments).stdin(Stdio::piped()).spawn().unwrap();
    // It may have ended before it read anything.
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap_or_default();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn send(home: &TempDir, server: &str, more: &[&str]) -> (Option<i32>, String) {
    let all =
        [&["send", server, "--name", "Bob", "--timeout", "10"][..], more, &["hello"]].concat();
    let (status, _, complaints) = run(home, &all, "");
    (status, complaints)
}

/// Another server in its place, with another key.
fn usurp(mut server: Server) -> Server {
    let address = server.address.to_string();
    server.kill();
    let folder = TempDir::new().unwrap();
    let command = serve(&folder, &["--listen", &address]);
    Server::spawn(folder, command)
}

fn pins(home: &TempDir) -> String {
    fs::read_to_string(home.path().join("client/known_servers")).unwrap()
}

#[test]
fn a_server_is_shown_once_pinned_and_no_other_is_talked_to_in_its_place() {
    let server = Server::start();
    let (home, address) = (TempDir::new().unwrap(), server.address.to_string());
    let first = server.fingerprint();
    let (status, complaints) = send(&home, &address, &[]);
    assert_eq!(status, Some(0), "{complaints}");
    assert!(complaints.starts_with(&format!("first contact with {address}")), "{complaints}");
    assert!(complaints.contains(&first.to_string()), "{complaints}");
    assert_eq!(send(&home, &address, &[]), (Some(0), String::new()));
    let line = pins(&home);
    assert!(line.starts_with(&format!("{address} {first} 20")), "{line}");

    let server = usurp(server);
    let second = server.fingerprint();
    let file = home.path().join("client/known_servers");
    for command in [
        &["send", &address, "--name", "Bob", "hello"][..],
        &["tail", &address, "--name", "Bob"],
        &["join", &address, "--name", "Bob", "--plain"],
    ] {
        let (status, _, complaints) = run(&home, command, "hello\n");
        assert_eq!(status, Some(3), "{complaints}");
        for told in [
            &first.to_string(),
            &second.to_string(),
            &format!("remove line 1 of {}", file.display()),
            line.trim(),
            "its data folder was deleted",
        ] {
            assert!(complaints.contains(told), "{told:?} in {complaints}");
        }
    }
    assert_eq!(pins(&home), line);
    let mut ann = server.ours("Ann");
    ann.send(&json!({"action": "HISTORY", "cid": "all"}));
    assert_eq!(ann.wait_for("action", "HISTORY")["messages"], json!([]), "nothing has come");
    fs::write(&file, "").unwrap();
    let (status, complaints) = send(&home, &address, &[]);
    assert!(status == Some(0) && complaints.contains(&second.to_string()), "{complaints}");
}

#[test]
fn a_running_client_ends_when_another_server_takes_the_place() {
    let server = Server::start();
    let home = TempDir::new().unwrap();
    let address = server.address.to_string();
    let screen = Screen::spawn(&["join", &address, "--name", "Ann"], (24, 80));
    let mut bob = chat(home.path(), &["tail", &address, "--name", "Bob", "--follow"]);
    let bob = bob.spawn().unwrap();
    screen.wait_for("first contact with");
    screen.wait_for(&server.fingerprint().to_string());
    screen.wait_for("no other key is taken for this server");
    screen.wait_for("Bob_");
    let _server = usurp(server);
    assert_eq!(screen.finish(), 3);
    let Output { status, stderr, .. } = bob.wait_with_output().unwrap();
    let complaints = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(3), "{complaints}");
    assert!(complaints.contains("has changed: nothing was sent"), "{complaints}");
}

#[test]
fn a_link_brings_the_key() {
    let server = Server::start();
    let own = server.fingerprint();
    let home = TempDir::new().unwrap();
    let wrong = format!("chat://{}/#pin={}", server.address, "A".repeat(43));
    let (status, complaints) = send(&home, &wrong, &[]);
    assert_eq!(status, Some(3), "{complaints}");
    assert!(complaints.contains("not the one in the link: nothing was sent"), "{complaints}");
    assert!(complaints.contains(&own.to_string()), "{complaints}");
    assert!(!home.path().join("client/known_servers").exists());
    assert_eq!(send(&home, &server.link(), &[]), (Some(0), String::new()));
    assert!(pins(&home).contains(&own.to_string()));
    let (status, complaints) = send(&home, "chat://127.0.0.1/#pin=half", &[]);
    assert!(status == Some(2) && complaints.contains("copy the whole link"), "{complaints}");
}

#[test]
fn a_damaged_pin_file_stops_everything_and_is_named() {
    let server = Server::start();
    let home = TempDir::new().unwrap();
    let file = home.path().join("client/known_servers");
    fs::create_dir(home.path().join("client")).unwrap();
    fs::write(&file, "# mine\n\x1b[31m who knows\n").unwrap();
    let (status, complaints) = send(&home, &server.address.to_string(), &[]);
    assert_eq!(status, Some(1));
    assert!(complaints.contains(&format!("{}: line 2 is not", file.display())), "{complaints}");
    assert!(!complaints.contains('\x1b'));
}

#[test]
fn a_certificate_can_count_instead_of_the_key() {
    let (server, other) = (Server::start(), Server::start());
    let (home, address) = (TempDir::new().unwrap(), server.address.to_string());
    let ca = |server: &Server| server.certificate().to_str().unwrap().to_owned();
    let sent = send(&home, &address, &["--ca", &ca(&server)]);
    assert_eq!(sent, (Some(0), String::new()));
    assert!(!home.path().join("client/known_servers").exists());
    let (status, complaints) = send(&home, &address, &["--ca", &ca(&other)]);
    assert_eq!(status, Some(3), "{complaints}");
    assert!(complaints.contains("no certificate to be trusted"), "{complaints}");
    let (status, complaints) = send(&home, &address, &["--ca", "nowhere.pem"]);
    assert!(status == Some(1) && complaints.contains("nowhere.pem"), "{complaints}");
}

#[test]
fn the_authorities_of_the_system_can_count() {
    let (server, other) = (Server::start(), Server::start());
    let home = TempDir::new().unwrap();
    let arguments =
        ["send", &server.address.to_string(), "--name", "Bob", "--ca", "system", "hello"];
    let send = |trusted: &Path| {
        let mut command = chat(home.path(), &arguments);
        // Where the system would look, it looks here.
        let output = command.env("SSL_CERT_FILE", trusted).env_remove("SSL_CERT_DIR").output();
        let Output { status, stderr, .. } = output.unwrap();
        (status.code(), String::from_utf8(stderr).unwrap())
    };
    assert_eq!(send(&server.certificate()), (Some(0), String::new()));
    assert!(!home.path().join("client/known_servers").exists());
    let (status, complaints) = send(&other.certificate());
    assert_eq!(status, Some(3), "{complaints}");
    assert!(complaints.contains("no certificate to be trusted"), "{complaints}");
    let nobody = home.path().join("nobody.pem");
    fs::write(&nobody, "").unwrap();
    let (status, complaints) = send(&nobody);
    assert!(status == Some(1) && complaints.contains("system"), "{complaints}");
}

#[test]
fn a_key_moves_to_another_machine_and_the_person_with_it() {
    let server = Server::start();
    let mut ann = server.ours("Ann");
    let (here, there) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let address = server.address.to_string();
    let mut says = |home: &TempDir, who: &[&str]| {
        let all = [&["send", &address][..], who, &["hello"]].concat();
        let (status, _, complaints) = run(home, &all, "");
        assert_eq!(status, Some(0), "{complaints}");
        ann.wait_for("action", "MESSAGE")["sender"].as_str().unwrap().to_owned()
    };
    let bob = says(&here, &["--name", "Bob"]);
    let file = here.path().join("moved.pem");
    let file = file.to_str().unwrap();
    let (status, shown, _) = run(&here, &["key", "show"], "");
    assert_eq!(status, Some(0));
    let (fingerprint, place) = shown.trim().split_once('\n').unwrap();
    assert_eq!(Path::new(place), here.path().join("client/id.pem"));
    assert_eq!(run(&here, &["key", "export", file], "\n").0, Some(1), "no passphrase");
    let (status, said, _) = run(&here, &["key", "export", file], "correct horse\n");
    assert!(status == Some(0) && said.contains(fingerprint), "{said}");
    assert_eq!(
        run(&here, &["key", "export", file], "correct horse\n").0,
        Some(1),
        "no overwriting"
    );

    let (status, _, complaints) = run(&there, &["key", "import", file], "wrong\n");
    assert!(status == Some(1) && complaints.contains("not the passphrase"), "{complaints}");
    let (status, said, _) = run(&there, &["key", "import", file], "correct horse\n");
    assert!(status == Some(0) && said.contains(fingerprint), "{said}");
    assert_eq!(says(&there, &["--name", "Bob"]), bob);
    assert_eq!(says(&there, &["--id", &bob]), bob, "the ID says the name");
    let (status, _, complaints) =
        run(&there, &["send", &address, "--id", &bob, "--name", "Tom", "hello"], "");
    assert!(status == Some(2) && complaints.contains("leave --name out"), "{complaints}");
}

/// The certificate that the next one to connect is shown.
fn shown(server: &Server) -> Vec<u8> {
    Wire::shown(server).to_vec()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a real process takes its time")]
fn a_certificate_is_renewed_without_anybody_noticing() {
    let server = Server::start();
    let (mut ann, mut bob) = (server.ours("Ann"), server.ours("Bob"));
    let (before, own) = (shown(&server), server.fingerprint());
    let hang_up = |words: &str| {
        let told = server.log().matches(words).count();
        server.signal("HUP");
        let start = std::time::Instant::now();
        while server.log().matches(words).count() == told {
            assert!(start.elapsed() < crate::support::PATIENCE, "{}", server.log());
            std::thread::yield_now();
        }
    };
    fs::write(server.certificate(), "nonsense").unwrap();
    hang_up("the certificate stays as it was");
    assert_eq!(shown(&server), before);
    // The program makes a new certificate of the key that is there.
    fs::remove_file(server.certificate()).unwrap();
    Identity::open(server.certificate().parent().unwrap()).unwrap();
    hang_up("the certificate is renewed");
    assert_ne!(shown(&server), before);
    assert_eq!(server.fingerprint(), own);
    ann.say("still here");
    assert_eq!(bob.wait_for("action", "MESSAGE")["content"], "still here");
}
