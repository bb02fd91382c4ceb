//! Tests of the queue and the file of the outbox.

use std::fs;

use super::*;
use crate::protocol::message::{Audience, Millis};
use crate::protocol::request::{Post, PostKind, Request};
use crate::protocol::room::RoomAction;
use crate::protocol::text::SafeText;

const DAY: Millis = 24 * 60 * 60 * 1_000;

fn unsent(cid: &str, at: Millis) -> UnsentRequest {
    let post = Post {
        audience: Audience::Only(["Ann_1180".parse().unwrap()].into()),
        kind: PostKind::Reply { to: "235467".parse().unwrap() },
        content: SafeText::clean(&format!("{cid}: ü\n\"quoted\"")),
    };
    UnsentRequest { cid: cid.parse().unwrap(), request: Request::Post(post), at }
}

fn cids(left: &[UnsentRequest]) -> Vec<&str> {
    left.iter().map(|unsent| unsent.cid.as_str()).collect()
}

fn open(folder: &Path) -> (OutboxFile, Vec<UnsentRequest>) {
    OutboxFile::open(folder, "stem").unwrap()
}

#[test]
fn unanswered_message_is_resent_until_it_is_too_old() {
    let mut queue = OutboxQueue::new(vec![unsent("old", 0), unsent("new", 5 * DAY)]);
    assert!(queue.on_connect(5 * DAY).is_empty());
    queue.mark_sent(&"old".parse().unwrap());
    assert_eq!(queue.next(), Some(&unsent("new", 5 * DAY)));
    queue.on_disconnect();
    assert_eq!(queue.next(), Some(&unsent("old", 0)), "in order");
    assert_eq!(queue.on_connect(6 * DAY + 1), [unsent("old", 0)]);
    assert_eq!(queue.next(), Some(&unsent("new", 5 * DAY)));
    assert!(queue.remove(&"new".parse().unwrap()));
    assert!(!queue.remove(&"new".parse().unwrap()));
    assert_eq!(queue.next(), None);
    assert_eq!(queue.unsent().count(), 1, "it is kept until the user discards it");
}

#[test]
fn unanswered_messages_survive_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, left) = open(folder.path());
    assert!(left.is_empty());
    let all = [unsent("one", 1), unsent("two", 2), unsent("three", 3)];
    file.append(&all).unwrap();
    file.record_answers(&["two".parse().unwrap()], [&all[0], &all[2]].into_iter()).unwrap();
    drop(file);
    let (file, left) = open(folder.path());
    assert_eq!(left, [all[0].clone(), all[2].clone()]);
    drop(file);
    // A crash while the last line is written.
    let path = folder.path().join("stem.0.jsonl");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 5]).unwrap();
    let (mut file, left) = open(folder.path());
    assert_eq!(cids(&left), ["one"]);
    file.append(&[unsent("four", 4)]).unwrap();
    drop(file);
    assert_eq!(cids(&open(folder.path()).1), ["one", "four"]);
}

#[test]
fn answered_message_is_removed_from_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stem.0.jsonl");
    let (mut file, _) = open(folder.path());
    let all = [unsent("one", 1), unsent("two", 2)];
    file.append(&all).unwrap();
    file.record_answers(&["one".parse().unwrap()], [&all[1]].into_iter()).unwrap();
    file.scrub([&all[1]].into_iter()).unwrap();
    assert!(!fs::read_to_string(&path).unwrap().contains("one"));
    file.record_answers(&["two".parse().unwrap()], std::iter::empty()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"");
}

#[test]
fn each_process_has_its_own_file_and_unused_files_are_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, _) = open(folder.path());
    let (mut second, _) = open(folder.path());
    first.append(&[unsent("one", 1)]).unwrap();
    second.append(&[unsent("two", 2)]).unwrap();
    drop(second);
    let (second, left) = open(folder.path());
    assert_eq!(cids(&left), ["two"], "the first process still holds its file");
    drop((first, second));
    let (_third, left) = open(folder.path());
    assert_eq!(cids(&left), ["one", "two"]);
    assert!(!folder.path().join("stem.1.jsonl").exists());
}

#[test]
fn unusable_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a file");
    fs::write(&file, "").unwrap();
    let server = ServerAddress::default();
    let error = Outbox::open(&file, &server, "Bob").unwrap_err();
    assert!(error.to_string().contains("a file"), "{error}");
}

#[test]
fn changes_survive_a_crash_and_old_files_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stem.0.jsonl");
    fs::write(
        &path,
        "{\"at\":1,\"request\":{\"action\":\"MESSAGE\",\"receiver\":[\"all\"],\"private\":false,\
         \"content\":\"hi\",\"cid\":\"old\"}}\n",
    )
    .unwrap();
    let (mut file, left) = open(folder.path());
    assert_eq!(cids(&left), ["old"]);
    let id = "235467".parse().unwrap();
    let room = "#ops".parse().unwrap();
    let action = RoomAction::Topic(SafeText::clean("deploys"));
    let requests = [
        Request::Delete(id),
        Request::Edit { id, content: SafeText::clean("typo fixed") },
        Request::React { id, emoji: "👍".parse().unwrap(), on: true },
        Request::Pin { id, on: false },
        Request::Room { room, action },
    ];
    let unsent = |(at, request): (Millis, &Request)| UnsentRequest {
        cid: format!("c-{at}").parse().unwrap(),
        request: request.clone(),
        at,
    };
    let changes: Vec<UnsentRequest> = (2..).zip(&requests).map(unsent).collect();
    file.append(&changes).unwrap();
    drop(file);
    assert_eq!(open(folder.path()).1[1..], changes);
}
