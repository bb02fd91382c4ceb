//! Requests of clients, decoded from and encoded to JSON objects.
//!
//! Decoding checks the form of a request; whether the user may do it is decided in `server::hub`.
//! Sender, id and time are set by the server, so the fields in which original clients send them are
//! not read.

use serde::{Deserialize, Serialize};

use super::error::Refusal;
use super::id::{Cid, IdError, MessageId, RoomName, Seq, UserId};
use super::invite::Invite;
use super::limits;
use super::message::{Audience, Millis};
use super::query::{ContentKind, HistoryQuery, HistoryRange, SearchQuery};
use super::reaction::Emoji;
use super::room::{NotifyLevel, RoomAction, SharedHistory};
use super::text::SafeText;

/// A request of a logged-in client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// MESSAGE, TEMPORARY or REPLY.
    Post(Post),
    /// DELETE.
    Delete(MessageId),
    /// SEARCH without an expression: an original client announces that it has searched locally.
    /// The server does nothing.
    LocalSearch,
    /// SEARCH with an expression.
    SearchHistory(SearchQuery),
    /// HISTORY.
    History(HistoryQuery),
    /// EDIT: replaces the text of an own message.
    Edit {
        /// The message.
        id: MessageId,
        /// Its new text: not blank, at most [`limits::CONTENT_CHARACTERS`].
        content: SafeText,
    },
    /// REACT: adds or removes the user's reaction to a message.
    React {
        /// The message.
        id: MessageId,
        /// The reaction.
        emoji: Emoji,
        /// Whether it is added.
        on: bool,
    },
    /// PIN: pins a message in its conversation, or removes the pin.
    Pin {
        /// The message.
        id: MessageId,
        /// Whether it is pinned.
        on: bool,
    },
    /// ROOM: creates or changes a room, or its members.
    Room {
        /// The room.
        room: RoomName,
        /// The change.
        action: RoomAction,
    },
    /// ROOMS: a page of the public rooms, those after this one.
    Rooms(Option<RoomName>),
    /// USERS: a page of the members of a room, or of all users whose ID belongs to a key.
    Users {
        /// The room.
        room: Option<RoomName>,
        /// The last user of the page before.
        after: Option<UserId>,
    },
    /// CONVERSATIONS: the user's conversations with their unread counts.
    Conversations,
    /// READ: moves the user's read marker of a conversation.
    Read {
        /// The conversation.
        conversation: Audience,
        /// The last message read.
        up_to: Seq,
        /// Moves the marker back, too. Otherwise it moves only forward.
        unread: bool,
    },
    /// NOTIFY: sets which messages of a conversation ring.
    Notify {
        /// The conversation.
        conversation: Audience,
        /// Which messages ring.
        level: NotifyLevel,
        /// Nothing rings before this time.
        muted_until: Option<Millis>,
    },
    /// TYPING: the user is writing a message to this conversation.
    Typing(Audience),
    /// PING: asks for a PONG, and acknowledges every event up to the given position.
    Ping(Option<Seq>),
    /// EXIT.
    Exit,
}

/// A message to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// The recipients. The server removes the sender from them.
    pub audience: Audience,
    /// Plain, temporary or a reply.
    pub kind: PostKind,
    /// The text: not blank, at most [`limits::CONTENT_CHARACTERS`].
    pub content: SafeText,
}

/// The kind of a message to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostKind {
    /// MESSAGE.
    Plain,
    /// TEMPORARY.
    Temporary {
        /// Lifetime: 1 to [`limits::MAX_TEMPORARY_SECONDS`].
        seconds: u32,
    },
    /// REPLY.
    Reply {
        /// The message replied to.
        to: MessageId,
    },
}

/// A login, the first object of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The requested name, not validated.
    pub username: String,
    /// The protocol that the client speaks.
    pub dialect: Dialect,
    /// The requested ID; without it, the server chooses one. Always `None` for original clients.
    pub user_id: Option<UserId>,
    /// An invite, which admits a new user to a server that requires one.
    pub invite: Option<Invite>,
    /// Where the client wants to continue.
    pub resume: Option<Resume>,
    /// Whether the session is left out of the list of online users, and not announced.
    pub quiet: bool,
}

/// The position at which a reconnecting client wants to continue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The client has every event up to here.
    pub after: Seq,
    /// The log that `after` refers to; see [`Welcome::epoch`](super::event::Welcome::epoch).
    pub epoch: String,
}

/// The protocol that a session speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// The protocol of the first `chat` programs.
    Original,
    /// `"protocol": 1`.
    Extended,
}

/// The `protocol` number of the extended dialect.
pub const PROTOCOL_VERSION: u32 = 1;

/// All fields that a client may send. Unknown fields are ignored.
#[derive(Debug, Default, Deserialize)]
struct IncomingEnvelope {
    action: Option<String>,
    #[serde(default)]
    receiver: Option<Vec<String>>,
    #[serde(default, deserialize_with = "super::lenient::optional_string")]
    content: Option<String>,
    #[serde(default)]
    private: Option<bool>,
    #[serde(default, deserialize_with = "super::lenient::optional_string")]
    optional: Option<String>,
    #[serde(default, deserialize_with = "super::lenient::optional_string")]
    cid: Option<String>,
    #[serde(default)]
    seconds: Option<i64>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    user_id: Option<String>,
    #[serde(default)]
    invite: Option<String>,
    #[serde(default)]
    protocol: Option<u32>,
    #[serde(default)]
    quiet: Option<bool>,
    #[serde(default)]
    epoch: Option<String>,
    #[serde(default)]
    after: Option<After>,
    #[serde(default)]
    before: Option<i64>,
    #[serde(default)]
    around: Option<MessageId>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    to: Option<UserId>,
    #[serde(default)]
    case: Option<bool>,
    #[serde(default)]
    has: Option<ContentKind>,
    #[serde(default)]
    before_seq: Option<i64>,
    #[serde(default)]
    near: Option<i64>,
    #[serde(default)]
    thread: Option<MessageId>,
    #[serde(default)]
    pinned: Option<bool>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    emoji: Option<Emoji>,
    #[serde(default)]
    on: Option<bool>,
    #[serde(default)]
    room: Option<RoomName>,
    #[serde(default, rename = "do")]
    room_action: Option<String>,
    #[serde(default)]
    users: Option<Vec<UserId>>,
    #[serde(default)]
    topic: Option<String>,
    #[serde(default)]
    history: Option<SharedHistory>,
    #[serde(default)]
    seq: Option<Seq>,
    #[serde(default)]
    unread: Option<bool>,
    #[serde(default)]
    notify: Option<NotifyLevel>,
    #[serde(default)]
    muted_until: Option<Millis>,
}

/// The value of `after`: a position or a time, or the last name of the page before.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum After {
    Number(i64),
    Name(String),
}

impl IncomingEnvelope {
    fn after_number(&self) -> Option<i64> {
        match self.after {
            Some(After::Number(number)) => Some(number),
            Some(After::Name(_)) | None => None,
        }
    }

    fn after_seq(&self) -> Option<Seq> {
        self.after_number().and_then(|after| u64::try_from(after).ok()).map(Seq)
    }

    fn after_name<T: std::str::FromStr<Err = IdError>>(&self) -> Result<Option<T>, Refusal> {
        match &self.after {
            Some(After::Name(name)) => name.parse().map(Some).map_err(bad_request),
            Some(After::Number(_)) | None => Ok(None),
        }
    }
}

/// The request id of an object, and its request or the reason why it is invalid.
pub type DecodedRequest = (Option<Cid>, Result<Request, Refusal>);

fn parse(object: &[u8]) -> Result<IncomingEnvelope, Refusal> {
    serde_json::from_slice(object).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Refusal::BadRequest(error.to_string()),
        serde_json::error::Category::Io
        | serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof => Refusal::BadJson(error.to_string()),
    })
}

/// The `cid` of an object with an invalid field.
fn find_cid(object: &[u8]) -> Option<Cid> {
    #[derive(Deserialize)]
    struct CidOnly {
        #[serde(deserialize_with = "super::lenient::optional_string")]
        cid: Option<String>,
    }
    let found: CidOnly = serde_json::from_slice(object).ok()?;
    found.cid?.parse().ok()
}

impl Login {
    /// Decodes the first object of a client.
    ///
    /// # Errors
    /// The object is not valid JSON or not a login, or its `user_id` or `invite` is malformed.
    pub fn decode(object: &[u8]) -> Result<Self, Refusal> {
        let incoming = parse(object)?;
        let after = incoming.after_seq();
        let is_login = incoming.action.as_deref().is_none_or(|action| action == "LOGIN");
        let (true, Some(username)) = (is_login, incoming.username) else {
            return Err(Refusal::LoginFirst);
        };
        match incoming.protocol {
            Some(version) if version >= PROTOCOL_VERSION => {}
            // Only the name of an original client counts.
            Some(_) | None => return Ok(Self::original(username)),
        }
        let resume = after.zip(incoming.epoch).map(|(after, epoch)| Resume { after, epoch });
        let user_id =
            incoming.user_id.as_deref().map(str::parse).transpose().map_err(bad_request)?;
        let invite = incoming.invite.as_deref().map(str::parse).transpose();
        let invite = invite.map_err(|_invalid| Refusal::BadInvite)?;
        let quiet = incoming.quiet.unwrap_or_default();
        Ok(Self { username, dialect: Dialect::Extended, user_id, invite, resume, quiet })
    }

    /// The login of an original client.
    pub fn original(username: String) -> Self {
        Self {
            username,
            dialect: Dialect::Original,
            user_id: None,
            invite: None,
            resume: None,
            quiet: false,
        }
    }

    /// Encodes the login of an extended client as one line.
    pub fn encode(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct LoginEnvelope<'a> {
            action: &'a str,
            protocol: u32,
            username: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            user_id: Option<&'a UserId>,
            #[serde(skip_serializing_if = "Option::is_none")]
            invite: Option<&'a Invite>,
            #[serde(flatten, skip_serializing_if = "Option::is_none")]
            resume: Option<&'a Resume>,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            quiet: bool,
        }
        to_line(&LoginEnvelope {
            action: "LOGIN",
            protocol: PROTOCOL_VERSION,
            username: &self.username,
            user_id: self.user_id.as_ref(),
            invite: self.invite.as_ref(),
            resume: self.resume.as_ref(),
            quiet: self.quiet,
        })
    }
}

impl Request {
    /// The `action` values that clients may send, the login included.
    pub const ACTIONS: [&str; 19] = [
        "LOGIN",
        "MESSAGE",
        "TEMPORARY",
        "REPLY",
        "DELETE",
        "EDIT",
        "REACT",
        "PIN",
        "ROOM",
        "ROOMS",
        "USERS",
        "CONVERSATIONS",
        "READ",
        "NOTIFY",
        "TYPING",
        "SEARCH",
        "HISTORY",
        "PING",
        "EXIT",
    ];

    /// Decodes one object of a logged-in client.
    pub fn decode(object: &[u8]) -> DecodedRequest {
        let incoming = match parse(object) {
            Ok(incoming) => incoming,
            Err(refusal) => return (find_cid(object), Err(refusal)),
        };
        match incoming.cid.as_deref().map(str::parse).transpose() {
            Ok(cid) => (cid, Self::from_envelope(incoming)),
            Err(error) => (None, Err(bad_request(error))),
        }
    }

    fn from_envelope(incoming: IncomingEnvelope) -> Result<Self, Refusal> {
        match incoming.action.as_deref() {
            Some("MESSAGE") => parse_post(incoming, PostKind::Plain),
            Some("TEMPORARY") => {
                let seconds = parse_seconds(incoming.seconds)?;
                parse_post(incoming, PostKind::Temporary { seconds })
            }
            Some("REPLY") => {
                let to = parse_message_id(incoming.optional.as_deref())?;
                parse_post(incoming, PostKind::Reply { to })
            }
            Some("DELETE") => {
                let content = incoming.content.as_deref().filter(|content| !content.is_empty());
                let id = content.or(incoming.optional.as_deref());
                Ok(Self::Delete(parse_message_id(id)?))
            }
            Some("SEARCH") => match &incoming.content {
                None => Ok(Self::LocalSearch),
                Some(pattern) => Ok(Self::SearchHistory(
                    SearchQuery {
                        after: incoming.after_number(),
                        pattern: pattern.clone(),
                        match_case: incoming.case.unwrap_or_default(),
                        conversation: parse_conversation(incoming.receiver.as_deref())?,
                        from: incoming.from,
                        to: incoming.to,
                        before: incoming.before,
                        has: incoming.has,
                        before_seq: incoming.before_seq.map(number_to_seq),
                    }
                    .validated()?,
                )),
            },
            Some("HISTORY") => Ok(Self::History(HistoryQuery {
                conversation: parse_conversation(incoming.receiver.as_deref())?,
                range: parse_range(&incoming),
            })),
            Some("PING") => Ok(Self::Ping(incoming.after_seq())),
            Some("EXIT") => Ok(Self::Exit),
            Some("LOGIN") => Err(Refusal::AlreadyLoggedIn),
            None if incoming.username.is_some() => Err(Refusal::AlreadyLoggedIn),
            Some(_) | None => Self::about_conversations(incoming),
        }
    }

    /// The requests about conversations and about changes of messages.
    fn about_conversations(incoming: IncomingEnvelope) -> Result<Self, Refusal> {
        match incoming.action.as_deref() {
            Some("EDIT") => Ok(Self::Edit {
                id: parse_message_id(incoming.content.as_deref())?,
                content: parse_content(incoming.text.as_deref())?,
            }),
            Some("REACT") => Ok(Self::React {
                id: parse_message_id(incoming.content.as_deref())?,
                emoji: required(incoming.emoji, "emoji")?,
                on: incoming.on.unwrap_or(true),
            }),
            Some("PIN") => Ok(Self::Pin {
                id: parse_message_id(incoming.content.as_deref())?,
                on: incoming.on.unwrap_or(true),
            }),
            Some("ROOM") => parse_room_request(incoming),
            Some("ROOMS") => Ok(Self::Rooms(incoming.after_name()?)),
            Some("USERS") => {
                let after = incoming.after_name()?;
                Ok(Self::Users { room: incoming.room, after })
            }
            Some("CONVERSATIONS") => Ok(Self::Conversations),
            Some("READ") => Ok(Self::Read {
                conversation: required_conversation(&incoming)?,
                up_to: required(incoming.seq, "seq")?,
                unread: incoming.unread.unwrap_or_default(),
            }),
            Some("NOTIFY") => Ok(Self::Notify {
                conversation: required_conversation(&incoming)?,
                level: required(incoming.notify, "notify")?,
                muted_until: incoming.muted_until,
            }),
            Some("TYPING") => Ok(Self::Typing(required_conversation(&incoming)?)),
            Some(_) | None => Err(Refusal::UnknownAction),
        }
    }

    /// Encodes the request of an extended client as one line.
    pub fn encode(&self, cid: Option<&Cid>) -> Vec<u8> {
        to_line(&OutgoingEnvelope::new(self, cid))
    }
}

fn parse_seconds(seconds: Option<i64>) -> Result<u32, Refusal> {
    let Some(seconds) = seconds else { return Ok(limits::DEFAULT_TEMPORARY_SECONDS) };
    let seconds = u32::try_from(seconds).map_err(|_out_of_range| Refusal::BadSeconds)?;
    let is_valid = (1..=limits::MAX_TEMPORARY_SECONDS).contains(&seconds);
    is_valid.then_some(seconds).ok_or(Refusal::BadSeconds)
}

fn parse_message_id(text: Option<&str>) -> Result<MessageId, Refusal> {
    text.unwrap_or_default().parse().map_err(bad_request)
}

fn bad_request(error: IdError) -> Refusal {
    Refusal::BadRequest(error.to_string())
}

fn required<T>(field: Option<T>, name: &str) -> Result<T, Refusal> {
    field.ok_or_else(|| Refusal::BadRequest(format!("missing field `{name}`")))
}

/// The text of a message.
fn parse_content(text: Option<&str>) -> Result<SafeText, Refusal> {
    let content = SafeText::clean(text.unwrap_or_default());
    if content.is_blank() {
        return Err(Refusal::EmptyContent);
    }
    let characters = content.as_str().chars().count();
    if characters > limits::CONTENT_CHARACTERS {
        return Err(Refusal::ContentTooLong(characters));
    }
    Ok(content)
}

fn parse_range(incoming: &IncomingEnvelope) -> HistoryRange {
    match incoming {
        IncomingEnvelope { around: Some(id), .. } => HistoryRange::Around(*id),
        IncomingEnvelope { thread: Some(id), .. } => HistoryRange::Thread(*id),
        IncomingEnvelope { pinned: Some(true), .. } => HistoryRange::Pinned,
        IncomingEnvelope { near: Some(seq), .. } => HistoryRange::Near(number_to_seq(*seq)),
        IncomingEnvelope { before: Some(seq), .. } => HistoryRange::Before(number_to_seq(*seq)),
        IncomingEnvelope { after: Some(After::Number(seq)), .. } => {
            HistoryRange::After(number_to_seq(*seq))
        }
        _ => HistoryRange::Latest,
    }
}

/// A conversation as an extended client names it: by the recipients of its messages.
fn parse_conversation(receiver: Option<&[String]>) -> Result<Option<Audience>, Refusal> {
    receiver.map(|receiver| parse_audience(receiver, None, PostKind::Plain)).transpose()
}

fn required_conversation(incoming: &IncomingEnvelope) -> Result<Audience, Refusal> {
    required(parse_conversation(incoming.receiver.as_deref())?, "receiver")
}

fn parse_room_request(incoming: IncomingEnvelope) -> Result<Request, Refusal> {
    let room = required(incoming.room, "room")?;
    let users = |users: Option<Vec<UserId>>| match required(users, "users")? {
        users if users.is_empty() => Err(Refusal::NoRecipient),
        users if users.len() > limits::PAGE_USERS => Err(Refusal::TooManyRecipients),
        users => Ok(users),
    };
    let action = match incoming.room_action.as_deref() {
        Some("create") => RoomAction::Create {
            private: incoming.private.unwrap_or_default(),
            topic: parse_topic(incoming.topic.as_deref())?,
        },
        Some("join") => RoomAction::Join,
        Some("leave") => RoomAction::Leave,
        Some("add") => RoomAction::Add {
            users: users(incoming.users)?,
            history: incoming.history.unwrap_or_default(),
        },
        Some("remove") => RoomAction::Remove(users(incoming.users)?),
        Some("topic") => RoomAction::Topic(parse_topic(incoming.topic.as_deref())?),
        Some("archive") => RoomAction::Archive(incoming.on.unwrap_or(true)),
        Some(_) | None => {
            let actions = "`do` is create, join, leave, add, remove, topic or archive";
            return Err(Refusal::BadRequest(actions.to_owned()));
        }
    };
    Ok(Request::Room { room, action })
}

fn parse_topic(topic: Option<&str>) -> Result<SafeText, Refusal> {
    let topic = SafeText::clean(&SafeText::clean(topic.unwrap_or_default()).one_line());
    if topic.as_str().chars().count() > limits::TOPIC_CHARACTERS {
        return Err(Refusal::BadRequest(format!(
            "a topic has at most {} characters",
            limits::TOPIC_CHARACTERS
        )));
    }
    Ok(topic)
}

fn parse_post(incoming: IncomingEnvelope, kind: PostKind) -> Result<Request, Refusal> {
    let content = parse_content(incoming.content.as_deref())?;
    let audience = parse_audience(&incoming.receiver.unwrap_or_default(), incoming.private, kind)?;
    Ok(Request::Post(Post { audience, kind, content }))
}

/// `"all"` anywhere in the list makes the message public. `private` counts only in a reply: an
/// original client computes `receiver` from the message replied to, and sets `private` to whether that
/// message was private.
fn parse_audience(
    receiver: &[String],
    private: Option<bool>,
    kind: PostKind,
) -> Result<Audience, Refusal> {
    let names_all = receiver.iter().any(|id| id == "all");
    let is_reply = matches!(kind, PostKind::Reply { .. });
    if names_all || (is_reply && (private == Some(false) || receiver.is_empty())) {
        return Ok(Audience::Everyone);
    }
    if let [room] = receiver
        && room.starts_with('#')
    {
        return room.parse().map(Audience::Room).map_err(bad_request);
    }
    match receiver.len() {
        0 => return Err(Refusal::NoRecipient),
        count if count > limits::RECIPIENTS => return Err(Refusal::TooManyRecipients),
        _ => {}
    }
    let recipients = receiver
        .iter()
        .map(|id| id.parse::<UserId>())
        .collect::<Result<_, _>>()
        .map_err(bad_request)?;
    Ok(Audience::Only(recipients))
}

/// All fields that an extended client sends.
#[derive(Default, Serialize)]
struct OutgoingEnvelope<'a> {
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    receiver: Option<&'a Audience>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    optional: Option<MessageId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cid: Option<&'a Cid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    around: Option<MessageId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a UserId>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    case: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    has: Option<ContentKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before_seq: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    near: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread: Option<MessageId>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pinned: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a SafeText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    emoji: Option<&'a Emoji>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'a RoomName>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "do")]
    room_action: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    users: Option<&'a [UserId]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a SafeText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<SharedHistory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<Seq>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unread: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    notify: Option<NotifyLevel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    muted_until: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "after")]
    after_name: Option<&'a str>,
}

impl<'a> OutgoingEnvelope<'a> {
    fn new(request: &'a Request, cid: Option<&'a Cid>) -> Self {
        let with_action = |action| Self { action, cid, ..Self::default() };
        match request {
            Request::LocalSearch => with_action("SEARCH"),
            Request::Exit => with_action("EXIT"),
            Request::Ping(up_to) => Self { after: up_to.map(seq_to_number), ..with_action("PING") },
            Request::History(query) => Self::history(query, cid),
            Request::SearchHistory(query) => Self {
                content: Some(query.pattern.clone()),
                case: query.match_case,
                receiver: query.conversation.as_ref(),
                from: query.from.as_deref(),
                to: query.to.as_ref(),
                after: query.after,
                before: query.before,
                has: query.has,
                before_seq: query.before_seq.map(seq_to_number),
                ..with_action("SEARCH")
            },
            Request::Delete(id) => Self { content: Some(id.to_string()), ..with_action("DELETE") },
            Request::Post(post) => {
                let base = match post.kind {
                    PostKind::Plain => with_action("MESSAGE"),
                    PostKind::Temporary { seconds } => {
                        Self { seconds: Some(seconds), ..with_action("TEMPORARY") }
                    }
                    PostKind::Reply { to } => Self { optional: Some(to), ..with_action("REPLY") },
                };
                Self {
                    receiver: Some(&post.audience),
                    private: Some(post.audience != Audience::Everyone),
                    content: Some(post.content.as_str().to_owned()),
                    ..base
                }
            }
            request => Self::about_conversations(request, cid),
        }
    }
}

impl<'a> OutgoingEnvelope<'a> {
    /// The requests about conversations and about changes of messages.
    fn about_conversations(request: &'a Request, cid: Option<&'a Cid>) -> Self {
        let with_action = |action| Self { action, cid, ..Self::default() };
        match request {
            Request::Edit { id, content } => {
                Self { content: Some(id.to_string()), text: Some(content), ..with_action("EDIT") }
            }
            Request::React { id, emoji, on } => Self {
                content: Some(id.to_string()),
                emoji: Some(emoji),
                on: Some(*on),
                ..with_action("REACT")
            },
            Request::Pin { id, on } => {
                Self { content: Some(id.to_string()), on: Some(*on), ..with_action("PIN") }
            }
            Request::Room { room, action } => {
                Self { room: Some(room), ..with_action("ROOM") }.with_room_action(action)
            }
            Request::Rooms(after) => {
                Self { after_name: after.as_ref().map(RoomName::as_str), ..with_action("ROOMS") }
            }
            Request::Users { room, after } => Self {
                room: room.as_ref(),
                after_name: after.as_ref().map(UserId::as_str),
                ..with_action("USERS")
            },
            Request::Conversations => with_action("CONVERSATIONS"),
            Request::Read { conversation, up_to, unread } => Self {
                receiver: Some(conversation),
                seq: Some(*up_to),
                unread: *unread,
                ..with_action("READ")
            },
            Request::Notify { conversation, level, muted_until } => Self {
                receiver: Some(conversation),
                notify: Some(*level),
                muted_until: *muted_until,
                ..with_action("NOTIFY")
            },
            Request::Typing(conversation) => {
                Self { receiver: Some(conversation), ..with_action("TYPING") }
            }
            _ => Self::default(),
        }
    }

    fn history(query: &'a HistoryQuery, cid: Option<&'a Cid>) -> Self {
        let receiver = query.conversation.as_ref();
        let base = Self { action: "HISTORY", receiver, cid, ..Self::default() };
        match query.range {
            HistoryRange::Latest => base,
            HistoryRange::Before(seq) => Self { before: Some(seq_to_number(seq)), ..base },
            HistoryRange::After(seq) => Self { after: Some(seq_to_number(seq)), ..base },
            HistoryRange::Near(seq) => Self { near: Some(seq_to_number(seq)), ..base },
            HistoryRange::Around(id) => Self { around: Some(id), ..base },
            HistoryRange::Thread(id) => Self { thread: Some(id), ..base },
            HistoryRange::Pinned => Self { pinned: true, ..base },
        }
    }

    fn with_room_action(self, action: &'a RoomAction) -> Self {
        let with_action = |name| Self { room_action: Some(name), ..self };
        match action {
            RoomAction::Create { private, topic } => Self {
                private: Some(*private),
                topic: Some(topic).filter(|topic| !topic.as_str().is_empty()),
                ..with_action("create")
            },
            RoomAction::Join => with_action("join"),
            RoomAction::Leave => with_action("leave"),
            RoomAction::Add { users, history } => {
                Self { users: Some(users), history: Some(*history), ..with_action("add") }
            }
            RoomAction::Remove(users) => Self { users: Some(users), ..with_action("remove") },
            RoomAction::Topic(topic) => Self { topic: Some(topic), ..with_action("topic") },
            RoomAction::Archive(on) => Self { on: Some(*on), ..with_action("archive") },
        }
    }
}

fn number_to_seq(number: i64) -> Seq {
    Seq(u64::try_from(number).unwrap_or_default())
}

fn seq_to_number(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

/// Encodes a value as one JSON object and a line end.
pub(super) fn to_line(value: &impl Serialize) -> Vec<u8> {
    let mut line = Vec::with_capacity(128);
    write_line(&mut line, value);
    line
}

/// Appends a value as one JSON object and a line end.
pub(super) fn write_line(lines: &mut Vec<u8>, value: &impl Serialize) {
    write_json(&mut *lines, value);
    lines.push(b'\n');
}

/// Writes a value as one JSON object. `to` never fails.
pub(super) fn write_json(to: impl std::io::Write, value: &impl Serialize) {
    #[expect(clippy::expect_used, reason = "these types contain only strings, numbers and lists")]
    serde_json::to_writer(to, value).expect("plain data is serializable");
}
