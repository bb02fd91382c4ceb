//! The functional core of line mode: events and typed lines go in, lines and requests come out.
//!
//! Pure: no clock, terminal or connection. [`Session`] keeps the conversation. Printed lines do not
//! scroll back, so older history is left to `chat tail`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, FixedOffset};

use super::format;
use crate::client::input::{CommandError, UserInput};
use crate::client::state::history::HistoryRequest;
use crate::client::state::search::SearchState;
use crate::client::state::search_input::SearchInput;
use crate::client::state::timeline::{
    EntryIndex, NameList, PRESENCE_WINDOW, TimelineEntry, TimelineMessage,
};
use crate::client::state::{Change, MessageChange, Session};
use crate::client::{ClientEvent, SendError, executed_request};
use crate::protocol::error::{ErrorCode, Refusal};
use crate::protocol::event::{Event, SearchEnd, SearchResults};
use crate::protocol::id::{Cid, MessageId, Seq, UserId};
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
    state: Session,
    /// Whether the user list has arrived since the login. `@` mentions need it.
    is_ready: bool,
    /// The unanswered requests, as they were typed.
    unanswered: BTreeMap<Cid, String>,
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
    /// Creates the state before the login. See [`Session::new`] for `cid_prefix`.
    pub(super) fn new(cid_prefix: &str, shows_recent: bool) -> Self {
        Self {
            state: Session::new(cid_prefix),
            is_ready: false,
            unanswered: BTreeMap::new(),
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
    pub(super) fn deadline(&self, now: DateTime<FixedOffset>) -> Option<DateTime<FixedOffset>> {
        let PresenceBatch { joined, left, hold_until } = &self.presence;
        let presence = hold_until.filter(|_| joined.count() + left.count() > 0);
        presence.into_iter().chain(self.state.next_deadline(now)).min()
    }

    /// Does what is due: prints what has expired and the collected presence changes, sends read markers.
    pub(super) fn tick(&mut self, now: DateTime<FixedOffset>) -> Vec<LineEffect> {
        let mut effects = self.expire(now);
        effects.extend(self.print_presence(now));
        effects.extend(self.due_requests(now));
        effects
    }

    fn due_requests(&mut self, now: DateTime<FixedOffset>) -> impl Iterator<Item = LineEffect> {
        let due = self.state.take_requests(now).into_iter();
        due.map(|(cid, request)| LineEffect::Send(cid, request))
    }

    /// Prints the collected presence changes if they are due.
    fn print_presence(&mut self, now: DateTime<FixedOffset>) -> Vec<LineEffect> {
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
        let first_shown = self.state.opened().timeline().oldest().map(|message| message.seq);
        for change in self.state.apply(now, event) {
            effects.extend(match change {
                Change::HistoryLoaded(..) => self.format_recent(now, first_shown),
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
        effects.extend(self.due_requests(now));
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
    pub(super) fn not_sent(
        &mut self,
        now: DateTime<FixedOffset>,
        cid: &Cid,
        error: SendError,
    ) -> Option<LineEffect> {
        self.state.not_sent(now, cid, SafeText::clean(&error.to_string()));
        self.state.take_failed(cid);
        self.search.take_if(|search| search.cid == *cid);
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
            UserInput::Change(command) => {
                let sent = self.state.execute(now, command).map_err(|error| error.to_string())?;
                for (cid, _) in &sent {
                    self.expect_answer(cid.clone(), typed);
                }
                return Ok(sent
                    .into_iter()
                    .map(|(cid, request)| LineEffect::Send(cid, request))
                    .collect());
            }
            UserInput::Open(destination) => {
                let audience = self.state.destination(destination);
                self.state.open(&audience.map_err(|error| error.to_string())?);
                return Ok(Vec::new());
            }
            UserInput::Help
            | UserInput::Rooms
            | UserInput::People
            | UserInput::Thread(_)
            | UserInput::Pins => {
                return Err("this command works only on the full screen".to_owned());
            }
        };
        let sent = match request {
            Request::Post(post) => self.state.post(now, post),
            change => self.state.change(change),
        };
        let (cid, request) = sent.ok_or("cannot send more requests: restart the client")?;
        self.expect_answer(cid.clone(), typed);
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

    /// Replies only to loaded messages: the audience of other messages is unknown here.
    fn reply(&self, to: MessageId, text: SafeText) -> Result<Post, String> {
        self.state.reply(to, text).ok_or_else(|| Refusal::UnknownMessage(to).to_string())
    }

    /// Updates the unanswered requests, and reports those that failed.
    fn track_answers(&mut self, event: &ClientEvent) -> Vec<LineEffect> {
        match event {
            ClientEvent::Received(event) => {
                self.is_ready |= matches!(event, Event::Users(_));
                let is_own = |user: &UserId| self.state.is_own_id(user);
                let executed = executed_request(event, is_own).cloned();
                self.mark_answered(executed.as_ref());
                // What the server could not store is sent again.
                if let Event::Error(error) = event
                    && error.code != ErrorCode::NotStored
                {
                    self.mark_answered(error.cid.as_ref());
                }
            }
            ClientEvent::Restored(unsent) => {
                let text = match &unsent.request {
                    Request::Post(post) => post.content.one_line(),
                    _ => "an unsent change".to_owned(),
                };
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
                // Everything else is sent again.
                let lost = self.search.take();
                let lost = lost.and_then(|search| self.unanswered.remove(&search.cid));
                self.failed += usize::from(lost.is_some());
                let report = |typed| LineEffect::PrintError(format!("not acknowledged: {typed}"));
                return lost.into_iter().map(report).collect();
            }
            ClientEvent::Connecting
            | ClientEvent::FirstContact(_)
            | ClientEvent::Connected(_)
            | ClientEvent::Sending(_) => {}
        }
        Vec::new()
    }

    fn expect_answer(&mut self, cid: Cid, typed: &str) {
        self.unanswered.insert(cid, SafeText::clean(typed).one_line());
    }

    fn mark_answered(&mut self, cid: Option<&Cid>) {
        if let Some(cid) = cid {
            self.unanswered.remove(cid);
        }
    }

    fn expire(&mut self, now: DateTime<FixedOffset>) -> Vec<LineEffect> {
        let changes = self.state.expire(now);
        changes.into_iter().flat_map(|change| self.format_change(now, change)).collect()
    }

    fn format_change(&mut self, now: DateTime<FixedOffset>, change: Change) -> Vec<LineEffect> {
        let lines = match change {
            Change::Posted { conversation, index, .. } => {
                self.format_posted(now, &conversation, index).into_iter().collect()
            }
            Change::Message { id, change, .. } => {
                let entry = self.state.message(id);
                entry
                    .and_then(|entry| self.format_changed(now, entry, change))
                    .into_iter()
                    .collect()
            }
            Change::Presence { joined, left } => {
                self.presence.joined.add(&joined);
                self.presence.left.add(&left);
                return self.print_presence(now);
            }
            Change::Connection(text) => vec![format::notice(now, &text.one_line())],
            Change::Error(error) => return self.print_error(error.cid.as_ref(), &error.text),
            Change::Failed { change, reason } => {
                return self.print_error(Some(&change.cid), &reason);
            }
            // Without a connection, that it was lost has been printed.
            Change::Refused { cid, reason } if self.state.is_online() => {
                self.search.take_if(|search| search.cid == cid);
                return self.print_error(Some(&cid), &reason);
            }
            Change::Refused { .. }
            | Change::Reset(_)
            | Change::HistoryLoaded(..)
            | Change::HistoryFailed(..)
            | Change::Thread(_)
            | Change::Conversation(_)
            | Change::ConversationRemoved(_)
            | Change::Typing(_)
            | Change::Directory
            | Change::SearchResults(_)
            | Change::Rooms(_) => Vec::new(),
        };
        lines.into_iter().map(LineEffect::Print).collect()
    }

    fn print_error(&mut self, cid: Option<&Cid>, text: &SafeText) -> Vec<LineEffect> {
        if let Some(cid) = cid {
            self.state.take_failed(cid);
        }
        vec![LineEffect::PrintError(text.one_line())]
    }

    /// Formats a new message, which counts as displayed.
    fn format_posted(
        &mut self,
        now: DateTime<FixedOffset>,
        conversation: &Audience,
        index: EntryIndex,
    ) -> Option<String> {
        let timeline = self.state.conversation(conversation)?.live_timeline();
        let Some(TimelineEntry::Message(entry)) = timeline.get(index) else { return None };
        let line = format::message(&self.state, now, &entry.message);
        let seq = entry.message.seq;
        self.state.mark_displayed(conversation, seq);
        Some(line)
    }

    fn format_changed(
        &self,
        now: DateTime<FixedOffset>,
        entry: &TimelineMessage,
        change: MessageChange,
    ) -> Option<String> {
        match change {
            MessageChange::Removed | MessageChange::Expired => Some(format::tombstone(now, entry)),
            MessageChange::Edited => Some(format::message(&self.state, now, &entry.message)),
            MessageChange::Reacted | MessageChange::Pinned => None,
        }
    }

    /// Requests the recent messages, once.
    fn request_recent(&mut self) -> Option<LineEffect> {
        let is_wanted = self.shows_recent && self.state.opened().needs_recent();
        let open = self.state.open_audience().clone();
        let request = || self.state.request_history(&open, HistoryRequest::Recent);
        let (cid, request) = is_wanted.then(request).flatten()?;
        Some(LineEffect::Send(cid, request))
    }

    /// Formats the recent messages that precede `first_shown`, the first message already printed.
    fn format_recent(
        &self,
        now: DateTime<FixedOffset>,
        first_shown: Option<Seq>,
    ) -> Vec<LineEffect> {
        let newest = self.state.opened().timeline().newest_first();
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
        let mut search = SearchState::new(input);
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
        search.search_slice(&self.state, i64::MAX);
        if search.is_local(&self.state) {
            return Ok(self.format_hits(now, &search));
        }
        let (cid, request) = self.state.search(query).ok_or("not connected: try again later")?;
        self.expect_answer(cid.clone(), &format!(".search {expression}"));
        self.search = Some(RunningSearch { cid: cid.clone(), search });
        Ok(vec![LineEffect::Send(cid, request)])
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
        running.search.add_results(results, &self.state);
        if is_done {
            self.mark_answered(Some(&running.cid));
            return self.format_hits(now, &running.search);
        }
        self.search = Some(running);
        Vec::new()
    }

    fn format_hits(&self, now: DateTime<FixedOffset>, search: &SearchState) -> Vec<LineEffect> {
        let hits = search.hits();
        let messages = hits.iter().rev().filter_map(|hit| search.message(hit, &self.state));
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

/// What to do after [`Session`] has applied an event.
enum FollowUp {
    Nothing,
    OnlineUsers,
    Retry(Duration),
    Quit(LineEffect),
}
