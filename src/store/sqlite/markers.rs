//! Read markers, notification settings and the conversations of a user, in SQLite.

use std::cmp::Reverse;

use rusqlite::{Connection, OptionalExtension};

use super::super::account_rules::NoChange;
use super::super::row::{ALL, corrupt, key_of_named, parse_room, parse_users};
use super::super::rules;
use super::super::sight::Sight;
use super::super::{Outcome, StoreError};
use super::feed::{FeedKind, direct_conversations};
use super::rooms::find_room;
use super::write::WriteTxn;
use super::{optional_text_column, seq_column, seq_to_sql};
use crate::protocol::event::Event;
use crate::protocol::id::{Cid, Seq, UserId};
use crate::protocol::limits::{LISTED_CONVERSATIONS, UNREAD_COUNTED};
use crate::protocol::message::{Audience, Millis};
use crate::protocol::room::{ConversationInfo, NotifyLevel, NotifySetting, ReadMarker};

/// A row of table `marker`.
#[derive(Debug, Clone, Copy, Default)]
struct Marker {
    read: Seq,
    notify: Option<NotifyLevel>,
    muted_until: Option<Millis>,
}

impl WriteTxn<'_> {
    pub(super) fn mark_read(
        &self,
        by: &UserId,
        conversation: &Audience,
        (up_to, unread): (Seq, bool),
        cid: Option<&Cid>,
    ) -> Result<Outcome, NoChange> {
        let conversation = rules::may_mark(self, by, conversation)?;
        let key = key_of_named(by, &conversation);
        let old = find_marker(self.db, by, &key)?.unwrap_or_default().read;
        let seq = rules::moved_marker(old, up_to.min(self.header.head), unread);
        if seq != old {
            self.write_marker(by.as_str(), &key, seq)?;
        }
        let since = match conversation.room() {
            Some(room) => super::rooms::member_since(self.db, room, by)?.unwrap_or_default(),
            None => Seq(0),
        };
        let (unread, mentions) = count_after(self.db, by, &key, seq, since)?;
        let cid = cid.cloned();
        let marker = ReadMarker { conversation, seq, unread, mentions, cid };
        Ok(Outcome::Personal { user: by.clone(), event: Event::Read(marker) })
    }

    pub(super) fn set_notify(
        &self,
        by: &UserId,
        conversation: &Audience,
        (level, muted_until): (NotifyLevel, Option<Millis>),
        cid: Option<&Cid>,
    ) -> Result<Outcome, NoChange> {
        let conversation = rules::may_mark(self, by, conversation)?;
        let key = key_of_named(by, &conversation);
        let read = find_marker(self.db, by, &key)?.unwrap_or_default().read;
        self.execute(
            "INSERT OR REPLACE INTO marker VALUES (?1, ?2, ?3, ?4, ?5)",
            (by.as_str(), &key, seq_to_sql(read), notify_name(level), muted_until),
        )?;
        let cid = cid.cloned();
        let setting = NotifySetting { conversation, level, muted_until, cid };
        Ok(Outcome::Personal { user: by.clone(), event: Event::NotifySet(setting) })
    }

    pub(super) fn write_marker(
        &self,
        user: &str,
        conversation: &str,
        read: Seq,
    ) -> Result<(), StoreError> {
        write_marker(self.db, user, conversation, read)
    }
}

pub(super) fn write_marker(
    db: &Connection,
    user: &str,
    conversation: &str,
    read: Seq,
) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO marker (user, conversation, read) VALUES (?1, ?2, ?3)
         ON CONFLICT (user, conversation) DO UPDATE SET read = excluded.read",
    )?
    .execute((user, conversation, seq_to_sql(read)))?;
    Ok(())
}

fn find_marker(
    db: &Connection,
    user: &UserId,
    conversation: &str,
) -> Result<Option<Marker>, StoreError> {
    let sql = "SELECT read, notify, muted_until FROM marker WHERE user = ?1 AND conversation = ?2";
    let found = db.prepare_cached(sql)?.query_row((user.as_str(), conversation), |row| {
        let (read, muted_until) = (seq_column(row, 0)?, row.get(2)?);
        let notify = optional_text_column(row, 1).map(|name| name.map(parse_notify).transpose());
        Ok(notify.flatten().map(|notify| Marker { read, notify, muted_until }))
    });
    found.optional()?.transpose()
}

/// The messages of others after `read`, and those of them that mention the user, each counted up to
/// [`UNREAD_COUNTED`]. The user may see those from `since` on.
fn count_after(
    db: &Connection,
    user: &UserId,
    conversation: &str,
    read: Seq,
    since: Seq,
) -> Result<(u32, u32), StoreError> {
    let from = seq_to_sql(since.max(Seq(read.0.saturating_add(1))));
    let unread = "SELECT count(*) FROM (SELECT 1 FROM feed WHERE conversation = ?1 AND what = 0
                  AND seq >= ?2 AND sender <> ?3 LIMIT ?4)";
    let parameters = (conversation, from, user.as_str(), UNREAD_COUNTED);
    let unread = db.prepare_cached(unread)?.query_row(parameters, |row| row.get(0))?;
    if unread == 0 {
        return Ok((0, 0));
    }
    let mentions = "
        SELECT count(*) FROM (
            SELECT seq FROM mention WHERE conversation = ?1 AND user = ?3 AND seq >= ?2
            UNION ALL
            SELECT seq FROM mention WHERE conversation = ?1 AND user = ?5 AND seq >= ?2 AND ?3 <> (
                SELECT sender FROM feed
                WHERE conversation = ?1 AND what = 0 AND feed.seq = mention.seq
            )
            LIMIT ?4
        )";
    let parameters = (conversation, from, user.as_str(), UNREAD_COUNTED, ALL);
    let mentions = db.prepare_cached(mentions)?.query_row(parameters, |row| row.get(0))?;
    Ok((unread, mentions))
}

/// See [`super::super::Reader::conversations`].
pub(super) fn conversations(
    db: &Connection,
    sight: &Sight<'_>,
    head: Seq,
) -> Result<Vec<ConversationInfo>, StoreError> {
    let with_last = |(key, since): (String, Seq)| {
        last_message(db, &key, since).map(|last| (Reverse(last), key, since))
    };
    let rooms = sight.rooms.iter().map(|(room, since)| (room.as_str().to_owned(), *since));
    let shared = [(String::new(), Seq(0))].into_iter().chain(rooms);
    let mut all = shared.map(with_last).collect::<Result<Vec<_>, _>>()?;
    let direct = direct_conversations(db, sight.viewer)?.into_iter().map(|key| (key, Seq(0)));
    let mut direct = direct.map(with_last).collect::<Result<Vec<_>, _>>()?;
    direct.sort_unstable();
    direct.truncate(LISTED_CONVERSATIONS.saturating_sub(all.len()));
    all.extend(direct);
    all.sort_unstable();
    let mut is_registered = db.prepare_cached("SELECT 1 FROM person WHERE user = ?1")?;
    // A guest has no markers, and has read everything.
    let default = if is_registered.exists([sight.viewer.as_str()])? { Seq(0) } else { head };
    let info = |(Reverse(last), key, since): (_, String, Seq)| {
        conversation_info(db, sight.viewer, &key, (last, since), default)
    };
    all.into_iter().map(info).collect()
}

fn last_message(db: &Connection, conversation: &str, since: Seq) -> Result<Seq, StoreError> {
    let sql = "SELECT max(seq) FROM feed WHERE conversation = ?1 AND what = ?2 AND seq >= ?3";
    let parameters = (conversation, FeedKind::Message as i64, seq_to_sql(since));
    let last: Option<i64> = db.prepare_cached(sql)?.query_row(parameters, |row| row.get(0))?;
    Ok(Seq(last.unwrap_or_default().cast_unsigned()))
}

fn conversation_info(
    db: &Connection,
    viewer: &UserId,
    key: &str,
    (last, since): (Seq, Seq),
    default_read: Seq,
) -> Result<ConversationInfo, StoreError> {
    let conversation = parse_conversation(viewer, key)?;
    let room = match conversation.room() {
        Some(room) => find_room(db, room)?,
        None => None,
    };
    let marker = find_marker(db, viewer, key)?;
    let marker = marker.unwrap_or_else(|| Marker { read: default_read, ..Marker::default() });
    let (unread, mentions) = count_after(db, viewer, key, marker.read, since)?;
    Ok(ConversationInfo {
        room,
        last,
        read: marker.read,
        unread,
        mentions,
        notify: marker.notify.unwrap_or_else(|| rules::default_notify(&conversation)),
        muted_until: marker.muted_until,
        conversation,
    })
}

/// The conversation with this key, as `viewer` names it.
fn parse_conversation(viewer: &UserId, key: &str) -> Result<Audience, StoreError> {
    Ok(match key {
        "" => Audience::Everyone,
        room if room.starts_with('#') => Audience::Room(parse_room(room)?),
        users => {
            let mut users: std::collections::BTreeSet<UserId> = parse_users(users)?;
            users.remove(viewer);
            Audience::Only(users)
        }
    })
}

fn notify_name(level: NotifyLevel) -> &'static str {
    match level {
        NotifyLevel::All => "all",
        NotifyLevel::Mentions => "mentions",
        NotifyLevel::None => "none",
    }
}

fn parse_notify(name: &str) -> Result<NotifyLevel, StoreError> {
    [NotifyLevel::All, NotifyLevel::Mentions, NotifyLevel::None]
        .into_iter()
        .find(|level| notify_name(*level) == name)
        .ok_or_else(|| corrupt("notification level", name))
}
