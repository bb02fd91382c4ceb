//! The dialect of original clients: they read each message with one `recv(2048)` and parse the result as one
//! JSON document.

#![expect(clippy::indexing_slicing, reason = "a test fails on a panic")]

use chat::protocol::limits::CONTENT_CHARACTERS;
use serde_json::{Value, json};

use crate::support::{OriginalClient, TestClient, TestServer, TlsConnection};

/// Checks the given fields of a message and those that every message has.
fn check_message(message: &Value, action: &str, sender: &str, receiver: &[&str], content: &str) {
    assert_eq!(message["action"], action, "{message}");
    assert_eq!(message["sender"], sender, "{message}");
    assert_eq!(message["receiver"], json!(receiver), "{message}");
    assert_eq!(message["content"], content, "{message}");
    assert_eq!(message["private"], receiver != ["all"], "{message}");
    let id = message["id"].as_str().unwrap();
    assert!(id.len() == 6 && id.bytes().all(|b| b.is_ascii_digit()), "{message}");
    let time = message["time"].as_str().unwrap();
    assert!(chrono::NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S").is_ok(), "{message}");
    for field in ["seq", "at", "expires", "cid"] {
        assert!(message.get(field).is_none(), "{field} in {message}");
    }
}

#[test]
fn user_list_follows_joins_and_leaves() {
    let server = TestServer::start();
    let mut tom = server.join_original("Tom");
    let ann = server.join_original("Ann");
    tom.wait_for_users(&[&ann.id]);
    let kim = server.join("Kim");
    let mut both = [ann.id.as_str(), kim.id.as_str()];
    both.sort_unstable();
    tom.wait_for_users(&both);
    kim.close();
    tom.wait_for_users(&[&ann.id]);
    let mut ann = ann;
    ann.connection.send(br#"{"action": "EXIT"}"#);
    tom.wait_for_users(&[]);
}

#[test]
fn public_message_reaches_everyone() {
    let server = TestServer::start();
    let (mut tom, mut ann) = (server.join_original("Tom"), server.join_original("Ann"));
    let mut kim = server.join_original("Kim");
    tom.send("MESSAGE", &["all"], "hello all", &Value::Null);
    let toms = tom.id.clone();
    for reader in [&mut tom, &mut ann, &mut kim] {
        let message = reader.next();
        check_message(&message, "MESSAGE", &toms, &["all"], "hello all");
    }
}

#[test]
fn direct_messages_can_be_answered_and_deleted() {
    let server = TestServer::start();
    let (mut tom, mut ann) = (server.join_original("Tom"), server.join_original("Ann"));
    let mut kim = server.join_original("Kim");
    let (toms, anns) = (tom.id.clone(), ann.id.clone());

    tom.send("MESSAGE", &[&anns], "psst", &Value::Null);
    let direct = tom.next();
    check_message(&direct, "MESSAGE", &toms, &[&anns], "psst");
    assert_eq!(ann.next(), direct);

    // The original client computes the recipients of a reply: the recipients and the sender of its message.
    ann.send("REPLY", &[&anns, &toms], "what?", &direct["id"]);
    let reply = ann.next();
    check_message(&reply, "REPLY", &anns, &[&toms], "what?");
    assert_eq!(reply["optional"], direct["id"]);
    assert_eq!(tom.next(), reply);

    tom.send("DELETE", &[&anns], direct["id"].as_str().unwrap(), &Value::Null);
    for reader in [&mut tom, &mut ann] {
        let removed = reader.next();
        assert_eq!((&removed["action"], &removed["content"]), (&json!("DELETE"), &direct["id"]));
    }
    // The other documented form: the id in `optional`.
    ann.send("DELETE", &[], "", &reply["id"]);
    for reader in [&mut ann, &mut tom] {
        assert_eq!(reader.next()["content"], reply["id"]);
    }

    kim.send("MESSAGE", &["all"], "anything for me?", &Value::Null);
    check_message(&kim.next(), "MESSAGE", &kim.id.clone(), &["all"], "anything for me?");
}

#[test]
fn public_reply_accepts_a_numeric_id() {
    let server = TestServer::start();
    let (mut tom, mut ann) = (server.join_original("Tom"), server.join_original("Ann"));
    tom.send("MESSAGE", &["all"], "lunch?", &Value::Null);
    let message = ann.next();
    assert_eq!(tom.next(), message);
    let number: Value = message["id"].as_str().unwrap().parse::<u32>().unwrap().into();
    ann.send("REPLY", &["all", &tom.id], "yes", &number);
    for reader in [&mut ann, &mut tom] {
        let reply = reader.next();
        assert_eq!((&reply["content"], &reply["optional"]), (&json!("yes"), &message["id"]));
        assert_eq!(reply["private"], false);
    }
}

#[test]
fn temporary_message_expires_once() {
    let server = TestServer::start();
    let (mut tom, mut kim) = (server.join_original("Tom"), server.join("Kim"));
    tom.send("TEMPORARY", &[&kim.id], "ten seconds", &Value::Null);
    check_message(&tom.next(), "TEMPORARY", &tom.id.clone(), &[&kim.id], "ten seconds");
    let seen = kim.wait_for("action", "TEMPORARY");
    assert_eq!(seen["expires"].as_i64().unwrap() - seen["at"].as_i64().unwrap(), 10_000);

    kim.send(&json!({"action": "TEMPORARY", "receiver": ["all"], "content": "one", "seconds": 1}));
    let short = tom.next();
    let expiry = tom.next();
    assert_eq!((&expiry["action"], &expiry["content"]), (&json!("OUTDATED"), &short["id"]));
    kim.post("after");
    assert_eq!(tom.next()["content"], "after", "expiry announced twice");
}

#[test]
fn search_is_ignored_and_invalid_requests_get_errors() {
    let server = TestServer::start();
    let mut tom = server.join_original("Tom");
    tom.connection.send(br#"{"action": "SEARCH", "content": null}"#);
    for (object, code) in [
        (
            r#"{"action": "MESSAGE", "receiver": ["Zed_1234"], "content": "hi"}"#,
            "unknown_recipient",
        ),
        (r#"{"action": "MESSAGE", "receiver": ["all"], "content": ""}"#, "empty_content"),
        (r#"{"action": "DELETE", "content": "999999"}"#, "unknown_message"),
        (r#"{"action": "DANCE"}"#, "unknown_action"),
        (r#"{"username": "Tom"}"#, "already_logged_in"),
        (r#"{"action": oops}"#, "bad_json"),
        (&format!(r#"{{"action": "MESSAGE", "private": "{}"}}"#, "x".repeat(9_000)), "bad_request"),
    ] {
        tom.connection.send(object.as_bytes());
        let error = tom.next();
        assert_eq!((&error["action"], &error["code"]), (&json!("ERROR"), &json!(code)), "{object}");
        assert!(!error["error"].as_str().unwrap().is_empty());
    }
}

#[test]
fn every_frame_fits_one_read() {
    let server = TestServer::start();
    let (mut tom, mut kim) = (server.join_original("Tom"), server.join("Kim"));
    let names: Vec<String> = (0..200).map(|n| format!("Nobody-of-that-name_{n:04}")).collect();
    tom.connection.send(
        json!({"action": "MESSAGE", "receiver": names, "content": "hi"}).to_string().as_bytes(),
    );
    assert_eq!(tom.next()["code"], "unknown_recipient");
    for text in ["x".repeat(CONTENT_CHARACTERS), "é😀".repeat(CONTENT_CHARACTERS / 2)] {
        kim.post(&text);
        let seen = tom.next();
        let content = seen["content"].as_str().unwrap();
        assert!(content.ends_with('…') && text.starts_with(content.trim_end_matches('…')));
    }
}

#[test]
fn claimed_id_is_not_granted() {
    let server = TestServer::start();
    let tom = server.join_original("Tom");
    let mut wire = TlsConnection::connect(&server);
    wire.recv();
    wire.send(json!({"username": "Tom", "user_id": tom.id}).to_string().as_bytes());
    let answer: Value = serde_json::from_slice(&wire.recv()).unwrap();
    assert_eq!(answer["status"], "SUCCESS");
    assert_ne!(answer["user_id"], tom.id.as_str());
}

#[test]
fn forged_sender_is_ignored() {
    let server = TestServer::start();
    let (mut tom, mut ann) = (server.join_original("Tom"), server.join_original("Ann"));
    let forged = json!({"action": "MESSAGE", "sender": tom.id, "id": "123456", "receiver": ["all"], "content": "I am Tom"});
    ann.connection.send(forged.to_string().as_bytes());
    assert_eq!(tom.next()["sender"], ann.id.as_str());
}

/// What the window of an original client shows, as it follows from what it receives.
#[derive(Default)]
struct OriginalWindow(Vec<(Value, String)>);

impl OriginalWindow {
    /// Receives what follows from some requests.
    fn receive(&mut self, client: &mut OriginalClient, n_objects: usize) {
        for _ in 0..n_objects {
            let object = client.next();
            match object["action"].as_str().unwrap() {
                "DELETE" => self.0.retain(|(id, _)| *id != object["content"]),
                "MESSAGE" | "REPLY" => {
                    let content = object["content"].as_str().unwrap().to_owned();
                    self.0.push((object["id"].clone(), content));
                }
                action => panic!("{action}"),
            }
        }
    }

    /// Whether it shows only these messages, whose texts may be truncated.
    fn shows(&self, messages: &[(&Value, &str)]) -> bool {
        let is_shown = |(shown, text): (&(Value, String), &(&Value, &str))| {
            shown.0 == *text.0 && text.1.starts_with(shown.1.trim_end_matches('…'))
        };
        self.0.len() == messages.len() && self.0.iter().zip(messages).all(is_shown)
    }
}

/// Posts a message and returns its id.
fn post(client: &mut TestClient, mut message: Value) -> Value {
    message["receiver"] = json!(["all"]);
    client.send(&message);
    client.wait_for("content", message["content"].as_str().unwrap())["id"].clone()
}

fn edit(client: &mut TestClient, id: &Value, text: &str) {
    client.send(&json!({"action": "EDIT", "content": id, "text": text}));
    client.wait_for("action", "EDIT");
}

/// Every object comes in a record of its own that fits one `recv(2048)`: [`OriginalClient::recv`] parses it.
#[test]
fn edited_text_disappears_from_original_clients() {
    let server = TestServer::start();
    let (mut tom, mut kim) = (server.join_original("Tom"), server.join("Kim"));
    let mut window = OriginalWindow::default();
    let long = |letter: &str| letter.repeat(CONTENT_CHARACTERS);
    let first = post(&mut kim, json!({"action": "MESSAGE", "content": "first draft"}));
    let reply = json!({"action": "REPLY", "content": long("a"), "optional": first});
    let reply = post(&mut kim, reply);
    window.receive(&mut tom, 2);
    assert!(window.shows(&[(&first, "first draft"), (&reply, &long("a"))]), "{:?}", window.0);
    edit(&mut kim, &first, &long("é"));
    edit(&mut kim, &reply, "final");
    window.receive(&mut tom, 4);
    assert!(window.shows(&[(&first, &long("é")), (&reply, "final")]), "{:?}", window.0);

    // A client that has stopped reading for so long that it has to catch up.
    let draft = post(&mut kim, json!({"action": "MESSAGE", "content": "second draft"}));
    for number in 0..500 {
        post(&mut kim, json!({"action": "MESSAGE", "content": long("x")}));
        if number % 100 == 0 {
            edit(&mut kim, &draft, &format!("draft {number}"));
        }
    }
    edit(&mut kim, &draft, "second final");
    edit(&mut kim, &first, "first final");
    let last = post(&mut kim, json!({"action": "MESSAGE", "content": "last"}));
    while !window.0.iter().any(|(id, _)| *id == last) {
        window.receive(&mut tom, 1);
    }
    window.0.retain(|(_, text)| !text.starts_with('x'));
    let all =
        [(&reply, "final"), (&draft, "second final"), (&first, "first final"), (&last, "last")];
    assert!(window.shows(&all), "{:?}", window.0);

    // One that comes back has an empty window, and is told of later edits.
    tom.connection.close();
    edit(&mut kim, &last, "edited while Tom was away");
    let (mut tom, mut window) = (server.join_original("Tom"), OriginalWindow::default());
    edit(&mut kim, &last, "edited when Tom was back");
    window.receive(&mut tom, 2);
    assert!(window.shows(&[(&last, "edited when Tom was back")]), "{:?}", window.0);
}
