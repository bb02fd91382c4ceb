//! Rooms and their members in SQLite.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row as SqliteRow};

use super::super::account_rules::NoChange;
use super::super::change::ChangeKind;
use super::super::room_rules::{self, RoomPlan, RoomRows};
use super::super::row::parse_room;
use super::super::sight::Room;
use super::super::{MemberChange, Outcome, Page, RoomEntry, StoreError};
use super::changes::NewChange;
use super::write::WriteTxn;
use super::{query_all, room_column, seq_column, seq_to_sql, user_id_column};
use crate::protocol::id::{RoomName, Seq, UserId};
use crate::protocol::room::{RoomChange, RoomState};
use crate::protocol::text::SafeText;

impl WriteTxn<'_> {
    pub(super) fn change_room(&mut self, entry: &RoomEntry) -> Result<Outcome, NoChange> {
        let seq = Seq(self.header.head.0 + 1);
        let RoomPlan { change, state, members } = room_rules::plan(self, entry, seq)?;
        self.write_room(&entry.room, &state)?;
        if change == RoomChange::Created {
            for skeleton in entry.room.skeletons() {
                self.execute(
                    "INSERT OR IGNORE INTO room_skeleton VALUES (?1, ?2)",
                    (skeleton, entry.room.as_str()),
                )?;
            }
        }
        for member in &members {
            self.write_member(&entry.room, member, seq)?;
        }
        let new = NewChange {
            message: None,
            by: entry.by.as_ref(),
            cid: entry.cid.as_ref(),
            conversation: entry.room.as_str().to_owned(),
            kind: ChangeKind::Room { room: entry.room.clone(), change, state },
            members,
        };
        Ok(self.add_change(new, None)?)
    }

    fn write_room(&self, room: &RoomName, state: &RoomState) -> Result<(), StoreError> {
        self.execute(
            "INSERT OR REPLACE INTO room VALUES (?1, ?2, ?3, ?4, ?5)",
            (room.as_str(), state.private, state.topic.as_str(), state.archived, state.people),
        )?;
        Ok(())
    }

    /// What is in the room before a user becomes a member counts as read.
    fn write_member(
        &self,
        room: &RoomName,
        member: &MemberChange,
        seq: Seq,
    ) -> Result<(), StoreError> {
        let (room, user) = (room.as_str(), member.user.as_str());
        let Some(since) = member.since else {
            return self.execute("DELETE FROM member WHERE room = ?1 AND user = ?2", (room, user));
        };
        let (since, joined) = (seq_to_sql(since), seq_to_sql(seq));
        self.execute("INSERT INTO member VALUES (?1, ?2, ?3, ?4)", (room, user, since, joined))?;
        self.write_marker(user, room, seq)
    }
}

impl RoomRows for WriteTxn<'_> {
    fn similar_room(&self, name: &RoomName) -> Result<Option<RoomName>, StoreError> {
        let [one, other] = name.skeletons();
        let sql = "SELECT min(room) FROM room_skeleton WHERE skeleton IN (?1, ?2)";
        let found: Option<String> =
            self.db.prepare_cached(sql)?.query_row((one, other), |row| row.get(0))?;
        found.as_deref().map(parse_room).transpose()
    }

    fn count_rooms(&self) -> Result<u32, StoreError> {
        let sql = "SELECT count(*) FROM room WHERE archived = 0";
        Ok(self.db.prepare_cached(sql)?.query_row((), |row| row.get(0))?)
    }

    fn count_memberships(&self, user: &UserId) -> Result<u32, StoreError> {
        let sql = "SELECT count(*) FROM member WHERE user = ?1";
        Ok(self.db.prepare_cached(sql)?.query_row([user.as_str()], |row| row.get(0))?)
    }
}

pub(super) fn find_room(db: &Connection, room: &RoomName) -> Result<Option<RoomState>, StoreError> {
    let sql = "SELECT name, private, topic, archived, people FROM room WHERE name = ?1";
    let found = db.prepare_cached(sql)?.query_row([room.as_str()], room_state);
    Ok(found.optional()?)
}

/// The columns `name, private, topic, archived, people`.
fn room_state(row: &SqliteRow<'_>) -> rusqlite::Result<RoomState> {
    Ok(RoomState {
        private: row.get(1)?,
        topic: SafeText::from_trusted(row.get_ref(2)?.as_str()?),
        archived: row.get(3)?,
        people: row.get(4)?,
    })
}

pub(super) fn member_since(
    db: &Connection,
    room: &RoomName,
    user: &UserId,
) -> Result<Option<Seq>, StoreError> {
    let sql = "SELECT since FROM member WHERE room = ?1 AND user = ?2";
    let parameters = (room.as_str(), user.as_str());
    Ok(db.prepare_cached(sql)?.query_row(parameters, |row| seq_column(row, 0)).optional()?)
}

pub(super) fn owner(db: &Connection, room: &RoomName) -> Result<Option<UserId>, StoreError> {
    Ok(members(db, room, None, 1)?.pop())
}

/// At most `limit` members, longest first, after this one.
pub(super) fn members(
    db: &Connection,
    room: &RoomName,
    after: Option<&UserId>,
    limit: usize,
) -> Result<Vec<UserId>, StoreError> {
    let joined = match after {
        None => Some(0),
        Some(user) => db
            .prepare_cached("SELECT joined FROM member WHERE room = ?1 AND user = ?2")?
            .query_row((room.as_str(), user.as_str()), |row| row.get::<_, i64>(0))
            .optional()?,
    };
    // Who has left meanwhile is after nobody.
    let Some(joined) = joined else { return Ok(Vec::new()) };
    let sql = "SELECT user FROM member WHERE room = ?1 AND (joined, user) > (?2, ?3)
               ORDER BY joined, user LIMIT ?4";
    let after = after.map_or("", UserId::as_str);
    query_all(db, sql, (room.as_str(), joined, after, limit_to_sql(limit)), user_id_column)
}

/// At most `limit` registered users, ordered by ID, after this one.
pub(super) fn registered_users(
    db: &Connection,
    after: Option<&UserId>,
    limit: usize,
) -> Result<Vec<UserId>, StoreError> {
    let sql = "SELECT user FROM person WHERE user > ?1 ORDER BY user LIMIT ?2";
    query_all(db, sql, (after.map_or("", UserId::as_str), limit_to_sql(limit)), user_id_column)
}

pub(super) fn public_rooms(
    db: &Connection,
    after: Option<&RoomName>,
    limit: usize,
) -> Result<Page<(RoomName, RoomState)>, StoreError> {
    let sql = "SELECT name, private, topic, archived, people FROM room
               WHERE name > ?1 AND private = 0 AND archived = 0 ORDER BY name LIMIT ?2";
    let parameters = (after.map_or("", RoomName::as_str), limit_to_sql(limit + 1));
    let rooms = query_all(db, sql, parameters, |row| Ok((room_column(row, 0)?, room_state(row)?)))?;
    Ok(Page::new(rooms, limit))
}

/// All rooms with their members.
pub(super) fn read_rooms(db: &Connection) -> Result<Vec<(RoomName, Room)>, StoreError> {
    let sql = "SELECT name, private, archived FROM room ORDER BY name";
    let rooms = query_all(db, sql, (), |row| {
        let (private, archived) = (row.get(1)?, row.get(2)?);
        Ok((room_column(row, 0)?, Room { private, archived, members: BTreeMap::new() }))
    })?;
    let sql = "SELECT user, since FROM member WHERE room = ?1";
    let with_members = rooms.into_iter().map(|(name, room)| {
        let members = query_all(db, sql, [name.as_str()], |row| {
            Ok((user_id_column(row)?, seq_column(row, 1)?))
        })?;
        Ok((name, Room { members: members.into_iter().collect(), ..room }))
    });
    with_members.collect()
}

fn limit_to_sql(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
