//! The heart of the plain mode: what happens and what is typed go in, lines and requests come out.
//!
//! Pure: no clock, no terminal, no connection. The room itself is `client::state`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, FixedOffset};

use super::format;
use super::past::Finding;
use crate::client::line::{Line, LineError};
use crate::client::state::timeline::{Crowd, Entry, GATHERED};
use crate::client::state::{Change, Room};
use crate::client::{Event, SendError};
use crate::protocol;
use crate::protocol::error::Refusal;
use crate::protocol::id::{ClientId, MessageId};
use crate::protocol::message::Audience;
use crate::protocol::request::{Request, Say, SayKind};
use crate::protocol::text::SafeText;

/// How many requests may wait for their answers before more input is taken. Less than the queue of
/// the connection holds, so that a long file piped in never finds it full.
const WINDOW: usize = 32;

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// A line for standard output.
    Print(String),
    /// A line for standard error.
    Complain(String),
    /// A request for the server.
    Send(ClientId, Request),
    /// Leave, once all answers are there.
    Leave,
    /// Leave: the server refused the login.
    Refused(SafeText),
    /// Leave: it is not the right server.
    Untrusted(SafeText),
}

/// One conversation in lines.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) room: Room,
    /// Logged in, and told who is here: before that an `@` word would name nobody.
    ready: bool,
    /// What was sent and has no answer, as it was typed.
    unanswered: BTreeMap<ClientId, String>,
    /// Those of them that the outbox does not send again.
    fleeting: BTreeSet<ClientId>,
    unconfirmed: usize,
    /// Whether what was said last is shown at the login.
    pub(super) shows_recent: bool,
    pub(super) finding: Option<Finding>,
    comings: Comings,
}

/// Who came and went, and was not told yet.
#[derive(Debug, Default)]
struct Comings {
    joined: Crowd,
    left: Crowd,
    /// Until then it is gathered.
    quiet_until: Option<DateTime<FixedOffset>>,
}

impl Talk {
    /// Nothing said yet. For `cid_prefix` see [`Room::new`].
    pub(super) fn new(cid_prefix: &str, shows_recent: bool) -> Self {
        Self {
            room: Room::new(cid_prefix),
            ready: false,
            unanswered: BTreeMap::new(),
            fleeting: BTreeSet::new(),
            unconfirmed: 0,
            shows_recent,
            finding: None,
            comings: Comings::default(),
        }
    }

    /// Whether a typed line could be sent now. Until then it is better left where it is.
    pub(super) fn wants_input(&self) -> bool {
        self.ready && self.unanswered.len() < WINDOW
    }

    /// How many requests wait for their answers.
    pub(super) fn waiting(&self) -> usize {
        self.unanswered.len()
    }

    /// When [`Talk::tick`] is due.
    pub(super) fn deadline(&self) -> Option<DateTime<FixedOffset>> {
        let Comings { joined, left, quiet_until } = &self.comings;
        quiet_until.filter(|_| joined.count() + left.count() > 0)
    }

    /// Tells what was gathered, if it is time.
    pub(super) fn tick(&mut self, now: DateTime<FixedOffset>) -> Vec<Effect> {
        if self.comings.quiet_until.is_some_and(|until| now < until) {
            return Vec::new();
        }
        let quiet_until = Some(now + GATHERED);
        let told =
            std::mem::replace(&mut self.comings, Comings { quiet_until, ..Comings::default() });
        let lines = format::presence(now, &told.joined, &told.left);
        lines.into_iter().map(Effect::Print).collect()
    }

    /// How many requests have no answer and will not get any.
    pub(super) fn unconfirmed(&self) -> usize {
        self.unconfirmed + self.unanswered.len()
    }

    /// Takes in what happened on the connection.
    pub(super) fn happen(&mut self, now: DateTime<FixedOffset>, event: Event) -> Vec<Effect> {
        let mut effects = self.settle(&event);
        let after = match &event {
            Event::Received(protocol::event::Event::People(_)) => After::People,
            Event::Disconnected { retry_in, .. } => After::Retry(*retry_in),
            Event::Ended { reason } => After::End(Effect::Refused(reason.clone())),
            Event::Untrusted { reason } => After::End(Effect::Untrusted(reason.clone())),
            Event::Connecting
            | Event::FirstContact(_)
            | Event::Connected(_)
            | Event::Received(_)
            | Event::Kept(_)
            | Event::Sending(_)
            | Event::NotSent { .. } => After::Nothing,
        };
        effects.extend(self.expire(now));
        let known = self.room.timeline().oldest().map(|message| message.seq);
        for change in self.room.apply(now, event) {
            effects.extend(match change {
                Change::Page(_) => self.recent(now, known),
                Change::Found(found) => self.found(now, found),
                change => self.show(now, change),
            });
        }
        match after {
            After::People => {
                self.comings = Comings::default();
                effects.push(Effect::Print(format::people(now, &self.room)));
                effects.extend(self.ask_recent());
            }
            After::Retry(pause) => {
                if let Some(Effect::Print(why)) = effects.last_mut() {
                    let seconds = pause.as_millis().div_ceil(1_000);
                    why.extend(["; trying again in ", &seconds.to_string(), " s"]);
                }
            }
            After::End(effect) => effects.push(effect),
            After::Nothing => {}
        }
        effects
    }

    /// Takes in a line that was typed.
    pub(super) fn type_line(&mut self, now: DateTime<FixedOffset>, typed: &str) -> Vec<Effect> {
        if typed.trim().is_empty() {
            return Vec::new();
        }
        let mut effects = self.expire(now);
        let outcome = Line::parse(typed).map_err(|error| error.to_string());
        match outcome.and_then(|line| self.obey(now, typed, line)) {
            Ok(more) => effects.extend(more),
            Err(why) => effects.push(Effect::Complain(why)),
        }
        effects
    }

    /// Notes that a request could not be sent.
    pub(super) fn not_sent(&mut self, cid: &ClientId, error: SendError) -> Option<Effect> {
        let typed = self.unanswered.remove(cid)?;
        self.unconfirmed += 1;
        Some(Effect::Complain(format!("not sent ({error}): {typed}")))
    }

    fn obey(
        &mut self,
        now: DateTime<FixedOffset>,
        typed: &str,
        line: Line,
    ) -> Result<Vec<Effect>, String> {
        let request = match line {
            Line::Say { to, text } => self.say(&to, SayKind::Plain, text)?,
            Line::Temporary { seconds, to, text } => {
                self.say(&to, SayKind::Temporary { seconds }, text)?
            }
            Line::Reply { text, .. } if text.is_blank() => {
                return Err(LineError::NoText(".reply MESSAGE_ID").to_string());
            }
            Line::Reply { to, text } => Request::Say(self.reply(to, text)?),
            Line::Delete(id) => Request::Delete(id),
            Line::Search(expression) => return self.search(now, &expression),
            Line::Exit => return Ok(vec![Effect::Leave]),
        };
        let cid = self.room.next_cid().ok_or("nothing more can be sent")?;
        if matches!(request, Request::Say(_)) {
            self.unanswered.insert(cid.clone(), SafeText::clean(typed).one_line());
        } else {
            self.expect(cid.clone(), typed);
        }
        Ok(vec![Effect::Send(cid, request)])
    }

    fn say(&self, to: &[String], kind: SayKind, content: SafeText) -> Result<Request, String> {
        let people = to
            .iter()
            .map(|word| self.room.resolve(word))
            .collect::<Result<BTreeSet<_>, _>>()
            .map_err(|error| error.to_string())?;
        let audience = if people.is_empty() { Audience::Everyone } else { Audience::Only(people) };
        Ok(Request::Say(Say { audience, kind, content }))
    }

    /// A reply to a message that was not seen here could go to more people than that did.
    fn reply(&self, to: MessageId, text: SafeText) -> Result<Say, String> {
        match self.room.timeline().said(to) {
            Some(_) => Ok(self.room.reply(to, text)),
            None => Err(Refusal::UnknownMessage(to).to_string()),
        }
    }

    /// Follows what has been answered, or never will be.
    fn settle(&mut self, event: &Event) -> Vec<Effect> {
        use protocol::event::Event as Said;
        match event {
            Event::Received(Said::People(_)) => self.ready = true,
            Event::Received(Said::Said(message)) if self.room.is_you(&message.sender) => {
                self.answered(message.cid.as_ref());
            }
            Event::Received(Said::Deleted(deleted)) if self.room.is_you(&deleted.by) => {
                self.answered(deleted.cid.as_ref());
            }
            Event::Received(Said::Refused(refused)) => self.answered(refused.cid.as_ref()),
            Event::Received(Said::Stored(stored)) => self.answered(Some(&stored.cid)),
            Event::Kept(unsent) => {
                let text = unsent.say.content.one_line();
                self.unanswered.insert(unsent.cid.clone(), text);
            }
            Event::NotSent { cid, reason } => {
                if let Some(typed) = self.unanswered.remove(cid) {
                    self.unconfirmed += 1;
                    return vec![Effect::Complain(format!("{}: {typed}", reason.one_line()))];
                }
            }
            Event::Disconnected { .. } | Event::Untrusted { .. } | Event::Ended { .. } => {
                self.ready = false;
                let lost = std::mem::take(&mut self.fleeting);
                let lost: Vec<String> =
                    lost.iter().filter_map(|cid| self.unanswered.remove(cid)).collect();
                self.unconfirmed += lost.len();
                let complain = |typed| Effect::Complain(format!("not confirmed: {typed}"));
                return lost.into_iter().map(complain).collect();
            }
            Event::Connecting
            | Event::FirstContact(_)
            | Event::Connected(_)
            | Event::Received(_)
            | Event::Sending(_) => {}
        }
        Vec::new()
    }

    /// An answer to this is waited for, as long as the connection holds.
    pub(super) fn expect(&mut self, cid: ClientId, typed: &str) {
        self.unanswered.insert(cid.clone(), SafeText::clean(typed).one_line());
        self.fleeting.insert(cid);
    }

    pub(super) fn answered(&mut self, cid: Option<&ClientId>) {
        if let Some(cid) = cid {
            self.unanswered.remove(cid);
            self.fleeting.remove(cid);
        }
    }

    fn expire(&mut self, now: DateTime<FixedOffset>) -> Vec<Effect> {
        let changes = self.room.expire(now);
        changes.into_iter().flat_map(|change| self.show(now, change)).collect()
    }

    fn show(&mut self, now: DateTime<FixedOffset>, change: Change) -> Vec<Effect> {
        let timeline = self.room.timeline();
        let lines = match change {
            Change::Said(place) => match timeline.get(place) {
                Some(Entry::Said(said)) => {
                    vec![format::message(&self.room, now, &said.message)]
                }
                Some(Entry::Presence { .. } | Entry::Notice { .. }) | None => Vec::new(),
            },
            Change::Gone(id) => {
                timeline.said(id).map(|said| format::gone(now, said)).into_iter().collect()
            }
            Change::Anew | Change::Elsewhere(_) | Change::Page(_) | Change::Found(_) => Vec::new(),
            Change::Presence { joined, left } => {
                self.comings.joined.add(&joined);
                self.comings.left.add(&left);
                return self.tick(now);
            }
            Change::Link(text) => vec![format::notice(now, &text.one_line())],
            Change::Refused(refused) => return vec![Effect::Complain(refused.text.one_line())],
        };
        lines.into_iter().map(Effect::Print).collect()
    }
}

/// What there is to say after the room has taken an event in.
enum After {
    Nothing,
    People,
    Retry(Duration),
    End(Effect),
}
