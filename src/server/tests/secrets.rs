//! Direct messages through every path: random conversations, in which each text has a token, and no
//! token may ever be among the bytes of somebody whom it is not for, nor be served once it is gone.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::store::sqlite::SqliteStore;

/// Who takes part: three with a key, a guest without one, and somebody with the original client.
const PEOPLE: [&str; 5] = ["Ann", "Bob", "Cid", "Guest", "Tom"];
const GUEST: usize = 3;
const ORIGINAL: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    /// Comes, or comes back; on a connection that takes little at a time, or much.
    Join {
        who: usize,
        resume: bool,
        slow: bool,
    },
    Leave(usize),
    Say {
        by: usize,
        to: Vec<usize>,
        kind: u32,
        target: usize,
    },
    Delete {
        by: usize,
        target: usize,
    },
    Ask {
        by: usize,
        question: u32,
        target: usize,
    },
    /// So much is said to all that slow ones fall behind.
    Flood(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..PEOPLE.len();
    let to = proptest::collection::vec(who(), 0..3);
    prop_oneof![
        4 => (who(), any::<bool>(), any::<bool>())
            .prop_map(|(who, resume, slow)| Step::Join { who, resume, slow }),
        2 => who().prop_map(Step::Leave),
        12 => (who(), to, 0..4_u32, 0..12_usize)
            .prop_map(|(by, to, kind, target)| Step::Say { by, to, kind, target }),
        3 => (who(), 0..12_usize).prop_map(|(by, target)| Step::Delete { by, target }),
        6 => (who(), 0..5_u32, 0..12_usize)
            .prop_map(|(by, question, target)| Step::Ask { by, question, target }),
        1 => who().prop_map(Step::Flood),
        2 => (0..3_000_u64).prop_map(Step::Wait),
    ]
}

/// Somebody's connection, with everything that came on it.
struct Line {
    peer: Peer,
    user: String,
    heard: Vec<Value>,
    slow: bool,
}

impl Line {
    /// Takes what is there.
    async fn hear(&mut self) {
        let pause = Duration::from_millis(20);
        while let Ok(Some(object)) = tokio::time::timeout(pause, self.peer.next()).await {
            self.heard.push(object);
        }
    }
}

/// What was said, as its author heard it.
#[derive(Clone)]
struct Said {
    id: String,
    people: BTreeSet<String>,
    gone: bool,
}

struct Model {
    rig: Rig,
    lines: BTreeMap<usize, Line>,
    /// The ID that each had last.
    ids: BTreeMap<usize, String>,
    /// What each ID was ever sent.
    bytes: BTreeMap<String, String>,
    /// Whom each token is for; nobody is everybody.
    audience: BTreeMap<String, BTreeSet<String>>,
    said: BTreeMap<String, Said>,
    count: usize,
}

impl Model {
    fn on(store: impl Store) -> Self {
        Self {
            rig: Rig::on(store, None),
            lines: BTreeMap::new(),
            ids: BTreeMap::new(),
            bytes: BTreeMap::new(),
            audience: BTreeMap::new(),
            said: BTreeMap::new(),
            count: 0,
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Join { who, resume, slow } => self.join(who, resume, slow).await,
            Step::Leave(who) => self.leave(who).await,
            Step::Say { by, to, kind, target } => self.say(by, &to, kind, target).await,
            Step::Delete { by, target } => {
                let id = self.target(target);
                self.send(by, &json!({"action": "DELETE", "content": id, "cid": "d"})).await;
            }
            Step::Ask { by, question, target } => self.ask(by, question, target).await,
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
        self.hear().await;
    }

    async fn join(&mut self, who: usize, resume: bool, slow: bool) {
        self.leave(who).await;
        let number = u8::try_from(who).unwrap();
        let key = (who < GUEST).then_some([number; 32]);
        let mut peer = self.rig.connect_with(if slow { 256 } else { 1 << 20 }, key);
        let mut login = json!({"username": PEOPLE[who]});
        if who != ORIGINAL {
            login = json!({"action": "LOGIN", "protocol": 1, "username": PEOPLE[who]});
        }
        if resume && who != ORIGINAL {
            login["after"] = json!(0);
            login["epoch"] = json!(self.rig.epoch);
        }
        peer.send(&login).await;
        peer.expect("action", "LOGIN").await;
        let welcome = peer.expect("status", "SUCCESS").await;
        let user = welcome["user_id"].as_str().unwrap().to_owned();
        if let Some(before) = self.ids.insert(who, user.clone()) {
            assert_eq!(
                before == user,
                who < GUEST,
                "a key keeps its ID, and a guest has a new one"
            );
        }
        self.lines.insert(who, Line { peer, user, heard: Vec::new(), slow });
    }

    async fn leave(&mut self, who: usize) {
        let Some(mut line) = self.lines.remove(&who) else { return };
        line.hear().await;
        self.note(&line.user, line.heard);
    }

    async fn send(&mut self, by: usize, object: &Value) {
        // Whoever takes nothing for too long is closed.
        let Some(line) = self.lines.get_mut(&by) else { return };
        let object = object.to_string();
        let sent = line.peer.io.write_all(object.as_bytes());
        drop(tokio::time::timeout(Duration::from_secs(1), sent).await);
    }

    fn target(&self, pick: usize) -> String {
        self.said.values().nth(pick).map_or_else(|| "999999".to_owned(), |said| said.id.clone())
    }

    async fn say(&mut self, by: usize, to: &[usize], kind: u32, target: usize) {
        let Some(author) = self.lines.get(&by).map(|line| line.user.clone()) else { return };
        self.count += 1;
        let token = format!("token{}z", self.count);
        let mut people: BTreeSet<_> =
            to.iter().filter_map(|who| self.ids.get(who).cloned()).collect();
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
                let id = self.target(target);
                let quoted = self.said.values().find(|said| said.id == id);
                // To all who have what is quoted.
                if let Some(quoted) = quoted.filter(|_| people.is_empty()) {
                    people = quoted.people.clone();
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

    async fn ask(&mut self, by: usize, question: u32, target: usize) {
        let id = self.target(target);
        let question = match question {
            0 => json!({"action": "HISTORY", "cid": "h"}),
            1 => json!({"action": "HISTORY", "around": id, "cid": "h"}),
            2 => json!({"action": "SEARCH", "content": "psst", "cid": "s"}),
            3 => json!({"action": "SEARCH", "content": ".", "from": "Ann", "cid": "s"}),
            _ => {
                json!({"action": "SEARCH", "content": "token", "to": self.ids.get(&0), "cid": "s"})
            }
        };
        self.send(by, &question).await;
    }

    async fn hear(&mut self) {
        for who in 0..PEOPLE.len() {
            let Some(line) = self.lines.get_mut(&who).filter(|line| !line.slow) else { continue };
            line.hear().await;
            let (user, heard) = (line.user.clone(), std::mem::take(&mut line.heard));
            self.note(&user, heard);
        }
    }

    /// Notes what somebody was sent.
    fn note(&mut self, user: &str, heard: Vec<Value>) {
        for object in heard {
            let token = object["cid"].as_str().filter(|cid| cid.starts_with("token"));
            if let (Some(token), Some(id)) = (token, object["id"].as_str())
                && object["sender"] == user
            {
                let people = self.audience[token].clone();
                // By the end, what is temporary is gone.
                let gone = object["action"] == "TEMPORARY";
                let said = Said { id: id.to_owned(), people, gone };
                self.said.insert(token.to_owned(), said);
            }
            if object["action"] == "DELETE" || object["action"] == "OUTDATED" {
                let mut all = self.said.values_mut();
                if let Some(said) = all.find(|said| object["content"] == said.id.as_str()) {
                    said.gone = true;
                }
            }
            self.bytes.entry(user.to_owned()).or_default().push_str(&object.to_string());
        }
    }

    /// Nobody was ever sent what is for others.
    fn check(&self) {
        for (user, bytes) in &self.bytes {
            for (token, people) in &self.audience {
                let may = people.is_empty() || people.contains(user);
                assert!(may || !bytes.contains(token), "{user} was sent {token}, for {people:?}");
            }
        }
    }

    /// Whoever comes back finds all that is there for them, and nothing else, on every way.
    async fn check_what_is_there(&mut self) {
        for who in 0..GUEST {
            if !self.ids.contains_key(&who) {
                continue;
            }
            for question in [0, 2] {
                self.leave(who).await;
                self.bytes.clear();
                self.join(who, question == 0, false).await;
                self.ask(who, question, 0).await;
                self.hear().await;
                let user = self.ids[&who].clone();
                let bytes = self.bytes.get(&user).cloned().unwrap_or_default();
                for (token, said) in &self.said {
                    let may = said.people.is_empty() || said.people.contains(&user);
                    let there = may && !said.gone;
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

fn converse(store: impl Store, steps: Vec<Step>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(async {
        let mut model = Model::on(store);
        for who in 0..PEOPLE.len() {
            model.join(who, false, false).await;
        }
        for step in steps {
            model.step(step).await;
        }
        // What is temporary is gone by then.
        tokio::time::sleep(Duration::from_secs(3)).await;
        for who in 0..PEOPLE.len() {
            model.hear().await;
            model.leave(who).await;
        }
        model.check();
        model.check_what_is_there().await;
        model.check();
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn no_byte_of_a_direct_message_reaches_anybody_else(
        steps in proptest::collection::vec(step(), 1..40), on_disk in any::<bool>(),
    ) {
        if on_disk {
            let folder = tempfile::tempdir().unwrap();
            converse(SqliteStore::open(folder.path()).unwrap().without_sync(), steps);
        } else {
            converse(MemoryStore::default(), steps);
        }
    }
}

/// `CHAT_CONVERSATIONS=1000` has more of them.
fn cases() -> u32 {
    std::env::var("CHAT_CONVERSATIONS").map_or(12, |cases| cases.parse().unwrap())
}
