//! The secret that lets somebody in who has no ID yet, as it stands in a link and in a login.
//!
//! Who made it, for how many people and until when, only the server knows.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// 128 random bits: nobody guesses that many. Written as 22 characters that no link has to escape.
#[derive(Clone, PartialEq, Eq)]
pub struct Invite([u8; 16]);

/// A text that is no invite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an invite is 22 letters, digits, `-` or `_`: copy the whole link")]
pub struct InviteError;

impl Invite {
    /// The invite of these bits, which have to be random.
    pub fn new(secret: [u8; 16]) -> Self {
        Self(secret)
    }

    /// The bits.
    pub fn secret(&self) -> &[u8; 16] {
        &self.0
    }
}

impl FromStr for Invite {
    type Err = InviteError;

    fn from_str(text: &str) -> Result<Self, InviteError> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok();
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(InviteError)
    }
}

impl fmt::Display for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// Says nothing of the secret: what is debugged ends up in logs.
impl fmt::Debug for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Invite(…)")
    }
}

impl Serialize for Invite {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Invite {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
