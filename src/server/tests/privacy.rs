//! Direct messages through every path: random conversations, in which each text has a token, and no
//! token may ever be among the bytes of somebody whom it is not for, nor be served once it is gone.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::store::sqlite::SqliteStore;

/// Who takes part: three with a key, a guest without one, and somebody with the original client.
const USERS: [&str; 5] = ["Ann", "Bob", "Cid", "Guest", "Tom"];
const GUEST: usize = 3;
const ORIGINAL: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    /// Comes, or comes back; on a connection that takes little at a time, or much.
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
    /// So much is said to all that slow ones fall behind.
    Flood(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..USERS.len();
    let to = proptest::collection::vec(who(), 0..3);
    prop_oneof![
        4 => (who(), any::<bool>(), any::<bool>())
            .prop_map(|(user, resume, slow)| Step::Join { user, resume, slow }),
        2 => who().prop_map(Step::Leave),
        12 => (who(), to, 0..4_u32, 0..12_usize)
            .prop_map(|(author, to, kind, target)| Step::Post { author, to, kind, target }),
        3 => (who(), 0..12_usize).prop_map(|(author, target)| Step::Delete { author, target }),
        6 => (who(), 0..5_u32, 0..12_usize)
            .prop_map(|(author, kind, target)| Step::Query { author, kind, target }),
        1 => who().prop_map(Step::Flood),
        2 => (0..3_000_u64).prop_map(Step::Wait),
    ]
}

/// Somebody's connection, with everything that came on it.
struct TestSession {
    client: TestClient,
    user: String,
    received: Vec<Value>,
    slow: bool,
}

impl TestSession {
    /// Takes what is there.
    async fn receive(&mut self) {
        let pause = Duration::from_millis(20);
        while let Ok(Some(object)) = tokio::time::timeout(pause, self.client.next()).await {
            self.received.push(object);
        }
    }
}

/// What was said, as its author heard it.
#[derive(Clone)]
struct PostedMessage {
    id: String,
    audience: BTreeSet<String>,
    removed: bool,
}

struct Model {
    harness: ServerHarness,
    sessions: BTreeMap<usize, TestSession>,
    /// The ID that each had last.
    user_ids: BTreeMap<usize, String>,
    /// What each ID was ever sent.
    received: BTreeMap<String, String>,
    /// Whom each token is for; nobody is everybody.
    audience: BTreeMap<String, BTreeSet<String>>,
    posted: BTreeMap<String, PostedMessage>,
    count: usize,
}

impl Model {
    fn on(store: impl Store) -> Self {
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
            Step::Join { user: who, resume, slow } => self.join(who, resume, slow).await,
            Step::Leave(who) => self.leave(who).await,
            Step::Post { author: by, to, kind, target } => self.post(by, &to, kind, target).await,
            Step::Delete { author: by, target } => {
                let id = self.message_id(target);
                self.send(by, &json!({"action": "DELETE", "content": id, "cid": "d"})).await;
            }
            Step::Query { author: by, kind: question, target } => {
                self.query(by, question, target).await
            }
            Step::Flood(by) => {
                let text = "x".repeat(CONTENT_CHARACTERS);
                let flood =
                    json!({"action": "MESSAGE", "receiver": ["all"], "content": text, "cid": null});
                for _ in 0..80 {
                    self.send(by, &flood).await;
                }
            }
            Step::Wait(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
        }
        self.receive().await;
    }

    async fn join(&mut self, who: usize, resume: bool, slow: bool) {
        self.leave(who).await;
        let number = u8::try_from(who).unwrap();
        let key = (who < GUEST).then_some([number; 32]);
        let mut peer = self.harness.connect_with_key(if slow { 256 } else { 1 << 20 }, key);
        let mut login = json!({"username": USERS[who]});
        if who != ORIGINAL {
            login = json!({"action": "LOGIN", "protocol": 1, "username": USERS[who]});
        }
        if resume && who != ORIGINAL {
            login["after"] = json!(0);
            login["epoch"] = json!(self.harness.epoch);
        }
        peer.send(&login).await;
        peer.expect("action", "LOGIN").await;
        let welcome = peer.expect("status", "SUCCESS").await;
        let user = welcome["user_id"].as_str().unwrap().to_owned();
        if let Some(before) = self.user_ids.insert(who, user.clone()) {
            assert_eq!(
                before == user,
                who < GUEST,
                "a key keeps its ID, and a guest has a new one"
            );
        }
        self.sessions.insert(who, TestSession { client: peer, user, received: Vec::new(), slow });
    }

    async fn leave(&mut self, who: usize) {
        let Some(mut line) = self.sessions.remove(&who) else { return };
        line.receive().await;
        self.record(&line.user, line.received);
    }

    async fn send(&mut self, by: usize, object: &Value) {
        // Whoever takes nothing for too long is closed.
        let Some(line) = self.sessions.get_mut(&by) else { return };
        let object = object.to_string();
        let sent = line.client.io.write_all(object.as_bytes());
        drop(tokio::time::timeout(Duration::from_secs(1), sent).await);
    }

    fn message_id(&self, pick: usize) -> String {
        self.posted.values().nth(pick).map_or_else(|| "999999".to_owned(), |said| said.id.clone())
    }

    async fn post(&mut self, by: usize, to: &[usize], kind: u32, target: usize) {
        let Some(author) = self.sessions.get(&by).map(|line| line.user.clone()) else { return };
        self.count += 1;
        let token = format!("token{}z", self.count);
        let mut people: BTreeSet<_> =
            to.iter().filter_map(|who| self.user_ids.get(who).cloned()).collect();
        let receiver = if people.is_empty() {
            json!(["all"])
        } else {
            json!(people.iter().collect::<Vec<_>>())
        };
        let mut object = json!({"action": "MESSAGE", "receiver": receiver, "private": !people.is_empty(),
            "content": format!("psst {token}"), "cid": token});
        match kind {
            0 | 1 => {}
            2 => {
                object["action"] = json!("TEMPORARY");
                object["seconds"] = json!(2);
            }
            _ => {
                let id = self.message_id(target);
                let quoted = self.posted.values().find(|said| said.id == id);
                // To all who have what is quoted.
                if let Some(quoted) = quoted.filter(|_| people.is_empty()) {
                    people = quoted.audience.clone();
                }
                object["action"] = json!("REPLY");
                object["optional"] = json!(id);
            }
        }
        if !people.is_empty() {
            people.insert(author);
        }
        self.audience.insert(token, people);
        self.send(by, &object).await;
    }

    async fn query(&mut self, by: usize, question: u32, target: usize) {
        let id = self.message_id(target);
        let question = match question {
            0 => json!({"action": "HISTORY", "cid": "h"}),
            1 => json!({"action": "HISTORY", "around": id, "cid": "h"}),
            2 => json!({"action": "SEARCH", "content": "psst", "cid": "s"}),
            3 => json!({"action": "SEARCH", "content": ".", "from": "Ann", "cid": "s"}),
            _ => {
                json!({"action": "SEARCH", "content": "token", "to": self.user_ids.get(&0), "cid": "s"})
            }
        };
        self.send(by, &question).await;
    }

    async fn receive(&mut self) {
        for who in 0..USERS.len() {
            let Some(line) = self.sessions.get_mut(&who).filter(|line| !line.slow) else {
                continue;
            };
            line.receive().await;
            let (user, heard) = (line.user.clone(), std::mem::take(&mut line.received));
            self.record(&user, heard);
        }
    }

    /// Notes what somebody was sent.
    fn record(&mut self, user: &str, heard: Vec<Value>) {
        for object in heard {
            let token = object["cid"].as_str().filter(|cid| cid.starts_with("token"));
            if let (Some(token), Some(id)) = (token, object["id"].as_str())
                && object["sender"] == user
            {
                let people = self.audience[token].clone();
                // By the end, what is temporary is gone.
                let gone = object["action"] == "TEMPORARY";
                let said = PostedMessage { id: id.to_owned(), audience: people, removed: gone };
                self.posted.insert(token.to_owned(), said);
            }
            if object["action"] == "DELETE" || object["action"] == "OUTDATED" {
                let mut all = self.posted.values_mut();
                if let Some(said) = all.find(|said| object["content"] == said.id.as_str()) {
                    said.removed = true;
                }
            }
            self.received.entry(user.to_owned()).or_default().push_str(&object.to_string());
        }
    }

    /// Nobody was ever sent what is for others.
    fn check_confidentiality(&self) {
        for (user, bytes) in &self.received {
            for (token, people) in &self.audience {
                let may = people.is_empty() || people.contains(user);
                assert!(may || !bytes.contains(token), "{user} was sent {token}, for {people:?}");
            }
        }
    }

    /// Whoever comes back finds all that is there for them, and nothing else, on every way.
    async fn check_completeness(&mut self) {
        for who in 0..GUEST {
            if !self.user_ids.contains_key(&who) {
                continue;
            }
            for question in [0, 2] {
                self.leave(who).await;
                self.received.clear();
                self.join(who, question == 0, false).await;
                self.query(who, question, 0).await;
                self.receive().await;
                let user = self.user_ids[&who].clone();
                let bytes = self.received.get(&user).cloned().unwrap_or_default();
                for (token, said) in &self.posted {
                    let may = said.audience.is_empty() || said.audience.contains(&user);
                    let there = may && !said.removed;
                    assert_eq!(
                        bytes.contains(token),
                        there,
                        "{token} for {user}, {question}: {bytes}"
                    );
                }
            }
        }
    }
}

fn run_model(store: impl Store, steps: Vec<Step>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(async {
        let mut model = Model::on(store);
        for who in 0..USERS.len() {
            model.join(who, false, false).await;
        }
        for step in steps {
            model.step(step).await;
        }
        // What is temporary is gone by then.
        tokio::time::sleep(Duration::from_secs(3)).await;
        for who in 0..USERS.len() {
            model.receive().await;
            model.leave(who).await;
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

/// `CHAT_CONVERSATIONS=1000` has more of them.
fn cases() -> u32 {
    std::env::var("CHAT_CONVERSATIONS").map_or(12, |cases| cases.parse().unwrap())
}
