//! The log: all messages and their removals in one total order, on disk.
//!
//! Two synchronous traits: [`Store`], the single writer, and [`Reader`]. [`sqlite`] implements them for
//! production. The tests have a second implementation in plain maps, and one conformance suite runs
//! against both. Threads and queues are not part of the traits: [`worker`] adds them for the server.
//!
//! Everything stored is an [`Entry`]. [`Store::apply`] decides what comes of it, by rules that depend on
//! nothing but the entry and what is stored (`rules`). Every read has a viewer and a time ([`View`]), and no
//! reader returns a message that this viewer may not see, or one that is removed or expired by then.

pub mod ban;
pub mod error;
mod message_ids;
mod read_gate;
mod row;
mod rules;
pub mod sqlite;
pub mod worker;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use chrono::{DateTime, FixedOffset};

pub use self::ban::{BanTarget, NetworkError, client_network, network_contains, parse_network};
pub use self::error::StoreError;
pub use self::read_gate::ReadGate;
pub use self::row::ScanRow;
use crate::protocol::error::Refusal;
use crate::protocol::event::Event;
use crate::protocol::id::{Cid, MessageId, Seq, UserId};
use crate::protocol::message::{Audience, Message, MessageKind, Millis};
use crate::protocol::text::SafeText;

/// After more than 999 million entries.
const NO_IDS_LEFT: Refusal = Refusal::NotStored("all message ids are in use");

const DAY: Millis = 24 * 60 * 60 * 1_000;

/// How long a [`Cid`] is remembered, even if its message is removed: longer than any client keeps
/// resending (PROTOCOL.md).
pub const CID_RETENTION: Millis = 7 * DAY;

/// How long a tombstone is kept, so that clients that were offline learn of the removal: long enough
/// for a holiday. Also how long an undelivered direct message is kept at most, whatever the
/// [`Retention`].
pub const TOMBSTONE_RETENTION: Millis = 90 * DAY;

/// How long every message is kept at least, so that a client that lost its connection can resume.
pub const MIN_RETENTION: Millis = 10 * 60 * 1_000;

/// How far the log's clock may be ahead of the server's. If the server's clock steps back by no more
/// than this, the log's clock stands still; if by more, the earlier time was wrong, and the log's clock
/// steps back, too.
pub const MAX_CLOCK_AHEAD: Millis = 60 * 60 * 1_000;

/// How many rows of each table one [`Store::sweep`] examines: a few milliseconds, during which nothing
/// else is written.
pub const SWEEP_ROWS: u16 = 500;

/// The single writer of the log.
pub trait Store: Send + 'static {
    /// Reads concurrently with the writer, on a thread of its own.
    type Reader: Reader + Send + 'static;

    /// Everything the server loads at startup.
    fn snapshot(&mut self) -> Result<LogSnapshot, StoreError>;

    /// Opens another reader.
    fn open_reader(&self) -> Result<Self::Reader, StoreError>;

    /// Applies all of `batch`, in order, in one transaction, and returns one outcome for each. This is the
    /// only place that decides about stored things: who may delete, where a reply goes, which id a
    /// message gets, whether a request was seen before. On
    /// return everything is on disk; after an error nothing was done. Unless the error is
    /// [transient](StoreError::is_transient), the state of the disk is unknown, and every later write
    /// fails with [`StoreError::EarlierFailure`].
    ///
    /// `now` is the server's clock. Messages are stamped with the log's clock, which follows it but
    /// never steps back by less than [`MAX_CLOCK_AHEAD`].
    fn apply(&mut self, now: Millis, batch: &[Entry]) -> Result<Vec<Outcome>, StoreError>;

    /// Removes some of what `retention` no longer keeps. Call it again while
    /// [`SweepReport::has_more`].
    ///
    /// Rows are examined from the oldest to the first that is too young to be removed.
    fn sweep(&mut self, now: Millis, retention: Retention) -> Result<SweepReport, StoreError>;

    /// Erases removed text from the files. Never waits for readers: pause them with
    /// [`Store::read_gate`].
    fn scrub(&mut self) -> Result<ScrubOutcome, StoreError>;

    /// Keeps the files short. For the time after the outcomes of a write are reported: it never waits for
    /// readers, but for the disk.
    ///
    /// Unless an error is [transient](StoreError::is_transient), every later write fails.
    fn checkpoint(&mut self) -> Result<CheckpointOutcome, StoreError> {
        Ok(CheckpointOutcome::Done)
    }

    /// The gate that all readers of this log pass.
    fn read_gate(&self) -> Arc<ReadGate> {
        Arc::default()
    }
}

/// The text and recipients of a page, in bytes. A page ends after the message that exceeds it, however few
/// there are: with 256 recipients each, 100 messages would take 40 ms to read.
pub const PAGE_BYTES: usize = 256 * 1024;

/// A reader of the log. Each call sees one consistent state, with everything committed before it. A page may
/// have fewer messages or events than asked for: see [`PAGE_BYTES`].
pub trait Reader {
    /// At most `limit` events after `after`, for a client that was offline or too slow. Returns `None`
    /// if `after` is before the [horizon](Reader::horizon).
    ///
    /// A message that was removed since is not returned; its removal is.
    fn events_after(
        &mut self,
        view: View<'_>,
        after: Seq,
        limit: usize,
    ) -> Result<Option<EventPage>, StoreError>;

    /// The last `limit` messages before `before`, or the last of all.
    fn history(
        &mut self,
        view: View<'_>,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<MessagePage, StoreError>;

    /// A message with at most `limit` messages before and `limit` after it. Returns `None` if there is
    /// no such message.
    fn around(
        &mut self,
        view: View<'_>,
        id: MessageId,
        limit: usize,
    ) -> Result<Option<MessagesAround>, StoreError>;

    /// The messages with these sequence numbers; missing ones are skipped.
    fn messages(&mut self, view: View<'_>, seqs: &[Seq]) -> Result<Vec<Message>, StoreError>;

    /// Calls `visit` with each visible message before `before`, newest first, until it breaks. Rows are
    /// borrowed, not decoded, because a search reads millions. Examines at most `max_rows` rows,
    /// counting invisible ones.
    fn scan(
        &mut self,
        view: View<'_>,
        before: Option<Seq>,
        max_rows: usize,
        visit: &mut dyn FnMut(&ScanRow<'_>) -> ControlFlow<()>,
    ) -> Result<ScanResult, StoreError>;

    /// The lowest `after` for which [`Reader::events_after`] is complete.
    fn horizon(&mut self) -> Result<Seq, StoreError>;

    /// The size of the log. Counts rows: some milliseconds for each 100,000 messages.
    fn size(&mut self) -> Result<LogSize, StoreError>;
}

/// The size of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSize {
    /// The number of messages.
    pub messages: u64,
    /// The size of the log file.
    pub bytes: u64,
}

/// The viewer and the time of a read.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Only messages to everyone, from this user and to this user are returned.
    pub viewer: &'a UserId,
    /// Messages that have expired by then are not returned.
    pub now: Millis,
}

/// A proposed change to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the field names say it")]
pub enum Entry {
    /// A user posts a message.
    Post(NewMessage),
    /// A user deletes a message.
    Delete {
        id: MessageId,
        by: UserId,
        /// The client-chosen id of the request.
        cid: Option<Cid>,
    },
    /// A temporary message expires.
    Expire { id: MessageId },
    /// An administrator removes a message. It is reported as deleted by its author.
    Remove { id: MessageId },
    /// An ID is bound to a key permanently, and one use of the invite is taken, if there is one.
    Register {
        user: UserId,
        /// The SHA-256 of the public key.
        key: [u8; 32],
        /// The [`OpenInvite::hash`].
        invite: Option<[u8; 32]>,
    },
    /// An ID is bound to another key. Does nothing if the ID is not registered.
    Rebind {
        user: UserId,
        /// The SHA-256 of the new public key.
        key: [u8; 32],
    },
    /// An invite is created.
    Invite(OpenInvite),
    /// A key or network is banned.
    Ban(BanTarget),
    /// A ban is lifted.
    Unban(BanTarget),
    /// A registered user has received all events up to `up_to`. It decides only how long direct
    /// messages are kept, so it may lag behind.
    Delivered { user: UserId, up_to: Seq },
}

/// An invite that can still be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenInvite {
    /// The SHA-256 of its secret. The secret itself is not stored.
    pub hash: [u8; 32],
    /// How many more users it admits.
    pub uses: u32,
    /// When it expires.
    pub expires: Millis,
}

impl OpenInvite {
    /// Whether the invite admits another user at `now`.
    pub fn is_usable(&self, now: Millis) -> bool {
        self.uses > 0 && self.expires > now
    }
}

/// A message as its author sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// Its author.
    pub sender: UserId,
    /// See [`Message::guest`].
    pub guest: bool,
    /// The recipients that its author asked for.
    pub audience: Audience,
    /// The guests that are online. They can receive messages although they are not registered.
    pub guests: Arc<BTreeSet<UserId>>,
    /// Plain, reply or temporary.
    pub kind: MessageKind,
    /// The text.
    pub content: SafeText,
    /// When it was posted, in the server's time zone; stored to the millisecond.
    pub at: DateTime<FixedOffset>,
    /// The client-chosen id of the request.
    pub cid: Option<Cid>,
}

/// The outcome of an [`Entry`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the field names say it")]
pub enum Outcome {
    /// The message is stored.
    Posted(Message),
    /// A message was removed.
    Removed(Removal),
    /// Nothing was done: the same user sent this `cid` before, and it had this outcome.
    Repeated { seq: Seq, id: MessageId },
    /// Nothing was done: the rules do not allow it.
    Refused(Refusal),
    /// The ID is bound to this key, now or already before.
    Registered,
    /// Nothing was done: the ID is bound to another key.
    KeyMismatch,
    /// Nothing was done: the invite is unknown, used up or expired.
    InvalidInvite,
    /// The change is stored; it has no outcome of its own.
    Done,
}

/// The removal of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// [`Event::Deleted`] or [`Event::Expired`].
    pub event: Event,
    /// The author of the removed message.
    pub author: UserId,
    /// The recipients of the removed message.
    pub audience: Audience,
}

/// What the server loads when it opens a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSnapshot {
    /// The random identity of the log, drawn when it was created.
    pub epoch: String,
    /// The last sequence number given.
    pub head: Seq,
    /// See [`Reader::horizon`].
    pub horizon: Seq,
    /// The time of the last message or removal; 0 if there is none.
    pub clock: Millis,
    /// The size of the log.
    pub size: LogSize,
    /// When each temporary message expires, including those that expired while the server was stopped.
    pub expirations: Vec<(MessageId, Millis)>,
    /// The IDs and the SHA-256 of the keys they are bound to, in the order in which they were bound.
    pub registered: Vec<(UserId, [u8; 32])>,
    /// The invites with uses left, including expired ones.
    pub invites: Vec<OpenInvite>,
    /// All bans.
    pub bans: Vec<BanTarget>,
    /// All senders and recipients of direct messages in the log. These IDs must not be given to new
    /// users, who would see the messages.
    pub direct_message_users: Vec<UserId>,
}

/// How long messages are kept. Undelivered direct messages of registered users are kept up to
/// [`TOMBSTONE_RETENTION`], and temporary messages until they expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Without a limit.
    Forever,
    /// For so many days; 0 means [`MIN_RETENTION`].
    Days(u32),
}

impl Retention {
    /// Messages posted before this time are not kept.
    fn cutoff(self, now: Millis) -> Option<Millis> {
        match self {
            Self::Forever => None,
            Self::Days(days) => Some(now - (Millis::from(days) * DAY).max(MIN_RETENTION)),
        }
    }
}

/// The result of one [`Store::sweep`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SweepReport {
    /// Whether anything was removed.
    pub has_removed: bool,
    /// Whether there may be more to remove now.
    pub has_more: bool,
}

/// The result of [`Store::scrub`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScrubOutcome {
    /// The files contain no removed text.
    Done,
    /// A reader still used an older state of the file. Try again.
    Busy,
}

/// The result of [`Store::checkpoint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointOutcome {
    /// The files are short enough.
    Done,
    /// Readers never rested, so the write-ahead log has grown too long: [`Store::scrub`] truncates it.
    ScrubDue,
}

/// Consecutive events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// The events visible to the viewer: [`Event::Posted`], [`Event::Deleted`] and [`Event::Expired`].
    pub events: Vec<Event>,
    /// `events` is complete up to here: pass it as `after` for the next page. On the last page it is
    /// the head of the log.
    pub complete_to: Seq,
}

/// Consecutive messages, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagePage {
    /// The messages.
    pub messages: Vec<Message>,
    /// Whether there are earlier messages.
    pub has_earlier: bool,
}

/// A message and its neighbours, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagesAround {
    /// The messages.
    pub messages: Vec<Message>,
    /// Whether there are earlier messages.
    pub has_earlier: bool,
    /// Whether there are later messages.
    pub has_later: bool,
}

/// The result of one [`Reader::scan`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanResult {
    /// How many messages `visit` was called with.
    pub visited: u64,
    /// Pass it as `before` to continue; `None` at the beginning of the log.
    pub next: Option<Seq>,
}

/// The log's clock after the server's clock shows `now`; see [`MAX_CLOCK_AHEAD`].
fn advance_clock(clock: Millis, now: Millis) -> Millis {
    if clock.saturating_sub(now) > MAX_CLOCK_AHEAD { now } else { clock.max(now) }
}
