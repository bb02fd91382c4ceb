//! Detection of confusable names: a guest may not take a name that looks like another name in use, nor a new
//! user one that looks like a guest's.
//!
//! Names are compared by their skeletons (Unicode UTS #39). The same name is not confusable with itself:
//! any number of users may have it, and their IDs tell them apart.

use std::collections::HashMap;

use crate::protocol::id::Name;

/// By skeleton, the first name in use that has it (an old log may contain others), and how many uses have it.
#[derive(Debug, Default)]
pub(super) struct ConfusableNames(HashMap<String, (Name, usize)>);

impl ConfusableNames {
    /// Another name in use that `name` could be mistaken for. The cost does not depend on the number of
    /// names.
    pub(super) fn confusable_with(&self, name: &Name) -> Option<&Name> {
        let skeletons = name.skeletons();
        let mut others = skeletons.iter().filter_map(|key| self.0.get(key)).map(|(name, _)| name);
        others.find(|other| *other != name)
    }

    /// Adds a use of a name.
    pub(super) fn add(&mut self, name: &Name) {
        for skeleton in name.skeletons() {
            self.0.entry(skeleton).or_insert_with(|| (name.clone(), 0)).1 += 1;
        }
    }

    /// Removes a use of a name.
    pub(super) fn remove(&mut self, name: &Name) {
        for skeleton in name.skeletons() {
            if let Some((_, n_uses)) = self.0.get_mut(&skeleton) {
                *n_uses -= 1;
                if *n_uses == 0 {
                    self.0.remove(&skeleton);
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
                names.add(&name(used));
                assert_eq!(names.confusable_with(&name(like)), Some(&name(used)), "{like}");
                assert_eq!(names.confusable_with(&name(used)), None, "many may have the same name");
                names.remove(&name(used));
                assert_eq!(names.confusable_with(&name(like)), None);
            }
        }
        let mut names = ConfusableNames::default();
        for different in ["Neil", "Nell", "Ann", "Anna", "Bo", "Bob", "Zoe", "Zoë", "王芳", "Анна"]
        {
            assert_eq!(names.confusable_with(&name(different)), None, "{different}");
            names.add(&name(different));
        }
    }

    #[test]
    fn skeleton_is_free_after_its_last_use_is_removed() {
        let mut names = ConfusableNames::default();
        let bob = "Bob".parse().unwrap();
        names.add(&bob);
        names.add(&bob);
        for left in [1, 0] {
            names.remove(&bob);
            assert_eq!(names.confusable_with(&"bob".parse().unwrap()).is_some(), left > 0);
        }
        assert!(names.0.is_empty(), "{names:?}");
    }
}
