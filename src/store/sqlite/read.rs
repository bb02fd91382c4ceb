//! Readers of the log in SQLite.
//!
//! The cost of a page depends only on its number of rows, and on the number of conversations that it is read
//! from: table `feed` has a sorted list for each conversation, and [`Merge`] merges those of a viewer. Each
//! row is checked again by the one rule of visibility before it is returned ([`Sight`]).

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, Row as SqliteRow, Transaction};

use super::super::message_ids::MessageIds;
use super::super::row::{MessageRow, ScanRow, key_of_named};
use super::super::rules::readable;
use super::super::sight::Sight;
use super::super::{
    Answer, EventPage, LogSize, MessagePage, OpenInvite, PAGE_BYTES, Page, ReadGate, Reader,
    ScanResult, StoreError, View,
};
use super::annotations::{is_pinned, read_reactions};
use super::changes::find_change;
use super::feed::{self, Direction, FeedKind, Merge};
use super::{
    accounts, markers, open, optional_text_column, read_header, read_size, rooms, seq_column,
    seq_of, seq_to_sql, text_column,
};
use crate::protocol::error::Refusal;
use crate::protocol::event::Event;
use crate::protocol::id::{MessageId, RoomName, Seq, UserId};
use crate::protocol::message::{Audience, Message, Millis};
use crate::protocol::query::{HistoryQuery, HistoryRange};
use crate::protocol::room::{ConversationInfo, RoomState};

/// The columns of a [`MessageRow`], in the order of its fields.
const MESSAGE: &str = "SELECT seq, id, sender, recipients, at, zone, expires, reply_to, cid, content, guest, \
                       edited, mentions FROM message WHERE seq = ?1";

const REPLIES: &str = "SELECT seq FROM message WHERE reply_to = ?1 ORDER BY seq DESC";

const SCAN: &str = "SELECT seq, sender, recipients, at, expires, content FROM message
                    WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2";

const SCAN_CONVERSATION: &str = "
    SELECT feed.seq, message.sender, recipients, at, expires, content
    FROM feed CROSS JOIN message ON message.seq = feed.seq
    WHERE conversation = ?3 AND what = 0 AND feed.seq < ?1 ORDER BY feed.seq DESC LIMIT ?2";

/// A reader of a [`SqliteStore`](super::SqliteStore).
#[derive(Debug)]
pub struct SqliteReader {
    db: Connection,
    ids: MessageIds,
    gate: Arc<ReadGate>,
}

impl SqliteReader {
    pub(super) fn open(
        file: &Path,
        ids: MessageIds,
        gate: Arc<ReadGate>,
    ) -> Result<Self, StoreError> {
        Ok(Self { db: open::open_reader(file)?, ids, gate })
    }

    /// Reads one consistent state of the log, as the viewer may see it.
    fn read<T>(
        &mut self,
        view: View<'_>,
        work: impl FnOnce(&Snapshot<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let _reading = self.gate.enter();
        let db = self.db.transaction()?;
        let sight = feed::load_sight(&db, view.viewer)?;
        work(&Snapshot { db: &db, ids: self.ids, sight, now: view.now })
    }
}

impl Reader for SqliteReader {
    fn events_after(
        &mut self,
        view: View<'_>,
        after: Seq,
        limit: usize,
    ) -> Result<Option<EventPage>, StoreError> {
        self.read(view, |log| log.events_after(after, limit.max(1)))
    }

    fn events_outside_rooms_after(
        &mut self,
        view: View<'_>,
        after: Seq,
        limit: usize,
    ) -> Result<Option<EventPage>, StoreError> {
        self.read(view, |log| {
            let sight = Sight { viewer: view.viewer, rooms: BTreeMap::new() };
            Snapshot { sight, ..*log }.events_after(after, limit.max(1))
        })
    }

    fn history(
        &mut self,
        view: View<'_>,
        query: &HistoryQuery,
        limit: usize,
    ) -> Result<Answer<MessagePage>, StoreError> {
        self.read(view, |log| match log.readable(query.conversation.as_ref())? {
            Ok(conversation) => log.history(conversation.as_deref(), query.range, limit),
            Err(refusal) => Ok(Err(refusal)),
        })
    }

    fn messages(&mut self, view: View<'_>, seqs: &[Seq]) -> Result<Vec<Message>, StoreError> {
        self.read(view, |log| {
            let found = seqs.iter().map(|seq| log.annotated(*seq, &mut 0));
            found.filter_map(Result::transpose).collect()
        })
    }

    fn scan(
        &mut self,
        view: View<'_>,
        conversation: Option<&Audience>,
        before: Option<Seq>,
        max_rows: usize,
        visit: &mut dyn FnMut(&ScanRow<'_>) -> ControlFlow<()>,
    ) -> Result<Answer<ScanResult>, StoreError> {
        self.read(view, |log| match log.readable(conversation)? {
            Ok(key) => log.scan(key.as_deref(), before, max_rows.max(1), visit).map(Ok),
            Err(refusal) => Ok(Err(refusal)),
        })
    }

    fn conversations(&mut self, view: View<'_>) -> Result<Vec<ConversationInfo>, StoreError> {
        self.read(view, |log| markers::conversations(log.db, &log.sight, read_header(log.db)?.head))
    }

    fn public_rooms(
        &mut self,
        after: Option<&RoomName>,
        limit: usize,
    ) -> Result<Page<(RoomName, RoomState)>, StoreError> {
        let _reading = self.gate.enter();
        rooms::public_rooms(&self.db, after, limit)
    }

    fn users(
        &mut self,
        view: View<'_>,
        room: Option<&RoomName>,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Answer<Page<UserId>>, StoreError> {
        self.read(view, |log| {
            let users = match room {
                None => rooms::registered_users(log.db, after, limit + 1)?,
                Some(room) => match log.readable(Some(&Audience::Room(room.clone())))? {
                    Ok(_) => rooms::members(log.db, room, after, limit + 1)?,
                    Err(refusal) => return Ok(Err(refusal)),
                },
            };
            Ok(Ok(Page::new(users, limit)))
        })
    }

    fn open_invites(&mut self, now: Millis) -> Result<Vec<OpenInvite>, StoreError> {
        let _reading = self.gate.enter();
        accounts::read_open_invites(&self.db, now)
    }

    fn size(&mut self) -> Result<LogSize, StoreError> {
        let _reading = self.gate.enter();
        read_size(&self.db)
    }
}

/// One consistent state of the log, as one viewer may see it.
struct Snapshot<'a> {
    db: &'a Transaction<'a>,
    ids: MessageIds,
    sight: Sight<'a>,
    now: Millis,
}

impl Snapshot<'_> {
    /// The key of the conversation that the viewer names, or why it may not be read.
    fn readable(
        &self,
        conversation: Option<&Audience>,
    ) -> Result<Answer<Option<String>>, StoreError> {
        let Some(conversation) = conversation else { return Ok(Ok(None)) };
        let state = match conversation.room() {
            Some(room) => rooms::find_room(self.db, room)?,
            None => None,
        };
        let key = || Some(key_of_named(self.sight.viewer, conversation));
        Ok(readable(&self.sight, conversation, state.as_ref()).map(|()| key()))
    }

    fn merge(
        &self,
        conversation: Option<&str>,
        kinds: &[FeedKind],
        direction: Direction,
        from: Seq,
    ) -> Result<Merge<'_>, StoreError> {
        let lists = match conversation {
            Some(key) => feed::lists_of(&self.sight, key, kinds),
            None => feed::all_lists(self.db, &self.sight, kinds)?,
        };
        Merge::new(self.db, direction, lists, from)
    }

    fn events_after(&self, after: Seq, limit: usize) -> Result<Option<EventPage>, StoreError> {
        let header = read_header(self.db)?;
        if after < header.horizon {
            return Ok(None);
        }
        let (mut events, mut bytes) = (Vec::new(), 0);
        let kinds = [FeedKind::Message, FeedKind::Change];
        let mut merge = self.merge(None, &kinds, Direction::Forward, after)?;
        while let Some((seq, kind)) = merge.next()? {
            let event = match kind {
                FeedKind::Change => self.change(seq, &mut bytes)?,
                FeedKind::Message | FeedKind::Pin => {
                    self.message(seq, &mut bytes)?.map(Event::Posted)
                }
            };
            events.extend(event);
            if events.len() == limit || bytes > PAGE_BYTES {
                return Ok(Some(EventPage { events, complete_to: seq }));
            }
        }
        Ok(Some(EventPage { events, complete_to: header.head }))
    }

    /// The change with this number, if the viewer may see it.
    fn change(&self, seq: Seq, bytes: &mut usize) -> Result<Option<Event>, StoreError> {
        let change = find_change(self.db, seq)?.filter(|change| change.is_visible(&self.sight));
        let Some(change) = change else { return Ok(None) };
        let message = self.message(change.about, bytes)?;
        Ok(change.into_event(message))
    }

    /// The message with this number, if the viewer may see it, without reactions and pin. Adds its size to
    /// `bytes`.
    fn message(&self, seq: Seq, bytes: &mut usize) -> Result<Option<Message>, StoreError> {
        let found = with_message(self.db, seq, |row| {
            if row.is_visible(&self.sight, self.now) {
                *bytes += row.bytes();
                row.to_message().map(Some)
            } else {
                Ok(None)
            }
        });
        Ok(found?.flatten())
    }

    fn annotated(&self, seq: Seq, bytes: &mut usize) -> Result<Option<Message>, StoreError> {
        let Some(mut message) = self.message(seq, bytes)? else { return Ok(None) };
        message.reactions = read_reactions(self.db, seq, self.sight.viewer)?;
        message.pinned = is_pinned(self.db, &conversation_of(&message), seq)?;
        Ok(Some(message))
    }

    fn history(
        &self,
        conversation: Option<&str>,
        range: HistoryRange,
        limit: usize,
    ) -> Result<Answer<MessagePage>, StoreError> {
        let before = |seq, limit| self.messages_before(conversation, FeedKind::Message, seq, limit);
        let after = |seq, limit| self.messages_after(conversation, seq, limit);
        let at = |seq: Seq| Seq(seq.0.saturating_add(1));
        let half = limit / 2;
        let ((earlier, has_earlier), (later, has_later)) = match range {
            HistoryRange::Latest => (before(Seq(u64::MAX), limit)?, (Vec::new(), false)),
            HistoryRange::Before(seq) => {
                let (_, has_later) = after(Seq(seq.0.saturating_sub(1)), 0)?;
                (before(seq, limit)?, (Vec::new(), has_later))
            }
            HistoryRange::After(seq) => {
                let (_, has_earlier) = before(at(seq), 0)?;
                ((Vec::new(), has_earlier), after(seq, limit)?)
            }
            HistoryRange::Near(seq) => (before(at(seq), half)?, after(seq, half)?),
            HistoryRange::Around(id) => match self.find(conversation, id)? {
                None => return Ok(Err(Refusal::UnknownMessage(id))),
                Some(seq) => (before(at(seq), half + 1)?, after(seq, half)?),
            },
            HistoryRange::Thread(id) => match self.find(conversation, id)? {
                None => return Ok(Err(Refusal::UnknownMessage(id))),
                Some(seq) => (self.thread(conversation, id, seq, limit)?, (Vec::new(), false)),
            },
            HistoryRange::Pinned => {
                let pinned =
                    self.messages_before(conversation, FeedKind::Pin, Seq(u64::MAX), limit)?;
                (pinned, (Vec::new(), false))
            }
        };
        let messages = earlier.into_iter().rev().chain(later).collect();
        Ok(Ok(MessagePage { messages, has_earlier, has_later }))
    }

    /// Newest first.
    fn messages_before(
        &self,
        conversation: Option<&str>,
        kind: FeedKind,
        before: Seq,
        limit: usize,
    ) -> Result<(Vec<Message>, bool), StoreError> {
        let mut merge = self.merge(conversation, &[kind], Direction::Backward, before)?;
        PageBuilder::new(self, limit).fill(|| Ok(merge.next()?.map(|(seq, _)| seq)))
    }

    fn messages_after(
        &self,
        conversation: Option<&str>,
        after: Seq,
        limit: usize,
    ) -> Result<(Vec<Message>, bool), StoreError> {
        let kinds = [FeedKind::Message];
        let mut merge = self.merge(conversation, &kinds, Direction::Forward, after)?;
        PageBuilder::new(self, limit).fill(|| Ok(merge.next()?.map(|(seq, _)| seq)))
    }

    /// A message, after the latest replies to it.
    fn thread(
        &self,
        conversation: Option<&str>,
        id: MessageId,
        seq: Seq,
        limit: usize,
    ) -> Result<(Vec<Message>, bool), StoreError> {
        let mut statement = self.db.prepare_cached(REPLIES)?;
        let mut replies = statement.query([id.number()])?;
        let page = PageBuilder::new(self, limit.saturating_sub(1)).of(conversation);
        let (mut messages, has_more) =
            page.fill(|| Ok(replies.next()?.map(|row| seq_column(row, 0)).transpose()?))?;
        messages.extend(self.annotated(seq, &mut 0)?);
        Ok((messages, has_more))
    }

    /// The number of the message with this id, if it is in the conversation and the viewer may see it.
    fn find(&self, conversation: Option<&str>, id: MessageId) -> Result<Option<Seq>, StoreError> {
        let Some(seq) = seq_of(self.db, self.ids, id)? else { return Ok(None) };
        let found = self.message(seq, &mut 0)?;
        Ok(found.filter(|message| is_in(message, conversation)).map(|message| message.seq))
    }

    fn scan(
        &self,
        conversation: Option<&str>,
        before: Option<Seq>,
        max_rows: usize,
        visit: &mut dyn FnMut(&ScanRow<'_>) -> ControlFlow<()>,
    ) -> Result<ScanResult, StoreError> {
        let before = seq_to_sql(before.unwrap_or(Seq(u64::MAX)));
        let limit = i64::try_from(max_rows).unwrap_or(i64::MAX);
        let mut statement = self.db.prepare_cached(if conversation.is_some() {
            SCAN_CONVERSATION
        } else {
            SCAN
        })?;
        let mut rows = match conversation {
            Some(key) => statement.query((before, limit, key))?,
            None => statement.query((before, limit))?,
        };
        let (mut examined, mut visited, mut next) = (0, 0, None);
        while let Some(row) = rows.next()? {
            examined += 1;
            let mut flow = ControlFlow::Continue(());
            let row = read_scan_row(row)?;
            if row.is_visible(&self.sight, self.now) {
                visited += 1;
                flow = visit(&row);
            }
            if examined == max_rows || flow.is_break() {
                next = Some(row.seq);
            }
            if flow.is_break() {
                break;
            }
        }
        Ok(ScanResult { visited, next })
    }
}

/// Collects messages that the viewer may see, at most a number of them, and [`PAGE_BYTES`].
struct PageBuilder<'a> {
    log: &'a Snapshot<'a>,
    limit: usize,
    conversation: Option<&'a str>,
    messages: Vec<Message>,
    bytes: usize,
}

impl<'a> PageBuilder<'a> {
    fn new(log: &'a Snapshot<'a>, limit: usize) -> Self {
        Self { log, limit, conversation: None, messages: Vec::new(), bytes: 0 }
    }

    /// Skips messages of other conversations.
    fn of(self, conversation: Option<&'a str>) -> Self {
        Self { conversation, ..self }
    }

    /// Returns whether there was a message for which there was no room.
    fn push(&mut self, seq: Seq) -> Result<bool, StoreError> {
        if self.messages.len() == self.limit || self.bytes > PAGE_BYTES {
            let found = self.log.message(seq, &mut 0)?;
            return Ok(found.is_some_and(|message| is_in(&message, self.conversation)));
        }
        let found = self.log.annotated(seq, &mut self.bytes)?;
        self.messages.extend(found.filter(|message| is_in(message, self.conversation)));
        Ok(false)
    }

    /// Takes messages from `next`. Returns them, and whether there are more.
    fn fill(
        mut self,
        mut next: impl FnMut() -> Result<Option<Seq>, StoreError>,
    ) -> Result<(Vec<Message>, bool), StoreError> {
        while let Some(seq) = next()? {
            if self.push(seq)? {
                return Ok((self.messages, true));
            }
        }
        Ok((self.messages, false))
    }
}

fn is_in(message: &Message, conversation: Option<&str>) -> bool {
    conversation.is_none_or(|key| conversation_of(message) == key)
}

/// The key of the conversation of a message.
fn conversation_of(message: &Message) -> String {
    key_of_named(&message.sender, &message.audience)
}

/// The message with this number, whoever may see it.
pub(super) fn message_at(db: &Connection, seq: Seq) -> Result<Option<Message>, StoreError> {
    with_message(db, seq, |row: MessageRow<'_>| MessageRow::to_message(row))
}

fn with_message<T>(
    db: &Connection,
    seq: Seq,
    read: impl FnOnce(MessageRow<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut statement = db.prepare_cached(MESSAGE)?;
    let mut rows = statement.query([seq_to_sql(seq)])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    read(read_message_row(row)?).map(Some)
}

fn read_scan_row<'a>(row: &'a SqliteRow<'_>) -> Result<ScanRow<'a>, StoreError> {
    Ok(ScanRow {
        seq: seq_column(row, 0)?,
        sender: text_column(row, 1)?,
        recipients: optional_text_column(row, 2)?,
        at: row.get(3)?,
        expires: row.get(4)?,
        content: text_column(row, 5)?,
    })
}

fn read_message_row<'a>(row: &'a SqliteRow<'_>) -> Result<MessageRow<'a>, StoreError> {
    Ok(MessageRow {
        seq: seq_column(row, 0)?,
        id: row.get(1)?,
        sender: text_column(row, 2)?,
        recipients: optional_text_column(row, 3)?,
        at: row.get(4)?,
        zone: row.get(5)?,
        expires: row.get(6)?,
        reply_to: row.get(7)?,
        cid: optional_text_column(row, 8)?,
        content: text_column(row, 9)?,
        guest: row.get(10)?,
        edited: row.get(11)?,
        mentions: optional_text_column(row, 12)?,
    })
}

#[cfg(test)]
impl SqliteReader {
    /// The query plans of all paged queries.
    pub(crate) fn query_plans(&self) -> Vec<String> {
        let [before, after] = feed::PAGED_QUERIES;
        let plan = |sql: &str| {
            let sql = format!("EXPLAIN QUERY PLAN {sql}");
            let mut statement = self.db.prepare(&sql).unwrap();
            let rows = statement.raw_query().mapped(|row| row.get::<_, String>(3));
            rows.collect::<Result<Vec<_>, _>>().unwrap().join("\n")
        };
        [before, after, REPLIES, SCAN_CONVERSATION].map(plan).into()
    }
}
