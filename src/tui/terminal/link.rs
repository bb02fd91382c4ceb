//! Hyperlinks of the terminal (OSC 8).

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use ratatui::layout::Rect;

use crate::tui::text::Link;

/// A link, and the part of a row in which it is drawn.
pub type PlacedLink = (Rect, Link);

/// Ends a hyperlink.
pub(super) const CLOSE_LINK: &str = "\x1b]8;;\x1b\\";

/// The longest address that terminals accept: VTE and iTerm2 have this limit.
const MAX_BYTES: usize = 2_083;

/// Starts a hyperlink, unless its address is too long. Parts of one link have the same ID, so that a terminal
/// highlights all of them.
pub(super) fn open_link(link: &Link) -> Option<String> {
    let mut hasher = DefaultHasher::new();
    link.hash(&mut hasher);
    let (id, address) = (hasher.finish(), link.as_str());
    (address.len() <= MAX_BYTES).then(|| format!("\x1b]8;id={id:x};{address}\x1b\\"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::text::find_links;

    #[test]
    fn link_cannot_end_its_own_sequence() {
        for hostile in ["https://a.b/\x1b\\c", "https://a.b/\x07c", "https://a.b/\u{9c}c"] {
            for found in find_links(hostile) {
                let opened = open_link(&found.link).unwrap();
                let address =
                    opened.strip_prefix("\x1b]8;").unwrap().strip_suffix("\x1b\\").unwrap();
                assert!(address.bytes().all(|byte| byte.is_ascii_graphic()), "{opened:?}");
            }
        }
        let long = format!("https://a.b/{}", "x".repeat(MAX_BYTES));
        assert_eq!(find_links(&long).first().and_then(|found| open_link(&found.link)), None);
    }
}
