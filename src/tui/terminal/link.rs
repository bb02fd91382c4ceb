//! Hyperlinks of the terminal (OSC 8).

use std::fmt::Write as _;
use std::rc::Rc;

use ratatui::layout::Rect;

/// A part of one row, or of several, that opens this URL.
pub type Link = (Rect, Rc<str>);

/// Ends a hyperlink.
pub(super) const CLOSE_LINK: &str = "\x1b]8;;\x1b\\";

/// The longest URL that terminals accept: VTE and iTerm2 have this limit.
const MAX_URL_BYTES: usize = 2_083;

/// Starts a hyperlink, if the URL is one that a terminal may be given. Parts of one link have the same ID, so
/// that a terminal highlights all of them.
pub(super) fn open_link(url: &str) -> Option<String> {
    if url.chars().any(char::is_control) {
        return None;
    }
    let mut encoded = String::with_capacity(url.len());
    let mut id = 0xcbf2_9ce4_8422_2325_u64;
    for byte in url.bytes() {
        // FNV-1a.
        id = (id ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        if byte.is_ascii_graphic() {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").ok()?;
        }
    }
    (encoded.len() <= MAX_URL_BYTES).then(|| format!("\x1b]8;id={id:x};{encoded}\x1b\\"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_is_encoded_and_control_characters_are_refused() {
        let uri = |url| {
            let link = open_link(url)?;
            Some(link.split(';').nth(2).unwrap().trim_end_matches("\x1b\\").to_owned())
        };
        assert_eq!(uri("https://a.b/c?d=e#f").as_deref(), Some("https://a.b/c?d=e#f"));
        assert_eq!(uri("https://a.b/ü x").as_deref(), Some("https://a.b/%C3%BC%20x"));
        for hostile in ["https://a\x1b\\b", "https://a\x07", "https://a\u{9c}b", "a\nb"] {
            assert_eq!(open_link(hostile), None, "{hostile:?}");
        }
        assert_eq!(open_link(&"x".repeat(MAX_URL_BYTES + 1)), None);
    }
}
