//! Links in the text of a message.

use std::ops::Range;
use std::rc::Rc;

use linkify::{LinkFinder, LinkKind};

/// The schemes that are recognised. Of these, [`Link::opens_outside`] says which the desktop may open.
const SCHEMES: [&str; 3] = ["http://", "https://", "chat://"];

const MAIL_SCHEME: &str = "mailto:";

/// A link, and where it is in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundLink {
    /// Where it is, in bytes.
    pub range: Range<usize>,
    /// What it leads to.
    pub link: Link,
}

/// The target of a link: printable ASCII without spaces, with one of the recognised schemes. So it can stand
/// in an escape sequence of the terminal and in an argument of a program.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Link(Rc<str>);

impl Link {
    /// The address, with its scheme.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, shared.
    pub fn target(&self) -> Rc<str> {
        Rc::clone(&self.0)
    }

    /// Whether a program of the desktop may open it. A link of this program joins a server: it is copied.
    pub fn opens_outside(&self) -> bool {
        !self.0.starts_with("chat://")
    }

    /// The link that `text` stands for, with everything but printable ASCII percent-encoded.
    fn new(scheme: &str, text: &str) -> Self {
        let encoded = text.bytes().map(|byte| match byte {
            b'!'..=b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        });
        Self(std::iter::once(scheme.to_owned()).chain(encoded).collect::<String>().into())
    }
}

/// The links of a text, in order: web addresses, mail addresses and links of this program.
pub fn find_links(text: &str) -> Vec<FoundLink> {
    if !text.contains(['/', '@']) {
        return Vec::new();
    }
    let found = LinkFinder::new();
    let found = found.links(text).filter_map(|found| {
        let link = match found.kind() {
            LinkKind::Url => url(found.as_str())?,
            LinkKind::Email => {
                Link::new(MAIL_SCHEME, found.as_str().trim_start_matches(MAIL_SCHEME))
            }
            _ => return None,
        };
        Some(FoundLink { range: found.start()..found.end(), link })
    });
    found.collect()
}

fn url(text: &str) -> Option<Link> {
    let has =
        |scheme: &&str| text.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme));
    let scheme = SCHEMES.into_iter().find(has)?;
    text.get(scheme.len()..).map(|rest| Link::new(scheme, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_end_before_punctuation() {
        for (text, links) in [
            (
                "see https://example.org/a_(b), and (http://x.example/).",
                vec![
                    ("https://example.org/a_(b)", "https://example.org/a_(b)"),
                    ("http://x.example/", "http://x.example/"),
                ],
            ),
            ("<HTTPS://x.example>!", vec![("HTTPS://x.example", "https://x.example")]),
            (
                "chat://127.0.0.1:65432/#code",
                vec![("chat://127.0.0.1:65432/#code", "chat://127.0.0.1:65432/#code")],
            ),
            ("mail ann@example.org.", vec![("ann@example.org", "mailto:ann@example.org")]),
            (
                "https://例え.jp/ä",
                vec![("https://例え.jp/ä", "https://%E4%BE%8B%E3%81%88.jp/%C3%A4")],
            ),
            ("file:///etc/passwd javascript://x ftp://x.example a@b @Kim a/b", vec![]),
        ] {
            let found = find_links(text);
            let found: Vec<_> = found
                .iter()
                .map(|f| (text.get(f.range.clone()).unwrap(), f.link.as_str()))
                .collect();
            assert_eq!(found, links, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn targets_are_printable_ascii(text in "https://(\\PC|[\\x00-\\xa0]){0,40}") {
            for found in find_links(&text) {
                proptest::prop_assert!(found.link.as_str().bytes().all(|b| b.is_ascii_graphic()));
            }
        }
    }
}
