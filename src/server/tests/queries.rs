//! Pages of history and searches.

use super::super::queries::ActiveSearches;
use super::*;

#[tokio::test(start_paused = true)]
async fn history_is_paged_and_search_finds_matches() {
    let mut rig = ServerHarness::start();
    let mut ann = rig.join("Ann").await;
    for n in 0..150 {
        ann.post(&format!("message {n}")).await;
        ann.expect("content", &format!("message {n}")).await;
    }
    let mut bob = rig.join("Bob").await;
    bob.send(&json!({"action": "HISTORY", "cid": "h1"})).await;
    let page = bob.expect("action", "HISTORY").await;
    let messages = page["messages"].as_array().unwrap();
    assert_eq!((messages.len(), &page["earlier"], &page["cid"]), (100, &json!(true), &json!("h1")));
    bob.send(&json!({"action": "HISTORY", "before": messages[0]["seq"], "cid": "h2"})).await;
    let page = bob.expect("action", "HISTORY").await;
    assert_eq!((page["messages"].as_array().unwrap().len(), &page["earlier"]), (50, &json!(false)));
    bob.send(&json!({"action": "HISTORY", "around": messages[50]["id"], "cid": "h3"})).await;
    let page = bob.expect("action", "HISTORY").await;
    assert!(page["messages"].as_array().unwrap().iter().any(|m| m["id"] == messages[50]["id"]));
    bob.send(&json!({"action": "SEARCH", "content": "MESSAGE 1[0-2]0$", "cid": "s1"})).await;
    let found = bob.expect("action", "FOUND").await;
    let texts: Vec<_> =
        found["messages"].as_array().unwrap().iter().map(|m| &m["content"]).collect();
    assert_eq!(texts, ["message 120", "message 110", "message 100"]);
    assert_eq!((&found["end"], &found["searched"]), (&json!("complete"), &json!(150)));
    bob.send(&json!({"action": "SEARCH", "content": "(", "cid": "s2"})).await;
    assert_eq!(bob.expect("action", "ERROR").await["code"], "bad_pattern");
}

#[tokio::test(start_paused = true)]
async fn new_search_replaces_the_users_previous_one() {
    let mut rig = ServerHarness::start();
    let (here, there) = (Some([7; 32]), Some([7; 32]));
    let here = rig.connect_with_key(65_536, here);
    let mut here = ServerHarness::log_in(here, "Bob").await;
    let there = rig.connect_with_key(65_536, there);
    let mut there = ServerHarness::log_in(there, "Bob").await;
    let mut ann = rig.join("Ann").await;
    // All are asked for before the reader comes to the first.
    for peer in [&mut ann, &mut here, &mut there] {
        peer.send(&json!({"action": "SEARCH", "content": "x", "cid": "s"})).await;
    }
    assert_eq!(here.expect("cid", "s").await["end"], "replaced");
    assert_eq!(there.expect("cid", "s").await["end"], "complete");
    assert_eq!(ann.expect("cid", "s").await["end"], "complete", "somebody else's goes on");
}

#[test]
fn search_is_cancelled_only_by_its_own_session() {
    let mut searches = ActiveSearches::default();
    let bob: UserId = "Bob_1234".parse().unwrap();
    let first = searches.start(SessionId(1), &bob);
    let second = searches.start(SessionId(2), &bob);
    assert!(first.is_cancelled());
    searches.end_session(SessionId(1));
    assert!(!second.is_cancelled(), "the other connection is still there");
    searches.end_session(SessionId(2));
    assert!(second.is_cancelled());
}
