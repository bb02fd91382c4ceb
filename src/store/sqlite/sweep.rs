//! Removing from the log in SQLite what is kept no longer, a few rows at a time.

use super::super::row::parse_message_id;
use super::super::{
    CID_RETENTION, Retention, SWEEP_ROWS, StoreError, SweepReport, TOMBSTONE_RETENTION,
};
use super::write::{FeedKind, StoredMessage, WriteTxn, feeds_for};
use super::{query_all, seq_column, seq_to_sql};
use crate::protocol::id::{MessageId, Seq};
use crate::protocol::message::Millis;

/// A message that a sweep looks at.
struct SweepRow {
    id: MessageId,
    at: Millis,
    message: StoredMessage,
}

impl WriteTxn<'_> {
    /// One step from `from` on, and where the next one begins.
    pub(super) fn sweep(
        &mut self,
        retention: Retention,
        from: Seq,
    ) -> Result<(SweepReport, Seq), StoreError> {
        let mut swept = SweepReport::default();
        let next = match retention.cutoff(self.now) {
            Some(cutoff) => self.sweep_messages(cutoff, from, &mut swept)?,
            None => Seq(0),
        };
        self.sweep_tombstones(&mut swept)?;
        self.sweep_cids(&mut swept)?;
        self.sweep_invites()?;
        Ok((swept, next))
    }

    fn sweep_messages(
        &mut self,
        cutoff: Millis,
        from: Seq,
        swept: &mut SweepReport,
    ) -> Result<Seq, StoreError> {
        let candidates = self.next_rows(from)?;
        let full = candidates.len() == usize::from(SWEEP_ROWS);
        let mut next = from;
        for SweepRow { id, at, message: found } in candidates {
            if at >= cutoff {
                return Ok(Seq(0));
            }
            next = found.seq;
            if found.expires.is_none() && !self.is_undelivered(at, &found)? {
                self.delete_message(&found)?;
                self.header.horizon = self.header.horizon.max(found.seq);
                swept.freed_ids.push(id);
            }
        }
        swept.has_more |= full;
        Ok(if full { next } else { Seq(0) })
    }

    fn next_rows(&self, from: Seq) -> Result<Vec<SweepRow>, StoreError> {
        let sql = "SELECT id, at, seq, sender, recipients, expires FROM message
                   WHERE seq > ?1 ORDER BY seq LIMIT ?2";
        query_all(self.db, sql, (seq_to_sql(from), SWEEP_ROWS), |row| {
            let found = StoredMessage {
                seq: seq_column(row, 2)?,
                sender: row.get(3)?,
                recipients: row.get(4)?,
                expires: row.get(5)?,
            };
            Ok(SweepRow { id: parse_message_id(row.get(0)?)?, at: row.get(1)?, message: found })
        })
    }

    /// Whether it is for somebody who can come back for it and has not yet.
    fn is_undelivered(&self, at: Millis, found: &StoredMessage) -> Result<bool, StoreError> {
        let Some(names) =
            found.recipients.as_deref().filter(|_| at >= self.now - TOMBSTONE_RETENTION)
        else {
            return Ok(false);
        };
        let mut waits =
            self.db.prepare_cached("SELECT 1 FROM person WHERE user = ?1 AND seen < ?2")?;
        for name in names.split(' ') {
            if waits.exists((name, seq_to_sql(found.seq)))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn sweep_tombstones(&mut self, swept: &mut SweepReport) -> Result<(), StoreError> {
        let sql = "SELECT at, seq, id, people FROM mark ORDER BY seq LIMIT ?1";
        let marks = query_all(self.db, sql, [SWEEP_ROWS], |row| {
            let people: Option<String> = row.get(3)?;
            Ok((
                row.get::<_, Millis>(0)?,
                seq_column(row, 1)?,
                parse_message_id(row.get(2)?)?,
                people,
            ))
        })?;
        let cutoff = self.now - TOMBSTONE_RETENTION;
        let old: Vec<_> = marks.into_iter().take_while(|(at, ..)| *at < cutoff).collect();
        for (_, seq, id, people) in &old {
            self.db
                .prepare_cached("DELETE FROM mark WHERE seq = ?1")?
                .execute([seq_to_sql(*seq)])?;
            // Its sender is among the people.
            self.remove_from_feeds(FeedKind::Tombstone, *seq, &feeds_for(people.as_deref(), ""))?;
            self.header.horizon = self.header.horizon.max(*seq);
            swept.freed_ids.push(*id);
        }
        swept.has_more |= old.len() == usize::from(SWEEP_ROWS);
        Ok(())
    }

    fn sweep_cids(&mut self, swept: &mut SweepReport) -> Result<(), StoreError> {
        let sql = "SELECT at, seq FROM sent ORDER BY seq LIMIT ?1";
        let sent = query_all(self.db, sql, [SWEEP_ROWS], |row| {
            Ok((row.get::<_, Millis>(0)?, seq_column(row, 1)?))
        })?;
        let cutoff = self.now - CID_RETENTION;
        let old = sent.iter().take_while(|(at, _)| *at < cutoff);
        if let Some((_, last)) = old.clone().last() {
            self.db
                .prepare_cached("DELETE FROM sent WHERE seq <= ?1")?
                .execute([seq_to_sql(*last)])?;
        }
        swept.has_more |= old.count() == usize::from(SWEEP_ROWS);
        Ok(())
    }
}
