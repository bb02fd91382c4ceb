//! The hits of a closed search, to step from one to the next.

use std::ops::Range;

use regex::Regex;

use crate::client::state::search::SearchHit;
use crate::protocol::id::MessageId;

/// The hits of a search that was closed by jumping to one of them.
#[derive(Debug, Clone)]
pub struct SearchHitList {
    pub(super) hits: Vec<SearchHit>,
    pub(super) current_index: usize,
    /// Whether the server has older ones.
    pub(super) has_more: bool,
    pub(super) regex: Option<Regex>,
}

impl SearchHitList {
    /// The hit that was jumped to last.
    pub fn current(&self) -> Option<&SearchHit> {
        self.hits.get(self.current_index)
    }

    /// What the search finds in a text.
    pub fn matches(&self, text: &str) -> Vec<Range<usize>> {
        let found = self.regex.iter().flat_map(|regex| regex.find_iter(text));
        found.map(|found| found.range()).filter(|range| !range.is_empty()).collect()
    }

    /// Moves to the next older or newer hit. Returns `None`, without moving, if there is none.
    pub fn advance(&mut self, older: bool) -> Option<&SearchHit> {
        let next = if older {
            self.current_index.checked_add(1)
        } else {
            self.current_index.checked_sub(1)
        };
        self.current_index = next.filter(|next| *next < self.hits.len())?;
        self.current()
    }

    /// Removes a message that can no longer be read.
    pub fn remove(&mut self, id: MessageId) {
        if let Some(removed) = self.hits.iter().position(|hit| hit.id == id) {
            self.hits.remove(removed);
            self.current_index -=
                usize::from(removed < self.current_index || self.current_index == self.hits.len())
                    .min(self.current_index);
        }
    }

    /// The position for the status line, such as `hit 2 of 3`.
    pub fn position_text(&self) -> String {
        let more = if self.has_more { "+" } else { "" };
        format!("hit {} of {}{more}", self.current_index + 1, self.hits.len())
    }
}
