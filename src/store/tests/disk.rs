//! Tests of the files of the log in SQLite: durability, lock, formats, permissions, full and damaged disks.

use std::fs;
use std::path::Path;
use std::thread;

use rusqlite::Connection;

use super::super::sqlite::SqliteStore;
use super::super::{
    BanSubject, BanTarget, Change, CheckpointOutcome, OpenInvite, ScrubOutcome, StoreError,
};
use super::*;

pub(super) fn temp_folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn raw_connection(folder: &Path) -> Connection {
    Connection::open(folder.join("log.db")).unwrap()
}

#[test]
fn entries_survive_reopening() {
    let folder = temp_folder();
    let folder = &folder.path().join("made/with/its/parents");
    let mut store = open_sqlite(folder);
    let epoch = store.snapshot().unwrap().epoch;
    apply(&mut store, Entry::Post(message(1, "Ann", "text")));
    apply(&mut store, delete(1, "Ann"));
    drop(store);
    let mut store = SqliteStore::open(folder).unwrap();
    assert_eq!(store.snapshot().unwrap().epoch, epoch);
    let next = expect_posted(apply(&mut store, Entry::Post(message(2, "Ann", "next"))));
    assert_eq!(next.seq, Seq(3), "a sequence number is never reused");
}

#[test]
fn commits_are_synced_and_deletes_are_secure() {
    let folder = temp_folder();
    let store = SqliteStore::open(folder.path()).unwrap();
    let settings: Vec<String> = ["journal_mode", "synchronous", "secure_delete", "fullfsync"]
        .map(|name| store.pragma(name))
        .into();
    assert_eq!(settings, ["wal", "2", "1", "1"]);
}

#[test]
fn second_server_is_refused_and_the_holder_named() {
    let folder = temp_folder();
    let store = SqliteStore::open(folder.path()).unwrap();
    let error = SqliteStore::open(folder.path()).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, StoreError::Locked { .. }), "{text}");
    assert!(text.contains(&format!("another server (process {})", std::process::id())), "{text}");
    assert!(text.contains(folder.path().to_str().unwrap()), "{text}");
    drop(store);
    SqliteStore::open(folder.path()).unwrap();
}

#[test]
fn newer_format_is_refused_unchanged() {
    let folder = temp_folder();
    drop(SqliteStore::open(folder.path()).unwrap());
    raw_connection(folder.path()).pragma_update(None, "user_version", 99).unwrap();
    let before = fs::read(folder.path().join("log.db")).unwrap();
    let error = SqliteStore::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::NewerFormat { format: 99, .. }), "{error}");
    assert!(error.to_string().contains("newer version"), "{error}");
    assert_eq!(fs::read(folder.path().join("log.db")).unwrap(), before);
}

/// Writes a log of an older format to `folder`. `version1.db` was written in format 1 by an older server:
/// two keys, two messages, one removed message.
fn write_older_log(folder: &Path, format: u32) {
    fs::write(folder.join("log.db"), include_bytes!("version1.db")).unwrap();
    let steps = [
        include_str!("../sqlite/format_2.sql"),
        include_str!("../sqlite/format_3.sql"),
        include_str!("../sqlite/format_4.sql"),
    ];
    let db = raw_connection(folder);
    for step in steps.iter().take(format as usize - 1) {
        db.execute_batch(step).unwrap();
    }
    db.pragma_update(None, "user_version", format).unwrap();
}

#[test]
fn logs_of_older_formats_are_migrated() {
    for format in 1..=4 {
        let folder = temp_folder();
        write_older_log(folder.path(), format);
        for start in 0..2 {
            let mut store = SqliteStore::open(folder.path()).unwrap();
            let snapshot = store.snapshot().unwrap();
            let head = if start == 0 { Seq(4) } else { Seq(6) };
            assert_eq!((snapshot.epoch.as_str(), snapshot.head), ("MYSccM1IUlB4lDxw", head));
            let users: Vec<_> = snapshot.registered.iter().map(|(user, _)| user.as_str()).collect();
            assert_eq!(users, ["Ann_9908", "Bob_6745"]);
            let mut reader = store.open_reader().unwrap();
            let view = View { viewer: &user("Cid"), now: NOW };
            let old = page(&mut reader, view, HistoryRange::Latest, 9).unwrap().messages;
            assert_eq!(old[0].content.as_str(), "hello from Ann");
            assert!(!old[0].guest);
            // A resend of a message that is stored, and of one that was removed.
            for (seq, id, sender, name) in [
                (2, 191_737, "Bob_6745", "b5e6471c756caa9caa46e768da084e17"),
                (3, 159_741, "Ann_9908", "cedab8ca18de10b304459e34715c3b53"),
            ] {
                let (sender, cid) = (sender.parse().unwrap(), Some(cid(name)));
                let again = Entry::Post(NewMessage { sender, cid, ..message(1, "Cid", "again") });
                let id = MessageId::from_number(id).unwrap();
                assert_eq!(
                    apply(&mut store, again),
                    Outcome::Repeated { seq: Seq(seq), id: Some(id) }
                );
            }
            let similar = Refusal::ConfusableName("bob".parse().unwrap(), "Bob".parse().unwrap());
            assert_eq!(apply(&mut store, register("bob", 9)), Outcome::Refused(similar));
            let target = BanSubject::Target(BanTarget::Key([1; 32]));
            apply(&mut store, Entry::Ban(target));
            assert_eq!(store.snapshot().unwrap().bans, [BanTarget::Key([1; 32])]);
            if start == 0 {
                assert_eq!(texts(&mut reader, "Cid"), ["hello from Ann", "hello from Bob"]);
                // Old ids stay valid, and no new id repeats one.
                let new = expect_posted(apply(&mut store, Entry::Post(message(1, "Cid", "new"))));
                assert!(new.id.number() >= 1_000_000, "{}", new.id);
                let by = old[1].sender.clone();
                let event = expect_changed(apply(
                    &mut store,
                    Entry::Delete { id: old[1].id, by, cid: None },
                ));
                assert_eq!(event.removed_message(), Some(old[1].id));
            }
        }
    }
}

#[test]
fn direct_conversations_of_older_formats_are_migrated() {
    for format in 1..=4 {
        let folder = temp_folder();
        write_older_log(folder.path(), format);
        // A message from Ann to Bob, a removed one, and one that Bob has received.
        let db = raw_connection(folder.path());
        db.execute_batch(
            "INSERT INTO message (seq, id, sender, recipients, at, zone, content)
                 VALUES (5, 900001, 'Ann_9908', 'Bob_6745 Guy_1111', 1795349100950, 0, 'old'),
                        (8, 900003, 'Ann_9908', 'Bob_6745', 1795349100950, 0, 'new');
             INSERT INTO mark VALUES
                 (7, 900002, 'Bob_6745', NULL, 'Bob_6745 Ann_9908', 1795349100950);
             INSERT INTO feed VALUES ('Ann_9908', 0, 5), ('Bob_6745', 0, 5), ('Guy_1111', 0, 5),
                 ('Ann_9908', 1, 7), ('Bob_6745', 1, 7), ('Ann_9908', 0, 8), ('Bob_6745', 0, 8);
             UPDATE log SET head = 8;
             UPDATE person SET seen = 6 WHERE user = 'Bob_6745';"
                .replace("content)", if format == 4 { "content, guest)" } else { "content)" })
                .replace("'old'", if format == 4 { "'old', 0" } else { "'old'" })
                .replace("'new'", if format == 4 { "'new', 0" } else { "'new'" })
                .as_str(),
        )
        .unwrap();
        drop(db);
        let mut store = SqliteStore::open(folder.path()).unwrap();
        let users = store.snapshot().unwrap().direct_message_users;
        assert_eq!(
            users.iter().map(UserId::as_str).collect::<Vec<_>>(),
            ["Ann_9908", "Bob_6745", "Guy_1111"]
        );
        let mut reader = store.open_reader().unwrap();
        for (viewer, expected) in
            [("Ann_9908", 3), ("Bob_6745", 3), ("Guy_1111", 1), ("Zed_1111", 0)]
        {
            let viewer = viewer.parse().unwrap();
            let view = View { viewer: &viewer, now: NOW };
            let events = reader.events_after(view, Seq(4), 9).unwrap().unwrap().events;
            assert_eq!(events.len(), expected, "{viewer}");
            let direct = reader.conversations(view).unwrap().into_iter();
            let direct = direct.filter(|info| info.conversation.is_direct());
            let counts: Vec<_> = direct.map(|info| (info.last, info.read, info.unread)).collect();
            let expected = match viewer.as_str() {
                "Ann_9908" => vec![(Seq(8), Seq(0), 0), (Seq(5), Seq(0), 0)],
                "Bob_6745" => vec![(Seq(8), Seq(6), 1), (Seq(5), Seq(6), 0)],
                "Guy_1111" => vec![(Seq(5), Seq(8), 0)],
                _ => vec![],
            };
            assert_eq!(counts, expected, "{viewer}");
        }
    }
}

/// Entries of every kind about accounts and retention, with messages that are older and younger than what is
/// kept.
fn account_entries() -> Vec<Entry> {
    let mut entries = Vec::new();
    for number in 0..1_200_u32 {
        let at = at(NOW - i64::from(1_200 - number) * 60_000);
        let audience = if number % 5 == 0 { only(&["Ann"]) } else { Audience::Everyone };
        let cid = Some(cid(&number.to_string()));
        entries.push(Entry::Post(NewMessage {
            audience,
            at,
            cid,
            ..message(number, "Bob", "text")
        }));
        if number % 40 == 0 {
            let hash = [u8::try_from(number / 40).unwrap(); 32];
            let key = hash[0] / 3;
            let name = ["Ann", "Bob", "B0b", "Tom", "Torn"][number as usize / 40 % 5];
            let invite = InviteRule::Required(Some(hash));
            let draw = u64::from(number % 3);
            let subject = BanSubject::User(user(name));
            entries.extend([
                Entry::Invite(OpenInvite {
                    hash,
                    uses: 2,
                    expires: NOW + i64::from(number),
                    rooms: Vec::new(),
                }),
                Entry::Register(NewUser { invite, draw, ..new_user(name, key) }),
                Entry::Register(NewUser { draw, ..new_user(name, key + 1) }),
                Entry::Rebind { user: user(name), key: [key + 2; 32] },
                Entry::Ban(subject.clone()),
                Entry::Delivered { user: user("Ann"), up_to: Seq(number.into()) },
            ]);
            entries.extend((number % 80 == 0).then_some(Entry::Unban(subject)));
        }
    }
    for after in [0, 100, 600, 0] {
        let step = Retain { after: Seq(after), ..retain(NOW + 600, Retention::Days(0)) };
        entries.push(Entry::Retain(step));
    }
    entries
}

/// All rows of all tables, apart from the random identity of the log.
fn dump(folder: &Path) -> Vec<String> {
    let db = raw_connection(folder);
    let names = |sql: &str| -> Vec<String> {
        let mut statement = db.prepare(sql).unwrap();
        statement.query_map((), |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let mut rows = Vec::new();
    for table in names("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name") {
        let mut statement = db.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = statement.column_count();
        let row = |row: &rusqlite::Row<'_>| {
            let values = (0..columns).map(|column| row.get(column));
            values.collect::<Result<Vec<rusqlite::types::Value>, _>>()
        };
        let all = statement.query_map((), row).unwrap();
        rows.extend(all.map(|row| format!("{table} {:?}", row.unwrap())));
    }
    rows
}

#[test]
fn logs_with_the_same_entries_are_equal() {
    let entries = account_entries();
    let (one, other) = (temp_folder(), temp_folder());
    let mut store = open_sqlite(one.path()).without_sync();
    let outcomes = store.apply(NOW, &entries).unwrap();
    let kinds: [fn(&Outcome) -> bool; 9] = [
        |outcome| matches!(outcome, Outcome::Registered { .. }),
        |outcome| matches!(outcome, Outcome::AlreadyRegistered(_)),
        |outcome| matches!(outcome, Outcome::Refused(Refusal::ConfusableName(..))),
        |outcome| matches!(outcome, Outcome::Refused(Refusal::TooManyIds(_))),
        |outcome| matches!(outcome, Outcome::Rebound { .. }),
        |outcome| matches!(outcome, Outcome::Banned(_)),
        |outcome| matches!(outcome, Outcome::Unbanned(_)),
        |outcome| matches!(outcome, Outcome::NoKey(_)),
        |outcome| matches!(outcome, Outcome::Retained(Retained { has_removed: true, .. })),
    ];
    for kind in kinds {
        assert!(outcomes.iter().any(kind), "every kind of outcome occurs");
    }

    let mut found = Vec::new();
    for batch in entries.chunks(97) {
        // What a store keeps in memory must not matter.
        let mut store = open_sqlite(other.path()).without_sync();
        found.extend(store.apply(NOW, batch).unwrap());
    }
    assert_eq!(found, outcomes);
    assert_eq!(dump(one.path()), dump(other.path()));
}

#[test]
fn resend_is_recognized_after_its_cid_has_left_memory() {
    let folder = temp_folder();
    let open = || open_sqlite(folder.path()).without_sync().with_recent_requests(8, 4);
    let post = |n: u32| {
        Entry::Post(NewMessage { cid: Some(cid(&format!("p{n}"))), ..message(n, "Ann", "text") })
    };
    let delete =
        |n: u32| Entry::Delete { id: id(n), by: user("Ann"), cid: Some(cid(&format!("d{n}"))) };
    let mut store = open();
    let mut first = Vec::new();
    for entry in (1..=20).map(post).chain([1, 10, 19].map(delete)).chain((21..=24).map(post)) {
        let outcome = match apply(&mut store, entry.clone()) {
            Outcome::Posted(message) => {
                Outcome::Repeated { seq: message.seq, id: Some(message.id) }
            }
            Outcome::Changed(Change { event: Event::Deleted(event), .. }) => {
                Outcome::Repeated { seq: event.seq, id: Some(event.id) }
            }
            other => panic!("{other:?}"),
        };
        first.push((entry, outcome));
    }
    for _ in 0..2 {
        for (entry, outcome) in &first {
            assert_eq!(apply(&mut store, entry.clone()), *outcome);
        }
        drop(store);
        store = open();
    }
}

#[test]
fn request_of_a_failed_transaction_is_not_remembered() {
    let folder = temp_folder();
    let mut store = SqliteStore::open(folder.path()).unwrap();
    store.limit_pages(40);
    let post =
        |text: &str| Entry::Post(NewMessage { cid: Some(cid("a")), ..message(1, "Ann", text) });
    let long = Entry::Post(message(2, "Ann", &"long ".repeat(50_000)));
    let error = store.apply(NOW, &[post("text"), long]).unwrap_err();
    assert!(matches!(error, StoreError::DiskFull), "{error}");
    expect_posted(apply(&mut store, post("text")));
}

#[test]
fn writes_go_on_during_a_checkpoint_in_the_background() {
    let folder = temp_folder();
    let (end, ended) = std::sync::mpsc::channel();
    let (mut store, run) = SqliteStore::open(folder.path())
        .unwrap()
        .without_sync()
        .with_background_checkpoint(move || ended.recv().map_err(|_ended| StoreError::Closed));
    let thread = thread::spawn(run);
    let long = "long ".repeat(800);
    let posts: Vec<_> = (0..1_500).map(|n| Entry::Post(message(n, "Ann", &long))).collect();
    store.apply(NOW, &posts).unwrap();
    store.checkpoint().unwrap();
    let wal = || fs::metadata(folder.path().join("log.db-wal")).unwrap().len();
    let length = wal();
    apply(&mut store, Entry::Post(message(1, "Ann", "meanwhile")));
    assert_eq!(store.checkpoint().unwrap(), CheckpointOutcome::Done);
    assert!(wal() > length, "not copied yet");
    end.send(()).unwrap();
    assert_eq!(store.scrub().unwrap(), ScrubOutcome::Done);
    assert_eq!(texts(&mut store.open_reader().unwrap(), "Bob").last().unwrap(), "meanwhile");
    drop(store);
    thread.join().unwrap();
}

#[test]
fn log_is_read_only_after_a_checkpoint_in_the_background_fails() {
    let folder = temp_folder();
    let (mut store, run) = SqliteStore::open(folder.path())
        .unwrap()
        .without_sync()
        .with_background_checkpoint(|| Err(StoreError::Corrupt("test".to_owned())));
    let thread = thread::spawn(run);
    let long = "long ".repeat(800);
    let posts: Vec<_> = (0..1_500).map(|n| Entry::Post(message(n, "Ann", &long))).collect();
    store.apply(NOW, &posts).unwrap();
    store.checkpoint().unwrap();
    let error = store.scrub().unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "a scrub waits for its end: {error}");
    let error = store.apply(NOW, &[Entry::Post(message(1, "Ann", "text"))]).unwrap_err();
    assert!(matches!(error, StoreError::EarlierFailure), "{error}");
    drop(store);
    thread.join().unwrap();
}

#[test]
fn foreign_file_is_refused_unchanged() {
    let folder = temp_folder();
    let file = folder.path().join("log.db");
    let assert_refused = || {
        let before = fs::read(&file).unwrap();
        let error = SqliteStore::open(folder.path()).unwrap_err();
        assert!(matches!(error, StoreError::NotALog(_)), "{error}");
        assert_eq!(fs::read(&file).unwrap(), before);
    };
    fs::write(&file, "no database, but long enough to be taken for one".repeat(100)).unwrap();
    assert_refused();
    fs::remove_file(&file).unwrap();
    raw_connection(folder.path()).execute_batch("CREATE TABLE accounts (name TEXT)").unwrap();
    assert_refused();
}

#[cfg(unix)]
#[test]
fn log_files_are_owner_only() {
    use std::os::unix::fs::PermissionsExt;

    let folder = temp_folder();
    let data = folder.path().join("data");
    let mut store = SqliteStore::open(&data).unwrap();
    apply(&mut store, Entry::Post(message(1, "Ann", "text")));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    let files: Vec<_> = fs::read_dir(&data).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn full_disk_rejects_entries_and_recovers() {
    let folder = temp_folder();
    let mut store = SqliteStore::open(folder.path()).unwrap();
    apply(&mut store, Entry::Post(message(1, "Ann", "first")));
    store.limit_pages(40);
    let long = |number| Entry::Post(message(number, "Ann", &"long ".repeat(700)));
    let error = (2..100).find_map(|number| {
        let both = [Entry::Post(message(1_000 + number, "Ann", "short")), long(number)];
        store.apply(NOW, &both).err()
    });
    assert!(matches!(error, Some(StoreError::DiskFull)), "{error:?}");
    let mut reader = store.open_reader().unwrap();
    let before = texts(&mut reader, "Bob");
    assert_eq!(before.iter().filter(|text| *text == "short").count(), before.len() / 2);
    store.limit_pages(4_000);
    apply(&mut store, long(100));
    assert_eq!(texts(&mut reader, "Bob").len(), before.len() + 1);
}

#[test]
fn entries_are_rejected_after_a_failure() {
    let folder = temp_folder();
    let mut store = SqliteStore::open(folder.path()).unwrap();
    apply(&mut store, Entry::Post(message(1, "Ann", "text")));
    drop(store);
    let file = folder.path().join("log.db");
    let page: u32 = raw_connection(folder.path())
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'feed'", (), |row| row.get(0))
        .unwrap();
    let page = page as usize;
    let mut bytes = fs::read(&file).unwrap();
    bytes[(page - 1) * 4_096..page * 4_096].fill(0xff);
    fs::write(&file, bytes).unwrap();

    let mut store = SqliteStore::open(folder.path()).unwrap();
    let batch = [Entry::Post(message(2, "Ann", "text"))];
    let first = store.apply(NOW, &batch).unwrap_err();
    assert!(matches!(first, StoreError::Corrupt(_)), "{first}");
    assert!(!first.is_transient());
    let register = register("Ann", 1);
    assert!(matches!(store.apply(NOW, &[register]), Err(StoreError::EarlierFailure)));
    assert!(matches!(store.scrub(), Err(StoreError::EarlierFailure)));
    assert_eq!(store.open_reader().unwrap().open_invites(NOW).unwrap(), [], "reading still works");
}

#[test]
fn pages_are_read_without_sorting() {
    let folder = temp_folder();
    let store = SqliteStore::open(folder.path()).unwrap();
    for plan in store.open_reader().unwrap().query_plans() {
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        assert!(!plan.contains("SCAN"), "{plan}");
    }
}

#[test]
fn lost_files_are_noticed_before_the_acknowledgement() {
    type Damage = fn(&Path);
    let damages: [Damage; 5] = [
        |file| fs::remove_file(file).unwrap(),
        |file| fs::write(file, "").unwrap(),
        |file| fs::File::options().write(true).open(file).unwrap().set_len(100).unwrap(),
        |file| fs::rename(file, file.with_extension("moved")).unwrap(),
        |file| {
            fs::copy(file, file.with_extension("copy")).unwrap();
            fs::rename(file.with_extension("copy"), file).unwrap();
        },
    ];
    for name in ["log.db", "log.db-wal"] {
        for (n, damage) in damages.iter().enumerate() {
            let folder = temp_folder();
            let mut store = SqliteStore::open(folder.path()).unwrap();
            apply(&mut store, Entry::Post(message(1, "Ann", "one")));
            apply(&mut store, Entry::Post(message(2, "Ann", "two")));
            damage(&folder.path().join(name));
            let post = |number| [Entry::Post(message(number, "Ann", "lost"))];
            let error = store.apply(NOW, &post(3)).unwrap_err();
            let is_noticed = match &error {
                StoreError::FileReplaced(path) => path.ends_with(name),
                // SQLite itself cannot read a shortened file.
                StoreError::Io(_) | StoreError::Corrupt(_) => true,
                _ => false,
            };
            assert!(is_noticed, "{name}, damage {n}: {error}");
            let error = store.apply(NOW, &post(4)).unwrap_err();
            assert!(matches!(error, StoreError::EarlierFailure), "{error}");
        }
    }
}

#[test]
fn log_that_grows_and_is_scrubbed_is_not_taken_for_replaced() {
    let folder = temp_folder();
    let mut store = open_sqlite(folder.path()).without_sync();
    let mut head = 0;
    for round in 0..30 {
        let text = "long ".repeat(800);
        let posts = (0..100).map(|n| Entry::Post(message(round * 100 + n, "Ann", &text)));
        store.apply(NOW, &posts.collect::<Vec<_>>()).unwrap();
        store.checkpoint().unwrap();
        if round % 7 == 0 {
            let deletes = (1..=100).map(|n| delete(head + n, "Ann"));
            store.apply(NOW, &deletes.collect::<Vec<_>>()).unwrap();
            assert_eq!(store.scrub().unwrap(), ScrubOutcome::Done);
            head += 100;
        }
        head += 100;
    }
}
