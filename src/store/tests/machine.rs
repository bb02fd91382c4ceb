//! Random histories, told to the log in memory and to the one in SQLite: the same comes of everything,
//! everybody sees the same, and nobody sees what is gone or for others, not even in the files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;

use proptest::prelude::*;
use proptest::sample::select;
use tempfile::TempDir;

use super::super::memory::MemoryStore;
use super::super::sqlite::SqliteStore;
use super::super::{
    Around, Banned, DAY, Events, First, Metadata, OpenInvite, Opened, Overwritten, Page, Retention,
    Scanned,
};
use super::*;
use crate::protocol::event::Event;

const PEOPLE: [&str; 3] = ["Ann", "Bob", "Cid"];

/// The last id.
const IDS: u32 = 6;

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<Do>),
    Sweep(Retention),
    Overwrite,
    Reopen,
    Wait(Millis),
}

#[derive(Debug, Clone)]
enum Do {
    Say {
        id: u32,
        by: &'static str,
        to: Audience,
        lives: Option<Millis>,
        cid: Option<&'static str>,
    },
    Delete {
        id: u32,
        by: &'static str,
        cid: Option<&'static str>,
    },
    Expire {
        id: u32,
    },
    Remove {
        id: u32,
    },
    Register {
        user: &'static str,
        key: u8,
        invite: Option<u8>,
    },
    Rebind {
        user: &'static str,
        key: u8,
    },
    Invite {
        hash: u8,
        uses: u32,
        lives: Millis,
    },
    Ban(Banned),
    Unban(Banned),
    Seen {
        user: &'static str,
        up_to: u64,
    },
}

fn person() -> impl Strategy<Value = &'static str> {
    select(&PEOPLE[..])
}

fn cid_or_none() -> impl Strategy<Value = Option<&'static str>> {
    select(vec![None, Some("a"), Some("b"), Some("c")])
}

fn audience() -> impl Strategy<Value = Audience> {
    prop_oneof![
        Just(Audience::Everyone),
        Just(Audience::Only(BTreeSet::new())),
        proptest::collection::btree_set(person(), 1..3)
            .prop_map(|people| Audience::Only(people.into_iter().map(user).collect())),
    ]
}

fn banned() -> impl Strategy<Value = Banned> {
    let network = Banned::Network("203.0.113.0/24".parse().unwrap());
    select(vec![Banned::Key([0; 32]), Banned::Key([1; 32]), network])
}

fn doing() -> impl Strategy<Value = Do> {
    let lives = select(vec![None, None, Some(100), Some(5_000), Some(2 * DAY)]);
    prop_oneof![
        6 => (0..IDS, person(), audience(), lives, cid_or_none())
            .prop_map(|(id, by, to, lives, cid)| Do::Say { id, by, to, lives, cid }),
        2 => (0..IDS, person(), cid_or_none()).prop_map(|(id, by, cid)| Do::Delete { id, by, cid }),
        1 => (0..IDS).prop_map(|id| Do::Expire { id }),
        1 => (0..IDS).prop_map(|id| Do::Remove { id }),
        2 => (person(), 0..2_u8, proptest::option::of(0..2_u8))
            .prop_map(|(user, key, invite)| Do::Register { user, key, invite }),
        1 => (person(), 0..2_u8).prop_map(|(user, key)| Do::Rebind { user, key }),
        1 => (0..2_u8, 1..3_u32, select(vec![100, DAY]))
            .prop_map(|(hash, uses, lives)| Do::Invite { hash, uses, lives }),
        1 => banned().prop_map(Do::Ban),
        1 => banned().prop_map(Do::Unban),
        1 => (person(), 0..30_u64).prop_map(|(user, up_to)| Do::Seen { user, up_to }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let retention = select(vec![Retention::Forever, Retention::Days(0), Retention::Days(2)]);
    let wait = select(vec![1, 100, 60_000, 700_000, DAY, 8 * DAY, 91 * DAY, -1_000, -DAY]);
    prop_oneof![
        8 => proptest::collection::vec(doing(), 1..5).prop_map(Step::Append),
        1 => retention.prop_map(Step::Sweep),
        1 => Just(Step::Overwrite),
        1 => Just(Step::Reopen),
        2 => wait.prop_map(Step::Wait),
    ]
}

/// Both logs, and what the test itself knows of what was said.
struct Machine {
    folder: TempDir,
    sqlite: Option<SqliteStore>,
    memory: MemoryStore,
    now: Millis,
    count: usize,
    /// The text of each message ever said, by its number, with those who may read it.
    told: BTreeMap<Seq, (String, Audience, UserId)>,
    /// The texts that nobody may ever get again.
    gone: BTreeSet<String>,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sqlite = Some(SqliteStore::open(folder.path()).unwrap().without_sync());
        let (told, gone) = (BTreeMap::new(), BTreeSet::new());
        let memory = MemoryStore::default();
        Self { folder, sqlite, memory, now: NOW, count: 0, told, gone }
    }

    fn sqlite(&mut self) -> &mut SqliteStore {
        self.sqlite.as_mut().unwrap()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append(things) => self.append(things),
            Step::Sweep(retention) => {
                let now = self.now;
                let freed = sweep(self.sqlite(), now, retention);
                assert_eq!(freed, sweep(&mut self.memory, now, retention));
                self.note_what_is_gone();
            }
            Step::Overwrite => assert_eq!(self.sqlite().overwrite().unwrap(), Overwritten::Done),
            Step::Reopen => {
                let before = self.sqlite().opened().unwrap();
                self.sqlite = None;
                self.sqlite = Some(SqliteStore::open(self.folder.path()).unwrap().without_sync());
                let after = self.sqlite().opened().unwrap();
                assert_eq!(before.epoch, after.epoch);
            }
            Step::Wait(pause) => self.now += pause,
        }
    }

    fn append(&mut self, things: Vec<Do>) {
        let batch: Vec<_> = things.into_iter().map(|thing| self.appended(thing)).collect();
        let now = self.now;
        let outcomes = self.sqlite().append(now, &batch).unwrap();
        assert_eq!(outcomes, self.memory.append(now, &batch).unwrap());
        for (asked, outcome) in batch.iter().zip(outcomes) {
            self.note(asked, outcome);
        }
        self.note_what_is_gone();
    }

    fn appended(&mut self, thing: Do) -> Append {
        self.count += 1;
        match thing {
            Do::Say { id: number, by, to, lives, cid: name } => {
                let kind = match lives {
                    Some(lives) => Kind::Temporary { expires: self.now + lives },
                    None => Kind::Plain,
                };
                // Some are long enough to need pages of their own.
                let text = format!("<{}>{}", self.count, "x".repeat(self.count % 7 * 900));
                Append::Say(NewMessage {
                    audience: to,
                    kind,
                    at: at(self.now),
                    cid: name.map(cid),
                    ..message(number, by, &text)
                })
            }
            Do::Delete { id: number, by, cid: name } => {
                Append::Delete { id: id(number), by: user(by), cid: name.map(cid) }
            }
            Do::Expire { id: number } => Append::Expire { id: id(number) },
            Do::Remove { id: number } => Append::Remove { id: id(number) },
            Do::Register { user: name, key, invite } => Append::Register {
                user: user(name),
                key: [key; 32],
                invite: invite.map(|hash| [hash; 32]),
            },
            Do::Rebind { user: name, key } => Append::Rebind { user: user(name), key: [key; 32] },
            Do::Invite { hash, uses, lives } => {
                let expires = self.now + lives;
                Append::Invite(OpenInvite { hash: [hash; 32], uses, expires })
            }
            Do::Ban(banned) => Append::Ban(banned),
            Do::Unban(banned) => Append::Unban(banned),
            Do::Seen { user: name, up_to } => Append::Seen { user: user(name), up_to: Seq(up_to) },
        }
    }

    fn note(&mut self, asked: &Append, outcome: Outcome) {
        match outcome {
            Outcome::Said(message) => {
                let text = message.content.as_str().to_owned();
                self.told.insert(message.seq, (text, message.audience, message.sender));
            }
            Outcome::Repeated(First::Said(first)) => {
                assert!(!self.gone.contains(first.content.as_str()), "{asked:?}");
            }
            Outcome::Repeated(First::Deleted(_) | First::SaidAndGone { .. })
            | Outcome::Deleted(_)
            | Outcome::Removed { .. }
            | Outcome::Expired { .. }
            | Outcome::Gone
            | Outcome::IdTaken
            | Outcome::Registered
            | Outcome::NotYourKey
            | Outcome::BadInvite
            | Outcome::Noted => {}
        }
    }

    /// Whatever the log in memory does not have any more, no other may have.
    fn note_what_is_gone(&mut self) {
        let mut kept = BTreeSet::new();
        for viewer in PEOPLE {
            // Even what has expired may still be on disk, until somebody says so.
            let view = View { viewer: &user(viewer), now: Millis::MIN };
            let page = self.memory.reader().unwrap().history(view, None, usize::MAX).unwrap();
            kept.extend(page.messages.into_iter().map(|message| message.seq));
        }
        let gone = self.told.iter().filter(|(seq, _)| !kept.contains(seq));
        self.gone.extend(gone.map(|(_, (text, ..))| text.clone()));
    }

    fn check(&mut self) {
        let now = self.now;
        let (a, b) = (self.sqlite().opened().unwrap(), self.memory.opened().unwrap());
        assert_eq!(comparable(a), comparable(b));
        let mut sqlite = self.sqlite().reader().unwrap();
        let mut memory = self.memory.reader().unwrap();
        assert_eq!(sqlite.horizon().unwrap(), memory.horizon().unwrap());
        for viewer in PEOPLE.map(user) {
            let view = View { viewer: &viewer, now };
            let seen = seen(&mut sqlite, view);
            assert_eq!(seen, self::seen(&mut memory, view));
            let texts = seen.texts();
            for (text, audience, sender) in self.told.values() {
                let may = *sender == viewer
                    || audience.named().is_none_or(|named| named.contains(&viewer));
                let must_not = !may || self.gone.contains(text);
                assert!(!(must_not && texts.contains(text.as_str())), "{viewer} sees {text}");
            }
        }
    }

    /// No file has what is gone, and the files are read right: what is not gone is found.
    fn check_files(&mut self) {
        assert_eq!(self.sqlite().overwrite().unwrap(), Overwritten::Done);
        let mut bytes = Vec::new();
        for file in fs::read_dir(self.folder.path()).unwrap() {
            bytes.extend(fs::read(file.unwrap().path()).unwrap());
        }
        let bytes = String::from_utf8_lossy(&bytes);
        for (text, ..) in self.told.values() {
            let token = text.split_inclusive('>').next().unwrap();
            assert_eq!(bytes.contains(token), !self.gone.contains(text), "{token}");
        }
    }
}

fn sweep(store: &mut impl Store, now: Millis, retention: Retention) -> BTreeSet<MessageId> {
    let mut freed = BTreeSet::new();
    loop {
        let swept = store.sweep(now, retention).unwrap();
        freed.extend(swept.freed);
        if !swept.more {
            return freed;
        }
    }
}

fn comparable(mut opened: Opened) -> Opened {
    opened.ids.sort();
    opened.temporary.sort();
    opened.banned.sort();
    opened.size.bytes = 0;
    opened.epoch = String::new();
    opened
}

/// All that somebody can read.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    events: Vec<Option<Events>>,
    pages: Vec<Page>,
    around: Vec<Option<Around>>,
    metadata: Vec<Option<Metadata>>,
    scanned: Vec<Scanned>,
    rows: Vec<(Seq, String, Millis, String, bool)>,
    messages: Vec<Message>,
}

impl Seen {
    fn texts(&self) -> BTreeSet<&str> {
        let events = self.events.iter().flatten().flat_map(|events| &events.events);
        let said = events.filter_map(|event| match event {
            Event::Said(message) => Some(message),
            _ => None,
        });
        said.chain(self.pages.iter().flat_map(|page| &page.messages))
            .chain(self.around.iter().flatten().flat_map(|around| &around.messages))
            .chain(&self.messages)
            .map(|message| message.content.as_str())
            .chain(self.rows.iter().map(|(.., text, _)| text.as_str()))
            .collect()
    }
}

fn seen(reader: &mut impl Reader, view: View<'_>) -> Seen {
    let mut seen = Seen::default();
    for (place, limit) in [(0, 1), (0, 3), (2, 100), (7, 2), (100, 1)] {
        seen.events.push(reader.events_after(view, Seq(place), limit).unwrap());
        seen.pages.push(reader.history(view, Some(Seq(place)), limit).unwrap());
    }
    seen.pages.push(reader.history(view, None, 100).unwrap());
    for number in 0..IDS {
        seen.metadata.push(reader.message(view, id(number)).unwrap());
        seen.around.push(reader.around(view, id(number), 2).unwrap());
    }
    let places: Vec<_> = (0..20).map(Seq).collect();
    seen.messages = reader.messages(view, &places).unwrap();
    let mut before = None;
    loop {
        let scanned = reader.scan(view, before, 2, &mut |row| {
            let (sender, text) = (row.sender.to_owned(), row.content.to_owned());
            seen.rows.push((row.seq, sender, row.at, text, row.names(&user("Bob"))));
            ControlFlow::Continue(())
        });
        let scanned = scanned.unwrap();
        seen.scanned.push(scanned);
        before = scanned.next;
        if before.is_none() {
            return seen;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn both_logs_tell_the_same(steps in proptest::collection::vec(step(), 1..25)) {
        let mut machine = Machine::new();
        for (index, step) in steps.into_iter().enumerate() {
            machine.step(step);
            if index % 3 == 0 {
                machine.check();
            }
        }
        machine.check();
        machine.check_files();
    }
}
