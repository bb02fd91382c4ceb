//! Every number of the wire, with its reason. Nothing here is a setting; what a server tells of it at
//! the login is [`Limits`].

use serde::{Deserialize, Serialize};

use super::rate::Rate;

/// The longest message, in characters, after cleaning. Two screens full; longer things are files.
pub const CONTENT_CHARACTERS: usize = 4_000;

/// The longest JSON object a logged-in client may send, in bytes: [`CONTENT_CHARACTERS`] of emoji, each
/// written as two `\uXXXX` escapes (12 bytes; Python's `json` does so), and a list of recipients beside it.
pub const FRAME_BYTES: usize = 64 * 1024;

/// The longest JSON object before login, in bytes: nobody unknown makes the server keep more.
pub const LOGIN_FRAME_BYTES: usize = 4 * 1024;

/// The longest JSON object a client of ours takes from a server, in bytes: the list of everybody,
/// for some 40,000 people.
pub const SERVER_FRAME_BYTES: usize = 1024 * 1024;

/// The longest object an original client can read, in bytes: it calls `recv(2048)` once a message.
pub const ORIGINAL_FRAME_BYTES: usize = 2_048;

/// The longest name, in characters (PROTOCOL.md, Identifiers: 1 to 24).
pub const NAME_CHARACTERS: usize = 24;

/// The most people one direct message may name. More than that is an announcement: send it to all.
pub const RECIPIENTS: usize = 256;

/// The longest name a client may give to what it sends (`cid`), in bytes: a UUID with room to spare.
pub const CID_BYTES: usize = 64;

/// How long a temporary message lives when its sender says nothing, in seconds, as in the original.
pub const DEFAULT_TEMPORARY_SECONDS: u32 = 10;

/// The longest life a temporary message may ask for, in seconds: a week.
pub const MAX_TEMPORARY_SECONDS: u32 = 7 * 24 * 60 * 60;

/// The longest words of an error, in characters, so that an original client can read them at once.
pub const ERROR_CHARACTERS: usize = 400;

/// The longest regular expression of a search, in bytes.
pub const PATTERN_BYTES: usize = 256;

/// The most messages in one page of history: some screens' worth.
pub const PAGE_MESSAGES: usize = 100;

/// How long a client of ours says nothing before it sends a PING, in seconds: shorter than the minute
/// after which home routers forget a connection.
pub const PING_SECONDS: u64 = 20;

/// How long either side hears nothing before it takes the connection for dead, in seconds: two lost
/// pings.
pub const KEEPALIVE_TIMEOUT_SECONDS: u64 = 45;

/// How long a `cid` is remembered after its first use, in days.
pub const CID_DAYS: u64 = 7;

/// How many combining marks one base character may carry. Real scripts need up to four;
/// more is a "Zalgo" flood that draws over the lines of others.
pub const COMBINING_MARKS: usize = 4;

/// What a client has to know of a server's limits in order not to guess. All sessions of a server are
/// told the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// See [`FRAME_BYTES`].
    pub frame_bytes: usize,
    /// See [`CONTENT_CHARACTERS`].
    pub content_characters: usize,
    /// See [`RECIPIENTS`].
    pub recipients: usize,
    /// See [`TEMPORARY_SECONDS_MAX`].
    pub temporary_seconds: u32,
    /// See [`PATTERN_BYTES`].
    pub pattern_bytes: usize,
    /// See [`PAGE_MESSAGES`].
    pub page_messages: usize,
    /// See [`PING_SECONDS`].
    pub ping_seconds: u64,
    /// See [`DEAD_SECONDS`].
    pub dead_seconds: u64,
    /// How fast one person is heard; without them, as fast as the server can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rates: Option<Rates>,
}

/// How fast a server hears one person, on all connections together. Whoever asks faster waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// MESSAGE, TEMPORARY, REPLY, DELETE, and what was refused.
    pub messages: Rate,
    /// HISTORY, SEARCH and PING.
    pub questions: Rate,
    /// Bytes of anything.
    pub bytes: Rate,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes: FRAME_BYTES,
            content_characters: CONTENT_CHARACTERS,
            recipients: RECIPIENTS,
            temporary_seconds: MAX_TEMPORARY_SECONDS,
            pattern_bytes: PATTERN_BYTES,
            page_messages: PAGE_MESSAGES,
            ping_seconds: PING_SECONDS,
            dead_seconds: KEEPALIVE_TIMEOUT_SECONDS,
            rates: None,
        }
    }
}
