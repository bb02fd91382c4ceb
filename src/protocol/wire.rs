//! Events to JSON objects, and back.
//!
//! An event is encoded once for all sessions of ours ([`Event::encode`]) and once for all original
//! clients ([`Event::encode_for_original`]), who must get neither what they don't know nor more than
//! they can read at once.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, FixedOffset};
use serde::{Deserialize, Serialize};

use super::error::ErrorCode;
use super::event::{Deleted, Event, Found, Page, Refused, SearchEnd, Stored, Welcome};
use super::id::{ClientId, MessageId, Seq, UserId};
use super::limits::{Limits, ORIGINAL_FRAME_BYTES};
use super::message::{Audience, Kind, Message, Millis};
use super::request::{PROTOCOL, to_line};
use super::text::SafeText;

/// Every event but the answer to a login, as it stands on the wire.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "UPPERCASE")]
enum Wire {
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
    Delete(WireMark),
    Outdated(WireMark),
    Live {
        seq: Seq,
    },
    Stored {
        seq: Seq,
        id: MessageId,
        cid: ClientId,
    },
    History {
        messages: Vec<Self>,
        earlier: bool,
        later: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cid: Option<ClientId>,
    },
    Found {
        messages: Vec<Self>,
        searched: u64,
        end: SearchEnd,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cid: Option<ClientId>,
    },
    Pong {
        count: u64,
    },
    Error(WireRefused),
    Closing(WireRefused),
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
    cid: Option<ClientId>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    guest: bool,
}

/// A DELETE or an OUTDATED: `content` is the message that is gone.
#[derive(Debug, Serialize, Deserialize)]
struct WireMark {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sender: Option<UserId>,
    content: MessageId,
    optional: Option<MessageId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seq: Option<Seq>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cid: Option<ClientId>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WireRefused {
    error: SafeText,
    code: ErrorCode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cid: Option<ClientId>,
}

/// The answer to a login: the one object of the original's that has a `status` and no `action`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "UPPERCASE")]
enum Answer {
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
    Error(WireRefused),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Object {
    Answer(Answer),
    Event(Wire),
}

impl Event {
    /// The bytes for every session of ours: one JSON object and a line end.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Welcome(welcome) => line(&Answer::Success {
                user_id: welcome.user.clone(),
                protocol: Some(PROTOCOL),
                epoch: Some(welcome.epoch.clone()),
                head: Some(welcome.head),
                now: Some(welcome.now),
                resumed: Some(welcome.resumed),
                limits: Some(welcome.limits),
            }),
            Self::LoginRefused(refused) => line(&Answer::Error(refused.into())),
            Self::LoginPrompt => line(&Wire::Login),
            Self::People(people) => line(&Wire::ActiveClient { receiver: Arc::clone(people) }),
            Self::Guests(guests) => line(&Wire::Guests { receiver: guests.clone() }),
            Self::Presence { joined, left } => {
                line(&Wire::Presence { joined: joined.clone(), left: left.clone() })
            }
            Self::Said(message) => {
                line(&wire_message(message, message.content.clone(), Some(message.seq)))
            }
            Self::Deleted(deleted) => line(&Wire::Delete(WireMark {
                sender: Some(deleted.by.clone()),
                content: deleted.id,
                optional: Some(deleted.id),
                seq: Some(deleted.seq),
                cid: deleted.cid.clone(),
            })),
            Self::Expired { seq, id } => line(&Wire::Outdated(WireMark {
                sender: None,
                content: *id,
                optional: None,
                seq: Some(*seq),
                cid: None,
            })),
            Self::Live(seq) => line(&Wire::Live { seq: *seq }),
            Self::Stored(stored) => {
                line(&Wire::Stored { seq: stored.seq, id: stored.id, cid: stored.cid.clone() })
            }
            Self::History(page) => line(&Wire::History {
                messages: wire_messages(&page.messages),
                earlier: page.earlier,
                later: page.later,
                cid: page.cid.clone(),
            }),
            Self::Found(found) => line(&Wire::Found {
                messages: wire_messages(&found.messages),
                searched: found.searched,
                end: found.end,
                cid: found.cid.clone(),
            }),
            Self::Pong(count) => line(&Wire::Pong { count: *count }),
            Self::Refused(refused) => line(&Wire::Error(refused.into())),
            Self::Closing(refused) => line(&Wire::Closing(refused.into())),
        }
    }

    /// The bytes for every original client, cut to what one of its reads takes; `None` for what
    /// such a client does not know.
    pub fn encode_for_original(&self) -> Option<Bytes> {
        match self {
            Self::LoginPrompt => Some(self.encode()),
            Self::LoginRefused(refused) => Some(cut_text(&refused.text, |error| {
                line(&Answer::Error(original(refused, error)))
            })),
            Self::Refused(refused) => {
                Some(cut_text(&refused.text, |error| line(&Wire::Error(original(refused, error)))))
            }
            Self::Welcome(welcome) => Some(line(&Answer::Success {
                user_id: welcome.user.clone(),
                protocol: None,
                epoch: None,
                head: None,
                now: None,
                resumed: None,
                limits: None,
            })),
            Self::People(people) => Some(cut(people.len(), |count| {
                let fitting = people.iter().take(count).cloned().collect();
                line(&Wire::ActiveClient { receiver: fitting })
            })),
            Self::Presence { .. }
            | Self::Guests(_)
            | Self::Live(_)
            | Self::Stored(_)
            | Self::History(_)
            | Self::Found(_)
            | Self::Pong(_)
            | Self::Closing(_) => None,
            Self::Said(message) => Some(message_for_original(message)),
            Self::Deleted(deleted) => Some(line(&Wire::Delete(WireMark {
                sender: Some(deleted.by.clone()),
                content: deleted.id,
                optional: Some(deleted.id),
                seq: None,
                cid: None,
            }))),
            Self::Expired { id, .. } => Some(line(&Wire::Outdated(WireMark {
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
            Object::Answer(Answer::Success {
                user_id, epoch, head, now, resumed, limits, ..
            }) => Self::Welcome(Welcome {
                user: user_id,
                epoch: epoch.unwrap_or_default(),
                head: head.unwrap_or_default(),
                now: now.unwrap_or_default(),
                resumed: resumed.unwrap_or_default(),
                limits: limits.unwrap_or_default(),
            }),
            Object::Answer(Answer::Error(refused)) => Self::LoginRefused(refused.into()),
            Object::Event(wire) => return wire.into_event(),
        };
        Ok(Some(event))
    }
}

impl Wire {
    fn into_event(self) -> Result<Option<Event>, serde_json::Error> {
        Ok(Some(match self {
            Self::Login => Event::LoginPrompt,
            Self::ActiveClient { receiver } => Event::People(receiver),
            Self::Presence { joined, left } => Event::Presence { joined, left },
            Self::Guests { receiver } => Event::Guests(receiver),
            Self::Message(message) => Event::Said(message.into_message(Kind::Plain)?),
            Self::Temporary(message) => {
                let expires = required(message.expires, "expires")?;
                Event::Said(message.into_message(Kind::Temporary { expires })?)
            }
            Self::Reply(message) => {
                let to = required(message.optional, "optional")?;
                Event::Said(message.into_message(Kind::Reply { to })?)
            }
            Self::Delete(mark) => Event::Deleted(Deleted {
                seq: required(mark.seq, "seq")?,
                id: mark.content,
                by: required(mark.sender, "sender")?,
                cid: mark.cid,
            }),
            Self::Outdated(mark) => {
                Event::Expired { seq: required(mark.seq, "seq")?, id: mark.content }
            }
            Self::Live { seq } => Event::Live(seq),
            Self::Stored { seq, id, cid } => Event::Stored(Stored { seq, id, cid }),
            Self::History { messages, earlier, later, cid } => {
                Event::History(Page { messages: into_messages(messages)?, earlier, later, cid })
            }
            Self::Found { messages, searched, end, cid } => {
                Event::Found(Found { messages: into_messages(messages)?, searched, end, cid })
            }
            Self::Pong { count } => Event::Pong(count),
            Self::Error(refused) => Event::Refused(refused.into()),
            Self::Closing(refused) => Event::Closing(refused.into()),
            Self::Unknown => return Ok(None),
        }))
    }
}

impl WireMessage {
    fn into_message(self, kind: Kind) -> Result<Message, serde_json::Error> {
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

fn wire_messages(messages: &[Message]) -> Vec<Wire> {
    let wire =
        |message: &Message| wire_message(message, message.content.clone(), Some(message.seq));
    messages.iter().map(wire).collect()
}

fn into_messages(wires: Vec<Wire>) -> Result<Vec<Message>, serde_json::Error> {
    let mut messages = Vec::with_capacity(wires.len());
    for wire in wires {
        // A later version may put something else among them.
        if let Some(Event::Said(message)) = wire.into_event()? {
            messages.push(message);
        }
    }
    Ok(messages)
}

fn required<T>(field: Option<T>, name: &'static str) -> Result<T, serde_json::Error> {
    field.ok_or_else(|| serde::de::Error::missing_field(name))
}

/// The recipients as the wire lists them.
pub(super) fn receivers(audience: &Audience) -> Vec<String> {
    match audience {
        Audience::Everyone => vec!["all".to_owned()],
        Audience::Only(people) => people.iter().map(ToString::to_string).collect(),
    }
}

/// How the original writes a moment.
fn original_time(at: DateTime<FixedOffset>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// With its `seq` a message is for sessions of ours, without it for original clients.
fn wire_message(message: &Message, content: SafeText, seq: Option<Seq>) -> Wire {
    let extended = seq.is_some();
    let wire = WireMessage {
        id: message.id,
        sender: message.sender.clone(),
        receiver: receivers(&message.audience),
        content,
        time: original_time(message.at),
        private: message.audience.is_private(),
        optional: message.reply_to(),
        seq,
        at: extended.then(|| message.at.timestamp_millis()),
        expires: message.expires().filter(|_| extended),
        cid: message.cid.clone().filter(|_| extended),
        guest: message.guest && extended,
    };
    match message.kind {
        Kind::Plain => Wire::Message(wire),
        Kind::Temporary { .. } => Wire::Temporary(wire),
        Kind::Reply { .. } => Wire::Reply(wire),
    }
}

/// A message that is too long for an original client loses the end of its text, and a message to
/// very many people some of their names: it still reads what it can, instead of breaking.
fn message_for_original(message: &Message) -> Bytes {
    let mut shown = message.clone();
    if let Audience::Only(people) = &mut shown.audience {
        while people.iter().map(|id| id.as_str().len() + 3).sum::<usize>()
            > ORIGINAL_FRAME_BYTES / 2
        {
            people.pop_last();
        }
    }
    cut_text(&message.content, |content| line(&wire_message(&shown, content, None)))
}

/// The longest encoding that an original client can read, with as much of `text` as fits.
fn cut_text(text: &SafeText, encode: impl Fn(SafeText) -> Bytes) -> Bytes {
    let characters = text.as_str().chars().count();
    cut(characters, |count| {
        if count == characters {
            return encode(text.clone());
        }
        let kept: String = text.as_str().chars().take(count).collect();
        encode(SafeText::clean(&format!("{kept}…")))
    })
}

/// The longest encoding that an original client can read, of at most `count` things.
fn cut(count: usize, encode: impl Fn(usize) -> Bytes) -> Bytes {
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

fn line(value: &impl Serialize) -> Bytes {
    Bytes::from(to_line(value))
}

impl From<&Refused> for WireRefused {
    fn from(refused: &Refused) -> Self {
        Self { error: refused.text.clone(), code: refused.code, cid: refused.cid.clone() }
    }
}

impl From<WireRefused> for Refused {
    fn from(refused: WireRefused) -> Self {
        Self { code: refused.code, text: refused.error, cid: refused.cid }
    }
}

/// What an original client gets: it has no `cid`.
fn original(refused: &Refused, error: SafeText) -> WireRefused {
    WireRefused { error, code: refused.code, cid: None }
}
