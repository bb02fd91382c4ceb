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

/// The ID of `name` that `draw` selects. `n_used` IDs of this name and kind of holder are in use. The number
/// has one digit more each time half of a holder's numbers are used.
pub fn select_id(name: &Name, holder: IdHolder, n_used: u32, draw: u64) -> UserId {
    let mut numbers = 0..10_000_u32;
    while n_used >= numbers.end / 4 && numbers.end < 1_000_000_000 {
        numbers = numbers.end..numbers.end * 10;
    }
    let pairs = u64::from(numbers.end - numbers.start) / 2;
    // Less than the 500 million pairs of the longest numbers.
    let pair = u32::try_from(draw % pairs).unwrap_or_default();
    UserId::new(name, numbers.start + 2 * pair + holder as u32)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn numbers_grow_when_half_are_used_and_guests_get_no_key_s_number() {
        let name = "Bob".parse().unwrap();
        for (n_used, digits) in
            [(0, 4), (2_499, 4), (2_500, 5), (24_999, 5), (25_000, 6), (u32::MAX, 9)]
        {
            let ids = |holder| -> HashSet<_> {
                let draws = (0..100).chain(u64::MAX - 100..=u64::MAX);
                draws.map(|draw| select_id(&name, holder, n_used, draw)).collect()
            };
            let (keys, guests) = (ids(IdHolder::Key), ids(IdHolder::Guest));
            assert!(keys.is_disjoint(&guests));
            for id in keys.union(&guests) {
                assert_eq!(id.as_str().len(), "Bob_".len() + digits, "{n_used} {id}");
                assert_eq!(id.as_str().parse::<UserId>().as_ref(), Ok(id));
            }
        }
        assert_eq!(select_id(&name, IdHolder::Key, 0, 1).as_str(), "Bob_0002");
        assert_eq!(select_id(&name, IdHolder::Guest, 0, 5_000).as_str(), "Bob_0001");
    }
}
