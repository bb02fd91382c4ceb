//! Events to JSON objects, and back.
//!
//! An event is encoded once for all sessions of ours ([`ClientEvent::encode`]) and once for all original
//! clients ([`ClientEvent::encode_for_original`]), who must get neither what they don't know nor more than
//! they can read at once.

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

/// Every event but the answer to a login, as it stands on the wire.
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

/// A DELETE or an OUTDATED: `content` is the message that is gone.
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

/// The answer to a login: the one object of the original's that has a `status` and no `action`.
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
    /// The bytes for every session of ours: one JSON object and a line end.
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
            Self::LoginRefused(refused) => encode_line(&LoginReply::Error(refused.into())),
            Self::LoginPrompt => encode_line(&WireEvent::Login),
            Self::Users(people) => {
                encode_line(&WireEvent::ActiveClient { receiver: Arc::clone(people) })
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
            Self::SearchResults(found) => encode_line(&WireEvent::Found {
                messages: to_wire_messages(&found.messages),
                searched: found.searched,
                end: found.end,
                cid: found.cid.clone(),
            }),
            Self::Pong(count) => encode_line(&WireEvent::Pong { count: *count }),
            Self::Error(refused) => encode_line(&WireEvent::Error(refused.into())),
            Self::Closing(refused) => encode_line(&WireEvent::Closing(refused.into())),
        }
    }

    /// The bytes for every original client, cut to what one of its reads takes; `None` for what
    /// such a client does not know.
    pub fn encode_for_original(&self) -> Option<Bytes> {
        match self {
            Self::LoginPrompt => Some(self.encode()),
            Self::LoginRefused(refused) => Some(truncate_text(&refused.text, |error| {
                encode_line(&LoginReply::Error(error_for_original(refused, error)))
            })),
            Self::Error(refused) => Some(truncate_text(&refused.text, |error| {
                encode_line(&WireEvent::Error(error_for_original(refused, error)))
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
            Self::Users(people) => Some(truncate(people.len(), |count| {
                let fitting = people.iter().take(count).cloned().collect();
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

    /// Reads what a server of ours said to a client of ours; `None` for an event that this version
    /// does not know.
    ///
    /// # Errors
    /// Not JSON, or not as the protocol has it.
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
            ServerObject::Login(LoginReply::Error(refused)) => Self::LoginRefused(refused.into()),
            ServerObject::Event(wire) => return wire.into_event(),
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
            Self::Delete(mark) => Event::Deleted(Deleted {
                seq: required(mark.seq, "seq")?,
                id: mark.content,
                author: required(mark.sender, "sender")?,
                cid: mark.cid,
            }),
            Self::Outdated(mark) => {
                Event::Expired { seq: required(mark.seq, "seq")?, id: mark.content }
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
            Self::Error(refused) => Event::Error(refused.into()),
            Self::Closing(refused) => Event::Closing(refused.into()),
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
    let wire =
        |message: &Message| to_wire_message(message, message.content.clone(), Some(message.seq));
    messages.iter().map(wire).collect()
}

fn from_wire_messages(wires: Vec<WireEvent>) -> Result<Vec<Message>, serde_json::Error> {
    let mut messages = Vec::with_capacity(wires.len());
    for wire in wires {
        // A later version may put something else among them.
        if let Some(Event::Posted(message)) = wire.into_event()? {
            messages.push(message);
        }
    }
    Ok(messages)
}

fn required<T>(field: Option<T>, name: &'static str) -> Result<T, serde_json::Error> {
    field.ok_or_else(|| serde::de::Error::missing_field(name))
}

/// The recipients as the wire lists them.
pub(super) fn receiver_list(audience: &Audience) -> Vec<String> {
    match audience {
        Audience::Everyone => vec!["all".to_owned()],
        Audience::Only(people) => people.iter().map(ToString::to_string).collect(),
    }
}

/// How the original writes a moment.
fn format_time(at: DateTime<FixedOffset>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// With its `seq` a message is for sessions of ours, without it for original clients.
fn to_wire_message(message: &Message, content: SafeText, seq: Option<Seq>) -> WireEvent {
    let extended = seq.is_some();
    let fields = WireMessage {
        id: message.id,
        sender: message.sender.clone(),
        receiver: receiver_list(&message.audience),
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

/// A message that is too long for an original client loses the end of its text, and a message to
/// very many people some of their names: it still reads what it can, instead of breaking.
fn encode_message_for_original(message: &Message) -> Bytes {
    let mut shown = message.clone();
    if let Audience::Only(people) = &mut shown.audience {
        while people.iter().map(|id| id.as_str().len() + 3).sum::<usize>()
            > ORIGINAL_FRAME_BYTES / 2
        {
            people.pop_last();
        }
    }
    truncate_text(&message.content, |content| encode_line(&to_wire_message(&shown, content, None)))
}

/// The longest encoding that an original client can read, with as much of `text` as fits.
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

/// The longest encoding that an original client can read, of at most `count` things.
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
    fn from(refused: &ErrorReply) -> Self {
        Self { error: refused.text.clone(), code: refused.code, cid: refused.cid.clone() }
    }
}

impl From<WireError> for ErrorReply {
    fn from(refused: WireError) -> Self {
        Self { code: refused.code, text: refused.error, cid: refused.cid }
    }
}

/// What an original client gets: it has no `cid`.
fn error_for_original(refused: &ErrorReply, error: SafeText) -> WireError {
    WireError { error, code: refused.code, cid: None }
}
