//! Registered IDs, invites and bans in SQLite.

use rusqlite::OptionalExtension;

use super::super::{BanTarget, OpenInvite, Outcome, StoreError, parse_network};
use super::write::WriteTxn;
use super::{query_all, user_id_column};
use crate::protocol::id::UserId;

impl WriteTxn<'_> {
    /// Takes no use of the invite if the ID is already bound to this key.
    pub(super) fn register(
        &self,
        user: &UserId,
        key: &[u8; 32],
        invite: Option<&[u8; 32]>,
    ) -> Result<Outcome, StoreError> {
        let held: Option<[u8; 32]> = self
            .db
            .prepare_cached("SELECT key FROM person WHERE user = ?1")?
            .query_row([user.as_str()], |row| row.get(0))
            .optional()?;
        match held {
            Some(held) if held == *key => return Ok(Outcome::Registered),
            Some(_) => return Ok(Outcome::KeyMismatch),
            None => {}
        }
        if let Some(hash) = invite
            && !self.redeem(hash)?
        {
            return Ok(Outcome::InvalidInvite);
        }
        self.db
            .prepare_cached("INSERT INTO person (user, key, at) VALUES (?1, ?2, ?3)")?
            .execute((user.as_str(), key, self.now))?;
        Ok(Outcome::Registered)
    }

    /// Takes one use of an invite. Returns whether there was one left.
    fn redeem(&self, hash: &[u8; 32]) -> Result<bool, StoreError> {
        let updated = self
            .db
            .prepare_cached("UPDATE invite SET uses = uses - 1 WHERE hash = ?1 AND expires > ?2")?
            .execute((hash, self.now))?;
        self.db
            .prepare_cached("DELETE FROM invite WHERE hash = ?1 AND uses = 0")?
            .execute([hash])?;
        Ok(updated == 1)
    }

    pub(super) fn rebind(&self, user: &UserId, key: &[u8; 32]) -> Result<Outcome, StoreError> {
        self.db
            .prepare_cached("UPDATE person SET key = ?2, at = ?3 WHERE user = ?1")?
            .execute((user.as_str(), key, self.now))?;
        Ok(Outcome::Done)
    }

    pub(super) fn invite(&self, invite: &OpenInvite) -> Result<Outcome, StoreError> {
        self.db.prepare_cached("INSERT OR REPLACE INTO invite VALUES (?1, ?2, ?3)")?.execute((
            invite.hash,
            invite.uses,
            invite.expires,
        ))?;
        Ok(Outcome::Done)
    }

    pub(super) fn ban(&self, target: &BanTarget) -> Result<Outcome, StoreError> {
        let (key, network) = ban_columns(target);
        self.db
            .prepare_cached("INSERT INTO ban VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
            .execute((key, network, self.now))?;
        Ok(Outcome::Done)
    }

    pub(super) fn unban(&self, target: &BanTarget) -> Result<Outcome, StoreError> {
        self.db
            .prepare_cached("DELETE FROM ban WHERE key = ?1 OR network = ?2")?
            .execute(ban_columns(target))?;
        Ok(Outcome::Done)
    }

    pub(super) fn sweep_invites(&self) -> Result<(), StoreError> {
        self.db.prepare_cached("DELETE FROM invite WHERE expires <= ?1")?.execute([self.now])?;
        Ok(())
    }
}

fn ban_columns(target: &BanTarget) -> (Option<&[u8; 32]>, Option<String>) {
    match target {
        BanTarget::Key(key) => (Some(key), None),
        BanTarget::Network(network) => (None, Some(network.to_string())),
    }
}

/// The IDs and their keys, in the order in which they were bound.
pub(super) fn read_registered(
    db: &rusqlite::Connection,
) -> Result<Vec<(UserId, [u8; 32])>, StoreError> {
    query_all(db, "SELECT user, key FROM person ORDER BY at, user", (), |row| {
        Ok((user_id_column(row)?, row.get(1)?))
    })
}

pub(super) fn read_invites(db: &rusqlite::Connection) -> Result<Vec<OpenInvite>, StoreError> {
    query_all(db, "SELECT hash, uses, expires FROM invite ORDER BY hash", (), |row| {
        Ok(OpenInvite { hash: row.get(0)?, uses: row.get(1)?, expires: row.get(2)? })
    })
}

pub(super) fn read_bans(db: &rusqlite::Connection) -> Result<Vec<BanTarget>, StoreError> {
    query_all(db, "SELECT key, network FROM ban", (), |row| {
        let network = |text: String| {
            parse_network(&text).map_err(|error| StoreError::Corrupt(error.to_string()))
        };
        Ok(match row.get(0)? {
            Some(key) => BanTarget::Key(key),
            None => BanTarget::Network(network(row.get(1)?)?),
        })
    })
}
