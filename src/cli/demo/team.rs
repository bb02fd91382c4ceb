//! The members of the demo's team: clients that follow the script and answer the user.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use futures_util::future::select_all;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::script::{ANSWERS, Line, MEMBERS, Place, ROOM, TOPIC};
use crate::client::link::ServerLink;
use crate::client::outbox::Outbox;
use crate::client::trust::TrustMode;
use crate::client::{self, Client, ClientEvent, ClientOptions, executed_request};
use crate::protocol::event::Event;
use crate::protocol::id::{MessageId, Name, RoomName, UserId};
use crate::protocol::message::{Audience, Message};
use crate::protocol::request::{Post, PostKind, Request};
use crate::protocol::room::RoomAction;
use crate::protocol::text::SafeText;
use crate::tls::client::ClientIdentity;

/// How long the server may take to answer. It runs in this process.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A client of the demo.
#[derive(Debug)]
pub(super) struct Member {
    id: UserId,
    client: Client,
    events: mpsc::Receiver<ClientEvent>,
    /// Messages that arrived while this member waited for something else.
    heard: VecDeque<Message>,
    requests: u32,
    answers: usize,
}

impl Member {
    /// Logs in.
    pub(super) async fn connect(
        name: Name,
        identity: ClientIdentity,
        link: ServerLink,
        trust: TrustMode,
    ) -> anyhow::Result<Self> {
        let (identity, outbox) = (Some(Arc::new(identity)), Outbox::default());
        let options = ClientOptions { link, name, identity, trust, id: None, outbox, quiet: false };
        let (client, mut events) = client::connect(options);
        let welcome = async {
            while let Some(event) = events.recv().await {
                match event {
                    ClientEvent::Connected(connected) => return Ok(connected.welcome.user),
                    ClientEvent::Untrusted { reason } | ClientEvent::Ended { reason } => {
                        bail!("the demo cannot log in: {}", reason.one_line());
                    }
                    _ => {}
                }
            }
            bail!("the demo cannot log in");
        };
        let id = timeout(ANSWER_TIMEOUT, welcome).await.context("the demo cannot log in")??;
        Ok(Self { id, client, events, heard: VecDeque::new(), requests: 0, answers: 0 })
    }

    pub(super) fn id(&self) -> &UserId {
        &self.id
    }

    pub(super) async fn close(&self) {
        self.client.close().await;
    }

    /// Sends a request and waits until the server has carried it out.
    async fn request(&mut self, request: &Request) -> anyhow::Result<Event> {
        self.requests += 1;
        let cid = format!("demo-{}-{}", self.id, self.requests).parse()?;
        self.client.try_send(Some(&cid), request)?;
        let answer = async {
            while let Some(event) = self.events.recv().await {
                let ClientEvent::Received(event) = event else { continue };
                if executed_request(&event, |user| *user == self.id) == Some(&cid) {
                    return Ok(event);
                }
                match event {
                    Event::Error(error) if error.cid.as_ref() == Some(&cid) => {
                        bail!("the server refused a line of the demo: {}", error.text.one_line());
                    }
                    Event::Posted(message) => self.heard.push_back(message),
                    _ => {}
                }
            }
            Err(anyhow!("the demo's connection was closed"))
        };
        timeout(ANSWER_TIMEOUT, answer).await.context("the demo's server does not answer")?
    }

    /// The next message of somebody else.
    async fn hear(&mut self) -> Message {
        loop {
            let message = match self.heard.pop_front() {
                Some(message) => message,
                None => match self.events.recv().await {
                    Some(ClientEvent::Received(Event::Posted(message))) => message,
                    Some(_) => continue,
                    None => std::future::pending().await,
                },
            };
            if message.sender != self.id {
                return message;
            }
        }
    }
}

/// The team.
#[derive(Debug)]
pub(super) struct Team {
    members: Vec<Member>,
    you: UserId,
    /// The messages of the script, in order.
    posted: Vec<MessageId>,
}

impl Team {
    pub(super) fn new(members: Vec<Member>, you: UserId) -> Self {
        Self { members, you, posted: Vec::new() }
    }

    /// Creates the room, which everybody joins.
    pub(super) async fn set_up(&mut self, you: &mut Member) -> anyhow::Result<()> {
        let room: RoomName = ROOM.parse()?;
        let change = |action| Request::Room { room: room.clone(), action };
        let topic = SafeText::clean(TOPIC);
        let owner = self.member(0)?;
        owner.request(&change(RoomAction::Create { private: false, topic })).await?;
        for index in 1..MEMBERS.len() {
            self.member(index)?.request(&change(RoomAction::Join)).await?;
        }
        you.request(&change(RoomAction::Join)).await?;
        Ok(())
    }

    /// Says a line of the script.
    pub(super) async fn say(&mut self, line: &Line) -> anyhow::Result<()> {
        let (member, request) = match *line {
            Line::Post(member, place, text) => (member, self.post(place, PostKind::Plain, text)?),
            Line::Reply(member, to, text) => {
                let kind = PostKind::Reply { to: self.message(to)? };
                (member, self.post(Place::Everyone, kind, text)?)
            }
            Line::Edit(member, id, text) => {
                let content = SafeText::clean(text);
                (member, Request::Edit { id: self.message(id)?, content })
            }
            Line::React(member, id, emoji) => {
                (member, Request::React { id: self.message(id)?, emoji: emoji.parse()?, on: true })
            }
        };
        if let Event::Posted(message) = self.member(member)?.request(&request).await? {
            self.posted.push(message.id);
        }
        Ok(())
    }

    fn post(&self, place: Place, kind: PostKind, text: &str) -> anyhow::Result<Request> {
        let audience = match place {
            Place::Everyone => Audience::Everyone,
            Place::Room => Audience::Room(ROOM.parse()?),
            Place::Direct => Audience::Only([self.you.clone()].into()),
        };
        let content = SafeText::clean(&text.replace("YOU", self.you.as_str()));
        Ok(Request::Post(Post { audience, kind, content }))
    }

    fn member(&mut self, index: usize) -> anyhow::Result<&mut Member> {
        self.members.get_mut(index).context("the demo's script names a member that is not there")
    }

    fn message(&self, index: usize) -> anyhow::Result<MessageId> {
        let id = self.posted.get(index).copied();
        id.context("the demo's script names a message that is not there")
    }

    /// The next message of the user, with the member who heard it first.
    pub(super) async fn hear(&mut self) -> (usize, Message) {
        loop {
            let listening = self.members.iter_mut().map(|member| Box::pin(member.hear()));
            let (message, member, _) = select_all(listening).await;
            if message.sender == self.you {
                return (member, message);
            }
        }
    }

    /// What a member answers to a message: to a direct one always, elsewhere if it is named. The first
    /// member likes what is said to all.
    pub(super) fn answer(
        &mut self,
        member: usize,
        message: &Message,
    ) -> anyhow::Result<Option<Request>> {
        let you = self.you.clone();
        let listener = self.member(member)?;
        let name = format!("@{}", listener.id.name());
        let is_named = message.content.as_str().contains(&name);
        let conversation = message.conversation(&listener.id);
        if !conversation.is_direct() && !is_named {
            let liked = Request::React { id: message.id, emoji: "👍".parse()?, on: true };
            return Ok((member == 0).then_some(liked));
        }
        let text = ANSWERS.get(listener.answers % ANSWERS.len()).copied().unwrap_or_default();
        listener.answers += 1;
        let audience = match conversation {
            Audience::Only(_) => Audience::Only([you].into()),
            other => other,
        };
        listener.client.try_send(None, &Request::Typing(audience))?;
        let kind = PostKind::Reply { to: message.id };
        let content = SafeText::clean(text);
        Ok(Some(Request::Post(Post { audience: Audience::Everyone, kind, content })))
    }

    /// Sends a request of a member.
    pub(super) async fn send(&mut self, member: usize, request: Request) -> anyhow::Result<()> {
        self.member(member)?.request(&request).await?;
        Ok(())
    }

    /// Logs everybody out.
    pub(super) async fn close(self) {
        for member in &self.members {
            member.close().await;
        }
    }
}
