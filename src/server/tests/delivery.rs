//! Delivery to slow readers: events, answers and presence, and what a stopping server still sends.

use super::*;

const LONG: usize = CONTENT_CHARACTERS;

/// Posts `count` long messages, and returns the id of the first.
async fn fill(client: &mut TestClient, count: usize) -> Value {
    let text = "x".repeat(LONG);
    let mut first = None;
    for _ in 0..count {
        client.post(&text).await;
        let posted = client.expect("content", &text).await;
        first.get_or_insert_with(|| posted["id"].clone());
    }
    first.unwrap()
}

/// More messages than a send queue and the buffer of a connection hold.
const BACKLOG: usize = 2 * (limits::SEND_QUEUE_BYTES + 65_536) / LONG;

#[tokio::test(start_paused = true)]
async fn answers_to_pipelined_reads_all_arrive() {
    let mut harness = ServerHarness::start();
    let mut ann = harness.join("Ann").await;
    fill(&mut ann, 100).await;
    let mut bob = harness.join("Bob").await;
    let requests: String =
        (0..60).map(|n| json!({"action": "HISTORY", "cid": n.to_string()}).to_string()).collect();
    bob.io.write_all(requests.as_bytes()).await.unwrap();
    for n in 0..60 {
        let page = bob.expect("action", "HISTORY").await;
        assert!(page["messages"].as_array().unwrap().len() > 50);
        assert!(page["cid"].is_string(), "{n}");
    }
    bob.send(&json!({"action": "PING"})).await;
    bob.expect("action", "PONG").await;
}

#[tokio::test(start_paused = true)]
async fn presence_never_closes_a_slow_reader() {
    let mut harness = ServerHarness::start();
    let mut slow = harness.join("Slow").await;
    let mut ann = harness.join("Ann").await;
    // Its queue has no room for another message, and little room for presence.
    fill(&mut ann, BACKLOG).await;
    let mut guests = Vec::new();
    for _ in 0..50 {
        guests.push(harness.join("Guest").await);
        drop(harness.join("Visitor").await);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let n_online = guests.len() + 2;
    let mut online = std::collections::BTreeSet::new();
    slow.send(&json!({"action": "MESSAGE", "receiver": ["all"], "content": "still here"})).await;
    let mut heard = false;
    while !heard || online.len() != n_online {
        let object = slow.next().await.expect("closed");
        assert_ne!(object["action"], "CLOSING");
        heard |= object["content"] == "still here";
        let names = |field: &str| {
            let names = object[field].as_array().into_iter().flatten();
            names.map(|name| name.as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        match object["action"].as_str() {
            Some("ACTIVE_CLIENT") => online = names("receiver").into_iter().collect(),
            Some("PRESENCE") => {
                online.extend(names("joined"));
                for name in names("left") {
                    online.remove(&name);
                }
            }
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn removed_message_is_not_sent_to_a_session_that_catches_up() {
    let mut harness = ServerHarness::start();
    let mut slow = harness.join("Slow").await;
    let mut ann = harness.join("Ann").await;
    fill(&mut ann, BACKLOG).await;
    ann.post("secret").await;
    let id = ann.expect("content", "secret").await["id"].clone();
    ann.send(&json!({"action": "DELETE", "content": id})).await;
    ann.expect("action", "DELETE").await;
    ann.post("end").await;
    let mut last_seq = 0;
    loop {
        let object = slow.next().await.unwrap();
        assert_ne!(object["content"], "secret");
        if let Some(seq) = object["seq"].as_u64().filter(|_| object["action"] != "LIVE") {
            assert!(seq > last_seq);
            last_seq = seq;
        }
        if object["content"] == "end" {
            break;
        }
    }
    assert_eq!(last_seq, BACKLOG as u64 + 3);
}

#[tokio::test(start_paused = true)]
async fn session_that_catches_up_gets_only_its_direct_messages() {
    let mut harness = ServerHarness::start();
    let mut slow = harness.join("Slow").await;
    let (mut ann, mut bob) = (harness.join("Ann").await, harness.join("Bob").await);
    slow.post("hello").await;
    let slow_id = ann.expect("content", "hello").await["sender"].clone();
    bob.expect("content", "hello").await;
    bob.post("hi").await;
    let bob_id = ann.expect("content", "hi").await["sender"].clone();
    fill(&mut ann, BACKLOG).await;
    for (to, text) in [(&bob_id, "for Bob"), (&slow_id, "for Slow")] {
        ann.send(&json!({"action": "MESSAGE", "receiver": [to], "content": text})).await;
        ann.expect("content", text).await;
    }
    ann.post("end").await;
    let mut texts = Vec::new();
    while texts.last() != Some(&json!("end")) {
        let object = slow.next().await.unwrap();
        texts.push(object["content"].clone());
    }
    assert!(texts.contains(&json!("for Slow")) && !texts.contains(&json!("for Bob")));
}

#[tokio::test(start_paused = true)]
async fn stopping_server_answers_what_it_accepted() {
    let disk_delay = Duration::from_millis(100);
    let store = MemoryStore::default();
    let mut harness = ServerHarness::with_disk_delay(store, None, Retention::Forever, disk_delay);
    let (mut ann, mut bob) = (harness.join("Ann").await, harness.join("Bob").await);
    for n in 0..20 {
        let (receiver, cid) = (["all"], n.to_string());
        ann.send(&json!({"action": "MESSAGE", "receiver": receiver, "content": "hi", "cid": cid}))
            .await;
    }
    ann.send(&json!({"action": "HISTORY", "cid": "page"})).await;
    tokio::time::sleep(disk_delay / 10).await;
    harness.stop.cancel();
    tokio::time::sleep(disk_delay / 10).await;
    // The hub task takes no more requests, and waits for the disk.
    ann.post("too late").await;
    for n in 0..20 {
        ann.expect("cid", &n.to_string()).await;
        bob.expect("cid", &n.to_string()).await;
    }
    let page = ann.expect("cid", "page").await;
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(20));
    for client in [&mut ann, &mut bob] {
        client.expect("code", "shutting_down").await;
        client.expect_end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn client_that_takes_nothing_is_told_if_it_comes_back() {
    let mut harness = ServerHarness::start();
    let mut stuck = harness.join("Stuck").await;
    let mut ann = harness.join("Ann").await;
    fill(&mut ann, 2 * BACKLOG).await;
    tokio::time::sleep(limits::WRITE_TIMEOUT + Duration::from_secs(1)).await;
    loop {
        let object = stuck.next().await.expect("closed without a reason");
        if object["action"] == "CLOSING" {
            assert_eq!(object["code"], "too_slow");
            break;
        }
    }
    stuck.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn steady_slow_reader_is_not_closed() {
    let mut harness = ServerHarness::start();
    let mut slow = harness.join("Slow").await;
    let mut ann = harness.join("Ann").await;
    fill(&mut ann, BACKLOG).await;
    let mut received = 0;
    let mut buffer = [0; 5_000];
    while received < BACKLOG * LONG {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let count = slow.io.read(&mut buffer).await.unwrap();
        assert!(count > 0, "closed after {received} bytes");
        received += count;
        ann.send(&json!({"action": "PING"})).await;
        ann.expect("action", "PONG").await;
        slow.send(&json!({"action": "PING"})).await;
    }
}
