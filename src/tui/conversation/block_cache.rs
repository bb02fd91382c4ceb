//! What each entry looks like: what decides it, the block that comes of it, and the memory of both.

use std::collections::HashMap;
use std::rc::Rc;

use ratatui::text::Span;

use super::LayoutPass;
use super::items::{Item, ItemIndex};
use crate::client::state::history::HistoryBoundary;
use crate::client::state::timeline::{MAX_RUN, MessageState, TimelineEntry};
use crate::client::state::{ChatState, Delivery};
use crate::protocol::id::MessageId;
use crate::protocol::message::Audience;
use crate::tui::bubble::{self, Block, Bubble, Side, display_name};
use crate::tui::model::ItemId;
use crate::tui::theme::Theme;
use crate::tui::wrap::{drawable, wrap, wrap_words};

/// How many blocks are kept before all are dropped: some screens' worth.
const MAX_CACHED_BLOCKS: usize = 4_000;

/// The blocks that were drawn lately.
#[derive(Debug, Clone, Default)]
pub struct BlockCache {
    blocks: HashMap<ItemId, (BlockKey, Rc<Block>)>,
    wrapped: HashMap<ItemId, (u16, MessageState, Rc<[String]>)>,
}

impl BlockCache {
    /// Drops what is kept of a message.
    pub fn remove(&mut self, id: MessageId) {
        self.blocks.remove(&ItemId::Message(id));
        self.wrapped.remove(&ItemId::Message(id));
    }

    /// Drops everything once it has become much.
    pub(super) fn evict_if_full(&mut self) {
        if self.blocks.len() > MAX_CACHED_BLOCKS || self.wrapped.len() > MAX_CACHED_BLOCKS {
            *self = Self::default();
        }
    }
}

/// Everything that decides what a block looks like, beside the entry itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, compared at once")]
struct BlockKey {
    width: u16,
    inner_width: u16,
    state: MessageState,
    starts_bubble: bool,
    ends_bubble: bool,
    picked: bool,
    new_day: bool,
    unread_line: bool,
    quoted: QuotedState,
    footer: Footer,
    name_count: usize,
}

/// What a bubble quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum QuotedState {
    None,
    Unknown,
    Known(MessageState),
}

/// What stands in the lower edge of a bubble.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Footer {
    None,
    ExpiresIn(i64),
    Waiting,
    Sending,
    NotSent(String),
    Id(MessageId),
}

impl LayoutPass<'_> {
    pub(super) fn block(&mut self, slot: ItemIndex) -> Rc<Block> {
        let key = self.items.id(slot);
        let look = self.block_key(slot, &key);
        if let Some((kept, block)) = self.cache.blocks.get(&key)
            && *kept == look
        {
            return Rc::clone(block);
        }
        let block = Rc::new(self.build_block(slot, &look));
        self.cache.blocks.insert(key, (look, Rc::clone(&block)));
        block
    }

    fn block_key(&mut self, slot: ItemIndex, key: &ItemId) -> BlockKey {
        let width = self.area.width;
        let picked = self.picked == Some(key);
        let new_day = self.items.is_new_day(slot);
        let bare = BlockKey {
            width,
            inner_width: 0,
            state: MessageState::Readable,
            starts_bubble: true,
            ends_bubble: true,
            picked,
            new_day,
            unread_line: self.items.is_first_unread(slot),
            quoted: QuotedState::None,
            footer: Footer::None,
            name_count: 0,
        };
        match self.items.item(slot) {
            Some(Item::Other(TimelineEntry::Presence { joined, left, .. })) => {
                BlockKey { name_count: joined.count() + left.count(), ..bare }
            }
            Some(Item::Boundary(_) | Item::Other(_)) | None => bare,
            Some(Item::Message(_) | Item::Pending(_)) => {
                let run = self.items.run_position(slot);
                let start = slot - i64::from(run);
                let last = !self.items.is_continued(slot);
                let end =
                    (slot..slot + i64::from(MAX_RUN)).find(|slot| !self.items.is_continued(*slot));
                let inside = (start..=end.unwrap_or(slot))
                    .map(|slot| self.natural_width(slot))
                    .max()
                    .unwrap_or(1)
                    .clamp(1, bubble::max_inner_width(width));
                let fate = self.items.state(slot);
                let quoted = match self.items.quoted(slot) {
                    None => QuotedState::None,
                    Some(id) => match self.items.chat.timeline().message(id) {
                        None => QuotedState::Unknown,
                        Some(said) => QuotedState::Known(said.state),
                    },
                };
                BlockKey {
                    inner_width: inside,
                    state: fate,
                    starts_bubble: run == 0,
                    ends_bubble: last,
                    quoted,
                    footer: self.footer(slot, picked),
                    ..bare
                }
            }
        }
    }

    fn build_block(&mut self, slot: ItemIndex, look: &BlockKey) -> Block {
        let mut rows = Vec::new();
        if look.new_day
            && let Some(at) = self.items.at(slot)
        {
            rows.push(bubble::day_separator(at, look.width, self.theme));
        }
        if look.unread_line {
            rows.push(bubble::separator("new since you left", look.width, self.theme));
        }
        match self.items.item(slot) {
            Some(Item::Boundary(edge)) => {
                rows.push(bubble::centered_row(boundary_text(edge), look.width, self.theme));
            }
            Some(Item::Other(entry)) => {
                let width = usize::from(look.width.saturating_sub(2));
                let lines = wrap_words(&notice_text(entry), width);
                rows.extend(lines.iter().map(|l| bubble::centered_row(l, look.width, self.theme)));
            }
            Some(Item::Message(_) | Item::Pending(_)) => {
                let text = self.wrapped_text(slot);
                let bubble = self.bubble(slot, look, &text);
                rows.extend(bubble.rows(look.width, self.theme));
            }
            None => {}
        }
        Block { rows }
    }

    fn bubble<'t>(&self, slot: ItemIndex, look: &BlockKey, text: &'t [String]) -> Bubble<'t> {
        let theme = self.theme;
        let own = self.items.is_own(slot);
        let private = matches!(self.items.audience(slot), Some(Audience::Only(_)));
        let failed = matches!(look.footer, Footer::NotSent(_));
        let style = match look.state {
            MessageState::Readable => theme.text(),
            MessageState::Removed | MessageState::Expired => theme.removed(),
        };
        let frame = match (failed, private, own) {
            (true, ..) => theme.error(),
            (false, true, _) => theme.private(),
            (false, false, true) => theme.own(),
            (false, false, false) => theme.dim(),
        };
        Bubble {
            side: if own { Side::Right } else { Side::Left },
            header: look.starts_bubble.then(|| self.header(slot)).flatten(),
            quote: self.items.quoted(slot).map(|id| (quote_text(self.items.chat, id), id)),
            text,
            text_style: style,
            border_style: frame,
            footer: footer_span(&look.footer, theme),
            last: look.ends_bubble,
            picked: look.picked,
            inner_width: look.inner_width,
        }
    }

    /// What a bubble's inside needs at the least, without the shape of its neighbours.
    fn natural_width(&mut self, slot: ItemIndex) -> u16 {
        let text = self.wrapped_text(slot);
        let look = BlockKey {
            width: self.area.width,
            inner_width: 0,
            state: self.items.state(slot),
            starts_bubble: self.items.run_position(slot) == 0,
            ends_bubble: true,
            picked: false,
            new_day: false,
            unread_line: false,
            quoted: QuotedState::None,
            // The countdown gets shorter, the bubble should not.
            footer: match self.footer(slot, self.picked == Some(&self.items.id(slot))) {
                Footer::ExpiresIn(_) => Footer::ExpiresIn(9_999),
                tag @ (Footer::None
                | Footer::Waiting
                | Footer::Sending
                | Footer::NotSent(_)
                | Footer::Id(_)) => tag,
            },
            name_count: 0,
        };
        self.bubble(slot, &look, &text).natural_width()
    }

    fn wrapped_text(&mut self, slot: ItemIndex) -> Rc<[String]> {
        let width = bubble::max_inner_width(self.area.width);
        let key = self.items.id(slot);
        let fate = self.items.state(slot);
        if let Some((kept, at, lines)) = self.cache.wrapped.get(&key)
            && *kept == width
            && *at == fate
        {
            return Rc::clone(lines);
        }
        let text = match (fate, self.items.item(slot)) {
            (MessageState::Removed, _) => "message removed",
            (MessageState::Expired, _) => "message expired",
            (MessageState::Readable, Some(Item::Message(said))) => said.message.content.as_str(),
            (MessageState::Readable, Some(Item::Pending(pending))) => pending.post.content.as_str(),
            (MessageState::Readable, Some(Item::Boundary(_) | Item::Other(_)) | None) => "",
        };
        let lines: Rc<[String]> = wrap(text, usize::from(width)).into();
        self.cache.wrapped.insert(key, (width, fate, Rc::clone(&lines)));
        lines
    }

    fn footer(&self, slot: ItemIndex, picked: bool) -> Footer {
        match self.items.item(slot) {
            Some(Item::Message(said)) if said.state == MessageState::Readable => {
                match said.message.expires() {
                    Some(expires) => {
                        let left = expires - self.items.chat.server_time(self.now);
                        Footer::ExpiresIn((left.max(0) + 999) / 1_000)
                    }
                    None if picked => Footer::Id(said.message.id),
                    None => Footer::None,
                }
            }
            Some(Item::Pending(pending)) => match &pending.delivery {
                Delivery::Waiting => Footer::Waiting,
                Delivery::Sending => Footer::Sending,
                Delivery::Failed(reason) => Footer::NotSent(reason.one_line()),
            },
            Some(Item::Message(_) | Item::Boundary(_) | Item::Other(_)) | None => Footer::None,
        }
    }

    fn header(&self, slot: ItemIndex) -> Option<Vec<Span<'static>>> {
        let own = self.items.is_own(slot);
        let sender = match self.items.item(slot)? {
            Item::Message(said) => Some((&said.message.sender, said.message.guest)),
            Item::Pending(_) | Item::Boundary(_) | Item::Other(_) => None,
        };
        let to = match self.items.audience(slot)? {
            Audience::Everyone => None,
            Audience::Only(people) => {
                let mut names: Vec<String> = people
                    .iter()
                    .filter(|id| !self.items.chat.is_own_id(id))
                    .map(ToString::to_string)
                    .collect();
                if people.iter().any(|id| self.items.chat.is_own_id(id)) {
                    names.insert(0, "you".to_owned());
                }
                Some(names.join(", "))
            }
        };
        Some(bubble::header(sender.filter(|_| !own), to, self.items.at(slot)?, self.theme))
    }
}

/// The line that stands for a message where it is quoted.
pub fn quote_text(chat: &ChatState, id: MessageId) -> String {
    match chat.timeline().message(id) {
        Some(said) => {
            let who = &said.message.sender;
            let you = chat.is_own_id(who);
            let who = if you { "you".to_owned() } else { display_name(who, said.message.guest) };
            match said.state {
                MessageState::Readable => {
                    format!("{who}: {}", drawable(&said.message.content.one_line()))
                }
                MessageState::Removed => format!("{who}: message removed"),
                MessageState::Expired => format!("{who}: message expired"),
            }
        }
        None => format!("message {id}, which is not shown here"),
    }
}

fn boundary_text(edge: HistoryBoundary) -> &'static str {
    match edge {
        HistoryBoundary::Loading => "loading…",
        HistoryBoundary::Earlier => "…",
        HistoryBoundary::Beginning => "beginning of the history",
        HistoryBoundary::Later => "the past (End: the newest)",
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

fn footer_span(tag: &Footer, theme: Theme) -> Option<Span<'static>> {
    match tag {
        Footer::None => None,
        Footer::ExpiresIn(seconds) => {
            Some(Span::styled(format!("gone in {}", duration(*seconds)), theme.warning()))
        }
        Footer::Waiting => Some(Span::styled("waiting…", theme.warning())),
        Footer::Sending => Some(Span::styled("sending…", theme.dim())),
        Footer::NotSent(reason) => Some(Span::styled(format!("not sent: {reason}"), theme.error())),
        Footer::Id(id) => Some(Span::styled(id.to_string(), theme.dim())),
    }
}

/// A time span as people say it.
pub fn duration(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3_600 if seconds % 60 == 0 => format!("{} min", seconds / 60),
        60..3_600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        3_600..86_400 if seconds % 3_600 == 0 => format!("{} h", seconds / 3_600),
        3_600..86_400 => format!("{} h {:02} min", seconds / 3_600, seconds % 3_600 / 60),
        86_400.. => format!("{} days", seconds / 86_400),
    }
}
