//! The heart of the plain mode: what happens and what is typed go in, lines and requests come out.
//!
//! Pure: no clock, no terminal, no connection. The room itself is `client::state`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, FixedOffset};

use super::format;
use super::past::RunningSearch;
use crate::client::input::{CommandError, UserInput};
use crate::client::state::timeline::{NameList, PRESENCE_WINDOW, TimelineEntry};
use crate::client::state::{Change, ChatState};
use crate::client::{ClientEvent, SendError};
use crate::protocol;
use crate::protocol::error::Refusal;
use crate::protocol::id::{Cid, MessageId};
use crate::protocol::message::Audience;
use crate::protocol::request::{Post, PostKind, Request};
use crate::protocol::text::SafeText;

/// How many requests may wait for their answers before more input is taken. Less than the queue of
/// the connection holds, so that a long file piped in never finds it full.
const MAX_UNANSWERED: usize = 32;

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LineEffect {
    /// A line for standard output.
    Print(String),
    /// A line for standard error.
    PrintError(String),
    /// A request for the server.
    Send(Cid, Request),
    /// Leave, once all answers are there.
    Quit,
    /// Leave: the server refused the login.
    Refused(SafeText),
    /// Leave: it is not the right server.
    Untrusted(SafeText),
}

/// One conversation in lines.
#[derive(Debug)]
pub(super) struct LineSession {
    pub(super) state: ChatState,
    /// Logged in, and told who is here: before that an `@` word would name nobody.
    ready: bool,
    /// What was sent and has no answer, as it was typed.
    unanswered: BTreeMap<Cid, String>,
    /// Those of them that the outbox does not send again.
    not_in_outbox: BTreeSet<Cid>,
    unconfirmed: usize,
    /// Whether what was said last is shown at the login.
    pub(super) shows_recent: bool,
    pub(super) search: Option<RunningSearch>,
    presence: PresenceBatch,
}

/// Who came and went, and was not told yet.
#[derive(Debug, Default)]
struct PresenceBatch {
    joined: NameList,
    left: NameList,
    /// Until then it is gathered.
    hold_until: Option<DateTime<FixedOffset>>,
}

impl LineSession {
    /// Nothing said yet. For `cid_prefix` see [`Room::new`].
    pub(super) fn new(cid_prefix: &str, shows_recent: bool) -> Self {
        Self {
            state: ChatState::new(cid_prefix),
            ready: false,
            unanswered: BTreeMap::new(),
            not_in_outbox: BTreeSet::new(),
            unconfirmed: 0,
            shows_recent,
            search: None,
            presence: PresenceBatch::default(),
        }
    }

    /// Whether a typed line could be sent now. Until then it is better left where it is.
    pub(super) fn accepts_input(&self) -> bool {
        self.ready && self.unanswered.len() < MAX_UNANSWERED
    }

    /// How many requests wait for their answers.
    pub(super) fn unanswered_count(&self) -> usize {
        self.unanswered.len()
    }

    /// When [`Talk::tick`] is due.
    pub(super) fn deadline(&self) -> Option<DateTime<FixedOffset>> {
        let PresenceBatch { joined, left, hold_until: quiet_until } = &self.presence;
        quiet_until.filter(|_| joined.count() + left.count() > 0)
    }

    /// Tells what was gathered, if it is time.
    pub(super) fn tick(&mut self, now: DateTime<FixedOffset>) -> Vec<LineEffect> {
        if self.presence.hold_until.is_some_and(|until| now < until) {
            return Vec::new();
        }
        let quiet_until = Some(now + PRESENCE_WINDOW);
        let batch = std::mem::replace(
            &mut self.presence,
            PresenceBatch { hold_until: quiet_until, ..PresenceBatch::default() },
        );
        let lines = format::presence(now, &batch.joined, &batch.left);
        lines.into_iter().map(LineEffect::Print).collect()
    }

    /// How many requests have no answer and will not get any.
    pub(super) fn unconfirmed(&self) -> usize {
        self.unconfirmed + self.unanswered.len()
    }

    /// Takes in what happened on the connection.
    pub(super) fn on_event(
        &mut self,
        now: DateTime<FixedOffset>,
        event: ClientEvent,
    ) -> Vec<LineEffect> {
        let mut effects = self.track_answers(&event);
        let follow_up = match &event {
            ClientEvent::Received(protocol::event::Event::Users(_)) => FollowUp::OnlineUsers,
            ClientEvent::Disconnected { retry_in, .. } => FollowUp::Retry(*retry_in),
            ClientEvent::Ended { reason } => FollowUp::Quit(LineEffect::Refused(reason.clone())),
            ClientEvent::Untrusted { reason } => {
                FollowUp::Quit(LineEffect::Untrusted(reason.clone()))
            }
            ClientEvent::Connecting
            | ClientEvent::FirstContact(_)
            | ClientEvent::Connected(_)
            | ClientEvent::Received(_)
            | ClientEvent::Restored(_)
            | ClientEvent::Sending(_)
            | ClientEvent::NotSent { .. } => FollowUp::Nothing,
        };
        effects.extend(self.expire(now));
        let known = self.state.timeline().oldest().map(|message| message.seq);
        for change in self.state.apply(now, event) {
            effects.extend(match change {
                Change::HistoryLoaded(_) => self.format_recent(now, known),
                Change::SearchResults(found) => self.on_search_results(now, found),
                change => self.format_change(now, change),
            });
        }
        match follow_up {
            FollowUp::OnlineUsers => {
                self.presence = PresenceBatch::default();
                effects.push(LineEffect::Print(format::online_users(now, &self.state)));
                effects.extend(self.request_recent());
            }
            FollowUp::Retry(pause) => {
                if let Some(LineEffect::Print(why)) = effects.last_mut() {
                    let seconds = pause.as_millis().div_ceil(1_000);
                    why.extend(["; trying again in ", &seconds.to_string(), " s"]);
                }
            }
            FollowUp::Quit(effect) => effects.push(effect),
            FollowUp::Nothing => {}
        }
        effects
    }

    /// Takes in a line that was typed.
    pub(super) fn on_line(&mut self, now: DateTime<FixedOffset>, typed: &str) -> Vec<LineEffect> {
        if typed.trim().is_empty() {
            return Vec::new();
        }
        let mut effects = self.expire(now);
        let outcome = UserInput::parse(typed).map_err(|error| error.to_string());
        match outcome.and_then(|line| self.execute(now, typed, line)) {
            Ok(more) => effects.extend(more),
            Err(why) => effects.push(LineEffect::PrintError(why)),
        }
        effects
    }

    /// Notes that a request could not be sent.
    pub(super) fn not_sent(&mut self, cid: &Cid, error: SendError) -> Option<LineEffect> {
        let typed = self.unanswered.remove(cid)?;
        self.unconfirmed += 1;
        Some(LineEffect::PrintError(format!("not sent ({error}): {typed}")))
    }

    fn execute(
        &mut self,
        now: DateTime<FixedOffset>,
        typed: &str,
        line: UserInput,
    ) -> Result<Vec<LineEffect>, String> {
        let request = match line {
            UserInput::Post { to, text } => self.post(&to, PostKind::Plain, text)?,
            UserInput::Temporary { seconds, to, text } => {
                self.post(&to, PostKind::Temporary { seconds }, text)?
            }
            UserInput::Reply { text, .. } if text.is_blank() => {
                return Err(CommandError::Empty(".reply MESSAGE_ID").to_string());
            }
            UserInput::Reply { to, text } => Request::Post(self.reply(to, text)?),
            UserInput::Delete(id) => Request::Delete(id),
            UserInput::Search(expression) => return self.search(now, &expression),
            UserInput::Exit => return Ok(vec![LineEffect::Quit]),
        };
        let cid = self.state.next_cid().ok_or("nothing more can be sent")?;
        if matches!(request, Request::Post(_)) {
            self.unanswered.insert(cid.clone(), SafeText::clean(typed).one_line());
        } else {
            self.expect_answer(cid.clone(), typed);
        }
        Ok(vec![LineEffect::Send(cid, request)])
    }

    fn post(&self, to: &[String], kind: PostKind, content: SafeText) -> Result<Request, String> {
        let people = to
            .iter()
            .map(|word| self.state.resolve(word))
            .collect::<Result<BTreeSet<_>, _>>()
            .map_err(|error| error.to_string())?;
        let audience = if people.is_empty() { Audience::Everyone } else { Audience::Only(people) };
        Ok(Request::Post(Post { audience, kind, content }))
    }

    /// A reply to a message that was not seen here could go to more people than that did.
    fn reply(&self, to: MessageId, text: SafeText) -> Result<Post, String> {
        match self.state.timeline().message(to) {
            Some(_) => Ok(self.state.reply(to, text)),
            None => Err(Refusal::UnknownMessage(to).to_string()),
        }
    }

    /// Follows what has been answered, or never will be.
    fn track_answers(&mut self, event: &ClientEvent) -> Vec<LineEffect> {
        use protocol::event::Event as Said;
        match event {
            ClientEvent::Received(Said::Users(_)) => self.ready = true,
            ClientEvent::Received(Said::Posted(message))
                if self.state.is_own_id(&message.sender) =>
            {
                self.mark_answered(message.cid.as_ref());
            }
            ClientEvent::Received(Said::Deleted(deleted))
                if self.state.is_own_id(&deleted.author) =>
            {
                self.mark_answered(deleted.cid.as_ref());
            }
            ClientEvent::Received(Said::Error(refused)) => self.mark_answered(refused.cid.as_ref()),
            ClientEvent::Received(Said::Stored(stored)) => self.mark_answered(Some(&stored.cid)),
            ClientEvent::Restored(unsent) => {
                let text = unsent.post.content.one_line();
                self.unanswered.insert(unsent.cid.clone(), text);
            }
            ClientEvent::NotSent { cid, reason } => {
                if let Some(typed) = self.unanswered.remove(cid) {
                    self.unconfirmed += 1;
                    return vec![LineEffect::PrintError(format!("{}: {typed}", reason.one_line()))];
                }
            }
            ClientEvent::Disconnected { .. }
            | ClientEvent::Untrusted { .. }
            | ClientEvent::Ended { .. } => {
                self.ready = false;
                let lost = std::mem::take(&mut self.not_in_outbox);
                let lost: Vec<String> =
                    lost.iter().filter_map(|cid| self.unanswered.remove(cid)).collect();
                self.unconfirmed += lost.len();
                let complain = |typed| LineEffect::PrintError(format!("not confirmed: {typed}"));
                return lost.into_iter().map(complain).collect();
            }
            ClientEvent::Connecting
            | ClientEvent::FirstContact(_)
            | ClientEvent::Connected(_)
            | ClientEvent::Received(_)
            | ClientEvent::Sending(_) => {}
        }
        Vec::new()
    }

    /// An answer to this is waited for, as long as the connection holds.
    pub(super) fn expect_answer(&mut self, cid: Cid, typed: &str) {
        self.unanswered.insert(cid.clone(), SafeText::clean(typed).one_line());
        self.not_in_outbox.insert(cid);
    }

    pub(super) fn mark_answered(&mut self, cid: Option<&Cid>) {
        if let Some(cid) = cid {
            self.unanswered.remove(cid);
            self.not_in_outbox.remove(cid);
        }
    }

    fn expire(&mut self, now: DateTime<FixedOffset>) -> Vec<LineEffect> {
        let changes = self.state.expire(now);
        changes.into_iter().flat_map(|change| self.format_change(now, change)).collect()
    }

    fn format_change(&mut self, now: DateTime<FixedOffset>, change: Change) -> Vec<LineEffect> {
        let timeline = self.state.timeline();
        let lines = match change {
            Change::Posted(place) => match timeline.get(place) {
                Some(TimelineEntry::Message(said)) => {
                    vec![format::message(&self.state, now, &said.message)]
                }
                Some(TimelineEntry::Presence { .. } | TimelineEntry::Notice { .. }) | None => {
                    Vec::new()
                }
            },
            Change::Removed(id) => {
                timeline.message(id).map(|said| format::tombstone(now, said)).into_iter().collect()
            }
            Change::Reset
            | Change::PostedOutOfView(_)
            | Change::HistoryLoaded(_)
            | Change::SearchResults(_) => Vec::new(),
            Change::Presence { joined, left } => {
                self.presence.joined.add(&joined);
                self.presence.left.add(&left);
                return self.tick(now);
            }
            Change::Connection(text) => vec![format::notice(now, &text.one_line())],
            Change::Error(refused) => return vec![LineEffect::PrintError(refused.text.one_line())],
        };
        lines.into_iter().map(LineEffect::Print).collect()
    }
}

/// What there is to say after the room has taken an event in.
enum FollowUp {
    Nothing,
    OnlineUsers,
    Retry(Duration),
    Quit(LineEffect),
}
