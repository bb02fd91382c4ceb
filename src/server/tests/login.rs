//! Every request, before and after the login. Before it, only the login is accepted.

use super::*;

/// One of each request except the login.
fn all_requests(id: &str) -> Vec<Value> {
    let all = ["all"];
    vec![
        json!({"action": "MESSAGE", "receiver": all, "content": "smuggled"}),
        json!({"action": "TEMPORARY", "receiver": all, "content": "smuggled", "seconds": 60}),
        json!({"action": "REPLY", "receiver": all, "content": "smuggled", "optional": id}),
        json!({"action": "DELETE", "content": id}),
        json!({"action": "SEARCH"}),
        json!({"action": "SEARCH", "content": "secret"}),
        json!({"action": "HISTORY"}),
        json!({"action": "HISTORY", "around": id}),
        json!({"action": "PING"}),
        json!({"action": "EXIT"}),
        json!({"action": "DANCE"}),
        json!({"action": "MESSAGE", "username": "Eve", "receiver": all, "content": "smuggled"}),
        json!({}),
    ]
}

/// What the client sent before the request.
const PRIOR_INPUT: [(&str, &str); 4] = [
    ("nothing", ""),
    ("white space", " \r\n\t"),
    ("a refused login", r#"{"action": "LOGIN", "protocol": 1, "username": "a b"}"#),
    ("an invalid login", r#"{"action": "login", "username": "Eve"}"#),
];

#[tokio::test(start_paused = true)]
async fn only_login_is_accepted_before_login() {
    let mut harness = ServerHarness::start();
    let mut ann = harness.join("Ann").await;
    ann.post("secret").await;
    let secret = ann.expect("content", "secret").await;
    let id = secret["id"].as_str().unwrap();
    for request in all_requests(id) {
        for (state, prior) in PRIOR_INPUT {
            let mut eve = harness.connect(65_536);
            // A valid login after the request comes too late.
            let login = r#"{"action": "LOGIN", "protocol": 1, "username": "Eve"}"#;
            eve.io.write_all(format!("{prior}{request}{login}").as_bytes()).await.unwrap();
            eve.expect("action", "LOGIN").await;
            let refused = eve.next().await.unwrap();
            assert_eq!(refused["status"], "ERROR", "{request} after {state}: {refused}");
            let code = refused["code"].as_str().unwrap();
            let expected = if state == "a refused login" { "bad_name" } else { "login_first" };
            assert_eq!(code, expected, "{request} after {state}");
            assert_eq!(refused.as_object().unwrap().len(), 3, "no more than the reason: {refused}");
            eve.expect_end().await;
        }
    }
    // No presence, message or removal in between: the next event that Ann gets is her own message.
    ann.post("the end").await;
    assert_eq!(ann.next().await.unwrap()["seq"], 2);
    ann.send(&json!({"action": "HISTORY", "cid": "all"})).await;
    let page = ann.expect("cid", "all").await;
    assert_eq!(page["messages"].as_array().unwrap().len(), 2, "{page}");
}

#[tokio::test(start_paused = true)]
async fn login_that_ends_before_its_id_is_on_disk_leaves_nobody_online() {
    let mut store = MemoryStore::default();
    let (retention, delay) = (Retention::Forever, Duration::from_secs(1));
    let mut harness = ServerHarness::with_disk_delay(store.clone(), None, retention, delay);
    let login = |name: &str| json!({"action": "LOGIN", "protocol": 1, "username": name});
    let mut bob = harness.connect_with_key(65_536, Some([7; 32]));
    bob.send(&login("Bob")).await;
    bob.expect("action", "LOGIN").await;
    drop(bob);
    tokio::time::sleep(10 * delay).await;
    let mut ann = harness.connect(65_536);
    ann.send(&login("Ann")).await;
    ann.expect("action", "LOGIN").await;
    ann.expect("status", "SUCCESS").await;
    assert_eq!(ann.expect("action", "ACTIVE_CLIENT").await["receiver"], json!([]));
    let joined = ann.wait_for("action", "PRESENCE").await;
    assert_eq!(joined["joined"].as_array().unwrap().len(), 1, "only Ann: {joined}");
    let registered = store.snapshot().unwrap().registered;
    assert_eq!(registered.len(), 1, "the ID stays registered");
    let bob = harness.connect_with_key(65_536, Some([7; 32]));
    ServerHarness::log_in(bob, "Bob").await;
    assert_eq!(store.snapshot().unwrap().registered, registered);
}

#[tokio::test(start_paused = true)]
async fn every_request_is_answered_and_second_login_is_refused() {
    let mut harness = ServerHarness::start();
    let mut bob = harness.join("Bob").await;
    bob.post("secret").await;
    let secret = bob.expect("content", "secret").await;
    for (request, reply) in [
        (json!({"action": "LOGIN", "protocol": 1, "username": "Ann"}), "already_logged_in"),
        (json!({"username": "Ann", "user_id": "Ann_1234"}), "already_logged_in"),
        (json!({"action": "DANCE"}), "unknown_action"),
        (json!({}), "unknown_action"),
        (json!({"action": "REPLY", "receiver": ["all"], "content": "x"}), "bad_request"),
    ] {
        bob.send(&request).await;
        assert_eq!(bob.expect("action", "ERROR").await["code"], reply, "{request}");
    }
    let id = secret["id"].as_str().unwrap();
    for (request, reply) in all_requests(id).into_iter().zip([
        "MESSAGE",
        "TEMPORARY",
        "REPLY",
        "DELETE",
        "",
        "FOUND",
        "HISTORY",
        "ERROR",
        "PONG",
        "",
    ]) {
        bob.send(&request).await;
        if !reply.is_empty() {
            bob.expect("action", reply).await;
        }
    }
    bob.expect_end().await;
}
