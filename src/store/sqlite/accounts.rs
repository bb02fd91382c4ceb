//! Registered IDs, invites and bans in SQLite.

use rusqlite::{Connection, OptionalExtension};

use super::super::account_rules::{self, AccountRows, NoChange};
use super::super::room_rules;
use super::super::row::parse_room;
use super::super::{
    BanSubject, BanTarget, InviteRule, NewUser, OpenInvite, Outcome, StoreError, parse_network,
};
use super::write::WriteTxn;
use super::{query_all, user_id_column};
use crate::protocol::id::{IdError, Name, RoomName, UserId};
use crate::protocol::message::Millis;

impl WriteTxn<'_> {
    pub(super) fn register(&mut self, new: &NewUser) -> Result<Outcome, NoChange> {
        let user = account_rules::new_id(self, new, self.now)?;
        let mut rooms = Vec::new();
        if let InviteRule::Required(Some(hash)) = new.invite {
            rooms = self.find_invite(&hash)?.map(|invite| invite.rooms).unwrap_or_default();
            self.execute("UPDATE invite SET uses = uses - 1 WHERE hash = ?1", [hash])?;
            self.execute("DELETE FROM invite WHERE hash = ?1 AND uses = 0", [hash])?;
        }
        let sql = "INSERT INTO person (user, key, at) VALUES (?1, ?2, ?3)";
        self.execute(sql, (user.as_str(), new.key, self.now))?;
        insert_skeletons(self.db, &new.name)?;
        // Whatever is there already counts as read.
        self.write_marker(user.as_str(), "", self.header.head)?;
        let joined = room_rules::join_invited(&user, rooms, |entry| self.change_room(entry))?;
        Ok(Outcome::Registered { user, key: new.key, joined })
    }

    pub(super) fn rebind(&self, user: &UserId, key: &[u8; 32]) -> Result<Outcome, NoChange> {
        let from = account_rules::key_to_replace(self, user)?;
        let sql = "UPDATE person SET key = ?2, at = ?3 WHERE user = ?1";
        self.execute(sql, (user.as_str(), key, self.now))?;
        Ok(Outcome::Rebound { user: user.clone(), from, to: *key })
    }

    pub(super) fn invite(&self, invite: &OpenInvite) -> Result<Outcome, NoChange> {
        account_rules::may_invite(self, self.now)?;
        let OpenInvite { hash, uses, expires, rooms } = invite;
        let rooms: Vec<_> = rooms.iter().map(RoomName::as_str).collect();
        let sql = "INSERT OR REPLACE INTO invite VALUES (?1, ?2, ?3, ?4)";
        self.execute(sql, (hash, uses, expires, rooms.join(" ")))?;
        Ok(Outcome::Done)
    }

    pub(super) fn ban(&self, subject: &BanSubject) -> Result<Outcome, NoChange> {
        let target = account_rules::ban_target(self, subject)?;
        let (key, network) = ban_columns(&target);
        let sql = "INSERT INTO ban VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        self.execute(sql, (key, network, self.now))?;
        Ok(Outcome::Banned(target))
    }

    pub(super) fn unban(&self, subject: &BanSubject) -> Result<Outcome, NoChange> {
        let target = account_rules::ban_to_lift(self, subject)?;
        self.execute("DELETE FROM ban WHERE key = ?1 OR network = ?2", ban_columns(&target))?;
        Ok(Outcome::Unbanned(target))
    }
}

impl AccountRows for WriteTxn<'_> {
    fn ids_of(&self, key: &[u8; 32]) -> Result<Vec<UserId>, StoreError> {
        let sql = "SELECT user FROM person WHERE key = ?1 ORDER BY at, user";
        query_all(self.db, sql, [key], user_id_column)
    }

    fn key_of(&self, user: &UserId) -> Result<Option<[u8; 32]>, StoreError> {
        let mut statement = self.db.prepare_cached("SELECT key FROM person WHERE user = ?1")?;
        Ok(statement.query_row([user.as_str()], |row| row.get(0)).optional()?)
    }

    fn find_invite(&self, hash: &[u8; 32]) -> Result<Option<OpenInvite>, StoreError> {
        let sql = "SELECT hash, uses, expires, rooms FROM invite WHERE hash = ?1";
        Ok(query_all(self.db, sql, [hash], invite_row)?.pop())
    }

    fn count_invites(&self, now: Millis) -> Result<u32, StoreError> {
        let sql = "SELECT count(*) FROM invite WHERE expires > ?1";
        Ok(self.db.prepare_cached(sql)?.query_row([now], |row| row.get(0))?)
    }

    fn is_banned(&self, target: &BanTarget) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM ban WHERE key = ?1 OR network = ?2";
        Ok(self.db.prepare_cached(sql)?.exists(ban_columns(target))?)
    }

    fn similar_name(&self, name: &Name) -> Result<Option<Name>, StoreError> {
        let [one, other] = name.skeletons();
        let sql = "SELECT min(name) FROM skeleton WHERE skeleton IN (?1, ?2) AND name <> ?3";
        let found: Option<String> = self
            .db
            .prepare_cached(sql)?
            .query_row((one, other, name.as_str()), |row| row.get(0))?;
        let corrupt = |error: IdError| StoreError::Corrupt(error.to_string());
        found.map(|name| name.parse().map_err(corrupt)).transpose()
    }

    fn has_direct_messages(&self, user: &UserId) -> Result<bool, StoreError> {
        let mut statement = self.db.prepare_cached("SELECT 1 FROM direct WHERE user = ?1")?;
        Ok(statement.exists([user.as_str()])?)
    }
}

/// Makes a registered name known to [`AccountRows::similar_name`].
fn insert_skeletons(db: &Connection, name: &Name) -> Result<(), StoreError> {
    let mut insert = db.prepare_cached("INSERT OR IGNORE INTO skeleton VALUES (?1, ?2)")?;
    for skeleton in name.skeletons() {
        insert.execute((skeleton, name.as_str()))?;
    }
    Ok(())
}

/// Fills table `skeleton` of a log that had none.
pub(super) fn insert_all_skeletons(db: &Connection) -> Result<(), StoreError> {
    for (user, _) in read_registered(db)? {
        user.parse_name().iter().try_for_each(|name| insert_skeletons(db, name))?;
    }
    Ok(())
}

fn ban_columns(target: &BanTarget) -> (Option<&[u8; 32]>, Option<String>) {
    match target {
        BanTarget::Key(key) => (Some(key), None),
        BanTarget::Network(network) => (None, Some(network.to_string())),
    }
}

/// The IDs and their keys, in the order in which they were bound.
pub(super) fn read_registered(db: &Connection) -> Result<Vec<(UserId, [u8; 32])>, StoreError> {
    query_all(db, "SELECT user, key FROM person ORDER BY at, user", (), |row| {
        Ok((user_id_column(row)?, row.get(1)?))
    })
}

pub(super) fn read_open_invites(
    db: &Connection,
    now: Millis,
) -> Result<Vec<OpenInvite>, StoreError> {
    let sql =
        "SELECT hash, uses, expires, rooms FROM invite WHERE expires > ?1 ORDER BY expires, hash";
    query_all(db, sql, [now], invite_row)
}

fn invite_row(row: &rusqlite::Row<'_>) -> Result<OpenInvite, StoreError> {
    let rooms = row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?;
    let rooms = rooms.split_whitespace().map(parse_room).collect::<Result<_, _>>()?;
    Ok(OpenInvite { hash: row.get(0)?, uses: row.get(1)?, expires: row.get(2)?, rooms })
}

pub(super) fn read_bans(db: &Connection) -> Result<Vec<BanTarget>, StoreError> {
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
