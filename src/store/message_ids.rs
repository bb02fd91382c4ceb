//! Message ids: a keyed permutation of the sequence number.
//!
//! An id needs no randomness, is never reused, and reveals nothing about how many messages lie between two
//! of them, since the key differs for every log. Ids have six digits while those last, then seven, and so on.
//! The log finds a message by its id without an index.

use crate::protocol::id::{MessageId, Seq};

/// The ids that a log assigns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MessageIds {
    key: u64,
    /// The smallest id, a power of ten: larger than every id that an older format assigned at random.
    first: u32,
    /// Sequence numbers up to here got their ids from an older format.
    base: Seq,
}

/// Rounds of the Feistel network. Four make it a pseudorandom permutation (Luby and Rackoff, 1988).
const ROUNDS: u64 = 4;

impl MessageIds {
    /// The ids of the log with this epoch.
    pub(super) fn new(epoch: &str, first: u32, base: Seq) -> Self {
        // FNV-1a: the same on every machine and in every version.
        let key = epoch.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        Self { key, first, base }
    }

    /// The id of the message with this sequence number; `None` once all nine-digit ids are used.
    pub(super) fn assign(&self, seq: Seq) -> Option<MessageId> {
        let mut index = seq.0.checked_sub(self.base.0 + 1)?;
        let mut start = u64::from(self.first);
        while index >= 9 * start {
            index -= 9 * start;
            start *= 10;
        }
        let number = u32::try_from(start + self.class(start).permute(index)).ok()?;
        MessageId::from_number(number)
    }

    /// The sequence number of the message with this id, if there is one; `None` for an id of an older
    /// format. Because of this, the log needs no index of ids.
    pub(super) fn seq_of(&self, id: MessageId) -> Option<Seq> {
        let mut start = u64::from(self.first);
        let mut index = u64::from(id.number()).checked_sub(start)?;
        let mut before = 0;
        while index >= 9 * start {
            index -= 9 * start;
            before += 9 * start;
            start *= 10;
        }
        Some(Seq(self.base.0 + 1 + before + self.class(start).invert(index)))
    }

    /// The permutation of the ids with as many digits as `start`, a power of ten.
    fn class(&self, start: u64) -> Permutation {
        let size = 9 * start;
        let half_bits = (u64::BITS - (size - 1).leading_zeros()).div_ceil(2);
        Permutation { key: self.key ^ start, size, half_bits }
    }
}

/// A permutation of `0..size`: a Feistel network over the next even power of two, repeated until the
/// result is in range.
struct Permutation {
    key: u64,
    size: u64,
    half_bits: u32,
}

impl Permutation {
    fn permute(&self, index: u64) -> u64 {
        self.walk(index, |mut left, mut right| {
            for round in 0..ROUNDS {
                (left, right) = (right, left ^ self.mix(round, right));
            }
            (left, right)
        })
    }

    fn invert(&self, index: u64) -> u64 {
        self.walk(index, |mut left, mut right| {
            for round in (0..ROUNDS).rev() {
                (left, right) = (right ^ self.mix(round, left), left);
            }
            (left, right)
        })
    }

    fn walk(&self, index: u64, step: impl Fn(u64, u64) -> (u64, u64)) -> u64 {
        let mut value = index;
        loop {
            let (left, right) = step(value >> self.half_bits, value & self.mask());
            value = (left << self.half_bits) | right;
            if value < self.size {
                return value;
            }
        }
    }

    fn mix(&self, round: u64, half: u64) -> u64 {
        mix(self.key ^ (round << 56) ^ half) & self.mask()
    }

    fn mask(&self) -> u64 {
        (1 << self.half_bits) - 1
    }
}

/// The finalizer of splitmix64.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_id_of_a_class_is_assigned_once() {
        let ids = MessageIds::new("epoch", 100_000, Seq(0));
        let assigned: HashSet<_> =
            (1..=900_000).map(|seq| ids.assign(Seq(seq)).unwrap().number()).collect();
        assert_eq!(assigned.len(), 900_000);
        assert!(assigned.iter().all(|id| (100_000..1_000_000).contains(id)));
        assert!(ids.assign(Seq(900_001)).unwrap().number() >= 1_000_000);
    }

    #[test]
    fn ids_are_the_same_in_every_version() {
        let ids = MessageIds::new("epoch", 100_000, Seq(0));
        let first: Vec<_> = (1..=3).map(|seq| ids.assign(Seq(seq)).unwrap().number()).collect();
        assert_eq!(first, [183_109, 819_181, 740_539]);
    }

    #[test]
    fn ids_of_an_older_format_are_not_assigned_again() {
        let ids = MessageIds::new("epoch", 1_000_000, Seq(500));
        assert_eq!(ids.assign(Seq(500)), None);
        assert!(ids.assign(Seq(501)).unwrap().number() >= 1_000_000);
    }

    #[test]
    fn sequence_number_is_found_by_id() {
        for (first, base) in [(100_000, 0), (1_000_000, 500)] {
            let ids = MessageIds::new("epoch", first, Seq(base));
            for seq in (1..2_000).chain([899_999, 900_000, 900_001, 50_000_000, 999_000_000]) {
                let seq = Seq(base + seq);
                if let Some(id) = ids.assign(seq) {
                    assert_eq!(ids.seq_of(id), Some(seq));
                }
            }
        }
        let old = MessageId::from_number(999_999).unwrap();
        assert_eq!(MessageIds::new("epoch", 1_000_000, Seq(500)).seq_of(old), None);
    }

    #[test]
    fn ids_end_after_nine_digits() {
        let ids = MessageIds::new("epoch", 100_000, Seq(0));
        assert!(ids.assign(Seq(999_900_000)).is_some());
        assert_eq!(ids.assign(Seq(999_900_001)), None);
    }
}
