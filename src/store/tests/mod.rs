//! Tests of the log: a conformance suite for both implementations, and a model test that compares them.

#[macro_use]
mod conformance;
mod conversations;
mod disk;
pub(crate) mod memory;
mod model_test;
mod oracle;
pub(super) mod rule_rows;
mod scrub;
mod worker;

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, FixedOffset};

use self::memory::EPOCH;
use super::message_ids::MessageIds;
use super::sqlite::SqliteStore;
use super::{
    Answer, Entry, InviteRule, MessagePage, NewMessage, NewUser, Outcome, Reader, Retain, Retained,
    Retention, RoomEntry, RoomLimits, Store, View, Viewers,
};
use crate::protocol::error::Refusal;
use crate::protocol::event::Event;
use crate::protocol::id::{Cid, MessageId, Seq, UserId};
use crate::protocol::message::{Audience, Message, MessageKind, Millis};
use crate::protocol::query::{HistoryQuery, HistoryRange};
use crate::protocol::room::RoomAction;
use crate::protocol::text::SafeText;

/// A time in 2026, in milliseconds since 1970.
const NOW: Millis = 1_795_000_000_000;

/// The ID that [`register`] gives to the first user of this name.
pub(super) fn user(name: &str) -> UserId {
    format!("{name}_0002").parse().unwrap()
}

/// The id of the message with this sequence number, in a [`MemoryStore`](memory::MemoryStore) or a
/// log with its epoch.
pub(super) fn id(seq: u32) -> MessageId {
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
pub(super) fn message(number: u32, sender: &str, text: &str) -> NewMessage {
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

/// A change of a room by a user.
pub(super) fn room(name: &str, by: &str, action: RoomAction) -> RoomEntry {
    RoomEntry {
        room: name.parse().unwrap(),
        by: Some(by).filter(|by| !by.is_empty()).map(user),
        action,
        limits: RoomLimits { rooms: 3, memberships: 3 },
        cid: None,
    }
}

fn delete(number: u32, author: &str) -> Entry {
    Entry::Delete { id: id(number), by: user(author), cid: None }
}

fn register(name: &str, key: u8) -> Entry {
    Entry::Register(new_user(name, key))
}

fn new_user(name: &str, key: u8) -> NewUser {
    NewUser {
        name: name.parse().unwrap(),
        key: [key; 32],
        invite: InviteRule::NotRequired,
        similar_guest: None,
        draw: 1,
    }
}

/// The outcome of a registration.
fn registered(user: &str, key: u8) -> Outcome {
    Outcome::Registered { user: user.parse().unwrap(), key: [key; 32], joined: Vec::new() }
}

fn retain(now: Millis, retention: Retention) -> Retain {
    Retain { before: retention.cutoff(now), now, after: Seq(0) }
}

/// Removes everything past its retention. Returns whether a message was removed.
pub(crate) fn sweep(store: &mut impl Store, now: Millis, retention: Retention) -> bool {
    let (mut has_removed, mut step) = (false, retain(now, retention));
    loop {
        let retained = expect_retained(apply_at(store, now, Entry::Retain(step)));
        has_removed |= retained.has_removed;
        match retained.next {
            Some(after) => step.after = after,
            None => return has_removed,
        }
    }
}

fn expect_retained(outcome: Outcome) -> Retained {
    match outcome {
        Outcome::Retained(retained) => retained,
        other => panic!("{other:?}"),
    }
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
fn expect_changed(outcome: Outcome) -> Event {
    match outcome {
        Outcome::Changed(change) => change.event,
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
    let page = page(reader, view, HistoryRange::Latest, 100).unwrap();
    page.messages.iter().map(|message| message.content.as_str().to_owned()).collect()
}

/// A page of all that the viewer may see.
pub(crate) fn page(
    reader: &mut impl Reader,
    view: View<'_>,
    range: HistoryRange,
    limit: usize,
) -> Answer<MessagePage> {
    reader.history(view, &HistoryQuery { conversation: None, range }, limit).unwrap()
}

/// A message and its neighbours.
fn around(reader: &mut impl Reader, view: View<'_>, seq: u32, limit: usize) -> Answer<MessagePage> {
    page(reader, view, HistoryRange::Around(id(seq)), limit)
}

fn seqs(messages: &[Message]) -> Vec<Seq> {
    messages.iter().map(|message| message.seq).collect()
}
