//! The log: messages and all that happens to them, rooms, accounts and retention, as entries in one total
//! order, on disk.
//!
//! Two synchronous traits: [`Store`], the single writer, and [`Reader`]. [`sqlite`] implements them for
//! production. The tests have a second implementation in plain maps, and one conformance suite runs
//! against both. Threads and queues are not part of the traits: [`worker`] adds them for the server.
//!
//! Everything stored is an [`Entry`]. [`Store::apply`] decides what comes of it, by rules that depend on
//! nothing but the entry and what is stored (`rules`). Every read has a viewer and a time ([`View`]), and no
//! reader returns a message that this viewer may not see, or one that is removed or expired by then.

mod account_rules;
pub mod ban;
mod change;
pub mod error;
mod mention_rules;
mod message_ids;
mod read_gate;
mod room_rules;
mod row;
mod rules;
mod sight;
pub mod sqlite;
mod user_ids;
pub mod worker;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use chrono::{DateTime, FixedOffset};

pub use self::account_rules::latest_of_name;
pub use self::ban::{BanTarget, NetworkError, client_network, network_contains, parse_network};
pub use self::error::StoreError;
pub use self::read_gate::ReadGate;
pub use self::row::ScanRow;
pub use self::sight::{MemberChange, Memberships, Room, Viewers};
pub use self::user_ids::{IdHolder, candidate_id};
use crate::protocol::error::Refusal;
use crate::protocol::event::Event;
use crate::protocol::id::{Cid, MessageId, Name, RoomName, Seq, UserId};
use crate::protocol::message::{Audience, Message, MessageKind, Millis};
use crate::protocol::query::HistoryQuery;
use crate::protocol::reaction::Emoji;
use crate::protocol::room::{ConversationInfo, NotifyLevel, RoomAction, RoomState};
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

/// How many rows of each table one [`Entry::Retain`] examines: a few milliseconds, during which nothing
/// else is written.
pub const RETAIN_ROWS: u16 = 500;

/// IDs per key: for one user with a script or two.
pub const IDS_PER_KEY: usize = 3;

/// Open invites: some 100 kB.
pub const OPEN_INVITES: u32 = 1_000;

/// The single writer of the log.
pub trait Store: Send + 'static {
    /// Reads concurrently with the writer, on a thread of its own.
    type Reader: Reader + Send + 'static;

    /// Everything the server loads at startup.
    fn snapshot(&mut self) -> Result<LogSnapshot, StoreError>;

    /// Opens another reader.
    fn open_reader(&self) -> Result<Self::Reader, StoreError>;

    /// Applies all of `batch`, in order, in one transaction, and returns one outcome for each. This is the
    /// only place that decides about stored things: who may delete, where a reply goes, which id a message
    /// or a new user gets, whether an invite is used up, whether a request was seen before. On return
    /// everything is on disk; after an error nothing was done. Unless the error is
    /// [transient](StoreError::is_transient), the state of the disk is unknown, and every later write
    /// fails with [`StoreError::EarlierFailure`].
    ///
    /// `now` is the server's clock. Messages are stamped with the log's clock, which follows it but
    /// never steps back by less than [`MAX_CLOCK_AHEAD`].
    fn apply(&mut self, now: Millis, batch: &[Entry]) -> Result<Vec<Outcome>, StoreError>;

    /// Erases removed text from the files. Never waits for readers: pause them with
    /// [`Store::read_gate`].
    fn scrub(&mut self) -> Result<ScrubOutcome, StoreError>;

    /// Keeps the files short. For the time after the outcomes of a write are reported: it never waits for
    /// readers, but for the disk, for long only if checkpoints do not run in the background.
    ///
    /// Unless an error is [transient](StoreError::is_transient), every later write fails.
    fn checkpoint(&mut self) -> Result<CheckpointOutcome, StoreError> {
        Ok(CheckpointOutcome::Done)
    }

    /// Runs checkpoints in the background from now on. Returns what a thread has to run for it, which ends
    /// when the store is dropped; `None` if there is nothing to run.
    fn run_checkpoints_in_background(&mut self) -> Result<Option<BackgroundWork>, StoreError> {
        Ok(None)
    }

    /// The gate that all readers of this log pass.
    fn read_gate(&self) -> Arc<ReadGate> {
        Arc::default()
    }
}

/// What a thread runs.
pub type BackgroundWork = Box<dyn FnOnce() + Send>;

/// The text and recipients of a page, in bytes. A page ends after the message that exceeds it, however few
/// there are: with 256 recipients each, 100 messages would take 40 ms to read.
pub const PAGE_BYTES: usize = 256 * 1024;

/// What a reader answers: what was asked for, or why the viewer does not get it.
pub type Answer<T> = Result<T, Refusal>;

/// A reader of the log. Each call sees one consistent state, with everything committed before it. A page may
/// have fewer messages or events than asked for: see [`PAGE_BYTES`].
pub trait Reader {
    /// At most `limit` events after `after`, for a client that was offline or too slow. Returns `None`
    /// if `after` is before the [horizon](LogSnapshot::horizon).
    ///
    /// A message that was removed since is not returned; its removal is.
    fn events_after(
        &mut self,
        view: View<'_>,
        after: Seq,
        limit: usize,
    ) -> Result<Option<EventPage>, StoreError>;

    /// The same as [`Self::events_after`] would be if the viewer were a member of no room: for clients that
    /// know no rooms.
    fn events_outside_rooms_after(
        &mut self,
        view: View<'_>,
        after: Seq,
        limit: usize,
    ) -> Result<Option<EventPage>, StoreError>;

    /// At most `limit` messages of a query, the nearest to what it asks for.
    fn history(
        &mut self,
        view: View<'_>,
        query: &HistoryQuery,
        limit: usize,
    ) -> Result<Answer<MessagePage>, StoreError>;

    /// The messages with these sequence numbers; missing ones are skipped.
    fn messages(&mut self, view: View<'_>, seqs: &[Seq]) -> Result<Vec<Message>, StoreError>;

    /// Calls `visit` with each visible message of a conversation, or of all, before `before`, newest first,
    /// until it breaks. Rows are
    /// borrowed, not decoded, because a search reads millions. Examines at most `max_rows` rows,
    /// counting invisible ones.
    fn scan(
        &mut self,
        view: View<'_>,
        conversation: Option<&Audience>,
        before: Option<Seq>,
        max_rows: usize,
        visit: &mut dyn FnMut(&ScanRow<'_>) -> ControlFlow<()>,
    ) -> Result<Answer<ScanResult>, StoreError>;

    /// The conversations of the viewer, at most [`LISTED_CONVERSATIONS`](crate::protocol::limits::LISTED_CONVERSATIONS): Everyone, all rooms and the latest
    /// direct conversations, ordered by their last message, latest first.
    fn conversations(&mut self, view: View<'_>) -> Result<Vec<ConversationInfo>, StoreError>;

    /// At most `limit` public rooms that are not archived, ordered by name, after this one.
    fn public_rooms(
        &mut self,
        after: Option<&RoomName>,
        limit: usize,
    ) -> Result<Page<(RoomName, RoomState)>, StoreError>;

    /// At most `limit` members of a room, longest first, or of all registered users, ordered by ID, after
    /// this one.
    fn users(
        &mut self,
        view: View<'_>,
        room: Option<&RoomName>,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Answer<Page<UserId>>, StoreError>;

    /// The invites that admit another user at `now`, by the time at which they expire.
    fn open_invites(&mut self, now: Millis) -> Result<Vec<OpenInvite>, StoreError>;

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
    /// Only what this user may see is returned.
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
    /// A user replaces the text of an own message.
    Edit {
        id: MessageId,
        by: UserId,
        content: SafeText,
        /// See [`NewMessage::guests`].
        guests: Arc<BTreeSet<UserId>>,
        cid: Option<Cid>,
    },
    /// A user adds or removes a reaction.
    React { id: MessageId, by: UserId, emoji: Emoji, on: bool, cid: Option<Cid> },
    /// A user pins a message, or removes the pin.
    Pin { id: MessageId, by: UserId, on: bool, cid: Option<Cid> },
    /// A room or its members change.
    Room(RoomEntry),
    /// A registered user has read a conversation up to `up_to`.
    Read {
        by: UserId,
        conversation: Audience,
        up_to: Seq,
        /// Moves the marker back, too.
        unread: bool,
        cid: Option<Cid>,
    },
    /// A registered user sets which messages of a conversation ring.
    Notify {
        by: UserId,
        conversation: Audience,
        level: NotifyLevel,
        muted_until: Option<Millis>,
        cid: Option<Cid>,
    },
    /// A temporary message expires.
    Expire { id: MessageId },
    /// An administrator removes a message. It is reported as deleted by its author.
    Remove { id: MessageId },
    /// A key gets a new ID, unless it has one of this name already.
    Register(NewUser),
    /// An ID is bound to another key.
    Rebind {
        user: UserId,
        /// The SHA-256 of the new public key.
        key: [u8; 32],
    },
    /// An invite is created.
    Invite(OpenInvite),
    /// A key or network is banned.
    Ban(BanSubject),
    /// A ban is lifted.
    Unban(BanSubject),
    /// Some of what is past its retention is removed.
    Retain(Retain),
    /// A registered user has received all events up to `up_to`. It decides only how long direct
    /// messages are kept, so it may lag behind.
    Delivered { user: UserId, up_to: Seq },
}

/// A change of a room or its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomEntry {
    /// The room.
    pub room: RoomName,
    /// Who changes it; `None` for the administrator, who may do all that the owner may.
    pub by: Option<UserId>,
    /// The change.
    pub action: RoomAction,
    /// How many rooms there may be.
    pub limits: RoomLimits,
    /// The client-chosen id of the request.
    pub cid: Option<Cid>,
}

/// How many rooms there may be. A setting of the server, so it comes with each entry that it limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomLimits {
    /// In the log, not counting archived ones.
    pub rooms: u32,
    /// In how many a user may be a member.
    pub memberships: u32,
}

/// A user who asks for an ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// The name that the ID starts with.
    pub name: Name,
    /// The SHA-256 of the public key.
    pub key: [u8; 32],
    /// Whether a new ID takes a use of an invite.
    pub invite: InviteRule,
    /// The name of an online guest that `name` could be mistaken for.
    pub similar_guest: Option<Name>,
    /// Random: selects the number of the ID.
    pub draw: u64,
}

/// Whether a new ID takes a use of an invite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InviteRule {
    /// Anyone may register.
    NotRequired,
    /// Of the one with this [`OpenInvite::hash`]; `None` if the user sent no invite.
    Required(Option<[u8; 32]>),
}

/// What an administrator bans. An ID stands for its key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum BanSubject {
    Target(BanTarget),
    User(UserId),
}

/// One step of removing what is past its retention. Rows are examined from the oldest to the first that is
/// too young, at most [`RETAIN_ROWS`] of each table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retain {
    /// Messages posted before this time are not kept; `None` keeps all.
    pub before: Option<Millis>,
    /// The time for everything else: tombstones, `cid`s, invites and undelivered messages.
    pub now: Millis,
    /// Messages up to here are not examined.
    pub after: Seq,
}

/// An invite that can still be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenInvite {
    /// The SHA-256 of its secret. The secret itself is not stored.
    pub hash: [u8; 32],
    /// How many more users it admits.
    pub uses: u32,
    /// When it expires.
    pub expires: Millis,
    /// The rooms that the new users become members of.
    pub rooms: Vec<RoomName>,
}

impl Entry {
    /// Who requested it, and the id of the request, if a resend must not be executed again. Read markers and
    /// notification settings are values: setting one twice is setting it once.
    fn request(&self) -> Option<(&UserId, &Cid)> {
        match self {
            Self::Post(new) => Some((&new.sender, new.cid.as_ref()?)),
            Self::Delete { by, cid, .. }
            | Self::Edit { by, cid, .. }
            | Self::React { by, cid, .. }
            | Self::Pin { by, cid, .. } => Some((by, cid.as_ref()?)),
            Self::Room(entry) => Some((entry.by.as_ref()?, entry.cid.as_ref()?)),
            Self::Read { .. }
            | Self::Notify { .. }
            | Self::Expire { .. }
            | Self::Remove { .. }
            | Self::Register(_)
            | Self::Rebind { .. }
            | Self::Invite(_)
            | Self::Ban(_)
            | Self::Unban(_)
            | Self::Retain(_)
            | Self::Delivered { .. } => None,
        }
    }
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
    /// Something else has changed, which is announced.
    Changed(Change),
    /// A setting of one user has changed: [`Event::Read`] or [`Event::NotifySet`], for that user's sessions.
    Personal { user: UserId, event: Event },
    /// Nothing was done: the same user sent this `cid` before, and it had this outcome; or everything is
    /// already as requested, and `seq` is the head of the log. `id` is `None` if it was about a room.
    Repeated { seq: Seq, id: Option<MessageId> },
    /// Nothing was done: the rules do not allow it.
    Refused(Refusal),
    /// Nothing was done: the ID is not registered.
    NoKey(UserId),
    /// Nothing was done: there is no such ban.
    NotBanned(BanTarget),
    /// Nothing was done: [`OPEN_INVITES`] are open.
    TooManyInvites,
    /// The key has a new ID, and its user has `joined` the rooms of the invite, apart from archived ones.
    Registered { user: UserId, key: [u8; 32], joined: Vec<Change> },
    /// Nothing was done: the key has this ID of the name already.
    AlreadyRegistered(UserId),
    /// The key `to` has an ID that was `from`'s.
    Rebound { user: UserId, from: [u8; 32], to: [u8; 32] },
    /// The key or network is banned, now or already before.
    Banned(BanTarget),
    /// The ban is lifted.
    Unbanned(BanTarget),
    /// What a [`Retain`] has done.
    Retained(Retained),
    /// The change is stored; it has no outcome of its own.
    Done,
}

/// The outcome of a [`Retain`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retained {
    /// Whether messages were removed.
    pub has_removed: bool,
    /// See [`LogSnapshot::horizon`].
    pub horizon: Seq,
    /// The [`Retain::after`] of the next step, if there may be more to remove now.
    pub next: Option<Seq>,
}

impl Outcome {
    /// Whether the entry got a position in the log.
    fn is_event(&self) -> bool {
        matches!(self, Self::Posted(_) | Self::Changed(_))
    }

    /// The message that the event is about, if any.
    fn message_id(&self) -> Option<MessageId> {
        match self {
            Self::Posted(message) => Some(message.id),
            Self::Changed(change) => match &change.event {
                Event::Reacted(reacted) => Some(reacted.id),
                Event::Pinned(pinned) => Some(pinned.id),
                event => event.removed_message(),
            },
            _ => None,
        }
    }
}

/// A change other than a new message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// [`Event::Deleted`], [`Event::Expired`], [`Event::Edited`], [`Event::Reacted`], [`Event::Pinned`] or
    /// [`Event::RoomChanged`].
    pub event: Event,
    /// Who may see it.
    pub viewers: Viewers,
    /// The members of the room who have come and gone.
    pub members: Vec<MemberChange>,
}

/// What the server loads when it opens a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSnapshot {
    /// The random identity of the log, drawn when it was created.
    pub epoch: String,
    /// The last sequence number given.
    pub head: Seq,
    /// The lowest `after` for which [`Reader::events_after`] is complete.
    pub horizon: Seq,
    /// The time of the last message or removal; 0 if there is none.
    pub clock: Millis,
    /// The size of the log.
    pub size: LogSize,
    /// When each temporary message expires, including those that expired while the server was stopped.
    pub expirations: Vec<(MessageId, Millis)>,
    /// The IDs and the SHA-256 of the keys they are bound to, in the order in which they were bound.
    pub registered: Vec<(UserId, [u8; 32])>,
    /// All bans.
    pub bans: Vec<BanTarget>,
    /// All rooms, by name.
    pub rooms: Vec<(RoomName, Room)>,
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
    pub fn cutoff(self, now: Millis) -> Option<Millis> {
        match self {
            Self::Forever => None,
            Self::Days(days) => Some(now - (Millis::from(days) * DAY).max(MIN_RETENTION)),
        }
    }
}

/// The result of [`Store::scrub`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScrubOutcome {
    /// The files contain no removed text.
    Done,
    /// A part of the files is done. Call it again for the rest.
    Partial,
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
    /// The events visible to the viewer: [`Event::Posted`] and those of [`Change::event`].
    pub events: Vec<Event>,
    /// `events` is complete up to here: pass it as `after` for the next page. On the last page it is
    /// the head of the log.
    pub complete_to: Seq,
}

/// Messages of a query, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagePage {
    /// The messages.
    pub messages: Vec<Message>,
    /// Whether there are earlier messages.
    pub has_earlier: bool,
    /// Whether there are later messages.
    pub has_later: bool,
}

impl<T> Page<T> {
    /// The first `limit` of `items`.
    fn new(mut items: Vec<T>, limit: usize) -> Self {
        let has_more = items.len() > limit;
        items.truncate(limit);
        Self { items, has_more }
    }
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Whether there are more after these.
    pub has_more: bool,
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
