//! Identifiers: names, user IDs, message ids, request ids and log positions.
//!
//! Each type holds only well-formed values. Whether an identifier exists, and who may use it, is decided
//! by the server.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use unicode_normalization::UnicodeNormalization;
use unicode_security::{GeneralSecurityProfile, MixedScript, skeleton};

use super::limits;
use super::text::SafeText;

/// The longest input that is parsed as a name, in bytes. A valid name that is not yet composed (NFC)
/// fits in it.
const MAX_NAME_INPUT_BYTES: usize = 16 * limits::NAME_CHARACTERS;

/// A malformed identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IdError {
    /// Not a [`Name`].
    #[error(
        "a name is 1 to {} letters and digits of one script, `-` or `.` (such as Bob or Ann-Lee)",
        limits::NAME_CHARACTERS
    )]
    Name,
    /// Not a [`UserId`].
    #[error("a user ID is a name, `_` and four to nine digits (such as Bob_4572)")]
    User,
    /// Not a [`MessageId`].
    #[error("a message ID is a number of six to nine digits (such as 235467)")]
    Message,
    /// Not a [`RoomName`].
    #[error(
        "a room name is `#` and 1 to {} lower-case letters and digits of one script, `-` or `.` (such as #ops)",
        limits::NAME_CHARACTERS
    )]
    Room,
    /// Not a [`Cid`].
    #[error("a `cid` is 1 to {} visible ASCII characters", limits::CID_BYTES)]
    Cid,
}

/// The name that a user chose, such as `Bob`: letters and digits of one script, `-` and `.`, composed
/// (NFC).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// The name as text; safe to display.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Two case-insensitive confusable skeletons (UTS #39, section 4). Names that share one look alike.
    ///
    /// Skeletons map characters that look alike to the same character (`0` and `O`; `1`, `l` and `I`;
    /// `rn` and `m`; similar letters of other scripts), but keep case apart. The order of lowercasing and
    /// mapping matters: lowercasing first makes `Ivan` equal to `ivan`, mapping first makes it equal to
    /// `lvan`.
    pub fn skeletons(&self) -> [String; 2] {
        let of_lowercase = skeleton(&self.0.to_lowercase()).collect();
        [of_lowercase, skeleton(&self.0).collect::<String>().to_lowercase()]
    }
}

impl FromStr for Name {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() > MAX_NAME_INPUT_BYTES {
            return Err(IdError::Name);
        }
        let composed: String = text.trim().nfc().collect();
        let name = composed.as_str();
        let fits = (1..=limits::NAME_CHARACTERS).contains(&name.chars().count());
        let allowed = |c: char| match c {
            '-' | '.' => true,
            _ => c.is_alphanumeric() && c.identifier_allowed(),
        };
        let starts_well = name.chars().next().is_some_and(char::is_alphanumeric);
        // Some letters are combining: cleaning removes those that would pile up on one character.
        let is_clean = SafeText::clean(name).as_str() == name;
        if fits && starts_well && is_clean && name.chars().all(allowed) && name.is_single_script() {
            Ok(Self(Arc::from(name)))
        } else {
            Err(IdError::Name)
        }
    }
}

/// The unique ID of a user, such as `Bob_4572`: a [`Name`], `_` and a number.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Arc<str>);

impl UserId {
    /// Creates the ID of `name` with `number`, padded to at least four digits.
    pub fn new(name: &Name, number: u32) -> Self {
        Self(Arc::from(format!("{name}_{number:04}")))
    }

    /// The ID as text; safe to display.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name part.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('_').map_or(&self.0, |(name, _)| name)
    }

    /// [`name`](Self::name) as a [`Name`]: every ID begins with one.
    pub fn parse_name(&self) -> Option<Name> {
        self.name().parse().ok()
    }
}

impl FromStr for UserId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (name, digits) = text.rsplit_once('_').ok_or(IdError::User)?;
        let digits_fit =
            (4..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        match name.parse::<Name>() {
            Ok(parsed) if digits_fit && parsed.as_str() == name => Ok(Self(Arc::from(text))),
            Ok(_) | Err(_) => Err(IdError::User),
        }
    }
}

/// The name of a room, such as `#ops`: `#` and a [`Name`] in lower case.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomName(Arc<str>);

impl RoomName {
    /// The name as text, with the `#`; safe to display.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Parses what a user typed: with or without the `#`, in any case.
    ///
    /// # Errors
    /// [`IdError::Room`]
    pub fn from_input(text: &str) -> Result<Self, IdError> {
        let name = text.trim().trim_start_matches('#').to_lowercase();
        format!("#{name}").parse()
    }

    /// The skeletons of the name, see [`Name::skeletons`].
    pub fn skeletons(&self) -> [String; 2] {
        Name(Arc::from(self.0.trim_start_matches('#'))).skeletons()
    }
}

impl FromStr for RoomName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let name = text.strip_prefix('#').ok_or(IdError::Room)?;
        match name.parse::<Name>() {
            Ok(parsed) if parsed.as_str() == name && name.to_lowercase() == name => {
                Ok(Self(Arc::from(text)))
            }
            Ok(_) | Err(_) => Err(IdError::Room),
        }
    }
}

/// The unique id of a message: a number of six digits, or up to nine once many are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(u32);

impl MessageId {
    /// The smallest id. Leading zeros would be lost if a client sent the id as a JSON number.
    pub const FIRST: u32 = 100_000;

    /// Returns the id with this number if it has six to nine digits.
    pub fn from_number(number: u32) -> Option<Self> {
        (Self::FIRST..1_000_000_000).contains(&number).then_some(Self(number))
    }

    /// The id as a number.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl FromStr for MessageId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits = text.trim();
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(IdError::Message);
        }
        digits.parse().ok().and_then(Self::from_number).ok_or(IdError::Message)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A client-chosen request id (`cid`); the server returns it in the reply.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cid(Arc<str>);

impl Cid {
    /// The request id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Cid {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let fits = (1..=limits::CID_BYTES).contains(&text.len());
        if fits && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(Arc::from(text)))
        } else {
            Err(IdError::Cid)
        }
    }
}

/// The position of an event in the server's log: strictly increasing, never reused within one log.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seq(pub u64);

macro_rules! text_id {
    ($($type:ty),*) => {$(
        /// Values are ordered and hashed as their texts.
        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

text_id!(Name, UserId, RoomName, Cid);

impl Serialize for MessageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MessageId {
    /// Accepts a string of digits or a JSON number; original clients send both.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::lenient::optional_string(deserializer)?
            .unwrap_or_default()
            .parse()
            .map_err(serde::de::Error::custom)
    }
}
