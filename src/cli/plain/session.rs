//! The functional core of line mode: events and typed lines go in, lines and requests come out.
//!
//! Pure: no clock, terminal or connection. [`Session`] keeps the conversations; `commands` executes what the
//! user types. Printed lines do not scroll back, so older history is left to `chat tail`.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, FixedOffset, TimeDelta};

use super::format;
use crate::client::state::history::HistoryRequest;
use crate::client::state::search::SearchState;
use crate::client::state::timeline::{EntryIndex, NameList, PRESENCE_WINDOW, TimelineEntry};
use crate::client::state::{Change, Conversation, MessageChange, Session};
use crate::client::{ClientEvent, SendError, executed_request};
use crate::protocol::error::ErrorCode;
use crate::protocol::event::Event;
use crate::protocol::id::{Cid, MessageId, RoomName, Seq, UserId};
use crate::protocol::message::Audience;
use crate::protocol::request::Request;
use crate::protocol::text::SafeText;

/// No input is read while this many requests are unanswered. It is less than the capacity of the client's
/// request queue, so a long file on standard input never fills that queue.
const MAX_UNANSWERED: usize = 32;

/// The number of messages shown after the login. They leave room on a screen of 24 lines.
const RECENT_MESSAGES: usize = 15;

/// How long input waits for the list of conversations. It usually follows the login at once.
const LIST_TIMEOUT: TimeDelta = TimeDelta::seconds(2);

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
    pub(super) state: Session,
    /// What has not arrived since the login and is needed to execute commands.
    missing: MissingLists,
    /// The unanswered requests, as they were typed.
    pub(super) unanswered: BTreeMap<Cid, String>,
    /// The number of requests that will never be answered.
    failed: usize,
    /// Whether to show recent messages when a conversation is opened.
    pub(super) shows_recent: bool,
    /// Whether the unread messages have been counted for the user.
    is_summarized: bool,
    /// The request that creates or joins a room, which is opened then. No input is read before: it is meant
    /// for that room.
    pub(super) entering: Option<Cid>,
    /// The room whose members the user asked for.
    pub(super) listing: Option<RoomName>,
    pub(super) search: Option<Search>,
    /// The requests for unread messages, with their conversations.
    pub(super) unread_pages: BTreeMap<Cid, Audience>,
    /// The conversations of the messages that the last search or thread printed: they can be replied to, and
    /// need not be loaded.
    pub(super) listed: BTreeMap<MessageId, Audience>,
    presence: PresenceBatch,
}

/// Lists that follow a login.
#[derive(Debug)]
struct MissingLists {
    /// `@` mentions need the online users.
    users: bool,
    /// `.to` and the read markers need the conversations.
    conversations: bool,
    /// The request for the conversations.
    cid: Option<Cid>,
    /// Input is read without the conversations from this time on.
    until: Option<DateTime<FixedOffset>>,
}

impl MissingLists {
    const ALL: Self = Self { users: true, conversations: true, cid: None, until: None };
}

/// The last search.
#[derive(Debug)]
pub(super) struct Search {
    /// The unanswered request, if there is one.
    pub(super) cid: Option<Cid>,
    pub(super) state: SearchState,
    /// The oldest match that was printed.
    pub(super) shown_to: Option<Seq>,
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
            missing: MissingLists::ALL,
            unanswered: BTreeMap::new(),
            failed: 0,
            shows_recent,
            is_summarized: false,
            entering: None,
            listing: None,
            search: None,
            unread_pages: BTreeMap::new(),
            listed: BTreeMap::new(),
            presence: PresenceBatch::default(),
        }
    }

    /// Whether a typed line could be sent now.
    pub(super) fn accepts_input(&self) -> bool {
        let is_ready = !self.missing.users && !self.missing.conversations;
        is_ready && self.entering.is_none() && self.unanswered.len() < MAX_UNANSWERED
    }

    /// The number of unanswered requests.
    pub(super) fn unanswered_count(&self) -> usize {
        self.unanswered.len() + usize::from(self.listing.is_some())
    }

    /// When [`Self::tick`] is due.
    pub(super) fn deadline(&self, now: DateTime<FixedOffset>) -> Option<DateTime<FixedOffset>> {
        let PresenceBatch { joined, left, hold_until } = &self.presence;
        let presence = hold_until.filter(|_| joined.count() + left.count() > 0);
        let lists = self.missing.until.filter(|_| self.missing.conversations);
        presence.into_iter().chain(lists).chain(self.state.next_deadline(now)).min()
    }

    /// Does what is due: prints what has expired and the collected presence changes, sends read markers.
    pub(super) fn tick(&mut self, now: DateTime<FixedOffset>) -> Vec<LineEffect> {
        let is_late = self.missing.until.is_some_and(|until| until <= now);
        self.missing.conversations &= !is_late;
        let mut effects = self.expire(now);
        effects.extend(self.print_presence(now));
        effects.extend(self.due_requests(now));
        effects
    }

    pub(super) fn due_requests(&mut self, now: DateTime<FixedOffset>) -> Vec<LineEffect> {
        let due = self.state.take_requests(now);
        let list = due.iter().find(|(_, request)| *request == Request::Conversations);
        if let Some((cid, _)) = list {
            self.missing.cid = Some(cid.clone());
        }
        due.into_iter().map(|(cid, request)| LineEffect::Send(cid, request)).collect()
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
        effects.extend(self.expire(now));
        effects.extend(self.format_event(now, &event));
        let follow_up = self.follow_up(&event);
        let open = self.state.open_audience().clone();
        let first_shown = self.state.opened().timeline().oldest().map(|message| message.seq);
        for change in self.state.apply(now, event) {
            effects.extend(match change {
                Change::HistoryLoaded(audience, _) if audience == *self.state.open_audience() => {
                    self.format_recent(now, first_shown)
                }
                Change::SearchResults(results) => self.on_search_results(now, results),
                change => self.format_change(now, change),
            });
        }
        if *self.state.open_audience() != open {
            // The open room was left.
            effects.push(LineEffect::Print(format::destination(now, &self.state)));
        }
        match follow_up {
            FollowUp::OnlineUsers => {
                self.presence = PresenceBatch::default();
                self.missing.until = Some(now + LIST_TIMEOUT);
                effects.push(LineEffect::Print(format::online_users(now, &self.state)));
                effects.extend(self.request_recent());
            }
            FollowUp::Summary => effects.extend(self.summarize_unread(now)),
            FollowUp::Enter(room) => effects.extend(self.open(now, &Audience::Room(room))),
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

    fn follow_up(&mut self, event: &ClientEvent) -> FollowUp {
        match event {
            ClientEvent::Received(Event::Users(_)) => FollowUp::OnlineUsers,
            ClientEvent::Received(Event::Conversations(list)) if !list.has_more => {
                FollowUp::Summary
            }
            ClientEvent::Received(event) => self.entered_room(event),
            ClientEvent::Disconnected { retry_in, .. } => FollowUp::Retry(*retry_in),
            ClientEvent::Ended { reason } => FollowUp::Quit(LineEffect::Refused(reason.clone())),
            ClientEvent::Untrusted { reason } => {
                FollowUp::Quit(LineEffect::Untrusted(reason.clone()))
            }
            ClientEvent::Connecting
            | ClientEvent::FirstContact(_)
            | ClientEvent::Connected(_)
            | ClientEvent::Restored(_)
            | ClientEvent::Sending(_)
            | ClientEvent::NotSent { .. } => FollowUp::Nothing,
        }
    }

    /// Whether an event answers the request that creates or joins a room.
    fn entered_room(&mut self, event: &Event) -> FollowUp {
        let (cid, room) = match event {
            Event::RoomChanged(changed) => (&changed.cid, Some(changed.room.clone())),
            Event::Stored(stored) => (&stored.cid, None),
            Event::Error(error) => (&error.cid, None),
            _ => return FollowUp::Nothing,
        };
        match self.entering.take_if(|entering| cid.as_ref() == Some(entering)) {
            Some(_) => room.map_or(FollowUp::Nothing, FollowUp::Enter),
            None => FollowUp::Nothing,
        }
    }

    /// Counts the unread messages for the user, once.
    fn summarize_unread(&mut self, now: DateTime<FixedOffset>) -> Option<LineEffect> {
        if std::mem::replace(&mut self.is_summarized, true) {
            return None;
        }
        format::unread_summary(now, &self.state).map(LineEffect::Print)
    }

    /// Opens a conversation: text goes there from now on.
    pub(super) fn open(
        &mut self,
        now: DateTime<FixedOffset>,
        audience: &Audience,
    ) -> Vec<LineEffect> {
        self.state.open(audience);
        let notice = format::destination(now, &self.state);
        let recent = self.request_recent();
        std::iter::once(LineEffect::Print(notice)).chain(recent).collect()
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
        self.forget_query(cid);
        let typed = self.unanswered.remove(cid)?;
        self.failed += 1;
        Some(LineEffect::PrintError(format!("not sent ({error}): {typed}")))
    }

    /// Updates the unanswered requests, and reports those that failed.
    fn track_answers(&mut self, event: &ClientEvent) -> Vec<LineEffect> {
        match event {
            ClientEvent::Received(event) => {
                self.track_lists(event);
                let is_own = |user: &UserId| self.state.is_own_id(user);
                let executed = executed_request(event, is_own).cloned();
                self.mark_answered(executed.as_ref());
                // What the server could not store is sent again.
                match event {
                    Event::Error(error) if error.code != ErrorCode::NotStored => {
                        self.mark_answered(error.cid.as_ref());
                    }
                    Event::NotifySet(setting) => self.mark_answered(setting.cid.as_ref()),
                    Event::History(page) => self.mark_answered(page.cid.as_ref()),
                    Event::Rooms(list) => self.mark_answered(list.cid.as_ref()),
                    _ => {}
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
                self.missing = MissingLists::ALL;
                self.search.take_if(|search| search.cid.is_some());
                self.listing = None;
                self.unread_pages.clear();
            }
            ClientEvent::Connecting
            | ClientEvent::FirstContact(_)
            | ClientEvent::Connected(_)
            | ClientEvent::Sending(_) => {}
        }
        Vec::new()
    }

    fn track_lists(&mut self, event: &Event) {
        match event {
            Event::Users(_) => self.missing.users = false,
            Event::Conversations(list) => self.missing.conversations &= list.has_more,
            Event::Error(error) if error.cid.is_some() && error.cid == self.missing.cid => {
                self.missing.conversations = false;
            }
            _ => {}
        }
    }

    pub(super) fn expect_answer(&mut self, cid: Cid, typed: &str) {
        self.unanswered.insert(cid, SafeText::clean(typed).one_line());
    }

    pub(super) fn mark_answered(&mut self, cid: Option<&Cid>) {
        if let Some(cid) = cid {
            self.unanswered.remove(cid);
        }
    }

    pub(super) fn expire(&mut self, now: DateTime<FixedOffset>) -> Vec<LineEffect> {
        let changes = self.state.expire(now);
        changes.into_iter().flat_map(|change| self.format_change(now, change)).collect()
    }

    fn format_change(&mut self, now: DateTime<FixedOffset>, change: Change) -> Vec<LineEffect> {
        if let (Some(search), Change::Message { id, change, .. }) = (&mut self.search, &change) {
            search.state.on_message_changed(*id, *change, &self.state);
        }
        let lines = match change {
            Change::Posted { conversation, index, .. } => {
                self.format_posted(now, &conversation, index).into_iter().collect()
            }
            Change::Message {
                id, change: MessageChange::Removed | MessageChange::Expired, ..
            } => {
                let entry = self.state.message(id);
                let line = entry.map(|entry| format::tombstone(&self.state, now, entry));
                line.into_iter().collect()
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
            Change::Refused { cid, reason } => return self.on_refused(&cid, &reason),
            Change::Lookup(page) => self.on_lookup(now, &page),
            Change::Rooms(list) => return self.on_rooms(now, list),
            Change::Conversation(audience) => self.format_members(now, &audience),
            // The event was printed.
            Change::Message {
                change: MessageChange::Edited | MessageChange::Reacted | MessageChange::Pinned,
                ..
            }
            | Change::AddedToRoom { .. }
            | Change::ConversationRemoved(_)
            | Change::Reset(_)
            | Change::HistoryLoaded(..)
            | Change::HistoryFailed(..)
            | Change::Typing(_)
            | Change::Directory
            | Change::SearchResults(_) => Vec::new(),
        };
        lines.into_iter().map(LineEffect::Print).collect()
    }

    fn print_error(&mut self, cid: Option<&Cid>, text: &SafeText) -> Vec<LineEffect> {
        if let Some(cid) = cid {
            self.state.take_failed(cid);
        }
        vec![LineEffect::PrintError(text.one_line())]
    }

    fn forget_query(&mut self, cid: &Cid) {
        self.search.take_if(|search| search.cid.as_ref() == Some(cid));
        self.unread_pages.remove(cid);
    }

    /// Reports a query or a setting that was refused, or lost with the connection.
    fn on_refused(&mut self, cid: &Cid, reason: &SafeText) -> Vec<LineEffect> {
        self.forget_query(cid);
        let text = match self.unanswered.remove(cid) {
            Some(typed) => {
                self.failed += 1;
                format!("not acknowledged: {typed}")
            }
            None => reason.one_line(),
        };
        vec![LineEffect::PrintError(text)]
    }

    /// Formats an event that changes a message or a room.
    fn format_event(&self, now: DateTime<FixedOffset>, event: &ClientEvent) -> Option<LineEffect> {
        let ClientEvent::Received(event) = event else { return None };
        format::change(&self.state, now, event).map(LineEffect::Print)
    }

    /// Formats the members of a room if the user asked for them and all are loaded.
    fn format_members(&mut self, now: DateTime<FixedOffset>, audience: &Audience) -> Vec<String> {
        let members = self.state.conversation(audience).and_then(Conversation::members);
        let Some(members) = members.filter(|members| members.is_complete) else {
            return Vec::new();
        };
        match self.listing.take_if(|listing| audience.room() == Some(listing)) {
            Some(_) => vec![format::members(now, &self.state, audience, &members.users)],
            None => Vec::new(),
        }
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
        let (seq, is_own) = (entry.message.seq, self.state.is_own_id(&entry.message.sender));
        // Unread messages that were not printed stay unread.
        let unread = self.state.conversation(conversation)?.unread();
        if self.state.is_listed() && unread <= u32::from(!is_own) {
            self.state.mark_displayed(conversation, seq);
        }
        Some(line)
    }

    /// Requests the recent messages, once.
    pub(super) fn request_recent(&mut self) -> Option<LineEffect> {
        let is_wanted = self.shows_recent && self.state.opened().needs_recent();
        let open = self.state.open_audience().clone();
        let request = || self.state.request_history(&open, HistoryRequest::Recent);
        let (cid, request) = is_wanted.then(request).flatten()?;
        Some(LineEffect::Send(cid, request))
    }

    /// Formats the recent messages of the open conversation that precede `first_shown`, the first message
    /// already printed: all unread ones, and some before them.
    fn format_recent(
        &mut self,
        now: DateTime<FixedOffset>,
        first_shown: Option<Seq>,
    ) -> Vec<LineEffect> {
        let open = self.state.opened();
        let wanted = RECENT_MESSAGES.max(open.unread() as usize);
        let newest = open.timeline().newest_first();
        let before = newest.filter(|message| first_shown.is_none_or(|first| message.seq < first));
        let mut recent: Vec<_> = before.take(wanted).collect();
        recent.reverse();
        let lines = recent.into_iter().map(|message| format::message(&self.state, now, message));
        let lines: Vec<LineEffect> = lines.map(LineEffect::Print).collect();
        let (audience, last) = (self.state.open_audience().clone(), open.timeline().newest());
        self.state.mark_displayed(&audience, last);
        lines
    }
}

/// What to do after [`Session`] has applied an event.
enum FollowUp {
    Nothing,
    OnlineUsers,
    Summary,
    Enter(RoomName),
    Retry(Duration),
    Quit(LineEffect),
}
