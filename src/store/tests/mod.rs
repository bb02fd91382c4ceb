//! Tests of the log: a conformance suite for both implementations, and a model test that compares them.

mod conformance;
mod disk;
mod model_test;
mod worker;

use chrono::{DateTime, FixedOffset};

use super::{Append, NewMessage, Outcome, Reader, Store, View};
use crate::protocol::id::{Cid, MessageId, Seq, UserId};
use crate::protocol::message::{Audience, Message, MessageKind, Millis};
use crate::protocol::text::SafeText;

/// A time in 2026, in milliseconds since 1970.
const NOW: Millis = 1_795_000_000_000;

fn user(name: &str) -> UserId {
    format!("{name}_0001").parse().unwrap()
}

fn id(number: u32) -> MessageId {
    MessageId::from_number(100_000 + number).unwrap()
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
        id: id(number),
        sender: user(sender),
        guest: number.is_multiple_of(3),
        audience: Audience::Everyone,
        kind: MessageKind::Plain,
        content: SafeText::clean(text),
        at: at(NOW),
        cid: None,
    }
}

fn delete(number: u32, author: &str) -> Append {
    Append::Delete { id: id(number), author: user(author), cid: None }
}

fn register(name: &str, key: u8) -> Append {
    Append::Register { user: user(name), key: [key; 32], invite: None }
}

fn append(store: &mut impl Store, append: Append) -> Outcome {
    append_at(store, NOW, append)
}

fn append_at(store: &mut impl Store, now: Millis, append: Append) -> Outcome {
    let mut outcomes = store.append(now, &[append]).unwrap();
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

fn expect_posted(outcome: Outcome) -> Message {
    match outcome {
        Outcome::Posted(message) => message,
        other => panic!("{other:?}"),
    }
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
