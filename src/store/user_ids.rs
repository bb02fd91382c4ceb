//! The user IDs that new users get: a name and a number of four digits, or more once many are in use.
//!
//! The log gives IDs to keys, and the hub to guests, without asking each other: a key's number is even, a
//! guest's is odd.

use crate::protocol::id::{Name, UserId};

/// Who gets an ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdHolder {
    /// A key, which keeps it for good.
    Key = 0,
    /// A guest, for one session.
    Guest = 1,
}

/// So many numbers in a row are in use only if far more than half of all are: then one digit more is tried.
const TRIES: u32 = 48;

/// The ID to try after so many others were in use, from the number that `draw` selects.
pub fn candidate_id(name: &Name, holder: IdHolder, draw: u64, tries: u32) -> UserId {
    let mut numbers = 0..10_000_u32;
    for _ in 0..(tries / TRIES).min(5) {
        numbers = numbers.end..numbers.end * 10;
    }
    let pairs = u64::from(numbers.end - numbers.start) / 2;
    let pair = draw.wrapping_add(tries.into()) % pairs;
    let number = u64::from(numbers.start) + 2 * pair + holder as u64;
    // A number below 10^9.
    UserId::new(name, u32::try_from(number).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn guests_get_no_number_of_a_key() {
        let bob = "Bob".parse().unwrap();
        let ids = |holder| -> HashSet<_> {
            let draws = (0..100).chain(u64::MAX - 100..=u64::MAX);
            let ids = |draw| (0..400).map(move |tries| (draw, tries));
            draws
                .flat_map(ids)
                .map(|(draw, tries)| candidate_id(&bob, holder, draw, tries))
                .collect()
        };
        let (keys, guests) = (ids(IdHolder::Key), ids(IdHolder::Guest));
        assert!(keys.is_disjoint(&guests));
        for id in keys.union(&guests) {
            assert!((8..=13).contains(&id.as_str().len()), "four to nine digits: {id}");
            assert_eq!(id.as_str().parse::<UserId>().as_ref(), Ok(id));
        }
        assert_eq!(candidate_id(&bob, IdHolder::Key, 1, 0).as_str(), "Bob_0002");
        assert_eq!(candidate_id(&bob, IdHolder::Guest, 5_000, 0).as_str(), "Bob_0001");
    }

    #[test]
    fn ids_are_unique_and_grow_when_more_than_half_are_used() {
        let (bob, mut used) = ("Bob".parse().unwrap(), HashSet::new());
        for n in 0..10_000_u64 {
            let draw = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            let mut ids = (0..).map(|tries| candidate_id(&bob, IdHolder::Key, draw, tries));
            let id = ids.find(|id| !used.contains(id)).unwrap();
            let digits = id.as_str().len() - "Bob_".len();
            assert!(if n < 2_500 { digits == 4 } else { (4..=5).contains(&digits) }, "{n} {id}");
            used.insert(id);
        }
        assert!(used.iter().filter(|id| id.as_str().len() == "Bob_1234".len()).count() <= 5_000);
    }
}
