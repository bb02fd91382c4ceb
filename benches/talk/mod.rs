//! What many people might say: the log that the measurements fill.

use chat::protocol::id::{MessageId, UserId};
use chat::protocol::message::{Audience, MessageKind, Millis};
use chat::protocol::text::SafeText;
use chat::store::sqlite::SqliteStore;
use chat::store::{Append, NewMessage, Store};
use chrono::DateTime;

/// When all of it was said.
pub(crate) const NOW: Millis = 1_795_000_000_000;

const WORDS: [&str; 16] = [
    "lunch", "deploy", "ready", "the", "branch", "review", "please", "after", "meeting", "build",
    "green", "who", "could", "look", "at", "logs",
];

/// The id of a message, spread like ids that are drawn.
pub(crate) fn message_id(number: u32) -> MessageId {
    let drawn = u64::from(number) * 7_919_999 % 9_000_000;
    MessageId::from_number(1_000_000 + u32::try_from(drawn).unwrap()).unwrap()
}

/// One of 200 people.
pub(crate) fn user_id(number: u32) -> UserId {
    format!("User_{:04}", number % 200).parse().unwrap()
}

/// Fifteen words and the number. One in twenty is direct.
pub(crate) fn post(number: u32) -> Append {
    let audience = if number.is_multiple_of(20) {
        Audience::Only([user_id(number + 1), user_id(number + 2)].into())
    } else {
        Audience::Everyone
    };
    let word = |n: u32| WORDS[(number.wrapping_mul(2_654_435_761) >> (n * 2) & 15) as usize];
    let text: Vec<_> = (0..15).map(word).collect();
    Append::Post(NewMessage {
        id: message_id(number),
        sender: user_id(number),
        guest: false,
        audience,
        kind: MessageKind::Plain,
        content: SafeText::clean(&format!("{} {number}", text.join(" "))),
        at: DateTime::from_timestamp_millis(NOW).unwrap().fixed_offset(),
        cid: Some(
            format!("{:032x}", u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c))
                .parse()
                .unwrap(),
        ),
    })
}

/// Writes the next `size` messages in one transaction.
pub(crate) fn append_batch(store: &mut SqliteStore, next: &mut u32, size: u32) {
    let batch: Vec<_> = (*next..*next + size).map(post).collect();
    *next += size;
    assert_eq!(store.append(NOW, &batch).unwrap().len(), batch.len());
}
