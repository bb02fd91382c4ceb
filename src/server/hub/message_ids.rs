//! Which message ids are in use, in one bit each, and the drawing of new ones.

use rand::RngExt;
use rand::rngs::StdRng;

use crate::protocol::id::MessageId;

/// The ids in use: of all messages in the log, and of those on their way into it.
#[derive(Debug, Default)]
pub(super) struct MessageIdSet {
    /// Bit `n` is the id `FIRST + n`.
    bits: Vec<u64>,
    len: usize,
}

impl MessageIdSet {
    /// Draws an id that nothing else has, and marks it as used.
    pub(super) fn allocate(&mut self, rng: &mut StdRng) -> MessageId {
        let range = allocation_range(self.len);
        loop {
            let drawn = MessageId::from_number(rng.random_range(range.clone()));
            if let Some(id) = drawn.filter(|id| !self.contains(*id)) {
                self.insert(id);
                return id;
            }
        }
    }

    pub(super) fn contains(&self, id: MessageId) -> bool {
        let (word, bit) = bit_position(id);
        self.bits.get(word).is_some_and(|bits| bits & bit != 0)
    }

    pub(super) fn insert(&mut self, id: MessageId) {
        let (word, bit) = bit_position(id);
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        if let Some(bits) = self.bits.get_mut(word) {
            self.len += usize::from(*bits & bit == 0);
            *bits |= bit;
        }
    }

    pub(super) fn remove(&mut self, id: MessageId) {
        let (word, bit) = bit_position(id);
        if let Some(bits) = self.bits.get_mut(word) {
            self.len -= usize::from(*bits & bit != 0);
            *bits &= !bit;
        }
    }
}

fn bit_position(id: MessageId) -> (usize, u64) {
    let number = (id.number() - MessageId::FIRST) as usize;
    (number / 64, 1 << (number % 64))
}

/// Where to draw from when `used` ids are in use: six digits, and one more each time a third of the
/// numbers is used up.
fn allocation_range(used: usize) -> std::ops::Range<u32> {
    let mut first = MessageId::FIRST;
    while used >= first as usize * 3 && first < 100_000_000 {
        first *= 10;
    }
    first..first * 10
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::SeedableRng;

    use super::*;

    #[test]
    fn ids_grow_a_digit_when_a_third_is_used() {
        assert_eq!(allocation_range(0), 100_000..1_000_000);
        assert_eq!(allocation_range(299_999), 100_000..1_000_000);
        assert_eq!(allocation_range(300_000), 1_000_000..10_000_000);
        assert_eq!(allocation_range(3_000_000), 10_000_000..100_000_000);
        assert_eq!(allocation_range(usize::MAX), 100_000_000..1_000_000_000);
    }

    #[test]
    fn allocated_ids_are_unique_until_removed() {
        let (mut ids, mut rng) = (MessageIdSet::default(), StdRng::seed_from_u64(1));
        let allocated: HashSet<_> = (0..50_000).map(|_| ids.allocate(&mut rng)).collect();
        assert_eq!((allocated.len(), ids.len), (50_000, 50_000));
        for id in &allocated {
            ids.remove(*id);
        }
        assert_eq!(ids.len, 0);
        assert!(allocated.iter().all(|id| !ids.contains(*id)));
    }
}
