//! What the user types in line mode, executed.

use std::collections::BTreeSet;

use chrono::{DateTime, FixedOffset};

use super::format;
use super::session::{LineEffect, LineSession, Search};
use crate::client::input::{ChatCommand, CommandError, DOT_COMMANDS, DotCommand, UserInput};
use crate::client::state::search::SearchState;
use crate::client::state::search_input::SearchInput;
use crate::protocol::error::Refusal;
use crate::protocol::event::{HistoryPage, SearchEnd, SearchResults};
use crate::protocol::id::{Cid, MessageId, Seq};
use crate::protocol::message::{Audience, Message};
use crate::protocol::query::HistoryRange;
use crate::protocol::request::{Post, PostKind, Request};
use crate::protocol::room::RoomList;
use crate::protocol::text::SafeText;

/// Matches that are printed at a time. They leave room on a screen of 24 lines.
const MATCHES_PER_PAGE: usize = 20;

/// Shown for a query without a connection.
const NOT_CONNECTED: &str = "not connected: try again later";

/// Shown when all `cid`s are used up.
const NO_MORE_REQUESTS: &str = "cannot send more requests: restart the client";

impl LineSession {
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

    fn execute(
        &mut self,
        now: DateTime<FixedOffset>,
        typed: &str,
        line: UserInput,
    ) -> Result<Vec<LineEffect>, String> {
        match line {
            UserInput::Post { to, text } => self.post(now, typed, &to, PostKind::Plain, text),
            UserInput::Temporary { seconds, to, text } => {
                self.post(now, typed, &to, PostKind::Temporary { seconds }, text)
            }
            UserInput::Reply { text, .. } if text.is_blank() => {
                Err(CommandError::Empty(".reply MESSAGE_ID").to_string())
            }
            UserInput::Reply { to, text } => {
                // The audience of other messages is unknown here.
                let audience =
                    self.state.reply_audience(to).or_else(|| self.listed.get(&to).cloned());
                let audience = audience.ok_or_else(|| Refusal::UnknownMessage(to).to_string())?;
                let kind = PostKind::Reply { to };
                let sent = self.state.post(now, Post { audience, kind, content: text });
                Ok(self.send_all(typed, [sent.ok_or(NO_MORE_REQUESTS)?]))
            }
            UserInput::Delete(id) => {
                let sent = self.state.change(Request::Delete(id));
                Ok(self.send_all(typed, [sent.ok_or(NO_MORE_REQUESTS)?]))
            }
            UserInput::Change(command) => self.change(now, typed, command),
            UserInput::Open(destination) => {
                let audience = self.state.destination(destination);
                Ok(self.open(now, &audience.map_err(|error| error.to_string())?))
            }
            UserInput::Search(expression) if expression.is_empty() => self.search_on(now, typed),
            UserInput::Search(expression) => self.search(now, &expression),
            UserInput::Unread => self.show_unread(now, typed),
            UserInput::Quiet(hide) => {
                self.state.hide_presence(hide);
                let text = if hide { "hidden" } else { "shown" };
                let line = format::notice(now, &format!("who joins and leaves is {text}"));
                Ok(vec![LineEffect::Print(line)])
            }
            UserInput::Thread(id) => self.thread(typed, id),
            UserInput::Pins => {
                let open = self.state.open_audience().clone();
                let sent = self.state.look_up(&open, HistoryRange::Pinned);
                Ok(self.send_all(typed, [sent.ok_or(NOT_CONNECTED)?]))
            }
            UserInput::Rooms => self.list_rooms(now, typed),
            UserInput::People => Ok(self.list_people(now)),
            UserInput::Help => Ok(help(now)),
            UserInput::Exit => Ok(vec![LineEffect::Quit]),
        }
    }

    fn post(
        &mut self,
        now: DateTime<FixedOffset>,
        typed: &str,
        to: &[String],
        kind: PostKind,
        content: SafeText,
    ) -> Result<Vec<LineEffect>, String> {
        let recipients = to
            .iter()
            .map(|word| self.state.resolve(word))
            .collect::<Result<BTreeSet<_>, _>>()
            .map_err(|error| error.to_string())?;
        let audience = if recipients.is_empty() {
            self.state.open_audience().clone()
        } else {
            Audience::Only(recipients)
        };
        let sent = self.state.post(now, Post { audience, kind, content });
        Ok(self.send_all(typed, [sent.ok_or(NO_MORE_REQUESTS)?]))
    }

    /// Executes a command that changes something on the server.
    fn change(
        &mut self,
        now: DateTime<FixedOffset>,
        typed: &str,
        command: ChatCommand,
    ) -> Result<Vec<LineEffect>, String> {
        let enters = matches!(command, ChatCommand::Create { .. } | ChatCommand::Join(_));
        let sent = self.state.execute(now, command).map_err(|error| error.to_string())?;
        self.entering = sent.first().filter(|_| enters).map(|(cid, _)| cid.clone());
        Ok(self.send_all(typed, sent))
    }

    /// Sends requests whose answers are awaited.
    fn send_all(
        &mut self,
        typed: &str,
        requests: impl IntoIterator<Item = (Cid, Request)>,
    ) -> Vec<LineEffect> {
        let mut effects = Vec::new();
        for (cid, request) in requests {
            self.expect_answer(cid.clone(), typed);
            effects.push(LineEffect::Send(cid, request));
        }
        effects
    }

    fn thread(&mut self, typed: &str, id: MessageId) -> Result<Vec<LineEffect>, String> {
        let audience = self.state.reply_audience(id);
        let audience = audience.unwrap_or_else(|| self.state.open_audience().clone());
        let sent = self.state.look_up(&audience, HistoryRange::Thread(id));
        Ok(self.send_all(typed, [sent.ok_or(NOT_CONNECTED)?]))
    }

    /// Lists the own conversations, and asks for the public rooms.
    fn list_rooms(
        &mut self,
        now: DateTime<FixedOffset>,
        typed: &str,
    ) -> Result<Vec<LineEffect>, String> {
        let sent = self.state.list_rooms(None).ok_or(NOT_CONNECTED)?;
        let own = self.state.conversations().map(|(audience, one)| {
            LineEffect::Print(format::listed_conversation(now, &self.state, audience, one))
        });
        let mut effects: Vec<LineEffect> = own.collect();
        effects.extend(self.send_all(typed, [sent]));
        Ok(effects)
    }

    /// Handles a page of the public rooms.
    pub(super) fn on_rooms(
        &mut self,
        now: DateTime<FixedOffset>,
        list: RoomList,
    ) -> Vec<LineEffect> {
        let is_member = |room| self.state.conversation(&Audience::Room(room)).is_some();
        let others = list.rooms.iter().filter(|(room, _)| !is_member(room.clone()));
        let lines = others
            .map(|(room, state)| format::notice(now, &format::listed_room(room, state, None)));
        let mut effects: Vec<LineEffect> = lines.map(LineEffect::Print).collect();
        let end = list.rooms.into_iter().next_back().filter(|_| list.has_more);
        if let Some((cid, request)) = end.and_then(|(room, _)| self.state.list_rooms(Some(room))) {
            self.expect_answer(cid.clone(), ".rooms");
            effects.push(LineEffect::Send(cid, request));
        }
        effects
    }

    fn list_people(&mut self, now: DateTime<FixedOffset>) -> Vec<LineEffect> {
        let line = match self.state.open_audience().clone() {
            Audience::Everyone => format::online_users(now, &self.state),
            Audience::Only(users) => format::participants(now, &self.state, &users),
            Audience::Room(room) => {
                self.state.load_members(&room);
                self.listing = Some(room);
                return self.due_requests(now);
            }
        };
        vec![LineEffect::Print(line)]
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
        let query =
            search.input().query.clone().validated().map_err(|refusal| refusal.to_string())?;
        search.search_slice(&self.state, i64::MAX);
        if search.is_local(&self.state) {
            let lines = self.show_hits(now, None, search);
            return Ok(lines);
        }
        let (cid, request) = self.state.search(query).ok_or(NOT_CONNECTED)?;
        self.expect_answer(cid.clone(), &format!(".search {expression}"));
        self.search = Some(Search { cid: Some(cid.clone()), state: search, shown_to: None });
        Ok(vec![LineEffect::Send(cid, request)])
    }

    /// Shows the older matches of the last search.
    fn search_on(
        &mut self,
        now: DateTime<FixedOffset>,
        typed: &str,
    ) -> Result<Vec<LineEffect>, String> {
        let Some(mut search) = self.search.take() else {
            return Err("no search to continue: start one, as in .search deploy(ed)?".to_owned());
        };
        let is_left = search.state.hits().last().map(|hit| hit.seq) < search.shown_to;
        if search.cid.is_none() && !is_left && search.state.has_more() {
            let query = search.state.take_next_page();
            let sent = query.and_then(|query| self.state.search(query));
            let Some((cid, request)) = sent else {
                self.search = Some(search);
                return Err(NOT_CONNECTED.to_owned());
            };
            self.expect_answer(cid.clone(), typed);
            self.search = Some(Search { cid: Some(cid.clone()), ..search });
            return Ok(vec![LineEffect::Send(cid, request)]);
        }
        if search.cid.is_some() {
            self.search = Some(search);
            return Err("the search is still running: wait for its matches".to_owned());
        }
        Ok(self.show_hits(now, search.shown_to, search.state))
    }

    /// Handles results from the server.
    pub(super) fn on_search_results(
        &mut self,
        now: DateTime<FixedOffset>,
        results: SearchResults,
    ) -> Vec<LineEffect> {
        let is_done = results.end != SearchEnd::Searching;
        let running = self.search.take_if(|one| one.cid.is_some() && one.cid == results.cid);
        let Some(mut running) = running else { return Vec::new() };
        running.state.add_results(results, &self.state);
        if is_done {
            self.mark_answered(running.cid.as_ref());
            return self.show_hits(now, running.shown_to, running.state);
        }
        self.search = Some(running);
        Vec::new()
    }

    /// Shows the next page of matches: those before `shown_to`, the latest last.
    fn show_hits(
        &mut self,
        now: DateTime<FixedOffset>,
        shown_to: Option<Seq>,
        mut search: SearchState,
    ) -> Vec<LineEffect> {
        search.expire(self.state.server_time(now));
        let readable = search.hits().iter().filter_map(|hit| search.message(hit, &self.state));
        let readable: Vec<&Message> = readable.collect();
        let is_shown = |message: &&&Message| shown_to.is_some_and(|to| message.seq >= to);
        let from = readable.iter().take_while(is_shown).count();
        let page = readable.iter().skip(from).take(MATCHES_PER_PAGE);
        let page: Vec<Message> = page.rev().map(|message| (*message).clone()).collect();
        let text = page_text(&search, from, page.len(), readable.len());
        let shown_to = page.first().map(|oldest| oldest.seq).or(shown_to);
        let lines = self.format_list(now, &page);
        self.search = Some(Search { cid: None, state: search, shown_to });
        let count = format::notice(now, &text);
        lines.into_iter().chain([count]).map(LineEffect::Print).collect()
    }

    /// Asks for the unread messages of all conversations.
    fn show_unread(
        &mut self,
        now: DateTime<FixedOffset>,
        typed: &str,
    ) -> Result<Vec<LineEffect>, String> {
        if !self.state.is_online() {
            return Err(NOT_CONNECTED.to_owned());
        }
        let unread = self.state.conversations().filter(|(_, one)| one.unread() > 0);
        let unread: Vec<(Audience, Seq)> =
            unread.map(|(audience, one)| (audience.clone(), one.marker())).collect();
        if unread.is_empty() {
            return Ok(vec![LineEffect::Print(format::notice(now, "nothing is unread"))]);
        }
        self.listed.clear();
        let mut effects = Vec::new();
        for (audience, marker) in unread {
            let sent = self.state.look_up(&audience, HistoryRange::After(marker));
            let (cid, request) = sent.ok_or(NOT_CONNECTED)?;
            self.unread_pages.insert(cid.clone(), audience);
            effects.extend(self.send_all(typed, [(cid, request)]));
        }
        Ok(effects)
    }

    /// Handles messages that were looked up: a thread, pins, or unread messages, which count as displayed.
    pub(super) fn on_lookup(
        &mut self,
        now: DateTime<FixedOffset>,
        page: &HistoryPage,
    ) -> Vec<String> {
        let unread = page.cid.as_ref().and_then(|cid| self.unread_pages.remove(cid));
        let Some(audience) = unread else {
            let lines = self.format_list(now, &page.messages);
            let count = format::notice(now, &format!("{} shown", page.messages.len()));
            return lines.into_iter().chain([count]).collect();
        };
        let earlier = std::mem::take(&mut self.listed);
        let mut lines = self.format_list(now, &page.messages);
        self.listed.extend(earlier);
        if let Some(last) = page.messages.last() {
            self.state.mark_displayed(&audience, last.seq);
        }
        if page.has_later {
            lines.push(format::notice_in(
                &self.state,
                now,
                &audience,
                "more is unread: .unread shows it",
            ));
        }
        lines
    }

    /// Formats messages that the user asked for, to which the user can reply then.
    pub(super) fn format_list(
        &mut self,
        now: DateTime<FixedOffset>,
        messages: &[Message],
    ) -> Vec<String> {
        let conversation = |message: &Message| (message.id, self.state.conversation_of(message));
        self.listed = messages.iter().map(conversation).collect();
        messages.iter().map(|message| format::message(&self.state, now, message)).collect()
    }
}

/// The line below a page of matches: how many there are, and how to see more.
fn page_text(search: &SearchState, from: usize, shown: usize, count: usize) -> String {
    let limit = match search.answer().map(|answer| answer.end) {
        Some(SearchEnd::TooLong) => ", incomplete: the search took too long",
        Some(SearchEnd::Replaced) => ", incomplete: a newer search replaced this one",
        Some(SearchEnd::TooMany | SearchEnd::Searching | SearchEnd::Complete) | None => "",
    };
    let more = if search.has_more() { "+" } else { "" };
    if from + shown < count || search.has_more() {
        let (first, last) = (from + 1, from + shown);
        format!("{first} to {last} of {count}{more} found{limit} (.search shows older ones)")
    } else if from > 0 && shown == 0 {
        format!("no older match: {count} found{limit}")
    } else if from > 0 {
        format!("{} to {count} of {count} found{limit}", from + 1)
    } else {
        format!("{count} found{limit}")
    }
}

fn help(now: DateTime<FixedOffset>) -> Vec<LineEffect> {
    let line = |command: &DotCommand| {
        let typed = format!("{} {}", command.name, command.arguments);
        LineEffect::Print(format::notice(now, &format!("{}: {}", typed.trim_end(), command.about)))
    };
    let recipients = "@ID… text: send a direct message";
    std::iter::once(LineEffect::Print(format::notice(now, recipients)))
        .chain(DOT_COMMANDS.iter().map(line))
        .collect()
}
