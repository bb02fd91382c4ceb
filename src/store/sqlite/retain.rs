//! Retention in SQLite: removes old messages, tombstones, cids and invites, a few rows at a time.

use super::super::{
    CID_RETENTION, Outcome, RETAIN_ROWS, Retain, Retained, StoreError, TOMBSTONE_RETENTION,
};
use super::changes::change_row;
use super::write::{StoredMessage, WriteTxn};
use super::{query_all, seq_column, seq_to_sql};
use crate::protocol::id::Seq;
use crate::protocol::message::Millis;

/// A message that is examined.
struct MessageRow {
    at: Millis,
    message: StoredMessage,
}

/// What one step has done in some of the tables.
struct Progress {
    has_removed: bool,
    has_more: bool,
    after: Seq,
}

impl WriteTxn<'_> {
    pub(super) fn retain(&mut self, retain: &Retain) -> Result<Outcome, StoreError> {
        let mut progress = Progress { has_removed: false, has_more: false, after: retain.after };
        if let Some(before) = retain.before {
            self.remove_messages(before, retain.now, &mut progress)?;
        }
        progress.has_more |= self.remove_changes(retain.now - TOMBSTONE_RETENTION)?;
        progress.has_more |= self.remove_cids(retain.now - CID_RETENTION)?;
        self.db.prepare_cached("DELETE FROM invite WHERE expires <= ?1")?.execute([retain.now])?;
        Ok(Outcome::Retained(Retained {
            has_removed: progress.has_removed,
            horizon: self.header.horizon,
            next: progress.has_more.then_some(progress.after),
        }))
    }

    fn remove_messages(
        &mut self,
        before: Millis,
        now: Millis,
        progress: &mut Progress,
    ) -> Result<(), StoreError> {
        let rows = self.messages_after(progress.after)?;
        let is_full = rows.len() == usize::from(RETAIN_ROWS);
        for MessageRow { at, message } in rows {
            if at >= before {
                return Ok(());
            }
            progress.after = message.seq;
            if message.expires.is_none() && !self.is_undelivered(at, now, &message)? {
                self.delete_message(&message)?;
                self.header.horizon = self.header.horizon.max(message.seq);
                progress.has_removed = true;
            }
        }
        progress.has_more |= is_full;
        Ok(())
    }

    fn messages_after(&self, after: Seq) -> Result<Vec<MessageRow>, StoreError> {
        let sql = "SELECT at, seq, sender, recipients, expires, mentions FROM message
                   WHERE seq > ?1 ORDER BY seq LIMIT ?2";
        query_all(self.db, sql, (seq_to_sql(after), RETAIN_ROWS), |row| {
            let message = StoredMessage {
                seq: seq_column(row, 1)?,
                sender: row.get(2)?,
                recipients: row.get(3)?,
                expires: row.get(4)?,
                mentions: row.get(5)?,
            };
            Ok(MessageRow { at: row.get(0)?, message })
        })
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

    /// Returns whether there may be more.
    fn remove_changes(&mut self, before: Millis) -> Result<bool, StoreError> {
        let sql = "SELECT seq, id, about, user, cid, conversation, also, at, data
                   FROM change ORDER BY seq LIMIT ?1";
        let changes = query_all(self.db, sql, [RETAIN_ROWS], change_row)?;
        let old: Vec<_> = changes.into_iter().take_while(|change| change.at < before).collect();
        for change in &old {
            self.delete_change(change)?;
            self.header.horizon = self.header.horizon.max(change.seq);
        }
        Ok(old.len() == usize::from(RETAIN_ROWS))
    }

    /// Returns whether there may be more.
    fn remove_cids(&mut self, before: Millis) -> Result<bool, StoreError> {
        let sql = "SELECT at, seq FROM sent ORDER BY seq LIMIT ?1";
        let sent = query_all(self.db, sql, [RETAIN_ROWS], |row| {
            Ok((row.get::<_, Millis>(0)?, seq_column(row, 1)?))
        })?;
        let old = sent.iter().take_while(|(at, _)| *at < before);
        if let Some((_, last)) = old.clone().last() {
            self.db
                .prepare_cached("DELETE FROM sent WHERE seq <= ?1")?
                .execute([seq_to_sql(*last)])?;
        }
        Ok(old.count() == usize::from(RETAIN_ROWS))
    }
}
