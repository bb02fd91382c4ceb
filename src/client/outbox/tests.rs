//! What waits, in which order, and what a crash leaves of it.

use std::fs;

use super::*;
use crate::protocol::message::Audience;
use crate::protocol::request::SayKind;
use crate::protocol::text::SafeText;

const DAY: Millis = 24 * 60 * 60 * 1_000;

fn unsent(cid: &str, at: Millis) -> Unsent {
    let say = Say {
        audience: Audience::Only(["Ann_1180".parse().unwrap()].into()),
        kind: SayKind::Reply { to: "235467".parse().unwrap() },
        content: SafeText::clean(&format!("{cid}: ü\n\"quoted\"")),
    };
    Unsent { cid: cid.parse().unwrap(), say, at }
}

fn names(left: &[Unsent]) -> Vec<&str> {
    left.iter().map(|unsent| unsent.cid.as_str()).collect()
}

fn open(folder: &Path) -> (Disk, Vec<Unsent>) {
    Disk::open(folder, "stem").unwrap()
}

#[test]
fn a_message_is_sent_again_after_a_loss_and_never_once_it_is_too_old() {
    let mut queue = Queue::new(vec![unsent("old", 0), unsent("new", 5 * DAY)]);
    assert!(queue.connected(5 * DAY).is_empty());
    queue.sent(&"old".parse().unwrap());
    assert_eq!(queue.next(), Some(&unsent("new", 5 * DAY)));
    queue.lost();
    assert_eq!(queue.next(), Some(&unsent("old", 0)), "in order");
    assert_eq!(queue.connected(6 * DAY + 1), ["old".parse().unwrap()]);
    assert_eq!(queue.next(), Some(&unsent("new", 5 * DAY)));
    assert!(queue.remove(&"new".parse().unwrap()));
    assert!(!queue.remove(&"new".parse().unwrap()));
    assert_eq!(queue.next(), None);
    assert_eq!(queue.unsent().count(), 1, "it is kept until its author says what becomes of it");
}

#[test]
fn what_was_appended_and_not_answered_is_there_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let (mut disk, left) = open(folder.path());
    assert!(left.is_empty());
    let all = [unsent("one", 1), unsent("two", 2), unsent("three", 3)];
    disk.append(&all).unwrap();
    disk.answered(&["two".parse().unwrap()], [&all[0], &all[2]].into_iter()).unwrap();
    drop(disk);
    let (disk, left) = open(folder.path());
    assert_eq!(left, [all[0].clone(), all[2].clone()]);
    drop(disk);
    // A crash in the middle of a line.
    let path = folder.path().join("stem.0.jsonl");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 5]).unwrap();
    let (mut disk, left) = open(folder.path());
    assert_eq!(names(&left), ["one"]);
    disk.append(&[unsent("four", 4)]).unwrap();
    drop(disk);
    assert_eq!(names(&open(folder.path()).1), ["one", "four"]);
}

#[test]
fn what_was_answered_leaves_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stem.0.jsonl");
    let (mut disk, _) = open(folder.path());
    let all = [unsent("one", 1), unsent("two", 2)];
    disk.append(&all).unwrap();
    disk.answered(&["one".parse().unwrap()], [&all[1]].into_iter()).unwrap();
    disk.scrub([&all[1]].into_iter()).unwrap();
    assert!(!fs::read_to_string(&path).unwrap().contains("one"));
    disk.answered(&["two".parse().unwrap()], std::iter::empty()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"");
}

#[test]
fn two_processes_have_two_files_and_none_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, _) = open(folder.path());
    let (mut second, _) = open(folder.path());
    first.append(&[unsent("one", 1)]).unwrap();
    second.append(&[unsent("two", 2)]).unwrap();
    drop(second);
    let (second, left) = open(folder.path());
    assert_eq!(names(&left), ["two"], "the first still has its own");
    drop((first, second));
    let (_third, left) = open(folder.path());
    assert_eq!(names(&left), ["one", "two"]);
    assert!(!folder.path().join("stem.1.jsonl").exists());
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a file");
    fs::write(&file, "").unwrap();
    let server = ServerAddress::default();
    let error = Outbox::open(&file, &server, "Bob").unwrap_err();
    assert!(error.to_string().contains("a file"), "{error}");
}
