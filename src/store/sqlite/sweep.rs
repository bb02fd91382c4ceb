//! Retention in SQLite: removes old messages, tombstones, cids and invites, a few rows at a time.

use super::super::{
    CID_RETENTION, Retention, SWEEP_ROWS, StoreError, SweepReport, TOMBSTONE_RETENTION,
};
use super::write::{FeedKind, StoredMessage, WriteTxn, feeds_for};
use super::{query_all, seq_column, seq_to_sql};
use crate::protocol::id::Seq;
use crate::protocol::message::Millis;

/// A message that a sweep examines.
struct SweepRow {
    at: Millis,
    message: StoredMessage,
}

impl WriteTxn<'_> {
    /// Sweeps once, with messages after `from`. Returns where the next sweep begins; 0 is the start of
    /// the log.
    pub(super) fn sweep(
        &mut self,
        retention: Retention,
        from: Seq,
    ) -> Result<(SweepReport, Seq), StoreError> {
        let mut report = SweepReport::default();
        let next = match retention.cutoff(self.now) {
            Some(cutoff) => self.sweep_messages(cutoff, from, &mut report)?,
            None => Seq(0),
        };
        self.sweep_tombstones(&mut report)?;
        self.sweep_cids(&mut report)?;
        self.sweep_invites()?;
        Ok((report, next))
    }

    fn sweep_messages(
        &mut self,
        cutoff: Millis,
        from: Seq,
        report: &mut SweepReport,
    ) -> Result<Seq, StoreError> {
        let rows = self.next_rows(from)?;
        let is_full = rows.len() == usize::from(SWEEP_ROWS);
        let mut next = from;
        for SweepRow { at, message } in rows {
            if at >= cutoff {
                return Ok(Seq(0));
            }
            next = message.seq;
            if message.expires.is_none() && !self.is_undelivered(at, &message)? {
                self.delete_message(&message)?;
                self.header.horizon = self.header.horizon.max(message.seq);
                report.has_removed = true;
            }
        }
        report.has_more |= is_full;
        Ok(if is_full { next } else { Seq(0) })
    }

    fn next_rows(&self, from: Seq) -> Result<Vec<SweepRow>, StoreError> {
        let sql = "SELECT at, seq, sender, recipients, expires FROM message
                   WHERE seq > ?1 ORDER BY seq LIMIT ?2";
        query_all(self.db, sql, (seq_to_sql(from), SWEEP_ROWS), |row| {
            let message = StoredMessage {
                seq: seq_column(row, 1)?,
                sender: row.get(2)?,
                recipients: row.get(3)?,
                expires: row.get(4)?,
            };
            Ok(SweepRow { at: row.get(0)?, message })
        })
    }

    /// Whether a registered recipient has not received the message yet.
    fn is_undelivered(&self, at: Millis, message: &StoredMessage) -> Result<bool, StoreError> {
        let Some(recipients) =
            message.recipients.as_deref().filter(|_| at >= self.now - TOMBSTONE_RETENTION)
        else {
            return Ok(false);
        };
        let mut is_waiting =
            self.db.prepare_cached("SELECT 1 FROM person WHERE user = ?1 AND seen < ?2")?;
        for recipient in recipients.split(' ') {
            if is_waiting.exists((recipient, seq_to_sql(message.seq)))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn sweep_tombstones(&mut self, report: &mut SweepReport) -> Result<(), StoreError> {
        let sql = "SELECT at, seq, people FROM mark ORDER BY seq LIMIT ?1";
        let tombstones = query_all(self.db, sql, [SWEEP_ROWS], |row| {
            let viewers: Option<String> = row.get(2)?;
            Ok((row.get::<_, Millis>(0)?, seq_column(row, 1)?, viewers))
        })?;
        let cutoff = self.now - TOMBSTONE_RETENTION;
        let old: Vec<_> = tombstones.into_iter().take_while(|(at, ..)| *at < cutoff).collect();
        for (_, seq, viewers) in &old {
            self.db
                .prepare_cached("DELETE FROM mark WHERE seq = ?1")?
                .execute([seq_to_sql(*seq)])?;
            // `mark.people` includes the sender.
            self.remove_from_feeds(FeedKind::Tombstone, *seq, &feeds_for(viewers.as_deref(), ""))?;
            self.header.horizon = self.header.horizon.max(*seq);
        }
        report.has_more |= old.len() == usize::from(SWEEP_ROWS);
        Ok(())
    }

    fn sweep_cids(&mut self, report: &mut SweepReport) -> Result<(), StoreError> {
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
        report.has_more |= old.count() == usize::from(SWEEP_ROWS);
        Ok(())
    }
}
