//! Retention in SQLite: removes old messages, tombstones, cids and invites, a few rows at a time.

use super::super::{
    CID_RETENTION, Outcome, RETAIN_ROWS, Retain, Retained, StoreError, TOMBSTONE_RETENTION,
};
use super::changes::change_row;
use super::write::{StoredMessage, WriteTxn};
use super::{query_all, seq_column, seq_to_sql};
use crate::protocol::message::Millis;

impl WriteTxn<'_> {
    pub(super) fn retain(&mut self, retain: &Retain) -> Result<Outcome, StoreError> {
        let (mut after, mut has_removed, mut n_examined) = (retain.after, false, 0);
        for (at, message) in self.messages_before(retain)? {
            (after, n_examined) = (message.seq, n_examined + 1);
            if message.expires.is_none() && !self.is_undelivered(at, retain.now, &message)? {
                self.delete_message(&message)?;
                self.header.horizon = self.header.horizon.max(message.seq);
                has_removed = true;
            }
        }
        let n_changes = self.remove_changes(retain.now - TOMBSTONE_RETENTION)?;
        let n_cids = self.remove_cids(retain.now - CID_RETENTION)?;
        self.execute("DELETE FROM invite WHERE expires <= ?1", [retain.now])?;
        let has_more = [n_examined, n_changes, n_cids].contains(&usize::from(RETAIN_ROWS));
        let (horizon, next) = (self.header.horizon, has_more.then_some(after));
        Ok(Outcome::Retained(Retained { has_removed, horizon, next }))
    }

    /// The next messages up to the first that is too young, with their times.
    fn messages_before(&self, retain: &Retain) -> Result<Vec<(Millis, StoredMessage)>, StoreError> {
        let Some(before) = retain.before else { return Ok(Vec::new()) };
        let sql = "SELECT at, seq, sender, recipients, expires, mentions FROM message
                   WHERE seq > ?1 ORDER BY seq LIMIT ?2";
        let mut rows = query_all(self.db, sql, (seq_to_sql(retain.after), RETAIN_ROWS), |row| {
            let message = StoredMessage {
                seq: seq_column(row, 1)?,
                sender: row.get(2)?,
                recipients: row.get(3)?,
                expires: row.get(4)?,
                mentions: row.get(5)?,
            };
            Ok((row.get(0)?, message))
        })?;
        let old = rows.iter().take_while(|(at, _)| *at < before).count();
        rows.truncate(old);
        Ok(rows)
    }

    /// Whether a registered recipient has not received the message yet.
    fn is_undelivered(
        &self,
        at: Millis,
        now: Millis,
        message: &StoredMessage,
    ) -> Result<bool, StoreError> {
        let Some(recipients) =
            message.recipients.as_deref().filter(|_| at >= now - TOMBSTONE_RETENTION)
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

    /// Returns the number of those removed.
    fn remove_changes(&mut self, before: Millis) -> Result<usize, StoreError> {
        let sql = "SELECT seq, id, about, user, cid, conversation, also, at, data
                   FROM change ORDER BY seq LIMIT ?1";
        let changes = query_all(self.db, sql, [RETAIN_ROWS], change_row)?;
        let old: Vec<_> = changes.into_iter().take_while(|change| change.at < before).collect();
        for change in &old {
            self.delete_change(change)?;
            self.header.horizon = self.header.horizon.max(change.seq);
        }
        Ok(old.len())
    }

    /// Returns the number of those removed.
    fn remove_cids(&mut self, before: Millis) -> Result<usize, StoreError> {
        let sql = "SELECT at, seq FROM sent ORDER BY seq LIMIT ?1";
        let sent = query_all(self.db, sql, [RETAIN_ROWS], |row| {
            Ok((row.get::<_, Millis>(0)?, seq_column(row, 1)?))
        })?;
        let old = sent.iter().take_while(|(at, _)| *at < before);
        if let Some((_, last)) = old.clone().last() {
            self.execute("DELETE FROM sent WHERE seq <= ?1", [seq_to_sql(*last)])?;
        }
        Ok(old.count())
    }
}
