//! Privacy of direct messages on every path: live events, catch-up, history and search.
//!
//! In random conversations, each text has a unique token. No user may ever receive a token of a message
//! that is not for them, nor one of a removed message.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::store::sqlite::SqliteStore;

/// Three users with a key, a guest, and a guest with the original client.
const USERS: [&str; 5] = ["Ann", "Bob", "Cid", "Guest", "Tom"];
const GUEST: usize = 3;
const ORIGINAL: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    /// Connects or reconnects. A slow connection has a small buffer.
    Join {
        user: usize,
        resume: bool,
        slow: bool,
    },
    Leave(usize),
    Post {
        author: usize,
        to: Vec<usize>,
        kind: u32,
        target: usize,
    },
    Delete {
        author: usize,
        target: usize,
    },
    Query {
        author: usize,
        kind: u32,
        target: usize,
    },
    /// Posts so much to everyone that slow sessions have to catch up from the log.
    Flood(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let user = || 0..USERS.len();
    let to = proptest::collection::vec(user(), 0..3);
    prop_oneof![
        4 => (user(), any::<bool>(), any::<bool>())
            .prop_map(|(user, resume, slow)| Step::Join { user, resume, slow }),
        2 => user().prop_map(Step::Leave),
        12 => (user(), to, 0..4_u32, 0..12_usize)
            .prop_map(|(author, to, kind, target)| Step::Post { author, to, kind, target }),
        3 => (user(), 0..12_usize).prop_map(|(author, target)| Step::Delete { author, target }),
        6 => (user(), 0..5_u32, 0..12_usize)
            .prop_map(|(author, kind, target)| Step::Query { author, kind, target }),
        1 => user().prop_map(Step::Flood),
        2 => (0..3_000_u64).prop_map(Step::Wait),
    ]
}

/// A user's connection, with the objects received on it.
struct TestSession {
    client: TestClient,
    user: String,
    received: Vec<Value>,
    slow: bool,
}

impl TestSession {
    /// Receives what is there.
    async fn receive(&mut self) {
        let pause = Duration::from_millis(20);
        while let Ok(Some(object)) = tokio::time::timeout(pause, self.client.next()).await {
            self.received.push(object);
        }
    }
}

/// A message, as its author received it.
#[derive(Clone)]
struct PostedMessage {
    id: String,
    audience: BTreeSet<String>,
    removed: bool,
}

struct Model {
    harness: ServerHarness,
    sessions: BTreeMap<usize, TestSession>,
    /// The last ID of each user.
    user_ids: BTreeMap<usize, String>,
    /// Everything each ID has received.
    received: BTreeMap<String, String>,
    /// The audience of each token; empty for everyone.
    audience: BTreeMap<String, BTreeSet<String>>,
    posted: BTreeMap<String, PostedMessage>,
    count: usize,
}

impl Model {
    fn new(store: impl Store) -> Self {
        Self {
            harness: ServerHarness::with_store(store, None),
            sessions: BTreeMap::new(),
            user_ids: BTreeMap::new(),
            received: BTreeMap::new(),
            audience: BTreeMap::new(),
            posted: BTreeMap::new(),
            count: 0,
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Join { user, resume, slow } => self.join(user, resume, slow).await,
            Step::Leave(user) => self.leave(user).await,
            Step::Post { author, to, kind, target } => self.post(author, &to, kind, target).await,
            Step::Delete { author, target } => {
                let id = self.message_id(target);
                self.send(author, &json!({"action": "DELETE", "content": id, "cid": "d"})).await;
            }
            Step::Query { author, kind, target } => self.query(author, kind, target).await,
            Step::Flood(author) => {
                let text = "x".repeat(CONTENT_CHARACTERS);
                let flood =
                    json!({"action": "MESSAGE", "receiver": ["all"], "content": text, "cid": null});
                for _ in 0..80 {
                    self.send(author, &flood).await;
                }
            }
            Step::Wait(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
        }
        self.receive().await;
    }

    async fn join(&mut self, user: usize, resume: bool, slow: bool) {
        self.leave(user).await;
        let number = u8::try_from(user).unwrap();
        let key = (user < GUEST).then_some([number; 32]);
        let mut client = self.harness.connect_with_key(if slow { 256 } else { 1 << 20 }, key);
        let mut login = json!({"username": USERS[user]});
        if user != ORIGINAL {
            login = json!({"action": "LOGIN", "protocol": 1, "username": USERS[user]});
        }
        if resume && user != ORIGINAL {
            login["after"] = json!(0);
            login["epoch"] = json!(self.harness.epoch);
        }
        client.send(&login).await;
        client.expect("action", "LOGIN").await;
        let welcome = client.expect("status", "SUCCESS").await;
        let id = welcome["user_id"].as_str().unwrap().to_owned();
        if let Some(previous) = self.user_ids.insert(user, id.clone()) {
            assert_eq!(previous == id, user < GUEST, "only users with a key keep their ID");
        }
        self.sessions.insert(user, TestSession { client, user: id, received: Vec::new(), slow });
    }

    async fn leave(&mut self, user: usize) {
        let Some(mut session) = self.sessions.remove(&user) else { return };
        session.receive().await;
        self.record(&session.user, session.received);
    }

    async fn send(&mut self, author: usize, object: &Value) {
        // A session that receives nothing for too long was closed.
        let Some(session) = self.sessions.get_mut(&author) else { return };
        let object = object.to_string();
        let sent = session.client.io.write_all(object.as_bytes());
        drop(tokio::time::timeout(Duration::from_secs(1), sent).await);
    }

    fn message_id(&self, index: usize) -> String {
        self.posted
            .values()
            .nth(index)
            .map_or_else(|| "999999".to_owned(), |message| message.id.clone())
    }

    async fn post(&mut self, author: usize, to: &[usize], kind: u32, target: usize) {
        let Some(author_id) = self.sessions.get(&author).map(|session| session.user.clone()) else {
            return;
        };
        self.count += 1;
        let token = format!("token{}z", self.count);
        let mut audience: BTreeSet<_> =
            to.iter().filter_map(|user| self.user_ids.get(user).cloned()).collect();
        let receiver = if audience.is_empty() {
            json!(["all"])
        } else {
            json!(audience.iter().collect::<Vec<_>>())
        };
        let mut object = json!({"action": "MESSAGE", "receiver": receiver, "private": !audience.is_empty(),
            "content": format!("psst {token}"), "cid": token});
        match kind {
            0 | 1 => {}
            2 => {
                object["action"] = json!("TEMPORARY");
                object["seconds"] = json!(2);
            }
            _ => {
                let id = self.message_id(target);
                let quoted = self.posted.values().find(|message| message.id == id);
                // The server sends a reply to the audience of the original.
                if let Some(quoted) = quoted.filter(|_| audience.is_empty()) {
                    audience = quoted.audience.clone();
                }
                object["action"] = json!("REPLY");
                object["optional"] = json!(id);
            }
        }
        if !audience.is_empty() {
            audience.insert(author_id);
        }
        self.audience.insert(token, audience);
        self.send(author, &object).await;
    }

    async fn query(&mut self, author: usize, kind: u32, target: usize) {
        let id = self.message_id(target);
        let query = match kind {
            0 => json!({"action": "HISTORY", "cid": "h"}),
            1 => json!({"action": "HISTORY", "around": id, "cid": "h"}),
            2 => json!({"action": "SEARCH", "content": "psst", "cid": "s"}),
            3 => json!({"action": "SEARCH", "content": ".", "from": "Ann", "cid": "s"}),
            _ => {
                json!({"action": "SEARCH", "content": "token", "to": self.user_ids.get(&0), "cid": "s"})
            }
        };
        self.send(author, &query).await;
    }

    async fn receive(&mut self) {
        for user in 0..USERS.len() {
            let Some(session) = self.sessions.get_mut(&user).filter(|session| !session.slow) else {
                continue;
            };
            session.receive().await;
            let (user, objects) = (session.user.clone(), std::mem::take(&mut session.received));
            self.record(&user, objects);
        }
    }

    /// Records what a user received.
    fn record(&mut self, user: &str, objects: Vec<Value>) {
        for object in objects {
            let token = object["cid"].as_str().filter(|cid| cid.starts_with("token"));
            if let (Some(token), Some(id)) = (token, object["id"].as_str())
                && object["sender"] == user
            {
                let audience = self.audience[token].clone();
                // Temporary messages have expired at the end of the test.
                let removed = object["action"] == "TEMPORARY";
                let message = PostedMessage { id: id.to_owned(), audience, removed };
                self.posted.insert(token.to_owned(), message);
            }
            if object["action"] == "DELETE" || object["action"] == "OUTDATED" {
                let mut messages = self.posted.values_mut();
                if let Some(message) =
                    messages.find(|message| object["content"] == message.id.as_str())
                {
                    message.removed = true;
                }
            }
            self.received.entry(user.to_owned()).or_default().push_str(&object.to_string());
        }
    }

    /// No user has received a message that is not for them.
    fn check_confidentiality(&self) {
        for (user, bytes) in &self.received {
            for (token, audience) in &self.audience {
                let visible = audience.is_empty() || audience.contains(user);
                assert!(
                    visible || !bytes.contains(token),
                    "{user} received {token}, which is for {audience:?}"
                );
            }
        }
    }

    /// After reconnecting, a user receives all messages for them and no removed ones, in every way.
    async fn check_completeness(&mut self) {
        for user in 0..GUEST {
            if !self.user_ids.contains_key(&user) {
                continue;
            }
            for kind in [0, 2] {
                self.leave(user).await;
                self.received.clear();
                self.join(user, kind == 0, false).await;
                self.query(user, kind, 0).await;
                self.receive().await;
                let user = self.user_ids[&user].clone();
                let bytes = self.received.get(&user).cloned().unwrap_or_default();
                for (token, message) in &self.posted {
                    let visible = message.audience.is_empty() || message.audience.contains(&user);
                    let expected = visible && !message.removed;
                    assert_eq!(
                        bytes.contains(token),
                        expected,
                        "{token} for {user}, query {kind}: {bytes}"
                    );
                }
            }
        }
    }
}

fn run_model(store: impl Store, steps: Vec<Step>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(async {
        let mut model = Model::new(store);
        for user in 0..USERS.len() {
            model.join(user, false, false).await;
        }
        for step in steps {
            model.step(step).await;
        }
        // All temporary messages expire.
        tokio::time::sleep(Duration::from_secs(3)).await;
        for user in 0..USERS.len() {
            model.receive().await;
            model.leave(user).await;
        }
        model.check_confidentiality();
        model.check_completeness().await;
        model.check_confidentiality();
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn direct_messages_reach_only_their_audience(
        steps in proptest::collection::vec(step(), 1..40), on_disk in any::<bool>(),
    ) {
        if on_disk {
            let folder = tempfile::tempdir().unwrap();
            run_model(SqliteStore::open(folder.path()).unwrap().without_sync(), steps);
        } else {
            run_model(MemoryStore::default(), steps);
        }
    }
}

/// The number of conversations. `CHAT_CONVERSATIONS=1000` runs more.
fn cases() -> u32 {
    std::env::var("CHAT_CONVERSATIONS").map_or(12, |cases| cases.parse().unwrap())
}
