//! Invites: secrets that admit new users to a server, as they appear in links and logins.
//!
//! An invite carries no data. The server stores its hash, its remaining uses and its expiry.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// A 128-bit random secret, written as 22 characters of URL-safe base64.
#[derive(Clone, PartialEq, Eq)]
pub struct Invite([u8; 16]);

/// A malformed invite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an invite is 22 letters, digits, `-` or `_`: copy the whole link")]
pub struct InviteError;

impl Invite {
    /// Creates an invite from a secret, which must come from a secure random source.
    pub fn new(secret: [u8; 16]) -> Self {
        Self(secret)
    }

    /// The secret.
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

/// Hides the secret, because debug output ends up in logs.
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
