//! Rooms, read markers and changes of messages, through whole sessions.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A user with a key, on an extended client.
async fn join_with_key(harness: &mut ServerHarness, name: &str) -> TestClient {
    let number = name.bytes().next().unwrap();
    let client = harness.connect_with_key(65_536, Some([number; 32]));
    ServerHarness::log_in(client, name).await
}

async fn id_of(client: &mut TestClient) -> String {
    say(client, "all", "my ID").await["sender"].as_str().unwrap().to_owned()
}

/// Sends a request and returns its answer.
async fn ask(client: &mut TestClient, mut object: Value) -> Value {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let cid = format!("ask-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    object["cid"] = json!(cid);
    client.send(&object).await;
    client.wait_for("cid", &cid).await
}

async fn say(client: &mut TestClient, room: &str, text: &str) -> Value {
    ask(client, json!({"action": "MESSAGE", "receiver": [room], "content": text})).await
}

fn room(name: &str, action: &str) -> Value {
    json!({"action": "ROOM", "room": name, "do": action})
}

fn with_users(mut request: Value, users: &[&str]) -> Value {
    request["users"] = json!(users);
    request
}

/// Everything that a client was sent until the server has answered a ping.
async fn receive(client: &mut TestClient) -> Vec<Value> {
    client.send(&json!({"action": "PING"})).await;
    let mut received = Vec::new();
    loop {
        let object = client.next().await.unwrap();
        if object["action"] == "PONG" {
            return received;
        }
        received.push(object);
    }
}

fn actions(received: &[Value]) -> Vec<&str> {
    let actions = received.iter().map(|object| object["action"].as_str().unwrap());
    actions.filter(|action| !["PRESENCE", "GUESTS", "ACTIVE_CLIENT"].contains(action)).collect()
}

#[tokio::test(start_paused = true)]
async fn members_alone_get_what_happens_in_a_room() {
    let mut harness = ServerHarness::start();
    let mut ann = join_with_key(&mut harness, "Ann").await;
    let mut kim = join_with_key(&mut harness, "Kim").await;
    let mut zed = join_with_key(&mut harness, "Zed").await;
    let mut guest = harness.join("Guest").await;
    let kim_id = id_of(&mut kim).await;
    for client in [&mut zed, &mut guest] {
        receive(client).await;
    }
    let mut create = room("#ops", "create");
    create["private"] = json!(true);
    assert_eq!(ask(&mut ann, create).await["people"], 1);
    say(&mut ann, "#ops", "before Kim").await;
    let added = ask(&mut ann, with_users(room("#ops", "add"), &[&kim_id])).await;
    assert_eq!((&added["action"], &added["users"]), (&json!("ROOM"), &json!([kim_id])));
    let message = say(&mut ann, "#ops", "look").await;
    let id = &message["id"];
    ask(&mut ann, json!({"action": "EDIT", "content": id, "text": "look here"})).await;
    ask(&mut ann, json!({"action": "PIN", "content": id})).await;
    ask(&mut kim, json!({"action": "REACT", "content": id, "emoji": "👍"})).await;
    ask(&mut ann, json!({"action": "DELETE", "content": id})).await;
    ask(&mut ann, with_users(room("#ops", "remove"), &[&kim_id])).await;
    say(&mut ann, "#ops", "after Kim").await;
    let to_kim = receive(&mut kim).await;
    let to_kim = actions(&to_kim);
    assert_eq!(to_kim, ["DELETE", "ROOM"], "the rest came before the answer to REACT");
    for client in [&mut zed, &mut guest] {
        assert_eq!(actions(&receive(client).await), [""; 0]);
    }
    let refused = say(&mut kim, "#ops", "still here?").await;
    assert_eq!(refused["code"], "no_such_room");
    let refused = ask(&mut guest, room("#lab", "create")).await;
    assert_eq!(refused["code"], "not_a_member");
}

/// The fan-out remembers the sessions of a room's members.
#[tokio::test(start_paused = true)]
async fn sessions_of_a_member_come_and_go() {
    let mut harness = ServerHarness::start();
    let mut ann = join_with_key(&mut harness, "Ann").await;
    ask(&mut ann, room("#ops", "create")).await;
    say(&mut ann, "#ops", "on one device").await;
    let mut other = join_with_key(&mut harness, "Ann").await;
    receive(&mut other).await;
    let message = say(&mut ann, "#ops", "on two devices").await;
    assert_eq!(other.wait_for("action", "MESSAGE").await["id"], message["id"]);
    drop(other);
    say(&mut ann, "#ops", "on one device again").await;
    let mut third = join_with_key(&mut harness, "Ann").await;
    receive(&mut third).await;
    let message = say(&mut ann, "#ops", "on two devices again").await;
    assert_eq!(third.wait_for("action", "MESSAGE").await["id"], message["id"]);
}

#[tokio::test(start_paused = true)]
async fn original_client_of_a_member_gets_nothing_of_a_room() {
    let mut harness = ServerHarness::start();
    let mut ann = join_with_key(&mut harness, "Ann").await;
    let mut original = harness.connect_with_key(65_536, Some([b'A'; 32]));
    original.send(&json!({"username": "Ann"})).await;
    original.wait_for("action", "ACTIVE_CLIENT").await;
    ask(&mut ann, room("#ops", "create")).await;
    let secret = say(&mut ann, "#ops", "secret").await;
    ask(&mut ann, json!({"action": "EDIT", "content": secret["id"], "text": "other"})).await;
    ask(&mut ann, json!({"action": "DELETE", "content": secret["id"]})).await;
    ask(&mut ann, json!({"action": "READ", "receiver": ["#ops"], "seq": 2})).await;
    original.send(&json!({"action": "TYPING", "receiver": ["#ops"]})).await;
    original.send(&json!({"action": "CONVERSATIONS"})).await;
    original.send(&json!({"action": "HISTORY", "receiver": ["#ops"]})).await;
    let public = say(&mut ann, "all", "public").await;
    assert_eq!(original.next().await.unwrap()["content"], "public");
    ask(&mut ann, json!({"action": "EDIT", "content": public["id"], "text": "edited"})).await;
    let deletion = original.next().await.unwrap();
    assert_eq!((&deletion["action"], &deletion["content"]), (&json!("DELETE"), &public["id"]));
    let again = original.next().await.unwrap();
    assert_eq!((&again["content"], &again["id"]), (&json!("edited"), &public["id"]));
}

/// The same for what it reads from the log because it is behind.
#[tokio::test(start_paused = true)]
async fn original_client_that_catches_up_gets_nothing_of_a_room() {
    let mut harness = ServerHarness::start();
    let mut ann = join_with_key(&mut harness, "Ann").await;
    let mut original = harness.connect_with_key(256, Some([b'A'; 32]));
    original.send(&json!({"username": "Ann"})).await;
    original.wait_for("action", "ACTIVE_CLIENT").await;
    ask(&mut ann, room("#ops", "create")).await;
    ask(&mut ann, room("#lab", "create")).await;
    let text = "x".repeat(CONTENT_CHARACTERS);
    for _ in 0..2 * limits::SEND_QUEUE_BYTES / CONTENT_CHARACTERS {
        say(&mut ann, "all", &text).await;
    }
    let secret = say(&mut ann, "#ops", "secret").await;
    ask(&mut ann, json!({"action": "DELETE", "content": secret["id"]})).await;
    ask(
        &mut ann,
        json!({"action": "TEMPORARY", "receiver": ["#ops"], "content": "secret", "seconds": 1}),
    )
    .await;
    ann.wait_for("action", "OUTDATED").await;
    // What a user who has left a room may still see is read from the log.
    ask(&mut ann, room("#lab", "leave")).await;
    say(&mut ann, "all", "the end").await;
    loop {
        let object = original.next().await.unwrap();
        assert_eq!(object["action"], "MESSAGE", "{object}");
        if object["content"] == "the end" {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_devices_agree_on_markers() {
    let mut harness = ServerHarness::start();
    let mut ann = join_with_key(&mut harness, "Ann").await;
    let mut laptop = join_with_key(&mut harness, "Kim").await;
    let mut phone = join_with_key(&mut harness, "Kim").await;
    ask(&mut ann, room("#ops", "create")).await;
    ask(&mut laptop, room("#ops", "join")).await;
    let mut last = 0;
    for _ in 0..5 {
        last = say(&mut ann, "#ops", "text").await["seq"].as_u64().unwrap();
    }
    let read = |seq: u64| json!({"action": "READ", "receiver": ["#ops"], "seq": seq});
    let since = monotonic_now();
    for (seq, unread) in [(last - 2, 2), (last - 4, 2), (last, 0)] {
        let answer = ask(&mut laptop, read(seq)).await;
        let told = phone.wait_for("action", "READ").await;
        assert_eq!(answer, told, "the same on both devices");
        assert_eq!(told["seq"], seq.max(last - 2), "never back");
        assert_eq!(told["unread"].as_u64().unwrap_or_default(), unread);
    }
    let notify = json!({"action": "NOTIFY", "receiver": ["#ops"], "notify": "none"});
    ask(&mut phone, notify).await;
    laptop.wait_for("action", "NOTIFY").await;
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    let answer = ask(&mut laptop, json!({"action": "CONVERSATIONS"})).await;
    let ops = &answer["conversations"][0];
    assert_eq!((&ops["receiver"], &ops["read"]), (&json!(["#ops"]), &json!(last)));
    assert_eq!((&ops["notify"], &ops["unread"]), (&json!("none"), &Value::Null));
    let others = receive(&mut ann).await;
    assert!(!actions(&others).contains(&"READ") && !actions(&others).contains(&"NOTIFY"));
}

/// A marker that a device reads long after it was set is the latest one, and none is lost.
#[tokio::test(start_paused = true)]
async fn slow_device_gets_the_latest_marker() {
    let mut harness = ServerHarness::start();
    let mut laptop = join_with_key(&mut harness, "Kim").await;
    let slow = harness.connect_with_key(256, Some([b'K'; 32]));
    let mut slow = ServerHarness::log_in(slow, "Kim").await;
    let n_messages = 2 * limits::SEND_QUEUE_BYTES / CONTENT_CHARACTERS;
    let text = "x".repeat(CONTENT_CHARACTERS);
    let mut last = 0;
    for _ in 0..n_messages {
        last = say(&mut laptop, "all", &text).await["seq"].as_u64().unwrap();
        ask(&mut laptop, json!({"action": "READ", "receiver": ["all"], "seq": last})).await;
    }
    let (mut n_read, mut n_posted, mut marker) = (0, 0, 0);
    while marker < last || n_posted < n_messages {
        let object = slow.next().await.unwrap();
        n_posted += usize::from(object["action"] == "MESSAGE");
        if object["action"] == "READ" {
            let seq = object["seq"].as_u64().unwrap();
            assert!(seq >= marker, "never back");
            (n_read, marker) = (n_read + 1, seq);
        }
    }
    assert!(n_read < n_messages / 2, "{n_read} of {n_messages}: only the latest are kept");
}

#[tokio::test(start_paused = true)]
async fn others_in_a_small_conversation_learn_who_types() {
    let mut harness = ServerHarness::start();
    let mut ann = join_with_key(&mut harness, "Ann").await;
    let mut kim = join_with_key(&mut harness, "Kim").await;
    let mut zed = join_with_key(&mut harness, "Zed").await;
    let (ann_id, kim_id) = (id_of(&mut ann).await, id_of(&mut kim).await);
    ask(&mut ann, room("#ops", "create")).await;
    ask(&mut kim, room("#ops", "join")).await;
    for client in [&mut ann, &mut kim, &mut zed] {
        receive(client).await;
    }
    let typing = |to: &[&str]| json!({"action": "TYPING", "receiver": to});
    ann.send(&typing(&["#ops"])).await;
    zed.send(&typing(&["#ops"])).await;
    zed.send(&typing(&["all"])).await;
    ann.send(&typing(&[&kim_id])).await;
    for receiver in ["#ops", &ann_id] {
        let typing = kim.wait_for("action", "TYPING").await;
        assert_eq!((&typing["receiver"], &typing["sender"]), (&json!([receiver]), &json!(ann_id)));
    }
    for client in [&mut ann, &mut zed, &mut kim] {
        assert_eq!(actions(&receive(client).await), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn every_request_is_answered_once() {
    let mut harness = ServerHarness::start();
    let mut ann = join_with_key(&mut harness, "Ann").await;
    ask(&mut ann, room("#ops", "create")).await;
    let id = say(&mut ann, "#ops", "text").await["id"].clone();
    let unknown = "999999";
    for (request, answer) in [
        (room("#ops", "create"), "ERROR"),
        (room("#ops", "join"), "STORED"),
        (json!({"action": "REACT", "content": id, "emoji": "👍", "on": false}), "STORED"),
        (json!({"action": "REACT", "content": id, "emoji": "👍"}), "REACT"),
        (json!({"action": "PIN", "content": unknown}), "ERROR"),
        (json!({"action": "EDIT", "content": unknown, "text": "x"}), "ERROR"),
        (json!({"action": "EDIT", "content": id, "text": " "}), "ERROR"),
        (json!({"action": "READ", "receiver": ["#lab"], "seq": 1}), "ERROR"),
        (json!({"action": "READ", "receiver": ["#ops"], "seq": 1}), "READ"),
        (json!({"action": "NOTIFY", "receiver": ["all"], "notify": "all"}), "NOTIFY"),
        (json!({"action": "ROOMS"}), "ROOMS"),
        (json!({"action": "USERS"}), "USERS"),
        (json!({"action": "USERS", "room": "#ops"}), "USERS"),
        (json!({"action": "USERS", "room": "#lab"}), "ERROR"),
        (json!({"action": "CONVERSATIONS"}), "CONVERSATIONS"),
        (json!({"action": "HISTORY", "receiver": ["#ops"], "near": 2}), "HISTORY"),
        (json!({"action": "HISTORY", "receiver": ["#ops"], "after": 1}), "HISTORY"),
        (json!({"action": "HISTORY", "thread": id}), "HISTORY"),
        (json!({"action": "HISTORY", "receiver": ["#ops"], "pinned": true}), "HISTORY"),
        (json!({"action": "HISTORY", "receiver": ["#lab"]}), "ERROR"),
        (json!({"action": "SEARCH", "receiver": ["#ops"], "content": "tex"}), "FOUND"),
        (json!({"action": "SEARCH", "receiver": ["#lab"], "content": "tex"}), "ERROR"),
    ] {
        // The answer to a read may come after what was requested later.
        assert_eq!(ask(&mut ann, request.clone()).await["action"], answer, "{request}");
        assert_eq!(actions(&receive(&mut ann).await), [""; 0], "{request}");
    }
    // Also without a `cid`.
    ann.send(&room("#ops", "join")).await;
    assert_eq!(actions(&receive(&mut ann).await), [""; 0], "not yet");
    ann.expect("action", "STORED").await;
}
