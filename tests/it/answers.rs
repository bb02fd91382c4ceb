//! Answers that are under way while their messages are edited or removed.

#![expect(clippy::indexing_slicing, reason = "a test fails on a panic")]

use serde_json::{Value, json};

use crate::support::{TestClient, TestServer};

const ROUNDS: usize = 200;

/// Sends a request and waits until it is done.
fn request(client: &mut TestClient, mut object: Value, cid: &str) -> Value {
    object["cid"] = json!(cid);
    client.send(&object);
    client.wait_for("cid", cid)
}

/// The text of an object or of an event in it.
fn text_of<'a>(object: &'a Value, id: &Value) -> Option<&'a str> {
    let is_about = |event: &&Value| event["id"] == *id || event["content"] == *id;
    let listed = object["messages"].as_array().into_iter().flatten();
    let event = listed.chain([object]).find(is_about)?;
    (if event["action"] == "EDIT" { &event["text"] } else { &event["content"] }).as_str()
}

/// A reader asks for a message again and again while its author edits it. Once the reader has been told of an
/// edit, no answer has an earlier text; the last edit and the removal are told after the answers that lack them.
#[test]
fn answers_under_way_are_corrected() {
    let server = TestServer::start();
    let (mut ann, mut bob) = (server.join("Ann"), server.join("Bob"));
    let post = json!({"action": "MESSAGE", "receiver": ["all"], "content": "text 0."});
    let id = request(&mut ann, post, "post")["id"].clone();
    for round in 1..=ROUNDS {
        bob.send(&json!({"action": "HISTORY", "cid": "page"}));
        bob.send(&json!({"action": "SEARCH", "content": "text", "cid": "search"}));
        let text = format!("text {round}.");
        let edit = json!({"action": "EDIT", "content": id, "text": text});
        request(&mut ann, edit, &format!("e{round}"));
    }
    bob.send(&json!({"action": "HISTORY", "cid": "page"}));
    request(&mut ann, json!({"action": "DELETE", "content": id}), "delete");
    bob.send(&json!({"action": "HISTORY", "cid": "last"}));
    let (mut latest, mut n_answers, mut is_removed) = (0, 0, false);
    loop {
        let object = bob.next().unwrap();
        n_answers += usize::from(object["messages"].is_array());
        if object["action"] == "DELETE" {
            is_removed = true;
        } else if let Some(text) = text_of(&object, &id) {
            assert!(!is_removed, "{object}");
            let version: usize =
                text.trim_start_matches("text ").trim_end_matches('.').parse().unwrap();
            assert!(version >= latest, "{version} after {latest}: {object}");
            if object["action"] == "EDIT" {
                latest = version;
            }
        }
        if object["cid"] == "last" {
            break;
        }
    }
    assert_eq!((latest, is_removed), (ROUNDS, true), "every correction came");
    assert!(n_answers > ROUNDS, "{n_answers}");
}
