//! Model test: random histories are written to the memory log and to the SQLite log. Both must return
//! equal outcomes and reads, and neither the reads nor the files may contain removed or foreign messages.

use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;

use proptest::prelude::*;
use proptest::sample::select;
use tempfile::TempDir;

use super::super::sqlite::SqliteStore;
use super::super::{
    BanSubject, BanTarget, DAY, EventPage, LogSnapshot, OpenInvite, Page, ScanResult, ScrubOutcome,
};
use super::memory::MemoryStore;
use super::oracle::Oracle;
use super::*;
use crate::protocol::id::RoomName;
use crate::protocol::room::{ConversationInfo, NotifyLevel, RoomAction, RoomState, SharedHistory};

const USERS: [&str; 3] = ["Ann", "Bob", "Cid"];

/// Rooms of which two look alike.
const ROOMS: [&str; 3] = ["#ops", "#lab", "#1ab"];

/// Names of which one looks like a user's.
const NAMES: [&str; 4] = ["Ann", "Bob", "Cid", "B0b"];

/// Actions on messages pick one of the first so many.
const TARGETS: u32 = 12;

#[derive(Debug, Clone)]
enum Step {
    Apply(Vec<Action>),
    Sweep(Retention),
    Scrub,
    Reopen,
    Wait(Millis),
}

#[derive(Debug, Clone)]
enum Action {
    Post {
        reply_to: Option<u32>,
        sender: &'static str,
        audience: Audience,
        lifetime: Option<Millis>,
        cid: Option<&'static str>,
    },
    Delete {
        id: u32,
        author: &'static str,
        cid: Option<&'static str>,
    },
    Edit {
        id: u32,
        by: &'static str,
        mention: &'static str,
        cid: Option<&'static str>,
    },
    React {
        id: u32,
        by: &'static str,
        emoji: &'static str,
        on: bool,
        cid: Option<&'static str>,
    },
    Pin {
        id: u32,
        by: &'static str,
        on: bool,
    },
    Room {
        room: &'static str,
        by: Option<&'static str>,
        action: RoomAction,
        cid: Option<&'static str>,
    },
    Read {
        by: &'static str,
        conversation: Audience,
        up_to: u64,
        unread: bool,
    },
    Notify {
        by: &'static str,
        conversation: Audience,
        level: NotifyLevel,
    },
    Expire {
        id: u32,
    },
    Remove {
        id: u32,
    },
    Register {
        name: &'static str,
        key: u8,
        invite: Option<u8>,
        draw: u64,
    },
    Rebind {
        user: UserId,
        key: u8,
    },
    Invite {
        hash: u8,
        uses: u32,
        lifetime: Millis,
    },
    Ban(BanSubject),
    Unban(BanSubject),
    Retain {
        retention: Retention,
        after: u64,
    },
    Delivered {
        user: &'static str,
        up_to: u64,
    },
}

fn user_name() -> impl Strategy<Value = &'static str> {
    select(&USERS[..])
}

fn cid_or_none() -> impl Strategy<Value = Option<&'static str>> {
    select(vec![None, Some("a"), Some("b"), Some("c")])
}

/// IDs of which some are registered.
fn user_id() -> impl Strategy<Value = UserId> {
    (select(&NAMES[..]), 1..4).prop_map(|(name, n)| format!("{name}_000{}", 2 * n).parse().unwrap())
}

fn retention() -> impl Strategy<Value = Retention> {
    select(vec![Retention::Forever, Retention::Days(0), Retention::Days(2)])
}

fn audience() -> impl Strategy<Value = Audience> {
    prop_oneof![
        Just(Audience::Everyone),
        select(&ROOMS[..]).prop_map(|room| Audience::Room(room.parse().unwrap())),
        Just(Audience::Only(BTreeSet::new())),
        proptest::collection::btree_set(user_name(), 1..3)
            .prop_map(|names| Audience::Only(names.into_iter().map(user).collect())),
    ]
}

fn ban_subject() -> impl Strategy<Value = BanSubject> {
    let network = BanTarget::Network("203.0.113.0/24".parse().unwrap());
    let targets = [BanTarget::Key([0; 32]), BanTarget::Key([1; 32]), network];
    prop_oneof![
        select(targets.to_vec()).prop_map(BanSubject::Target),
        user_id().prop_map(BanSubject::User)
    ]
}

fn room_action() -> impl Strategy<Value = RoomAction> {
    let users = || proptest::collection::vec(user_name().prop_map(user), 1..3);
    let topic = || (0..3_u8).prop_map(|n| SafeText::clean(&"topic".repeat(n.into())));
    prop_oneof![
        1 => (any::<bool>(), topic())
            .prop_map(|(private, topic)| RoomAction::Create { private, topic }),
        2 => Just(RoomAction::Join),
        1 => Just(RoomAction::Leave),
        4 => (users(), select(vec![SharedHistory::All, SharedHistory::Now]))
            .prop_map(|(users, history)| RoomAction::Add { users, history }),
        2 => users().prop_map(RoomAction::Remove),
        1 => topic().prop_map(RoomAction::Topic),
        1 => (0..4_u8).prop_map(|n| RoomAction::Archive(n == 0)),
    ]
}

/// Actions on rooms, and on what was said in them.
fn conversation_action() -> impl Strategy<Value = Action> {
    let emoji = select(vec!["👍", "❤️"]);
    let by = || prop_oneof![4 => user_name().prop_map(Some), 1 => Just(None)];
    let mention = select(vec!["", "@Bob", "@all", "@Ann_0002 @Cid"]);
    let level = select(vec![NotifyLevel::All, NotifyLevel::None]);
    let id = || prop_oneof![Just(3_u32), 1..TARGETS, 5..3 * TARGETS];
    prop_oneof![
        6 => (select(&ROOMS[..]), by(), room_action(), cid_or_none())
            .prop_map(|(room, by, action, cid)| Action::Room { room, by, action, cid }),
        3 => (id(), user_name(), mention, cid_or_none())
            .prop_map(|(id, by, mention, cid)| Action::Edit { id, by, mention, cid }),
        3 => (id(), user_name(), emoji, any::<bool>(), cid_or_none())
            .prop_map(|(id, by, emoji, on, cid)| Action::React { id, by, emoji, on, cid }),
        2 => (id(), user_name(), any::<bool>()).prop_map(|(id, by, on)| Action::Pin { id, by, on }),
        2 => (user_name(), audience(), 0..30_u64, any::<bool>())
            .prop_map(|(by, conversation, up_to, unread)| {
                Action::Read { by, conversation, up_to, unread }
            }),
        1 => (user_name(), audience(), level)
            .prop_map(|(by, conversation, level)| Action::Notify { by, conversation, level }),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let reply_to = proptest::option::weighted(0.3, 1..TARGETS);
    let lifetime = select(vec![None, None, Some(100), Some(5_000), Some(2 * DAY)]);
    prop_oneof![
        6 => (reply_to, user_name(), audience(), lifetime, cid_or_none())
            .prop_map(|(reply_to, sender, audience, lifetime, cid)| {
                Action::Post { reply_to, sender, audience, lifetime, cid }
            }),
        8 => conversation_action(),
        2 => (1..TARGETS, user_name(), cid_or_none())
            .prop_map(|(id, author, cid)| Action::Delete { id, author, cid }),
        1 => (1..TARGETS).prop_map(|id| Action::Expire { id }),
        1 => (1..TARGETS).prop_map(|id| Action::Remove { id }),
        2 => (select(&NAMES[..]), 0..3_u8, proptest::option::of(0..2_u8), 1..4_u64)
            .prop_map(|(name, key, invite, draw)| Action::Register { name, key, invite, draw }),
        1 => (user_id(), 0..3_u8).prop_map(|(user, key)| Action::Rebind { user, key }),
        1 => (0..2_u8, 1..3_u32, select(vec![100, DAY]))
            .prop_map(|(hash, uses, lifetime)| Action::Invite { hash, uses, lifetime }),
        1 => ban_subject().prop_map(Action::Ban),
        1 => ban_subject().prop_map(Action::Unban),
        1 => (retention(), 0..10_u64)
            .prop_map(|(retention, after)| Action::Retain { retention, after }),
        1 => (user_name(), 0..30_u64).prop_map(|(user, up_to)| Action::Delivered { user, up_to }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let wait = select(vec![1, 100, 60_000, 700_000, DAY, 8 * DAY, 91 * DAY, -1_000, -DAY]);
    prop_oneof![
        8 => proptest::collection::vec(action(), 1..5).prop_map(Step::Apply),
        1 => retention().prop_map(Step::Sweep),
        1 => Just(Step::Scrub),
        1 => Just(Step::Reopen),
        2 => wait.prop_map(Step::Wait),
    ]
}

/// Steps in which people come and go in rooms, and talk there.
fn conversation_step() -> impl Strategy<Value = Step> {
    let room = select(&ROOMS[..]).prop_map(|room| Audience::Room(room.parse().unwrap()));
    let post = (proptest::option::weighted(0.2, 1..3 * TARGETS), user_name(), room);
    let post = post.prop_map(|(reply_to, sender, audience)| Action::Post {
        reply_to,
        sender,
        audience,
        lifetime: None,
        cid: None,
    });
    let action = prop_oneof![4 => post, 6 => conversation_action(), 2 => action()];
    prop_oneof![
        12 => proptest::collection::vec(action, 1..4).prop_map(Step::Apply),
        1 => Just(Step::Reopen),
        1 => select(vec![1, 60_000, DAY]).prop_map(Step::Wait),
    ]
}

/// Three registered users, a public room, and a private one in which Bob does not see what is early.
fn first_rooms() -> Vec<Action> {
    let register = |(key, name)| Action::Register { name, key, invite: None, draw: 1 };
    let change = |room, by, action| Action::Room { room, by: Some(by), action, cid: None };
    let create = |private| RoomAction::Create { private, topic: SafeText::default() };
    let say = |sender| Action::Post {
        reply_to: None,
        sender,
        audience: Audience::Room("#ops".parse().unwrap()),
        lifetime: None,
        cid: None,
    };
    let add = RoomAction::Add { users: vec![user("Bob")], history: SharedHistory::Now };
    let talk = [
        change("#lab", "Bob", create(false)),
        change("#ops", "Ann", create(true)),
        say("Ann"),
        change("#ops", "Ann", add),
        say("Bob"),
    ];
    (0..).zip(USERS).map(register).chain(talk).collect()
}

/// Both logs, and what the test itself knows about the posted messages.
struct LogPair {
    folder: TempDir,
    sqlite: Option<SqliteStore>,
    memory: MemoryStore,
    now: Millis,
    /// The highest `now` so far.
    latest: Millis,
    count: usize,
    oracle: Oracle,
    /// The texts of removed and expired messages, which must never be returned again.
    removed: BTreeSet<String>,
}

impl LogPair {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sqlite = Some(open_sqlite(folder.path()).without_sync().with_recent_requests(4, 2));
        let (oracle, removed) = (Oracle::default(), BTreeSet::new());
        let memory = MemoryStore::default();
        Self { folder, sqlite, memory, now: NOW, latest: NOW, count: 0, oracle, removed }
    }

    fn sqlite(&mut self) -> &mut SqliteStore {
        self.sqlite.as_mut().unwrap()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Apply(actions) => self.apply(actions),
            Step::Sweep(retention) => {
                let now = self.now;
                let has_removed = sweep(self.sqlite(), now, retention);
                assert_eq!(has_removed, sweep(&mut self.memory, now, retention));
                self.record_removed();
            }
            Step::Scrub => assert_eq!(self.sqlite().scrub().unwrap(), ScrubOutcome::Done),
            Step::Reopen => {
                let before = self.sqlite().snapshot().unwrap();
                self.sqlite = None;
                let sqlite = SqliteStore::open(self.folder.path()).unwrap();
                self.sqlite = Some(sqlite.without_sync().with_recent_requests(4, 2));
                let after = self.sqlite().snapshot().unwrap();
                assert_eq!(before.epoch, after.epoch);
            }
            Step::Wait(duration) => {
                // A clock that steps back further may find a cid that is older than a week, or not.
                self.now = (self.now + duration).max(self.latest - DAY / 2);
                self.latest = self.latest.max(self.now);
            }
        }
    }

    fn apply(&mut self, actions: Vec<Action>) {
        let batch: Vec<_> = actions.into_iter().map(|action| self.entry(action)).collect();
        let now = self.now;
        let outcomes = self.sqlite().apply(now, &batch).unwrap();
        assert_eq!(outcomes, self.memory.apply(now, &batch).unwrap());
        for (entry, outcome) in batch.iter().zip(&outcomes) {
            self.oracle.follow(entry, outcome);
        }
        self.record_removed();
    }

    fn entry(&mut self, action: Action) -> Entry {
        self.count += 1;
        match action {
            Action::Post { reply_to, sender, audience, lifetime, cid: name } => {
                let kind = match (reply_to, lifetime) {
                    (Some(to), _) => MessageKind::Reply { to: id(to) },
                    (None, Some(lifetime)) => {
                        MessageKind::Temporary { expires: self.now + lifetime }
                    }
                    (None, None) => MessageKind::Plain,
                };
                // Some are long enough to need overflow pages.
                let mention = ["", "@Bob ", "@all ", "@Ann @Cid_0002 "][self.count % 4];
                let text = format!("<{}>{mention}{}", self.count, "x".repeat(self.count % 7 * 900));
                Entry::Post(NewMessage {
                    audience,
                    kind,
                    at: at(self.now),
                    cid: name.map(cid),
                    ..message(1, sender, &text)
                })
            }
            Action::Delete { id: number, author, cid: name } => {
                Entry::Delete { id: id(number), by: user(author), cid: name.map(cid) }
            }
            Action::Expire { id: number } => Entry::Expire { id: id(number) },
            Action::Remove { id: number } => Entry::Remove { id: id(number) },
            Action::Register { name, key, invite: hash, draw } => {
                let required = |hash| InviteRule::Required(Some([hash; 32]));
                let invite = hash.map_or(InviteRule::NotRequired, required);
                Entry::Register(NewUser { invite, draw, ..new_user(name, key) })
            }
            Action::Rebind { user, key } => Entry::Rebind { user, key: [key; 32] },
            Action::Retain { retention, after } => {
                Entry::Retain(Retain { after: Seq(after), ..retain(self.now, retention) })
            }
            Action::Invite { hash, uses, lifetime } => {
                let expires = self.now + lifetime;
                Entry::Invite(OpenInvite { hash: [hash; 32], uses, expires, rooms: Vec::new() })
            }
            Action::Ban(subject) => Entry::Ban(subject),
            Action::Unban(subject) => Entry::Unban(subject),
            Action::Delivered { user: name, up_to } => {
                Entry::Delivered { user: user(name), up_to: Seq(up_to) }
            }
            action => self.conversation_entry(action),
        }
    }

    fn conversation_entry(&self, action: Action) -> Entry {
        match action {
            Action::Edit { id: number, by, mention, cid: name } => Entry::Edit {
                id: id(number),
                by: user(by),
                content: SafeText::clean(&format!("<{}> edited {mention}", self.count)),
                guests: Arc::default(),
                cid: name.map(cid),
            },
            Action::React { id: number, by, emoji, on, cid: name } => Entry::React {
                id: id(number),
                by: user(by),
                emoji: emoji.parse().unwrap(),
                on,
                cid: name.map(cid),
            },
            Action::Pin { id: number, by, on } => {
                Entry::Pin { id: id(number), by: user(by), on, cid: None }
            }
            Action::Room { room: name, by, action, cid: request } => {
                let (by, cid) = (by.map(user), request.map(cid));
                Entry::Room(RoomEntry { by, cid, ..room(name, "", action) })
            }
            Action::Read { by, conversation, up_to, unread } => {
                let (by, up_to) = (user(by), Seq(up_to));
                Entry::Read { by, conversation, up_to, unread, cid: None }
            }
            Action::Notify { by, conversation, level } => {
                Entry::Notify { by: user(by), conversation, level, muted_until: None, cid: None }
            }
            other => panic!("{other:?}"),
        }
    }

    /// Adds every text that the memory log no longer has.
    fn record_removed(&mut self) {
        let kept = self.memory.texts();
        let removed = self.oracle.texts().filter(|text| !kept.contains(*text));
        self.removed.extend(removed.map(str::to_owned));
    }

    fn check(&mut self) {
        let now = self.now;
        let (a, b) = (self.sqlite().snapshot().unwrap(), self.memory.snapshot().unwrap());
        assert_eq!(normalized(a), normalized(b));
        let mut sqlite = self.sqlite().open_reader().unwrap();
        let mut memory = self.memory.open_reader().unwrap();
        assert_eq!(sqlite.open_invites(now).unwrap(), memory.open_invites(now).unwrap());
        for viewer in USERS.map(user) {
            let view = View { viewer: &viewer, now };
            let results = read_everything(&mut sqlite, view);
            assert_eq!(results, read_everything(&mut memory, view));
            let texts = results.texts();
            for text in self.oracle.texts() {
                let may = !self.removed.contains(text) && self.oracle.sees_text(&viewer, text);
                assert!(may || !texts.contains(text), "{viewer} sees {text}");
            }
            for event in results.events.iter().flatten().flat_map(|page| &page.events) {
                assert!(self.oracle.sees_event(&viewer, event), "{viewer} gets {event:?}");
            }
            for info in &results.conversations {
                let room = info.conversation.room();
                let is_member = room.is_none_or(|room| self.oracle.is_member(&viewer, room));
                assert!(is_member, "{viewer} has {room:?}");
            }
            for (room, _) in results.rooms.iter().flat_map(|page| &page.items) {
                assert!(!self.oracle.is_private(room), "{room} is listed");
            }
        }
    }

    /// The files contain no removed text, and (as a check of this check) they contain every other text.
    fn check_files(&mut self) {
        assert_eq!(self.sqlite().scrub().unwrap(), ScrubOutcome::Done);
        let mut bytes = Vec::new();
        for file in fs::read_dir(self.folder.path()).unwrap() {
            bytes.extend(fs::read(file.unwrap().path()).unwrap());
        }
        let bytes = String::from_utf8_lossy(&bytes);
        for text in self.oracle.texts() {
            let token = text.split_inclusive('>').next().unwrap();
            assert_eq!(bytes.contains(token), !self.removed.contains(text), "{token}");
        }
    }
}

fn normalized(mut snapshot: LogSnapshot) -> LogSnapshot {
    snapshot.expirations.sort();
    snapshot.bans.sort();
    snapshot.size.bytes = 0;
    snapshot.epoch = String::new();
    snapshot
}

/// Everything one viewer can read.
#[derive(Debug, Default, PartialEq)]
struct ReadResults {
    events: Vec<Option<EventPage>>,
    pages: Vec<Answer<MessagePage>>,
    scanned: Vec<Answer<ScanResult>>,
    rows: Vec<(Seq, String, Millis, String, bool)>,
    messages: Vec<Message>,
    conversations: Vec<ConversationInfo>,
    rooms: Vec<Page<(RoomName, RoomState)>>,
    users: Vec<Answer<Page<UserId>>>,
}

impl ReadResults {
    fn texts(&self) -> BTreeSet<&str> {
        let events = self.events.iter().flatten().flat_map(|events| &events.events);
        let texts = events.filter_map(|event| match event {
            Event::Posted(message) => Some(&message.content),
            Event::Edited(edited) => Some(&edited.content),
            _ => None,
        });
        let pages = self.pages.iter().flatten().flat_map(|page| &page.messages);
        texts
            .chain(pages.chain(&self.messages).map(|message| &message.content))
            .map(SafeText::as_str)
            .chain(self.rows.iter().map(|(.., text, _)| text.as_str()))
            .collect()
    }

    fn scan(&mut self, reader: &mut impl Reader, view: View<'_>, conversation: Option<&Audience>) {
        let mut before = None;
        loop {
            let scanned = reader.scan(view, conversation, before, 2, &mut |row| {
                let (sender, text) = (row.sender.to_owned(), row.content.to_owned());
                self.rows.push((row.seq, sender, row.at, text, row.is_recipient(&user("Bob"))));
                ControlFlow::Continue(())
            });
            let scanned = scanned.unwrap();
            before = scanned.as_ref().ok().and_then(|scanned| scanned.next);
            self.scanned.push(scanned);
            if before.is_none() {
                return;
            }
        }
    }
}

fn read_everything(reader: &mut impl Reader, view: View<'_>) -> ReadResults {
    let mut results = ReadResults::default();
    for (seq, limit) in [(0, 1), (0, 3), (2, 100), (7, 2), (100, 1)] {
        results.events.push(reader.events_after(view, Seq(seq), limit).unwrap());
        let outside_rooms = reader.events_outside_rooms_after(view, Seq(seq), limit).unwrap();
        results.events.push(outside_rooms);
    }
    let rooms = ROOMS.map(|room| Audience::Room(room.parse().unwrap()));
    let direct = USERS.map(|name| only(&[name]));
    let conversations = [Audience::Everyone, only(&["Bob", "Cid"])].into_iter();
    let conversations = conversations.chain(rooms).chain(direct).map(Some);
    for conversation in conversations.chain([None]) {
        let mut ranges = vec![HistoryRange::Latest, HistoryRange::Pinned];
        for seq in [0, 2, 7, 100].map(Seq) {
            ranges.extend([
                HistoryRange::Before(seq),
                HistoryRange::After(seq),
                HistoryRange::Near(seq),
            ]);
        }
        for id in (1..TARGETS).map(id) {
            ranges.extend([HistoryRange::Around(id), HistoryRange::Thread(id)]);
        }
        for (index, range) in ranges.into_iter().enumerate() {
            let query = HistoryQuery { conversation: conversation.clone(), range };
            results.pages.push(reader.history(view, &query, [1, 4, 100][index % 3]).unwrap());
        }
        results.scan(reader, view, conversation.as_ref());
    }
    let seqs: Vec<_> = (0..40).map(Seq).collect();
    results.messages = reader.messages(view, &seqs).unwrap();
    results.conversations = reader.conversations(view).unwrap();
    results.rooms.push(reader.public_rooms(None, 1).unwrap());
    results.rooms.push(reader.public_rooms(Some(&"#1ab".parse().unwrap()), 9).unwrap());
    let (bob, ops) = (user("Bob"), "#ops".parse().unwrap());
    for (room, after) in
        [(None, None), (None, Some(&bob)), (Some(&ops), None), (Some(&ops), Some(&bob))]
    {
        results.users.push(reader.users(view, room, after, 2).unwrap());
    }
    results
}

/// How many random histories [`conversations_stay_among_their_members`] tries; `CHAT_CONVERSATIONS` sets
/// another number.
fn n_conversations() -> u32 {
    std::env::var("CHAT_CONVERSATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(24)
}

fn run(steps: Vec<Step>) {
    let mut logs = LogPair::new();
    for (index, step) in steps.into_iter().enumerate() {
        logs.step(step);
        if index % 3 == 0 {
            logs.check();
        }
    }
    logs.check();
    logs.check_files();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn memory_and_sqlite_logs_agree(steps in proptest::collection::vec(step(), 1..25)) {
        run(steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: n_conversations(), ..ProptestConfig::default() })]

    #[test]
    fn conversations_stay_among_their_members(
        steps in proptest::collection::vec(conversation_step(), 5..30)
    ) {
        let first = Step::Apply(first_rooms());
        run([first].into_iter().chain(steps).collect());
    }
}
