//! Before the login nothing but the login is legal: every verb in every state.

use super::*;

/// One of each thing that a client can say, but the login.
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

/// What a client may have said before.
const PRIOR_INPUT: [(&str, &str); 4] = [
    ("nothing", ""),
    ("white space", " \r\n\t"),
    ("a login that is refused", r#"{"action": "LOGIN", "protocol": 1, "username": "a b"}"#),
    ("a login that is none", r#"{"action": "login", "username": "Eve"}"#),
];

#[tokio::test(start_paused = true)]
async fn only_login_is_accepted_before_login() {
    let mut rig = ServerHarness::start();
    let mut ann = rig.join("Ann").await;
    ann.post("secret").await;
    let secret = ann.expect("content", "secret").await;
    let id = secret["id"].as_str().unwrap();
    for verb in all_requests(id) {
        for (state, before) in PRIOR_INPUT {
            let mut eve = rig.connect(65_536);
            // The login that follows in the same breath comes too late.
            let login = r#"{"action": "LOGIN", "protocol": 1, "username": "Eve"}"#;
            eve.io.write_all(format!("{before}{verb}{login}").as_bytes()).await.unwrap();
            eve.expect("action", "LOGIN").await;
            let refused = eve.next().await.unwrap();
            assert_eq!(refused["status"], "ERROR", "{verb} after {state}: {refused}");
            let code = refused["code"].as_str().unwrap();
            let expected =
                if state == "a login that is refused" { "bad_name" } else { "login_first" };
            assert_eq!(code, expected, "{verb} after {state}");
            assert_eq!(refused.as_object().unwrap().len(), 3, "nothing more is said: {refused}");
            eve.expect_end().await;
        }
    }
    // Nobody came, nothing was said, nothing is gone: the next that Ann hears is herself.
    ann.post("the end").await;
    assert_eq!(ann.next().await.unwrap()["seq"], 2);
    ann.send(&json!({"action": "HISTORY", "cid": "all"})).await;
    let page = ann.expect("cid", "all").await;
    assert_eq!(page["messages"].as_array().unwrap().len(), 2, "{page}");
}

#[tokio::test(start_paused = true)]
async fn every_request_is_answered_and_second_login_is_refused() {
    let mut rig = ServerHarness::start();
    let mut bob = rig.join("Bob").await;
    bob.post("secret").await;
    let secret = bob.expect("content", "secret").await;
    for (verb, answer) in [
        (json!({"action": "LOGIN", "protocol": 1, "username": "Ann"}), "already_logged_in"),
        (json!({"username": "Ann", "user_id": "Ann_1234"}), "already_logged_in"),
        (json!({"action": "DANCE"}), "unknown_action"),
        (json!({}), "unknown_action"),
        (json!({"action": "REPLY", "receiver": ["all"], "content": "x"}), "bad_request"),
    ] {
        bob.send(&verb).await;
        assert_eq!(bob.expect("action", "ERROR").await["code"], answer, "{verb}");
    }
    let id = secret["id"].as_str().unwrap();
    for (verb, answer) in all_requests(id).into_iter().zip([
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
        bob.send(&verb).await;
        if !answer.is_empty() {
            bob.expect("action", answer).await;
        }
    }
    bob.expect_end().await;
}
