//! What a server says, as values. How they stand on the wire is in `wire`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::ErrorCode;
use super::id::{Cid, MessageId, Seq, UserId};
use super::limits::{ERROR_CHARACTERS, Limits};
use super::message::{Message, Millis};
use super::text::SafeText;

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// LOGIN: the first thing on a new connection.
    LoginPrompt,
    /// The login is accepted.
    Welcome(Welcome),
    /// The login is refused.
    LoginRefused(ErrorReply),
    /// `ACTIVE_CLIENT`: everybody who is here, as far as it was told; those who come at once share it.
    Users(Arc<[UserId]>),
    /// PRESENCE: who came and who went since the last word on it.
    Presence {
        /// Who came.
        joined: Vec<UserId>,
        /// Who went.
        left: Vec<UserId>,
    },
    /// GUESTS: of those who are here, or come with the next word, these have shown no key.
    Guests(Vec<UserId>),
    /// MESSAGE, TEMPORARY or REPLY.
    Posted(Message),
    /// DELETE: its author has removed a message.
    Deleted(Deleted),
    /// OUTDATED: a temporary message has expired.
    Expired {
        /// The place of this event in the order.
        seq: Seq,
        /// The message.
        id: MessageId,
    },
    /// LIVE: everything up to here has been sent again; what comes now is new.
    Live(Seq),
    /// STORED: a request that is repeated was done before; nothing was done now.
    Stored(StoredReply),
    /// HISTORY: the answer to a question about what was said before.
    History(HistoryPage),
    /// FOUND: some hits of a search; more follow unless it is done.
    SearchResults(SearchResults),
    /// PONG: how many events of the log were sent on this connection.
    Pong(u64),
    /// ERROR: the server did not do what it was asked.
    Error(ErrorReply),
    /// CLOSING: the server ends the connection.
    Closing(ErrorReply),
}

/// What a session learns at its login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The ID that the session has from now on.
    pub user: UserId,
    /// The random identity of the server's log: another one means that all numbers began anew.
    pub epoch: String,
    /// The last number given in the log.
    pub head: Seq,
    /// The server's clock.
    pub now: Millis,
    /// Whether the client goes on where it was. Otherwise what it has had is void: it was away too
    /// long, or the log is another.
    pub resumed: bool,
    /// What the server takes.
    pub limits: Limits,
}

/// What came of a request the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReply {
    /// The place in the order of what came of it.
    pub seq: Seq,
    /// The message.
    pub id: MessageId,
    /// The request.
    pub cid: Cid,
}

/// A part of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryPage {
    /// The messages, oldest first.
    pub messages: Vec<Message>,
    /// Whether there are earlier ones.
    pub has_earlier: bool,
    /// Whether there are later ones.
    pub has_later: bool,
    /// The question.
    pub cid: Option<Cid>,
}

/// Some hits of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchResults {
    /// The messages, newest first.
    pub messages: Vec<Message>,
    /// How many messages have been searched so far.
    pub searched: u64,
    /// Whether that was all; without it, why not.
    pub end: SearchEnd,
    /// The question.
    pub cid: Option<Cid>,
}

/// How far a search is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SearchEnd {
    /// It goes on.
    Searching,
    /// Everything was searched.
    Complete,
    /// There were too many hits: only the newest are shown.
    TooMany,
    /// It took too long.
    TooLong,
    /// The same person has begun another.
    Replaced,
}

/// Somebody has removed a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// The place of this event in the order.
    pub seq: Seq,
    /// The message.
    pub id: MessageId,
    /// Its author.
    pub author: UserId,
    /// The author's own name for the request.
    pub cid: Option<Cid>,
}

/// Why the server did not do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorReply {
    /// The reason, for programs.
    pub code: ErrorCode,
    /// The reason, for people.
    pub text: SafeText,
    /// The request that this answers.
    pub cid: Option<Cid>,
}

impl Event {
    /// The message that nobody may show any more after this event.
    pub fn removed_message(&self) -> Option<MessageId> {
        match self {
            Self::Deleted(deleted) => Some(deleted.id),
            Self::Expired { id, .. } => Some(*id),
            Self::LoginPrompt
            | Self::Welcome(_)
            | Self::LoginRefused(_)
            | Self::Users(_)
            | Self::Presence { .. }
            | Self::Guests(_)
            | Self::Posted(_)
            | Self::Live(_)
            | Self::Stored(_)
            | Self::History(_)
            | Self::SearchResults(_)
            | Self::Pong(_)
            | Self::Error(_)
            | Self::Closing(_) => None,
        }
    }

    /// Its place in the order of the log, if it is an event of the log.
    pub fn seq(&self) -> Option<Seq> {
        match self {
            Self::Posted(message) => Some(message.seq),
            Self::Deleted(deleted) => Some(deleted.seq),
            Self::Expired { seq, .. } => Some(*seq),
            Self::LoginPrompt
            | Self::Welcome(_)
            | Self::LoginRefused(_)
            | Self::Users(_)
            | Self::Presence { .. }
            | Self::Guests(_)
            | Self::Live(_)
            | Self::Stored(_)
            | Self::History(_)
            | Self::SearchResults(_)
            | Self::Pong(_)
            | Self::Error(_)
            | Self::Closing(_) => None,
        }
    }
}

impl ErrorReply {
    /// The answer to a request that was named `cid`. Long words (of all that was wrong, say) are cut.
    pub fn new(refusal: &super::error::Refusal, cid: Option<Cid>) -> Self {
        let text: String = refusal.to_string().chars().take(ERROR_CHARACTERS).collect();
        Self { code: refusal.code(), text: SafeText::clean(&text), cid }
    }
}
