//! What was said before, in lines: the recent part of it at the login, and searches.
//!
//! The rest is for `chat tail`: lines that were printed do not scroll back.

use chrono::{DateTime, FixedOffset};

use super::format;
use super::talk::{Effect, Talk};
use crate::client::state::history::Part;
use crate::client::state::query::Query;
use crate::client::state::search::Search;
use crate::protocol::event::{Found, SearchEnd};
use crate::protocol::id::{ClientId, Seq};
use crate::protocol::request::Request;

/// How many messages are shown at the login: a screen that leaves room for what comes.
const RECENT: usize = 15;

/// A search that the server has not finished.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) cid: ClientId,
    search: Search,
}

impl Talk {
    /// Asks for what was said last, once.
    pub(super) fn ask_recent(&mut self) -> Option<Effect> {
        let is_wanted = self.shows_recent && self.room.lacks_history();
        let (cid, request) = is_wanted.then(|| self.room.ask(Part::Recent)).flatten()?;
        Some(Effect::Send(cid, request))
    }

    /// What was said last before `known`, the first that was printed.
    pub(super) fn recent(&self, now: DateTime<FixedOffset>, known: Option<Seq>) -> Vec<Effect> {
        let newest = self.room.timeline().newest_first();
        let before = newest.filter(|message| known.is_none_or(|known| message.seq < known));
        let mut recent: Vec<_> = before.take(RECENT).collect();
        recent.reverse();
        let line = |message| Effect::Print(format::message(&self.room, now, message));
        recent.into_iter().map(line).collect()
    }

    /// Searches here, and on the server for what is not here.
    pub(super) fn search(
        &mut self,
        now: DateTime<FixedOffset>,
        expression: &str,
    ) -> Result<Vec<Effect>, String> {
        let query = Query::parse(expression, false, now, &self.room);
        let mut search = Search::new(query, self.room.timeline());
        if let Some(mistake) = search.mistake() {
            return Err(format!("{} (at character {})", mistake.text, mistake.column + 1));
        }
        if search.regex().is_none() {
            return Err("write a regular expression after .search".to_owned());
        }
        let find = search.query().find.clone().checked().map_err(|refusal| refusal.to_string())?;
        search.step(self.room.timeline(), i64::MAX);
        if self.room.is_whole() {
            return Ok(self.hits(now, &search));
        }
        let cid = self.room.next_cid().ok_or("nothing more can be sent")?;
        self.expect(cid.clone(), &format!(".search {expression}"));
        self.finding = Some(Finding { cid: cid.clone(), search });
        Ok(vec![Effect::Send(cid, Request::Find(find))])
    }

    /// Takes in what the server found.
    pub(super) fn found(&mut self, now: DateTime<FixedOffset>, found: Found) -> Vec<Effect> {
        let is_over = found.end != SearchEnd::Searching;
        let asked = self.finding.take_if(|finding| Some(&finding.cid) == found.cid.as_ref());
        let Some(mut finding) = asked else { return Vec::new() };
        finding.search.found(found, self.room.timeline());
        if is_over {
            self.answered(Some(&finding.cid));
            return self.hits(now, &finding.search);
        }
        self.finding = Some(finding);
        Vec::new()
    }

    fn hits(&self, now: DateTime<FixedOffset>, search: &Search) -> Vec<Effect> {
        let (timeline, hits) = (self.room.timeline(), search.hits());
        let found = hits.iter().rev().filter_map(|hit| search.message(hit.id, timeline));
        let lines = found.map(|message| format::message(&self.room, now, message));
        let how = match search.answer().map(|answer| answer.end) {
            Some(SearchEnd::TooMany) => "the newest of more",
            Some(SearchEnd::TooLong) => "not everything was searched: it took too long",
            Some(SearchEnd::Replaced) => "not everything was searched: you search elsewhere now",
            Some(SearchEnd::Searching | SearchEnd::Complete) | None => "",
        };
        let comma = if how.is_empty() { "" } else { ", " };
        let count = format::notice(now, &format!("{} found{comma}{how}", hits.len()));
        lines.chain([count]).map(Effect::Print).collect()
    }
}
