//! Edits, reactions, pins and mentions in SQLite.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::super::account_rules::NoChange;
use super::super::change::ChangeKind;
use super::super::mention_rules::{self, MemberRows};
use super::super::row::{ALL, corrupt, join_mentions, parse_user_id};
use super::super::rules::{self, Original};
use super::super::{Outcome, StoreError, advance_clock};
use super::changes::NewChange;
use super::feed::FeedKind;
use super::read::message_at;
use super::write::WriteTxn;
use super::{query_all, seq_column, seq_to_sql, text_column, user_id_column};
use crate::protocol::id::{Cid, MessageId, RoomName, Seq, UserId};
use crate::protocol::limits::REACTION_USERS;
use crate::protocol::mention::Mentions;
use crate::protocol::message::Message;
use crate::protocol::reaction::{Emoji, Reaction};
use crate::protocol::text::SafeText;

/// A request about a message.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) id: MessageId,
    pub(super) by: &'a UserId,
    pub(super) cid: Option<&'a Cid>,
}

impl WriteTxn<'_> {
    pub(super) fn edit(
        &mut self,
        request: Request<'_>,
        content: &SafeText,
        guests: &BTreeSet<UserId>,
    ) -> Result<Outcome, NoChange> {
        let original = rules::may_edit(self, request.id, request.by)?;
        let seq = original.seq;
        let old = message_at(self.db, seq)?.ok_or_else(|| corrupt("message", seq.0))?;
        if old.content == *content {
            return Err(NoChange::Unchanged(Some(request.id)));
        }
        let text = content.as_str();
        let mentions = mention_rules::mentions(self, request.by, &original.audience, text, guests)?;
        let at = advance_clock(self.header.clock, self.now);
        self.execute(
            "UPDATE message SET content = ?2, mentions = ?3, edited = ?4 WHERE seq = ?1",
            (seq_to_sql(seq), text, join_mentions(&mentions), at),
        )?;
        // An edit notifies nobody, so no mention is added.
        self.remove_mentions(&original.conversation(), seq, &old.mentions, &mentions)?;
        let edited = Message { content: content.clone(), mentions, edited: Some(at), ..old };
        self.annotate(request, &original, ChangeKind::Edited, Some(edited))
    }

    pub(super) fn react(
        &mut self,
        request: Request<'_>,
        emoji: &Emoji,
        on: bool,
    ) -> Result<Outcome, NoChange> {
        let Request { id, by, .. } = request;
        let kinds = |message| reaction_kinds(self.db, message, by);
        let original = rules::may_react(self, (id, by), (emoji, on), kinds)?;
        let (message, user) = (seq_to_sql(original.seq), by.as_str());
        if on {
            self.execute(
                "INSERT INTO reaction VALUES (?1, ?2, ?3, ?4)",
                (message, emoji.as_str(), user, seq_to_sql(self.next_seq())),
            )?;
        } else {
            self.execute(
                "DELETE FROM reaction WHERE message = ?1 AND emoji = ?2 AND user = ?3",
                (message, emoji.as_str(), user),
            )?;
        }
        let kind = ChangeKind::Reacted { emoji: emoji.clone(), on };
        self.annotate(request, &original, kind, None)
    }

    pub(super) fn pin(&mut self, request: Request<'_>, on: bool) -> Result<Outcome, NoChange> {
        let pins = |original: &Original| {
            let conversation = original.conversation();
            Ok((is_pinned(self.db, &conversation, original.seq)?, self.count_pins(&conversation)?))
        };
        let original = rules::may_pin(self, (request.id, request.by), on, pins)?;
        let (conversation, seq) = (original.conversation(), original.seq);
        if on {
            self.add_to_feed(&conversation, FeedKind::Pin, seq, None)?;
        } else {
            self.remove_from_feed(&conversation, FeedKind::Pin, seq)?;
        }
        self.annotate(request, &original, ChangeKind::Pinned { on }, None)
    }

    fn annotate(
        &mut self,
        Request { id, by, cid }: Request<'_>,
        original: &Original,
        kind: ChangeKind,
        edited: Option<Message>,
    ) -> Result<Outcome, NoChange> {
        let message = Some((id, original.seq));
        let conversation = original.conversation();
        let new = NewChange { message, by: Some(by), cid, conversation, kind, members: Vec::new() };
        Ok(self.add_change(new, edited)?)
    }

    fn count_pins(&self, conversation: &str) -> Result<usize, StoreError> {
        let sql = "SELECT count(*) FROM feed WHERE conversation = ?1 AND what = ?2";
        let parameters = (conversation, FeedKind::Pin as i64);
        let count: u32 = self.db.prepare_cached(sql)?.query_row(parameters, |row| row.get(0))?;
        Ok(count as usize)
    }

    pub(super) fn add_mentions(
        &self,
        conversation: &str,
        seq: Seq,
        mentions: &Mentions,
    ) -> Result<(), StoreError> {
        let mut insert = self.db.prepare_cached("INSERT INTO mention VALUES (?1, ?2, ?3)")?;
        for user in mentioned(mentions) {
            insert.execute((conversation, user, seq_to_sql(seq)))?;
        }
        Ok(())
    }

    /// Removes the mentions that are not among `kept`.
    pub(super) fn remove_mentions(
        &self,
        conversation: &str,
        seq: Seq,
        mentions: &Mentions,
        kept: &Mentions,
    ) -> Result<(), StoreError> {
        let sql = "DELETE FROM mention WHERE conversation = ?1 AND user = ?2 AND seq = ?3";
        let mut delete = self.db.prepare_cached(sql)?;
        let kept: Vec<_> = mentioned(kept).collect();
        for user in mentioned(mentions).filter(|user| !kept.contains(user)) {
            delete.execute((conversation, user, seq_to_sql(seq)))?;
        }
        Ok(())
    }
}

/// The values of `mention.user`.
fn mentioned(mentions: &Mentions) -> impl Iterator<Item = &str> {
    let (users, all): (&[UserId], _) = match mentions {
        Mentions::None => (&[], None),
        Mentions::Users(users) => (users, None),
        Mentions::All => (&[], Some(ALL)),
    };
    users.iter().map(UserId::as_str).chain(all)
}

impl MemberRows for WriteTxn<'_> {
    fn users_between(
        &self,
        room: Option<&RoomName>,
        from: &str,
        to: &str,
    ) -> Result<Vec<UserId>, StoreError> {
        match room {
            None => {
                let sql = "SELECT user FROM person WHERE user BETWEEN ?1 AND ?2 LIMIT 2";
                query_all(self.db, sql, (from, to), user_id_column)
            }
            Some(room) => {
                let sql =
                    "SELECT user FROM member WHERE room = ?3 AND user BETWEEN ?1 AND ?2 LIMIT 2";
                query_all(self.db, sql, (from, to, room.as_str()), user_id_column)
            }
        }
    }

    fn count_registered(&self, limit: u32) -> Result<u32, StoreError> {
        let sql = "SELECT count(*) FROM (SELECT 1 FROM person LIMIT ?1)";
        Ok(self.db.prepare_cached(sql)?.query_row([limit], |row| row.get(0))?)
    }
}

pub(super) fn is_pinned(db: &Connection, conversation: &str, seq: Seq) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM feed WHERE conversation = ?1 AND what = ?2 AND seq = ?3";
    let parameters = (conversation, FeedKind::Pin as i64, seq_to_sql(seq));
    Ok(db.prepare_cached(sql)?.exists(parameters)?)
}

/// The emoji on a message, and whether the user is among those who reacted with it.
fn reaction_kinds(
    db: &Connection,
    message: Seq,
    user: &UserId,
) -> Result<Vec<(Emoji, bool)>, StoreError> {
    let sql = "SELECT emoji, max(user = ?2) FROM reaction WHERE message = ?1 GROUP BY emoji";
    query_all(db, sql, (seq_to_sql(message), user.as_str()), |row| {
        Ok((parse_emoji(text_column(row, 0)?)?, row.get(1)?))
    })
}

/// The reactions to a message, by the time at which each emoji was first used.
pub(super) fn read_reactions(
    db: &Connection,
    message: Seq,
    viewer: &UserId,
) -> Result<Vec<Reaction>, StoreError> {
    let sql = "SELECT emoji, user, seq FROM reaction WHERE message = ?1";
    let mut rows = query_all(db, sql, [seq_to_sql(message)], |row| {
        let (emoji, user): (String, String) = (row.get(0)?, row.get(1)?);
        Ok((seq_column(row, 2)?, emoji, user))
    })?;
    rows.sort_unstable();
    let mut reactions: Vec<Reaction> = Vec::new();
    for (_, emoji, user) in rows {
        let emoji = parse_emoji(&emoji)?;
        let known = reactions.iter().position(|reaction| reaction.emoji == emoji);
        if known.is_none() {
            reactions.push(Reaction { emoji, count: 0, users: Vec::new() });
        }
        let index = known.unwrap_or(reactions.len() - 1);
        let Some(reaction) = reactions.get_mut(index) else { continue };
        reaction.count += 1;
        if user == viewer.as_str() {
            reaction.users.insert(0, viewer.clone());
            reaction.users.truncate(REACTION_USERS);
        } else if reaction.users.len() < REACTION_USERS {
            reaction.users.push(parse_user_id(&user)?);
        }
    }
    Ok(reactions)
}

fn parse_emoji(text: &str) -> Result<Emoji, StoreError> {
    text.parse().map_err(|error| corrupt("emoji", error))
}
