//! Hostile text: from a malicious server to every client program, checked in the raw output of a
//! pseudo-terminal; and from a client to the server, which cleans it for other clients.

use serde_json::{Value, json};

use crate::support::hostile_text::{find_unexpected_output, find_unsafe_char, samples};
use crate::support::malicious_server::{MaliciousServer, login_reply, public_message};
use crate::support::pty::{DEFAULT_SIZE, PtyProgram, key};
use crate::support::{TestServer, serve_command};

/// A server that sends the texts as history, live messages and errors.
fn start_malicious_server(texts: &[String]) -> MaliciousServer {
    let texts = texts.to_vec();
    MaliciousServer::start(move |request| {
        let messages = |texts: &[String]| -> Vec<Value> {
            texts.iter().enumerate().map(|(index, text)| public_message(index + 1, text)).collect()
        };
        match request["action"].as_str() {
            Some("LOGIN") => login_reply(texts.len()),
            Some("HISTORY") => {
                // One page at a time, from the newest.
                let end = request["before"]
                    .as_u64()
                    .map_or(texts.len(), |seq| usize::try_from(seq).unwrap() - 1);
                let start = end.saturating_sub(100);
                let page: Vec<_> = messages(&texts).drain(start..end).collect();
                vec![
                    json!({"action": "HISTORY", "messages": page, "earlier": start > 0, "later": false,
                    "cid": request["cid"]}),
                ]
            }
            // The first message of the client triggers all live messages.
            Some("MESSAGE") => {
                let live_message =
                    |(index, text): (usize, &String)| public_message(texts.len() + index + 1, text);
                let error = json!({"action": "ERROR", "code": "not_yours", "error": texts.join(" "),
                    "cid": request["cid"]});
                let end = public_message(9_999, "<the end>");
                texts.iter().enumerate().map(live_message).chain([error, end]).collect()
            }
            Some(_) | None => Vec::new(),
        }
    })
}

/// The complete output of `chat` with these arguments on a terminal.
fn terminal_output(arguments: &[&str]) -> String {
    PtyProgram::spawn(arguments, DEFAULT_SIZE).raw_until_exit()
}

/// Asserts that the output has no unsafe character, apart from CR LF line ends, and shows the first text.
#[track_caller]
fn assert_safe_output(raw: &str, texts: &[String]) {
    assert_eq!(find_unsafe_char(&raw.replace("\r\n", "\n")), None, "in one of {texts:?}");
    let first = texts.first().unwrap().split(' ').next().unwrap();
    assert!(raw.contains(first), "{first} is not shown: {raw}");
}

#[test]
fn screen_contains_no_control_sequences_from_server() {
    for texts in samples().chunks(450) {
        let server = start_malicious_server(texts);
        let address = server.address.to_string();
        let mut screen = PtyProgram::spawn(&["join", &address, "--name", "Bob"], (2_200, 120));
        screen.wait_for("you are Bob_");
        screen.submit("now");
        screen.wait_for("<the end>");
        let contents = screen.contents();
        for text in texts {
            let (number, _) = text.split_once(' ').unwrap();
            assert!(contents.contains(number), "{number} is not shown");
        }
        screen.keys(key::CTRL_Q);
        assert_eq!(find_unexpected_output(&screen.raw_until_exit()), None);
    }
}

#[test]
fn line_output_contains_no_control_sequences_from_server() {
    for texts in samples().chunks(900) {
        let server = start_malicious_server(texts);
        let address = server.address.to_string();
        // Tall enough that the recent messages do not scroll the notice of the login off the screen.
        let mut plain =
            PtyProgram::spawn(&["join", &address, "--name", "Bob", "--plain"], (200, 80));
        plain.wait_for("-- you are Bob_");
        plain.submit("now");
        plain.wait_for("<the end>");
        plain.submit(".exit");
        assert_safe_output(&plain.raw_until_exit(), texts);
        assert_safe_output(
            &terminal_output(&["tail", &address, "--name", "Bob", "-n", "900"]),
            texts,
        );
        assert_safe_output(
            &terminal_output(&["tail", &address, "--name", "Bob", "-n", "900", "--json"]),
            texts,
        );
        // The texts in an error reply.
        assert_safe_output(&terminal_output(&["send", &address, "--name", "Bob", "hello"]), texts);
    }
}

#[test]
fn login_refusal_is_printed_safely() {
    for texts in samples().chunks(900) {
        let text = texts.join(" ");
        let server = MaliciousServer::start(move |_| {
            vec![json!({"status": "ERROR", "code": "bad_name", "error": text})]
        });
        let address = server.address.to_string();
        for program in [
            &["join", &address, "--name", "Bob", "--plain"][..],
            &["tail", &address, "--name", "Bob"],
            &["send", &address, "--name", "Bob", "hello"],
        ] {
            assert_safe_output(&terminal_output(program), texts);
        }
    }
}

#[test]
fn hostile_arguments_are_reported_safely() {
    let hostile = "x\x1b]0;title\x07\u{9b}2J\u{202e}\u{200b}";
    let link = format!("chat://{hostile}");
    for arguments in [
        &["join", &link, "--name", "Bob"][..],
        &["join", "--name", hostile],
        &["send", &link, "hello"],
        &["serve", "--listen", hostile],
        &["serve", "--certs", hostile, "--data", "/dev/null"],
        &["tail", hostile],
        &[hostile],
        &["join", &format!("--{hostile}")],
    ] {
        let raw = terminal_output(arguments);
        assert!(raw.contains("error: "), "{arguments:?}: {raw}");
        assert_eq!(find_unsafe_char(&raw.replace("\r\n", "\n")), None, "{arguments:?}");
    }
}

#[test]
fn server_sanitizes_text_for_other_clients() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut command = serve_command(&folder, &["--listen", "127.0.0.1:0", "--no-rate-limits"]);
    command.env("CHAT_LOG", "trace");
    let server = TestServer::spawn(folder, command);
    let (mut eve, mut ann) = (server.join("Eve"), server.join("Ann"));
    let texts = samples();
    for batch in texts.chunks(50) {
        for text in batch {
            eve.post(text);
        }
        for text in batch {
            let message = ann.wait_for("action", "MESSAGE");
            let content = message["content"].as_str().unwrap();
            assert_eq!(find_unsafe_char(content), None, "of {text:?}");
            assert_eq!(content.split(' ').next(), text.split(' ').next(), "in order");
        }
    }
    // Errors quote cleaned text and go only to the sender.
    for text in texts.iter().step_by(7) {
        for object in [
            json!({"action": "MESSAGE", "receiver": [text], "content": "x"}),
            json!({"action": "REPLY", "receiver": [], "content": "x", "optional": text}),
            json!({"action": "DELETE", "content": text}),
            json!({"action": "SEARCH", "content": format!("({text}")}),
            json!({"action": text}),
            json!({"action": "MESSAGE", "receiver": text, "content": [text], "cid": text}),
        ] {
            eve.send(&object);
            let refused = eve.wait_for("action", "ERROR");
            assert_eq!(find_unsafe_char(refused["error"].as_str().unwrap()), None, "{object}");
        }
    }
    for name in texts.iter().step_by(19) {
        let mut wire = crate::support::TlsConnection::connect(&server);
        wire.send(
            json!({"action": "LOGIN", "protocol": 1, "username": name}).to_string().as_bytes(),
        );
        let mut answer = Vec::new();
        while !answer.ends_with(b"}\n") || !String::from_utf8_lossy(&answer).contains("status") {
            answer.extend(wire.recv());
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.contains("bad_name"), "{answer}");
    }
    eve.post("the end");
    let next = ann.wait_for("action", "MESSAGE");
    assert_eq!(next["content"], "the end", "errors must not reach other clients");
    let log = server.log();
    assert!(log.lines().count() > 10, "log too short: {log}");
    for line in log.lines() {
        assert_eq!(find_unsafe_char(line), None, "{line:?}");
        assert!(line.starts_with("20"), "not a separate event: {line:?}");
        assert!(!line.contains("two words"), "message text in the log: {line}");
    }
}
