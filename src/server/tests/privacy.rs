//! Privacy of conversations on every path: live events, catch-up, history, search and lists.
//!
//! In random histories, each text has a unique token. No user may ever receive a token of a conversation that
//! the user is not in, nor one of text that was removed or edited away.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::store::sqlite::SqliteStore;

/// Three users with a key, a guest, and a guest with the original client.
const USERS: [&str; 5] = ["Ann", "Bob", "Cid", "Guest", "Tom"];
const GUEST: usize = 3;
const ORIGINAL: usize = 4;
/// A public and a private room.
const ROOMS: [&str; 2] = ["#pub", "#ops"];
const PRIVATE: usize = 1;
const TEMPORARY_SECONDS: u64 = 2;

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
    /// Posts to a room.
    Say {
        author: usize,
        room: usize,
    },
    Delete {
        author: usize,
        target: usize,
    },
    /// Edits a message, or reacts to it.
    Change {
        author: usize,
        target: usize,
        kind: u32,
    },
    /// Creates a room or changes its members.
    Room {
        by: usize,
        room: usize,
        kind: u32,
        user: usize,
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
        8 => (user(), 0..ROOMS.len()).prop_map(|(author, room)| Step::Say { author, room }),
        8 => (user(), 0..ROOMS.len(), 0..6_u32, user())
            .prop_map(|(by, room, kind, user)| Step::Room { by, room, kind, user }),
        3 => (user(), 0..12_usize).prop_map(|(author, target)| Step::Delete { author, target }),
        6 => (user(), 0..12_usize, 0..3_u32)
            .prop_map(|(author, target, kind)| Step::Change { author, target, kind }),
        6 => (user(), 0..11_u32, 0..12_usize)
            .prop_map(|(author, kind, target)| Step::Query { author, kind, target }),
        1 => user().prop_map(Step::Flood),
        2 => (0..3_000_u64).prop_map(Step::Wait),
    ]
}

/// A user's connection, with the objects received on it.
struct TestSession {
    client: TestClient,
    user: String,
    /// Requests that the connection has not taken yet.
    unsent: Vec<u8>,
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

    /// Sends what the connection takes within a second.
    async fn send(&mut self, object: &Value) {
        self.unsent.extend_from_slice(object.to_string().as_bytes());
        let sending = async {
            while let Ok(count) = self.client.io.write(&self.unsent).await
                && count > 0
            {
                self.unsent.drain(..count);
            }
        };
        drop(tokio::time::timeout(Duration::from_secs(1), sending).await);
    }

    /// Sends the rest of its requests, and receives until the last one is answered, unless the server
    /// closes the connection.
    async fn finish(&mut self, last: &Value) {
        let content = &last["content"];
        self.unsent.extend_from_slice(last.to_string().as_bytes());
        let is_answered = |session: &Self| {
            let is_own = |object: &Value| object["sender"] == session.user.as_str();
            session.received.iter().any(|object| is_own(object) && object["content"] == *content)
        };
        while !is_answered(self) {
            let Self { client: TestClient { io, decoder }, unsent, .. } = self;
            if let Some(object) = decoder.next_object() {
                self.received.push(serde_json::from_slice(&object.unwrap()).unwrap());
                continue;
            }
            let (mut reader, mut writer) = tokio::io::split(io);
            tokio::select! {
                received = reader.read_buf(decoder.buffer()) => {
                    if received.unwrap() == 0 {
                        return;
                    }
                }
                Ok(count) = writer.write(unsent), if !unsent.is_empty() => {
                    unsent.drain(..count);
                }
            }
        }
    }

    /// Receives until these objects have come.
    async fn receive_until(&mut self, mut awaited: Vec<fn(&Value) -> bool>) {
        while !awaited.is_empty() {
            let object = self.client.next().await.expect("connection closed");
            awaited.retain(|is_awaited| !is_awaited(&object));
            self.received.push(object);
        }
    }
}

/// A message, as its author received it.
#[derive(Clone)]
struct PostedMessage {
    id: String,
    audience: Readers,
    removed: bool,
}

/// Who a text is for.
#[derive(Debug, Clone)]
enum Readers {
    Everyone,
    Users(BTreeSet<String>),
    /// Some of a room's members, see [`RoomLog`].
    Room(usize),
}

impl Readers {
    fn include(&self, user: &str) -> bool {
        match self {
            Self::Everyone => true,
            Self::Users(users) => users.contains(user),
            Self::Room(_) => false,
        }
    }
}

struct Membership {
    user: String,
    /// The event that began it.
    joined: u64,
    /// The first message that the user sees.
    first: u64,
    /// The event that ended it.
    end: u64,
}

/// What happened in a room, as its owner was told.
#[derive(Default)]
struct RoomLog {
    members: Vec<Membership>,
    /// The message of each text, and the event that it came with.
    texts: BTreeMap<String, (u64, u64)>,
    messages: BTreeMap<String, u64>,
}

impl RoomLog {
    fn record(&mut self, is_private: bool, object: &Value) {
        let cid = object["cid"].as_str().unwrap_or_default();
        let seq = object["seq"].as_u64().unwrap_or_default();
        match object["action"].as_str().unwrap() {
            "ROOM" => {
                let sender = json!([object["sender"]]);
                let users =
                    object["users"].as_array().unwrap_or_else(|| sender.as_array().unwrap());
                for user in users.iter().map(|user| user.as_str().unwrap()) {
                    self.change_member(
                        is_private,
                        user,
                        object["do"].as_str().unwrap(),
                        cid,
                        object,
                    );
                }
            }
            "EDIT" => {
                let message = self.messages[object["content"].as_str().unwrap()];
                self.texts.insert(cid.to_owned(), (message, seq));
            }
            "MESSAGE" | "REPLY" | "TEMPORARY" => {
                self.texts.insert(cid.to_owned(), (seq, seq));
                self.messages.insert(object["id"].as_str().unwrap().to_owned(), seq);
            }
            _ => {}
        }
    }

    fn change_member(
        &mut self,
        is_private: bool,
        user: &str,
        change: &str,
        cid: &str,
        object: &Value,
    ) {
        let seq = object["seq"].as_u64().unwrap();
        match change {
            "join" => self.begin(user, seq, 0),
            "add" => {
                let by = object["sender"].as_str().unwrap();
                let adder = self.members.iter().rfind(|member| member.user == by);
                let first = match adder {
                    _ if !is_private => 0,
                    Some(adder) if cid.starts_with("all") => adder.first,
                    None if cid.starts_with("all") => 0,
                    _ => seq,
                };
                self.begin(user, seq, first);
            }
            "leave" | "remove" => {
                self.members.iter_mut().rfind(|member| member.user == user).unwrap().end = seq;
            }
            _ => {}
        }
    }

    fn begin(&mut self, user: &str, joined: u64, first: u64) {
        self.members.push(Membership { user: user.to_owned(), joined, first, end: u64::MAX });
    }

    fn sees(&self, user: &str, message: u64, event: u64) -> bool {
        let mut own = self.members.iter().filter(|member| member.user == user);
        own.any(|member| member.first <= message && event < member.end)
    }

    /// Whether the user is a member and was one when the text came.
    fn was_told(&self, user: &str, token: &str) -> bool {
        let Some((_, event)) = self.texts.get(token) else { return false };
        let mut own = self.members.iter().filter(|member| member.user == user);
        own.any(|member| member.joined <= *event && member.end == u64::MAX)
    }

    fn sees_text(&self, user: &str, token: &str) -> bool {
        self.texts.get(token).is_some_and(|(message, event)| self.sees(user, *message, *event))
    }
}

struct Model {
    harness: ServerHarness,
    sessions: BTreeMap<usize, TestSession>,
    /// The last ID of each user.
    user_ids: BTreeMap<usize, String>,
    /// Everything each ID has received.
    received: BTreeMap<String, String>,
    /// The audience of each token.
    audience: BTreeMap<String, Readers>,
    /// The owner of the rooms. Not one of the users.
    owner: Option<TestClient>,
    rooms: [RoomLog; ROOMS.len()],
    /// The last edit of each message.
    edits: BTreeMap<String, (u64, String)>,
    /// The messages that were removed.
    gone: BTreeSet<String>,
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
            owner: None,
            rooms: Default::default(),
            edits: BTreeMap::new(),
            gone: BTreeSet::new(),
            posted: BTreeMap::new(),
            count: 0,
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Join { user, resume, slow } => self.join(user, resume, slow).await,
            Step::Leave(user) => self.leave(user).await,
            Step::Post { author, to, kind, target } => self.post(author, &to, kind, target).await,
            Step::Say { author, room } => self.say(author, room).await,
            Step::Change { author, target, kind } => self.change(author, target, kind).await,
            Step::Room { by, room, kind, user } => self.change_room(by, room, kind, user).await,
            Step::Delete { author, target } => {
                let (id, cid) = (self.message_id(target), self.next_cid("d"));
                self.send(author, &json!({"action": "DELETE", "content": id, "cid": cid})).await;
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
        self.receive_as_owner().await;
    }

    fn next_cid(&mut self, prefix: &str) -> String {
        self.count += 1;
        format!("{prefix}{}", self.count)
    }

    /// A unique text for these readers.
    fn new_token(&mut self, readers: Readers) -> String {
        let token = self.next_cid("token") + "z";
        self.audience.insert(token.clone(), readers);
        token
    }

    async fn create_rooms(&mut self) {
        let owner = self.harness.connect_with_key(1 << 20, Some([9; 32]));
        let mut owner = ServerHarness::log_in(owner, "Owner").await;
        for (number, room) in ROOMS.iter().enumerate() {
            let private = number == PRIVATE;
            owner
                .send(&json!({"action": "ROOM", "room": room, "do": "create", "private": private}))
                .await;
            owner.wait_for("action", "ROOM").await;
        }
        self.owner = Some(owner);
    }

    async fn say(&mut self, author: usize, room: usize) {
        let token = self.new_token(Readers::Room(room));
        let object = json!({"action": "MESSAGE", "receiver": [ROOMS[room]],
            "content": format!("psst {}", word(&token)), "cid": token});
        self.send(author, &object).await;
    }

    async fn change(&mut self, author: usize, target: usize, kind: u32) {
        let Some(message) = self.posted.values().nth(target).cloned() else { return };
        if kind == 0 {
            let cid = self.next_cid("r");
            let react =
                json!({"action": "REACT", "content": message.id, "emoji": "👍", "cid": cid});
            return self.send(author, &react).await;
        }
        let token = self.new_token(message.audience);
        let edit = json!({"action": "EDIT", "content": message.id,
            "text": format!("psst {}", word(&token)), "cid": token});
        self.send(author, &edit).await;
    }

    async fn change_room(&mut self, by: usize, room: usize, kind: u32, user: usize) {
        let history = if kind == 3 { "all" } else { "now" };
        let (room, cid) = (ROOMS[room], self.next_cid(history));
        let Some(user) = self.user_ids.get(&user).cloned() else { return };
        let change = ["join", "leave", "add", "add", "remove", "add"][kind as usize];
        let object = json!({"action": "ROOM", "room": room, "do": change, "users": [user],
            "history": history, "cid": cid});
        match (kind, &mut self.owner) {
            (0..4, _) => self.send(by, &object).await,
            (_, Some(owner)) => owner.send(&object).await,
            (_, None) => {}
        }
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
        let (unsent, received) = (Vec::new(), Vec::new());
        self.sessions.insert(user, TestSession { client, user: id, unsent, received, slow });
    }

    async fn leave(&mut self, user: usize) {
        let Some(mut session) = self.sessions.remove(&user) else { return };
        session.receive().await;
        self.record(&session.user, session.received);
    }

    async fn send(&mut self, author: usize, object: &Value) {
        // A session that receives nothing for too long was closed.
        let Some(session) = self.sessions.get_mut(&author) else { return };
        session.send(object).await;
    }

    /// Waits until everything that was requested is answered and all temporary messages have expired.
    async fn settle(&mut self) {
        for session in self.sessions.values_mut() {
            let last = json!({"action": "MESSAGE", "receiver": ["all"], "content": "bye"});
            session.finish(&last).await;
        }
        tokio::time::sleep(Duration::from_secs(TEMPORARY_SECONDS + 1)).await;
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
        let token = self.new_token(Readers::Everyone);
        let mut audience: BTreeSet<_> =
            to.iter().filter_map(|user| self.user_ids.get(user).cloned()).collect();
        let receiver = if audience.is_empty() {
            json!(["all"])
        } else {
            json!(audience.iter().collect::<Vec<_>>())
        };
        let mut object = json!({"action": "MESSAGE", "receiver": receiver, "private": !audience.is_empty(),
            "content": format!("psst {}", word(&token)), "cid": token});
        let mut in_room = None;
        match kind {
            0 | 1 => {}
            2 => {
                object["action"] = json!("TEMPORARY");
                object["seconds"] = json!(TEMPORARY_SECONDS);
            }
            _ => {
                let id = self.message_id(target);
                // The server sends a reply to the audience of the original.
                match self.posted.values().find(|message| message.id == id) {
                    Some(PostedMessage { audience: Readers::Users(users), .. })
                        if audience.is_empty() =>
                    {
                        audience.clone_from(users);
                    }
                    Some(PostedMessage { audience: Readers::Room(room), .. }) => {
                        in_room = Some(*room);
                    }
                    _ => {}
                }
                object["action"] = json!("REPLY");
                object["optional"] = json!(id);
            }
        }
        let readers = match in_room {
            Some(room) => Readers::Room(room),
            None if audience.is_empty() => Readers::Everyone,
            None => {
                audience.insert(author_id);
                Readers::Users(audience)
            }
        };
        self.audience.insert(token, readers);
        self.send(author, &object).await;
    }

    async fn query(&mut self, author: usize, kind: u32, target: usize) {
        let id = self.message_id(target);
        let query = match kind {
            0 => json!({"action": "HISTORY", "cid": "h"}),
            1 => json!({"action": "HISTORY", "around": id, "cid": "h"}),
            2 => json!({"action": "SEARCH", "content": "psst", "cid": "s"}),
            3 => json!({"action": "SEARCH", "content": ".", "from": "Ann", "cid": "s"}),
            4 => json!({"action": "HISTORY", "receiver": ["#pub"], "cid": "h"}),
            5 => json!({"action": "HISTORY", "receiver": ["#ops"], "after": 0, "cid": "h"}),
            6 => json!({"action": "SEARCH", "receiver": ["#ops"], "content": "psst", "cid": "s"}),
            7 => json!({"action": "HISTORY", "thread": id, "cid": "h"}),
            8 => json!({"action": "CONVERSATIONS", "cid": "c"}),
            9 => json!({"action": "USERS", "room": "#ops", "cid": "u"}),
            _ => {
                json!({"action": "SEARCH", "content": "word", "to": self.user_ids.get(&0), "cid": "s"})
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

    /// Takes down what the owner of the rooms is told.
    async fn receive_as_owner(&mut self) {
        let Some(owner) = &mut self.owner else { return };
        let pause = Duration::from_millis(20);
        while let Ok(Some(object)) = tokio::time::timeout(pause, owner.next()).await {
            let room = object["receiver"][0].as_str().or_else(|| object["room"].as_str());
            let room = ROOMS.iter().position(|name| Some(*name) == room);
            if let Some(number) = room.filter(|_| object["seq"].is_u64()) {
                self.rooms[number].record(number == PRIVATE, &object);
            }
        }
        owner.send(&json!({"action": "PING"})).await;
    }

    /// Records what a user received.
    fn record(&mut self, user: &str, objects: Vec<Value>) {
        for object in objects {
            let token = object["cid"].as_str().filter(|cid| cid.starts_with("token"));
            if let (Some(token), "EDIT") = (token, object["action"].as_str().unwrap_or_default()) {
                let id = object["content"].as_str().unwrap().to_owned();
                for message in self.posted.values_mut().filter(|message| message.id == id) {
                    message.removed = true;
                }
                let audience = self.audience[token].clone();
                // A user who is told of it late may be told of its removal earlier.
                let seq = object["seq"].as_u64().unwrap();
                let latest = self.edits.entry(id.clone()).or_insert((0, String::new()));
                if latest.0 < seq {
                    *latest = (seq, token.to_owned());
                }
                let removed = latest.1 != token || self.gone.contains(&id);
                self.posted.insert(token.to_owned(), PostedMessage { id, audience, removed });
            } else if let (Some(token), Some(id)) = (token, object["id"].as_str())
                && object["sender"] == user
            {
                let audience = self.audience[token].clone();
                // Temporary messages have expired at the end of the test.
                let removed = object["action"] == "TEMPORARY"
                    || self.edits.contains_key(id)
                    || self.gone.contains(id);
                let message = PostedMessage { id: id.to_owned(), audience, removed };
                self.posted.insert(token.to_owned(), message);
            }
            // An original client gets a DELETE for an edit, too.
            let is_removal = object["action"] == "DELETE" || object["action"] == "OUTDATED";
            if is_removal && object["seq"].is_u64() {
                let id = object["content"].as_str().unwrap();
                self.gone.insert(id.to_owned());
                for message in self.posted.values_mut().filter(|message| message.id == id) {
                    message.removed = true;
                }
            }
            self.received.entry(user.to_owned()).or_default().push_str(&object.to_string());
        }
    }

    fn is_visible(&self, user: &str, token: &str, readers: &Readers) -> bool {
        match readers {
            Readers::Room(room) => self.rooms[*room].sees_text(user, token),
            readers => readers.include(user),
        }
    }

    /// Whether the user is in the conversation now.
    fn is_shown(&self, user: &str, token: &str, readers: &Readers) -> bool {
        let Readers::Room(room) = readers else { return readers.include(user) };
        let room = &self.rooms[*room];
        room.texts.get(token).is_some_and(|(seq, _)| room.sees(user, *seq, u64::MAX - 1))
    }

    /// No user has received a message that is not for them.
    fn check_confidentiality(&self) {
        for (user, bytes) in &self.received {
            for (token, audience) in &self.audience {
                let visible = self.is_visible(user, token, audience);
                assert!(
                    visible || !bytes.contains(&word(token)),
                    "{user} received {token}, which is for {audience:?}"
                );
            }
            // Nor has anything else been said about a message.
            for room in &self.rooms {
                for (id, seq) in &room.messages {
                    let visible = room.sees(user, *seq, *seq);
                    let quoted = format!("\"{id}\"");
                    assert!(visible || !bytes.contains(&quoted), "{user} received {id}");
                }
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
                let session = self.sessions.get_mut(&user).unwrap();
                session
                    .receive_until(match kind {
                        0 => vec![|object| object["action"] == "LIVE", |object| {
                            object["action"] == "HISTORY"
                        }],
                        _ => {
                            vec![|object| object["end"].is_string() && object["end"] != "searching"]
                        }
                    })
                    .await;
                self.receive().await;
                let user = self.user_ids[&user].clone();
                let bytes = self.received.get(&user).cloned().unwrap_or_default();
                for (token, message) in &self.posted {
                    let visible = self.is_shown(&user, token, &message.audience);
                    let expected = visible && !message.removed;
                    // What was said before a user came is not sent to a client that resumes.
                    if let Readers::Room(room) = message.audience
                        && kind == 0
                        && expected
                        && !self.rooms[room].was_told(&user, token)
                    {
                        continue;
                    }
                    assert_eq!(
                        bytes.contains(&word(token)),
                        expected,
                        "{token} for {user}, query {kind}: {bytes}"
                    );
                }
            }
        }
    }
}

/// The word in the text of a token, which is the `cid` of a request.
fn word(token: &str) -> String {
    token.replace("token", "word")
}

fn run_model(store: impl Store, steps: Vec<Step>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(async {
        let mut model = Model::new(store);
        model.create_rooms().await;
        for user in 0..USERS.len() {
            model.join(user, false, false).await;
        }
        for step in steps {
            model.step(step).await;
        }
        model.settle().await;
        for user in 0..USERS.len() {
            model.receive().await;
            model.leave(user).await;
        }
        model.receive_as_owner().await;
        model.check_confidentiality();
        model.check_completeness().await;
        model.check_confidentiality();
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn messages_reach_only_their_conversation(
        steps in proptest::collection::vec(step(), 1..60), on_disk in any::<bool>(),
    ) {
        if on_disk {
            let folder = tempfile::tempdir().unwrap();
            run_model(SqliteStore::open(folder.path()).unwrap().without_sync(), steps);
        } else {
            run_model(MemoryStore::default(), steps);
        }
    }
}

/// A client that takes nothing has its requests read late: when the test receives what it was sent.
#[test]
fn request_of_a_slow_client_that_is_read_late_is_checked() {
    let steps = vec![
        Step::Flood(0),
        Step::Join { user: 1, resume: false, slow: true },
        Step::Query { author: 1, kind: 3, target: 0 },
        Step::Post { author: 1, to: Vec::new(), kind: 2, target: 0 },
    ];
    run_model(MemoryStore::default(), steps);
}

/// The number of conversations. `CHAT_CONVERSATIONS=1000` runs more.
fn cases() -> u32 {
    std::env::var("CHAT_CONVERSATIONS").map_or(12, |cases| cases.parse().unwrap())
}
