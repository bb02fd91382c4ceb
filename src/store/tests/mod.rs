//! Tests of the log: a conformance suite for both implementations, and a model test that compares them.

mod conformance;
mod disk;
mod model_test;
mod worker;

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, FixedOffset};

use super::memory::EPOCH;
use super::message_ids::MessageIds;
use super::sqlite::SqliteStore;
use super::{Entry, NewMessage, Outcome, Reader, Store, View};
use crate::protocol::error::Refusal;
use crate::protocol::event::Event;
use crate::protocol::id::{Cid, MessageId, Seq, UserId};
use crate::protocol::message::{Audience, Message, MessageKind, Millis};
use crate::protocol::text::SafeText;

/// A time in 2026, in milliseconds since 1970.
const NOW: Millis = 1_795_000_000_000;

fn user(name: &str) -> UserId {
    format!("{name}_0001").parse().unwrap()
}

/// The id of the message with this sequence number, in a [`MemoryStore`](super::memory::MemoryStore) or a
/// log with its epoch.
fn id(seq: u32) -> MessageId {
    MessageIds::new(EPOCH, MessageId::FIRST, Seq(0)).assign(Seq(seq.into())).unwrap()
}

fn cid(name: &str) -> Cid {
    name.parse().unwrap()
}

fn at(now: Millis) -> DateTime<FixedOffset> {
    let zone = FixedOffset::east_opt(3_600).unwrap();
    DateTime::from_timestamp_millis(now).unwrap().with_timezone(&zone)
}

fn only(names: &[&str]) -> Audience {
    Audience::Only(names.iter().map(|name| user(name)).collect())
}

/// A message to everyone.
fn message(number: u32, sender: &str, text: &str) -> NewMessage {
    NewMessage {
        sender: user(sender),
        guest: number.is_multiple_of(3),
        audience: Audience::Everyone,
        guests: Arc::new(["Ann", "Bob", "Cid", "Dan"].map(user).into()),
        kind: MessageKind::Plain,
        content: SafeText::clean(text),
        at: at(NOW),
        cid: None,
    }
}

fn delete(number: u32, author: &str) -> Entry {
    Entry::Delete { id: id(number), by: user(author), cid: None }
}

fn register(name: &str, key: u8) -> Entry {
    Entry::Register { user: user(name), key: [key; 32], invite: None }
}

fn apply(store: &mut impl Store, entry: Entry) -> Outcome {
    apply_at(store, NOW, entry)
}

fn apply_at(store: &mut impl Store, now: Millis, entry: Entry) -> Outcome {
    let mut outcomes = store.apply(now, &[entry]).unwrap();
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

fn expect_posted(outcome: Outcome) -> Message {
    match outcome {
        Outcome::Posted(message) => message,
        other => panic!("{other:?}"),
    }
}

/// A log in `folder` with the message ids of [`id`].
fn open_sqlite(folder: &Path) -> SqliteStore {
    SqliteStore::open(folder).unwrap().with_epoch(EPOCH)
}

/// The event of a removal.
fn expect_removed(outcome: Outcome) -> Event {
    match outcome {
        Outcome::Removed(removal) => removal.event,
        other => panic!("{other:?}"),
    }
}

fn not_found(seq: u32) -> Outcome {
    Outcome::Refused(Refusal::UnknownMessage(id(seq)))
}

/// The texts that `viewer` finds in the history at `NOW`.
fn texts(reader: &mut impl Reader, viewer: &str) -> Vec<String> {
    texts_at(reader, viewer, NOW)
}

fn texts_at(reader: &mut impl Reader, viewer: &str, now: Millis) -> Vec<String> {
    let view = View { viewer: &user(viewer), now };
    let page = reader.history(view, None, 100).unwrap();
    page.messages.iter().map(|message| message.content.as_str().to_owned()).collect()
}

fn seqs(messages: &[Message]) -> Vec<Seq> {
    messages.iter().map(|message| message.seq).collect()
}
