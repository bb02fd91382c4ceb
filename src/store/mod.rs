//! The log: every message and what became of it, in the one order, on disk.
//!
//! Two synchronous traits: the one writer ([`Store`]) and its readers ([`Reader`]). [`sqlite`] is the
//! log of production, [`memory`] says in plain maps what it means, and one suite holds both to it. The
//! traits know nothing of threads, queues and clocks: [`handle`] brings them to a server.
//!
//! Who may do what is decided above. But whatever is read is read for somebody at some moment
//! ([`View`]), and no reader hands out what that person may not see, or what is gone by then.

pub mod ban;
pub mod error;
pub mod memory;
mod row;
pub mod sqlite;
pub mod worker;

#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

use chrono::{DateTime, FixedOffset};

pub use self::ban::{BanTarget, Network};
pub use self::error::StoreError;
pub use self::row::ScanRow;
use crate::protocol::event::{Deleted, Event};
use crate::protocol::id::{Cid, MessageId, Seq, UserId};
use crate::protocol::message::{Audience, Message, MessageKind, Millis};
use crate::protocol::text::SafeText;

/// One day.
const DAY: Millis = 24 * 60 * 60 * 1_000;

/// How long a [`Cid`] is remembered, whatever becomes of the message: longer than any client
/// goes on to resend (PROTOCOL.md).
pub const CID_RETENTION: Millis = 7 * DAY;

/// How long it is remembered that a message is gone, so that people who were away learn of it: a long
/// holiday. Also how long a direct message waits for somebody, when nothing else is kept that long.
pub const TOMBSTONE_RETENTION: Millis = 90 * DAY;

/// How long every message is kept, even when nothing is: a connection that was lost for so long
/// comes back to everything that was said.
pub const MIN_RETENTION: Millis = 10 * 60 * 1_000;

/// How far the log's clock may be ahead of the server's. A time that goes back by less stands still
/// in the log; by more, the earlier time was wrong, and the log goes back, too.
pub const MAX_CLOCK_AHEAD: Millis = 60 * 60 * 1_000;

/// How many rows of each sort one [`Store::sweep`] looks at: a few milliseconds, in which no message
/// is taken.
pub const SWEEP_ROWS: u16 = 500;

/// The one writer of the log.
pub trait Store: Send + 'static {
    /// What reads beside the writer, from a thread of its own.
    type Reader: Reader + Send + 'static;

    /// What is there; asked once, at the start.
    fn snapshot(&mut self) -> Result<LogSnapshot, StoreError>;

    /// One more reader.
    fn open_reader(&self) -> Result<Self::Reader, StoreError>;

    /// Does all of `batch`, in order, in one transaction: when this returns, it is on disk. After an
    /// error nothing of it has happened, and nothing but [`StoreError::DiskFull`] and
    /// [`StoreError::Busy`] goes away by itself: a store that can't be sure what the disk holds takes
    /// nothing more.
    ///
    /// `now` is the server's clock. The log has its own, which never goes back by less than
    /// [`CLOCK_BACK`]; messages are stamped by it.
    fn append(&mut self, now: Millis, batch: &[Append]) -> Result<Vec<Outcome>, StoreError>;

    /// Removes some of what is kept no longer; to be called again while [`SweepReport::more`].
    ///
    /// Rows are looked at from the oldest up to the first that is young enough.
    fn sweep(&mut self, now: Millis, retention: Retention) -> Result<SweepReport, StoreError>;

    /// Makes sure that no text that was removed is left in the files.
    fn scrub(&mut self) -> Result<ScrubOutcome, StoreError>;
}

/// A reader of the log. Each call sees one moment of it, with all that was committed before.
pub trait Reader {
    /// The next events after `after`, for those who were away or too slow, at most `limit`; `None` if
    /// that is too far back for all of them to be known still ([`Reader::horizon`]).
    ///
    /// A message that is gone is not among them, only the word that it is.
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

    /// A message with at most `limit` before and `limit` after it; `None` if there is none such.
    fn around(
        &mut self,
        view: View<'_>,
        id: MessageId,
        limit: usize,
    ) -> Result<Option<MessagesAround>, StoreError>;

    /// What decides who may reply to a message or remove it; `None` if there is none such.
    fn metadata(
        &mut self,
        view: View<'_>,
        id: MessageId,
    ) -> Result<Option<MessageMetadata>, StoreError>;

    /// The messages at these places, without those that are not there.
    fn messages(&mut self, view: View<'_>, places: &[Seq]) -> Result<Vec<Message>, StoreError>;

    /// Shows `each` of the messages before `before`, newest first, without making values of them: for
    /// the search. Looks at `rows` of the log at most, those that the viewer may not see among them,
    /// or until told to stop.
    fn scan(
        &mut self,
        view: View<'_>,
        before: Option<Seq>,
        rows: usize,
        each: &mut dyn FnMut(&ScanRow<'_>) -> ControlFlow<()>,
    ) -> Result<ScanResult, StoreError>;

    /// The earliest place from where [`Reader::events_after`] is still complete.
    fn horizon(&mut self) -> Result<Seq, StoreError>;

    /// How much there is. Counts, and so takes some milliseconds for each 100,000 messages.
    fn size(&mut self) -> Result<LogSize, StoreError>;
}

/// How large a log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSize {
    /// How many messages there are.
    pub messages: u64,
    /// How much room the log takes, in bytes.
    pub bytes: u64,
}

/// For whom something is read, and when.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Messages to everybody are seen, and this person's own and those to them.
    pub viewer: &'a UserId,
    /// Messages that expire by then are not seen any more.
    pub now: Millis,
}

/// What can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Append {
    /// Somebody says something.
    Post(NewMessage),
    /// A message is removed. Whether `by` may do that is decided before.
    Delete {
        /// Which.
        id: MessageId,
        /// By whom.
        author: UserId,
        /// That person's name for the request.
        cid: Option<Cid>,
    },
    /// The time of a temporary message is up.
    Expire {
        /// Which.
        id: MessageId,
    },
    /// A message is removed by whoever runs the server: as if by its author.
    Remove {
        /// Which.
        id: MessageId,
    },
    /// An ID is bound to a key for good, at the cost of one use of an invite if it takes one.
    Register {
        /// The ID.
        user: UserId,
        /// The SHA-256 of the public key.
        key: [u8; 32],
        /// The [`OpenInvite::hash`].
        invite: Option<[u8; 32]>,
    },
    /// An ID that belongs to a key belongs to another from now on.
    Rebind {
        /// The ID.
        user: UserId,
        /// The SHA-256 of the other public key.
        key: [u8; 32],
    },
    /// An invite is made.
    Invite(OpenInvite),
    /// Somebody is shut out.
    Ban(BanTarget),
    /// Somebody is shut out no longer.
    Unban(BanTarget),
    /// Somebody who is registered has everything up to here. May lag behind: it decides only how long
    /// direct messages wait.
    Delivered {
        /// Who.
        user: UserId,
        /// Up to where.
        up_to: Seq,
    },
}

/// An invite that lets somebody in still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenInvite {
    /// The SHA-256 of its secret, which is kept nowhere.
    pub hash: [u8; 32],
    /// How many more people it lets in.
    pub uses: u32,
    /// Until when.
    pub expires: Millis,
}

impl OpenInvite {
    /// Whether it lets somebody in now.
    pub fn is_usable(&self, now: Millis) -> bool {
        self.uses > 0 && self.expires > now
    }
}

/// A message before it has its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// An id that no message in the log has.
    pub id: MessageId,
    /// Who says it.
    pub sender: UserId,
    /// See [`UiEvent::guest`].
    pub guest: bool,
    /// Who gets it.
    pub audience: Audience,
    /// What sort it is.
    pub kind: MessageKind,
    /// The text.
    pub content: SafeText,
    /// When, in the server's time zone; kept to the millisecond.
    pub at: DateTime<FixedOffset>,
    /// The sender's name for it.
    pub cid: Option<Cid>,
}

/// What came of an [`Append`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is said.
    Posted(Message),
    /// It is removed.
    Deleted(Deleted),
    /// It is removed by whoever runs the server.
    Removed {
        /// As those who have it are told.
        deleted: Deleted,
        /// Who has it, beside its author.
        audience: Audience,
    },
    /// It has expired.
    Expired {
        /// The place of this event in the order.
        seq: Seq,
        /// The message.
        id: MessageId,
    },
    /// Nothing was done: this sender's `cid` was seen before, and this came of it then.
    Repeated(PriorOutcome),
    /// Nothing was done: there is no such message any more.
    NotFound,
    /// Nothing was done: another message has that id. Draw again.
    IdTaken,
    /// The ID belongs to this key, now or since long.
    Registered,
    /// Nothing was done: the ID belongs to another key.
    KeyMismatch,
    /// Nothing was done: the invite lets nobody in any more.
    InvalidInvite,
    /// It is noted.
    Done,
}

/// What came of a request that is now repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PriorOutcome {
    /// This was said.
    Posted(Message),
    /// Something was said, but its text is gone since.
    PostedThenRemoved {
        /// Its place in the order.
        seq: Seq,
        /// The message.
        id: MessageId,
    },
    /// Something was removed.
    Deleted(Deleted),
}

/// What a log contains when it is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSnapshot {
    /// The random identity of the log, made with it.
    pub epoch: String,
    /// The last number given.
    pub head: Seq,
    /// See [`Reader::horizon`].
    pub horizon: Seq,
    /// How much there is.
    pub size: LogSize,
    /// The ids that no new message may have, in no order: those of all messages, and of those that
    /// are gone as long as that is remembered.
    pub used_ids: Vec<MessageId>,
    /// When the temporary messages expire; also those whose time was up while nobody was there.
    pub expirations: Vec<(MessageId, Millis)>,
    /// The IDs that belong to keys, in the order in which they came to them.
    pub registered: Vec<(UserId, [u8; 32])>,
    /// The invites that may let somebody in still; also those whose time is up.
    pub invites: Vec<OpenInvite>,
    /// Who is shut out.
    pub bans: Vec<BanTarget>,
    /// Everybody with direct messages in the log. Whoever gets one of these IDs reads them: they are
    /// for nobody new.
    pub direct_message_users: Vec<UserId>,
}

/// How long messages are kept. Direct messages stay up to [`MARK_KEPT`] while somebody registered has
/// not [`Append::Seen`] them; temporary ones until they expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// For ever.
    Forever,
    /// For so many days; 0 is [`RESUME_KEPT`].
    Days(u32),
}

impl Retention {
    /// Messages from before this moment go.
    fn cutoff(self, now: Millis) -> Option<Millis> {
        match self {
            Self::Forever => None,
            Self::Days(days) => Some(now - (Millis::from(days) * DAY).max(MIN_RETENTION)),
        }
    }
}

/// What one [`Store::sweep`] did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SweepReport {
    /// Ids that are free again; the messages that had them are gone.
    pub freed_ids: Vec<MessageId>,
    /// Whether there is more to remove already.
    pub has_more: bool,
}

/// Whether [`Store::overwrite`] came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScrubOutcome {
    /// No removed text is left.
    Done,
    /// A reader held on to it. To be tried again.
    Busy,
}

/// Some events in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// What the viewer may see: [`Event::Said`], [`Event::Deleted`] and [`Event::Expired`].
    pub events: Vec<Event>,
    /// Everything up to here is in `events` or not for the viewer: ask for what is after it. When
    /// there is no more, this is the last number given; what is committed later has a later number.
    pub complete_to: Seq,
}

/// Some messages, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagePage {
    /// The messages.
    pub messages: Vec<Message>,
    /// Whether there are earlier ones.
    pub has_earlier: bool,
}

/// Some messages around one, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagesAround {
    /// The messages.
    pub messages: Vec<Message>,
    /// Whether there are earlier ones.
    pub has_earlier: bool,
    /// Whether there are later ones.
    pub has_later: bool,
}

/// A message without its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageMetadata {
    /// Its place in the order.
    pub seq: Seq,
    /// Who wrote it.
    pub sender: UserId,
    /// Who got it.
    pub audience: Audience,
    /// What sort it is.
    pub kind: MessageKind,
}

/// What a [`Reader::scan`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanResult {
    /// How many messages were shown.
    pub visited: u64,
    /// From where to go on; `None` at the beginning of the log.
    pub next: Option<Seq>,
}

/// The log's time: the server's, but never back by less than [`CLOCK_BACK`].
fn advance_clock(clock: Millis, now: Millis) -> Millis {
    if clock.saturating_sub(now) > MAX_CLOCK_AHEAD { now } else { clock.max(now) }
}
