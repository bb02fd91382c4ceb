//! Events, encoded to and decoded from JSON objects.
//!
//! An event is encoded once for all extended sessions ([`Event::encode`]) and once for all original
//! clients ([`Event::encode_for_original`]), which get no unknown events or fields and no more bytes
//! than one of their reads takes.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, FixedOffset};
use serde::{Deserialize, Serialize};

use super::error::ErrorCode;
use super::event::{
    Deleted, ErrorReply, Event, HistoryPage, SearchEnd, SearchResults, StoredReply, Welcome,
};
use super::id::{Cid, MessageId, Seq, UserId};
use super::limits::{Limits, ORIGINAL_FRAME_BYTES};
use super::message::{Audience, Message, MessageKind, Millis};
use super::request::{PROTOCOL_VERSION, to_line};
use super::text::SafeText;

/// The wire form of every event except the reply to a login.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "UPPERCASE")]
enum WireEvent {
    Login,
    #[serde(rename = "ACTIVE_CLIENT")]
    ActiveClient {
        receiver: Arc<[UserId]>,
    },
    Guests {
        receiver: Vec<UserId>,
    },
    Presence {
        joined: Vec<UserId>,
        left: Vec<UserId>,
    },
    Message(WireMessage),
    Temporary(WireMessage),
    Reply(WireMessage),
    Delete(WireRemoval),
    Outdated(WireRemoval),
    Live {
        seq: Seq,
    },
    Stored {
        seq: Seq,
        id: MessageId,
        cid: Cid,
    },
    History {
        messages: Vec<Self>,
        earlier: bool,
        later: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cid: Option<Cid>,
    },
    Found {
        messages: Vec<Self>,
        searched: u64,
        end: SearchEnd,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cid: Option<Cid>,
    },
    Pong {
        count: u64,
    },
    Error(WireError),
    Closing(WireError),
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Serialize, Deserialize)]
struct WireMessage {
    id: MessageId,
    sender: UserId,
    receiver: Vec<String>,
    content: SafeText,
    time: String,
    private: bool,
    optional: Option<MessageId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seq: Option<Seq>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cid: Option<Cid>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    guest: bool,
}

/// A DELETE or OUTDATED; `content` is the id of the message.
#[derive(Debug, Serialize, Deserialize)]
struct WireRemoval {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sender: Option<UserId>,
    content: MessageId,
    optional: Option<MessageId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seq: Option<Seq>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cid: Option<Cid>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WireError {
    error: SafeText,
    code: ErrorCode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cid: Option<Cid>,
}

/// The reply to a login: it has a `status` instead of an `action`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "UPPERCASE")]
enum LoginReply {
    Success {
        user_id: UserId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        protocol: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        epoch: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        head: Option<Seq>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        now: Option<Millis>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resumed: Option<bool>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limits: Option<Limits>,
    },
    Error(WireError),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ServerObject {
    Login(LoginReply),
    Event(WireEvent),
}

impl Event {
    /// The `action` values of all events. The reply to a login has none.
    pub const ACTIONS: [&str; 16] = [
        "LOGIN",
        "ACTIVE_CLIENT",
        "GUESTS",
        "PRESENCE",
        "MESSAGE",
        "TEMPORARY",
        "REPLY",
        "DELETE",
        "OUTDATED",
        "LIVE",
        "STORED",
        "HISTORY",
        "FOUND",
        "PONG",
        "ERROR",
        "CLOSING",
    ];

    /// Encodes the event for extended sessions as one line.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Welcome(welcome) => encode_line(&LoginReply::Success {
                user_id: welcome.user.clone(),
                protocol: Some(PROTOCOL_VERSION),
                epoch: Some(welcome.epoch.clone()),
                head: Some(welcome.head),
                now: Some(welcome.now),
                resumed: Some(welcome.resumed),
                limits: Some(welcome.limits),
            }),
            Self::LoginRefused(reply) => encode_line(&LoginReply::Error(reply.into())),
            Self::LoginPrompt => encode_line(&WireEvent::Login),
            Self::Users(users) => {
                encode_line(&WireEvent::ActiveClient { receiver: Arc::clone(users) })
            }
            Self::Guests(guests) => encode_line(&WireEvent::Guests { receiver: guests.clone() }),
            Self::Presence { joined, left } => {
                encode_line(&WireEvent::Presence { joined: joined.clone(), left: left.clone() })
            }
            Self::Posted(message) => {
                encode_line(&to_wire_message(message, message.content.clone(), Some(message.seq)))
            }
            Self::Deleted(deleted) => encode_line(&WireEvent::Delete(WireRemoval {
                sender: Some(deleted.author.clone()),
                content: deleted.id,
                optional: Some(deleted.id),
                seq: Some(deleted.seq),
                cid: deleted.cid.clone(),
            })),
            Self::Expired { seq, id } => encode_line(&WireEvent::Outdated(WireRemoval {
                sender: None,
                content: *id,
                optional: None,
                seq: Some(*seq),
                cid: None,
            })),
            Self::Live(seq) => encode_line(&WireEvent::Live { seq: *seq }),
            Self::Stored(stored) => encode_line(&WireEvent::Stored {
                seq: stored.seq,
                id: stored.id,
                cid: stored.cid.clone(),
            }),
            Self::History(page) => encode_line(&WireEvent::History {
                messages: to_wire_messages(&page.messages),
                earlier: page.has_earlier,
                later: page.has_later,
                cid: page.cid.clone(),
            }),
            Self::SearchResults(results) => encode_line(&WireEvent::Found {
                messages: to_wire_messages(&results.messages),
                searched: results.searched,
                end: results.end,
                cid: results.cid.clone(),
            }),
            Self::Pong(count) => encode_line(&WireEvent::Pong { count: *count }),
            Self::Error(reply) => encode_line(&WireEvent::Error(reply.into())),
            Self::Closing(reply) => encode_line(&WireEvent::Closing(reply.into())),
        }
    }

    /// Encodes the event for original clients as one line of at most [`ORIGINAL_FRAME_BYTES`]; longer
    /// texts and lists are truncated. Returns `None` for events that such a client does not know.
    pub fn encode_for_original(&self) -> Option<Bytes> {
        match self {
            Self::LoginPrompt => Some(self.encode()),
            Self::LoginRefused(reply) => Some(truncate_text(&reply.text, |text| {
                encode_line(&LoginReply::Error(error_for_original(reply, text)))
            })),
            Self::Error(reply) => Some(truncate_text(&reply.text, |text| {
                encode_line(&WireEvent::Error(error_for_original(reply, text)))
            })),
            Self::Welcome(welcome) => Some(encode_line(&LoginReply::Success {
                user_id: welcome.user.clone(),
                protocol: None,
                epoch: None,
                head: None,
                now: None,
                resumed: None,
                limits: None,
            })),
            Self::Users(users) => Some(truncate(users.len(), |count| {
                let fitting = users.iter().take(count).cloned().collect();
                encode_line(&WireEvent::ActiveClient { receiver: fitting })
            })),
            Self::Presence { .. }
            | Self::Guests(_)
            | Self::Live(_)
            | Self::Stored(_)
            | Self::History(_)
            | Self::SearchResults(_)
            | Self::Pong(_)
            | Self::Closing(_) => None,
            Self::Posted(message) => Some(encode_message_for_original(message)),
            Self::Deleted(deleted) => Some(encode_line(&WireEvent::Delete(WireRemoval {
                sender: Some(deleted.author.clone()),
                content: deleted.id,
                optional: Some(deleted.id),
                seq: None,
                cid: None,
            }))),
            Self::Expired { id, .. } => Some(encode_line(&WireEvent::Outdated(WireRemoval {
                sender: None,
                content: *id,
                optional: None,
                seq: None,
                cid: None,
            }))),
        }
    }

    /// Decodes an object that a server sent to an extended client. Returns `None` for an event that
    /// this version does not know.
    ///
    /// # Errors
    /// The object is not valid JSON, or a field is missing or invalid.
    pub fn decode(object: &[u8]) -> Result<Option<Self>, serde_json::Error> {
        let event = match serde_json::from_slice(object)? {
            ServerObject::Login(LoginReply::Success {
                user_id,
                epoch,
                head,
                now,
                resumed,
                limits,
                ..
            }) => Self::Welcome(Welcome {
                user: user_id,
                epoch: epoch.unwrap_or_default(),
                head: head.unwrap_or_default(),
                now: now.unwrap_or_default(),
                resumed: resumed.unwrap_or_default(),
                limits: limits.unwrap_or_default(),
            }),
            ServerObject::Login(LoginReply::Error(reply)) => Self::LoginRefused(reply.into()),
            ServerObject::Event(event) => return event.into_event(),
        };
        Ok(Some(event))
    }
}

impl WireEvent {
    fn into_event(self) -> Result<Option<Event>, serde_json::Error> {
        Ok(Some(match self {
            Self::Login => Event::LoginPrompt,
            Self::ActiveClient { receiver } => Event::Users(receiver),
            Self::Presence { joined, left } => Event::Presence { joined, left },
            Self::Guests { receiver } => Event::Guests(receiver),
            Self::Message(message) => Event::Posted(message.into_message(MessageKind::Plain)?),
            Self::Temporary(message) => {
                let expires = required(message.expires, "expires")?;
                Event::Posted(message.into_message(MessageKind::Temporary { expires })?)
            }
            Self::Reply(message) => {
                let to = required(message.optional, "optional")?;
                Event::Posted(message.into_message(MessageKind::Reply { to })?)
            }
            Self::Delete(removal) => Event::Deleted(Deleted {
                seq: required(removal.seq, "seq")?,
                id: removal.content,
                author: required(removal.sender, "sender")?,
                cid: removal.cid,
            }),
            Self::Outdated(removal) => {
                Event::Expired { seq: required(removal.seq, "seq")?, id: removal.content }
            }
            Self::Live { seq } => Event::Live(seq),
            Self::Stored { seq, id, cid } => Event::Stored(StoredReply { seq, id, cid }),
            Self::History { messages, earlier, later, cid } => Event::History(HistoryPage {
                messages: from_wire_messages(messages)?,
                has_earlier: earlier,
                has_later: later,
                cid,
            }),
            Self::Found { messages, searched, end, cid } => Event::SearchResults(SearchResults {
                messages: from_wire_messages(messages)?,
                searched,
                end,
                cid,
            }),
            Self::Pong { count } => Event::Pong(count),
            Self::Error(reply) => Event::Error(reply.into()),
            Self::Closing(reply) => Event::Closing(reply.into()),
            Self::Unknown => return Ok(None),
        }))
    }
}

impl WireMessage {
    fn into_message(self, kind: MessageKind) -> Result<Message, serde_json::Error> {
        let audience = if self.receiver.iter().any(|id| id == "all") {
            Audience::Everyone
        } else {
            Audience::Only(
                self.receiver
                    .iter()
                    .map(|id| id.parse())
                    .collect::<Result<_, _>>()
                    .map_err(serde::de::Error::custom)?,
            )
        };
        let at = required(self.at, "at")?;
        let at = DateTime::from_timestamp_millis(at)
            .ok_or_else(|| serde::de::Error::custom("`at` is out of range"))?
            .fixed_offset();
        let seq = required(self.seq, "seq")?;
        Ok(Message {
            seq,
            id: self.id,
            sender: self.sender,
            guest: self.guest,
            audience,
            kind,
            content: self.content,
            at,
            cid: self.cid,
        })
    }
}

fn to_wire_messages(messages: &[Message]) -> Vec<WireEvent> {
    messages
        .iter()
        .map(|message| to_wire_message(message, message.content.clone(), Some(message.seq)))
        .collect()
}

fn from_wire_messages(objects: Vec<WireEvent>) -> Result<Vec<Message>, serde_json::Error> {
    let mut messages = Vec::with_capacity(objects.len());
    for object in objects {
        // Later versions may add other objects to the list.
        if let Some(Event::Posted(message)) = object.into_event()? {
            messages.push(message);
        }
    }
    Ok(messages)
}

fn required<T>(field: Option<T>, name: &'static str) -> Result<T, serde_json::Error> {
    field.ok_or_else(|| serde::de::Error::missing_field(name))
}

/// The format of `time`, from the original protocol.
fn format_time(at: DateTime<FixedOffset>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// The message for extended sessions if `seq` is given, and for original clients otherwise.
fn to_wire_message(message: &Message, content: SafeText, seq: Option<Seq>) -> WireEvent {
    let extended = seq.is_some();
    let fields = WireMessage {
        id: message.id,
        sender: message.sender.clone(),
        receiver: message.audience.receiver_list(),
        content,
        time: format_time(message.at),
        private: message.audience.is_private(),
        optional: message.reply_to(),
        seq,
        at: extended.then(|| message.at.timestamp_millis()),
        expires: message.expires().filter(|_| extended),
        cid: message.cid.clone().filter(|_| extended),
        guest: message.guest && extended,
    };
    match message.kind {
        MessageKind::Plain => WireEvent::Message(fields),
        MessageKind::Temporary { .. } => WireEvent::Temporary(fields),
        MessageKind::Reply { .. } => WireEvent::Reply(fields),
    }
}

/// If the message is too long for an original client, the end of its text is cut off, and if it has
/// very many recipients, some of their names.
fn encode_message_for_original(message: &Message) -> Bytes {
    let mut shown = message.clone();
    if let Audience::Only(recipients) = &mut shown.audience {
        while recipients.iter().map(|id| id.as_str().len() + 3).sum::<usize>()
            > ORIGINAL_FRAME_BYTES / 2
        {
            recipients.pop_last();
        }
    }
    truncate_text(&message.content, |content| encode_line(&to_wire_message(&shown, content, None)))
}

/// Encodes as much of `text` as fits into [`ORIGINAL_FRAME_BYTES`].
fn truncate_text(text: &SafeText, encode: impl Fn(SafeText) -> Bytes) -> Bytes {
    let characters = text.as_str().chars().count();
    truncate(characters, |count| {
        if count == characters {
            return encode(text.clone());
        }
        let kept: String = text.as_str().chars().take(count).collect();
        encode(SafeText::clean(&format!("{kept}…")))
    })
}

/// Encodes as many of `count` items as fit into [`ORIGINAL_FRAME_BYTES`], by binary search.
fn truncate(count: usize, encode: impl Fn(usize) -> Bytes) -> Bytes {
    let whole = encode(count);
    if whole.len() <= ORIGINAL_FRAME_BYTES {
        return whole;
    }
    let (mut fits, mut too_many) = (0, count);
    while too_many - fits > 1 {
        let middle = usize::midpoint(fits, too_many);
        if encode(middle).len() <= ORIGINAL_FRAME_BYTES {
            fits = middle;
        } else {
            too_many = middle;
        }
    }
    encode(fits)
}

fn encode_line(value: &impl Serialize) -> Bytes {
    Bytes::from(to_line(value))
}

impl From<&ErrorReply> for WireError {
    fn from(reply: &ErrorReply) -> Self {
        Self { error: reply.text.clone(), code: reply.code, cid: reply.cid.clone() }
    }
}

impl From<WireError> for ErrorReply {
    fn from(reply: WireError) -> Self {
        Self { code: reply.code, text: reply.error, cid: reply.cid }
    }
}

/// The error without its `cid`, for original clients.
fn error_for_original(reply: &ErrorReply, text: SafeText) -> WireError {
    WireError { error: text, code: reply.code, cid: None }
}
