//! Which part of a conversation is visible.

use crate::client::state::timeline::EntryIndex;

/// Which part of the conversation is visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Viewport {
    /// The newest rows; new messages scroll into view.
    Live,
    /// The bottom edge stays at an entry, whatever arrives.
    Anchored {
        /// The last visible entry.
        entry: EntryIndex,
        /// How many of its rows are hidden below the bottom edge.
        hidden_rows: i64,
    },
}
