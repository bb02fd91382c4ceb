//! Who belongs to which key, who may come in, and who may not: the writer's part of it in SQLite.

use rusqlite::OptionalExtension;

use super::super::{Banned, Network, OpenInvite, Outcome, StoreError};
use super::write::Turn;
use super::{each, user};
use crate::protocol::id::UserId;

impl Turn<'_> {
    /// Whoever has the ID already pays nothing for it.
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
            Some(_) => return Ok(Outcome::NotYourKey),
            None => {}
        }
        if let Some(hash) = invite
            && !self.redeem(hash)?
        {
            return Ok(Outcome::BadInvite);
        }
        self.db
            .prepare_cached("INSERT INTO person (user, key, at) VALUES (?1, ?2, ?3)")?
            .execute((user.as_str(), key, self.now))?;
        Ok(Outcome::Registered)
    }

    /// Whether there was a use left; it is taken.
    fn redeem(&self, hash: &[u8; 32]) -> Result<bool, StoreError> {
        let taken = self
            .db
            .prepare_cached("UPDATE invite SET uses = uses - 1 WHERE hash = ?1 AND expires > ?2")?
            .execute((hash, self.now))?;
        self.db
            .prepare_cached("DELETE FROM invite WHERE hash = ?1 AND uses = 0")?
            .execute([hash])?;
        Ok(taken == 1)
    }

    pub(super) fn rebind(&self, user: &UserId, key: &[u8; 32]) -> Result<Outcome, StoreError> {
        self.db
            .prepare_cached("UPDATE person SET key = ?2, at = ?3 WHERE user = ?1")?
            .execute((user.as_str(), key, self.now))?;
        Ok(Outcome::Noted)
    }

    pub(super) fn invite(&self, invite: &OpenInvite) -> Result<Outcome, StoreError> {
        self.db.prepare_cached("INSERT OR REPLACE INTO invite VALUES (?1, ?2, ?3)")?.execute((
            invite.hash,
            invite.uses,
            invite.expires,
        ))?;
        Ok(Outcome::Noted)
    }

    pub(super) fn ban(&self, banned: &Banned) -> Result<Outcome, StoreError> {
        let (key, network) = columns(banned);
        self.db
            .prepare_cached("INSERT INTO ban VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
            .execute((key, network, self.now))?;
        Ok(Outcome::Noted)
    }

    pub(super) fn unban(&self, banned: &Banned) -> Result<Outcome, StoreError> {
        self.db
            .prepare_cached("DELETE FROM ban WHERE key = ?1 OR network = ?2")?
            .execute(columns(banned))?;
        Ok(Outcome::Noted)
    }

    pub(super) fn sweep_invites(&self) -> Result<(), StoreError> {
        self.db.prepare_cached("DELETE FROM invite WHERE expires <= ?1")?.execute([self.now])?;
        Ok(())
    }
}

fn columns(banned: &Banned) -> (Option<&[u8; 32]>, Option<String>) {
    match banned {
        Banned::Key(key) => (Some(key), None),
        Banned::Network(network) => (None, Some(network.to_string())),
    }
}

/// The IDs that belong to keys, in the order in which they came to them.
pub(super) fn registered(db: &rusqlite::Connection) -> Result<Vec<(UserId, [u8; 32])>, StoreError> {
    each(db, "SELECT user, key FROM person ORDER BY at, user", (), |row| {
        Ok((user(row)?, row.get(1)?))
    })
}

pub(super) fn invites(db: &rusqlite::Connection) -> Result<Vec<OpenInvite>, StoreError> {
    each(db, "SELECT hash, uses, expires FROM invite ORDER BY hash", (), |row| {
        Ok(OpenInvite { hash: row.get(0)?, uses: row.get(1)?, expires: row.get(2)? })
    })
}

pub(super) fn banned(db: &rusqlite::Connection) -> Result<Vec<Banned>, StoreError> {
    each(db, "SELECT key, network FROM ban", (), |row| {
        let network = |text: String| {
            text.parse::<Network>().map_err(|error| StoreError::Damaged(error.to_string()))
        };
        Ok(match row.get(0)? {
            Some(key) => Banned::Key(key),
            None => Banned::Network(network(row.get(1)?)?),
        })
    })
}
