//! What was said before, in lines: the recent part of it at the login, and searches.
//!
//! The rest is for `chat tail`: lines that were printed do not scroll back.

use chrono::{DateTime, FixedOffset};

use super::format;
use super::session::{LineEffect, LineSession};
use crate::client::state::history::HistoryRequest;
use crate::client::state::search::SearchState;
use crate::client::state::search_input::SearchInput;
use crate::protocol::event::{SearchEnd, SearchResults};
use crate::protocol::id::{Cid, Seq};
use crate::protocol::request::Request;

/// How many messages are shown at the login: a screen that leaves room for what comes.
const RECENT_MESSAGES: usize = 15;

/// A search that the server has not finished.
#[derive(Debug)]
pub(super) struct RunningSearch {
    pub(super) cid: Cid,
    search: SearchState,
}

impl LineSession {
    /// Asks for what was said last, once.
    pub(super) fn request_recent(&mut self) -> Option<LineEffect> {
        let is_wanted = self.shows_recent && self.state.needs_recent_history();
        let (cid, request) =
            is_wanted.then(|| self.state.request_history(HistoryRequest::Recent)).flatten()?;
        Some(LineEffect::Send(cid, request))
    }

    /// What was said last before `known`, the first that was printed.
    pub(super) fn format_recent(
        &self,
        now: DateTime<FixedOffset>,
        first_shown: Option<Seq>,
    ) -> Vec<LineEffect> {
        let newest = self.state.timeline().newest_first();
        let before = newest.filter(|message| first_shown.is_none_or(|known| message.seq < known));
        let mut recent: Vec<_> = before.take(RECENT_MESSAGES).collect();
        recent.reverse();
        let line = |message| LineEffect::Print(format::message(&self.state, now, message));
        recent.into_iter().map(line).collect()
    }

    /// Searches here, and on the server for what is not here.
    pub(super) fn search(
        &mut self,
        now: DateTime<FixedOffset>,
        expression: &str,
    ) -> Result<Vec<LineEffect>, String> {
        let query = SearchInput::parse(expression, false, now, &self.state);
        let mut search = SearchState::new(query, self.state.timeline());
        if let Some(mistake) = search.error() {
            return Err(format!("{} (at character {})", mistake.text, mistake.column + 1));
        }
        if search.regex().is_none() {
            return Err("write a regular expression after .search".to_owned());
        }
        let find =
            search.input().query.clone().validated().map_err(|refusal| refusal.to_string())?;
        search.search_slice(self.state.timeline(), i64::MAX);
        if self.state.has_full_history() {
            return Ok(self.format_hits(now, &search));
        }
        let cid = self.state.next_cid().ok_or("nothing more can be sent")?;
        self.expect_answer(cid.clone(), &format!(".search {expression}"));
        self.search = Some(RunningSearch { cid: cid.clone(), search });
        Ok(vec![LineEffect::Send(cid, Request::SearchHistory(find))])
    }

    /// Takes in what the server found.
    pub(super) fn on_search_results(
        &mut self,
        now: DateTime<FixedOffset>,
        found: SearchResults,
    ) -> Vec<LineEffect> {
        let is_over = found.end != SearchEnd::Searching;
        let asked = self.search.take_if(|finding| Some(&finding.cid) == found.cid.as_ref());
        let Some(mut finding) = asked else { return Vec::new() };
        finding.search.add_results(found, self.state.timeline());
        if is_over {
            self.mark_answered(Some(&finding.cid));
            return self.format_hits(now, &finding.search);
        }
        self.search = Some(finding);
        Vec::new()
    }

    fn format_hits(&self, now: DateTime<FixedOffset>, search: &SearchState) -> Vec<LineEffect> {
        let (timeline, hits) = (self.state.timeline(), search.hits());
        let found = hits.iter().rev().filter_map(|hit| search.message(hit.id, timeline));
        let lines = found.map(|message| format::message(&self.state, now, message));
        let how = match search.answer().map(|answer| answer.end) {
            Some(SearchEnd::TooMany) => "the newest of more",
            Some(SearchEnd::TooLong) => "not everything was searched: it took too long",
            Some(SearchEnd::Replaced) => "not everything was searched: you search elsewhere now",
            Some(SearchEnd::Searching | SearchEnd::Complete) | None => "",
        };
        let comma = if how.is_empty() { "" } else { ", " };
        let count = format::notice(now, &format!("{} found{comma}{how}", hits.len()));
        lines.chain([count]).map(LineEffect::Print).collect()
    }
}
