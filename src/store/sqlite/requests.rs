//! The requests that were handled, so that a resend is never doubled.
//!
//! A cid is stored with its message or change. An index of all cids would cost each request a page that
//! is written at random, so table `sent` has only those that are not among the latest entries, and those
//! whose messages were removed. The others are in memory, and are read again at the start.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use rusqlite::Connection;

use super::super::{CID_RETENTION, Outcome, StoreError, advance_clock};
use super::write::WriteTxn;
use super::{optional_id_column, query_all, seq_column, seq_to_sql};
use crate::protocol::id::{Cid, MessageId, Seq, UserId};
use crate::protocol::message::Millis;

/// The cids of at least so many of the latest entries are in memory: more than most servers get in
/// [`CID_RETENTION`], and at most 11 MB. To lower it, migrate the log: table `sent` lacks them.
const RECENT_ENTRIES: u64 = 200_000;

/// Entries whose cids are added to table `sent` at once, so that they share its pages: a few milliseconds.
const INDEX_STEP: u64 = 1_024;

const INSERT_CIDS: &str = "
    INSERT OR IGNORE INTO sent (seq, sender, cid, id, at)
    SELECT seq, sender, cid, id, at FROM message
    WHERE seq > ?1 AND seq <= ?2 AND at > ?3 AND cid IS NOT NULL";

const INSERT_CIDS_OF_CHANGES: &str = "
    INSERT OR IGNORE INTO sent (seq, sender, cid, id, at)
    SELECT seq, user, cid, id, at FROM change
    WHERE seq > ?1 AND seq <= ?2 AND at > ?3 AND cid IS NOT NULL AND user IS NOT NULL";

const CIDS_AFTER: &str = "
    SELECT seq, sender, cid, id, at FROM message WHERE seq > ?1 AND cid IS NOT NULL
    UNION ALL SELECT seq, user, cid, id, at FROM change
        WHERE seq > ?1 AND cid IS NOT NULL AND user IS NOT NULL
    UNION ALL SELECT seq, sender, cid, id, at FROM sent WHERE seq > ?1
    ORDER BY seq";

/// A handled request: its event, the message that it was about, if any, and its time.
#[derive(Debug, Clone, Copy)]
struct Request {
    seq: Seq,
    id: Option<MessageId>,
    at: Millis,
}

/// The requests among the latest entries.
#[derive(Debug)]
pub(super) struct RecentRequests {
    /// By two hashes of sender and cid, 128 bits. Clients cannot provoke equal ones.
    by_cid: HashMap<[u64; 2], Request>,
    hashers: [RandomState; 2],
    /// [`RECENT_ENTRIES`], except in tests.
    entries: u64,
    /// [`INDEX_STEP`], except in tests.
    step: u64,
}

impl RecentRequests {
    pub(super) fn load(db: &Connection, head: Seq) -> Result<Self, StoreError> {
        let hashers = [RandomState::new(), RandomState::new()];
        let (entries, step) = (RECENT_ENTRIES, INDEX_STEP);
        let mut recent = Self { by_cid: HashMap::new(), hashers, entries, step };
        let after = seq_to_sql(recent.indexed_to(head));
        query_all(db, CIDS_AFTER, [after], |row| {
            let request = Request {
                seq: seq_column(row, 0)?,
                id: optional_id_column(row, 3)?,
                at: row.get(4)?,
            };
            let (sender, cid): (String, String) = (row.get(1)?, row.get(2)?);
            Ok((recent.key(&sender, &cid), request))
        })
        .map(|requests| recent.by_cid.extend(requests))?;
        Ok(recent)
    }

    fn key(&self, sender: &str, cid: &str) -> [u64; 2] {
        self.hashers.each_ref().map(|hasher| hasher.hash_one((sender, cid)))
    }

    /// The cids of entries up to here are in table `sent`.
    fn indexed_to(&self, head: Seq) -> Seq {
        let old = head.0.saturating_sub(self.entries);
        Seq(old - old % self.step)
    }

    /// Forgets the requests of a transaction that was not committed.
    pub(super) fn roll_back(&mut self, head: Seq) {
        self.by_cid.retain(|_, request| request.seq <= head);
    }

    /// Forgets what is in table `sent`, not often, because it visits every request.
    pub(super) fn trim(&mut self, head: Seq) {
        if self.by_cid.len() as u64 > self.entries + self.entries / 8 {
            let indexed = self.indexed_to(head);
            self.by_cid.retain(|_, request| request.seq > indexed);
        }
    }

    #[cfg(test)]
    pub(super) fn limit(&mut self, entries: u64, step: u64, head: Seq) {
        (self.entries, self.step) = (entries, step);
        self.trim(head);
    }
}

impl WriteTxn<'_> {
    /// The outcome of an earlier request with the same `cid`, if there was one.
    pub(super) fn prior_outcome(
        &self,
        sender: &UserId,
        cid: &Cid,
    ) -> Result<Option<Outcome>, StoreError> {
        let found =
            match self.requests.by_cid.get(&self.requests.key(sender.as_str(), cid.as_str())) {
                Some(recent) => Some(*recent),
                None => self.indexed_request(sender, cid)?,
            };
        let found = found.filter(|request| request.at > self.oldest_cid());
        Ok(found.map(|Request { seq, id, .. }| Outcome::Repeated { seq, id }))
    }

    fn indexed_request(&self, sender: &UserId, cid: &Cid) -> Result<Option<Request>, StoreError> {
        let mut statement = self.db.prepare_cached(
            "SELECT seq, id, at FROM sent WHERE sender = ?1 AND cid = ?2 ORDER BY seq DESC LIMIT 1",
        )?;
        let mut rows = statement.query((sender.as_str(), cid.as_str()))?;
        let Some(row) = rows.next()? else { return Ok(None) };
        Ok(Some(Request {
            seq: seq_column(row, 0)?,
            id: optional_id_column(row, 1)?,
            at: row.get(2)?,
        }))
    }

    /// Remembers the request whose event is the last.
    pub(super) fn remember_cid(&mut self, sender: &UserId, cid: &Cid, id: Option<MessageId>) {
        let key = self.requests.key(sender.as_str(), cid.as_str());
        let request = Request { seq: self.header.head, id, at: self.header.clock };
        self.requests.by_cid.insert(key, request);
    }

    /// Adds the cids to table `sent` that are not among the latest any more, since the log had this head.
    pub(super) fn index_cids(&self, old_head: Seq) -> Result<(), StoreError> {
        let (from, to) =
            (self.requests.indexed_to(old_head), self.requests.indexed_to(self.header.head));
        if from == to {
            return Ok(());
        }
        for sql in [INSERT_CIDS, INSERT_CIDS_OF_CHANGES] {
            let range = (seq_to_sql(from), seq_to_sql(to), self.oldest_cid());
            self.execute(sql, range)?;
        }
        Ok(())
    }

    /// Keeps the cid of a message that is about to be removed.
    pub(super) fn keep_cid(&self, seq: Seq) -> Result<(), StoreError> {
        let seq = seq_to_sql(seq);
        self.execute(INSERT_CIDS, (seq - 1, seq, self.oldest_cid()))?;
        Ok(())
    }

    /// Requests at or before this time are not remembered.
    fn oldest_cid(&self) -> Millis {
        advance_clock(self.header.clock, self.now) - CID_RETENTION
    }
}
