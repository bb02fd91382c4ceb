//! Limits of the wire protocol, with their reasons. None is a setting.
//!
//! [`Limits`] is the part that a server announces at the login. Limits of the server alone are in
//! `server::limits`.

use serde::{Deserialize, Serialize};

use super::rate::Rate;

/// The longest message, in characters after cleaning: about two screens.
pub const CONTENT_CHARACTERS: usize = 4_000;

/// The longest JSON object that a logged-in client may send, in bytes. It has room for
/// [`CONTENT_CHARACTERS`] emoji, each written as two `\uXXXX` escapes (12 bytes, as Python's `json` does),
/// and a list of recipients.
pub const FRAME_BYTES: usize = 64 * 1024;

/// The longest JSON object before the login, in bytes. It bounds the memory of an unauthenticated
/// connection.
pub const LOGIN_FRAME_BYTES: usize = 4 * 1024;

/// The longest JSON object that a server sends to an extended client, in bytes. It has room for 15 of the
/// largest messages. The server shortens or splits what is longer; a client accepts nothing longer.
pub const SERVER_FRAME_BYTES: usize = 1024 * 1024;

/// The longest object that an original client can read, in bytes: it calls `recv(2048)` once per
/// message.
pub const ORIGINAL_FRAME_BYTES: usize = 2_048;

/// The longest name, in characters.
pub const NAME_CHARACTERS: usize = 24;

/// The maximum number of recipients of a direct message.
pub const RECIPIENTS: usize = 256;

/// The longest `cid`, in bytes. A UUID has 36.
pub const CID_BYTES: usize = 64;

/// The default lifetime of a temporary message, in seconds, from the original protocol.
pub const DEFAULT_TEMPORARY_SECONDS: u32 = 10;

/// The longest lifetime of a temporary message, in seconds: one week.
pub const MAX_TEMPORARY_SECONDS: u32 = 7 * 24 * 60 * 60;

/// The longest text of an error, in characters. It fits into [`ORIGINAL_FRAME_BYTES`].
pub const ERROR_CHARACTERS: usize = 400;

/// The longest regular expression of a search, in bytes.
pub const PATTERN_BYTES: usize = 256;

/// The longest topic of a room, in characters: one line.
pub const TOPIC_CHARACTERS: usize = 200;

/// The maximum number of users in one request to add or remove members, and of IDs or rooms in one page of a
/// list. As many as [`RECIPIENTS`].
pub const PAGE_USERS: usize = 256;

/// The maximum number of rooms in a page of the list of rooms.
pub const PAGE_ROOMS: usize = 100;

/// The maximum number of conversations that the server lists: all rooms, and the latest direct conversations.
pub const LISTED_CONVERSATIONS: usize = 500;

/// The highest number of unread messages that is counted. Beyond it, the number tells nobody more, and counting
/// costs more than everything else of a login.
pub const UNREAD_COUNTED: u32 = 100;

/// The maximum number of different emoji on one message.
pub const REACTION_KINDS: usize = 20;

/// The maximum number of users whose names are sent with one emoji of a message.
pub const REACTION_USERS: usize = 5;

/// The maximum number of users whom one message mentions by name; further names are text.
pub const MENTIONED_USERS: usize = 32;

/// The maximum number of pinned messages in one conversation.
pub const PINNED_MESSAGES: usize = 100;

/// Who types is told in conversations of at most this many users. In larger ones somebody always types.
pub const TYPING_MEMBERS: usize = 20;

/// In rooms with more members than this, only the owner mentions `@all`.
pub const MENTION_ALL_MEMBERS: u32 = 50;

/// The maximum number of messages in one page of history: a few screens.
pub const PAGE_MESSAGES: usize = 100;

/// The keepalive interval, in seconds: an idle client sends a PING after it. Shorter than the minute
/// after which home routers drop idle connections.
pub const PING_SECONDS: u64 = 20;

/// The keepalive timeout, in seconds: either side closes a connection on which it received nothing for
/// this long. Two lost PINGs.
pub const KEEPALIVE_TIMEOUT_SECONDS: u64 = 45;

/// How long the server remembers a `cid` after its first use, in days.
pub const CID_DAYS: u64 = 7;

/// The maximum number of combining marks on one base character. Real scripts need up to four; more
/// ("Zalgo" text) draws over neighboring lines.
pub const COMBINING_MARKS: usize = 4;

/// The limits that a server announces at the login. They are the same for all sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// See [`FRAME_BYTES`].
    pub frame_bytes: usize,
    /// See [`CONTENT_CHARACTERS`].
    pub content_characters: usize,
    /// See [`RECIPIENTS`].
    pub recipients: usize,
    /// See [`MAX_TEMPORARY_SECONDS`].
    pub temporary_seconds: u32,
    /// See [`PATTERN_BYTES`].
    pub pattern_bytes: usize,
    /// See [`PAGE_MESSAGES`].
    pub page_messages: usize,
    /// See [`PING_SECONDS`].
    pub ping_seconds: u64,
    /// See [`KEEPALIVE_TIMEOUT_SECONDS`].
    pub dead_seconds: u64,
    /// The rate limits per user; `None` if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rates: Option<Rates>,
}

/// Rate limits per user, over all sessions of a key together. Requests above the rate are delayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// Everything that is stored, and refused requests.
    pub messages: Rate,
    /// Everything else: queries, read markers, PING and TYPING.
    pub questions: Rate,
    /// All bytes.
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
