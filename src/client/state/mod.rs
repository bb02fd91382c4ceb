//! The room as one client sees it: the connection, the people, the conversation, what is being sent.
//!
//! Pure: it is told what happens and when, and says what changed. What a screen adds to that (scroll
//! positions, choices, drafts) is not here.

pub mod history;
mod pending;
pub mod query;
pub mod search;
pub mod timeline;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, FixedOffset};
use thiserror::Error;

use self::history::{History, Part};
pub use self::pending::{Delivery, Pending};
use self::timeline::{Fate, Place, Timeline};
use super::{Connected, Event};
use crate::protocol;
use crate::protocol::event::{Found, Refused};
use crate::protocol::id::{ClientId, MessageId, UserId};
use crate::protocol::message::{Audience, Millis};
use crate::protocol::request::{Say, SayKind};
use crate::protocol::text::SafeText;

/// The state of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// An attempt is under way.
    Connecting,
    /// Logged in.
    Online {
        /// The fingerprint of the server's key.
        fingerprint: String,
    },
    /// Lost, or not had yet; there will be another attempt.
    Offline {
        /// Why.
        reason: SafeText,
        /// When the next attempt begins.
        retry_at: DateTime<FixedOffset>,
    },
    /// There will be no other attempt.
    Ended {
        /// Why.
        reason: SafeText,
    },
}

/// Something that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A message was added to the conversation.
    Said(Place),
    /// A message was said while the conversation is a part of the past.
    Elsewhere(UserId),
    /// A part of the history came.
    Page(Part),
    /// The server found something.
    Found(Found),
    /// The text of a message is gone.
    Gone(MessageId),
    /// All that was shown of the conversation is void.
    Anew,
    /// People came and went.
    Presence {
        /// Who came.
        joined: Vec<UserId>,
        /// Who went.
        left: Vec<UserId>,
    },
    /// The connection's state is another, as these words say.
    Link(SafeText),
    /// The server refused something.
    Refused(Refused),
}

/// Why a word does not name somebody.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ResolveError {
    /// Nobody is called that.
    #[error("nobody here is called {0}")]
    Nobody(String),
    /// Several people are.
    #[error("{0} may be {list}: write the whole ID", list = join(.1))]
    Several(String, Vec<UserId>),
}

fn join(ids: &[UserId]) -> String {
    ids.iter().map(UserId::as_str).collect::<Vec<_>>().join(" or ")
}

/// The room.
#[derive(Debug, Clone)]
pub struct Room {
    you: Option<UserId>,
    /// Every ID this client has had: what was said under them is its own.
    yours: BTreeSet<UserId>,
    link: Link,
    people: BTreeSet<UserId>,
    guests: BTreeSet<UserId>,
    timeline: Timeline,
    history: History,
    pending: Vec<Pending>,
    /// The server's clock minus ours.
    clock_offset: Millis,
    cid_prefix: String,
    cids: u64,
}

impl Room {
    /// An empty room. What is sent is named after `cid_prefix`, which has to be unique among all
    /// clients, and made of visible ASCII characters.
    pub fn new(cid_prefix: &str) -> Self {
        Self {
            you: None,
            yours: BTreeSet::new(),
            link: Link::Connecting,
            people: BTreeSet::new(),
            guests: BTreeSet::new(),
            timeline: Timeline::default(),
            history: History::default(),
            pending: Vec::new(),
            clock_offset: 0,
            cid_prefix: cid_prefix.to_owned(),
            cids: 0,
        }
    }

    /// The ID that the server gave, once there has been a login.
    pub fn you(&self) -> Option<&UserId> {
        self.you.as_ref()
    }

    /// Whether `user` is, or was before a reconnection, this client.
    pub fn is_you(&self, user: &UserId) -> bool {
        self.yours.contains(user)
    }

    /// The state of the connection.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Whether there is a connection to send over.
    pub fn is_online(&self) -> bool {
        matches!(self.link, Link::Online { .. })
    }

    /// The others who are here, in the order of their IDs.
    pub fn people(&self) -> &BTreeSet<UserId> {
        &self.people
    }

    /// Whether they have shown no key: anybody may be behind the ID.
    pub fn is_guest(&self, user: &UserId) -> bool {
        self.guests.contains(user)
    }

    /// What was said.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// The server's clock at a moment of ours.
    pub fn server_time(&self, now: DateTime<FixedOffset>) -> Millis {
        now.timestamp_millis() + self.clock_offset
    }

    /// When the next message expires, by our clock, in milliseconds.
    pub fn next_expiry(&self) -> Option<Millis> {
        self.timeline.next_expiry().map(|at| at - self.clock_offset)
    }

    /// Takes in what happened on the connection.
    pub fn apply(&mut self, now: DateTime<FixedOffset>, event: Event) -> Vec<Change> {
        match event {
            Event::Connecting => {
                self.link = Link::Connecting;
                Vec::new()
            }
            Event::FirstContact(words) => {
                let lines = words.as_str().lines().map(SafeText::clean);
                lines.map(|line| self.notice(now, line)).collect()
            }
            Event::Connected(connected) => self.connected(now, connected),
            Event::Received(event) => self.received(now, event),
            Event::Kept(unsent) => {
                self.kept(now, unsent);
                Vec::new()
            }
            Event::Sending(cid) => {
                self.deliver(&cid, Delivery::Sending);
                Vec::new()
            }
            Event::NotSent { cid, reason } => {
                self.fail(&cid, reason);
                Vec::new()
            }
            Event::Disconnected { reason, retry_in } => self.disconnected(now, reason, retry_in),
            // Whoever shows the room leaves then, and says why.
            Event::Untrusted { reason } => {
                self.end(reason);
                Vec::new()
            }
            Event::Ended { reason } => {
                self.end(reason.clone());
                vec![self.notice(now, reason)]
            }
        }
    }

    /// Takes away what has expired by now.
    pub fn expire(&mut self, now: DateTime<FixedOffset>) -> Vec<Change> {
        let expired = self.timeline.expire(self.server_time(now));
        expired.into_iter().map(Change::Gone).collect()
    }

    /// Says something that is not from the server.
    pub fn announce(&mut self, now: DateTime<FixedOffset>, text: SafeText) {
        if self.is_present() {
            self.timeline.notice(now, text);
        }
    }

    /// A name for the next request.
    pub fn next_cid(&mut self) -> Option<ClientId> {
        self.cids += 1;
        format!("{}-{}", self.cid_prefix, self.cids).parse().ok()
    }

    /// Who is meant by a word: an ID, or a name that only one of the people here has.
    ///
    /// # Errors
    /// It is nobody's, or several people's.
    pub fn resolve(&self, word: &str) -> Result<UserId, ResolveError> {
        if let Some(id) = word.parse().ok().filter(|id| self.people.contains(id)) {
            return Ok(id);
        }
        let called: Vec<&UserId> =
            self.people.iter().filter(|id| id.name().eq_ignore_ascii_case(word)).collect();
        match called.as_slice() {
            [id] => Ok((*id).clone()),
            [] => Err(ResolveError::Nobody(SafeText::clean(word).one_line())),
            several => {
                let several = several.iter().map(|id| (*id).clone()).collect();
                Err(ResolveError::Several(SafeText::clean(word).one_line(), several))
            }
        }
    }

    /// Who gets a reply to this message unless something else is chosen: everybody for a public one,
    /// the people of a private one.
    pub fn reply_audience(&self, id: MessageId) -> Audience {
        match self.timeline.said(id).map(|said| &said.message) {
            Some(message) => match &message.audience {
                Audience::Everyone => Audience::Everyone,
                Audience::Only(people) => {
                    let everyone = people.iter().chain([&message.sender]);
                    Audience::Only(everyone.filter(|id| !self.is_you(id)).cloned().collect())
                }
            },
            None => Audience::Everyone,
        }
    }

    /// A request for a reply to the people of a message.
    pub fn reply(&self, to: MessageId, content: SafeText) -> Say {
        Say { audience: self.reply_audience(to), kind: SayKind::Reply { to }, content }
    }

    fn end(&mut self, reason: SafeText) {
        self.wait_pending();
        self.people.clear();
        self.link = Link::Ended { reason };
    }

    fn connected(&mut self, now: DateTime<FixedOffset>, connected: Connected) -> Vec<Change> {
        let Connected { welcome, fingerprint } = connected;
        let again = !self.yours.is_empty();
        self.clock_offset = welcome.now - now.timestamp_millis();
        self.people.clear();
        self.guests.clear();
        self.yours.insert(welcome.user.clone());
        self.link = Link::Online { fingerprint };
        self.history.welcome(&welcome.epoch, welcome.head, welcome.resumed);
        let words = match (again, welcome.resumed) {
            (false, _) => format!("you are {}", welcome.user),
            (true, true) => format!("connected again, as {}", welcome.user),
            (true, false) => {
                self.timeline.clear();
                format!("connected again, as {}: all begins anew", welcome.user)
            }
        };
        self.you = Some(welcome.user);
        let anew = (again && !welcome.resumed).then_some(Change::Anew);
        anew.into_iter().chain([self.notice(now, SafeText::clean(&words))]).collect()
    }

    fn disconnected(
        &mut self,
        now: DateTime<FixedOffset>,
        reason: SafeText,
        retry_in: Duration,
    ) -> Vec<Change> {
        let was_online = matches!(self.link, Link::Online { .. });
        self.wait_pending();
        self.people.clear();
        let retry_in = chrono::TimeDelta::from_std(retry_in).unwrap_or_default();
        let retry_at = now + retry_in;
        self.link = Link::Offline { reason: reason.clone(), retry_at };
        if !was_online {
            return vec![Change::Link(reason)];
        }
        vec![self.notice(now, SafeText::clean(&format!("disconnected: {reason}")))]
    }

    fn received(
        &mut self,
        now: DateTime<FixedOffset>,
        event: protocol::event::Event,
    ) -> Vec<Change> {
        use protocol::event::Event;
        match event {
            Event::People(people) => {
                self.people = people.iter().filter(|id| !self.is_you(id)).cloned().collect();
                Vec::new()
            }
            Event::Presence { joined, left } => self.presence(now, joined, left),
            Event::Guests(guests) => {
                self.guests.extend(guests);
                Vec::new()
            }
            Event::Said(message) => {
                self.confirm(&message);
                if self.is_present() {
                    self.timeline.say(message).map(Change::Said).into_iter().collect()
                } else {
                    vec![Change::Elsewhere(message.sender)]
                }
            }
            Event::Deleted(deleted) => self.forget(deleted.id, Fate::Removed),
            Event::Expired { id, .. } => self.forget(id, Fate::Expired),
            Event::Refused(refused) => {
                self.history.refused(refused.cid.as_ref());
                if let Some(cid) = &refused.cid {
                    self.fail(cid, refused.text.clone());
                }
                vec![Change::Refused(refused)]
            }
            Event::History(page) => self.page(page),
            Event::Found(mut found) => {
                found.messages.retain(|message| !self.history.is_buried(message.id));
                vec![Change::Found(found)]
            }
            Event::Stored(stored) => {
                self.pending.retain(|pending| pending.cid != stored.cid);
                Vec::new()
            }
            // The connection ends after these, or they belong to the login: the driver tells.
            Event::LoginPrompt
            | Event::Welcome(_)
            | Event::LoginRefused(_)
            | Event::Closing(_)
            | Event::Live(_)
            | Event::Pong(_) => Vec::new(),
        }
    }

    fn presence(
        &mut self,
        now: DateTime<FixedOffset>,
        mut joined: Vec<UserId>,
        mut left: Vec<UserId>,
    ) -> Vec<Change> {
        left.retain(|id| self.people.remove(id));
        for id in &left {
            self.guests.remove(id);
        }
        joined.retain(|id| !self.is_you(id) && self.people.insert(id.clone()));
        if joined.is_empty() && left.is_empty() {
            return Vec::new();
        }
        if self.is_present() {
            self.timeline.presence(now, &joined, &left);
        }
        vec![Change::Presence { joined, left }]
    }

    fn forget(&mut self, id: MessageId, fate: Fate) -> Vec<Change> {
        let is_new = !self.history.is_buried(id);
        self.history.bury(id);
        // It may be known elsewhere, in the hits of a search.
        let known = self.timeline.said(id).is_some();
        let taken = self.timeline.forget(id, fate);
        if taken || (is_new && !known) { vec![Change::Gone(id)] } else { Vec::new() }
    }

    fn notice(&mut self, now: DateTime<FixedOffset>, text: SafeText) -> Change {
        self.announce(now, text.clone());
        Change::Link(text)
    }
}
