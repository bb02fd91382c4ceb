//! Feeds: the events of each conversation in order, and the conversations of each user.

use std::collections::{BTreeSet, VecDeque};

use rusqlite::Connection;

use super::super::StoreError;
use super::super::row::split_recipients;
use super::super::sight::Sight;
use super::write::WriteTxn;
use super::{query_all, seq_column, seq_to_sql};
use crate::protocol::id::{Seq, UserId};

/// What a row of table `feed` refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FeedKind {
    Message = 0,
    Change = 1,
    Pin = 2,
}

/// How many rows of a feed are read at once.
const CHUNK: i64 = 64;

const BEFORE: &str =
    "SELECT seq FROM feed WHERE conversation = ?1 AND what = ?2 AND seq < ?3 AND seq >= ?4
                      ORDER BY seq DESC LIMIT ?5";

const AFTER: &str =
    "SELECT seq FROM feed WHERE conversation = ?1 AND what = ?2 AND seq > ?3 AND seq >= ?4
                     ORDER BY seq LIMIT ?5";

impl WriteTxn<'_> {
    /// `sender` is that of a message.
    pub(super) fn add_to_feed(
        &self,
        conversation: &str,
        kind: FeedKind,
        seq: Seq,
        sender: Option<&str>,
    ) -> Result<(), StoreError> {
        add_to_feed(self.db, conversation, kind, seq, sender)
    }

    pub(super) fn remove_from_feed(
        &self,
        conversation: &str,
        kind: FeedKind,
        seq: Seq,
    ) -> Result<(), StoreError> {
        self.execute(
            "DELETE FROM feed WHERE conversation = ?1 AND what = ?2 AND seq = ?3",
            (conversation, kind as i64, seq_to_sql(seq)),
        )?;
        if is_direct(conversation) && !has_events(self.db, conversation)? {
            let mut delete = self
                .db
                .prepare_cached("DELETE FROM direct WHERE user = ?1 AND conversation = ?2")?;
            for user in split_recipients(conversation) {
                delete.execute((user, conversation))?;
            }
        }
        Ok(())
    }
}

pub(super) fn add_to_feed(
    db: &Connection,
    conversation: &str,
    kind: FeedKind,
    seq: Seq,
    sender: Option<&str>,
) -> Result<(), StoreError> {
    if is_direct(conversation) && !has_events(db, conversation)? {
        let mut insert = db.prepare_cached("INSERT INTO direct VALUES (?1, ?2)")?;
        for user in split_recipients(conversation) {
            insert.execute((user, conversation))?;
        }
    }
    let mut insert = db.prepare_cached("INSERT INTO feed VALUES (?1, ?2, ?3, ?4)")?;
    insert.execute((conversation, kind as i64, seq_to_sql(seq), sender))?;
    Ok(())
}

/// A direct conversation has several participants; the feed of a single user is not one.
pub(super) fn is_direct(conversation: &str) -> bool {
    conversation.contains(' ')
}

fn has_events(db: &Connection, conversation: &str) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM feed WHERE conversation = ?1";
    Ok(db.prepare_cached(sql)?.exists([conversation])?)
}

pub(super) fn direct_conversations(
    db: &Connection,
    user: &UserId,
) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT conversation FROM direct WHERE user = ?1";
    query_all(db, sql, [user.as_str()], |row| Ok(row.get(0)?))
}

/// What the user may see now.
pub(super) fn load_sight<'a>(db: &Connection, viewer: &'a UserId) -> Result<Sight<'a>, StoreError> {
    let sql = "SELECT room, since FROM member WHERE user = ?1";
    let rooms = query_all(db, sql, [viewer.as_str()], |row| {
        Ok((super::room_column(row, 0)?, seq_column(row, 1)?))
    })?;
    Ok(Sight { viewer, rooms: rooms.into_iter().collect() })
}

/// One sorted list of a feed.
#[derive(Debug)]
pub(super) struct List {
    conversation: String,
    kind: FeedKind,
    /// Where it begins.
    since: Seq,
}

/// The lists of these kinds in one conversation, by its key.
pub(super) fn lists_of(sight: &Sight<'_>, conversation: &str, kinds: &[FeedKind]) -> Vec<List> {
    let since = sight.rooms.get(conversation).copied().unwrap_or_default();
    let list = |kind: &FeedKind| List { conversation: conversation.to_owned(), kind: *kind, since };
    kinds.iter().map(list).collect()
}

/// The lists of these kinds in all that the user may see.
pub(super) fn all_lists(
    db: &Connection,
    sight: &Sight<'_>,
    kinds: &[FeedKind],
) -> Result<Vec<List>, StoreError> {
    let shared = ["", sight.viewer.as_str()].into_iter().map(str::to_owned);
    let rooms = sight.rooms.keys().map(|room| room.as_str().to_owned());
    let conversations = shared.chain(rooms).chain(direct_conversations(db, sight.viewer)?);
    Ok(conversations.flat_map(|key| lists_of(sight, &key, kinds)).collect())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Forward,
    Backward,
}

/// Merges several lists: reads from each only what it returns, and a few rows more.
#[derive(Debug)]
pub(super) struct Merge<'a> {
    db: &'a Connection,
    direction: Direction,
    lists: Vec<(List, VecDeque<Seq>)>,
    /// The next row of each list, with the index of the list.
    heads: BTreeSet<(Seq, usize)>,
    last: Option<Seq>,
}

impl<'a> Merge<'a> {
    /// Begins after or before `from`.
    pub(super) fn new(
        db: &'a Connection,
        direction: Direction,
        lists: Vec<List>,
        from: Seq,
    ) -> Result<Self, StoreError> {
        let lists = lists.into_iter().map(|list| (list, VecDeque::new())).collect();
        let mut merge = Self { db, direction, lists, heads: BTreeSet::new(), last: None };
        let rows = if merge.lists.len() > 2 { 1 } else { CHUNK };
        for index in 0..merge.lists.len() {
            merge.advance(index, from, rows)?;
        }
        Ok(merge)
    }

    /// The next row.
    pub(super) fn next(&mut self) -> Result<Option<(Seq, FeedKind)>, StoreError> {
        loop {
            let head = match self.direction {
                Direction::Forward => self.heads.pop_first(),
                Direction::Backward => self.heads.pop_last(),
            };
            let Some((seq, index)) = head else { return Ok(None) };
            self.advance(index, seq, CHUNK)?;
            // What concerns a user may be in the feed of a room, too.
            if self.last.replace(seq) != Some(seq)
                && let Some((list, _)) = self.lists.get(index)
            {
                return Ok(Some((seq, list.kind)));
            }
        }
    }

    /// Makes the next row of a list, after `from`, its head.
    fn advance(&mut self, index: usize, from: Seq, rows: i64) -> Result<(), StoreError> {
        let Some((list, buffer)) = self.lists.get_mut(index) else { return Ok(()) };
        if buffer.is_empty() {
            let sql = match self.direction {
                Direction::Forward => AFTER,
                Direction::Backward => BEFORE,
            };
            let range = (seq_to_sql(from), seq_to_sql(list.since));
            let parameters = (&list.conversation, list.kind as i64, range.0, range.1, rows);
            *buffer = query_all(self.db, sql, parameters, |row| Ok(seq_column(row, 0)?))?.into();
        }
        if let Some(head) = buffer.pop_front() {
            self.heads.insert((head, index));
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) const PAGED_QUERIES: [&str; 2] = [BEFORE, AFTER];
