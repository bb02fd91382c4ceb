//! Model test: random histories are written to the memory log and to the SQLite log. Both must return
//! equal outcomes and reads, and neither the reads nor the files may contain removed or foreign messages.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;

use proptest::prelude::*;
use proptest::sample::select;
use tempfile::TempDir;

use super::super::sqlite::SqliteStore;
use super::super::{
    BanSubject, BanTarget, DAY, EventPage, LogSnapshot, MessagePage, MessagesAround, OpenInvite,
    ScanResult, ScrubOutcome,
};
use super::memory::MemoryStore;
use super::*;

const USERS: [&str; 3] = ["Ann", "Bob", "Cid"];

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

fn action() -> impl Strategy<Value = Action> {
    let reply_to = proptest::option::weighted(0.3, 1..TARGETS);
    let lifetime = select(vec![None, None, Some(100), Some(5_000), Some(2 * DAY)]);
    prop_oneof![
        6 => (reply_to, user_name(), audience(), lifetime, cid_or_none())
            .prop_map(|(reply_to, sender, audience, lifetime, cid)| {
                Action::Post { reply_to, sender, audience, lifetime, cid }
            }),
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

/// Both logs, and what the test itself knows about the posted messages.
struct LogPair {
    folder: TempDir,
    sqlite: Option<SqliteStore>,
    memory: MemoryStore,
    now: Millis,
    /// The highest `now` so far.
    latest: Millis,
    count: usize,
    /// Each message ever posted: its text, audience and sender.
    posted: BTreeMap<Seq, (String, Audience, UserId)>,
    /// The texts of removed and expired messages, which must never be returned again.
    removed: BTreeSet<String>,
}

impl LogPair {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sqlite = Some(open_sqlite(folder.path()).without_sync().with_recent_requests(4, 2));
        let (posted, removed) = (BTreeMap::new(), BTreeSet::new());
        let memory = MemoryStore::default();
        Self { folder, sqlite, memory, now: NOW, latest: NOW, count: 0, posted, removed }
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
        for outcome in outcomes {
            self.record(outcome);
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
                let text = format!("<{}>{}", self.count, "x".repeat(self.count % 7 * 900));
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
                Entry::Invite(OpenInvite { hash: [hash; 32], uses, expires })
            }
            Action::Ban(subject) => Entry::Ban(subject),
            Action::Unban(subject) => Entry::Unban(subject),
            Action::Delivered { user: name, up_to } => {
                Entry::Delivered { user: user(name), up_to: Seq(up_to) }
            }
        }
    }

    fn record(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Posted(message) => {
                let text = message.content.as_str().to_owned();
                self.posted.insert(message.seq, (text, message.audience, message.sender));
            }
            Outcome::Repeated { .. }
            | Outcome::Removed(_)
            | Outcome::Refused(_)
            | Outcome::NoKey(_)
            | Outcome::NotBanned(_)
            | Outcome::TooManyInvites
            | Outcome::Registered { .. }
            | Outcome::AlreadyRegistered(_)
            | Outcome::Rebound { .. }
            | Outcome::Banned(_)
            | Outcome::Unbanned(_)
            | Outcome::Retained(_)
            | Outcome::Done => {}
        }
    }

    /// Adds every text that the memory log no longer has.
    fn record_removed(&mut self) {
        let mut kept = BTreeSet::new();
        for viewer in USERS {
            // Expired messages may stay on disk until `Entry::Expire` is written.
            let view = View { viewer: &user(viewer), now: Millis::MIN };
            let page = self.memory.open_reader().unwrap().history(view, None, usize::MAX).unwrap();
            kept.extend(page.messages.into_iter().map(|message| message.seq));
        }
        let removed = self.posted.iter().filter(|(seq, _)| !kept.contains(seq));
        self.removed.extend(removed.map(|(_, (text, ..))| text.clone()));
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
            for (text, audience, sender) in self.posted.values() {
                let may = *sender == viewer
                    || audience.recipients().is_none_or(|named| named.contains(&viewer));
                let must_not = !may || self.removed.contains(text);
                assert!(!(must_not && texts.contains(text.as_str())), "{viewer} sees {text}");
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
        for (text, ..) in self.posted.values() {
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
    pages: Vec<MessagePage>,
    around: Vec<Option<MessagesAround>>,
    scanned: Vec<ScanResult>,
    rows: Vec<(Seq, String, Millis, String, bool)>,
    messages: Vec<Message>,
}

impl ReadResults {
    fn texts(&self) -> BTreeSet<&str> {
        let events = self.events.iter().flatten().flat_map(|events| &events.events);
        let posted = events.filter_map(|event| match event {
            Event::Posted(message) => Some(message),
            _ => None,
        });
        posted
            .chain(self.pages.iter().flat_map(|page| &page.messages))
            .chain(self.around.iter().flatten().flat_map(|around| &around.messages))
            .chain(&self.messages)
            .map(|message| message.content.as_str())
            .chain(self.rows.iter().map(|(.., text, _)| text.as_str()))
            .collect()
    }
}

fn read_everything(reader: &mut impl Reader, view: View<'_>) -> ReadResults {
    let mut results = ReadResults::default();
    for (seq, limit) in [(0, 1), (0, 3), (2, 100), (7, 2), (100, 1)] {
        results.events.push(reader.events_after(view, Seq(seq), limit).unwrap());
        results.pages.push(reader.history(view, Some(Seq(seq)), limit).unwrap());
    }
    results.pages.push(reader.history(view, None, 100).unwrap());
    for number in 1..TARGETS {
        results.around.push(reader.around(view, id(number), 2).unwrap());
    }
    let seqs: Vec<_> = (0..20).map(Seq).collect();
    results.messages = reader.messages(view, &seqs).unwrap();
    let mut before = None;
    loop {
        let scanned = reader.scan(view, before, 2, &mut |row| {
            let (sender, text) = (row.sender.to_owned(), row.content.to_owned());
            results.rows.push((row.seq, sender, row.at, text, row.is_recipient(&user("Bob"))));
            ControlFlow::Continue(())
        });
        let scanned = scanned.unwrap();
        results.scanned.push(scanned);
        before = scanned.next;
        if before.is_none() {
            return results;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn memory_and_sqlite_logs_agree(steps in proptest::collection::vec(step(), 1..25)) {
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
}
