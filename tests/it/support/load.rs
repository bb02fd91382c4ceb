//! Clients that talk without a pause, take up again whenever the server is back, and note everything.
//!
//! What they noted is judged by `checker`. They speak the protocol by themselves, so that no part of
//! the program vouches for another.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails where its tools do"
)]

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};

use chat::protocol::decoder::Decoder;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio_rustls::rustls::ClientConfig;

use super::checker::{Copy, Moment, Note, Token};
use super::{Key, PATIENCE, Wire, trusting};

/// How many requests of one client may wait for their answers.
const WINDOW: usize = 8;

/// What stands before each token in a message.
pub(super) const MARK: &str = "token-";

/// What all clients share: where the server is, what time it is, and whether to go on.
pub(crate) struct Stage {
    state: Mutex<State>,
    changed: Condvar,
    ticks: AtomicU64,
    tokens: AtomicU64,
    /// The IDs that the clients have.
    users: Vec<OnceLock<String>>,
}

#[derive(Default)]
struct State {
    /// Where the server is, and how often it was started.
    server: Option<(SocketAddr, u64)>,
    acknowledged: usize,
    is_over: bool,
}

impl Stage {
    pub(crate) fn new(clients: usize) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            ticks: AtomicU64::new(1),
            tokens: AtomicU64::new(1),
            users: (0..clients).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The server is here now.
    pub(crate) fn server_is_at(&self, address: SocketAddr) {
        self.change(|state| {
            let starts = state.server.map_or(0, |(_, starts)| starts);
            state.server = Some((address, starts + 1));
        });
    }

    /// Nobody begins anything new; what was begun is brought to its end.
    pub(crate) fn is_over(&self) {
        self.change(|state| state.is_over = true);
    }

    /// Waits until so many more requests are acknowledged.
    pub(crate) fn wait_for(&self, more: usize) {
        let goal = self.state.lock().unwrap().acknowledged + more;
        self.wait(|state| (state.acknowledged >= goal).then_some(()));
    }

    /// Where the server is, if it was started more than so many times; waits for it.
    fn server(&self, starts: u64) -> (SocketAddr, u64) {
        self.wait(|state| state.server.filter(|(_, found)| *found > starts))
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    fn wait<T>(&self, mut look: impl FnMut(&State) -> Option<T>) -> T {
        let mut state = self.state.lock().unwrap();
        loop {
            if let Some(found) = look(&state) {
                return found;
            }
            let (next, waited) = self.changed.wait_timeout(state, PATIENCE).unwrap();
            assert!(!waited.timed_out(), "nothing goes on");
            state = next;
        }
    }

    #[expect(clippy::disallowed_methods, reason = "what expires does so by the real clock")]
    fn now(&self) -> Moment {
        let tick = self.ticks.fetch_add(1, Ordering::SeqCst);
        Moment { tick, wall: chrono::Utc::now().timestamp_millis() }
    }
}

/// A request that has no answer.
struct Pending {
    cid: String,
    object: Value,
}

/// One client.
pub(crate) struct Member {
    number: usize,
    config: Arc<ClientConfig>,
    dice: StdRng,
    user: String,
    epoch: String,
    reached: u64,
    pending: VecDeque<Pending>,
    tokens: BTreeMap<String, Token>,
    /// Stored messages of its own that it may remove.
    own: Vec<(String, Token)>,
    asked: Option<Moment>,
    notes: Vec<Note>,
}

/// A connection of one client.
struct Line {
    wire: Wire,
    decoder: Decoder,
}

impl Line {
    fn send(&mut self, object: &Value) -> io::Result<()> {
        self.wire.try_send(object.to_string().as_bytes())
    }

    fn next(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(object) = self.decoder.next_object() {
                return Ok(object.unwrap().to_vec());
            }
            let bytes = self.wire.try_recv()?;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.decoder.buffer().extend_from_slice(&bytes);
        }
    }
}

impl Member {
    /// A client that trusts this certificate, and is known to the server from its first message on.
    pub(crate) fn join(number: usize, certificate: &std::path::Path, stage: &Stage) -> Self {
        let mut member = Self {
            number,
            config: trusting(certificate, Some(&Key::new())),
            dice: StdRng::seed_from_u64(number as u64),
            user: String::new(),
            epoch: String::new(),
            reached: 0,
            pending: VecDeque::new(),
            tokens: BTreeMap::new(),
            own: Vec::new(),
            asked: None,
            notes: Vec::new(),
        };
        let mut line = member.connect(stage, stage.server(0).0).expect("the server is there").0;
        line.send(&json!({
            "action": "MESSAGE", "receiver": ["all"], "content": "hello", "cid": "hello"
        }))
        .unwrap();
        while value(&line.next().unwrap())["cid"] != "hello" {}
        stage.users[number].set(member.user.clone()).unwrap();
        member
    }

    /// Talks until it is over and everything has its answer.
    pub(crate) fn run(&mut self, stage: &Stage) {
        let mut starts = 0;
        loop {
            let (address, found) = stage.server(starts);
            let talked = self.connect(stage, address).and_then(|(line, _)| self.talk(line, stage));
            if talked.is_ok() {
                return;
            }
            starts = found;
        }
    }

    /// Reads all that came meanwhile, and then the whole history.
    pub(crate) fn finish(mut self, stage: &Stage) -> Vec<Note> {
        let (mut line, head) = self.connect(stage, stage.server(0).0).unwrap();
        while self.reached < head {
            let object = line.next().unwrap();
            self.hear(stage, &object);
        }
        let asked = stage.now();
        let mut pages = Vec::new();
        let mut before = Value::Null;
        loop {
            let mut object = json!({"action": "HISTORY", "cid": "log"});
            if !before.is_null() {
                object["before"] = before;
            }
            line.send(&object).unwrap();
            let page = loop {
                let object = value(&line.next().unwrap());
                if object["action"] == "HISTORY" {
                    break object;
                }
            };
            let messages = page["messages"].as_array().unwrap();
            pages.push(messages.iter().filter_map(copy).collect::<Vec<_>>());
            if page["earlier"] != true {
                break;
            }
            before = messages[0]["seq"].clone();
        }
        self.notes.push(Note::Log { asked, copies: pages.into_iter().rev().flatten().collect() });
        self.notes
    }

    /// Logs in, and says how far the log has come.
    fn connect(&mut self, stage: &Stage, address: SocketAddr) -> io::Result<(Line, u64)> {
        let wire = Wire::open(TcpStream::connect(address)?, Arc::clone(&self.config))?;
        let mut line = Line { wire, decoder: Decoder::new(usize::MAX) };
        self.notes.push(Note::Connecting { at: stage.now() });
        let name = format!("Load{}", self.number);
        let mut login = json!({"action": "LOGIN", "protocol": 1, "username": name});
        if !self.epoch.is_empty() {
            login["epoch"] = json!(self.epoch);
            login["after"] = json!(self.reached);
        }
        line.send(&login)?;
        let welcome = loop {
            let object = value(&line.next()?);
            if object["status"] == "SUCCESS" {
                break object;
            }
        };
        let head = welcome["head"].as_u64().unwrap();
        if welcome["resumed"] != true {
            if !self.epoch.is_empty() {
                self.notes.push(Note::NotResumed);
            }
            self.reached = head;
        }
        welcome["user_id"].as_str().unwrap().clone_into(&mut self.user);
        welcome["epoch"].as_str().unwrap().clone_into(&mut self.epoch);
        Ok((line, head))
    }

    fn talk(&mut self, mut line: Line, stage: &Stage) -> io::Result<()> {
        // Some people give up.
        if !self.pending.is_empty() && self.dice.random_ratio(1, 4) {
            self.pending.pop_front();
        }
        for pending in &self.pending {
            line.send(&pending.object)?;
        }
        self.asked = Some(stage.now());
        line.send(&json!({"action": "HISTORY", "cid": "page"}))?;
        loop {
            let is_over = stage.state.lock().unwrap().is_over;
            if is_over && self.pending.is_empty() && self.asked.is_none() {
                return Ok(());
            }
            while !is_over && self.pending.len() < WINDOW {
                let pending = self.ask(stage);
                let sent = line.send(&pending.object);
                self.pending.push_back(pending);
                sent?;
            }
            let object = line.next()?;
            self.hear(stage, &object);
        }
    }

    /// The next request.
    fn ask(&mut self, stage: &Stage) -> Pending {
        let chance = self.dice.random_range(0..100);
        if chance < 8 && !self.own.is_empty() {
            let (id, token) = self.own.swap_remove(self.dice.random_range(0..self.own.len()));
            self.notes.push(Note::Removing { token });
            let cid = format!("d{token}");
            let object = json!({"action": "DELETE", "content": id, "cid": cid});
            return Pending { cid, object };
        }
        let to = (chance < 30).then(|| {
            let other = self.dice.random_range(1..stage.users.len());
            vec![(self.number + other) % stage.users.len()]
        });
        let is_temporary = chance >= 92;
        let (mut pending, token) = Self::say(stage, to.as_deref());
        if is_temporary {
            pending.object["action"] = json!("TEMPORARY");
            pending.object["seconds"] = json!(1);
        }
        self.notes.push(Note::Said { token, to, is_temporary });
        pending
    }

    fn say(stage: &Stage, to: Option<&[usize]>) -> (Pending, Token) {
        let token = stage.tokens.fetch_add(1, Ordering::SeqCst);
        let cid = format!("s{token}");
        let receiver = to.map_or_else(
            || vec!["all"],
            |to| to.iter().map(|other| stage.users[*other].get().unwrap().as_str()).collect(),
        );
        let object = json!({
            "action": "MESSAGE", "receiver": receiver, "content": format!("{MARK}{token}."), "cid": cid
        });
        (Pending { cid, object }, token)
    }

    fn hear(&mut self, stage: &Stage, bytes: &[u8]) {
        let tokens = tokens(bytes);
        if !tokens.is_empty() {
            self.notes.push(Note::Bytes(tokens));
        }
        let object = value(bytes);
        self.reached = self.reached.max(match object["action"].as_str() {
            Some("STORED") => 0,
            _ => object["seq"].as_u64().unwrap_or_default(),
        });
        match object["action"].as_str() {
            Some("MESSAGE" | "TEMPORARY") if copy(&object).is_some() => {
                let copy = copy(&object).expect("a token");
                let id = object["id"].as_str().unwrap();
                self.tokens.insert(id.to_owned(), copy.token);
                if object["sender"] == self.user.as_str() && copy.expires.is_none() {
                    self.own.push((id.to_owned(), copy.token));
                }
                self.notes.push(Note::Heard(copy));
            }
            Some("DELETE" | "OUTDATED") => {
                let token = self.tokens.remove(object["content"].as_str().unwrap());
                self.notes.push(Note::Gone { seq: object["seq"].as_u64().unwrap(), token });
            }
            Some("HISTORY") => {
                let messages = object["messages"].as_array().unwrap();
                // A message may be known by a page alone: removed before the stream came to it, of it
                // the stream has only the word that it is gone.
                for (message, copy) in messages.iter().filter_map(|m| Some((m, copy(m)?))) {
                    let id = message["id"].as_str().unwrap();
                    self.tokens.insert(id.to_owned(), copy.token);
                }
                let copies = messages.iter().filter_map(copy).collect();
                let asked = self.asked.take().expect("asked for");
                self.notes.push(Note::Page { asked, copies });
            }
            _ => {}
        }
        self.settle(stage, &object);
    }

    /// Takes an answer to one of its requests.
    fn settle(&mut self, stage: &Stage, object: &Value) {
        let is_own = object["sender"].is_null() || object["sender"] == self.user.as_str();
        let Some(cid) = object["cid"].as_str().filter(|_| is_own) else { return };
        let (removes, token) = match cid.split_at(1) {
            ("s", token) => (false, token.parse().unwrap()),
            ("d", token) => (true, token.parse().unwrap()),
            _ => return,
        };
        self.pending.retain(|pending| pending.cid != cid);
        if object["action"] == "ERROR" {
            // A removal that was done before the connection was lost; the stream brings it.
            assert_eq!(object["code"], "unknown_message", "{object}");
            assert!(removes, "{object}");
            return;
        }
        let seq = object["seq"].as_u64().unwrap();
        self.notes.push(if removes {
            Note::Removed { token, at: stage.now() }
        } else {
            Note::Stored { token, seq }
        });
        stage.change(|state| state.acknowledged += 1);
    }
}

fn value(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn copy(object: &Value) -> Option<Copy> {
    let token = tokens(object["content"].as_str()?.as_bytes()).pop()?;
    Some(Copy { seq: object["seq"].as_u64()?, token, expires: object["expires"].as_i64() })
}

/// Every token in these bytes.
pub(super) fn tokens(bytes: &[u8]) -> Vec<Token> {
    let text = String::from_utf8_lossy(bytes);
    let rests = text.split(MARK).skip(1);
    rests.map(|rest| rest.split('.').next().unwrap().parse().unwrap()).collect()
}
