//! Text that is safe to print on a terminal.
//!
//! Every text from the network becomes a [`SafeText`] when it is decoded, on the server and again on the
//! client, and widgets accept no other type. It guarantees that no character controls the terminal or
//! is invisible to the reader.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use unicode_width::UnicodeWidthChar;

use super::limits::COMBINING_MARKS;

/// Cleaned text: printable characters, `\n` and `\t`. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct SafeText(Arc<str>);

impl SafeText {
    /// Cleans `text`: removes control characters (so that an escape sequence loses its ESC),
    /// bidirectional controls, invisible characters, combining marks without a base character, and
    /// combining marks over [`COMBINING_MARKS`]. Line and paragraph separators become `\n`, and white
    /// space at the end is removed. Cleaning is idempotent.
    pub fn clean(text: &str) -> Self {
        let trimmed = text.trim_end();
        if trimmed.bytes().all(|b| b == b'\n' || (b' '..=b'~').contains(&b)) {
            Self(Arc::from(trimmed))
        } else {
            Self(Arc::from(clean_chars(trimmed).trim_end()))
        }
    }

    /// Text that was cleaned before it was stored, and is read from where only this program writes.
    pub(crate) fn from_trusted(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The cleaned text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the text is empty or only white space.
    pub fn is_blank(&self) -> bool {
        self.0.trim().is_empty()
    }

    /// The text on one line: line breaks and tabs become spaces.
    pub fn one_line(&self) -> String {
        self.0.replace(['\n', '\t'], " ")
    }
}

fn clean_chars(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    // Starts at the maximum, because a mark at the start of a line would combine with what is drawn
    // before it.
    let mut marks = COMBINING_MARKS;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\r' if characters.peek() == Some(&'\n') => {}
            '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => {
                cleaned.push('\n');
                marks = COMBINING_MARKS;
            }
            '\t' => {
                cleaned.push('\t');
                marks = COMBINING_MARKS;
            }
            c if c.is_control() || is_hidden(c) => {}
            // Joiners are valid only inside emoji and words of some scripts.
            '\u{200c}' | '\u{200d}' => {
                let inside = cleaned.chars().next_back().is_some_and(|before| !before.is_ascii())
                    && characters.peek().is_some_and(|after| is_joinable(*after));
                if inside && marks < COMBINING_MARKS {
                    marks += 1;
                    cleaned.push(c);
                }
            }
            c if c.width() == Some(0) => {
                if marks < COMBINING_MARKS {
                    marks += 1;
                    cleaned.push(c);
                }
            }
            c => {
                cleaned.push(c);
                marks = 0;
            }
        }
    }
    cleaned
}

/// Whether a joiner may stand before `c`: a visible non-ASCII character that cleaning keeps.
fn is_joinable(c: char) -> bool {
    !c.is_ascii() && !c.is_whitespace() && !is_hidden(c) && c.width().is_some_and(|width| width > 0)
}

/// Bidirectional controls (CVE-2021-42574) and invisible characters.
fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

impl fmt::Display for SafeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SafeText {
    /// Shows only the length, so that message texts do not reach logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SafeText({} bytes)", self.0.len())
    }
}

impl Serialize for SafeText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SafeText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = super::lenient::optional_string(deserializer)?;
        Ok(Self::clean(&text.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_hidden_characters_are_removed() {
        let cases = [
            ("plain text", "plain text"),
            ("\x1b]0;title\x07red\x1b[31m", "]0;titlered[31m"),
            ("a\u{9b}31mb", "a31mb"),
            ("one\r\ntwo\rthree\u{2028}four", "one\ntwo\nthree\nfour"),
            ("right\u{202e}tfel", "righttfel"),
            ("in\u{200b}visi\u{feff}ble", "invisible"),
            ("join\u{200d}er", "joiner"),
            ("👩\u{200d}👧", "👩\u{200d}👧"),
            ("e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}", "e\u{301}\u{301}\u{301}\u{301}"),
            ("\u{301}a\n\u{301}b\t\u{20dd}c", "a\nb\tc"),
            ("tag\u{e0041}ged \u{e01ef}\u{1bca0}\u{ad}", "tagged"),
            ("می\u{200c}خواهم", "می\u{200c}خواهم"),
            ("a\tb  \n", "a\tb"),
        ];
        for (written, shown) in cases {
            assert_eq!(SafeText::clean(written).as_str(), shown, "{written:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn cleaning_is_idempotent(text in "\\PC*|[\\x00-\\u{300}\\u{2000}-\\u{2070}a]*") {
            let once = SafeText::clean(&text);
            let is_unsafe = |c: char| (c.is_control() && c != '\n' && c != '\t') || is_hidden(c);
            proptest::prop_assert!(!once.as_str().contains(is_unsafe));
            proptest::prop_assert_eq!(SafeText::clean(once.as_str()), once);
        }
    }
}
