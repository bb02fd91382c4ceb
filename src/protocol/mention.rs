//! Mentions: `@Name` or `@Name_1234` in a text, outside code and quotes.
//!
//! The server decides whom a message mentions, once, when it takes the message. So all clients agree.

use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::id::UserId;

/// The word after `@` that mentions all users of a conversation.
const ALL: &str = "all";

/// Whom a message mentions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Mentions {
    /// Nobody.
    #[default]
    None,
    /// These users.
    Users(Vec<UserId>),
    /// Everybody in the conversation.
    All,
}

impl Mentions {
    /// Whether nobody is mentioned.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// Whether `user` is mentioned.
    pub fn includes(&self, user: &UserId) -> bool {
        match self {
            Self::None => false,
            Self::Users(users) => users.contains(user),
            Self::All => true,
        }
    }
}

impl From<Vec<UserId>> for Mentions {
    fn from(users: Vec<UserId>) -> Self {
        if users.is_empty() { Self::None } else { Self::Users(users) }
    }
}

/// A list of user IDs, or `["all"]`.
impl Serialize for Mentions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.collect_seq::<[&str; 0]>([]),
            Self::Users(users) => serializer.collect_seq(users),
            Self::All => serializer.collect_seq([ALL]),
        }
    }
}

impl<'de> Deserialize<'de> for Mentions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = Vec::<String>::deserialize(deserializer)?;
        if words.iter().any(|word| word == ALL) {
            return Ok(Self::All);
        }
        let users = words.iter().map(|word| word.parse()).collect::<Result<Vec<UserId>, _>>();
        users.map(Self::from).map_err(serde::de::Error::custom)
    }
}

/// A word of a text that may mention somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MentionWord<'a> {
    /// Where it is in the text, in bytes, with the `@`.
    pub range: Range<usize>,
    /// A name or user ID as written, without the `@`.
    pub name: &'a str,
}

impl MentionWord<'_> {
    /// Whether the word is `@all`.
    pub fn is_all(&self) -> bool {
        self.name == ALL
    }
}

/// The words of `text` that may mention somebody: `@` and a name, where a word begins, and not in code
/// (between backticks, or lines between fences of three) or in a quote (a line that begins with `>`).
pub fn mention_words(text: &str) -> Vec<MentionWord<'_>> {
    let mut words = Vec::new();
    let (mut is_fenced, mut start) = (false, 0);
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        } else if !is_fenced && !line.trim_start().starts_with('>') {
            words_of_line(line, start, &mut words);
        }
        start += line.len();
    }
    words
}

/// `start` is where the line begins in the text.
fn words_of_line<'a>(line: &'a str, start: usize, words: &mut Vec<MentionWord<'a>>) {
    let (mut offset, mut before) = (0, ' ');
    while let Some(rest) = line.get(offset..).filter(|rest| !rest.is_empty()) {
        let skipped = match rest.as_bytes() {
            [b'`', code @ ..] => {
                // A backtick without a second one is just a character.
                code.iter().position(|byte| *byte == b'`').map_or(1, |end| end + 2)
            }
            [b'@', ..] if !before.is_alphanumeric() => {
                let name = name_at_start(rest.get(1..).unwrap_or_default());
                let range = start + offset..start + offset + 1 + name.len();
                if !name.is_empty() {
                    words.push(MentionWord { range, name });
                }
                1 + name.len()
            }
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
        before = rest.get(..skipped).and_then(|done| done.chars().last()).unwrap_or(' ');
        offset += skipped;
    }
}

/// The longest start of `text` that may be a name or an ID. A `.` or `-` at its end is punctuation.
fn name_at_start(text: &str) -> &str {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    text.get(..end).unwrap_or_default().trim_end_matches(['-', '.', '_'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mentions_are_words_outside_code_and_quotes() {
        for (text, names) in [
            ("@Kim_9021 look", vec!["Kim_9021"]),
            ("hi @Kim, @Ann-Lee. (@Zed)", vec!["Kim", "Ann-Lee", "Zed"]),
            ("mail a@b.example", vec![]),
            ("`@Kim` and `@Ann", vec!["Ann"]),
            ("> @Kim said\n@Ann\n```\n@Zed\n```\n@Lou", vec!["Ann", "Lou"]),
            ("@all @", vec!["all"]),
            ("é@Kim ü @Łukasz", vec!["Łukasz"]),
        ] {
            let words = mention_words(text);
            assert_eq!(words.iter().map(|word| word.name).collect::<Vec<_>>(), names, "{text}");
            for word in words {
                assert_eq!(text.get(word.range).unwrap(), format!("@{}", word.name));
            }
        }
    }
}
