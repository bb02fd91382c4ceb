//! Hostile texts: from a server that cleans nothing to every program that shows something, in the raw bytes
//! of a real terminal; and from a client to the server that cleans for the others.

use serde_json::{Value, json};

use crate::support::hostile::{foreign, foreign_to_the_screen, texts};
use crate::support::liar::{Liar, message, welcome};
use crate::support::screen::{ROOMY, Screen, key};
use crate::support::{Server, serve};

/// A server that says all of it: as messages of the history and live ones, as errors, as its last word.
fn liar(texts: &[String]) -> Liar {
    let texts = texts.to_vec();
    Liar::start(move |asked| {
        let messages = |texts: &[String]| -> Vec<Value> {
            texts.iter().enumerate().map(|(index, text)| message(index + 1, text)).collect()
        };
        match asked["action"].as_str() {
            Some("LOGIN") => welcome(texts.len()),
            Some("HISTORY") => {
                // From the end to the beginning, a page at a time.
                let end = asked["before"]
                    .as_u64()
                    .map_or(texts.len(), |seq| usize::try_from(seq).unwrap() - 1);
                let start = end.saturating_sub(100);
                let page: Vec<_> = messages(&texts).drain(start..end).collect();
                vec![
                    json!({"action": "HISTORY", "messages": page, "earlier": start > 0, "later": false,
                    "cid": asked["cid"]}),
                ]
            }
            // What comes once somebody speaks: everything, and then the end.
            Some("MESSAGE") => {
                let said = |(index, text): (usize, &String)| message(texts.len() + index + 1, text);
                let wrong = json!({"action": "ERROR", "code": "not_yours", "error": texts.join(" "),
                    "cid": asked["cid"]});
                let end = message(9_999, "<the end>");
                texts.iter().enumerate().map(said).chain([wrong, end]).collect()
            }
            Some(_) | None => Vec::new(),
        }
    })
}

/// `chat` with these arguments on a terminal, until it ends by itself.
fn printed(arguments: &[&str]) -> String {
    Screen::spawn(arguments, ROOMY).raw_at_the_end()
}

/// Lines on a terminal end as terminals want it; nothing else may be foreign.
#[track_caller]
fn is_clean(raw: &str, texts: &[String]) {
    assert_eq!(foreign(&raw.replace("\r\n", "\n")), None, "in one of {texts:?}");
    let first = texts.first().unwrap().split(' ').next().unwrap();
    assert!(raw.contains(first), "{first} is not shown: {raw}");
}

#[test]
fn a_hostile_server_reaches_no_terminal_through_the_full_screen() {
    for texts in texts().chunks(450) {
        let liar = liar(texts);
        let address = liar.address.to_string();
        let mut screen = Screen::spawn(&["join", &address, "--name", "Bob"], (2_200, 120));
        screen.wait_for("you are Bob_");
        screen.say("now");
        screen.wait_for("<the end>");
        let contents = screen.contents();
        for text in texts {
            let (number, _) = text.split_once(' ').unwrap();
            assert!(contents.contains(number), "{number} is not shown");
        }
        screen.keys(key::CTRL_Q);
        assert_eq!(foreign_to_the_screen(&screen.raw_at_the_end()), None);
    }
}

#[test]
fn a_hostile_server_reaches_no_terminal_through_lines() {
    for texts in texts().chunks(900) {
        let liar = liar(texts);
        let address = liar.address.to_string();
        let mut plain = Screen::spawn(&["join", &address, "--name", "Bob", "--plain"], ROOMY);
        plain.wait_for("-- you are Bob_");
        plain.say("now");
        plain.wait_for("<the end>");
        plain.say(".exit");
        is_clean(&plain.raw_at_the_end(), texts);
        is_clean(&printed(&["tail", &address, "--name", "Bob", "-n", "900"]), texts);
        is_clean(&printed(&["tail", &address, "--name", "Bob", "-n", "900", "--json"]), texts);
        // The server's words for why not.
        is_clean(&printed(&["send", &address, "--name", "Bob", "hello"]), texts);
    }
}

#[test]
fn a_hostile_refusal_reaches_no_terminal() {
    for texts in texts().chunks(900) {
        let words = texts.join(" ");
        let liar = Liar::start(move |_| {
            vec![json!({"status": "ERROR", "code": "bad_name", "error": words})]
        });
        let address = liar.address.to_string();
        for program in [
            &["join", &address, "--name", "Bob", "--plain"][..],
            &["tail", &address, "--name", "Bob"],
            &["send", &address, "--name", "Bob", "hello"],
        ] {
            is_clean(&printed(program), texts);
        }
    }
}

#[test]
fn what_is_wrong_with_hostile_arguments_is_said_in_clean_words() {
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
        let raw = printed(arguments);
        assert!(raw.contains("error: "), "{arguments:?}: {raw}");
        assert_eq!(foreign(&raw.replace("\r\n", "\n")), None, "{arguments:?}");
    }
}

#[test]
fn the_server_cleans_for_clients_that_do_not() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut command = serve(&folder, &["--listen", "127.0.0.1:0", "--no-rate-limits"]);
    command.env("CHAT_LOG", "trace");
    let server = Server::spawn(folder, command);
    let (mut eve, mut ann) = (server.ours("Eve"), server.ours("Ann"));
    let texts = texts();
    for batch in texts.chunks(50) {
        for text in batch {
            eve.say(text);
        }
        for text in batch {
            let said = ann.wait_for("action", "MESSAGE");
            let content = said["content"].as_str().unwrap();
            assert_eq!(foreign(content), None, "of {text:?}");
            assert_eq!(content.split(' ').next(), text.split(' ').next(), "in order");
        }
    }
    // What is wrong with a field is said in clean words, and to its sender alone.
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
            assert_eq!(foreign(refused["error"].as_str().unwrap()), None, "{object}");
        }
    }
    for name in texts.iter().step_by(19) {
        let mut wire = crate::support::Wire::connect(&server);
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
    eve.say("the end");
    let next = ann.wait_for("action", "MESSAGE");
    assert_eq!(next["content"], "the end", "nobody else heard of it");
    let log = server.log();
    assert!(log.lines().count() > 10, "it logs: {log}");
    for line in log.lines() {
        assert_eq!(foreign(line), None, "{line:?}");
        assert!(line.starts_with("20"), "not an event of its own: {line:?}");
        assert!(!line.contains("two words"), "a text in the log: {line}");
    }
}
