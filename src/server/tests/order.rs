//! Requests of one session take effect in the order in which they were sent, also about messages from before
//! a restart.

use super::*;
use crate::protocol::message::{Audience, MessageKind};
use crate::protocol::text::SafeText;
use crate::store::{Entry, InviteRule, NewMessage, NewUser, Outcome};

const ANN: KeyHash = [1; 32];

/// A server that has just started on a log with one message of Ann's, and the id of that.
fn restarted() -> (ServerHarness, String) {
    let mut store = MemoryStore::default();
    let ann: UserId = "Ann_1234".parse().unwrap();
    let register = Entry::Register(NewUser {
        name: "Ann".parse().unwrap(),
        key: ANN,
        invite: InviteRule::NotRequired,
        similar_guest: None,
        draw: 617,
    });
    let post = Entry::Post(NewMessage {
        sender: ann,
        guest: false,
        audience: Audience::Everyone,
        guests: Arc::default(),
        kind: MessageKind::Plain,
        content: SafeText::clean("from before"),
        at: clock().wall,
        cid: None,
    });
    let outcomes = store.apply(clock().millis(), &[register, post]).unwrap();
    let [Outcome::Registered { .. }, Outcome::Posted(message)] = outcomes.as_slice() else {
        panic!("{outcomes:?}")
    };
    (ServerHarness::with_store(store, None), message.id.to_string())
}

async fn join_as_ann(harness: &mut ServerHarness) -> TestClient {
    let client = harness.connect_with_key(65_536, Some(ANN));
    ServerHarness::log_in(client, "Ann").await
}

fn lines(requests: &[Value]) -> String {
    requests.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")
}

#[tokio::test(start_paused = true)]
async fn requests_take_effect_in_the_order_sent() {
    let (mut harness, old) = restarted();
    let mut ann = join_as_ann(&mut harness).await;
    let requests = [
        json!({"action": "REPLY", "receiver": ["all"], "content": "1", "optional": old, "cid": "a"}),
        json!({"action": "MESSAGE", "receiver": ["all"], "content": "2", "cid": "b"}),
        json!({"action": "HISTORY", "cid": "c"}),
        json!({"action": "MESSAGE", "receiver": ["all"], "content": "3", "cid": "d"}),
        json!({"action": "DELETE", "content": old, "cid": "e"}),
        json!({"action": "REPLY", "receiver": ["all"], "content": "4", "optional": old, "cid": "f"}),
    ];
    ann.io.write_all(lines(&requests).as_bytes()).await.unwrap();
    let mut order = Vec::new();
    while order.len() < requests.len() {
        let answer = ann.next().await.unwrap();
        if answer["action"] == "HISTORY" {
            let texts: Vec<_> = answer["messages"].as_array().unwrap().iter().collect();
            assert!(texts.iter().any(|message| message["content"] == "2"), "{answer}");
        }
        if let Some(cid) = answer["cid"].as_str() {
            order.push((cid.to_owned(), answer["action"].as_str().unwrap().to_owned()));
        }
    }
    let actions: Vec<_> = order
        .iter()
        .filter(|(_, action)| action != "HISTORY")
        .map(|(cid, action)| format!("{cid} {action}"))
        .collect();
    assert_eq!(actions, ["a REPLY", "b MESSAGE", "d MESSAGE", "e DELETE", "f ERROR"]);
}

#[tokio::test(start_paused = true)]
async fn requests_before_exit_or_a_closed_socket_take_effect() {
    for last in [Some(json!({"action": "EXIT"})), None] {
        let (mut harness, old) = restarted();
        let mut ann = join_as_ann(&mut harness).await;
        let mut requests = vec![
            json!({"action": "REPLY", "receiver": ["all"], "content": "last", "optional": old}),
            json!({"action": "DELETE", "content": old}),
        ];
        requests.extend(last.clone());
        ann.io.write_all(lines(&requests).as_bytes()).await.unwrap();
        ann.io.shutdown().await.unwrap();
        ann.wait_for("content", "last").await;
        ann.wait_for("action", "DELETE").await;
        ann.expect_end().await;
        let mut again = join_as_ann(&mut harness).await;
        again.send(&json!({"action": "HISTORY", "cid": "h"})).await;
        let page = again.wait_for("cid", "h").await;
        let texts: Vec<_> = page["messages"].as_array().unwrap().iter().collect();
        assert_eq!((texts.len(), &texts[0]["content"]), (1, &json!("last")), "{last:?}");
    }
}
