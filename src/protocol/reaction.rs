//! Reactions: an emoji that users attach to a message.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::id::UserId;

/// The text is not a single emoji.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a reaction is one emoji, such as 👍")]
pub struct EmojiError;

/// One emoji of the Unicode list (<https://unicode.org/Public/emoji/latest/emoji-test.txt>).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Emoji(Arc<str>);

impl Emoji {
    /// The emoji as text; safe to display.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Parses an emoji, or the short name of one, such as `thumbsup` or `:+1:`.
    ///
    /// # Errors
    /// [`EmojiError`] if there is no such emoji.
    pub fn from_input(text: &str) -> Result<Self, EmojiError> {
        let text = text.trim();
        text.parse().or_else(|error| {
            let named = emojis::get_by_shortcode(text.trim_matches(':'));
            named.map(|emoji| Self(Arc::from(emoji.as_str()))).ok_or(error)
        })
    }

    /// Returns the emoji whose short name or name contains `text`, or that `text` is; at most `limit`. Those
    /// whose short name begins with `text` come first.
    pub fn search(text: &str, limit: usize) -> Vec<Self> {
        let text = text.trim().trim_matches(':').to_lowercase();
        if let Ok(exact) = text.parse() {
            return vec![exact];
        }
        let begins = |emoji: &&emojis::Emoji| {
            emoji.shortcodes().any(|shortcode| shortcode.starts_with(&text))
        };
        let contains = |emoji: &&emojis::Emoji| {
            emoji.shortcodes().any(|shortcode| shortcode.contains(&text))
                || emoji.name().contains(&text)
        };
        let first = emojis::iter().filter(begins);
        let rest = emojis::iter().filter(|emoji| !begins(emoji) && contains(emoji));
        first.chain(rest).take(limit).map(|emoji| Self(Arc::from(emoji.as_str()))).collect()
    }

    /// The short name, such as `thumbsup`, for terminals that cannot show the emoji.
    pub fn shortcode(&self) -> &'static str {
        emojis::get(&self.0).map_or("", |emoji| emoji.shortcode().unwrap_or_else(|| emoji.name()))
    }
}

impl FromStr for Emoji {
    type Err = EmojiError;

    /// An emoji without its variation selector is equal to the one with it.
    fn from_str(text: &str) -> Result<Self, EmojiError> {
        emojis::get(text).map(|emoji| Self(Arc::from(emoji.as_str()))).ok_or(EmojiError)
    }
}

impl fmt::Display for Emoji {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Emoji {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Emoji {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Emoji {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The users who reacted to a message with one emoji.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaction {
    /// The emoji.
    pub emoji: Emoji,
    /// How many users.
    pub count: u32,
    /// Some of them, at most [`super::limits::REACTION_USERS`]. The user who requested the message is among them if
    /// that user reacted.
    pub users: Vec<UserId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emoji_are_parsed_and_named() {
        for (input, emoji) in
            [("👍", "👍"), (":+1:", "👍"), ("+1", "👍"), ("👍🏽", "👍🏽"), ("❤", "❤️"), ("❤️", "❤️")]
        {
            assert_eq!(Emoji::from_input(input).unwrap().as_str(), emoji, "{input}");
        }
        for invalid in ["", "a", "👍👍", "👍 ", "\u{1b}[2J", "::"] {
            assert_eq!(invalid.parse::<Emoji>(), Err(EmojiError), "{invalid:?}");
        }
        assert_eq!("👍".parse::<Emoji>().unwrap().shortcode(), "+1");
    }

    #[test]
    fn emoji_are_found_by_a_part_of_their_name() {
        let found = |text: &str| -> Vec<String> {
            Emoji::search(text, 3).iter().map(ToString::to_string).collect()
        };
        assert_eq!(found(":rocket:"), ["🚀"]);
        assert_eq!(found("tada").first().map(String::as_str), Some("🎉"));
        assert!(found("heart").len() == 3 && found("no such emoji").is_empty());
        assert_eq!(found("👀"), ["👀"]);
    }
}
