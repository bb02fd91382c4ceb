//! Requests of clients, decoded from and encoded to JSON objects.
//!
//! Decoding checks the form of a request; whether the user may do it is decided in `server::hub`.
//! Sender, id and time are set by the server, so the fields in which original clients send them are
//! not read.

use serde::{Deserialize, Serialize};

use super::error::Refusal;
use super::id::{Cid, IdError, MessageId, Seq, UserId};
use super::invite::Invite;
use super::limits;
use super::message::Audience;
use super::query::{HistoryQuery, SearchQuery};
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
    seconds: Option<u32>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    user_id: Option<String>,
    #[serde(default)]
    invite: Option<String>,
    #[serde(default)]
    protocol: Option<u32>,
    #[serde(default)]
    epoch: Option<String>,
    #[serde(default)]
    after: Option<i64>,
    #[serde(default)]
    before: Option<i64>,
    #[serde(default)]
    around: Option<MessageId>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    to: Option<UserId>,
    #[serde(default)]
    case: bool,
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

impl Login {
    /// Decodes the first object of a client.
    ///
    /// # Errors
    /// The object is not valid JSON or not a login, or its `user_id` or `invite` is malformed.
    pub fn decode(object: &[u8]) -> Result<Self, Refusal> {
        let incoming = parse(object)?;
        let is_login = incoming.action.as_deref().is_none_or(|action| action == "LOGIN");
        let (true, Some(username)) = (is_login, incoming.username) else {
            return Err(Refusal::LoginFirst);
        };
        match incoming.protocol {
            Some(version) if version >= PROTOCOL_VERSION => {}
            // Only the name of an original client counts.
            Some(_) | None => return Ok(Self::original(username)),
        }
        let after = incoming.after.and_then(|after| u64::try_from(after).ok()).map(Seq);
        let resume = after.zip(incoming.epoch).map(|(after, epoch)| Resume { after, epoch });
        let user_id =
            incoming.user_id.as_deref().map(str::parse).transpose().map_err(bad_request)?;
        let invite = incoming.invite.as_deref().map(str::parse).transpose();
        let invite = invite.map_err(|_invalid| Refusal::BadInvite)?;
        Ok(Self { username, dialect: Dialect::Extended, user_id, invite, resume })
    }

    /// The login of an original client.
    pub fn original(username: String) -> Self {
        Self { username, dialect: Dialect::Original, user_id: None, invite: None, resume: None }
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
        }
        to_line(&LoginEnvelope {
            action: "LOGIN",
            protocol: PROTOCOL_VERSION,
            username: &self.username,
            user_id: self.user_id.as_ref(),
            invite: self.invite.as_ref(),
            resume: self.resume.as_ref(),
        })
    }
}

impl Request {
    /// The `action` values that clients may send, the login included.
    pub const ACTIONS: [&str; 9] =
        ["LOGIN", "MESSAGE", "TEMPORARY", "REPLY", "DELETE", "SEARCH", "HISTORY", "PING", "EXIT"];

    /// Decodes one object of a logged-in client.
    pub fn decode(object: &[u8]) -> DecodedRequest {
        let incoming = match parse(object) {
            Ok(incoming) => incoming,
            Err(refusal) => return (None, Err(refusal)),
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
                let seconds = incoming.seconds.unwrap_or(limits::DEFAULT_TEMPORARY_SECONDS);
                if !(1..=limits::MAX_TEMPORARY_SECONDS).contains(&seconds) {
                    return Err(Refusal::BadSeconds);
                }
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
            Some("SEARCH") => match incoming.content {
                None => Ok(Self::LocalSearch),
                Some(pattern) => Ok(Self::SearchHistory(
                    SearchQuery {
                        pattern,
                        match_case: incoming.case,
                        from: incoming.from,
                        to: incoming.to,
                        after: incoming.after,
                        before: incoming.before,
                    }
                    .validated()?,
                )),
            },
            Some("HISTORY") => Ok(Self::History(match (incoming.around, incoming.before) {
                (Some(id), _) => HistoryQuery::Around(id),
                (None, Some(before)) => {
                    HistoryQuery::Before(Some(Seq(u64::try_from(before).unwrap_or_default())))
                }
                (None, None) => HistoryQuery::Before(None),
            })),
            Some("PING") => {
                let up_to = incoming.after.and_then(|after| u64::try_from(after).ok());
                Ok(Self::Ping(up_to.map(Seq)))
            }
            Some("EXIT") => Ok(Self::Exit),
            Some("LOGIN") => Err(Refusal::AlreadyLoggedIn),
            None if incoming.username.is_some() => Err(Refusal::AlreadyLoggedIn),
            Some(_) | None => Err(Refusal::UnknownAction),
        }
    }

    /// Encodes the request of an extended client as one line.
    pub fn encode(&self, cid: Option<&Cid>) -> Vec<u8> {
        to_line(&OutgoingEnvelope::new(self, cid))
    }
}

fn parse_message_id(text: Option<&str>) -> Result<MessageId, Refusal> {
    text.unwrap_or_default().parse().map_err(bad_request)
}

fn bad_request(error: IdError) -> Refusal {
    Refusal::BadRequest(error.to_string())
}

fn parse_post(incoming: IncomingEnvelope, kind: PostKind) -> Result<Request, Refusal> {
    let content = SafeText::clean(incoming.content.as_deref().unwrap_or_default());
    if content.is_blank() {
        return Err(Refusal::EmptyContent);
    }
    let characters = content.as_str().chars().count();
    if characters > limits::CONTENT_CHARACTERS {
        return Err(Refusal::ContentTooLong(characters));
    }
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
#[derive(Serialize)]
struct OutgoingEnvelope<'a> {
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    receiver: Option<Vec<String>>,
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
}

impl<'a> OutgoingEnvelope<'a> {
    fn new(request: &'a Request, cid: Option<&'a Cid>) -> Self {
        let with_action = |action| Self {
            action,
            receiver: None,
            private: None,
            content: None,
            optional: None,
            seconds: None,
            cid,
            after: None,
            before: None,
            around: None,
            from: None,
            to: None,
            case: false,
        };
        match request {
            Request::LocalSearch => with_action("SEARCH"),
            Request::Exit => with_action("EXIT"),
            Request::Ping(up_to) => Self { after: up_to.map(seq_to_number), ..with_action("PING") },
            Request::History(HistoryQuery::Around(id)) => {
                Self { around: Some(*id), ..with_action("HISTORY") }
            }
            Request::History(HistoryQuery::Before(before)) => {
                Self { before: before.map(seq_to_number), ..with_action("HISTORY") }
            }
            Request::SearchHistory(query) => Self {
                content: Some(query.pattern.clone()),
                case: query.match_case,
                from: query.from.as_deref(),
                to: query.to.as_ref(),
                after: query.after,
                before: query.before,
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
                    receiver: Some(post.audience.receiver_list()),
                    private: Some(post.audience.is_private()),
                    content: Some(post.content.as_str().to_owned()),
                    ..base
                }
            }
        }
    }
}

fn seq_to_number(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

/// Encodes a value as one JSON object and a line end.
pub(super) fn to_line(value: &impl Serialize) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "these types contain only strings, numbers and lists")]
    let mut line = serde_json::to_vec(value).expect("plain data is serializable");
    line.push(b'\n');
    line
}
