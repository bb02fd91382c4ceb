//! Which message ids are in use, in one bit each, and the drawing of new ones.

use rand::RngExt;
use rand::rngs::StdRng;

use crate::protocol::id::MessageId;

/// The ids in use: of all messages in the log, and of those on their way into it.
#[derive(Debug, Default)]
pub(super) struct Ids {
    /// Bit `n` is the id `FIRST + n`.
    bits: Vec<u64>,
    used: usize,
}

impl Ids {
    /// Draws an id that nothing else has, and marks it as used.
    pub(super) fn draw(&mut self, dice: &mut StdRng) -> MessageId {
        let numbers = numbers(self.used);
        loop {
            let drawn = MessageId::from_number(dice.random_range(numbers.clone()));
            if let Some(id) = drawn.filter(|id| !self.contains(*id)) {
                self.insert(id);
                return id;
            }
        }
    }

    pub(super) fn contains(&self, id: MessageId) -> bool {
        let (word, bit) = place(id);
        self.bits.get(word).is_some_and(|bits| bits & bit != 0)
    }

    pub(super) fn insert(&mut self, id: MessageId) {
        let (word, bit) = place(id);
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        if let Some(bits) = self.bits.get_mut(word) {
            self.used += usize::from(*bits & bit == 0);
            *bits |= bit;
        }
    }

    pub(super) fn remove(&mut self, id: MessageId) {
        let (word, bit) = place(id);
        if let Some(bits) = self.bits.get_mut(word) {
            self.used -= usize::from(*bits & bit != 0);
            *bits &= !bit;
        }
    }
}

fn place(id: MessageId) -> (usize, u64) {
    let number = (id.number() - MessageId::FIRST) as usize;
    (number / 64, 1 << (number % 64))
}

/// Where to draw from when `used` ids are in use: six digits, and one more each time a third of the
/// numbers is used up.
fn numbers(used: usize) -> std::ops::Range<u32> {
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
    fn ids_grow_a_digit_when_a_third_is_used_up() {
        assert_eq!(numbers(0), 100_000..1_000_000);
        assert_eq!(numbers(299_999), 100_000..1_000_000);
        assert_eq!(numbers(300_000), 1_000_000..10_000_000);
        assert_eq!(numbers(3_000_000), 10_000_000..100_000_000);
        assert_eq!(numbers(usize::MAX), 100_000_000..1_000_000_000);
    }

    #[test]
    fn drawn_ids_are_unique_until_they_are_free_again() {
        let (mut ids, mut dice) = (Ids::default(), StdRng::seed_from_u64(1));
        let drawn: HashSet<_> = (0..50_000).map(|_| ids.draw(&mut dice)).collect();
        assert_eq!((drawn.len(), ids.used), (50_000, 50_000));
        for id in &drawn {
            ids.remove(*id);
        }
        assert_eq!(ids.used, 0);
        assert!(drawn.iter().all(|id| !ids.contains(*id)));
    }
}
