//! Load clients: they send requests continuously, reconnect after every loss, and record everything.
//!
//! `checker` checks what they record. They implement the protocol themselves, so that no client code of
//! the program takes part in the test.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails on a panic"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::{fs, io};

use chat::protocol::decoder::Decoder;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio_rustls::rustls::ClientConfig;

use super::checker::{Annotation, Observation, ReceivedMessage, Recipients, Timestamp, Token};
use super::{ClientKey, TIMEOUT, TlsConnection, tls_config};

/// Maximum number of unanswered requests of one client.
const WINDOW: usize = 8;

/// The room that clients join, post to and leave.
const ROOM: &str = "#load";

/// The reactions of the clients. So few of them have the same one that a page names them all.
const EMOJI: [&str; 3] = ["👍", "🎉", "❤️"];

/// How many of the latest messages a client reacts to or pins.
const LATEST: usize = 16;

/// The text before each token in a message.
pub(super) const TOKEN_PREFIX: &str = "token-";

/// State shared by all clients: the server address, the clock, and whether to continue.
pub(crate) struct LoadCoordinator {
    state: Mutex<CoordinatorState>,
    changed: Condvar,
    ticks: AtomicU64,
    tokens: AtomicU64,
    /// The clients' user IDs, by client number.
    users: Vec<OnceLock<String>>,
}

#[derive(Default)]
struct CoordinatorState {
    /// The server address, and how often the server was started.
    server: Option<(SocketAddr, u64)>,
    acknowledged: usize,
    is_finished: bool,
}

impl LoadCoordinator {
    pub(crate) fn new(clients: usize) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            ticks: AtomicU64::new(1),
            tokens: AtomicU64::new(1),
            users: (0..clients).map(|_| OnceLock::new()).collect(),
        }
    }

    /// Announces a started server.
    pub(crate) fn set_server_address(&self, address: SocketAddr) {
        self.change(|state| {
            let starts = state.server.map_or(0, |(_, starts)| starts);
            state.server = Some((address, starts + 1));
        });
    }

    /// Stops new requests; the clients still wait for pending ones.
    pub(crate) fn finish(&self) {
        self.change(|state| state.is_finished = true);
    }

    /// Waits until `more` further requests are acknowledged.
    pub(crate) fn wait_for_acknowledgements(&self, more: usize) {
        let goal = self.state.lock().unwrap().acknowledged + more;
        self.wait(|state| (state.acknowledged >= goal).then_some(()));
    }

    /// Waits until the server was started more than `starts` times; returns its address and the count.
    fn wait_for_server(&self, starts: u64) -> (SocketAddr, u64) {
        self.wait(|state| state.server.filter(|(_, found)| *found > starts))
    }

    /// The client with a user ID.
    fn client(&self, user: &Value) -> usize {
        let is_same = |id: &OnceLock<String>| id.get().is_some_and(|id| user == id.as_str());
        self.users.iter().position(is_same).unwrap()
    }

    /// The annotations of a message in a page.
    fn annotations(&self, message: &Value) -> Vec<(Token, Annotation)> {
        let Some(ReceivedMessage { token, .. }) = received_message(message) else { return vec![] };
        let reactions = message["reactions"].as_array().into_iter().flatten();
        let users = reactions.flat_map(|reaction| reaction["users"].as_array().unwrap());
        let reactions = users.map(|user| Annotation::Reaction { client: self.client(user) });
        let pin = (message["pinned"] == true).then_some(Annotation::Pin);
        reactions.chain(pin).map(|annotation| (token, annotation)).collect()
    }

    fn change(&self, change: impl FnOnce(&mut CoordinatorState)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    fn wait<T>(&self, mut condition: impl FnMut(&CoordinatorState) -> Option<T>) -> T {
        let mut state = self.state.lock().unwrap();
        loop {
            if let Some(found) = condition(&state) {
                return found;
            }
            let (next, waited) = self.changed.wait_timeout(state, TIMEOUT).unwrap();
            assert!(!waited.timed_out(), "no progress");
            state = next;
        }
    }

    #[expect(clippy::disallowed_methods, reason = "messages expire by the real clock")]
    fn now(&self) -> Timestamp {
        let tick = self.ticks.fetch_add(1, Ordering::SeqCst);
        Timestamp { tick, wall_ms: chrono::Utc::now().timestamp_millis() }
    }
}

/// A request without a reply.
struct PendingRequest {
    cid: String,
    object: Value,
}

/// A client with its pending requests and observations.
pub(crate) struct LoadClient {
    number: usize,
    config: Arc<ClientConfig>,
    rng: StdRng,
    user: String,
    epoch: String,
    last_seq: u64,
    pending: VecDeque<PendingRequest>,
    tokens: BTreeMap<String, Token>,
    /// Acknowledged messages of its own that it may delete or edit.
    own: Vec<(String, Token)>,
    /// The latest messages in its stream: the id, the token, and whether it is a direct message.
    latest: VecDeque<(String, Token, bool)>,
    /// Whether it is a member of the room, as far as its stream has told.
    is_member: bool,
    page_requested_at: Option<Timestamp>,
    observations: Vec<Observation>,
}

/// One connection of a client.
struct LoadConnection {
    tls: TlsConnection,
    decoder: Decoder,
}

impl LoadConnection {
    fn send(&mut self, object: &Value) -> io::Result<()> {
        self.tls.try_send(object.to_string().as_bytes())
    }

    fn next(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(object) = self.decoder.next_object() {
                return Ok(object.unwrap().to_vec());
            }
            let bytes = self.tls.try_recv()?;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.decoder.buffer().extend_from_slice(&bytes);
        }
    }
}

impl LoadClient {
    /// Connects and registers with a first message.
    pub(crate) fn join(number: usize, certificate: &Path, coordinator: &LoadCoordinator) -> Self {
        let mut client = Self {
            number,
            config: tls_config(certificate, Some(&ClientKey::new())),
            rng: StdRng::seed_from_u64(number as u64),
            user: String::new(),
            epoch: String::new(),
            last_seq: 0,
            pending: VecDeque::new(),
            tokens: BTreeMap::new(),
            own: Vec::new(),
            latest: VecDeque::new(),
            is_member: false,
            page_requested_at: None,
            observations: Vec::new(),
        };
        let mut connection = client
            .connect(coordinator, coordinator.wait_for_server(0).0)
            .expect("a running server")
            .0;
        connection
            .send(&json!({
                "action": "MESSAGE", "receiver": ["all"], "content": "hello", "cid": "hello"
            }))
            .unwrap();
        while parse_json(&connection.next().unwrap())["cid"] != "hello" {}
        if number == 0 {
            let create = json!({"action": "ROOM", "room": ROOM, "do": "create", "cid": "room"});
            connection.send(&create).unwrap();
            while parse_json(&connection.next().unwrap())["cid"] != "room" {}
        }
        coordinator.users[number].set(client.user.clone()).unwrap();
        client
    }

    /// Sends requests until the run is finished and everything is acknowledged.
    pub(crate) fn run(&mut self, coordinator: &LoadCoordinator) {
        let mut starts = 0;
        loop {
            let (address, found) = coordinator.wait_for_server(starts);
            let result = self
                .connect(coordinator, address)
                .and_then(|(connection, _)| self.exchange(connection, coordinator));
            if result.is_ok() {
                return;
            }
            starts = found;
        }
    }

    /// Reads all missed events and then the complete history; returns the observations.
    pub(crate) fn finish(mut self, coordinator: &LoadCoordinator) -> Vec<Observation> {
        let (mut connection, head) =
            self.connect(coordinator, coordinator.wait_for_server(0).0).unwrap();
        while self.last_seq < head {
            let object = connection.next().unwrap();
            self.receive(coordinator, &object);
        }
        let requested_at = coordinator.now();
        let mut pages = Vec::new();
        let mut annotations = BTreeSet::new();
        let mut before = Value::Null;
        loop {
            let mut object = json!({"action": "HISTORY", "cid": "log"});
            if !before.is_null() {
                object["before"] = before;
            }
            connection.send(&object).unwrap();
            let page = loop {
                let bytes = connection.next().unwrap();
                let object = parse_json(&bytes);
                if object["action"] == "HISTORY" {
                    self.observations.push(Observation::RawTokens(find_tokens(&bytes)));
                    break object;
                }
            };
            let messages = page["messages"].as_array().unwrap();
            pages.push(messages.iter().filter_map(received_message).collect::<Vec<_>>());
            annotations.extend(messages.iter().flat_map(|found| coordinator.annotations(found)));
            if page["earlier"] != true {
                break;
            }
            before = messages[0]["seq"].clone();
        }
        self.observations.push(Observation::FullHistory {
            requested_at,
            messages: pages.into_iter().rev().flatten().collect(),
        });
        self.observations.push(Observation::FinalAnnotations(annotations));
        self.observations
    }

    /// Logs in; returns the connection and the log's head.
    fn connect(
        &mut self,
        coordinator: &LoadCoordinator,
        address: SocketAddr,
    ) -> io::Result<(LoadConnection, u64)> {
        let tls =
            TlsConnection::try_handshake(TcpStream::connect(address)?, Arc::clone(&self.config))?;
        let mut connection = LoadConnection { tls, decoder: Decoder::new(usize::MAX) };
        self.observations.push(Observation::Connecting { at: coordinator.now() });
        let name = format!("Load{}", self.number);
        let mut login = json!({"action": "LOGIN", "protocol": 1, "username": name});
        if !self.epoch.is_empty() {
            login["epoch"] = json!(self.epoch);
            login["after"] = json!(self.last_seq);
        }
        connection.send(&login)?;
        let welcome = loop {
            let object = parse_json(&connection.next()?);
            if object["status"] == "SUCCESS" {
                break object;
            }
        };
        let head = welcome["head"].as_u64().unwrap();
        if welcome["resumed"] != true {
            if !self.epoch.is_empty() {
                self.observations.push(Observation::NotResumed);
            }
            self.last_seq = head;
        }
        welcome["user_id"].as_str().unwrap().clone_into(&mut self.user);
        welcome["epoch"].as_str().unwrap().clone_into(&mut self.epoch);
        Ok((connection, head))
    }

    fn exchange(
        &mut self,
        mut connection: LoadConnection,
        coordinator: &LoadCoordinator,
    ) -> io::Result<()> {
        // Some users give up on a pending request.
        if !self.pending.is_empty() && self.rng.random_ratio(1, 4) {
            self.pending.pop_front();
        }
        for pending in &self.pending {
            connection.send(&pending.object)?;
        }
        self.page_requested_at = Some(coordinator.now());
        connection.send(&json!({"action": "HISTORY", "cid": "page"}))?;
        // The first moves nothing: its reply tells where the marker is.
        for seq in [0, self.last_seq] {
            let read = json!({"action": "READ", "receiver": ["all"], "seq": seq, "cid": "read"});
            connection.send(&read)?;
        }
        loop {
            let is_finished = coordinator.state.lock().unwrap().is_finished;
            if is_finished && self.pending.is_empty() && self.page_requested_at.is_none() {
                return Ok(());
            }
            while !is_finished && self.pending.len() < WINDOW {
                let pending = self.next_request(coordinator);
                let sent = connection.send(&pending.object);
                self.pending.push_back(pending);
                sent?;
            }
            let object = connection.next()?;
            self.receive(coordinator, &object);
        }
    }

    /// Makes the next request.
    fn next_request(&mut self, coordinator: &LoadCoordinator) -> PendingRequest {
        let chance = self.rng.random_range(0..100);
        if chance < 8 && !self.own.is_empty() {
            let (id, token) = self.own.swap_remove(self.rng.random_range(0..self.own.len()));
            self.observations.push(Observation::DeleteRequested { token });
            let cid = format!("d{token}");
            let object = json!({"action": "DELETE", "content": id, "cid": cid});
            return PendingRequest { cid, object };
        }
        if chance < 18 && !self.own.is_empty() {
            return self.edit_request(coordinator);
        }
        if chance < 21 && !self.pending.iter().any(|pending| pending.cid.starts_with('r')) {
            return self.membership_request(coordinator);
        }
        if (21..36).contains(&chance)
            && let Some(pending) = self.annotation_request(coordinator)
        {
            return pending;
        }
        let recipients = match chance {
            0..50 => {
                let other = self.rng.random_range(1..coordinator.users.len());
                Recipients::Users(vec![(self.number + other) % coordinator.users.len()])
            }
            50..65 if self.is_member => Recipients::Room,
            _ => Recipients::Everyone,
        };
        let is_temporary = chance >= 92;
        let (mut pending, token) = Self::post_request(coordinator, &recipients);
        if is_temporary {
            pending.object["action"] = json!("TEMPORARY");
            pending.object["seconds"] = json!(1);
        }
        self.observations.push(Observation::Posted { token, recipients, is_temporary });
        pending
    }

    /// Edits a message of its own, also one whose earlier edit is pending.
    fn edit_request(&mut self, coordinator: &LoadCoordinator) -> PendingRequest {
        let (id, text) = self.own[self.rng.random_range(0..self.own.len())].clone();
        let token = coordinator.tokens.fetch_add(1, Ordering::SeqCst);
        self.observations.push(Observation::EditRequested { text, token });
        let (cid, text) = (format!("e{token}"), format!("{TOKEN_PREFIX}{token}."));
        let object = json!({"action": "EDIT", "content": id, "text": text, "cid": cid});
        PendingRequest { cid, object }
    }

    /// Adds or removes a reaction or a pin, unless an earlier request about it is pending.
    fn annotation_request(&mut self, coordinator: &LoadCoordinator) -> Option<PendingRequest> {
        let index = self.rng.random_range(0..LATEST);
        let (id, text, is_direct) = self.latest.get(index)?.clone();
        let is_pin = is_direct && self.rng.random();
        let action = if is_pin { "PIN" } else { "REACT" };
        let is_same = |object: &Value| object["action"] == action && object["content"] == id;
        if self.pending.iter().any(|pending| is_same(&pending.object)) {
            return None;
        }
        let token = coordinator.tokens.fetch_add(1, Ordering::SeqCst);
        let (cid, on) = (format!("a{token}"), self.rng.random());
        let mut object = json!({"action": action, "content": id, "on": on, "cid": cid});
        let mut annotation = Annotation::Pin;
        if !is_pin {
            object["emoji"] = json!(EMOJI[self.number % EMOJI.len()]);
            annotation = Annotation::Reaction { client: self.number };
        }
        self.observations.push(Observation::AnnotationRequested { text, annotation, on, token });
        Some(PendingRequest { cid, object })
    }

    /// Leaves the room, or joins it.
    fn membership_request(&mut self, coordinator: &LoadCoordinator) -> PendingRequest {
        let change = if self.is_member {
            "leave"
        } else {
            self.observations.push(Observation::JoinRequested);
            "join"
        };
        let cid = format!("r{}", coordinator.tokens.fetch_add(1, Ordering::SeqCst));
        let object = json!({"action": "ROOM", "room": ROOM, "do": change, "cid": cid});
        PendingRequest { cid, object }
    }

    fn post_request(
        coordinator: &LoadCoordinator,
        recipients: &Recipients,
    ) -> (PendingRequest, Token) {
        let token = coordinator.tokens.fetch_add(1, Ordering::SeqCst);
        let cid = format!("s{token}");
        let user = |other: &usize| coordinator.users[*other].get().unwrap().as_str();
        let receiver = match recipients {
            Recipients::Everyone => vec!["all"],
            Recipients::Room => vec![ROOM],
            Recipients::Users(users) => users.iter().map(user).collect(),
        };
        let object = json!({
            "action": "MESSAGE", "receiver": receiver, "content": format!("{TOKEN_PREFIX}{token}."), "cid": cid
        });
        (PendingRequest { cid, object }, token)
    }

    fn receive(&mut self, coordinator: &LoadCoordinator, bytes: &[u8]) {
        let tokens = find_tokens(bytes);
        if !tokens.is_empty() {
            self.observations.push(Observation::RawTokens(tokens));
        }
        let object = parse_json(bytes);
        self.last_seq = self.last_seq.max(match object["action"].as_str() {
            Some("STORED" | "READ") => 0,
            _ => object["seq"].as_u64().unwrap_or_default(),
        });
        match object["action"].as_str() {
            Some("MESSAGE" | "TEMPORARY") if received_message(&object).is_some() => {
                let copy = received_message(&object).expect("a token");
                let id = object["id"].as_str().unwrap();
                self.tokens.insert(id.to_owned(), copy.token);
                if copy.expires.is_none() {
                    self.remember_lasting(&object, copy.token);
                }
                self.observations.push(Observation::Received(copy));
            }
            Some("REACT" | "PIN") => {
                let seq = object["seq"].as_u64().unwrap();
                let token = object["cid"].as_str().unwrap().split_at(1).1.parse().unwrap();
                self.observations.push(Observation::Annotated { seq, token });
            }
            Some("EDIT") => {
                let text = find_tokens(object["text"].as_str().unwrap().as_bytes())[0];
                self.tokens.insert(object["content"].as_str().unwrap().to_owned(), text);
                let token = object["cid"].as_str().unwrap().split_at(1).1.parse().unwrap();
                let seq = object["seq"].as_u64().unwrap();
                self.observations.push(Observation::Edited { seq, token, text });
            }
            Some("READ") => {
                self.observations.push(Observation::ReadMarker(object["seq"].as_u64().unwrap()));
            }
            Some("ROOM") => self.receive_membership(coordinator, &object),
            Some("DELETE" | "OUTDATED") => {
                let token = self.tokens.remove(object["content"].as_str().unwrap());
                self.observations
                    .push(Observation::Tombstone { seq: object["seq"].as_u64().unwrap(), token });
            }
            Some("HISTORY") => {
                let messages = object["messages"].as_array().unwrap();
                // A message may be known from a page only: if it was removed before the stream
                // reached it, the stream has only its removal.
                for (message, copy) in
                    messages.iter().filter_map(|m| Some((m, received_message(m)?)))
                {
                    let id = message["id"].as_str().unwrap();
                    self.tokens.insert(id.to_owned(), copy.token);
                }
                let messages = messages.iter().filter_map(received_message).collect();
                let requested_at = self.page_requested_at.take().expect("no page was requested");
                self.observations.push(Observation::HistoryPage { requested_at, messages });
            }
            _ => {}
        }
        self.handle_reply(coordinator, &object);
    }

    /// Remembers a message that it may change.
    fn remember_lasting(&mut self, object: &Value, token: Token) {
        let (id, receiver) = (object["id"].as_str().unwrap(), &object["receiver"][0]);
        // Who has left a room cannot change what was said there.
        if object["sender"] == self.user.as_str() && receiver != ROOM {
            self.own.push((id.to_owned(), token));
        }
        let is_direct = receiver != "all" && receiver != ROOM;
        self.latest.push_front((id.to_owned(), token, is_direct));
        self.latest.truncate(LATEST);
    }

    fn receive_membership(&mut self, coordinator: &LoadCoordinator, object: &Value) {
        let client = coordinator.client(&object["sender"]);
        let is_member = object["do"] != "leave";
        if client == self.number {
            self.is_member = is_member;
        }
        let seq = object["seq"].as_u64().unwrap();
        self.observations.push(Observation::MembershipChanged { seq, client, is_member });
    }

    /// Handles a reply to one of its requests.
    fn handle_reply(&mut self, coordinator: &LoadCoordinator, object: &Value) {
        let is_own = object["sender"].is_null() || object["sender"] == self.user.as_str();
        let Some(cid) = object["cid"].as_str().filter(|_| is_own) else { return };
        let (kind, token) = cid.split_at(1);
        let Ok(token) = token.parse() else { return };
        self.pending.retain(|pending| pending.cid != cid);
        if object["action"] == "ERROR" {
            match (kind, object["code"].as_str()) {
                // The deletion was done before the connection was lost; the stream delivers it. Or somebody has
                // deleted the message; if the log had lost it, its author would miss it. Or it was not known
                // yet that the client has left.
                ("d" | "a", Some("unknown_message"))
                | ("s" | "r" | "a", Some("not_a_member"))
                | ("a", Some("limit_reached")) => {}
                // The log has lost the message or the room, and another message may have the id.
                ("d" | "e", Some("not_yours" | "unknown_message" | "not_editable"))
                | ("s" | "r", Some("no_such_room")) => {
                    self.observations.push(Observation::Disowned { token });
                }
                _ => panic!("{object}"),
            }
            return;
        }
        if kind == "r" {
            return;
        }
        let (seq, at) = (object["seq"].as_u64().unwrap(), coordinator.now());
        self.observations.push(match kind {
            "d" => Observation::DeleteAcknowledged { token, at },
            "e" => Observation::EditAcknowledged { token, seq, at },
            "a" => Observation::AnnotationAcknowledged { token, seq },
            _ => Observation::Acknowledged { token, seq },
        });
        coordinator.change(|state| state.acknowledged += 1);
    }
}

fn parse_json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn received_message(object: &Value) -> Option<ReceivedMessage> {
    let token = find_tokens(object["content"].as_str()?.as_bytes()).pop()?;
    Some(ReceivedMessage {
        seq: object["seq"].as_u64()?,
        token,
        expires: object["expires"].as_i64(),
    })
}

/// All tokens in the log's files.
pub(crate) fn tokens_in_files(folder: &Path) -> BTreeSet<Token> {
    let mut found = BTreeSet::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.file_name().unwrap().as_encoded_bytes().starts_with(b"log.db") {
            let bytes = fs::read(path).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            let rests = text.split(TOKEN_PREFIX).skip(1);
            found.extend(rests.filter_map(|rest| rest.split_once('.')?.0.parse::<Token>().ok()));
        }
    }
    found
}

/// All tokens in `bytes`.
pub(super) fn find_tokens(bytes: &[u8]) -> Vec<Token> {
    let text = String::from_utf8_lossy(bytes);
    let rests = text.split(TOKEN_PREFIX).skip(1);
    rests.map(|rest| rest.split('.').next().unwrap().parse().unwrap()).collect()
}
