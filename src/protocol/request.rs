//! What a client asks for: one JSON object to one [`Request`].
//!
//! Whether the asker may have it is the hub's business. The server sets sender, id and time, so the
//! fields that an original client sends for those are not even read.

use serde::{Deserialize, Serialize};

use super::error::Refusal;
use super::id::{Cid, IdError, MessageId, Seq, UserId};
use super::invite::Invite;
use super::limits;
use super::message::Audience;
use super::query::{HistoryQuery, SearchQuery};
use super::text::SafeText;

/// What a client asks for after its login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// MESSAGE, TEMPORARY or REPLY.
    Post(Post),
    /// DELETE.
    Delete(MessageId),
    /// SEARCH without an expression: an original client says so after it has searched by itself.
    LocalSearch,
    /// SEARCH with an expression.
    SearchHistory(SearchQuery),
    /// HISTORY.
    History(HistoryQuery),
    /// PING: is the connection alive, and has everything come? With the place up to which the person
    /// has had everything, if the client knows.
    Ping(Option<Seq>),
    /// EXIT.
    Exit,
}

/// A message that somebody wants to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// Who is to get it; the sender may be among them, and is then ignored.
    pub audience: Audience,
    /// What sort it is.
    pub kind: PostKind,
    /// The text, neither blank nor longer than [`limits::CONTENT_CHARACTERS`].
    pub content: SafeText,
}

/// What sort of message is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostKind {
    /// MESSAGE.
    Plain,
    /// TEMPORARY, gone after so many seconds.
    Temporary {
        /// From 1 to [`limits::TEMPORARY_SECONDS_MAX`].
        seconds: u32,
    },
    /// REPLY.
    Reply {
        /// The message replied to.
        to: MessageId,
    },
}

/// A login: the first thing that a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The name asked for, as it was written.
    pub username: String,
    /// Which protocol the client speaks.
    pub dialect: Dialect,
    /// The one of its IDs that a client of ours wants; without it, the server chooses.
    pub user_id: Option<UserId>,
    /// What lets somebody in who has no ID yet.
    pub invite: Option<Invite>,
    /// From where a client of ours goes on.
    pub resume: Option<Resume>,
}

/// What a client has had before it was away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// Everything up to here.
    pub after: Seq,
    /// Of this log.
    pub epoch: String,
}

/// Which of the two protocols a session speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// The original's: nothing but what `seed/wire.md` of the project lists.
    Original,
    /// Ours, `"protocol": 1`.
    Extended,
}

/// The number that a client of ours sends as `protocol`.
pub const PROTOCOL_VERSION: u32 = 1;

/// The envelope as it stands on the wire, from a client; unknown fields are ignored.
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

/// A request with the name that its client gave to it; or why it is none, with the same name.
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
    /// Reads the first object of a client.
    ///
    /// # Errors
    /// Broken JSON, or something other than a login.
    pub fn decode(object: &[u8]) -> Result<Self, Refusal> {
        let incoming = parse(object)?;
        let is_login = incoming.action.as_deref().is_none_or(|action| action == "LOGIN");
        let (true, Some(username)) = (is_login, incoming.username) else {
            return Err(Refusal::LoginFirst);
        };
        match incoming.protocol {
            Some(version) if version >= PROTOCOL_VERSION => {}
            // An original client is asked for nothing but its name.
            Some(_) | None => return Ok(Self::original(username)),
        }
        let after = incoming.after.and_then(|after| u64::try_from(after).ok()).map(Seq);
        let resume = after.zip(incoming.epoch).map(|(after, epoch)| Resume { after, epoch });
        let id = incoming.user_id.as_deref().map(str::parse).transpose().map_err(bad_request)?;
        let invite = incoming.invite.as_deref().map(str::parse).transpose();
        let invite = invite.map_err(|_invalid| Refusal::BadInvite)?;
        Ok(Self { username, dialect: Dialect::Extended, user_id: id, invite, resume })
    }

    /// What an original client of that name says.
    pub fn original(username: String) -> Self {
        Self { username, dialect: Dialect::Original, user_id: None, invite: None, resume: None }
    }

    /// The bytes of a login of ours.
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
    /// Reads one object of a client that has logged in.
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

    /// The bytes of a request of ours.
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

/// `"all"` is public. An original client's reply names whom it computed from the message replied to,
/// and says with `private` whether that one was: only there does `private` decide anything.
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

/// The envelope as it stands on the wire, from a client of ours.
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
                    receiver: Some(super::codec::receiver_list(&post.audience)),
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

/// One JSON object and a line end.
pub(super) fn to_line(value: &impl Serialize) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "strings, numbers and lists of ours always serialise")]
    let mut line = serde_json::to_vec(value).expect("plain data serialises");
    line.push(b'\n');
    line
}
