//! Renders items to blocks of rows, and caches the blocks.
//!
//! A cached block is valid as long as its [`BlockKey`] is equal.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use ratatui::text::Span;

use super::LayoutPass;
use super::items::{Item, ItemIndex};
use crate::client::state::history::HistoryBoundary;
use crate::client::state::timeline::{MAX_RUN, MessageState, TimelineEntry};
use crate::client::state::{Delivery, Session};
use crate::protocol::id::{MessageId, UserId};
use crate::protocol::limits::UNREAD_COUNTED;
use crate::protocol::mention::{MentionWord, Mentions};
use crate::protocol::message::{Audience, Message};
use crate::protocol::reaction::Reaction;
use crate::tui::bubble::{self, Block, Bubble, MessageLayout, Side, display_name};
use crate::tui::item::ItemId;
use crate::tui::text::{self, MentionKind, TextRow, drawable, wrap_words};
use crate::tui::theme::Theme;

/// The cache is cleared when it holds more items than this: several dozen screens.
const MAX_CACHED_ITEMS: usize = 4_000;

/// What was rendered of recent items.
#[derive(Debug, Clone, Default)]
pub struct BlockCache {
    items: HashMap<ItemId, CachedItem>,
    generation: u64,
}

/// The rows of a message's text.
type TextRows = Rc<[Rc<TextRow>]>;

/// What the rows of a text depend on: width, revision and state.
type TextKey = (u16, u32, MessageState);

/// What was rendered of an item, each with what it depends on.
#[derive(Debug, Clone, Default)]
struct CachedItem {
    text: Option<(TextKey, TextRows)>,
    natural_width: Option<(BlockKey, u16)>,
    block: Option<(BlockKey, Rc<Block>)>,
}

impl BlockCache {
    /// Clears the cache if it is of another generation.
    pub fn keep_generation(&mut self, generation: u64) {
        if self.generation != generation {
            *self = Self { generation, ..Self::default() };
        }
    }

    /// Clears the cache when it is full.
    pub(super) fn evict_if_full(&mut self) {
        if self.items.len() > MAX_CACHED_ITEMS {
            self.items.clear();
        }
    }

    fn item(&mut self, id: &ItemId) -> &mut CachedItem {
        self.items.entry(id.clone()).or_default()
    }
}

/// Everything that a block depends on. The content of an item follows from its revision.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent properties, compared together")]
struct BlockKey {
    width: u16,
    inner_width: u16,
    state: MessageState,
    revision: u32,
    starts_bubble: bool,
    ends_bubble: bool,
    shows_time: bool,
    picked: bool,
    new_day: bool,
    unread_line: bool,
    is_mention: bool,
    quoted: QuotedState,
    status: Status,
    /// Users who joined or left. Their entry grows while it is the last one.
    name_count: usize,
}

/// The state of the message that a bubble quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum QuotedState {
    None,
    /// The message is not loaded.
    Unknown,
    /// With its revision.
    Known(u32),
}

/// The part of the footer of a message that does not follow from its revision.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Status {
    None,
    /// Seconds until the message expires.
    ExpiresIn(i64),
    Waiting,
    Sending,
    Deferred,
    /// With the reason.
    NotSent(String),
    /// An own message that the server has acknowledged.
    Stored,
    /// The user has changed the message, and the server has not acknowledged it.
    Changing {
        is_online: bool,
    },
}

impl LayoutPass<'_> {
    /// Returns the block of an item, from the cache if possible.
    pub(super) fn block(&mut self, index: ItemIndex) -> Rc<Block> {
        let id = self.items.id(index);
        let key = self.block_key(index, &id);
        if let Some((kept, block)) = &self.cache.item(&id).block
            && *kept == key
        {
            return Rc::clone(block);
        }
        let block = Rc::new(self.build_block(index, &key));
        self.cache.item(&id).block = Some((key, Rc::clone(&block)));
        block
    }

    fn block_key(&mut self, index: ItemIndex, id: &ItemId) -> BlockKey {
        let width = self.area.width;
        let picked = self.picked == Some(id);
        let new_day = self.items.is_new_day(index);
        let base = BlockKey {
            width,
            inner_width: 0,
            state: MessageState::Readable,
            revision: 0,
            starts_bubble: true,
            ends_bubble: true,
            shows_time: false,
            picked,
            new_day,
            unread_line: self.items.is_first_unread(index),
            is_mention: false,
            quoted: QuotedState::None,
            status: Status::None,
            name_count: 0,
        };
        match self.items.item(index) {
            Some(Item::Other(TimelineEntry::Presence { joined, left, .. })) => {
                BlockKey { name_count: joined.count() + left.count(), ..base }
            }
            Some(Item::Boundary(_) | Item::Other(_)) | None => base,
            Some(Item::Message(_) | Item::Pending(_)) => {
                let bubble = self.bubble_of(index);
                let last = *bubble.end() == index;
                let inner_width = bubble
                    .clone()
                    .map(|index| self.natural_width(index))
                    .max()
                    .unwrap_or(1)
                    .clamp(1, self.layout.max_text_width(width));
                let state = self.items.state(index);
                let quoted = match self.items.quoted(index) {
                    None => QuotedState::None,
                    Some(id) => match self.items.chat.message(id) {
                        None => QuotedState::Unknown,
                        Some(entry) => QuotedState::Known(entry.revision),
                    },
                };
                BlockKey {
                    inner_width,
                    state,
                    revision: self.items.revision(index),
                    starts_bubble: *bubble.start() == index,
                    ends_bubble: last,
                    shows_time: *bubble.start() < index && self.items.is_new_minute(index),
                    is_mention: bubble.into_iter().any(|index| self.items.is_mention(index)),
                    quoted,
                    status: self.status(index, last),
                    ..base
                }
            }
        }
    }

    /// The items that share a bubble with this one.
    fn bubble_of(&self, index: ItemIndex) -> RangeInclusive<ItemIndex> {
        if self.layout == MessageLayout::Compact {
            return index..=index;
        }
        let start = index - i64::from(self.items.run_position(index));
        let end =
            (index..index + i64::from(MAX_RUN)).find(|index| !self.items.is_continued(*index));
        start..=end.unwrap_or(index)
    }

    fn build_block(&mut self, index: ItemIndex, key: &BlockKey) -> Block {
        let mut rows = Vec::new();
        if key.new_day
            && let Some(at) = self.items.at(index)
        {
            rows.push(bubble::day_separator(at, key.width, self.theme));
        }
        if key.unread_line {
            let text = self.unread_line_text(index);
            rows.push(bubble::separator(&text, key.width, self.theme));
        }
        match self.items.item(index) {
            Some(Item::Boundary(boundary)) => {
                rows.push(bubble::centered_row(boundary_text(boundary), key.width, self.theme));
            }
            Some(Item::Other(entry)) => {
                let width = usize::from(key.width.saturating_sub(2));
                let lines = wrap_words(&notice_text(entry), width);
                rows.extend(lines.iter().map(|l| bubble::centered_row(l, key.width, self.theme)));
            }
            Some(Item::Message(_) | Item::Pending(_)) => {
                let text = self.text_rows(index);
                let bubble = self.bubble(index, key, &text);
                rows.extend(bubble.rows(key.width, self.theme));
            }
            None => {}
        }
        Block { rows }
    }

    /// Says how many messages were unread at the opening, and since when.
    fn unread_line_text(&self, index: ItemIndex) -> String {
        let at = self.items.at(index).map(|at| at.format(" since %H:%M").to_string());
        let at = at.unwrap_or_default();
        match self.items.chat.opened().unread_at_opening() {
            0 => format!("new{at}"),
            UNREAD_COUNTED.. => format!("{UNREAD_COUNTED}+ new{at}"),
            count => format!("{count} new{at}"),
        }
    }

    fn bubble<'t>(&self, index: ItemIndex, key: &BlockKey, text: &'t [Rc<TextRow>]) -> Bubble<'t> {
        let theme = self.theme;
        let own = self.items.is_own(index);
        let private = matches!(self.items.audience(index), Some(Audience::Only(_)));
        let failed = matches!(key.status, Status::NotSent(_));
        let text_style = match key.state {
            MessageState::Readable => theme.text(),
            MessageState::Removed | MessageState::Expired => theme.removed(),
        };
        let border_style = match (failed, key.is_mention, private, own) {
            (true, ..) => theme.error(),
            (false, true, ..) => theme.mention(),
            (false, false, true, _) => theme.private(),
            (false, false, false, true) => theme.own(),
            (false, false, false, false) => theme.frame(),
        };
        Bubble {
            layout: self.layout,
            side: if own { Side::Right } else { Side::Left },
            header: key.starts_bubble.then(|| self.header(index)).flatten(),
            time: self.items.at(index).filter(|_| key.shows_time).map(|at| bubble::time(at, theme)),
            quote: self.items.quoted(index).map(|id| (quote_text(self.items.chat, id), id)),
            text,
            text_style,
            border_style,
            footer: self.footer(index, key),
            is_mention: key.is_mention,
            last: key.ends_bubble,
            picked: key.picked,
            inner_width: key.inner_width,
        }
    }

    /// The width that a message needs inside its bubble, regardless of the other messages in the bubble.
    fn natural_width(&mut self, index: ItemIndex) -> u16 {
        let id = self.items.id(index);
        let starts_bubble = self.items.run_position(index) == 0;
        let ends_bubble = !self.items.is_continued(index);
        let key = BlockKey {
            width: self.area.width,
            inner_width: 0,
            state: self.items.state(index),
            revision: self.items.revision(index),
            starts_bubble,
            ends_bubble,
            shows_time: !starts_bubble && self.items.is_new_minute(index),
            picked: self.picked == Some(&id),
            new_day: false,
            unread_line: false,
            is_mention: false,
            quoted: QuotedState::None,
            // The width of the longest countdown, so that the bubble does not shrink every second.
            status: match self.status(index, ends_bubble) {
                Status::ExpiresIn(_) => Status::ExpiresIn(9_999),
                status => status,
            },
            name_count: 0,
        };
        if let Some((kept, width)) = &self.cache.item(&id).natural_width
            && *kept == key
        {
            return *width;
        }
        let text = self.text_rows(index);
        let width = self.bubble(index, &key, &text).natural_width();
        self.cache.item(&id).natural_width = Some((key, width));
        width
    }

    /// The rows of a message's text.
    fn text_rows(&mut self, index: ItemIndex) -> TextRows {
        let width = self.layout.max_text_width(self.area.width);
        let (id, state) = (self.items.id(index), self.items.state(index));
        let key = (width, self.items.revision(index), state);
        if let Some((kept, rows)) = &self.cache.item(&id).text
            && *kept == key
        {
            return Rc::clone(rows);
        }
        let cells = usize::from(width);
        let rows = match (state, self.items.item(index)) {
            (MessageState::Removed, _) => {
                text::rows("message removed", |_| None, cells, self.emoji)
            }
            (MessageState::Expired, _) => {
                text::rows("message expired", |_| None, cells, self.emoji)
            }
            (MessageState::Readable, Some(Item::Message(entry))) => {
                let message = &entry.message;
                let mention = |word: &MentionWord<'_>| self.mention(word, message);
                text::rows(message.content.as_str(), mention, cells, self.emoji)
            }
            (MessageState::Readable, Some(Item::Pending(pending))) => {
                text::rows(pending.post.content.as_str(), |_| None, cells, self.emoji)
            }
            (MessageState::Readable, Some(Item::Boundary(_) | Item::Other(_)) | None) => Vec::new(),
        };
        let rows: TextRows = rows.into_iter().map(Rc::new).collect();
        self.cache.item(&id).text = Some((key, Rc::clone(&rows)));
        rows
    }

    /// Whom a word of a message mentions: the server has decided which users are mentioned.
    fn mention(&self, word: &MentionWord<'_>, message: &Message) -> Option<MentionKind> {
        let chat = self.items.chat;
        match &message.mentions {
            Mentions::All if word.is_all() => Some(MentionKind::Own),
            Mentions::None | Mentions::All => None,
            Mentions::Users(users) => {
                let is_meant =
                    |user: &&UserId| user.as_str() == word.name || user.name() == word.name;
                let user = users.iter().find(is_meant)?;
                let is_own = chat.is_own_id(user);
                Some(if is_own { MentionKind::Own } else { MentionKind::Other })
            }
        }
    }

    /// The status of a message. One that is not the last of its bubble needs no acknowledgement of its own.
    fn status(&self, index: ItemIndex, ends_bubble: bool) -> Status {
        // Without a border, an acknowledgement would take a row.
        let has_borders = self.layout.has_frames(self.area.width);
        match self.items.item(index) {
            Some(Item::Message(entry)) if entry.state == MessageState::Readable => {
                let chat = self.items.chat;
                let id = entry.message.id;
                let mut changes = chat.pending_changes().iter();
                if changes.any(|change| change.message() == Some(id)) {
                    return Status::Changing { is_online: chat.is_online() };
                }
                match entry.message.expires() {
                    Some(expires) => {
                        let left = expires - chat.server_time(self.now);
                        Status::ExpiresIn((left.max(0) + 999) / 1_000)
                    }
                    None if ends_bubble && has_borders && self.items.is_own(index) => {
                        Status::Stored
                    }
                    None => Status::None,
                }
            }
            Some(Item::Pending(pending)) => match &pending.delivery {
                Delivery::Failed(reason) => Status::NotSent(reason.one_line()),
                Delivery::Waiting if ends_bubble => Status::Waiting,
                Delivery::Sending if ends_bubble => Status::Sending,
                Delivery::Deferred if ends_bubble => Status::Deferred,
                Delivery::Waiting | Delivery::Sending | Delivery::Deferred => Status::None,
            },
            Some(Item::Message(_) | Item::Boundary(_) | Item::Other(_)) | None => Status::None,
        }
    }

    /// What is said about a message below its text: its ID while it is picked, whether it was edited or is
    /// pinned, its reactions and its status.
    fn footer(&self, index: ItemIndex, key: &BlockKey) -> Vec<Span<'static>> {
        let theme = self.theme;
        let mut notes = Vec::new();
        if let Some(Item::Message(entry)) = self.items.item(index)
            && entry.state == MessageState::Readable
        {
            let message = &entry.message;
            if key.picked && key.ends_bubble {
                notes.push(Span::styled(message.id.to_string(), theme.dim()));
            }
            if !self.layout.has_frames(key.width) && self.items.chat.is_mentioned(message) {
                notes.push(Span::styled("mentions you", theme.mention()));
            }
            if message.pinned {
                notes.push(Span::styled("pinned", theme.warning()));
            }
            if message.edited.is_some() {
                notes.push(Span::styled("edited", theme.dim()));
            }
            notes.extend(message.reactions.iter().map(|one| self.reaction(one)));
        }
        notes.extend(status_span(&key.status, theme));
        let gaps = std::iter::repeat_n(Span::raw("  "), notes.len().saturating_sub(1));
        let mut gaps = gaps.chain([Span::raw("")]);
        notes.into_iter().flat_map(|note| [Some(note), gaps.next()]).flatten().collect()
    }

    /// A reaction with its number of users; bold if the user is one of them.
    fn reaction(&self, reaction: &Reaction) -> Span<'static> {
        let is_own = reaction.users.iter().any(|user| self.items.chat.is_own_id(user));
        let style = if is_own { self.theme.title() } else { self.theme.text() };
        Span::styled(format!("{} {}", drawable(reaction.emoji.as_str()), reaction.count), style)
    }

    fn header(&self, index: ItemIndex) -> Option<Vec<Span<'static>>> {
        // In bubbles, the side says which messages are the user's own.
        let names_own = self.layout != MessageLayout::Bubbles;
        let is_named = names_own || !self.items.is_own(index);
        let sender = match self.items.item(index)? {
            Item::Message(entry) => Some((&entry.message.sender, entry.message.guest)),
            Item::Pending(_) => self.items.chat.own_id().map(|id| (id, false)),
            Item::Boundary(_) | Item::Other(_) => None,
        };
        let sender = sender.filter(|_| is_named);
        let to = match self.items.audience(index)? {
            Audience::Everyone | Audience::Room(_) => None,
            Audience::Only(users) => {
                let mut names: Vec<String> = users
                    .iter()
                    .filter(|id| !self.items.chat.is_own_id(id))
                    .map(ToString::to_string)
                    .collect();
                if users.iter().any(|id| self.items.chat.is_own_id(id)) {
                    names.insert(0, "you".to_owned());
                }
                Some(names.join(", "))
            }
        };
        Some(bubble::header(self.layout, sender, to, self.items.at(index)?, self.theme))
    }
}

/// The one-line quote of a message: sender and text.
pub fn quote_text(chat: &Session, id: MessageId) -> String {
    match chat.message(id) {
        Some(entry) => {
            let sender = &entry.message.sender;
            let name = if chat.is_own_id(sender) {
                "you".to_owned()
            } else {
                display_name(sender, entry.message.guest)
            };
            match entry.state {
                MessageState::Readable => {
                    format!("{name}: {}", drawable(&entry.message.content.one_line()))
                }
                MessageState::Removed => format!("{name}: message removed"),
                MessageState::Expired => format!("{name}: message expired"),
            }
        }
        None => format!("message {id} (not loaded)"),
    }
}

fn boundary_text(boundary: HistoryBoundary) -> &'static str {
    match boundary {
        HistoryBoundary::Loading => "loading…",
        HistoryBoundary::Earlier => "…",
        HistoryBoundary::Beginning => "beginning of the history",
        HistoryBoundary::Later => "older messages · End jumps to the latest",
    }
}

fn notice_text(entry: &TimelineEntry) -> String {
    match entry {
        TimelineEntry::Presence { joined, left, .. } => match (joined.count(), left.count()) {
            (0, 0) => String::new(),
            (_, 0) => format!("→ {} joined", joined.summary()),
            (0, _) => format!("← {} left", left.summary()),
            (_, _) => format!("→ {} joined  ← {} left", joined.summary(), left.summary()),
        },
        TimelineEntry::Notice { text, .. } => text.one_line(),
        TimelineEntry::Message(_) => String::new(),
    }
}

fn status_span(status: &Status, theme: Theme) -> Option<Span<'static>> {
    let (text, style) = match status {
        Status::None => return None,
        Status::ExpiresIn(seconds) => {
            (format!("expires in {}", duration(*seconds)), theme.warning())
        }
        Status::Waiting => ("waiting…".to_owned(), theme.warning()),
        Status::Sending => ("sending…".to_owned(), theme.dim()),
        Status::Deferred => ("waiting: the server cannot store it now".to_owned(), theme.warning()),
        Status::NotSent(reason) => (format!("not sent: {reason}"), theme.error()),
        Status::Stored => ("✓".to_owned(), theme.dim()),
        Status::Changing { is_online: true } => ("changing…".to_owned(), theme.dim()),
        Status::Changing { is_online: false } => ("change waiting…".to_owned(), theme.warning()),
    };
    Some(Span::styled(text, style))
}

/// Formats a number of seconds, such as `45 s`, `4:32` or `2 h 05 min`. A negative number counts as 0.
pub fn duration(seconds: i64) -> String {
    crate::client::duration::format(Duration::from_secs(seconds.try_into().unwrap_or(0)))
}
