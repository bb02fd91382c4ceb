//! The message ids in use, as a bit set, and the allocation of new ones.

use rand::RngExt;
use rand::rngs::StdRng;

use crate::protocol::id::MessageId;

/// The ids of all messages in the log and of those being written to it.
#[derive(Debug, Default)]
pub(super) struct MessageIdSet {
    /// Bit `n` stands for the id `MessageId::FIRST + n`.
    bits: Vec<u64>,
    len: usize,
}

impl MessageIdSet {
    /// Returns a random id that is not in use, and adds it.
    pub(super) fn allocate(&mut self, rng: &mut StdRng) -> MessageId {
        let range = allocation_range(self.len);
        loop {
            let random = MessageId::from_number(rng.random_range(range.clone()));
            if let Some(id) = random.filter(|id| !self.contains(*id)) {
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

/// The range of new ids when `used` are in use: six digits, and one digit more each time a third of the
/// range is used.
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
