//! Removing from the log in SQLite what is kept no longer, a few rows at a time.

use super::super::row::message_id;
use super::super::{CID_KEPT, MARK_KEPT, Retention, SWEEP_ROWS, StoreError, Swept};
use super::write::{Found, Turn, What, readers};
use super::{each, number, seq};
use crate::protocol::id::{MessageId, Seq};
use crate::protocol::message::Millis;

/// A message that a sweep looks at.
struct Candidate {
    id: MessageId,
    at: Millis,
    found: Found,
}

impl Turn<'_> {
    /// One step from `from` on, and where the next one begins.
    pub(super) fn sweep(
        &mut self,
        retention: Retention,
        from: Seq,
    ) -> Result<(Swept, Seq), StoreError> {
        let mut swept = Swept::default();
        let next = match retention.cutoff(self.now) {
            Some(cutoff) => self.sweep_messages(cutoff, from, &mut swept)?,
            None => Seq(0),
        };
        self.sweep_marks(&mut swept)?;
        self.sweep_sent(&mut swept)?;
        self.sweep_invites()?;
        Ok((swept, next))
    }

    fn sweep_messages(
        &mut self,
        cutoff: Millis,
        from: Seq,
        swept: &mut Swept,
    ) -> Result<Seq, StoreError> {
        let candidates = self.candidates(from)?;
        let full = candidates.len() == usize::from(SWEEP_ROWS);
        let mut next = from;
        for Candidate { id, at, found } in candidates {
            if at >= cutoff {
                return Ok(Seq(0));
            }
            next = found.seq;
            if found.expires.is_none() && !self.is_waited_for(at, &found)? {
                self.erase(&found)?;
                self.log.horizon = self.log.horizon.max(found.seq);
                swept.freed.push(id);
            }
        }
        swept.more |= full;
        Ok(if full { next } else { Seq(0) })
    }

    fn candidates(&self, from: Seq) -> Result<Vec<Candidate>, StoreError> {
        let sql = "SELECT id, at, seq, sender, recipients, expires FROM message
                   WHERE seq > ?1 ORDER BY seq LIMIT ?2";
        each(self.db, sql, (number(from), SWEEP_ROWS), |row| {
            let found = Found {
                seq: seq(row, 2)?,
                sender: row.get(3)?,
                recipients: row.get(4)?,
                expires: row.get(5)?,
            };
            Ok(Candidate { id: message_id(row.get(0)?)?, at: row.get(1)?, found })
        })
    }

    /// Whether it is for somebody who can come back for it and has not yet.
    fn is_waited_for(&self, at: Millis, found: &Found) -> Result<bool, StoreError> {
        let Some(names) = found.recipients.as_deref().filter(|_| at >= self.now - MARK_KEPT) else {
            return Ok(false);
        };
        let mut waits =
            self.db.prepare_cached("SELECT 1 FROM person WHERE user = ?1 AND seen < ?2")?;
        for name in names.split(' ') {
            if waits.exists((name, number(found.seq)))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn sweep_marks(&mut self, swept: &mut Swept) -> Result<(), StoreError> {
        let sql = "SELECT at, seq, id, people FROM mark ORDER BY seq LIMIT ?1";
        let marks = each(self.db, sql, [SWEEP_ROWS], |row| {
            let people: Option<String> = row.get(3)?;
            Ok((row.get::<_, Millis>(0)?, seq(row, 1)?, message_id(row.get(2)?)?, people))
        })?;
        let cutoff = self.now - MARK_KEPT;
        let old: Vec<_> = marks.into_iter().take_while(|(at, ..)| *at < cutoff).collect();
        for (_, seq, id, people) in &old {
            self.db.prepare_cached("DELETE FROM mark WHERE seq = ?1")?.execute([number(*seq)])?;
            // Its sender is among the people.
            self.unfeed(What::Mark, *seq, &readers(people.as_deref(), ""))?;
            self.log.horizon = self.log.horizon.max(*seq);
            swept.freed.push(*id);
        }
        swept.more |= old.len() == usize::from(SWEEP_ROWS);
        Ok(())
    }

    fn sweep_sent(&mut self, swept: &mut Swept) -> Result<(), StoreError> {
        let sql = "SELECT at, seq FROM sent ORDER BY seq LIMIT ?1";
        let sent =
            each(self.db, sql, [SWEEP_ROWS], |row| Ok((row.get::<_, Millis>(0)?, seq(row, 1)?)))?;
        let cutoff = self.now - CID_KEPT;
        let old = sent.iter().take_while(|(at, _)| *at < cutoff);
        if let Some((_, last)) = old.clone().last() {
            self.db.prepare_cached("DELETE FROM sent WHERE seq <= ?1")?.execute([number(*last)])?;
        }
        swept.more |= old.count() == usize::from(SWEEP_ROWS);
        Ok(())
    }
}
