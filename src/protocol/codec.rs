//! Events, encoded to and decoded from JSON objects.
//!
//! An event is encoded once for all extended sessions ([`Event::encode`]) and once for all original
//! clients ([`Event::encode_for_original`]). Extended sessions get no field that follows from the
//! others, and no frame over [`SERVER_FRAME_BYTES`]. Original clients get no unknown events or fields,
//! and no more bytes than one of their reads takes.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;

use bytes::Bytes;
use chrono::{DateTime, FixedOffset};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::ErrorCode;
use super::event::{
    Deleted, Edited, ErrorReply, Event, HistoryPage, Pinned, Reacted, SearchEnd, SearchResults,
    StoredReply, Welcome,
};
use super::id::{Cid, MessageId, RoomName, Seq, UserId};
use super::limits::{Limits, ORIGINAL_FRAME_BYTES, SERVER_FRAME_BYTES};
use super::mention::Mentions;
use super::message::{Audience, Message, MessageKind, Millis};
use super::reaction::{Emoji, Reaction};
use super::request::{PROTOCOL_VERSION, to_line, write_json, write_line};
use super::room::{
    ConversationInfo, ConversationList, NotifyLevel, NotifySetting, ReadMarker, RoomChange,
    RoomChanged, RoomList, RoomState, UserList,
};
use super::text::SafeText;

/// Bytes of a frame around its list, at most: the action, numbers, and a `cid` with escapes.
const FRAME_OVERHEAD_BYTES: usize = 512;

/// Bytes of the longest list in one frame.
const LIST_BYTES: usize = SERVER_FRAME_BYTES - FRAME_OVERHEAD_BYTES;

/// Bytes of a usual message besides its text.
const MESSAGE_OVERHEAD_BYTES: usize = 192;

/// The fields of an encoded message, removal or expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FieldSet {
    /// Those of the original protocol.
    Original,
    /// Those that extended clients need.
    Extended,
    /// All of both.
    Full,
}

impl FieldSet {
    /// A field that only the extended protocol has.
    fn extended<T>(self, value: T) -> Option<T> {
        (self != Self::Original).then_some(value)
    }

    /// A field that follows from the others.
    fn derived<T>(self, value: impl FnOnce() -> T) -> Option<T> {
        (self != Self::Extended).then(value)
    }
}

/// The wire form of every event except the reply to a login. Borrowed when it is encoded.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "UPPERCASE")]
enum WireEvent<'a> {
    Login,
    #[serde(rename = "ACTIVE_CLIENT")]
    ActiveClient {
        receiver: Cow<'a, [UserId]>,
    },
    Guests {
        receiver: Cow<'a, [UserId]>,
    },
    Presence {
        joined: Cow<'a, [UserId]>,
        left: Cow<'a, [UserId]>,
    },
    Message(WireMessage<'a>),
    Temporary(WireMessage<'a>),
    Reply(WireMessage<'a>),
    Delete(WireRemoval<'a>),
    Outdated(WireRemoval<'a>),
    Edit(WireEdit<'a>),
    React {
        content: MessageId,
        sender: Cow<'a, UserId>,
        emoji: Cow<'a, Emoji>,
        on: bool,
        seq: Seq,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cid: Option<Cow<'a, Cid>>,
    },
    Pin {
        content: MessageId,
        sender: Cow<'a, UserId>,
        on: bool,
        seq: Seq,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cid: Option<Cow<'a, Cid>>,
    },
    Room(Box<WireRoomChange<'a>>),
    Read {
        receiver: Cow<'a, Audience>,
        seq: Seq,
        unread: u32,
        #[serde(default, skip_serializing_if = "is_zero")]
        mentions: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cid: Option<Cow<'a, Cid>>,
    },
    Notify {
        receiver: Cow<'a, Audience>,
        notify: NotifyLevel,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        muted_until: Option<Millis>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cid: Option<Cow<'a, Cid>>,
    },
    Typing {
        receiver: Cow<'a, Audience>,
        sender: Cow<'a, UserId>,
    },
    Conversations {
        conversations: Vec<WireConversation<'a>>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        more: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cid: Option<Cow<'a, Cid>>,
    },
    Rooms {
        rooms: Vec<WireRoom<'a>>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        more: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cid: Option<Cow<'a, Cid>>,
    },
    Users {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        room: Option<Cow<'a, RoomName>>,
        users: Cow<'a, [UserId]>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        more: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cid: Option<Cow<'a, Cid>>,
    },
    Live {
        seq: Seq,
    },
    Stored {
        seq: Seq,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<MessageId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cid: Option<Cow<'a, Cid>>,
    },
    History {
        messages: Vec<Self>,
        earlier: bool,
        later: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cid: Option<Cow<'a, Cid>>,
    },
    Found {
        messages: Vec<Self>,
        searched: u64,
        end: SearchEnd,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cid: Option<Cow<'a, Cid>>,
    },
    Pong {
        count: u64,
    },
    Error(WireError),
    Closing(WireError),
    #[serde(other)]
    Unknown,
}

/// The value of `optional`: original clients need it even if it is `null`.
#[derive(Debug, Serialize, Deserialize)]
struct NullableId(Option<MessageId>);

#[derive(Debug, Serialize, Deserialize)]
struct WireMessage<'a> {
    id: MessageId,
    sender: Cow<'a, UserId>,
    receiver: Cow<'a, Audience>,
    content: Cow<'a, SafeText>,
    /// Follows from `at`, and is not read.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    /// Follows from `receiver`, and is not read.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    private: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    optional: Option<NullableId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seq: Option<Seq>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cid: Option<Cow<'a, Cid>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    guest: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mentions: Option<Cow<'a, Mentions>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    edited: Option<Millis>,
    #[serde(default, skip_serializing_if = "<[Reaction]>::is_empty")]
    reactions: Cow<'a, [Reaction]>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pinned: bool,
}

/// An EDIT; `content` is the id of the message, and `text` its new text.
#[derive(Debug, Serialize, Deserialize)]
struct WireEdit<'a> {
    content: MessageId,
    sender: Cow<'a, UserId>,
    receiver: Cow<'a, Audience>,
    text: Cow<'a, SafeText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    optional: Option<MessageId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mentions: Option<Cow<'a, Mentions>>,
    seq: Seq,
    at: Millis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cid: Option<Cow<'a, Cid>>,
}

/// The state of a room, in the objects that name it.
#[derive(Debug, Serialize, Deserialize)]
struct WireRoomState<'a> {
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    private: bool,
    people: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topic: Option<Cow<'a, SafeText>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    archived: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct WireRoomChange<'a> {
    room: Cow<'a, RoomName>,
    #[serde(rename = "do")]
    change: WireChange,
    /// Missing if the administrator changed the room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sender: Option<Cow<'a, UserId>>,
    #[serde(default, skip_serializing_if = "<[UserId]>::is_empty")]
    users: Cow<'a, [UserId]>,
    #[serde(flatten)]
    state: WireRoomState<'a>,
    seq: Seq,
    at: Millis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cid: Option<Cow<'a, Cid>>,
}

/// The value of `do`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireChange {
    Create,
    Join,
    Leave,
    Add,
    Remove,
    Topic,
    Archive,
}

#[derive(Debug, Serialize, Deserialize)]
struct WireConversation<'a> {
    receiver: Cow<'a, Audience>,
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    room: Option<WireRoomState<'a>>,
    last: Seq,
    read: Seq,
    #[serde(default, skip_serializing_if = "is_zero")]
    unread: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    mentions: u32,
    notify: NotifyLevel,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    muted_until: Option<Millis>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WireRoom<'a> {
    room: Cow<'a, RoomName>,
    #[serde(flatten)]
    state: WireRoomState<'a>,
}

/// A DELETE or OUTDATED; `content` is the id of the message.
#[derive(Debug, Serialize, Deserialize)]
struct WireRemoval<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sender: Option<Cow<'a, UserId>>,
    content: MessageId,
    /// Follows from the action and `content`, and is not read.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    optional: Option<NullableId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seq: Option<Seq>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cid: Option<Cow<'a, Cid>>,
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
    Event(WireEvent<'static>),
}

impl Event {
    /// The `action` values of all events. The reply to a login has none.
    pub const ACTIONS: [&str; 26] = [
        "LOGIN",
        "ACTIVE_CLIENT",
        "GUESTS",
        "PRESENCE",
        "MESSAGE",
        "TEMPORARY",
        "REPLY",
        "DELETE",
        "OUTDATED",
        "EDIT",
        "REACT",
        "PIN",
        "ROOM",
        "READ",
        "NOTIFY",
        "TYPING",
        "CONVERSATIONS",
        "ROOMS",
        "USERS",
        "LIVE",
        "STORED",
        "HISTORY",
        "FOUND",
        "PONG",
        "ERROR",
        "CLOSING",
    ];

    /// Encodes the event for extended sessions: one or more lines, each a frame of at most
    /// [`SERVER_FRAME_BYTES`]. A history page that is too long loses its earliest messages. Longer search
    /// results and lists of users are split.
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
            Self::Users(users) => encode_users(users),
            Self::Guests(guests) => encode_guests(guests),
            Self::Presence { joined, left } => encode_presence(joined, left),
            Self::Posted(message) => encode_message(message, FieldSet::Extended),
            Self::Deleted(deleted) => encode_deletion(deleted, FieldSet::Extended),
            Self::Expired { seq, id } => encode_expiry(*seq, *id, FieldSet::Extended),
            Self::Live(seq) => encode_line(&WireEvent::Live { seq: *seq }),
            Self::Stored(stored) => encode_line(&WireEvent::Stored {
                seq: stored.seq,
                id: stored.id,
                cid: stored.cid.as_ref().map(Cow::Borrowed),
            }),
            Self::Edited(edited) => encode_line(&to_wire_edit(edited)),
            Self::Reacted(reacted) => encode_line(&to_wire_reaction(reacted)),
            Self::Pinned(pinned) => encode_line(&to_wire_pin(pinned)),
            Self::RoomChanged(changed) => encode_line(&to_wire_room_change(changed)),
            Self::Read(marker) => encode_line(&to_wire_marker(marker)),
            Self::NotifySet(setting) => encode_line(&to_wire_setting(setting)),
            Self::Typing { conversation, user } => encode_line(&WireEvent::Typing {
                receiver: Cow::Borrowed(conversation),
                sender: Cow::Borrowed(user),
            }),
            Self::Conversations(list) => encode_conversations(list),
            Self::Rooms(list) => encode_line(&to_wire_rooms(list)),
            Self::UserPage(list) => encode_line(&to_wire_users(list)),
            Self::History(page) => encode_page(page),
            Self::SearchResults(results) => encode_results(results),
            Self::Pong(count) => encode_line(&WireEvent::Pong { count: *count }),
            Self::Error(reply) => encode_line(&WireEvent::Error(reply.into())),
            Self::Closing(reply) => encode_line(&WireEvent::Closing(reply.into())),
        }
    }

    /// Encodes the event with the fields of both dialects, for programs that read the output of `chat
    /// tail`.
    pub fn encode_full(&self) -> Bytes {
        match self {
            Self::Posted(message) => encode_message(message, FieldSet::Full),
            Self::Deleted(deleted) => encode_deletion(deleted, FieldSet::Full),
            Self::Expired { seq, id } => encode_expiry(*seq, *id, FieldSet::Full),
            _ => self.encode(),
        }
    }

    /// Encodes the event for original clients: lines of at most [`ORIGINAL_FRAME_BYTES`] each; longer texts
    /// and lists are truncated. An edit is two lines: the removal of the message, and the message with its
    /// new text. Returns `None` for events that such a client does not know, and for those of rooms.
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
                let fitting = users.get(..count).unwrap_or(users);
                encode_line(&WireEvent::ActiveClient { receiver: Cow::Borrowed(fitting) })
            })),
            Self::Presence { .. }
            | Self::Guests(_)
            | Self::Reacted(_)
            | Self::Pinned(_)
            | Self::RoomChanged(_)
            | Self::Read(_)
            | Self::NotifySet(_)
            | Self::Typing { .. }
            | Self::Conversations(_)
            | Self::Rooms(_)
            | Self::UserPage(_)
            | Self::Live(_)
            | Self::Stored(_)
            | Self::History(_)
            | Self::SearchResults(_)
            | Self::Pong(_)
            | Self::Closing(_)
            | Self::Posted(Message { audience: Audience::Room(_), .. })
            | Self::Edited(Edited { audience: Audience::Room(_), .. }) => None,
            Self::Posted(message) => Some(encode_message_for_original(message)),
            Self::Edited(edited) => Some(encode_edit_for_original(edited)),
            Self::Deleted(deleted) => Some(encode_deletion(deleted, FieldSet::Original)),
            Self::Expired { seq, id } => Some(encode_expiry(*seq, *id, FieldSet::Original)),
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

impl WireEvent<'_> {
    fn into_event(self) -> Result<Option<Event>, serde_json::Error> {
        Ok(Some(match self {
            Self::Login => Event::LoginPrompt,
            Self::ActiveClient { receiver } => Event::Users(receiver.into()),
            Self::Presence { joined, left } => {
                Event::Presence { joined: joined.into_owned(), left: left.into_owned() }
            }
            Self::Guests { receiver } => Event::Guests(receiver.into_owned()),
            Self::Message(message) => Event::Posted(message.into_message(MessageKind::Plain)?),
            Self::Temporary(message) => {
                let expires = required(message.expires, "expires")?;
                Event::Posted(message.into_message(MessageKind::Temporary { expires })?)
            }
            Self::Reply(message) => {
                let to = required(message.optional.as_ref().and_then(|id| id.0), "optional")?;
                Event::Posted(message.into_message(MessageKind::Reply { to })?)
            }
            Self::Delete(removal) => Event::Deleted(Deleted {
                seq: required(removal.seq, "seq")?,
                id: removal.content,
                author: required(removal.sender, "sender")?.into_owned(),
                cid: removal.cid.map(Cow::into_owned),
            }),
            Self::Outdated(removal) => {
                Event::Expired { seq: required(removal.seq, "seq")?, id: removal.content }
            }
            Self::Live { seq } => Event::Live(seq),
            Self::Stored { seq, id, cid } => {
                Event::Stored(StoredReply { seq, id, cid: cid.map(Cow::into_owned) })
            }
            Self::History { messages, earlier, later, cid } => Event::History(HistoryPage {
                messages: from_wire_messages(messages)?,
                has_earlier: earlier,
                has_later: later,
                cid: cid.map(Cow::into_owned),
            }),
            Self::Found { messages, searched, end, cid } => Event::SearchResults(SearchResults {
                messages: from_wire_messages(messages)?,
                searched,
                end,
                cid: cid.map(Cow::into_owned),
            }),
            Self::Pong { count } => Event::Pong(count),
            Self::Error(reply) => Event::Error(reply.into()),
            Self::Closing(reply) => Event::Closing(reply.into()),
            Self::Unknown => return Ok(None),
            about_conversations => return about_conversations.into_conversation_event(),
        }))
    }

    /// The events about conversations and about changes of messages.
    fn into_conversation_event(self) -> Result<Option<Event>, serde_json::Error> {
        Ok(Some(match self {
            Self::Edit(edit) => Event::Edited(edit.into_edited()?),
            Self::React { content, sender, emoji, on, seq, cid } => Event::Reacted(Reacted {
                seq,
                id: content,
                user: sender.into_owned(),
                emoji: emoji.into_owned(),
                on,
                cid: cid.map(Cow::into_owned),
            }),
            Self::Pin { content, sender, on, seq, cid } => Event::Pinned(Pinned {
                seq,
                id: content,
                user: sender.into_owned(),
                on,
                cid: cid.map(Cow::into_owned),
            }),
            Self::Room(changed) => Event::RoomChanged((*changed).into()),
            Self::Read { receiver, seq, unread, mentions, cid } => Event::Read(ReadMarker {
                conversation: receiver.into_owned(),
                seq,
                unread,
                mentions,
                cid: cid.map(Cow::into_owned),
            }),
            Self::Notify { receiver, notify, muted_until, cid } => {
                Event::NotifySet(NotifySetting {
                    conversation: receiver.into_owned(),
                    level: notify,
                    muted_until,
                    cid: cid.map(Cow::into_owned),
                })
            }
            Self::Typing { receiver, sender } => {
                Event::Typing { conversation: receiver.into_owned(), user: sender.into_owned() }
            }
            Self::Conversations { conversations, more, cid } => {
                Event::Conversations(ConversationList {
                    conversations: conversations.into_iter().map(Into::into).collect(),
                    has_more: more,
                    cid: cid.map(Cow::into_owned),
                })
            }
            Self::Rooms { rooms, more, cid } => Event::Rooms(RoomList {
                rooms: rooms
                    .into_iter()
                    .map(|room| (room.room.into_owned(), room.state.into()))
                    .collect(),
                has_more: more,
                cid: cid.map(Cow::into_owned),
            }),
            Self::Users { room, users, more, cid } => Event::UserPage(UserList {
                room: room.map(Cow::into_owned),
                users: users.into_owned(),
                has_more: more,
                cid: cid.map(Cow::into_owned),
            }),
            _ => return Ok(None),
        }))
    }
}

impl WireEdit<'_> {
    fn into_edited(self) -> Result<Edited, serde_json::Error> {
        Ok(Edited {
            seq: self.seq,
            id: self.content,
            author: self.sender.into_owned(),
            audience: self.receiver.into_owned(),
            reply_to: self.optional,
            content: self.text.into_owned(),
            mentions: self.mentions.map(Cow::into_owned).unwrap_or_default(),
            at: to_time(self.at)?,
            cid: self.cid.map(Cow::into_owned),
        })
    }
}

impl WireMessage<'_> {
    fn into_message(self, kind: MessageKind) -> Result<Message, serde_json::Error> {
        Ok(Message {
            seq: required(self.seq, "seq")?,
            id: self.id,
            sender: self.sender.into_owned(),
            guest: self.guest.unwrap_or_default(),
            audience: self.receiver.into_owned(),
            kind,
            content: self.content.into_owned(),
            at: to_time(required(self.at, "at")?)?,
            cid: self.cid.map(Cow::into_owned),
            mentions: self.mentions.map(Cow::into_owned).unwrap_or_default(),
            edited: self.edited,
            reactions: self.reactions.into_owned(),
            pinned: self.pinned,
        })
    }
}

fn from_wire_messages(objects: Vec<WireEvent<'_>>) -> Result<Vec<Message>, serde_json::Error> {
    let mut messages = Vec::with_capacity(objects.len());
    for object in objects {
        // Later versions may add other objects to the list.
        if let Some(Event::Posted(message)) = object.into_event()? {
            messages.push(message);
        }
    }
    Ok(messages)
}

/// The value of `receiver`.
impl Serialize for Audience {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Everyone => serializer.collect_seq(["all"]),
            Self::Room(room) => serializer.collect_seq([room]),
            Self::Only(recipients) => serializer.collect_seq(recipients),
        }
    }
}

impl<'de> Deserialize<'de> for Audience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let receiver = Vec::<String>::deserialize(deserializer)?;
        if receiver.iter().any(|id| id == "all") {
            return Ok(Self::Everyone);
        }
        if let [room] = receiver.as_slice()
            && room.starts_with('#')
        {
            return room.parse().map(Self::Room).map_err(serde::de::Error::custom);
        }
        let recipients = receiver.iter().map(|id| id.parse()).collect::<Result<_, _>>();
        recipients.map(Self::Only).map_err(serde::de::Error::custom)
    }
}

fn to_time(at: Millis) -> Result<DateTime<FixedOffset>, serde_json::Error> {
    let at = DateTime::from_timestamp_millis(at);
    at.map(|at| at.fixed_offset()).ok_or_else(|| serde::de::Error::custom("`at` is out of range"))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn required<T>(field: Option<T>, name: &'static str) -> Result<T, serde_json::Error> {
    field.ok_or_else(|| serde::de::Error::missing_field(name))
}

/// The format of `time`, from the original protocol.
fn format_time(at: DateTime<FixedOffset>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

fn to_wire_message<'a>(
    message: &'a Message,
    audience: &'a Audience,
    content: Cow<'a, SafeText>,
    fields: FieldSet,
) -> WireEvent<'a> {
    let wire = WireMessage {
        id: message.id,
        sender: Cow::Borrowed(&message.sender),
        receiver: Cow::Borrowed(audience),
        content,
        time: fields.derived(|| format_time(message.at)),
        private: fields.derived(|| message.audience != Audience::Everyone),
        optional: match message.reply_to() {
            None => fields.derived(|| NullableId(None)),
            reply_to @ Some(_) => Some(NullableId(reply_to)),
        },
        seq: fields.extended(message.seq),
        at: fields.extended(message.at.timestamp_millis()),
        expires: fields.extended(message.expires()).flatten(),
        cid: fields.extended(message.cid.as_ref().map(Cow::Borrowed)).flatten(),
        guest: fields.extended(message.guest).filter(|guest| *guest),
        mentions: fields.extended(&message.mentions).and_then(some_mentions),
        edited: fields.extended(message.edited).flatten(),
        reactions: fields.extended(message.reactions.as_slice()).unwrap_or_default().into(),
        pinned: fields.extended(message.pinned).unwrap_or_default(),
    };
    match message.kind {
        MessageKind::Plain => WireEvent::Message(wire),
        MessageKind::Temporary { .. } => WireEvent::Temporary(wire),
        MessageKind::Reply { .. } => WireEvent::Reply(wire),
    }
}

/// The message as extended clients get it, alone and in lists.
fn to_extended_message(message: &Message) -> WireEvent<'_> {
    let content = Cow::Borrowed(&message.content);
    to_wire_message(message, &message.audience, content, FieldSet::Extended)
}

fn encode_message(message: &Message, fields: FieldSet) -> Bytes {
    let content = Cow::Borrowed(&message.content);
    let mut line = Vec::with_capacity(MESSAGE_OVERHEAD_BYTES + content.as_str().len());
    write_line(&mut line, &to_wire_message(message, &message.audience, content, fields));
    line.into()
}

fn encode_deletion(deleted: &Deleted, fields: FieldSet) -> Bytes {
    encode_line(&WireEvent::Delete(WireRemoval {
        sender: Some(Cow::Borrowed(&deleted.author)),
        content: deleted.id,
        optional: fields.derived(|| NullableId(Some(deleted.id))),
        seq: fields.extended(deleted.seq),
        cid: fields.extended(deleted.cid.as_ref().map(Cow::Borrowed)).flatten(),
    }))
}

fn encode_expiry(seq: Seq, id: MessageId, fields: FieldSet) -> Bytes {
    encode_line(&WireEvent::Outdated(WireRemoval {
        sender: None,
        content: id,
        optional: fields.derived(|| NullableId(None)),
        seq: fields.extended(seq),
        cid: None,
    }))
}

fn some_mentions(mentions: &Mentions) -> Option<Cow<'_, Mentions>> {
    (!mentions.is_none()).then_some(Cow::Borrowed(mentions))
}

fn to_wire_edit(edited: &Edited) -> WireEvent<'_> {
    WireEvent::Edit(WireEdit {
        content: edited.id,
        sender: Cow::Borrowed(&edited.author),
        receiver: Cow::Borrowed(&edited.audience),
        text: Cow::Borrowed(&edited.content),
        optional: edited.reply_to,
        mentions: some_mentions(&edited.mentions),
        seq: edited.seq,
        at: edited.at.timestamp_millis(),
        cid: edited.cid.as_ref().map(Cow::Borrowed),
    })
}

fn to_wire_reaction(reacted: &Reacted) -> WireEvent<'_> {
    WireEvent::React {
        content: reacted.id,
        sender: Cow::Borrowed(&reacted.user),
        emoji: Cow::Borrowed(&reacted.emoji),
        on: reacted.on,
        seq: reacted.seq,
        cid: reacted.cid.as_ref().map(Cow::Borrowed),
    }
}

fn to_wire_pin(pinned: &Pinned) -> WireEvent<'_> {
    WireEvent::Pin {
        content: pinned.id,
        sender: Cow::Borrowed(&pinned.user),
        on: pinned.on,
        seq: pinned.seq,
        cid: pinned.cid.as_ref().map(Cow::Borrowed),
    }
}

fn to_wire_marker(marker: &ReadMarker) -> WireEvent<'_> {
    WireEvent::Read {
        receiver: Cow::Borrowed(&marker.conversation),
        seq: marker.seq,
        unread: marker.unread,
        mentions: marker.mentions,
        cid: marker.cid.as_ref().map(Cow::Borrowed),
    }
}

fn to_wire_setting(setting: &NotifySetting) -> WireEvent<'_> {
    WireEvent::Notify {
        receiver: Cow::Borrowed(&setting.conversation),
        notify: setting.level,
        muted_until: setting.muted_until,
        cid: setting.cid.as_ref().map(Cow::Borrowed),
    }
}

fn to_wire_rooms(list: &RoomList) -> WireEvent<'_> {
    let rooms = list.rooms.iter();
    WireEvent::Rooms {
        rooms: rooms
            .map(|(room, state)| WireRoom { room: Cow::Borrowed(room), state: state.into() })
            .collect(),
        more: list.has_more,
        cid: list.cid.as_ref().map(Cow::Borrowed),
    }
}

fn to_wire_users(list: &UserList) -> WireEvent<'_> {
    WireEvent::Users {
        room: list.room.as_ref().map(Cow::Borrowed),
        users: Cow::Borrowed(&list.users),
        more: list.has_more,
        cid: list.cid.as_ref().map(Cow::Borrowed),
    }
}

fn to_wire_room_change(changed: &RoomChanged) -> WireEvent<'_> {
    let (change, users): (_, &[UserId]) = match &changed.change {
        RoomChange::Created => (WireChange::Create, &[]),
        RoomChange::Joined => (WireChange::Join, &[]),
        RoomChange::Left => (WireChange::Leave, &[]),
        RoomChange::Added(users) => (WireChange::Add, users),
        RoomChange::Removed(users) => (WireChange::Remove, users),
        RoomChange::Topic => (WireChange::Topic, &[]),
        RoomChange::Archived => (WireChange::Archive, &[]),
    };
    WireEvent::Room(Box::new(WireRoomChange {
        room: Cow::Borrowed(&changed.room),
        change,
        sender: changed.by.as_ref().map(Cow::Borrowed),
        users: Cow::Borrowed(users),
        state: (&changed.state).into(),
        seq: changed.seq,
        at: changed.at,
        cid: changed.cid.as_ref().map(Cow::Borrowed),
    }))
}

impl From<WireRoomChange<'_>> for RoomChanged {
    fn from(wire: WireRoomChange<'_>) -> Self {
        let users = wire.users.into_owned();
        Self {
            seq: wire.seq,
            room: wire.room.into_owned(),
            change: match wire.change {
                WireChange::Create => RoomChange::Created,
                WireChange::Join => RoomChange::Joined,
                WireChange::Leave => RoomChange::Left,
                WireChange::Add => RoomChange::Added(users),
                WireChange::Remove => RoomChange::Removed(users),
                WireChange::Topic => RoomChange::Topic,
                WireChange::Archive => RoomChange::Archived,
            },
            by: wire.sender.map(Cow::into_owned),
            at: wire.at,
            state: wire.state.into(),
            cid: wire.cid.map(Cow::into_owned),
        }
    }
}

impl<'a> From<&'a RoomState> for WireRoomState<'a> {
    fn from(state: &'a RoomState) -> Self {
        let topic = Some(&state.topic).filter(|topic| !topic.as_str().is_empty());
        Self {
            private: state.private,
            people: state.people,
            topic: topic.map(Cow::Borrowed),
            archived: state.archived,
        }
    }
}

impl From<WireRoomState<'_>> for RoomState {
    fn from(wire: WireRoomState<'_>) -> Self {
        Self {
            private: wire.private,
            topic: wire.topic.map(Cow::into_owned).unwrap_or_default(),
            people: wire.people,
            archived: wire.archived,
        }
    }
}

impl<'a> From<&'a ConversationInfo> for WireConversation<'a> {
    fn from(info: &'a ConversationInfo) -> Self {
        Self {
            receiver: Cow::Borrowed(&info.conversation),
            room: info.room.as_ref().map(Into::into),
            last: info.last,
            read: info.read,
            unread: info.unread,
            mentions: info.mentions,
            notify: info.notify,
            muted_until: info.muted_until,
        }
    }
}

impl From<WireConversation<'_>> for ConversationInfo {
    fn from(wire: WireConversation<'_>) -> Self {
        Self {
            conversation: wire.receiver.into_owned(),
            room: wire.room.map(Into::into),
            last: wire.last,
            read: wire.read,
            unread: wire.unread,
            mentions: wire.mentions,
            notify: wire.notify,
            muted_until: wire.muted_until,
        }
    }
}

/// The conversations beyond one frame follow in further frames.
fn encode_conversations(list: &ConversationList) -> Bytes {
    let size = |info: &ConversationInfo| json_bytes(&WireConversation::from(info));
    let mut lines = Vec::new();
    let mut parts = split_list(&list.conversations, size).peekable();
    while let Some(part) = parts.next() {
        let conversations = WireEvent::Conversations {
            conversations: part.iter().map(Into::into).collect(),
            more: parts.peek().is_some() || list.has_more,
            cid: list.cid.as_ref().map(Cow::Borrowed),
        };
        write_line(&mut lines, &conversations);
    }
    lines.into()
}

/// An original client shows the message as removed, and then again with its new text.
fn encode_edit_for_original(edited: &Edited) -> Bytes {
    let removal =
        Deleted { seq: edited.seq, id: edited.id, author: edited.author.clone(), cid: None };
    let message = Message {
        seq: edited.seq,
        id: edited.id,
        sender: edited.author.clone(),
        guest: false,
        audience: edited.audience.clone(),
        kind: edited.reply_to.map_or(MessageKind::Plain, |to| MessageKind::Reply { to }),
        content: edited.content.clone(),
        at: edited.at,
        cid: None,
        mentions: Mentions::None,
        edited: None,
        reactions: Vec::new(),
        pinned: false,
    };
    let removal = encode_deletion(&removal, FieldSet::Original);
    [removal, encode_message_for_original(&message)].concat().into()
}

/// The users beyond one frame follow in PRESENCE.
fn encode_users(users: &[UserId]) -> Bytes {
    let mut parts = split_users(users);
    let first = parts.next().unwrap_or_default();
    let mut lines = to_line(&WireEvent::ActiveClient { receiver: Cow::Borrowed(first) });
    for joined in parts {
        write_presence(&mut lines, joined, &[]);
    }
    lines.into()
}

fn encode_guests(guests: &[UserId]) -> Bytes {
    let mut lines = Vec::new();
    for part in split_users(guests) {
        write_line(&mut lines, &WireEvent::Guests { receiver: Cow::Borrowed(part) });
    }
    lines.into()
}

fn encode_presence(joined: &[UserId], left: &[UserId]) -> Bytes {
    let mut lines = Vec::new();
    if joined.iter().chain(left).map(user_bytes).sum::<usize>() <= LIST_BYTES {
        write_presence(&mut lines, joined, left);
    } else {
        split_users(joined).for_each(|part| write_presence(&mut lines, part, &[]));
        split_users(left).for_each(|part| write_presence(&mut lines, &[], part));
    }
    lines.into()
}

fn write_presence(lines: &mut Vec<u8>, joined: &[UserId], left: &[UserId]) {
    let (joined, left) = (Cow::Borrowed(joined), Cow::Borrowed(left));
    write_line(lines, &WireEvent::Presence { joined, left });
}

fn encode_page(page: &HistoryPage) -> Bytes {
    let encode = |page: &HistoryPage| {
        encode_line(&WireEvent::History {
            messages: page.messages.iter().map(to_extended_message).collect(),
            earlier: page.has_earlier,
            later: page.has_later,
            cid: page.cid.as_ref().map(Cow::Borrowed),
        })
    };
    let whole = encode(page);
    if whole.len() <= SERVER_FRAME_BYTES {
        return whole;
    }
    let mut fitting = page.clone();
    fitting.trim(None, LIST_BYTES);
    encode(&fitting)
}

/// Hits beyond one frame follow in further frames. The last one has the state of the search.
fn encode_results(results: &SearchResults) -> Bytes {
    let mut lines = Vec::new();
    let mut parts = split_list(&results.messages, message_bytes).peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        let found = WireEvent::Found {
            messages: part.iter().map(to_extended_message).collect(),
            searched: results.searched,
            end: if is_last { results.end } else { SearchEnd::Searching },
            cid: results.cid.as_ref().map(Cow::Borrowed),
        };
        write_line(&mut lines, &found);
    }
    lines.into()
}

impl HistoryPage {
    /// Drops messages until the rest takes at most `max_bytes` encoded, but keeps one: from the end that
    /// is farther from `target`, or the earliest if there is none.
    pub fn trim(&mut self, target: Option<MessageId>, max_bytes: usize) {
        let mut sizes: VecDeque<usize> = self.messages.iter().map(message_bytes).collect();
        let mut bytes: usize = sizes.iter().sum();
        let target =
            target.and_then(|id| self.messages.iter().position(|message| message.id == id));
        let mut n_earlier = 0;
        while bytes > max_bytes && sizes.len() > 1 {
            let before_target = target.map_or(0, |target| target - n_earlier);
            let after_target = target.map_or(0, |target| n_earlier + sizes.len() - 1 - target);
            let dropped = if after_target > before_target {
                self.has_later = true;
                sizes.pop_back()
            } else {
                self.has_earlier = true;
                n_earlier += 1;
                sizes.pop_front()
            };
            bytes -= dropped.unwrap_or_default();
        }
        self.messages.truncate(n_earlier + sizes.len());
        self.messages.drain(..n_earlier);
    }
}

/// Splits a list into parts of at most [`LIST_BYTES`] encoded. An empty list is one empty part.
fn split_list<T>(items: &[T], size: impl Fn(&T) -> usize) -> impl Iterator<Item = &[T]> {
    let mut rest = Some(items);
    std::iter::from_fn(move || {
        let items = rest?;
        let mut bytes = 0;
        let fitting = items.iter().take_while(|item| {
            bytes += size(item);
            bytes <= LIST_BYTES
        });
        // A single item always fits.
        let count = fitting.count().max(1).min(items.len());
        let (part, after) = items.split_at(count);
        rest = Some(after).filter(|after| !after.is_empty());
        Some(part)
    })
}

fn split_users(users: &[UserId]) -> impl Iterator<Item = &[UserId]> {
    split_list(users, user_bytes)
}

/// The size of a user ID in a list. It contains no character that JSON escapes.
fn user_bytes(user: &UserId) -> usize {
    user.as_str().len() + "\"\",".len()
}

/// The encoded size of a message in a list.
fn message_bytes(message: &Message) -> usize {
    json_bytes(&to_extended_message(message))
}

/// The encoded size of a value in a list, without encoding it to memory.
fn json_bytes(value: &impl Serialize) -> usize {
    struct Counter(usize);

    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut counter = Counter(",".len());
    write_json(&mut counter, value);
    counter.0
}

/// If the message is too long for an original client, the end of its text is cut off, and if it has
/// very many recipients, some of their names.
fn encode_message_for_original(message: &Message) -> Bytes {
    let mut shown = Cow::Borrowed(&message.audience);
    while let Audience::Only(recipients) = shown.as_ref()
        && recipients.iter().map(user_bytes).sum::<usize>() > ORIGINAL_FRAME_BYTES / 2
        && let Audience::Only(recipients) = shown.to_mut()
    {
        recipients.pop_last();
    }
    truncate_text(&message.content, |content| {
        let content = Cow::Owned(content);
        encode_line(&to_wire_message(message, &shown, content, FieldSet::Original))
    })
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
    to_line(value).into()
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
