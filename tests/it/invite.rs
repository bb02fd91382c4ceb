//! A server that is not for everybody: who gets in by an invite, and who does not, with the real program.
#![expect(clippy::indexing_slicing, reason = "a test fails where its tools do")]

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use crate::support::{Key, Ours, Server, Wire, chat, serve, trusting};

fn invite_only() -> Server {
    let folder = TempDir::new().unwrap();
    let command = serve(&folder, &["--listen", "127.0.0.1:0", "--invite-only"]);
    Server::spawn(folder, command)
}

/// The link of a new invite.
fn link(server: &Server, arguments: &[&str]) -> String {
    let (status, words, _) = server.local(&[&["invite"], arguments].concat());
    assert_eq!(status, Some(0));
    let lines: Vec<_> = words.lines().collect();
    assert_eq!(lines.len(), 1, "where no terminal is, there is the link alone: {words}");
    assert!(words.starts_with("chat://") && words.contains("/#pin="), "{words}");
    lines.concat()
}

/// Says something by `chat send`; the exit status, and what was complained of.
fn say(home: &Path, server: &str, name: &str) -> (Option<i32>, String) {
    let said = chat(home, &["send", server, "--name", name, "--timeout", "10", "--", "hello"]);
    let output = { said }.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// A login with a key and an invite, over a connection of its own.
fn log_in(server: &Server, key: &Key, invite: Option<&str>) -> Result<Ours, String> {
    let tcp = TcpStream::connect(server.address).unwrap();
    let wire = Wire::open(tcp, trusting(&server.certificate(), Some(key))).unwrap();
    let login = json!({"action": "LOGIN", "protocol": 1, "username": "Bob", "invite": invite});
    Ours::log_in(wire, &login).map_err(|refused| refused["code"].as_str().unwrap().to_owned())
}

fn secret(link: &str) -> &str {
    link.split_once("&invite=").unwrap().1
}

#[test]
fn an_invite_lets_one_person_in_for_good_and_the_next_one_is_told() {
    let server = invite_only();
    let (ann, bob) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let address = server.address.to_string();
    let (status, words) = say(ann.path(), &address, "Ann");
    assert_eq!(status, Some(4));
    assert!(words.contains("without an invite") && words.contains("chat://"), "{words}");

    let link = link(&server, &[]);
    assert_eq!(say(ann.path(), &link, "Ann"), (Some(0), String::new()));
    let (status, words) = say(bob.path(), &link, "Bob");
    assert_eq!(status, Some(4));
    assert!(words.contains("ask for a new link"), "{words}");
    assert_eq!(say(ann.path(), &address, "Ann").0, Some(0), "who has an ID just comes back");
    assert_eq!(say(ann.path(), &link, "Ann").0, Some(0), "with the old link as well");

    let words = server.administer(&["list"]);
    assert!(!words.contains("open invite"), "{words}");
    let (_, words, _) = server.local(&["invite", "--uses", "0"]);
    assert_eq!(words, "");
}

#[test]
fn a_server_that_other_machines_can_reach_lets_nobody_new_in_without_an_invite() {
    let folder = TempDir::new().unwrap();
    let command = serve(&folder, &["--listen", "0.0.0.0:0"]);
    let mut server = Server::spawn(folder, command);
    server.address.set_ip(Ipv4Addr::LOCALHOST.into());
    assert_eq!(log_in(&server, &Key::new(), None).err().unwrap(), "invite_needed");
    let link = link(&server, &[]);
    assert!(log_in(&server, &Key::new(), Some(secret(&link))).is_ok());
}

#[test]
fn original_clients_and_clients_without_a_key_are_told_why_they_stay_out() {
    let server = invite_only();
    let mut tom = Wire::connect(&server);
    tom.recv();
    tom.send(br#"{"username": "Tom"}"#);
    let refused: serde_json::Value = serde_json::from_slice(&tom.recv()).unwrap();
    assert_eq!((&refused["status"], &refused["code"]), (&json!("ERROR"), &json!("invite_needed")));
    assert!(refused["error"].as_str().unwrap().contains("ask whoever runs it"));
    assert!(tom.recv().is_empty());

    let link = link(&server, &[]);
    let login =
        json!({"action": "LOGIN", "protocol": 1, "username": "Tom", "invite": secret(&link)});
    let refused = Ours::log_in(Wire::connect(&server), &login).err().unwrap();
    assert_eq!(refused["code"], "invite_needed");
    let next = log_in(&server, &Key::new(), Some(secret(&link)));
    assert!(next.is_ok(), "it was not used up by that");
}

#[test]
#[expect(clippy::needless_collect, reason = "all are under way before one is waited for")]
fn an_invite_for_three_lets_in_three_of_many_at_once() {
    let server = invite_only();
    let link = link(&server, &["--uses", "3", "--for", "10m"]);
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let many: Vec<_> = (0..12)
            .map(|_| scope.spawn(|| log_in(&server, &Key::new(), Some(secret(&link))).map(drop)))
            .collect();
        many.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 3, "{outcomes:?}");
    let refused = outcomes.into_iter().filter_map(Result::err);
    assert!(refused.into_iter().all(|code| code == "bad_invite"));
}

#[test]
fn a_crash_gives_no_invite_back_and_takes_no_id() {
    let mut server = invite_only();
    for _ in 0..5 {
        let (bob, eve) = (Key::new(), Key::new());
        let link = link(&server, &[]);
        let id = log_in(&server, &bob, Some(secret(&link))).unwrap().id;
        server.kill();
        let command = serve(server.folder(), &["--listen", "127.0.0.1:0", "--invite-only"]);
        assert!(server.restart(command));
        assert_eq!(log_in(&server, &eve, Some(secret(&link))).err().unwrap(), "bad_invite");
        assert_eq!(log_in(&server, &bob, None).unwrap().id, id);
    }
}

#[test]
fn the_secret_of_an_invite_is_in_no_file_and_no_log() {
    let folder = TempDir::new().unwrap();
    let mut command = serve(&folder, &["--listen", "127.0.0.1:0", "--invite-only"]);
    command.env("CHAT_LOG", "trace");
    let server = Server::spawn(folder, command);
    let link = link(&server, &[]);
    log_in(&server, &Key::new(), Some(secret(&link))).unwrap();
    let mut n_files = 0;
    for file in fs::read_dir(server.folder().path()).unwrap() {
        let file = file.unwrap().path();
        if file.is_file() {
            n_files += 1;
            let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
            assert!(!text.contains(secret(&link)), "{}", file.display());
        }
    }
    assert!(n_files >= 4, "the log, what it was written ahead to, what was logged, and the audit");
}

#[test]
fn the_host_of_an_invite_only_server_needs_no_invite() {
    let (home, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let data = home.path().join("data");
    let arguments =
        ["host", "--name", "Ann", "--plain", "--listen", "127.0.0.1:0", "--invite-only"];
    let mut command = chat(home.path(), &arguments);
    command.arg("--data").arg(&data).stdin(std::process::Stdio::piped());
    let mut host = command.spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(host.stdout.take().unwrap()));
    let address = lines.next().unwrap().unwrap().replace("listening on ", "");
    let mut until =
        |words: &str| lines.by_ref().map(Result::unwrap).any(|line| line.contains(words));
    assert!(until("nobody new comes in without an invite"));
    assert!(until("you are Ann_"));
    assert_eq!(say(other.path(), &address, "Eve").0, Some(4));
    drop(host.stdin.take());
    assert_eq!(host.wait().unwrap().code(), Some(0));
}
