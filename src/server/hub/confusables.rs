//! The names in use, by what they look like, so that nobody new is taken for somebody who is here or can
//! come back.
//!
//! That many people have the very same name is no concern of it: their IDs tell them apart.

use std::collections::HashMap;

use crate::protocol::id::{Name, UserId};

/// The names of all IDs in use.
#[derive(Debug, Default)]
pub(super) struct ConfusableNames(HashMap<String, SkeletonEntry>);

/// A name of this look; the first, should the log have more from earlier.
#[derive(Debug)]
struct SkeletonEntry {
    name: Name,
    /// How many IDs in use look like this.
    n_ids: usize,
}

impl ConfusableNames {
    /// The other name in use that `name` can be taken for. Costs the same however many there are.
    pub(super) fn confusable_with(&self, name: &Name) -> Option<&Name> {
        let looks = name.skeletons();
        let mut others = looks.iter().filter_map(|look| self.0.get(look)).map(|look| &look.name);
        others.find(|other| *other != name)
    }

    /// An ID is in use.
    pub(super) fn add(&mut self, user: &UserId) {
        // An ID begins with a name.
        let Ok(name) = user.name().parse::<Name>() else { return };
        for look in name.skeletons() {
            self.0
                .entry(look)
                .or_insert_with(|| SkeletonEntry { name: name.clone(), n_ids: 0 })
                .n_ids += 1;
        }
    }

    /// An ID that was in use is not any more.
    pub(super) fn remove(&mut self, user: &UserId) {
        let Ok(name) = user.name().parse::<Name>() else { return };
        for look in name.skeletons() {
            if let Some(in_use) = self.0.get_mut(&look) {
                in_use.n_ids -= 1;
                if in_use.n_ids == 0 {
                    self.0.remove(&look);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confusable_name_is_found_while_in_use() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        for (used, like) in [
            ("Bob", "bob"),
            ("Bob", "B0b"),
            ("Ivan", "lvan"),
            ("Ivan", "ivan"),
            ("Ivan", "1van"),
            ("Tom", "Torn"),
            ("Вова", "вова"),
            ("Вор", "Bop"),
            ("раура", "paypa"),
            ("ChanServ", "CHANSERV"),
            ("Zoë", "ZOË"),
            ("user.7", "USER.7"),
        ] {
            for (used, like) in [(used, like), (like, used)] {
                let mut names = ConfusableNames::default();
                let user = UserId::new(&name(used), 7);
                names.add(&user);
                assert_eq!(names.confusable_with(&name(like)), Some(&name(used)), "{like}");
                assert_eq!(names.confusable_with(&name(used)), None, "many may have the same name");
                names.remove(&user);
                assert_eq!(names.confusable_with(&name(like)), None);
            }
        }
        let mut names = ConfusableNames::default();
        for different in ["Neil", "Nell", "Ann", "Anna", "Bo", "Bob", "Zoe", "Zoë", "王芳", "Анна"]
        {
            assert_eq!(names.confusable_with(&name(different)), None, "{different}");
            names.add(&UserId::new(&name(different), 7));
        }
    }

    #[test]
    fn skeleton_is_free_after_its_last_id_is_removed() {
        let mut names = ConfusableNames::default();
        let bobs = [1, 2].map(|number| UserId::new(&"Bob".parse().unwrap(), number));
        for bob in &bobs {
            names.add(bob);
        }
        for (left, bob) in [1, 0].into_iter().zip(&bobs) {
            names.remove(bob);
            assert_eq!(names.confusable_with(&"bob".parse().unwrap()).is_some(), left > 0);
        }
        assert!(names.0.is_empty(), "{names:?}");
    }
}
