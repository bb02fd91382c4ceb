//! The functional core of line mode: events and typed lines go in, lines and requests come out.
//!
//! Pure: no clock, terminal or connection. [`ChatState`] keeps the conversation. Printed lines do not
//! scroll back, so older history is left to `chat tail`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, FixedOffset};

use super::format;
use crate::client::input::{CommandError, UserInput};
use crate::client::state::history::HistoryRequest;
use crate::client::state::search::SearchState;
use crate::client::state::search_input::SearchInput;
use crate::client::state::timeline::{NameList, PRESENCE_WINDOW, TimelineEntry};
use crate::client::state::{Change, ChatState};
use crate::client::{ClientEvent, SendError};
use crate::protocol::error::Refusal;
use crate::protocol::event::{Event, SearchEnd, SearchResults};
use crate::protocol::id::{Cid, MessageId, Seq};
use crate::protocol::message::Audience;
use crate::protocol::request::{Post, PostKind, Request};
use crate::protocol::text::SafeText;

/// No input is read while this many requests are unanswered. It is less than the capacity of the client's
/// request queue, so a long file on standard input never fills that queue.
const MAX_UNANSWERED: usize = 32;

/// The number of messages shown after the login. They leave room on a screen of 24 lines.
const RECENT_MESSAGES: usize = 15;

/// What the caller of [`LineSession`] has to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LineEffect {
    /// Print a line to standard output.
    Print(String),
    /// Print an error to standard error.
    PrintError(String),
    /// Send a request to the server.
    Send(Cid, Request),
    /// Quit once all requests are answered.
    Quit,
    /// Quit: the server rejected the login.
    Refused(SafeText),
    /// Quit: the server is not the expected one.
    Untrusted(SafeText),
}

/// The state of line mode.
#[derive(Debug)]
pub(super) struct LineSession {
    state: ChatState,
    /// Whether the user list has arrived since the login. `@` mentions need it.
    is_ready: bool,
    /// The unanswered requests, as they were typed.
    unanswered: BTreeMap<Cid, String>,
    /// The unanswered requests that are lost with the connection.
    not_in_outbox: BTreeSet<Cid>,
    /// The number of requests that will never be answered.
    failed: usize,
    /// Whether to show recent messages after the login.
    shows_recent: bool,
    search: Option<RunningSearch>,
    presence: PresenceBatch,
}

/// A search that the server has not finished.
#[derive(Debug)]
struct RunningSearch {
    cid: Cid,
    search: SearchState,
}

/// Users who joined and left since the last presence notice.
#[derive(Debug, Default)]
struct PresenceBatch {
    joined: NameList,
    left: NameList,
    /// No presence notice is printed before this time.
    hold_until: Option<DateTime<FixedOffset>>,
}

impl LineSession {
    /// Creates the state before the login. See [`ChatState::new`] for `cid_prefix`.
    pub(super) fn new(cid_prefix: &str, shows_recent: bool) -> Self {
        Self {
            state: ChatState::new(cid_prefix),
            is_ready: false,
            unanswered: BTreeMap::new(),
            not_in_outbox: BTreeSet::new(),
            failed: 0,
            shows_recent,
            search: None,
            presence: PresenceBatch::default(),
        }
    }

    /// Whether a typed line could be sent now.
    pub(super) fn accepts_input(&self) -> bool {
        self.is_ready && self.unanswered.len() < MAX_UNANSWERED
    }

    /// The number of unanswered requests.
    pub(super) fn unanswered_count(&self) -> usize {
        self.unanswered.len()
    }

    /// When [`Self::tick`] is due.
    pub(super) fn deadline(&self) -> Option<DateTime<FixedOffset>> {
        let PresenceBatch { joined, left, hold_until } = &self.presence;
        hold_until.filter(|_| joined.count() + left.count() > 0)
    }

    /// Prints the collected presence changes if they are due.
    pub(super) fn tick(&mut self, now: DateTime<FixedOffset>) -> Vec<LineEffect> {
        if self.presence.hold_until.is_some_and(|until| now < until) {
            return Vec::new();
        }
        let hold_until = Some(now + PRESENCE_WINDOW);
        let batch = std::mem::replace(
            &mut self.presence,
            PresenceBatch { hold_until, ..PresenceBatch::default() },
        );
        let lines = format::presence(now, &batch.joined, &batch.left);
        lines.into_iter().map(LineEffect::Print).collect()
    }

    /// The number of requests that were not acknowledged.
    pub(super) fn unacknowledged(&self) -> usize {
        self.failed + self.unanswered.len()
    }

    /// Handles an event of the client.
    pub(super) fn on_event(
        &mut self,
        now: DateTime<FixedOffset>,
        event: ClientEvent,
    ) -> Vec<LineEffect> {
        let mut effects = self.track_answers(&event);
        let follow_up = match &event {
            ClientEvent::Received(Event::Users(_)) => FollowUp::OnlineUsers,
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
        let first_shown = self.state.timeline().oldest().map(|message| message.seq);
        for change in self.state.apply(now, event) {
            effects.extend(match change {
                Change::HistoryLoaded(_) => self.format_recent(now, first_shown),
                Change::SearchResults(results) => self.on_search_results(now, results),
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
                if let Some(LineEffect::Print(notice)) = effects.last_mut() {
                    let seconds = pause.as_millis().div_ceil(1_000);
                    notice.extend(["; reconnecting in ", &seconds.to_string(), " s"]);
                }
            }
            FollowUp::Quit(effect) => effects.push(effect),
            FollowUp::Nothing => {}
        }
        effects
    }

    /// Handles a typed line.
    pub(super) fn on_line(&mut self, now: DateTime<FixedOffset>, typed: &str) -> Vec<LineEffect> {
        if typed.trim().is_empty() {
            return Vec::new();
        }
        let mut effects = self.expire(now);
        let outcome = UserInput::parse(typed).map_err(|error| error.to_string());
        match outcome.and_then(|line| self.execute(now, typed, line)) {
            Ok(more) => effects.extend(more),
            Err(error) => effects.push(LineEffect::PrintError(error)),
        }
        effects
    }

    /// Records that a request could not be queued.
    pub(super) fn not_sent(&mut self, cid: &Cid, error: SendError) -> Option<LineEffect> {
        let typed = self.unanswered.remove(cid)?;
        self.failed += 1;
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
        let cid = self.state.next_cid().ok_or("cannot send more requests: restart the client")?;
        if matches!(request, Request::Post(_)) {
            self.unanswered.insert(cid.clone(), SafeText::clean(typed).one_line());
        } else {
            self.expect_answer(cid.clone(), typed);
        }
        Ok(vec![LineEffect::Send(cid, request)])
    }

    fn post(&self, to: &[String], kind: PostKind, content: SafeText) -> Result<Request, String> {
        let recipients = to
            .iter()
            .map(|word| self.state.resolve(word))
            .collect::<Result<BTreeSet<_>, _>>()
            .map_err(|error| error.to_string())?;
        let audience =
            if recipients.is_empty() { Audience::Everyone } else { Audience::Only(recipients) };
        Ok(Request::Post(Post { audience, kind, content }))
    }

    /// Replies only to messages in the timeline: the audience of other messages is unknown here.
    fn reply(&self, to: MessageId, text: SafeText) -> Result<Post, String> {
        match self.state.timeline().message(to) {
            Some(_) => Ok(self.state.reply(to, text)),
            None => Err(Refusal::UnknownMessage(to).to_string()),
        }
    }

    /// Updates the unanswered requests, and reports those that failed.
    fn track_answers(&mut self, event: &ClientEvent) -> Vec<LineEffect> {
        match event {
            ClientEvent::Received(Event::Users(_)) => self.is_ready = true,
            ClientEvent::Received(Event::Posted(message))
                if self.state.is_own_id(&message.sender) =>
            {
                self.mark_answered(message.cid.as_ref());
            }
            ClientEvent::Received(Event::Deleted(deleted))
                if self.state.is_own_id(&deleted.author) =>
            {
                self.mark_answered(deleted.cid.as_ref());
            }
            ClientEvent::Received(Event::Error(error)) => {
                self.mark_answered(error.cid.as_ref());
            }
            ClientEvent::Received(Event::Stored(stored)) => self.mark_answered(stored.cid.as_ref()),
            ClientEvent::Restored(unsent) => {
                let text = unsent.post.content.one_line();
                self.unanswered.insert(unsent.cid.clone(), text);
            }
            ClientEvent::NotSent { cid, reason } => {
                if let Some(typed) = self.unanswered.remove(cid) {
                    self.failed += 1;
                    return vec![LineEffect::PrintError(format!("{}: {typed}", reason.one_line()))];
                }
            }
            ClientEvent::Disconnected { .. }
            | ClientEvent::Untrusted { .. }
            | ClientEvent::Ended { .. } => {
                self.is_ready = false;
                let lost = std::mem::take(&mut self.not_in_outbox);
                let lost: Vec<String> =
                    lost.iter().filter_map(|cid| self.unanswered.remove(cid)).collect();
                self.failed += lost.len();
                let report = |typed| LineEffect::PrintError(format!("not acknowledged: {typed}"));
                return lost.into_iter().map(report).collect();
            }
            ClientEvent::Connecting
            | ClientEvent::FirstContact(_)
            | ClientEvent::Connected(_)
            | ClientEvent::Received(_)
            | ClientEvent::Sending(_) => {}
        }
        Vec::new()
    }

    /// Adds an unanswered request that is lost with the connection.
    fn expect_answer(&mut self, cid: Cid, typed: &str) {
        self.unanswered.insert(cid.clone(), SafeText::clean(typed).one_line());
        self.not_in_outbox.insert(cid);
    }

    fn mark_answered(&mut self, cid: Option<&Cid>) {
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
            Change::Posted(index) => match timeline.get(index) {
                Some(TimelineEntry::Message(entry)) => {
                    vec![format::message(&self.state, now, &entry.message)]
                }
                Some(TimelineEntry::Presence { .. } | TimelineEntry::Notice { .. }) | None => {
                    Vec::new()
                }
            },
            Change::Removed(id) => timeline
                .message(id)
                .map(|entry| format::tombstone(now, entry))
                .into_iter()
                .collect(),
            Change::Reset
            | Change::PostedOutOfView(_)
            | Change::HistoryLoaded(_)
            | Change::HistoryRefused(_)
            | Change::SearchResults(_) => Vec::new(),
            Change::Presence { joined, left } => {
                self.presence.joined.add(&joined);
                self.presence.left.add(&left);
                return self.tick(now);
            }
            Change::Connection(text) => vec![format::notice(now, &text.one_line())],
            Change::Error(error) => return vec![LineEffect::PrintError(error.text.one_line())],
        };
        lines.into_iter().map(LineEffect::Print).collect()
    }

    /// Requests the recent messages, once.
    fn request_recent(&mut self) -> Option<LineEffect> {
        let is_wanted = self.shows_recent && self.state.needs_recent_history();
        let (cid, request) =
            is_wanted.then(|| self.state.request_history(HistoryRequest::Recent)).flatten()?;
        Some(LineEffect::Send(cid, request))
    }

    /// Formats the recent messages that precede `first_shown`, the first message already printed.
    fn format_recent(
        &self,
        now: DateTime<FixedOffset>,
        first_shown: Option<Seq>,
    ) -> Vec<LineEffect> {
        let newest = self.state.timeline().newest_first();
        let before = newest.filter(|message| first_shown.is_none_or(|first| message.seq < first));
        let mut recent: Vec<_> = before.take(RECENT_MESSAGES).collect();
        recent.reverse();
        let line = |message| LineEffect::Print(format::message(&self.state, now, message));
        recent.into_iter().map(line).collect()
    }

    /// Searches the loaded history, and asks the server to search the rest.
    fn search(
        &mut self,
        now: DateTime<FixedOffset>,
        expression: &str,
    ) -> Result<Vec<LineEffect>, String> {
        let input = SearchInput::parse(expression, false, now, &self.state);
        let mut search = SearchState::new(input, self.state.timeline());
        if let Some(error) = search.error() {
            return Err(format!("{} (at character {})", error.text, error.column + 1));
        }
        if search.regex().is_none() {
            return Err(
                ".search needs a regular expression, such as .search deploy(ed)?".to_owned()
            );
        }
        let query =
            search.input().query.clone().validated().map_err(|refusal| refusal.to_string())?;
        search.search_slice(self.state.timeline(), i64::MAX);
        if self.state.has_full_history() {
            return Ok(self.format_hits(now, &search));
        }
        let cid = self.state.next_cid().ok_or("cannot send more requests: restart the client")?;
        self.expect_answer(cid.clone(), &format!(".search {expression}"));
        self.search = Some(RunningSearch { cid: cid.clone(), search });
        Ok(vec![LineEffect::Send(cid, Request::SearchHistory(query))])
    }

    /// Handles results from the server.
    fn on_search_results(
        &mut self,
        now: DateTime<FixedOffset>,
        results: SearchResults,
    ) -> Vec<LineEffect> {
        let is_done = results.end != SearchEnd::Searching;
        let running = self.search.take_if(|running| Some(&running.cid) == results.cid.as_ref());
        let Some(mut running) = running else { return Vec::new() };
        running.search.add_results(results, self.state.timeline());
        if is_done {
            self.mark_answered(Some(&running.cid));
            return self.format_hits(now, &running.search);
        }
        self.search = Some(running);
        Vec::new()
    }

    fn format_hits(&self, now: DateTime<FixedOffset>, search: &SearchState) -> Vec<LineEffect> {
        let (timeline, hits) = (self.state.timeline(), search.hits());
        let messages = hits.iter().rev().filter_map(|hit| search.message(hit.id, timeline));
        let lines = messages.map(|message| format::message(&self.state, now, message));
        let limit = match search.answer().map(|answer| answer.end) {
            Some(SearchEnd::TooMany) => ", older matches are not shown",
            Some(SearchEnd::TooLong) => ", incomplete: the search took too long",
            Some(SearchEnd::Replaced) => ", incomplete: a newer search replaced this one",
            Some(SearchEnd::Searching | SearchEnd::Complete) | None => "",
        };
        let count = format::notice(now, &format!("{} found{limit}", hits.len()));
        lines.chain([count]).map(LineEffect::Print).collect()
    }
}

/// What to do after [`ChatState`] has applied an event.
enum FollowUp {
    Nothing,
    OnlineUsers,
    Retry(Duration),
    Quit(LineEffect),
}
